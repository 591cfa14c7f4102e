"""Options that several commands have, the values that they take, and which do not go together."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from ..activations import ACTIVATIONS
from ..config import Config
from ..settings import METRICS, MODES, POLICIES, SCORES, Settings, Solver
from ..validation import choice
from .errors import CommandError, library_errors

NO_ACTIVATION = "none"
PRUNING = f"{Settings.pruning_prob:g}"
"""The default of --pruning-prob, as a user writes it."""

CORRELATION = f"{Settings.correlation:g}"
"""The default of --correlation."""


def one_of(names: Iterable[str], *flags: str, help: str, **more: Any) -> Any:
    """Return an option that takes one of these names, in any case."""
    allowed = list(names)

    def parse(text: str) -> str:
        try:
            return choice("value", text, allowed)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error

    def complete(incomplete: str) -> list[str]:
        return [name for name in allowed if name.startswith(incomplete)]

    metavar = f"[{'|'.join(allowed)}]"
    return typer.Option(
        *flags, parser=parse, autocompletion=complete, metavar=metavar, help=help, **more
    )


FILES = "What is in the files"
SEGMENTATION = "Segmentation"
SCORES_PANEL = "Scores"
"""Groups of options in --help."""

MetricOption = Annotated[
    str, one_of(METRICS, help="What to maximise.", rich_help_panel=SEGMENTATION)
]
ScoreOption = Annotated[str, one_of(SCORES, help="What to maximise.", rich_help_panel=SEGMENTATION)]
SmoothOption = Annotated[
    float,
    typer.Option(help="Smoothing constant of the metric.", rich_help_panel=SEGMENTATION),
]
SolverOption = Annotated[
    str | None,
    one_of(
        get_args(Solver),
        help="Solver, by default the first that suits the metric.",
        rich_help_panel=SEGMENTATION,
    ),
]
ModeOption = Annotated[
    str,
    one_of(MODES, help="One label a pixel, or one mask a class.", rich_help_panel=SEGMENTATION),
]
FoundModeOption = Annotated[
    str | None,
    one_of(
        MODES,
        help="One label a pixel, or one mask a class; by default the first, and masks where maps "
        "are of one structure.",
        show_default=False,
        rich_help_panel=SEGMENTATION,
    ),
]
ActivationOption = Annotated[
    str,
    one_of(
        (NO_ACTIVATION, *ACTIVATIONS),
        help="What turns values, logits then, into probabilities.",
        rich_help_panel=FILES,
    ),
]
PruningOption = Annotated[
    str,
    typer.Option(
        metavar="P[,P...]",
        help="Leave out classes that are nowhere more probable than this; a list with commas "
        "gives each class its own.",
        rich_help_panel=SEGMENTATION,
    ),
]
PolicyOption = Annotated[
    str | None,
    one_of(
        POLICIES,
        help="What becomes of a pixel that no class selected; max_score if not given.",
        rich_help_panel=SEGMENTATION,
    ),
]
VoidOption = Annotated[
    int | None,
    typer.Option(
        help="Label that --unassigned-policy void and --nodata write, outside of the classes; 255 "
        "if not given.",
        rich_help_panel=SEGMENTATION,
    ),
]
RefineOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Passes that improve labels after overlaps are resolved; none if not given.",
        rich_help_panel=SEGMENTATION,
    ),
]
CorrelationOption = Annotated[
    str,
    typer.Option(
        metavar="R[,R...]",
        help="Correlation of the pixels of a class, in [0, 0.95] or 1, for RMA: 0.5 where nothing "
        "is known; a list with commas gives each class its own.",
        rich_help_panel=SEGMENTATION,
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        help="Settings, with calibration, from a file of rankseg tune.",
        rich_help_panel=SEGMENTATION,
    ),
]
ScaleOption = Annotated[
    float | None,
    typer.Option(
        help="Value that stands for probability 1, 100 for percent; for integers the largest of "
        "their type if not given.",
        show_default=False,
        rich_help_panel=FILES,
    ),
]
ProbsKeyOption = Annotated[
    str | None,
    typer.Option(help="Name of the probabilities in .npz and .pt files.", rich_help_panel=FILES),
]
BinaryOption = Annotated[
    bool,
    typer.Option(
        "--binary",
        help="Maps are of one structure, without a class axis: (height, width) always are, NIfTI "
        "(x, y, z) if their masks are of the same shape, other volumes need this.",
        rich_help_panel=FILES,
    ),
]
CheckSumsOption = Annotated[
    bool,
    typer.Option(
        "--check-sums/--no-check-sums",
        help="Refuse probabilities that do not sum to 1 over the classes.",
        rich_help_panel=FILES,
    ),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")]

_FURTHER = ("unassigned_policy", "void_index", "refine")


def settings(context: typer.Context, config: Path | None, **options: Any) -> dict[str, Any]:
    """Return arguments of `RankSEG`: the options, or what a file holds in their stead."""
    if config is None:
        return {
            name: value
            for name, value in options.items()
            if value is not None or name not in _FURTHER
        }
    for name in {**options, "correlation": None}:
        name = name.removeprefix("output_")  # --mode is output_mode
        if is_explicit(context, name):
            raise CommandError(f"--config has a value for --{name.replace('_', '-')} already")
    with library_errors():
        return Config.load(config).arguments


def is_explicit(context: typer.Context, name: str) -> bool:
    """Return whether an option was written on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def activation_of(name: str) -> str | None:
    """Return the activation that --activation names, if any."""
    return None if name == NO_ACTIVATION else name


def numbers(text: str, option: str) -> Any:
    """Return the number that an option was given, or the list of several."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise CommandError(f"{option} takes a number, or several with commas: {text!r}") from error
    return found[0] if len(found) == 1 else found


def number_of(text: str, option: str) -> float:
    """Return the one number that an option was given."""
    try:
        return float(text)
    except ValueError as error:
        raise CommandError(f"{option} takes one number: {text!r}") from error


def correlated(text: str) -> dict[str, Any]:
    """Return the argument that --correlation was given, none for the default."""
    found = numbers(text, "--correlation")
    return {} if found == Settings.correlation else {"correlation": found}
