"""Files of the command line: which names results can have, and how labels are written."""

import gzip
from collections.abc import Iterable
from pathlib import Path

import numpy as np

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

    like = nibabel.load(source)
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
