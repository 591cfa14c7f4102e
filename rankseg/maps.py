"""Probability maps: how their values are read, for every array library."""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from math import prod
from types import EllipsisType
from typing import Any, TypeAlias

import numpy as np
from array_api_compat import array_namespace

from . import arrays
from .arrays import Array, Slab, device
from .correction import Correction, log_total

RowIndex: TypeAlias = tuple[int, int] | tuple[np.ndarray, np.ndarray] | EllipsisType
"""Sample and class of one row, samples and classes of several in order, or ``...`` for every row.

What is said of these rows has shape (), (rows,) or (batch, class).
"""


class ProbabilityMap:
    """Probabilities of shape (batch, class, *spatial), where one row is one (sample, class) pair.

    Values come in float32 or float64: corrected by a calibration, or clipped to [0, 1] where
    `clip` is set, and with pixels outside `valid` at zero. The map itself is never copied.
    """

    def __init__(
        self,
        probs: Array,
        valid: Array | None = None,
        clip: bool = False,
        correction: Correction | None = None,
        log_total: Array | None = None,
    ) -> None:
        self.probs, self.valid, self.clip = probs, valid, clip
        self.correction, self.log_total = correction, log_total
        self.xp = array_namespace(probs)
        self.dtype = arrays.wide_dtype(self.xp, probs.dtype)
        self.batch, self.classes, *self.spatial = probs.shape
        self.pixels = prod(self.spatial)

    @cached_property
    def is_double(self) -> bool:
        """Whether values come in float64."""
        return bool(self.dtype == self.xp.float64)

    @cached_property
    def reads_views(self) -> bool:
        """Whether a block of one row on the host is a view of the map, with values as stored."""
        stored = bool(self.probs.dtype == self.dtype) and not self.clip
        plain = stored and self.valid is None and self.correction is None
        return plain and bool(self.probs[0, 0].flags.c_contiguous)

    def clipped(self) -> "ProbabilityMap":
        """Return the map with values clipped to [0, 1]."""
        return ProbabilityMap(self.probs, self.valid, True, self.correction, self.log_total)

    def with_all_pixels(self) -> "ProbabilityMap":
        """Return the map without `valid`."""
        return ProbabilityMap(self.probs, None, self.clip, self.correction, self.log_total)

    def corrected(self, correction: Correction) -> "ProbabilityMap":
        """Return the map with values corrected as they are read.

        Of the softmax over classes it holds one number a pixel, the logarithm of the sum.
        """
        correction = correction.of_classes(self.classes)
        result = ProbabilityMap(self.probs, self.valid, self.clip, correction)
        if correction.joint:
            result.log_total = arrays.in_slabs(
                result._log_total, (self.batch, *self.spatial), self.classes, like=self.probs
            )
        return result

    def _log_total(self, slab: Slab) -> Array:
        samples, *spatial = slab or (slice(None),)
        p = arrays.widen(self.xp, self.probs[(samples, slice(None), *spatial, ...)])
        return log_total(self.xp, self._scores(p, ...))

    def _scores(self, p: Array, index: Any) -> Array:
        assert self.correction is not None
        scale: Any = self.correction.scale
        bias: Any = self.correction.bias
        if index is ...:
            scale, bias = map(self.broadcast, arrays.bring(self.probs, scale[None], bias[None]))
        elif isinstance(index[1], int):
            scale, bias = float(scale[index[1]]), float(bias[index[1]])
        else:
            scale, bias = self.broadcast(scale[index[1]]), self.broadcast(bias[index[1]])
        return self.correction.scores(self.xp, p, scale, bias)

    def thinned(self, stride: int) -> "ProbabilityMap":
        """Return the map of every `stride`-th pixel along each spatial axis."""
        every = (..., *[slice(None, None, stride)] * len(self.spatial))
        return self._with(lambda part: part[every])

    def of_samples(self, samples: slice) -> "ProbabilityMap":
        """Return the map of some samples."""
        return self._with(lambda part: part[samples, ...])

    def row_map(self, b: int, c: int) -> "ProbabilityMap":
        """Return the map of one row."""
        return self._of_class(slice(b, b + 1), c)

    def class_map(self, c: int) -> "ProbabilityMap":
        """Return the map of one class."""
        return self._of_class(slice(None), c)

    def _of_class(self, samples: slice, c: int) -> "ProbabilityMap":
        correction = self.correction
        if correction is not None:
            scale, bias = correction.scale[c : c + 1], correction.bias[c : c + 1]
            correction = replace(correction, scale=scale, bias=bias)
        valid, log_total = (
            None if part is None else part[samples, ...] for part in (self.valid, self.log_total)
        )
        probs = self.probs[samples, c : c + 1, ...]
        return ProbabilityMap(probs, valid, self.clip, correction, log_total)

    def _with(self, change: Callable[[Array], Array]) -> "ProbabilityMap":
        """Return the map with its arrays changed."""
        valid, log_total = (
            None if part is None else change(part) for part in (self.valid, self.log_total)
        )
        return ProbabilityMap(change(self.probs), valid, self.clip, self.correction, log_total)

    def on_host(self) -> "ProbabilityMap":
        """Return the map copied to NumPy."""
        return self._with(lambda part: arrays.read_values(part)[0])

    def read(self, index: RowIndex, slab: Slab = ()) -> Array:
        """Read one slab of some rows: their shape, as `RowIndex` says, and the slab's."""
        xp = self.xp
        pixels: Any
        if index is ...:
            x, pixels = self.probs, (slice(None), None, ...)
        elif isinstance(index[0], int):
            x, pixels = np.ascontiguousarray(self.probs[(*index, *slab)]), (index[0], *slab)
            if self.reads_views:
                return x
        else:
            x, pixels = self._rows(*index)[(slice(None), *slab)], (index[0], *slab)
        x = self._finished(arrays.widen(xp, x), index, lambda part: part[pixels])
        if self.valid is None:
            return x
        return xp.where(self.valid[pixels], x, xp.zeros((), dtype=self.dtype, device=device(x)))

    def _rows(self, samples: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Return rows of a map on the host as stored: a view, if they follow each other there."""
        first, last = (int(samples[i]) * self.classes + int(classes[i]) for i in (0, -1))
        if last - first < len(samples) and self.probs.flags.c_contiguous:
            return self.probs.reshape(-1, *self.spatial)[first : last + 1]
        return self.probs[samples, classes]

    def pick(self, index: tuple[int | slice, int], slab: Slab, pixels: np.ndarray) -> np.ndarray:
        """Read single pixels, by flat number, of a slab of rows of one class on the host.

        Valid or not.
        """

        def picked(part: np.ndarray) -> np.ndarray:
            if part.flags.c_contiguous:
                return np.take(part.reshape(-1), pixels)
            if part.ndim > 1 and part[0].flags.c_contiguous:  # rows of several samples
                return part.reshape(len(part), -1)[divmod(pixels, part[0].size)]
            return part[np.unravel_index(pixels, part.shape)]

        x = arrays.widen(self.xp, picked(self.probs[(*index, *slab)]))
        return self._finished(x, index, lambda part: picked(part[(index[0], *slab)]))

    def _finished(self, x: Array, index: Any, at: Callable[[Array], Array]) -> Array:
        """Clip or correct values of rows; `at` picks their pixels out of (batch, *spatial)."""
        if self.correction is not None:
            total = None if self.log_total is None else at(self.log_total)
            return self.correction.apply(self.xp, self._scores(x, index), total)
        return arrays.clip(self.xp, x, 0.0, 1.0) if self.clip else x

    def broadcast(self, values: Array) -> Array:
        """Return one value a row in the map's dtype, shaped to meet blocks of these rows."""
        (values,) = arrays.bring(self.probs, values)
        values = self.xp.asarray(values, dtype=self.dtype)
        return self.xp.reshape(values, (*values.shape, *[1] * len(self.spatial)))

    def round(self, values: Array) -> Array:
        """Round down to the map's dtype, which leaves ``p > value`` as it is."""
        if self.is_double:
            return values
        nearest = np.float32(values)
        if isinstance(values, float):  # one row
            return float(nearest if nearest <= values else np.nextafter(nearest, np.float32(0)))
        excess = (nearest > values) * (nearest - np.nextafter(nearest, np.float32(0)))
        return (nearest - excess).astype(float)
