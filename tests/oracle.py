"""Slow and obvious answers, in float64 NumPy, that the tests compare with."""

import numpy as np


def score(metric: str, smooth: float, size: float, overlap: float, mass: float) -> float:
    """Return the RMA objective of a mask."""
    if metric == "dice":
        second = smooth / (mass + size + smooth) if smooth > 0 else 0.0
        return 2 * overlap / (mass + size + 1 + smooth) + second
    union = mass - overlap + size + smooth
    return (overlap + smooth) / union if union > 0 else 0.0


def mask_score(metric: str, smooth: float, p: np.ndarray, mask: np.ndarray) -> float:
    """Return the RMA objective of any mask of one row."""
    p = p.astype(np.float64)
    return score(metric, smooth, mask.sum(), p[mask].sum(), p.sum())


def best_score(metric: str, smooth: float, p: np.ndarray) -> float:
    """Return the best objective over all top-tau masks of one row, by sorting."""
    p = np.sort(p.astype(np.float64), axis=None)[::-1]
    overlaps = [0.0, *np.cumsum(p).tolist()]  # Python floats, which are quicker one by one
    mass = float(p.sum())
    return max(score(metric, smooth, n, overlap, mass) for n, overlap in enumerate(overlaps))


def increment(
    metric: str, smooth: float, p: float, size: float, overlap: float, mass: float
) -> float:
    """Return what one more pixel of probability p adds to the objective of a class."""
    joined = score(metric, smooth, size + 1, overlap + p, mass)
    return joined - score(metric, smooth, size, overlap, mass)


def assign(
    metric: str,
    smooth: float,
    p: np.ndarray,
    masks: np.ndarray,
    active: np.ndarray,
    void_index: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of one sample, and how much better the winner is than the runner-up.

    `p` and `masks` have shape (class, pixel), `active` (class,).
    """
    p = p.astype(np.float64)
    votes = masks.sum(axis=0)
    alone = masks & (votes == 1)
    eligible_classes = active if active.any() else np.ones_like(active)
    labels, lead = np.zeros(p.shape[1], dtype=int), np.full(p.shape[1], np.inf)
    for j in range(p.shape[1]):
        if votes[j] == 0 and void_index is not None:
            labels[j] = void_index
            continue
        eligible = np.flatnonzero(masks[:, j] if votes[j] else eligible_classes)
        gains = [
            increment(metric, smooth, p[c, j], alone[c].sum(), p[c, alone[c]].sum(), p[c].sum())
            for c in eligible
        ]
        labels[j] = eligible[int(np.argmax(gains))]
        if len(gains) > 1:
            runner_up, winner = np.sort(gains)[-2:]
            lead[j] = (winner - runner_up) / max(abs(winner), abs(runner_up), 1e-300)
    return labels, lead
