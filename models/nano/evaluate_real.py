"""What the model is worth on real ground, as one table.

    python evaluate_real.py --weights weights --pairs DIR [--season DIR ...] [--scenes DIR ...]

`--pairs`   A/, B/ and label/ (white = changed buildings; a picture without a label
            counts only where no label is needed)
`--season`  pairs between which nothing was built: A/ and B/, or NAME_a and NAME_b
`--scenes`  single pictures: each is varied, and compared with another one

Pictures are read where they lie and never copied. Every row has the number of
pictures and an interval of 95 % (Wilson for shares, bootstrap over pairs for the
rest). The answers are those of PyTorch on unquantised weights.
"""

import argparse
import json
import pathlib
import random

import cv2
import numpy as np
import torch
from PIL import Image

from build_data import shrink
from deltavlm import layout
from evaluate import parse_cells, parse_count
from ground.variations import AFTER, BOTH, SAME_SCENE
from scenes.facts import CELL_THRESHOLD, CELLS as CELL_NAMES
from scenes.truth import MIN_AREA
from training.answering import Answerer, encoded
from training.finding import load_fusion
from training.survey import survey
from training.texts import Texts
from training.trust import read, score

SIDE = 256
SUFFIXES = (".png", ".jpg", ".jpeg", ".JPG")
BUILT, GONE = ("built", "appear", "construct", "can now be seen"), ("remov", "disappear", "demolish")


# --- pictures ----------------------------------------------------------------------

def picture(path, mode="RGB"):
    image = Image.open(path).convert(mode)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    method = Image.NEAREST if mode == "L" else Image.BICUBIC
    return np.asarray(image.resize((SIDE, SIDE), method))


def two_dates(folder):
    """`[(name, before, after)]` of A/ and B/, or of NAME_a and NAME_b."""
    if (folder / "A").is_dir():
        paths = [(p.stem, p, folder / "B" / p.name) for p in sorted((folder / "A").iterdir()) if p.suffix in SUFFIXES]
    else:
        paths = [(p.stem[:-2], p, p.with_name(p.name.replace("_a.", "_b."))) for p in sorted(folder.glob("*_a.*"))]
    return [(name, picture(a), picture(b)) for name, a, b in paths if b.exists()]


def labels(folder, names):
    """Building-change masks by name."""
    found = {}
    for path in sorted((folder / "label").glob("*")) if (folder / "label").is_dir() else []:
        if path.stem in names:
            found[path.stem] = picture(path, "L") > 127
    return found


def cells_of(mask):
    edges = [round(SIDE * k / 3) for k in range(4)]
    return {3 * r + c for r in range(3) for c in range(3)
            if mask[edges[r]:edges[r + 1], edges[c]:edges[c + 1]].mean() > CELL_THRESHOLD}


def objects_of(mask):
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return int((stats[1:, cv2.CC_STAT_AREA] >= MIN_AREA).sum())


# --- intervals ---------------------------------------------------------------------

def called(judge, said):
    """A row of how many are called changed, and how many are doubted whatever they are
    called."""
    row = share(sum(judge.changed(s) for s in said), len(said))
    if said and said[0].is_doubted is not None:
        row["doubted"] = sum(s.is_doubted for s in said)
    return row


def share(hits, n):
    """A row of a share with its Wilson interval."""
    if not n:
        return {"n": 0}
    z, p = 1.96, hits / n
    middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return {"hits": int(hits), "n": int(n), "share": p, "interval": [(middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)]}


def bootstrap(values, statistic, draws=1000):
    """A row of a statistic over per-pair values."""
    if not len(values):
        return {"n": 0}
    rng = np.random.default_rng(0)
    found = [statistic([values[i] for i in rng.integers(0, len(values), len(values))]) for _ in range(draws)]
    return {"value": statistic(values), "n": len(values), "interval": list(np.nanpercentile(found, (2.5, 97.5)))}


def f1(counts):
    tp, said, real = (sum(c[i] for c in counts) for i in range(3))
    return 2 * tp / max(1, said + real)


# --- the model ---------------------------------------------------------------------

class Judge:
    def __init__(self, weights, fusion):
        self.answerer = Answerer(layout.load(weights), Texts(weights))
        self.side = self.answerer.model.config.image_size
        self.fusion = fusion
        config = self.answerer.model.config
        self.trust = json.loads((weights / "deltavlm.json").read_text()).get("trust")
        if self.trust:
            self.statistics = read(weights / self.trust["file"], self.trust, config.vision_width)

    def surveys(self, pairs):
        """`Said` of `[(before, after)]`."""
        if not pairs:
            return []
        found = []
        for start in range(0, len(pairs), 32):
            images = np.stack([[shrink(np.ascontiguousarray(x), self.side) for x in p] for p in pairs[start:start + 32]])
            features = encoded(self.answerer.model, images)
            with torch.no_grad():
                part = survey(self.answerer, self.answerer.model.difference(features[:, 0], features[:, 1]))
            if self.trust:
                for said, trust in zip(part, score(self.trust, self.statistics, features.numpy())[0]):
                    said.is_doubted = bool(trust < self.trust["threshold"])
            found += part
        return found

    def changed(self, said, fused=True):
        return said.finding(self.fusion) > 0.5 if fused else said.yes > 0.5


def direction(caption):
    """+1 only building, -1 only demolition, 0 both or neither."""
    up, down = any(w in caption for w in BUILT), any(w in caption for w in GONE)
    return up - down


def pair_rows(judge, pairs, masks):
    rows = {}
    said = judge.surveys([(a, b) for _, a, b in pairs])
    back = judge.surveys([(b, a) for _, a, b in pairs])
    everything = said + back
    rows["contradictions, answers as given"] = share(sum(bool(s.contradicts(s.yes > 0.5)) for s in said), len(said))
    truth = {name: mask.mean() > 0.01 for name, mask in masks.items()}
    for fused, name in ((False, "P(yes)"), (True, "finding")):
        ok = [judge.changed(s, fused) == truth[n] for (n, _, _), s in zip(pairs, said) if n in truth]
        rows[f"changed or not, {name}"] = share(sum(ok), len(ok))
        rows[f"expected calibration error, {name}"] = calibration(judge, pairs, said, back, truth, fused)
    cells, everywhere, errors, right = [], [], [], []
    for (name, _, _), s, r in zip(pairs, said, back):
        if name not in masks:
            continue
        real = cells_of(masks[name])
        found = parse_cells(s.localize) or (set(), set())
        named = {i for i, cell in enumerate(CELL_NAMES) if cell in found[1]}
        cells.append((len(named & real), len(named), len(real)))
        everywhere.append((len(real), 9, len(real)))
        count = parse_count(s.count)
        errors.append(abs((count or (0, 0))[1] - objects_of(masks[name])))
        if truth[name]:
            right += [direction(s.caption) == 1, direction(r.caption) == -1]
    rows["cells F1, buildings"] = bootstrap(cells, f1)
    rows["cells F1 of naming all cells"] = bootstrap(everywhere, f1)
    rows["building count MAE"] = bootstrap(errors, np.mean)
    rows["direction right in captions (assumed built, both orders)"] = share(sum(right), len(right))
    rows["identical pictures called changed"] = called(judge, judge.surveys([(x, x) for _, a, b in pairs for x in (a, b)]))
    rows["real pairs called changed, both orders"] = called(judge, everything)
    for title, variations in (("after-picture", AFTER), ("both pictures", BOTH)):
        changed = [(a, b) for name, a, b in pairs if truth.get(name)]
        for name, vary in variations.items():
            rng = random.Random(name)
            shown = [(vary(a, rng) if title == "both pictures" else a, vary(b, rng)) for a, b in changed]
            found = judge.surveys(shown)
            rows[f"real changes found, {title} {name}"] = called(judge, found)
    return rows, everything


def calibration(judge, pairs, said, back, truth, fused):
    """Over both orders of every labelled pair, ten bins."""
    sure, ok = [], []
    for answers in (said, back):
        for (name, _, _), s in zip(pairs, answers):
            if name in truth:
                p = s.finding(judge.fusion) if fused else s.yes
                sure.append(max(p, 1 - p))
                ok.append((p > 0.5) == truth[name])
    rows = list(zip(sure, ok))

    def ece(rows):
        sure, ok = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
        bins = np.minimum((sure * 10).astype(int), 9)
        return float(sum((bins == b).mean() * abs(sure[bins == b].mean() - ok[bins == b].mean()) for b in set(bins)))

    return bootstrap(rows, ece, 300)


def scene_rows(judge, scenes):
    """One scene varied, and compared with another scene."""
    rows = {}
    for name, vary in SAME_SCENE.items():
        rng = random.Random(name)
        shown = []
        for scene in scenes:
            before, after = scene, vary(scene, rng)
            shown.append((before[24:-24, 24:-24], after[24:-24, 24:-24]))
        found = judge.surveys(shown)
        rows[f"one scene, {name}: called changed"] = called(judge, found)
    other = scenes[1:] + scenes[:1]
    found = judge.surveys(list(zip(scenes, other)))
    rows["unrelated places called changed"] = called(judge, found)
    return rows


def season_rows(judge, folder):
    pairs = two_dates(folder)
    shown = [(a, b) for _, a, b in pairs] + [(b, a) for _, a, b in pairs]
    found = judge.surveys(shown)
    return {
        f"another season, {folder.name} (both orders): called changed": called(judge, found),
        f"another season, {folder.name}: contradictions": share(sum(bool(s.contradicts(s.yes > 0.5)) for s in found), len(found)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", type=pathlib.Path, default=pathlib.Path(__file__).parent / "weights")
    parser.add_argument("--fusion", type=pathlib.Path, help="a deltavlm.json whose fusion to use instead of the weights' own")
    parser.add_argument("--pairs", type=pathlib.Path, action="append", default=[])
    parser.add_argument("--season", type=pathlib.Path, action="append", default=[])
    parser.add_argument("--scenes", type=pathlib.Path, action="append", default=[])
    parser.add_argument("--every", type=int, default=1, help="only every Nth of the single pictures")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    judge = Judge(args.weights, load_fusion(args.fusion or args.weights / "deltavlm.json"))
    out = {}
    for folder in args.pairs:
        pairs = two_dates(folder)
        rows, _ = pair_rows(judge, pairs, labels(folder, {name for name, _, _ in pairs}))
        out[str(folder.name)] = rows
    for folder in args.season:
        out[f"season {folder.name}"] = season_rows(judge, folder)
    if args.scenes:
        paths = [p for f in args.scenes for p in sorted(f.rglob("*")) if p.suffix in SUFFIXES and p.parent.name != "label"]
        out["scenes"] = scene_rows(judge, [picture(p) for p in paths[::args.every]])
    if args.json:
        print(json.dumps(out, indent=1, default=float))
        return
    for part, rows in out.items():
        print(f"\n{part}")
        for name, row in rows.items():
            print(f"  {name:72} {line(row)}")


def line(row):
    if not row["n"]:
        return "-"
    low, high = row["interval"]
    if "hits" in row:
        doubted = f", doubted {row['doubted']}" if "doubted" in row else ""
        return f"{row['hits']} of {row['n']} [{low:.2f}, {high:.2f}]{doubted}"
    return f"{row['value']:.3f} of {row['n']} [{low:.2f}, {high:.2f}]"


if __name__ == "__main__":
    main()
