"""Trees: dense canopy from tiles made once, and single crowns."""

import functools
import math
import random

import cv2
import numpy as np

from . import SIZE

TILE = 512
SUNS = 6


@functools.lru_cache(maxsize=None)
def canopy(density, sun, growth):
    """`(crown, light, shadow)` of a tile, uint8 `[512, 512]`; light is 1 at
    118. The same trees stand in it for every sun; `growth`
    0 or 1 makes them larger."""
    rng = random.Random(density * 7919)
    angle = 2 * math.pi * sun / SUNS
    dx, dy = math.cos(angle), math.sin(angle)
    crown = np.zeros((TILE, TILE), np.uint8)
    shadow = np.zeros((TILE, TILE), np.uint8)
    light = np.zeros((TILE, TILE), np.uint8)
    clumps = [(rng.randrange(TILE), rng.randrange(TILE), rng.uniform(15, 60)) for _ in range(45)]
    for _ in range((160, 450, 1000, 1900)[density]):
        if rng.random() < 0.7:
            cx, cy, spread = rng.choice(clumps)
            x, y = int(rng.gauss(cx, spread)) % TILE, int(rng.gauss(cy, spread)) % TILE
        else:
            x, y = rng.randrange(TILE), rng.randrange(TILE)
        radius = min(13, max(2, rng.lognormvariate(1.65, 0.4))) * (1.0 + 0.22 * growth)
        tone = rng.randint(92, 134)
        r = max(1, round(radius))
        cv2.circle(shadow, (round(x - dx * radius * 0.9), round(y - dy * radius * 0.9)), r, 255, -1, cv2.LINE_AA)
        lobes = [(0.0, 0.0, 1.0)] + [
            (rng.uniform(-0.6, 0.6), rng.uniform(-0.6, 0.6), rng.uniform(0.45, 0.75)) for _ in range(4)
        ]
        for lx, ly, lr in lobes:
            at = (round(x + lx * radius), round(y + ly * radius))
            lit = tone + 26 * (lx * dx + ly * dy)
            cv2.circle(crown, at, max(1, round(radius * lr)), 255, -1, cv2.LINE_AA)
            cv2.circle(light, at, max(1, round(radius * lr)), lit, -1, cv2.LINE_AA)
        at = (round(x + dx * radius * 0.4), round(y + dy * radius * 0.4))
        cv2.circle(light, at, max(1, round(radius * 0.45)), tone + 34, -1, cv2.LINE_AA)
    light = cv2.GaussianBlur(light, (3, 3), 0)
    grain = np.random.default_rng(density).normal(0, 0.16, (TILE, TILE)).astype(np.float32)
    light = light + 118.0 * 1.6 * cv2.GaussianBlur(grain, (3, 3), 0)
    return crown, np.clip(light, 0, 255).astype(np.uint8), shadow


def sun_index(angle):
    return round(angle / (2 * math.pi) * SUNS) % SUNS


def paint_wood(image, wood, sun, tint):
    """Paints one woodland `(area, density, offset, growth, colour)` where its
    soft `area` mask is set."""
    area, density, (oy, ox), growth, colour = wood
    crown, light, shadow = (t[oy:oy + SIZE, ox:ox + SIZE] for t in canopy(density, sun_index(sun), growth))
    inside = (area > 0.5).astype(np.float32)
    dark = 1.0 - shadow * inside * (0.55 / 255)
    alpha = crown * inside * (1 / 255)
    keep = dark * (1 - alpha)
    paint = alpha * light * (1 / 118)
    for channel in range(3):
        plane = image[..., channel]
        plane *= keep
        plane += paint * (colour[channel] * float(tint[channel]))


def paint_trees(image, trees, sun, tint, rng):
    """Single trees `(x, y, radius, colour)` with shadows, on a uint8 image."""
    dx, dy = math.cos(sun), math.sin(sun)
    shade = np.zeros(image.shape[:2], np.uint8)
    for x, y, radius, _ in trees:
        at = (round((x - dx * radius * 1.1) * 16), round((y - dy * radius * 1.1) * 16))
        cv2.circle(shade, at, round(radius * 16), 130, -1, cv2.LINE_AA, 4)
    if trees:
        dim = 255 - shade
        image[:] = cv2.multiply(image, cv2.merge((dim, dim, dim)), scale=1 / 255)
    for x, y, radius, colour in trees:
        colour = [c * float(t) for c, t in zip(colour, tint)]
        for lx, ly, lr, gain in ((0, 0, 1.0, 0.92), (-0.4 * dx, -0.4 * dy, 0.6, 0.72), (0.35 * dx, 0.35 * dy, 0.6, 1.22),
                                 (0.45 * dy, -0.45 * dx, 0.5, 1.05), (0.5 * dx, 0.5 * dy, 0.3, 1.42)):
            at = (round((x + lx * radius) * 16), round((y + ly * radius) * 16))
            cv2.circle(image, at, max(16, round(radius * lr * 16)), [min(255, c * gain) for c in colour],
                       -1, cv2.LINE_AA, 4)
