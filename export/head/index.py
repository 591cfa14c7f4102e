"""What is known of the values of a graph: producers, constants, types and shapes."""

from collections.abc import Iterator
from functools import cached_property

import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from .operators import ELEMENTWISE, KEEPING

Shape = tuple[int | str | None, ...]


class GraphIndex:
    """Producers, constants, types and shapes of a graph."""

    def __init__(self, model: ModelProto) -> None:
        self.graph = model.graph
        self.opset = default_opset(model)
        self.producers = {name: node for node in self.graph.node for name in node.output if name}
        self.initializers = {tensor.name: tensor for tensor in self.graph.initializer}
        self._model = model

    @cached_property
    def _values(self) -> dict[str, onnx.ValueInfoProto]:
        graph = _inferred(self._model).graph
        return {value.name: value for value in [*graph.value_info, *graph.input, *graph.output]}

    def inputs(self) -> list[str]:
        """Names of the inputs that are not weights."""
        return [value.name for value in self.graph.input if value.name not in self.initializers]

    def outputs(self) -> list[str]:
        """Names of the outputs."""
        return [value.name for value in self.graph.output]

    def element_type(self, name: str) -> int:
        """Element type of a value, 0 where it is not known."""
        value = self._values.get(name)
        return value.type.tensor_type.elem_type if value is not None else 0

    def shape(self, name: str) -> Shape | None:
        """Sizes, names of symbolic sizes and None for unknown ones; None for an unknown rank."""
        if name in self.initializers:
            return tuple(self.initializers[name].dims)
        value = self._values.get(name)
        if value is None or not value.type.tensor_type.HasField("shape"):
            return None
        dims = value.type.tensor_type.shape.dim
        return tuple(d.dim_value if d.HasField("dim_value") else _symbol(d.dim_param) for d in dims)

    def constant(self, name: str) -> list[int] | None:
        """Return the values of a small constant, flattened."""
        tensor = self.initializers.get(name)
        node = self.producers.get(name)
        if tensor is None and node is not None and node.op_type == "Constant":
            if (listed := attribute(node, "value_ints")) is not None:
                return list(listed)  # type: ignore[call-overload]
            tensor = attribute(node, "value")
        if tensor is None or tensor.data_location == TensorProto.EXTERNAL:
            return None
        return [int(v) for v in numpy_helper.to_array(tensor).reshape(-1)]

    def axes(self, node: NodeProto) -> list[int] | None:
        """Return the axes that a node names, as attribute or as input, by opset."""
        listed = attribute(node, "axes")
        if listed is None and len(node.input) > 1:
            return self.constant(node.input[1])
        return listed  # type: ignore[return-value]

    def is_constant(self, name: str) -> bool:
        """Say whether a value is a weight or a Constant."""
        node = self.producers.get(name)
        return name in self.initializers or (node is not None and node.op_type == "Constant")

    def back(self, name: str) -> Iterator[NodeProto]:
        """Nodes that made a value, last first, as far up as they carry its axes."""
        while (node := self.producers.get(name)) is not None:
            yield node
            above = self._main_input(node)
            if above is None:
                return
            name = above

    def _main_input(self, node: NodeProto) -> str | None:
        if node.op_type not in KEEPING | ELEMENTWISE:
            return None
        if node.op_type not in ELEMENTWISE:
            return node.input[0]
        rank = len(self.shape(node.output[0]) or ())
        for name in node.input:
            if not self.is_constant(name) and len(self.shape(name) or ()) == rank:
                return name
        return None


def _symbol(name: str) -> str | None:
    """Return the name of a size, unless shape inference made it up."""
    return name if name and not name.startswith("unk__") else None


def attribute(node: NodeProto, name: str, default: object = None) -> object:
    """Value of an attribute of a node."""
    for item in node.attribute:
        if item.name == name:
            return helper.get_attribute_value(item)
    return default


def default_opset(model: ModelProto) -> int:
    """Version of the standard operators that a model uses, 0 if none."""
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)


def _inferred(model: ModelProto) -> ModelProto:
    """Return the model with inferred shapes and without its weights, which may exceed 2 GB."""
    light = ModelProto(ir_version=max(model.ir_version, 4))
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    graph = light.graph
    graph.name = "shapes"
    graph.node.extend(model.graph.node)
    graph.output.extend(model.graph.output)
    graph.value_info.extend(model.graph.value_info)
    names = {tensor.name for tensor in model.graph.initializer}
    graph.input.extend(value for value in model.graph.input if value.name not in names)
    for tensor in model.graph.initializer:
        if tensor.data_location != TensorProto.EXTERNAL and tensor.ByteSize() < 1024:
            graph.initializer.append(tensor)
        else:
            graph.input.append(
                helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    try:
        return onnx.shape_inference.infer_shapes(light, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return light


def shape_words(shape: Shape | None) -> str:
    """Write a shape as text, with a question mark for what is not known."""
    return "?" if shape is None else f"[{', '.join('?' if d is None else str(d) for d in shape)}]"
