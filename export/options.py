"""Options that the commands of ``rankseg export`` share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..cli.options import Mode


class Metric(StrEnum):
    """What to maximise."""

    DICE = "dice"
    IOU = "iou"


class Policy(StrEnum):
    """What becomes of a pixel that no class selected."""

    MAX_SCORE = "max_score"
    VOID = "void"


class AutoActivation(StrEnum):
    """The same, or what the graph says."""

    AUTO = "auto"
    NONE = "none"
    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"


class LabelType(StrEnum):
    """Type of labels."""

    INT64 = "int64"
    INT32 = "int32"
    UINT8 = "uint8"


class Profile(StrEnum):
    """Operators to use."""

    ONNXRUNTIME = "onnxruntime"
    STATIC = "static"


class Form(StrEnum):
    """Standard nodes, or one node of a function."""

    FLAT = "flat"
    FUNCTION = "function"


MetricOption = Annotated[Metric, typer.Option(help="What to maximise.")]
SmoothOption = Annotated[float, typer.Option(help="Smoothing constant of the metric.")]
ModeOption = Annotated[Mode, typer.Option(help="One label a pixel, or one mask a class.")]
PruningOption = Annotated[
    str,
    typer.Option(
        help="Leave out classes that are nowhere more probable than this; a list with commas "
        "gives each class its own."
    ),
]
PolicyOption = Annotated[Policy, typer.Option(help="What becomes of a pixel no class selected.")]
VoidOption = Annotated[int, typer.Option(help="Label of such a pixel with the policy void.")]
ConfigOption = Annotated[
    Path | None, typer.Option(help="Settings, with calibration, from a file of rankseg tune.")
]
LabelOption = Annotated[LabelType, typer.Option(help="Type of the labels.")]
ProfileOption = Annotated[
    Profile, typer.Option(help="Static avoids operators that accelerators lack.")
]
FormOption = Annotated[
    Form, typer.Option(help="Standard nodes, or one node of a function in the model.")
]
OutputOption = Annotated[Path, typer.Option("-o", "--output", help="The .onnx file to write.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")]
ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", help="An .onnx file.")]
HeadOption = Annotated[
    str | None, typer.Option("--head", help="Output of the model, if it has several.")
]
ActivationOption = Annotated[
    AutoActivation, typer.Option(help="What turns the output into probabilities.")
]
ClassAxisOption = Annotated[
    int | None, typer.Option(help="Axis of the classes, by default found in the graph.")
]
