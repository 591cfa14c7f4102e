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


_EXAMPLES = {
    "predict": (
        "rankseg predict probs.npy -o labels.png",
        "rankseg predict volumes/ -o labels/ --class-axis -1 --config rankseg.toml",
    ),
    "evaluate": (
        "rankseg evaluate PROBS LABELS -o report.html",
        "rankseg evaluate PROBS MASKS --label-map 255:1 --ignore-class 0 --average class-first",
    ),
    "tune": (
        "rankseg tune PROBS LABELS -o rankseg.toml",
        "rankseg tune PROBS LABELS -o rankseg.toml --average dataset --group '(patient\\d+)'",
    ),
    "nnunet": ("rankseg nnunet PREDICTIONS -o SEGMENTATIONS --metric dice",),
    "demo": ("rankseg demo -o picture.png --seed 1",),
    "export": (
        "rankseg export append model.onnx -o model-rankseg.onnx --metric dice",
        "rankseg export verify model-rankseg.onnx",
    ),
}


def _examples(command: str) -> str:
    """Return what stands below the options in --help; a list keeps its lines."""
    lines = "\n".join(f"- `{line}`" for line in _EXAMPLES[command])
    return f"**Examples**\n\n{lines}"


for command in (predict, evaluate, tune, nnunet):
    app.command(epilog=_examples(command.__name__))(command)

if find_spec(".export", __package__.rpartition(".")[0]):
    from ..export.cli import app as export_app

    app.add_typer(export_app, name="export", epilog=_examples("export"))

app.command(epilog=_examples("demo"))(demo)
