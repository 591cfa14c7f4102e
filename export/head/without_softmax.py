"""A final Softmax left out, so that the tail reads the logits before it.

onnxruntime takes longer for its Softmax than for the tail, which has a softmax in parts of its own
and needs no Transposes around it.
"""

from collections.abc import Sequence
from dataclasses import replace

from onnx import NodeProto, TensorProto

from ..names import used_values
from .index import GraphIndex, attribute
from .recognize import Head
from .softmax import softmax_of


def without_softmax(index: GraphIndex, head: Head) -> Head:
    """Return the head with logits as its source, if nothing but the output needs the Softmax.

    Half precision stays as it is: a Softmax rounds its result, and the tail's does not.
    """
    axes, found = head.axes or "", _final_softmax(index, head)
    if found is None or head.element_type not in (TensorProto.FLOAT, TensorProto.DOUBLE):
        return head
    node, places = found
    softmax = softmax_of(index, node)
    if softmax is None or softmax.activation == "unknown":
        return head
    if softmax.axis != places[axes.index("C")]:
        return head
    logits = _logits(index, node, places, axes)
    if logits is None:
        return head
    source, order = logits
    words = f"final {node.op_type} replaced by the tail's own"
    return replace(
        head,
        source=source,
        shape=tuple(head.shape[axis] for axis in order),
        axes="".join(axes[axis] for axis in order),
        activation="softmax",
        findings=(*head.findings, words),
    )


def _final_softmax(index: GraphIndex, head: Head) -> tuple[NodeProto, Sequence[int]] | None:
    """Return the Softmax with nothing but Transposes behind it, and where the axes are in it."""
    places: Sequence[int] = range(len(head.shape))
    behind = [*head.followers, head.argmax] if head.argmax else []
    reads = used_values(index.graph)
    if any(reads[node.output[0]] > 1 for node in behind):
        return None
    for node in index.back(head.source):
        if reads[node.output[0]] > 1:
            return None
        if node.op_type in ("Softmax", "LogSoftmax"):
            return node, places
        if node.op_type not in ("Transpose", "Identity"):
            return None
        places = _places_before(node, places)
    return None


def _logits(
    index: GraphIndex, softmax: NodeProto, places: Sequence[int], axes: str
) -> tuple[str, list[int]] | None:
    """Return the first value to read, before Transposes too, and which axes it has in order."""
    found = None
    node: NodeProto | None = softmax
    while node is not None and (node is softmax or node.op_type == "Transpose"):
        places = _places_before(node, places)
        order = sorted(range(len(axes)), key=places.__getitem__)
        spatial = [axis for axis in order if axes[axis] == "S"]
        if spatial == sorted(spatial) and "N" not in [axes[axis] for axis in order[1:]]:
            found = node.input[0], order
        node = index.producers.get(node.input[0])
    return found


def _places_before(node: NodeProto, places: Sequence[int]) -> Sequence[int]:
    """Return where axes are in the input of a node that are here in its output."""
    if node.op_type != "Transpose":
        return places
    perm: list[int] = attribute(node, "perm", list(reversed(range(len(places)))))  # type: ignore[assignment]
    return [perm[place] for place in places]
