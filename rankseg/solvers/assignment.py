"""From one threshold a row to masks, and from overlapping masks to one label a pixel.

A pixel that exactly one class selected gets that class. Where several did, the class wins whose
objective grows most if the pixel joins the pixels that it alone selected; where none did,
``unassigned_policy`` decides: the active class with the largest growth, or `void_index`.

The classes that selected a pixel are its votes; pixels without exactly one vote are in conflict.
"""

from collections.abc import Iterator
from functools import singledispatch
from typing import Any

import numpy as np
from array_api_compat import device

from .. import arrays
from ..arrays import Array, Namespace, Slab
from ..objectives import Objective
from ..rows import BlockRows, Rows
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
    # Small numbers are read and written faster, but ONNX cannot sum them.
    integer = xp.uint8 if rows.reads != "never" and source.classes < 256 else xp.int32
    votes = xp.sum(xp.astype(mask, integer), axis=1, keepdims=True, dtype=integer)
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
    mask |= (source.broadcast(eligible) > 0) & (votes == 0)
    winner = compete(xp, p, mask, [source.broadcast(part) for part in increment])
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
def _labels_in_blocks(
    rows: BlockRows, solution: Solution, objective: Objective, void_index: int | None
) -> np.ndarray:
    # The same, slab by slab: the masks settle most pixels, and only the others are computed on.
    source = rows.source
    eligible = [np.flatnonzero(row).tolist() for row in eligible_classes(rows, solution.active)]
    slabs = [
        _LabelSlab(rows, b, classes, solution.threshold[b, classes], slab)
        for b, classes in enumerate(eligible)
        for slab in arrays.slabs(source.spatial, max(2**13, 2**21 // len(classes)))
    ]
    size, overlap = solution.size.copy(), solution.overlap.copy()
    for slab in slabs:
        shared = slab.count()
        size[slab.sample, slab.classes] -= shared[0]
        overlap[slab.sample, slab.classes] -= shared[1]
    overlap = np.where(size > 0, np.maximum(overlap, 0), 0)
    increment = increments(rows, solution, objective, size, overlap)
    result = np.empty((source.batch, *source.spatial), dtype=np.int64)
    for slab in slabs:
        slab.write(result, increment, void_index)
    return result


class _LabelSlab:
    """One slab of one sample on its way to labels."""

    def __init__(
        self,
        rows: BlockRows,
        sample: int,
        classes: list[int],
        threshold: np.ndarray,
        slab: Slab,
    ) -> None:
        self.rows, self.source = rows, rows.source
        self.sample, self.classes, self.slab = sample, classes, slab
        self.threshold = threshold.astype(self.source.dtype)
        self.conflicts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] | None = None

    def count(self) -> tuple[np.ndarray, np.ndarray]:
        """Count votes, and return the pixels that each class shares with others and their sum."""
        self.votes, self.chosen = self._count_votes()
        few = np.count_nonzero(self.votes != 1) <= self.votes.size // 8
        self.conflicts = list(self._read_conflicts()) if few else None
        size, overlap = np.zeros((2, len(self.classes)))
        for _, p, selected in self.conflicts or self._read_conflicts():
            size += arrays.count(np, selected, 1)
            overlap += arrays.total(np, p, 1, selected)
        return size, overlap

    def _count_votes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return how many classes selected each pixel, and the sum of their numbers.

        The sum is the class where there is one vote, and means nothing elsewhere.
        """
        lines, *rest = self.slab
        shape = self.source.probs[(self.sample, 0, *self.slab)].shape
        integer = np.min_scalar_type(self.source.classes)
        votes, chosen = np.zeros(shape, integer), np.zeros(shape, integer)
        for c, threshold in zip(self.classes, self.threshold, strict=True):
            first, last = self.rows.peaks.lines_above((self.sample, c), threshold)
            first, last = max(first, lines.start), min(last, lines.stop)
            if first >= last:
                continue
            p = self.source.read((self.sample, c), (slice(first, last), *rest))
            mask = (p > threshold).astype(integer)
            where = slice(first - lines.start, last - lines.start)
            votes[where] += mask
            chosen[where] += np.multiply(mask, integer.type(c), out=mask)
        return votes, chosen

    def write(
        self, result: np.ndarray, increment: list[np.ndarray], void_index: int | None
    ) -> None:
        """Write the labels of this slab."""
        labels = result[self.sample][self.slab]
        labels[...] = self.chosen
        flat = labels.reshape(-1)  # a view: slabs are contiguous
        increment = [
            part[self.sample, self.classes].astype(self.source.dtype)[None, :, None]
            for part in increment
        ]
        for pixels, p, selected in self.conflicts or self._read_conflicts():
            allowed = selected | ~selected.any(axis=0)
            winner = compete(self.source.xp, p[None], allowed[None], increment)
            flat[pixels] = np.take(self.classes, winner[0])
        if void_index is not None:
            labels[self.votes == 0] = void_index

    def _read_conflicts(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield pixels in conflict, in pieces small enough for a few copies in cache.

        Of each piece the indices into the slab, and probabilities and masks of (class, pixel).
        """
        pixels = np.flatnonzero(self.votes != 1)
        if self.source.valid is not None:
            valid = self.source.valid[(self.sample, *self.slab)]
            pixels = pixels[valid.reshape(-1)[pixels]]
        step = max(1, self.rows.block // len(self.classes))
        for start in range(0, len(pixels), step):
            some = pixels[start : start + step]
            p = np.stack(
                [self.source.pick((self.sample, c), self.slab, some) for c in self.classes]
            )
            yield some, p, p > self.threshold[:, None]
