"""Open questions: kinds, paraphrases, and the one right answer to each.

A paraphrase fixes the form of its answer, so an answer can be compared as a
text. `ask` draws a question; `KINDS` names every kind.
"""

from .facts import CELLS, region_phrase

UNKNOWN = "cannot be told"


def _are(number, noun, verb="has been built", verbs="have been built"):
    return f"{number} {noun} {verb}" if number == 1 else f"{number} {noun}s {verbs}"


def _some_new(f):
    parts = (["buildings"] if f.houses_added or f.large_added else []) + (["roads"] if f.roads_added else [])
    return " and ".join(parts)


def _construction(f):
    return f"yes, new {_some_new(f)}" if f.added else "no, there is no new construction"


def _removed_things(f):
    parts = []
    for number, noun in ((f.roads_removed, "road"), (f.houses_removed, "house"), (f.large_removed, "large building")):
        if number:
            parts.append(f"{number} {noun}" + ("s" if number > 1 else ""))
    return " and ".join(parts) if parts else "nothing has disappeared"


def _classes(f):
    if f.road_count and f.building_count:
        return "both"
    return "roads" if f.road_count else "buildings" if f.building_count else "neither"


def _built_kind(f):
    if f.houses_added and f.large_added:
        return "houses and large buildings"
    return "houses" if f.houses_added else "large buildings" if f.large_added else "no building has been built"


def _place(shares):
    return region_phrase(shares) or "nowhere"


def _in_cell(f, cell):
    what = [w for w, flags in (("roads", f.road_cells), ("buildings", f.building_cells)) if flags[cell]]
    return "yes, " + " and ".join(what) if what else "no"


_SIDES = {
    "left": (0, 3, 6), "right": (2, 5, 8), "top": (0, 1, 2), "bottom": (6, 7, 8),
}


def _side_share(f, side):
    return sum(f.road_share[i] + f.building_share[i] for i in _SIDES[side])


def _compare(f, one, other):
    a, b = _side_share(f, one), _side_share(f, other)
    if max(a, b) < 0.04:
        return "neither"
    if max(a, b) < 1.5 * min(a, b):
        return "about the same"
    return f"the {one}" if a > b else f"the {other}"


def _most_changed(f):
    share = f.shares()
    return CELLS[share.index(max(share))] if max(share) > 0.05 else "none"


def _yes(flag):
    return "yes" if flag else "no"


def _more_of(f):
    if f.road_count == f.building_count:
        return "the same number" if f.road_count else "neither"
    return "more buildings" if f.building_count > f.road_count else "more roads"


#: kind -> ((question, answer function), ...). `{cell}` is filled in.
KINDS = {
    "construction": (
        ("Is there any new construction visible in the images?", _construction),
        ("Has anything been built?", lambda f: _yes(f.added)),
        ("Do you see new construction?", lambda f: _yes(f.added)),
    ),
    "roads": (
        ("Are there any changes in roads or lanes?",
         lambda f: "yes, the roads have changed" if f.road_count else "no, the roads are unchanged"),
        ("Has a new road been built?", lambda f: _yes(f.roads_added)),
        ("Did the roads change?", lambda f: _yes(f.road_count)),
    ),
    "buildings": (
        ("Are there any changes in buildings or houses?",
         lambda f: "yes, the buildings have changed" if f.building_count else "no, the buildings are unchanged"),
        ("Have new buildings appeared?", lambda f: _yes(f.houses_added + f.large_added)),
        ("Did the buildings change?", lambda f: _yes(f.building_count)),
    ),
    "number of buildings": (
        ("How many buildings have changed?", lambda f: str(f.building_count)),
        ("How many buildings are new?", lambda f: str(f.houses_added + f.large_added)),
        ("What is the number of changed buildings?",
         lambda f: _are(f.building_count, "building", "has changed", "have changed")),
    ),
    "number of roads": (
        ("How many roads have changed?", lambda f: str(f.road_count)),
        ("How many roads are new?", lambda f: str(f.roads_added)),
        ("What is the number of changed roads?",
         lambda f: _are(f.road_count, "road", "has changed", "have changed")),
    ),
    "place of buildings": (
        ("Where have buildings changed?", lambda f: _place(f.building_share)),
        ("In which part of the scene did the buildings change?", lambda f: _place(f.building_share)),
    ),
    "place of roads": (
        ("Where have roads changed?", lambda f: _place(f.road_share)),
        ("In which part of the scene did the roads change?", lambda f: _place(f.road_share)),
    ),
    "change in a cell": (
        ("Has anything changed in the {cell}?", _in_cell),
        ("Is there a change at the {cell}?", lambda f, c: _yes(f.road_cells[c] or f.building_cells[c])),
        ("Did buildings change at the {cell}?", lambda f, c: _yes(f.building_cells[c])),
        ("Did roads change at the {cell}?", lambda f, c: _yes(f.road_cells[c])),
    ),
    "what changed": (
        ("Which has changed, roads or buildings?", _classes),
        ("Is it roads, buildings, both or neither that changed?", _classes),
    ),
    "kind of building": (
        ("What kind of buildings have been built?", _built_kind),
        ("Are the new buildings houses or large buildings?", _built_kind),
    ),
    "what disappeared": (
        ("What has disappeared?", _removed_things),
        ("Which objects have been removed?", _removed_things),
        ("Has anything been demolished?", lambda f: _yes(f.removed)),
    ),
    "comparison of sides": (
        ("Which side changed more, the left or the right?", lambda f: _compare(f, "left", "right")),
        ("Did the left or the right change more?", lambda f: _compare(f, "left", "right")),
        ("Which changed more, the top or the bottom?", lambda f: _compare(f, "top", "bottom")),
        ("Did the top or the bottom change more?", lambda f: _compare(f, "top", "bottom")),
    ),
    "most changed cell": (
        ("Which cell changed most?", _most_changed),
        ("Which part of the grid changed most?", _most_changed),
    ),
    "comparison of classes": (
        ("Did more roads or more buildings change?", _more_of),
        ("Are there more changed roads or changed buildings?", _more_of),
    ),
    "former ground": (
        ("What was there before the construction?", lambda f: f.former_ground or UNKNOWN),
        ("On what land has it been built?", lambda f: f.former_ground or UNKNOWN),
    ),
    "trees": (
        ("Have trees been removed?", lambda f: _yes(f.woodland_cleared)),
        ("Has woodland been cleared?", lambda f: _yes(f.woodland_cleared)),
    ),
    "buildings before": (
        ("Were there buildings before?", lambda f: _yes(f.buildings_before)),
        ("Did the first image show any buildings?", lambda f: _yes(f.buildings_before)),
    ),
    "unanswerable": tuple(
        (question, lambda f: UNKNOWN)
        for question in (
            "Who owns the land?", "Who lives in the houses?", "When were the images taken?",
            "What is the name of the road?", "What is the name of this place?", "Why was it built?",
            "Who built the houses?", "How much did the construction cost?", "How many people live here?",
            "How tall are the buildings?", "What will be built next?", "What is inside the buildings?",
            "Is the road owned by the state?", "How old are the buildings?", "What is the weather tomorrow?",
            "In which country is this?", "What is the price of a house here?", "Who took the images?",
        )
    ),
}


def ask(facts, rng, kind=None):
    """`(kind, question, answer)`, drawn with `rng` (a `random.Random`)."""
    kind = kind or rng.choice(list(KINDS))
    question, answer = rng.choice(KINDS[kind])
    if "{cell}" in question:
        changed = facts.cells()
        cell = rng.choice(changed) if changed and rng.random() < 0.5 else rng.randrange(9)
        return kind, question.format(cell=CELLS[cell]), answer(facts, cell)
    return kind, question, answer(facts)
