"""An evaluation as one HTML file that needs no other."""

from base64 import b64encode
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...extras import optional_imports
from ...io.replacing import replacing
from ...plotting import class_colours
from ..cases.checking import check_case
from ..cases.files import Cases
from ..compare.results import Evaluation, Result
from .pictures import case_panels, figure_png, gains_figure, image_png, reliability_figure
from .tables import (
    CLASS_HEADINGS,
    COST_HEADINGS,
    SCORE_HEADINGS,
    class_lines,
    conclusions,
    cost_lines,
    score_lines,
    score_tables,
    score_title,
    what_counts,
)

if TYPE_CHECKING:
    from jinja2 import Template

SHOWN = ("dice", "either")
"""Metric and convention of the gains that are drawn and listed."""
MOST = 10
"""How many of the largest gains, and losses, are shown."""


class Table(NamedTuple):
    """What the template makes a table of; nothing if there are no lines."""

    caption: str
    headings: tuple[str, ...]
    lines: Sequence[tuple[str, ...]]


class Picture(NamedTuple):
    """A case whose gain is large, with images, as URLs that hold them, by their captions."""

    name: str
    gain: float
    panels: dict[str, str]


def load_template() -> "Template":
    """Return the page to be filled in; every value is escaped.

    Raises
    ------
    ModuleNotFoundError
        If Jinja is not installed.
    """
    with optional_imports():
        from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    return environment.from_string(text)


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
        If Matplotlib, Pillow or Jinja is not installed.
    """
    template = load_template()
    if method is None:
        candidates = [name for name in evaluation.names[1:] if not name.endswith(", pruned")]
        method = (candidates or [evaluation.names[-1]])[0]
    result = evaluation.result(method, *SHOWN)
    further = [evaluation.result(name, *SHOWN) for name in evaluation.names[1:]]
    page = template.render(
        evaluation=evaluation,
        method=method,
        conclusions=conclusions(evaluation),
        scores=_score_tables(evaluation),
        counted=what_counts(evaluation),
        shown=score_title(*SHOWN, evaluation.averages[0].name),
        gains=_url(figure_png(gains_figure(further))),
        losses=Table(f"Largest losses of {method}", ("case", "gain"), _losses(evaluation, result)),
        classes=Table(
            "Claimed area: sum of the probabilities over the true area",
            CLASS_HEADINGS,
            class_lines(evaluation, result),
        ),
        reliability=_url(figure_png(reliability_figure(evaluation.reliability))),
        pictures=None if cases is None else _pictures(evaluation, result, cases),
        colours=_colours(evaluation),
        costs=Table("", COST_HEADINGS, cost_lines(evaluation)),
        settings=Table("Settings", ("", ""), _setting_lines(evaluation, cases)),
        problems=Table("Left out", ("case", "reason"), list(evaluation.problems.items())),
    )
    with replacing(path, overwrite) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _score_tables(evaluation: Evaluation) -> list[Table]:
    return [
        Table(
            score_title(metric, presence, average),
            SCORE_HEADINGS,
            score_lines(evaluation, metric, presence, average),
        )
        for average, metric, presence in score_tables(evaluation)
    ]


def _losses(evaluation: Evaluation, result: Result) -> list[tuple[str, ...]]:
    return [(name, f"{100 * gain:+.2f}") for name, gain in evaluation.worst(result, MOST)]


def _setting_lines(evaluation: Evaluation, cases: Cases | None) -> list[tuple[str, ...]]:
    settings = evaluation.settings | {"bootstrap": evaluation.bootstrap, "seed": evaluation.seed}
    lines: list[tuple[str, ...]] = [
        (name, str(value)) for name, value in settings.items() if name != "methods"
    ]
    lines += [(method.name, repr(method.predict)) for method in evaluation.methods]
    lines += [("averaged", what_counts(evaluation).removeprefix(": "))]
    notes = {*(cases.notes if cases else ()), *evaluation.census.notes(evaluation.class_names)}
    return lines + [("note", note) for note in sorted(notes)]


def _colours(evaluation: Evaluation) -> list[list[int]]:
    """Return the colour of each class, of none where pictures show masks."""
    multiclass = evaluation.settings["output_mode"] == "multiclass"
    colours: np.ndarray = class_colours(len(evaluation.records[0].present) if multiclass else 0)
    return colours.tolist()


def _pictures(evaluation: Evaluation, result: Result, cases: Cases) -> list[Picture]:
    """Return the cases that gain and lose most, each read and segmented again."""
    extremes = evaluation.best(result, MOST) + evaluation.worst(result, MOST)
    return [
        Picture(name, gain, _panels(evaluation, result.method, cases, name))
        for name, gain in extremes
    ]


def _panels(evaluation: Evaluation, method: str, cases: Cases, name: str) -> dict[str, str]:
    settings = evaluation.settings
    case = check_case(cases.read(name), None, settings["output_mode"], settings["void_index"])
    compared = (evaluation.methods[0], evaluation.methods[evaluation.names.index(method)])
    predictions = {name: predict(case.probs[None])[0] for name, predict in compared}
    panels = case_panels(case, predictions, settings["void_index"])
    return {caption: _url(image_png(image)) for caption, image in panels}


def _url(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode()}"
