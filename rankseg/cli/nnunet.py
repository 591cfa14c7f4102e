"""``rankseg nnunet``: what nnU-Net predicted, segmented again."""

from pathlib import Path
from typing import Annotated

import typer

from ..integration.nnunet import saved_cases, segment_folder
from ..settings import Settings
from .errors import library_errors, one_line_errors
from .options import (
    CORRELATION,
    PRUNING,
    ConfigOption,
    CorrelationOption,
    MetricOption,
    OverwriteOption,
    PruningOption,
    RefineOption,
    SmoothOption,
    SolverOption,
    correlated,
    numbers,
    settings,
)
from .screen import new_progress, report_failures


def nnunet(
    context: typer.Context,
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Written by nnUNetv2_predict --save_probabilities."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the segmentations.")],
    metric: MetricOption = Settings.metric,
    smooth: SmoothOption = Settings.smooth,
    solver: SolverOption = None,
    pruning_prob: PruningOption = PRUNING,
    refine: RefineOption = None,
    correlation: CorrelationOption = CORRELATION,
    config: ConfigOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Write segmentations, in their images' geometry, from the probabilities nnU-Net saved.

    Classes and regions are those of dataset.json and plans.json in the folder. Cases that cannot
    be read are reported at the end, and the exit code is then 1.
    """
    with one_line_errors():
        found = settings(
            context,
            config,
            metric=metric,
            smooth=smooth,
            solver=solver,
            pruning_prob=numbers(pruning_prob, "--pruning-prob"),
            refine=refine,
            **correlated(correlation),
        )
        try:
            with new_progress() as progress, library_errors():
                written = segment_folder(
                    folder, output, overwrite=overwrite, track=progress.track, **found
                )
        except ExceptionGroup as failure:
            report_failures(failure.exceptions, len(saved_cases(folder)))
    typer.echo(f"{output}: segmentations of {len(written)} cases")
