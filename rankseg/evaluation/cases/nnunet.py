"""Folders of nnU-Net v2: the probabilities that it saved, beside the labels of its data set."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...integration.nnunet_files import (
    Dataset,
    affine_of,
    is_reoriented,
    read_json,
    read_properties,
    shape_of,
)
from ...io.geometry import match_affine
from ...io.labels import LabelMap
from ...io.reading import is_nifti
from ...settings import Settings


@dataclass(frozen=True)
class Nnunet:
    """What the files around a folder of nnU-Net's probabilities say.

    Parameters
    ----------
    path : Path
        That of dataset.json.
    dataset : Dataset
        What is in it.
    transpose_backward : tuple of int, optional
        What plans.json says of the axes, if there is one.
    """

    path: Path
    dataset: Dataset
    transpose_backward: tuple[int, ...] | None = None

    @property
    def output_mode(self) -> str:
        """Whether labels are one a voxel, or masks of regions."""
        return "multiclass" if self.dataset.regions is None else "multilabel"

    @property
    def notes(self) -> set[str]:
        """For the user: how the folder is read."""
        notes = {f"read as a folder of nnU-Net, with the labels of {self.path}"}
        if self.dataset.ignored is not None and self.dataset.regions is None:
            notes.add(f"label {self.dataset.ignored}, ignored in {self.path.name}, counts as void")
        return notes

    def check_options(self, **given: Any) -> None:
        """Refuse arguments of `Cases` that say something else than the files.

        Raises
        ------
        ValueError
            Naming the argument.
        """
        for name, value in given.items():
            if value is not None:
                raise ValueError(
                    f"{name}={value!r} is not for a folder of nnU-Net, whose files say something "
                    f"else ({self.path})"
                )

    def labels(
        self,
        labels: np.ndarray,
        labels_path: Path,
        npz: Path,
        probs_shape: tuple[int, ...],
        *,
        turn: bool,
        as_stored: bool,
    ) -> np.ndarray:
        """Return labels as they go with the probabilities.

        Parameters
        ----------
        labels : array
            As `labels_path` has them: (x, y, z) in NIfTI.
        labels_path, npz : Path
            Files of the case; a .pkl file lies beside the .npz file.
        probs_shape : tuple of int
            That of the probabilities, (class, z, y, x).
        turn : bool
            Whether labels are turned where their axes are only flipped or permuted.
        as_stored : bool
            Whether labels are taken voxel by voxel, wherever their file says that they lie.

        Returns
        -------
        array
            Labels (z, y, x), void where they are ignored; or masks (region, z, y, x).

        Raises
        ------
        ValueError
            If files do not belong together.
        """
        properties = self._properties(npz, probs_shape)
        if is_nifti(labels_path):
            if not as_stored:
                labels = _on_grid(labels, labels_path, properties, turn)
            labels = labels.T
        if probs_shape[1] == 1 and labels.ndim == len(probs_shape) - 2:  # an image is one slice
            labels = labels[None]
        ignored = self.dataset.ignored
        if self.dataset.regions is None:
            return labels if ignored is None else LabelMap({ignored: Settings.void_index})(labels)
        return self._masks(labels)

    def written(self, predict: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return a function of probabilities (1, class, *spatial) whose result is as in a file.

        Masks of regions that are painted over each other, as nnU-Net does, may be larger: a voxel
        of the core alone is one of the whole as well.
        """
        if self.dataset.regions is None:
            return predict

        def predict_as_written(probs: Any) -> np.ndarray:
            (masks,) = np.asarray(predict(probs))
            return self.dataset.masks(self.dataset.paint(masks))[None]

        return predict_as_written

    def _properties(self, npz: Path, probs_shape: tuple[int, ...]) -> dict[str, Any]:
        """Read those of a case, and check the shape of its probabilities."""
        pkl, names = npz.with_suffix(".pkl"), self.dataset.names
        if probs_shape[0] != len(names):
            raise ValueError(
                f"probs have {probs_shape[0]} classes, {self.path} has {len(names)}: "
                f"{', '.join(names)}"
            )
        if not pkl.is_file():
            raise ValueError(f"there is no {pkl.name}, which nnU-Net writes beside {npz.name}")
        properties = read_properties(pkl)
        if not isinstance(properties, dict):
            raise ValueError(f"{pkl.name}: not the properties of a case of nnU-Net")
        if self.transpose_backward is not None:
            shape = shape_of(pkl, properties, self.transpose_backward)
            if probs_shape[1:] != shape:
                raise ValueError(
                    f"probs have shape {probs_shape}, expected (class, z, y, x) = "
                    f"{(len(names), *shape)} by {pkl.name}"
                )
        return properties

    def _masks(self, labels: np.ndarray) -> np.ndarray:
        whole = np.rint(labels)
        if not np.all(np.abs(labels - whole) <= 1e-3):  # those of scaled files are off by rounding
            raise ValueError("labels must be whole numbers")
        if self.dataset.ignored is not None and np.any(whole == self.dataset.ignored):
            raise ValueError(
                f"labels have {self.dataset.ignored}, ignored in {self.path.name}: masks of "
                "regions have no void"
            )
        known = {0}.union(*(self.dataset.regions or ()))
        strange = whole[~np.isin(whole, list(known))]
        if strange.size:
            raise ValueError(f"labels must be of a region or 0, found {strange[0]:g}")
        return self.dataset.masks(whole)


def recognise(probs: Path, labels: Path) -> Nnunet | None:
    """Return what nnU-Net's files say, or None where a folder is not one of its own.

    Its folders have a .npz and a .pkl file for each case. dataset.json is searched in the folder,
    as nnUNetv2_predict leaves it, up to two folders above, as that of a model is for
    fold_0/validation, and beside the labels.

    Parameters
    ----------
    probs, labels : Path
        Folders.

    Raises
    ------
    ValueError
        If nnU-Net has written segmentations there, but no probabilities; or if dataset.json is
        not readable.
    """
    saved = [path for path in probs.glob("*.npz") if not path.name.startswith(".")]
    near = [probs, *probs.parents[:2]]
    if not saved:
        _refuse_segmentations(probs, near)
    if probs == labels or not any(path.with_suffix(".pkl").is_file() for path in saved):
        return None
    for folder in (*near, labels, labels.parent):
        path = folder / "dataset.json"
        if not path.is_file() or not {"labels", "file_ending"} <= read_json(path, []).keys():
            continue  # that of another program, or of nnU-Net v1
        plans = next((f / "plans.json" for f in near if (f / "plans.json").is_file()), None)
        backward = None
        if plans is not None:
            backward = tuple(read_json(plans, ["transpose_backward"])["transpose_backward"])
        return Nnunet(path, Dataset.read(path), backward)
    return None


def _refuse_segmentations(probs: Path, near: list[Path]) -> None:
    """Refuse label maps that would be read as probabilities."""
    model = any((f / "dataset.json").is_file() and (f / "plans.json").is_file() for f in near)
    if not model:
        return
    validation = probs / "validation"
    if validation.is_dir():
        raise ValueError(f"{probs}: a fold of nnU-Net, whose probabilities are in {validation}")
    raise ValueError(
        f"{probs}: a folder of nnU-Net without probabilities, which `nnUNetv2_train ... --val "
        "--npz` and `nnUNetv2_predict ... --save_probabilities` write"
    )


def _on_grid(
    labels: np.ndarray, labels_path: Path, properties: dict[str, Any], turn: bool
) -> np.ndarray:
    """Return labels (x, y, z) on the grid of the probabilities, as nnU-Net read the image."""
    try:
        affine, reoriented = affine_of(properties), is_reoriented(properties)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError("the .pkl file has no geometry that nnU-Net writes") from error
    if affine is None:
        return labels
    try:
        return match_affine(labels, labels_path, affine, turn or reoriented)
    except ValueError as error:
        if reoriented:
            raise
        raise ValueError(
            f"{error}; labels_order='zyx' takes them as nnU-Net does, voxel by voxel"
        ) from error
