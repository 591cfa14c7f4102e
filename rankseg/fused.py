"""RMA on an NVIDIA GPU with one read of the map, by the kernels of `rankseg.kernels`.

An operation of an array library reads the whole map, and RMA is made of some fifty. Here the map
is read once, and what cannot be decided while it passes is kept: a few hundredths of it.

1. guess: sample points bracket the threshold of each row. A row is one (sample, class) pair.
2. main, the one read: each row's sums above its bracket, and the list of its values inside; the
   label of each pixel that one class claims whatever the thresholds in their brackets are, and
   the list of the other pixels with their values.
3. thresholds: the exact ones, from sums and lists. With `smooth`, Dice has its last pixels
   decided as in `solvers.undecided`.
4. listed pixels: statistics of overlaps; the one read of results by the host, which finds the
   increments; labels.
5. check: a row whose threshold lies outside its bracket is solved by the solver for arrays, and
   its sample read again with all thresholds known.

Formulas are those of `objectives`, on small arrays. Two runs give the same bits.
"""

import sys
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from math import ceil, log2, prod
from types import SimpleNamespace
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from . import arrays
from .arrays import Array
from .gpu import Lines, brought_back, current_device, is_eligible, lines_of, tensor_of
from .maps import ProbabilityMap
from .objectives import Dice, Objective
from .opening import accept, tolerance
from .rows import Rows, rows_of
from .settings import Settings, check_classes
from .solvers import assignment, rma

MAX_CLASSES = 1024
"""All classes of a piece of a list are in registers at once."""

SAMPLE = (4096, 64, 16384)
"""Sample points of a row: so many at least, one in so many pixels, so many at most.

One in 64 reads an eighth of a float32 map, as a GPU reads 32 bytes at a time. All points of a row
are in registers at once: compiled for sm_90, 16,384 spill 168 bytes a thread, twice as many 616.
"""

LISTED = 8
"""A list of pixels has room for one in so many, as real maps list 3 to 7 %."""

BETWEEN = 16
"""A row's list has room for one in so many of its pixels: real maps list up to 1.3 %."""

FEW = 4096
"""Room that every list has, if the map has as many pixels."""

UNDECIDED = 32
"""Most values of a row between two thresholds that smoothed Dice decides in a kernel."""


def labels_or_masks(
    probs: Array, settings: Settings, class_axis: int, valid: Array | None
) -> Array | None:
    """Return what `functional.predict` does, or None where that has to be done another way.

    The other ways are for other arrays and solvers, and find the same labels and masks but for
    ties; they also say what is wrong with values outside [0, 1].
    """
    result = _run(probs, settings, class_axis, valid, masks=settings.output_mode == "multilabel")
    if result is None:
        return None
    out = brought_back(result.out, probs)
    multiclass = settings.output_mode == "multiclass"
    return out if multiclass else array_namespace(out).moveaxis(out, 1, class_axis)


def row_thresholds(
    probs: Array, settings: Settings, class_axis: int, valid: Array | None
) -> tuple[Array, Array, Array] | None:
    """Return threshold, score and activity of each row, or None as `labels_or_masks`."""
    result = _run(probs, settings, class_axis, valid)
    if result is None:
        return None
    found, objective = result.solution, settings.objective
    score = found.active * objective.score(found.size, found.overlap, found.mass)
    parts = (found.threshold.float(), score.float(), found.active)
    return tuple(brought_back(part, probs) for part in parts)


def _run(
    probs: Array,
    settings: Settings,
    class_axis: int,
    valid: Array | None,
    masks: bool | None = None,
) -> "_Result | None":
    if settings.solver != "RMA" or settings.refine or settings.correlated:
        return None
    if not is_eligible(probs):
        return None
    given, valid = accept(probs, class_axis, valid)
    check_classes(settings, given.shape[1], valid is not None, arrays.largest_label(probs))
    batch, classes, *spatial = given.shape
    if not 0 < batch < 2**16 or classes > MAX_CLASSES or prod(spatial) >= 2**31:
        return None
    tensor = tensor_of(given)
    lines = lines_of(tensor)
    if lines is None:
        return None
    if valid is not None:
        torch = sys.modules["torch"]
        valid = tensor_of(valid).to(tensor.device).reshape(tensor.shape[0], -1)
        valid = valid.contiguous().view(torch.uint8)
    with current_device(tensor):
        return _Map(tensor, lines, valid, settings, masks).solve()


@dataclass
class _Bracket:
    """The ends of each row's bracket, float32."""

    low: Any
    high: Any
    known: bool = False
    """Whether both ends are the threshold."""


@dataclass
class _Lists:
    """What the read of the map left: see `kernels.main`."""

    counters: Any
    """All that the host reads, int64: pixels listed, of each sample; of each row flags, values
    listed, size and sum of the pixels that it shares, and the bits of `_Result.rows`."""
    sums: Any
    row_values: Any
    row_pixels: Any
    pixels: Any
    values: Any
    row_capacity: int
    capacity: int


@dataclass
class _Result:
    out: Any
    """Labels, masks or nothing."""
    rows: Any
    """Threshold, size, overlap, mass, activity of each row: float64, (6, batch, class)."""

    @property
    def solution(self) -> rma.Solution:
        threshold, size, overlap, mass, active, _ = self.rows
        return rma.Solution(threshold, size, overlap, mass, overlap, active > 0)


@lru_cache(maxsize=64)
def _constants(objective: Objective, pruning: tuple[float, ...], classes: int, device: Any) -> Any:
    """Return the line of `objective` without the mass, and each class's pruning value."""
    torch = sys.modules["torch"]
    line, values = objective.line(0.0), np.asarray(pruning, np.float32).tolist()
    if len(values) > 1:
        return torch.tensor([*line, *values], dtype=torch.float64, device=device)
    constants = torch.full((2 + classes,), values[0], dtype=torch.float64, device=device)
    for k in range(2):  # a fill does not wait, as a copy would
        constants[k].fill_(line[k])
    return constants


@dataclass(frozen=True)
class _Map:
    """A map of shape (batch, class, *spatial) on its way to labels, masks or thresholds."""

    probs: Any
    lines: Lines
    valid: Any
    settings: Settings
    masks: bool | None
    """Whether masks are asked for; not labels either if None."""

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        batch, classes, *spatial = self.probs.shape
        return batch, classes, prod(spatial)

    @cached_property
    def objective(self) -> Objective:
        return self.settings.objective

    @cached_property
    def constants(self) -> Any:
        pruning = self.settings.pruning_prob
        pruning = pruning if isinstance(pruning, tuple) else (pruning,)
        return _constants(self.objective, pruning, self.shape[1], self.probs.device)

    @cached_property
    def tile(self) -> tuple[int, int]:
        """Classes and pixels that are read together: memory that lies together first."""
        if self.probs.stride(1) != 1 or self.shape[1] == 1:
            return min(4, _power_of_two(self.shape[1])), 1024
        classes = min(32, _power_of_two(self.shape[1]))
        return classes, 4096 // classes

    @property
    def void(self) -> bool:
        return self.settings.unassigned_policy == "void"

    def empty(self, *shape: int, dtype: str) -> Any:
        torch = sys.modules["torch"]
        return torch.empty(shape, dtype=getattr(torch, dtype), device=self.probs.device)

    def strides(self) -> tuple[int, int, int, int, int]:
        return (*self.probs.stride()[:2], self.lines.width, self.lines.line, self.lines.step)

    def solve(self) -> _Result | None:
        """Return the result, or None if values are not finite or outside [0, 1]."""
        result, room, status = self.attempt(self.guess(), self.room())
        if np.any(status & 4):
            return None
        bad = np.any(status, axis=1) | (room > self.room())
        for b in np.flatnonzero(bad):
            self.mend(result, int(b), np.flatnonzero(status[b]), int(room[b]))
        return result

    def room(self) -> int:
        pixels = self.shape[2]
        return min(pixels, max(FEW, pixels // LISTED))

    def attempt(self, bracket: _Bracket, capacity: int) -> tuple[_Result, np.ndarray, np.ndarray]:
        """Read the map, and return also how many pixels each sample listed, and the flags."""
        batch, classes, _ = self.shape
        out, lists = self.main(bracket, capacity)
        result = _Result(out, self.thresholds(bracket, lists))
        if self.masks:
            self.listed_masks(result, lists)
        elif self.masks is False:
            self.claims(result, lists)
        (found,) = arrays.read_values(lists.counters)
        room, of_rows = found[:batch], found[batch:].reshape(-1, batch, classes)
        if self.masks is False and not np.any(of_rows[0] & 4):
            self.listed_labels(result, lists, of_rows[2:4], of_rows[4:].view(np.float64))
        return result, room, of_rows[0]

    def guess(self) -> _Bracket:
        """Step 1: bracket each row's threshold."""
        from . import kernels

        batch, classes, pixels = self.shape
        least, every, most = SAMPLE
        points = min(pixels, max(least, min(most, pixels // every)))
        rows = batch * classes
        low, high = self.empty(2, rows, dtype="float32")
        mass = self.empty(rows, dtype="float64")
        kernels.guess[(rows,)](
            self.probs,
            self.valid,
            self.constants,
            low,
            high,
            mass,
            *self.strides(),
            pixels,
            points,
            C=classes,
            N=_power_of_two(points),
            FLAT=self.lines.flat,
            HAS_VALID=self.valid is not None,
            num_warps=32 if points > 8192 else 8,
            enable_fp_fusion=False,
        )
        if self.is_smoothed_dice:
            high = high + self.objective.undecided(mass).float()  # type: ignore[union-attr]
        return _Bracket(low, high)

    @property
    def is_smoothed_dice(self) -> bool:
        return isinstance(self.objective, Dice) and self.objective.smooth > 0

    def main(self, bracket: _Bracket, capacity: int) -> tuple[Any, _Lists]:
        """Step 2: read the map."""
        from . import kernels

        torch = sys.modules["torch"]
        batch, classes, pixels = self.shape
        rows, (block, tile) = batch * classes, self.tile
        tiles = -(-pixels // tile)
        row_capacity = 1 if bracket.known else min(pixels, max(FEW, pixels // BETWEEN))
        is_labels, is_masks = self.masks is False, bool(self.masks)
        listed = capacity if is_labels else 0
        spatial = self.probs.shape[2:]
        out: Any = None
        if is_labels:
            out = self.empty(batch, *spatial, dtype="int64")
        if is_masks:
            out = self.empty(batch, classes, *spatial, dtype="bool")
        lists = _Lists(
            counters=torch.zeros(batch + 10 * rows, dtype=torch.int64, device=self.probs.device),
            sums=self.empty(kernels.SUMS, rows, tiles, dtype="float32"),
            row_values=self.empty(rows, row_capacity, dtype="float32"),
            row_pixels=self.empty(rows, row_capacity if is_masks else 0, dtype="int32"),
            pixels=self.empty(batch, listed, dtype="int32"),
            values=torch.empty(
                (batch, classes, listed), dtype=self.probs.dtype, device=self.probs.device
            ),
            row_capacity=row_capacity,
            capacity=capacity,
        )
        kernels.main[(tiles, batch)](
            self.probs,
            self.valid,
            bracket.low,
            bracket.high,
            lists.sums,
            out.view(torch.int8) if is_masks else out,
            lists.counters,
            lists.pixels,
            lists.values,
            lists.counters[batch + rows :],
            lists.row_values,
            lists.row_pixels,
            *self.strides(),
            pixels,
            tiles,
            capacity,
            row_capacity,
            self.settings.void_index,
            C=classes,
            BLOCK=block,
            TILE=tile,
            LABELS=is_labels,
            MASKS=is_masks,
            VOID=self.void,
            FLAT=self.lines.flat,
            HAS_VALID=self.valid is not None,
            num_warps=8,
            enable_fp_fusion=False,
        )
        return out, lists

    def thresholds(self, bracket: _Bracket, lists: _Lists) -> Any:
        """Step 3: the exact thresholds, as `_Result.rows`."""
        from . import kernels

        batch, classes, _ = self.shape
        rows = batch * classes
        torch = sys.modules["torch"]
        result = lists.counters[batch + 4 * rows :].view(torch.float64).view(6, batch, classes)
        status, row_count = lists.counters[batch:], lists.counters[batch + rows :]
        longest = max(lists.row_capacity, lists.capacity)
        kernels.thresholds[(rows,)](
            self.constants,
            bracket.low,
            bracket.high,
            lists.sums,
            row_count,
            lists.row_values,
            result,
            status,
            lists.sums.shape[2],
            lists.row_capacity,
            tolerance(arrays.dtype_name(self.probs.dtype), self.shape[1]),
            2.0 ** (62 - ceil(log2(longest + 1))),  # so many of at most 1 fit int64
            C=classes,
            CHUNK=1024,
            KNOWN=bracket.known,
            num_warps=4,
            enable_fp_fusion=False,
        )
        if self.is_smoothed_dice and not bracket.known:
            self.finish_dice(result, bracket, lists)
        return result

    def finish_dice(self, result: Any, bracket: _Bracket, lists: _Lists) -> None:
        """Choose among the last masks, or the empty one, as `solvers.undecided` does."""
        from . import kernels

        torch = sys.modules["torch"]
        assert isinstance(self.objective, Dice)
        batch, classes, _ = self.shape
        rows = batch * classes
        threshold, _, _, mass, active, _ = result
        exact = threshold + self.objective.undecided(mass)
        upper = exact.float()
        upper = torch.where(upper > exact, torch.nextafter(upper, upper - 1), upper)
        table = self.empty(3, batch, classes, UNDECIDED, dtype="float64")
        status = lists.counters[batch:]
        kernels.undecided[(rows,)](
            result,
            upper,
            bracket.high,
            lists.counters[batch + rows :],
            lists.row_values,
            table,
            self.empty(rows, UNDECIDED, dtype="float32"),
            status,
            lists.row_capacity,
            SLOTS=UNDECIDED,
            CHUNK=1024,
            num_warps=4,
            enable_fp_fusion=False,
        )
        odds = self.objective.odds(table[1], table[2], mass[..., None])
        most = odds.amax(-1, keepdim=True)
        # Of equal ones the smallest mask, in whatever order they stand.
        best = torch.where(odds == most, table[0], -torch.inf).argmax(-1, keepdim=True)
        chosen = table.gather(3, best.expand(3, *best.shape))[..., 0]
        nothing = torch.zeros_like(mass)
        empty = (self.objective.odds(nothing, nothing, mass) >= most[..., 0]) & (active > 0)
        result[0] = torch.where(empty, torch.inf, chosen[0])
        result[1:3] = torch.where(empty, 0.0, chosen[1:])
        # Pixels above a bracket have been counted as chosen.
        taken = empty & torch.isfinite(bracket.high).view_as(empty)
        status[:rows] += taken.view(-1)

    def listed_masks(self, result: _Result, lists: _Lists) -> None:
        """Step 4, multilabel: the mask of each row's listed pixels."""
        from . import kernels

        torch = sys.modules["torch"]
        batch, classes, pixels = self.shape
        rows, chunk = batch * classes, 1024
        for first in range(0, rows, 2**15):  # the second axis of a grid is short
            some = slice(first, min(first + 2**15, rows))
            kernels.masks[(-(-lists.row_capacity // chunk), some.stop - first)](
                result.rows.view(6, rows)[0, some],
                lists.counters[batch + rows :][some],
                lists.row_values[some],
                lists.row_pixels[some],
                result.out.view(rows, -1)[some].view(torch.int8),
                pixels,
                lists.row_capacity,
                CHUNK=chunk,
                num_warps=4,
                enable_fp_fusion=False,
            )

    def claims(self, result: _Result, lists: _Lists) -> None:
        """Step 4, multiclass: how many listed pixels each class shares, and their sum."""
        from . import kernels

        batch, classes, _ = self.shape
        shared = lists.counters[batch + 2 * batch * classes :].view(-1, batch, classes)
        grid, sizes = self.pieces(lists.capacity)
        kernels.claims[grid](
            result.rows, lists.counters, lists.values, shared[0], shared[1], lists.capacity, **sizes
        )

    def pieces(self, capacity: int) -> tuple[tuple[int, int], dict[str, Any]]:
        """Return the grid over pieces of the lists of pixels, and what kernels ask of them."""
        batch, classes, _ = self.shape
        every = _power_of_two(classes)
        tile = max(16, 4096 // every)
        sizes = {"C": classes, "ALL": every, "TILE": tile, "num_warps": 8}
        return (-(-capacity // tile), batch), sizes | {"enable_fp_fusion": False}

    def listed_labels(
        self, result: _Result, lists: _Lists, shared: np.ndarray, rows: np.ndarray
    ) -> None:
        """Step 4, multiclass: increments, on the host, and the labels of the listed pixels."""
        from . import kernels

        solution = _Result(None, rows).solution
        size = solution.size - shared[0]
        overlap = np.maximum(solution.overlap - shared[1] * rows[5], 0) * (size > 0)
        rows_like: Any = SimpleNamespace(xp=np)
        slope, offset, *curve = assignment.increments(
            rows_like, solution, self.objective, size, overlap
        )
        eligible = assignment.eligible_classes(rows_like, solution.active)
        increment = np.stack([slope, offset, eligible, *curve]).astype(np.float32)
        grid, sizes = self.pieces(lists.capacity)
        kernels.labels[grid](
            result.rows,
            lists.counters,
            lists.pixels,
            lists.values,
            arrays.from_numpy(increment, self.probs),
            result.out,
            self.shape[2],
            lists.capacity,
            self.settings.void_index,
            VOID=self.void,
            CURVE=bool(curve),
            **sizes,
        )

    def mend(self, result: _Result, b: int, wrong: np.ndarray, listed: int) -> None:
        """Solve the wrong rows of a sample by themselves, and read it again for its labels."""
        sample = self.sample(b)
        if wrong.size:
            rows = sample.some_rows(wrong)
            pruning = np.broadcast_to(
                np.asarray(self.settings.pruning_prob, np.float32), self.shape[1]
            )
            found = rma.solve(rows, self.objective, pruning[wrong])
            parts = (found.threshold, found.size, found.overlap)
            result.rows[:3, b, wrong] = arrays.from_numpy(np.stack(parts)[:, 0], self.probs)
            if self.masks:
                result.out[b, wrong] = assignment.masks(rows, found.threshold)[0]
        if self.masks is not False:
            return
        threshold = result.rows[0, b].float()
        known = _Bracket(threshold, threshold, known=True)
        capacity = max(listed, self.room())
        while True:
            again, room, _ = sample.attempt(known, min(capacity, self.shape[2]))
            if room[0] <= capacity:
                break
            capacity = int(room[0])
        result.out[b] = again.out[0]

    def sample(self, b: int) -> "_Map":
        """Return the map of one sample."""
        valid = None if self.valid is None else self.valid[b : b + 1]
        return replace(self, probs=self.probs[b : b + 1], valid=valid)

    def some_rows(self, classes: np.ndarray) -> Rows:
        """Return some rows of a sample for the solver of arrays."""
        torch = sys.modules["torch"]
        valid = self.valid
        if valid is not None:
            valid = valid.view(torch.bool).view(1, *self.probs.shape[2:])
        return rows_of(ProbabilityMap(self.probs[:, classes.tolist()], valid, clip=True))


def _power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()
