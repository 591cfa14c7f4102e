"""The expected Dice and IoU of a given mask: how good a segmentation is likely to be."""

import numpy as np
from array_api_compat import array_namespace

from . import arrays
from .arrays import Array
from .objectives import Dice, IoU, Objective
from .opening import open_rows, settled
from .rows import Rows
from .solvers import exact
from .validation import choice, number

METHODS = ("exact", "rma")


def expected_dice(probs: Array, mask: Array, smooth: float = 0.0, method: str = "exact") -> Array:
    """Return the expected Dice of a mask, per sample and class.

    Parameters
    ----------
    probs : array, shape (batch, class, *spatial)
        Probabilities in [0, 1].
    mask : array
        Boolean masks of the shape of `probs`, or integer labels of shape (batch, *spatial), which
        stand for one mask a class; values outside [0, class) belong to none.
    smooth : float, default 0.0
        Constant s >= 0 that Dice adds to numerator and denominator.
    method : {"exact", "rma"}
        "exact" integrates the generating function and is right to about 1e-14 for independent
        pixels. "rma" is the approximation that RMA maximises, cheaper and never larger:
        ``2 S / (mu + n + 1 + s) + s / (mu + n + s)`` with n the pixels in the mask,
        S their sum of probabilities and mu the sum of all (Wang & Dai, NeurIPS 2025).

    Returns
    -------
    array, shape (batch, class)
        Expected scores, of the library and on the device of `probs`; Dask arrays are read.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, shape or value.
    NotImplementedError
        For "exact" inside ``jax.jit``.

    Examples
    --------
    >>> import numpy as np
    >>> from rankseg.metrics import expected_dice
    >>> probs = np.array([[[0.9, 0.8, 0.4, 0.1]]])
    >>> expected_dice(probs, probs > 0.5).round(3)
    array([[0.802]])
    """
    return _expected(probs, mask, Dice(number("smooth", smooth, 0, float("inf"))), method)


def expected_iou(probs: Array, mask: Array, smooth: float = 0.0, method: str = "exact") -> Array:
    """Return the expected IoU of a mask, per sample and class.

    Parameters
    ----------
    probs, mask, smooth, method
        As for `expected_dice`; "rma" is ``(S + s) / (mu - S + n + s)``.

    Returns
    -------
    array, shape (batch, class)
        As for `expected_dice`.

    Raises
    ------
    TypeError, ValueError, NotImplementedError
        As for `expected_dice`.

    Examples
    --------
    >>> import numpy as np
    >>> from rankseg.metrics import expected_iou
    >>> probs = np.array([[[0.9, 0.8, 0.4, 0.1]]])
    >>> expected_iou(probs, probs > 0.5).round(3)
    array([[0.714]])
    """
    return _expected(probs, mask, IoU(number("smooth", smooth, 0, float("inf"))), method)


@arrays.on_its_device
def _expected(probs: Array, mask: Array, objective: Objective, method: str) -> Array:
    method = choice("method", method, METHODS)
    rows = open_rows(probs)
    _check_mask(mask, rows)
    rows = settled(rows)
    compute = _exact_scores if method == "exact" else _rma_scores
    mask = arrays.to_numpy_view(arrays.beside(mask, probs))
    return arrays.from_numpy(compute(rows, mask, objective), like=probs)


def _mask_of(mask: Array, c: int, ndim: int) -> Array:
    return mask[:, c, ...] if mask.ndim == ndim else mask == c


def _rma_scores(rows: Rows, mask: Array, objective: Objective) -> Array:
    source, xp, ndim = rows.source, rows.source.xp, len(rows.source.spatial)
    sizes, overlaps = [], []
    for c in range(source.classes):
        inside = _mask_of(mask, c, ndim + 2)
        p = arrays.widen(xp, source.probs[:, c, ...])
        sizes.append(arrays.count(xp, inside, ndim))
        overlaps.append(arrays.total(xp, p, ndim, inside))
    size, overlap = arrays.read_sums(xp.stack(sizes, axis=1), xp.stack(overlaps, axis=1))
    return objective.score(size, overlap, rows.summary.mass)


def _exact_scores(rows: Rows, mask: Array, objective: Objective) -> np.ndarray:
    rows.require_values("method 'exact'", "method='rma'")
    score = np.empty(rows.shape)
    for b, c in np.ndindex(score.shape):
        (inside,) = arrays.read_values(_mask_of(mask, c, len(rows.source.spatial) + 2)[b, ...])
        score[b, c] = exact.score_of(rows.host_row((b, c)), np.asarray(inside), objective)
    return score


def _check_mask(mask: Array, rows: Rows) -> None:
    if not arrays.is_array(mask):
        raise TypeError(f"mask must be an array, found {type(mask).__name__}")
    xp, shape = array_namespace(mask), tuple(mask.shape)
    if xp.isdtype(mask.dtype, "bool"):
        allowed = (*rows.shape, *rows.source.spatial)
    elif xp.isdtype(mask.dtype, "integral"):
        allowed = (rows.shape[0], *rows.source.spatial)
    else:
        raise TypeError(f"mask must be boolean masks or integer labels, found {mask.dtype}")
    if shape != allowed:
        raise ValueError(f"mask of dtype {mask.dtype} must have shape {allowed}, found {shape}")
