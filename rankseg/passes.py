"""Passes over some rows of a probability map: counts and sums, which every solver is made of."""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from . import arrays
from .arrays import Array, Slab
from .maps import ProbabilityMap, RowIndex
from .peaks import Peaks


class Group:
    """Some rows of a map that are worked on together, at once.

    Counts and sums over them are multiplied by `scale`.
    """

    def __init__(self, source: ProbabilityMap, index: RowIndex, scale: float = 1.0) -> None:
        self.source, self.scale = source, scale
        self.index: Any = index
        self.ndim = len(source.spatial)

    @cached_property
    def _block(self) -> Array:
        return self.source.read(self.index)

    def blocks(self, above: Array) -> Iterable[tuple[Slab, Array]]:
        """Read what may hold values above each row's threshold, slab by slab."""
        return [((), self._block)]

    def masks(self, threshold: Array) -> Iterator[tuple[Slab, Array]]:
        """Compare slab by slab: ``p > threshold``, False in slabs left out."""
        for slab, x in self.blocks(threshold):
            yield slab, self._compare(x, threshold)

    def summarize(self) -> tuple[Array, ...]:
        """Return the smallest value, the largest value and the sum of each row."""
        xp, x = self.source.xp, self._block
        low, high = arrays.extremes(xp, x, self.ndim)
        return arrays.read_sums(low, high, arrays.total(xp, x, self.ndim))

    def above(self, threshold: Array) -> tuple[Array, Callable[[], Array]]:
        """Count the pixels above each row's threshold, and offer to sum them.

        On the host the sum costs more than the count.
        """
        masks = [mask for _, mask in self.masks(threshold)]
        (size,) = arrays.read_sums(self._count(masks))
        return (
            self.scale * size,
            lambda: self.scale * arrays.read_sums(self._sum(masks, threshold))[0],
        )

    def above_each(self, thresholds: list[Array]) -> list[tuple[Array, Array]]:
        """Count and sum the pixels above each of several thresholds, read together."""
        parts: list[Array] = []
        for threshold in arrays.bring(self.source.probs, *thresholds):
            masks = [mask for _, mask in self.masks(threshold)]
            parts += [self._count(masks), self._sum(masks, threshold)]
        results = arrays.read_sums(*parts)
        return list(zip(results[::2], results[1::2], strict=True))

    def between(self, low: Array, high: Array) -> tuple[np.ndarray, np.ndarray]:
        """Return the pixels with low < p <= high: the number of each one's row, and its value."""
        xp = self.source.xp
        low, high = arrays.bring(self.source.probs, low, high)
        numbers, values = [np.zeros(0, dtype=int)], [np.zeros(0)]
        for _, x in self.blocks(low):
            inside = self._compare(x, low) & ~self._compare(x, high)
            where = xp.nonzero(xp.reshape(inside, (-1,)))[0]
            found = xp.take(xp.reshape(x, (-1,)), where)
            where, found = arrays.read_values(where, found)
            numbers.append(where // prod(x.shape[x.ndim - self.ndim :]))
            values.append(found)
        return np.concatenate(numbers), np.concatenate(values)

    def _compare(self, x: Array, threshold: Array) -> Array:
        return x > self.source.broadcast(threshold)

    def _count(self, masks: list[Array]) -> Array:
        return sum(arrays.count(self.source.xp, mask, self.ndim) for mask in masks)

    def _sum(self, masks: list[Array], threshold: Array) -> Array:
        pairs = zip(self.blocks(threshold), masks, strict=True)
        return sum(arrays.total(self.source.xp, x, self.ndim, mask) for (_, x), mask in pairs)


class WholeGroup(Group):
    """All rows of a map, whose counts and sums are read together.

    A copy from a GPU costs more than a sum that is not needed, a second read of lazy data too.
    """

    def above(self, threshold: Array) -> tuple[Array, Callable[[], Array]]:
        """Count and sum the pixels above each row's threshold."""
        ((size, overlap),) = self.above_each([threshold])
        return self.scale * size, lambda: self.scale * overlap


class Row(Group):
    """One row on the host, read in slabs and only where it can matter.

    Its results are scalars: NumPy takes longer over an array of one element.
    """

    def __init__(
        self, source: ProbabilityMap, index: RowIndex, peaks: Peaks, scale: float = 1.0
    ) -> None:
        super().__init__(source, index, scale)
        self.peaks = peaks

    @cached_property
    def _copy(self) -> np.ndarray | None:
        # Rows that take work to read are read once, where that is little beside the whole map.
        source = self.source
        if source.reads_views:
            return None
        small = 4 * source.pixels * np.dtype(source.dtype).itemsize <= source.probs.nbytes
        return source.read(self.index) if small else None

    def _slab(self, slab: Slab) -> np.ndarray:
        return self.source.read(self.index, slab) if self._copy is None else self._copy[slab]

    def blocks(self, above: float) -> Iterator[tuple[Slab, np.ndarray]]:
        """Read the lines between the first and the last that may hold larger values."""
        first, last = self.peaks.lines_above(self.index, above)
        for lines, *rest in arrays.slabs(
            (last - first, *self.source.spatial[1:]), self.peaks.block
        ):
            slab = (slice(first + lines.start, first + lines.stop), *rest)
            yield slab, self._slab(slab)

    def positive(self) -> np.ndarray:
        """Return the probabilities above zero."""
        parts = [x.reshape(-1) for _, x in self.blocks(0.0)]
        values = np.concatenate(parts or [np.zeros(0)])
        return values if np.min(values, initial=1.0) > 0 else values[values > 0]

    def above(self, threshold: float) -> tuple[float, Callable[[], float]]:
        """Count the pixels above the threshold, and offer to sum them."""
        if self._copy is None and not self.source.reads_views:
            return super().above(threshold)
        held = [(x, self._compare(x, threshold)) for _, x in self.blocks(threshold)]
        size = sum(np.count_nonzero(mask) for _, mask in held)
        return (
            self.scale * size,
            lambda: self.scale * sum(arrays.total(np, x, self.ndim, mask) for x, mask in held),
        )

    def summarize(self) -> tuple[float, ...]:
        """Return the smallest value, the largest value and the sum, and index the maxima."""
        lows, highs, mass = [], [], 0.0
        for slab, starts in zip(self.peaks.slabs, self.peaks.starts, strict=True):
            x = self.source.read(self.index, slab)
            lows.append(x.min())
            highs.append(Peaks.of_slab(x, starts))
            mass += arrays.total(np, x, self.ndim)
        peaks = np.concatenate(highs)
        self.peaks.values[self.index] = peaks
        return np.min(lows), np.max(peaks), mass

    def _compare(self, x: np.ndarray, threshold: float) -> np.ndarray:
        return x > float(threshold)  # a Python scalar takes the precision of the array
