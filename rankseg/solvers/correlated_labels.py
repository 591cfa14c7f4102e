"""Labels from masks of correlated pixels: `assignment`, with increments averaged over the factor.

The expectation of a sum of scores is the sum of their expectations, however the classes depend on
each other. So the class wins whose own objective grows most in the mean over its own factor. The
mean is not linear in p: it comes from a table over the bins of p, one for each row.
"""

from functools import partial, singledispatch

import numpy as np

from .. import arrays, factor, histograms
from ..arrays import Array, device
from ..maps import ProbabilityMap
from ..objectives import Objective, ratio
from ..rows import BlockRows, Rows
from . import correlated_traced
from .assignment import count_votes, eligible_classes, with_void
from .block_labels import LabelSlab, slabs_of_sample
from .correlated import CorrelatedSolution, read_histogram
from .correlated_traced import TracedSolution

SomeRows = tuple[np.ndarray, np.ndarray]
"""Samples and classes of some rows: two integer arrays of one length."""


def growth(
    solution: CorrelatedSolution,
    objective: Objective,
    rows: SomeRows,
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
    rows: SomeRows,
    size: np.ndarray,
    overlap: list[np.ndarray],
    which: np.ndarray,
) -> tuple[Array, ...]:
    mass = np.stack(solution.whole[rows][which].tolist())
    inside = np.stack([overlap[i] for i in which])
    return objective.increment(size[which, None], inside, mass)


def _sums_at_nodes(
    solution: CorrelatedSolution, rows: SomeRows, counts: Array, sums: Array
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
    votes = count_votes(rows, mask)
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
    allowed = mask | ((source.broadcast(eligible) > 0) & (votes == 0))
    nothing = xp.asarray(-float("inf"), dtype=gain.dtype, device=device(gain))
    winner = xp.argmax(xp.where(allowed, gain, nothing), axis=1)
    return with_void(xp, winner, votes, void_index)


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


@labels.register
def _labels_in_blocks(
    rows: BlockRows, solution: CorrelatedSolution, objective: Objective, void_index: int | None
) -> np.ndarray:
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
    for b in range(source.batch):
        slabs = list(slabs_of_sample(rows, b, eligible, solution.threshold))
        table = _table_of_sample(solution, objective, b, slabs)
        for slab in slabs:
            slab.write(result, partial(_winners, table), void_index)
    return result


def _winners(
    table: np.ndarray, pixels: np.ndarray, p: np.ndarray, allowed: np.ndarray
) -> np.ndarray:
    gain = np.take_along_axis(table, factor.bin_of(p), axis=1)
    return np.argmax(np.where(allowed, gain, -np.inf), axis=0)


def _table_of_sample(
    solution: CorrelatedSolution, objective: Objective, b: int, slabs: list[LabelSlab]
) -> np.ndarray:
    """Return `growth` of the classes of a sample, (class, bin), where pixels are in conflict."""
    classes = slabs[0].classes
    shared, used = np.zeros((2, len(classes), factor.BINS)), np.zeros(factor.BINS, bool)
    for slab in slabs:
        slab.count()
        for _, p, selected in slab.conflicting():
            inside = np.where(selected, p, p.dtype.type(0))
            xp = arrays.numpy_namespace()
            found = histograms.histogram(xp, inside, 1, solution.binning, True)
            shared += read_histogram(found, solution.binning)
            used[factor.bin_of(p)] = True
    these = (np.full(len(classes), b), np.array(classes))
    shared_size, overlap = _sums_at_nodes(solution, these, *shared)
    size = solution.size[these] - shared_size
    for i, c in enumerate(classes):
        overlap[i] = np.maximum(solution.inside[b, c] - overlap[i], 0) * (size[i] > 0)
    bins = np.flatnonzero(used)
    table = np.full((len(classes), factor.BINS), -np.inf)
    table[:, bins] = growth(solution, objective, these, size, overlap, bins)
    return table
