"""The rows of a probability map, for the two ways of working: at once, and in blocks.

Here alone is asked how an array has to be worked on (`arrays.kind_of`). What a solver does to rows
it does through one of these classes, and what differs between them it registers for their types.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from . import arrays
from .arrays import Array
from .chunks import BINNING, Census, Focus
from .held import Held
from .maps import ProbabilityMap
from .passes import FocusedGroup, Group, Row, SmallRows, TracedGroup, WholeGroup
from .peaks import Peaks

Pass: TypeAlias = Callable[[Any], Sequence[Array]]
"""What is done to a group of rows: each result has one value a row."""


class Summary(NamedTuple):
    """What one pass over a map tells of each row: arrays of shape (batch, class)."""

    low: Array
    high: Array
    mass: Array


class Rows:
    """All rows of a map, worked on at once: a few large operations of the array library.

    Small results, of shape (batch, class), are read to the host: `xp` is the namespace of these.
    """

    xp: Any = np
    reads: Literal["now", "later", "never"] = "now"
    """When values are there to be looked at: once opened, once computed, or not at all."""
    fixed_passes: int | None = None
    """How many passes an iteration takes, where that cannot depend on values."""
    counts_together: bool = False
    """Whether one read of the map counts above several thresholds."""

    def __init__(self, source: ProbabilityMap) -> None:
        self.source = source

    @property
    def shape(self) -> tuple[int, int]:
        """Samples and classes."""
        return self.source.batch, self.source.classes

    @property
    def extracts(self) -> bool:
        """Whether pixels can be picked out of the map: not where shapes must be static."""
        return self.reads == "now" and arrays.extracts(self.source.probs)

    @cached_property
    def summary(self) -> Summary:
        """The smallest and largest value and the sum of each row, from one read of the map."""
        with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity are looked for here
            return Summary(*self.each(lambda group: group.summarize(), width=3))

    def clipped(self) -> "Rows":
        """Return the rows with values clipped to [0, 1]."""
        return rows_of(self.source.clipped())

    def each(self, work: Pass, width: int, wanted: Array = True, scale: float = 1.0) -> list[Array]:
        """Work on groups of the wanted rows, or on more of them.

        Returns `width` results a row, in arrays of shape (batch, class).
        """
        return list(work(WholeGroup(self.source, ..., scale)))

    def sample(self, longest: int, pixels: int) -> "tuple[Rows, float]":
        """Thin rows to this many pixels, about, by a stride that is not longer than that.

        Returns the thinned rows, or these where the stride would be 1, and how many pixels of the
        map each of theirs stands for.
        """
        source = self.source
        stride = min(longest, int((source.pixels / pixels) ** (1 / len(source.spatial))))
        if stride < 2:
            return self, 1.0
        thin = source.thinned(stride)
        return rows_of(thin.on_host()), source.pixels / thin.pixels  # few pixels: read once

    def round(self, threshold: Array) -> Array:
        """Round a threshold down to the map's dtype, which leaves ``p > threshold`` as it is."""
        return self.source.round(threshold)

    def host_row(self, index: tuple[int, int]) -> Row:
        """Return one row in NumPy, copied there."""
        # As it is read there: a threshold is a value of the row, to the last bit.
        (values,) = arrays.read_values(self.source.row_map(*index).read(...))
        return BlockRows(ProbabilityMap(values)).host_row((0, 0))

    def require_values(self, what: str, instead: str) -> None:
        """Refuse what cannot be traced."""


UNDECIDED = 2**26
"""Most elements of undecided pixels that are kept: 256 MB of float32, 13 million of 5 classes."""


class LazyRows(Rows):
    """Rows of a lazy array: each pass is one read of the data.

    Three suffice: `census`, after which a threshold is known to a bin; `focus`, which counts and
    sums all pixels but those in the bin, and returns these; and the labels.
    """

    reads = "later"

    def __init__(self, source: ProbabilityMap) -> None:
        super().__init__(source)
        self.focus: Focus | None = None

    @cached_property
    def census(self) -> Census:
        """The ranges, sums and histograms of each row, from one read of the map."""
        return Census.of(self.source)

    @cached_property
    def summary(self) -> Summary:
        """What the census says."""
        return Summary(self.census.low, self.census.high, self.census.mass)

    def clipped(self) -> "LazyRows":
        """Return the rows with values clipped to [0, 1], not read again."""
        rows = LazyRows(self.source.clipped())
        rows.census = self.census.clipped()
        return rows

    def focus_between(self, low: np.ndarray, high: np.ndarray, active: np.ndarray) -> Focus | None:
        """Read the map once, for thresholds of the active rows between two bounds.

        None, and no read, if more pixels than can be kept lie there.
        """
        edges = BINNING.edges
        first = np.searchsorted(edges, low, side="right") - 1
        last = np.searchsorted(edges, high, side="right")
        below = np.concatenate([np.zeros((*low.shape, 1)), self.census.counts.cumsum(axis=-1)], -1)
        counts = np.diff(np.take_along_axis(below, np.stack([first, last], -1), axis=-1))[..., 0]
        if counts[active].sum() * self.source.classes > UNDECIDED:
            return None
        low, high = (
            np.where(active, self.source.round(part), np.inf).astype(float) for part in (low, high)
        )
        self.focus = Focus.of(self.source, low, high)
        return self.focus


class TracedRows(Rows):
    """Rows inside ``jax.jit``, ``torch.compile`` or ``torch.export``: no values, fixed steps.

    Values outside [0, 1] are clipped, as they cannot be checked.
    """

    reads = "never"
    fixed_passes = 5  # real maps need 2; of 18,000 hard rows one is wrong, with 4 eight

    def __init__(self, source: ProbabilityMap) -> None:
        super().__init__(source.clipped())
        self.xp = source.xp
        self.counts_together = arrays.fuses(source.probs)

    def each(self, work: Pass, width: int, wanted: Array = True, scale: float = 1.0) -> list[Array]:
        """Work on every row."""
        group = TracedGroup if self.counts_together else Group
        return list(work(group(self.source, ..., scale)))

    def sample(self, longest: int, pixels: int) -> tuple[Rows, float]:
        """Thin rows by the longest stride: sizes may be symbols, which decide nothing."""
        thin = self.source.thinned(longest)
        rows = TracedRows(thin)
        if rows.counts_together:
            rows.fixed_passes = 2  # a bracket is as good behind a guess of 3 passes as of 6
        return rows, longest ** len(thin.spatial)

    def round(self, threshold: Array) -> Array:
        """Return the threshold, which has the map's dtype already."""
        return threshold

    def require_values(self, what: str, instead: str) -> None:
        """Refuse what cannot be traced.

        Raises
        ------
        NotImplementedError
            Always.
        """
        raise NotImplementedError(f"{what} needs values, not a trace: use {instead}")


class BlockRows(Rows):
    """Rows on the host, read in blocks that stay in cache."""

    def __init__(self, source: ProbabilityMap, block: int = arrays.BLOCK) -> None:
        super().__init__(source)
        self.block = block
        self.held = Held(source)
        self.peaks = Peaks(self.shape, source.spatial, block)

    def each(self, work: Pass, width: int, wanted: Array = True, scale: float = 1.0) -> list[Array]:
        """Work on one wanted row after the other, or several that fit a block; zero elsewhere."""
        columns = [np.zeros(self.shape) for _ in range(width)]
        for group in self._groups(wanted, scale):
            for column, values in zip(columns, work(group), strict=True):
                column[group.index] = values
        return columns

    def _groups(self, wanted: Array, scale: float) -> Iterator[Group]:
        # One at a time: a group keeps the values that it has read.
        samples, classes = np.nonzero(np.broadcast_to(wanted, self.shape))
        step = self.block // self.source.pixels
        if step < 2:
            for index in zip(samples.tolist(), classes.tolist(), strict=True):
                yield Row(self.held, index, self.peaks, scale)
            return
        for i in range(0, len(samples), step):
            rows = (samples[i : i + step], classes[i : i + step])
            yield SmallRows(self.source, rows, scale)

    def host_row(self, index: tuple[int, int]) -> Row:
        """Return one row."""
        return Row(self.held, index, self.peaks)


class FocusedRows(Rows):
    """Rows of which few pixels are undecided, all of them on the host: nothing is read any more.

    Thresholds that are asked about lie between the bounds of the focus.
    """

    extracts = True

    def __init__(self, source: ProbabilityMap, focus: Focus) -> None:
        super().__init__(source)
        self.focus = focus

    def each(self, work: Pass, width: int, wanted: Array = True, scale: float = 1.0) -> list[Array]:
        """Work on all rows."""
        return list(work(FocusedGroup(self.source, self.focus)))


_WAYS = {"host": BlockRows, "device": Rows, "lazy": LazyRows, "traced": TracedRows}


def rows_of(source: ProbabilityMap) -> Rows:
    """Return the rows of a map, to be worked on as its kind of array has to be."""
    return _WAYS[arrays.kind_of(source.probs)](source)
