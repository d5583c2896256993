"""The one finding that the answers about a pair are fused into: a logistic
regression on what they say."""

import json
import math
from dataclasses import dataclass

from scenes.language import UNCHANGED_CAPTIONS

NO_COUNT = "there are no changes in roads or buildings"
#: Logits are cut here: beyond it a probability says nothing more.
CUT = 8.0
#: Where none were fitted: the yes/no question and the count weigh alike.
DEFAULT_FUSION = {"bias": 0.0, "yes": 0.5, "none": -0.5, "cells": 0.0, "unchanged": 0.0}


def logit(p):
    p = min(max(p, 1e-9), 1 - 1e-9)
    return min(CUT, max(-CUT, math.log(p / (1 - p))))


@dataclass
class Said:
    """The answers of one pair and what the finding is made from."""

    yes: float                   # P(yes) against P(no)
    none: float                  # P(count says that nothing changed)
    cells: float                 # expected number of changed cells, both classes
    unchanged: float             # at most: P(caption is one of the no-change sentences)
    count: str
    localize: str
    caption: str
    #: Below the bundle's threshold of trust; None where it keeps no statistics.
    is_doubted: bool = None

    def signals(self):
        return {"yes": logit(self.yes), "none": logit(self.none), "cells": math.log(self.cells + 0.05),
                "unchanged": logit(self.unchanged)}

    def finding(self, fusion):
        """P(changed) of the pair."""
        signals = self.signals()
        x = fusion["bias"] + sum(fusion[name] * value for name, value in signals.items())
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, x))))

    def contradicts(self, changed):
        """Which answers do not fit a finding. Cells may be empty of a small change."""
        out = []
        if (self.yes > 0.5) != changed:
            out.append("classify")
        if (self.count == NO_COUNT) == changed:
            out.append("count")
        if not changed and self.localize.count("[]") < 2:
            out.append("localize")
        if (self.caption in UNCHANGED_CAPTIONS) == changed:
            out.append("caption")
        return out


def mass(sentences, said, steps):
    """At most the probability that one of `sentences` (ids with their end) is
    said: exact for what was said, and for the others the chance of leaving the
    said text towards them."""
    total, prefix = 0.0, 1.0
    for k in range(len(said)):
        towards = {s[k] for s in sentences if len(s) > k and s[:k] == said[:k]}
        if not towards:
            return total
        total += prefix * sum(float(steps[k][t]) for t in towards if t != said[k])
        prefix *= float(steps[k][said[k]])
    return total + (prefix if said in sentences else 0.0)


def expected_cells(pieces, closing, said, steps):
    """The expected number of named cells: of a named one the chance it was chosen
    with, of another that it might have been chosen at any step of its list."""
    total, never, named = 0.0, [1.0] * 9, set()
    for k, chosen in enumerate(said):
        for piece, cell in pieces.items():
            p = float(steps[k][piece])
            if piece == chosen:
                total += p
                named.add(cell)
            else:
                never[cell] *= 1 - p
        if chosen == closing:
            total += sum(1 - never[c] for c in range(9) if c not in named)
            never, named = [1.0] * 9, set()
    return total


def load_fusion(path):
    """The `fusion` of a `deltavlm.json`."""
    return json.loads(path.read_text()).get("fusion", DEFAULT_FUSION)
