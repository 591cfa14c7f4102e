"""What the commands that read labelled cases share: options, progress, tables, bad files."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from .errors import CommandError, describe

ProbsFolder = Annotated[
    Path,
    typer.Argument(
        metavar="PROBS", help="Folder of probabilities: .npy, .npz, .nii.gz, one case a file."
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
Scale = Annotated[
    float | None,
    typer.Option(
        help="Value that stands for probability 1; for integers the largest of their type.",
        show_default=False,
    ),
]
ProbsKey = Annotated[str | None, typer.Option(help="Name of the probabilities in .npz files.")]
LabelsKey = Annotated[str | None, typer.Option(help="Name of the labels in .npz files.")]


@contextmanager
def case_progress(total: int) -> Iterator[Callable[[str, int], None]]:
    """Show a progress bar on a terminal, a new one for each pass over the cases.

    It gives the function to be told what the pass does and how many cases are done.
    """
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        tasks = {}

        def update(step: str, done: int) -> None:
            if step not in tasks:
                tasks[step] = progress.add_task(step, total=total)
            progress.update(tasks[step], completed=done)

        yield update


@contextmanager
def library_errors() -> Iterator[None]:
    """Turn what the library says of arguments and cases into one line."""
    try:
        yield
    except (TypeError, ValueError, ModuleNotFoundError) as error:
        raise CommandError(describe(error)) from error


def new_table(title: str, headings: Sequence[str], words: Collection[str]) -> Table:
    """Return a table without rows; columns of `words` may wrap, those of numbers not."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for heading in headings:
        is_words = heading in words
        table.add_column(
            heading,
            justify="left" if is_words else "right",
            no_wrap=not is_words,
            overflow="fold",
        )
    return table


def report_problems(problems: dict[str, str]) -> None:
    """List cases that were left out, and exit with 1 if there are any."""
    if problems:
        number = "1 case was" if len(problems) == 1 else f"{len(problems)} cases were"
        typer.echo(f"rankseg: {number} left out:", err=True)
        for name, reason in sorted(problems.items()):
            typer.echo(f"  {name}: {reason}", err=True)
        raise typer.Exit(1)
