"""What ``rankseg evaluate`` does: folders of probabilities and labels to tables and a report."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..evaluation import Cases, Evaluation, Method, default_methods, write_report
from ..evaluation import evaluate as run
from ..evaluation.averages import AVERAGES
from ..evaluation.report import tables
from ..evaluation.report.page import load_template
from ..io.replacing import replacing
from ..plotting import new_figure
from ..predictor import RankSEG
from ..settings import SCORES, Settings, Solver
from .errors import CommandError, library_errors, one_line_errors
from .folders import (
    ClassAxis,
    ClassesOption,
    ClassNamesOption,
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
    names_of,
)
from .options import (
    NO_ACTIVATION,
    PRUNING,
    SCORES_PANEL,
    SEGMENTATION,
    ActivationOption,
    BinaryOption,
    CheckSumsOption,
    FoundModeOption,
    OverwriteOption,
    PolicyOption,
    ProbsKeyOption,
    PruningOption,
    RefineOption,
    ScaleOption,
    activation_of,
    numbers,
    one_of,
)
from .paths import check_output
from .screen import case_progress, new_table, print_notes, report_problems

_COLOURS = {"helps": "green", "hurts": "red"}


def evaluate(
    context: typer.Context,
    probs: ProbsFolder,
    labels: LabelsFolder,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Report with plots, an .html file.")
    ] = None,
    json_output: Annotated[
        Path | None, typer.Option("--json", help="All the numbers, a .json file.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        one_of(
            SCORES,
            help="What RankSEG maximises; dice and iou if not given.",
            rich_help_panel=SEGMENTATION,
        ),
    ] = None,
    solver: Annotated[
        list[str] | None,
        one_of(
            get_args(Solver),
            help="Solver of RankSEG; RMA if not given.",
            rich_help_panel=SEGMENTATION,
        ),
    ] = None,
    mode: FoundModeOption = None,
    pruning_prob: PruningOption = PRUNING,
    unassigned_policy: PolicyOption = None,
    refine: RefineOption = None,
    correlation: Annotated[
        str | None,
        typer.Option(
            metavar="R[,R...]",
            help="Correlation of the pixels of a class, in [0, 0.95] or 1, for RMA; a list with "
            "commas gives each class its own. Rows for 0 and for 0.5 if not given.",
            rich_help_panel=SEGMENTATION,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="Also compare the settings in a file of rankseg tune.",
            rich_help_panel=SEGMENTATION,
        ),
    ] = None,
    average: Annotated[
        list[str] | None,
        one_of(
            AVERAGES,
            help="Mean of the scores, several if repeated: over the classes of each case first, "
            "the default; over the cases of each class first, as most published tables; of the "
            "pixels of all cases; or as nnU-Net, class first without background.",
            rich_help_panel=SCORES_PANEL,
        ),
    ] = None,
    classes: ClassesOption = None,
    ignore_class: IgnoreClassOption = None,
    empty: EmptyOption = "nan",
    class_names: ClassNamesOption = None,
    group: Group = None,
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
    bootstrap: Annotated[int, typer.Option(min=1, help="Resamples for the intervals.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Fixes the resamples.")] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted run by its log.")
    ] = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Measure whether RankSEG helps, on your own validation data.

    Compares argmax, argmax with the same pruning, and RankSEG by Dice and IoU of each case and
    class, with bootstrap intervals of the differences, and says how far the probabilities can be
    trusted. Files that cannot be used are listed at the end, and the exit code is then 1.
    """
    with one_line_errors():
        log = _check_outputs(output, json_output, overwrite, resume)
        with ExitStack() as stack:
            report, measured = (
                path and stack.enter_context(replacing(path, overwrite))
                for path in (output, json_output)
            )
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
                found_mode = mode_of(mode, cases)
                methods = default_methods(
                    metric or SCORES,
                    solver or ["RMA"],
                    output_mode=found_mode,
                    pruning_prob=numbers(pruning_prob, "--pruning-prob"),
                    **_solver_params(unassigned_policy, refine, void_index),
                    correlation=None
                    if correlation is None
                    else numbers(correlation, "--correlation"),
                )
                if config is not None:
                    methods += (_configured(config, found_mode),)
                with case_progress(len(cases)) as progress:
                    evaluation = run(
                        cases,
                        methods,
                        output_mode=found_mode,
                        void_index=void_index,
                        bootstrap=bootstrap,
                        seed=seed,
                        log=log,
                        progress=partial(progress, "cases"),
                        average=average or ["image-first"],
                        classes=class_list(classes, "--classes"),
                        ignore_classes=class_list(ignore_class, "--ignore-class") or (),
                        empty=empty,
                        class_names=names_of(class_names),
                        check_sums=check_sums,
                        check_labels=doubts_void(context, cases),
                    )
            if report is not None:
                method = None if config is None else config.name
                write_report(evaluation, report, cases, method)
            if measured is not None:
                measured.write_text(json.dumps(evaluation.to_json(), allow_nan=False, indent=1))
        print_evaluation(evaluation, Console(highlight=False))
        labels_say = label_notes(evaluation.census, void_index, evaluation.class_names)
        print_notes({*cases.notes, *labels_say})
        for path in filter(None, (output, json_output)):
            typer.echo(f"Written: {path}")
        if log is not None and evaluation.problems:
            typer.echo(f"Kept: {log}; with the cases repaired, --resume --overwrite adds them")
        report_problems(evaluation.problems)
        if log is not None:
            log.unlink()


def _solver_params(policy: str | None, refine: int | None, void_index: int) -> dict[str, Any]:
    given = {"unassigned_policy": policy, "refine": refine}
    params: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return params | ({"void_index": void_index} if policy == "void" else {})


def _configured(path: Path, mode: str) -> Method:
    segment = RankSEG.from_config(path)
    if segment.output_mode != mode:
        raise CommandError(f"{path}: the settings are for --mode {segment.output_mode}, not {mode}")
    return Method(path.name, segment)


def print_evaluation(evaluation: Evaluation, console: Console) -> None:
    """Print tables of scores and cost, and the conclusions in words."""
    console.print(
        f"{len(evaluation.records)} cases in {evaluation.groups} groups. Scores are in percent"
        f"{tables.what_counts(evaluation)}.",
        markup=False,
    )
    for average, metric, presence in tables.score_tables(evaluation):
        lines = tables.score_lines(evaluation, metric, presence, average)
        title = tables.score_title(metric, presence, average)
        console.print(_table(title, tables.SCORE_HEADINGS, lines))
    console.print(_table("Cost per case", tables.COST_HEADINGS, tables.cost_lines(evaluation)))
    for sentence in tables.conclusions(evaluation):
        console.print(f"- {sentence}", markup=False)


def _table(title: str, headings: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    table = new_table(title, headings, words=("method", "verdict"))
    for line in lines:
        table.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in line))
    return table


def _check_outputs(
    output: Path | None, json_output: Path | None, overwrite: bool, resume: bool
) -> Path | None:
    """Check the names of the results before the work, and return that of the log."""
    for path, suffix in ((output, ".html"), (json_output, ".json")):
        if path is not None:
            check_output(path, (suffix,), overwrite)
    if output is not None:
        new_figure(1, 1)  # a package that is missing is missed now, not after the work
        load_template()
    first = output or json_output
    if first is None:
        if resume:
            raise CommandError("--resume needs the --output or --json of the interrupted run")
        return None
    log = first.with_name(f"{first.name}.log")
    if log.exists() and not resume:
        if not overwrite:
            raise CommandError(f"{log}: log of an unfinished run; --resume continues it")
        log.unlink()
    return log
