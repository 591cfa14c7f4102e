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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..extras import optional_imports


@dataclass(frozen=True)
class Model:
    """What dataset.json and plans.json say.

    `writer` is nnU-Net's object that writes segmentations in files with this `ending`. `regions`
    are the labels of overlapping regions, in the order in which they are painted, or None where
    classes exclude each other.
    """

    writer: Any
    ending: str
    transpose_backward: list[int]
    channels: int
    regions: list[int] | None

    @classmethod
    def read(cls, dataset_json: Path, plans_json: Path) -> "Model":
        """Read both files; PyTorch is not loaded by it."""
        with optional_imports():
            from nnunetv2.imageio import reader_writer_registry as registry
        dataset = _read_json(dataset_json, ["labels", "file_ending"])
        plans = _read_json(plans_json, ["image_reader_writer", "transpose_backward"])
        try:
            writer = registry.recursive_find_reader_writer_by_name(plans["image_reader_writer"])()
        except RuntimeError as error:
            raise ValueError(f"{plans_json}: {error}") from error
        labels = [label for name, label in dataset["labels"].items() if name != "ignore"]
        regions = None
        if any(isinstance(label, list) and len(label) > 1 for label in labels):
            regions = dataset.get("regions_class_order") or []
            if len(regions) != len(labels) - 1:  # all but the background
                raise ValueError(
                    f"{dataset_json}: regions_class_order must have {len(labels) - 1} labels, one "
                    f"for each region, found {regions}"
                )
        channels = len(labels) if regions is None else len(regions)
        return cls(writer, dataset["file_ending"], plans["transpose_backward"], channels, regions)

    def read_case(self, npz: Path, pkl: Path) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the probabilities (class, z, y, x) and the properties of one case."""
        properties = _read_properties(pkl)
        try:
            shape = [properties["shape_before_cropping"][i] for i in self.transpose_backward]
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(f"{pkl}: not the properties of a case of this model") from error
        probs = _read_probabilities(npz)
        if probs.shape != (self.channels, *shape):
            raise ValueError(
                f"{npz}: probabilities must have shape (class, z, y, x) = "
                f"{(self.channels, *shape)} for this model and .pkl file, found {probs.shape}"
            )
        return probs, properties


def _read_json(path: Path, keys: list[str]) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: not a readable .json file: {error}") from error
    missing = [key for key in keys if key not in content]
    if missing:
        raise ValueError(f"{path}: no {missing[0]!r} in it, which nnU-Net v2 writes")
    return content


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


def _read_properties(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        try:
            return _Properties(file).load()
        except (OSError, MemoryError):
            raise
        except Exception as error:  # a damaged file can raise anything
            raise ValueError(f"{path}: not a readable .pkl file: {error}") from error
