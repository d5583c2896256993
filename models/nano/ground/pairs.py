"""Pairs with their truth from real pictures.

kinds of pairs, with what is true of them
    pasted     buildings of other places appear; pieces of ground are copied about,
               and some buildings are pasted into both dates, without being a change
    erased     buildings disappear under ground copied from beside them
    exchanged  a region shows another place: the change is the exclusive or of the
               building masks; what happened to roads there is not known
    revisit    two real dates between which nothing was built
    relit      one picture under two draws of season, sun and geometry
"""

import math
import random
from dataclasses import dataclass, field

import cv2
import numpy as np

from scenes import SIZE
from scenes.facts import CELL_THRESHOLD, Facts
from scenes.revisit import parallax, reseason, view
from scenes.truth import MIN_AREA, densities, shares, truth_maps

from .cutouts import collect, erased, kind_of, lay_over, marked, matched, turned

MARGIN = 40                      # pixels around the picture, for shifts with true content
WHOLE = SIZE + 2 * MARGIN
#: Ground sampling of pairs, metres per pixel.
SAMPLING = (0.28, 0.62)
KINDS = {"pasted": 0.30, "erased": 0.17, "exchanged": 0.20, "revisit": 0.12, "relit": 0.21}
SMALL = 60                       # pixels: smaller buildings are not erased
#: What the truth of such pairs does not hold: these questions are not asked.
UNKNOWN_BUILDINGS = "unlabelled"


@dataclass
class RealPair:
    before: np.ndarray
    after: np.ndarray
    category: str
    masks: list                  # buildings before, after (None: not known)
    objects: list = field(default_factory=list)   # (outline, kind, added?)

    def labels(self):
        labels, kept = np.zeros((SIZE, SIZE), np.uint8), []
        for outline, kind, added in self.objects:
            if cv2.countNonZero(outline) >= MIN_AREA:
                kept.append((kind, added))
                labels[outline > 0] = len(kept)
        return labels, kept

    def facts(self):
        labels, kept = self.labels()
        share = shares(labels)

        def number(kind, added):
            return sum(k == (kind, added) for k in kept)

        return Facts(
            category=self.category, building_count=len(kept),
            building_cells=[int(s > CELL_THRESHOLD) for s in share], building_share=[round(s, 4) for s in share],
            houses_added=number("house", True), houses_removed=number("house", False),
            large_added=number("large", True), large_removed=number("large", False),
            buildings_before=_count(self.masks[0]), buildings_after=_count(self.masks[1]),
        )

    def maps(self):
        """As `Truth.maps`, and six flags: which maps are known."""
        labels, kept = self.labels()
        none = np.zeros((SIZE, SIZE), np.uint8)
        known = self.masks[0] is not None
        layers = [m if m is not None else none for m in self.masks] + [
            none, none, np.where(labels > 0, 255, 0).astype(np.uint8), none]
        roads = self.category != "exchanged"
        wild = self.category == "revisit" and known
        flags = [known, known, wild, wild, True, roads]
        return truth_maps(layers), np.stack([densities(labels, len(kept)), densities(none, 0)]), flags


def _count(mask):
    if mask is None:
        return 0
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    return int((stats[1:, cv2.CC_STAT_AREA] >= MIN_AREA).sum())


class Maker:
    """Draws pairs from the canvases of one part."""

    def __init__(self, canvases):
        self.built = [c for c in canvases if c.mask is not None and c.mask.any()]
        self.revisited = [c for c in canvases if len(c.images) == 2]
        self.all = [c for c in canvases if len(c.images) == 1]
        self.cutouts = [cut for c in self.built for cut in collect(c)]
        if not self.cutouts:
            raise SystemExit("no building masks among the pictures")
        self.weights = [c.valid.sum() * c.metres**2 for c in self.built]

    def make(self, seed, index):
        """The pair `index` of `seed`; the same arguments give the same pair."""
        rng = random.Random(f"real/{seed}/{index}")
        kinds = {k: v for k, v in KINDS.items() if k != "revisit" or self.revisited}
        while True:
            kind = rng.choices(list(kinds), list(kinds.values()))[0]
            pair = getattr(self, f"_{kind}")(rng)
            if pair is not None:
                return pair

    # --- windows --------------------------------------------------------------

    def _window(self, rng, canvas, wide=None):
        """`(images float32 [WHOLE, WHOLE, 3], mask or None, metres)` or None."""
        height, width = canvas.mask.shape if canvas.mask is not None else canvas.images[0].shape[:2]
        metres = wide or math.exp(rng.uniform(*(math.log(s) for s in SAMPLING)))
        side = round(WHOLE * metres / canvas.metres)
        if side > min(height, width):
            side = min(height, width)
            metres = side * canvas.metres / WHOLE
        for _ in range(20):
            y, x = rng.randint(0, height - side), rng.randint(0, width - side)
            box = np.s_[y:y + side, x:x + side]
            if canvas.valid is None or canvas.valid[box].all():
                break
        else:
            return None
        method = cv2.INTER_AREA if side > WHOLE else cv2.INTER_CUBIC
        turns, mirror = rng.randrange(4), rng.random() < 0.5

        def cut(picture, how):
            part = cv2.resize(np.ascontiguousarray(picture[box]), (WHOLE, WHOLE), interpolation=how)
            part = np.rot90(part, turns)
            return np.ascontiguousarray(part[:, ::-1] if mirror else part)

        images = [np.clip(cut(i, method).astype(np.float32), 0, 255) for i in canvas.images]
        mask = None
        if canvas.mask is not None:
            mask = np.where(cut(canvas.mask, cv2.INTER_AREA) > 127, 255, 0).astype(np.uint8)
        return images, mask, metres

    def _built_window(self, rng, wide=None):
        while True:
            window = self._window(rng, rng.choices(self.built, self.weights)[0], wide)
            if window is not None:
                return window

    def _finish(self, rng, category, images, masks, objects):
        """Season, view and cut to the picture; reversed in time by training."""
        images = list(images)
        strength = rng.choice((0.0, 0.4, 1.0, 1.0)) if category != "revisit" else 0.0
        if rng.random() < 0.5:
            images[0] = reseason(images[0], masks[0], rng, rng.uniform(0, 0.5))
        images[1] = reseason(images[1], masks[1], rng, strength)
        if rng.random() < 0.4:
            images[1] = parallax(images[1], rng, rng.uniform(0.5, 3.0))
        if rng.random() < 0.75:
            images[1] = view(images[1], rng)
        middle = np.s_[MARGIN:MARGIN + SIZE, MARGIN:MARGIN + SIZE]
        pictures = [np.clip(i[middle] + 0.5, 0, 255).astype(np.uint8) for i in images]
        masks = [None if m is None else np.ascontiguousarray(m[middle]) for m in masks]
        objects = [(np.ascontiguousarray(o[middle]), kind, added) for o, kind, added in objects]
        return RealPair(*pictures, category, masks, objects)

    # --- kinds ----------------------------------------------------------------

    def _place(self, rng, images, taken, metres, cutout, at=None, degrees=None):
        """Pastes a cutout into each of `images` where nothing is `taken`;
        returns its outline or None."""
        degrees = rng.uniform(0, 360) if degrees is None else degrees
        patch, alpha, outline = turned(cutout, metres, degrees, rng.random() < 0.5)
        side = outline.shape[0]
        for _ in range(12 if at is None else 1):
            y, x = at or (rng.randint(MARGIN // 2, WHOLE - MARGIN // 2), rng.randint(MARGIN // 2, WHOLE - MARGIN // 2))
            y, x = y - side // 2, x - side // 2
            shown = marked(taken.shape, outline, y, x)
            grown = cv2.dilate(shown, np.ones((3, 3), np.uint8), iterations=3)
            if shown.any() and not (grown & taken).any():
                break
        else:
            return None
        for image in images:
            ground = image[max(0, y):y + side, max(0, x):x + side]
            lay_over(image, matched(patch, alpha, ground), alpha, y, x)
        taken |= shown
        return shown

    def _decoys(self, rng, images, mask, metres):
        """Copied ground at one date, and buildings at both: neither is a change."""
        for _ in range(rng.choice((0, 1, 2, 4))):
            image = rng.choice(images)
            blob = np.zeros((WHOLE, WHOLE), np.uint8)
            centre = (rng.randrange(WHOLE), rng.randrange(WHOLE))
            axes = (rng.randint(4, 22), rng.randint(4, 22))
            cv2.ellipse(blob, centre, axes, rng.uniform(0, 180), 0, 360, 255, -1)
            if rng.random() < 0.3:
                cv2.rectangle(blob, centre, (centre[0] + axes[0], centre[1] + axes[1]), 255, -1)
            grown = cv2.dilate(blob, np.ones((7, 7), np.uint8))
            if not (grown & mask).any() and blob.any():
                covered = erased(image, blob, cv2.dilate(mask, np.ones((7, 7), np.uint8)) == 0, rng)
                if covered is not None:
                    image[:] = covered
        for _ in range(rng.choice((0, 0, 1, 2))):
            self._place(rng, images, mask, metres, rng.choice(self.cutouts))

    def _pasted(self, rng):
        images, mask, metres = self._built_window(rng)
        if rng.random() < 0.2:   # open ground of any source
            window = self._window(rng, rng.choice(self.all), rng.uniform(*SAMPLING))
            if window is None or window[1] is None:
                return None
            images, mask, metres = window
        images = [images[0], images[0].copy()]
        self._decoys(rng, images, mask, metres)
        before, objects = mask.copy(), []
        if rng.random() < 0.45:
            objects += self._row(rng, images[1], mask, metres)
        for _ in range(rng.choice((1, 1, 2, 3, 5)) if not objects else rng.choice((0, 0, 1))):
            cutout = rng.choice(self.cutouts)
            shown = self._place(rng, images[1:], mask, metres, cutout)
            if shown is not None:
                objects.append((shown, cutout.kind, True))
        if not objects:
            return None
        return self._seen(rng, "pasted", images, [before, mask], objects)

    def _row(self, rng, image, taken, metres):
        """Like buildings at even distances along a line or two."""
        houses = [c for c in rng.sample(self.cutouts, min(24, len(self.cutouts))) if c.kind == "house"]
        if not houses:
            return []
        cutouts, objects = rng.sample(houses, min(len(houses), rng.choice((1, 2, 3)))), []
        angle = rng.uniform(0, math.pi)
        step = max(math.sqrt(c.area) for c in cutouts) * rng.uniform(1.5, 2.3) / metres
        centre = np.array([rng.uniform(0.3, 0.7) * WHOLE, rng.uniform(0.3, 0.7) * WHOLE])
        along, aside = np.array([math.sin(angle), math.cos(angle)]), np.array([math.cos(angle), -math.sin(angle)])
        length, rows = rng.randint(2, 7), rng.choice((1, 1, 2, 3))
        for row in range(rows):
            for i in range(length):
                y, x = centre + along * step * (i - length / 2) + aside * step * 1.7 * (row - (rows - 1) / 2)
                cutout = rng.choice(cutouts)
                shown = self._place(rng, [image], taken, metres, cutout, (int(y), int(x)),
                                    -math.degrees(angle) + rng.choice((0, 90, 180)) + rng.gauss(0, 3))
                if shown is not None:
                    objects.append((shown, "house", True))
        return objects

    def _erased(self, rng):
        images, mask, metres = self._built_window(rng)
        images = [images[0], images[0].copy()]
        self._decoys(rng, images, mask, metres)
        count, labels, stats, centres = cv2.connectedComponentsWithStats(mask, connectivity=4)
        inside = [i for i in range(1, count) if all(MARGIN < c < WHOLE - MARGIN for c in centres[i])
                  and SMALL < stats[i, cv2.CC_STAT_AREA] < WHOLE * WHOLE // 16]
        if not inside:
            return None
        before, objects = mask.copy(), []
        for i in rng.sample(inside, min(len(inside), rng.choice((1, 1, 2, 3, 5, 8)))):
            outline = np.where(labels == i, 255, 0).astype(np.uint8)
            free = cv2.dilate(mask, np.ones((5, 5), np.uint8)) == 0
            covered = erased(images[1], outline, free, rng)
            if covered is not None:
                images[1] = covered
                mask[outline > 0] = 0
                objects.append((outline, kind_of(cv2.countNonZero(outline) * metres**2), False))
        if not objects:
            return None
        return self._seen(rng, "erased", images, [before, mask], objects)

    def _exchanged(self, rng):
        images, mask, metres = self._built_window(rng)
        other, other_mask, _ = self._built_window(rng, metres)
        region = np.zeros((WHOLE, WHOLE), np.uint8)
        centre = np.array([rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.8)]) * WHOLE
        reach = rng.uniform(35, 110)
        corners = [centre + reach * rng.uniform(0.6, 1.2) * np.array([math.cos(a), math.sin(a)])
                   for a in np.linspace(0, 2 * math.pi, rng.randint(4, 9))[:-1]]
        cv2.fillPoly(region, [np.round(corners).astype(np.int32)], 255)
        # Whole buildings stay or go.
        region = _without_cut(_without_cut(region, mask), other_mask)
        if cv2.countNonZero(region) < 600:
            return None
        alpha = cv2.GaussianBlur(region.astype(np.float32) / 255, (0, 0), rng.uniform(0.8, 2.5))[..., None]
        after = images[0] * (1 - alpha) + other[0] * alpha
        later = np.where(region > 0, other_mask, mask)
        objects = _components(mask & region, metres, False) + _components(other_mask & region, metres, True)
        return self._seen(rng, "exchanged", [images[0], after], [mask, later], objects)

    def _revisit(self, rng):
        canvas = rng.choice(self.revisited)
        window = self._window(rng, canvas, rng.uniform(0.08, 0.12))
        if window is None:
            return None
        images, mask, _ = window
        category = "revisit" if mask is not None else UNKNOWN_BUILDINGS
        return self._seen(rng, category, images, [mask, mask], [])

    def _relit(self, rng):
        if rng.random() < 0.6:
            images, mask, metres = self._built_window(rng)
        else:
            canvas = rng.choice(self.all)
            window = self._window(rng, canvas, max(canvas.metres, rng.uniform(0.1, 0.6)))
            if window is None:
                return None
            images, mask, metres = window
        images = [images[0], images[0].copy()]
        if mask is not None:
            self._decoys(rng, images, mask, metres)
        return self._seen(rng, "relit" if mask is not None else UNKNOWN_BUILDINGS, images, [mask, mask], [])

    def _seen(self, rng, category, images, masks, objects):
        pair = self._finish(rng, category, images, masks, objects)
        if objects and not pair.facts().changed:
            return None          # what changed lies outside the picture
        return pair


def _components(mask, metres, added):
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    return [
        (np.where(labels == i, 255, 0).astype(np.uint8), kind_of(stats[i, cv2.CC_STAT_AREA] * metres**2), added)
        for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] >= MIN_AREA
    ]


def _without_cut(region, mask):
    """`region` less the buildings that it would cut in two."""
    count, labels = cv2.connectedComponents(mask, connectivity=4)
    inside = np.bincount(labels[region > 0], minlength=count)
    whole = np.bincount(labels.ravel(), minlength=count)
    cut = np.flatnonzero((inside > 0) & (inside < whole))
    out = region.copy()
    for i in cut[cut > 0]:
        body = cv2.dilate(np.where(labels == i, 255, 0).astype(np.uint8), np.ones((5, 5), np.uint8))
        out[body > 0] = 0 if inside[i] < 0.6 * whole[i] else 255
    return out
