"""Options that several commands have, the values that they take, and which do not go together."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from ..activations import ACTIVATIONS
from ..config import Config
from ..settings import METRICS, MODES, SCORES, Settings, Solver
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

    return typer.Option(*flags, parser=parse, metavar=f"[{'|'.join(allowed)}]", help=help, **more)


MetricOption = Annotated[str, one_of(METRICS, help="What to maximise.")]
ScoreOption = Annotated[str, one_of(SCORES, help="What to maximise.")]
SmoothOption = Annotated[float, typer.Option(help="Smoothing constant of the metric.")]
SolverOption = Annotated[
    str | None, one_of(get_args(Solver), help="Solver, by default the first that suits the metric.")
]
ModeOption = Annotated[str, one_of(MODES, help="One label a pixel, or one mask a class.")]
ActivationOption = Annotated[
    str, one_of((NO_ACTIVATION, *ACTIVATIONS), help="What turns values into probabilities.")
]
PruningOption = Annotated[
    str,
    typer.Option(
        metavar="P[,P...]",
        help="Leave out classes that are nowhere more probable than this; a list with commas "
        "gives each class its own.",
    ),
]
CorrelationOption = Annotated[
    str,
    typer.Option(
        metavar="R[,R...]",
        help="Correlation of the pixels of a class, in [0, 0.95] or 1, for RMA: 0.5 where nothing "
        "is known; a list with commas gives each class its own.",
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
    for name in {**options, "correlation": None}:
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


def correlated(text: str) -> dict[str, Any]:
    """Return the argument that --correlation was given, none for the default."""
    found = numbers(text, "--correlation")
    return {} if found == Settings.correlation else {"correlation": found}
