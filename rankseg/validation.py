"""Rules that several arguments share: strings, numbers, axes."""

from collections.abc import Iterable
from math import isfinite
from numbers import Integral, Real
from typing import Any

import numpy as np


def choice(name: str, value: object, allowed: Iterable[str]) -> str:
    """Return a string argument in the spelling of the allowed ones."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, found {value!r}")
    spellings = {option.lower(): option for option in allowed}
    if value.strip().lower() not in spellings:
        listed = ", ".join(repr(option) for option in spellings.values())
        raise ValueError(f"{name} must be one of {listed}, found {value!r}")
    return spellings[value.strip().lower()]


def number(name: str, value: Any, low: float, high: float) -> float:
    """Return a finite real argument in [low, high]."""
    is_number = isinstance(value, Real) and not isinstance(value, bool | np.bool_)
    if not is_number:
        raise TypeError(f"{name} must be a real number, found {value!r}")
    try:
        result = float(value)
    except OverflowError:
        result = float("inf")
    if not (isfinite(result) and low <= result <= high):
        bounds = f"in [{low}, {high}]" if isfinite(high) else f"finite and >= {low}"
        raise ValueError(f"{name} must be {bounds}, found {value!r}")
    return result


def integer(name: str, value: Any) -> int:
    """Return an integer argument."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, found {value!r}")
    return int(value)


def check_class_axis(axis: Any, ndim: int | None = None) -> int:
    """Return the class axis, which is any but the first; not negative where `ndim` is known."""
    axis = integer("class_axis", axis)
    if axis == 0 or (ndim is not None and not -ndim < axis < ndim):
        bounds = "" if ndim is None else f" of [{1 - ndim}, {ndim})"
        raise ValueError(
            f"class_axis must be an axis{bounds} other than the batch axis 0, found {axis}"
        )
    return axis if ndim is None else axis % ndim
