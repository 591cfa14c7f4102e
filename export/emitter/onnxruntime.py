"""The solver that settles most pixels at once and iterates on the few others.

One step from a guess t0, on the whole map, brackets each row's threshold: with h = S - t0 n the
best threshold lies between the step's result and (h + B) / A where ``threshold(n, S, mu)`` is
(S + B) / (A + n), as h falls when t rises. Pixels outside every bracket never change sides. If
also exactly one class has them, they are settled; the others, a few percent of most maps, are
gathered, and every further step reads only those.
"""

import numpy as np
from onnx import TensorProto

from ..settings import LABEL_DTYPES
from .fragment import Value, maximum, minimum
from .solver import GRID, THIN_STRIDE, Masks, Rows, Solver

THIN_PIXELS = {2: 32, 3: 16}
"""Pixels along each of so many axes that thinning leaves, about."""

MANY: dict[int, int] = {TensorProto.UINT8: 255, TensorProto.FLOAT: 2047}
"""More classes than a pixel may have: the largest factor whose sums are exact."""

STEPS = 4
"""Steps on the gathered pixels."""

SLACK = 1e-6
"""More than float32 sums are off by, relative."""

LOW_START = 0.8
"""Where smoothed Dice starts, relative to the guess: its best threshold may lie above."""


class SparseSolver(Solver):
    """Profile "onnxruntime"."""

    def strides(self, p: Value) -> Value:
        """Return strides that leave about `THIN_PIXELS` along each axis."""
        lengths = p.shape([*self.axes]).cast(TensorProto.FLOAT)
        strides = self.fragment.add(
            "Floor", [lengths * (1 / THIN_PIXELS[len(self.axes)])], TensorProto.FLOAT
        )
        return strides.clip(1.0, float(THIN_STRIDE)).cast(TensorProto.INT64, "strides")

    def threshold(self, p: Value, rows: Rows) -> Value:
        """Return the threshold of each row, in the type of the map."""
        self.enclose(p, rows)
        self.gather(p)
        return self.climb(rows)

    def keep_heirs(self, p: Value, high: Value, active: Value) -> tuple[Value, Value, Value]:
        """Drop the classes that get no pixel: pruned in every sample where another is not."""
        if not self.settings.multiclass:
            return p, high, active
        f = self.fragment
        f.scope = "kept/"
        none = 1.0 - active.reduce("ReduceMax", [1])
        heir = maximum(active, none).reduce("ReduceMax", [0]).reshape([-1]) > 0.0
        inputs = [p.positions(1), heir]
        self.numbers = f.add("Compress", inputs, TensorProto.INT64, "classes", axis=0)
        p, high, active = (
            f.add("Gather", [x, self.numbers], x.dtype, axis=1) for x in (p, high, active)
        )
        return p, high, active

    def enclose(self, p: Value, rows: Rows) -> None:
        """Take one step on the whole map, and find the pixels that may still change sides."""
        start = self.first_guess(p, rows)
        if self.undecided:
            start = start * LOW_START
        self.fragment.scope = "first/"
        self.start = self.where_active(start, rows)
        above = (p - self.start).sized(2 + len(self.axes)).relu()
        excess = above.sum(self.axes, self.state)
        # Adding 0 makes the mask wait until the memory of the excess is free.
        before = p > self.start + (excess - excess).cast(p.dtype)
        mask = before.cast(self.tally, "mask")
        size, low = self.count(mask), self.start.cast(self.state)
        self.first = Masks(low, size, excess + low * size)
        self.better = rows.threshold(size, self.first.overlap)
        self.fragment.scope = "ends/"
        top = rows.threshold(0, excess) * (1 + SLACK)
        if self.undecided:
            top = top + self.sliver(top, rows)
        rises = (self.better > low).cast(self.state)
        falls = 1.0 - rises
        self.top = top * rises + low * falls
        end = self.where_active(top * rises + self.better * (1 - SLACK) * falls, rows)
        after = p > end.cast(p.dtype)
        if self.settings.multiclass:
            self.open = self.unsettled(mask, after.cast(self.tally), rises)
        else:
            moved = self.fragment.add("Xor", [before, after], TensorProto.BOOL, "moved")
            self.open = self.weighted(rises + falls, moved.cast(self.tally)) > 0.0

    def unsettled(self, mask: Value, after: Value, rises: Value) -> Value:
        """Return where not exactly one class has a pixel at both ends of its bracket.

        With a the number of classes at the lower ends and b <= a at the upper ends,
        a + many b = many + 1 only if both are 1.
        """
        assert self.numbers is not None
        many = MANY[self.tally]
        falls = 1.0 - rises
        numbers = self.numbers.reshape([1, -1, *[1] * len(self.axes)])
        self.chosen = self.weighted(numbers, mask)
        lower = self.weighted(rises + falls * many, mask)
        return ~(lower + self.weighted(rises * many + falls, after) == many + 1)

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

    def weighted(self, weights: Value, mask: Value) -> Value:
        """Sum, at each pixel, weights of the classes that have it: (batch, pixel)."""
        row = weights.reshape([0, 1, -1]).cast(mask.dtype)
        return row.matmul(mask.reshape([0, 0, -1]), "weighted").reshape([0, -1])

    def gather(self, p: Value) -> None:
        """Gather the open pixels, and the first lest there be none: (batch, class, 1, ..., n)."""
        f = self.fragment
        f.scope = "open/"
        anywhere = self.open.cast(TensorProto.FLOAT)
        anywhere = anywhere.ones(0).matmul(anywhere, "samples").reshape([-1])
        first, yes = f.indices([0], "axes"), f.constant([1.0], TensorProto.FLOAT, "yes")
        anywhere = f.add("ScatterElements", [anywhere, first, yes], TensorProto.FLOAT)
        self.where = f.add("NonZero", [anywhere], TensorProto.INT64, "pixels").reshape([-1])
        last = self.where.reshape([*[1] * (len(self.axes) - 1), -1])
        flat = p.reshape([0, 0, -1])
        self.pixels = f.add("Gather", [flat, last], p.dtype, "probs", axis=2)
        self.before = (self.pixels > self.start).cast(p.dtype, "before")

    def total(self, x: Value) -> Value:
        """Sum over the gathered pixels."""
        return x.reduce("ReduceSum", [self.axes[-1]]).cast(self.state)

    def change(self, threshold: Value) -> tuple[Value, Value]:
        """Return by how much a threshold inside the brackets changes the count and the sum."""
        x = self.pixels
        moved = (x > threshold).cast(x.dtype) - self.before
        return self.total(moved), self.total(x * moved)

    def scan(self, start: Value, step: Value) -> tuple[Value, Value]:
        """Try all thresholds at once, along the axis before the pixels."""
        grid = np.arange(GRID)[::-1].reshape([*[1] * len(self.axes), GRID, 1])
        size, overlap = self.change(start + step * self.fragment.constant(grid, step.dtype, "grid"))
        return size + self.first.size, overlap + self.first.overlap

    def climb(self, rows: Rows) -> Value:
        """Iterate on the gathered pixels."""
        threshold, dtype = self.better, self.pixels.dtype
        numerator, denominator = self.first.overlap + rows.offset, rows.base + self.first.size
        for i in range(STEPS):
            self.fragment.scope = f"up{i + 1}/"
            size, overlap = self.change(threshold.cast(dtype))
            threshold = maximum(threshold, (numerator + overlap) / (denominator + size))
        threshold = minimum(threshold, self.top)
        if self.undecided:
            self.fragment.scope = "end/"
            width = self.sliver(threshold, rows, self.top)
            threshold = self.finish(threshold, width, rows, self.scan, dtype)
        self.fragment.scope = ""
        return self.round_down(self.where_active(threshold, rows), dtype)

    def labels(self, p: Value) -> Value:
        """Let the classes compete at the gathered pixels, and write these over the others."""
        p, rows = self.measure(p)
        threshold = self.threshold(p, rows)
        f, x = self.fragment, self.pixels
        f.scope = "labels/"
        mask = (x > threshold).cast(p.dtype, "mask")
        claims = mask.reduce("ReduceSum", [1], "claims")
        sole = mask * (claims == 1.0).cast(p.dtype)
        size = self.first.size + self.total(sole - self.before)
        some = (size > 0.5).cast(self.state)
        overlap = (self.first.overlap + self.total((sole - self.before) * x)) * some
        winner = self.winners(x, mask, claims, Masks(threshold, size, overlap), rows)
        updates = winner.reshape([0, -1]).cast(self.wide_label)
        where = f.add("Expand", [self.where, updates.shape()], TensorProto.INT64, "where")
        inputs = [self.chosen.cast(self.wide_label), where, updates]
        written = f.add("ScatterElements", inputs, self.wide_label, "written", axis=1)
        shape = p.shape([0, *self.axes])
        labels = f.add("Reshape", [written, shape], self.wide_label, "result")
        return labels.cast(LABEL_DTYPES[self.settings.label_dtype])

    @property
    def wide_label(self) -> int:
        """The type that labels are written in: half the memory unless `void_index` is huge."""
        huge = not -(2**31) <= self.settings.void_index < 2**31
        return TensorProto.INT64 if huge else TensorProto.INT32
