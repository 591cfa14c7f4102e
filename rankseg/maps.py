"""Probability maps: where their rows are, and how their blocks are read."""

from collections.abc import Sequence
from functools import cached_property
from math import ceil, prod
from types import EllipsisType
from typing import NamedTuple, TypeAlias

import numpy as np
from array_api_compat import array_namespace, device

from . import arrays
from .arrays import Array, Slab
from .rows import Row, Rows

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
        groups = self.groups()
        with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity are looked for here
            parts = [self.rows(group).summarize() for group in groups]
        return Summary(*self.collect(groups, parts, width=3))

    def groups(self, wanted: Array = True) -> list[RowIndex]:
        """Split the wanted rows into groups to work on together: every row, if not on the host."""
        if self.kind != "host":
            return [...]
        samples, classes = np.nonzero(np.broadcast_to(wanted, (self.batch, self.classes)))
        step = self.block // self.pixels
        if step < 2:
            return list(zip(samples.tolist(), classes.tolist(), strict=True))
        starts = range(0, len(samples), step)
        return [(samples[i : i + step], classes[i : i + step]) for i in starts]

    def rows(self, index: RowIndex, scale: float = 1.0) -> Rows:
        """Return the rows of one group. Counts and sums over them are multiplied by `scale`."""
        alone = index is not ... and isinstance(index[0], int)
        return (Row if alone else Rows)(self, index, scale)

    def host_row(self, index: tuple[int, int]) -> Row:
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
        return arrays.clip(xp, x, 0.0, 1.0) if self.clip else x

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
    def bands(self) -> tuple[list[tuple[Slab, np.ndarray]], np.ndarray]:
        """The slabs of a row with the first lines of their bands, and the first lines of all bands.

        Lines run along the first spatial axis.
        """
        slabs, edges = [], []
        for slab in arrays.slabs(self.spatial, self.block):
            lines = slab[0].stop - slab[0].start
            starts = np.arange(0, lines, ceil(lines / BANDS))
            slabs.append((slab, starts))
            edges.append(slab[0].start + starts)
        return slabs, np.concatenate([*edges, [self.spatial[0]]])

    @cached_property
    def peaks(self) -> np.ndarray:
        """Largest value of each band of each row, (batch, class, bands); infinity if unknown."""
        return np.full((self.batch, self.classes, len(self.bands[1]) - 1), np.inf)

    def lines_above(self, index: tuple[int, int], threshold: float) -> tuple[int, int]:
        """Return the first and the last but one line of a row that may have larger values."""
        edges = self.bands[1]
        hot = np.flatnonzero(self.peaks[index] > threshold)
        return (int(edges[hot[0]]), int(edges[hot[-1] + 1])) if len(hot) else (0, 0)
