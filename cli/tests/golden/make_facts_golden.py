"""Writes which facts captions state, as the nano model's recipe finds them.

    python make_facts_golden.py

`facts.json` holds the recipe's `language.json`, and captions with the facts of
a pair and the `stated_facts` of `models/nano/scenes/language.py`.
"""

import json
import pathlib
import random
import sys

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2] / "models" / "nano"))

from scenes.annotations import truth, vocabulary  # noqa: E402
from scenes.facts import GROUNDS, Facts  # noqa: E402
from scenes.language import captions, stated_facts  # noqa: E402

#: What a model may also say.
ODD = (
    "", "the sky is blue", "a houseboat appears", "two large buildings, a road and many houses are built.",
    "a house a house is built", "seven houses are built in the woods", "a road is built on the grassland in the center",
    "trees are removed", "trees are removed and trees are removed and a road is built at the top",
)


def some_facts(rng):
    shares = [round(rng.random() * rng.choice((0, 0, 0.3)), 3) for _ in range(9)]
    numbers = {
        f"{kind}_{way}": rng.choice((0, 0, 1, 2, 4, 12))
        for kind in ("houses", "large", "roads") for way in ("added", "removed")
    }
    if rng.random() < 0.3:
        numbers = {name: 0 for name in numbers}
    count = sum(numbers.values())
    return Facts(
        category="changed" if count else "identical", building_count=count,
        building_share=shares if count else [0.0] * 9,
        former_ground=rng.choice(("",) + GROUNDS) if count else "",
        woodland_cleared=bool(count) and rng.random() < 0.5, **numbers,
    )


def known(facts):
    unused = ("road_cells", "building_cells", "road_share", "building_share")
    return {name: value for name, value in truth(facts).items() if name not in unused}


def main():
    rng = random.Random(5)
    records = [some_facts(rng) for _ in range(40)]
    said = sorted({caption for facts in records for caption in captions(facts)} | set(ODD))
    found = []
    for i, facts in enumerate(records):
        own = captions(facts)[i % 5]
        for caption in (own, rng.choice(said), ODD[i % len(ODD)]):
            found.append((caption, known(facts), stated_facts(caption, facts)))
    lines = ",\n".join(json.dumps(record) for record in found)
    text = f'{{"language": {json.dumps(vocabulary())},\n"captions": [\n{lines}\n]}}\n'
    (HERE / "facts.json").write_text(text)


if __name__ == "__main__":
    main()
