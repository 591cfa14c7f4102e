"""What is compared: a plain argmax (or threshold), the same with pruning, and RankSEG."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...predictor import RankSEG
from ...settings import MODES, SOLVERS
from ...validation import choice
from .scores import TITLES

BASELINES = {"multiclass": "argmax", "multilabel": "threshold"}


class Method(NamedTuple):
    """A name and a function of probabilities (1, class, *spatial).

    The function returns labels (1, *spatial) or, in multilabel, masks (1, class, *spatial). Its
    ``repr`` stands for its settings when an interrupted evaluation is resumed.
    """

    name: str
    predict: Callable[[Any], Any]


def default_methods(
    metrics: Sequence[str] = ("dice", "iou"),
    solvers: Sequence[str] = ("RMA",),
    *,
    output_mode: str = "multiclass",
    pruning_prob: float | Sequence[float] = 0.5,
    **solver_params: Any,
) -> tuple[Method, ...]:
    """Return the baseline, the baseline with pruning, and RankSEG for each metric and solver.

    The second tells how much of a gain comes from leaving out classes that are nowhere likely,
    which an argmax can do as well.

    Parameters
    ----------
    metrics : sequence of {"dice", "iou"}
        What RankSEG maximises.
    solvers : sequence of str
        Solvers of RankSEG, each used for every metric.
    output_mode : {"multiclass", "multilabel"}
        The baseline is an argmax, or in multilabel a threshold of 0.5.
    pruning_prob : float or sequence of float, default 0.5
        A class whose largest probability in a case is not above this is left out of it. One
        value, or one for each class.
    **solver_params
        Further parameters of `RankSEG`.

    Returns
    -------
    tuple of Method
        The baseline comes first.

    Raises
    ------
    TypeError, ValueError
        As `RankSEG` does.

    Examples
    --------
    >>> from rankseg.evaluation import default_methods
    >>> [method.name for method in default_methods(metrics=["dice"], solvers=["RMA", "exact"])]
    ['argmax', 'argmax, pruned', 'RankSEG Dice', 'RankSEG Dice, exact']
    """
    output_mode = choice("output_mode", output_mode, MODES)
    name = BASELINES[output_mode]
    plain = SOLVERS["accuracy", output_mode][0]
    baseline = RankSEG("accuracy", output_mode=output_mode, solver=plain)
    limits = RankSEG(output_mode=output_mode, pruning_prob=pruning_prob).pruning_prob
    pruned = PrunedBaseline(output_mode, limits)
    methods = [Method(name, baseline), Method(f"{name}, pruned", pruned)]
    for solver in solvers:
        for metric in metrics:
            metric = choice("metrics", metric, TITLES)
            segment = RankSEG(
                metric,
                output_mode=output_mode,
                solver=solver,
                pruning_prob=pruning_prob,
                **solver_params,
            )
            suffix = "" if segment.solver == "RMA" else f", {segment.solver}"
            methods.append(Method(f"RankSEG {TITLES[metric]}{suffix}", segment))
    return tuple(methods)


@dataclass(frozen=True)
class PrunedBaseline:
    """Argmax, or in multilabel a threshold of 0.5, of the classes that pruning leaves.

    Where it leaves none, an argmax takes all, as RankSEG does.
    """

    output_mode: str
    pruning_prob: float | tuple[float, ...]

    def __call__(self, probs: np.ndarray) -> np.ndarray:
        """Return labels (1, *spatial) or masks (1, class, *spatial)."""
        limits = np.asarray(self.pruning_prob, probs.dtype)
        if limits.size not in (1, len(probs[0])):
            raise ValueError(
                f"pruning_prob has {limits.size} values, but probs has {len(probs[0])} classes"
            )
        active = np.array([values.max() for values in probs[0]]) > limits
        if self.output_mode == "multilabel":
            masks = probs > 0.5
            masks[:, ~active] = False
            return masks
        first, *others = np.flatnonzero(active if active.any() else ~active)
        best, labels = probs[:, first].copy(), np.full(probs[:, first].shape, first)
        for label in others:  # class by class, so that a volume needs no second copy
            higher = probs[:, label] > best
            labels[higher] = label
            np.copyto(best, probs[:, label], where=higher)
        return labels
