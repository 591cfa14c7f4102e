"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def check_target(path: Path, overwrite: bool) -> None:
    """Refuse a name that no file can be written under, before the work.

    Raises
    ------
    OSError
        If it is that of a folder, its own folder is missing or not writable, or there is such a
        file and `overwrite` is False.
    """
    if path.is_dir():
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
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
