"""Folds of cross-validation."""

from collections.abc import Sequence

import numpy as np


def split(groups: Sequence[str], folds: int) -> np.ndarray:
    """Return the fold of each case, with groups kept whole.

    Groups fill the folds in the order in which they first appear: files that are neighbours by
    name are often neighbours in a video or a scan too, and stay together. With no more groups
    than folds, each is a fold of its own.

    Parameters
    ----------
    groups : sequence of str
        Group of each case.
    folds : int
        How many at most.

    Returns
    -------
    int array, shape (case,)
        Folds from 0, each with at least one case.

    Raises
    ------
    ValueError
        If there are fewer than two groups, or two folds.

    Examples
    --------
    >>> from rankseg.evaluation.tuning.folds import split
    >>> split(["anna", "anna", "ben", "carl", "carl", "dora"], 2)
    array([0, 0, 0, 1, 1, 1])
    """
    order = {name: position for position, name in enumerate(dict.fromkeys(groups))}
    if len(order) < 2:
        raise ValueError(
            f"cross-validation needs two groups of cases or more, found {len(order)}: without a "
            "group each case counts as one"
        )
    if folds < 2:
        raise ValueError(f"folds must be 2 or more, found {folds}")
    members = np.array([order[name] for name in groups])
    if len(order) <= folds:
        return members
    sizes = np.bincount(members)
    middle = (np.cumsum(sizes) - sizes / 2) / len(groups)
    return np.unique((middle * folds).astype(int), return_inverse=True)[1][members]
