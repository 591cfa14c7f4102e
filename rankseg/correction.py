"""What a calibration does to values on their way out of a probability map."""

from dataclasses import dataclass, replace

import numpy as np

from .activations import sigmoid
from .arrays import Array, Namespace, clip


@dataclass(frozen=True)
class Correction:
    """Softmax over classes of ``scale log p + bias``, or the sigmoid of ``scale logit p + bias``.

    `scale` and `bias` have one number for each class, or one for all.
    """

    scale: np.ndarray
    bias: np.ndarray
    floor: float
    joint: bool  # softmax over classes

    def of_classes(self, classes: int) -> "Correction":
        """Return the same with a number for each class."""
        found = max(self.scale.size, self.bias.size)
        if found not in (1, classes):
            raise ValueError(f"probs has {classes} classes, but the calibration is for {found}")
        scale, bias = (np.broadcast_to(part, classes) for part in (self.scale, self.bias))
        return replace(self, scale=scale, bias=bias)

    def scores(self, xp: Namespace, p: Array, scale: Array, bias: Array) -> Array:
        """Return the logarithms or logits of values, scaled and shifted."""
        top = 1.0 if self.joint else 1 - max(self.floor, float(xp.finfo(p.dtype).eps))
        p = clip(xp, p, self.floor, top)
        scores = xp.log(p)
        if not self.joint:
            scores -= xp.log1p(-p)
        scores *= scale  # in place: NumPy takes three times as long over new arrays
        scores += bias
        return scores

    def apply(self, xp: Namespace, scores: Array, log_total: Array | None) -> Array:
        """Return probabilities of scores; `log_total` is that of the pixels, if `joint`."""
        if log_total is None:
            return sigmoid(scores)
        scores -= log_total
        return xp.exp(scores)


def log_total(xp: Namespace, scores: Array) -> Array:
    """Return the logarithm of the sum of exp(scores) over the classes, on axis 1.

    Not less than any of the scores, as the sum is not less than 1.
    """
    top = xp.max(scores, axis=1, keepdims=True)
    return (top + xp.log(xp.sum(xp.exp(scores - top), axis=1, keepdims=True)))[:, 0, ...]
