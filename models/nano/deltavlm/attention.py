"""Scaled dot-product attention in plain matrix products: on CPUs its backward
pass is several times faster than the fused kernel's."""


def attend(q, k, v, mask=None):
    """`mask` is added to the scores."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if mask is not None:
        scores = scores + mask
    return scores.softmax(-1).to(v.dtype) @ v
