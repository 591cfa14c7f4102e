"""Arguments and options of the commands that read folders of cases with their labels."""

from pathlib import Path
from typing import Annotated

import typer

ProbsFolder = Annotated[
    Path,
    typer.Argument(
        metavar="PROBS",
        help="Folder of probabilities: .npy, .npz, .pt or .nii.gz, one case a file.",
    ),
]
LabelsFolder = Annotated[
    Path,
    typer.Argument(
        metavar="LABELS",
        help="Folder of labels of the same names, .png too; or PROBS again if its .npz files "
        "hold both.",
    ),
]
Group = Annotated[
    str | None,
    typer.Option(
        metavar="REGEX",
        help="Regular expression that finds the patient or sequence in a name, for example "
        "'(patient\\d+)'. Its cases are not independent, and are kept together.",
    ),
]
VoidIndex = Annotated[int, typer.Option(help="Label of pixels that do not count.")]
ClassAxis = Annotated[int, typer.Option(help="Axis of the classes, -1 for the last.")]
LabelsKey = Annotated[str | None, typer.Option(help="Name of the labels in .npz and .pt files.")]
