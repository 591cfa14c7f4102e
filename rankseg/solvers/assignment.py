"""From one threshold a row to masks, and from overlapping masks to one label a pixel.

A pixel that exactly one class selected gets that class. Where several did, the class wins whose
objective grows most if the pixel joins the pixels that it alone selected; where none did,
``unassigned_policy`` decides: the active class with the largest growth, or `void_index`.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from array_api_compat import device

from .. import arrays
from ..arrays import Array, Namespace, Slab
from ..maps import ProbabilityMap
from ..objectives import Objective
from .rma import Solution

BARRED = 8.0
"""More than two normalised increments can differ by: takes a class out of the competition."""


def masks(source: ProbabilityMap, threshold: Array) -> Array:
    """Return the masks ``p > threshold``: bool, (batch, class, *spatial)."""
    if source.kind != "host":
        return source.read(...) > source.broadcast(threshold)
    result = np.zeros(source.probs.shape, dtype=bool)
    index: Any
    for group in source.groups(threshold < np.inf):
        index = group
        for slab, mask in source.rows(group).masks(threshold[group]):
            result[(*index, *slab)] = mask
    return result


def labels(
    source: ProbabilityMap, solution: Solution, objective: Objective, void_index: int | None
) -> Array:
    """Return the class of each pixel: int64, (batch, *spatial).

    Pixels that no class selected go to the best increment if `void_index` is None.
    """
    work = _labels_in_blocks if source.kind == "host" else _labels_at_once
    return work(source, solution, objective, void_index)


def compete(xp: Namespace, p: Array, mask: Array, heirs: Array, increment: list[Array]) -> Array:
    """Return the winning class of each pixel, for class axis 1.

    The classes that selected a pixel compete for it; if none did, those in `heirs` do. The
    increments (a p - b) / (1 - c p), without c if it is zero, are scaled so that a <= 1.
    """
    slope, offset, *curve = increment
    growth = slope * p - offset
    if curve:
        growth = growth / (1 - curve[0] * p)
    barred = xp.astype(~mask, p.dtype)
    nobody = xp.min(barred, axis=1, keepdims=True)
    return xp.argmax(growth - BARRED * (barred - nobody * heirs), axis=1)


def increments(
    source: ProbabilityMap, solution: Solution, objective: Objective, size: Array, overlap: Array
) -> list[Array]:
    """Return (batch, class) coefficients of the increments to masks with these sums.

    A factor common to a sample's classes decides nothing, and taking it out keeps increments of
    1e-300 (smooth = 1e300) apart in float32.
    """
    slope, offset, *curve = objective.increment(size, overlap, solution.mass)
    largest = source.state.max(slope, axis=1, keepdims=True)
    return [slope / largest, offset / largest, *curve]


def heirs_of(source: ProbabilityMap, solution: Solution) -> Array:
    """Return the classes that may take an unassigned pixel: the active ones, or all of them."""
    none = ~source.state.any(solution.active, axis=1, keepdims=True)
    return solution.active | none


def _labels_at_once(
    source: ProbabilityMap, solution: Solution, objective: Objective, void_index: int | None
) -> Array:
    xp, ndim = source.xp, len(source.spatial)
    p = source.read(...)
    mask = p > source.broadcast(solution.threshold)
    claims = xp.count_nonzero(mask, axis=1, keepdims=True)
    alone = mask & (claims == 1)
    size, overlap = arrays.read_sums(
        arrays.count(xp, alone, ndim), arrays.total(xp, p, ndim, alone)
    )
    increment = increments(source, solution, objective, size, overlap)
    heirs = source.broadcast(heirs_of(source, solution))
    winner = compete(xp, p, mask, heirs, [source.broadcast(part) for part in increment])
    if void_index is None:
        return winner
    void = xp.asarray(void_index, dtype=winner.dtype, device=device(winner))
    return xp.where(claims[:, 0, ...] == 0, void, winner)


def _labels_in_blocks(
    source: ProbabilityMap, solution: Solution, objective: Objective, void_index: int | None
) -> np.ndarray:
    # The same, slab by slab: the masks settle most pixels, and only the others are computed on.
    heirs = [np.nonzero(row)[0].tolist() for row in heirs_of(source, solution)]
    slabs = [
        _LabelSlab(source, b, classes, solution.threshold[b, classes], slab)
        for b, classes in enumerate(heirs)
        for slab in arrays.slabs(source.spatial, max(2**13, 2**21 // len(classes)))
    ]
    size, overlap = solution.size.copy(), solution.overlap.copy()
    for slab in slabs:
        slab.survey()
        size[slab.sample, slab.classes] -= slab.size
        overlap[slab.sample, slab.classes] -= slab.overlap
    overlap = np.where(size > 0, np.maximum(overlap, 0), 0)
    increment = increments(source, solution, objective, size, overlap)
    result = np.empty((source.batch, *source.spatial), dtype=np.int64)
    for slab in slabs:
        slab.write(result, increment, void_index)
    return result


class _LabelSlab:
    """One slab of one sample on its way to labels."""

    def __init__(
        self,
        source: ProbabilityMap,
        sample: int,
        classes: list[int],
        threshold: np.ndarray,
        slab: Slab,
    ) -> None:
        self.source, self.sample, self.classes, self.slab = source, sample, classes, slab
        self.threshold = threshold.astype(source.dtype)

    def survey(self) -> None:
        """Find the pixels that no class or several selected, and sum those of each class."""
        lines, *rest = self.slab
        shape = self.source.probs[(self.sample, 0, *self.slab)].shape
        tally = np.min_scalar_type(self.source.classes)
        self.chosen, self.claims = np.zeros(shape, tally), np.zeros(shape, tally)
        for c, threshold in zip(self.classes, self.threshold, strict=True):
            first, last = self.source.lines_above((self.sample, c), threshold)
            first, last = max(first, lines.start), min(last, lines.stop)
            if first >= last:
                continue
            p = self.source.read((self.sample, c), (slice(first, last), *rest))
            mask = (p > threshold).astype(tally)
            where = slice(first - lines.start, last - lines.start)
            self.claims[where] += mask
            self.chosen[where] += np.multiply(mask, tally.type(c), out=mask)
        few = np.count_nonzero(self.claims != 1) <= self.claims.size // 8
        self.contests = list(self._contests()) if few else None
        self.size = np.zeros(len(self.classes))
        self.overlap = np.zeros(len(self.classes))
        for _, p, selected in self.contests or self._contests():
            self.size += arrays.count(np, selected, 1)
            self.overlap += arrays.total(np, p, 1, selected)

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
        xp, heirs = self.source.xp, np.ones((), self.source.dtype)
        for pixels, p, selected in self.contests or self._contests():
            winner = compete(xp, p[None], selected[None], heirs, increment)
            flat[pixels] = np.take(self.classes, winner[0])
        if void_index is not None:
            labels[self.claims == 0] = void_index

    def _contests(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        # The pixels that no class or several selected: indices into the slab, probabilities and
        # masks of (class, pixel), in pieces small enough for a few copies in cache.
        pixels = np.flatnonzero(self.claims != 1)
        if self.source.valid is not None:
            valid = self.source.valid[(self.sample, *self.slab)]
            pixels = pixels[valid.reshape(-1)[pixels]]
        step = max(1, self.source.block // len(self.classes))
        for start in range(0, len(pixels), step):
            some = pixels[start : start + step]
            p = np.stack(
                [self.source.pick((self.sample, c), self.slab, some) for c in self.classes]
            )
            yield some, p, p > self.threshold[:, None]
