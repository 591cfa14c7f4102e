"""Labels in files: .npy part by part, palette PNG, and NIfTI with the geometry of another."""

import errno
import gzip
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..extras import optional_imports


def write_npy(
    path: Path, parts: Iterable[np.ndarray], shape: tuple[int, ...], dtype: np.dtype
) -> None:
    """Write an array from its parts in order, holding one at a time.

    Parameters
    ----------
    path : Path
        The file, whatever its name is.
    parts : iterable of array, shape (some, ...)
        The array cut along its first axis; or the whole of it.
    shape : tuple of int
        That of the array.
    dtype : dtype
        That of the array; parts are cast to it.

    Raises
    ------
    OSError
        If the file cannot be written, or the disk has no room for all of it.
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    _reserve(path)
    flat, start = array.reshape(-1), 0
    for part in parts:
        flat[start : start + part.size] = part.reshape(-1)
        start += part.size
    array.flush()


def _reserve(path: Path) -> None:
    """Make sure of the room for a file: a write to a map on a full disk ends the process."""
    size = path.stat().st_size
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    elif shutil.disk_usage(path.parent).free < size:  # macOS and Windows
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def write_png(path: Path, labels: np.ndarray, colours: np.ndarray) -> None:
    """Write a label map as an 8-bit palette image whose pixel values are the labels.

    Parameters
    ----------
    path : Path
        The file, whatever its name is.
    labels : int array, shape (height, width)
        Labels from 0 to 255.
    colours : uint8 array, shape (number, 3)
        Of the first labels; the others, such as void, are white.
    """
    with optional_imports():
        from PIL import Image

    image = Image.fromarray(labels.astype(np.uint8))
    white = np.full((max(0, int(labels.max()) + 1 - len(colours)), 3), 255, np.uint8)
    image.putpalette(np.concatenate([colours, white]).tobytes())
    image.save(path, format="PNG")


def write_nifti(path: Path, labels: np.ndarray, source: Path) -> None:
    """Write labels as compressed NIfTI with the affine and the header of another such file."""
    with optional_imports():
        import nibabel

    like: Any = nibabel.load(source)
    labels = labels.astype(np.uint8) if labels.dtype == bool else labels  # NIfTI has no bool
    image = type(like)(labels, like.affine, like.header, dtype=labels.dtype)
    image.header["cal_min"] = image.header["cal_max"] = 0  # the range of shades in a viewer
    image.header.set_intent("none")  # that of vectors, say, which labels are not
    path.write_bytes(gzip.compress(image.to_bytes(), mtime=0))
