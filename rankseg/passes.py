"""Passes over some rows of a probability map: counts and sums, which every solver is made of."""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from . import arrays, histograms
from .arrays import Array, Slab
from .chunks import Focus
from .held import Held
from .histograms import Binning
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

    def histogram(self, binning: Binning, fine: bool) -> tuple[Array, Array | None]:
        """Count the pixels of each row in bins, and if `fine` sum up where in these they lie.

        Of what is in the first bin some may be left out.
        """
        xp, ndim = self.source.xp, self.ndim
        parts = [
            histograms.histogram(xp, x, ndim, binning, fine)
            for _, x in self.blocks(2.0 ** -(binning.octaves + 1))
        ]
        if not parts:
            return np.zeros(binning.bins), np.zeros(binning.bins) if fine else None
        counts, sums = zip(*parts, strict=True)
        return sum(counts), sum(sums) if fine else None

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


class FocusedGroup(Group):
    """All rows of a lazy map that was read already, but for few pixels."""

    def __init__(self, source: ProbabilityMap, focus: Focus) -> None:
        super().__init__(source, ...)
        self.focus = focus

    def above(self, threshold: Array) -> tuple[Array, Callable[[], Array]]:
        """Count and sum the pixels above each row's threshold."""
        size, overlap = self.focus.above(threshold)
        return size, lambda: overlap

    def above_each(self, thresholds: list[Array]) -> list[tuple[Array, Array]]:
        """Count and sum the pixels above each of several thresholds."""
        return [self.focus.above(threshold) for threshold in thresholds]

    def between(self, low: Array, high: Array) -> tuple[np.ndarray, np.ndarray]:
        """Return the pixels with low < p <= high: the number of each one's row, and its value."""
        return self.focus.between(low, high)


class SmallRows(Group):
    """Some rows on the host that fit a block together, pixels on one axis.

    A row whose threshold stands is not counted again: of a group some settle late.
    """

    def __init__(self, source: ProbabilityMap, index: RowIndex, scale: float = 1.0) -> None:
        super().__init__(source, index, scale)
        self._counted = np.full((3, len(self.index[0])), np.nan)  # thresholds, counts, sums

    @cached_property
    def _lines(self) -> np.ndarray:
        return self._block.reshape(len(self.index[0]), -1)

    def summarize(self) -> tuple[Array, ...]:
        """Return the smallest value, the largest value and the sum of each row."""
        x = self._lines
        return x.min(axis=1), x.max(axis=1), arrays.total(np, x, 1)

    def above(self, threshold: np.ndarray) -> tuple[np.ndarray, Callable[[], np.ndarray]]:
        """Count the pixels above each row's threshold, and offer to sum them."""
        x, counted = self._lines, self._counted.copy()
        rows: Any = np.flatnonzero(counted[0] != threshold)
        if 2 * len(rows) < len(x):
            x = x[rows]
        else:
            rows = slice(None)
        inside = (x > threshold[rows, None].astype(x.dtype)).astype(x.dtype)
        counted[0] = threshold
        counted[1, rows] = self.scale * (inside @ np.ones(x.shape[1], x.dtype))

        def overlap() -> np.ndarray:
            counted[2, rows] = self.scale * arrays.total(np, x, 1, inside)
            self._counted = counted
            return counted[2]

        return counted[1], overlap


class TracedGroup(Group):
    """Rows inside ``jax.jit``, where each pass is one read of the map."""

    def summarize(self) -> tuple[Array, ...]:
        """Return zero, the largest value and the sum of each row; nothing is below zero."""
        high, mass = arrays.largest_and_total(self._block, self.ndim)
        return 0 * mass, high, mass

    def above(self, threshold: Array) -> tuple[Array, Callable[[], Array]]:
        """Count and sum the pixels above each row's threshold."""
        size, overlap = self.above_all(threshold[..., None])
        return self.scale * size[..., 0], lambda: self.scale * overlap[..., 0]

    def above_each(self, thresholds: list[Array]) -> list[tuple[Array, Array]]:
        """Count and sum the pixels above each of several thresholds, read together."""
        size, overlap = self.above_all(self.source.xp.stack(thresholds, axis=-1))
        return [(size[..., i], overlap[..., i]) for i in range(len(thresholds))]

    def above_all(self, thresholds: Array) -> tuple[Array, Array]:
        """Count and sum the pixels above each of the thresholds, (batch, class, thresholds)."""
        x = self._block[:, :, None, ...]
        return arrays.count_and_total(x > self.source.broadcast(thresholds), x, self.ndim)


class Row(Group):
    """One row on the host, read in slabs and only where it can matter.

    Its results are scalars: NumPy takes longer over an array of one element.
    """

    def __init__(
        self, held: Held, index: tuple[int, int], peaks: Peaks, scale: float = 1.0
    ) -> None:
        super().__init__(held.source, index, scale)
        self.held, self.peaks = held, peaks

    @cached_property
    def _copy(self) -> np.ndarray | None:
        # Rows that take work to read are read once, where that is little beside the whole map.
        source = self.source
        if self.held.reads_views(self.index):
            return None
        small = 4 * source.pixels * np.dtype(source.dtype).itemsize <= source.probs.nbytes
        return source.read(self.index) if small else None

    def _slab(self, slab: Slab) -> np.ndarray:
        return self.held.read(self.index, slab) if self._copy is None else self._copy[slab]

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
        if self._copy is None and not self.held.reads_views(self.index):
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
        self.held.keep(self.index)
        for slab, starts in zip(self.peaks.slabs, self.peaks.starts, strict=True):
            x = self.held.read(self.index, slab)
            lows.append(x.min())
            highs.append(Peaks.of_slab(x, starts))
            mass += arrays.total(np, x, self.ndim)
        peaks = highs[0] if len(highs) == 1 else np.concatenate(highs)
        self.peaks.values[self.index] = peaks
        return min(lows), peaks.max(), mass

    def _compare(self, x: np.ndarray, threshold: float) -> np.ndarray:
        return x > float(threshold)  # a Python scalar takes the precision of the array
