"""Roads: geometry, surface, markings, cul-de-sacs, cars on them."""

import math
from dataclasses import dataclass, field

import cv2
import numpy as np

from .style import CARS, ROADS, jitter

BOTH, BEFORE, AFTER = "both", "before", "after"


@dataclass(eq=False)
class Road:
    points: np.ndarray           # [n, 2] centre line, pixels
    width: float
    material: str
    colour: tuple
    when: str = BOTH
    bulb: float = 0.0            # radius of a cul-de-sac at the last point
    walk: bool = False           # pavements beside it
    cars: list = field(default_factory=list)

    def outline(self, mask, grow=0.0, value=255):
        """Draws the surface into a mask."""
        cv2.polylines(mask, [_fixed(self.points)], False, value, max(1, round(self.width + grow)), cv2.LINE_8, 4)
        if self.bulb:
            x, y = self.points[-1]
            cv2.circle(mask, (round(x), round(y)), round(self.bulb + grow / 2), value, -1)


def _fixed(points):
    return np.rint(np.asarray(points) * 16).astype(np.int32).reshape(-1, 1, 2)


def curve(start, end, bend, steps=24):
    """A quadratic curve from `start` to `end`, `bend` pixels off the chord."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    along = end - start
    length = max(np.hypot(*along), 1e-6)
    middle = (start + end) / 2 + np.array([-along[1], along[0]]) / length * bend * 2
    t = np.linspace(0, 1, steps)[:, None]
    return (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end


def walk_along(points, spacing, start=0.0):
    """`(x, y, angle)` every `spacing` pixels along a line."""
    steps = np.diff(points, axis=0)
    lengths = np.hypot(steps[:, 0], steps[:, 1])
    ends = np.cumsum(lengths)
    at = start
    while at < ends[-1]:
        i = int(np.searchsorted(ends, at, side="right"))
        part = 1 - (ends[i] - at) / max(lengths[i], 1e-6)
        x, y = points[i] + steps[i] * part
        yield float(x), float(y), math.atan2(steps[i][1], steps[i][0])
        at += spacing


def new_road(rng, points, scale, material=None, when=BOTH, bulb=False, wide=False):
    material = material or rng.choice(("asphalt", "asphalt", "dark asphalt", "worn asphalt", "concrete", "dirt"))
    width = rng.uniform(22, 32) if wide else rng.uniform(12, 19)
    if material == "dirt":
        width *= 0.75
    width *= scale
    return Road(points, width, material, jitter(rng, ROADS[material][0], 12), when,
                bulb=width * rng.uniform(1.05, 1.5) if bulb else 0.0, walk=rng.random() < 0.4)


def paint_roads(image, roads, rng):
    """All edges first, so that junctions stay open."""
    for road in roads:
        edge = jitter(rng, ROADS[road.material][1], 6)
        if road.walk and road.material != "dirt":
            _stroke(image, road, road.width + 11, tuple(int(c * 0.9) for c in edge), bulb=5)
            _stroke(image, road, road.width + 8, (104, 102, 78), bulb=4)
        _stroke(image, road, road.width + 2.6, edge, bulb=1.3)
    for road in roads:
        _stroke(image, road, road.width, road.colour)
        if road.material == "dirt":
            _stroke(image, road, road.width * 0.35, tuple(min(255, c + 12) for c in road.colour), bulb=-99)
    for road in roads:
        if ROADS[road.material][2] and road.width > 20:
            _marking(image, road)


def _stroke(image, road, width, colour, bulb=0.0):
    cv2.polylines(image, [_fixed(road.points)], False, colour, max(1, round(width)), cv2.LINE_AA, 4)
    if road.bulb and road.bulb + bulb > 0:
        x, y = road.points[-1]
        cv2.circle(image, (round(x * 16), round(y * 16)), round((road.bulb + bulb) * 16), colour, -1, cv2.LINE_AA, 4)


def _marking(image, road):
    colour = (208, 196, 130) if road.width < 24 else (214, 212, 204)
    dashes = list(walk_along(road.points, 7.0))
    for (x, y, _), (u, v, _) in zip(dashes[::2], dashes[1::2]):
        cv2.line(image, (round(x * 16), round(y * 16)), (round(u * 16), round(v * 16)), colour, 1, cv2.LINE_AA, 4)


def car_quad(x, y, angle, scale):
    return box(x, y, angle, 8.4 * scale, 3.6 * scale)


def box(x, y, angle, length, width):
    """Corners of a turned rectangle, `[4, 2]`."""
    c, s = math.cos(angle) / 2, math.sin(angle) / 2
    ax, ay, bx, by = c * length, s * length, -s * width, c * width
    return np.array(((x - ax - bx, y - ay - by), (x + ax - bx, y + ay - by),
                     (x + ax + bx, y + ay + by), (x - ax + bx, y - ay + by)))


def paint_cars(image, places, scale, rng):
    for x, y, angle in places:
        quad = car_quad(x, y, angle, scale)
        cv2.fillPoly(image, [_fixed(quad + 1.0)], (66, 66, 68), cv2.LINE_AA, 4)
        cv2.fillPoly(image, [_fixed(quad)], rng.choice(CARS), cv2.LINE_AA, 4)


def car_places(rng, road, scale, spacing):
    """Places for cars on both lanes of a road."""
    places = []
    for x, y, angle in walk_along(road.points, spacing, rng.uniform(5, spacing)):
        if rng.random() < 0.35:
            side = rng.choice((-1, 1)) * road.width * rng.uniform(0.18, 0.36)
            places.append((x - math.sin(angle) * side, y + math.cos(angle) * side, angle))
    return places
