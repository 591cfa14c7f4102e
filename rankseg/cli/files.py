"""Files of the command line: probabilities in, labels out."""

from collections.abc import Iterable
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np

from ..files import check_target
from .errors import CommandError, describe

READABLE = (".npy", ".npz", ".pt")
WRITABLE = (".npy", ".png")
_MAGIC = {".npy": b"\x93NUMPY", ".npz": b"PK"}


def read_array(path: Path, key: str | None = None) -> np.ndarray:
    """Read a floating-point array; one in a .npy file stays on disk until it is used.

    Parameters
    ----------
    path : Path
        A .npy, .npz or .pt file. Nothing that it could contain is executed.
    key : str, optional
        Name of the array in an .npz file or a .pt dictionary with several.

    Raises
    ------
    CommandError
        If there is no such file or array, or the file is not what its name says.
    """
    suffix = _check_file(path)
    if key is not None and suffix == ".npy":
        raise CommandError(f"{path}: --key is for .npz and .pt files; a .npy file has one array")
    reader = {".npy": _read_npy, ".npz": _read_npz, ".pt": _read_torch}[suffix]
    try:
        array = reader(path, key)
    except (CommandError, ImportError, MemoryError, OSError):
        raise
    except Exception as error:  # a damaged file can raise anything in its reader
        reason = shorten(describe(error), width=160, placeholder=" ...")
        raise CommandError(f"{path}: not a readable {suffix} file: {reason}") from error
    if array.dtype.kind != "f":
        raise CommandError(f"{path}: probabilities must be floating-point, found {array.dtype}")
    return array


def _check_file(path: Path) -> str:
    """Return the suffix, after a look at the first bytes."""
    suffix = path.suffix.lower()
    if not path.exists():
        raise CommandError(f"{path}: no such file or folder")
    if suffix not in READABLE:
        raise CommandError(f"{path}: expected a folder, or a file named {', '.join(READABLE)}")
    magic = _MAGIC.get(suffix, b"")
    with path.open("rb") as file:
        if file.read(len(magic)) != magic:
            raise CommandError(f"{path}: the content is not that of a {suffix} file")
    return suffix


def _read_npy(path: Path, key: str | None) -> np.ndarray:
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _read_npz(path: Path, key: str | None) -> np.ndarray:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return archive[_choose_key(path, archive.files, key)]


def _read_torch(path: Path, key: str | None) -> np.ndarray:
    import torch

    content: Any = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(content, dict):
        content = content[_choose_key(path, list(content), key)]
    if not isinstance(content, torch.Tensor):
        raise CommandError(f"{path}: expected a tensor, found {type(content).__name__}")
    content = content.detach()
    if content.dtype == torch.bfloat16:  # NumPy has no such dtype; the core computes in float32
        content = content.float()
    return content.numpy()


def _choose_key(path: Path, names: list[str], key: str | None) -> str:
    if key is None and len(names) == 1:
        return names[0]
    if key not in names:
        problem = "choose an array with --key" if key is None else f"no array {key!r}"
        raise CommandError(f"{path}: {problem}; there are: {', '.join(map(str, names)) or 'none'}")
    return key


def check_output(path: Path, suffixes: tuple[str, ...], overwrite: bool) -> None:
    """Refuse a name that a result cannot have, before the work."""
    if path.suffix.lower() not in suffixes:
        raise CommandError(f"{path}: expected a name that ends in {' or '.join(suffixes)}")
    try:
        check_target(path, overwrite)
    except FileExistsError as error:
        raise CommandError(f"{error}; --overwrite replaces it") from error


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


def read_image(path: Path) -> np.ndarray:
    """Read a picture as RGB, uint8 of shape (height, width, 3)."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, Image.DecompressionBombError, SyntaxError) as error:
        raise CommandError(f"{path}: not a readable picture") from error
