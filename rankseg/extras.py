"""Packages that extras of rankseg bring, and what to say when one is missing."""

from collections.abc import Iterator
from contextlib import contextmanager

_EXTRAS = {
    "typer": "cli",
    "rich": "cli",
    "matplotlib": "cli",
    "PIL": "cli",
    "jinja2": "cli",
    "torch": "torch",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "nibabel": "nifti",
    "SimpleITK": "itk",
    "tifffile": "tiff",
    "zarr": "zarr",
    "h5py": "hdf5",
    "dask": "dask",
    "distributed": "distributed",
    "safetensors": "safetensors",
    "xarray": "xarray",
    "monai": "monai",
    "nnunetv2": "nnunet",
}


def how_to_install(error: ModuleNotFoundError) -> str | None:
    """Return what to do about a failed import, or None if no extra brings the package.

    Parameters
    ----------
    error : ModuleNotFoundError
        What the import raised.

    Returns
    -------
    str or None
        One line that names the package and the pip command.

    Examples
    --------
    >>> from rankseg.extras import how_to_install
    >>> how_to_install(ModuleNotFoundError("No module named 'PIL'", name="PIL.Image"))
    'PIL is not installed: pip install "rankseg[cli]"'
    """
    package = (error.name or "").partition(".")[0]
    if package not in _EXTRAS:
        return None
    return f'{package} is not installed: pip install "rankseg[{_EXTRAS[package]}]"'


@contextmanager
def optional_imports() -> Iterator[None]:
    """Say how to install what an import inside the block does not find.

    Raises
    ------
    ModuleNotFoundError
        With the pip command, if an extra brings the package.

    Examples
    --------
    >>> from rankseg.extras import optional_imports
    >>> with optional_imports():
    ...     import numpy
    """
    try:
        yield
    except ModuleNotFoundError as error:
        message = how_to_install(error)
        if message is None:
            raise
        raise ModuleNotFoundError(message, name=error.name) from error
