"""Probabilities corrected by a few numbers: temperature and vector scaling."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from . import arrays
from .activations import sigmoid, softmax
from .arrays import Array, Namespace
from .maps import ProbabilityMap
from .validation import MODES, check_values, choice, number, open_map

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
        mode = choice("output_mode", output_mode, MODES)
        source = open_map(probs, class_axis, valid)
        if self.classes not in (None, source.classes):
            raise ValueError(
                f"probs has {source.classes} classes, but the calibration is for {self.classes}"
            )
        if source.kind == "lazy":
            check_values(source)
        if source.kind == "host":
            result = arrays.from_numpy(self._in_blocks(source, mode), like=probs)
        else:
            result = self._corrected(source.xp, arrays.widen(source.xp, source.probs), mode)
        return array_namespace(result).moveaxis(result, 1, class_axis)

    def _in_blocks(self, source: ProbabilityMap, mode: str) -> np.ndarray:
        xp, result = source.xp, np.empty(source.probs.shape, source.dtype)
        for b in range(len(source.probs)):
            for slab in arrays.slabs(source.spatial, max(1, source.block // source.classes)):
                index = (slice(b, b + 1), slice(None), *slab)
                result[index] = self._corrected(xp, arrays.widen(xp, source.probs[index]), mode)
        return result

    def _corrected(self, xp: Namespace, p: Array, mode: str) -> Array:
        """Correct probabilities with the classes on axis 1."""
        top = 1.0 if mode == "multiclass" else 1 - max(self.floor, float(xp.finfo(p.dtype).eps))
        p = arrays.clip(xp, p, self.floor, top)
        scores = xp.log(p) if mode == "multiclass" else xp.log(p) - xp.log1p(-p)
        scores = scores * self._column(xp, p, self.scale) + self._column(xp, p, self.bias)
        return softmax(scores, axis=1) if mode == "multiclass" else sigmoid(scores)

    def _column(self, xp: Namespace, p: Array, values: float | tuple[float, ...]) -> Array:
        column = xp.asarray(values, dtype=p.dtype, device=device(p))
        return xp.reshape(column, (1, -1, *[1] * (p.ndim - 2)))


def _numbers(name: str, value: Any, low: float, high: float) -> float | tuple[float, ...]:
    """Return one number, or a tuple of them."""
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value):
        return tuple(number(f"{name}[{i}]", part, low, high) for i, part in enumerate(value))
    return number(name, value, low, high)
