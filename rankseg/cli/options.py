"""Values that options of the command line take, and which do not go together."""

from enum import StrEnum

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


def check_alone(context: typer.Context, *names: str) -> None:
    """Refuse options whose values a file of settings has."""
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise CommandError(f"--config has a value for --{name.replace('_', '-')} already")
