"""The commands and their options."""

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from .. import __version__
from ..config import Config
from ..files import replacing
from ..validation import METRICS, SOLVERS
from .cases import library_errors
from .errors import CommandError, one_line_errors
from .evaluate import evaluate
from .nnunet import nnunet
from .options import (
    Activation,
    Format,
    Metric,
    MetricOption,
    Mode,
    ModeOption,
    PruningOption,
    SmoothOption,
    SolverOption,
    check_alone,
)
from .predict import Options, plan, predict_file
from .tune import tune

_DEMO_PICTURE = Path("rankseg-demo.png")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
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


@app.command()
def predict(
    context: typer.Context,
    source: Annotated[
        Path,
        typer.Argument(metavar="PROBS", help="A .npy, .npz or .pt file, or a folder of these."),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="A .npy or .png file, or a folder.")
    ],
    metric: MetricOption = Metric.DICE,
    smooth: SmoothOption = 0.0,
    solver: SolverOption = None,
    mode: ModeOption = Mode.MULTICLASS,
    pruning_prob: PruningOption = 0.5,
    config: Annotated[
        Path | None,
        typer.Option(help="Settings from a .toml or .json file that rankseg tune has written."),
    ] = None,
    activation: Annotated[
        Activation, typer.Option(help="For files that hold logits.")
    ] = Activation.NONE,
    batched: Annotated[
        bool | None,
        typer.Option(
            "--batched/--no-batched",
            help="Whether the first axis counts samples. By default it does with four axes or "
            "more; a single volume (class, depth, height, width) needs --no-batched.",
            show_default=False,
        ),
    ] = None,
    class_axis: Annotated[
        int | None,
        typer.Option(help="Axis of the classes in the file, by default the first of a sample."),
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Name of the array in an .npz or .pt file with several.")
    ] = None,
    form: Annotated[
        Format | None, typer.Option("--format", help="Files in an output folder, by default npy.")
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(help="Also draw argmax, RankSEG and their difference as PNG.")
    ] = None,
    image: Annotated[
        Path | None, typer.Option(help="Picture that --compare shows beside the labels.")
    ] = None,
) -> None:
    """Turn files of probabilities into labels (.npy or palette .png).

    Labels are written as the smallest unsigned integers that hold them, masks as bool. A batch
    in a .npy file is read and segmented sample by sample, so that it may be larger than memory.
    """
    with one_line_errors():
        settings = {
            "metric": metric.value,
            "smooth": smooth,
            "output_mode": mode.value,
            "solver": solver or SOLVERS[METRICS[metric], mode.value][0],
            "pruning_prob": pruning_prob,
        }
        if config is not None:
            check_alone(context, "metric", "smooth", "solver", "mode", "pruning_prob")
            with library_errors():
                settings = Config.load(config).arguments
        options = Options(settings, activation.value, key, batched, class_axis)
        options.check()
        pairs = plan(source, output, form and f".{form.value}")
        _check_drawing(compare, image, source, pairs[0][1])
        if output not in pairs[0]:
            output.mkdir(exist_ok=True)
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            if source.is_dir():
                for file, result in progress.track(pairs, description="files"):
                    predict_file(file, result, options)
                message = f"{output}: labels of {len(pairs)} files"
            else:
                track = partial(progress.track, description="samples")
                message = predict_file(
                    *pairs[0], options, picture=compare, image=image, track=track
                )
        typer.echo(message)


def _check_drawing(compare: Path | None, image: Path | None, source: Path, output: Path) -> None:
    if image is not None and compare is None:
        raise CommandError("--image is shown by --compare: name its file too")
    if compare is None:
        return
    if source.is_dir():
        raise CommandError("--compare takes one sample, not a folder")
    _check_png(compare)
    if compare.resolve() == output.resolve():
        raise CommandError(f"{compare}: --compare and --output name the same file")


def _check_png(path: Path) -> None:
    if path.suffix.lower() != ".png":
        raise CommandError(f"{path}: a picture needs a name that ends in .png")


app.command()(evaluate)
app.command()(nnunet)
app.command()(tune)

if find_spec(".export", __package__.rpartition(".")[0]):
    from ..export.cli import app as export_app

    app.add_typer(export_app, name="export")


@app.command()
def demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Where the picture goes.")
    ] = _DEMO_PICTURE,
    seed: Annotated[int, typer.Option(min=0, help="Fixes the scenes and the training.")] = 0,
) -> None:
    """Measure argmax and RankSEG on images made here, with a model trained here, in seconds.

    Nothing is downloaded, and every number is measured while you wait, on held-out images. There
    are three cases: a model trained plainly, one trained with class weights, and the second with
    its weights divided out again.
    """
    with one_line_errors():
        _check_png(output)
        with replacing(output, overwrite=True) as temporary:
            from ..demo.picture import study_figure
            from ..demo.report import print_study
            from ..demo.study import run_study
            from ..plotting import new_figure, save_png

            new_figure(1, 1)  # fails now, not after the training, if Matplotlib is missing
            with Console(stderr=True).status("Drawing scenes and training two small models ..."):
                study = run_study(seed)
            save_png(study_figure(study), temporary)
        print_study(study, Console(highlight=False))
        typer.echo(f"Picture: {output}")
