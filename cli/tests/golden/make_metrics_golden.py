"""Writes what the customary implementations say about committed answers.

    python make_metrics_golden.py

Needs `pycocoevalcap` (with Java, for its tokenizer) and `scikit-learn`.
`captions.json` holds corpora with BLEU, ROUGE-L and CIDEr-D; `metrics.json`
holds answers with accuracy, errors and set measures.
"""

import json
import math
import pathlib
import random

import numpy as np
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
from sklearn import metrics

HERE = pathlib.Path(__file__).parent
CELLS = [f"{v}-{h}" for v in ("top", "center", "bottom") for h in ("left", "center", "right")]
SENTENCES = [
    "A road is built in the bareland and many houses appear along it.",
    "two rows of houses are constructed on both sides of the road",
    "the scene is the same as before",
    "There is no difference.",
    "no change has occurred",
    "almost nothing has changed",
    "Some trees are removed, and a large building appears in the top-left corner",
    "a parking lot, with cars, replaces the meadow (in the centre)",
    "villas have been built next to the road; the woodland's edge was cleared",
    "it doesn't show any change",
    "there are 2 new roads and 17 new buildings",
    "it cannot be told",
]
WORDS = "a the road roads house houses is are built removed along many trees and in of corner".split()


def tokenized(pairs):
    """Both sides through the tokenizer of the evaluation."""
    said = {i: [{"caption": s}] for i, (s, _) in enumerate(pairs)}
    references = {i: [{"caption": r} for r in rs] for i, (_, rs) in enumerate(pairs)}
    tokenizer = PTBTokenizer()
    return tokenizer.tokenize(said), tokenizer.tokenize(references)


def corpus(rng, size, references):
    def sentence():
        words = rng.choice(SENTENCES).split()
        for _ in range(rng.randint(0, 3)):
            words[rng.randrange(len(words))] = rng.choice(WORDS)
        return " ".join(words)

    pairs = [(sentence(), [sentence() for _ in range(references)]) for _ in range(size)]
    said, wanted = tokenized(pairs)
    bleu, _ = Bleu(4).compute_score(wanted, said, verbose=0)
    rouge, _ = Rouge().compute_score(wanted, said)
    cider, _ = Cider().compute_score(wanted, said)
    return {"pairs": pairs, "bleu": bleu, "rouge_l": float(rouge), "cider_d": float(cider)}


def count_text(roads, buildings):
    if roads == buildings == 0:
        return "there are no changes in roads or buildings"
    one = lambda n, noun: f"no new {noun}s" if n == 0 else f"{n} new {noun}" + ("s" if n > 1 else "")
    return f"{one(roads, 'road')} and {one(buildings, 'building')}"


def grid_text(roads, buildings):
    one = lambda flags: "[" + ", ".join(c for c, on in zip(CELLS, flags) if on) + "]"
    return f"roads {one(roads)} buildings {one(buildings)}"


def ece(confidence, right):
    confidence, right = np.array(confidence), np.array(right, float)
    bins = np.clip(np.ceil(confidence * 10), 1, 10)
    return sum(abs(confidence[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean()
               for b in np.unique(bins))


def main():
    rng = random.Random(3)
    corpora = [corpus(rng, 1, 1), corpus(rng, 7, 1), corpus(rng, 40, 5), corpus(rng, 25, 2)]
    tokens = []
    said, _ = tokenized([(s, [s]) for s in SENTENCES])
    for i, sentence in enumerate(SENTENCES):
        tokens.append([sentence, said[i][0]])
    (HERE / "captions.json").write_text(json.dumps({"corpora": corpora, "tokens": tokens}, indent=1) + "\n")

    answers = []
    truth, guess, confidence = [], [], []
    for _ in range(60):
        t = rng.random() < 0.5
        g = t if rng.random() < 0.8 else not t
        c = round(rng.uniform(0.5, 1.0), 4)
        truth.append(t), guess.append(g), confidence.append(c)
        answers.append(["classify", "yes" if g else "no", "yes" if t else "no", c])
    p, r, f, _ = metrics.precision_recall_fscore_support(truth, guess, average="binary")
    # The answers are single precision.
    single = [float(np.float32(c)) for c in confidence]
    classify = {"accuracy": metrics.accuracy_score(truth, guess), "precision": p, "recall": r, "f1": f,
                "ece": ece(single, [t == g for t, g in zip(truth, guess)])}

    counts = {"roads": ([], []), "buildings": ([], [])}
    for _ in range(40):
        t = [rng.choice([0, 0, 1, 2]), rng.choice([0, 0, 3, 8, 17])]
        g = [max(0, n + rng.choice([-1, 0, 0, 1])) for n in t]
        for name, tn, gn in zip(counts, t, g):
            counts[name][0].append(tn), counts[name][1].append(gn)
        answers.append(["count", count_text(*g), count_text(*t), 1.0])
    count = {name: [metrics.mean_absolute_error(t, g), math.sqrt(metrics.mean_squared_error(t, g))]
             for name, (t, g) in counts.items()}

    grids = {"roads": ([], []), "buildings": ([], [])}
    for _ in range(40):
        t = [[int(rng.random() < share) for _ in range(9)] for share in (rng.choice([0, 0.2]), 0.4)]
        g = [[c if rng.random() < 0.85 else 1 - c for c in cells] for cells in t]
        for name, tc, gc in zip(grids, t, g):
            grids[name][0].append(tc), grids[name][1].append(gc)
        answers.append(["localize", grid_text(*g), grid_text(*t), 1.0])
    localize = {}
    for name, (t, g) in grids.items():
        t, g = np.array(t), np.array(g)
        p, r, f, _ = metrics.precision_recall_fscore_support(t, g, average="micro")
        localize[name] = [p, r, f, metrics.jaccard_score(t, g, average="samples", zero_division=0),
                          metrics.accuracy_score(t, g)]
    golden = {"answers": answers, "classify": classify, "count": count, "localize": localize}
    (HERE / "metrics.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
