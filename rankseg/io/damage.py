"""Files that cannot be read: a damaged one can raise anything in its reader."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say which file it is that the block cannot read, and why.

    A package that is not installed and lack of memory are not the file's fault.

    Raises
    ------
    ValueError
        In the place of any other exception.
    """
    try:
        yield
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        reason = shorten(_reason(error), width=160, placeholder=" ...")
        raise ValueError(f"{path.name} cannot be read: {reason}") from error


def _reason(error: Exception) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))  # PyTorch's is bold in places
    # ITK's is told behind a line of its source and an address in memory
    text = re.sub(r"(?s).*(?:ITK|sitk::) ?ERROR:\s*(?:\w+\(0x[0-9a-f]+\):\s*)?", "", text)
    name = type(error).__name__
    return text if re.search("[a-z]{3}", text) else f"{name} {text}".strip()


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextmanager
def errors_of_log(name: str) -> Iterator[None]:
    """Raise what a library logs as an error, where it goes on with the part that it could read.

    Raises
    ------
    ValueError
        With the first of these messages, unless the block raises.
    """
    logger, kept = logging.getLogger(name), _Kept()
    propagate = logger.propagate
    logger.addHandler(kept)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(kept)
        logger.propagate = propagate
    if kept.messages:
        raise ValueError(kept.messages[0])
