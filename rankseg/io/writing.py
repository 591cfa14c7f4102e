"""Labels in files: .npy part by part, palette PNG, and NIfTI with the geometry of another."""

import errno
import gzip
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..extras import optional_imports
from .stores import write_zarr


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
    with npy_target(path, shape, dtype) as array:
        flat, start = array.reshape(-1), 0
        for part in parts:
            flat[start : start + part.size] = part.reshape(-1)
            start += part.size


@contextmanager
def npy_target(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> Iterator[np.ndarray]:
    """Give an array in a .npy file, to be written part by part.

    Raises
    ------
    OSError
        As in `write_npy`.
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    _reserve(path)
    yield array
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


def without_bool(labels: np.ndarray) -> np.ndarray:
    """Return masks as integers of 8 bits, for formats that have no bool."""
    return labels.astype(np.uint8) if labels.dtype == bool else labels


def write_nifti(path: Path, labels: np.ndarray, source: Path) -> None:
    """Write labels as compressed NIfTI with the affine and the header of another such file."""
    with optional_imports():
        import nibabel

    like: Any = nibabel.load(source)
    labels = without_bool(labels)
    image = type(like)(labels, like.affine, like.header, dtype=labels.dtype)
    image.header["cal_min"] = image.header["cal_max"] = 0  # the range of shades in a viewer
    image.header.set_intent("none")  # that of vectors, say, which labels are not
    path.write_bytes(gzip.compress(image.to_bytes(), mtime=0))


def write_whole(path: Path, suffix: str, labels: np.ndarray, source: Path, class_axis: int) -> None:
    """Write labels as .zarr, as .tif, or with the geometry of another such file by SimpleITK.

    `class_axis` is that of masks.
    """
    if suffix == ".zarr":
        write_zarr(path, labels)
    elif suffix == ".tif":
        write_tiff(path, labels, source)
    else:
        _write_itk(path, suffix, labels, source, class_axis)


_GEOGRAPHY = (33550, 33922, 34264, 34735, 34736, 34737)
"""Tags of GeoTIFF: scale, tie points, transformation, and the keys of the projection."""


def write_tiff(path: Path, labels: np.ndarray, source: Path | None) -> None:
    """Write labels as TIFF, compressed, where on earth another such file lies."""
    with optional_imports():
        import tifffile

    tags: list[Any] = []
    if source is not None and source.suffix.lower() in (".tif", ".tiff"):
        with tifffile.TiffFile(source) as file:
            found: Any = file.pages[0]
            for code in _GEOGRAPHY:
                tag = found.tags.get(code)
                if tag is not None:
                    tags.append((tag.code, tag.dtype, tag.count, tag.value, True))
    labels = without_bool(labels)
    tifffile.imwrite(
        path,
        labels,
        photometric="minisblack",
        compression="zlib",
        extratags=tags,
        metadata=None if tags else {},
    )


def _write_itk(path: Path, suffix: str, labels: np.ndarray, source: Path, class_axis: int) -> None:
    with optional_imports():
        import SimpleITK

    like: Any = SimpleITK.ReadImage(str(source))
    labels = without_bool(labels)
    axes = like.GetDimension()
    kept = list(range(axes))
    if labels.ndim < axes:  # classes had an axis of the image; ITK counts from the last
        kept.remove(axes - 1 - class_axis)
    image: Any = SimpleITK.GetImageFromArray(labels, isVector=labels.ndim > axes)
    image.SetOrigin([like.GetOrigin()[axis] for axis in kept])
    image.SetSpacing([like.GetSpacing()[axis] for axis in kept])
    direction = np.reshape(like.GetDirection(), (axes, axes))[np.ix_(kept, kept)]
    image.SetDirection(direction.reshape(-1).tolist())
    named = path.with_name(path.name + suffix)  # the format is told by the name
    SimpleITK.WriteImage(image, str(named), useCompression=True)
    named.replace(path)
