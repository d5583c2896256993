"""What a second visit does to a real picture on which nothing was built: another
season, another sun, another view. Pictures are float32 `[H, W, 3]`, 0..255."""

import math

import cv2
import numpy as np

#: Largest shift and turn, and the largest change of scale and tilt between two
#: visits; most are much smaller.
SHIFT, TURN, SCALE, TILT = 16.0, 5.0, 0.10, 0.10


def smooth_field(rng, shape, wavelength):
    """Zero-mean noise of about unit variance without detail below `wavelength`."""
    small = [max(2, math.ceil(s / wavelength)) + 2 for s in shape[:2]]
    values = np.random.default_rng(rng.randrange(1 << 30)).standard_normal(small).astype(np.float32)
    return cv2.resize(values, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)


def reseason(image, buildings, rng, strength):
    """Recolours vegetation and ground, redraws its texture, deepens or lifts
    shadows, and casts new ones from `buildings` (a mask, or None)."""
    if strength <= 0:
        return image
    out = image.copy()
    green = cv2.GaussianBlur(2 * image[..., 1] - image[..., 0] - image[..., 2], (0, 0), 1.5)
    level = np.percentile(green, 30)
    plants = 1 / (1 + np.exp(-(green - level - 8) / 6))
    if buildings is not None:
        plants = plants * (1 - cv2.GaussianBlur(buildings, (0, 0), 1.0) / 255.0)
    tint = np.array([rng.gauss(0.06, 0.22), rng.gauss(0, 0.14), rng.gauss(0, 0.2)], np.float32)
    tone = np.exp(strength * (tint + rng.gauss(0, 0.18)))
    relief = np.exp(strength * rng.gauss(0, 0.35))
    mean = cv2.GaussianBlur(image, (0, 0), 6)
    leafy = (mean + (image - mean) * relief) * tone
    grain = smooth_field(rng, image.shape, rng.uniform(1.5, 5)) * rng.uniform(0, 14) * strength
    patchy = np.exp(strength * rng.uniform(0, 0.22) * smooth_field(rng, image.shape, rng.uniform(20, 90)))
    out += (plants * strength)[..., None] * (leafy * patchy[..., None] + grain[..., None] - image)
    bare = 1 - plants
    if buildings is not None:
        bare = bare * (buildings == 0)
    ground = np.exp(strength * np.array([rng.gauss(0, 0.07) for _ in range(3)], np.float32) + strength * rng.gauss(0, 0.12))
    out += cv2.GaussianBlur(bare.astype(np.float32), (0, 0), 1.0)[..., None] * out * (ground - 1)
    grey = out.mean(-1)
    shadow = np.clip((np.median(grey) * 0.55 - grey) / 25.0, 0, 1)
    out *= np.exp(shadow * strength * rng.gauss(0.15, 0.35))[..., None]
    if buildings is not None and rng.random() < 0.6 * strength:
        out = _cast(out, buildings, rng)
    return np.clip(out, 0, 255)


def _cast(image, buildings, rng):
    """Shadows of all buildings towards one side."""
    angle, reach = rng.uniform(0, 2 * math.pi), rng.uniform(3, 14)
    shade = np.zeros_like(buildings)
    for step in np.linspace(0, reach, 6):
        matrix = np.float32([[1, 0, math.cos(angle) * step], [0, 1, math.sin(angle) * step]])
        shade |= cv2.warpAffine(buildings, matrix, (buildings.shape[1], buildings.shape[0]))
    shade = np.where(buildings > 0, 0, shade)
    dim = cv2.GaussianBlur(shade.astype(np.float32) / 255, (0, 0), 0.8) * rng.uniform(0.25, 0.6)
    return image * (1 - dim[..., None])


def parallax(image, rng, amplitude):
    """What stands up leans another way: a smooth random displacement."""
    height, width = image.shape[:2]
    wavelength = rng.uniform(12, 50)
    dx, dy = (amplitude * smooth_field(rng, image.shape, wavelength) for _ in range(2))
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(image, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def view(image, rng, size=None):
    """Shift, turn, scale and tilt. Spans are for pictures of 256 pixels; `size`
    is the picture's side where that is another."""
    height, width = image.shape[:2]
    unit = (size or 256) / 256
    part = 1.0 if rng.random() < 0.3 else 0.3   # mostly well registered
    shift = [part * unit * rng.uniform(-SHIFT, SHIFT) for _ in range(2)]
    zoom = 1 + part * rng.uniform(-SCALE, SCALE)
    matrix = np.vstack((cv2.getRotationMatrix2D((width / 2, height / 2), part * rng.uniform(-TURN, TURN), zoom), (0, 0, 1)))
    matrix[:2, 2] += shift
    if rng.random() < 0.5:
        tilt = [part * rng.uniform(-TILT, TILT) / s for s in (width, height)]
        centre = np.array([[1, 0, width / 2], [0, 1, height / 2], [0, 0, 1.0]])
        matrix = matrix @ centre @ np.array([[1, 0, 0], [0, 1, 0], [*tilt, 1.0]]) @ np.linalg.inv(centre)
    return cv2.warpPerspective(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
