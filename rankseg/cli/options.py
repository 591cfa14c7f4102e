"""Options that several commands have, the values that they take, and which do not go together."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ..config import Config
from .errors import CommandError, library_errors


class Metric(StrEnum):
    """What to maximise."""

    DICE = "dice"
    IOU = "iou"
    ACC = "acc"


class Score(StrEnum):
    """What to maximise and to measure, beside the accuracy."""

    DICE = "dice"
    IOU = "iou"


class Mode(StrEnum):
    """Labels or masks."""

    MULTICLASS = "multiclass"
    MULTILABEL = "multilabel"


class Activation(StrEnum):
    """What turns values into probabilities."""

    NONE = "none"
    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"


class Format(StrEnum):
    """Files in an output folder."""

    NPY = "npy"
    PNG = "png"
    NIFTI = "nii.gz"


MetricOption = Annotated[Metric, typer.Option(help="What to maximise.")]
ScoreOption = Annotated[Score, typer.Option(help="What to maximise.")]
SmoothOption = Annotated[float, typer.Option(help="Smoothing constant of the metric.")]
SolverOption = Annotated[
    str | None, typer.Option(help="Solver, by default the first that suits the metric.")
]
ModeOption = Annotated[Mode, typer.Option(help="One label a pixel, or one mask a class.")]
PruningOption = Annotated[
    str,
    typer.Option(
        metavar="P[,P...]",
        help="Leave out classes that are nowhere more probable than this; a list with commas "
        "gives each class its own.",
    ),
]
ConfigOption = Annotated[
    Path | None, typer.Option(help="Settings, with calibration, from a file of rankseg tune.")
]
ScaleOption = Annotated[
    float | None,
    typer.Option(
        help="Value that stands for probability 1; for integers the largest of their type.",
        show_default=False,
    ),
]
ProbsKeyOption = Annotated[
    str | None, typer.Option(help="Name of the probabilities in .npz and .pt files.")
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")]


def settings(context: typer.Context, config: Path | None, **options: Any) -> dict[str, Any]:
    """Return arguments of `RankSEG`: the options, or what a file holds in their stead."""
    if config is None:
        return options
    for name in options:
        name = name.removeprefix("output_")  # --mode is output_mode
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise CommandError(f"--config has a value for --{name.replace('_', '-')} already")
    with library_errors():
        return Config.load(config).arguments


def numbers(text: str, option: str) -> Any:
    """Return the number that an option was given, or the list of several."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise CommandError(f"{option} takes a number, or several with commas: {text!r}") from error
    return found[0] if len(found) == 1 else found
