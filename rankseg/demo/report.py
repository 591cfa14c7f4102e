"""The demo's text: tables of what was measured, and sentences that follow from the numbers."""

import numpy as np
from rich.console import Console
from rich.table import Table

from ..cli.screen import new_table
from ..evaluation import Result
from ..evaluation.compare.scores import TITLES
from ..evaluation.report import tables
from .scenes import CLASSES
from .study import Case, Comparison, Study

_HEADINGS = ("score", "argmax", "RankSEG", "gain", "95 % interval", "up/same/down", "verdict")
_VERDICTS = {"helps": "[green]helps[/]", "unclear": "unclear", "hurts": "[red]hurts[/]"}
_CALIBRATED = 1.5


def print_study(study: Study, console: Console) -> None:
    """Print a table and a conclusion for each case, and the best of all by each score."""
    console.print(
        f"Argmax and RankSEG on {len(study.scenes.labels)} held-out scenes with known labels. "
        "Scores are in percent: per scene and class, averaged over the classes present in the "
        "label ('in label') or in label or prediction ('in either'), then over the scenes. The "
        "gain has a bootstrap interval, and RankSEG helps or hurts where all of it is on one side."
    )
    for number, case in enumerate(study.cases, start=1):
        console.print()
        console.print(_table(f"{number}. {case.title}", case))
        console.print(_time(case))
        console.print(conclusion(case))
        console.print(foresight(case))
    console.print("\n[bold]Best of all[/]")
    for comparisons in zip(*(case.comparisons for case in study.cases), strict=True):
        console.print(_best(comparisons))
    console.print(f"\nData, training and everything else took {study.seconds:.1f} s.")


def conclusion(case: Case) -> str:
    """Say in words what a case shows: for whom it speaks, and how honest its probabilities are."""
    verdicts = [comparison.result.verdict for comparison in case.comparisons]
    outcome = (
        f"RankSEG helps by {verdicts.count('helps')} and hurts by {verdicts.count('hurts')} "
        f"of {len(verdicts)} scores."
    )
    reliability = case.evaluation.reliability
    furthest = reliability.furthest
    if furthest is None:
        return outcome
    area = reliability.claimed_area[furthest]
    claim = f"{area:.2f} times the true area of {CLASSES[furthest]}"
    if abs(np.log(area)) < np.log(_CALIBRATED):
        return f"{outcome} Its probabilities add up to about the true areas (at worst {claim})."
    return (
        f"{outcome} Its probabilities add up to {claim}: RankSEG takes them at their word, "
        "and is only as good as their calibration."
    )


def foresight(case: Case) -> str:
    """Say how well the expected Dice, computed without the labels, tells the measured one."""
    told = case.foresight
    return (
        f"Expected Dice of its masks, from the probabilities alone: {100 * told.expected:.1f}; "
        f"measured: {100 * told.measured:.1f}; correlation over the masks: {told.correlation:.2f}."
    )


def _table(title: str, case: Case) -> Table:
    table = new_table(title, _HEADINGS, words=("score", "verdict"))
    for comparison in case.comparisons:
        result = comparison.result
        table.add_row(
            _name(result),
            f"{100 * comparison.argmax:.2f}",
            f"{100 * result.score:.2f}",
            tables.signed(result.gain),
            tables.interval(result.low, result.high),
            "/".join(map(str, result.counts)),
            _VERDICTS[result.verdict],
        )
    return table


def _time(case: Case) -> str:
    argmax, dice, iou = 1000 * case.evaluation.seconds
    return (
        f"A scene took argmax {argmax:.1f} ms, RankSEG {dice:.1f} ms (Dice) and {iou:.1f} ms (IoU)."
    )


def _name(result: Result) -> str:
    return f"{TITLES[result.metric]}, in {result.presence}"


def _best(comparisons: tuple[Comparison, ...]) -> str:
    """Name the best mean of one score over all cases."""
    score, method, number = max(
        (score, method, number)
        for number, comparison in enumerate(comparisons, start=1)
        for method, score in (("argmax", comparison.argmax), ("RankSEG", comparison.rankseg))
    )
    name = _name(comparisons[0].result)
    return f"{name:<15} {100 * score:.2f}, {method} in case {number}"
