"""The ChangeChat-105k annotation files of a set of scenes (ANNOTATIONS.md)."""

import json
import random

from . import language
from .facts import GROUNDS, REGIONS, true_regions
from .language import (
    CAPTION, CLASSIFY, COUNT, LOCALIZE, captions, classify_answer, count_answer, dialogue, localize_answer,
)
from .questions import KINDS, ask


def vocabulary():
    """What `dvlm eval` needs to find the facts that a caption states
    (`language.stated_facts`), as one JSON object."""
    return {
        "unchanged": list(language.UNCHANGED_CAPTIONS),
        "quantities": {word: list(span) for word, span in language.QUANTITY_RANGE.items()},
        "things": {noun: list(fields) for noun, fields in language.NOUNS.items()},
        "gone": list(language.GONE),
        "cuts": [list(cut) for cut in language.CUTS],
        "cleared": language.CLEARED,
        "grounds": list(GROUNDS),
        "places": [phrase for phrase, _ in REGIONS],
    }


def truth(facts):
    """What a caption's entry says of its pair."""
    return {**facts.to_json(), "true_places": true_regions(facts.shares())}


def entry(name, facts, turns, suffix="", /, **more):
    stem = name.removesuffix(".png")
    conversations = []
    for question, answer in turns:
        conversations += [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {
        "id": stem + suffix,
        "image": [f"A/{name}", f"B/{name}"],
        "changeflag": int(facts.changed),
        "category": facts.category,
        **more,
        "conversations": conversations,
    }


def write(scenes, out, seed, questions):
    """`scenes` is `[(name, facts), ...]`; files go to `out`."""
    rng = random.Random(f"annotations/{seed}")
    files = {name: [] for name in ("test", "test_binary", "test_count", "test_loc", "test_open", "test_dialog")}
    for number, (name, facts) in enumerate(scenes):
        references = captions(facts)
        files["test"].append(entry(name, facts, [(CAPTION, references[0])], captions=references, facts=truth(facts)))
        files["test_binary"].append(entry(name, facts, [(CLASSIFY, classify_answer(facts))]))
        files["test_count"].append(entry(name, facts, [(COUNT, count_answer(facts))]))
        files["test_loc"].append(entry(name, facts, [(LOCALIZE, localize_answer(facts))]))
        for i, kind in enumerate(rng.sample(list(KINDS), k=questions)):
            _, question, answer = ask(facts, rng, kind)
            files["test_open"].append(entry(name, facts, [(question, answer)], f"_q{i}", kind=kind))
        turns = dialogue(facts, rng, None if number % 2 else rng.randint(2, 6))
        files["test_dialog"].append(entry(name, facts, turns, "_d0"))
    (out / "annotations").mkdir(parents=True, exist_ok=True)
    for name, entries in files.items():
        _write(out / "annotations" / f"changechat_105k_{name}.json", entries)
    (out / "annotations" / "language.json").write_text(json.dumps(vocabulary(), indent=1) + "\n")
    _write(out / "scenes.json", [{"name": name, **facts.to_json()} for name, facts in scenes])


def _write(path, records):
    path.write_text("[\n" + ",\n".join(json.dumps(r) for r in records) + "\n]\n")
