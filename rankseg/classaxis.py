"""Are the classes where they are said to be? The probabilities of a pixel sum to 1 over them."""

import warnings
from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np

from . import arrays
from .rows import Rows

PIXELS = 64
"""Pixels that are looked at. Their classes lie far apart in memory: 40 us on 21x512x512, 1 %."""

FEWEST = 64
"""Arrays of fewer values say too little to be doubted."""

# Where they lie along each axis, as parts of its length: irrational steps meet no pattern.
_PLACES = np.modf(np.outer(np.arange(PIXELS) + 0.5, np.sqrt([2, 3, 5, 7, 11, 13, 17, 19])))[0]


class ClassAxisWarning(UserWarning):
    """Probabilities of a multiclass map do not sum to 1 over the class axis."""


class Sums(NamedTuple):
    """What values sum to: over the class axis, and over which other axis to 1, if over any."""

    axis: int | None
    typical: float


def tolerance(classes: int) -> float:
    """Return how far from 1 a sum of this many probabilities may be.

    A value stored in 8 bits is off by up to 1/255 where it was cut, and by half of that where it
    was rounded.
    """
    return min(0.05 + classes / 255, 0.5)


def doubt(probs: np.ndarray, axis: int, valid: np.ndarray | None = None) -> Sums | None:
    """Return what speaks against this class axis of a multiclass map, or None.

    Parameters
    ----------
    probs : array
        Values, of which some pixels are looked at; int16 are the bits of bfloat16.
    axis : int
        Class axis, not negative.
    valid : bool array, of the shape of `probs` without `axis`, optional
        Pixels that count. Those whose values are all zero never do.

    Returns
    -------
    Sums or None
        None if half of the pixels or more sum to 1 as nearly as `tolerance` allows, and where
        there are too few to tell.

    Examples
    --------
    >>> import numpy as np
    >>> from rankseg.classaxis import doubt
    >>> probs = np.random.default_rng(0).dirichlet(np.ones(3), (40, 50))  # (40, 50, 3)
    >>> doubt(probs, axis=2) is None
    True
    >>> doubt(probs, axis=0).axis
    2
    """
    if prod(probs.shape) < FEWEST:
        return None
    sums = _sums(probs, axis, valid)
    if sums.size == 0 or _are_one(sums, probs.shape[axis]):
        return None
    others = (other for other in reversed(range(probs.ndim)) if other != axis)
    found = next((a for a in others if probs.shape[a] > 1 and sums_to_one(probs, a)), None)
    return Sums(found, float(np.median(sums)))


def sums_to_one(probs: np.ndarray, axis: int) -> bool:
    """Say whether nine of ten pixels sum to 1 over an axis, more than sums of other values do."""
    sums = _sums(probs, axis, None)
    return sums.size > 0 and _are_one(sums, probs.shape[axis], 0.9)


def _are_one(sums: np.ndarray, classes: int, part: float = 0.5) -> bool:
    near = np.abs(sums - 1) <= tolerance(classes)
    return bool(np.count_nonzero(near) >= part * len(sums))


def _sums(probs: np.ndarray, axis: int, valid: np.ndarray | None) -> np.ndarray:
    """Return the sums of some pixels over an axis, but for those of nothing but zeros."""
    lines = np.moveaxis(probs, axis, -1)
    places = tuple(
        (_PLACES[:, i % _PLACES.shape[1]] * size).astype(np.intp)
        for i, size in enumerate(lines.shape[:-1])
    )
    values = lines[places]
    if valid is not None:
        values = values[valid[places]]
    sums: np.ndarray = arrays.widen(arrays.numpy_namespace(), values).sum(axis=-1)
    return sums[sums != 0]


def warn_about_classes(rows: Rows, axis: int) -> None:
    """Warn where the values of a multiclass map do not sum to 1 over the class axis.

    Of an array on the host some pixels are looked at. Of one on a device it is known only what
    all values sum to, which costs nothing more; that tells axes of different lengths apart.
    Lazy and traced arrays are not looked at.
    """
    source = rows.source
    if rows.reads != "now":
        return
    shape = [source.batch, *source.spatial]
    shape.insert(axis, source.classes)
    if isinstance(source.probs, np.ndarray):
        found = doubt(np.moveaxis(source.probs, 1, axis), axis, source.valid)
    elif source.valid is None and "summary" in vars(rows):
        found = doubt_of_total(float(np.sum(rows.summary.mass)), shape, axis)
    else:
        return
    if found is not None:
        warnings.warn(describe(found, axis), ClassAxisWarning, stacklevel=5)


def doubt_of_total(total: float, shape: Sequence[int], axis: int) -> Sums | None:
    """Return what the sum of all values says against a class axis, or None.

    Another axis than this is only found where the sum fits that one closely.
    """
    values = prod(shape)
    if values < FEWEST:
        return None
    typical = total * shape[axis] / values
    fits = [a for a, size in enumerate(shape) if size > 1 and abs(total * size / values - 1) < 0.01]
    if not fits or abs(typical - 1) <= tolerance(shape[axis]):
        return None
    return Sums(fits[-1], typical)


def describe(found: Sums, axis: int) -> str:
    """Say in Python's words what was found, and what settles it."""
    if found.axis == 0:
        return (
            f"probs sum to 1 over axis 0, not over the class axis {axis}: without a batch axis, "
            "pass probs[None]"
        )
    if found.axis is not None:
        return (
            f"probs sum to 1 over axis {found.axis}, not over the class axis {axis}: pass "
            f"class_axis={found.axis}"
        )
    return (
        f"probs must sum to 1 over the class axis {axis} for one label a pixel, found sums of "
        f"about {found.typical:.3g}: independent probabilities are for output_mode='multilabel'"
    )
