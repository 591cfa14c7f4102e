"""Every expected failure of the command line becomes one line on stderr and exit code 2."""

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from ..classaxis import ClassAxisWarning
from ..extras import how_to_install

EXIT_CODE = 2

_FLAGS = {
    "output_mode": "--mode",
    "ignore_classes": "--ignore-class",
    "ignored": "--ignore-class",
    "one_class=True": "--binary",
    "reorient=True": "--reorient",
    "check_sums=False": "--no-check-sums",
    "check_labels=False": "--void-index 255",
}
"""Options whose names are not those of the arguments that they stand for."""

_ARGUMENTS = (
    *("activation", "average", "bootstrap", "class_axis", "class_names", "classes"),
    *("correlation", "empty", "folds", "group", "ignore_classes", "ignored", "label_map"),
    *("labels_key", "labels_order", "labels_pattern", "metric", "output_mode", "presence"),
    *("probs_key", "probs_pattern", "pruning_prob", "refine", "scale", "seed", "smooth"),
    *("solver", "unassigned_policy"),
    "void_index",
)
_WORDS = re.compile("|".join(re.escape(word) for word in _FLAGS if "=" in word))
_GIVEN = re.compile(rf"\b({'|'.join(_ARGUMENTS)})=('[^']*'|\{{[^}}]*\}}|\.{{3}}|[-\w.]*[-\w])")
_NAMED = re.compile(
    rf"(?<![-\w])({'|'.join(_ARGUMENTS)})(?= must\b| has \d| lacks| names| is for| '|\[\d+\] must)"
)


class CommandError(Exception):
    """What the user asked for cannot be done; the message says why and what can."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn expected failures inside the block into one line and an exit.

    Wrong input, files that cannot be read or written, an optional package that is not installed,
    lack of memory and Ctrl-C are expected. Anything else is a bug and keeps its traceback.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ClassAxisWarning)  # the commands refuse instead
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
    return with_flags(" ".join(str(error).split())) or type(error).__name__


def with_flags(message: str) -> str:
    """Return a message of the library with the options of the commands for its arguments.

    Examples
    --------
    >>> from rankseg.cli.errors import with_flags
    >>> with_flags("void_index must be an int; use output_mode='multilabel', class_axis=-1")
    '--void-index must be an int; use --mode multilabel, --class-axis -1'
    >>> with_flags("label_map={255: 1} would make it 1")
    '--label-map 255:1 would make it 1'
    >>> with_flags("correlation has 3 values, but probs has 2 classes; say scale=...")
    '--correlation has 3 values, but probs has 2 classes; say --scale ...'
    """
    message = _WORDS.sub(lambda match: _FLAGS[match[0]], message)
    message = _GIVEN.sub(lambda match: f"{_flag(match[1])} {_value(match[2])}", message)
    return _NAMED.sub(lambda match: _flag(match[1]), message)


def _flag(argument: str) -> str:
    return _FLAGS.get(argument, f"--{argument.replace('_', '-')}")


def _value(text: str) -> str:
    if text.startswith("{"):
        return text[1:-1].replace("'", "").replace(": ", ":").replace(" ", "")
    return text.strip("'")


def _exit(message: str) -> None:
    print(f"rankseg: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(EXIT_CODE)
