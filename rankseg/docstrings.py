"""Parameters that several public functions share are described once."""

import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")


def shared_parameters(source: Callable[..., Any]) -> Callable[[_T], _T]:
    """Spell out the parameters that a numpydoc docstring says to be as in another function.

    An entry ``a, b, c`` that begins with "As in `name`", the name of `source`, is replaced by the
    entries of these names in its docstring.

    Examples
    --------
    >>> from rankseg import RankSEG
    >>> "One label a pixel, or one mask a class." in RankSEG.__doc__
    True
    """
    there = re.compile(rf"As in `([\w.]+\.)?{source.__name__}`")

    def spell_out(target: _T) -> _T:
        if target.__doc__ and source.__doc__:  # python -OO leaves none
            entries = dict(_entries(source.__doc__))
            lines = []
            for names, text in _entries(target.__doc__):
                if "," in names and there.match(text.partition("\n")[2].strip()):
                    lines += [entries[name] for name in names.split(", ")]
                else:
                    lines.append(text)
            target.__doc__ = "\n".join(lines)
        return target

    return spell_out


def _entries(docstring: str) -> list[tuple[str, str]]:
    """Split a docstring into unindented lines, each with the indented ones behind it."""
    found: list[tuple[str, str]] = []
    for line in inspect.cleandoc(docstring).splitlines():
        if line.startswith(" ") and found:
            found[-1] = (found[-1][0], f"{found[-1][1]}\n{line}")
        else:
            found.append((line.partition(" : ")[0], line))
    return found
