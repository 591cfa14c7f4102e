"""What nnU-Net v2 writes: the two JSON files of a model, and the two files of a predicted case.

``nnUNetv2_predict --save_probabilities`` (and ``nnUNetv2_ensemble --save_npz``) writes, for each
case,

- ``case.npz``: float32 "probabilities" of shape (class, z, y, x), after softmax, or after a
  sigmoid for each region in region-based training. They lie in the geometry of the image already:
  resampling, cropping and transposition are undone, with background of probability 1 outside
  of the crop (regions 0);
- ``case.pkl``: what nnU-Net's reader found in the image file, spacing, origin and direction
  among it.
"""

import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..extras import optional_imports


@dataclass(frozen=True)
class Dataset:
    """What dataset.json says of the labels.

    Parameters
    ----------
    names : tuple of str
        Of the channels of probabilities: the classes by their labels, or the regions.
    ending : str
        That of the files of images and labels.
    regions : tuple of tuple of int, optional
        Labels of which each region consists; None where classes exclude each other.
    painted : tuple of int
        Label by which each region is painted, in this order.
    ignored : int, optional
        Label of what does not count.
    """

    names: tuple[str, ...]
    ending: str
    regions: tuple[tuple[int, ...], ...] | None = None
    painted: tuple[int, ...] = ()
    ignored: int | None = None

    @classmethod
    def read(cls, path: Path) -> "Dataset":
        """Read the file.

        Raises
        ------
        ValueError
            If it is not one of nnU-Net v2.
        """
        content = read_json(path, ["labels", "file_ending"])
        try:
            values = {
                name: tuple(int(one) for one in (label if isinstance(label, list) else [label]))
                for name, label in content["labels"].items()
            }
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: 'labels' must be numbers, or lists, by name") from error
        ignored = values.pop("ignore", (None,))[0]
        ending = content["file_ending"]
        if all(len(labels) == 1 for labels in values.values()):
            names = tuple(sorted(values, key=values.__getitem__))
            return cls(names, ending, ignored=ignored)
        painted = tuple(content.get("regions_class_order") or ())
        number = len(values) - 1  # all but the background
        if len(painted) != number:
            raise ValueError(
                f"{path}: regions_class_order must have {number} labels, one for each region, "
                f"found {list(painted)}"
            )
        regions = {name: labels for name, labels in values.items() if set(labels) != {0}}
        return cls(tuple(regions), ending, tuple(regions.values()), painted, ignored)

    def paint(self, masks: np.ndarray) -> np.ndarray:
        """Return one label a voxel: that of the last mask (region, z, y, x) that holds it."""
        labels = np.zeros(masks.shape[1:], np.uint16)
        for mask, label in zip(masks, self.painted, strict=True):
            labels[mask] = label
        return labels

    def masks(self, labels: np.ndarray) -> np.ndarray:
        """Return which voxels each region has (region, z, y, x), by their labels (z, y, x)."""
        return np.stack([np.isin(labels, region) for region in self.regions or ()])


@dataclass(frozen=True)
class Model:
    """What dataset.json and plans.json say.

    `writer` is nnU-Net's object that writes segmentations in the files of the `dataset`.
    """

    writer: Any
    dataset: Dataset
    transpose_backward: list[int]

    @classmethod
    def read(cls, dataset_json: Path, plans_json: Path) -> "Model":
        """Read both files; PyTorch is not loaded by it."""
        with optional_imports():
            from nnunetv2.imageio import reader_writer_registry as registry
        dataset = Dataset.read(dataset_json)
        plans = read_json(plans_json, ["image_reader_writer", "transpose_backward"])
        try:
            writer = registry.recursive_find_reader_writer_by_name(plans["image_reader_writer"])()
        except RuntimeError as error:
            raise ValueError(f"{plans_json}: {error}") from error
        return cls(writer, dataset, plans["transpose_backward"])

    def read_case(self, npz: Path, pkl: Path) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the probabilities (class, z, y, x) and the properties of one case."""
        properties = read_properties(pkl)
        probs = _read_probabilities(npz)
        shape = (len(self.dataset.names), *shape_of(pkl, properties, self.transpose_backward))
        if probs.shape != shape:
            raise ValueError(
                f"{npz}: probabilities must have shape (class, z, y, x) = {shape} for this model "
                f"and .pkl file, found {probs.shape}"
            )
        return probs, properties


def shape_of(
    pkl: Path, properties: dict[str, Any], transpose_backward: Sequence[int]
) -> tuple[int, ...]:
    """Return the shape (z, y, x) of an image, by its properties and the plans of the model.

    Raises
    ------
    ValueError
        If they do not say it.
    """
    try:
        shape = properties["shape_before_cropping"]
        return tuple(int(shape[i]) for i in transpose_backward)
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"{pkl}: not the properties of a case of this model") from error


def affine_of(properties: dict[str, Any]) -> np.ndarray | None:
    """Return the affine (4, 4) of the axes (x, y, z) of an image, as NIfTI has it, if it is known.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is none.
    """
    if "nibabel_stuff" in properties:
        stuff = properties["nibabel_stuff"]
        return np.array(stuff.get("reoriented_affine", stuff["original_affine"]), np.float64)
    if "sitk_stuff" not in properties:
        return None
    stuff = properties["sitk_stuff"]
    axes = len(stuff["spacing"])
    affine = np.eye(4)
    affine[:axes, :axes] = np.reshape(stuff["direction"], (axes, axes)) * stuff["spacing"]
    affine[:axes, 3] = stuff["origin"]
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # ITK's x and y run the other way


def is_reoriented(properties: dict[str, Any]) -> bool:
    """Return whether nnU-Net turned the image, and so the probabilities, to the axes RAS."""
    nibabel, itk = (properties.get(name, {}) for name in ("nibabel_stuff", "sitk_stuff"))
    return "reoriented_affine" in nibabel or "original_orientation" in itk


def read_json(path: Path, keys: list[str]) -> dict[str, Any]:
    """Read an object that has these keys."""
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: not a readable .json file: {error}") from error
    known = content if isinstance(content, dict) else {}
    missing = [key for key in keys if key not in known]
    if missing:
        raise ValueError(f"{path}: no {missing[0]!r} in it, which nnU-Net v2 writes")
    return known


def _read_probabilities(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        try:
            return np.load(file, allow_pickle=False)["probabilities"]
        except (OSError, MemoryError):
            raise
        except Exception as error:  # a damaged file can raise anything
            raise ValueError(f"{path}: no probabilities as nnU-Net v2 saves them") from error


class _Properties(pickle.Unpickler):
    """Reads numbers, strings, containers and NumPy arrays; nothing else is created or run."""

    allowed = (
        "_codecs.encode",
        "numpy.dtype",
        "numpy.ndarray",
        "numpy._core.multiarray._reconstruct",
        "numpy._core.multiarray.scalar",
        "numpy._core.numeric._frombuffer",
    )

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy.core", "numpy._core")  # as NumPy 1 called it
        if f"{module}.{name}" not in self.allowed:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in it")
        return super().find_class(module, name)


def read_properties(path: Path) -> dict[str, Any]:
    """Read the .pkl file of a case; nothing that such a file could contain is run."""
    with path.open("rb") as file:
        try:
            return _Properties(file).load()
        except (OSError, MemoryError):
            raise
        except Exception as error:  # a damaged file can raise anything
            raise ValueError(f"{path}: not a readable .pkl file: {error}") from error
