"""What differs between two pictures of an unchanged place: season, sun, haze,
colour, blur, sensor noise, registration."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from . import SIZE
from .noise import field, FIELD


@dataclass
class Look:
    """How one date is seen."""

    sun: float                   # direction towards the sun, radians
    gain: np.ndarray             # per channel
    gamma: float
    contrast: float
    haze: float
    season: np.ndarray           # tint of vegetated ground
    leaf: np.ndarray             # tint of crowns
    shadow: float                # darkness of shadows
    blur: float
    sharpen: float
    noise: float
    seed: int


def draw_look(rng, spread):
    """A look from scratch."""
    dry = rng.random()
    season = np.array([0.92 + 0.22 * dry, 1.0 + 0.02 * dry, 0.94 + 0.1 * dry], np.float32)
    bare = rng.random() ** 2
    leaf = np.array([0.9 + 0.55 * bare, 0.95 + 0.3 * bare, 0.9 + 0.5 * bare], np.float32)
    warm = rng.gauss(0, spread * 0.28)
    gain = (1.0 + rng.gauss(-0.06, spread)) * np.array([1 + warm, 1.0 + rng.gauss(0, spread * 0.15), 1 - warm], np.float32)
    return Look(
        sun=rng.uniform(0, 2 * math.pi), gain=gain.astype(np.float32), gamma=math.exp(rng.gauss(0, 0.14)),
        contrast=math.exp(rng.gauss(0.04, 0.14)), haze=max(0.0, rng.gauss(-0.02, 0.09)), season=season, leaf=leaf,
        shadow=rng.uniform(0.4, 0.78), blur=max(0.0, rng.gauss(0.15, 0.3)), sharpen=max(0.0, rng.gauss(0.5, 0.5)),
        noise=rng.uniform(0.5, 5.0), seed=rng.randrange(1 << 30),
    )


def develop(image, look):
    """Scene radiance (float32, 0..255) to a picture (uint8)."""
    if look.blur > 0.25:
        image = cv2.GaussianBlur(image, (0, 0), look.blur)
    if look.sharpen > 0.1:
        image = cv2.addWeighted(image, 1 + look.sharpen, cv2.GaussianBlur(image, (0, 0), 1.2), -look.sharpen, 0)
    levels = np.arange(256, dtype=np.float32)[:, None] / 255
    tone = (levels**look.gamma - 0.38) * look.contrast + 0.38
    tone = tone * (look.gain * (1 - look.haze)) + 0.72 * look.haze
    tone = np.clip(tone * 255, 0, 255).astype(np.float32).reshape(256, 1, 3)
    image = cv2.LUT(cv2.convertScaleAbs(cv2.max(image, 0.0)), tone)
    y, x = look.seed % (FIELD - SIZE), (look.seed >> 12) % (FIELD - SIZE)
    grain = look.noise * field(0.0, look.seed % 3)[y:y + SIZE, x:x + SIZE]
    return cv2.convertScaleAbs(cv2.max(image + cv2.merge((grain, grain, grain)), 0.0))


def misregister(image, dx, dy, degrees):
    """Shifts and turns a picture; the border is continued by reflection."""
    if dx == dy == degrees == 0:
        return image
    matrix = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), degrees, 1.0)
    matrix[:, 2] += (dx, dy)
    return cv2.warpAffine(image, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
