"""Whether labels or masks differ from those of `rankseg` by rounding alone."""

import numpy as np
from oracle import increment

from rankseg import thresholds
from rankseg.functional import rankseg
from rankseg.objectives import Dice

ROUNDING = 2e-6
"""Relative error of thresholds from sums in float32, and of increments."""


def check_differences(found, probs, rounding=ROUNDING, **settings):
    """Every pixel is as in `rankseg`, or a threshold or a tie of two classes goes through it.

    With smoothed Dice, a graph decides the pixels inside the undecided interval on a grid of
    thresholds. `rounding` is larger where the probabilities themselves are computed twice.
    """
    expected = rankseg(probs, **settings)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    pixels = np.nonzero(found != expected)
    assert len(pixels[0]) <= 1e-3 * expected.size
    wide = probs.astype(np.float64)
    common = {k: settings[k] for k in ("metric", "smooth", "pruning_prob") if k in settings}
    rows, _, active = thresholds(wide, **common)
    eligible = active | ~active.any(axis=1, keepdims=True)
    mass = wide.sum(axis=tuple(range(2, wide.ndim)))
    margin = rounding * rows + _undecided(mass, **settings)
    for pixel in zip(*pixels, strict=True):
        if settings.get("output_mode") == "multilabel":
            row = pixel[:2]
            assert _near(wide[pixel], rows[row], margin[row]), (pixel, wide[pixel], rows[row])
        else:
            b, *place = pixel
            p = wide[(b, slice(None), *place)]
            classes = {int(found[pixel]), int(expected[pixel])} - _void(**settings)
            assert all(eligible[b, c] for c in classes), (pixel, classes, eligible[b])
            if not any(_near(p[c], rows[b, c], margin[b, c]) for c in classes):
                assert len(classes) == 2, (pixel, classes, p, rows[b])
                _check_tie(wide[b], rows[b], p, classes, rounding, **settings)


def _near(p, threshold, margin):
    """Return whether the pixel may be on either side; of an empty mask it cannot be on one."""
    return np.isfinite(threshold) and abs(p - threshold) <= margin


def _check_tie(probs, threshold, p, classes, rounding, metric="dice", smooth=0.0, **_):
    """Both classes gain the same by a pixel with the probabilities `p`."""
    masks = probs > threshold.reshape(-1, *[1] * (probs.ndim - 1))
    alone = masks & (masks.sum(axis=0) == 1)
    gains = [
        increment(metric, smooth, p[c], alone[c].sum(), probs[c][alone[c]].sum(), probs[c].sum())
        for c in classes
    ]
    assert abs(gains[0] - gains[1]) <= rounding * max(map(abs, gains)), (classes, gains)


def _void(unassigned_policy="max_score", void_index=255, **_):
    return {void_index} if unassigned_policy == "void" else set()


def _undecided(mass, metric="dice", smooth=0.0, **_):
    return Dice(smooth).undecided(mass) if metric == "dice" else 0 * mass
