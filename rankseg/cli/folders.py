"""Arguments and options of the commands that read folders of cases with their labels."""

from pathlib import Path
from typing import Annotated

import typer

from ..evaluation import Cases
from ..evaluation.averages import EMPTIES
from ..evaluation.cases.census import Census
from ..evaluation.cases.files import ORDERS
from ..io.labels import class_names
from ..settings import Settings
from .errors import CommandError
from .options import FILES, SCORES_PANEL, is_explicit, one_of

ProbsFolder = Annotated[
    Path,
    typer.Argument(
        metavar="PROBS",
        help="Folder of probabilities: .npy, .npz, .pt or .nii.gz, one case a file; or one of "
        "nnU-Net, such as fold_0/validation, which is known by its files.",
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
        rich_help_panel=FILES,
    ),
]
VoidIndex = Annotated[
    int,
    typer.Option(
        help="Label of pixels that do not count. Said explicitly, it is not questioned.",
        rich_help_panel=FILES,
    ),
]
ClassAxis = Annotated[
    int | None,
    typer.Option(
        help="Axis of the classes in a file, -1 for the last; by default the first, in NIfTI the "
        "one of the first and last over which values sum to 1.",
        show_default=False,
        rich_help_panel=FILES,
    ),
]
LabelsKey = Annotated[
    str | None,
    typer.Option(help="Name of the labels in .npz and .pt files.", rich_help_panel=FILES),
]
LabelMapOption = Annotated[
    str | None,
    typer.Option(
        "--label-map",
        metavar="OLD:NEW,...",
        help="Labels that are to be others: 255:1 for masks of 0 and 255, 1:0,2:1 for classes "
        "from 1, '#ff0000:1' for colours, '*:255' for all others; a .txt or .json file of these; "
        "or cityscapes.",
        rich_help_panel=FILES,
    ),
]
LabelsOrder = Annotated[
    str | None,
    one_of(
        ORDERS,
        help="How the axes of NIfTI labels go with probabilities of another format: xyz as in the "
        "file, zyx as nnU-Net and SimpleITK read them. Needed where shapes do not tell.",
        rich_help_panel=FILES,
    ),
]
Reorient = Annotated[
    bool,
    typer.Option(
        "--reorient",
        help="Turn NIfTI labels whose axes are flipped or permuted.",
        rich_help_panel=FILES,
    ),
]
ProbsPattern = Annotated[
    str,
    typer.Option(
        metavar="PATTERN",
        help="Names of the probabilities without suffix, {} for the case, * for anything.",
        rich_help_panel=FILES,
    ),
]
LabelsPattern = Annotated[
    str,
    typer.Option(
        metavar="PATTERN",
        help="Names of the labels, for example '{}_mask' or '*/{}_gtFine_labelIds'.",
        rich_help_panel=FILES,
    ),
]
ClassesOption = Annotated[
    str | None,
    typer.Option(
        metavar="C[,C...]", help="Classes that count in scores.", rich_help_panel=SCORES_PANEL
    ),
]
IgnoreClassOption = Annotated[
    str | None,
    typer.Option(
        metavar="C[,C...]",
        help="Classes that do not count in scores, 0 for the background.",
        rich_help_panel=SCORES_PANEL,
    ),
]
EmptyOption = Annotated[
    str,
    one_of(
        EMPTIES,
        help="What a class in neither label nor prediction of a case counts as, where classes in "
        "label or prediction count: not at all, or 1.",
        rich_help_panel=SCORES_PANEL,
    ),
]
ClassNamesOption = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,...",
        help="Names of the classes, or a .txt or .json file of them, such as dataset.json.",
        rich_help_panel=SCORES_PANEL,
    ),
]


def class_list(text: str | None, option: str) -> list[int] | None:
    """Return the classes that an option names."""
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise CommandError(f"{option} takes classes with commas, 0,2,3: {text!r}") from error


def names_of(given: str | None) -> tuple[str, ...]:
    """Return the names of classes that an option gives."""
    return () if given is None else class_names(given)


def mode_of(mode: str | None, cases: Cases) -> str:
    """Return the mode that was said, or what the files say or the first case shows."""
    if mode is not None:
        return mode
    if cases.output_mode is not None:
        return cases.output_mode
    return "multilabel" if cases.has_one_class() else Settings.output_mode


def doubts_void(context: typer.Context, cases: Cases) -> bool:
    """Return whether nothing said which label is void, so that it may be a class."""
    return not (cases.has_void or is_explicit(context, "void_index"))


def label_notes(census: Census, void_index: int, names: tuple[str, ...] = ()) -> list[str]:
    """Return what a user has to know of the labels."""
    notes = census.notes(names)
    if 0 <= void_index < len(census.area):
        notes.append(
            f"--void-index {void_index} is a class too: what is predicted on its pixels never "
            f"counts; --ignore-class {void_index} leaves the class out of the means instead"
        )
    return notes
