"""Rendered pairs in memory, augmentation, and batches."""

import json
import pathlib
import random

import numpy as np
import torch

from scenes.facts import Facts, dihedral
from scenes.language import (
    CAPTION, CLASSIFY, COUNT, LOCALIZE, captions, classify_answer, count_answer, dialogue,
    dialogue_text, localize_answer,
)
from scenes.questions import KINDS, ask
from scenes.weather import spoil

MEAN = np.array((0.48145466, 0.4578275, 0.40821073), np.float32)
STD = np.array((0.26862954, 0.26130258, 0.27577711), np.float32)

#: Texts of one pair come in two groups of similar length, so that little of a
#: batch is padding: group -> (texts per pair, shares of the instructions).
GROUPS = {
    "short": (3, {"count": 0.27, "caption": 0.36, "open": 0.28, "classify": 0.05}),
    "long": (1, {"localize": 0.75, "dialogue": 0.25}),
}
#: What the truth of pairs from real pictures does not hold: category -> the kinds
#: of open questions that can be answered, and those that cannot.
ONLY = {"exchanged": ("buildings", "number of buildings", "place of buildings", "kind of building", "buildings before")}
NEVER = dict.fromkeys(("pasted", "erased", "relit", "revisit"), ("trees", "former ground")) | {
    "unlabelled": ("trees", "former ground", "buildings before"),
}
#: An unchanged pair is asked more often whether it changed, so that `yes` needs
#: more evidence than `no`: false alarms cost downlink.
CLASSIFY_UNCHANGED = 0.5


class Pairs:
    """The chunks of a data directory that fall to process `part` of `parts`.
    Chunks that appear later are taken in by `refresh`."""

    def __init__(self, directory, part=0, parts=1):
        self.folder, self.part, self.parts = pathlib.Path(directory) / "chunks", part, parts
        self.seen, self.places, self.facts = set(), [], []
        self.images, self.maps, self.density, self.known = [], [], [], []
        self.refresh()

    def refresh(self):
        paths = {p for p in self.folder.glob("[0-9]*[0-9].npz") if int(p.stem) // 250 % self.parts == self.part}
        for path in sorted(paths - self.seen):
            with np.load(path) as chunk:
                self.places += [(len(self.images), i) for i in range(len(chunk["facts"]))]
                self.images.append(chunk["images"])
                self.maps.append(chunk["maps"])
                self.density.append(chunk["density"])
                self.known.append(chunk["known"] if "known" in chunk else np.ones((len(chunk["facts"]), 6), bool))
                self.facts += [Facts.from_json(json.loads(line)) for line in chunk["facts"]]
        self.seen |= paths

    def __len__(self):
        return len(self.facts)

    def __getitem__(self, index):
        chunk, i = self.places[index]
        return self.images[chunk][i], self.maps[chunk][i], self.density[chunk][i], self.facts[index], self.known[chunk][i]

    def order(self, rng):
        """Endless indices, every pair once per round of at most 4000."""
        while True:
            self.refresh()
            indices = rng.sample(range(len(self)), k=min(len(self), 4000))
            yield from indices


def normalised(images):
    """uint8 `[..., S, S, 3]` to float32 `[..., 3, S, S]`."""
    values = (images.astype(np.float32) / 255.0 - MEAN) / STD
    return torch.from_numpy(np.moveaxis(values, -1, -3).copy())


def swapped(facts):
    """The truth of the same pair in reverse order of time."""
    return Facts(
        category=facts.category,
        road_count=facts.road_count, building_count=facts.building_count,
        road_cells=facts.road_cells, building_cells=facts.building_cells,
        road_share=facts.road_share, building_share=facts.building_share,
        houses_added=facts.houses_removed, houses_removed=facts.houses_added,
        large_added=facts.large_removed, large_removed=facts.large_added,
        roads_added=facts.roads_removed, roads_removed=facts.roads_added,
        buildings_before=facts.buildings_after, buildings_after=facts.buildings_before,
    )


def turned(facts, turns, mirror):
    """The truth of a turned and mirrored pair."""
    fields = ("road_cells", "building_cells", "road_share", "building_share")
    changes = {name: dihedral(getattr(facts, name), turns, mirror) for name in fields}
    return Facts(**{**facts.__dict__, **changes})


class Augmented:
    """Draws augmented pairs: the eight symmetries, reversed time, a mild change
    of brightness and colour per date, and weather, light and views.

    `sources` is `[(pairs, share of the batch), ...]`."""

    def __init__(self, sources, rng, reverse, spoiled=True):
        self.sources = [pairs for pairs, _ in sources]
        self.shares = [share for _, share in sources]
        self.rng, self.reverse, self.spoiled = rng, reverse, spoiled
        self.indices = [pairs.order(rng) for pairs in self.sources]

    def batch(self, size):
        """`(images [size, 2, 3, S, S], maps, density, facts, which maps are known)`."""
        drawn = self.rng.choices(range(len(self.sources)), self.shares, k=size)
        images, maps, density, facts, known = zip(*(self._one(self.sources[s], next(self.indices[s])) for s in drawn))
        images = np.stack(images)
        return (
            normalised(images.reshape(-1, *images.shape[2:])).unflatten(0, (size, 2)),
            torch.from_numpy(np.stack(maps).astype(np.float32) / 255.0),
            torch.from_numpy(np.stack(density).astype(np.float32)),
            list(facts),
            torch.from_numpy(np.stack(known)),
        )

    def _one(self, pairs, index):
        rng = self.rng
        turns, mirror = rng.randrange(4), rng.random() < 0.5
        images, maps, density, facts, known = pairs[index]
        facts = turned(facts, turns, mirror)
        images = np.rot90(images, turns, (1, 2))
        maps, density = np.rot90(maps, turns, (1, 2)), np.rot90(density, turns, (1, 2))
        if mirror:
            images, maps, density = images[:, :, ::-1], maps[..., ::-1], density[..., ::-1]
        if rng.random() < self.reverse:
            images, maps, facts = images[::-1], maps[[1, 0, 3, 2, 4, 5]], swapped(facts)
            known = known[[1, 0, 3, 2, 4, 5]]
        images = self._recoloured(images, facts.category == "identical")
        if self.spoiled and facts.category != "identical":
            images = spoil(images, maps[4:].max(0) / 255.0, rng)
        return images, maps, density, facts, known

    def _recoloured(self, images, together):
        rng = self.rng
        out = np.empty(images.shape, np.uint8)
        levels = np.arange(256, dtype=np.float32) / 255
        tables = None
        for i in range(2):
            if tables is None or not together:
                gamma, gain = np.exp(rng.gauss(0, 0.12)), np.exp(rng.gauss(0, 0.10))
                tables = [
                    np.clip(levels**gamma * gain * np.exp(rng.gauss(0, 0.03)) * 255, 0, 255).astype(np.uint8)
                    for _ in range(3)
                ]
            for c in range(3):
                out[i, ..., c] = tables[c][images[i, ..., c]]
        return out


def draw_texts(facts, rng, group):
    """Tasks about one pair: `[(question text, answer), ...]`."""
    count, mix = GROUPS[group]
    if facts.category in ONLY:
        mix = {"open": 0.8, "classify": 0.2 * facts.changed}
    if "classify" in mix and not facts.changed and facts.category not in ONLY:
        mix = {**mix, "classify": CLASSIFY_UNCHANGED}
    names = []
    while len(names) < count:
        name = rng.choices(list(mix), list(mix.values()))[0]
        if name not in names or name == "open":
            names.append(name)
    return [_draw(name, facts, rng) for name in names]


def _draw(name, facts, rng):
    if name == "open":
        _, question, answer = ask(facts, rng, rng.choice(askable(facts)))
        return "q: " + question, answer
    if name == "dialogue":
        turns = dialogue(facts, rng, rng.choice((None, None, 2, 3, 4, 5, 6)))
        last = rng.randrange(1, len(turns))
        return _history(turns, last, rng), turns[last][1]
    if name == "caption":
        return "q: " + CAPTION, rng.choice(captions(facts))
    prompt, answer = {
        "classify": (CLASSIFY, classify_answer), "count": (COUNT, count_answer),
        "localize": (LOCALIZE, localize_answer),
    }[name]
    return "q: " + prompt, answer(facts)


def askable(facts):
    """The kinds of open questions that the truth of a pair can answer."""
    kinds = ONLY.get(facts.category, KINDS)
    return [k for k in kinds if k not in NEVER.get(facts.category, ())]


def _history(turns, last, rng):
    """Mostly cut to whole turns; sometimes left to the word limit, which cuts
    the end of the last question as the published text processor does."""
    text = dialogue_text(turns[:last], turns[last][0])
    whole = "".join(f"q: {q} a: {a}  " for q, a in turns[:last]) + f"q: {turns[last][0]}"
    return whole if len(whole.split()) <= 60 and rng.random() < 0.5 else text


def seeded(seed, rank):
    return random.Random(f"{seed}/{rank}")
