"""What ``rankseg tune`` does: folders of probabilities and labels to a file of settings."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, get_args

import numpy as np
import typer
from rich.console import Console

from ..config import SUFFIXES
from ..evaluation import Cases, Outcome, Tuning
from ..evaluation import tune as run
from ..evaluation.averages import AVERAGES
from ..evaluation.tuning.candidates import CALIBRATIONS, CORRELATIONS, TARGETS
from ..settings import Settings, Solver
from .errors import library_errors, one_line_errors
from .folders import (
    ClassAxis,
    ClassesOption,
    EmptyOption,
    Group,
    IgnoreClassOption,
    LabelMapOption,
    LabelsFolder,
    LabelsKey,
    LabelsOrder,
    LabelsPattern,
    ProbsFolder,
    ProbsPattern,
    Reorient,
    VoidIndex,
    class_list,
    doubts_void,
    label_notes,
    mode_of,
)
from .options import (
    NO_ACTIVATION,
    SCORES_PANEL,
    SEGMENTATION,
    ActivationOption,
    BinaryOption,
    CheckSumsOption,
    FoundModeOption,
    OverwriteOption,
    ProbsKeyOption,
    ScaleOption,
    ScoreOption,
    activation_of,
    numbers,
    one_of,
)
from .paths import check_output
from .screen import case_progress, new_table, print_notes, report_problems

_CORRELATIONS = ",".join(f"{rho:g}" for rho in CORRELATIONS)


def tune(
    context: typer.Context,
    probs: ProbsFolder,
    labels: LabelsFolder,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Settings, a .toml or .json file.")
    ],
    metric: ScoreOption = Settings.metric,
    presence: Annotated[
        str,
        one_of(
            TARGETS,
            help="Classes that the score of a case is averaged over: those in its label, or those "
            "in label or prediction; both stands for those in the label, among candidates that are "
            "not below argmax over those in label or prediction.",
            rich_help_panel=SCORES_PANEL,
        ),
    ] = next(iter(TARGETS)),
    average: Annotated[
        str,
        one_of(
            AVERAGES,
            help="Mean of the scores that is to be high, as for rankseg evaluate.",
            rich_help_panel=SCORES_PANEL,
        ),
    ] = "image-first",
    classes: ClassesOption = None,
    ignore_class: IgnoreClassOption = None,
    empty: EmptyOption = "nan",
    solver: Annotated[
        list[str] | None,
        one_of(
            get_args(Solver),
            help="Solver that RankSEG may use; RMA if not given.",
            rich_help_panel=SEGMENTATION,
        ),
    ] = None,
    mode: FoundModeOption = None,
    calibration: Annotated[
        list[str] | None,
        one_of(
            CALIBRATIONS,
            help="Calibration to try, beside none; all if not given.",
            rich_help_panel=SEGMENTATION,
        ),
    ] = None,
    correlation: Annotated[
        str,
        typer.Option(
            metavar="R[,R...]",
            help="Correlations of pixels to try, beside 0: 0 alone for a file that is to go into a "
            "model.",
            rich_help_panel=SEGMENTATION,
        ),
    ] = _CORRELATIONS,
    group: Group = None,
    folds: Annotated[
        int, typer.Option(min=2, help="Parts of the cross-validation, in the order of names.")
    ] = 5,
    void_index: VoidIndex = Settings.void_index,
    class_axis: ClassAxis = None,
    binary: BinaryOption = False,
    activation: ActivationOption = NO_ACTIVATION,
    scale: ScaleOption = None,
    check_sums: CheckSumsOption = True,
    label_map: LabelMapOption = None,
    labels_order: LabelsOrder = None,
    reorient: Reorient = False,
    probs_pattern: ProbsPattern = "{}",
    labels_pattern: LabelsPattern = "{}",
    probs_key: ProbsKeyOption = None,
    labels_key: LabelsKey = None,
    seed: Annotated[int, typer.Option(min=0, help="Fixes the pixels that are fitted to.")] = 0,
    overwrite: OverwriteOption = False,
) -> None:
    """Choose settings on your own validation data, or learn that argmax should stay.

    Tries argmax and RankSEG with several correlations and pruning probabilities, after no
    calibration, temperature and vector scaling, by cross-validation, and takes the simplest
    candidate within one standard error of the best. The file is for rankseg predict --config, for
    rankseg evaluate --config, and for RankSEG.from_config in Python. Cases that cannot be used are
    listed at the end, and the exit code is then 1.
    """
    with one_line_errors():
        check_output(output, SUFFIXES, overwrite)
        with library_errors():
            cases = Cases(
                probs,
                labels,
                probs_key=probs_key,
                labels_key=labels_key,
                scale=scale,
                class_axis=class_axis,
                group=group,
                one_class=binary,
                activation=activation_of(activation),
                label_map=label_map,
                labels_order=labels_order,
                reorient=reorient,
                probs_pattern=probs_pattern,
                labels_pattern=labels_pattern,
            )
            with case_progress(len(cases)) as progress:
                tuning = run(
                    cases,
                    metric=metric,
                    presence=presence,
                    solvers=solver or ["RMA"],
                    calibrations=[*(calibration or CALIBRATIONS)],
                    correlations=np.atleast_1d(numbers(correlation, "--correlation")).tolist(),
                    output_mode=mode_of(mode, cases),
                    void_index=void_index,
                    folds=folds,
                    seed=seed,
                    progress=progress,
                    average=average,
                    classes=class_list(classes, "--classes"),
                    ignore_classes=class_list(ignore_class, "--ignore-class") or (),
                    empty=empty,
                    check_sums=check_sums,
                    check_labels=doubts_void(context, cases),
                )
            record = {"probs": str(probs), "labels": str(labels), **(tuning.config.tuned or {})}
            replace(tuning.config, tuned=record).save(output, overwrite)
        print_tuning(tuning, Console(highlight=False))
        labels_say = (
            label_notes(tuning.census, void_index, cases.class_names) if tuning.census else ()
        )
        print_notes({*cases.notes, *labels_say})
        typer.echo(f"Written: {output}")
        report_problems(tuning.problems)


def print_tuning(tuning: Tuning, console: Console) -> None:
    """Print the best candidate of each kind, and the choice in plain words."""
    words, numbers = (
        ("method", "corr.", "scaling", "pruning"),
        ("label", "either", "gain", "to best"),
    )
    table = new_table(
        "RankSEG for Dice or IoU, or argmax: the best of each kind", (*words, *numbers, ""), words
    )
    for outcome in tuning.leaders():
        chosen = outcome is tuning.chosen
        table.add_row(*_line(outcome), "◀" if chosen else "", style="bold" if chosen else "")
    console.print(table)
    console.print(
        f"{len(tuning.outcomes)} candidates in {tuning.folds} folds, scores in percent ± standard "
        "error: by the classes in label, or in either label or prediction. ◀ marks the choice.",
        markup=False,
    )
    for sentence in filter(None, (tuning.verdict, tuning.caution)):
        console.print(sentence, markup=False)


def _line(outcome: Outcome) -> tuple[str, ...]:
    candidate = outcome.candidate
    return (
        candidate.method.removeprefix("RankSEG "),
        f"{candidate.correlation:g}" if candidate.correlation else "",
        candidate.calibration,
        candidate.pruning,
        f"{100 * outcome.label:.2f}",
        f"{100 * outcome.either:.2f}",
        f"{100 * outcome.gain:+.2f}±{100 * outcome.gain_error:.2f}",
        f"{100 * outcome.behind:.2f}±{100 * outcome.behind_error:.2f}",
    )
