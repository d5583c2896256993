"""Paints one date of a plan."""

import random

import cv2
import numpy as np

from . import SIZE
from .buildings import paint_grounds, paint_roof, paint_shadow
from .noise import crop, patches
from .roads import AFTER, BEFORE, BOTH, paint_cars, paint_roads
from .style import jitter
from .woodland import TILE, paint_trees, paint_wood

#: Strength of fine texture on each ground.
_GRAIN = {"grassland": 0.10, "bare land": 0.055, "farmland": 0.07, "woodland": 0.13}


def blend(image, alpha, colour):
    """Moves `image` towards `colour` (one or a picture) by `alpha`, in place."""
    for channel in range(3):
        plane = image[..., channel]
        plane += alpha * (colour[..., channel] - plane)


def shaded(image, light):
    return cv2.multiply(image, cv2.merge((light, light, light)))


class Painter:
    """Holds what both dates share: palettes, textures, places of trees."""

    def __init__(self, rng, plan):
        self.plan = plan
        self.seed = rng.randrange(1 << 30)
        style = plan.style
        used = {plan.ground} | {ground for _, ground, _ in plan.zones}
        self.grounds = {g: self._ground(rng, style, g) for g in sorted(used)}
        self.grain = 1 + 0.035 * (crop(rng, 0.45) * 0.6 + crop(rng, 0.9) * 0.7)
        self.light = 1 + 0.05 * crop(rng, 1.3)
        self.woods = [
            (mask, density, (rng.randrange(TILE - SIZE), rng.randrange(TILE - SIZE)), when)
            for mask, density, when in plan.woods
        ]
        if rng.random() < 0.4:  # trodden ground
            self.light *= 1 - 0.12 * patches(rng, 0.12, 3.0, 0.3)

    def _ground(self, rng, style, ground):
        """`[SIZE, SIZE, 3]` of one ground kind, tinted blends of its palette."""
        colours = [np.array(jitter(rng, c, 7), np.float32) for c in rng.sample(style.ground[ground], k=3)]
        image = np.empty((SIZE, SIZE, 3), np.float32)
        image[:] = colours[0]
        for colour in colours[1:]:
            alpha = patches(rng, rng.uniform(0.2, 0.5), rng.choice((1.0, 1.5, 3.0)), 1.2, rng.choice((1.2, 1.6)))
            blend(image, rng.uniform(0.4, 0.9) * alpha, colour)
        grain = _GRAIN[ground] * rng.uniform(0.7, 1.5)
        light = 1 + (0.7 * grain) * (crop(rng, 0.4) + crop(rng, 1.0))
        if ground == "farmland":
            light *= self._furrows(rng)
        elif ground == "grassland" and rng.random() < 0.6:  # shrubs and tufts
            light *= 1 - rng.uniform(0.2, 0.5) * patches(rng, rng.uniform(0.02, 0.12), 1.0, 0.5, 0.9)
        elif ground == "bare land" and rng.random() < 0.5:  # ruts and heaps
            light *= 1 + 0.10 * np.sin(crop(rng, 1.8, 1.5) * rng.uniform(4, 12))
        return shaded(image, light)

    @staticmethod
    def _furrows(rng):
        y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
        angle, pitch = rng.uniform(0, 3.14), rng.uniform(3.5, 9)
        phase = (x * np.cos(angle) + y * np.sin(angle)) * (6.283 / pitch) + crop(rng, 1.8) * 1.2
        return 1 + rng.uniform(0.02, 0.10) * np.sin(phase)

    def paint(self, date, look, growth, tint=None):
        """The radiance of `date` (float32). `tint` recolours all open ground."""
        plan = self.plan
        rng = random.Random(self.seed ^ look.seed)

        def seen(when):
            return when in (BOTH, date)

        image = self.grounds[plan.ground] * look.season
        for mask, ground, when in plan.zones:
            if seen(when):
                season = look.season if ground != "bare land" else np.float32(1)
                blend(image, mask, self.grounds[ground] * season)
        if tint is not None:
            image *= tint
        image = shaded(image, self.light)
        for mask, density, offset, when in self.woods:
            if seen(when):
                paint_wood(image, (mask, density, offset, growth, plan.crown), look.sun, look.leaf)
        image = np.clip(image, 0, 255, out=image).astype(np.uint8)
        buildings = [b for b in plan.buildings if seen(b.when)]
        texture = random.Random(self.seed)
        for building in buildings:
            paint_grounds(image, building, texture)
        paint_roads(image, [r for r in plan.roads if seen(r.when)], texture)
        paint_cars(image, plan.cars[date], plan.scale, rng)

        shade = np.zeros((SIZE, SIZE), np.uint8)
        for building in buildings:
            paint_shadow(shade, building, look.sun)
        dim = cv2.LUT(shade, np.round(255 - look.shadow * np.arange(256)).astype(np.uint8))
        image = cv2.multiply(image, cv2.merge((dim, dim, dim)), scale=1 / 255)
        for building in sorted(buildings, key=lambda b: b.seed):
            paint_roof(image, building, look.sun, texture)
        paint_trees(image, [t[:4] for t in self._trees(date, growth)], look.sun, look.leaf, rng)
        return shaded(image.astype(np.float32), self.grain)

    def _trees(self, date, growth):
        for x, y, radius, colour, when in self.plan.trees:
            if when in (BOTH, date):
                yield x, y, radius * (1 + 0.2 * growth), colour, when


__all__ = ["Painter", "AFTER", "BEFORE"]
