"""What ``rankseg evaluate`` does: folders of probabilities and labels to tables and a report."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..evaluation import Cases, Evaluation, Method, default_methods, write_report
from ..evaluation import evaluate as run
from ..evaluation.compare.scores import METRICS, PRESENCES
from ..evaluation.report import tables
from ..evaluation.report.page import load_template
from ..io.replacing import replacing
from ..plotting import new_figure
from ..predictor import RankSEG
from ..settings import SCORES, Settings, Solver
from .errors import CommandError, library_errors, one_line_errors
from .folders import ClassAxis, Group, LabelsFolder, LabelsKey, ProbsFolder, VoidIndex
from .options import (
    CORRELATION,
    PRUNING,
    CorrelationOption,
    ModeOption,
    OverwriteOption,
    ProbsKeyOption,
    PruningOption,
    ScaleOption,
    correlated,
    numbers,
    one_of,
)
from .paths import check_output
from .screen import case_progress, new_table, print_notes, report_problems

_COLOURS = {"helps": "green", "hurts": "red"}


def evaluate(
    probs: ProbsFolder,
    labels: LabelsFolder,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Report with plots, an .html file.")
    ] = None,
    json_output: Annotated[
        Path | None, typer.Option("--json", help="All the numbers, a .json file.")
    ] = None,
    metric: Annotated[
        list[str] | None, one_of(SCORES, help="What RankSEG maximises; dice and iou if not given.")
    ] = None,
    solver: Annotated[
        list[str] | None, one_of(get_args(Solver), help="Solver of RankSEG; RMA if not given.")
    ] = None,
    mode: ModeOption = Settings.output_mode,
    pruning_prob: PruningOption = PRUNING,
    correlation: CorrelationOption = CORRELATION,
    config: Annotated[
        Path | None,
        typer.Option(help="Also compare the settings in a file of rankseg tune."),
    ] = None,
    group: Group = None,
    void_index: VoidIndex = Settings.void_index,
    class_axis: ClassAxis = 0,
    scale: ScaleOption = None,
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
                )
                methods = default_methods(
                    metric or SCORES,
                    solver or ["RMA"],
                    output_mode=mode,
                    pruning_prob=numbers(pruning_prob, "--pruning-prob"),
                    **correlated(correlation),
                )
                if config is not None:
                    methods += (_configured(config, mode),)
                with case_progress(len(cases)) as progress:
                    evaluation = run(
                        cases,
                        methods,
                        output_mode=mode,
                        void_index=void_index,
                        bootstrap=bootstrap,
                        seed=seed,
                        log=log,
                        progress=partial(progress, "cases"),
                    )
            if report is not None:
                method = None if config is None else config.name
                write_report(evaluation, report, cases, method)
            if measured is not None:
                measured.write_text(json.dumps(evaluation.to_json(), allow_nan=False, indent=1))
        print_evaluation(evaluation, Console(highlight=False))
        print_notes(cases.notes)
        for path in filter(None, (output, json_output)):
            typer.echo(f"Written: {path}")
        if log is not None and evaluation.problems:
            typer.echo(f"Kept: {log}; with the cases repaired, --resume --overwrite adds them")
        report_problems(evaluation.problems)
        if log is not None:
            log.unlink()


def _configured(path: Path, mode: str) -> Method:
    segment = RankSEG.from_config(path)
    if segment.output_mode != mode:
        raise CommandError(f"{path}: the settings are for --mode {segment.output_mode}, not {mode}")
    return Method(path.name, segment)


def print_evaluation(evaluation: Evaluation, console: Console) -> None:
    """Print tables of scores and cost, and the conclusions in words."""
    console.print(
        f"{len(evaluation.records)} cases in {evaluation.groups} groups. Scores are in percent: of "
        "each case and class, averaged over the classes, then over the cases."
    )
    for metric in METRICS:
        for presence in PRESENCES:
            lines = tables.score_lines(evaluation, metric, presence)
            title = tables.score_title(metric, presence)
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
