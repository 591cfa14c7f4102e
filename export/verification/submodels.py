"""Models made of another to measure it: a part of it, or with another output or ending."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, helper

from ..head.index import GraphIndex
from ..names import subgraphs, used_values


def until(model: ModelProto, value: str) -> ModelProto:
    """Return the part of a model that computes one of its values."""
    index = GraphIndex(model)
    part = ModelProto()
    part.CopyFrom(model)
    graph, needed = part.graph, {value}
    kept = []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input, *map(used_values, subgraphs(node)))
    del graph.node[:], graph.output[:], graph.value_info[:]
    graph.node.extend(reversed(kept))
    graph.output.append(
        helper.make_tensor_value_info(value, index.element_type(value), index.shape(value))
    )
    for items in (graph.initializer, graph.input):
        for item in [item for item in items if item.name not in needed]:
            items.remove(item)
    return part


def showing(model: ModelProto, *values: str) -> ModelProto:
    """Return the model with these of its values as outputs."""
    shown = ModelProto()
    shown.CopyFrom(model)
    del shown.graph.output[:]
    shown.graph.output.extend(onnx.ValueInfoProto(name=value) for value in values)
    return shown


def with_plain_decision(model: ModelProto, record: Mapping[str, Any]) -> ModelProto:
    """Put the usual decision behind the only output: Softmax and ArgMax, or Sigmoid and 0.5."""
    index, value, plain = GraphIndex(model), record["input"], ModelProto()
    plain.CopyFrom(model)
    rank, axis = len(index.shape(value) or ()), record["class_axis"]
    nodes, activation, last = [], record["activation"], "rankseg_plain"
    if activation == "softmax" and index.opset < 13:  # its Softmax takes all axes from one on
        order = [i for i in range(rank) if i != axis] + [axis]
        nodes.append(helper.make_node("Transpose", [value], [f"{last}_order"], perm=order))
        value, axis = f"{last}_order", rank - 1
    if activation is not None:
        kind = {"softmax": "Softmax", "sigmoid": "Sigmoid"}[activation]
        where = {"axis": axis} if activation == "softmax" else {}
        nodes.append(helper.make_node(kind, [value], [f"{last}_probs"], **where))
        value = f"{last}_probs"
    if record["output_mode"] == "multiclass":
        nodes.append(helper.make_node("ArgMax", [value], [last], axis=axis, keepdims=0))
        made = onnx.TensorProto.INT64
    else:
        dtype = helper.tensor_dtype_to_np_dtype(index.element_type(record["input"]))
        half = onnx.numpy_helper.from_array(np.array(0.5).astype(dtype))
        nodes.append(helper.make_node("Constant", [], [f"{last}_half"], value=half))
        nodes.append(helper.make_node("Greater", [value, f"{last}_half"], [last]))
        made = onnx.TensorProto.BOOL
    plain.graph.node.extend(nodes)
    plain.graph.output[0].CopyFrom(helper.make_tensor_value_info(last, made, None))
    return plain
