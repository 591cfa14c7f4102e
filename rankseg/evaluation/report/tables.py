"""An evaluation in words and in lines of text, for the terminal and for the report alike."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from ..averages import AVERAGES
from ..compare.results import Evaluation, Result
from ..compare.scores import METRICS, PRESENCES, TITLES
from ..statistics import FEWEST_GROUPS

SCORE_HEADINGS = ("method", "score", "gain", "95 % interval", "wins/ties/losses", "verdict")
COST_HEADINGS = ("method", "median time", "peak memory")
CLASS_HEADINGS = ("class", "cases", "baseline", "score", "gain", "95 % interval", "claimed area")

_PHRASES = {
    "helps": "helps",
    "hurts": "hurts",
    "unclear": "has no clear effect on",
}


def score_title(metric: str, presence: str, average: str = "image-first") -> str:
    """Name a score."""
    kind = "" if average == "image-first" else f"{average}, "
    return f"{TITLES[metric]}, {kind}{PRESENCES[presence]}"


def score_tables(evaluation: Evaluation) -> Iterator[tuple[str, str, str]]:
    """Yield average, metric and convention of each table."""
    for average in evaluation.averages:
        yield from product((average.name,), METRICS, PRESENCES)


def what_counts(evaluation: Evaluation) -> str:
    """Say what scores are averaged over, in words that follow them."""
    words = "".join(
        f": of each case and class, averaged {AVERAGES[average.name]}"
        if average.name != "dataset"
        else f": of each class, {AVERAGES[average.name].partition(', ')[2]}, averaged over them"
        for average in evaluation.averages[:1]
    )
    first = evaluation.averages[0]
    selected = evaluation.selected(first)
    if not selected.all():
        names = ", ".join(evaluation.class_name(int(c)) for c in np.flatnonzero(~selected))
        words += f"; not counted: {names}"
    if first.empty == "one":
        words += "; a class that is nowhere in a case counts as 1 in label or prediction"
    return words


def score_lines(
    evaluation: Evaluation, metric: str, presence: str, average: str | None = None
) -> list[tuple[str, ...]]:
    """Return a line of text for each method, under `SCORE_HEADINGS`; scores in percent."""
    lines = []
    for name in evaluation.names:
        result = evaluation.result(name, metric, presence, average)
        comparison: tuple[str, ...] = ("", "", "", "baseline")
        if name != evaluation.names[0]:
            counts = "/".join(map(str, result.counts))
            comparison = (
                signed(result.gain),
                interval(result.low, result.high),
                counts,
                result.verdict,
            )
        lines.append((name, _percent(result.score), *comparison))
    return lines


def cost_lines(evaluation: Evaluation) -> list[tuple[str, ...]]:
    """Return a line of text for each method, under `COST_HEADINGS`."""
    costs = zip(evaluation.names, evaluation.seconds, evaluation.memory, strict=True)
    return [
        (name, f"{1000 * seconds:.1f} ms", f"{size / 2**20:.1f} MiB")
        for name, seconds, size in costs
    ]


def class_lines(evaluation: Evaluation, result: Result) -> list[tuple[str, ...]]:
    """Return a line of text for each class, under `CLASS_HEADINGS`."""
    baseline = evaluation.result(evaluation.names[0], result.metric, result.presence)
    present = np.sum([record.present for record in evaluation.records], axis=0)
    columns = zip(
        present,
        baseline.class_score,
        result.class_score,
        result.class_gain,
        result.class_low,
        result.class_high,
        evaluation.reliability.claimed_area,
        strict=True,
    )
    return [
        (
            evaluation.class_name(label),
            str(cases),
            _percent(before),
            _percent(after),
            signed(gain),
            interval(low, high),
            "" if np.isnan(area) else f"{area:.2f}",
        )
        for label, (cases, before, after, gain, low, high, area) in enumerate(columns)
    ]


def conclusions(evaluation: Evaluation) -> list[str]:
    """Say in words which method helps by which scores, and what to be careful about."""
    sentences = [_sentence(evaluation, name) for name in evaluation.names[1:]]
    if evaluation.groups < FEWEST_GROUPS:
        sentences.append(
            f"A verdict needs {FEWEST_GROUPS} groups or more, and here the number of groups is "
            f"{evaluation.groups}: do not rely on the intervals."
        )
    return [*sentences, _calibration_sentence(evaluation)]


def _sentence(evaluation: Evaluation, method: str) -> str:
    parts = []
    for verdict, phrase in _PHRASES.items():
        scores = []
        for presence, classes in PRESENCES.items():
            results = [evaluation.result(method, metric, presence) for metric in METRICS]
            results = [result for result in results if result.verdict == verdict]
            if results:
                titles = " and ".join(TITLES[result.metric] for result in results)
                gains = ", ".join(signed(result.gain) for result in results)
                scores.append(f"{titles} over {classes} ({gains})")
        if scores:
            parts.append(f"{phrase} {', and '.join(scores)}")
    return f"{method}: {'; '.join(parts)}."


def _calibration_sentence(evaluation: Evaluation) -> str:
    """Say how far the probabilities are from the truth, and what that means."""
    reliability = evaluation.reliability
    sentence = f"Expected calibration error {100 * reliability.error:.1f} %"
    worst = reliability.furthest
    if worst is None:
        return f"{sentence}."
    area = reliability.claimed_area[worst]
    return (
        f"{sentence}; the probabilities of class {evaluation.class_name(worst)} add up to "
        f"{area:.2f} times its true area, the furthest from 1. RankSEG takes probabilities at "
        "their word; rankseg tune tries to correct them."
    )


def _percent(score: float) -> str:
    return "" if np.isnan(score) else f"{100 * score:.2f}"


def signed(gain: float) -> str:
    """Return a gain in points."""
    return "" if np.isnan(gain) else f"{100 * gain:+.2f}"


def interval(low: float, high: float) -> str:
    """Return an interval in points."""
    return "" if np.isnan(low) else f"{signed(low)} to {signed(high)}"
