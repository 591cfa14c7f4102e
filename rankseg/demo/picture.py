"""The demo's picture: scenes with their labels, and the gain on every image of every case."""

from typing import TYPE_CHECKING

import numpy as np

from ..plotting import add_legend, new_figure, show_image
from .scenes import CLASSES
from .study import Case, Comparison, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = np.array(
    [
        (158, 188, 108),
        (74, 144, 196),
        (44, 102, 62),
        (120, 116, 118),
        (204, 102, 72),
        (250, 214, 60),
    ],
    dtype=np.uint8,
)
_BETTER, _WORSE, _NEITHER = np.array([(40, 150, 90), (200, 50, 60), (140, 140, 200)], np.uint8)
_AGREED = np.array((240, 240, 240), np.uint8)


def study_figure(study: Study) -> "Figure":
    """Draw three scenes of the first case and one of the second, and all gains in order.

    The scenes are the best, the median and the worst by gain in Dice, whatever they look like.
    """
    figure = new_figure(11.5, 13)
    above, below = figure.subfigures(2, 1, height_ratios=(4, 1), squeeze=False).flat
    rows = [(study.cases[0], rank) for rank in (1.0, 0.5, 0.0)] + [(study.cases[1], 0.5)]
    grid = above.subplots(len(rows), 5)
    for column, title in enumerate(("image", "truth", "argmax", "RankSEG", "where they differ")):
        grid[0, column].set_title(title, fontsize=11)
    for axes, (case, rank) in zip(grid, rows, strict=True):
        _draw_scene(axes, study, case, rank)
    bottom = below.subplots(1, len(study.cases), sharey=True)
    for axes, case in zip(bottom, study.cases, strict=True):
        _draw_gains(axes, case)
    bottom[0].set_ylabel("gain in Dice (classes in label)", fontsize=9)
    number = len(study.scenes.labels)
    figure.suptitle(f"argmax and RankSEG on {number} held-out scenes", fontsize=13)
    entries = [
        *zip(CLASSES, _COLOURS, strict=True),
        ("RankSEG is right", _BETTER),
        ("argmax is right", _WORSE),
        ("neither is", _NEITHER),
    ]
    add_legend(figure, entries, columns=len(entries))
    return figure


def dice_comparison(case: Case) -> Comparison:
    """Return the comparison by Dice over the classes in the label, where gains are smallest."""
    return next(c for c in case.comparisons if c.metric == "dice" and c.label_only)


def _draw_scene(axes: np.ndarray, study: Study, case: Case, rank: float) -> None:
    gains = dice_comparison(case).gains
    index = np.argsort(gains)[round(rank * (len(gains) - 1))]
    truth = study.scenes.labels[index]
    argmax, rankseg = case.labels["argmax"][index], case.labels["dice"][index]
    for panel, picture in zip(
        axes,
        (
            study.scenes.images[index],
            _COLOURS[truth],
            _COLOURS[argmax],
            _COLOURS[rankseg],
            _difference(truth, argmax, rankseg),
        ),
        strict=True,
    ):
        show_image(panel, picture)
    place = {1.0: "best", 0.5: "median", 0.0: "worst"}[rank]
    axes[0].set_ylabel(f"{case.title}\n{place} scene: {100 * gains[index]:+.1f} Dice", fontsize=9)


def _difference(truth: np.ndarray, argmax: np.ndarray, rankseg: np.ndarray) -> np.ndarray:
    kinds = (rankseg == argmax, rankseg == truth, argmax == truth)
    conditions = [kind[..., None] for kind in kinds]
    return np.select(conditions, [_AGREED, _BETTER, _WORSE], _NEITHER)


def _draw_gains(axes: "Axes", case: Case) -> None:
    comparison = dice_comparison(case)
    gains = 100 * np.sort(comparison.gains)
    colours = np.where((gains > 0)[:, None], _BETTER, _WORSE) / 255
    axes.bar(np.arange(len(gains)), gains, width=1, color=colours)
    axes.axhline(0, color="0.3", linewidth=0.8)
    axes.axhline(100 * comparison.gain, color="0.3", linewidth=0.8, linestyle="--")
    axes.set_title(f"{case.title}\nmean {100 * comparison.gain:+.2f}", fontsize=9)
    axes.set_xticks([])
    axes.set_xlabel("scenes, by gain", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
