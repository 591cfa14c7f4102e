"""Arrays of probabilities: checked, and opened as rows."""

import numpy as np
from array_api_compat import array_namespace

from . import arrays
from .arrays import Array
from .correction import Correction
from .maps import ProbabilityMap
from .rows import Rows, rows_of
from .validation import check_class_axis


def accept(probs: Array, class_axis: int, valid: Array | None) -> tuple[Array, Array | None]:
    """Check what needs no values, and return probabilities with classes on axis 1, and `valid`."""
    if not arrays.is_array(probs):
        raise TypeError(
            f"probs must be an array (NumPy, PyTorch, CuPy, JAX, ...), found {type(probs).__name__}"
        )
    if isinstance(probs, np.ma.MaskedArray):
        raise TypeError("probs must not be a masked array: pass its data, and valid=~mask")
    _check_kind("probs", probs)
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
    pixels = shape[:axis] + shape[axis:][1:]
    if valid is not None:
        valid = _check_valid(probs, valid, pixels)
    if shape[0] == 0:  # nothing to compute, so any array will do
        probs = np.zeros(shape, np.float32)
        valid = None if valid is None else np.zeros(pixels, bool)
    probs = arrays.to_numpy_view(probs)
    return arrays.move_axis(probs, axis, 1), valid


def tolerance(dtype: str, classes: int) -> float:
    """Return how far beyond 0 and 1 the sums of merged classes or of windows may be.

    1000 softmax classes added one by one in float32 are off by 3e-6, 150 in float16 by 5 eps.
    """
    # The bits of bfloat16 may come as int16.
    eps = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "int16": 2.0**-7}.get(dtype)
    return 1e-5 if eps is None else min(eps * max(classes, 8), 0.1)


def open_rows(
    probs: Array,
    class_axis: int = 1,
    valid: Array | None = None,
    correction: Correction | None = None,
) -> Rows:
    """Check probabilities and return the rows to work on, with classes on axis 1.

    Values are checked from the sums that every solver needs: at once, for a lazy array where it
    is first read (`settled`, or here if it is to be corrected), and not at all inside a trace,
    where values outside [0, 1] are clipped.
    """
    probs, valid = accept(probs, class_axis, valid)
    rows = rows_of(ProbabilityMap(probs, valid))
    if correction is not None:
        return rows_of(_checked(rows).source.corrected(correction))
    return rows if rows.reads == "later" else _checked(rows)


def settled(rows: Rows) -> Rows:
    """Check the values of a lazy array; those of any other are checked already."""
    return _checked(rows) if rows.reads == "later" else rows


def _checked(rows: Rows) -> Rows:
    """Refuse values outside [0, 1], and return rows clipped that are so by rounding only."""
    if rows.reads == "never":
        return rows
    source = rows.source
    beyond = tolerance(arrays.dtype_name(source.probs.dtype), source.classes)
    low, high, mass = rows.summary
    if not all(np.all(np.isfinite(part)) for part in (low, high, mass)):
        raise ValueError("probs must be finite, found NaN or infinity")
    lowest, highest = np.min(low, initial=0), np.max(high, initial=0)
    if lowest < -beyond or highest > 1 + beyond:
        found = lowest if lowest < -beyond else highest
        far = lowest < -0.1 or highest > 1.1  # further than any sum of probabilities is off
        hint = "; logits need a softmax or sigmoid first" if far else ""
        raise ValueError(f"probs must be in [0, 1], found {found:.9g}{hint}")
    return rows.clipped() if lowest < 0 or highest > 1 else rows


def _check_kind(name: str, x: Array) -> None:
    kind = arrays.kind_without_values(x)
    if kind is not None:
        raise TypeError(f"{name} must be a plain tensor with values, found {kind}")


def _check_valid(probs: Array, valid: Array, shape: tuple[int, ...]) -> Array:
    if not arrays.is_array(valid):
        raise TypeError(f"valid must be a boolean array, found {type(valid).__name__}")
    _check_kind("valid", valid)
    if not array_namespace(valid).isdtype(valid.dtype, "bool"):
        raise TypeError(f"valid must have a boolean dtype, found {valid.dtype}")
    if tuple(valid.shape) != shape:
        raise ValueError(
            f"valid must have shape (batch, *spatial) = {shape}, found {tuple(valid.shape)}"
        )
    return arrays.to_numpy_view(arrays.beside(valid, probs))
