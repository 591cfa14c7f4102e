"""The commands of ``rankseg export``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from ..cli.errors import CommandError, describe, library_errors, one_line_errors
from ..cli.options import (
    NO_ACTIVATION,
    PRUNING,
    ConfigOption,
    MetricOption,
    ModeOption,
    OverwriteOption,
    PruningOption,
    SmoothOption,
    SolverOption,
    activation_of,
    numbers,
    settings,
)
from ..cli.paths import check_output
from ..io.reading import read_image
from ..settings import Settings
from .options import (
    AUTO,
    ActivationOption,
    ClassAxisOption,
    FormOption,
    HeadOption,
    InputActivation,
    LabelOption,
    ModelArgument,
    OutputOption,
    PolicyOption,
    ProfileOption,
    VoidOption,
)
from .settings import FORMS, SOLVERS, TailSettings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="RankSEG inside ONNX models, for runtimes without Python.",
)


@app.command()
def append(
    context: typer.Context,
    model: ModelArgument,
    output: OutputOption,
    head: HeadOption = None,
    metric: MetricOption = Settings.metric,
    smooth: SmoothOption = Settings.smooth,
    mode: ModeOption = Settings.output_mode,
    solver: SolverOption = None,
    pruning_prob: PruningOption = PRUNING,
    unassigned_policy: PolicyOption = Settings.unassigned_policy,
    void_index: VoidOption = Settings.void_index,
    config: ConfigOption = None,
    activation: ActivationOption = AUTO,
    class_axis: ClassAxisOption = None,
    label_dtype: LabelOption = TailSettings.label_dtype,
    keep_outputs: Annotated[
        bool, typer.Option("--keep-outputs", help="Add labels instead of replacing the output.")
    ] = False,
    resize_to: Annotated[
        str | None, typer.Option(help="Size of the labels: input, or HEIGHTxWIDTH.")
    ] = None,
    profile: ProfileOption = TailSettings.profile,
    form: FormOption = FORMS[0],
    name: Annotated[str | None, typer.Option(help="Name of the new output.")] = None,
    copy_weights: Annotated[
        bool, typer.Option("--copy-weights", help="Copy external weights to another folder.")
    ] = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Put RankSEG behind an output of a model; its weights and opset stay."""
    with one_line_errors(), library_errors():
        from .append import append_rma
        from .files import external_files, load, save

        check_output(output, (".onnx",), overwrite, model)
        made = append_rma(
            model,
            head,
            **_settings(
                context,
                config,
                metric,
                smooth,
                mode,
                solver,
                pruning_prob,
                unassigned_policy,
                void_index,
            ),
            activation=activation_of(activation),
            class_axis=class_axis,
            label_dtype=label_dtype,
            keep_outputs=keep_outputs,
            resize_to=_size(resize_to, "--resize-to takes input or HEIGHTxWIDTH"),
            profile=profile,
            form=form,
            name=name,
        )
        if not copy_weights and external_files(made) and not output.parent.samefile(model.parent):
            files = ", ".join(external_files(made))
            raise CommandError(
                f"the weights in {files} would not be found from {output.parent}: write beside "
                "them, or let --copy-weights copy them"
            )
        save(made, output, overwrite, weights=model.parent)
        for line in _decisions(load(model)[0], made):
            typer.echo(line)
        growth = (output.stat().st_size - model.stat().st_size) / 1e3
        typer.echo(f"{output}: written, {growth:+.1f} kB")


@app.command()
def info(model: ModelArgument) -> None:
    """Say what each output of a model ends in, and what append would do."""
    with one_line_errors(), library_errors():
        from onnx import TensorProto

        from .files import load
        from .head.index import GraphIndex, shape_words
        from .record import recorded

        loaded, digest = load(model)
        index, records = GraphIndex(loaded), recorded(loaded)
        typer.echo(
            f"{model}: opset {index.opset}, IR version {loaded.ir_version}, SHA-256 {digest}"
        )
        for name in index.inputs():
            kind = TensorProto.DataType.Name(index.element_type(name)).lower()
            typer.echo(f"input {name!r}: {kind} {shape_words(index.shape(name))}")
        for output in loaded.graph.output:
            if output.name in records:
                words = output.doc_string or loaded.graph.doc_string
                lines = _made(output.name, words, records[output.name])
            else:
                lines = _prospect(index, output.name)
            typer.echo("\n".join(lines))


@app.command()
def verify(
    model: ModelArgument,
    original: Annotated[
        Path | None, typer.Option(help="The model before, to compare its own output.")
    ] = None,
    image: Annotated[
        Path | None, typer.Option(help="Picture for the input, instead of random ones.")
    ] = None,
    mean: Annotated[
        str, typer.Option(help="Subtracted from the picture's values in [0, 1].")
    ] = "0.5",
    std: Annotated[str, typer.Option(help="What they are then divided by.")] = "0.5",
    head: Annotated[
        str | None, typer.Option("--head", help="Output of labels or masks, if several.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of onnxruntime.")] = 2,
    min_agreement: Annotated[
        float, typer.Option(min=0, max=1, help="Exit with 1 if less of the output agrees.")
    ] = 0.0,
) -> None:
    """Run a model made by append, and compare it with NumPy: agreement, time and memory."""
    with one_line_errors(), library_errors():
        from .files import load
        from .verification.feeds import picture_feed
        from .verification.verify import verify as check

        feeds = None
        if image is not None:
            scale = [_of_channels(text, name) for text, name in ((mean, "--mean"), (std, "--std"))]
            feeds = picture_feed(load(model)[0], read_image(image), *scale)
        with Console(stderr=True).status("Running the model ..."):
            found = check(model, original, feeds, output=head, threads=threads)
        if feeds is not None:
            sizes = ", ".join(f"{key!r} {list(value.shape)}" for key, value in feeds.items())
            typer.echo(f"{image} as {sizes}, less {mean} and then over {std}")
        typer.echo(str(found))
        if found.agreement < min_agreement:
            raise typer.Exit(1)


@app.command()
def node(
    context: typer.Context,
    output: OutputOption,
    metric: MetricOption = Settings.metric,
    smooth: SmoothOption = Settings.smooth,
    mode: ModeOption = Settings.output_mode,
    solver: SolverOption = None,
    pruning_prob: PruningOption = PRUNING,
    unassigned_policy: PolicyOption = Settings.unassigned_policy,
    void_index: VoidOption = Settings.void_index,
    config: ConfigOption = None,
    activation: InputActivation = NO_ACTIVATION,
    spatial_ndim: Annotated[int, typer.Option(help="Number of spatial axes.")] = 2,
    num_classes: Annotated[int | None, typer.Option(help="By default any number.")] = None,
    layout: Annotated[str | None, typer.Option(help="NCHW, NHWC, NCDHW, ...")] = None,
    batch: Annotated[int | None, typer.Option(help="Size of the batch, by default any.")] = None,
    size: Annotated[
        str | None, typer.Option(help="Spatial sizes, HEIGHTxWIDTH, by default any.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="Type of the input: float32, float16.")] = "float32",
    label_dtype: LabelOption = TailSettings.label_dtype,
    opset: Annotated[int | None, typer.Option(help="Version of the operators.")] = None,
    profile: ProfileOption = TailSettings.profile,
    form: FormOption = FORMS[0],
    overwrite: OverwriteOption = False,
) -> None:
    """Write RankSEG as a model of its own: probabilities or logits in, labels or masks out."""
    with one_line_errors(), library_errors():
        from .files import save
        from .model import rma_model

        check_output(output, (".onnx",), overwrite)
        made = rma_model(
            **_settings(
                context,
                config,
                metric,
                smooth,
                mode,
                solver,
                pruning_prob,
                unassigned_policy,
                void_index,
            ),
            activation=activation_of(activation),
            spatial_ndim=spatial_ndim,
            num_classes=num_classes,
            layout=layout,
            batch=batch,
            spatial_shape=_size(size, "--size takes HEIGHTxWIDTH"),
            dtype=dtype,
            label_dtype=label_dtype,
            opset=opset,
            profile=profile,
            form=form,
        )
        save(made, output, overwrite)
        graph = made.graph
        typer.echo(f"{output}: written, {graph.input[0].name!r} to {graph.output[0].name!r}")


def _settings(
    context: typer.Context,
    config: Path | None,
    metric: str,
    smooth: float,
    mode: str,
    solver: str | None,
    pruning_prob: str,
    unassigned_policy: str,
    void_index: int,
) -> dict[str, Any]:
    """Return what to compute, from the options or from a file in their stead."""
    found = settings(
        context,
        config,
        metric=metric,
        smooth=smooth,
        output_mode=mode,
        solver=solver,
        pruning_prob=numbers(pruning_prob, "--pruning-prob"),
        unassigned_policy=unassigned_policy,
        void_index=void_index,
    )
    if config is None:
        return found
    if found["solver"] not in SOLVERS:
        raise CommandError(f"{config}: solver {found['solver']}; a model has {', '.join(SOLVERS)}")
    for name in ("refine", "correlation"):
        value = found.pop(name, 0)
        if np.any(value):
            raise CommandError(
                f"{config}: {name} must be 0 for a model, found {value}; rankseg tune "
                "--correlation 0 chooses settings that a model can have"
            )
    found.pop("safe_screening", None)
    return found


def _of_channels(text: str, option: str) -> np.ndarray:
    found = np.array(numbers(text, option))
    if found.size not in (1, 3):
        raise CommandError(f"{option} takes one number or three with commas, found {found.size}")
    return found


def _size(text: str | None, usage: str) -> Any:
    if text is None or (text == "input" and "input" in usage):
        return text
    try:
        return [int(part) for part in text.lower().split("x")]
    except ValueError as error:
        raise CommandError(f"{usage}, found {text!r}") from error


def _decisions(source: Any, made: Any) -> Iterator[str]:
    """Yield a line for each thing that append found or decided."""
    from .record import recorded

    new = list(recorded(made))[-1]
    yield from next(o.doc_string for o in made.graph.output if o.name == new).splitlines()
    if made.ir_version != source.ir_version:
        yield f"IR version {source.ir_version} becomes {made.ir_version}, for the function"
    yield f"outputs are now {', '.join(repr(value.name) for value in made.graph.output)}"


def _made(name: str, words: str, record: dict[str, Any]) -> list[str]:
    """Say what is known of an output of this package."""
    first = f"output {name!r} is RankSEG's, {record['metric']}, {record['output_mode']}"
    return [first, words, ", ".join(f"{key} {value}" for key, value in record.items())]


def _prospect(index: Any, output: str) -> list[str]:
    """Say what an output ends in, and what append would do with it."""
    from .head.plan import plan
    from .head.recognize import recognize

    found: tuple[str, ...] = ()
    try:
        found = recognize(index, output).findings
        return list(plan(index, output, "auto", None).findings)
    except ValueError as error:
        return [*found, f"append: {describe(error)}"]
