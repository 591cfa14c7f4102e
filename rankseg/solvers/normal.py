r"""BA and TRNA: RankDice by the refined normal approximation (Dai & Li, JMLR 24(224), 2023).

Over the masks of the tau most probable pixels, with Gamma the number of positives and P its
refined normal cut to a central interval of probability 1 - eps and renormalised,

    TRNA, eq. 12:  omega(tau) = 2 sum_l w(l) / (tau + l + s + 1) + s sum_l P(l) / (tau + l + s),
                   w(l) = sum_{j <= tau} p_(j) P_-j(l)       (P_-j: without pixel j)
    BA,   eq. 13:  the same with w(l) = P(l) sum_{j <= tau} p_(j).

Two observations make them cheap. The sums over l are expectations of 1 / (l + a), so a Gauss rule
of P stands for them (`gauss_rule`). And P_-j depends on j only through p_(j), smoothly: omega
needs P_q at a few Chebyshev nodes q and the cumulative sums of p_(j) L_q(p_(j)), with L_q the
Lagrange weights.
"""

from dataclasses import dataclass
from math import ceil, inf, log, sqrt

import numpy as np

from ..arrays import Array
from ..distribution import RefinedNormalPB
from ..maps import ProbabilityMap, Row
from .candidates import Candidates, Masks
from .rma import Solution

RULE = 32
"""Most nodes of the Gauss rule that stands for a refined normal."""

INTERPOLANTS = 6
"""Chebyshev nodes in p."""

DIRECT = 2**17
"""Distinct probabilities times interval below which every P_-j is evaluated."""

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


def solve(
    source: ProbabilityMap, smooth: float, pruning_prob: Array, method: str, eps: float
) -> Solution:
    """Find the threshold of every active row by "BA", "TRNA" or "BA+TRNA", row by row in NumPy."""
    if source.kind == "traced":
        raise NotImplementedError(f"solver {method!r} needs values, not a trace: use solver='RMA'")
    summary = source.summary
    active = summary.high > pruning_prob
    found = [np.full(active.shape, inf), *(np.zeros(active.shape) for _ in range(3))]
    for index in zip(*(axis.tolist() for axis in np.nonzero(active)), strict=True):
        masks, best = best_in_row(source.host_row(index), smooth, method, eps)
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
    floor = float(np.finfo(np.float64 if source.dtype == source.xp.float64 else np.float32).eps)
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


def gauss_rule(
    points: np.ndarray, weights: np.ndarray, nearest: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return few points and weights with the same sums of weight / (point + a), a >= nearest.

    The rule with n points (Lanczos) has the moments of the measure up to 2 n - 1; its error falls
    like rho^-2n, where rho is the sum of semi-axes of the ellipse, with the ends of the points as
    foci, that meets the pole at -nearest.
    """
    half = (points[-1] - points[0]) / 2
    distance = (points[-1] + points[0]) / 2 + nearest
    rho = (distance + sqrt(distance**2 - half**2)) / max(half, 1e-3)
    count = min(RULE, ceil(18 / log(rho)))
    if len(points) <= count:
        return points, weights
    basis = [np.sqrt(weights / weights.sum())]
    diagonal, off = [], []
    for _ in range(count):
        image = points * basis[-1]
        diagonal.append(basis[-1] @ image)
        done = np.array(basis)
        for _ in range(2):
            image = image - done.T @ (done @ image)
        off.append(np.linalg.norm(image))
        if off[-1] <= 1e-14 * points[-1]:
            break
        basis.append(image / off[-1])
    x, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(off[:-1], 1) + np.diag(off[:-1], -1))
    return x, vectors[0] ** 2 * weights.sum()


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


def _reciprocals(sizes: np.ndarray, points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    # sum_l P(l) / (n + l) for each n but the first (of the empty mask, which has no hits).
    result = np.zeros(len(sizes))
    for x, weight in zip(*gauss_rule(points, weights, sizes[1]), strict=True):
        result[1:] += weight / (sizes[1:] + x)
    return result


def _blind_hits(
    masks: Candidates, support: np.ndarray, pmf: np.ndarray, smooth: float
) -> np.ndarray:
    return masks.overlaps * _reciprocals(masks.sizes + smooth + 1, support, pmf)


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
    low, high = masks.values[-1], masks.values[0]
    angles = (np.arange(INTERPOLANTS) + 0.5) * np.pi / INTERPOLANTS
    q = (low + high) / 2 + (high - low) / 2 * np.cos(angles)
    pmf = _restricted(positives.without(q).approximation(floor), support)
    total = np.zeros(len(masks.sizes))
    for k in range(INTERPOLANTS):
        others = np.delete(q, k)
        lagrange = np.prod([(masks.values - other) / (q[k] - other) for other in others], axis=0)
        hits = np.append(0.0, np.cumsum(masks.counts * masks.values * lagrange))
        total += hits * _reciprocals(masks.sizes + smooth + 1, support, pmf[k])
    return total


def _misses(masks: Candidates, support: np.ndarray, pmf: np.ndarray, smooth: float) -> np.ndarray:
    # 1 - s sum_l P(l) / (n + l + s), without the cancellation of a large s; 1 where n = s = 0.
    if smooth == 0:
        return np.ones(len(masks.sizes))
    misses = np.zeros(len(masks.sizes))
    misses[0] = np.sum(support / (support + smooth) * pmf)
    for x, weight in zip(*gauss_rule(support, pmf, masks.sizes[1] + smooth), strict=True):
        misses[1:] += weight * (masks.sizes[1:] + x) / (masks.sizes[1:] + x + smooth)
    return misses
