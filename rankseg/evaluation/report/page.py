"""An evaluation as one HTML file that needs no other."""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ...io.replacing import replacing
from ...plotting import class_colours
from ..cases.checking import check_case
from ..cases.files import Cases
from ..compare.results import Evaluation, Result
from ..compare.scores import METRICS, PRESENCES
from .pictures import case_panels, figure_png, gains_figure, image_png, reliability_figure
from .tables import (
    CLASS_HEADINGS,
    COST_HEADINGS,
    SCORE_HEADINGS,
    class_lines,
    conclusions,
    cost_lines,
    score_lines,
    score_title,
)

SHOWN = ("dice", "either")
"""Metric and convention of the gains that are drawn and listed."""
MOST = 10
"""How many of the largest gains, and losses, are shown."""

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; margin: 0.5em 0 1.5em }
caption { text-align: left; font-weight: 600; padding: 0.3em 0; white-space: nowrap }
th, td { padding: 0.15em 0.8em; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left; padding-left: 0 }
.panels { display: flex; gap: 0.5em; margin: 0.3em 0 1.2em }
figure { margin: 0; flex: 1 } figure img { width: 100%; image-rendering: pixelated }
figcaption { font-size: 85% } p.plot img { max-width: 100% }
.helps { color: #28965a } .hurts { color: #c8323c }
.swatch { display: inline-block; width: 0.9em; height: 0.9em }
"""


def write_report(
    evaluation: Evaluation,
    path: str | Path,
    cases: Cases | None = None,
    method: str | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """Write tables, plots and pictures of an evaluation as HTML.

    Parameters
    ----------
    evaluation : Evaluation
        What `evaluate` returned.
    path : str or Path
        The file, written whole or not at all.
    cases : Cases, optional
        Where the cases came from: those with the largest gains and losses are read again and
        drawn. Without it there are no pictures of cases.
    method : str, optional
        Name of the method whose changes are shown, by default the first that is more than a
        baseline.
    overwrite : bool, default False
        Replace a file that is there.

    Raises
    ------
    OSError
        If the file cannot be written, or is there and `overwrite` is False.
    ValueError
        If there is no such method.
    ModuleNotFoundError
        If Matplotlib is not installed.
    """
    if method is None:
        candidates = [name for name in evaluation.names[1:] if not name.endswith(", pruned")]
        method = (candidates or [evaluation.names[-1]])[0]
    result = evaluation.result(method, *SHOWN)
    further = [evaluation.result(name, *SHOWN) for name in evaluation.names[1:]]
    title = f"{method} and {evaluation.names[0]} on {len(evaluation.records)} cases"
    pictures = [] if cases is None else _pictures(evaluation, result, cases)
    parts = [
        "<!doctype html>",
        f'<html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>',
        f"<style>{_STYLE}</style>",
        f"<h1>{escape(title)}</h1>",
        _list(conclusions(evaluation)),
        *_scores(evaluation),
        f"<h2>Gain on each case</h2><p>{escape(score_title(*SHOWN))}, in points.</p>",
        _plot(gains_figure(further), "gain on each case, for each method"),
        _table(f"Largest losses of {method}", ("case", "gain"), _worst_lines(evaluation, result)),
        f"<h2>Classes: {escape(method)}, {escape(score_title(*SHOWN))}</h2>",
        _table(
            "Claimed area: sum of the probabilities over the true area",
            CLASS_HEADINGS,
            class_lines(evaluation, result),
        ),
        "<h2>Calibration</h2>",
        _plot(reliability_figure(evaluation.reliability), "accuracy over confidence"),
        *pictures,
        "<h2>How it was made</h2>",
        _table("", COST_HEADINGS, cost_lines(evaluation)),
        _table("Settings", ("", ""), _setting_lines(evaluation, cases)),
        _table("Left out", ("case", "reason"), list(evaluation.problems.items())),
        "</html>\n",
    ]
    with replacing(path, overwrite) as temporary:
        temporary.write_text("\n".join(parts), encoding="utf-8")


def _scores(evaluation: Evaluation) -> Iterable[str]:
    yield (
        f"<h2>Scores</h2><p>In percent: of each case and class, averaged over the classes, then "
        f"over the cases. The gain is over {escape(evaluation.names[0])}, with its interval from "
        f"{evaluation.bootstrap} bootstrap samples of {evaluation.groups} groups.</p>"
    )
    for metric in METRICS:
        for presence in PRESENCES:
            lines = score_lines(evaluation, metric, presence)
            yield _table(score_title(metric, presence), SCORE_HEADINGS, lines)


def _worst_lines(evaluation: Evaluation, result: Result) -> list[tuple[str, str]]:
    return [(name, f"{100 * gain:+.2f}") for name, gain in evaluation.worst(result, MOST)]


def _setting_lines(evaluation: Evaluation, cases: Cases | None) -> list[tuple[str, str]]:
    settings = evaluation.settings | {"bootstrap": evaluation.bootstrap, "seed": evaluation.seed}
    lines = [(name, str(value)) for name, value in settings.items() if name != "methods"]
    lines += [(method.name, repr(method.predict)) for method in evaluation.methods]
    return lines + [("note", note) for note in sorted(cases.notes if cases else ())]


def _pictures(evaluation: Evaluation, result: Result, cases: Cases) -> Iterable[str]:
    """Give the cases that gain and lose most, read and segmented again."""
    compared = (evaluation.methods[0], evaluation.methods[evaluation.names.index(result.method)])
    mode, void_index = evaluation.settings["output_mode"], evaluation.settings["void_index"]
    yield "<h2>Largest gains and losses</h2>"
    yield (
        f"<p>Green: {escape(result.method)} is right. Red: {escape(compared[0].name)} is. Blue: "
        "neither is.</p>"
    )
    if mode == "multiclass":
        yield _legend(len(evaluation.records[0].present))
    for name, gain in evaluation.best(result, MOST) + evaluation.worst(result, MOST):
        case = check_case(cases.read(name), None, mode, void_index)
        predictions = {method: predict(case.probs[None])[0] for method, predict in compared}
        yield f"<h3>{escape(name)}: {100 * gain:+.2f} points</h3>"
        figures = [
            f"<figure>{_image(image_png(image), caption)}"
            f"<figcaption>{escape(caption)}</figcaption></figure>"
            for caption, image in case_panels(case, predictions, void_index)
        ]
        yield f'<div class="panels">{"".join(figures)}</div>'


def _legend(classes: int) -> str:
    swatches = (
        f'<span class="swatch" style="background: rgb({r}, {g}, {b})"></span> {label} '
        for label, (r, g, b) in enumerate(class_colours(classes))
    )
    return f"<p>Classes: {' '.join(swatches)}</p>"


def _list(sentences: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in sentences)}</ul>"


def _table(caption: str, headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    if not lines:
        return ""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join(f"<tr>{''.join(map(_cell, line))}</tr>\n" for line in lines)
    return f"<table><caption>{escape(caption)}</caption>\n<tr>{head}</tr>\n{body}</table>"


def _cell(text: str) -> str:
    mark = f' class="{text}"' if text in ("helps", "hurts") else ""
    return f"<td{mark}>{escape(text)}</td>"


def _plot(figure: Any, text: str) -> str:
    return f'<p class="plot">{_image(figure_png(figure), text)}</p>'


def _image(png: bytes, text: str) -> str:
    return f'<img alt="{escape(text)}" src="data:image/png;base64,{b64encode(png).decode()}">'
