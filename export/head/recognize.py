"""What the graph of a segmentation model says of its heads."""

from dataclasses import dataclass
from numbers import Integral
from typing import Any

from onnx import NodeProto, TensorProto

from .index import GraphIndex, Shape, attribute, shape_words
from .operators import CHANNELS_FIRST, KEEPING, SHAPING, SIGMOIDS, SOFTMAXES
from .softmax import softmax_of

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)


@dataclass(frozen=True)
class Head:
    """One head of a model: an output, and what the graph says that it holds.

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
    result_axes : str or None
        The same in the order that masks have.
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
    result_axes: str | None
    activation: str | None
    values: str
    argmax: NodeProto | None
    followers: tuple[NodeProto, ...]
    findings: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.findings)


def recognize(index: GraphIndex, output: str, class_axis: int | None = None) -> Head:
    """Find out what an output holds.

    Parameters
    ----------
    index : GraphIndex
        Of the model.
    output : str
        Name of the output.
    class_axis : int, optional
        Axis of the classes, where the graph does not tell.

    Raises
    ------
    ValueError
        If the output is neither floating point nor made by an ArgMax or QuantizeLinear, its rank
        is not known, or the graph has the classes on another axis.
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
    axes, words = _settled_axes(index, axes, shape, class_axis)
    findings.append(words)
    return Head(
        output=output,
        source=source,
        element_type=element_type,
        shape=shape,
        axes=axes,
        result_axes=axes,
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
        softmax = softmax_of(index, node)
        if softmax is not None:
            return softmax.activation, softmax.words + then
        if node.op_type in SOFTMAXES | SIGMOIDS:
            return None, f"probabilities by {node.op_type}{then}"
        behind.append(node.op_type)
        if node.op_type not in KEEPING or attribute(node, "mode") == b"cubic":
            break
    last = ", ".join(reversed(behind)) or "an input"
    return "unknown", f"ends in {last}: logits or probabilities, the graph does not decide"


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
    softmax = softmax_of(index, node)
    if softmax is not None:
        return with_class_axis(axes, softmax.axis, rank)
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
        squeezed = index.axes(node)
        if squeezed:
            gone = {a % len(axes) for a in squeezed}
            return "".join(letter for i, letter in enumerate(axes) if i not in gone)
    return None


def with_class_axis(axes: str | None, axis: int, rank: int) -> str:
    """Put the classes on an axis; where nothing else is known axis 0 may be the batch ("?")."""
    letters = list((axes or "?" + "S" * (rank - 1)).replace("C", "S"))
    letters[axis] = "C"
    return "".join(letters)


def _settled_axes(
    index: GraphIndex, axes: str | None, shape: Shape, class_axis: int | None
) -> tuple[str | None, str]:
    """Take the given axis, or fall back to the sizes, where the nodes do not tell; in words too."""
    by, by_sizes = "by the nodes before it", axes is None and class_axis is None
    if class_axis is not None:
        axis = _given_axis(class_axis, axes, shape)
        if axes is None:
            axes, by = with_class_axis(None, axis, len(shape)), "as class_axis says"
    elif axes is None:
        smaller = smaller_axis(shape)
        if smaller is None or len(shape) == 3:  # [1, H, W] could be a class less
            return None, "class axis: the graph does not decide"
        axes, by = with_class_axis(None, smaller, len(shape)), "by the sizes"
    if "?" in axes:
        between = axes[1] == "C" and not by_sizes  # of batch and pixels
        first = "N" if between else _first_axis(index, shape, class_axis is not None)
        if first is None:
            return None, f"axis 0 of {shape_words(shape)}: batch or not, the graph does not decide"
        axes = axes.replace("?", first)
    names = {"N": "batch", "C": "class"}
    missing = "".join(f", no {word} axis" for letter, word in names.items() if letter not in axes)
    classes = shape[axes.index("C")] if "C" in axes else 1
    count = "1 class" if classes == 1 else f"{'?' if classes is None else classes} classes"
    where = f" on axis {axes.index('C')}" if "C" in axes else ""
    return axes, f"{count}{where}{missing}, {by}"


def _given_axis(class_axis: Any, axes: str | None, shape: Shape) -> int:
    if not isinstance(class_axis, Integral) or isinstance(class_axis, bool):
        raise TypeError(f"class_axis must be an int, found {class_axis!r}")
    if not -len(shape) <= int(class_axis) < len(shape):
        raise ValueError(f"class_axis={class_axis} is no axis of {shape_words(shape)}")
    axis = int(class_axis) % len(shape)
    if axes is not None and axes[axis] != "C":
        found = f"axis {axes.index('C')}" if "C" in axes else "no axis"
        raise ValueError(f"class_axis={class_axis}, but the graph has the classes on {found}")
    return axis


def smaller_axis(shape: Shape) -> int | None:
    """Return axis 1 or the last, whichever has the smaller known size."""
    sizes = {axis: shape[axis] for axis in (1, len(shape) - 1)} if len(shape) > 2 else {}
    known = {axis: size for axis, size in sizes.items() if isinstance(size, int)}
    smallest = [axis for axis, size in known.items() if size == min(known.values())]
    return smallest[0] if len(smallest) == 1 else None


def _first_axis(index: GraphIndex, shape: Shape, told: bool) -> str | None:
    """Say whether axis 0 is the batch (N) or spatial (S): [H, W, class] may have lost its batch."""
    ranks = {len(s): s[0] for s in map(index.shape, index.inputs()) if s}
    longer = [first for rank, first in ranks.items() if rank > len(shape)]
    if shape[0] == 1 or (shape[0] is not None and shape[0] in longer):
        return "N"
    if longer:
        return "S" if told else None
    return "N" if told or len(shape) > 3 else None
