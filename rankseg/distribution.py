"""The refined normal approximation of the Poisson-binomial distribution.

The number of positives among independent pixels has mean mu, variance sigma^2 and skewness; its
distribution function is close to (Volkova, Theory Probab. Appl. 40, 1996)

    F(k) = G((k + 1/2 - mu) / sigma),   G(x) = Phi(x) + skew (1 - x^2) phi(x) / 6,

clipped to [0, 1]. The array API standard has no error function: it is evaluated on the host.
"""

from math import erf, pi, sqrt
from numbers import Real
from typing import Any

import numpy as np

from . import arrays
from .arrays import Array
from .validation import number

_erf = np.vectorize(erf, otypes=[float])
REACH = 40.0
"""Largest distance from the mean, in standard deviations, at which a quantile is looked for."""

SECTIONS = 32
"""Parts into which a step of that search cuts its interval."""

STEPS = 10
"""Most steps: an interval of 2 REACH / SECTIONS^STEPS is 7e-14; with 8 quantiles err by 4e-11."""


def refined_cdf(x: np.ndarray, skew: np.ndarray) -> np.ndarray:
    """Return G(x), clipped to [0, 1], in float64."""
    density = np.exp(-np.square(x) / 2) / sqrt(2 * pi)
    return np.clip((1 + _erf(x / sqrt(2))) / 2 + skew * (1 - np.square(x)) * density / 6, 0, 1)


def refined_ppf(q: np.ndarray, skew: np.ndarray, width: float = 0.0) -> np.ndarray:
    """Return x with G(x) = q, narrowed down to a width or until no float lies in between."""
    q, skew = np.broadcast_arrays(np.asarray(q, float), np.asarray(skew, float))
    low, high = np.full(q.shape, -REACH), np.full(q.shape, REACH)
    for _ in range(STEPS):
        points = low[..., None] + (high - low)[..., None] * np.linspace(0, 1, SECTIONS + 1)
        below = refined_cdf(points, skew[..., None]) < q[..., None]
        section = np.clip(np.count_nonzero(below, axis=-1, keepdims=True) - 1, 0, SECTIONS - 1)
        low = np.take_along_axis(points, section, axis=-1)[..., 0]
        high = np.take_along_axis(points, section + 1, axis=-1)[..., 0]
        if np.all(high - low <= width):
            break
    return np.where(q <= 0, -np.inf, np.where(q >= 1, np.inf, (low + high) / 2))


class RefinedNormal:
    """The standardised distribution G, with a skewness correction.

    Examples
    --------
    >>> from rankseg.distribution import RefinedNormal
    >>> normal = RefinedNormal()
    >>> float(normal.cdf(0.0, skew=0.0))
    0.5
    >>> float(normal.ppf(normal.cdf(1.5, skew=0.2), skew=0.2).round(12))
    1.5
    """

    def cdf(self, x: Any, skew: Any) -> np.ndarray:
        """Return G(x), clipped to [0, 1]."""
        return refined_cdf(np.asarray(x, float), _finite("skew", skew))

    def ppf(self, q: Any, skew: Any) -> np.ndarray:
        """Return x with G(x) = q for q in [0, 1]; infinite at both ends."""
        return refined_ppf(_probability("q", q), _finite("skew", skew))

    def interval(self, confidence: Any, skew: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of the central interval of this probability."""
        tail = (1 - _probability("confidence", confidence)) / 2
        return self.ppf(tail, skew), self.ppf(1 - tail, skew)


class RefinedNormalPB:
    """The refined normal approximation of a Poisson-binomial distribution.

    Parameters
    ----------
    dim : int or array
        Number of pixels, the upper end of the support.
    loc, scale, skew : float or array
        Mean, standard deviation (> 0) and skewness of the number of positives. Broadcast with
        `dim` to the batch shape.
    validate_args : bool, optional
        False skips the checks of the parameters.

    Raises
    ------
    TypeError
        If a parameter is not real.
    ValueError
        If a parameter is not finite, `dim` not a non-negative integer or `scale` not positive.

    Notes
    -----
    Methods take and return arrays of the library of their argument. An argument with more axes
    than the batch shape has values of one batch member along the further, last axes.

    Examples
    --------
    >>> import numpy as np
    >>> from rankseg.distribution import RefinedNormalPB
    >>> positives = RefinedNormalPB(dim=10, loc=5.0, scale=1.5, skew=0.0)
    >>> positives.pmf(np.arange(4.0, 7.0)).round(4)
    array([0.2108, 0.2611, 0.2108])
    >>> positives.interval(0.05)
    (array(1, dtype=int32), array(8, dtype=int32))
    """

    def __init__(
        self, dim: Any, loc: Any, scale: Any, skew: Any, validate_args: bool | None = None
    ) -> None:
        parts = [_on_host(part) for part in (dim, loc, scale, skew)]
        if validate_args is None or validate_args:
            for name, part in zip(("dim", "loc", "scale", "skew"), parts, strict=True):
                _finite(name, part)
            if np.any(parts[0] < 0) or np.any(parts[0] % 1 != 0):
                raise ValueError(f"dim must be a non-negative integer, found {dim!r}")
            if np.any(parts[2] <= 0):
                raise ValueError(f"scale must be positive, found {scale!r}")
        self.dim, self.loc, self.scale, self.skew = np.broadcast_arrays(
            *(np.asarray(part, float) for part in parts)
        )

    def cdf(self, value: Array) -> Array:
        """Return P(X <= value)."""
        return self._evaluate(self._cdf, value)

    def pmf(self, value: Array) -> Array:
        """Return F(value) - F(value - 1), clipped to [0, 1]."""
        return self._evaluate(lambda k: np.clip(self._cdf(k) - self._cdf(k - 1), 0, 1), value)

    def pdf(self, value: Array) -> Array:
        """Return phi(x) (1 + skew (x^3 - 3 x) / 6) / sigma, clipped to be non-negative."""

        def density(k: np.ndarray) -> np.ndarray:
            loc, scale, skew = self._parameters(k)
            x = (k + 0.5 - loc) / scale
            normal = np.exp(-np.square(x) / 2) / sqrt(2 * pi)
            return np.clip(normal * (1 + skew * (x**3 - 3 * x) / 6) / scale, 0, None)

        return self._evaluate(density, value)

    def icdf(self, p: Array, max_iter: int = 1000, tol: float = 1e-6) -> Array:
        """Return k with F(k) = p, for p in (0, 1).

        Parameters
        ----------
        p : array
            Probabilities strictly between 0 and 1.
        max_iter : int
            Accepted as in other packages; the search needs no more than `STEPS` steps.
        tol : float
            Width of the last interval, in units of k.

        Raises
        ------
        TypeError
            If `p` is not a floating array, or an option has the wrong type.
        ValueError
            If `p` is empty or outside (0, 1), or an option is not positive.
        """
        if not arrays.is_array(p) or _on_host(p).dtype.kind != "f":
            raise TypeError(f"p must be an array of real floating dtype, found {p!r}")
        host = _finite("p", p)
        if host.size == 0 or np.any((host <= 0) | (host >= 1)):
            raise ValueError("p must not be empty, and in (0, 1)")
        if isinstance(max_iter, bool) or not isinstance(max_iter, int):
            raise TypeError(f"max_iter must be an int, found {max_iter!r}")
        if max_iter <= 0 or number("tol", tol, 0, float("inf")) == 0:
            raise ValueError(f"max_iter and tol must be positive, found {max_iter} and {tol}")

        def quantile(p: np.ndarray) -> np.ndarray:
            loc, scale, skew = self._parameters(p)
            return loc - 0.5 + scale * refined_ppf(p, skew, float(tol / np.max(scale)))

        return self._evaluate(quantile, p)

    def interval(self, p: Any) -> tuple[Array, Array]:
        """Return integers [lower, upper] that hold 1 - p of the probability, within [0, dim].

        The lower end is floor - 1 and the upper ceil of the real interval; int32 of the batch
        shape, in NumPy or the library of `p`.
        """
        tail, skew = np.broadcast_arrays(_probability("p", p) / 2, self.skew)
        low, high = refined_ppf(np.stack([tail, 1 - tail]), skew, width=1e-9)
        lower = np.clip(np.floor(self.scale * low + self.loc) - 1, 0, self.dim)
        upper = np.clip(np.ceil(self.scale * high + self.loc), 0, self.dim)
        pair = (np.asarray(lower, np.int32), np.asarray(upper, np.int32))
        if arrays.is_array(p):
            return arrays.from_numpy(pair[0], like=p), arrays.from_numpy(pair[1], like=p)
        return pair

    def _parameters(self, value: np.ndarray) -> list[np.ndarray]:
        missing = max(0, value.ndim - self.loc.ndim)
        parts = (self.loc, self.scale, self.skew)
        return [part.reshape(part.shape + (1,) * missing) for part in parts]

    def _cdf(self, value: np.ndarray) -> np.ndarray:
        loc, scale, skew = self._parameters(value)
        return refined_cdf((value + 0.5 - loc) / scale, skew)

    def _evaluate(self, function: Any, value: Array) -> Array:
        host = _on_host(value)
        result = function(host.astype(float))
        if not arrays.is_array(value):
            return result
        dtype = host.dtype if host.dtype.kind == "f" else np.dtype(float)
        return arrays.from_numpy(result.astype(dtype), like=value)


def _on_host(value: Any) -> np.ndarray:
    if arrays.is_array(value):
        (value,) = arrays.read_values(arrays.to_numpy_view(value))
    elif isinstance(value, bool) or not isinstance(value, Real | list | tuple):
        raise TypeError(f"expected real numbers, found {value!r}")
    return np.asarray(value)


def _finite(name: str, value: Any) -> np.ndarray:
    host = _on_host(value)
    if host.dtype.kind not in "fiu":
        raise TypeError(f"{name} must hold real numbers, found dtype {host.dtype}")
    if not np.all(np.isfinite(host)):
        raise ValueError(f"{name} must be finite, found {value!r}")
    return host.astype(float) if host.dtype.kind != "f" else host


def _probability(name: str, value: Any) -> np.ndarray:
    host = _finite(name, value)
    if host.size == 0 or np.any((host < 0) | (host > 1)):
        raise ValueError(f"{name} must not be empty, and in [0, 1], found {value!r}")
    return host
