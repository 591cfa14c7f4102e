"""The last pixels of smoothed Dice, which the fixed point leaves undecided.

With ``smooth`` > 0 the Dice objective is a sum of two ratios, and Dinkelbach's iteration solves
only the first. `Dice.undecided` bounds how far apart their optima are, so only pixels with
probabilities in a narrow interval are undecided, and the objective is evaluated on those.
"""

import numpy as np

from ..arrays import Array
from ..objectives import Dice
from ..passes import Group
from ..rows import Rows
from .candidates import Candidates, Masks

GRID = 8
"""Thresholds tried across the undecided interval where its pixels cannot be picked out.

Rows of 40 pixels lose up to 1.7e-4 of their score, with 4 thresholds 1.1e-3; real maps nothing.
"""


def finish_dice(rows: Rows, group: Group, objective: Dice, mass: Array, masks: Masks) -> Masks:
    """Choose the best mask with a threshold in [g*/2, g*/2 + delta], or the empty mask.

    Exact where the pixels in that interval can be extracted. Elsewhere (traced and lazy arrays,
    libraries without data-dependent shapes) the best of `GRID` thresholds is taken, which loses
    at most delta times the number of undecided pixels over mu + tau.
    """
    low, high = masks.threshold, masks.threshold + objective.undecided(mass)
    if not rows.extracts:
        return _best_on_grid(rows, group, objective, mass, low, high)
    low, high = rows.round(low), rows.round(high)
    ((size, overlap),) = group.above_each([high])
    numbers, values = group.between(low, high)
    known = [np.asarray(part, dtype=float) for part in (low, size, overlap, mass)]
    result = [np.empty(known[0].shape) for _ in range(3)]
    for i in range(known[0].size):
        best = _best_in_row(objective, values[numbers == i], *(part.flat[i] for part in known))
        for part, value in zip(result, best, strict=True):
            part.flat[i] = value
    return Masks(*result)


def _best_in_row(
    objective: Dice,
    undecided: np.ndarray,
    low: float,
    size: float,
    overlap: float,
    mass: float,
) -> Masks:
    # Inside a run of equal values the objective is quasi-convex: its best is at an end.
    candidates = Candidates.of(undecided, low, size, overlap)
    best = int(np.argmax(objective.odds(candidates.sizes, candidates.overlaps, mass)))
    empty = objective.odds(0.0, 0.0, mass) >= objective.odds(*candidates[best][1:], mass)
    return Masks(np.inf, 0.0, 0.0) if empty else candidates[best]


def _best_on_grid(
    rows: Rows,
    group: Group,
    objective: Dice,
    mass: Array,
    low: Array,
    high: Array,
) -> Masks:
    where = rows.xp.where
    best = Masks(high, 0 * mass, 0 * mass)
    most = objective.odds(*best[1:], mass)
    thresholds = [low + (high - low) * (i / (GRID - 1)) for i in reversed(range(GRID))]
    for threshold, (size, overlap) in zip(thresholds, group.above_each(thresholds), strict=True):
        odds = objective.odds(size, overlap, mass)
        better = odds > most
        most = where(better, odds, most)
        candidate = Masks(threshold, size, overlap)
        best = Masks(*(where(better, new, old) for new, old in zip(candidate, best, strict=True)))
    return best
