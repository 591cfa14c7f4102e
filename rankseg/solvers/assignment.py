"""From one threshold a row to masks, and from overlapping masks to one label a pixel.

A pixel that exactly one class selected gets that class. Where several did, the class wins whose
objective grows most if the pixel joins the pixels that it alone selected; where none did,
``unassigned_policy`` decides: the active class with the largest growth, or `void_index`.

The classes that selected a pixel are its votes; pixels without exactly one vote are in conflict.
"""

from functools import partial, singledispatch
from typing import Any

import numpy as np

from .. import arrays
from ..arrays import Array, Namespace, device
from ..chunks import Focus, label_chunks
from ..objectives import Objective
from ..rows import BlockRows, LazyRows, Rows, TracedRows
from .rma import Solution


@singledispatch
def masks(rows: Rows, threshold: Array) -> Array:
    """Return the masks ``p > threshold``: bool, (batch, class, *spatial)."""
    return rows.source.read(...) > rows.source.broadcast(threshold)


@masks.register
def _masks_in_blocks(rows: BlockRows, threshold: np.ndarray) -> np.ndarray:
    result = np.zeros(rows.source.probs.shape, dtype=bool)

    def write(group: Any) -> tuple[()]:
        for slab, mask in group.masks(threshold[group.index]):
            result[(*group.index, *slab)] = mask
        return ()

    rows.each(write, width=0, wanted=threshold < np.inf)
    return result


@singledispatch
def labels(rows: Rows, solution: Solution, objective: Objective, void_index: int | None) -> Array:
    """Return the class of each pixel: int64, (batch, *spatial).

    Pixels that no class selected go to the best increment if `void_index` is None.
    """
    source, xp, ndim = rows.source, rows.source.xp, len(rows.source.spatial)
    p = source.read(...)
    eligible = eligible_classes(rows, solution.active)
    threshold, eligible, mass = arrays.bring(p, solution.threshold, eligible, solution.mass)
    mask = p > source.broadcast(threshold)
    votes = count_votes(rows, mask)
    alone = mask & (votes == 1)
    size, overlap = arrays.count(xp, alone, ndim), arrays.total(xp, p, ndim, alone)
    del alone
    if rows.reads == "now" and overlap.dtype == xp.float64:
        size = xp.astype(size, overlap.dtype)
        increment = normalised(xp, objective.increment(size, overlap, mass))
    else:
        size, overlap = arrays.read_sums(size, overlap)
        increment = increments(rows, solution, objective, size, overlap)
        increment = arrays.bring(p, *increment)
    mask = mask | ((source.broadcast(eligible) > 0) & (votes == 0))
    winner = compete(xp, p, mask, [source.broadcast(part) for part in increment])
    return with_void(xp, winner, votes, void_index)


def count_votes(rows: Rows, mask: Array) -> Array:
    """Return how many classes selected each pixel: (batch, 1, *spatial)."""
    xp = rows.source.xp
    # Small numbers are read and written faster, but ONNX cannot sum them.
    integer = xp.uint8 if rows.reads != "never" and rows.source.classes < 256 else xp.int32
    return xp.sum(xp.astype(mask, integer), axis=1, keepdims=True, dtype=integer)


def with_void(xp: Namespace, winner: Array, votes: Array, void_index: int | None) -> Array:
    """Return labels with `void_index`, if it is not None, where no class selected the pixel."""
    if void_index is None:
        return winner
    void = xp.asarray(void_index, dtype=winner.dtype, device=device(winner))
    return xp.where(votes[:, 0, ...] == 0, void, winner)


def compete(xp: Namespace, p: Array, allowed: Array, increment: list[Array]) -> Array:
    """Return the winning class of each pixel, of those that are allowed, for class axis 1.

    The increments (a p - b) / (1 - c p), without c if it is zero, are scaled so that a <= 1.
    """
    slope, offset, *curve = increment
    nothing = xp.asarray(-float("inf"), dtype=p.dtype, device=device(p))
    growth = xp.where(allowed, p, nothing)  # from here on in place: a map is large
    growth *= slope
    growth -= offset
    if curve:
        rest = -curve[0] * p
        rest += 1
        growth /= rest
    return xp.argmax(growth, axis=1)


def increments(
    rows: Rows, solution: Solution, objective: Objective, size: Array, overlap: Array
) -> list[Array]:
    """Return (batch, class) coefficients of the increments to masks with these sums.

    A factor common to a sample's classes decides nothing, and taking it out keeps increments of
    1e-300 (smooth = 1e300) apart in float32.
    """
    return normalised(rows.xp, objective.increment(size, overlap, solution.mass))


def normalised(xp: Namespace, increment: tuple[Array, ...]) -> list[Array]:
    """Return coefficients of which the largest slope of a sample is 1."""
    slope, offset, *curve = increment
    largest = xp.max(slope, axis=1, keepdims=True)
    return [slope / largest, offset / largest, *curve]


def eligible_classes(rows: Rows, active: Array) -> Array:
    """Return the classes that may take an unassigned pixel: the active ones, or all of them."""
    return active | ~rows.xp.any(active, axis=1, keepdims=True)


@labels.register
def _labels_in_a_trace(
    rows: TracedRows, solution: Solution, objective: Objective, void_index: int | None
) -> Array:
    # The same without arrays of the size of the map, for XLA.
    if not rows.counts_together:
        at_once: Any = labels.dispatch(Rows)
        return at_once(rows, solution, objective, void_index)
    source, xp, ndim = rows.source, rows.xp, len(rows.source.spatial)
    p, threshold = source.read(...), source.broadcast(solution.threshold)
    mask = p > threshold
    votes = arrays.computed_once(xp.sum(mask, axis=1, keepdims=True, dtype=xp.int32))
    size, overlap = arrays.count_and_total(mask & (votes == 1), p, ndim)
    increment = increments(rows, solution, objective, size, overlap)
    eligible = eligible_classes(rows, solution.active)
    winner = _compete_in_turn(rows, solution.threshold, votes[:, 0, ...] == 0, eligible, increment)
    return with_void(xp, winner, votes, void_index)


@labels.register
def _labels_of_chunks(
    rows: LazyRows, solution: Solution, objective: Objective, void_index: int | None
) -> Array:
    """Return lazy labels. Masks within the focus of the map need no read to be resolved."""
    threshold = solution.threshold
    if rows.focus is not None and rows.focus.covers(threshold):
        size, overlap = rows.focus.alone(threshold)
    else:
        # Bounds without a value between them: all pixels are decided.
        focus = Focus.of(rows.source, threshold, threshold)
        size, overlap = focus.alone_size, focus.alone_overlap
    increment = increments(rows, solution, objective, size, overlap)
    eligible = eligible_classes(rows, solution.active)
    work = partial(_label_pixels, void_index=void_index)
    return label_chunks(rows.source, work, threshold, eligible, *increment)


def _label_pixels(
    p: np.ndarray,
    threshold: np.ndarray,
    eligible: np.ndarray,
    *increment: np.ndarray,
    void_index: int | None,
) -> np.ndarray:
    """Return the label of each pixel of (class, pixels)."""
    mask = p > threshold
    free = ~mask.any(axis=0)
    mask |= (eligible > 0) & free
    meeting = [part[None] for part in increment]
    winner = compete(arrays.numpy_namespace(), p[None], mask[None], meeting)[0]
    return winner if void_index is None else np.where(free, void_index, winner)


def _compete_in_turn(
    rows: TracedRows, threshold: Array, free: Array, eligible: Array, increment: list[Array]
) -> Array:
    # `compete`, class by class: XLA makes one loop of it, 10 times as fast as its argmax of growth.
    source, xp = rows.source, rows.xp
    best = xp.full(free.shape, -float("inf"), dtype=source.dtype)
    winner = xp.zeros(free.shape, dtype=xp.asarray(0).dtype)
    for c in range(source.classes):
        p = source.class_map(c).read(...)[:, 0, ...]
        cut, may, slope, offset, *curve = (
            xp.reshape(part[:, c], (-1, *[1] * len(source.spatial)))
            for part in (threshold, eligible, *increment)
        )
        growth = slope * p - offset
        if curve:
            growth = growth / (1 - curve[0] * p)
        better = ((p > cut) | (may & free)) & (growth > best)
        best, winner = xp.where(better, growth, best), xp.where(better, c, winner)
    return winner
