"""Files of the command line: which are read, which are written, and how labels are written."""

import gzip
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..evaluation.reading import PROBS_SUFFIXES, suffix_of
from ..files import check_target
from .errors import CommandError

WRITABLE = (".npy", ".png", ".nii.gz")


def check_output(
    path: Path, suffixes: tuple[str, ...], overwrite: bool, source: Path | None = None
) -> None:
    """Refuse a name that a result made of the file `source` cannot have, before the work."""
    if source is not None and path.exists() and source.exists() and path.samefile(source):
        raise CommandError(f"{path}: is the input, which is never overwritten")
    try:
        check_target(path, overwrite)
    except FileExistsError as error:
        raise CommandError(f"{error}; --overwrite replaces it") from error
    if not path.name.lower().endswith(suffixes):
        raise CommandError(f"{path}: expected a name that ends in {' or '.join(suffixes)}")


def is_nifti(path: Path) -> bool:
    """Return whether a file is NIfTI, by its name."""
    return suffix_of(path).startswith(".nii")


def plan(source: Path, output: Path, form: str | None) -> list[tuple[Path, Path]]:
    """Pair each file to be read with the file to be written.

    Parameters
    ----------
    source, output : Path
        Two files, or two folders, or a file and a folder for its result.
    form : str, optional
        Suffix of files written to a folder; by default ".nii.gz" for NIfTI and else ".npy".
    """
    if not source.exists():
        raise CommandError(f"{source}: no such file or folder")
    if not source.is_dir() and suffix_of(source) not in PROBS_SUFFIXES:
        expected = ", ".join(PROBS_SUFFIXES)
        raise CommandError(f"{source}: expected a folder, or a file named {expected}")
    if suffix_of(output) in WRITABLE and not output.is_dir():
        if source.is_dir():
            raise CommandError(f"{output}: the results of a folder go to a folder")
        if form is not None:
            raise CommandError("--format is for an output folder; a file's own name says it")
        pairs = [(source, output)]
    elif output.is_dir() or not output.suffix:
        files = _readable_files(source) if source.is_dir() else [source]
        pairs = [
            (file, output / f"{_stem(file)}{form or ('.npy', '.nii.gz')[is_nifti(file)]}")
            for file in files
        ]
    else:
        raise CommandError(f"{output}: expected a folder, or a file named {', '.join(WRITABLE)}")
    for file, result in pairs:
        if is_nifti(result) and not is_nifti(file):
            raise CommandError(f"{file}: only NIfTI has the geometry that {result.name} needs")
    return pairs


def _readable_files(folder: Path) -> list[Path]:
    files = [
        file
        for file in sorted(folder.iterdir())
        if suffix_of(file) in PROBS_SUFFIXES and not file.name.startswith(".")
    ]
    if not files:
        raise CommandError(f"{folder}: no file named {', '.join(PROBS_SUFFIXES)} in it")
    stems = [_stem(file) for file in files]
    for stem in stems:
        if stems.count(stem) > 1:
            raise CommandError(f"{folder}: several files are called {stem}")
    return files


def _stem(file: Path) -> str:
    return file.name[: -len(suffix_of(file))]


def write_npy(
    path: Path, parts: Iterable[np.ndarray], shape: tuple[int, ...], dtype: np.dtype
) -> None:
    """Write an array of the given shape from its parts in order, holding one at a time."""
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part, dtype=dtype).data)


def write_png(path: Path, labels: np.ndarray, colours: np.ndarray) -> None:
    """Write a label map as an 8-bit palette image whose pixel values are the labels."""
    from PIL import Image

    image = Image.fromarray(labels.astype(np.uint8))
    image.putpalette(colours.astype(np.uint8).tobytes())
    image.save(path, format="PNG")


def write_nifti(path: Path, labels: np.ndarray, source: Path) -> None:
    """Write labels as compressed NIfTI with the affine and the header of another such file."""
    import nibabel

    like: Any = nibabel.load(source)
    labels = labels.astype(np.uint8) if labels.dtype == bool else labels  # NIfTI has no bool
    image = type(like)(labels, like.affine, like.header, dtype=labels.dtype)
    image.header["cal_min"] = image.header["cal_max"] = 0  # the range of shades in a viewer
    path.write_bytes(gzip.compress(image.to_bytes(), mtime=0))


def read_image(path: Path) -> np.ndarray:
    """Read a picture as RGB, uint8 of shape (height, width, 3)."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, Image.DecompressionBombError, SyntaxError) as error:
        raise CommandError(f"{path}: not a readable picture") from error
