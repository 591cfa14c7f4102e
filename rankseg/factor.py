r"""Pixels that are not independent: one common factor a row, and probabilities given the factor.

With Z standard normal and correlation rho in [0, 1), a pixel of probability p is positive, given
Z = z, with probability (the one-factor Gaussian copula: Vasicek, RISK 15(12), 2002)

    f(p, z) = Phi((Phi^-1(p) + sqrt(rho) z) / sqrt(1 - rho)),      E f(p, Z) = p,

independently of the other pixels. A mean over Z is a weighted sum over `nodes`, which lie at equal
distances in z: marginals of p >= 1e-6 then hold within 0.13 % for rho = 0.5 and 0.6 % for 0.85; nodes
in the middle of equal parts of probability lose 35 % and 93 % of p = 1e-3. rho = 0 is one node, at
which f(p, z) = p. rho = 1 has no nodes: the object is {p > U} with U uniform, and `levels` stand
in their place.

A row enters by the number of its pixels in each of `BINS` bins: the exponent and the first seven
bits of the mantissa of p, in float32 and float64 alike, so that all libraries count the same. Zero
and values below 2^-16 are the first bin, and one is the last.
"""

from functools import lru_cache
from math import erfc, sqrt
from typing import NamedTuple

import numpy as np

LARGEST = 0.95
"""Largest correlation below 1: at 0.99 even 64 nodes are too far apart."""

REACH = 5.5
"""Outermost nodes, in standard deviations."""

MANTISSA = 7
"""Bits of the mantissa that tell bins apart: a bin is at most 2^-7 of its p wide."""

OCTAVES = 16
"""Factors of two below one that have bins of their own."""

BINS = OCTAVES * 2**MANTISSA + 2

_erfc = np.vectorize(erfc, otypes=[float])


class Nodes(NamedTuple):
    """Values of the factor, and their weights, which sum to 1: two arrays of shape (node,)."""

    z: np.ndarray
    weight: np.ndarray


def normal_cdf(x: np.ndarray) -> np.ndarray:
    """Return Phi(x), to 1e-14 of its value, in both tails of the smaller of Phi and 1 - Phi."""
    return _erfc(np.asarray(x, float) / -sqrt(2)) / 2


def normal_ppf(p: np.ndarray) -> np.ndarray:
    """Return Phi^-1(p), to 1e-13 of its value or of 1; -inf for 0 and inf for 1.

    Newton's iteration for log Phi(x) = log p with p <= 1/2. Phi(-t) <= exp(-t^2 / 2) / 2 gives a
    start at or below the solution, and as log Phi is concave every step stays there.
    """
    p = np.asarray(p, float)
    tail = np.minimum(p, 1 - p)
    inside = np.clip(tail, 1e-300, 0.5)
    x = -np.sqrt(-2 * np.log(2 * inside))
    for _ in range(6):  # at 1e-300 six are needed, at 1e-5 four
        below = normal_cdf(x)
        density = np.exp(-np.square(x) / 2) / sqrt(2 * np.pi)
        x = x - np.log(below / inside) * below / density
    x = np.where(tail <= 0, -np.inf, x)
    return np.where(p > 0.5, -x, x)


@lru_cache
def nodes(rho: float) -> Nodes:
    """Return the nodes of a correlation in [0, 0.95]."""
    if not 0 <= rho <= LARGEST:
        raise ValueError(f"rho must be in [0, {LARGEST}] to have nodes, found {rho}")
    count = 1 if rho == 0 else 32 if rho <= 0.85 else 64
    z = np.linspace(-REACH, REACH, count) if count > 1 else np.zeros(1)
    weight = np.exp(-np.square(z) / 2)
    return Nodes(*map(_frozen, (z, weight / weight.sum())))


def conditional(p: np.ndarray, rho: float) -> np.ndarray:
    """Return f(p, z) at the nodes of a correlation: the shape of `p`, then nodes."""
    p = np.asarray(p, float)[..., None]
    if rho == 0:
        return p
    return normal_cdf((normal_ppf(p) + sqrt(rho) * nodes(rho).z) / sqrt(1 - rho))


def _frozen(x: np.ndarray) -> np.ndarray:
    x.flags.writeable = False
    return x


def _edges() -> np.ndarray:
    steps = 1 + np.arange(2**MANTISSA) / 2**MANTISSA
    octaves = 2.0 ** np.arange(-OCTAVES, 0)
    return np.concatenate([[0.0], (octaves[:, None] * steps).reshape(-1), [1.0]])


EDGES = _frozen(_edges())
"""Lowest value of each bin: bin b holds EDGES[b] <= p < EDGES[b + 1]. All are exact in float32."""

CENTRES = _frozen(np.append((EDGES[:-1] + EDGES[1:]) / 2, 1.0))
"""The probability that stands for each bin. Of the first, a row's own mean is better."""


@lru_cache(maxsize=16)
def table(rho: float) -> np.ndarray:
    """Return f at the centre of each bin: (bin, node)."""
    return _frozen(conditional(CENTRES, rho))


@lru_cache
def levels() -> np.ndarray:
    """Return how probable it is that U of rho = 1 falls into each bin: (bin,)."""
    return _frozen(np.append(np.diff(EDGES), 0.0))


def bin_of(p: np.ndarray) -> np.ndarray:
    """Return the bin of each float32 or float64 value in [0, 1]: int32 or int64."""
    single = p.dtype == np.float32
    bits = p.view(np.int32 if single else np.int64)
    bias, mantissa = (127, 23) if single else (1023, 52)
    first = (bias - OCTAVES) << MANTISSA
    return np.maximum((bits >> (mantissa - MANTISSA)) - (first - 1), 0)


def threshold_of(b: np.ndarray, dtype: type) -> np.ndarray:
    """Return the largest value of a dtype below a bin: ``p > threshold`` takes the bin and above.

    That of bin `BINS`, which is none, is infinite.
    """
    low = np.append(EDGES, np.inf)[b].astype(dtype)
    return np.where(b >= BINS, low, np.nextafter(low, dtype(-1)))
