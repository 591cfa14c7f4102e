"""Probabilities corrected by a few numbers: temperature and vector scaling."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from . import arrays
from .arrays import Array
from .correction import Correction
from .opening import open_rows
from .rows import BlockRows, Rows, rows_of
from .settings import MODES
from .validation import choice, number

KINDS = ("temperature", "vector")


@dataclass(frozen=True)
class Calibration:
    """Temperature or vector scaling of probabilities.

    RankSEG takes probabilities at their word, so a model that claims too much of a class should
    be corrected first. With p clipped from below at `floor`, for classes c,

    - multiclass: ``softmax over c of scale[c] * log(p[c]) + bias[c]``;
    - multilabel: ``sigmoid of scale[c] * logit(p[c]) + bias[c]``.

    `rankseg.evaluation.tune` fits these numbers on labelled data.

    Parameters
    ----------
    kind : {"temperature", "vector"}
        One number for all classes, or two for each class.
    scale : float or sequence of float, default 1.0
        In [0.001, 1000]. For "temperature" one number, the inverse of the temperature: below 1 the
        probabilities become less certain. For "vector" one number, or one for each class.
    bias : float or sequence of float, default 0.0
        In [-1000, 1000]. For "vector" one number, or one for each class; 0 for "temperature".
    floor : float, default 1e-12
        Least probability, in [1e-30, 0.1]: zero has no logarithm. For probabilities that were
        rounded to steps, as in files of uint8, half a step is right.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If a value is outside its range, or the numbers do not go with the kind.

    Examples
    --------
    A class that claims too much is scaled back:

    >>> import numpy as np
    >>> from rankseg.calibration import Calibration
    >>> probs = np.array([0.4, 0.6]).reshape(1, 2, 1)
    >>> Calibration("vector", bias=[0.0, -1.0])(probs).ravel().round(3)
    array([0.644, 0.356])
    """

    kind: str
    scale: float | tuple[float, ...] = 1.0
    bias: float | tuple[float, ...] = 0.0
    floor: float = 1e-12

    def __post_init__(self) -> None:
        kind = choice("kind", self.kind, KINDS)
        scale = _numbers("scale", self.scale, 1e-3, 1e3)
        bias = _numbers("bias", self.bias, -1e3, 1e3)
        floor = number("floor", self.floor, 1e-30, 0.1)
        if kind == "temperature" and (isinstance(scale, tuple) or bias != 0):
            raise ValueError(
                "kind 'temperature' has one scale and no bias, "
                f"found scale={self.scale!r}, bias={self.bias!r}"
            )
        lengths = {len(part) for part in (scale, bias) if isinstance(part, tuple)}
        if len(lengths) == 2:
            raise ValueError(
                f"scale and bias must have one length, found {self.scale!r} and {self.bias!r}"
            )
        for name, value in {"kind": kind, "scale": scale, "bias": bias, "floor": floor}.items():
            object.__setattr__(self, name, value)

    @property
    def classes(self) -> int | None:
        """Number of classes that it is made for, None for any."""
        lengths = [len(part) for part in (self.scale, self.bias) if isinstance(part, tuple)]
        return lengths[0] if lengths else None

    @arrays.on_its_device
    def __call__(
        self,
        probs: Array,
        *,
        output_mode: str = "multiclass",
        class_axis: int = 1,
        valid: Array | None = None,
    ) -> Array:
        """Return the corrected probabilities.

        Parameters
        ----------
        probs : array, shape (batch, class, *spatial)
            Probabilities as `rankseg.functional.rankseg` takes them.
        output_mode : {"multiclass", "multilabel"}
            Whether the classes of a pixel sum to one, or are independent.
        class_axis : int, default 1
            Position of the class axis.
        valid : bool array, shape (batch, *spatial), optional
            Pixels whose values have to be probabilities. The others may hold anything.

        Returns
        -------
        array
            Probabilities of the shape of `probs`, in float32, or float64 for float64, of the
            same library and on the same device. A Dask result is lazy.

        Raises
        ------
        TypeError, ValueError
            As in `rankseg.functional.rankseg`, and if the number of classes is another one.
        """
        rows = open_rows(probs, class_axis, valid, self.correction(output_mode))
        everywhere = rows_of(rows.source.with_all_pixels())
        result = arrays.from_numpy(_values(everywhere), like=probs)
        return array_namespace(result).moveaxis(result, 1, class_axis)

    def correction(self, output_mode: str) -> Correction:
        """Return what is done to the values of a map."""
        joint = choice("output_mode", output_mode, MODES) == "multiclass"
        scale, bias = (np.atleast_1d(np.asarray(part, float)) for part in (self.scale, self.bias))
        return Correction(scale, bias, self.floor, joint)


@singledispatch
def _values(rows: Rows) -> Array:
    return rows.source.read(...)


@_values.register
def _values_in_blocks(rows: BlockRows) -> np.ndarray:
    result = np.empty(rows.source.probs.shape, rows.source.dtype)

    def write(group: Any) -> tuple[()]:
        result[group.index] = rows.source.read(group.index)
        return ()

    rows.each(write, width=0)
    return result


def _numbers(name: str, value: Any, low: float, high: float) -> float | tuple[float, ...]:
    """Return one number, or a tuple of them."""
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value):
        return tuple(number(f"{name}[{i}]", part, low, high) for i, part in enumerate(value))
    return number(name, value, low, high)
