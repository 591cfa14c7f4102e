"""Arrays in files, one reader a format; and probabilities kept as integers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..extras import optional_imports
from .damage import errors_of_log, reading
from .names import LABELS_KEYS as LABELS_KEYS
from .names import PROBS_KEYS as PROBS_KEYS
from .names import choose
from .stores import STORES, open_store

ITK = (".mha", ".mhd", ".nrrd")
"""Suffixes of formats that are read through SimpleITK."""


def suffix_of(path: Path) -> str:
    """Return the suffix by which a file is read, or an empty string."""
    name = path.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def is_nifti(path: Path) -> bool:
    """Return whether a file is NIfTI, by its name."""
    return suffix_of(path).startswith(".nii")


def is_itk(path: Path) -> bool:
    """Return whether a file is read through SimpleITK, with axes (z, y, x), by its name."""
    return suffix_of(path) in ITK


def read_array(path: Path, key: str | None, usual: tuple[str, ...]) -> np.ndarray:
    """Read the array of a file; one in a .npy file stays on disk until it is used.

    Parameters
    ----------
    path : Path
        A file with one of the `SUFFIXES`.
    key : str, optional
        Name of the array in a file of several.
    usual : tuple of str
        Names to look for among several arrays if no key is given.

    Raises
    ------
    ValueError
        If it cannot be read. Nothing that a file could contain is executed.
    ModuleNotFoundError
        If a package that reads such files is not installed.
    """
    with reading(path), optional_imports():
        return _READERS[suffix_of(path)](path, key, usual)


def read_image(path: Path) -> np.ndarray:
    """Read a picture as RGB, uint8 of shape (height, width, 3).

    Raises
    ------
    OSError
        If there is no such file.
    ValueError
        If it is no picture.
    ModuleNotFoundError
        If Pillow is not installed.
    """
    with optional_imports():
        from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, Image.DecompressionBombError, SyntaxError) as error:
        raise ValueError(f"{path}: not a readable picture") from error


def divisor_of(dtype: np.dtype, scale: float | None) -> float | None:
    """Return the value that stands for probability 1, or None where that is 1.

    Parameters
    ----------
    dtype : dtype
        That of the values in a file.
    scale : float, optional
        What the user says. By default the maximum of an integer dtype.
    """
    return np.iinfo(dtype).max if scale is None and dtype.kind in "iu" else scale


def as_probabilities(values: np.ndarray, divisor: float | None) -> np.ndarray:
    """Divide the values of a file; integers become float32, and the byte order the native one.

    Examples
    --------
    >>> import numpy as np
    >>> from rankseg.io.reading import as_probabilities
    >>> as_probabilities(np.array([0, 51, 255], np.uint8), 255)
    array([0. , 0.2, 1. ], dtype=float32)
    """
    native = np.float32 if values.dtype.kind in "iu" else values.dtype.newbyteorder("=")
    values = values.astype(native, copy=False)
    return values if divisor is None else values / np.asarray(divisor, values.dtype)


def doubtful_scale(values: np.ndarray, divisor: float | None, scale: float | None) -> str | None:
    """Return why integers are hardly probabilities times the maximum of their type, or None.

    It is asked of types of 32 bits and more, whose maximum nobody takes, and where the largest
    value is that of percent, or of 8 bits in 16, at more than one pixel in a thousand.
    """
    if divisor is None or scale is not None or values.size == 0:
        return None
    top = int(values.max())
    wide = values.dtype.itemsize > 2 and 0 < top <= 65535
    usual = top in (100, 255) and top < divisor
    if not wide and not (usual and 1000 * np.count_nonzero(values == top) >= values.size):
        return None
    return (
        f"probabilities stored as {values.dtype} up to {top} would be divided by {divisor:g}: "
        f"say what stands for probability 1, scale={top if usual else '...'}, or "
        f"scale={divisor:g} for what they are divided by now"
    )


def _read_npy(path: Path, key: str | None, usual: tuple[str, ...]) -> np.ndarray:
    return np.lib.format.open_memmap(path, mode="r")


def _read_npz(path: Path, key: str | None, usual: tuple[str, ...]) -> np.ndarray:
    with path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as archive:
        return archive[choose(archive.files, key, usual)]


def _read_torch(path: Path, key: str | None, usual: tuple[str, ...]) -> np.ndarray:
    import pickle

    import torch

    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, LookupError, EOFError, RuntimeError) as error:
        # PyTorch's own message tells how to run the code in the file
        raise ValueError("expected tensors that torch.save wrote, and no other objects") from error
    if isinstance(content, dict):
        content = content[choose(content, key, usual)]
    if not isinstance(content, torch.Tensor):
        raise ValueError(f"expected a tensor, found {type(content).__name__}")
    content = content.detach()
    if content.dtype == torch.bfloat16:  # NumPy has no such dtype; the core computes in float32
        content = content.float()
    return content.numpy()


def _read_safetensors(path: Path, key: str | None, usual: tuple[str, ...]) -> np.ndarray:
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        name = choose(file.keys(), key, usual)
        if file.get_slice(name).get_dtype() != "BF16":
            return file.get_tensor(name)
    import torch  # noqa: F401  # NumPy has no such dtype

    with safe_open(path, "pt") as file:
        return file.get_tensor(name).float().numpy()


def _read_nifti(path: Path, key: str | None, usual: tuple[str, ...]) -> np.ndarray:
    import nibabel

    image: Any = nibabel.load(path)
    if not hasattr(image, "affine"):
        raise ValueError("expected an image or a volume, found CIFTI, which lies on surfaces")
    data = image.dataobj
    scaled = (getattr(data, "slope", 1), getattr(data, "inter", 0)) != (1, 0)
    if scaled:  # NumPy would make float64 of it
        values: np.ndarray = image.get_fdata(dtype=np.float32, caching="unchanged")
    else:
        values = np.asanyarray(data)
    vectors = values.ndim == 5 and values.shape[3] == 1  # ITK's (x, y, z, 1, class)
    return values[:, :, :, 0] if vectors else values


def _read_itk(path: Path, key: str | None, usual: tuple[str, ...]) -> np.ndarray:
    import SimpleITK

    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


def _read_tiff(path: Path, key: str | None, usual: tuple[str, ...]) -> np.ndarray:
    import tifffile

    with errors_of_log("tifffile"):  # of a file cut short, it returns the pages that are left
        return np.asarray(tifffile.imread(path))


def _read_store(path: Path, key: str | None, usual: tuple[str, ...]) -> np.ndarray:
    return np.asarray(open_store(path, key, usual)[...])


def _read_png(path: Path, key: str | None, usual: tuple[str, ...]) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image)


_READERS: dict[str, Callable[[Path, str | None, tuple[str, ...]], np.ndarray]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".pt": _read_torch,
    ".pth": _read_torch,
    ".safetensors": _read_safetensors,
    ".nii.gz": _read_nifti,
    ".nii": _read_nifti,
    **dict.fromkeys(ITK, _read_itk),
    ".tif": _read_tiff,
    ".tiff": _read_tiff,
    **dict.fromkeys(STORES, _read_store),
    ".png": _read_png,
}
SUFFIXES = tuple(_READERS)
PROBS_SUFFIXES = tuple(suffix for suffix in SUFFIXES if suffix != ".png")
