"""The last pixels of smoothed Dice, which the fixed point leaves undecided.

With ``smooth`` > 0 the Dice objective is a sum of two ratios, and Dinkelbach's iteration solves
only the first. `Dice.sliver` bounds how far apart their optima are, so only pixels with
probabilities in a narrow interval are undecided, and the objective is evaluated on those.
"""

from typing import NamedTuple

import numpy as np

from rankseg.arrays import Array
from rankseg.maps import Rows
from rankseg.objectives import Dice

GRID = 8
"""Thresholds tried across the sliver where its pixels cannot be picked out."""


class Masks(NamedTuple):
    """Masks ``p > threshold`` of some rows, with the two sums an objective needs."""

    threshold: Array
    size: Array
    overlap: Array


def finish_dice(rows: Rows, objective: Dice, mass: Array, masks: Masks) -> Masks:
    """Choose the best mask with a threshold in [g*/2, g*/2 + delta], or the empty mask.

    Exact where the pixels in that interval can be extracted. Elsewhere (traced and lazy arrays,
    libraries without data-dependent shapes) the best of `GRID` thresholds is taken, which loses
    at most delta times the number of undecided pixels over mu + tau.
    """
    low, high = masks.threshold, masks.threshold + objective.sliver(mass)
    if not rows.source.extracts:
        return _best_on_grid(rows, objective, mass, masks, low, high)
    slack = 4 * np.finfo(np.float32).eps
    low, high = rows.source.round(low * (1 - slack)), rows.source.round(high * (1 + slack))
    ((size, overlap),) = rows.above_each([high])
    numbers, values = rows.between(low, high)
    result = [np.array(part, dtype=float) for part in (low, size, overlap)]
    for i in range(size.size):
        undecided = values[numbers == i]
        ends = [part.flat[i] for part in (low, size, overlap, mass)]
        for part, value in zip(result, _best_in_row(objective, undecided, *ends), strict=True):
            part.flat[i] = value
    return Masks(*result)


def _best_in_row(
    objective: Dice,
    undecided: np.ndarray,
    low: float,
    size: float,
    overlap: float,
    mass: float,
) -> tuple[float, float, float]:
    # Candidates by size: the empty mask, the decided pixels, then one more distinct value each;
    # inside a run of equal values the objective is quasi-convex, so its best is at an end.
    values, counts = np.unique(undecided, return_counts=True)
    values, counts = values[::-1], counts[::-1]
    sizes = np.concatenate([[0], [size], size + np.cumsum(counts)])
    overlaps = np.concatenate([[0], [overlap], overlap + np.cumsum(values * counts)])
    next_lower = np.concatenate([values, [low]])
    best = int(np.argmax(objective.odds(sizes, overlaps, mass)))
    return next_lower[max(best - 1, 0)], sizes[best], overlaps[best]


def _best_on_grid(
    rows: Rows, objective: Dice, mass: Array, masks: Masks, low: Array, high: Array
) -> Masks:
    where = rows.source.state.where
    best = Masks(high, 0 * mass, 0 * mass)
    most = objective.odds(*best[1:], mass)
    thresholds = [low + (high - low) * (i / (GRID - 1)) for i in reversed(range(GRID))]
    for threshold, (size, overlap) in zip(thresholds, rows.above_each(thresholds), strict=True):
        odds = objective.odds(size, overlap, mass)
        better = odds > most
        most = where(better, odds, most)
        candidate = Masks(threshold, size, overlap)
        best = Masks(*(where(better, new, old) for new, old in zip(candidate, best, strict=True)))
    return best
