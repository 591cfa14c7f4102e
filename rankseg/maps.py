"""Probability maps, read block by block: the passes that every solver is made of."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from math import prod
from types import EllipsisType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from array_api_compat import array_namespace, device

from rankseg import arrays
from rankseg.arrays import Array, Slab

RowIndex: TypeAlias = tuple[int, int] | tuple[np.ndarray, np.ndarray] | EllipsisType
"""Sample and class of one row, samples and classes of several, or ``...`` for every row.

What is said of these rows has shape (), (rows,) or (batch, class).
"""


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
        """Whether reading a block of one row copies nothing."""
        plain = self.valid is None and not self.clip and self.probs.dtype == self.dtype
        return plain and self.kind == "host" and self.probs[0, 0].flags.c_contiguous

    @cached_property
    def summary(self) -> Summary:
        """The smallest and largest value and the sum of each row, from one read of the map."""
        groups = self.groups(np.ones((self.batch, self.classes), dtype=bool))
        parts = [Rows(self, group).summarize() for group in groups]
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

    def collect(
        self, groups: list[RowIndex], parts: list[tuple[Array, ...]], width: int
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
        elif isinstance(index[0], int):
            x, valid = self.probs[(*index, *slab)], None
            if self.valid is not None:
                valid = self.valid[(index[0], *slab)]
            x = np.ascontiguousarray(x)
        else:
            x = xp.stack([self.probs[(b, c, *slab)] for b, c in zip(*index, strict=True)])
            valid = None if self.valid is None else self.valid[(index[0], *slab)]
        x = arrays.widen(xp, x)
        if valid is not None:
            x = xp.where(valid, x, xp.zeros((), dtype=self.dtype, device=device(x)))
        return xp.clip(x, 0.0, 1.0) if self.clip else x

    def broadcast(self, values: Array) -> Array:
        """Return one value a row in the map's dtype, shaped to meet blocks of these rows."""
        values = self.xp.asarray(values, dtype=self.dtype, device=device(self.probs))
        return self.xp.reshape(values, (*values.shape, *[1] * len(self.spatial)))

    def round(self, values: Array) -> Array:
        """Round to the precision in which the map's values are compared."""
        if self.kind == "traced":
            return values
        return values if self.dtype == self.xp.float64 else np.float32(values).astype(float)


class Rows:
    """Some rows of a map, and the two questions that a solver asks of them."""

    def __init__(self, source: ProbabilityMap, index: RowIndex, scale: float = 1.0) -> None:
        self.source, self.index, self.scale = source, index, scale
        self.ndim = len(source.spatial)
        split = self.source.kind == "host" and source.pixels > source.block
        self.slabs = list(arrays.slabs(source.spatial, source.block)) if split else [()]
        keep = not split or source.reads_views
        self._blocks = [source.read(index, slab) for slab in self.slabs] if keep else None

    def blocks(self) -> Iterable[Array]:
        """Read the rows slab by slab."""
        return self._blocks or (self.source.read(self.index, slab) for slab in self.slabs)

    def summarize(self) -> tuple[Array, ...]:
        """Return smallest value, largest value and sum of each row, in one pass."""
        xp, ndim = self.source.xp, self.ndim
        lows, highs, sums = [], [], []
        for x in self.blocks():
            axes = tuple(range(x.ndim - ndim, x.ndim))
            lows.append(xp.min(x, axis=axes))
            highs.append(xp.max(x, axis=axes))
            sums.append(arrays.total(xp, x, ndim))
        if len(sums) == 1:
            return arrays.read_values(lows[0], highs[0], sums[0])
        return np.min(lows, axis=0), np.max(highs, axis=0), np.sum(sums, axis=0)

    def masks(self, threshold: Array) -> Iterator[Array]:
        """Yield the mask ``p > threshold`` of each slab."""
        for x in self.blocks():
            yield self._compare(x, threshold)

    def above(self, threshold: Array) -> tuple[Array, Callable[[], Array]]:
        """Count the pixels above each row's threshold, and offer to sum them.

        On the host the sum costs more than the count; on a lazy array it comes with the count.
        """
        masks = list(self.masks(threshold))
        if self.source.kind == "lazy":
            size, overlap = arrays.read_values(self._count(masks), self._sum(masks))
            return self.scale * size, lambda: self.scale * overlap
        (size,) = arrays.read_values(self._count(masks))
        return self.scale * size, lambda: self.scale * arrays.read_values(self._sum(masks))[0]

    def above_each(self, thresholds: list[Array]) -> list[tuple[Array, Array]]:
        """Count and sum the pixels above each of several thresholds, read together."""
        results = []
        for threshold in thresholds:
            masks = list(self.masks(threshold))
            results += [self._count(masks), self._sum(masks)]
        results = arrays.read_values(*results)
        return list(zip(results[::2], results[1::2], strict=True))

    def between(self, low: Array, high: Array) -> tuple[np.ndarray, np.ndarray]:
        """Return the pixels with low < p <= high: the number of each one's row, and its value."""
        xp = self.source.xp
        numbers, values = [], []
        for x in self.blocks():
            inside = self._compare(x, low) & ~self._compare(x, high)
            where = xp.nonzero(xp.reshape(inside, (-1,)))[0]
            found = xp.take(xp.reshape(x, (-1,)), where)
            where, found = arrays.read_values(where, found)
            numbers.append(where // prod(x.shape[-self.ndim :]))
            values.append(found)
        return np.concatenate(numbers), np.concatenate(values).astype(float)

    def _count(self, masks: list[Array]) -> Array:
        return sum(arrays.count(self.source.xp, mask, self.ndim) for mask in masks)

    def _sum(self, masks: list[Array]) -> Array:
        pairs = zip(self.blocks(), masks, strict=True)
        return sum(arrays.total(self.source.xp, x, self.ndim, mask) for x, mask in pairs)

    def _compare(self, x: Array, threshold: Array) -> Array:
        if x.ndim == self.ndim:  # one row: a Python scalar has the precision of the array
            return x > float(threshold)
        return x > self.source.broadcast(threshold)
