"""The solver that settles most pixels at once and iterates on the few others.

One step from a guess t0, on the whole map, brackets each row's threshold: with h = S - t0 n the
best threshold lies between the step's result and (h + B) / A where ``threshold(n, S, mu)`` is
(S + B) / (A + n), as h falls when t rises. Pixels outside every bracket never change sides. If
also exactly one class has them, they are settled; the others, a few percent of most maps, are
gathered, and every further step reads only those.
"""

from onnx import TensorProto

from .fragment import Value, maximum, minimum
from .solver import THIN_STRIDE, Masks, Rows, Solver

THIN_PIXELS = {1: 4096, 2: 64, 3: 16}
"""Pixels along each of so many axes that thinning leaves, about."""

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

    def enclose(self, p: Value, rows: Rows) -> None:
        """Take one step on the whole map, and find the pixels that may still change sides."""
        start = self.first_guess(p, rows)
        if self.undecided:
            start = start * LOW_START
        self.fragment.scope = "first/"
        self.start = self.where_active(start, rows)
        mask = (p > self.start).cast(p.dtype, "mask")
        size = mask.sum(self.axes, self.state)
        before = self.claims(mask) if self.settings.multiclass else mask
        masks = Masks(self.start.cast(self.state), size, (p * mask).sum(self.axes, self.state))
        self.first, self.better = masks, self.step(size, masks.overlap, rows.base)
        self.fragment.scope = "bracket/"
        excess = masks.overlap - masks.threshold * size
        top = self.step(0.0, excess, rows.base) * (1 + SLACK)
        if self.undecided:
            top = top + self.objective.sliver(rows.mass)
        rises = (self.better > masks.threshold).cast(self.state)
        falls = 1.0 - rises
        self.top = top * rises + masks.threshold * falls
        end = self.where_active(top * rises + self.better * (1 - SLACK) * falls, rows)
        after = (p > end.cast(p.dtype)).cast(p.dtype)
        if self.settings.multiclass:
            after, (claims, self.chosen) = self.claims(after), (before.pick(i, 1) for i in (0, 1))
        moved = (after - before).absolute().reshape([0, 0, -1]).reduce("ReduceSum", [0, 1])
        if self.settings.multiclass:
            moved = moved + (claims - 1.0).absolute().reduce("ReduceSum", [0])
        self.open = moved.reshape([-1])

    def claims(self, mask: Value) -> Value:
        """Count the classes that have a pixel, and sum their numbers: (batch, 2, pixels).

        Where the count is 1, the sum is the class.
        """
        f = self.fragment
        numbers = self.numbers.cast(mask.dtype).reshape([1, -1])
        rows = [numbers - numbers + 1.0, numbers]
        weights = f.add("Concat", rows, mask.dtype, "weights", axis=0)
        return f.add("MatMul", [weights, mask.reshape([0, 0, -1])], mask.dtype, "claims")

    def gather(self, p: Value) -> None:
        """Gather the open pixels, and the first lest there be none: (batch, class, n, 1, ...)."""
        f = self.fragment
        f.scope = "open/"
        everywhere = self.open.positions(0)
        wanted = f.add("Or", [self.open > 0.0, everywhere < 1], TensorProto.BOOL, "wanted")
        self.where = f.add("Compress", [everywhere, wanted], TensorProto.INT64, "pixels", axis=0)
        column = self.where.reshape([-1, *[1] * (len(self.axes) - 1)])
        flat = p.reshape([0, 0, -1])
        self.pixels = f.add("Gather", [flat, column], p.dtype, "probs", axis=2)
        self.before = (self.pixels > self.start).cast(p.dtype, "before")

    def total(self, x: Value) -> Value:
        """Sum over the gathered pixels."""
        return x.reduce("ReduceSum", self.axes).cast(self.state)

    def change(self, threshold: Value) -> tuple[Value, Value]:
        """Return by how much a threshold inside the brackets changes the count and the sum."""
        x = self.pixels
        moved = (x > threshold).cast(x.dtype) - self.before
        return moved.reduce("ReduceSum", self.axes), (x * moved).reduce("ReduceSum", self.axes)

    def above(self, threshold: Value) -> Masks:
        """Count and sum the pixels above a threshold inside the brackets."""
        size, overlap = self.change(threshold.cast(self.pixels.dtype))
        return Masks(threshold, self.first.size + size, self.first.overlap + overlap)

    def climb(self, rows: Rows) -> Value:
        """Iterate on the gathered pixels."""
        threshold = self.better
        for i in range(STEPS):
            self.fragment.scope = f"step{i + 1}/"
            masks = self.above(threshold)
            threshold = maximum(threshold, self.step(masks.size, masks.overlap, rows.base))
        threshold = minimum(threshold, self.top)
        dtype = self.pixels.dtype
        if self.undecided:
            self.fragment.scope = "end/"
            width = self.sliver(threshold, rows, self.top)
            threshold = self.finish(threshold, width, rows, self.change, self.first, dtype)
        self.fragment.scope = ""
        return self.round_down(self.where_active(threshold, rows), dtype)

    def keep_heirs(self, p: Value, rows: Rows) -> tuple[Value, Rows]:
        """Drop the classes that get no pixel: pruned in every sample where another is not."""
        f = self.fragment
        f.scope = "kept/"
        none = 1.0 - rows.active.reduce("ReduceMax", [1])
        heir = maximum(rows.active, none).reduce("ReduceMax", [0]).reshape([-1]) > 0.0
        inputs = [p.positions(1), heir]
        self.numbers = f.add("Compress", inputs, TensorProto.INT64, "classes", axis=0)
        p, *kept = (f.add("Gather", [x, self.numbers], x.dtype, axis=1) for x in (p, *rows))
        return p, Rows(*kept)

    def labels(self, p: Value, rows: Rows) -> Value:
        """Let the classes compete at the gathered pixels, and write these over the others."""
        p, rows = self.keep_heirs(p, rows)
        threshold = self.threshold(p, rows)
        f, x = self.fragment, self.pixels
        f.scope = "labels/"
        mask = (x > threshold).cast(p.dtype, "mask")
        claims = mask.reduce("ReduceSum", [1], "claims")
        every = self.above(threshold)
        shared = mask * (1.0 - (claims == 1.0).cast(p.dtype))
        size = every.size - self.total(shared)
        some = (size > 0.5).cast(self.state)
        overlap = (every.overlap - self.total(shared * x)) * some
        winner = self.winners(x, mask, claims, Masks(threshold, size, overlap), rows)
        labels = self.chosen.cast(winner.dtype)
        updates = winner.reshape([0, -1])
        where = f.add("Expand", [self.where, updates.shape()], TensorProto.INT64, "where")
        inputs = [labels, where, updates]
        written = f.add("ScatterElements", inputs, winner.dtype, "written", axis=1)
        shape = p.shape([0, *self.axes])
        return f.add("Reshape", [written, shape], winner.dtype, "result")
