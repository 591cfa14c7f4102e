"""The RankSEG tail spliced behind an output of a model."""

import os
from collections.abc import Sequence
from dataclasses import replace

from onnx import ModelProto

from ..calibration import Calibration
from ..docstrings import shared_parameters
from ..functional import rankseg
from ..settings import Metric, OutputMode, Policy, Solver
from ..validation import choice
from .files import load
from .head.index import GraphIndex
from .head.plan import plan
from .record import record, recorded
from .settings import FORMS, TailSettings
from .splice import Splice


@shared_parameters(rankseg)
def append_rma(
    model: ModelProto | str | os.PathLike[str],
    output: str | None = None,
    *,
    metric: Metric = "dice",
    smooth: float = 0.0,
    output_mode: OutputMode = "multiclass",
    solver: Solver | None = None,
    pruning_prob: float | Sequence[float] = 0.5,
    unassigned_policy: Policy = "max_score",
    void_index: int = 255,
    activation: str | None = "auto",
    calibration: Calibration | None = None,
    class_axis: int | None = None,
    label_dtype: str = "int64",
    keep_outputs: bool = False,
    resize_to: str | Sequence[int] | None = None,
    profile: str = "onnxruntime",
    form: str = "flat",
    name: str | None = None,
) -> ModelProto:
    """Return the model with an output of labels or masks that have the best expected metric.

    The result has the opset and IR version of the model, and its weights as they were; external
    weights are not read. A final ArgMax is replaced, with what shapes or casts its labels behind
    it kept. A final Softmax in float32 or float64 is replaced too where nothing else needs it:
    the tail has a faster one.

    Parameters
    ----------
    model : ModelProto or path
        A model of opset 11 or newer. It is not changed.
    output : str, optional
        The output to work on, needed where several could hold probabilities.
    metric, smooth, output_mode, pruning_prob
        As in `rankseg.functional.rankseg`.
    solver : {"RMA", "argmax", "pruned-argmax", "TR", "pruned-TR"}, optional
        "RMA" for Dice and IoU; for accuracy "argmax", the default, or "pruned-argmax", that of
        the classes that pruning leaves; for masks "TR" (p > 0.5), the default, or "pruned-TR".
    unassigned_policy : {"max_score", "void"}
        What becomes of a pixel that no class selected: the class that gains most, or `void_index`.
    void_index : int, default 255
        Label of such a pixel, outside of [0, class).
    activation : {"auto", None, "softmax", "sigmoid"}
        What turns the output into probabilities. "auto" takes it from the graph, and is an error
        where the graph does not decide, as for logits.
    calibration : Calibration, optional
        Correction of the probabilities, as `rankseg.evaluation.tune` fits it.
    class_axis : int, optional
        Axis of the classes in the output, needed where the graph does not tell. An output with
        fewer axes than the model's input then has no batch, unless its first size is the input's.
    keep_outputs : bool, default False
        Keep the output and put the new one last, instead of in its place. Other outputs stay.
    resize_to : "input" or sizes, optional
        Spatial size of the labels. The values are resized as the model gives them, logits before
        their activation; linear, half-pixel centres.
    label_dtype, profile, form
        As in `rma_model`. The form "function" makes an IR version below 8 version 8.
    name : str, optional
        Name of the new output, by default "labels" or "masks".

    Returns
    -------
    ModelProto
        What was found and decided is in the doc string of the new output; the settings and the
        SHA-256 of the source are in the metadata.

    Raises
    ------
    TypeError, ValueError
        If the model is not ONNX, its opset is not supported, the graph does not decide what an
        argument has to say, or a setting is wrong.

    Examples
    --------
    >>> from rankseg.export import append_rma, save
    >>> model = append_rma("model.onnx", metric="iou")  # doctest: +SKIP
    >>> save(model, "model-rankseg.onnx")  # doctest: +SKIP
    """
    settings = TailSettings(
        metric=metric,
        smooth=smooth,
        output_mode=output_mode,
        solver=solver,
        pruning_prob=pruning_prob,  # type: ignore[arg-type]  # a sequence becomes a tuple
        unassigned_policy=unassigned_policy,
        void_index=void_index,
        activation=None if activation == "auto" else activation,
        label_dtype=label_dtype,
        profile=profile,
        calibration=calibration,
    )
    form = choice("form", form, FORMS)
    activation = "auto" if activation == "auto" else settings.activation
    source, digest = load(model)
    index = GraphIndex(source)
    done = [name for name in index.outputs() if name in recorded(source)]
    if output in done or (output is None and done == index.outputs()):
        raise ValueError(f"output {output or done[0]!r} is RankSEG's already")
    # What is kept needs the Softmax, and resized probabilities are not those of resized logits.
    fold = resize_to is None and not keep_outputs
    head = plan(index, output, activation, class_axis, fold)
    settings = replace(settings, activation=head.activation)
    name = name or ("labels" if settings.multiclass else "masks")
    splice = Splice(source, index, head, settings)
    spliced = splice.add(resize_to, form)
    result = splice.finish(spliced, name, keep_outputs)
    record(
        source,
        name,
        settings,
        output=head.output,
        source=head.source,
        resize_to=resize_to,
        input=spliced.scores.value.name,
        class_axis=spliced.scores.axes.index("C"),
        result=result,
        source_sha256=digest,
    )
    return source
