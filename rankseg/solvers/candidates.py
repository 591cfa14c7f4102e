"""The masks of one row whose thresholds lie in an interval."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..arrays import Array


class Masks(NamedTuple):
    """Masks ``p > threshold`` of some rows, with the two sums an objective needs."""

    threshold: Array
    size: Array
    overlap: Array


@dataclass(frozen=True)
class Candidates:
    """Masks of one row by size: the decided pixels, then one more distinct probability each.

    Mask i holds `values[:i]` of the undecided pixels, each of them `counts` times.
    """

    values: np.ndarray
    counts: np.ndarray
    thresholds: np.ndarray
    sizes: np.ndarray
    overlaps: np.ndarray

    @classmethod
    def of(cls, undecided: np.ndarray, low: float, size: float, overlap: float) -> "Candidates":
        """Lay out the masks between `size` pixels of sum `overlap` and all above `low`."""
        values, counts = np.unique(undecided, return_counts=True)
        values, counts = values[::-1].astype(np.float64), counts[::-1]
        sizes, overlaps = np.empty((2, len(values) + 1))
        sizes[0], overlaps[0] = size, overlap
        sizes[1:] = counts
        np.multiply(values, counts, out=overlaps[1:])
        for sums in (sizes, overlaps):
            np.cumsum(sums, out=sums)
        return cls(values, counts, np.append(values, low), sizes, overlaps)

    def __getitem__(self, i: int) -> Masks:
        return Masks(self.thresholds[i], self.sizes[i], self.overlaps[i])

    def between(self, first: int, last: int) -> "Candidates":
        """Return masks `first` to `last`, both included."""
        return Candidates(
            self.values[first:last],
            self.counts[first:last],
            self.thresholds[first : last + 1],
            self.sizes[first : last + 1],
            self.overlaps[first : last + 1],
        )
