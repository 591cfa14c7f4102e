"""Labels in blocks: `assignment.labels` for rows on the host.

The masks settle most pixels, and only the others are computed on: slab by slab of a sample, or
several small samples together.
"""

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np

from .. import arrays
from ..arrays import Slab
from ..objectives import Objective
from ..rows import BlockRows
from .assignment import compete, eligible_classes, increments, labels
from .rma import Solution

Competition: TypeAlias = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Which class of a slab wins each of some pixels in conflict: of their indices into the slab,
their probabilities, and the classes that are allowed, both of (class, pixel).
"""


@labels.register
def _labels_in_blocks(
    rows: BlockRows, solution: Solution, objective: Objective, void_index: int | None
) -> np.ndarray:
    source = rows.source
    blocks = list(_blocks(rows, eligible_classes(rows, solution.active), solution.threshold))
    size, overlap = solution.size.copy(), solution.overlap.copy()
    for block in blocks:
        shared = block.count()
        size[block.samples, block.classes] -= shared[0]
        overlap[block.samples, block.classes] -= shared[1]
    overlap = np.where(size > 0, np.maximum(overlap, 0), 0)
    increment = increments(rows, solution, objective, size, overlap)
    result = np.empty((source.batch, *source.spatial), dtype=np.int64)
    for block in blocks:
        block.write(result, block.competition(increment), void_index)
    return result


def _blocks(
    rows: BlockRows, eligible: np.ndarray, threshold: np.ndarray
) -> Iterator["LabelSlab | LabelGroup"]:
    batch, together = rows.source.batch, rows.block // rows.source.pixels
    if together > 1:
        for first in range(0, batch, together):
            samples = slice(first, min(first + together, batch))
            yield LabelGroup(rows, samples, eligible, threshold, ())
        return
    for b in range(batch):
        yield from slabs_of_sample(rows, b, eligible, threshold)


def slabs_of_sample(
    rows: BlockRows, b: int, eligible: np.ndarray, threshold: np.ndarray
) -> "Iterator[LabelSlab]":
    """Cut a sample into slabs whose eligible classes are worked on in cache."""
    limit = max(2**13, 2**21 // int(np.count_nonzero(eligible[b])))
    for slab in arrays.slabs(rows.source.spatial, limit):
        yield LabelSlab(rows, slice(b, b + 1), eligible, threshold, slab)


class LabelSlab:
    """One slab of one sample on its way to labels."""

    def __init__(
        self,
        rows: BlockRows,
        samples: slice,
        eligible: np.ndarray,
        threshold: np.ndarray,
        slab: Slab,
    ) -> None:
        self.rows, self.source = rows, rows.source
        self.samples, self.slab = samples, slab
        self.classes: list[int] = np.flatnonzero(eligible[samples].any(axis=0)).tolist()
        self.eligible = eligible[samples, self.classes]
        self.threshold = threshold[samples, self.classes].astype(self.source.dtype)
        self.conflicts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] | None = None

    def count(self) -> tuple[np.ndarray, np.ndarray]:
        """Count votes, and return the pixels that each class shares with others and their sum.

        Both have shape (sample, class).
        """
        self.votes, self.chosen = self._count_votes()
        few = np.count_nonzero(self.votes != 1) <= self.votes.size // 8
        self.conflicts = list(self._read_conflicts()) if few else None
        size, overlap = np.zeros((2, *self.threshold.shape))
        for pixels, p, selected in self.conflicting():
            self._add_up(pixels, p, selected, size, overlap)
        return size, overlap

    def _add_up(
        self,
        pixels: np.ndarray,
        p: np.ndarray,
        selected: np.ndarray,
        size: np.ndarray,
        overlap: np.ndarray,
    ) -> None:
        """Add the selected pixels in conflict to what their sample and class has."""
        size += arrays.count(np, selected, 1)
        overlap += arrays.total(np, p, 1, selected)

    def _count_votes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return how many classes selected each pixel, and the sum of their numbers.

        The sum is the class where there is one vote, and means nothing elsewhere.
        """
        lines, *rest = self.slab
        sample, (votes, chosen) = self.samples.start, self._zeros()
        for c, threshold in zip(self.classes, self.threshold[0], strict=True):
            first, last = self.rows.peaks.lines_above((sample, c), threshold)
            first, last = max(first, lines.start), min(last, lines.stop)
            if first >= last:
                continue
            p = self.rows.held.read((sample, c), (slice(first, last), *rest))
            mask = (p > threshold).view(np.uint8)
            where = slice(first - lines.start, last - lines.start)
            votes[0, where] += mask
            chosen[0, where] += mask * votes.dtype.type(c)
        return votes, chosen

    def _zeros(self) -> np.ndarray:
        shape = self.source.probs[(self.samples, 0, *self.slab)].shape
        return np.zeros((2, *shape), np.min_scalar_type(self.source.classes))

    def _of_pixels(self, values: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        """Return what meets (class, pixel) of values of shape (sample, class)."""
        return values.T

    def competition(self, increment: list[np.ndarray]) -> Competition:
        """Return how pixels are won by increments, (batch, class)."""
        increment = [
            part[self.samples, self.classes].astype(self.source.dtype) for part in increment
        ]

        def winners(pixels: np.ndarray, p: np.ndarray, allowed: np.ndarray) -> np.ndarray:
            meeting = [self._of_pixels(part, pixels)[None] for part in increment]
            return np.asarray(compete(arrays.numpy_namespace(), p[None], allowed[None], meeting)[0])

        return winners

    def write(self, result: np.ndarray, winners: Competition, void_index: int | None) -> None:
        """Write the labels of this slab."""
        labels = result[self.samples][(slice(None), *self.slab)]
        labels[...] = self.chosen
        flat = labels.reshape(-1)  # a view: slabs are contiguous
        for pixels, p, selected in self.conflicting():
            eligible = self._of_pixels(self.eligible, pixels)
            allowed = selected | (eligible & ~selected.any(axis=0))
            flat[pixels] = np.take(self.classes, winners(pixels, p, allowed))
        if void_index is not None:
            labels[self.votes == 0] = void_index

    def conflicting(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield pixels in conflict: indices into the slab, probabilities and masks of each."""
        return iter(self.conflicts) if self.conflicts is not None else self._read_conflicts()

    def _read_conflicts(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield pixels in conflict, in pieces small enough for a few copies in cache.

        Of each piece the indices into the slab, and probabilities and masks of (class, pixel).
        """
        pixels = np.flatnonzero(self.votes != 1)
        if self.source.valid is not None:
            valid = self.source.valid[(self.samples, *self.slab)]
            pixels = pixels[valid.reshape(-1)[pixels]]
        step = max(1, self.rows.block // len(self.classes))
        for start in range(0, len(pixels), step):
            some = pixels[start : start + step]
            p = np.stack([self._pick(c, some) for c in self.classes])
            yield some, p, p > self._of_pixels(self.threshold, some)

    def _pick(self, c: int, pixels: np.ndarray) -> np.ndarray:
        return self.rows.held.pick((self.samples.start, c), self.slab, pixels)


class LabelGroup(LabelSlab):
    """Several small samples on their way to labels."""

    def _count_votes(self) -> tuple[np.ndarray, np.ndarray]:
        votes, chosen = self._zeros()
        for c, threshold in zip(self.classes, self.threshold.T, strict=True):
            some = np.flatnonzero(threshold < np.inf)
            if len(some):
                p = self.source.read((self.samples.start + some, np.full_like(some, c)))
                mask = (p > self.source.broadcast(threshold[some])).view(np.uint8)
                votes[some] += mask
                chosen[some] += mask * votes.dtype.type(c)
        return votes, chosen

    def _add_up(
        self,
        pixels: np.ndarray,
        p: np.ndarray,
        selected: np.ndarray,
        size: np.ndarray,
        overlap: np.ndarray,
    ) -> None:
        # The pixels come sample after sample, and a sum runs over those of one.
        samples, starts = np.unique(pixels // self.source.pixels, return_index=True)
        size[samples] += np.add.reduceat(selected, starts, axis=1, dtype=size.dtype).T
        overlap[samples] += np.add.reduceat(p * selected, starts, axis=1, dtype=size.dtype).T

    def _of_pixels(self, values: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        return np.take(values.T, pixels // self.source.pixels, axis=1)

    def _pick(self, c: int, pixels: np.ndarray) -> np.ndarray:
        return self.source.pick((self.samples, c), self.slab, pixels)
