"""RMA: the best top-tau mask of every row, found as a threshold, without sorting.

The reciprocal-moment approximation (Wang & Dai, NeurIPS 2025) turns the expected Dice or IoU of
a mask into a ratio of sums. The best mask is ``p > t`` for one t a row, and Dinkelbach's
iteration finds that t with nothing but counts and sums:

    n = #{p > t},   S = sum{p : p > t},   t <- threshold(n, S, mu)

One step from anywhere lands at or below the optimum; from there t only rises, the masks are
nested, and the iteration ends after a handful of passes at the global optimum. It is exact for
IoU and for Dice without `smooth`; Dice with `smooth` is finished by `solvers.undecided`.
"""

from dataclasses import dataclass

import numpy as np

from ..arrays import Array
from ..chunks import BINNING
from ..objectives import Dice, Objective
from ..passes import Group, TracedGroup
from ..rows import FocusedRows, LazyRows, Rows
from .bracket import bounds, squeeze
from .candidates import Masks
from .undecided import finish_dice

START = 0.4
"""First threshold of a row without a better guess.

Of 988 rows of real maps: 3.87 thinned passes a row; from 0.1 they are 4.15, from 0.6 4.64.
"""

SAMPLE = 4096
"""Pixels a row is thinned to, about, before anything is counted in full.

Real maps: 2.68 full passes a row; with 1024 2.89, with 16384 2.75, without thinning 3.47.
"""

STRIDE = 8
"""Longest stride of thinning: 20 ms for 6 x 2048 x 2048; 24 with 4, 28 without, 19 with 16."""

MAX_PASSES = 16
"""Bound on the full passes of one row; 2.7 are usual, 10 the most seen (sparse rows, IoU)."""


@dataclass(frozen=True)
class Solution:
    """The best mask of each row, as arrays of shape (batch, class).

    An inactive row, and a row whose best mask is empty, has threshold infinity.
    """

    threshold: Array
    size: Array
    overlap: Array
    mass: Array
    score: Array
    active: Array


def solve(rows: Rows, objective: Objective, pruning_prob: Array) -> Solution:
    """Find the threshold of every row whose largest probability exceeds `pruning_prob`."""
    where, summary = rows.xp.where, rows.summary
    active = summary.high > pruning_prob
    if isinstance(rows, LazyRows):
        rows, start = narrowed(rows, objective, active)
    else:
        start = first_guess(rows, objective, active)

    def solve_group(group: Group) -> Masks:
        mass = summary.mass[group.index]
        begin = start[group.index]
        if isinstance(group, TracedGroup):
            masks = squeeze(rows, group, objective, mass, begin)
        else:
            masks = climb(rows, group, objective, mass, begin, active[group.index])
        if isinstance(objective, Dice) and objective.smooth > 0:
            return finish_dice(rows, group, objective, mass, masks)
        return masks

    found = rows.each(solve_group, width=3, wanted=active)
    threshold, size, overlap = (where(active, values, 0.0) for values in found)
    return Solution(
        threshold=where(size > 0, threshold, float("inf")),
        size=size,
        overlap=overlap,
        mass=summary.mass,
        score=where(active, objective.score(size, overlap, summary.mass), 0.0),
        active=active,
    )


def first_guess(rows: Rows, objective: Objective, active: Array) -> Array:
    """Solve thinned rows, whose thresholds are close to those of the whole."""
    mass = rows.summary.mass
    fill = rows.xp.full_like(mass, START)
    thin, scale = rows.sample(STRIDE, SAMPLE)
    if thin is rows:
        return fill

    def solve_group(group: Group) -> Masks:
        index = group.index
        return climb(thin, group, objective, mass[index], fill[index], active[index])

    guess = thin.each(solve_group, width=3, wanted=active, scale=scale)[0]
    return rows.xp.where(guess > 0, guess, fill)


def narrowed(rows: LazyRows, objective: Objective, active: Array) -> tuple[Rows, Array]:
    """Return rows that are read between the bounds of the thresholds, and where to start.

    The rows as they are, to be read at each threshold, if more pixels lie there than can be kept.
    """
    mass = rows.summary.mass
    low, start, high = bounds(rows.census.counts, BINNING.edges, objective, mass)
    if isinstance(objective, Dice):
        high = high + objective.undecided(mass)
    focus = rows.focus_between(low, high, active)
    if focus is None:
        return rows, first_guess(rows, objective, active)
    return FocusedRows(rows.source, focus), np.where(active, start, START)


def climb(
    rows: Rows, group: Group, objective: Objective, mass: Array, start: Array, active: Array
) -> Masks:
    """Iterate ``t <- threshold(n, S, mu)`` until the masks of the active rows stop changing."""
    tolerance = np.finfo(float if rows.source.is_double else np.float32).eps / 2

    def step(size: Array, overlap: Array) -> Array:
        return rows.round(objective.threshold(size, overlap, mass))

    before = start
    size, read_overlap = group.above(start)
    overlap = read_overlap()
    threshold = step(size, overlap)
    for _ in range(rows.fixed_passes or MAX_PASSES):
        if not rows.fixed_passes and np.all((threshold == before) | ~active):
            return Masks(threshold, size, overlap)
        count, read_overlap = group.above(threshold)
        if not rows.fixed_passes:
            # Pixels that changed sides since the last pass lie between the two thresholds.
            # When that fixes their sum to rounding, the threshold cannot move any more.
            moved = count - size
            settled = np.abs(moved * (threshold - before)) <= tolerance * overlap
            if (settled | ~active).all():
                overlap = overlap + moved * (threshold + before) / 2
                return Masks(threshold, count, overlap)
        size, overlap, before = count, read_overlap(), threshold
        threshold = rows.xp.maximum(threshold, step(size, overlap))
    return Masks(threshold, size, overlap)
