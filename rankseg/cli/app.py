"""The commands of ``rankseg``."""

from importlib.util import find_spec
from typing import Annotated

import typer

from .. import __version__
from .demo import demo
from .evaluate import evaluate
from .nnunet import nnunet
from .predict import predict
from .tune import tune

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Segmentation masks with the best expected Dice or IoU, from probabilities.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rankseg {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Handle the options that stand before a command."""


for command in (predict, evaluate, tune, nnunet):
    app.command()(command)

if find_spec(".export", __package__.rpartition(".")[0]):
    from ..export.cli import app as export_app

    app.add_typer(export_app, name="export")

app.command()(demo)
