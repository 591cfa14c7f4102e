"""The demo's text: tables of what was measured, and sentences that follow from the numbers."""

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from .scenes import CLASSES
from .study import Case, Comparison, Study

_NAMES = {"dice": "Dice", "iou": "IoU"}
_VERDICTS = {1: "[green]better[/]", 0: "unclear", -1: "[red]worse[/]"}
_CALIBRATED = 1.5


def print_study(study: Study, console: Console) -> None:
    """Print a table and a conclusion for each case, and the best of all by each score."""
    console.print(
        f"Argmax and RankSEG on {len(study.scenes.labels)} held-out scenes with known labels. "
        "Scores are in percent: per scene and class, averaged over the classes present in the "
        "label ('in label') or in label or prediction ('in either'), then over the scenes. The "
        "gain is given with its standard error, and called better or worse beyond two of these."
    )
    for number, case in enumerate(study.cases, start=1):
        console.print()
        console.print(_table(f"{number}. {case.title}", case))
        console.print(conclusion(case))
        console.print(foresight(case))
    console.print("\n[bold]Best of all[/]")
    for comparisons in zip(*(case.comparisons for case in study.cases), strict=True):
        console.print(_best(comparisons))
    console.print(f"\nData, training and everything else took {study.seconds:.1f} s.")


def conclusion(case: Case) -> str:
    """Say in words what a case shows: for whom it speaks, and how honest its probabilities are."""
    verdicts = [comparison.verdict for comparison in case.comparisons]
    outcome = (
        f"RankSEG is better by {verdicts.count(1)} and worse by {verdicts.count(-1)} "
        f"of {len(verdicts)} scores."
    )
    distance = np.abs(np.log(np.maximum(case.claimed_area, 1e-9)))
    furthest = int(distance.argmax())
    claim = f"{case.claimed_area[furthest]:.2f} times the true area of {CLASSES[furthest]}"
    if distance[furthest] < np.log(_CALIBRATED):
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
    caption = (
        f"all scenes took argmax {1000 * case.seconds['argmax']:.0f} ms, RankSEG "
        f"{1000 * case.seconds['dice']:.0f} ms (Dice) and {1000 * case.seconds['iou']:.0f} ms (IoU)"
    )
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption=caption,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("score")
    for heading in ("argmax", "RankSEG", "gain", "scenes up/same/down"):
        table.add_column(heading, justify="right")
    table.add_column("RankSEG is")
    for comparison in case.comparisons:
        table.add_row(
            _name(comparison),
            f"{100 * comparison.argmax:.2f}",
            f"{100 * comparison.rankseg:.2f}",
            f"{100 * comparison.gain:+.2f} ± {100 * comparison.error:.2f}",
            "/".join(str(count) for count in comparison.counts),
            _VERDICTS[comparison.verdict],
        )
    return table


def _name(comparison: Comparison) -> str:
    return f"{_NAMES[comparison.metric]}, in {'label' if comparison.label_only else 'either'}"


def _best(comparisons: tuple[Comparison, ...]) -> str:
    """Name the best mean of one score over all cases."""
    score, method, number = max(
        (score, method, number)
        for number, comparison in enumerate(comparisons, start=1)
        for method, score in (("argmax", comparison.argmax), ("RankSEG", comparison.rankseg))
    )
    return f"{_name(comparisons[0]):<15} {100 * score:.2f}, {method} in case {number}"
