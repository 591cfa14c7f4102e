"""The demo's picture: scenes with their labels, and the gain on every image of every case."""

from typing import TYPE_CHECKING

import numpy as np

from ..evaluation.report.pictures import BETTER, NEITHER, WORSE, draw_gains, who_is_right
from ..plotting import add_legend, new_figure, show_image
from .scenes import CLASSES
from .study import Case, Comparison, Study

if TYPE_CHECKING:
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


def study_figure(study: Study) -> "Figure":
    """Draw three scenes of the first case and one of the second, and all gains in order.

    The scenes are the best, the median and the worst by gain in Dice, whatever they look like.
    """
    figure = new_figure(11.5, 13)
    above, below = figure.subfigures(2, 1, height_ratios=(4, 1), squeeze=False).flat
    lines = [(study.cases[0], rank) for rank in (1.0, 0.5, 0.0)] + [(study.cases[1], 0.5)]
    grid = above.subplots(len(lines), 5)
    for column, title in enumerate(("image", "truth", "argmax", "RankSEG", "where they differ")):
        grid[0, column].set_title(title, fontsize=11)
    for axes, (case, rank) in zip(grid, lines, strict=True):
        _draw_scene(axes, study, case, rank)
    bottom = below.subplots(1, len(study.cases), sharey=True)
    for axes, case in zip(bottom, study.cases, strict=True):
        result = dice_comparison(case).result
        draw_gains(axes, result, f"{case.title}\nmean {100 * result.gain:+.2f}")
        axes.set_xlabel("scenes, by gain")
    bottom[0].set_ylabel("gain in Dice (classes in label)", fontsize=9)
    number = len(study.scenes.labels)
    figure.suptitle(f"argmax and RankSEG on {number} held-out scenes", fontsize=13)
    entries = [
        *zip(CLASSES, _COLOURS, strict=True),
        ("RankSEG is right", BETTER),
        ("argmax is right", WORSE),
        ("neither is", NEITHER),
    ]
    add_legend(figure, entries, columns=len(entries))
    return figure


def dice_comparison(case: Case) -> Comparison:
    """Return the comparison by Dice over the classes in the label, where gains are smallest."""
    wanted = ("dice", "label")
    return next(c for c in case.comparisons if (c.result.metric, c.result.presence) == wanted)


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
            who_is_right(truth, argmax, rankseg),
        ),
        strict=True,
    ):
        show_image(panel, picture)
    place = {1.0: "best", 0.5: "median", 0.0: "worst"}[rank]
    axes[0].set_ylabel(f"{case.title}\n{place} scene: {100 * gains[index]:+.1f} Dice", fontsize=9)
