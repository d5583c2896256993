"""Weather, light, cameras and files: what spoils pictures without changing the
ground. Works on uint8 pictures of any side; spans are shares of the side."""

import math

import cv2
import numpy as np

from .revisit import smooth_field, view

#: How often a pair gets each of them. A pair may get several.
SPOILS = {
    "clouds": 0.07, "thin clouds": 0.06, "shade": 0.05, "haze": 0.10, "glare": 0.03, "cast": 0.10, "grey": 0.06,
    "false colour": 0.03, "dark": 0.08, "flat": 0.08, "jpeg": 0.07, "no data": 0.06, "blur": 0.05, "view": 0.20,
}
#: Of pairs that get any at all.
SPOILED = 0.55


def spoil(images, changed, rng):
    """A pair `[2, S, S, 3]` with what `SPOILS` draws. `changed` is a small map of
    the shares that changed: what hides most of it is left out."""
    if rng.random() > SPOILED:
        return images
    out = [i for i in images]
    for name, share in SPOILS.items():
        if rng.random() >= share:
            continue
        if name in ("grey", "dark", "flat", "false colour"):
            # One camera for both dates, or two.
            seed, dates = rng.random(), (0, 1) if rng.random() < 0.6 else (rng.randrange(2),)
            for date in dates:
                out[date] = _SAME[name](out[date], seed)
        elif name in ("haze", "jpeg", "cast") and rng.random() < 0.35:
            out = [_EACH[name](i, rng) for i in out]
        else:
            date = 1 if name == "view" else rng.randrange(2)
            result = _EACH[name](out[date], rng)
            picture, hidden = result if isinstance(result, tuple) else (result, None)
            if hidden is not None and _hides(hidden, changed):
                continue
            out[date] = picture
    return np.stack(out)


def _hides(hidden, changed):
    if changed is None or not changed.any():
        return False
    side = changed.shape[-1]
    seen = 1 - cv2.resize(hidden, (side, side), interpolation=cv2.INTER_AREA)
    return float((seen * changed).sum()) < 0.6 * float(changed.sum())


def _noise(image, rng, octaves=4):
    side = image.shape[0]
    base = rng.uniform(0.25, 0.9) * side
    total = sum(smooth_field(rng, image.shape, max(1.5, base / 2**k)) / 1.6**k for k in range(octaves))
    return total / total.std()


def _covering(image, rng, share, soft):
    values = _noise(image, rng)
    level = np.quantile(values, 1 - share)
    return np.clip((values - level) / soft + 0.5, 0, 1).astype(np.float32)


def _veiled(image, alpha, tone):
    return np.clip(image + alpha[..., None] * (np.float32(tone) - image), 0, 255).astype(np.uint8)


def clouds(image, rng):
    """Thick clouds over up to 40 %, mostly with their shadows beside them."""
    alpha = _covering(image, rng, rng.uniform(0.05, 0.4), rng.uniform(0.15, 0.7)) * rng.uniform(0.8, 1.0)
    picture, hidden = image, alpha
    if rng.random() < 0.75:
        side = image.shape[0]
        angle, reach = rng.uniform(0, 2 * math.pi), rng.uniform(0.05, 0.35) * side
        matrix = np.float32([[1, 0, math.cos(angle) * reach], [0, 1, math.sin(angle) * reach]])
        below = cv2.warpAffine(alpha, matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101)
        picture = (picture * (1 - rng.uniform(0.3, 0.6) * below[..., None])).astype(np.uint8)
    tone = rng.uniform(205, 255) + 10 * smooth_field(rng, image.shape, 12)[..., None]
    return _veiled(picture, alpha, tone), hidden


def thin_clouds(image, rng):
    alpha = _covering(image, rng, rng.uniform(0.15, 0.7), rng.uniform(0.8, 2.5)) * rng.uniform(0.25, 0.7)
    return _veiled(image, alpha, rng.uniform(190, 250)), np.where(alpha > 0.6, 1, 0).astype(np.float32)


def shade(image, rng):
    """The shadow of clouds that are out of view."""
    alpha = _covering(image, rng, rng.uniform(0.1, 0.6), rng.uniform(0.1, 0.8))
    return (image * (1 - rng.uniform(0.25, 0.65) * alpha[..., None])).astype(np.uint8)


def haze(image, rng):
    tone = np.array([rng.uniform(165, 225)] * 3) + [rng.gauss(0, 6) for _ in range(3)]
    alpha = np.full(image.shape[:2], rng.uniform(0.15, 0.7), np.float32)
    if rng.random() < 0.4:
        alpha = np.clip(alpha * (1 + 0.35 * smooth_field(rng, image.shape, image.shape[0])), 0, 0.8)
    return _veiled(image, alpha, tone)


def glare(image, rng):
    side = image.shape[0]
    y, x = np.mgrid[:side, :side].astype(np.float32)
    at, reach = (rng.uniform(0, side), rng.uniform(0, side)), rng.uniform(0.15, 0.6) * side
    alpha = np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / (2 * reach**2)) * rng.uniform(0.3, 0.9)
    return _veiled(image, alpha, 255.0), np.where(alpha > 0.65, 1, 0).astype(np.float32)


def cast(image, rng):
    warm = rng.gauss(0, 0.22)
    gain = np.exp([warm + rng.gauss(0, 0.06), rng.gauss(0, 0.08), -warm + rng.gauss(0, 0.06)])
    return np.clip(image * gain.astype(np.float32), 0, 255).astype(np.uint8)


def grey(image, seed):
    mix = ((0.3, 0.59, 0.11), (1 / 3, 1 / 3, 1 / 3), (0.6, 0.3, 0.1), (0.0, 1.0, 0.0))[int(seed * 4)]
    one = image.astype(np.float32) @ np.float32(mix)
    return np.repeat(np.clip(one, 0, 255).astype(np.uint8)[..., None], 3, -1)


def false_colour(image, seed):
    orders = ((2, 1, 0), (1, 0, 2), (1, 2, 0), (0, 2, 1), (2, 0, 1))
    return np.ascontiguousarray(image[..., orders[int(seed * 5)]])


def dark(image, seed):
    """An exposure too short; at the far end twelve bits read as sixteen."""
    return np.clip(image * (0.08 + 0.6 * seed) + 0.5, 0, 255).astype(np.uint8)


def flat(image, seed):
    """Low contrast about one level."""
    level = 60 + 130 * (seed * 7 % 1)
    return np.clip(level + (image - np.float32(level)) * (0.2 + 0.5 * seed), 0, 255).astype(np.uint8)


def jpeg(image, rng):
    """As from a file of 256 pixels a side, of quality 6 to 40."""
    side = image.shape[0]
    large = cv2.resize(image, (256, 256), interpolation=cv2.INTER_CUBIC)
    _, data = cv2.imencode(".jpg", large[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, rng.randint(6, 40)])
    back = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
    return np.ascontiguousarray(cv2.resize(back, (side, side), interpolation=cv2.INTER_AREA))


def no_data(image, rng):
    """A corner, a wedge or a border without a picture."""
    side = image.shape[0]
    angle, keep = rng.uniform(0, 2 * math.pi), rng.uniform(0.05, 0.45) * side
    if rng.random() < 0.5:
        angle = rng.randrange(4) * math.pi / 2
    y, x = np.mgrid[:side, :side].astype(np.float32) - side / 2
    hidden = (x * math.cos(angle) + y * math.sin(angle) > keep).astype(np.float32)
    tone = rng.choice((0, 0, 0, 255))
    return np.where(hidden[..., None] > 0, np.uint8(tone), image), hidden


def blur(image, rng):
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6))


def other_view(image, rng):
    return view(image, rng, image.shape[0])


_SAME = {"grey": grey, "false colour": false_colour, "dark": dark, "flat": flat}
_EACH = {
    "clouds": clouds, "thin clouds": thin_clouds, "shade": shade, "haze": haze, "glare": glare, "cast": cast,
    "jpeg": jpeg, "no data": no_data, "blur": blur, "view": other_view,
}
