"""New nodes of a graph, in the forms that one opset has."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper


class Nodes:
    """New nodes with their values in one prefix, in the forms of one opset."""

    def __init__(self, prefix: str, opset: int) -> None:
        self.prefix, self.opset = prefix, opset
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []

    def add(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Append a node and return the name of its output."""
        output = self.prefix + name
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, values: Sequence[float], dtype: type = np.int64) -> str:
        """Append an initializer and return its name."""
        tensor = numpy_helper.from_array(np.array(values, dtype), self.prefix + name)
        self.initializers.append(tensor)
        return tensor.name

    def reshaped(self, kind: str, value: str, axes: Sequence[int], name: str) -> str:
        """Squeeze or Unsqueeze, if there is any axis to take."""
        if not axes:
            return value
        if self.opset < 13:
            return self.add(kind, [value], name, axes=list(axes))
        return self.add(kind, [value, self.constant(name + "_axes", axes)], name)

    def cut(self, shape: str, start: int, end: int, name: str) -> str:
        """Return the entries of a shape from start to end."""
        starts, ends = self.constant(name + "_start", [start]), self.constant(name + "_end", [end])
        return self.add("Slice", [shape, starts, ends], name)
