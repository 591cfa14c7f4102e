"""The RMA solver as ONNX: nodes behind a value of any graph, or a model of their own."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from numbers import Integral

import onnx
from onnx import FunctionProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from .. import __version__
from ..calibration import Calibration
from ..validation import check_class_axis, choice
from .dense import DenseSolver
from .files import METADATA, OLDEST_OPSET
from .fragment import Value
from .settings import TailSettings
from .sparse import SparseSolver

DOMAIN = "ai.rankseg"
FUNCTION = "RankSEG"
DEFAULT_OPSET = 17
SOLVERS = {"onnxruntime": SparseSolver, "static": DenseSolver}
FORMS = ("flat", "function")
LAYOUTS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
DTYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "float64": TensorProto.DOUBLE,
}
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
    _check_source(settings, opset, spatial_ndim, num_classes, element_type, class_axis)
    solver = SOLVERS[settings.profile](settings, prefix, opset, spatial_ndim, num_classes)
    fragment = solver.fragment
    result = solver.run(Value(fragment, source, element_type), class_axis)
    initializers = list(fragment.constants.values())
    return Tail(fragment.nodes, initializers, fragment.value_info, result.name, result.dtype)


def _check_source(
    settings: TailSettings,
    opset: int,
    spatial_ndim: int,
    num_classes: int | None,
    element_type: int,
    class_axis: int,
) -> None:
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


def describe(settings: TailSettings) -> dict[str, str]:
    """Return what a tail computes, as metadata of a model."""
    found = {"solver": "RMA", "version": __version__, **asdict(settings)}
    return {METADATA + key: str(value) for key, value in found.items()}


def summary(settings: TailSettings) -> str:
    """Return what a tail computes, in a sentence."""
    metric = {"dice": "Dice", "iou": "IoU"}[settings.metric]
    result = "One label a pixel" if settings.multiclass else "One mask a class"
    source = f"the {settings.activation} of logits" if settings.activation else "probabilities"
    if settings.calibration is not None:
        source += f", calibrated ({settings.calibration.kind} scaling)"
    if settings.accuracy:
        return (
            f"The most probable class of each pixel under {source}, of those that exceed "
            f"pruning_prob at some pixel (RankSEG with smooth={settings.smooth:g})."
        )
    return (
        f"{result} with the best expected {metric} (smooth={settings.smooth:g}) under {source}: "
        "for each sample and class the threshold of the best mask (RankSEG, RMA)"
        + (", then one class where masks overlap or leave a gap." if settings.multiclass else ".")
    )


def rma_model(
    *,
    metric: str = "dice",
    smooth: float = 0.0,
    output_mode: str = "multiclass",
    pruning_prob: float | Sequence[float] = 0.5,
    unassigned_policy: str = "max_score",
    void_index: int = 255,
    activation: str | None = None,
    calibration: Calibration | None = None,
    spatial_ndim: int = 2,
    num_classes: int | None = None,
    layout: str | None = None,
    batch: int | None = None,
    spatial_shape: Sequence[int] | None = None,
    dtype: str = "float32",
    label_dtype: str = "int64",
    opset: int | None = None,
    form: str = "flat",
    profile: str = "onnxruntime",
) -> ModelProto:
    """Return a model that turns probabilities or logits into labels or masks.

    Parameters
    ----------
    metric, smooth, output_mode, pruning_prob, unassigned_policy, void_index
        As in `rankseg.functional.rankseg` with the RMA solver.
    activation : {None, "softmax", "sigmoid"}
        None for a model of probabilities (input `probs`), else what turns logits (input
        `logits`) into probabilities.
    calibration : Calibration, optional
        Correction of the probabilities, as `rankseg.evaluation.tune` fits it.
    spatial_ndim : int, default 2
        Number of spatial axes.
    num_classes, batch : int, optional
        Number of classes and of samples; any if it is not given.
    layout : str, optional
        "NCHW" (default) or "NHWC"; "NCW" or "NWC" for one spatial axis, "NCDHW" or "NDHWC" for
        three.
    spatial_shape : sequence of int, optional
        Sizes of the spatial axes; any if it is not given.
    dtype : {"float32", "float16", "float64"}
        Type of the input. float16 is computed in float32.
    label_dtype : {"int64", "int32", "uint8"}
        Type of the labels. Masks are bool.
    opset : int, optional
        Version of the standard operators, 11 or newer; by default 17.
    form : {"flat", "function"}
        Standard operators alone, or one node RankSEG of domain ai.rankseg with a function in
        the model behind it.
    profile : {"onnxruntime", "static"}
        "static" computes in float32 alone, and every shape follows from the input's, for
        accelerators.

    Returns
    -------
    ModelProto
        With output `labels`, (batch, *spatial), or bool `masks` of the input's shape.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or value, or two of them do not go together.

    Examples
    --------
    >>> from rankseg.export import rma_model
    >>> model = rma_model(num_classes=21, batch=1, spatial_shape=(320, 320))
    >>> [dim.dim_value for dim in model.graph.output[0].type.tensor_type.shape.dim]
    [1, 320, 320]
    """
    settings = TailSettings(
        metric,
        smooth,
        output_mode,
        pruning_prob,  # type: ignore[arg-type]  # a sequence becomes a tuple
        unassigned_policy,
        void_index,
        activation,
        label_dtype,
        profile,
        calibration,
    )
    form, dtype = choice("form", form, FORMS), choice("dtype", dtype, DTYPES)
    axes, class_axis = _axes_of(layout, spatial_ndim)
    opset = DEFAULT_OPSET if opset is None else opset
    if num_classes is None and isinstance(settings.pruning_prob, tuple):
        num_classes = len(settings.pruning_prob)
    if num_classes is None and calibration is not None:
        num_classes = calibration.classes
    sizes = _sizes(axes, num_classes, batch, spatial_shape)
    source = "probs" if activation is None else "logits"
    made = tail(
        settings,
        source,
        prefix="",
        opset=opset,
        spatial_ndim=spatial_ndim,
        num_classes=num_classes,
        element_type=DTYPES[dtype],
        class_axis=class_axis,
    )
    result = "labels" if settings.multiclass else "masks"
    renamed = _rename_output(made, result)
    shape = [sizes[a] for a in axes if a != "C" or not settings.multiclass]
    inputs = [helper.make_tensor_value_info(source, DTYPES[dtype], [sizes[a] for a in axes])]
    outputs = [helper.make_tensor_value_info(result, made.output_type, shape)]
    imports, functions = [helper.make_opsetid("", opset)], []
    nodes, initializers = renamed.nodes, renamed.initializers
    if form == "function":
        node, function = as_function(renamed, source, opset)
        nodes, initializers, functions = [node], [], [function]
        imports.append(helper.make_opsetid(DOMAIN, 1))
    text = summary(settings)
    graph = helper.make_graph(nodes, "rankseg", inputs, outputs, initializers, doc_string=text)
    if form == "flat":
        graph.value_info.extend(made.value_info)
    model = helper.make_model(graph, opset_imports=imports, functions=functions)
    oldest = helper.find_min_ir_version_for(imports, ignore_unknown=True)
    model.ir_version = max(oldest, 8) if functions else oldest
    helper.set_model_props(model, describe(settings))
    return model


def _sizes(
    axes: str, num_classes: int | None, batch: int | None, spatial_shape: Sequence[int] | None
) -> dict[str, int | str]:
    """Return the size of each axis of a layout, or its name where that is open."""
    names = {"N": "batch", "C": "class", "D": "depth", "H": "height", "W": "width"}
    spatial = [letter for letter in axes if letter not in "NC"]
    shape = (None,) * len(spatial) if spatial_shape is None else tuple(spatial_shape)
    if len(shape) != len(spatial):
        raise ValueError(
            f"spatial_shape must have spatial_ndim={len(spatial)} sizes, found {spatial_shape!r}"
        )
    arguments = ["batch", "num_classes", *["spatial_shape"] * len(spatial)]
    sizes = dict(zip(["N", "C", *spatial], (batch, num_classes, *shape), strict=True))
    for argument, size in zip(arguments, sizes.values(), strict=True):
        if size is None:
            continue
        if not isinstance(size, Integral) or isinstance(size, bool):
            raise TypeError(f"{argument} must be an int, found {size!r}")
        if size < 1:
            raise ValueError(f"{argument} must be positive, found {size}")
    return {letter: sizes[letter] or names[letter] for letter in axes}


def _rename_output(made: Tail, name: str) -> Tail:
    for node in made.nodes:
        node.output[:] = [name if output == made.output else output for output in node.output]
    return replace(made, output=name)


def _axes_of(layout: str | None, spatial_ndim: int) -> tuple[str, int]:
    layouts = LAYOUTS.get(spatial_ndim)
    if layouts is None:
        raise ValueError(f"spatial_ndim must be 1, 2 or 3, found {spatial_ndim!r}")
    found = layouts[0] if layout is None else choice("layout", layout, layouts)
    return found, found.index("C")
