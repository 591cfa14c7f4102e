"""How sure is a mean, or a difference? By bootstrap, and by the standard error, over groups."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np

LEVEL = 0.95
FEWEST_GROUPS = 6
"""n groups without any difference agree in sign with probability 2 / 2^n, below 5 % from here."""

_BLOCK = 128

Estimate: TypeAlias = Callable[[np.ndarray], np.ndarray]


def resample(groups: Sequence[str], times: int, seed: int) -> Iterator[np.ndarray]:
    """Draw as many groups as there are, with replacement, again and again.

    Parameters
    ----------
    groups : sequence of str
        Group of each case; cases of one group are drawn together.
    times : int
        How often.
    seed : int
        The same seed draws the same.

    Yields
    ------
    array, shape (draw, case)
        How many times each case was drawn; `times` draws in all.

    Examples
    --------
    >>> from rankseg.evaluation.statistics import resample
    >>> next(resample(["anna", "anna", "ben"], times=3, seed=0))
    array([[1, 1, 1],
           [1, 1, 1],
           [0, 0, 2]])
    """
    names, members = np.unique(np.asarray(groups), return_inverse=True)
    even = np.full(len(names), 1 / len(names))
    rng = np.random.default_rng(seed)
    for start in range(0, times, _BLOCK):
        yield rng.multinomial(len(names), even, size=min(_BLOCK, times - start))[:, members]


def gain_interval(
    scores: np.ndarray, baseline: np.ndarray, groups: Sequence[str], times: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return percentile intervals, of 95 %, of the difference of two means over the same cases.

    Parameters
    ----------
    scores, baseline : array, shape (case, column)
        Scores of two methods. NaN counts in no mean.
    groups, times, seed
        As for `resample`.

    Returns
    -------
    low, high : array, shape (column,)
        NaN where some method never has a score, and for a single group, which tells nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from rankseg.evaluation.statistics import gain_interval
    >>> scores, baseline = np.array([[0.8], [0.7], [0.9]]), np.array([[0.7], [0.7], [0.7]])
    >>> low, high = gain_interval(scores, baseline, ["a", "b", "c"], times=1000, seed=0)
    >>> low.round(3), high.round(3)
    (array([0.]), array([0.2]))
    """
    return paired_interval(
        lambda draws: _means(scores, draws),
        lambda draws: _means(baseline, draws),
        groups,
        times,
        seed,
    )


def paired_interval(
    one: Estimate, other: Estimate, groups: Sequence[str], times: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return percentile intervals, of 95 %, of the difference of two estimates from the same cases.

    Parameters
    ----------
    one, other : callable
        Of draws (draw, case) as `resample` yields them; each returns estimates (draw, column).
    groups, times, seed
        As for `resample`.

    Returns
    -------
    low, high : array, shape (column,)
        NaN where an estimate is so in all draws, and for a single group, which tells nothing.
    """
    columns = one(np.ones((1, len(groups)))).shape[1]
    ends = np.full((2, columns), np.nan)
    if len(set(groups)) < 2:
        return ends[0], ends[1]
    drawn = (draws.astype(np.float64) for draws in resample(groups, times, seed))  # as BLAS wants
    differences = np.concatenate([one(draws) - other(draws) for draws in drawn])
    tail = 100 * (1 - LEVEL) / 2
    for column, values in enumerate(differences.T):
        values = values[~np.isnan(values)]  # a draw may hold no case with a rare class
        if len(values):
            ends[:, column] = np.percentile(values, (tail, 100 - tail))
    return ends[0], ends[1]


def standard_error(values: np.ndarray, groups: Sequence[str]) -> float:
    """Return the standard error of the mean of some values, as groups were drawn and not cases.

    Parameters
    ----------
    values : array, shape (case,)
        One value a case.
    groups : sequence of str
        Group of each case.

    Returns
    -------
    float
        Infinity for one group, which says nothing about others.

    Examples
    --------
    Two patients say less than four images seem to:

    >>> import numpy as np
    >>> from rankseg.evaluation.statistics import standard_error
    >>> values = np.array([1.0, 1.0, 3.0, 3.0])
    >>> round(standard_error(values, "abcd"), 3), round(standard_error(values, "aabb"), 3)
    (0.577, 1.0)
    """
    members = np.unique(np.asarray(list(groups)), return_inverse=True)[1]
    sums = np.bincount(members, values - values.mean())
    count = len(sums)
    if count < 2:
        return float("inf")
    return float(np.sqrt(count / (count - 1) * np.sum(sums**2)) / len(values))


def _means(scores: np.ndarray, draws: np.ndarray) -> np.ndarray:
    counted = ~np.isnan(scores)
    total = draws @ np.where(counted, scores, 0)
    number = draws @ counted.astype(np.float64)
    with np.errstate(invalid="ignore"):
        return np.where(number > 0, total / number, np.nan)
