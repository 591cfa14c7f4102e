r"""The mask of best expected Dice or IoU, without approximation, among those above a threshold.

Which masks are worth integrating (`solvers.generating`) follows from bounds: for a mask of n >= 1
pixels, with f the RMA objective,

    f(n) <= E Dice(n) <= (2 S + s) / (mu + n + s - 1)
    f(n) <= E IoU(n)  <= (S + s) / (mu - S + n + s - 1).

Below: Jensen's inequality. Above: for the number of positives Gamma, and Gamma_-j without pixel j,
sum_j p_j E h(Gamma_-j + 1) = E Gamma h(Gamma). With h(x) = 1 / (x + b) and Gamma_-j <= Gamma,

    mu E 1/(Gamma + 1 + b) <= 1 - b E 1/(Gamma + b) <= 1 - b E 1/(Gamma + 1 + b),

so E 1/(Gamma + a) <= 1 / (mu + a - 1) for a = b + 1 >= 1. Apply it to Gamma_-j, whose mean is at
least mu - 1, and to Gamma in the s term; for IoU to the positives outside of the mask.

A mask whose upper bound is below the best RMA score cannot win. Along the masks above a threshold
the numerator minus that score times the denominator is concave, so the others form an interval of
thresholds around RMA's. Only the empty mask stands apart, and is integrated too.

Pixels of equal probability stay together, so that the answer is a threshold and does not depend
on the order of pixels.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import ceil, inf

import numpy as np

from ..arrays import Array, Slab
from ..objectives import LARGEST_SMOOTH, Dice, Objective
from ..passes import Row
from ..rows import Rows
from . import generating, rma
from .candidates import Candidates, Masks
from .generating import Pixels
from .rma import Solution

WIDTH = 0.01
"""First guess of how far in probability the exact threshold is from RMA's.

Real rows: at most 0.0085, in the median 0.002.
"""

CHUNK = 4096
"""Masks that are integrated together: bounds the memory, 256 to 16384 take the same time."""

NEARLY_ALL_SMOOTH = 1e8
"""`smooth` from which RMA's masks are the answer.

Its reciprocal moments err by the pixels over `smooth` squared, the integrals by rounding: from 1e9
on they decide pixels of 0.5 at random, from 1e16 on any.
"""

PIECE = 2**13
"""Pixels whose powers are summed together: 0.11 s; 2^10 0.21. From 2^15 on BLAS takes threads,
which doubled the time where another library had threads of its own.
"""


def solve(rows: Rows, objective: Objective, pruning_prob: Array) -> Solution:
    """Find the exact threshold of every row whose largest probability exceeds `pruning_prob`.

    RMA runs where the map lies; its masks are then bettered row by row, in float64 NumPy.
    """
    rows.require_values("solver 'exact'", "solver='RMA'")
    start = rma.solve(rows, objective, pruning_prob)
    if objective.smooth >= NEARLY_ALL_SMOOTH:
        return start
    found = [part.copy() for part in (start.threshold, start.size, start.overlap, start.score)]
    for index in zip(*(axis.tolist() for axis in np.nonzero(start.active)), strict=True):
        row = rows.host_row(index)
        given = Masks(*(float(part[index]) for part in found[:3]))
        masks, score = best_in_row(row, objective, float(start.mass[index]), given)
        for part, value in zip(found, (*masks, score), strict=True):
            part[index] = value
    threshold, size, overlap, score = found
    return replace(start, threshold=threshold, size=size, overlap=overlap, score=score)


def best_in_row(row: Row, objective: Objective, mass: float, given: Masks) -> tuple[Masks, float]:
    """Return the best mask of a row, and its expected score, given RMA's."""
    candidates, smooth = contenders(row, objective, mass, given), objective.smooth
    first, last = candidates.thresholds[0], candidates.thresholds[-1]
    if isinstance(objective, Dice):
        everything, inside = gather(row, mass + smooth + 1, lambda _, p: p > first)
        scores = dice_scores(candidates, smooth, mass, everything, inside)
    else:
        everything, outside = gather(row, mass + smooth + 1, lambda _, p: p <= last)
        scores = iou_scores(candidates, smooth, mass, outside)
    best = int(np.argmax(scores))
    empty = empty_score(smooth, mass, everything)
    if empty >= scores[best]:
        return Masks(inf, 0.0, 0.0), empty
    return candidates[best], float(scores[best])


def score_of(row: Row, mask: np.ndarray, objective: Objective) -> float:
    """Return the expected score of any mask of a row, of the row's shape."""
    _, _, mass = row.summarize()
    smooth = min(objective.smooth, LARGEST_SMOOTH)
    scale = float(mass) + smooth + 1
    everything, inside = gather(row, scale, lambda slab, _: mask[slab].reshape(-1))
    _, outside = gather(row, scale, lambda slab, _: ~mask[slab].reshape(-1))
    if not mask.any():
        return empty_score(smooth, float(mass), everything)
    overlap = inside.moments[0] + inside.large.sum()
    only = Candidates.of(np.zeros(0), 0.0, float(np.count_nonzero(mask)), float(overlap))
    if isinstance(objective, Dice):
        return float(dice_scores(only, smooth, float(mass), everything, inside)[0])
    return float(iou_scores(only, smooth, float(mass), outside)[0])


def contenders(row: Row, objective: Objective, mass: float, given: Masks) -> Candidates:
    """Return the masks whose upper bound reaches the score of RMA's mask."""
    reached = objective.score(given.size, given.overlap, mass)
    center = objective.break_even(reached)
    below = above = WIDTH
    while True:
        low = row.source.round(max(center - below, 0.0))
        high = row.source.round(min(center + above, 1.0))
        ((size, overlap),) = row.above_each([high])
        found = Candidates.of(row.between(low, high)[1], low, size, overlap)
        margins = objective.margin(reached, found.sizes, found.overlaps, mass)
        margins = margins + 1e-12 * (mass + found.sizes)  # never lose RMA's mask to rounding
        more_below, more_above = low > 0 and margins[-1] >= 0, high < 1 and margins[0] >= 0
        if not (more_below or more_above):
            break
        below, above = below * (8 if more_below else 1), above * (8 if more_above else 1)
    possible = np.flatnonzero(margins >= 0)
    return found.between(possible[0], possible[-1])


def gather(
    row: Row, scale: float, choose: Callable[[Slab, np.ndarray], np.ndarray]
) -> tuple[Pixels, Pixels]:
    """Sum up a row, and a subset of its pixels, for integrals of at least this scale.

    `choose` tells for the flat pixels of a slab which of them are in the subset.
    """
    count, limit = generating.orders(scale), generating.largest_small(scale)
    sums = np.zeros((2, count))
    large: tuple[list[np.ndarray], list[np.ndarray]] = ([np.zeros(0)], [np.zeros(0)])
    for slab, x in row.blocks(-1.0):
        flat = x.reshape(-1)
        chosen = choose(slab, flat)
        for start in range(0, flat.size, PIECE):
            p = flat[start : start + PIECE].astype(np.float64)
            subset = chosen[start : start + PIECE]
            if limit < 1 and (big := p > limit).any():
                large[0].append(p[big])
                large[1].append(p[big & subset])
                p[big] = 0.0
            sums += generating.power_sums(p, count, subset)
    everything, part = (
        Pixels(moments, np.concatenate(values)) for moments, values in zip(sums, large, strict=True)
    )
    return everything, part


def dice_scores(
    candidates: Candidates, smooth: float, mass: float, everything: Pixels, inside: Pixels
) -> np.ndarray:
    """Return E Dice of each candidate; `inside` are the pixels of the first."""
    values, counts = candidates.values[:, None], candidates.counts[:, None]
    sizes = candidates.sizes[:, None]
    scores = np.empty(len(sizes))
    for first, last in _chunks(mass + candidates.sizes + smooth + 1):
        u, weight = generating.nodes(mass + candidates.sizes[first] + smooth + 1, _beta(smooth))
        added = counts[: last - 1] * values[: last - 1] / (1 - values[: last - 1] * u)
        ratios = inside.ratio_sum(u) + np.cumsum(np.vstack([0 * u, added]), axis=0)[first:]
        exponent = (sizes[first:last] + float(ceil(smooth)) - 1) * np.log1p(-u)
        integrand = np.exp(exponent + everything.log_product(u)) * (2 * (1 - u) * ratios + smooth)
        scores[first:last] = np.sum(integrand * weight, axis=1)
    return scores


def iou_scores(candidates: Candidates, smooth: float, mass: float, outside: Pixels) -> np.ndarray:
    """Return E IoU of each candidate; `outside` are the pixels that the last leaves out."""
    values, counts, sizes = candidates.values, candidates.counts, candidates.sizes
    scales = mass - candidates.overlaps + sizes + smooth + 1
    scores = np.empty(len(sizes))
    for first, last in _chunks(scales):
        u, weight = generating.nodes(scales[first], _beta(smooth))
        left_out = counts[first:, None] * np.log1p(-values[first:, None] * u)
        left_out = np.cumsum(np.vstack([left_out, outside.log_product(u)])[::-1], axis=0)[::-1]
        exponent = (sizes[first:last, None] + float(ceil(smooth)) - 1) * np.log1p(-u)
        integrals = np.sum(np.exp(exponent + left_out[: last - first]) * weight, axis=1)
        scores[first:last] = (candidates.overlaps[first:last] + smooth) * integrals
    return scores


def empty_score(smooth: float, mass: float, everything: Pixels) -> float:
    """Return the expected Dice or IoU of the empty mask, E s / (Gamma + s)."""
    if smooth == 0:
        return 0.0
    u, weight = generating.nodes(mass + smooth + 1, _beta(smooth))
    integrand = np.exp((float(ceil(smooth)) - 1) * np.log1p(-u) + everything.log_product(u))
    return float(smooth * np.sum(integrand * weight))


def _beta(smooth: float) -> float:
    return smooth - ceil(smooth)


def _chunks(scales: np.ndarray) -> Iterator[tuple[int, int]]:
    # Nodes chosen for one scale serve up to twice that scale.
    first = 0
    while first < len(scales):
        last = min(first + CHUNK, int(np.searchsorted(scales, 2 * scales[first], side="right")))
        yield first, last
        first = last
