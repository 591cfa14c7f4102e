"""``rankseg nnunet``: what nnU-Net predicted, segmented again."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from ..integration.nnunet import segment_folder
from .errors import CommandError, describe, one_line_errors
from .options import Metric, MetricOption, PruningOption, SmoothOption, SolverOption


def nnunet(
    folder: Annotated[
        Path, typer.Argument(help="Written by nnUNetv2_predict --save_probabilities.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the segmentations.")],
    metric: MetricOption = Metric.DICE,
    smooth: SmoothOption = 0.0,
    solver: SolverOption = None,
    pruning_prob: PruningOption = 0.5,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
) -> None:
    """Write segmentations, in their images' geometry, from the probabilities nnU-Net saved.

    Classes and regions are those of dataset.json and plans.json in the folder. A case that cannot
    be read is reported at the end, and the others are written.
    """
    settings: dict[str, Any] = {
        "metric": metric.value,
        "smooth": smooth,
        "pruning_prob": pruning_prob,
    }
    if solver is not None:
        settings["solver"] = solver
    console = Console(stderr=True)
    with one_line_errors():
        try:
            with Progress(
                console=console, transient=True, disable=not console.is_terminal
            ) as progress:
                written = segment_folder(
                    folder,
                    output,
                    overwrite=overwrite,
                    track=progress.track,
                    **settings,
                )
        except ExceptionGroup as failure:
            for error in failure.exceptions:
                typer.echo(f"rankseg: {describe(error)}", err=True)
            typer.echo(f"rankseg: {failure.message}", err=True)
            raise typer.Exit(1) from failure
        except (TypeError, ValueError) as error:
            raise CommandError(describe(error)) from error
    typer.echo(f"{output}: segmentations of {len(written)} cases")
