"""How far a pair is from what the model learned. The runtime computes the same
(`runtime/src/trust.rs`) from the table that `write` makes."""

import math
from dataclasses import dataclass

import numpy as np

RANK, PLACE_RANK = 16, 16
#: Side of the patch grid from which on the dates are also compared one patch apart.
MIN_SHIFTED_SIDE = 5
NO_VARIANCE = 1e-9


@dataclass
class Statistics:
    """`mean` `[D]`, orthonormal `directions` `[R, D]`, `variances` `[R + 1]` (the last:
    of all other directions on average), `place` `[P, D]`."""

    mean: np.ndarray
    directions: np.ndarray
    variances: np.ndarray
    place: np.ndarray

    def write(self, path):
        parts = (self.mean, self.directions, self.variances, self.place)
        np.concatenate([p.ravel() for p in parts]).astype("<f4").tofile(path)

    def distance(self, features):
        """Of every pair `[N, 2, T, D]` the worse picture's."""
        offset = features[:, :, 1:].mean(2) - self.mean
        along = (offset @ self.directions.T) ** 2
        rest = np.maximum((offset**2).sum(-1) - along.sum(-1), 0)
        total = (along / self.variances[:-1]).sum(-1) + rest / self.variances[-1]
        return np.sqrt(total / len(self.mean)).max(1)

    def correlation(self, features):
        """Of the two dates of every pair `[N, 2, T, D]`."""
        side = math.isqrt(features.shape[2] - 1)
        planes = (features[:, :, 1:] @ self.place.T).reshape(len(features), 2, side, side, -1)
        margin = int(side >= MIN_SHIFTED_SIDE)
        kept = side - 2 * margin
        after = planes[:, 1, margin:margin + kept, margin:margin + kept]
        found = []
        for top in range(2 * margin + 1):
            for left in range(2 * margin + 1):
                found.append(_pearson(planes[:, 0, top:top + kept, left:left + kept], after))
        return np.max(found, 0)


def _pearson(a, b):
    a, b = (x - x.mean((1, 2), keepdims=True) for x in (a, b))
    squares = (a * a).sum((1, 2)) * (b * b).sum((1, 2))
    product = (a * b).sum((1, 2))
    return np.where(squares < NO_VARIANCE**2, 0, product / np.sqrt(np.maximum(squares, NO_VARIANCE**2))).mean(-1)


def statistics(features, rank=RANK, place_rank=PLACE_RANK):
    """From the vision features of training pairs `[N, 2, T, D]`."""
    pooled = features[:, :, 1:].mean(2).reshape(-1, features.shape[-1]).astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(pooled.T))
    values, vectors = values[::-1], vectors[:, ::-1]
    variances = np.append(values[:rank], max(values[rank:].mean(), 1e-9))
    return Statistics(pooled.mean(0), vectors[:, :rank].T, variances, place_directions(features, place_rank))


def place_directions(features, rank):
    """Where the two dates of one patch agree beyond what every picture has there: the
    directions of the largest covariance between dates against that within them."""
    patches = features[:, :, 1:].astype(np.float64)
    patches = patches - patches.mean((0, 1))
    patches = patches - patches.mean(2, keepdims=True)
    before, after = (patches[:, d].reshape(-1, patches.shape[-1]) for d in (0, 1))
    count = len(before)
    within = (before.T @ before + after.T @ after) / (2 * count)
    between = (before.T @ after + after.T @ before) / (2 * count)
    width = len(within)
    root = np.linalg.inv(np.linalg.cholesky(within + 1e-3 * np.trace(within) / width * np.eye(width)))
    _, vectors = np.linalg.eigh(root @ between @ root.T)
    return (root.T @ vectors[:, ::-1][:, :rank]).T


def logistic(values, truth, weights=None):
    """Bias and slope of P(truth) over `values`, slightly drawn to no slope."""
    x = np.stack([np.ones(len(values)), np.asarray(values, float)], 1)
    truth = np.asarray(truth, float)
    weights = np.ones(len(truth)) if weights is None else np.asarray(weights, float)
    w = np.zeros(2)
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -30, 30)))
        gradient = x.T @ (weights * (p - truth)) + np.array([0, 0.01]) * w
        hessian = (x.T * (weights * p * (1 - p))) @ x + np.diag([1e-6, 0.01])
        step = np.linalg.solve(hessian, gradient)
        w = w - np.clip(step, -5, 5)
        if np.abs(step).max() < 1e-8:
            break
    return [round(float(v), 4) for v in w]


def sigmoid(x):
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))


def score(record, stats, features):
    """`(trust, of the pictures, of the place)` of every pair; `record` is the `trust`
    of a `deltavlm.json`."""
    pictures = sigmoid(record["pictures"][0] + record["pictures"][1] * stats.distance(features))
    place = sigmoid(record["place"][0] + record["place"][1] * stats.correlation(features))
    return pictures * place, pictures, place


def read(path, record, width):
    """The `Statistics` that `write` wrote."""
    table = np.fromfile(path, "<f4").astype(np.float64)
    sizes = (width, record["rank"] * width, record["rank"] + 1, record["place_rank"] * width)
    mean, directions, variances, place = np.split(table, np.cumsum(sizes)[:-1])
    return Statistics(mean, directions.reshape(-1, width), variances, place.reshape(-1, width))
