"""Moves buildings and pieces of ground about: cut, paste, erase, exchange.

Pictures are float32 `[H, W, 3]` in 0..255; alphas are float32 `[H, W]` in 0..1.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

#: A building above this many square metres is called large.
LARGE = 380.0
SMALLEST, LARGEST = 25.0, 2500.0
_SHADOW_REACH = 5.0              # metres around a building where its shadow is sought


@dataclass
class Cutout:
    """One building with its shadow, at the sampling of its canvas."""

    image: np.ndarray
    alpha: np.ndarray            # building and shadow, feathered
    outline: np.ndarray          # building alone, uint8 0/255
    metres: float
    area: float                  # square metres

    @property
    def kind(self):
        return kind_of(self.area)


def kind_of(area):
    return "large" if area > LARGE else "house"


def collect(canvas):
    """Every whole building of a canvas."""
    if canvas.mask is None or not canvas.mask.any():
        return []
    image = canvas.images[0].astype(np.float32)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(canvas.mask, connectivity=4)
    reach = round(_SHADOW_REACH / canvas.metres)
    height, width = canvas.mask.shape
    out = []
    for i in range(1, count):
        x, y, w, h, pixels = stats[i]
        area = pixels * canvas.metres**2
        box = np.s_[y - reach:y + h + reach, x - reach:x + w + reach]
        inside = x >= reach and y >= reach and x + w + reach <= width and y + h + reach <= height
        if not (SMALLEST < area < LARGEST and inside and canvas.valid[box].all()):
            continue
        own = np.where(labels[box] == i, 255, 0).astype(np.uint8)
        others = (canvas.mask[box] > 0) & (own == 0)
        shown = image[box]
        out.append(Cutout(shown, _with_shadow(shown, own, others, reach), own, canvas.metres, area))
    return out


def _with_shadow(image, own, others, reach):
    """The building, and what is much darker than the ground right beside it."""
    ring = (cv2.dilate(own, np.ones((3, 3), np.uint8), iterations=reach // 2) > 0) & (own == 0) & ~others
    grey = image.mean(-1)
    level = np.median(grey[ring]) if ring.any() else 128.0
    dark = np.where(ring & (grey < 0.62 * level), 255, 0).astype(np.uint8)
    whole = cv2.morphologyEx(cv2.bitwise_or(own, dark), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels = cv2.connectedComponents(whole)
    touched = np.unique(labels[own > 0])
    whole = np.where(np.isin(labels, touched[touched > 0]) | (own > 0), 1.0, 0.0).astype(np.float32)
    return cv2.GaussianBlur(cv2.dilate(whole, np.ones((3, 3), np.uint8)), (0, 0), 1.2)


def turned(cutout, metres, degrees, mirror):
    """`(image, alpha, outline)` of a cutout at `metres` per pixel."""
    zoom = cutout.metres / metres
    h, w = cutout.outline.shape
    side = max(4, math.ceil(math.hypot(h, w) * zoom) + 2)
    matrix = cv2.getRotationMatrix2D((w / 2, h / 2), degrees, zoom)
    matrix[:, 2] += (side / 2 - w / 2, side / 2 - h / 2)
    image, alpha, outline = cutout.image, cutout.alpha, cutout.outline
    if zoom < 0.7:               # no aliasing
        image = cv2.GaussianBlur(image, (0, 0), 0.4 / zoom)
    warp = lambda x: cv2.warpAffine(x, matrix, (side, side), flags=cv2.INTER_LINEAR)  # noqa: E731
    parts = [warp(image), warp(alpha), np.where(warp(outline) > 127, 255, 0).astype(np.uint8)]
    return [p[:, ::-1] for p in parts] if mirror else parts


def lay_over(image, patch, alpha, y, x):
    """Blends `patch` into `image` with its corner at `(y, x)`, cut to the picture."""
    top, left = max(0, y), max(0, x)
    bottom, right = min(image.shape[0], y + patch.shape[0]), min(image.shape[1], x + patch.shape[1])
    if bottom <= top or right <= left:
        return
    part = np.s_[top - y:bottom - y, left - x:right - x]
    a = alpha[part][..., None]
    where = image[top:bottom, left:right]
    where += a * (patch[part] - where)


def marked(shape, outline, y, x):
    """`outline` in an empty mask of `shape`, its corner at `(y, x)`."""
    out = np.zeros((*shape[:2], 1), np.float32)
    lay_over(out, outline[..., None].astype(np.float32), np.ones(outline.shape, np.float32), y, x)
    return np.where(out[..., 0] > 127, 255, 0).astype(np.uint8)


def matched(patch, alpha, ground, strength=0.6):
    """Brings a patch part of the way to the brightness and cast of `ground`."""
    weight = alpha[..., None] + 1e-3
    mean = (patch * weight).sum((0, 1)) / weight.sum()
    target = ground.reshape(-1, 3).mean(0)
    gain = np.clip(target.mean() / max(1.0, mean.mean()), 0.6, 1.6) ** (0.5 * strength)
    return np.clip(patch * gain, 0, 255)


def erased(image, region, free, rng):
    """Covers the uint8 mask `region` with ground copied from where `free` is
    set, mended at the edge; None when no such ground is near."""
    grown = cv2.dilate(region, np.ones((3, 3), np.uint8), iterations=3)
    ys, xs = np.nonzero(grown)
    top, bottom, left, right = ys.min(), ys.max() + 1, xs.min(), xs.max() + 1
    h, w = bottom - top, right - left
    height, width = region.shape
    need = grown[top:bottom, left:right] > 0
    for _ in range(40):
        y, x = rng.randrange(0, height - h + 1), rng.randrange(0, width - w + 1)
        if free[y:y + h, x:x + w][need].all():
            break
    else:
        return None
    patch = image[y:y + h, x:x + w].copy()
    edge = (cv2.dilate(grown, np.ones((3, 3), np.uint8), iterations=3) > 0) & (grown == 0) & free
    if edge.sum() > 20:
        here = image[edge].mean(0)
        patch = patch + 0.8 * (here - patch[need].mean(0))
    out = image.copy()
    alpha = cv2.GaussianBlur((grown[top:bottom, left:right] > 0).astype(np.float32), (0, 0), 1.5)
    lay_over(out, np.clip(patch, 0, 255), alpha, top, left)
    return out
