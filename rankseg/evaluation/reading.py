"""Arrays in files: .npy, .npz, NIfTI and label images."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np


def suffix_of(path: Path) -> str:
    """Return the suffix by which a file is read, or an empty string."""
    name = path.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def read_array(path: Path, key: str | None, usual: tuple[str, ...]) -> np.ndarray:
    """Read the array of a file.

    Parameters
    ----------
    path : Path
        A file with one of the `SUFFIXES`.
    key : str, optional
        Name of the array in an .npz file.
    usual : tuple of str
        Names to look for in an .npz file with several arrays if no key is given.

    Raises
    ------
    ValueError
        If it cannot be read. Nothing that a file could contain is executed.
    ModuleNotFoundError
        If a package that reads such files is not installed.
    """
    try:
        return _READERS[suffix_of(path)](path, key, usual)
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # a damaged file can raise anything in its reader
        raise ValueError(f"{path.name} cannot be read: {error}") from error


def _read_npy(path: Path, key: str | None, usual: tuple[str, ...]) -> np.ndarray:
    return np.lib.format.open_memmap(path, mode="r")


def _read_npz(path: Path, key: str | None, usual: tuple[str, ...]) -> np.ndarray:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        names = archive.files
        if key is None:
            known = [name for name in names if name in usual]
            key = names[0] if len(names) == 1 else known[0] if len(known) == 1 else None
        if key not in names:
            problem = "several arrays, name one of" if key is None else f"no array {key!r} among"
            raise ValueError(f"{problem} {', '.join(names)}")
        return archive[key]


def _read_nifti(path: Path, key: str | None, usual: tuple[str, ...]) -> np.ndarray:
    return np.asanyarray(_import("nibabel", "nifti").load(path).dataobj)


def _read_png(path: Path, key: str | None, usual: tuple[str, ...]) -> np.ndarray:
    with _import("PIL.Image", "cli").open(path) as image:
        return np.asarray(image)


def _import(module: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        message = f'{package} is not installed: pip install "rankseg[{extra}]"'
        raise ModuleNotFoundError(message, name=package) from error


_READERS: dict[str, Callable[[Path, str | None, tuple[str, ...]], np.ndarray]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".nii.gz": _read_nifti,
    ".nii": _read_nifti,
    ".png": _read_png,
}
SUFFIXES = tuple(_READERS)
PROBS_SUFFIXES = tuple(suffix for suffix in SUFFIXES if suffix != ".png")
