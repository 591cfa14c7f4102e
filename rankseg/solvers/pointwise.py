"""Accuracy: each pixel decided by itself."""

from array_api_compat import device

from ..arrays import Array
from ..maps import ProbabilityMap
from .assignment import masks


def most_probable(source: ProbabilityMap) -> Array:
    """Return the class of largest probability of each pixel: (batch, *spatial).

    The bits of bfloat16 (see `arrays.widen`) order like the values.
    """
    return source.xp.argmax(source.probs, axis=1)


def one_hot(source: ProbabilityMap) -> Array:
    """Return `most_probable` as bool masks: (batch, class, *spatial)."""
    xp = source.xp
    classes = xp.arange(source.classes, device=device(source.probs))
    classes = xp.reshape(classes, (-1, *[1] * len(source.spatial)))
    hot = most_probable(source)[:, None, ...] == classes
    return hot if source.valid is None else hot & source.valid[:, None, ...]


def above_half(source: ProbabilityMap) -> Array:
    """Return the masks p > 0.5 (TR): bool, (batch, class, *spatial)."""
    return masks(source, source.state.full((source.batch, source.classes), 0.5))
