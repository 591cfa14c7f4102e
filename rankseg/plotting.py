"""Pictures of label maps. Matplotlib is imported when the first one is drawn."""

import colorsys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .extras import optional_imports

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FIRST_COLOURS = (
    (46, 52, 64),
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (204, 121, 167),
    (213, 94, 0),
    (0, 114, 178),
)
_GOLDEN_ANGLE = 0.381966
_AGREED = np.array((235, 235, 235), np.uint8)
_BLANK = np.array((255, 255, 255), np.uint8)
_MOST_LEGEND_ENTRIES = 24


def class_colours(count: int) -> np.ndarray:
    """Return an RGB colour for each class, uint8 of shape (count, 3).

    The first is a dark grey, for the background. The next seven are told apart by
    colour-blind readers, and the others go round the colour wheel in golden angles.

    Examples
    --------
    >>> from rankseg.plotting import class_colours
    >>> class_colours(2)
    array([[ 46,  52,  64],
           [230, 159,   0]], dtype=uint8)
    """
    wheel = (
        colorsys.hsv_to_rgb(i * _GOLDEN_ANGLE % 1, (0.55, 0.85)[i % 2], (0.95, 0.7, 0.5)[i % 3])
        for i in range(count - len(_FIRST_COLOURS))
    )
    colours = [*_FIRST_COLOURS, *(tuple(round(255 * part) for part in rgb) for rgb in wheel)]
    return np.array(colours[:count], dtype=np.uint8).reshape(count, 3)


def label_image(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return labels as an RGB image, white where they are no class: void, for example.

    Examples
    --------
    >>> import numpy as np
    >>> from rankseg.plotting import label_image
    >>> label_image(np.array([[1, 255]]), num_classes=2)
    array([[[230, 159,   0],
            [255, 255, 255]]], dtype=uint8)
    """
    colours = np.concatenate([class_colours(num_classes), _BLANK[None]])
    is_class = (labels >= 0) & (labels < num_classes)
    return colours[np.where(is_class, labels, num_classes)]


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure that no global state of Matplotlib knows of."""
    with optional_imports():
        from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def show_image(axes: "Axes", image: np.ndarray, title: str = "") -> None:
    """Show an image (height, width, 3), without ticks."""
    axes.imshow(image, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if title:
        axes.set_title(title, fontsize=10)


def add_legend(figure: "Figure", entries: Sequence[tuple[str, np.ndarray]], columns: int) -> None:
    """Put a legend of names and RGB colours below everything else."""
    from matplotlib.patches import Patch

    patches = [
        Patch(
            facecolor=tuple((np.asarray(colour) / 255).tolist()),
            edgecolor="0.4",
            linewidth=0.5,
            label=name,
        )
        for name, colour in entries
    ]
    figure.legend(
        handles=patches,
        loc="outside lower center",
        ncols=min(columns, len(patches)),
        frameon=False,
        fontsize=9,
        handlelength=1.2,
        handleheight=1.2,
    )


def comparison_figure(
    argmax: np.ndarray, rankseg: np.ndarray, num_classes: int, image: np.ndarray | None = None
) -> "Figure":
    """Draw argmax and RankSEG side by side, and where they differ.

    Parameters
    ----------
    argmax, rankseg : int array, shape (height, width)
        The two label maps. Labels that are no class are void.
    num_classes : int
        How many classes there are.
    image : array, shape (height, width, 3), optional
        What was segmented.

    Returns
    -------
    Figure
        The difference panel shows RankSEG's label where it is not that of argmax.
    """
    before, after = (label_image(labels, num_classes) for labels in (argmax, rankseg))
    changed = argmax != rankseg
    difference = np.where(changed[..., None], after, _AGREED)
    panels = [
        ("argmax", before),
        ("RankSEG", after),
        (f"RankSEG where it differs: {changed.mean():.1%} of pixels", difference),
    ]
    if image is not None:
        panels.insert(0, ("image", image))

    height, width = argmax.shape
    lines = 2 if len(panels) == 4 and width > 1.5 * height else 1
    columns = len(panels) // lines
    panel_width = 14 / columns
    panel_height = panel_width * min(max(height / width, 0.2), 3)
    figure = new_figure(14, lines * (panel_height + 0.3) + 0.6)
    for axes, panel in zip(figure.subplots(lines, columns).flat, panels, strict=True):
        title, picture = panel
        show_image(axes, picture, title)

    labels = np.union1d(argmax, rankseg)
    seen = labels[(labels >= 0) & (labels < num_classes)]
    colours = class_colours(num_classes)
    entries = [(f"class {c}", colours[c]) for c in seen[:_MOST_LEGEND_ENTRIES]]
    if len(seen) > _MOST_LEGEND_ENTRIES:
        entries.append((f"and {len(seen) - _MOST_LEGEND_ENTRIES} more", _BLANK))
    if len(labels) > len(seen):
        entries.append(("void", _BLANK))
    add_legend(figure, [*entries, ("no difference", _AGREED)], columns=10)
    return figure


def save_png(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG, whatever the name of the file."""
    figure.savefig(path, format="png", dpi=130)
