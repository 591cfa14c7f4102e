"""Options that the commands of ``rankseg export`` share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


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


PolicyOption = Annotated[Policy, typer.Option(help="What becomes of a pixel no class selected.")]
VoidOption = Annotated[int, typer.Option(help="Label of such a pixel with the policy void.")]
LabelOption = Annotated[LabelType, typer.Option(help="Type of the labels.")]
ProfileOption = Annotated[
    Profile, typer.Option(help="Static avoids operators that accelerators lack.")
]
FormOption = Annotated[
    Form, typer.Option(help="Standard nodes, or one node of a function in the model.")
]
OutputOption = Annotated[Path, typer.Option("-o", "--output", help="The .onnx file to write.")]
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
