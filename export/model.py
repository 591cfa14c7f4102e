"""The RMA solver as an ONNX model of its own."""

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral

from onnx import ModelProto, TensorProto, helper

from ..calibration import Calibration
from ..docstrings import shared_parameters
from ..functional import rankseg
from ..settings import Metric, OutputMode, Policy, Solver
from ..validation import choice
from .emitter.tail import DOMAIN, Tail, as_function, summary, tail
from .record import record
from .settings import FORMS, TailSettings

DEFAULT_OPSET = 17
LAYOUTS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
DTYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "float64": TensorProto.DOUBLE,
}


@shared_parameters(rankseg)
def rma_model(
    *,
    metric: Metric = "dice",
    smooth: float = 0.0,
    output_mode: OutputMode = "multiclass",
    solver: Solver | None = None,
    pruning_prob: float | Sequence[float] = 0.5,
    unassigned_policy: Policy = "max_score",
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
    metric, smooth, output_mode, pruning_prob
        As in `rankseg.functional.rankseg`.
    solver : {"RMA", "argmax", "pruned-argmax", "TR", "pruned-TR"}, optional
        "RMA" for Dice and IoU; for accuracy "argmax", the default, or "pruned-argmax", that of
        the classes that pruning leaves; for masks "TR" (p > 0.5), the default, or "pruned-TR".
    unassigned_policy : {"max_score", "void"}
        What becomes of a pixel that no class selected: the class that gains most, or `void_index`.
    void_index : int, default 255
        Label of such a pixel, outside of [0, class).
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
        metric=metric,
        smooth=smooth,
        output_mode=output_mode,
        solver=solver,
        pruning_prob=pruning_prob,  # type: ignore[arg-type]  # a sequence becomes a tuple
        unassigned_policy=unassigned_policy,
        void_index=void_index,
        activation=activation,
        label_dtype=label_dtype,
        profile=profile,
        calibration=calibration,
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
    record(model, result, settings, input=source, class_axis=class_axis, result=result)
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
