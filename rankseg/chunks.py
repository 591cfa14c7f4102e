"""What is done to single chunks of a lazy array, in NumPy, and how their results come together.

Each chunk holds all classes of its pixels, as (batch, class, *spatial), and is worked on in parts
that stay in cache: so it needs little memory beside itself, on each of the threads or machines
that work at once.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from . import arrays, histograms
from .arrays import Array
from .histograms import Binning
from .maps import ProbabilityMap

BINNING = Binning(octaves=20, mantissa=9, fraction=0)
"""Bins that are at most 0.2 % wide: a threshold is known to some five of these from one read.

82 kB a row and chunk; what is below 1e-6 is not told apart.
"""


@dataclass(frozen=True)
class Census:
    """What one read of a lazy map tells of each row.

    The extremes are those of the values as they are; mass, (batch, class), and counts in the bins
    of `BINNING`, (batch, class, bins), of the values clipped to [0, 1].
    """

    low: np.ndarray
    high: np.ndarray
    mass: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, source: ProbabilityMap) -> "Census":
        """Read a map once."""
        x = source.read(...)
        width = 3 + BINNING.bins
        chunks = (*x.chunks[:2], *((1,) * len(sizes) for sizes in x.chunks[2:]), (width,))
        parts = x.map_blocks(
            _census_of, chunks=chunks, new_axis=x.ndim, meta=np.zeros([0] * (x.ndim + 1))
        )
        spatial = tuple(range(2, parts.ndim - 1))
        low, high, sums = arrays.read_values(
            parts[..., 0].min(axis=spatial),
            parts[..., 1].max(axis=spatial),
            parts[..., 2:].sum(axis=spatial),
        )
        return cls(low, high, sums[..., 0], sums[..., 1:])

    def clipped(self) -> "Census":
        """Return the same of the values clipped to [0, 1]."""
        return Census(np.maximum(self.low, 0), np.minimum(self.high, 1), self.mass, self.counts)


def _census_of(chunk: np.ndarray) -> np.ndarray:
    ndim = chunk.ndim - 2
    result = np.zeros((*chunk.shape[:2], 3 + BINNING.bins))
    result[..., 0], result[..., 1] = np.inf, -np.inf
    for index in np.ndindex(*chunk.shape[:2]):
        row, found = chunk[index], result[index]
        for slab in arrays.slabs(row.shape, arrays.BLOCK):
            x = row[slab]
            found[0], found[1] = np.minimum(found[0], x.min()), np.maximum(found[1], x.max())
            x = np.clip(x, 0, 1)
            found[2] += arrays.total(np, x, ndim)
            single = x.astype(np.float32, copy=False)
            with np.errstate(invalid="ignore"):  # NaN is looked for in the extremes
                xp = arrays.numpy_namespace()
                found[3:] += histograms.histogram(xp, single, ndim, BINNING)[0]
    return result.reshape(*chunk.shape[:2], *[1] * ndim, -1)


@dataclass(frozen=True)
class Focus:
    """A map seen by one read, where all but few pixels are decided before.

    A pixel is undecided if one of its classes has low < p <= high. Of shape (batch, class) are the
    bounds; the number and the sum of the pixels above `high`; and of the decided pixels the number
    and the sum of those that no other class has.

    Attributes
    ----------
    samples : int array, shape (pixels,)
        Samples of the undecided pixels.
    pixels : array, shape (pixels, class)
        Their probabilities.
    """

    low: np.ndarray
    high: np.ndarray
    size: np.ndarray
    overlap: np.ndarray
    alone_size: np.ndarray
    alone_overlap: np.ndarray
    samples: np.ndarray
    pixels: np.ndarray

    @classmethod
    def of(cls, source: ProbabilityMap, low: np.ndarray, high: np.ndarray) -> "Focus":
        """Read a map once, with bounds in its precision; infinity where a row has no mask."""
        lazy = _map_pixels(_look_at, source, (low, high), np.dtype(object))
        (found,) = arrays.read_values(lazy)
        starts = np.cumsum([0, *source.probs.chunks[0][:-1]])
        sums = np.zeros((4, *low.shape))
        samples, pixels = [np.zeros(0, int)], [np.zeros((0, low.shape[1]))]
        for place, (part, numbers, values) in zip(np.ndindex(found.shape), found.flat, strict=True):
            first = starts[place[0]]
            sums[:, first : first + part.shape[1]] += part
            samples.append(first + numbers)
            pixels.append(values)
        size, overlap, *alone = sums
        together = np.concatenate(samples), np.concatenate(pixels)
        return cls(low, high, size, overlap, alone[0], alone[1], *together)

    @cached_property
    def rows(self) -> dict[tuple[int, int], tuple[np.ndarray, np.ndarray]]:
        """The undecided values of each row that has some, sorted, and their sums from the end."""
        result = {}
        for b, c in zip(*np.nonzero(self.low < np.inf), strict=True):
            values = self.pixels[self.samples == b, c].astype(float)
            values = np.sort(values[(values > self.low[b, c]) & (values <= self.high[b, c])])
            sums = np.append(np.cumsum(values[::-1])[::-1], 0.0)
            result[int(b), int(c)] = values, sums
        return result

    def above(self, threshold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Count and sum the pixels above thresholds between the bounds."""
        size, overlap = self.size.copy(), self.overlap.copy()
        for index, (values, sums) in self.rows.items():
            first = np.searchsorted(values, threshold[index], side="right")
            size[index] += len(values) - first
            overlap[index] += sums[first]
        return size, overlap

    def between(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the pixels with low < p <= high: the number of each one's row, and its value."""
        numbers, found = [np.zeros(0, dtype=int)], [np.zeros(0)]
        for (b, c), (values, _) in self.rows.items():
            chosen = values[(values > low[b, c]) & (values <= high[b, c])]
            numbers.append(np.full(len(chosen), b * low.shape[1] + c))
            found.append(chosen)
        return np.concatenate(numbers), np.concatenate(found)

    def covers(self, threshold: np.ndarray) -> bool:
        """Tell whether thresholds lie between the bounds, so that all pixels are decided."""
        inside = (threshold >= self.low) & (threshold <= self.high)
        return bool(np.all(inside | ((threshold == np.inf) & (self.low == np.inf))))

    def alone(self, threshold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Count and sum the pixels that each class alone selects with these thresholds."""
        size, overlap = self.alone_size.copy(), self.alone_overlap.copy()
        for b in range(len(size)):
            p = self.pixels[self.samples == b]
            mask = _alone(p > threshold[b])
            size[b] += np.count_nonzero(mask, axis=0)
            overlap[b] += np.sum(p, axis=0, where=mask, dtype=float)
        return size, overlap


def _look_at(chunk: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    classes = chunk.shape[1]
    sums = np.zeros((4, *chunk.shape[:2]))
    samples, pixels = [], []
    for b, p in _parts(chunk):
        upper, lower = (part[b].reshape(-1, 1) for part in (high, low))
        above = p > upper
        undecided = ((p > lower) & ~above).any(axis=0)
        alone = _alone(above.T).T & ~undecided
        for i, mask in ((0, above), (2, alone)):
            sums[i, b] += arrays.count(np, mask, 1)
            sums[i + 1, b] += arrays.total(np, p, 1, mask)
        samples.append(np.full(np.count_nonzero(undecided), b))
        pixels.append(p[:, undecided].T)
    result = np.empty([1] * (chunk.ndim - 1), dtype=object)
    values = np.concatenate(pixels) if pixels else np.zeros((0, classes), chunk.dtype)
    result.flat[0] = (sums, np.concatenate(samples), values)
    return result


def _alone(masks: np.ndarray) -> np.ndarray:
    """Return where a pixel's only class is, of bool (pixels, class)."""
    return masks & (masks.sum(axis=1, keepdims=True, dtype=np.int32) == 1)


def label_chunks(
    source: ProbabilityMap, work: Callable[..., np.ndarray], *values: np.ndarray
) -> Array:
    """Return lazy labels (batch, *spatial) in the spatial chunks of a map.

    `work` takes probabilities (class, pixels) and, for their sample, values of shape (class, 1).
    """
    return _map_pixels(partial(_label, work), source, values, np.dtype(np.int64))


def _label(work: Callable[..., np.ndarray], chunk: np.ndarray, *values: np.ndarray) -> np.ndarray:
    parts = [work(p, *(part[b].reshape(-1, 1) for part in values)) for b, p in _parts(chunk)]
    return np.concatenate(parts).astype(np.int64).reshape(len(chunk), *chunk.shape[2:])


def _map_pixels(
    work: Callable[..., np.ndarray],
    source: ProbabilityMap,
    values: tuple[np.ndarray, ...],
    dtype: np.dtype,
) -> Array:
    """Map chunks of a map, with all classes, to one array (batch, *spatial), or object, each."""
    da = sys.modules["dask.array"]
    x = source.read(...).rechunk({1: -1})
    chunks = (x.chunks[0], x.chunks[1], *[1] * (x.ndim - 2))
    small = [
        da.from_array(part.astype(x.dtype).reshape(*part.shape, *[1] * (x.ndim - 2)), chunks=chunks)
        for part in values
    ]
    sizes = (x.chunks[0], *x.chunks[2:])
    if dtype.hasobject:
        sizes = tuple((1,) * len(part) for part in sizes)
    meta = np.zeros([0] * (x.ndim - 1), dtype)
    return da.map_blocks(work, x, *small, chunks=sizes, drop_axis=1, meta=meta)


def _parts(chunk: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Return the number of a sample in the chunk, and probabilities (class, pixels), in order."""
    step = max(1, arrays.BLOCK // chunk.shape[1])
    for b, sample in enumerate(chunk):
        for slab in arrays.slabs(sample.shape[1:], step):
            yield b, sample[(slice(None), *slab)].reshape(chunk.shape[1], -1)
