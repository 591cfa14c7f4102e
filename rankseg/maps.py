"""Probability maps, read block by block: the passes that every solver is made of."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from math import ceil, prod
from types import EllipsisType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from array_api_compat import array_namespace, device

from . import arrays
from .arrays import Array, Slab

RowIndex: TypeAlias = tuple[int, int] | tuple[np.ndarray, np.ndarray] | EllipsisType
"""Sample and class of one row, samples and classes of several, or ``...`` for every row.

What is said of these rows has shape (), (rows,) or (batch, class).
"""

BANDS = 16
"""Bands of lines that a block is divided into, to remember where a class is."""


class Summary(NamedTuple):
    """What one pass over a map tells of each row: arrays of shape (batch, class)."""

    low: Array
    high: Array
    mass: Array


class ProbabilityMap:
    """Probabilities of shape (batch, class, *spatial), where one row is one (sample, class) pair.

    Blocks come in float32 or float64, with pixels outside `valid` at zero and, where `clip` is
    set, values clipped to [0, 1]. The map itself is never copied.
    """

    def __init__(
        self,
        probs: Array,
        valid: Array | None = None,
        clip: bool = False,
        block: int = arrays.BLOCK,
    ) -> None:
        self.probs, self.valid, self.clip, self.block = probs, valid, clip, block
        self.xp = array_namespace(probs)
        self.kind = arrays.kind_of(probs)
        self.dtype = arrays.wide_dtype(self.xp, probs.dtype)
        self.batch, self.classes, *self.spatial = probs.shape
        self.pixels = prod(self.spatial)
        self.state = self.xp if self.kind == "traced" else np

    @property
    def extracts(self) -> bool:
        """Whether pixels can be picked out of the map: not where shapes must be static."""
        capabilities = self.xp.__array_namespace_info__().capabilities()
        return self.kind in ("host", "device") and capabilities["data-dependent shapes"]

    @cached_property
    def reads_views(self) -> bool:
        """Whether a block of one row on the host is a view of the map."""
        plain = self.valid is None and not self.clip and self.probs.dtype == self.dtype
        return plain and bool(self.probs[0, 0].flags.c_contiguous)

    @cached_property
    def summary(self) -> Summary:
        """The smallest and largest value and the sum of each row, from one read of the map."""
        groups = self.groups(np.ones((self.batch, self.classes), dtype=bool))
        with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity are looked for here
            parts = [self.rows(group).summarize() for group in groups]
        return Summary(*self.collect(groups, parts, width=3))

    def groups(self, wanted: Array) -> list[RowIndex]:
        """Split the wanted rows into groups to work on together: every row, if not on the host."""
        if self.kind != "host":
            return [...]
        samples, classes = np.nonzero(wanted)
        step = self.block // self.pixels
        if step < 2:
            return list(zip(samples.tolist(), classes.tolist(), strict=True))
        starts = range(0, len(samples), step)
        return [(samples[i : i + step], classes[i : i + step]) for i in starts]

    def rows(self, index: RowIndex, scale: float = 1.0) -> "Rows":
        """Return the rows of one group. Counts and sums over them are multiplied by `scale`."""
        alone = index is not ... and isinstance(index[0], int)
        return (Row if alone else Rows)(self, index, scale)

    def host_row(self, index: tuple[int, int]) -> "Row":
        """Return one row in NumPy, copied there if it lies elsewhere."""
        if self.kind == "host":
            return Row(self, index, 1.0)
        b, c = index
        (probs,) = arrays.read_values(self.probs[b : b + 1, c : c + 1, ...])
        valid = None if self.valid is None else arrays.read_values(self.valid[b : b + 1, ...])[0]
        return Row(ProbabilityMap(probs, valid, self.clip), (0, 0), 1.0)

    def collect(
        self, groups: list[RowIndex], parts: Sequence[tuple[Array, ...]], width: int
    ) -> list[Array]:
        """Lay out `width` results a row as arrays of shape (batch, class), the rest zero."""
        if groups == [...]:
            return list(parts[0])
        columns = [np.zeros((self.batch, self.classes)) for _ in range(width)]
        for group, part in zip(groups, parts, strict=True):
            for column, values in zip(columns, part, strict=True):
                column[group] = values
        return columns

    def thinned(self, stride: int) -> "ProbabilityMap":
        """Return the map of every `stride`-th pixel along each spatial axis."""
        every = (..., *[slice(None, None, stride)] * len(self.spatial))
        probs = self.probs[every]
        valid = None if self.valid is None else self.valid[every]
        if self.kind == "lazy":
            (probs,) = arrays.read_values(probs)
            valid = None if valid is None else arrays.read_values(valid)[0]
        return ProbabilityMap(probs, valid, self.clip, block=prod(probs.shape))

    def read(self, index: RowIndex, slab: Slab = ()) -> Array:
        """Read one slab of some rows: their shape, as `RowIndex` says, and the slab's."""
        xp = self.xp
        if index is ...:
            x, valid = self.probs, None if self.valid is None else self.valid[:, None, ...]
        else:
            valid = None if self.valid is None else self.valid[(index[0], *slab)]
            if isinstance(index[0], int):
                x = np.ascontiguousarray(self.probs[(*index, *slab)])
            else:
                x = xp.stack([self.probs[(b, c, *slab)] for b, c in zip(*index, strict=True)])
        x = arrays.widen(xp, x)
        if valid is not None:
            x = xp.where(valid, x, xp.zeros((), dtype=self.dtype, device=device(x)))
        return xp.clip(x, 0.0, 1.0) if self.clip else x

    def pick(self, index: tuple[int, int], slab: Slab, pixels: np.ndarray) -> np.ndarray:
        """Read single pixels, by flat number, of a slab of one row on the host, valid or not."""
        x = self.probs[(*index, *slab)]
        if x.flags.c_contiguous:
            x = np.take(x.reshape(-1), pixels)
        else:
            x = x[np.unravel_index(pixels, x.shape)]
        x = arrays.widen(self.xp, x)
        return np.clip(x, 0.0, 1.0) if self.clip else x

    def broadcast(self, values: Array) -> Array:
        """Return one value a row in the map's dtype, shaped to meet blocks of these rows."""
        values = self.xp.asarray(values, dtype=self.dtype, device=device(self.probs))
        return self.xp.reshape(values, (*values.shape, *[1] * len(self.spatial)))

    def round(self, values: Array) -> Array:
        """Round down to the map's dtype, which leaves ``p > value`` as it is."""
        if self.kind == "traced" or self.dtype == self.xp.float64:
            return values
        nearest = np.float32(values)
        if isinstance(values, float):  # one row
            return float(nearest if nearest <= values else np.nextafter(nearest, np.float32(0)))
        excess = (nearest > values) * (nearest - np.nextafter(nearest, np.float32(0)))
        return (nearest - excess).astype(float)

    @cached_property
    def _bands(self) -> tuple[list[tuple[Slab, np.ndarray]], np.ndarray]:
        # The slabs of a row with the first lines of their bands, and the first lines of all
        # bands. Lines run along the first spatial axis.
        slabs, edges = [], []
        for slab in arrays.slabs(self.spatial, self.block):
            lines = slab[0].stop - slab[0].start
            starts = np.arange(0, lines, ceil(lines / BANDS))
            slabs.append((slab, starts))
            edges.append(slab[0].start + starts)
        return slabs, np.concatenate([*edges, [self.spatial[0]]])

    @cached_property
    def _peaks(self) -> np.ndarray:
        # Largest value of each band of each row, (batch, class, bands); infinity where unknown.
        return np.full((self.batch, self.classes, len(self._bands[1]) - 1), np.inf)

    def lines_above(self, index: tuple[int, int], threshold: float) -> tuple[int, int]:
        """Return the first and the last but one line of a row that may have larger values."""
        edges = self._bands[1]
        hot = np.flatnonzero(self._peaks[index] > threshold)
        return (int(edges[hot[0]]), int(edges[hot[-1] + 1])) if len(hot) else (0, 0)


class Rows:
    """Some rows of a map, and what a solver asks of them."""

    def __init__(self, source: ProbabilityMap, index: RowIndex, scale: float) -> None:
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
        axes = tuple(range(x.ndim - self.ndim, x.ndim))
        return arrays.read_sums(
            xp.min(x, axis=axes), xp.max(x, axis=axes), arrays.total(xp, x, self.ndim)
        )

    def above(self, threshold: Array) -> tuple[Array, Callable[[], Array]]:
        """Count the pixels above each row's threshold, and offer to sum them.

        On the host the sum costs more than the count; on a lazy array it comes with the count.
        """
        masks = [mask for _, mask in self.masks(threshold)]
        if self.source.kind == "lazy":
            size, overlap = arrays.read_sums(self._count(masks), self._sum(masks, threshold))
            return self.scale * size, lambda: self.scale * overlap
        (size,) = arrays.read_sums(self._count(masks))
        return (
            self.scale * size,
            lambda: self.scale * arrays.read_sums(self._sum(masks, threshold))[0],
        )

    def above_each(self, thresholds: list[Array]) -> list[tuple[Array, Array]]:
        """Count and sum the pixels above each of several thresholds, read together."""
        parts: list[Array] = []
        for threshold in thresholds:
            masks = [mask for _, mask in self.masks(threshold)]
            parts += [self._count(masks), self._sum(masks, threshold)]
        results = arrays.read_sums(*parts)
        return list(zip(results[::2], results[1::2], strict=True))

    def between(self, low: Array, high: Array) -> tuple[np.ndarray, np.ndarray]:
        """Return the pixels with low < p <= high: the number of each one's row, and its value."""
        xp = self.source.xp
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


class Row(Rows):
    """One row on the host, read in slabs and only where it can matter.

    Its results are scalars: NumPy takes longer over an array of one element.
    """

    @cached_property
    def _copy(self) -> np.ndarray | None:
        # Rows that take work to read are read once, where that is little beside the whole map.
        source = self.source
        small = 4 * source.pixels * np.dtype(source.dtype).itemsize <= source.probs.nbytes
        return source.read(self.index) if small and not source.reads_views else None

    def blocks(self, above: float) -> Iterator[tuple[Slab, np.ndarray]]:
        """Read the lines between the first and the last that may hold larger values."""
        source = self.source
        first, last = source.lines_above(self.index, above)
        for lines, *rest in arrays.slabs((last - first, *source.spatial[1:]), source.block):
            slab = (slice(first + lines.start, first + lines.stop), *rest)
            yield slab, source.read(self.index, slab) if self._copy is None else self._copy[slab]

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
        """Return the smallest value, the largest value and the sum, and remember the peaks."""
        source = self.source
        lows, peaks, mass = [], [], 0.0
        for slab, starts in source._bands[0]:
            x = source.read(self.index, slab)
            lows.append(x.min())
            peaks.append(np.maximum.reduceat(x.reshape(-1), starts * prod(x.shape[1:])))
            mass += arrays.total(np, x, self.ndim)
        source._peaks[self.index] = np.concatenate(peaks)
        return np.min(lows), np.max(source._peaks[self.index]), mass

    def _compare(self, x: np.ndarray, threshold: float) -> np.ndarray:
        return x > float(threshold)  # a Python scalar takes the precision of the array
