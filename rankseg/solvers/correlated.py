r"""RMA for pixels that share a factor: the mean over the factor of RMA's ratio, at its best mask.

Given the factor the pixels of a row are independent (`rankseg.factor`), so for a mask of n pixels

    Dice  F = E [ 2 S(Z) / (mu(Z) + n + 1 + s) + s / (mu(Z) + n + s) ],      IoU likewise,

with S(z) and mu(z) the sums of f(p, z) over the mask and over the row. For each z S(z) is largest
for the n most probable pixels, and F rises with every S(z): the best mask is ``p > t`` again. F has
more than one peak along t, so every threshold counts.

Of a row one histogram is made (`Group.histogram`). F is computed at the edges of cells of `STEP`
bins, and in a cell only where a bound on F inside reaches the best found: with the n pixels above
the cell, of sum S, and D more pixels of sum x, each of which adds at most g = f at the upper end,
D >= x / g. Both ratios are monotone in x along D = x / g, so at each node the bound is the larger
of the two ends. In rows of few pixels a bin is a step that matters: there the bins in which the
same bound reaches the best are settled pixel by pixel, where pixels can be picked out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .. import arrays, factor
from ..arrays import Array
from ..factor import BINS
from ..histograms import Binning
from ..objectives import Objective
from ..passes import Group
from ..rows import Rows
from .assignment import eligible_classes
from .rma import Solution

STEP = 16
"""Bins of a cell, the first stage of the search."""

OCTAVE = 2**factor.BINNING.mantissa // STEP
"""Cells that are looked at together first."""

SMALL = 2**15
"""Most pixels of a row that is settled to the pixel. Edges alone lose 2e-6 of 10^4 pixels and 1e-6
of 10^5; sums of 16-bit fractions fit 32 bits up to here.
"""

CHUNK = 2**18
"""Numbers that one operation of the search touches."""

_OCTAVES = factor.BINNING.octaves + 1  # the last holds the value 1 alone
_CELLS = _OCTAVES * OCTAVE
_PADDING = _CELLS * STEP - (BINS - 1)


@dataclass(frozen=True)
class CorrelatedSolution(Solution):
    """A solution with what labels need: the sums of each row at the nodes of its correlation.

    `inside` and `whole` hold S and mu, arrays of shape (node,), of (batch, class) rows. `binning`
    is that of the rows' histograms.
    """

    rho: np.ndarray
    inside: np.ndarray
    whole: np.ndarray
    binning: Binning


def solve(
    rows: Rows,
    objective: Objective,
    pruning_prob: Array,
    rho: float | Sequence[float],
    competing: bool = False,
) -> CorrelatedSolution:
    """Find the best threshold of every row whose largest probability exceeds `pruning_prob`.

    `rho` is one correlation, or one for each class. If `competing`, rows that compete for labels
    because their sample has no active row are summed up too.
    """
    summary = rows.summary
    active = np.asarray(summary.high > pruning_prob)
    wanted = eligible_classes(rows, active) if competing else active
    each = np.broadcast_to(np.asarray(rho, float), rows.shape)
    threshold = np.full(rows.shape, np.inf)
    size, score = np.zeros((2, *rows.shape))
    inside, whole = np.empty((2, *rows.shape), object)
    numbers = np.arange(size.size).reshape(rows.shape)

    def solve_group(group: Group) -> tuple[()]:
        which = np.reshape(numbers[group.index], -1)
        search = _Search(rows, group, objective, wanted.flat[which], each.flat[which])
        for chunk in search.solve():
            at = which[chunk.numbers]
            threshold.flat[at], size.flat[at] = chunk.threshold, chunk.size
            score.flat[at] = chunk.best
            for i, part, mass in zip(at, chunk.inside, chunk.mass, strict=True):
                inside.flat[i], whole.flat[i] = part * active.flat[i], mass
        return ()

    rows.each(solve_group, width=0, wanted=wanted)
    return CorrelatedSolution(
        threshold=np.where(active & (size > 0), threshold, np.inf),
        size=np.where(active, size, 0.0),
        overlap=np.zeros(rows.shape),
        mass=summary.mass,
        score=np.where(active, score, 0.0),
        active=active,
        rho=each,
        inside=inside,
        whole=whole,
        binning=binning_of(rows),
    )


def binning_of(rows: Rows) -> Binning:
    """Return the bins for rows of so many pixels."""
    return factor.BINNING if rows.source.pixels <= SMALL else factor.ROUGH


def read_histogram(
    found: tuple[Array, Array | None], binning: Binning
) -> tuple[np.ndarray, np.ndarray]:
    """Read counts, and the sums of the fractions, each at the middle of its unit."""
    counts, sums = arrays.read_sums(*found)
    return counts, (sums + counts / 2) / 2.0**binning.fraction


class _Search:
    """The search in the rows of a group, of which `wanted` tells and `rho` is the correlation."""

    def __init__(
        self, rows: Rows, group: Group, objective: Objective, wanted: np.ndarray, rho: np.ndarray
    ) -> None:
        self.group, self.objective = group, objective
        self.dtype = np.float64 if group.source.is_double else np.float32
        self.settles_pixels = rows.source.pixels <= SMALL and rows.extracts
        self.wanted, self.rho = wanted, rho
        binning = binning_of(rows)
        found = read_histogram(group.histogram(binning, True), binning)
        self.shape = found[0].shape[:-1]
        self.counts, self.fractions = map(_in_cells, found)

    def solve(self) -> "list[_Chunk]":
        """Return the chunks, solved."""
        chunks = list(self._chunks())
        for chunk in chunks:
            chunk.look_at_cells()
            chunk.look_into_cells()
        if self.settles_pixels:
            self._settle_pixels(chunks)
        return chunks

    def _chunks(self) -> "Iterator[_Chunk]":
        # Rows of one table, in pieces that stay in cache.
        for value in np.unique(self.rho):
            numbers = np.flatnonzero((self.rho == value) & self.wanted)
            step = max(1, CHUNK // (_CELLS * len(factor.table(float(value)).weight)))
            for start in range(0, len(numbers), step):
                yield _Chunk(self, numbers[start : start + step], float(value))

    def _settle_pixels(self, chunks: "list[_Chunk]") -> None:
        first, last = np.full((2, len(self.rho)), BINS)
        for chunk in chunks:
            chunk.find_bins(first, last)
        if not (first < BINS).any():
            return
        low, high = (
            factor.threshold_of(part, self.dtype).reshape(self.shape)
            for part in (first, np.minimum(last + 1, BINS))
        )
        number, value = self.group.between(low, high)
        for chunk in chunks:
            chunk.look_into_bins(number, value)


@lru_cache(maxsize=16)
def _table_in_cells(rho: float) -> tuple[np.ndarray, np.ndarray]:
    """Return f at the lower end of each bin, and its rise: (cell, bin, node)."""
    padding = ((0, _PADDING), (0, 0))
    low, slope = (np.pad(part[1:], padding, mode="edge") for part in factor.table(rho)[:2])
    return low.reshape(_CELLS, STEP, -1), slope.reshape(_CELLS, STEP, -1)


def _in_cells(x: np.ndarray) -> np.ndarray:
    """Return (row, cell, bin) of a histogram, without its first bin."""
    x = x.reshape(-1, BINS)
    result = np.zeros((len(x), _CELLS * STEP))
    result[:, : BINS - 1] = x[:, 1:]
    return result.reshape(-1, _CELLS, STEP)


class _Chunk:
    """Some rows of one correlation."""

    def __init__(self, search: _Search, numbers: np.ndarray, rho: float) -> None:
        self.search, self.numbers, self.weight = search, numbers, factor.table(rho).weight
        self.objective = search.objective
        self.counts, self.fractions = search.counts[numbers], search.fractions[numbers]
        self.low, self.slope = _table_in_cells(rho)

    def _mean(self, values: np.ndarray) -> np.ndarray:
        return values @ self.weight

    def _score(self, size: np.ndarray, overlap: np.ndarray, mass: np.ndarray) -> np.ndarray:
        return self._mean(self.objective.score(size[..., None], overlap, mass))

    def _reach(
        self,
        above: tuple[np.ndarray, np.ndarray],
        ceiling: np.ndarray,
        added: np.ndarray,
        mass: np.ndarray,
    ) -> np.ndarray:
        """Bound F on masks that add pixels of sum `added` in all, each at most `ceiling`."""
        size, overlap = above[0][..., None], above[1]
        least = np.divide(added, ceiling, out=np.zeros_like(added), where=ceiling > 0)
        return self._mean(self.objective.reach(size, overlap, least, added, mass))

    def look_at_cells(self) -> None:
        """Find the best mask that ends at a cell, and the cells that can have a better one."""
        counts, size, overlap = self._sum_octaves()
        self.mass = overlap[0]
        self.size, self.inside = np.zeros(len(self.numbers)), np.zeros_like(self.mass)
        self.best = self._score(self.size, self.inside, self.mass)
        self.threshold = np.full(len(self.size), np.inf, self.search.dtype)
        octave, row = np.indices(counts.shape).reshape(2, -1)
        self._take_ends(row, octave * OCTAVE, size[:-1], overlap[:-1])
        above, added = (size[1:], overlap[1:]), overlap[:-1] - overlap[1:]
        reach = self._reach(above, self._ceiling(OCTAVE)[:, None], added, self.mass)
        octave, row = np.nonzero((reach >= self.best) & (counts > 0))
        above = size[octave + 1, row], overlap[octave + 1, row]
        counts, size, overlap = self._sum_cells(octave, row, *above)
        pair, inner = np.nonzero(counts)
        row, cell, ends = row[pair], octave[pair] * OCTAVE + inner, (pair, inner)
        self._take_ends(row, cell, size[ends], overlap[ends])
        self.above = size[pair, inner + 1], overlap[pair, inner + 1]
        added = overlap[ends] - self.above[1]
        reach = self._reach(self.above, self._ceiling(1)[cell], added, self.mass[row])
        kept = reach >= self.best[row]
        self.row, self.cell = row[kept], cell[kept]
        self.above = self.above[0][kept], self.above[1][kept]

    def _sum_octaves(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return pixels in each octave, and pixels and sums from there up: (octave, row, ...)."""
        shape = (len(self.numbers), _OCTAVES, -1)
        counts, fractions = (
            part.reshape(shape).swapaxes(0, 1) for part in (self.counts, self.fractions)
        )
        low, slope = (part.reshape(_OCTAVES, -1, part.shape[-1]) for part in (self.low, self.slope))
        content = counts @ low + fractions @ slope
        number = counts.sum(axis=2)
        return number, _sums_from_above(number[None])[0], _sums_from_above(content[None])[0]

    def _sum_cells(
        self, octave: np.ndarray, row: np.ndarray, size: np.ndarray, overlap: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Do the same for the cells of some octaves, sorted: (pair, cell, ...).

        `size` and `overlap` are those above each octave.
        """
        content = np.empty((len(row), OCTAVE, len(self.weight)))
        number = np.empty((len(row), OCTAVE))
        bounds = np.searchsorted(octave, np.arange(_OCTAVES + 1))
        for i in np.unique(octave):
            pairs = slice(bounds[i], bounds[i + 1])
            cells = slice(i * OCTAVE, (i + 1) * OCTAVE)
            counts, fractions = (
                part[row[pairs], cells].swapaxes(0, 1) for part in (self.counts, self.fractions)
            )
            found = counts @ self.low[cells] + fractions @ self.slope[cells]
            content[pairs] = found.swapaxes(0, 1)
            number[pairs] = counts.sum(axis=2).T
        return (
            number,
            _sums_from_above(number) + size[:, None],
            _sums_from_above(content) + overlap[:, None],
        )

    def _ceiling(self, cells: int) -> np.ndarray:
        """Return f at the upper end of so many cells in a row, of each such."""
        last = slice(cells - 1, None, cells)
        return self.low[last, -1] + self.slope[last, -1]

    def _take_ends(
        self, row: np.ndarray, cell: np.ndarray, size: np.ndarray, overlap: np.ndarray
    ) -> None:
        threshold = factor.threshold_of(np.minimum(1 + cell * STEP, BINS), self.search.dtype)
        score = self._score(size, overlap, self.mass if size.ndim > 1 else self.mass[row])
        shape = (-1, overlap.shape[-1])
        self._take(row, score.reshape(-1), size.reshape(-1), overlap.reshape(shape), threshold)

    def look_into_cells(self) -> None:
        """Find the best that ends at a bin, in the cells that can have a better one."""
        row, cell = self.row, self.cell
        counts, fractions = self.counts[row, cell], self.fractions[row, cell]
        content, rise = self.low[cell], self.slope[cell]
        content *= counts[..., None]
        rise *= fractions[..., None]
        content += rise
        overlap = _sums_from_above(content)
        overlap += self.above[1][:, None]
        size = _sums_from_above(counts) + self.above[0][:, None]
        score = self._score(size, overlap, self.mass[row][:, None])[:, :-1]
        score[counts == 0] = -1.0
        inner = STEP - 1 - np.argmax(score[:, ::-1], axis=1)
        bins = 1 + cell * STEP + inner
        pair = np.arange(len(row))
        self._take(
            row,
            score[pair, inner],
            size[pair, inner],
            overlap[pair, inner],
            factor.threshold_of(np.minimum(bins, BINS), self.search.dtype),
        )
        self.bin_counts, self.bin_size, self.bin_overlap = counts, size, overlap

    def find_bins(self, first: np.ndarray, last: np.ndarray) -> None:
        """Find the bins where a mask that ends inside can be better, and their range."""
        self.open = self.bin_counts > 1
        pair, inner = np.nonzero(self.open)
        above = self.bin_size[pair, inner + 1], self.bin_overlap[pair, inner + 1]
        added = self.bin_overlap[pair, inner] - above[1]
        cell, row = self.cell[pair], self.row[pair]
        ceiling = self.low[cell, inner] + self.slope[cell, inner]
        kept = self._reach(above, ceiling, added, self.mass[row]) >= self.best[row]
        self.open[pair, inner] = kept
        pair, inner = pair[kept], inner[kept]
        bins, row = 1 + self.cell[pair] * STEP + inner, self.numbers[self.row[pair]]
        np.minimum.at(first, row, bins)
        last[row] = 0
        np.maximum.at(last, row, bins)

    def look_into_bins(self, number: np.ndarray, value: np.ndarray) -> None:
        """Find the best that ends at a pixel of these bins, among pixels of rows of the group."""
        mine = np.flatnonzero(np.isin(number, self.numbers))
        row, value = np.searchsorted(self.numbers, number[mine]), value[mine]
        order = np.lexsort((-value, row))
        row, value = row[order], value[order]
        bins = factor.bin_of(value)
        cell, inner = np.divmod(bins - 1, STEP)
        pairs = np.full((len(self.numbers), _CELLS), -1)
        pairs[self.row, self.cell] = np.arange(len(self.row))
        pair = pairs[row, cell]
        kept = (pair >= 0) & self.open[pair, inner]
        row, value, bins, cell, inner, pair = (
            part[kept] for part in (row, value, bins, cell, inner, pair)
        )
        if not len(row):
            return
        fractions = factor.fraction_of(value, bins)[:, None]
        sums = np.cumsum(self.low[cell, inner] + fractions * self.slope[cell, inner], axis=0)
        new = np.append(True, (np.diff(row) != 0) | (np.diff(bins) != 0))
        starts = np.flatnonzero(new)[np.cumsum(new) - 1]
        sums[1:] -= np.where(starts[1:, None] > 0, sums[starts[1:] - 1], 0.0)
        size = self.bin_size[pair, inner + 1] + np.arange(len(row)) - starts + 1
        overlap = self.bin_overlap[pair, inner + 1] + sums
        score = self._score(size, overlap, self.mass[row])
        score[np.append((value[1:] == value[:-1]) & ~new[1:], False)] = -1.0  # ties stay together
        below = np.nextafter(value.astype(self.search.dtype), self.search.dtype(0))
        self._take(row[::-1], score[::-1], size[::-1], overlap[::-1], below[::-1])

    def _take(
        self,
        row: np.ndarray,
        score: np.ndarray,
        size: np.ndarray,
        overlap: np.ndarray,
        threshold: np.ndarray,
    ) -> None:
        """Take what is better than the best so far: of equal ones the last, the smallest mask."""
        best = self.best.copy()
        np.maximum.at(best, row, score)
        better = np.flatnonzero((score == best[row]) & (score > self.best[row]))
        row = row[better]  # of those written twice the last stays
        self.best[row], self.size[row] = score[better], size[better]
        self.inside[row], self.threshold[row] = overlap[better], threshold[better]


def _sums_from_above(x: np.ndarray) -> np.ndarray:
    """Return sums along axis 1 from each place to the end, and 0 of none: one place more."""
    result = np.zeros((x.shape[0], x.shape[1] + 1, *x.shape[2:]))
    np.cumsum(x[:, ::-1], axis=1, out=result[:, -2::-1])
    return result
