"""Pictures of the report, as PNG: gains, reliability, and cases where much changed."""

from io import BytesIO
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from ...plotting import label_image, new_figure
from ..cases.case import Case
from ..compare.reliability import BINS, Reliability
from ..compare.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BETTER, WORSE, NEITHER, AGREED, VOID = np.array(
    [(40, 150, 90), (200, 50, 60), (140, 140, 200), (240, 240, 240), (255, 255, 255)], np.uint8
)
_LONGEST_SIDE = 512


def gains_figure(results: list[Result]) -> "Figure":
    """Draw the gain of each method on each case, from the largest loss to the largest gain."""
    figure = new_figure(3.6 * len(results), 3)
    panels = figure.subplots(1, len(results), sharey=True, squeeze=False)
    for axes, result in zip(panels.flat, results, strict=True):
        draw_gains(axes, result, f"{result.method}: mean {100 * result.gain:+.2f}")
    panels[0, 0].set_ylabel("gain in points")
    return figure


def draw_gains(axes: "Axes", result: Result, title: str) -> None:
    """Draw the gain on each case, from the largest loss to the largest gain, and the mean."""
    gains = 100 * np.sort(result.gains[~np.isnan(result.gains)])
    colours = np.where((gains > 0)[:, None], BETTER, WORSE) / 255
    axes.bar(np.arange(len(gains)), gains, width=1, color=colours)
    axes.axhline(0, color="0.3", linewidth=0.8)
    axes.axhline(100 * result.gain, color="0.3", linewidth=0.8, linestyle="--")
    axes.set_title(title, fontsize=9)
    axes.set(xticks=[], xlabel="cases, by gain")
    axes.spines[["top", "right"]].set_visible(False)


def reliability_figure(reliability: Reliability) -> "Figure":
    """Draw accuracy over confidence, and below it how many pixels each bin has."""
    figure = new_figure(4, 4.5)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot((0, 1), (0, 1), color="0.6", linewidth=0.8, linestyle="--")
    upper.plot(reliability.confidence, reliability.accuracy, marker="o", markersize=4)
    upper.set(ylabel="part that is right", xlim=(0, 1), ylim=(0, 1))
    upper.set_title(f"expected calibration error {100 * reliability.error:.1f} %", fontsize=9)
    number = reliability.bins[0]
    lower.bar((np.arange(BINS) + 0.5) / BINS, number / max(number.sum(), 1), width=1 / BINS)
    lower.set(xlabel="confidence", ylabel="part of pixels")
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def case_panels(
    case: Case, predictions: dict[str, np.ndarray], void_index: int
) -> list[tuple[str, np.ndarray]]:
    """Return titles and RGB images of a checked case: truth, both predictions, who is right.

    Of a volume it is the slice where most pixels change, of masks the class where most do.

    Parameters
    ----------
    case : Case
        With its label map or masks.
    predictions : dict of str to array
        Names and labels, or masks, of the baseline and of another method.
    void_index : int
        Label of pixels that do not count, drawn white.

    Returns
    -------
    list of (str, array)
        Images (height, width, 3), uint8; empty for cases with a single spatial axis.
    """
    classes, suffix = len(case.probs), ""
    maps = np.stack([case.labels, *predictions.values()]).astype(np.int64)
    void = maps[0] == void_index
    if case.labels.dtype == bool:
        chosen = _most_changed(maps)
        maps, classes, suffix = maps[:, chosen], 2, f" of class {chosen}"
        void = np.zeros(maps.shape[1:], bool)
    while maps.ndim > 3:
        chosen = _most_changed(maps)
        maps, void, suffix = maps[:, chosen], void[chosen], f"{suffix}, slice {chosen}"
    if maps.ndim < 3:
        return []
    step = ceil(max(maps.shape[1:]) / _LONGEST_SIDE)
    maps, void = maps[:, ::step, ::step], void[::step, ::step]
    truth, before, after = maps
    change = who_is_right(np.where(void, after, truth), np.where(void, after, before), after)
    titles = (f"truth{suffix}", *predictions, "who is right")
    maps[0, void] = classes  # a class may have the number of void, but not in the truth
    pictures = [label_image(labels, classes) for labels in maps]
    return list(zip(titles, [*pictures, change], strict=True))


def who_is_right(truth: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return an RGB image of where two label maps agree, and who is right where they do not."""
    verdicts = (before == after, after == truth, before == truth)
    conditions = [verdict[..., None] for verdict in verdicts]
    return np.select(conditions, [AGREED, BETTER, WORSE], NEITHER).astype(np.uint8)


def _most_changed(maps: np.ndarray) -> int:
    changed = maps[1] != maps[2]
    return int(changed.reshape(len(changed), -1).sum(axis=1).argmax())


def figure_png(figure: "Figure") -> bytes:
    """Return a figure as PNG."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def image_png(image: np.ndarray) -> bytes:
    """Return an RGB image as PNG."""
    from PIL import Image

    buffer: Any = BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()
