"""The search of `correlated` inside a trace: fixed steps, in the array library itself.

F is computed at every edge of every row, a few nodes at a time, in float64 where the library has
it. Pixels of one bin stay together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import arrays, factor, histograms
from ..arrays import Array, Namespace, device
from ..factor import BINS
from ..objectives import Objective, ratio
from ..rows import Rows
from .rma import Solution

PIECES = 8
"""Pieces that the nodes are worked on in: bounds memory and the length of the trace."""


@dataclass(frozen=True)
class TracedSolution(Solution):
    """A solution with the histograms of its rows, of shape (batch, class, bin), from p = 1 down."""

    counts: Array
    tables: "_Tables"


class _Tables:
    """f from p = 1 down, for every class, in pieces of a few nodes."""

    def __init__(self, xp: Namespace, like: Array, rho: float | Sequence[float]) -> None:
        each = [float(value) for value in np.atleast_1d(np.asarray(rho, float))]
        if len(set(each)) == 1:
            each = each[:1]
        tables = [factor.table(value) for value in each]
        nodes = max(len(table.weight) for table in tables)
        step = -(-nodes // PIECES)
        nodes = step * PIECES
        f = np.zeros((len(tables), BINS, nodes))
        weight = np.zeros((len(tables), 1, nodes))
        for i, table in enumerate(tables):
            f[i, :, : len(table.weight)] = (table.low + table.slope / 2)[::-1]
            weight[i, 0, : len(table.weight)] = table.weight
        dtype, place = arrays.state_dtype(xp, like), device(like)
        self.xp = xp
        self.pieces = [
            tuple(
                xp.asarray(np.ascontiguousarray(part[..., i : i + step]), dtype=dtype, device=place)
                for part in (f, weight)
            )
            for i in range(0, nodes, step)
        ]

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """Yield f, (class or 1, bin, node), and the weights, (class or 1, 1, node)."""
        return iter(self.pieces)


def _counts(rows: Rows, x: Array) -> Array:
    """Return histograms without the first bin, in the dtype of the tables, from p = 1 down."""
    xp = rows.source.xp
    counts, _ = histograms.histogram(xp, x, len(rows.source.spatial), factor.BINNING)
    counts = xp.flip(xp.astype(counts, arrays.state_dtype(xp, counts)), axis=-1)
    within = np.ones(BINS)
    within[-1] = 0.0
    return counts * xp.asarray(within, dtype=counts.dtype, device=device(counts))


def solve(
    rows: Rows, objective: Objective, pruning_prob: Array, rho: float | Sequence[float]
) -> TracedSolution:
    """Find the best threshold of every row whose largest probability exceeds `pruning_prob`."""
    xp, source, summary = rows.source.xp, rows.source, rows.summary
    active = summary.high > pruning_prob
    counts = _counts(rows, source.read(...))
    tables = _Tables(xp, counts, rho)
    size = xp.cumulative_sum(counts, axis=-1)[..., None]
    score, empty = 0 * size[..., 0], 0 * size[..., :1, 0]
    for f, weight in tables:
        overlap = xp.cumulative_sum(counts[..., None] * f, axis=-2)
        mass = overlap[..., -1:, :]
        score = score + xp.sum(weight * objective.score(size, overlap, mass), axis=-1)
        nothing = objective.score(0 * mass, 0 * mass, mass)
        empty = empty + xp.sum(weight * nothing, axis=-1)
    score = xp.where(counts > 0, score, -xp.ones_like(score))
    best = xp.argmax(score, axis=-1)  # of equal ones the first, the smallest mask
    most = xp.max(score, axis=-1)
    taken = active & (most > empty[..., 0])
    dtype = np.float64 if source.is_double else np.float32
    edges = factor.threshold_of(np.arange(BINS)[::-1], dtype)
    edges = xp.asarray(np.ascontiguousarray(edges), dtype=source.dtype, device=device(counts))
    threshold = xp.reshape(xp.take(edges, xp.reshape(best, (-1,))), best.shape)
    infinite = xp.full_like(threshold, float("inf"))
    expected = xp.where(active, xp.maximum(most, empty[..., 0]), xp.zeros_like(most))
    return TracedSolution(
        threshold=xp.where(taken, threshold, infinite),
        size=size[..., -1, 0],
        overlap=summary.mass,
        mass=summary.mass,
        score=xp.astype(expected, source.dtype),
        active=active,
        counts=counts,
        tables=tables,
    )


def growth(rows: Rows, solution: TracedSolution, objective: Objective, alone: Array) -> Array:
    """Return what one more pixel of each bin adds to each row: (batch, class, bin).

    `alone` holds the probabilities of the pixels that a class alone selected, and 0 elsewhere.
    """
    xp = rows.source.xp
    counts = _counts(rows, alone)
    size = xp.sum(counts, axis=-1, keepdims=True)[..., None]
    parts = []
    for f, weight in solution.tables:
        overlap = xp.sum(counts[..., None] * f, axis=-2, keepdims=True)
        mass = xp.sum(solution.counts[..., None] * f, axis=-2, keepdims=True)
        parts.append((f, weight, *objective.increment(size, overlap, mass)))
    largest = xp.max(xp.concat([part[2] for part in parts], axis=-1), axis=(1, 2, 3), keepdims=True)
    total = 0 * solution.counts
    for f, weight, slope, offset, *curve in parts:
        gain = slope / largest * f - offset / largest
        if curve:
            gain = ratio(gain, 1 - curve[0] * f)
        total = total + xp.sum(weight * gain, axis=-1)
    return xp.flip(total, axis=-1)
