"""A pruning probability for each class, where labelled cases ask for one."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..config import Config
from .candidates import Scorer, target
from .folds import standard_error


def trials(scorer: Scorer, config: Config, pruning_probs: Sequence[float]) -> np.ndarray:
    """Score one case with each class in turn pruned by each probability, the others as before.

    Returns
    -------
    array, shape (class, pruning_prob, presence)
    """
    active = scorer.active(config.pruning_prob)
    before = scorer(config)
    result = np.tile(before, (len(active), len(pruning_probs), 1))
    for c, high in enumerate(scorer.high):
        other = active.copy()
        other[c] = not active[c]
        changed = [bool(high > scorer.high.dtype.type(p)) != active[c] for p in pruning_probs]
        if any(changed):
            # 1 prunes a class and 0 does not, whatever its probabilities are.
            pruning = tuple(np.where(other, 0.0, 1.0).tolist())
            result[c, changed] = scorer(replace(config, pruning_prob=pruning))
    return result


def search(
    results: np.ndarray,
    pruning_prob: float | tuple[float, ...],
    pruning_probs: Sequence[float],
    groups: Sequence[str],
    presence: str,
) -> tuple[float, ...]:
    """Return a pruning probability for each class.

    It is the best of those tried, one class at a time, where that raises the mean score by more
    than its standard error, and `pruning_prob` elsewhere.

    Parameters
    ----------
    results : array, shape (case, class, pruning_prob, presence)
        What `trials` returned for each case.
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
        best = int(np.argmax(scores[:, c].mean(axis=0)))
        gains = scores[:, c, best] - scores[:, c, before]
        better = gains.mean() > standard_error(gains, groups)
        chosen.append(float(pruning_probs[best if better else before]))
    return tuple(chosen)
