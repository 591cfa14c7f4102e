"""Softmax in a graph: a node, or the parts that it is often written as."""

from dataclasses import dataclass

from onnx import NodeProto

from .index import GraphIndex, attribute
from .operators import SOFTMAXES


@dataclass(frozen=True)
class Softmax:
    """A softmax over one axis of the value that a node makes.

    Attributes
    ----------
    axis : int
        The axis, not negative.
    activation : "softmax", None or "unknown"
        What is left to apply: nothing behind a softmax, softmax behind its logarithm (the softmax
        of log p is p). Below opset 13 Softmax is over all axes from one on, which says nothing.
    words : str
        The same in words.
    """

    axis: int
    activation: str | None
    words: str


def softmax_of(index: GraphIndex, node: NodeProto) -> Softmax | None:
    """Return the softmax that this node is, or ends."""
    if node.op_type in SOFTMAXES:
        return _operator(index, node)
    above = [index.producers[name] for name in node.input if name in index.producers]
    kinds = [node.op_type, *(maker.op_type for maker in above)]
    if kinds == ["Exp", "LogSoftmax"]:
        return _operator(index, above[0], "Exp of ")
    if kinds == ["Div", "Exp", "ReduceSum"]:
        return _parts(index, *above)
    return None


def _operator(index: GraphIndex, node: NodeProto, exp: str = "") -> Softmax | None:
    rank = len(index.shape(node.input[0]) or ())
    if not rank:
        return None
    axis = int(attribute(node, "axis", -1 if index.opset >= 13 else 1)) % rank  # type: ignore[call-overload]
    if index.opset < 13 and axis != rank - 1:
        joint = f"{node.op_type} of opset {index.opset} over axes {axis} to {rank - 1} at once"
        return Softmax(axis, "unknown", f"{joint}, which gives no probabilities of classes")
    log = node.op_type == "LogSoftmax" and not exp
    made = "log-probabilities" if log else "probabilities"
    return Softmax(
        axis, "softmax" if log else None, f"{made} by {exp}{node.op_type} over axis {axis}"
    )


def _parts(index: GraphIndex, powers: NodeProto, total: NodeProto) -> Softmax | None:
    """Recognise e^z / sum e^z; whether a maximum was taken off z before makes no difference."""
    rank, axes = len(index.shape(powers.output[0]) or ()), index.axes(total)
    if total.input[0] != powers.output[0] or not attribute(total, "keepdims", 1):
        return None
    if not rank or axes is None or len(axes) != 1:
        return None
    axis = axes[0] % rank
    return Softmax(axis, None, f"probabilities by Softmax in parts over axis {axis}")
