"""An index of maxima: which lines of a row may hold values above a threshold."""

from collections.abc import Sequence
from math import ceil, prod

import numpy as np

from . import arrays
from .arrays import Slab

BANDS = 16
"""Bands of lines that a slab is divided into: 3.5 ms for a real map, with 4 3.8, with 1 4.4."""


class Peaks:
    """The largest value of each band of lines of each row.

    Lines run along the first spatial axis. What is not recorded is infinite, so that the lines
    are read.
    """

    def __init__(self, rows: tuple[int, int], spatial: Sequence[int], block: int) -> None:
        self.block = block
        self.slabs: list[Slab] = list(arrays.slabs(spatial, block))
        self.starts = []  # of the bands of each slab, in lines of the slab
        edges = []
        for lines, *_ in self.slabs:
            size = lines.stop - lines.start
            self.starts.append(np.arange(0, size, ceil(size / BANDS)))
            edges.append(lines.start + self.starts[-1])
        self.edges = np.concatenate([*edges, [spatial[0]]])
        self.values = np.full((*rows, len(self.edges) - 1), np.inf)

    @staticmethod
    def of_slab(x: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Return the largest value of each band of a slab."""
        return np.maximum.reduceat(x.reshape(-1), starts * prod(x.shape[1:]))

    def lines_above(self, index: tuple[int, int], threshold: float) -> tuple[int, int]:
        """Return the first and the last but one line of a row that may have larger values."""
        (bands,) = (self.values[index] > threshold).nonzero()
        if not len(bands):
            return 0, 0
        return int(self.edges[bands[0]]), int(self.edges[bands[-1] + 1])
