"""The expected Dice and IoU of a given mask: how good a segmentation is likely to be."""

from array_api_compat import array_namespace

from rankseg import arrays
from rankseg.arrays import Array
from rankseg.maps import ProbabilityMap
from rankseg.objectives import Dice, IoU, Objective
from rankseg.validation import check_values, number, open_map


def expected_dice(probs: Array, mask: Array, smooth: float = 0.0) -> Array:
    """Return the expected Dice of a mask, per sample and class, in RMA's approximation.

    Parameters
    ----------
    probs : array, shape (batch, class, *spatial)
        Probabilities in [0, 1].
    mask : array
        Boolean masks of the shape of `probs`, or integer labels of shape (batch, *spatial), which
        stand for one mask a class; values outside [0, class) belong to none.
    smooth : float, default 0.0
        Constant s >= 0 that Dice adds to numerator and denominator.

    Returns
    -------
    array, shape (batch, class)
        ``2 S / (mu + n + 1 + s) + s / (mu + n + s)`` with n the pixels in the mask, S their sum
        of probabilities and mu the sum of all (Wang & Dai, NeurIPS 2025). For s = 0 it is a lower
        bound of the expectation over independent pixels. In the library and on the device of
        `probs`; Dask arrays are read.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, shape or value.

    Examples
    --------
    >>> import numpy as np
    >>> from rankseg.metrics import expected_dice
    >>> probs = np.array([[[0.9, 0.8, 0.4, 0.1]]])
    >>> expected_dice(probs, probs > 0.5).round(3)
    array([[0.654]])
    """
    return _expected(probs, mask, Dice(number("smooth", smooth, 0, float("inf"))))


def expected_iou(probs: Array, mask: Array, smooth: float = 0.0) -> Array:
    """Return the expected IoU of a mask, per sample and class, in RMA's approximation.

    Parameters
    ----------
    probs, mask, smooth
        As for `expected_dice`.

    Returns
    -------
    array, shape (batch, class)
        ``(S + s) / (mu - S + n + s)``, as for `expected_dice`.

    Raises
    ------
    TypeError, ValueError
        As for `expected_dice`.

    Examples
    --------
    >>> import numpy as np
    >>> from rankseg.metrics import expected_iou
    >>> probs = np.array([[[0.9, 0.8, 0.4, 0.1]]])
    >>> expected_iou(probs, probs > 0.5).round(3)
    array([[0.68]])
    """
    return _expected(probs, mask, IoU(number("smooth", smooth, 0, float("inf"))))


def _expected(probs: Array, mask: Array, objective: Objective) -> Array:
    source = open_map(probs)
    _check_mask(mask, source)
    if source.kind == "lazy":
        check_values(source)
    xp, ndim = source.xp, len(source.spatial)
    mask = arrays.to_numpy_view(mask)
    sizes, overlaps = [], []
    for c in range(source.classes):
        inside = mask[:, c, ...] if mask.ndim == source.probs.ndim else mask == c
        p = arrays.widen(xp, source.probs[:, c, ...])
        sizes.append(arrays.count(xp, inside, ndim))
        overlaps.append(arrays.total(xp, p, ndim, inside))
    size, overlap = arrays.read_values(xp.stack(sizes, axis=1), xp.stack(overlaps, axis=1))
    score = objective.score(size, overlap, source.summary.mass)
    return score if source.kind == "traced" else arrays.from_numpy(score, like=probs)


def _check_mask(mask: Array, source: ProbabilityMap) -> None:
    if not arrays.is_array(mask):
        raise TypeError(f"mask must be an array, found {type(mask).__name__}")
    xp, shape = array_namespace(mask), tuple(mask.shape)
    if xp.isdtype(mask.dtype, "bool"):
        allowed = (source.batch, source.classes, *source.spatial)
    elif xp.isdtype(mask.dtype, "integral"):
        allowed = (source.batch, *source.spatial)
    else:
        raise TypeError(f"mask must be boolean masks or integer labels, found {mask.dtype}")
    if shape != allowed:
        raise ValueError(f"mask of dtype {mask.dtype} must have shape {allowed}, found {shape}")
