"""Are the probabilities right? Sums over the pixels of a case, or of all cases."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

BINS = 15


class Reliability(NamedTuple):
    """Small sums over pixels that are not void; those of several cases add up.

    `bins` (3, bin) holds, by confidence, the number of predictions, the sum of their confidence,
    and how many were right. `mass` and `area` (class,) hold the sum of the probabilities and the
    number of pixels labelled so.
    """

    bins: np.ndarray
    mass: np.ndarray
    area: np.ndarray

    @property
    def confidence(self) -> np.ndarray:
        """Mean confidence in each bin, NaN in an empty one."""
        return _ratio(self.bins[1], self.bins[0])

    @property
    def accuracy(self) -> np.ndarray:
        """Part of the predictions in each bin that is right, NaN in an empty one."""
        return _ratio(self.bins[2], self.bins[0])

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance of confidence and accuracy over pixels."""
        number, confidence, right = self.bins
        return float(np.abs(confidence - right).sum() / max(number.sum(), 1))

    @property
    def claimed_area(self) -> np.ndarray:
        """Sum of each class's probabilities over its true area: 1 if they add up, NaN if absent."""
        return _ratio(self.mass, self.area)

    @property
    def furthest(self) -> int | None:
        """Class whose claimed area is the furthest from 1, as a ratio; None if there is none."""
        known = np.flatnonzero(self.claimed_area > 0)
        distance = np.abs(np.log(self.claimed_area[known]))
        return int(known[distance.argmax()]) if len(known) else None


def measure(probs: np.ndarray, labels: np.ndarray, void_index: int) -> Reliability:
    """Return the sums of one case.

    Parameters
    ----------
    probs : array, shape (class, *spatial)
        Probabilities.
    labels : array
        Label map (*spatial), or bool masks (class, *spatial).
    void_index : int
        Label of pixels that do not count.

    Returns
    -------
    Reliability
        With a label map, confidence is the largest probability of a pixel, and right a pixel
        labelled with its class. With masks, confidence is each probability, and right is one
        inside its mask.

    Examples
    --------
    >>> import numpy as np
    >>> from rankseg.evaluation.compare.reliability import measure
    >>> probs = np.array([[0.9, 0.8, 0.3, 0.5], [0.1, 0.2, 0.7, 0.5]])
    >>> found = measure(probs, np.array([0, 1, 1, 255]), void_index=255)
    >>> found.mass, found.area
    (array([2., 1.]), array([1, 2]))
    >>> round(found.error, 3)  # (0.1 + 0.8 + 0.3) / 3
    0.4
    """
    classes = len(probs)
    if labels.dtype == bool:
        mass = np.array([p.sum(dtype=np.float64) for p in probs])
        area = np.array([np.count_nonzero(mask) for mask in labels])
        bins = sum(_bins(p.ravel(), mask.ravel()) for p, mask in zip(probs, labels, strict=True))
        return Reliability(np.asarray(bins), mass, area)
    valid = labels != void_index
    mass = np.array([p[valid].sum(dtype=np.float64) for p in probs])
    area = np.bincount(labels[valid], minlength=classes)
    right = probs.argmax(axis=0) == labels
    return Reliability(_bins(probs.max(axis=0)[valid], right[valid]), mass, area)


def add(parts: Iterable[Reliability]) -> Reliability:
    """Return the sums of several cases together."""
    return Reliability(*(np.sum(sums, axis=0) for sums in zip(*parts, strict=True)))


def _bins(confidence: np.ndarray, right: np.ndarray) -> np.ndarray:
    bins = np.minimum((confidence * BINS).astype(np.intp), BINS - 1)
    weights = (None, confidence, right)
    return np.stack([np.bincount(bins, weight, minlength=BINS) for weight in weights])


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)
