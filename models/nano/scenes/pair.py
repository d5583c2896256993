"""One pair of pictures with its truth, from a seed and an index."""

import math
import random
from dataclasses import dataclass

import numpy as np

from .nuisance import develop, draw_look, misregister
from .plan import lay_out, weighted
from .render import AFTER, BEFORE, Painter
from .style import SHIFTED, USUAL
from .truth import Truth

UNCHANGED = (("identical", 0.10), ("recoloured", 0.30), ("season", 0.60))


@dataclass
class Pair:
    before: np.ndarray
    after: np.ndarray
    truth: Truth
    category: str


def make_pair(seed, index, shifted=False):
    """The pair `index` of `seed`; the same arguments give the same pair."""
    rng = random.Random(f"{seed}/{index}/{'shifted' if shifted else 'usual'}")
    style = SHIFTED if shifted else USUAL
    wants_change = rng.random() < 0.5
    while True:
        plan = lay_out(rng, style, wants_change)
        truth = Truth(plan)
        if bool(truth.building_objects or truth.road_objects) == wants_change:
            break
    category = "changed" if wants_change else weighted(rng, UNCHANGED)
    painter = Painter(rng, plan)
    look = draw_look(rng, style.gain)
    before = painter.paint(BEFORE, look, growth=0)
    if category == "identical":
        picture = develop(before, look)
        return Pair(picture, picture, truth, category)
    shift = [rng.uniform(-style.shift, style.shift) / math.sqrt(2) for _ in range(2)]
    turn = rng.uniform(-style.turn, style.turn)
    later = draw_look(rng, style.gain)
    if rng.random() < 0.3:
        later.sun = look.sun + rng.gauss(0, 0.3)
    if category == "recoloured":
        after = before.copy()
    else:
        tint = None
        if rng.random() < 0.35:  # the ground changes as a whole
            warm = rng.gauss(0, 0.06)
            tint = np.array([1 + warm, 1.0, 1 - warm], np.float32) * math.exp(rng.gauss(0, 0.16))
        after = painter.paint(AFTER, later, growth=rng.choice((0, 1)), tint=tint)
    return Pair(develop(before, look), misregister(develop(after, later), *shift, turn), truth, category)
