"""Annotations by the published rules from anybody's pairs with change masks.

    python annotate.py --pairs DIR --out OUT [--split train] [--captions FILE]

DIR is a plain folder (A/, B/, label/, files of one name) or LEVIR-MCI's
(images/SPLIT/A, B, label). In a label 0 is unchanged, 255 a changed building, 128
(or 1) a changed road; a label with 1 and 2 is read as LEVIR-MCI's roads and
buildings. A pair counts contours per class, a cell is changed above 5 % of its
pixels. What was built and what was demolished a mask does not say: `--gone` holds
the names of pairs in which everything changed has disappeared, one a line; else it
counts as built. `--captions` is a LevirCCcaptions.json, or JSON of name -> sentences;
without it sentences are made from the masks.

OUT holds pictures and the files of models/nano/ANNOTATIONS.md, for finetune.py and
for `dvlm eval`.
"""

import argparse
import json
import pathlib
import sys

import cv2
import numpy as np
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "nano"))

from scenes import SIZE  # noqa: E402
from scenes.annotations import entry, truth, write  # noqa: E402
from scenes.facts import CELL_THRESHOLD, Facts  # noqa: E402
from scenes.language import CAPTION  # noqa: E402
from scenes.truth import MIN_AREA, shares  # noqa: E402

SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff"}
#: A building above this many pixels of 256 x 256 is called large: 380 m2 at half a
#: metre.
LARGE = 1520


def find(folder, split):
    """`[(name, before, after, label or None)]`."""
    folder = folder / "images" / split if (folder / "images" / split / "A").is_dir() else folder
    if not (folder / "A").is_dir() or not (folder / "B").is_dir():
        raise SystemExit(f"{folder}: there is no A/ and B/; see --help for the layouts")
    out = []
    for before in sorted(p for p in (folder / "A").iterdir() if p.suffix.lower() in SUFFIXES):
        after = folder / "B" / before.name
        found = [p for p in (folder / "label").glob(before.stem + ".*")] if (folder / "label").is_dir() else []
        if not after.exists():
            raise SystemExit(f"{after}: missing; every picture of A/ needs one of the same name in B/")
        out.append((before.stem, before, after, found[0] if found else None))
    return out


def classes(label):
    """`(roads, buildings)` as 0/255 masks of 256 x 256."""
    values = np.asarray(Image.open(label))
    values = values.max(-1) if values.ndim == 3 else values
    levels = set(np.unique(values).tolist())
    if levels <= {0, 1, 2} and 2 in levels:
        masks = values == 1, values == 2
    else:
        masks = ((values >= 1) & (values <= 160) & (values != 255)), values > 160
    return [cv2.resize(np.where(m, 255, 0).astype(np.uint8), (SIZE, SIZE), interpolation=cv2.INTER_NEAREST) for m in masks]


def contours(mask, least=MIN_AREA):
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    return [int(a) for a in stats[1:count, cv2.CC_STAT_AREA] if a >= least]


def facts_of(roads, buildings, gone=False):
    road_areas, building_areas = contours(roads, 2 * MIN_AREA), contours(buildings)
    large = sum(a > LARGE for a in building_areas)
    road_share, building_share = shares(roads), shares(buildings)
    changed = bool(road_areas or building_areas)
    word = "removed" if gone else "added"
    return Facts(
        category="changed" if changed else "unchanged", road_count=len(road_areas), building_count=len(building_areas),
        road_cells=[int(s > CELL_THRESHOLD) for s in road_share] if road_areas else [0] * 9,
        building_cells=[int(s > CELL_THRESHOLD) for s in building_share] if building_areas else [0] * 9,
        road_share=[round(s, 4) for s in road_share], building_share=[round(s, 4) for s in building_share],
        **{f"houses_{word}": len(building_areas) - large, f"large_{word}": large, f"roads_{word}": len(road_areas)},
    )


def sentences(path):
    """name -> captions, of a LevirCCcaptions.json or of a plain object."""
    if path is None:
        return {}
    content = json.loads(path.read_text())
    if isinstance(content, dict) and "images" in content:
        return {pathlib.PurePath(i["filename"]).stem: [s["raw"].strip(" .").lower() for s in i["sentences"]]
                for i in content["images"]}
    return {pathlib.PurePath(k).stem: [s.strip(" .").lower() for s in v] for k, v in content.items()}


def annotate(folder, out, split="train", captions=None, gone=()):
    """Writes OUT; returns `[(picture name, Facts)]` of the pairs with a label."""
    for date in "AB":
        (out / "images" / date).mkdir(parents=True, exist_ok=True)
    scenes = []
    for name, before, after, label in find(folder, split):
        if label is None:
            continue
        for date, path in (("A", before), ("B", after)):
            Image.open(path).convert("RGB").save(out / "images" / date / f"{name}.png")
        scenes.append((f"{name}.png", facts_of(*classes(label), gone=name in gone)))
    if not scenes:
        raise SystemExit(f"{folder}: no pair has a label")
    write(scenes, out, 0, 4)
    spoken = sentences(captions)
    if spoken:
        entries = [
            entry(name, facts, [(CAPTION, spoken[stem][0])], captions=spoken[stem], facts=truth(facts))
            for name, facts in scenes if (stem := pathlib.PurePath(name).stem) in spoken
        ]
        (out / "annotations" / "changechat_105k_test.json").write_text(json.dumps(entries, indent=1) + "\n")
    return scenes


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--split", default="train")
    parser.add_argument("--captions", type=pathlib.Path)
    parser.add_argument("--gone", type=pathlib.Path)
    args = parser.parse_args()
    gone = set(args.gone.read_text().split()) if args.gone else ()
    scenes = annotate(args.pairs, args.out, args.split, args.captions, gone)
    print(f"{len(scenes)} pairs, {sum(f.changed for _, f in scenes)} changed: {args.out}")


if __name__ == "__main__":
    main()
