"""A bank of tileable noise fields, made once and cropped for every scene."""

import functools

import cv2
import numpy as np

from . import SIZE

FIELD = 1024


@functools.lru_cache(maxsize=None)
def field(slope, index):
    """Zero-mean, unit-variance field with spectrum 1/f^slope, `[1024, 1024]`."""
    rng = np.random.default_rng([int(slope * 100), index])
    frequency = np.hypot(np.fft.fftfreq(FIELD)[:, None], np.fft.rfftfreq(FIELD)[None, :])
    frequency[0, 0] = 1.0
    spectrum = np.fft.rfft2(rng.standard_normal((FIELD, FIELD))) * frequency**-slope
    spectrum[0, 0] = 0.0
    values = np.fft.irfft2(spectrum, s=(FIELD, FIELD)).astype(np.float32)
    return values / values.std()


def crop(rng, slope, zoom=1.0):
    """A `[SIZE, SIZE]` copy of a random place; `zoom` > 1 enlarges features."""
    values = field(slope, rng.randrange(3))
    side = int(SIZE / zoom)
    y, x = rng.randrange(FIELD - side), rng.randrange(FIELD - side)
    part = values[y:y + side, x:x + side]
    if zoom != 1.0:
        part = cv2.resize(part, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.5:
        part = part[::-1]
    return np.array(part.T if rng.random() < 0.5 else part, order="C")


def patches(rng, share, zoom=1.0, softness=0.35, slope=1.6):
    """A soft 0..1 mask of irregular patches that cover about `share`."""
    values = crop(rng, slope, zoom)
    some = np.sort(values[::16, ::16], axis=None)
    level = some[min(len(some) - 1, int((1.0 - share) * len(some)))]
    steep = 1.0 / (softness * max(float(some.std()), 1e-3))
    values *= steep
    values += 0.5 - level * steep
    return np.clip(values, 0.0, 1.0, out=values)
