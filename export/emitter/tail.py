"""The RMA solver as ONNX nodes behind a value of any graph."""

from dataclasses import dataclass

import onnx
from onnx import FunctionProto, NodeProto, TensorProto, ValueInfoProto, helper

from ...settings import UNPRUNED
from ...validation import check_class_axis
from ..files import OLDEST_OPSET
from ..settings import TailSettings
from .fragment import Fragment, Value
from .onnxruntime import OnnxruntimeSolver
from .static import StaticSolver

DOMAIN = "ai.rankseg"
FUNCTION = "RankSEG"
SOLVERS = {"onnxruntime": OnnxruntimeSolver, "static": StaticSolver}
STATES = {"onnxruntime": TensorProto.DOUBLE, "static": TensorProto.FLOAT}
"""The type in which each profile holds what is said of a row."""

ELEMENT_TYPES = (
    TensorProto.FLOAT16,
    TensorProto.BFLOAT16,
    TensorProto.FLOAT,
    TensorProto.DOUBLE,
)


@dataclass(frozen=True)
class Tail:
    """Nodes from a source value to labels or masks, and what they need.

    `value_info` names sizes that shape inference cannot know to be equal: with it onnxruntime
    overwrites large values where they are not needed any more.
    """

    nodes: list[NodeProto]
    initializers: list[TensorProto]
    value_info: list[ValueInfoProto]
    output: str
    output_type: int


def tail(
    settings: TailSettings,
    source: str,
    *,
    prefix: str,
    opset: int,
    spatial_ndim: int,
    num_classes: int | None,
    element_type: int,
    class_axis: int = 1,
) -> Tail:
    """Return the nodes that compute labels or masks from a value of a graph.

    Parameters
    ----------
    settings : TailSettings
        What to compute.
    source : str
        Name of the value with the probabilities or logits, (batch, class, *spatial) or with the
        classes on `class_axis`.
    prefix : str
        What the names of all new values, nodes and initializers begin with.
    opset : int
        Version of the standard operators, 11 or newer.
    spatial_ndim : int
        Number of spatial axes.
    num_classes : int or None
        Number of classes, if it is known.
    element_type : int
        TensorProto type of the source: FLOAT16, BFLOAT16, FLOAT or DOUBLE.
    class_axis : int, default 1
        Position of the class axis in the source.

    Returns
    -------
    Tail
        `output` names labels of shape (batch, *spatial), or bool masks of the source's shape.

    Raises
    ------
    TypeError, ValueError
        If the opset, the type or the axes are not supported, or the settings do not suit the
        number of classes.
    """
    fragment = Fragment(prefix, opset, STATES[settings.profile])
    value = Value(fragment, source, element_type)
    result = emit(settings, value, spatial_ndim, num_classes, class_axis)
    initializers = list(fragment.constants.values())
    return Tail(fragment.nodes, initializers, fragment.value_info, result.name, result.dtype)


def emit(
    settings: TailSettings,
    source: Value,
    spatial_ndim: int,
    num_classes: int | None,
    class_axis: int,
) -> Value:
    """Append the nodes of `tail` to the fragment of a value, and return their result."""
    _check_source(settings, source, spatial_ndim, num_classes, class_axis)
    solver = SOLVERS[settings.profile](source.fragment, settings, spatial_ndim, num_classes)
    result = solver.run(source, class_axis)
    source.fragment.scope = ""
    return result


def _check_source(
    settings: TailSettings,
    source: Value,
    spatial_ndim: int,
    num_classes: int | None,
    class_axis: int,
) -> None:
    opset, element_type = source.fragment.opset, source.dtype
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= opset <= newest:
        raise ValueError(f"opset must lie in [{OLDEST_OPSET}, {newest}], found {opset}")
    if spatial_ndim < 1:
        raise ValueError(f"spatial_ndim must be at least 1, found {spatial_ndim}")
    if element_type not in ELEMENT_TYPES:
        name = TensorProto.DataType.Name(element_type)
        raise TypeError(f"the source must be float16, bfloat16, float or double, found {name}")
    if element_type == TensorProto.BFLOAT16 and opset < 13:
        raise ValueError(f"bfloat16 takes opset 13 or newer, found {opset}")
    check_class_axis(class_axis, spatial_ndim + 2)
    if num_classes is not None:
        settings.check_classes(num_classes)


def as_function(tail: Tail, source: str, opset: int) -> tuple[NodeProto, FunctionProto]:
    """Return the tail as one node RankSEG of domain ai.rankseg, and the function behind it.

    Parameters
    ----------
    tail : Tail
        What the function computes.
    source : str
        The value that the tail reads.
    opset : int
        The opset that the tail was made for.

    Returns
    -------
    tuple of NodeProto and FunctionProto
        The node goes into the graph, which has to import version 1 of domain ai.rankseg; the
        function goes into the model's `functions`, which takes IR version 8 or newer.
    """
    constants = [
        helper.make_node("Constant", [], [tensor.name], value=tensor)
        for tensor in tail.initializers
    ]
    function = helper.make_function(
        DOMAIN,
        FUNCTION,
        [source],
        [tail.output],
        [*constants, *tail.nodes],
        [helper.make_opsetid("", opset)],
    )
    node = helper.make_node(FUNCTION, [source], [tail.output], name=FUNCTION, domain=DOMAIN)
    return node, function


def summary(settings: TailSettings) -> str:
    """Return what a tail computes, in a sentence."""
    result = "One label a pixel" if settings.multiclass else "One mask a class"
    source = f"the {settings.activation} of logits" if settings.activation else "probabilities"
    if settings.calibration is not None:
        source += f", calibrated ({settings.calibration.kind} scaling)"
    if settings.metric == "accuracy":
        found = "The most probable class of each pixel" if settings.multiclass else "Masks p > 0.5"
        left = "" if settings.solver in UNPRUNED else " among classes that pruning leaves"
        return f"{found} under {source}{left}."
    metric = {"dice": "Dice", "iou": "IoU"}[settings.metric]
    return (
        f"{result} with the best expected {metric} (smooth={settings.smooth:g}) under {source}: "
        "for each sample and class the threshold of the best mask (RankSEG, RMA)"
        + (", then one class where masks overlap or leave a gap." if settings.multiclass else ".")
    )
