"""python -m unittest test_tune (in models/tune): masks become annotations by the
published rules, and tuning leaves the language model alone."""

import json
import pathlib
import tempfile
import unittest

import numpy as np
from PIL import Image

from annotate import annotate, classes, facts_of

HERE = pathlib.Path(__file__).resolve().parent


def some_pairs(folder):
    rng = np.random.default_rng(0)
    for name in ("A", "B", "label"):
        (folder / name).mkdir(parents=True)
    for i in range(3):
        for date in "AB":
            Image.fromarray(rng.integers(0, 255, (256, 256, 3)).astype(np.uint8)).save(folder / date / f"p{i}.png")
        mask = np.zeros((256, 256), np.uint8)
        if i:
            mask[10:40, 10:40] = 255          # a building, top-left
            mask[200:206, :] = 128            # a road, along the bottom
        Image.fromarray(mask).save(folder / "label" / f"p{i}.png")


class Annotate(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.folder.name)
        some_pairs(self.root / "pairs")

    def tearDown(self):
        self.folder.cleanup()

    def test_masks_are_read_by_the_published_rules(self):
        facts = facts_of(*classes(self.root / "pairs" / "label" / "p1.png"))
        self.assertEqual((facts.road_count, facts.building_count), (1, 1))
        self.assertEqual(facts.building_cells, [1, 0, 0, 0, 0, 0, 0, 0, 0])
        # 6 of 86 rows of the bottom cells: above 5 %.
        self.assertEqual(facts.road_cells, [0, 0, 0, 0, 0, 0, 1, 1, 1])
        self.assertEqual((facts.houses_added, facts.roads_added), (1, 1))
        gone = facts_of(*classes(self.root / "pairs" / "label" / "p1.png"), gone=True)
        self.assertEqual((gone.houses_removed, gone.houses_added), (1, 0))

    def test_numbered_labels_are_levir_mci(self):
        values = np.zeros((256, 256), np.uint8)
        values[:20, :20], values[100:120, 100:120] = 1, 2
        path = self.root / "numbered.png"
        Image.fromarray(values).save(path)
        roads, buildings = classes(path)
        self.assertTrue(roads[5, 5] and not buildings[5, 5] and buildings[110, 110] and not roads[110, 110])

    def test_a_folder_becomes_a_set_for_eval_and_tuning(self):
        captions = self.root / "captions.json"
        captions.write_text(json.dumps({"p1.png": ["A hall has been put up ."], "p2.png": ["Two things"]}))
        scenes = annotate(self.root / "pairs", self.root / "out", captions=captions, gone={"p2"})
        self.assertEqual([f.changed for _, f in scenes], [False, True, True])
        read = lambda name: json.loads((self.root / "out" / "annotations" / f"changechat_105k_{name}.json").read_text())  # noqa: E731
        self.assertEqual([e["captions"] for e in read("test")], [["a hall has been put up"], ["two things"]])
        self.assertEqual([e["conversations"][1]["value"] for e in read("test_binary")], ["no", "yes", "yes"])
        self.assertEqual(read("test_count")[1]["conversations"][1]["value"], "1 new road and 1 new building")

    def test_a_missing_after_picture_is_named(self):
        (self.root / "pairs" / "B" / "p2.png").unlink()
        with self.assertRaisesRegex(SystemExit, "p2.png"):
            annotate(self.root / "pairs", self.root / "out")


class Tune(unittest.TestCase):
    def test_only_what_is_published_learns(self):
        import torch

        from finetune import Annotated, tune
        from deltavlm import layout
        from training.texts import Texts

        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            some_pairs(root / "pairs")
            annotate(root / "pairs", root / "out")
            weights = HERE.parent / "nano" / "weights"
            model = layout.load(weights)
            before = {k: v.clone() for k, v in model.state_dict().items()}
            data = Annotated([root / "out"], model.config.image_size)
            losses = tune(model, data, Texts(weights), 1, size=2, steps=2)
            self.assertEqual(len(losses), 2)
            moved = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
            self.assertTrue(any(k.startswith("Qformer.") for k in moved))
            self.assertTrue(any(k.startswith("visual_encoder.blocks.4.") for k in moved))
            self.assertFalse({k for k in moved if k.startswith(("llm_model.", "visual_encoder.blocks.0."))})


if __name__ == "__main__":
    unittest.main()
