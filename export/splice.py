"""The tail, what it needs before and behind it, and their place in a model."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper

from .emitter.fragment import Fragment, Value
from .emitter.tail import STATES, as_function, emit, summary, tail
from .head.index import GraphIndex, attribute
from .head.recognize import Head, smaller_axis
from .names import remove_unused, rename, unused_prefix, value_names
from .settings import TailSettings

FUNCTION_IR = 8


class Scores(NamedTuple):
    """A map of probabilities or logits: a letter for each axis (N, C, S), and the sizes known."""

    value: Value
    axes: list[str]
    shape: list[Any]

    @property
    def classes(self) -> int | None:
        """The number of classes, if it is known."""
        size = self.shape[self.axes.index("C")]
        return size if isinstance(size, int) else None


class Spliced(NamedTuple):
    """What was put behind a head.

    Attributes
    ----------
    scores : Scores
        What the tail reads.
    tail, result : Value
        What the tail computes, and the same as the output is to be.
    shape : list
        Of the result.
    findings : list of str
        What was done, in words.
    """

    scores: Scores
    tail: Value
    result: Value
    shape: list[Any]
    findings: list[str]


class Splice:
    """A model that gets a tail."""

    def __init__(
        self, model: ModelProto, index: GraphIndex, head: Head, settings: TailSettings
    ) -> None:
        self.model, self.index, self.head, self.settings = model, index, head, settings
        self.fragment = Fragment(unused_prefix(model.graph), index.opset, STATES[settings.profile])
        self.added = [i for i, letter in enumerate("NC") if letter not in (head.axes or "")]

    def add(self, resize_to: Any, form: str) -> Spliced:
        """Add all new nodes to the fragment."""
        head, settings, findings = self.head, self.settings, list(self.head.findings)
        scores = self._whole()
        if resize_to is not None:
            scores = self._resized(self._channels_first(scores), resize_to)
            findings.append(f"values are resized to {resize_to} before it, bilinear")
        if scores.classes is not None:
            settings.check_classes(scores.classes)
        if settings.multiclass and head.followers:
            settings = replace(settings, label_dtype="int64")
        nodes, before = self.fragment.nodes, len(self.fragment.nodes)
        made = self._tail(settings, scores, form)
        after = len(nodes)
        result = self._labels(made) if settings.multiclass else self._masks(made, scores.axes)
        for node in nodes[:before] + nodes[after:]:
            node.name = node.output[0]
        return Spliced(scores, made, result, self._result_shape(scores, resize_to), findings)

    def _whole(self) -> Scores:
        """Return the source with axes of length 1 for the batch or the classes it lacks."""
        head, shape = self.head, list(self.head.shape)
        for i in self.added:
            shape.insert(i, 1)
        source = Value(self.fragment, head.source, head.element_type)
        return Scores(
            source.unsqueeze(self.added, "whole"), self._with_added(head.axes or ""), shape
        )

    def _with_added(self, axes: str) -> list[str]:
        listed = list(axes)
        for i in self.added:
            listed.insert(i, "NC"[i])
        return listed

    def _tail(self, settings: TailSettings, scores: Scores, form: str) -> Value:
        """Add the tail, as nodes or as one node of a function."""
        class_axis, ndim = scores.axes.index("C"), scores.axes.count("S")
        classes = scores.classes
        if form == "flat":
            return emit(settings, scores.value, ndim, classes, class_axis)
        made = tail(
            settings,
            "map",
            prefix="",  # names inside a function are its own
            opset=self.index.opset,
            spatial_ndim=ndim,
            num_classes=classes,
            element_type=scores.value.dtype,
            class_axis=class_axis,
        )
        node, function = as_function(made, "map", self.index.opset)
        result = Value(self.fragment, self.fragment.prefix + made.output, made.output_type)
        node.name = self.fragment.prefix + node.name
        node.input[:], node.output[:] = [scores.value.name], [result.name]
        self._add_function(function, node)
        self.fragment.nodes.append(node)
        return result

    def _add_function(self, function: onnx.FunctionProto, node: NodeProto) -> None:
        taken = {f.name for f in self.model.functions if f.domain == function.domain}
        while function.name in taken:
            function.name += "_"
        node.op_type = function.name
        self.model.functions.append(function)
        self.model.ir_version = max(self.model.ir_version, FUNCTION_IR)
        if function.domain not in {o.domain for o in self.model.opset_import}:
            self.model.opset_import.append(helper.make_opsetid(function.domain, 1))

    def _ordered(self, value: Value, order: list[int], name: str) -> Value:
        return value if order == sorted(order) else value.transpose(order, name)

    def _channels_first(self, scores: Scores) -> Scores:
        """Return the map in float32 with its channels first."""
        axes = ["N", "C"] + ["S"] * scores.axes.count("S")
        order = _permutation(scores.axes, axes)
        value = scores.value.cast(TensorProto.FLOAT, "float")
        value = self._ordered(value, order, "channels_first")
        return Scores(value, axes, [scores.shape[i] for i in order])

    def _resized(self, scores: Scores, resize_to: Any) -> Scores:
        """Resize a map with its channels first."""
        f = self.fragment
        sizes, of_input = self._target(resize_to, scores.axes.count("S"))
        shape = scores.shape[:2] + sizes
        if all(isinstance(size, int) for size in shape):
            wanted = f.constant(shape, TensorProto.INT64, "sizes")
        elif self.settings.profile == "static":
            raise ValueError("profile 'static' resizes only where all sizes are known")
        else:
            lengths = f.add("Shape", [scores.value], TensorProto.INT64, "shape")
            batch = self._cut(lengths, 0, 2, "batch_class")
            spatial = of_input or f.constant(sizes, TensorProto.INT64, "spatial")
            wanted = f.add("Concat", [batch, spatial], TensorProto.INT64, "sizes", axis=0)
        empty = Value(f, "", TensorProto.FLOAT)
        if self.index.opset < 13:
            empty = f.constant([], TensorProto.FLOAT, "no_roi")
        inputs = [scores.value, empty, empty, wanted]
        value = f.add("Resize", inputs, TensorProto.FLOAT, "resized", mode="linear")
        return Scores(value, scores.axes, shape)

    def _target(self, resize_to: Any, count: int) -> tuple[list[Any], Value | None]:
        """Return the spatial sizes, and the value that has them where they follow the input."""
        if resize_to != "input":
            sizes = [resize_to] if isinstance(resize_to, str | int) else list(resize_to)
            if len(sizes) != count or not all(isinstance(s, int) and s > 0 for s in sizes):
                raise ValueError(
                    f"resize_to must be 'input' or {count} positive sizes, found {resize_to!r}"
                )
            return sizes, None
        shapes = {name: self.index.shape(name) or () for name in self.index.inputs()}
        maps = [name for name, shape in shapes.items() if len(shape) == count + 2]
        channel = smaller_axis(shapes[maps[0]]) if len(maps) == 1 else None
        if channel is None:
            raise ValueError("resize_to='input': the graph does not tell the input's size; give it")
        start = 2 if channel == 1 else 1
        source = Value(self.fragment, maps[0], self.index.element_type(maps[0]))
        lengths = self.fragment.add("Shape", [source], TensorProto.INT64, "input_shape")
        spatial = self._cut(lengths, start, start + count, "input_size")
        return list(shapes[maps[0]][start : start + count]), spatial

    def _cut(self, shape: Value, start: int, end: int, name: str) -> Value:
        """Return the entries of a shape from start to end."""
        f = self.fragment
        ends = (
            f.constant([i], TensorProto.INT64, f"{name}_{what}")
            for i, what in ((start, "start"), (end, "end"))
        )
        return f.add("Slice", [shape, *ends], TensorProto.INT64, name)

    def _labels(self, made: Value) -> Value:
        """Give labels of the tail the shape and type that the output has."""
        labels = made.squeeze([0] * (0 in self.added), "one_sample")
        if self.head.argmax is not None:
            labels = self._as_argmax(labels, self.head.argmax)
        return labels.cast(self.settings.label_type, "as_label_dtype")

    def _masks(self, made: Value, axes: list[str]) -> Value:
        """Give masks of the tail the axes that the output has."""
        order = _permutation(axes, self._with_added(self.head.result_axes or ""))
        return self._ordered(made, order, "masks").squeeze(self.added, "masks_as_output")

    def _as_argmax(self, labels: Value, argmax: NodeProto) -> Value:
        """Give labels the axes of the final ArgMax, and repeat the nodes behind it."""
        if attribute(argmax, "keepdims", 1):
            labels = labels.unsqueeze([(self.head.result_axes or "").index("C")], "as_argmax")
        renamed = {argmax.output[0]: labels.name}
        for node in self.head.followers:
            copy, made = NodeProto(), node.output[0]
            copy.CopyFrom(node)
            renamed[made] = self.fragment.prefix + made
            copy.input[:] = [renamed.get(name, name) for name in node.input]
            copy.output[:] = [renamed[made]]
            self.fragment.nodes.append(copy)
            labels = Value(self.fragment, renamed[made], self.index.element_type(made))
        return labels

    def finish(self, spliced: Spliced, name: str, keep_outputs: bool) -> str:
        """Put the new nodes into the graph, and the result among its outputs.

        Returns the name of what the tail computes, which may be the output.
        """
        graph, result = self.model.graph, spliced.result
        self._add_nodes()
        doc = "\n".join([summary(self.settings), *spliced.findings])
        output = helper.make_tensor_value_info(name, result.dtype, spliced.shape, doc)
        if keep_outputs:
            taken = value_names(graph)
            graph.output.append(output)
        else:
            position = self.index.outputs().index(self.head.output)
            del graph.output[position]
            remove_unused(graph, self.head.output)
            taken = value_names(graph)
            graph.output.insert(position, output)
        if name in taken:
            raise ValueError(f"the graph has a value {name!r} already: give another name")
        rename(graph.node, result.name, name)
        return name if spliced.tail.name == result.name else spliced.tail.name

    def _add_nodes(self) -> None:
        graph, constants = self.model.graph, self.fragment.constants.values()
        if self.model.ir_version >= 4:
            graph.initializer.extend(constants)
        else:  # where initializers would have to be inputs
            graph.node.extend(
                helper.make_node("Constant", [], [tensor.name], name=tensor.name, value=tensor)
                for tensor in constants
            )
        graph.node.extend(self.fragment.nodes)
        graph.value_info.extend(self.fragment.value_info)

    def _result_shape(self, scores: Scores, resize_to: Any) -> list[Any]:
        head, axes = self.head, self.head.result_axes or ""
        spatial = (
            size for letter, size in zip(scores.axes, scores.shape, strict=True) if letter == "S"
        )
        whole = {letter: scores.shape[scores.axes.index(letter)] for letter in "NC"}
        shape = [next(spatial) if letter == "S" else whole[letter] for letter in axes]
        if not self.settings.multiclass:
            return shape
        if "C" in axes:
            shape.pop(axes.index("C"))
        if head.argmax is None:
            return shape
        if head.followers:  # the labels have the shape of the output they replace
            shape = list(self.index.shape(head.output) or ())
            return shape if resize_to is None else [None] * len(shape)
        if attribute(head.argmax, "keepdims", 1):
            shape.insert(axes.index("C"), 1)
        return shape


def _permutation(old: Sequence[str], new: Sequence[str]) -> list[int]:
    """Return where each of the new axes is among the old; spatial axes keep their order."""
    spatial = (i for i, letter in enumerate(old) if letter == "S")
    return [next(spatial) if letter == "S" else old.index(letter) for letter in new]
