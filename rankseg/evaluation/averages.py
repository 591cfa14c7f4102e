r"""One number from the scores of many images and classes: which mean, and over what.

Every mean here is a mean over columns :math:`c` of ratios :math:`\sum_i A_{ic} / \sum_i B_{ic}`
over the cases :math:`i`, and only what stands in A and B differs:

===========  =======================================  =============================  ==========
mean         A                                        B                              columns
===========  =======================================  =============================  ==========
image-first  mean of the scores of the case           1                              one
class-first  score of the class in the case           1 where the class counts       a class
dataset      twice the intersection, or intersection  sum of the sizes, or union     a class
nnunet       as class-first                           as class-first, no background  a class
===========  =======================================  =============================  ==========
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..validation import choice

AVERAGES = {
    "image-first": "over the classes of each case, then over the cases",
    "class-first": "over the cases of each class, then over the classes",
    "dataset": "over the classes, of the pixels of all cases together",
    "nnunet": "over the cases of each class but the background, then over the classes",
}
EMPTIES = ("nan", "one")
"""What a class that a case has neither in its label nor in the prediction counts as."""


class Parts(NamedTuple):
    """What a mean is made of: `over` and `under` (case, column) are A and B.

    A column counts where the sum of `counts` (case, column) is positive; it is 1 where that of
    `under` is 0.
    """

    over: np.ndarray
    under: np.ndarray
    counts: np.ndarray

    def columns(self, draws: np.ndarray) -> np.ndarray:
        """Return the ratio of each column (draw, column), for cases drawn so often."""
        under = draws @ self.under
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.where(under > 0, draws @ self.over / under, 1.0)
        counts = under if self.counts is self.under else draws @ self.counts
        return np.where(counts > 0, ratio, np.nan)


def mean_of(columns: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis of what is not NaN, and NaN where nothing is."""
    counted = ~np.isnan(columns)
    total = np.where(counted, columns, 0).sum(axis=-1)
    number = counted.sum(axis=-1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


@dataclass(frozen=True)
class Average:
    """A mean of Dice or IoU scores over cases and classes.

    Parameters
    ----------
    name : {"image-first", "class-first", "dataset", "nnunet"}
        Which mean.
    classes : tuple of int, optional
        Classes that count, of those there are; all by default.
    ignored : tuple of int
        Classes that do not.
    empty : {"nan", "one"}
        Whether a class that is in neither label nor prediction of a case does not count there,
        or counts as 1. It matters where classes in label or prediction count.
    """

    name: str = "image-first"
    classes: tuple[int, ...] | None = None
    ignored: tuple[int, ...] = ()
    empty: str = "nan"

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", choice("average", self.name, AVERAGES))
        object.__setattr__(self, "empty", choice("empty", self.empty, EMPTIES))
        for field in ("classes", "ignored"):
            given = getattr(self, field)
            if given is not None:
                given = tuple(int(c) for c in given)
                if any(c < 0 for c in given):
                    raise ValueError(f"{field} must be classes from 0, found {given}")
                object.__setattr__(self, field, given)

    def selected(self, count: int, multilabel: bool = False) -> np.ndarray:
        """Return which of this many classes count (class,).

        Raises
        ------
        ValueError
            If none does, or a class is named that there is not.
        """
        for field, given in (("classes", self.classes or ()), ("ignored", self.ignored)):
            beyond = [c for c in given if c >= count]
            if beyond:
                raise ValueError(
                    f"{field} must be in [0, {count}), as there are {count}, found {beyond[0]}"
                )
        mask = np.full(count, self.classes is None)
        mask[list(self.classes or ())] = True
        mask[list(self.ignored)] = False
        if self.name == "nnunet" and not multilabel:
            mask[0] = False
        if not mask.any():
            field = "ignored" if self.ignored else "classes"
            raise ValueError(f"{field} must leave one or more classes of {count}, found none")
        return mask

    def parts(
        self,
        metric: str,
        presence: str,
        intersection: np.ndarray,
        union: np.ndarray,
        present: np.ndarray,
        selected: np.ndarray,
    ) -> Parts:
        """Return what the mean is made of.

        Parameters
        ----------
        metric : {"dice", "iou"}
            Score.
        presence : {"label", "either"}
            Which classes of a case count: those in its label, or in label or prediction.
        intersection, union : array, shape (..., class)
            Pixels of each case in label and prediction, and in either.
        present : bool array, shape (..., class)
            Classes that the label of each case has.
        selected : bool array, shape (class,)
            Classes that count at all.
        """
        over, under = _ratio_of(metric, intersection, union)
        one = self.empty == "one"
        if self.name == "dataset":
            counts = present if presence == "label" else np.ones_like(present) if one else under > 0
            counts = counts & selected
            return Parts(over * selected, under * selected, counts.astype(float))
        counted = present if presence == "label" else (under > 0) | one
        counted = counted & selected
        scores = np.where(under > 0, over / np.maximum(under, 1), 1.0)
        scores = np.where(counted, scores, np.nan)
        if self.name == "image-first":
            scores = mean_of(scores)[..., None]
            counted = ~np.isnan(scores)
        counts = counted.astype(float)
        return Parts(np.where(counted, scores, 0), counts, counts)


IMAGE_FIRST = Average()


def as_scores(parts: Parts) -> np.ndarray:
    r"""Return one number a case, whose mean over the cases is the mean that the parts make.

    With :math:`m_c = \sum A / \sum B`, n cases and k columns that count, that of case i is
    :math:`m + \frac{n}{k} \sum_c (A_{ic} - m_c B_{ic}) / \sum_i B_{ic}`: the infinitesimal
    jackknife, by which differences of such means have standard errors like those of plain ones.

    Parameters
    ----------
    parts : Parts
        Of shape (case, ..., column).

    Returns
    -------
    array, shape (case, ...)
    """
    over, under, counts = (np.asarray(part) for part in parts)
    total = under.sum(axis=0)
    known = (counts.sum(axis=0) > 0) & (total > 0)
    divisor = np.where(known, total, 1)
    ratio = np.where(known, over.sum(axis=0) / divisor, 1.0)
    ratio = np.where(counts.sum(axis=0) > 0, ratio, np.nan)
    number = np.maximum((~np.isnan(ratio)).sum(axis=-1), 1)
    shares = np.where(known, (over - np.where(known, ratio, 0) * under) / divisor, 0)
    return mean_of(ratio) + len(over) * shares.sum(axis=-1) / number


def scores_of_case(metric: str, intersection: np.ndarray, union: np.ndarray) -> np.ndarray:
    """Return the scores of classes; NaN where they are in neither label nor prediction."""
    over, under = _ratio_of(metric, intersection, union)
    return np.where(under > 0, over / np.maximum(under, 1), np.nan)


def _ratio_of(
    metric: str, intersection: np.ndarray, union: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the numerator and the denominator of Dice or IoU."""
    over = intersection * (2.0 if metric == "dice" else 1.0)
    under = union + (intersection if metric == "dice" else 0.0)
    return over, under
