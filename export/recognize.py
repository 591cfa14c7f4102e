"""What the graph of a segmentation model ends in."""

from dataclasses import dataclass

from onnx import NodeProto, TensorProto

from .index import GraphIndex, Shape, attribute, shape_words
from .operators import ACTIVATIONS, CHANNELS_FIRST, KEEPING, SHAPING

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)


@dataclass(frozen=True)
class Ending:
    """What one output of a model ends in.

    Attributes
    ----------
    output, source : str
        The output, and the value that the tail goes behind: the same, or the input of a final
        ArgMax or QuantizeLinear.
    element_type, shape : int, tuple
        Of the source.
    axes : str or None
        One letter for each axis of the source: N the batch, C the classes, S a spatial axis;
        None where the graph does not decide.
    activation : "softmax", None or "unknown"
        What turns the source into probabilities.
    values : str
        The same in words.
    argmax : NodeProto or None
        The final ArgMax.
    followers : tuple of NodeProto
        Nodes between the ArgMax and the output.
    findings : tuple of str
        Each finding in words.
    """

    output: str
    source: str
    element_type: int
    shape: Shape
    axes: str | None
    activation: str | None
    values: str
    argmax: NodeProto | None
    followers: tuple[NodeProto, ...]
    findings: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.findings)


def recognize(index: GraphIndex, output: str) -> Ending:
    """Find out what an output ends in.

    Parameters
    ----------
    index : GraphIndex
        Of the model.
    output : str
        Name of the output.

    Raises
    ------
    ValueError
        If the output is neither floating point nor made by an ArgMax or QuantizeLinear, or its
        rank is not known.
    """
    argmax, followers = _final(index, output, "ArgMax")
    quantize = None if argmax else _final(index, output, "QuantizeLinear")[0]
    last = argmax or quantize
    source = last.input[0] if last else output
    shape, element_type = index.shape(source), index.element_type(source)
    if shape is None:
        raise ValueError(f"the rank of {source!r} is not known: export the model with shapes")
    if element_type not in FLOATS:
        raise ValueError(_not_floating(output, source, element_type))
    findings = [_described(output, index)]
    if argmax:
        findings.append(f"ArgMax over axis {_argmax_axis(argmax, shape)}, which is replaced")
    if quantize:
        findings.append("QuantizeLinear, which is left out for the labels")
    path = list(index.back(source))
    activation, values = _activation(index, path)
    findings.append(values)
    axes = _traced_axes(index, path)
    if argmax:
        axes = with_class_axis(axes, _argmax_axis(argmax, shape), len(shape))
    axes, words = _settled_axes(index, axes, shape)
    findings.append(words)
    return Ending(
        output=output,
        source=source,
        element_type=element_type,
        shape=shape,
        axes=axes,
        activation=activation,
        values=values,
        argmax=argmax,
        followers=followers,
        findings=tuple(findings),
    )


def _final(
    index: GraphIndex, output: str, op_type: str
) -> tuple[NodeProto | None, tuple[NodeProto, ...]]:
    """Return the node of this kind that the output ends in, and the nodes behind it in order."""
    behind: list[NodeProto] = []
    for node in index.back(output):
        if node.op_type == op_type:
            return node, tuple(reversed(behind))
        if node.op_type not in KEEPING - {"DequantizeLinear"}:
            break
        behind.append(node)
    return None, ()


def _argmax_axis(argmax: NodeProto, shape: Shape) -> int:
    return int(attribute(argmax, "axis", 0)) % len(shape)  # type: ignore[call-overload]


def _not_floating(output: str, source: str, element_type: int) -> str:
    if not element_type:
        return f"the type of {source!r} is not known: export the model with types and shapes"
    name = TensorProto.DataType.Name(element_type).lower()
    return (
        f"output {output!r} is {name} and not made by an ArgMax that could be replaced: "
        "RankSEG needs probabilities or logits"
    )


def _described(output: str, index: GraphIndex) -> str:
    name = TensorProto.DataType.Name(index.element_type(output)).lower()
    return f"output {output!r}: {name} {shape_words(index.shape(output))}"


def _activation(index: GraphIndex, path: list[NodeProto]) -> tuple[str | None, str]:
    """Return what makes probabilities of the values, and how that is known."""
    behind: list[str] = []
    for node in path:
        then = f", then {', '.join(reversed(behind))}" if behind else ""
        if node.op_type in ACTIVATIONS:
            rank = len(index.shape(node.input[0]) or ())
            axis = _softmax_axis(index, node, rank)
            if axis is None or rank == 0:
                return ACTIVATIONS[node.op_type], f"probabilities by {node.op_type}{then}"
            if index.opset < 13 and axis != rank - 1:
                words = f"{node.op_type} of opset {index.opset} over axes {axis} to {rank - 1} at"
                return "unknown", f"{words} once, which gives no probabilities of classes{then}"
            made = "log-probabilities" if node.op_type == "LogSoftmax" else "probabilities"
            return ACTIVATIONS[node.op_type], f"{made} by {node.op_type} over axis {axis}{then}"
        behind.append(node.op_type)
        if node.op_type not in KEEPING or attribute(node, "mode") == b"cubic":
            break
    last = ", ".join(reversed(behind)) or "an input"
    return "unknown", f"ends in {last}: logits or probabilities, the graph does not decide"


def _softmax_axis(index: GraphIndex, node: NodeProto, rank: int) -> int | None:
    if "Softmax" not in node.op_type or not rank:
        return None
    default = -1 if index.opset >= 13 else 1
    return int(attribute(node, "axis", default)) % rank  # type: ignore[call-overload]


def _traced_axes(index: GraphIndex, path: list[NodeProto]) -> str | None:
    """Follow the axes down to the source from the last node that defines them."""
    axes: str | None = None
    for node in reversed(path):
        axes = _next_axes(index, node, axes)
    return axes


def _next_axes(index: GraphIndex, node: NodeProto, axes: str | None) -> str | None:
    rank = len(index.shape(node.output[0]) or ())
    if node.op_type in CHANNELS_FIRST and rank > 2:
        return "NC" + "S" * (rank - 2)
    softmax = _softmax_axis(index, node, rank)
    if softmax is not None:
        return with_class_axis(axes, softmax, rank)
    if axes is None or node.op_type not in SHAPING:
        return axes
    return _shaped_axes(index, node, axes)


def _shaped_axes(index: GraphIndex, node: NodeProto, axes: str) -> str | None:
    if node.op_type == "Slice":
        return axes
    if node.op_type == "Transpose":
        perm = attribute(node, "perm", list(reversed(range(len(axes)))))
        return "".join(axes[p] for p in perm)  # type: ignore[attr-defined]
    if node.op_type == "Gather" and index.shape(node.input[1]) == ():
        axis = int(attribute(node, "axis", 0)) % len(axes)  # type: ignore[call-overload]
        return axes[:axis] + axes[axis + 1 :]
    if node.op_type == "Squeeze":
        squeezed = _listed_axes(index, node)
        if squeezed:
            gone = {a % len(axes) for a in squeezed}
            return "".join(letter for i, letter in enumerate(axes) if i not in gone)
    return None


def _listed_axes(index: GraphIndex, node: NodeProto) -> list[int] | None:
    listed = attribute(node, "axes")
    if listed is None and len(node.input) > 1:
        return index.constant(node.input[1])
    return listed  # type: ignore[return-value]


def with_class_axis(axes: str | None, axis: int, rank: int) -> str:
    """Put the classes on an axis; where nothing else is known axis 0 may be the batch ("?")."""
    letters = list((axes or "?" + "S" * (rank - 1)).replace("C", "S"))
    letters[axis] = "C"
    return "".join(letters)


def _settled_axes(index: GraphIndex, axes: str | None, shape: Shape) -> tuple[str | None, str]:
    """Fall back to the sizes where the nodes do not tell, and say what was found."""
    by = "by the nodes before it"
    if axes is None:
        axis = smaller_axis(shape)
        if axis is None:
            return None, "class axis: the graph does not decide"
        axes, by = with_class_axis(None, axis, len(shape)), "by the sizes"
    if "?" in axes:
        if not _first_is_batch(index, shape):
            return None, f"axis 0 of {shape_words(shape)}: batch or not, the graph does not decide"
        axes = axes.replace("?", "N")
    names = {"N": "batch", "C": "class"}
    missing = "".join(f", no {word} axis" for letter, word in names.items() if letter not in axes)
    classes = shape[axes.index("C")] if "C" in axes else 1
    count = "1 class" if classes == 1 else f"{'?' if classes is None else classes} classes"
    where = f" on axis {axes.index('C')}" if "C" in axes else ""
    return axes, f"{count}{where}{missing}, {by}"


def smaller_axis(shape: Shape) -> int | None:
    """Return axis 1 or the last, whichever has the smaller known size."""
    sizes = {axis: shape[axis] for axis in (1, len(shape) - 1)} if len(shape) > 2 else {}
    known = {axis: size for axis, size in sizes.items() if isinstance(size, int)}
    smallest = [axis for axis, size in known.items() if size == min(known.values())]
    return smallest[0] if len(smallest) == 1 else None


def _first_is_batch(index: GraphIndex, shape: Shape) -> bool:
    """Say whether axis 0 is a batch: three axes may also be a picture and its classes."""
    firsts = [s[0] for s in (index.shape(name) for name in index.inputs()) if s and len(s) > 3]
    return len(shape) > 3 or not firsts or shape[0] == 1 or shape[0] in firsts
