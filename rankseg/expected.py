"""The expected Dice and IoU of a given mask: how good a segmentation is likely to be."""

from collections.abc import Sequence

import numpy as np
from array_api_compat import array_namespace

from . import arrays, factor
from .arrays import Array
from .maps import ProbabilityMap
from .objectives import Dice, IoU, Objective
from .opening import open_rows, settled
from .rows import BlockRows, Rows
from .settings import Settings, check_length, each_correlation
from .solvers import exact
from .validation import choice, number

METHODS = ("exact", "rma")


def expected_dice(
    probs: Array,
    mask: Array,
    smooth: float = 0.0,
    method: str = "exact",
    *,
    correlation: float | Sequence[float] = Settings.correlation,
) -> Array:
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
    correlation : float or sequence of float, default 0.0
        Correlation of the pixels of a class, in [0, 0.95] or 1; one value or one for each class.
        The score is then the mean, over the factor that the pixels of a row have in common, of the
        score for independent pixels (`rankseg.factor`). Each row is copied to the host.

    Returns
    -------
    array, shape (batch, class)
        Expected scores, of the library and on the device of `probs`; Dask arrays are read.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, shape or value.
    NotImplementedError
        For "exact", or a correlation, inside ``jax.jit``.

    Examples
    --------
    >>> import numpy as np
    >>> from rankseg.metrics import expected_dice
    >>> probs = np.array([[[0.9, 0.8, 0.4, 0.1]]])
    >>> expected_dice(probs, probs > 0.5).round(3)
    array([[0.802]])
    """
    objective = Dice(number("smooth", smooth, 0, float("inf")))
    return _expected(probs, mask, objective, method, correlation)


def expected_iou(
    probs: Array,
    mask: Array,
    smooth: float = 0.0,
    method: str = "exact",
    *,
    correlation: float | Sequence[float] = Settings.correlation,
) -> Array:
    """Return the expected IoU of a mask, per sample and class.

    Parameters
    ----------
    probs, mask, smooth, method, correlation
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
    objective = IoU(number("smooth", smooth, 0, float("inf")))
    return _expected(probs, mask, objective, method, correlation)


@arrays.on_its_device
def _expected(
    probs: Array,
    mask: Array,
    objective: Objective,
    method: str,
    correlation: float | Sequence[float],
) -> Array:
    method = choice("method", method, METHODS)
    rho = each_correlation(correlation)
    rows = open_rows(probs)
    check_length("correlation", rho, rows.shape[1])
    _check_mask(mask, rows)
    rows = settled(rows)
    mask = arrays.to_numpy_view(arrays.beside(mask, probs))
    if np.any(rho):
        score = _correlated_scores(rows, mask, objective, method, np.broadcast_to(rho, rows.shape))
    elif method == "exact":
        score = _exact_scores(rows, mask, objective)
    else:
        score = _rma_scores(rows, mask, objective)
    return arrays.from_numpy(score, like=probs)


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
        inside = _host_mask(rows, mask, b, c)
        score[b, c] = exact.score_of(rows.host_row((b, c)), inside, objective)
    return score


def _host_mask(rows: Rows, mask: Array, b: int, c: int) -> np.ndarray:
    (inside,) = arrays.read_values(_mask_of(mask, c, len(rows.source.spatial) + 2)[b, ...])
    return np.asarray(inside)


def _correlated_scores(
    rows: Rows, mask: Array, objective: Objective, method: str, rho: np.ndarray
) -> np.ndarray:
    rows.require_values("correlation", "correlation=0")
    score = np.empty(rows.shape)
    for b, c in np.ndindex(score.shape):
        (p,) = arrays.read_values(rows.source.row_map(b, c).read(...))
        p, inside = p[0, 0].astype(float), _host_mask(rows, mask, b, c)
        if rho[b, c] == 1:
            score[b, c] = _score_of_levels(p, inside, objective, method)
        else:
            score[b, c] = sum(
                weight * _score_of_independent(given, inside, objective, method)
                for weight, given in factor.given_factor(p, float(rho[b, c]))
            )
    return score


def _score_of_independent(
    p: np.ndarray, inside: np.ndarray, objective: Objective, method: str
) -> float:
    if method == "rma":
        return float(objective.score(inside.sum(), p[inside].sum(), p.sum()))
    row = BlockRows(ProbabilityMap(p[None, None])).host_row((0, 0))
    return exact.score_of(row, inside, objective)


def _score_of_levels(p: np.ndarray, inside: np.ndarray, objective: Objective, method: str) -> float:
    """Return the score where the object is {p > U} for one uniform U: known given U."""
    levels, place = np.unique(p, return_inverse=True)
    place = place.reshape(-1)
    weight = np.diff(levels, prepend=0.0)  # of U between the level below and this one
    mass, overlap = (
        np.cumsum(np.bincount(place[chosen], minlength=len(levels))[::-1])[::-1]
        for chosen in (..., inside.reshape(-1))
    )
    if method == "rma":
        scores = objective.score(inside.sum(), overlap, mass)
    else:
        scores = objective.score_of_known(inside.sum(), overlap, mass)
    nothing = objective.score_of_known(inside.sum(), 0, 0)  # U above the largest level
    return float(np.sum(weight * scores) + (1 - levels[-1]) * nothing)


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
