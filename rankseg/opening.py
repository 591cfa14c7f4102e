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
    return array_namespace(probs).moveaxis(probs, axis, 1), valid


def tolerance(dtype: str) -> float:
    """Return how far outside [0, 1] rounding may bring a value of this dtype."""
    # Half precision: 4 units in the last place of 1. The bits of bfloat16 may come as int16.
    return {"float16": 2.0**-8, "bfloat16": 2.0**-5, "int16": 2.0**-5}.get(dtype, 5e-7)


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
    beyond = tolerance(arrays.dtype_name(source.probs.dtype))
    low, high, mass = rows.summary
    if not all(np.all(np.isfinite(part)) for part in (low, high, mass)):
        raise ValueError("probs must be finite, found NaN or infinity")
    lowest, highest = np.min(low, initial=0), np.max(high, initial=0)
    if lowest < -beyond or highest > 1 + beyond:
        found = lowest if lowest < -beyond else highest
        raise ValueError(
            f"probs must be in [0, 1], found {found:.9g}; logits need a softmax or sigmoid first"
        )
    return rows_of(source.clipped()) if lowest < 0 or highest > 1 else rows


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
