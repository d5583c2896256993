"""python -m unittest test_ground: pairs made from pictures have the truth that is
written beside them; the pictures here are generated scenes, saved as a user's."""

import pathlib
import random
import tempfile
import unittest

import numpy as np
from PIL import Image

from ground.canvases import TRAINING, VALIDATION, load
from ground.pairs import KINDS, Maker, RealPair, _without_cut
from scenes.pair import make_pair
from scenes.roads import BEFORE
from scenes.weather import SPOILS, _hides, spoil
from fit_fusion import fit
from training.finding import DEFAULT_FUSION, NO_COUNT, Said, expected_cells, mass
from training.trust import Statistics, logistic, read, score, statistics


def some_folder(folder):
    """Eight places of four tiles, six with two dates."""
    (folder / "single" / "town").mkdir(parents=True)
    (folder / "pairs" / "field").mkdir(parents=True)
    for i in range(8):
        pair = make_pair(77, i)
        side = 600
        picture, mask = (Image.fromarray(x).resize((side, side)) for x in (pair.before, pair.truth.buildings[BEFORE]))
        stem = folder / "single" / "town" / f"place{i}"
        picture.save(stem.with_suffix(".jpg"), quality=95)
        mask.save(stem.with_suffix(".png"))
        for letter in "ab":
            picture.resize((400, 400)).save(folder / "pairs" / "field" / f"p{i}_{letter}.jpg")


class Ground(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        some_folder(pathlib.Path(cls.folder.name))
        cls.canvases = load(pathlib.Path(cls.folder.name), TRAINING)
        cls.maker = Maker(cls.canvases)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_no_place_is_on_both_sides(self):
        other = load(pathlib.Path(self.folder.name), VALIDATION)
        self.assertTrue(other)
        self.assertFalse({c.place for c in other} & {c.place for c in self.canvases})

    def test_the_same_seed_gives_the_same_pair(self):
        one, two = self.maker.make(1, 4), self.maker.make(1, 4)
        self.assertTrue((one.before == two.before).all() and (one.after == two.after).all())

    def test_every_kind_is_made_and_its_truth_agrees_with_its_masks(self):
        seen = set()
        for index in range(25):
            pair = self.maker.make(2, index)
            facts = pair.facts()
            seen.add(pair.category)
            changed, kept = pair.labels()
            self.assertEqual(facts.building_count, len(kept))
            self.assertEqual(facts.changed, pair.category in ("pasted", "erased") or facts.building_count > 0)
            self.assertEqual(facts.houses_added + facts.large_added + facts.houses_removed + facts.large_removed, len(kept))
            if pair.category in ("pasted", "erased"):
                before, after = pair.masks
                gained, lost = (after > 0) & (before == 0), (before > 0) & (after == 0)
                self.assertEqual(lost.any(), pair.category == "erased" and lost.any())
                self.assertFalse(gained.any() and pair.category == "erased")
                self.assertGreater(((changed > 0) & (gained | lost)).sum(), 0.8 * (changed > 0).sum())
            maps, density, known = pair.maps()
            self.assertEqual(maps.shape, (6, 30, 30))
            self.assertAlmostEqual(float(density[0].astype(np.float32).sum()), len(kept), delta=0.05 * len(kept) + 0.02)
            self.assertEqual(bool(known[5]), pair.category != "exchanged")
        self.assertGreaterEqual(len(seen & set(KINDS)), 4)

    def test_a_pasted_building_shows_in_the_after_picture_only(self):
        for index in range(12):
            pair = self.maker.make(3, index)
            if pair.category == "pasted":
                labels, _ = pair.labels()
                inside = np.abs(pair.before.astype(int) - pair.after)[labels > 0].mean()
                self.assertGreater(inside, 3.0)

    def test_no_building_is_cut_by_an_exchanged_region(self):
        mask = np.zeros((60, 60), np.uint8)
        mask[10:20, 10:30] = mask[40:50, 10:20] = 255
        region = np.zeros((60, 60), np.uint8)
        region[5:55, 14:40] = 255
        clean = _without_cut(region, mask)
        for box in (np.s_[10:20, 10:30], np.s_[40:50, 10:20]):
            self.assertIn((clean[box] > 0).mean(), (0.0, 1.0))

    def test_an_unlabelled_place_teaches_nothing_about_its_buildings(self):
        shown = np.zeros((256, 256, 3), np.uint8)
        _, _, known = RealPair(shown, shown, "unlabelled", [None, None]).maps()
        self.assertEqual(list(known), [False, False, False, False, True, True])


class Weather(unittest.TestCase):
    def test_every_kind_gives_a_picture_of_the_same_size(self):
        images = np.random.default_rng(0).integers(0, 255, (2, 120, 120, 3)).astype(np.uint8)
        rng, changed = random.Random(0), 0
        for _ in range(200):
            out = spoil(images, None, rng)
            self.assertEqual((out.shape, out.dtype), (images.shape, images.dtype))
            changed += not (out == images).all()
        self.assertGreater(changed, 60)
        self.assertLess(sum(SPOILS.values()), 1.5)

    def test_what_hides_the_change_is_left_out(self):
        changed = np.zeros((30, 30), np.float32)
        changed[:10, :10] = 1
        hidden = np.zeros((120, 120), np.float32)
        hidden[:60, :60] = 1
        self.assertTrue(_hides(hidden, changed))
        self.assertFalse(_hides(hidden[::-1, ::-1].copy(), changed))
        self.assertFalse(_hides(hidden, None))


class Finding(unittest.TestCase):
    def said(self, **other):
        return Said(**{**dict(yes=0.3, none=0.02, cells=2.0, unchanged=0.01, count="no new roads and 2 new buildings",
                              localize="roads [] buildings [top-left]", caption="some houses are built"), **other})

    def test_one_doubtful_answer_does_not_overrule_three_sure_ones(self):
        said = self.said()
        self.assertEqual(said.contradicts(said.yes > 0.5), ["classify", "count", "localize", "caption"][1:])
        self.assertGreater(said.finding(DEFAULT_FUSION), 0.5)
        self.assertEqual(said.contradicts(True), ["classify"])

    def test_a_quiet_survey_agrees_with_itself(self):
        said = self.said(yes=0.1, none=0.9, unchanged=0.9, count=NO_COUNT, localize="roads [] buildings []",
                         caption="no change has occurred")
        self.assertLess(said.finding(DEFAULT_FUSION), 0.5)
        self.assertEqual(said.contradicts(False), [])

    def test_expected_cells_count_what_was_passed_by(self):
        # Pieces: 0, 1 name cells 0, 1; 2 closes. Said: cell 0, close, close.
        steps = [[0.6, 0.2, 0.2], [0.1, 0.3, 0.6], [0.1, 0.0, 0.9]]
        expected = 0.6 + (1 - 0.8 * 0.7) + 0.1
        self.assertAlmostEqual(expected_cells({0: 0, 1: 1}, 2, [0, 2, 2], steps), expected, places=6)


class Mass(unittest.TestCase):
    def test_sentences_that_leave_the_said_text_count_where_they_leave_it(self):
        steps = [[0.1, 0.6, 0.3], [0.5, 0.3, 0.2]]
        # Said: 1 0. Sentences: 1 2 (leaves at the second step), 2 0 (at the first), 1 0 (said).
        self.assertAlmostEqual(mass([[1, 2]], [1, 0], steps), 0.6 * 0.2, places=6)
        self.assertAlmostEqual(mass([[2, 0]], [1, 0], steps), 0.3, places=6)
        self.assertAlmostEqual(mass([[1, 0], [2, 0], [1, 2]], [1, 0], steps), 0.6 * 0.5 + 0.3 + 0.12, places=6)


class Fusion(unittest.TestCase):
    def test_sure_and_wrong_signals_do_not_let_the_weights_run_away(self):
        # Newton's whole steps once led to weights of several hundred here.
        rng = np.random.default_rng(0)
        changed = rng.random(120) < 0.4
        logits = np.where(changed, 8.0, -8.0) * np.where(rng.random(120) < 0.2, -1, 1)
        signals = np.stack([np.ones(120), logits, -logits, np.log(np.where(logits > 0, 3, 0.0) + 0.05), -logits], 1)
        weights = fit(signals, changed)
        self.assertLess(max(map(abs, weights.values())), 10.0)
        right = ((signals @ np.array(list(weights.values())) > 0) == changed).mean()
        self.assertGreater(right, 0.7)


class Trust(unittest.TestCase):
    def test_the_numbers_are_those_of_the_runtime(self):
        # The same case as in runtime/src/trust.rs.
        t, c = np.arange(1, 27)[:, None], np.arange(1, 4)[None]
        features = np.stack([np.sin(0.7 * t * c + 0.4 * date) for date in (0, 1)])[None]
        stats = Statistics(np.array([0.1, -0.2, 0.3]), np.array([[0.6, 0.8, 0.0]]), np.array([0.5, 0.25]),
                           np.array([[1.0, 0, 0], [0, 0.5, -0.5]]))
        self.assertAlmostEqual(stats.distance(features)[0], 0.461856, places=5)
        self.assertAlmostEqual(stats.correlation(features)[0], 0.901442, places=5)
        self.assertAlmostEqual(stats.correlation(features[:, [0, 0]])[0], 1.0, places=6)

    def test_the_table_is_read_as_it_was_written(self):
        features = np.random.default_rng(1).normal(size=(40, 2, 26, 6))
        features[:, 1] += features[:, 0]     # one place
        stats = statistics(features, rank=2, place_rank=3)
        record = {"rank": 2, "place_rank": 3, "pictures": [5.0, -2.0], "place": [-2.0, 6.0]}
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "trust.table"
            stats.write(path)
            back = read(path, record, 6)
        same = score(record, stats, features)[0]
        np.testing.assert_allclose(score(record, back, features)[0], same, rtol=1e-4)
        apart = np.stack((features[:, 0], np.roll(features[:, 1], 3, 0)), 1)
        self.assertGreater(np.median(same), np.median(score(record, stats, apart)[0]) + 0.2)

    def test_the_logistic_falls_where_the_truth_falls(self):
        bias, slope = logistic(np.linspace(0, 4, 200), np.linspace(0, 4, 200) < 2)
        self.assertLess(slope, 0)
        self.assertAlmostEqual(-bias / slope, 2.0, delta=0.3)


if __name__ == "__main__":
    unittest.main()
