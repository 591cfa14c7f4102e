"""Nodes under construction: values with operators, in the forms that one opset has."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

SHORT = {"ReduceSum": "sum", "ReduceMax": "max", "Greater": "gt", "Less": "lt", "Cast": "as"}

LETTERS: dict[int, str] = {
    TensorProto.UINT8: "u",
    TensorProto.FLOAT: "f",
    TensorProto.DOUBLE: "d",
    TensorProto.INT32: "i",
    TensorProto.INT64: "l",
}
"""What tells constants of the same value apart."""

AXES_AS_INPUT = {"ReduceSum": 13, "Squeeze": 13, "Unsqueeze": 13, "ReduceMax": 18}
"""The first opset in which the axes are an input of an operator, not an attribute."""


class Fragment:
    """Nodes under construction, in the forms that one opset has."""

    def __init__(self, prefix: str, opset: int, state: int) -> None:
        self.prefix, self.opset, self.state = prefix, opset, state
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}
        self.scope = ""
        self.uses: Counter[str] = Counter()
        self.known: dict[str, Value] = {}
        self.value_info: list[ValueInfoProto] = []

    def add(
        self, kind: str, inputs: Sequence["Value"], dtype: int, name: str = "", **attributes: Any
    ) -> "Value":
        """Append a node with one output of this type, unless there is one that does the same."""
        names = [value.name for value in inputs]
        key = repr((kind, names, attributes))
        if key not in self.known:
            label = self.prefix + self.scope + (name or SHORT.get(kind, kind.lower()))
            self.uses[label] += 1
            output = label if self.uses[label] == 1 else f"{label}{self.uses[label]}"
            number = f"{self.prefix}{len(self.nodes)}"  # a short name: a tail has 300 nodes
            node = helper.make_node(kind, names, [output], number, **attributes)
            self.nodes.append(node)
            self.known[key] = Value(self, output, dtype)
        return self.known[key]

    def over(
        self, kind: str, value: "Value", axes: Sequence[int], name: str = "", **attributes: Any
    ) -> "Value":
        """Append a node that names axes, in the form of the opset."""
        if self.opset < AXES_AS_INPUT[kind]:
            return self.add(kind, [value], value.dtype, name, axes=list(axes), **attributes)
        inputs = [value, self.indices(axes, "axes")]
        return self.add(kind, inputs, value.dtype, name, **attributes)

    def constant(self, value: Any, dtype: int, name: str) -> "Value":
        """Return an initializer, made when it is first asked for."""
        name = self.prefix + name
        array = np.asarray(value, helper.tensor_dtype_to_np_dtype(dtype))
        self.constants.setdefault(name, numpy_helper.from_array(array, name))
        return Value(self, name, dtype)

    def indices(self, values: Sequence[int], name: str) -> "Value":
        """Return a vector of axes, starts or steps."""
        listed = "_".join(str(value) for value in values)
        return self.constant(list(values), TensorProto.INT64, f"{name}_{listed}")


class Value:
    """A tensor of the graph, with the operators that `rankseg.objectives` uses."""

    def __init__(self, fragment: Fragment, name: str, dtype: int) -> None:
        self.fragment, self.name, self.dtype = fragment, name, dtype

    def cast(self, dtype: int, name: str = "") -> "Value":
        """Convert to another element type."""
        if dtype == self.dtype:
            return self
        return self.fragment.add("Cast", [self], dtype, name, to=dtype)

    def reduce(self, kind: str, axes: Sequence[int], name: str = "") -> "Value":
        """Reduce over these axes, which stay with length 1."""
        return self.fragment.over(kind, self, axes, name, keepdims=1)

    def sum(self, axes: Sequence[int], wide: int) -> "Value":
        """Sum one axis after the other, the last first, in `wide` from the second on."""
        total = self
        for axis in reversed(axes):
            total = total.reduce("ReduceSum", [axis]).cast(wide)
        return total

    def shape(self, axes: Sequence[int] | None = None) -> "Value":
        """Return the lengths of these axes, or of all."""
        lengths = self.fragment.add("Shape", [self], TensorProto.INT64)
        if axes is None:
            return lengths
        inputs = [lengths, self.fragment.indices(axes, "axes")]
        return self.fragment.add("Gather", inputs, TensorProto.INT64, "lengths", axis=0)

    def sized(self, rank: int) -> "Value":
        """Give the sizes names, so that a value computed from this one can take its memory."""
        sizes = [f"{self.fragment.prefix}size{i}" for i in range(rank)]
        info = helper.make_tensor_value_info(self.name, self.dtype, sizes)
        self.fragment.value_info.append(info)
        return self

    def relu(self) -> "Value":
        """Replace what is negative by 0."""
        return self.fragment.add("Relu", [self], self.dtype)

    def matmul(self, other: "Value", name: str = "") -> "Value":
        """Multiply matrices; of uint8 the result is int32."""
        if self.dtype == TensorProto.UINT8:
            return self.fragment.add("MatMulInteger", [self, other], TensorProto.INT32, name)
        return self.fragment.add("MatMul", [self, other], self.dtype, name)

    def ones(self, axis: int) -> "Value":
        """Return a row of as many ones as an axis is long: a product with it sums, and fast."""
        f = self.fragment
        lengths = [f.indices([1], "axes"), self.shape([axis])]
        shape = f.add("Concat", lengths, TensorProto.INT64, axis=0)
        one = f.constant(1, self.dtype, f"one_{LETTERS[self.dtype]}")
        return f.add("Expand", [one, shape], self.dtype, "ones")

    def reshape(self, shape: Sequence[int]) -> "Value":
        """Reshape; 0 keeps a length, -1 takes what is left."""
        inputs = [self, self.fragment.indices(shape, "shape")]
        return self.fragment.add("Reshape", inputs, self.dtype)

    def squeeze(self, axes: Sequence[int], name: str = "") -> "Value":
        """Drop axes of length 1."""
        return self.fragment.over("Squeeze", self, axes, name) if axes else self

    def unsqueeze(self, axes: Sequence[int], name: str = "") -> "Value":
        """Insert axes of length 1."""
        return self.fragment.over("Unsqueeze", self, axes, name) if axes else self

    def transpose(self, order: Sequence[int], name: str) -> "Value":
        """Put the axes in another order."""
        return self.fragment.add("Transpose", [self], self.dtype, name, perm=list(order))

    def clip(self, low: float, high: float) -> "Value":
        """Clip to [low, high]."""
        ends = (self.fragment.constant(end, self.dtype, f"end_{end!r}") for end in (low, high))
        return self.fragment.add("Clip", [self, *ends], self.dtype)

    def absolute(self) -> "Value":
        """Drop the sign."""
        return self.fragment.add("Abs", [self], self.dtype)

    def binary(self, kind: str, other: "Operand", swap: bool = False) -> "Value":
        """Combine with a value or a number; bool counts as 0 and 1."""
        left = self
        if not isinstance(other, Value):
            if left.dtype == TensorProto.BOOL:
                left = left.cast(left.fragment.state)
            name = f"{LETTERS[left.dtype]}_{other!r}"
            other = left.fragment.constant(other, left.dtype, name)
        if left.dtype == TensorProto.BOOL:
            left = left.cast(other.dtype)
        other = other.cast(left.dtype)
        compares = kind in ("Greater", "Less", "Equal")
        dtype = TensorProto.BOOL if compares else left.dtype
        return left.fragment.add(kind, [other, left] if swap else [left, other], dtype)

    def __add__(self, other: "Operand") -> "Value":
        return self if _is(other, 0) else self.binary("Add", other)

    __radd__ = __add__

    def __sub__(self, other: "Operand") -> "Value":
        return self.binary("Sub", other)

    def __rsub__(self, other: "Operand") -> "Value":
        return self.binary("Sub", other, swap=True)

    def __mul__(self, other: "Operand") -> Any:
        return 0.0 if _is(other, 0) else self.binary("Mul", other)

    __rmul__ = __mul__

    def __truediv__(self, other: "Operand") -> "Value":
        return self.binary("Div", other)

    def __rtruediv__(self, other: "Operand") -> Any:
        return 0.0 if _is(other, 0) else self.binary("Div", other, swap=True)

    def __gt__(self, other: "Operand") -> "Value":
        return self.binary("Greater", other)

    def __lt__(self, other: "Operand") -> "Value":
        return self.binary("Less", other)

    def __eq__(self, other: "Operand") -> "Value":  # type: ignore[override]
        return self.binary("Equal", other)

    def __invert__(self) -> "Value":
        return self.fragment.add("Not", [self], TensorProto.BOOL)

    __hash__ = None  # type: ignore[assignment]


Operand: TypeAlias = Value | float


def _is(operand: Operand, number: float) -> bool:
    return not isinstance(operand, Value) and operand == number


def maximum(a: Value, b: Value) -> Value:
    """Return the larger of two values, elementwise."""
    return a.fragment.add("Max", [a, b], a.dtype)


def minimum(a: Value, b: Value) -> Value:
    """Return the smaller of two values, elementwise."""
    return a.fragment.add("Min", [a, b], a.dtype)
