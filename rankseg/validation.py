"""Every rule about arguments, once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from numbers import Integral, Real
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from . import arrays
from .arrays import Array
from .maps import ProbabilityMap

METRICS = {"dice": "dice", "iou": "iou", "acc": "accuracy", "accuracy": "accuracy"}
MODES = ("multiclass", "multilabel")
POLICIES = ("max_score", "void")
SOLVERS = {
    ("dice", "multiclass"): ("RMA", "exact"),
    ("dice", "multilabel"): ("RMA", "exact", "BA", "TRNA", "BA+TRNA"),
    ("iou", "multiclass"): ("RMA", "exact"),
    ("iou", "multilabel"): ("RMA", "exact"),
    ("accuracy", "multiclass"): ("argmax",),
    ("accuracy", "multilabel"): ("TR", "argmax"),
}
NORMAL_SOLVERS = ("BA", "TRNA", "BA+TRNA")
LABEL_PARAMS = ["refine", "unassigned_policy", "void_index"]
VOID_INDEX = 255


@dataclass(frozen=True)
class Settings:
    """Checked settings of one predictor."""

    metric: str = "dice"
    smooth: float = 0.0
    output_mode: str = "multiclass"
    solver: str = "RMA"
    pruning_prob: float | tuple[float, ...] = 0.5
    unassigned_policy: str = "max_score"
    void_index: int = VOID_INDEX
    eps: float = 1e-4
    refine: int = 0


def check_settings(
    metric: str,
    smooth: float,
    output_mode: str,
    solver: str,
    pruning_prob: float | Sequence[float],
    solver_params: dict[str, Any],
) -> Settings:
    """Check everything that can be checked without the probabilities."""
    metric = METRICS[choice("metric", metric, METRICS)]
    output_mode = choice("output_mode", output_mode, MODES)
    solver = _check_solver(solver, metric, output_mode)
    smooth = number("smooth", smooth, 0, float("inf"))
    pruning_prob = _check_pruning(pruning_prob)
    params = _check_params(solver, output_mode, solver_params)
    return Settings(metric, smooth, output_mode, solver, pruning_prob, **params)


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


def _is_int(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _check_solver(solver: object, metric: str, output_mode: str) -> str:
    supported = SOLVERS[metric, output_mode]
    known = dict.fromkeys(name for names in SOLVERS.values() for name in names)
    solver = choice("solver", solver, known)
    if solver not in supported:
        raise ValueError(
            f"solver {solver!r} is not supported for metric={metric!r} with "
            f"output_mode={output_mode!r}; supported solvers: {', '.join(supported)}"
        )
    return solver


def _check_pruning(value: Any) -> float | tuple[float, ...]:
    if arrays.is_array(value) and value.ndim == 1:
        host = arrays.to_numpy_view(value)
        if array_namespace(value).isdtype(value.dtype, "real floating"):
            host = arrays.widen(array_namespace(host), host)
        value = np.asarray(arrays.read_values(host)[0]).tolist()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(number(f"pruning_prob[{i}]", p, 0, 1) for i, p in enumerate(value))
    return number("pruning_prob", value, 0, 1)


def _check_params(solver: str, output_mode: str, params: dict[str, Any]) -> dict[str, Any]:
    allowed = ["eps"] if solver in NORMAL_SOLVERS else []
    if solver == "RMA":
        allowed += ["safe_screening"]
    if output_mode == "multiclass":
        allowed += ["void_index"] if solver == "argmax" else LABEL_PARAMS
    unknown = sorted(set(params) - set(allowed))
    if unknown:
        taken = ", ".join(sorted(allowed)) or "no further parameters"
        raise TypeError(
            f"solver {solver!r} with output_mode={output_mode!r} does not take "
            f"{', '.join(unknown)}; it takes {taken}"
        )
    screening = params.get("safe_screening", False)
    if not isinstance(screening, bool) and not (
        isinstance(screening, str) and screening.strip().lower() == "auto"
    ):
        raise TypeError(f"safe_screening must be a bool or 'auto', found {screening!r}")
    policy = choice("unassigned_policy", params.get("unassigned_policy", POLICIES[0]), POLICIES)
    void_index = check_void_index(params.get("void_index", VOID_INDEX))
    eps = number("eps", params.get("eps", Settings.eps), 0, 1)
    if eps in (0, 1):
        raise ValueError(f"eps must be in (0, 1), found {params['eps']!r}")
    refine: Any = params.get("refine", 0)
    if not _is_int(refine):
        raise TypeError(f"refine must be an int, found {refine!r}")
    if refine < 0:
        raise ValueError(f"refine must be >= 0, found {refine}")
    return {
        "unassigned_policy": policy,
        "void_index": void_index,
        "eps": eps,
        "refine": int(refine),
    }


def check_void_index(value: Any) -> int:
    """Return a void index that fits int64."""
    if not _is_int(value):
        raise TypeError(f"void_index must be an int, found {value!r}")
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"void_index must fit int64, found {value}")
    return int(value)


def check_classes(settings: Settings, classes: int, has_valid: bool, largest: int) -> None:
    """Check the settings against the number of classes and the largest label of an array."""
    if classes == 1 and settings.output_mode == "multiclass":
        raise ValueError(
            "probs has one class, which cannot make a multiclass label map: use "
            "output_mode='multilabel', or pass a background and a foreground class"
        )
    if classes == 1 and settings.solver == "argmax":
        raise ValueError("solver 'argmax' is not supported for one class; supported solvers: TR")
    if isinstance(settings.pruning_prob, tuple) and len(settings.pruning_prob) != classes:
        raise ValueError(
            f"pruning_prob has {len(settings.pruning_prob)} values, but probs has {classes} classes"
        )
    if settings.output_mode == "multiclass":
        _check_void(settings, classes, has_valid, largest)


def _check_void(settings: Settings, classes: int, has_valid: bool, largest: int) -> None:
    writes_void = settings.unassigned_policy == "void" or has_valid
    if not writes_void:
        if settings.void_index != VOID_INDEX:
            raise ValueError(
                f"void_index={settings.void_index} requires unassigned_policy='void' or valid"
            )
        return
    if 0 <= settings.void_index < classes:
        raise ValueError(
            f"void_index must lie outside [0, {classes}), the classes of probs, "
            f"found {settings.void_index}"
        )
    if not -largest - 1 <= settings.void_index <= largest:
        raise ValueError(
            f"void_index must fit the labels of this library, which end at {largest}, "
            f"found {settings.void_index}"
        )


def open_map(probs: Array, class_axis: int = 1, valid: Array | None = None) -> ProbabilityMap:
    """Check probabilities and return the map to work on, with classes on axis 1.

    Values are checked from the sums that every solver needs: at once, for a lazy array when it
    is read, and not at all inside a trace, where values outside [0, 1] are clipped.
    """
    if not arrays.is_array(probs):
        raise TypeError(
            f"probs must be an array (NumPy, PyTorch, CuPy, JAX, ...), found {type(probs).__name__}"
        )
    if isinstance(probs, np.ma.MaskedArray):
        raise TypeError("probs must not be a masked array: pass its data, and valid=~mask")
    dtype, shape = probs.dtype, tuple(probs.shape)
    if arrays.dtype_name(dtype) not in ("float16", "bfloat16", "float32", "float64"):
        raise TypeError(f"probs must be float16, bfloat16, float32 or float64, found {dtype}")
    if len(shape) < 3:
        raise ValueError(f"probs must have shape (batch, class, *spatial), found {shape}")
    if any(n is None or n != n for n in shape):  # NaN in Dask; traced sizes may be symbols
        raise ValueError(f"probs must have a known shape, found {shape}")
    axis = check_class_axis(class_axis, len(shape))
    if 0 in shape[1:]:
        raise ValueError(f"probs must have at least one class and one pixel, found shape {shape}")
    xp, pixels = array_namespace(probs), shape[:axis] + shape[axis:][1:]
    if valid is not None:
        valid = _check_valid(xp, valid, pixels)
    if shape[0] == 0:  # nothing to compute, so any array will do
        probs = np.zeros(shape, np.float32)
        valid = None if valid is None else np.zeros(pixels, bool)
    probs = arrays.to_numpy_view(probs)
    probs = array_namespace(probs).moveaxis(probs, axis, 1)
    source = ProbabilityMap(probs, valid, clip=arrays.kind_of(probs) == "traced")
    if source.kind in ("host", "device"):
        check_values(source)
    return source


def check_class_axis(axis: Any, ndim: int | None = None) -> int:
    """Return the class axis, which is any but the first; not negative where `ndim` is known."""
    if not _is_int(axis):
        raise TypeError(f"class_axis must be an int, found {axis!r}")
    if axis == 0 or (ndim is not None and not -ndim < axis < ndim):
        bounds = "" if ndim is None else f" of [{1 - ndim}, {ndim})"
        raise ValueError(
            f"class_axis must be an axis{bounds} other than the batch axis 0, found {axis}"
        )
    return int(axis) if ndim is None else int(axis) % ndim


def check_values(source: ProbabilityMap) -> None:
    """Refuse values outside [0, 1]; have those clipped that are outside by rounding only."""
    tolerance = 5e-7
    if source.probs.dtype != source.dtype:  # half precision: 4 units in the last place of 1
        tolerance = 2.0**-8 if arrays.dtype_name(source.probs.dtype) == "float16" else 2.0**-5
    low, high, mass = source.summary
    if not all(np.all(np.isfinite(part)) for part in (low, high, mass)):
        raise ValueError("probs must be finite, found NaN or infinity")
    lowest, highest = np.min(low, initial=0), np.max(high, initial=0)
    if lowest < -tolerance or highest > 1 + tolerance:
        found = lowest if lowest < -tolerance else highest
        raise ValueError(
            f"probs must be in [0, 1], found {found:.9g}; logits need a softmax or sigmoid first"
        )
    if lowest < 0 or highest > 1:
        source.clip = True
        del source.summary


def _check_valid(xp: arrays.Namespace, valid: Array, shape: tuple[int, ...]) -> Array:
    if not arrays.is_array(valid):
        raise TypeError(f"valid must be a boolean array, found {type(valid).__name__}")
    if not array_namespace(valid).isdtype(valid.dtype, "bool"):
        raise TypeError(f"valid must have a boolean dtype, found {valid.dtype}")
    if tuple(valid.shape) != shape:
        raise ValueError(
            f"valid must have shape (batch, *spatial) = {shape}, found {tuple(valid.shape)}"
        )
    return arrays.to_numpy_view(xp.asarray(valid))
