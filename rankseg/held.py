"""Rows on the host that take work to read, kept for the next pass."""

import numpy as np

from .arrays import Slab
from .maps import ProbabilityMap

HELD = 2**21
"""Largest map whose rows are kept: 8 MB of float32, which stay in cache.

Time of a real 11x360x480 map over reading again: classes last 0.76, float16 0.61, `valid` 0.76.
"""


class Held:
    """Reads single rows of a map: as they are, or from a copy with values as they come out."""

    def __init__(self, source: ProbabilityMap) -> None:
        self.source = source
        small = 0 < source.batch * source.classes * source.pixels <= HELD
        self.keeps = small and not source.reads_views
        self.kept: dict[tuple[int, int], np.ndarray] = {}

    def keep(self, index: tuple[int, int]) -> None:
        """Keep a row from now on, if the map is one to be kept."""
        if self.keeps:
            self.kept[index] = self.source.read(index)

    def reads_views(self, index: tuple[int, int]) -> bool:
        """Tell whether a block of this row is a view."""
        return self.source.reads_views or index in self.kept

    def read(self, index: tuple[int, int], slab: Slab) -> np.ndarray:
        """Read one slab of a row, as `ProbabilityMap.read` does."""
        kept = self.kept.get(index)
        return self.source.read(index, slab) if kept is None else kept[slab]

    def pick(self, index: tuple[int, int], slab: Slab, pixels: np.ndarray) -> np.ndarray:
        """Read single pixels, by flat number, of a slab of a row."""
        kept = self.kept.get(index)
        if kept is None:
            return self.source.pick(index, slab, pixels)
        return np.take(kept[slab].reshape(-1), pixels)
