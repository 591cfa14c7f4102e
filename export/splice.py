"""The tail, what it needs before and behind it, and their place in a model."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper

from .emitter.tail import as_function, summary, tail
from .head.index import GraphIndex, attribute
from .head.recognize import Ending, smaller_axis
from .names import remove_unused, rename, unused_prefix, value_names
from .nodes import Nodes
from .settings import LABEL_DTYPES, TailSettings

FUNCTION_IR = 8


class Splice:
    """A model that gets a tail."""

    def __init__(self, model: ModelProto, index: GraphIndex, ending: Ending) -> None:
        self.model, self.index, self.ending = model, index, ending
        self.new = Nodes(unused_prefix(model.graph), index.opset)
        self.shape, axes = list(ending.shape), ending.axes or ""
        self.added = [i for i, letter in enumerate("NC") if letter not in axes]
        for i in self.added:
            self.shape.insert(i, 1)
        self.axes = self._with_added(axes)
        self.result_axes = self._with_added(ending.result_axes or "")
        self.findings = list(ending.findings)
        self.record: dict[str, Any] = {}

    def _with_added(self, axes: str) -> list[str]:
        listed = list(axes)
        for i in self.added:
            listed.insert(i, "NC"[i])
        return listed

    def add(self, settings: TailSettings, resize_to: Any, form: str) -> str:
        """Add all new nodes and return the name of the result."""
        value = self.new.reshaped("Unsqueeze", self.ending.source, self.added, "whole")
        element_type = self.ending.element_type
        if resize_to is not None:
            value = self._channels_first(self._float(value))
            value, element_type = self._resized(value, resize_to, settings), TensorProto.FLOAT
            self.findings.append(f"values are resized to {resize_to} before it, bilinear")
        self.record = {
            "resize_to": resize_to,
            "input": value,
            "class_axis": self.axes.index("C"),
        }
        classes = self.shape[self.axes.index("C")]
        if isinstance(classes, int):
            settings.check_classes(classes)
        if settings.multiclass and self.ending.followers:
            settings = replace(settings, label_dtype="int64")
        result = self._tail(settings, value, element_type, form)
        self.record["result"] = result
        if not settings.multiclass:
            result = self._order(result, self.result_axes, "masks")
            return self.new.reshaped("Squeeze", result, self.added, "masks_as_output")
        result = self.new.reshaped("Squeeze", result, [0] * (0 in self.added), "one_sample")
        if self.ending.argmax is None:
            return result
        return self._as_argmax(result, self.ending.argmax)

    def _tail(self, settings: TailSettings, value: str, element_type: int, form: str) -> str:
        classes = self.shape[self.axes.index("C")]
        flat = form == "flat"  # names inside a function are its own
        made = tail(
            settings,
            value if flat else "map",
            prefix=self.new.prefix if flat else "",
            opset=self.index.opset,
            spatial_ndim=self.axes.count("S"),
            num_classes=classes if isinstance(classes, int) else None,
            element_type=element_type,
            class_axis=self.axes.index("C"),
        )
        self.result_type = made.output_type
        if flat:
            self.new.nodes += made.nodes
            self.new.initializers += made.initializers
            self.model.graph.value_info.extend(made.value_info)
            return made.output
        node, function = as_function(made, "map", self.index.opset)
        node.name, output = self.new.prefix + node.name, self.new.prefix + made.output
        node.input[:], node.output[:] = [value], [output]
        self._add_function(function, node)
        self.new.nodes.append(node)
        return output

    def _add_function(self, function: onnx.FunctionProto, node: NodeProto) -> None:
        taken = {f.name for f in self.model.functions if f.domain == function.domain}
        while function.name in taken:
            function.name += "_"
        node.op_type = function.name
        self.model.functions.append(function)
        self.model.ir_version = max(self.model.ir_version, FUNCTION_IR)
        if function.domain not in {o.domain for o in self.model.opset_import}:
            self.model.opset_import.append(helper.make_opsetid(function.domain, 1))

    def _float(self, value: str) -> str:
        if self.ending.element_type == TensorProto.FLOAT:
            return value
        return self.new.add("Cast", [value], "float", to=TensorProto.FLOAT)

    def _channels_first(self, value: str) -> str:
        order = ["N", "C"] + ["S"] * self.axes.count("S")
        self.shape = [self.shape[i] for i in _permutation(self.axes, order)]
        value = self._order(value, order, "channels_first")
        self.axes = order
        return value

    def _order(self, value: str, axes: list[str], name: str) -> str:
        """Transpose a value from the present order of axes to another."""
        if axes == self.axes:
            return value
        return self.new.add("Transpose", [value], name, perm=_permutation(self.axes, axes))

    def _resized(self, value: str, resize_to: Any, settings: TailSettings) -> str:
        """Resize a map with its channels first."""
        sizes, of_input = self._target(resize_to)
        known = self.shape[:2] + sizes
        if all(isinstance(size, int) for size in known):
            wanted = self.new.constant("sizes", known)
        elif settings.profile == "static":
            raise ValueError("profile 'static' resizes only where all sizes are known")
        else:
            batch = self.new.cut(self.new.add("Shape", [value], "shape"), 0, 2, "batch_class")
            spatial = of_input or self.new.constant("spatial", sizes)
            wanted = self.new.add("Concat", [batch, spatial], "sizes", axis=0)
        self.shape = known
        empty = ["", ""]
        if self.index.opset < 13:
            empty = [self.new.constant("no_roi", [], np.float32)] * 2
        return self.new.add("Resize", [value, *empty, wanted], "resized", mode="linear")

    def _target(self, resize_to: Any) -> tuple[list[Any], str | None]:
        """Return the spatial sizes, and the value that has them where they follow the input."""
        count = self.axes.count("S")
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
        shape = self.new.add("Shape", [maps[0]], "input_shape")
        spatial = self.new.cut(shape, start, start + count, "input_size")
        return list(shapes[maps[0]][start : start + count]), spatial

    def _as_argmax(self, labels: str, argmax: NodeProto) -> str:
        """Give labels the axes of the final ArgMax, and repeat the nodes behind it."""
        if attribute(argmax, "keepdims", 1):
            axis = (self.ending.result_axes or "").index("C")
            labels = self.new.reshaped("Unsqueeze", labels, [axis], "as_argmax")
        renamed = {argmax.output[0]: labels}
        for node in self.ending.followers:
            copy = NodeProto()
            copy.CopyFrom(node)
            inputs = [renamed.get(name, name) for name in node.input]
            renamed[node.output[0]] = self.new.prefix + node.output[0]
            copy.name = renamed[node.output[0]]
            del copy.input[:], copy.output[:]
            copy.input.extend(inputs)
            copy.output.append(copy.name)
            self.new.nodes.append(copy)
            labels = copy.name
            self.result_type = self.index.element_type(node.output[0])
        return labels

    def finish(self, result: str, settings: TailSettings, name: str, keep_outputs: bool) -> None:
        """Put the new nodes into the graph, and the result among its outputs."""
        graph, new = self.model.graph, self.new
        wanted = LABEL_DTYPES[settings.label_dtype] if settings.multiclass else TensorProto.BOOL
        if self.result_type != wanted:
            result = new.add("Cast", [result], "as_label_dtype", to=wanted)
        self._add_nodes()
        doc = "\n".join([summary(settings), *self.findings])
        output = helper.make_tensor_value_info(name, wanted, self._result_shape(settings), doc)
        if keep_outputs:
            taken = value_names(graph)
            graph.output.append(output)
        else:
            position = self.index.outputs().index(self.ending.output)
            del graph.output[position]
            remove_unused(graph, self.ending.output)
            taken = value_names(graph)
            graph.output.insert(position, output)
        if name in taken:
            raise ValueError(f"the graph has a value {name!r} already: give another name")
        rename(new.nodes, result, name)
        rename(graph.node, result, name)
        self.record["result"] = name if self.record["result"] == result else self.record["result"]

    def _add_nodes(self) -> None:
        graph, new = self.model.graph, self.new
        if self.model.ir_version >= 4:
            graph.initializer.extend(new.initializers)
        else:  # where initializers would have to be inputs
            graph.node.extend(
                helper.make_node("Constant", [], [tensor.name], name=tensor.name, value=tensor)
                for tensor in new.initializers
            )
        graph.node.extend(new.nodes)

    def _result_shape(self, settings: TailSettings) -> list[Any]:
        ending, axes = self.ending, self.ending.result_axes or ""
        spatial = (
            size for letter, size in zip(self.axes, self.shape, strict=True) if letter == "S"
        )
        whole = {letter: self.shape[self.axes.index(letter)] for letter in "NC"}
        shape = [next(spatial) if letter == "S" else whole[letter] for letter in axes]
        if not settings.multiclass:
            return shape
        if "C" in axes:
            shape.pop(axes.index("C"))
        if ending.argmax is None:
            return shape
        if ending.followers:  # the labels have the shape of the output they replace
            shape = list(self.index.shape(ending.output) or ())
            return shape if self.record["resize_to"] is None else [None] * len(shape)
        if attribute(ending.argmax, "keepdims", 1):
            shape.insert(axes.index("C"), 1)
        return shape


def _permutation(old: Sequence[str], new: Sequence[str]) -> list[int]:
    """Return where each of the new axes is among the old; spatial axes keep their order."""
    spatial = (i for i, letter in enumerate(old) if letter == "S")
    return [next(spatial) if letter == "S" else old.index(letter) for letter in new]
