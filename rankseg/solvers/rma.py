"""RMA: the best top-tau mask of every row, found as a threshold, without sorting.

The reciprocal-moment approximation (Wang & Dai, NeurIPS 2025) turns the expected Dice or IoU of
a mask into a ratio of sums. The best mask is ``p > t`` for one t a row, and Dinkelbach's
iteration finds that t with nothing but counts and sums:

    n = #{p > t},   S = sum{p : p > t},   t <- threshold(n, S, mu)

One step from anywhere lands at or below the optimum; from there t only rises, the masks are
nested, and the iteration ends after a handful of passes at the global optimum. It is exact for
IoU and for Dice without `smooth`; Dice with `smooth` is finished by `solvers.sliver`.
"""

from dataclasses import dataclass

import numpy as np

from ..arrays import Array
from ..maps import ProbabilityMap, RowIndex
from ..objectives import Dice, Objective
from ..rows import Rows
from .candidates import Masks
from .sliver import finish_dice

START = 0.4
"""First threshold of a row without a better guess."""

SAMPLE = 4096
"""Pixels a row is thinned to, about, before anything is counted in full."""

STRIDE = 8
"""Longest stride of thinning."""

MAX_PASSES = 32
"""Bound on the full passes of one row; 4 are usual, 10 the most seen."""

TRACED_PASSES = 6
"""Full passes where the number cannot depend on the data."""


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


def solve(source: ProbabilityMap, objective: Objective, pruning_prob: Array) -> Solution:
    """Find the threshold of every row whose largest probability exceeds `pruning_prob`."""
    where, summary = source.state.where, source.summary
    active = summary.high > pruning_prob
    start = first_guess(source, objective, active)

    def solve_rows(group: RowIndex) -> Masks:
        rows, mass = source.rows(group), summary.mass[group]
        masks = climb(rows, objective, mass, start[group])
        if isinstance(objective, Dice) and objective.smooth > 0:
            return finish_dice(rows, objective, mass, masks)
        return masks

    groups = source.groups(active)
    found = source.collect(groups, [solve_rows(group) for group in groups], width=3)
    threshold, size, overlap = (where(active, values, 0.0) for values in found)
    return Solution(
        threshold=where(size > 0, threshold, float("inf")),
        size=size,
        overlap=overlap,
        mass=summary.mass,
        score=where(active, objective.score(size, overlap, summary.mass), 0.0),
        active=active,
    )


def first_guess(source: ProbabilityMap, objective: Objective, active: Array) -> Array:
    """Solve a thinned map, whose thresholds are close to those of the whole."""
    ndim = len(source.spatial)
    fill = source.state.full_like(source.summary.mass, START)
    traced = source.kind == "traced"  # where sizes may be symbols
    stride = STRIDE if traced else min(STRIDE, int((source.pixels / SAMPLE) ** (1 / ndim)))
    if stride < 2:
        return fill
    thin = source.thinned(stride)
    scale = stride**ndim if traced else source.pixels / thin.pixels
    groups = thin.groups(active)
    parts = [
        climb(thin.rows(group, scale), objective, source.summary.mass[group], fill[group])
        for group in groups
    ]
    guess = thin.collect(groups, parts, width=3)[0]
    return source.state.where(guess > 0, guess, fill)


def climb(rows: Rows, objective: Objective, mass: Array, start: Array) -> Masks:
    """Iterate ``t <- threshold(n, S, mu)`` until the masks stop changing."""
    source = rows.source
    traced = source.kind == "traced"
    tolerance = np.finfo(float if source.dtype == source.xp.float64 else np.float32).eps / 2

    def step(size: Array, overlap: Array) -> Array:
        return source.round(objective.threshold(size, overlap, mass))

    before = start
    size, read_overlap = rows.above(start)
    overlap = read_overlap()
    threshold = step(size, overlap)
    for _ in range(TRACED_PASSES if traced else MAX_PASSES):
        count, read_overlap = rows.above(threshold)
        if not traced:
            # Pixels that changed sides since the last pass lie between the two thresholds.
            # When that fixes their sum to rounding, the threshold cannot move any more.
            moved = count - size
            if np.all(np.abs(moved * (threshold - before)) <= tolerance * overlap):
                overlap = overlap + moved * (threshold + before) / 2
                return Masks(threshold, count, overlap)
        size, overlap, before = count, read_overlap(), threshold
        threshold = source.state.maximum(threshold, step(size, overlap))
    return Masks(threshold, size, overlap)
