"""Labels in blocks: `assignment.labels` for rows on the host.

The same, slab by slab: the masks settle most pixels, and only the others are computed on.
"""

from collections.abc import Iterator

import numpy as np

from .. import arrays
from ..arrays import Slab
from ..objectives import Objective
from ..rows import BlockRows
from .assignment import compete, eligible_classes, increments, labels
from .rma import Solution


@labels.register
def _labels_in_blocks(
    rows: BlockRows, solution: Solution, objective: Objective, void_index: int | None
) -> np.ndarray:
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
        xp, eligible = self.source.xp, np.asarray(True)
        for pixels, p, selected in self.conflicts or self._read_conflicts():
            winner = compete(xp, p[None], selected[None], eligible, increment)
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
