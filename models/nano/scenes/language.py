"""The fixed instructions, their answers, captions, and dialogues.

Every text is derived from a `Facts` record, so it is true of the scene; the
grammars are written down in ANNOTATIONS.md.
"""

import re

from .facts import CELLS, GROUNDS, REGIONS, region_phrase, true_regions
from .questions import ask

CAPTION = "Please briefly describe the changes in these two images."
CLASSIFY = "Please judge whether these two images have changed. Please answer yes or no."
COUNT = "Please determine how many roads and buildings have changed?"
LOCALIZE = (
    "Please indicate the locations where changes have occurred in the buildings and roads, "
    "using a 3x3 grid (namely, 'top', 'center', and 'bottom' vertically and 'left', 'center', "
    "'right' horizontally)."
)
COUNT_FOLLOW_UP = (
    "If changes have occurred, count the number of road and building changes separately."
)
DESCRIBE_FOLLOW_UP = (
    "Based on the above analysis, please describe the changes of these two images in detail."
)
UNCHANGED_CAPTIONS = (
    "there is no difference",
    "the two scenes seem identical",
    "the scene is the same as before",
    "no change has occurred",
    "almost nothing has changed",
)
#: Larger counts are said as this number.
MAX_COUNT = 40
#: Words of one text that reach the model (the published text processor).
MAX_WORDS = 50


def processed(text):
    """The published text processor."""
    text = re.sub(r"[.!\"()*#:;~]", " ", text.lower())
    words = text.split()
    return " ".join(words[:MAX_WORDS])


# --- the four fixed instructions -------------------------------------------------

def classify_answer(facts):
    return "yes" if facts.changed else "no"


def counted(number, noun):
    if number == 0:
        return f"no new {noun}s"
    return f"{number} new {noun}" if number == 1 else f"{number} new {noun}s"


def count_answer(facts):
    if not facts.changed:
        return "there are no changes in roads or buildings"
    roads = min(facts.road_count, MAX_COUNT)
    buildings = min(facts.building_count, MAX_COUNT)
    return f"{counted(roads, 'road')} and {counted(buildings, 'building')}"


def cell_list(flags):
    return "[" + ", ".join(name for name, on in zip(CELLS, flags) if on) + "]"


def localize_answer(facts):
    return f"roads {cell_list(facts.road_cells)} buildings {cell_list(facts.building_cells)}"


# --- captions --------------------------------------------------------------------

CLEARED = "trees are removed and "
#: Quantity word -> the numbers of which it is true. The exact number is what
#: the count instruction is for.
QUANTITY_RANGE = {"a": (1, 1), "some": (2, 9), "many": (6, 1000)}


def quantity(number, noun):
    """"a house", "some houses" (2 to 7), "many houses"."""
    return f"a {noun}" if number == 1 else f"{'some' if number <= 7 else 'many'} {noun}s"


def joined(*phrases):
    return " and ".join(p for p in phrases if p)


class _Things:
    """A noun phrase with its number, for verbs that must agree."""

    def __init__(self, roads, houses, large):
        self.buildings = joined(
            quantity(houses, "house") if houses else "",
            quantity(large, "large building") if large else "",
        )
        self.roads = quantity(roads, "road") if roads else ""
        self.all = joined(self.roads, self.buildings)
        self.plural = roads + houses + large > 1

    def verb(self, singular, plural):
        return plural if self.plural else singular


def captions(facts):
    """Five true sentences about the pair, from the plainest to the freest."""
    if not facts.changed:
        return list(UNCHANGED_CAPTIONS)
    place = region_phrase(facts.shares())
    at = f" {place}" if place else ""
    new = _Things(facts.roads_added, facts.houses_added, facts.large_added)
    gone = _Things(facts.roads_removed, facts.houses_removed, facts.large_removed)
    if new.all and gone.all:
        return [
            f"{new.all} {new.verb('is', 'are')} built and {gone.all} {gone.verb('is', 'are')} removed{at}",
            f"{gone.all} {gone.verb('has', 'have')} disappeared and {new.all} "
            f"{new.verb('has', 'have')} been built{at}",
            f"{new.all} {new.verb('appears', 'appear')} and {gone.all} {gone.verb('disappears', 'disappear')}{at}",
            f"{gone.all} {gone.verb('is', 'are')} removed while {new.all} {new.verb('is', 'are')} constructed{at}",
            f"{new.all} {new.verb('is', 'are')} built and {gone.all} {gone.verb('is', 'are')} removed{at}",
        ]
    if gone.all:
        return [
            f"{gone.all} {gone.verb('is', 'are')} removed{at}",
            f"{gone.all} {gone.verb('has', 'have')} disappeared{at}",
            f"{gone.all} {gone.verb('has', 'have')} been demolished{at}",
            f"{gone.all} {gone.verb('disappears', 'disappear')}{at}",
            f"{gone.all} {gone.verb('is', 'are')} removed{at}",
        ]
    on = {"": "", "woodland": " in the woodland"}.get(facts.former_ground, f" on the {facts.former_ground}")
    beside = f"{new.all} {new.verb('appears', 'appear')}{at}"
    if new.roads and new.buildings:
        one = facts.roads_added == 1
        beside = f"{new.roads} {'appears' if one else 'appear'} with {new.buildings} beside {'it' if one else 'them'}{at}"
    cleared = CLEARED if facts.woodland_cleared else ""
    return [
        f"{new.all} {new.verb('is', 'are')} built{at}",
        f"{new.all} {new.verb('has', 'have')} been constructed{at}",
        f"{cleared}{new.all} {new.verb('appears', 'appear')}{at}",
        beside,
        f"{new.all} can now be seen{on}{at}",
    ]


#: The nouns of captions, and for each the fields of `Facts` that count what
#: appeared and what disappeared.
NOUNS = {
    "house": ("houses_added", "houses_removed"),
    "large building": ("large_added", "large_removed"),
    "road": ("roads_added", "roads_removed"),
}
_QUANTITY = re.compile(rf"\b({'|'.join(QUANTITY_RANGE)}) ({'|'.join(NOUNS)})s?\b")
#: What the verbs of disappearance have in common.
GONE = ("remov", "disappear", "demolish")
#: A caption is cut after such a verb, at the glue that follows it: each part
#: then speaks of what appeared or of what disappeared.
CUTS = (
    ("built", " and "), ("removed", " while "), ("disappeared", " and "), ("appears", " and "), ("appear", " and "),
)
_CUT = re.compile("|".join(f"(?<={verb}){glue}" for verb, glue in CUTS))


def stated_facts(caption, facts):
    """`[(what, true?)]` for every object, number, place, former ground and
    clearing that `caption` states. An unchanged caption states "no change"."""
    if caption in UNCHANGED_CAPTIONS:
        return [("no change", not facts.changed)]
    found = []
    for clause in _CUT.split(caption.replace(CLEARED, "")):
        index = int(any(stem in clause for stem in GONE))
        for word, noun in _QUANTITY.findall(clause):
            low, high = QUANTITY_RANGE[word]
            number = getattr(facts, NOUNS[noun][index])
            found.append((f"object: {noun}", number > 0))
            found.append((f"number: {word} {noun}", low <= number <= high))
    place = next((phrase for phrase, _ in REGIONS if caption.endswith(phrase)), None)
    if place:
        found.append((f"place: {place}", place in true_regions(facts.shares())))
    ground = re.search(rf"(?:on|in) the ({'|'.join(GROUNDS)})", caption)
    if ground:
        found.append((f"ground: {ground[1]}", ground[1] == facts.former_ground))
    if CLEARED in caption:
        found.append(("trees removed", facts.woodland_cleared))
    return found or [("nothing stated", False)]


def omitted(caption, facts):
    """The nouns that changed and that `caption` does not name."""
    return [noun for noun, fields in NOUNS.items()
            if any(getattr(facts, f) for f in fields) and noun not in caption]


# --- dialogues -------------------------------------------------------------------

def dialogue(facts, rng, turns=None):
    """`[(question, answer), ...]`: the published three turns, or 2 to 6 turns
    that mix them with open questions."""
    published = [
        (CLASSIFY, classify_answer(facts)),
        (COUNT_FOLLOW_UP, count_answer(facts)),
        (DESCRIBE_FOLLOW_UP, captions(facts)[0] if facts.changed else rng.choice(UNCHANGED_CAPTIONS)),
    ]
    if turns is None:
        return published
    pool = [ask(facts, rng)[1:] for _ in range(turns)]
    start = rng.choice(([], published[:1], published[:2], [(LOCALIZE, localize_answer(facts))]))
    mixed = (list(start) + pool)[: turns - 1] if turns > 1 else []
    return mixed + [pool[-1]]


def dialogue_text(history, question):
    """The training format for a follow-up. Whole turns are dropped from the
    front until the processed text fits the word limit."""
    turns = list(history)
    while True:
        text = "".join(f"q: {q} a: {a}  " for q, a in turns) + f"q: {question}"
        if not turns or len(re.sub(r"[.!\"()*#:;~]", " ", text).split()) <= MAX_WORDS:
            return text
        turns.pop(0)
