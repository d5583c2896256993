"""Fits the weights of the one finding per pair on labelled pairs that training never
saw, and writes them into a `deltavlm.json`, from where the export takes them.

    python fit_fusion.py --weights weights --set DIR [--set DIR ...] [--pairs DIR ...] [--write]

`--set`    a folder of generate.py or build_real.py --set (scenes.json says what changed)
`--pairs`  A/, B/ and label/: more than 1 % white is changed
Twenty pairs are enough to move the bias; the other weights are drawn towards the
default ones the more, the fewer pairs there are.
"""

import argparse
import json
import pathlib

import numpy as np

from evaluate import load_pairs
from evaluate_real import Judge, labels, two_dates
from training.finding import DEFAULT_FUSION
from training.survey import survey

NAMES = ("bias", "yes", "none", "cells", "unchanged")
#: How strongly the weights are drawn to the default ones: as this many pairs would.
PRIOR = 4.0


def design(said):
    """One row of signals per pair."""
    return np.array([[1.0, *(s.signals()[n] for n in NAMES[1:])] for s in said])


def fit(signals, changed, start=DEFAULT_FUSION):
    """Penalised logistic regression by Newton's method."""
    centre = np.array([start[n] for n in NAMES])
    weights, changed = centre.copy(), np.asarray(changed, float)
    pull = PRIOR * np.array([0.05, 1, 1, 1, 1])

    def loss(w):
        x = signals @ w
        return np.logaddexp(0, np.where(changed > 0, -x, x)).sum() + 0.5 * (pull * (w - centre) ** 2).sum()

    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(signals @ weights, -30, 30)))
        gradient = signals.T @ (p - changed) + pull * (weights - centre)
        hessian = (signals.T * (p * (1 - p))) @ signals + np.diag(pull)
        step = np.linalg.solve(hessian, gradient)
        # A whole step overshoots where the start is sure and wrong.
        while loss(weights - step) > loss(weights) and np.abs(step).max() > 1e-9:
            step = step / 2
        weights = weights - step
        if np.abs(step).max() < 1e-6:
            break
    return {n: round(float(w), 4) for n, w in zip(NAMES, weights)}


def collected(judge, sets, folders):
    """`(answers, changed?)` of every labelled pair."""
    said, changed = [], []
    for folder in sets:
        records = json.loads((folder / "scenes.json").read_text())
        for start in range(0, len(records), 100):
            part = records[start:start + 100]
            images = load_pairs(folder / "images", [r["name"] for r in part], judge.side)
            said += survey(judge.answerer, judge.answerer.pairs(images))
        changed += [r["changed"] for r in records]
    for folder in folders:
        pairs = two_dates(folder)
        masks = labels(folder, {name for name, _, _ in pairs})
        known = [p for p in pairs if p[0] in masks]
        said += judge.surveys([(a, b) for _, a, b in known])
        changed += [masks[name].mean() > 0.01 for name, _, _ in known]
    return said, changed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", type=pathlib.Path, default=pathlib.Path(__file__).parent / "weights")
    parser.add_argument("--set", type=pathlib.Path, action="append", default=[])
    parser.add_argument("--pairs", type=pathlib.Path, action="append", default=[])
    parser.add_argument("--write", action="store_true", help="into the deltavlm.json of the weights")
    args = parser.parse_args()
    judge = Judge(args.weights, DEFAULT_FUSION)
    said, changed = collected(judge, args.set, args.pairs)
    if len(set(changed)) < 2:
        raise SystemExit(f"{len(changed)} pairs, all alike: name changed and unchanged ones")
    fusion = fit(design(said), changed)
    for name, weights in (("default", DEFAULT_FUSION), ("fitted", fusion)):
        right = np.mean([(s.finding(weights) > 0.5) == c for s, c in zip(said, changed)])
        print(f"{name}: {weights}, right {right:.3f} of {len(changed)}")
    if args.write:
        path = args.weights / "deltavlm.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "fusion": fusion}, indent=2) + "\n")


if __name__ == "__main__":
    main()
