"""What the commands print alike: progress, tables, notes, and what was left out."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import typer
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from .errors import EXIT_CODE, describe, with_flags


def new_progress() -> Progress:
    """Return progress bars for a terminal; anywhere else they are not shown."""
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)


@contextmanager
def case_progress(total: int) -> Iterator[Callable[[str, int], None]]:
    """Show a progress bar for each pass over the cases.

    It gives the function to be told what the pass does and how many cases are done.
    """
    with new_progress() as progress:
        tasks = {}

        def update(step: str, done: int) -> None:
            if step not in tasks:
                tasks[step] = progress.add_task(step, total=total)
            progress.update(tasks[step], completed=done)

        yield update


def new_table(title: str, headings: Sequence[str], words: Collection[str]) -> Table:
    """Return a table without lines; columns of `words` may wrap, those of numbers not."""
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
            typer.echo(f"  {name}: {with_flags(reason)}", err=True)
        raise typer.Exit(1)


def report_failures(errors: Sequence[Exception], total: int) -> NoReturn:
    """List what was not written, and exit with 1, or with 2 if nothing was written."""
    for error in errors:
        typer.echo(f"rankseg: {describe(error)}", err=True)
    typer.echo(f"rankseg: {len(errors)} of {total} cases were not written", err=True)
    raise typer.Exit(1 if len(errors) < total else EXIT_CODE)


def print_notes(notes: Iterable[str]) -> None:
    """Print what was done to the files that were read."""
    for note in sorted(notes):
        typer.echo(f"- Note: {note}")
