"""Logits to probabilities."""

import sys

import numpy as np
from array_api_compat import array_namespace, is_dask_array

from .arrays import Array, on_its_device, widen
from .validation import choice

ACTIVATIONS = ("softmax", "sigmoid")


def check_activation(activation: object) -> str | None:
    """Return the name of an activation in the usual spelling, or None, which stands for none."""
    return None if activation is None else choice("activation", activation, ACTIVATIONS)


def activate(scores: Array, activation: str | None, class_axis: int) -> Array:
    """Return probabilities of NumPy or PyTorch scores, in float32 or wider, without gradients."""
    if activation is None:
        return scores
    if not array_namespace(scores).isdtype(scores.dtype, "real floating"):
        raise TypeError(f"logits must have a real floating dtype, found {scores.dtype}")
    if isinstance(scores, np.ndarray) or is_dask_array(scores):
        return softmax(scores, class_axis) if activation == "softmax" else sigmoid(scores)
    torch = sys.modules["torch"]
    scores, wide = scores.detach(), torch.promote_types(scores.dtype, torch.float32)
    if activation == "softmax":
        return torch.softmax(scores, class_axis, wide)
    return torch.sigmoid(scores.to(wide))


@on_its_device
def softmax(logits: Array, axis: int = -1) -> Array:
    """Return probabilities that sum to one along `axis`, in float32 or wider.

    Examples
    --------
    >>> import numpy as np
    >>> from rankseg.activations import softmax
    >>> softmax(np.log(np.array([0.1, 0.3, 0.6])) + 5).round(3)
    array([0.1, 0.3, 0.6])
    """
    xp = array_namespace(logits)
    wide = widen(xp, logits)
    with np.errstate(invalid="ignore"):  # infinite logits come out as NaN, which the core refuses
        powers = xp.exp(wide - xp.max(wide, axis=axis, keepdims=True))
    return powers / xp.sum(powers, axis=axis, keepdims=True)


@on_its_device
def sigmoid(logits: Array) -> Array:
    """Return independent probabilities, in float32 or wider, that stay exact in both tails.

    Examples
    --------
    >>> import numpy as np
    >>> from rankseg.activations import sigmoid
    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    xp = array_namespace(logits)
    wide = widen(xp, logits)
    return xp.exp(-xp.logaddexp(xp.zeros_like(wide), -wide))
