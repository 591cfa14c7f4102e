"""RMA's threshold between two bounds, where one read of the map counts above several thresholds.

With (A, B) from `objective.line`, the best threshold t* is the root of

    h(t) = S + B - t (A + n),

which falls and is convex. A Newton step from anywhere, F(t) = (S + B) / (A + n), is a lower bound;
a point with h <= 0, and the chord to it from one with h > 0, are upper bounds.
"""

import numpy as np

from ..arrays import Array, Namespace
from ..objectives import Objective, ratio
from ..passes import TracedGroup
from ..rows import Rows
from .candidates import Masks

SPREAD = (0.8, 1.0, 1.1, 1.5, 3.0, 20.0)
"""First thresholds over the guess, most of them above: a thinned map misses small objects."""

COUNTS = (4, 2, 1)
"""Thresholds of the passes that follow.

Of 18,000 hard rows five lose up to 8e-6 of their Dice or IoU; with (4, 1) 20 lose up to 0.02.
"""

HIGHEST = 0.5
"""No threshold is above it, as no Dice and no IoU is above 1."""


def squeeze(
    rows: Rows, group: TracedGroup, objective: Objective, mass: Array, start: Array
) -> Masks:
    """Close the bracket of each row in a fixed number of passes.

    Thresholds of one pass, and what is counted above them, stand on a last axis.
    """
    xp, where, mass = rows.xp, rows.xp.where, mass[..., None]
    offset, base = objective.line(mass)
    zero = 0 * mass
    best = Masks(zero, zero, zero)
    left, above = zero, mass + offset  # the largest threshold with h > 0, and its h
    right, below = zero + HIGHEST, zero  # the smallest with h <= 0, and its h
    spread = xp.asarray(SPREAD, dtype=mass.dtype)
    thresholds = xp.minimum(start[..., None] * spread, right)
    for count in (*COUNTS, 0):
        size, overlap = group.above_all(thresholds)
        best = _best(xp, best, objective.threshold(size, overlap, mass), size, overlap)
        height = overlap + offset - thresholds * (base + size)
        lower = height > 0
        found = xp.max(where(lower, thresholds, -1.0), axis=-1, keepdims=True)
        rest = xp.min(where(lower, height, float("inf")), axis=-1, keepdims=True)
        left, above = where(found > left, found, left), where(found > left, rest, above)
        found = xp.min(where(lower, 1.0, thresholds), axis=-1, keepdims=True)
        rest = xp.max(where(lower, -float("inf"), height), axis=-1, keepdims=True)
        right, below = where(found < right, found, right), where(found < right, rest, below)
        chord = left + (right - left) * ratio(above, above - below)
        low = best.threshold
        growth = ratio(xp.maximum(xp.minimum(chord, right), low), low)
        if count:
            thresholds = low * growth ** (xp.arange(count, dtype=mass.dtype) / count)
    return Masks(*(part[..., 0] for part in best))


ROUNDING = 1e-12
"""Part of a sum in float64 that its sign is not trusted to."""


def bounds(
    counts: np.ndarray, edges: np.ndarray, objective: Objective, mass: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return bounds of each row's threshold from a histogram, (batch, class, bins), of its values.

    A lower bound below the threshold by a bin at least, the one to start from, and an upper one.
    Counts bound S at the lowest value of each bin, and so h.
    """
    upper = np.append(edges[1:], edges[-1])
    size, least, most = (
        np.cumsum((counts * value)[..., ::-1], axis=-1)[..., ::-1] for value in (1, edges, upper)
    )
    offset, base = objective.line(mass[..., None])
    gain, price = offset, edges * (base + size)
    doubt = ROUNDING * (most + offset + price)
    positive = least + gain - price - doubt > 0
    negative = most + gain - price + doubt <= 0
    last = np.arange(len(edges))
    start = np.max(np.where(positive, last, 0), axis=-1)
    end = np.min(np.where(negative, last, len(edges) - 1), axis=-1)
    # By one bin more than is needed: values and steps are rounded.
    return edges[np.maximum(start - 1, 0)], edges[start], edges[np.minimum(end + 1, last[-1])]


def _best(xp: Namespace, best: Masks, step: Array, size: Array, overlap: Array) -> Masks:
    """Return the mask that leads to the largest threshold, which is that of the largest ratio."""
    largest = xp.max(step, axis=-1, keepdims=True)
    found = [
        xp.max(xp.where(step == largest, x, 0), axis=-1, keepdims=True) for x in (size, overlap)
    ]
    better = largest > best.threshold
    return Masks(*(xp.where(better, a, b) for a, b in zip((largest, *found), best, strict=True)))
