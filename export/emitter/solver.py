"""The RMA solver as ONNX nodes, without sort or loop.

The graph does what `rankseg.solvers.rma` does in a fixed number of steps: thresholds from a
thinned map, then from the whole map, and labels from the masks as in
`rankseg.solvers.assignment`. What is said of one (sample, class) row is a tensor of shape
(batch, class, 1, ...), in double precision unless the profile is "static".
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from onnx import TensorProto

from ...objectives import OBJECTIVES, Dice, Objective
from ..settings import TailSettings
from .fragment import Fragment, Operand, Value, maximum, minimum
from .probabilities import probabilities

START = 0.4
"""First threshold of a row that the thinned map does not show.

With 0.1 as few pixels are gathered, with 0.8 3.2 % of 15 real frames in place of 2.7 %.
"""

GRID = 5
"""Thresholds tried across the undecided interval of Dice with `smooth`.

On 16 maps of 24 x 24 pixels and smooth 5 the expected Dice is 1.3e-5 below the best at most; with
4 thresholds 3e-4. No pixel of 160 real frames depends on it with smooth 1.
"""

NO_PIXEL = 2.0
"""A threshold above every probability."""

TINY = 1e-30
"""Below the sum of any row that has a pixel to select; with 0 a row of zeros gets 0 / 0."""

PENALTY = 8.0
"""More than two scaled increments can differ by: takes a class out of the competition.

2 is the bound; on 160 real frames 1 does as well.
"""


class Rows(NamedTuple):
    """What is known of each row: values of shape (batch, class, 1, ...).

    `classes` has their numbers where only some were kept.
    """

    mass: Value
    high: Value
    active: Value
    offset: float
    base: Value
    classes: Value | None

    def threshold(self, size: Operand, overlap: Value) -> Value:
        """Return `objective.threshold` of so many pixels with this sum."""
        return (overlap + self.offset) / (self.base + size)


class Masks(NamedTuple):
    """A threshold for each row, and the number and sum of the pixels above it."""

    threshold: Value
    size: Value
    overlap: Value


Scan: TypeAlias = Callable[[Value, Value], tuple[Value, Value]]
"""Counts and sums the pixels above `GRID` thresholds, a start and so many steps, highest first."""


class Solver:
    """What both profiles share."""

    thin_steps: int

    def __init__(
        self, fragment: Fragment, settings: TailSettings, ndim: int, classes: int | None
    ) -> None:
        self.fragment, self.settings, self.classes = fragment, settings, classes
        self.state = fragment.state
        self.ndim, self.axes = ndim, list(range(2, 2 + max(ndim, 2)))  # a line has width 1

    @property
    def objective(self) -> Objective:
        """What RMA maximises."""
        return OBJECTIVES[self.settings.metric](self.settings.smooth)

    def run(self, source: Value, class_axis: int) -> Value:
        """Return labels, or masks with the classes where the source has them."""
        position = class_axis % (2 + self.ndim)
        p = probabilities(source, self.settings, position, self.ndim)
        if self.ndim == 1:
            p = p.reshape([0, 0, 0, 1])
        if self.settings.multiclass:
            labels = self.labels(p) if self.settings.solver == "RMA" else self.most_probable(p)
            return labels.squeeze([2]) if self.ndim == 1 else labels
        masks = self.masks(p) if self.settings.solver == "RMA" else self.above_half(p)
        if self.ndim == 1:
            masks = masks.squeeze([3])
        if position == 1:
            return masks
        order = [0, *range(2, 2 + self.ndim)]
        order.insert(position, 1)
        return masks.transpose(order, "masks")

    def labels(self, p: Value) -> Value:
        """Return the class of each pixel, (batch, *spatial)."""
        raise NotImplementedError

    def masks(self, p: Value) -> Value:
        """Return the best mask of each class."""
        p, rows = self.measure(p)
        return p > self.threshold(p, rows)

    def above_half(self, p: Value) -> Value:
        """Return the masks p > 0.5, empty where pruning leaves a class out."""
        if self.settings.solver == "pruned-TR":
            _, active = self.activity(p)
            p = p * active.cast(p.dtype)
        return p > 0.5

    def most_probable(self, p: Value) -> Value:
        """Return the most probable class; with pruning of those that it leaves, if any."""
        f = self.fragment
        if self.settings.solver == "pruned-argmax":
            _, active = self.activity(p)
            p = p - (active.reduce("ReduceMax", [1]) - active).cast(p.dtype) * 2.0
        labels = f.add("ArgMax", [p], TensorProto.INT64, "winner", axis=1, keepdims=0)
        return labels.cast(self.settings.label_type)

    def threshold(self, p: Value, rows: Rows) -> Value:
        """Return the threshold of each row, in the type of the map."""
        raise NotImplementedError

    def activity(self, p: Value) -> tuple[Value, Value]:
        """Return the largest value of each row, and whether it escapes pruning."""
        self.fragment.scope = "rows/"
        high = p
        for axis in reversed(self.axes):
            high = high.reduce("ReduceMax", [axis], "high")
        pruning = self.settings.pruning_prob
        limit: Operand = pruning if isinstance(pruning, float) else 0.0
        if isinstance(pruning, tuple):
            shaped = np.reshape(pruning, (1, -1, *[1] * len(self.axes)))
            limit = self.fragment.constant(shaped, p.dtype, "pruning_prob")
        return high, (high > limit).cast(self.state, "active")

    def measure(self, p: Value) -> tuple[Value, Rows]:
        """Return the rows that matter, and what is known of them."""
        high, active = self.activity(p)
        classes = self.eligible(p, active)
        if classes is not None:
            p, high, active = (
                self.fragment.add("Gather", [x, classes], x.dtype, axis=1)
                for x in (p, high, active)
            )
        mass = p.sum(self.axes, self.state)
        offset, base = self.objective.line(mass)
        base = maximum(base, self.fragment.constant(TINY, self.state, "tiny"))
        return p, Rows(mass, high, active, offset, base, classes)

    def eligible(self, p: Value, active: Value) -> Value | None:
        """Return the numbers of the classes that may get a pixel, where it pays to drop others."""
        return None

    def first_guess(self, p: Value, rows: Rows) -> Value:
        """Solve the thinned map, whose thresholds are close to those of the whole."""
        f, ndim = self.fragment, len(self.axes)
        f.scope = "thin/"
        strides, ends, scale = self.strides(p)
        inputs = [p, f.indices([0] * ndim, "starts"), ends, f.indices(self.axes, "axes"), strides]
        thin = f.add("Slice", inputs, p.dtype, "map")
        thin_rows = rows._replace(base=rows.base.cast(p.dtype))
        highest, sizes = rows.high * 0.5, []
        start = threshold = minimum(highest, f.constant(START, p.dtype, "start"))
        for i in range(self.thin_steps):
            f.scope = f"thin{i + 1}/"
            mask = (thin > threshold).cast(p.dtype)
            size, overlap = (x.reduce("ReduceSum", self.axes) * scale for x in (mask, mask * thin))
            better = thin_rows.threshold(size, overlap)
            threshold = maximum(threshold, better) if i else better
            sizes.append(size)
        f.scope = "thin/"
        unseen = (sizes[0] < 0.5).cast(p.dtype)
        # The best mask holds the largest value, and a larger threshold than half of it is rare.
        return minimum(maximum(threshold, unseen * start), highest)

    def strides(self, p: Value) -> tuple[Value, Value, Operand]:
        """Return the strides that thin each spatial axis, ends of the slice, and their product."""
        raise NotImplementedError

    def where_active(self, threshold: Value, rows: Rows) -> Value:
        """Leave inactive rows without a pixel."""
        active = rows.active.cast(threshold.dtype)
        return threshold * active + (1.0 - active) * NO_PIXEL

    def round_down(self, threshold: Value, dtype: int) -> Value:
        """Round to the type of the map so that ``p > threshold`` stays as it is."""
        nearest = threshold.cast(dtype, "nearest")
        if dtype == self.state:
            return nearest
        above = (nearest.cast(self.state) > threshold).cast(dtype)
        return nearest * (1.0 - above * 2.0**-24)

    def growth(self, p: Value, alone: Masks, rows: Rows) -> Value:
        """Return what a pixel adds to each class, scaled so that a penalty of 1 decides.

        Classes that must not take unassigned pixels start 2 lower: the pruned ones, unless all
        of the sample are.
        """
        self.fragment.scope = "gain/"
        slope, offset, *curve = self.objective.increment(alone.size, alone.overlap, rows.mass)
        scale = slope.reduce("ReduceMax", [1]) * PENALTY
        outside = rows.active.reduce("ReduceMax", [1]) - rows.active
        slope, offset = slope / scale, offset / scale + outside * 2.0
        if not curve:
            return p * slope.cast(p.dtype) - offset.cast(p.dtype)
        slope, offset, full = slope / curve[0], offset / curve[0], 1.0 / curve[0]
        return (p * slope.cast(p.dtype) - offset.cast(p.dtype)) / (full.cast(p.dtype) - p)

    def winners(self, p: Value, mask: Value, votes: Value, alone: Masks, rows: Rows) -> Value:
        """Return the class of each pixel, with the class axis left at length 1."""
        f = self.fragment
        growth = self.growth(p, alone, rows)
        selected = minimum(votes, f.constant(1.0, p.dtype, "one_vote"))
        penalised = growth + (mask - selected)
        winner = f.add("ArgMax", [penalised], TensorProto.INT64, "winner", axis=1, keepdims=1)
        if rows.classes is not None:
            inputs = [rows.classes, winner]
            winner = f.add("Gather", inputs, TensorProto.INT64, "winning_class", axis=0)
        if self.settings.void:
            taken = selected.cast(TensorProto.INT64)
            winner = winner * taken + (1 - taken) * self.settings.void_index
        return winner

    def interval(self, rows: Rows) -> Value:
        """Return the width of the undecided interval, which `Dice.sliver` bounds."""
        assert isinstance(self.objective, Dice)
        return self.objective.undecided(rows.mass)

    def finish(self, low: Value, width: Value, rows: Rows, scan: Scan, dtype: int) -> Value:
        """Return the best threshold across the interval, or one that leaves the mask empty."""
        assert isinstance(self.objective, Dice)
        f, axis = self.fragment, self.axes[-2]
        nothing = rows.mass - rows.mass
        size, overlap = (
            f.add("Concat", [nothing, x.cast(self.state)], self.state, axis=axis)
            for x in scan(low.cast(dtype), (width * (1 / (GRID - 1))).cast(dtype))
        )
        odds = self.objective.odds(size, overlap, rows.mass)
        index = f.add("ArgMax", [odds], TensorProto.INT64, "best", axis=axis, keepdims=1)
        index = index.cast(self.state)
        empty = (index < 1.0) * NO_PIXEL
        return low + width * (1 / (GRID - 1)) * (GRID - index) + empty

    @property
    def undecided(self) -> bool:
        """Whether the fixed point leaves pixels undecided."""
        return isinstance(self.objective, Dice) and self.settings.smooth > 0
