"""Houses with pitched roofs and large flat-roofed buildings."""

import math
from dataclasses import dataclass, field

import cv2
import numpy as np

from .roads import BOTH, _fixed, box
from .style import jitter


@dataclass(eq=False)
class Building:
    kind: str                    # "house" or "large"
    parts: list                  # rectangles (x, y, angle, length, width)
    height: float                # shadow length, pixels
    colour: tuple
    roof: str                    # "hip", "gable", "flat"
    when: str = BOTH
    seed: int = 0
    drive: np.ndarray = None     # paved quad from the house to its road
    drive_colour: tuple = (196, 188, 172)
    lot: np.ndarray = None       # garden quad
    lot_colour: tuple = None
    fence: bool = False
    pool: np.ndarray = None
    paving: np.ndarray = None    # parking lot of a large building
    stalls: list = field(default_factory=list)

    def outline(self, mask, value=255, grow=0.0):
        for x, y, angle, length, width in self.parts:
            quad = box(x, y, angle, length + grow, width + grow)
            cv2.fillPoly(mask, [_fixed(quad)], value, cv2.LINE_8, 4)


def new_house(rng, style, x, y, angle, scale, when=BOTH, palette=None):
    """A house at `x, y` whose front runs along `angle`."""
    length, width = rng.uniform(25, 39) * scale, rng.uniform(19, 27) * scale
    parts = [(x, y, angle, length, width)]
    c, s = math.cos(angle), math.sin(angle)
    for _ in range(rng.choice((0, 1, 1, 2))):
        along = rng.choice((-1, 1)) * length * rng.uniform(0.12, 0.3)
        out = rng.choice((-1, 1)) * width * rng.uniform(0.3, 0.5)
        parts.append((x + c * along - s * out, y + s * along + c * out, angle + math.pi / 2,
                      width * rng.uniform(0.6, 0.95), length * rng.uniform(0.34, 0.5)))
    draw = rng.random()
    roof = "flat" if draw < style.flat else "gable" if draw < style.flat + style.gable else "hip"
    colour = jitter(rng, rng.choice(palette or style.roofs), 9)
    return Building("house", parts, rng.uniform(4.5, 8.5) * scale, colour, roof, when, rng.randrange(1 << 30))


def new_large(rng, style, x, y, angle, scale, when=BOTH):
    length, width = rng.uniform(62, 135) * scale, rng.uniform(38, 78) * scale
    parts = [(x, y, angle, length, width)]
    if rng.random() < 0.4:
        c, s = math.cos(angle), math.sin(angle)
        along, out = rng.choice((-1, 1)) * length * 0.3, rng.choice((-1, 1)) * width * 0.55
        parts.append((x + c * along - s * out, y + s * along + c * out, angle,
                      length * rng.uniform(0.3, 0.42), width * rng.uniform(0.4, 0.8)))
    colour = jitter(rng, rng.choice(style.large_roofs), 8)
    roof = "gable" if rng.random() < 0.25 else "flat"
    return Building("large", parts, rng.uniform(6, 15) * scale, colour, roof, when, rng.randrange(1 << 30))


def paint_shadow(mask, building, sun):
    """Sweeps the footprint away from the sun."""
    away = np.array([-math.cos(sun), -math.sin(sun)]) * building.height
    for part in building.parts:
        quad = box(*part)
        hull = cv2.convexHull(np.concatenate((quad, quad + away)).astype(np.float32))
        cv2.fillPoly(mask, [_fixed(hull[:, 0])], 255, cv2.LINE_AA, 4)


def paint_grounds(image, building, rng_colours):
    """Garden, fence, pool, driveway, parking lot: what lies around it."""
    if building.lot is not None:
        if building.lot_colour is not None:
            cv2.fillPoly(image, [_fixed(building.lot)], building.lot_colour, cv2.LINE_AA, 4)
        if building.fence:
            cv2.polylines(image, [_fixed(building.lot[[0, 3, 2, 1]])], False, (58, 50, 44), 1, cv2.LINE_AA, 4)
            cv2.polylines(image, [_fixed(building.lot[[0, 3, 2, 1]] + 1.0)], False, (150, 132, 108), 1, cv2.LINE_AA, 4)
    if building.paving is not None:
        cv2.fillPoly(image, [_fixed(building.paving)], building.drive_colour, cv2.LINE_AA, 4)
        for a, b in building.stalls:
            cv2.line(image, tuple(np.round(a * 16).astype(int)), tuple(np.round(b * 16).astype(int)),
                     (206, 206, 202), 1, cv2.LINE_AA, 4)
    if building.drive is not None:
        cv2.fillPoly(image, [_fixed(building.drive)], building.drive_colour, cv2.LINE_AA, 4)
    if building.pool is not None:
        cv2.fillPoly(image, [_fixed(building.pool * 1.0)], (176, 176, 166), cv2.LINE_AA, 4)
        centre = building.pool.mean(0)
        cv2.fillPoly(image, [_fixed(centre + (building.pool - centre) * 0.68)], (74, 148, 168), cv2.LINE_AA, 4)


def paint_roof(image, building, sun, rng):
    rng.seed(building.seed)
    for part in reversed(building.parts):
        if building.roof == "flat":
            _flat(image, part, building, sun, rng)
        else:
            _pitched(image, part, building, sun, hip=building.roof == "hip")
    if building.kind == "house":
        x, y, angle, length, width = building.parts[0]
        for _ in range(rng.choice((0, 1, 2, 3))):
            at = (x + rng.uniform(-0.3, 0.3) * length, y + rng.uniform(-0.3, 0.3) * width)
            tone = rng.choice((40, 60, 190))
            cv2.circle(image, (round(at[0]), round(at[1])), rng.choice((0, 1)), (tone, tone, tone), -1)


def _lit(colour, gain):
    return tuple(min(255, max(0, c * gain)) for c in colour)


def _pitched(image, part, building, sun, hip):
    x, y, angle, length, width = part
    if width > length:
        angle, length, width = angle + math.pi / 2, width, length
    quad = box(x, y, angle, length, width)
    inset = width / 2 * (0.95 if hip else 0.0)
    c, s = math.cos(angle), math.sin(angle)
    half = max(length / 2 - inset, 0.5)
    left, right = np.array([x - c * half, y - s * half]), np.array([x + c * half, y + s * half])
    faces = (  # corners and the direction the face looks in
        ((quad[0], quad[1], right, left), angle - math.pi / 2),
        ((quad[3], quad[2], right, left), angle + math.pi / 2),
        ((quad[1], quad[2], right), angle),
        ((quad[0], quad[3], left), angle + math.pi),
    )
    for corners, looks in faces[: 4 if hip else 2]:
        gain = 1.0 + 0.30 * math.cos(looks - sun)
        cv2.fillPoly(image, [_fixed(np.array(corners))], _lit(building.colour, gain), cv2.LINE_AA, 4)
    ridge = _lit(building.colour, 1.22)
    cv2.line(image, tuple(np.round(left * 16).astype(int)), tuple(np.round(right * 16).astype(int)),
             ridge, 1, cv2.LINE_AA, 4)
    if building.kind == "large":
        _ribs(image, part, _lit(building.colour, 0.9))


def _ribs(image, part, colour):
    x, y, angle, length, width = part
    c, s = math.cos(angle), math.sin(angle)
    for i in range(int(length / 7)):
        along = -length / 2 + 3.5 + 7 * i
        a = np.array([x + c * along + s * width / 2, y + s * along - c * width / 2])
        b = np.array([x + c * along - s * width / 2, y + s * along + c * width / 2])
        cv2.line(image, tuple(np.round(a * 16).astype(int)), tuple(np.round(b * 16).astype(int)),
                 colour, 1, cv2.LINE_AA, 4)


def _flat(image, part, building, sun, rng):
    x, y, angle, length, width = part
    cv2.fillPoly(image, [_fixed(box(x, y, angle, length, width))], _lit(building.colour, 1.1), cv2.LINE_AA, 4)
    cv2.fillPoly(image, [_fixed(box(x, y, angle, length - 3, width - 3))], building.colour, cv2.LINE_AA, 4)
    if building.kind != "large":
        return
    if rng.random() < 0.3:
        _ribs(image, part, _lit(building.colour, 0.94))
    c, s = math.cos(angle), math.sin(angle)
    away = np.array([-math.cos(sun), -math.sin(sun)])
    for _ in range(rng.randrange(2, 12)):
        along, out = rng.uniform(-0.42, 0.42) * length, rng.uniform(-0.4, 0.4) * width
        at = np.array([x + c * along - s * out, y + s * along + c * out])
        size = rng.uniform(2.0, 6.0)
        cv2.fillPoly(image, [_fixed(box(*(at + away * 1.5), angle, size, size))], _lit(building.colour, 0.45),
                     cv2.LINE_AA, 4)
        cv2.fillPoly(image, [_fixed(box(*at, angle, size, size))], _lit(building.colour, rng.uniform(0.8, 1.15)),
                     cv2.LINE_AA, 4)


def add_parking(rng, building, scale):
    """A paved yard around a large building, with stalls; returns car places."""
    x, y, angle, length, width = building.parts[0]
    c, s = math.cos(angle), math.sin(angle)
    side = rng.choice((-1, 1))
    depth = rng.uniform(34, 62) * scale
    out = side * depth / 2
    cx, cy = x - s * out, y + c * out
    building.paving = box(cx, cy, angle, length + rng.uniform(10, 50) * scale, width + depth)
    tone = rng.choice((96, 118, 150, 176))
    building.drive_colour = jitter(rng, (tone, tone, tone - 4), 6)
    cars = []
    row = side * (width / 2 + depth * 0.72)
    pitch, stall = 5.4 * scale, 10.5 * scale
    for i in range(int(length / pitch)):
        along = -length / 2 + pitch * i
        a = np.array([x + c * along - s * (row - stall / 2), y + s * along + c * (row - stall / 2)])
        b = np.array([x + c * along - s * (row + stall / 2), y + s * along + c * (row + stall / 2)])
        building.stalls.append((a, b))
        if rng.random() < 0.45:
            middle = (a + b) / 2 + np.array([c, s]) * pitch / 2
            cars.append((float(middle[0]), float(middle[1]), angle + math.pi / 2))
    return cars
