"""Where the voxels of two NIfTI files lie: on one grid, on one with axes turned, or elsewhere."""

from pathlib import Path
from typing import Any

import numpy as np

from ..classaxis import doubt
from ..extras import optional_imports

CLOSE = 0.1
"""Voxels may lie apart by this part of a voxel: writers round the affine to float32."""


def match_grid(labels: np.ndarray, labels_path: Path, probs_path: Path, turn: bool) -> np.ndarray:
    """Return labels on the grid of the probabilities.

    Parameters
    ----------
    labels : array, shape (x, y, z) or (x, y)
        What was read from `labels_path`.
    labels_path, probs_path : Path
        NIfTI files, whose affines are compared.
    turn : bool
        Whether labels are turned where their axes are only flipped or permuted.

    Raises
    ------
    ValueError
        If the voxels lie elsewhere, or are to be turned and `turn` is False.
    """
    with optional_imports():
        import nibabel

    return match_affine(labels, labels_path, _affine(nibabel.load(probs_path)), turn)


def match_affine(
    labels: np.ndarray, labels_path: Path, there: np.ndarray, turn: bool
) -> np.ndarray:
    """Return labels on a grid that is given by its affine (4, 4); else as `match_grid`."""
    with optional_imports():
        import nibabel
        from nibabel import orientations as turning

    orientations: Any = turning

    here = _affine(nibabel.load(labels_path))
    if _distance(here, there, labels.shape) <= CLOSE:
        return labels
    ends = [orientations.io_orientation(affine) for affine in (here, there)]
    turned_by = orientations.ornt_transform(*ends)
    axes = len(labels.shape)
    if axes == 3 and not np.isnan(turned_by).any():
        turned = orientations.apply_orientation(labels, turned_by)
        affine = here @ orientations.inv_ornt_aff(turned_by, labels.shape)
        if _distance(affine, there, turned.shape) <= CLOSE:
            if turn:
                return np.asarray(turned)
            names = ("".join(orientations.ornt2axcodes(end)) for end in ends)
            raise ValueError(
                "labels lie on another grid than the probabilities: axes run {} and {}; "
                "reorient=True turns the labels".format(*names)
            )
    raise ValueError(
        "labels lie on another grid than the probabilities: the affines of the two files place "
        f"voxels {_distance(here, there, labels.shape):.3g} voxels apart; resample one of them"
    )


def looks_channels_last(shape: tuple[int, ...], axis: int) -> bool:
    """Say whether an axis is hardly that of the classes, where values do not tell: it is too long.

    An image (height, width, class) has few classes beside its lines; of maps (class, height, width)
    only those of many classes and few pixels look like that.
    """
    return len(shape) > 2 and shape[axis] > 4 * shape[-1]


def is_a_volume(probs: np.ndarray, axis: int) -> bool:
    """Say whether the values of a NIfTI file are a volume (x, y, z), and no axis has classes.

    The format's first three axes are those of space; two-dimensional images whose third axis has
    the classes are told by what values sum to.
    """
    return probs.ndim == 3 and doubt(probs, axis % 3) is not None


def volume_with_class_axis(shape: tuple[int, ...], axis: int) -> str:
    """Say why the class axis that was named is none."""
    return (
        f"NIfTI of shape {shape} is a volume (x, y, z) of one structure, as values do not sum to 1 "
        f"over an axis: leave class_axis={axis} out; independent maps of classes are (x, y, 1, "
        "class)"
    )


def _affine(image: Any) -> np.ndarray:
    return np.asarray(image.affine, np.float64)


def _distance(one: np.ndarray, other: np.ndarray, shape: tuple[int, ...]) -> float:
    """Return how far apart the corners of a grid lie, in voxels of the first."""
    ends = [(0, size - 1) for size in (*shape, 1, 1)[:3]]
    corners = np.stack([*np.meshgrid(*ends), np.ones((2, 2, 2))]).reshape(4, -1)
    apart = np.linalg.norm(((one - other) @ corners)[:3], axis=0)
    return float(apart.max() / max(np.linalg.norm(one[:3, :3], axis=0).min(), 1e-12))
