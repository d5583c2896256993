"""Makes the statistics by which the runtime tells pictures unlike those that a model
learned, and pairs of two places, and writes them beside a `deltavlm.json`.

    python fit_trust.py --weights weights --data CHUNKS [--data ...] --set DIR [--set ...] [--write]

`--data`   folders of build_data.py and build_real.py: the ground that the model knows
`--set`    labelled pairs that training never saw (generate.py, build_real.py --set)

Trust in the pictures is fitted on changed pairs that the model finds: does it still
find the change when the pictures are dark, grey, hazy, clouded, ... at this distance
from the statistics? Trust in the place is fitted on pairs of one place against pairs
put together from two. The threshold is where a share of the plain pairs falls below.
"""

import argparse
import json
import pathlib
import random

import numpy as np
import torch

from build_data import shrink
from deltavlm import layout
from evaluate_real import picture
from ground.variations import AFTER, BOTH
from scenes.language import CLASSIFY
from training.answering import Answerer, encoded
from training.texts import Texts
from training.trust import PLACE_RANK, RANK, logistic, score, statistics

#: Share of plain pairs that may be doubted.
DOUBTED = 0.02
FILE = "trust.table"


def found(answerer, features):
    """P(yes) of every pair."""
    pairs = torch.cat([answerer.model.difference(f[:, 0], f[:, 1]) for f in features.split(32)])
    return answerer.changed(pairs, CLASSIFY).numpy()


def chunks(folder, limit, rng):
    paths = sorted((folder / "chunks").glob("[0-9]*.npz"))
    kept = []
    for path in paths:
        with np.load(path) as chunk:
            indices = rng.sample(range(len(chunk["images"])), min(len(chunk["images"]), -(-limit // len(paths))))
            kept.append(chunk["images"][indices])
    return np.concatenate(kept)[:limit]


def labelled(folder, limit):
    """`(before and after of 256 pixels, changed?)` of a set, the first of it."""
    records = json.loads((folder / "scenes.json").read_text())[:limit]
    shown = [[picture(folder / "images" / d / r["name"]) for d in "AB"] for r in records]
    return shown, np.array([r["changed"] for r in records])


def varied(shown, side):
    """`(name, uint8 pairs)` of every variation of one or both pictures."""
    for both, variations in ((False, AFTER), (True, BOTH)):
        for name, vary in variations.items():
            rng = random.Random(name)
            pairs = [[vary(a, rng) if both else a, vary(b, rng)] for a, b in shown]
            yield f"{'both' if both else 'after'} {name}", _small(pairs, side)


def _small(pairs, side):
    return np.stack([[shrink(np.ascontiguousarray(x), side) for x in p] for p in pairs])


def fit(answerer, learned, sets, rank=RANK, place_rank=PLACE_RANK, report=print):
    """`(record, statistics)`. `learned` are uint8 pairs as the model sees them; `sets`
    what `labelled` gives."""
    model = answerer.model
    side = model.config.image_size
    known = encoded(model, learned).numpy()
    stats = statistics(known, rank, place_rank)
    distances, seen, plain = [], [], []
    for shown, changed in sets:
        features = encoded(model, _small(shown, side))
        plain.append(features.numpy())
        sure = (found(answerer, features) > 0.5) & changed
        kept = [p for p, s in zip(shown, sure) if s]
        if not kept:
            continue
        for name, images in varied(kept, side):
            features = encoded(model, images)
            still = found(answerer, features) > 0.5
            distances.append(stats.distance(features.numpy()))
            seen.append(still)
            report(f"{name}: still found {still.sum()} of {len(still)}, distance {np.median(distances[-1]):.2f}")
    plain = np.concatenate(plain)
    pictures = logistic(np.concatenate(distances), np.concatenate(seen))
    if pictures[1] > 0:
        raise SystemExit("changes are found no less often far from the statistics: nothing to fit; give more pairs")
    same = np.concatenate((known, plain))
    other = np.stack((same[:, 0], np.roll(same[:, 1], 7, 0)), 1)
    correlations = np.concatenate((stats.correlation(same), stats.correlation(other)))
    one_place = np.repeat([True, False], len(same))
    record = {
        "file": FILE, "rank": rank, "place_rank": place_rank,
        "pictures": pictures, "place": logistic(correlations, one_place),
    }
    trust = score(record, stats, plain)[0]
    record["threshold"] = round(float(np.quantile(trust, DOUBTED)), 4)
    apart = score(record, stats, other)[0] < record["threshold"]
    report(f"threshold {record['threshold']}; pairs of two places doubted: {apart.sum()} of {len(apart)}")
    return record, stats


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", type=pathlib.Path, default=pathlib.Path(__file__).parent / "weights")
    parser.add_argument("--data", type=pathlib.Path, action="append", required=True)
    parser.add_argument("--set", type=pathlib.Path, action="append", required=True)
    parser.add_argument("--limit", type=int, default=300, help="pairs of every --data folder")
    parser.add_argument("--pairs", type=int, default=100, help="pairs of every --set folder")
    parser.add_argument("--write", action="store_true", help="beside and into the deltavlm.json of the weights")
    args = parser.parse_args()
    answerer = Answerer(layout.load(args.weights), Texts(args.weights))
    rng = random.Random(0)
    learned = np.concatenate([chunks(folder, args.limit, rng) for folder in args.data])
    record, stats = fit(answerer, learned, [labelled(folder, args.pairs) for folder in args.set])
    print(json.dumps(record))
    if args.write:
        stats.write(args.weights / FILE)
        path = args.weights / "deltavlm.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "trust": record}, indent=2) + "\n")


if __name__ == "__main__":
    main()
