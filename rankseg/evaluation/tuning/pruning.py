"""A pruning probability for each class, where labelled cases ask for one."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...config import Config
from ..statistics import standard_error
from .candidates import Scorer, admitted, target


def trials(scorer: Scorer, config: Config, pruning_probs: Sequence[float]) -> np.ndarray:
    """Score one case with each class in turn pruned by each probability, the others as before.

    Returns
    -------
    array, shape (class, pruning_prob, presence, part, column)
        As of the scorer.
    """
    active = scorer.active(config.pruning_prob)
    result = np.tile(scorer(config), (len(active), len(pruning_probs), 1, 1, 1))
    for c in range(len(active)):
        changed = [scorer.active(p)[c] != active[c] for p in pruning_probs]
        if any(changed):
            switched = active.copy()
            switched[c] = not active[c]
            result[c, changed] = scorer(keeping(config, switched))
    return result


def keeping(config: Config, active: np.ndarray) -> Config:
    """Return settings that leave these classes, whatever the probabilities are.

    The largest probability of a class is never above 1, and that of a class that any pruning
    leaves is above 0.
    """
    return replace(config, pruning_prob=tuple(np.where(active, 0.0, 1.0).tolist()))


def search(
    results: np.ndarray,
    pruning_prob: float | Sequence[float],
    pruning_probs: Sequence[float],
    groups: Sequence[str],
    presence: str,
) -> tuple[float, ...]:
    """Return a pruning probability for each class.

    It is the best of those tried and `admitted`, one class at a time, where that raises the mean
    score by more than its standard error, and `pruning_prob` elsewhere.

    Parameters
    ----------
    results : array, shape (case, class, pruning_prob, presence)
        What `as_presences` makes of the `trials` of each case.
    pruning_prob : float
        Value of all classes so far, one of `pruning_probs`.
    pruning_probs : sequence of float
        Values that were tried.
    groups : sequence of str
        Group of each case.
    presence : {"both", "label", "either"}
        Which score counts.
    """
    scores = target(results, presence)
    before = pruning_probs.index(pruning_prob)
    chosen = []
    for c in range(scores.shape[1]):
        allowed = admitted(results[:, c], results[:, c, before], presence)
        best = int(np.argmax(np.where(allowed, scores[:, c].mean(axis=0), -np.inf)))
        gains = scores[:, c, best] - scores[:, c, before]
        better = gains.mean() > standard_error(gains, groups)
        chosen.append(float(pruning_probs[best if better else before]))
    return tuple(chosen)
