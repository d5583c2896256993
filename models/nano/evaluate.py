"""Quick PyTorch-side figures for development; `dvlm eval` makes the table.

    python evaluate.py --weights weights --set DIR [--limit N] [--json]
    python evaluate.py --weights weights --real DIR      (A/, B/, label/)
"""

import argparse
import json
import pathlib
import re
from collections import defaultdict

import numpy as np
import torch
from PIL import Image

from build_data import shrink
from deltavlm import layout
from scenes.facts import CELL_THRESHOLD, CELLS, Facts
from scenes.language import CAPTION, CLASSIFY, COUNT, LOCALIZE, dialogue_text, omitted, stated_facts
from training.answering import Answerer
from training.data import normalised
from training.texts import Texts

THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99)


def load_pairs(directory, names, side):
    def picture(date, name):
        return shrink(np.asarray(Image.open(directory / date / name).convert("RGB")), side)

    return normalised(np.stack([[picture("A", n), picture("B", n)] for n in names]))


def parse_count(text):
    """`(roads, buildings)`; None when the text is outside the grammar."""
    if text == "there are no changes in roads or buildings":
        return 0, 0
    match = re.fullmatch(r"(no|\d+) new roads? and (no|\d+) new buildings?", text)
    return match and tuple(0 if n == "no" else int(n) for n in match.groups())


def parse_cells(text):
    """`(road cells, building cells)` as sets; None outside the grammar."""
    match = re.fullmatch(r"roads ?\[(.*?)\] buildings ?\[(.*?)\]", text)
    if not match:
        return None
    sets = tuple({c for c in part.split(", ") if c} for part in match.groups())
    return sets if all(s <= set(CELLS) for s in sets) else None


def f1_of(truths, answers):
    tp = sum(len(t & a) for t, a in zip(truths, answers))
    said, real = sum(map(len, answers)), sum(map(len, truths))
    precision, recall = tp / max(1, said), tp / max(1, real)
    return {"precision": precision, "recall": recall, "f1": 2 * tp / max(1, said + real)}


def classify_figures(yes, truth, categories):
    said = yes > 0.5
    tp, fp, fn = (said & truth).sum(), (said & ~truth).sum(), (~said & truth).sum()
    sure = np.maximum(yes, 1 - yes)
    ece, bins = 0.0, np.minimum((sure * 10).astype(int), 9)
    for b in range(10):
        inside = bins == b
        if inside.any():
            ece += inside.mean() * abs(sure[inside].mean() - (said == truth)[inside].mean())
    alarms = {
        c: float(said[categories == c].mean()) for c in ("identical", "recoloured", "season") if (categories == c).any()
    }
    table = {}
    for t in THRESHOLDS:
        alert = yes > t
        table[str(t)] = {
            "precision": float((alert & truth).sum() / max(1, alert.sum())),
            "recall": float((alert & truth).sum() / max(1, truth.sum())),
        }
    return {
        "accuracy": float((said == truth).mean()), "f1": float(2 * tp / max(1, 2 * tp + fp + fn)),
        "precision": float(tp / max(1, tp + fp)), "recall": float(tp / max(1, tp + fn)),
        "ece": float(ece), "false_alarms": alarms, "thresholds": table,
    }


def figures(answerer, directory, limit):
    records = json.loads((directory / "scenes.json").read_text())[:limit]
    facts = [Facts.from_json(r) for r in records]
    names = [r["name"] for r in records]
    index = {name.removesuffix(".png"): i for i, name in enumerate(names)}
    pairs = answerer.pairs(load_pairs(directory / "images", names, answerer.model.config.image_size))
    yes = answerer.changed(pairs, CLASSIFY).numpy()
    truth = np.array([f.changed for f in facts])
    out = {"n": len(facts), "classify": classify_figures(yes, truth, np.array([f.category for f in facts]))}

    def ask_all(question):
        return answerer.answers(pairs, [(i, question) for i in range(len(facts))])

    counts = [parse_count(t) for t in ask_all(COUNT)]
    out["unparsed"] = sum(c is None for c in counts)
    errors = np.array([
        [abs(f.road_count - (c or (0, 0))[0]), abs(f.building_count - (c or (0, 0))[1])] for f, c in zip(facts, counts)
    ])
    out["count"] = {"roads_mae": float(errors[:, 0].mean()), "buildings_mae": float(errors[:, 1].mean())}
    cells = [parse_cells(t) for t in ask_all(LOCALIZE)]
    out["unparsed"] += sum(c is None for c in cells)
    cells = [c or (set(), set()) for c in cells]
    out["localize"] = {
        name: f1_of([{CELLS[i] for i in range(9) if getattr(f, flags)[i]} for f in facts], [c[k] for c in cells])
        for k, (name, flags) in enumerate((("roads", "road_cells"), ("buildings", "building_cells")))
    }
    out["caption"] = caption_figures(ask_all(CAPTION), facts)
    out["question"] = open_figures(answerer, pairs, directory, index)
    out["dialog"] = dialog_figures(answerer, pairs, directory, index)
    return out


def caption_figures(texts, facts):
    stated = [stated_facts(t, f) for t, f in zip(texts, facts) if f.changed]
    parts = defaultdict(list)
    for facts_of_one in stated:
        for name, ok in facts_of_one:
            parts[name.split(":")[0]].append(ok)
    each = [ok for one in stated for _, ok in one]
    return {
        "changed_all_true": float(np.mean([all(ok for _, ok in s) for s in stated])),
        "changed_share_of_stated_facts_true": float(np.mean(each)),
        "unchanged_true": float(np.mean([
            all(ok for _, ok in stated_facts(t, f)) for t, f in zip(texts, facts) if not f.changed
        ])),
        "by_fact": {k: float(np.mean(v)) for k, v in parts.items()},
        "changed_nothing_omitted": float(np.mean([not omitted(t, f) for t, f in zip(texts, facts) if f.changed])),
    }


def _entries(directory, file, index):
    entries = json.loads((directory / "annotations" / file).read_text())
    for entry in entries:
        stem = pathlib.PurePath(entry["image"][0]).stem
        if stem in index:
            values = [turn["value"] for turn in entry["conversations"]]
            yield index[stem], entry, list(zip(values[::2], values[1::2]))


def open_figures(answerer, pairs, directory, index):
    entries = list(_entries(directory, "changechat_105k_test_open.json", index))
    said = answerer.answers(pairs, [(i, turns[0][0]) for i, _, turns in entries])
    kinds = defaultdict(list)
    for text, (_, entry, turns) in zip(said, entries):
        kinds[entry["kind"]].append(text == turns[0][1])
    return {
        "exact": float(np.mean([ok for oks in kinds.values() for ok in oks])),
        "by_kind": {kind: round(float(np.mean(oks)), 3) for kind, oks in sorted(kinds.items())},
    }


def dialog_figures(answerer, pairs, directory, index):
    asked = [
        (i, dialogue_text(turns[:k], turns[k][0]), turns[k][1])
        for i, _, turns in _entries(directory, "changechat_105k_test_dialog.json", index)
        for k in range(len(turns))
    ]
    said = answerer.answers(pairs, [(i, q) for i, q, _ in asked])
    return {"exact": float(np.mean([text == answer for text, (_, _, answer) in zip(said, asked)]))}


def real_figures(answerer, directory):
    """Figures on real pairs with a building-change mask (white = changed)."""
    names = sorted(p.name for p in (directory / "A").glob("*.png"))
    pairs = answerer.pairs(load_pairs(directory, names, answerer.model.config.image_size))
    yes = answerer.changed(pairs, CLASSIFY).numpy()
    texts = {q: answerer.answers(pairs, [(i, q) for i in range(len(names))]) for q in (COUNT, LOCALIZE, CAPTION)}
    truths, answers, rows = [], [], []
    for i, name in enumerate(names):
        row = {"name": name, "yes": round(float(yes[i]), 3), **{q.split()[1]: t[i] for q, t in texts.items()}}
        label = directory / "label" / name
        if label.exists():
            mask = np.asarray(Image.open(label).convert("L")) > 127
            edges = [round(mask.shape[0] * k / 3) for k in range(4)]
            truth = {
                CELLS[3 * r + c] for r in range(3) for c in range(3)
                if mask[edges[r]:edges[r + 1], edges[c]:edges[c + 1]].mean() > CELL_THRESHOLD
            }
            found = parse_cells(texts[LOCALIZE][i]) or (set(), set())
            truths.append(truth)
            answers.append(found[1])
            row["truth"] = [c for c in CELLS if c in truth]
        rows.append(row)
    same = torch.stack([load_pairs(directory, [n], answerer.model.config.image_size)[0, [0, 0]] for n in names])
    return {
        "changed": f"{int((yes > 0.5).sum())} of {len(names)}",
        "buildings": f1_of(truths, answers),
        "all_cells_baseline": f1_of(truths, [set(CELLS)] * len(truths)),
        "false_alarms_on_identical": int((answerer.changed(answerer.pairs(same), CLASSIFY) > 0.5).sum()),
        "pairs": rows,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", type=pathlib.Path, default=pathlib.Path(__file__).parent / "weights")
    parser.add_argument("--set", type=pathlib.Path)
    parser.add_argument("--real", type=pathlib.Path)
    parser.add_argument("--limit", type=int)
    args = parser.parse_args()
    answerer = Answerer(layout.load(args.weights), Texts(args.weights))
    if args.set:
        print(json.dumps(figures(answerer, args.set, args.limit), indent=1))
    if args.real:
        print(json.dumps(real_figures(answerer, args.real), indent=1))


if __name__ == "__main__":
    main()
