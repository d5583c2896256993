"""The fixed variations of real pictures that the evaluation reports: each a
function of a uint8 picture `[S, S, 3]` and a `random.Random`."""

import math

import cv2
import numpy as np

from scenes.revisit import smooth_field


def warp(matrix):
    def vary(image, _):
        side = image.shape[0]
        centre = np.array([[1, 0, side / 2], [0, 1, side / 2], [0, 0, 1.0]])
        full = centre @ np.asarray(matrix, float) @ np.linalg.inv(centre)
        return cv2.warpPerspective(image, full, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return vary


def shift(pixels):
    return warp([[1, 0, pixels * 0.8], [0, 1, pixels * 0.6], [0, 0, 1]])


def turn(degrees):
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return warp([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def tilt(share):
    return warp([[1, 0, 0], [0, 1, 0], [share / 256, 0, 1]])


def jpeg(quality):
    def vary(image, _):
        _, data = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
        return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])
    return vary


def _cover(image, rng, share, soft):
    values = sum(smooth_field(rng, image.shape, 110 / 2**k) / 1.7**k for k in range(5))
    level = np.quantile(values, 1 - share)
    return np.clip((values - level) / (soft * values.std()) + 0.5, 0, 1)[..., None]


def clouds(share, soft=0.35, density=0.95):
    def vary(image, rng):
        alpha = density * _cover(image, rng, share, soft)
        return np.clip(image + alpha * (238.0 - image), 0, 255).astype(np.uint8)
    return vary


def haze(share):
    return lambda image, _: np.clip(image * (1 - share) + 200.0 * share, 0, 255).astype(np.uint8)


def scaled(*gain):
    return lambda image, _: np.clip(image * np.float32(gain), 0, 255).astype(np.uint8)


def contrast(factor):
    def vary(image, _):
        level = image.mean()
        return np.clip(level + (image - level) * factor, 0, 255).astype(np.uint8)
    return vary


def gamma(power):
    return lambda image, _: (255 * (image / 255.0) ** power).astype(np.uint8)


def grey(image, _):
    return np.repeat((image @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)[..., None], 3, -1)


def corner(image, _):
    """No data in a corner: a wedge of about an eighth of the picture."""
    out = image.copy()
    y, x = np.mgrid[:image.shape[0], :image.shape[1]]
    out[x + y < image.shape[0] * 0.5] = 0
    return out


def same(image, _):
    return image


SAME_SCENE = {
    "unvaried": same, "shift 4": shift(4), "shift 8": shift(8), "shift 16": shift(16), "rotation 2": turn(2),
    "rotation 5": turn(5), "scale 1.1": warp(np.diag((1.1, 1.1, 1.0))), "tilt 10 %": tilt(0.10),
    "clouds 10 %": clouds(0.1), "clouds 20 %": clouds(0.2), "clouds 30 %": clouds(0.3),
    "thin clouds 30 %": clouds(0.3, 1.2, 0.55), "haze 60 %": haze(0.6), "warm": scaled(1.2, 1.0, 0.8),
    "cold": scaled(0.8, 1.0, 1.2), "gamma 0.6": gamma(0.6), "JPEG q10": jpeg(10), "no-data corner": corner, "grey": grey,
}
AFTER = {
    "unvaried": same, "warm": scaled(1.2, 1.0, 0.8), "hazy 60 %": haze(0.6), "grey": grey, "clouds 20 %": clouds(0.2),
    "shift 16": shift(16), "tilt 10 %": tilt(0.10),
}
BOTH = {
    "dark x0.4": scaled(0.4, 0.4, 0.4), "dark x0.1": scaled(0.1, 0.1, 0.1), "contrast x0.4": contrast(0.4),
    "hazy 60 %": haze(0.6), "grey": grey, "BGR order": lambda image, _: np.ascontiguousarray(image[..., ::-1]),
}
