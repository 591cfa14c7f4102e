r"""BA and TRNA: RankDice by the refined normal approximation (Dai & Li, JMLR 24(224), 2023).

Over the masks of the tau most probable pixels, with Gamma the number of positives and P its
refined normal cut to a central interval of probability 1 - eps and renormalised,

    TRNA, eq. 12:  omega(tau) = 2 sum_l w(l) / (tau + l + s + 1) + s sum_l P(l) / (tau + l + s),
                   w(l) = sum_{j <= tau} p_(j) P_-j(l)       (P_-j: without pixel j)
    BA,   eq. 13:  the same with w(l) = P(l) sum_{j <= tau} p_(j).

Two interpolations make them cheap. 1 / (l + a) is smooth in l, so a few Chebyshev nodes stand for
all of the interval. And P_-j depends on j only through p_(j), smoothly: omega needs P_q at a few
Chebyshev nodes q, and the cumulative sums of p_(j) L_q(p_(j)), with L_q the Lagrange weights.
"""

from dataclasses import dataclass
from math import ceil, inf, log, sqrt

import numpy as np

from ..arrays import Array
from ..distribution import RefinedNormalPB
from ..passes import Row
from ..rows import Rows
from .candidates import Candidates, Masks
from .rma import Solution

INTERPOLANTS = 6
"""Chebyshev nodes in p: scores err by 3e-14; with 5 by 3e-12, with 4 by 1e-11."""

DIRECT = 2**17
"""Distinct probabilities times interval below which every P_-j is evaluated.

Larger rows err by 1e-13 at most, with 2^15 by 4e-9; rows of 2 to 8 pixels would by up to 0.08.
"""

BLIND = 0.2
"""BA+TRNA is blind where 1 / sigma, Cohen's d, is below this."""


@dataclass(frozen=True)
class Positives:
    """Mean, variance and third central moment of the number of positives of a row of pixels."""

    pixels: int
    mean: Array
    variance: Array
    third: Array

    @classmethod
    def of(cls, masks: Candidates, pixels: int) -> "Positives":
        """Return the moments of a row with the pixels of the largest of these masks."""
        p, counts = masks.values, masks.counts
        variance = p * (1 - p)
        parts = (p, variance, variance * (1 - 2 * p))
        return cls(pixels, *(np.asarray(np.sum(counts * part)) for part in parts))

    def without(self, p: np.ndarray) -> "Positives":
        """Return the same without one pixel of each of these probabilities."""
        variance = p * (1 - p)
        return Positives(
            self.pixels - 1,
            self.mean - p,
            self.variance - variance,
            self.third - variance * (1 - 2 * p),
        )

    def approximation(self, floor: float) -> RefinedNormalPB:
        """Return the refined normal with these moments, and a variance of at least `floor`."""
        variance = np.maximum(self.variance, floor)
        return RefinedNormalPB(
            self.pixels, self.mean, np.sqrt(variance), self.third / variance**1.5
        )


def solve(rows: Rows, smooth: float, pruning_prob: Array, method: str, eps: float) -> Solution:
    """Find the threshold of every active row by "BA", "TRNA" or "BA+TRNA", row by row in NumPy."""
    rows.require_values(f"solver {method!r}", "solver='RMA'")
    summary = rows.summary
    active = summary.high > pruning_prob
    found = [np.full(active.shape, inf), *(np.zeros(active.shape) for _ in range(3))]
    for index in zip(*(axis.tolist() for axis in np.nonzero(active)), strict=True):
        masks, best = best_in_row(rows.host_row(index), smooth, method, eps)
        for part, value in zip(found, (*masks, best), strict=True):
            part[index] = value
    threshold, size, overlap, score = found
    return Solution(threshold, size, overlap, summary.mass, score, active)


def best_in_row(row: Row, smooth: float, method: str, eps: float) -> tuple[Masks, float]:
    """Return the best mask of a row, and its approximate expected score."""
    masks, losses = scored_masks(row, smooth, method, eps)
    best = int(np.argmin(losses))
    return (masks[best] if best else Masks(inf, 0.0, 0.0)), 1 - float(losses[best])


def scored_masks(row: Row, smooth: float, method: str, eps: float) -> tuple[Candidates, np.ndarray]:
    """Return the masks worth a look, the empty one first, and one minus their scores."""
    source = row.source
    masks = Candidates.of(row.positive(), 0.0, 0.0, 0.0)
    positives = Positives.of(masks, source.pixels)
    floor = float(np.finfo(np.float64 if source.is_double else np.float32).eps)
    masks = masks.between(0, _last_worth(masks, source.pixels, smooth))
    lower, upper = (int(end) for end in positives.approximation(floor).interval(eps))
    support = np.arange(lower, upper + 1)
    everything = _restricted(positives.approximation(floor), support)
    blind = method == "BA" or (
        method == "BA+TRNA" and 1 / sqrt(max(float(positives.variance), 1e-16)) < BLIND
    )
    if blind:
        hits = _blind_hits(masks, support, everything, smooth)
    elif len(masks.values) * len(support) <= DIRECT:
        hits = _direct_hits(masks, support, positives, floor, smooth)
    else:
        hits = _interpolated_hits(masks, support, positives, floor, smooth)
    return masks, _misses(masks, support, everything, smooth) - 2 * hits


def chebyshev(x: np.ndarray, low: float, high: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return Chebyshev nodes of [low, high], and the Lagrange weights (x, node) of points x.

    A function f that is smooth on the interval is ``weights @ f(nodes)`` at x.
    """
    order = np.arange(1, count)
    angles = (np.arange(count) + 0.5) * np.pi / count
    middle, half = (low + high) / 2, (high - low) / 2
    at = np.arccos(np.clip((x - middle) / half, -1, 1))
    products = np.cos(np.outer(at, order)) @ np.cos(np.outer(order, angles))
    return middle + half * np.cos(angles), (1 + 2 * products) / count


def reciprocal_rule(points: np.ndarray, nearest: float) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights (point, node) that interpolate 1 / (point + a) for a >= nearest.

    With n Chebyshev nodes the error falls like rho^-n, where rho is the sum of the semi-axes of
    the ellipse, with the ends of the points as foci, that meets the pole at -nearest.
    """
    half = max((points[-1] - points[0]) / 2, 0.5)
    distance = (points[-1] + points[0]) / 2 + nearest
    rho = (distance + sqrt(max(distance**2 - half**2, 0))) / half
    count = ceil(36 / log(rho)) if rho > 1 else len(points)
    if len(points) <= count:
        return points, np.eye(len(points))
    return chebyshev(points, points[0], points[-1], count)


def _last_worth(masks: Candidates, pixels: int, smooth: float) -> int:
    # Lemma 3: no mask beyond the first with S(tau) >= (tau + s + d) p_(tau+1) is best.
    following = np.append(masks.values[1:], 0.0)
    enough = masks.overlaps[1:] >= (masks.sizes[1:] + smooth + pixels) * following
    return int(np.argmax(enough)) + 1


def _restricted(approximation: RefinedNormalPB, support: np.ndarray) -> np.ndarray:
    # Probabilities over the support, along the last axis, renormalised.
    edges = np.arange(support[0] - 1, support[-1] + 1, dtype=float)
    cdf = approximation.cdf(np.broadcast_to(edges, (*approximation.loc.shape, len(edges))))
    pmf = np.clip(np.diff(cdf, axis=-1), 0, 1)
    return pmf / pmf.sum(axis=-1, keepdims=True)


def _blind_hits(
    masks: Candidates, support: np.ndarray, pmf: np.ndarray, smooth: float
) -> np.ndarray:
    nodes, weights = reciprocal_rule(support, masks.sizes[1] + smooth + 1)
    hits = np.zeros(len(masks.sizes))
    for node, weight in zip(nodes, pmf @ weights, strict=True):
        hits += weight / (masks.sizes + (smooth + 1 + node))
    return masks.overlaps * hits


def _direct_hits(
    masks: Candidates, support: np.ndarray, positives: Positives, floor: float, smooth: float
) -> np.ndarray:
    pmf = _restricted(positives.without(masks.values).approximation(floor), support)
    hits = np.cumsum((masks.counts * masks.values)[:, None] * pmf, axis=0)
    terms = hits / (masks.sizes[1:, None] + support + smooth + 1)
    return np.append(0.0, terms.sum(axis=1))


def _interpolated_hits(
    masks: Candidates, support: np.ndarray, positives: Positives, floor: float, smooth: float
) -> np.ndarray:
    q, lagrange = chebyshev(masks.values, masks.values[-1], masks.values[0], INTERPOLANTS)
    sums = np.cumsum((masks.counts * masks.values)[:, None] * lagrange, axis=0)
    pmf = _restricted(positives.without(q).approximation(floor), support)
    nodes, weights = reciprocal_rule(support, masks.sizes[1] + smooth + 1)
    hits = np.zeros(len(masks.sizes))
    for node, share in zip(nodes, (sums @ (pmf @ weights)).T, strict=True):
        hits[1:] += share / (masks.sizes[1:] + (smooth + 1 + node))
    return hits


def _misses(masks: Candidates, support: np.ndarray, pmf: np.ndarray, smooth: float) -> np.ndarray:
    # 1 - s sum_l P(l) / (n + l + s), without the cancellation of a large s; 1 where n = s = 0.
    if smooth == 0:
        return np.ones(len(masks.sizes))
    misses = np.zeros(len(masks.sizes))
    misses[0] = np.sum(support / (support + smooth) * pmf)
    nodes, weights = reciprocal_rule(support, masks.sizes[1] + smooth)
    for node, weight in zip(nodes, pmf @ weights, strict=True):
        positive = masks.sizes[1:] + node
        misses[1:] += weight * positive / (positive + smooth)
    return misses
