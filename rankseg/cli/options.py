"""Options that several commands have, the values that they take, and which do not go together."""

from enum import StrEnum
from typing import Annotated

import typer

from .errors import CommandError


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


MetricOption = Annotated[Metric, typer.Option(help="What to maximise.")]
SmoothOption = Annotated[float, typer.Option(help="Smoothing constant of the metric.")]
SolverOption = Annotated[
    str | None, typer.Option(help="Solver, by default the first that suits the metric.")
]
ModeOption = Annotated[Mode, typer.Option(help="One label a pixel, or one mask a class.")]
PruningOption = Annotated[
    float, typer.Option(help="Leave out classes that are nowhere more probable than this.")
]


def check_alone(context: typer.Context, *names: str) -> None:
    """Refuse options whose values a file of settings has."""
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise CommandError(f"--config has a value for --{name.replace('_', '-')} already")
