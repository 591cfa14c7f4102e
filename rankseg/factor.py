r"""Pixels that are not independent: one common factor a row, and probabilities given the factor.

With Z standard normal and correlation rho in [0, 1), a pixel of probability p is positive, given
Z = z, with probability (the one-factor Gaussian copula: Vasicek, RISK 15(12), 2002)

    f(p, z) = Phi((Phi^-1(p) + sqrt(rho) z) / sqrt(1 - rho)),      E f(p, Z) = p,

independently of the other pixels. A mean over Z is a weighted sum over `nodes`, which lie at equal
distances in z: marginals of p >= 1e-6 then hold within 0.13 % for rho = 0.5, 0.6 % for 0.85; nodes
in the middle of equal parts of probability lose 35 % and 93 % of p = 1e-3. rho = 0 is one node, at
which f(p, z) = p. rho = 1 has no nodes: the object is {p > U} with U uniform.

A row enters by the number of its pixels in each of `BINS` bins: the exponent and the first seven
bits of the mantissa of p, in float32 and float64 alike, so that all libraries count the same. Zero
and values below 2^-24 are the first bin, and one is the last. Where in its bin a pixel lies is a
fraction of the bin's width, of which sums can be taken too: a row's sums of f are then right to the
second order of that width.
"""

from collections.abc import Iterator
from functools import lru_cache
from math import erfc, sqrt
from typing import NamedTuple

import numpy as np

from . import arrays, histograms

LARGEST = 0.95
"""Largest correlation below 1: at 0.99 even 64 nodes are too far apart."""

REACH = 5.5
"""Outermost nodes, in standard deviations."""

BINNING = histograms.Binning(octaves=24, mantissa=7, fraction=16)
"""Bins of at most 2^-7 of their p, down to 2^-24."""

ROUGH = BINNING._replace(fraction=3)
"""The same for rows of many pixels, where eighths of a bin are enough; one count has them."""

BINS = BINNING.bins

MANY_VALUES = 4096
"""Values of one row from which on f is read from the table: Phi of each takes 5 microseconds."""

_erfc = np.vectorize(erfc, otypes=[float])


def _frozen(x: np.ndarray) -> np.ndarray:
    x.flags.writeable = False
    return x


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
    """Return the nodes of a correlation in [0, 0.95], one alone for 0."""
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


def given_factor(p: np.ndarray, rho: float) -> Iterator[tuple[float, np.ndarray]]:
    """Yield the weight of each node, and the probabilities of pixels there.

    Of many different values the probabilities come from `table`: the scores of rows of 300 pixels
    move by up to 2e-5 for rho = 0.5, 2e-4 for 0.95.
    """
    values, place = np.unique(p, return_inverse=True)
    place = place.reshape(p.shape)  # flat before NumPy 2.0
    if len(values) > MANY_VALUES:
        low, slope, _ = table(rho)
        b = bin_of(values)
        given = low[b] + slope[b] * fraction_of(values, b)[:, None]
    else:
        given = conditional(values, rho)
    for weight, column in zip(nodes(rho).weight.tolist(), given.T, strict=True):
        yield weight, column[place]


EDGES = _frozen(BINNING.edges)
"""Lowest value of each bin: bin b holds EDGES[b] <= p < EDGES[b + 1]. All are exact in float32."""

WIDTHS = _frozen(np.append(np.diff(EDGES), 1.0))
"""Width of each bin; that of the last, which holds the value 1 alone, is not used."""


class Table(NamedTuple):
    """f in each bin, to first order: ``low + slope * fraction``, arrays of shape (bin, node).

    `weight`, of shape (node,), makes means over the factor.
    """

    low: np.ndarray
    slope: np.ndarray
    weight: np.ndarray


@lru_cache(maxsize=16)
def table(rho: float) -> Table:
    """Return f in each bin for a correlation in [0, 0.95], or 1. The first bin counts as 0."""
    low, slope, weight = _levels() if rho == 1 else _lines(rho)
    low[0], slope[0] = 0.0, 0.0
    low[-1], slope[-1] = 1.0, 0.0
    return Table(_frozen(low), _frozen(slope), weight)


def _lines(rho: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # Lines that meet f at the middle of each bin.
    quarters = [conditional(EDGES + part * WIDTHS, rho) for part in (0.25, 0.5, 0.75)]
    slope = 2 * (quarters[2] - quarters[0])
    return quarters[1] - slope / 2, slope, nodes(rho).weight


def _levels() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # A node is U within some bins. A pixel of one of these bins is above U with this probability.
    octave = 2**BINNING.mantissa
    top = BINS - 1
    starts = np.concatenate(
        [
            [0],
            np.arange(1, top - 8 * octave, octave // 2),
            np.arange(top - 8 * octave, top - 4 * octave, 4),
            np.arange(top - 4 * octave, top + 1),
        ]
    )
    bottom, weight = EDGES[starts[:-1]], np.diff(EDGES[starts])
    below = [np.clip((p[:, None] - bottom) / weight, 0, 1) for p in (EDGES, EDGES + WIDTHS)]
    return below[0], below[1] - below[0], _frozen(weight)


def bin_of(p: np.ndarray) -> np.ndarray:
    """Return the bin of each float32 or float64 value in [0, 1], as integers."""
    return histograms.bins_of(arrays.numpy_namespace(), p, BINNING)[0]


def fraction_of(p: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return where in its bin each value lies, in [0, 1), in float64."""
    return (p - EDGES[b]) / WIDTHS[b]


def threshold_of(b: np.ndarray, dtype: type) -> np.ndarray:
    """Return the largest value of a dtype below a bin: ``p > threshold`` takes the bin and above.

    That of bin `BINS`, which is none, is infinite.
    """
    low = np.append(EDGES, np.inf)[b].astype(dtype)
    return np.where(b >= BINS, low, np.nextafter(low, dtype(-1)))
