"""Labels from masks of correlated pixels: `assignment`, with increments averaged over the factor.

The expectation of a sum of scores is the sum of their expectations, however the classes depend on
each other. So the class wins whose own objective grows most in the mean over its own factor. The
mean is not linear in p: it comes from a table over the bins of p, one for each row.
"""

from functools import singledispatch

import numpy as np

from .. import arrays, factor, histograms
from ..arrays import Array, device
from ..maps import ProbabilityMap
from ..objectives import Objective, ratio
from ..rows import BlockRows, Rows
from . import correlated_traced
from .assignment import eligible_classes
from .block_labels import LabelSlab
from .correlated import CorrelatedSolution, read_histogram
from .correlated_traced import TracedSolution

Row = tuple[np.ndarray, np.ndarray]
"""Samples and classes of some rows: two integer arrays of one length."""


def growth(
    solution: CorrelatedSolution,
    objective: Objective,
    rows: Row,
    size: np.ndarray,
    overlap: list[np.ndarray],
    bins: np.ndarray | slice = slice(None),
) -> np.ndarray:
    """Return what one more pixel of each bin adds to the objective of each row: (row, bin).

    `size` and `overlap`, the latter at the nodes, are those of the pixels that a class alone has.
    A factor common to the classes decides nothing, and taking it out keeps 1e-300 apart in float32.
    """
    rho, samples = solution.rho[rows], rows[0]
    groups = [np.flatnonzero(rho == value) for value in np.unique(rho)]
    parts = [_increments(solution, objective, rows, size, overlap, which) for which in groups]
    largest = np.zeros(len(solution.rho))
    for which, (slope, *_) in zip(groups, parts, strict=True):
        np.maximum.at(largest, samples[which], slope.max(axis=1))
    result = np.empty((len(rho), len(factor.EDGES[bins])))
    for which, (slope, offset, *curve) in zip(groups, parts, strict=True):
        table = factor.table(float(rho[which[0]]))
        f = table.low[bins] + table.slope[bins] / 2
        scale = table.weight / largest[samples[which], None]
        slope, offset = scale * slope, scale * offset
        if not curve:
            result[which] = slope @ f.T - offset.sum(axis=1, keepdims=True)
            continue
        for i, *row in zip(which, slope, offset, curve[0], strict=True):
            result[i] = ratio(row[0] * f - row[1], 1 - row[2] * f).sum(axis=1)
    return result


def _increments(
    solution: CorrelatedSolution,
    objective: Objective,
    rows: Row,
    size: np.ndarray,
    overlap: list[np.ndarray],
    which: np.ndarray,
) -> tuple[Array, ...]:
    mass = np.stack(solution.whole[rows][which].tolist())
    inside = np.stack([overlap[i] for i in which])
    return objective.increment(size[which, None], inside, mass)


def _sums_at_nodes(
    solution: CorrelatedSolution, rows: Row, counts: Array, sums: Array
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return how many pixels a histogram of (row, bin) has, and their sums at the nodes."""
    used = np.flatnonzero(counts.any(axis=0))
    rho, counts, sums = solution.rho[rows], counts[:, used], sums[:, used]
    overlap: list[np.ndarray] = [np.zeros(0)] * len(rho)
    for value in np.unique(rho):
        table, which = factor.table(float(value)), np.flatnonzero(rho == value)
        found = counts[which] @ table.low[used] + sums[which] @ table.slope[used]
        for i, part in zip(which, found, strict=True):
            overlap[i] = part
    return (counts * (used > 0)).sum(axis=1), overlap


@singledispatch
def labels(
    rows: Rows,
    solution: CorrelatedSolution | TracedSolution,
    objective: Objective,
    void_index: int | None,
) -> Array:
    """Return the class of each pixel: int64, (batch, *spatial), as `assignment.labels` does."""
    every = slice(0, rows.shape[0])
    return _labels_at_once(rows, solution, objective, void_index, rows.source, every)


def _labels_at_once(
    rows: Rows,
    solution: CorrelatedSolution | TracedSolution,
    objective: Objective,
    void_index: int | None,
    source: ProbabilityMap,
    samples: slice,
) -> Array:
    # `source` is the map of these samples.
    xp = source.xp
    p = source.read(...)
    mask = p > source.broadcast(solution.threshold[samples, ...])
    votes = xp.sum(xp.astype(mask, xp.int32), axis=1, keepdims=True, dtype=xp.int32)
    alone = mask & (votes == 1)
    zero = xp.zeros((), dtype=p.dtype, device=device(p))
    inside = xp.where(alone, p, zero)
    eligible = eligible_classes(rows, solution.active)[samples, ...]
    if isinstance(solution, TracedSolution):
        table = correlated_traced.growth(rows, solution, objective, inside)
    else:
        table = _tables(solution, objective, source, samples, np.asarray(eligible), inside)
    index, _ = histograms.bins_of(xp, p, factor.BINNING)
    gain = histograms.look_up(xp, table, index, source.dtype)
    chosen = source.broadcast(eligible) > 0
    winner = xp.argmax(_allowed(xp, gain, mask, chosen & (votes == 0)), axis=1)
    if void_index is None:
        return winner
    void = xp.asarray(void_index, dtype=winner.dtype, device=device(winner))
    return xp.where(votes[:, 0, ...] == 0, void, winner)


def _tables(
    solution: CorrelatedSolution,
    objective: Objective,
    source: ProbabilityMap,
    samples: slice,
    eligible: np.ndarray,
    inside: Array,
) -> np.ndarray:
    """Return `growth` of every row, given the probabilities that a class alone has."""
    found = histograms.histogram(source.xp, inside, len(source.spatial), solution.binning, True)
    counts, sums = read_histogram(found, solution.binning)
    table = np.zeros((*eligible.shape, factor.BINS))
    here = np.nonzero(eligible)
    rows = (here[0] + samples.start, here[1])
    alone = _sums_at_nodes(solution, rows, counts[here], sums[here])
    table[here] = growth(solution, objective, rows, *alone)
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
    together = rows.block // (source.pixels * source.classes)
    if together > 1:
        for first in range(0, source.batch, together):
            samples = slice(first, min(first + together, source.batch))
            some = source.of_samples(samples)
            found = _labels_at_once(rows, solution, objective, void_index, some, samples)
            result[samples] = found
        return result
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
                found = histograms.histogram(np, inside, 1, solution.binning, True)
                shared += read_histogram(found, solution.binning)
                used[histograms.bins_of(np, p, factor.BINNING)[0]] = True
        these = (np.full(len(classes), b), np.array(classes))
        shared_size, overlap = _sums_at_nodes(solution, these, *shared)
        size = solution.size[these] - shared_size
        for i, c in enumerate(classes):
            overlap[i] = np.maximum(solution.inside[b, c] - overlap[i], 0) * (size[i] > 0)
        bins = np.flatnonzero(used)
        table = np.full((len(classes), factor.BINS), -np.inf)
        table[:, bins] = growth(solution, objective, these, size, overlap, bins)
        for slab in slabs:
            part = result[b : b + 1][(slice(None), *slab.slab)]
            part[...] = slab.chosen
            flat = part.reshape(-1)
            for pixels, p, selected in slab.conflicting():
                index = histograms.bins_of(np, p, factor.BINNING)[0]
                gain = np.take_along_axis(table, index, axis=1)
                winner = np.argmax(_allowed(np, gain, selected, ~selected.any(axis=0)), axis=0)
                flat[pixels] = np.take(classes, winner)
            if void_index is not None:
                part[slab.votes == 0] = void_index
    return result
