"""The solver that settles most pixels at once and iterates on the few others.

For one row let h(t) be the sum of p - t over the pixels above t, and let one step of the solver
be ``T(n, S) = (S + B) / (A + n)``. The best threshold t* is the root of

    phi(t) = h(t) + B - A t,

which falls, as h falls when t rises. The step from a guess t0 to t1 = T(n0, S0) reads the whole
map and brackets t*. It never lands above t*, so t1 <= t*, and t1 > t0 says that phi(t0) > 0:

- if t1 > t0, then t0 < t*, so A t* = h(t*) + B <= h(t0) + B: t* lies in [t1, (h(t0) + B) / A];
- otherwise t* <= t0: it lies in [t1, t0].

Pixels outside every bracket never change sides. If also exactly one class has them, they are
settled; the others, a few percent of most maps, are gathered, and every further step reads only
those.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from onnx import TensorProto

from .fragment import Operand, Value, maximum, minimum
from .solver import GRID, Masks, Rows, Solver

THIN_STRIDE = 16
"""Longest stride of thinning.

With 4 and 8 no label of 160 real frames changes either, and 8 gathers as many pixels.
"""

THIN_STEPS = 2
"""Steps on the thinned map.

With 1, 3.7 % of the pixels of 20 real frames are gathered in place of 2.7 %, with 3 2.5 %.
"""

THIN_PIXELS = {2: 32, 3: 16}
"""Pixels along each of so many axes that thinning leaves, about.

With 16 along two axes 3.1 % of the pixels of 15 real frames are gathered, with 32 2.7, with 64 2.4.
"""

MANY: dict[int, int] = {TensorProto.UINT8: 255, TensorProto.FLOAT: 2047}
"""More classes than a pixel may have, so few that many + many^2 is exact.

255 is the largest of its type, and 2047 + 2047^2 lies below 2^24.
"""

STEPS = 4
"""Steps on the gathered pixels.

With 3, 24 to 30 pixels of 60 faint maps of 6 x 96 x 96 are wrong, with 4 none; with 2, 1,407 of
10,368,000 pixels of the masks of 60 real frames.
"""

SLACK = 1e-6
"""More than float32 sums are off by, relative: so that the bracket holds by more than rounding.

No pixel of 160 real and 50 generated frames needs it, and none is gathered more for it.
"""

LOW_START = 0.8
"""Where smoothed Dice starts, relative to the guess: so that it seldom starts above the best one.

Where it does, the undecided interval is cut at the start. 0.5 gathers 11.0 % of the pixels of 15
real frames, 0.8 5.7 %, 0.9 4.1 %, 1.0 2.7 %; no pixel of 160 frames needs less than 1.0.
"""


class Bracket(NamedTuple):
    """For each row the start t0 and the other end of a bracket around its best threshold.

    Attributes
    ----------
    start, at_start : Value, Masks
        t0 in the type of the map, and the sums of the mask there.
    step : Value
        Where the step from the start leads, a lower bound of the best threshold.
    top : Value
        An upper bound, of the undecided interval of smoothed Dice too.
    rises : Value
        1 where the start is the lower end of the bracket, 0 where it is the upper one.
    above_start, above_end : Value
        The masks at the start and at the other end: bool maps.
    """

    start: Value
    at_start: Masks
    step: Value
    top: Value
    rises: Value
    above_start: Value
    above_end: Value


class Gathered(NamedTuple):
    """The pixels that may still change sides, of any sample.

    Attributes
    ----------
    where : Value
        Their places in a flattened map.
    p : Value
        Their probabilities, (batch, class, 1, ..., pixel).
    before : Value
        1 where these lie above the start, else 0.
    """

    where: Value
    p: Value
    before: Value


class OnnxruntimeSolver(Solver):
    """Profile "onnxruntime"."""

    thin_steps = THIN_STEPS

    def threshold(self, p: Value, rows: Rows) -> Value:
        """Return the threshold of each row, in the type of the map."""
        bracket = self.bracket(p, rows)
        gathered = self.gather(p, bracket.start, self.moving(bracket))
        return self.climb(bracket, gathered, rows)

    def labels(self, p: Value) -> Value:
        """Let the classes compete at the gathered pixels, and write these over the others."""
        p, rows = self.measure(p)
        bracket = self.bracket(p, rows)
        chosen, unsettled = self.settle(bracket, rows)
        gathered = self.gather(p, bracket.start, unsettled)
        threshold = self.climb(bracket, gathered, rows)
        self.fragment.scope = "label/"
        winner = self.compete(threshold, bracket.at_start, gathered, rows)
        return self.write(winner, gathered.where, chosen, p)

    # The bracket

    def strides(self, p: Value) -> tuple[Value, Value, Operand]:
        """Return strides that leave about `THIN_PIXELS` along each axis.

        The ends are computed too: onnxruntime's symbolic shape inference takes unknown strides
        between constant ends for 1.
        """
        f = self.fragment
        lengths = p.shape([*self.axes]).cast(TensorProto.FLOAT)
        floored = f.add("Floor", [lengths * (1 / THIN_PIXELS[len(self.axes)])], TensorProto.FLOAT)
        one, longest = (f.constant([x], TensorProto.FLOAT, f"stride_{x}") for x in (1, THIN_STRIDE))
        clipped = minimum(maximum(floored, one), longest)
        strides = clipped.cast(TensorProto.INT64, "strides")
        scale = f.add("ReduceProd", [clipped], TensorProto.FLOAT, keepdims=0)
        return strides, strides * 2**31, scale

    def eligible(self, p: Value, active: Value) -> Value | None:
        """Return the numbers of all classes but those pruned in every sample where one is not."""
        if not self.settings.multiclass:
            return None
        self.fragment.scope = "kept/"
        none = 1.0 - active.reduce("ReduceMax", [1])
        anywhere = maximum(active, none).reduce("ReduceMax", [0]).reshape([-1]) > 0.0
        found = self.fragment.add("NonZero", [anywhere], TensorProto.INT64)
        return found.squeeze([0], "classes")

    def bracket(self, p: Value, rows: Rows) -> Bracket:
        """Take one step on the whole map, and bracket the best threshold of each row."""
        start = self.first_guess(p, rows)
        if self.undecided:
            start = start * LOW_START
        self.fragment.scope = "one/"
        start = self.where_active(start, rows)
        excess = self.excess(p, start)
        # Adding 0 makes the mask wait until the memory of the excess is free.
        above_start = p > start + (excess - excess).cast(p.dtype)
        size = self.count(above_start.cast(self.tally, "mask"))
        low = start.cast(self.state)
        at_start = Masks(low, size, excess + low * size)
        step = rows.threshold(size, at_start.overlap)
        self.fragment.scope = "two/"
        rises, top, end = self.ends(low, step, excess, rows)
        above_end = p > end.cast(p.dtype)
        return Bracket(start, at_start, step, top, rises, above_start, above_end)

    def excess(self, p: Value, start: Value) -> Value:
        """Return h(t0), the sum of p - t0 over the pixels above the start."""
        return (p - start).sized(2 + len(self.axes)).relu().sum(self.axes, self.state)

    def ends(
        self, low: Value, step: Value, excess: Value, rows: Rows
    ) -> tuple[Value, Value, Value]:
        """Return whether the start t0 is the lower end, the upper end, and the end that t0 is not.

        The upper end is (h(t0) + B) / A where t1 > t0, else t0; the lower one t0 or t1. Ends that
        were summed are moved outwards by what rounding may be.
        """
        top = rows.threshold(0, excess) * (1 + SLACK)
        if self.undecided:
            top = top + self.interval(rows)
        rises = (step > low).cast(self.state)
        falls = 1.0 - rises
        highest = top * rises + low * falls
        other = top * rises + step * (1 - SLACK) * falls
        return rises, highest, self.where_active(other, rows)

    # The pixels that are left

    def moving(self, bracket: Bracket) -> Value:
        """Return where some class has a pixel at one end of its bracket alone: (batch, pixel)."""
        ends = [bracket.above_start, bracket.above_end]
        moved = self.fragment.add("Xor", ends, TensorProto.BOOL, "moved")
        each = bracket.rises + (1.0 - bracket.rises)
        return self.weighted(self.row(each), moved.cast(self.tally)) > 0.0

    def settle(self, bracket: Bracket, rows: Rows) -> tuple[Value, Value]:
        """Return the class of each settled pixel, and which pixels are not: (batch, pixel).

        A pixel is settled if exactly one class has it at the lower end of its bracket, and still
        has it at the upper end. With a the number of classes at the lower ends and b <= a at the
        upper ends, a + many b = many + 1 only if both are 1. As the start is the lower end in some
        rows and the upper one in others, both masks are counted with weights 1 or many a class.
        """
        assert rows.classes is not None
        many, rises = MANY[self.tally], bracket.rises
        at_start, at_end = (
            mask.cast(self.tally) for mask in (bracket.above_start, bracket.above_end)
        )
        falls = 1.0 - rises
        numbers = rows.classes.unsqueeze([0, 1], "numbers")
        chosen = self.weighted(numbers, at_start)
        counts = self.weighted(self.row(rises + falls * many), at_start)
        counts = counts + self.weighted(self.row(rises * many + falls), at_end)
        return chosen, ~(counts == many + 1)

    @property
    def tally(self) -> int:
        """The type in which masks are counted, uint8 for as many classes as it can count."""
        few = self.classes is not None and self.classes <= MANY[TensorProto.UINT8]
        return TensorProto.UINT8 if few else TensorProto.FLOAT

    def count(self, mask: Value) -> Value:
        """Count the pixels of each row's mask."""
        if mask.dtype == TensorProto.FLOAT:
            return mask.sum(self.axes, self.state)
        columns = mask.ones(self.axes[-2]).matmul(mask, "counts")
        return columns.cast(self.state).sum(self.axes, self.state)

    def row(self, weights: Value) -> Value:
        """Return a value for each (batch, class) row as (batch, 1, class)."""
        return weights.reshape([0, 1, -1])

    def weighted(self, row: Value, mask: Value) -> Value:
        """Sum, at each pixel, weights of the classes that have it: (batch, pixel)."""
        return row.cast(mask.dtype).matmul(mask.reshape([0, 0, -1]), "votes").reshape([0, -1])

    def gather(self, p: Value, start: Value, some: Value) -> Gathered:
        """Gather these pixels of any sample, and the first of all lest there be none."""
        f = self.fragment
        f.scope = "open/"
        anywhere = some.cast(TensorProto.FLOAT)
        anywhere = anywhere.ones(0).matmul(anywhere, "samples").reshape([-1])
        first, yes = f.indices([0], "axes"), f.constant([1.0], TensorProto.FLOAT, "yes")
        anywhere = f.add("ScatterElements", [anywhere, first, yes], TensorProto.FLOAT)
        where = f.add("NonZero", [anywhere], TensorProto.INT64, "pixels").squeeze([0])
        last = where.reshape([*[1] * (len(self.axes) - 1), -1])
        flat = p.reshape([0, 0, -1])
        pixels = f.add("Gather", [flat, last], p.dtype, "probs", axis=2)
        return Gathered(where, pixels, (pixels > start).cast(p.dtype, "before"))

    # Steps on them

    def total(self, x: Value) -> Value:
        """Sum over the gathered pixels."""
        return x.reduce("ReduceSum", [self.axes[-1]]).cast(self.state)

    def change(self, gathered: Gathered, threshold: Value) -> tuple[Value, Value]:
        """Return what a threshold inside the bracket adds to the count and sum at the start."""
        moved = (gathered.p > threshold).cast(gathered.p.dtype) - gathered.before
        return self.total(moved), self.total(gathered.p * moved)

    def climb(self, bracket: Bracket, gathered: Gathered, rows: Rows) -> Value:
        """Iterate on the gathered pixels."""
        threshold, first, dtype = bracket.step, bracket.at_start, gathered.p.dtype
        numerator, denominator = first.overlap + rows.offset, rows.base + first.size
        for i in range(STEPS):
            self.fragment.scope = f"up{i + 1}/"
            size, overlap = self.change(gathered, threshold.cast(dtype))
            threshold = maximum(threshold, (numerator + overlap) / (denominator + size))
        threshold = minimum(threshold, bracket.top)
        if self.undecided:
            self.fragment.scope = "end/"
            width = minimum(self.interval(rows), bracket.top - threshold)
            scan = partial(self.scan, first, gathered)
            threshold = self.finish(threshold, width, rows, scan, dtype)
        self.fragment.scope = ""
        return self.round_down(self.where_active(threshold, rows), dtype)

    def scan(
        self, first: Masks, gathered: Gathered, start: Value, step: Value
    ) -> tuple[Value, Value]:
        """Try all thresholds at once, along the axis before the pixels."""
        grid = np.arange(GRID)[::-1].reshape([*[1] * len(self.axes), GRID, 1])
        thresholds = start + step * self.fragment.constant(grid, step.dtype, "grid")
        size, overlap = self.change(gathered, thresholds)
        return size + first.size, overlap + first.overlap

    # Labels

    def compete(self, threshold: Value, first: Masks, gathered: Gathered, rows: Rows) -> Value:
        """Return the class of each gathered pixel, (batch, pixel)."""
        p, before = gathered.p, gathered.before
        mask = (p > threshold).cast(p.dtype, "mask")
        votes = mask.reduce("ReduceSum", [1], "votes")
        sole = mask * (votes == 1.0).cast(p.dtype)
        size = first.size + self.total(sole - before)
        some = (size > 0.5).cast(self.state)
        overlap = (first.overlap + self.total((sole - before) * p)) * some
        winner = self.winners(p, mask, votes, Masks(threshold, size, overlap), rows)
        return winner.reshape([0, -1])

    def write(self, winner: Value, where: Value, chosen: Value, p: Value) -> Value:
        """Write the winners over the classes chosen before: labels, (batch, *spatial)."""
        f, wide = self.fragment, self.wide_label
        updates = winner.cast(wide)
        places = f.add("Expand", [where, updates.shape()], TensorProto.INT64, "where")
        inputs = [chosen.cast(wide), places, updates]
        written = f.add("ScatterElements", inputs, wide, "written", axis=1)
        labels = f.add("Reshape", [written, p.shape([0, *self.axes])], wide, "result")
        return labels.cast(self.settings.label_type)

    @property
    def wide_label(self) -> int:
        """The type that labels are written in: half the memory unless `void_index` is huge."""
        huge = not -(2**31) <= self.settings.void_index < 2**31
        return TensorProto.INT64 if huge else TensorProto.INT32
