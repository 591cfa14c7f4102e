"""Options that the commands of ``rankseg export`` share."""

from pathlib import Path
from typing import Annotated

import typer

from ..activations import ACTIVATIONS
from ..cli.options import NO_ACTIVATION, one_of
from ..settings import POLICIES
from .settings import FORMS, LABEL_DTYPES, PROFILES

AUTO = "auto"
PolicyOption = Annotated[str, one_of(POLICIES, help="What becomes of a pixel no class selected.")]
VoidOption = Annotated[int, typer.Option(help="Label of such a pixel with the policy void.")]
LabelOption = Annotated[str, one_of(LABEL_DTYPES, help="Type of the labels.")]
ProfileOption = Annotated[
    str, one_of(PROFILES, help="Static avoids operators that accelerators lack.")
]
FormOption = Annotated[
    str, one_of(FORMS, help="Standard nodes, or one node of a function in the model.")
]
OutputOption = Annotated[Path, typer.Option("-o", "--output", help="The .onnx file to write.")]
ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", help="An .onnx file.")]
HeadOption = Annotated[
    str | None, typer.Option("--head", help="Output of the model, if it has several.")
]
ActivationOption = Annotated[
    str,
    one_of((AUTO, NO_ACTIVATION, *ACTIVATIONS), help="What turns the output into probabilities."),
]
ClassAxisOption = Annotated[
    int | None, typer.Option(help="Axis of the classes, by default found in the graph.")
]
InputActivation = Annotated[
    str, one_of((NO_ACTIVATION, *ACTIVATIONS), help="What turns the input into probabilities.")
]
