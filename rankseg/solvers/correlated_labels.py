"""Labels from masks of correlated pixels: `assignment`, with increments averaged over the factor.

The expectation of a sum of scores is the sum of their expectations, however the classes depend on
each other. So the class wins whose own objective grows most in the mean over its own factor. The
mean is not linear in p: it comes from a table over the bins of p, one for each row.
"""

from functools import singledispatch

import numpy as np

from .. import arrays, factor
from ..arrays import Array, device
from ..objectives import Objective, ratio
from ..rows import BlockRows, Rows
from . import correlated_traced
from .assignment import eligible_classes
from .block_labels import LabelSlab
from .correlated import CorrelatedSolution, read_histogram
from .correlated_traced import TracedSolution


def growth(
    solution: CorrelatedSolution,
    objective: Objective,
    sample: int,
    classes: list[int],
    size: list[float],
    overlap: list[np.ndarray],
    bins: np.ndarray | slice = slice(None),
) -> np.ndarray:
    """Return what one more pixel of each bin adds to the objective of each class: (class, bin).

    `size` and `overlap`, the latter at the nodes, are those of the pixels that a class alone has.
    A factor common to the classes decides nothing, and taking it out keeps 1e-300 apart in float32.
    """
    rho = solution.rho[sample, classes]
    parts = [
        objective.increment(count, inside, solution.whole[sample, c])
        for c, count, inside in zip(classes, size, overlap, strict=True)
    ]
    largest = max(slope.max() for slope, *_ in parts)
    result = np.empty((len(classes), len(factor.EDGES[bins])))
    for value in np.unique(rho):
        table = factor.table(float(value))
        f = table.low[bins] + table.slope[bins] / 2
        for i in np.flatnonzero(rho == value):
            slope, offset, *curve = parts[i]
            slope, offset = table.weight * (slope / largest), table.weight * (offset / largest)
            if curve:
                result[i] = ratio(slope * f - offset, 1 - curve[0] * f).sum(axis=1)
            else:
                result[i] = f @ slope - offset.sum()
    return result


def _sums_at_nodes(
    solution: CorrelatedSolution, sample: int, classes: list[int], counts: Array, sums: Array
) -> tuple[list[float], list[np.ndarray]]:
    """Return how many pixels a histogram of (class, bin) has, and their sums at the nodes."""
    used = np.flatnonzero(counts.any(axis=0))
    rho, counts, sums = solution.rho[sample, classes], counts[:, used], sums[:, used]
    overlap: list[np.ndarray] = [np.zeros(0)] * len(classes)
    for value in np.unique(rho):
        table, which = factor.table(float(value)), np.flatnonzero(rho == value)
        found = counts[which] @ table.low[used] + sums[which] @ table.slope[used]
        for i, part in zip(which, found, strict=True):
            overlap[i] = part
    return (counts * (used > 0)).sum(axis=1).tolist(), overlap


@singledispatch
def labels(
    rows: Rows,
    solution: CorrelatedSolution | TracedSolution,
    objective: Objective,
    void_index: int | None,
) -> Array:
    """Return the class of each pixel: int64, (batch, *spatial), as `assignment.labels` does."""
    source, xp = rows.source, rows.source.xp
    p = source.read(...)
    mask = p > source.broadcast(solution.threshold)
    votes = xp.sum(xp.astype(mask, xp.int32), axis=1, keepdims=True, dtype=xp.int32)
    alone = mask & (votes == 1)
    zero = xp.zeros((), dtype=p.dtype, device=device(p))
    inside = xp.where(alone, p, zero)
    if isinstance(solution, TracedSolution):
        table = correlated_traced.growth(rows, solution, objective, inside)
    else:
        table = _tables(rows, solution, objective, inside)
    index, _ = arrays.bins_of(xp, p, factor.BINNING)
    gain = arrays.look_up(xp, table, index, source.dtype)
    chosen = rows.source.broadcast(eligible_classes(rows, solution.active)) > 0
    winner = xp.argmax(_allowed(xp, gain, mask, chosen & (votes == 0)), axis=1)
    if void_index is None:
        return winner
    void = xp.asarray(void_index, dtype=winner.dtype, device=device(winner))
    return xp.where(votes[:, 0, ...] == 0, void, winner)


def _tables(
    rows: Rows, solution: CorrelatedSolution, objective: Objective, inside: Array
) -> np.ndarray:
    """Return `growth` of every row, given the probabilities that a class alone has."""
    ndim = len(rows.source.spatial)
    found = arrays.histogram(rows.source.xp, inside, ndim, solution.binning, True)
    counts, sums = read_histogram(found, solution.binning)
    table = np.zeros((*rows.shape, factor.BINS))
    for b, chosen in enumerate(eligible_classes(rows, solution.active)):
        classes = np.flatnonzero(chosen).tolist()
        alone = _sums_at_nodes(solution, b, classes, counts[b, classes], sums[b, classes])
        table[b, classes] = growth(solution, objective, b, classes, *alone)
    return table


def _allowed(xp: arrays.Namespace, gain: Array, mask: Array, open_: Array) -> Array:
    nothing = xp.asarray(-float("inf"), dtype=gain.dtype, device=device(gain))
    return xp.where(mask | open_, gain, nothing)


@labels.register
def _labels_in_blocks(
    rows: BlockRows, solution: CorrelatedSolution, objective: Objective, void_index: int | None
) -> np.ndarray:
    # The same, slab by slab: the masks settle most pixels, and only the others are looked up.
    source = rows.source
    result = np.empty((source.batch, *source.spatial), dtype=np.int64)
    eligible = eligible_classes(rows, solution.active)
    for b, chosen in enumerate(eligible):
        classes = np.flatnonzero(chosen).tolist()
        slabs = [
            LabelSlab(rows, slice(b, b + 1), eligible, solution.threshold, slab)
            for slab in arrays.slabs(source.spatial, max(2**13, 2**21 // len(classes)))
        ]
        shared, used = np.zeros((2, len(classes), factor.BINS)), np.zeros(factor.BINS, bool)
        for slab in slabs:
            slab.count()
            for _, p, selected in slab.conflicting():
                inside = np.where(selected, p, p.dtype.type(0))
                found = arrays.histogram(np, inside, 1, solution.binning, True)
                shared += read_histogram(found, solution.binning)
                used[arrays.bins_of(np, p, factor.BINNING)[0]] = True
        size, overlap = _sums_at_nodes(solution, b, classes, *shared)
        for i, c in enumerate(classes):
            size[i] = solution.size[b, c] - size[i]
            overlap[i] = np.maximum(solution.inside[b, c] - overlap[i], 0) * (size[i] > 0)
        bins = np.flatnonzero(used)
        table = np.full((len(classes), factor.BINS), -np.inf)
        table[:, bins] = growth(solution, objective, b, classes, size, overlap, bins)
        for slab in slabs:
            part = result[b : b + 1][(slice(None), *slab.slab)]
            part[...] = slab.chosen
            flat = part.reshape(-1)
            for pixels, p, selected in slab.conflicting():
                index = arrays.bins_of(np, p, factor.BINNING)[0]
                gain = np.take_along_axis(table, index, axis=1)
                winner = np.argmax(_allowed(np, gain, selected, ~selected.any(axis=0)), axis=0)
                flat[pixels] = np.take(classes, winner)
            if void_index is not None:
                part[slab.votes == 0] = void_index
    return result
