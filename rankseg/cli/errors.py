"""Every expected failure of the command line becomes one line on stderr and exit code 2."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ..extras import how_to_install

EXIT_CODE = 2


class CommandError(Exception):
    """What the user asked for cannot be done; the message says why and what can."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn expected failures inside the block into one line and an exit.

    Wrong input, files that cannot be read or written, an optional package that is not installed,
    lack of memory and Ctrl-C are expected. Anything else is a bug and keeps its traceback.
    """
    try:
        yield
    except CommandError as error:
        _exit(str(error))
    except ModuleNotFoundError as error:
        message = how_to_install(error)
        if message is None:
            raise
        _exit(message)
    except OSError as error:
        _exit(describe(error))
    except MemoryError:
        _exit("not enough memory for one sample and its result")
    except KeyboardInterrupt:
        _exit("interrupted")


@contextmanager
def library_errors() -> Iterator[None]:
    """Turn what the library refuses into one line."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise CommandError(describe(error)) from error


def describe(error: Exception) -> str:
    """Return the message of an exception on one line, for an OSError with the file's name."""
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename else ""
        return f"{name}{error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def _exit(message: str) -> None:
    print(f"rankseg: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(EXIT_CODE)
