"""Logits to probabilities, in NumPy."""

import numpy as np


def softmax(logits: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return probabilities that sum to one along `axis`, in float32 or wider.

    Examples
    --------
    >>> import numpy as np
    >>> from rankseg.activations import softmax
    >>> softmax(np.log(np.array([0.1, 0.3, 0.6])) + 5).round(3)
    array([0.1, 0.3, 0.6])
    """
    wide = logits.astype(np.result_type(logits, np.float32), copy=False)
    with np.errstate(invalid="ignore"):  # infinite logits come out as NaN, which the core refuses
        powers = np.exp(wide - wide.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return independent probabilities, in float32 or wider, that stay exact in both tails.

    Examples
    --------
    >>> import numpy as np
    >>> from rankseg.activations import sigmoid
    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    wide = logits.astype(np.result_type(logits, np.float32), copy=False)
    return np.exp(-np.logaddexp(0, -wide))
