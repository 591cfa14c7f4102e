"""Files that appear whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def _is_store(path: Path) -> bool:
    """Say whether a folder is an array, a .zarr, which is replaced like a file."""
    return any((path / name).exists() for name in ("zarr.json", ".zarray", ".zgroup"))


def check_target(path: Path, overwrite: bool) -> None:
    """Refuse a name that no file can be written under, before the work.

    Raises
    ------
    OSError
        If it is that of a folder, its own folder is missing or not writable, or there is such a
        file and `overwrite` is False.
    """
    if path.is_dir() and not _is_store(path):
        raise IsADirectoryError(f"{path}: is a folder")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder}: folder is not writable")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path}: exists already")


@contextmanager
def replacing(path: str | os.PathLike[str], overwrite: bool) -> Iterator[Path]:
    """Give a temporary name in the folder of `path`, and rename it at the end of the block.

    Whatever ends the block early, Ctrl-C included, leaves neither the temporary file nor a
    change of `path`.

    Raises
    ------
    OSError
        As in `check_target`.
    """
    check_target(Path(path), overwrite)
    path = Path(path).resolve()  # of a link the file is replaced, not the link
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if path.is_dir():  # a store: no system call replaces a folder that is not empty
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)
