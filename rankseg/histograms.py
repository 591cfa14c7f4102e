"""Values in bins of their exponent and mantissa, the same in every library, and tables over these.

Counts and sums are of integers. Of a lazy array each chunk is counted by itself, in NumPy.
"""

from math import prod
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import is_dask_array, is_numpy_array

from . import arrays
from .arrays import Array, Namespace, device


class Binning(NamedTuple):
    """Bins by the exponent and the first `mantissa` bits of the mantissa, of 2^-octaves to 1.

    The first bin is for what is smaller, the last for 1; the next `fraction` bits of the mantissa
    tell where in a bin a value lies.
    """

    octaves: int
    mantissa: int
    fraction: int

    @property
    def bins(self) -> int:
        """Return how many there are."""
        return (self.octaves << self.mantissa) + 2

    @property
    def edges(self) -> np.ndarray:
        """Return the lowest value of each bin, exact in float32."""
        steps = 1 + np.arange(2**self.mantissa) / 2**self.mantissa
        octaves = 2.0 ** np.arange(-self.octaves, 0)
        return np.concatenate([[0.0], (octaves[:, None] * steps).reshape(-1), [1.0]])


def bins_of(
    xp: Namespace, x: Array, binning: Binning, fine: bool = False
) -> tuple[Array, Array | None]:
    """Return the bin of each float32 or float64 value in [0, 1], and where in it as an integer.

    In units of 2^-fraction of the bin's width, or None. A logarithm would differ between libraries.
    """
    if is_dask_array(x):
        return _bins_of_chunks(x, binning, fine)
    octaves, mantissa, fraction = binning
    bits = arrays.bits_of(xp, x)
    if bits is None:
        return _compared_bins(xp, x, binning)
    stored, bias = (23, 127) if x.dtype == xp.float32 else (52, 1023)
    first = ((bias - octaves) << mantissa) - 1
    index = arrays.clip(xp, (bits >> (stored - mantissa)) - first, 0, binning.bins - 1)
    if not fine:
        return index, None
    return index, (bits >> (stored - mantissa - fraction)) & ((1 << fraction) - 1)


def _bins_of_chunks(x: Array, binning: Binning, fine: bool) -> tuple[Array, Array | None]:
    def of(part: int) -> Array:
        def work(block: np.ndarray) -> np.ndarray:
            found = bins_of(arrays.numpy_namespace(), block, binning, fine)
            return np.asarray(found[part], np.int64)

        return x.map_blocks(work, dtype=np.int64)

    return of(0), of(1) if fine else None


def _compared_bins(xp: Namespace, x: Array, binning: Binning) -> tuple[Array, Array]:
    # Where bits cannot be seen: differences and quotients by powers of two are exact.
    edges = xp.asarray(binning.edges, dtype=x.dtype, device=device(x))
    flat = xp.reshape(x, (-1,))
    index = xp.searchsorted(edges, flat, side="right") - 1
    low = xp.take(edges, index)
    high = xp.take(edges, xp.clip(index + 1, max=len(binning.edges) - 1))
    width = xp.where(high > low, high - low, xp.ones_like(low))
    rest = xp.astype(xp.floor((flat - low) / width * 2**binning.fraction), xp.int64)
    return xp.reshape(index, x.shape), xp.reshape(rest, x.shape)


def histogram(
    xp: Namespace, x: Array, ndim: int, binning: Binning, fine: bool = False
) -> tuple[Array, Array | None]:
    """Count the values of the last `ndim` axes in bins, and sum up where in these they lie.

    In units of 2^-fraction of the width; that is None unless `fine`. Both are integers, so that
    every library has the same.
    """
    if is_dask_array(x):
        return _histogram_of_chunks(x, ndim, binning, fine)
    lead = x.shape[: x.ndim - ndim]
    if is_numpy_array(x) and not lead and x.dtype == np.float32 and binning.fraction <= 3:
        return _histogram_of_row(x, binning)
    index, rest = bins_of(xp, x, binning, fine)
    rows = prod(lead)
    length = rows * binning.bins
    shape = (*lead, binning.bins)
    offset = xp.arange(rows, dtype=index.dtype, device=device(x)) * binning.bins
    index = xp.reshape(xp.reshape(index, (rows, -1)) + xp.reshape(offset, (-1, 1)), (-1,))
    counts = xp.reshape(arrays.sums_by_index(xp, index, length, None), shape)
    if not fine:
        return counts, None
    sums = arrays.sums_by_index(xp, index, length, xp.reshape(rest, (-1,)))
    return counts, xp.reshape(sums, shape)


def _histogram_of_chunks(
    x: Array, ndim: int, binning: Binning, fine: bool
) -> tuple[Array, Array | None]:
    def of(block: np.ndarray, part: int) -> np.ndarray:
        result = histogram(arrays.numpy_namespace(), block, ndim, binning, fine)[part]
        assert result is not None
        lead = block.shape[: block.ndim - ndim]
        return result.reshape(*lead, *[1] * ndim, binning.bins).astype(np.int64)

    lead = x.ndim - ndim
    chunks = (
        *x.chunks[:lead],
        *((1,) * len(sizes) for sizes in x.chunks[lead:]),
        (binning.bins,),
    )
    axes = tuple(range(lead, x.ndim))
    parts = [
        x.map_blocks(of, part=part, chunks=chunks, new_axis=x.ndim, dtype=np.int64).sum(axis=axes)
        for part in range(1 + fine)
    ]
    return parts[0], parts[1] if fine else None


def _histogram_of_row(x: np.ndarray, binning: Binning) -> tuple[np.ndarray, np.ndarray]:
    # The upper bits count as they are, those of the fraction too: a third of the time of weights.
    bits = binning.mantissa + binning.fraction
    upper = np.ascontiguousarray(x).reshape(-1).view(np.uint32) >> (23 - bits)
    last = 127 << bits
    counts = np.bincount(upper, minlength=last + 1)
    first = last - (binning.octaves << bits)
    inner = counts[first:last].reshape(-1, 1 << binning.fraction)
    sizes, sums = np.zeros((2, binning.bins), np.int64)
    sizes[1:-1] = inner.sum(axis=1)
    sums[1:-1] = inner @ np.arange(1 << binning.fraction)
    sizes[0], sizes[-1] = x.size - sizes.sum() - counts[last], counts[last]
    return sizes, sums


def look_up(xp: Namespace, table: np.ndarray, index: Array, dtype: Any) -> Array:
    """Return values of a table (*row, bin) for the bins of pixels (*row, *spatial)."""
    *lead, bins = table.shape
    rows = xp.arange(prod(lead), dtype=index.dtype, device=device(index)) * bins
    index = index + xp.reshape(rows, (*lead, *[1] * (index.ndim - len(lead))))
    if is_dask_array(index):
        return _look_up_in_chunks(table.astype(dtype).reshape(-1), index)
    values = xp.reshape(xp.asarray(table, dtype=dtype, device=device(index)), (-1,))
    return xp.reshape(xp.take(values, xp.reshape(index, (-1,))), index.shape)


def _look_up_in_chunks(values: np.ndarray, index: Array) -> Array:
    return index.map_blocks(lambda block: values[block], dtype=values.dtype)
