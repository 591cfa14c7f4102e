"""What `tune` chooses among: argmax or RankSEG, its settings, calibration; and how each scores."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from ...calibration import Calibration
from ...config import Config
from ...metrics import class_presence, overlap
from ...predictor import RankSEG
from ...settings import PRUNED, UNPRUNED
from ..averages import IMAGE_FIRST, Average, Parts, as_scores
from ..cases.case import Case
from ..cases.source import unchanged
from ..compare.methods import BASELINES
from ..compare.scores import PRESENCES, TITLES, label_form

TARGETS = {
    "both": "mean over classes in label, not falling over classes in label or prediction",
    **PRESENCES,
}
CALIBRATIONS = ("none", "temperature", "vector")
CORRELATIONS = (0.0, 0.5, 0.85, 1.0)


@dataclass(frozen=True)
class Candidate:
    """Settings to try.

    `config` has no calibration yet: one of kind `calibration` is fitted to the cases at hand,
    and with `per_class` so is a pruning probability for each class.
    """

    config: Config
    calibration: str = "none"
    per_class: bool = False

    @property
    def method(self) -> str:
        """Argmax (in multilabel a threshold of 0.5) or RankSEG with its metric and solver."""
        if self.config.metric == "accuracy":
            return BASELINES[self.config.output_mode]
        solver = "" if self.config.solver == "RMA" else f", {self.config.solver}"
        return f"RankSEG {TITLES[self.config.metric]}{solver}"

    @property
    def prunes(self) -> bool:
        """Whether the pruning probability decides anything."""
        return self.config.solver not in UNPRUNED

    @property
    def pruning(self) -> str:
        """The pruning probability, in words."""
        if not self.prunes:
            return "none"
        return "by class" if self.per_class else f"{self.config.pruning_prob:g}"

    @property
    def correlation(self) -> float:
        """The correlation of the pixels that RankSEG counts with."""
        return float(self.config.solver_params.get("correlation", 0.0))

    @property
    def name(self) -> str:
        """The candidate, in words."""
        parts = [self.method]
        if self.correlation:
            parts.append(f"correlation {self.correlation:g}")
        if self.pruning != "none":
            parts.append(f"pruning {self.pruning}")
        if self.calibration != "none":
            parts.append(f"{self.calibration} scaling")
        return ", ".join(parts)

    def complexity(self, metric: str, classes: int) -> int:
        """Return how much there is to explain: numbers that were chosen, and 2 for RankSEG."""
        if self.config.metric == "accuracy":
            count = int(self.prunes)
        else:
            default = Config(metric, output_mode=self.config.output_mode)
            count = 2 + (replace(self.config, solver_params={}) != default)
            count += self.correlation > 0
        count += {"none": 0, "temperature": 1, "vector": 2 * classes}[self.calibration]
        return count + self.per_class * (classes - 1)


def all_candidates(
    metrics: Sequence[str],
    solvers: Sequence[str],
    pruning_probs: Sequence[float],
    calibrations: Iterable[str],
    output_mode: str,
    correlations: Sequence[float] = (0.0,),
) -> Iterator[Candidate]:
    """Yield every combination; the first is the plain argmax, or threshold in multilabel.

    Correlations other than 0 are for RMA, which alone takes them.
    """
    pruned = PRUNED[output_mode]
    for kind in calibrations:
        if kind != "temperature":  # which changes no argmax
            yield Candidate(Config("accuracy", output_mode=output_mode), kind)
        for pruning in pruning_probs:
            yield Candidate(Config("accuracy", 0.0, output_mode, pruned, pruning), kind)
            for metric, solver in product(metrics, solvers):
                for rho in correlations if solver == "RMA" else (0.0,):
                    params = {"correlation": rho} if rho else {}
                    config = Config(metric, 0.0, output_mode, solver, pruning, params)
                    yield Candidate(config, kind)


class Scorer:
    """What one case adds to the scores, each segmentation computed once."""

    def __init__(
        self,
        case: Case,
        metric: str,
        void_index: int,
        calibration: Calibration | None,
        average: Average = IMAGE_FIRST,
        written: Callable[[Callable[[Any], Any]], Callable[[Any], Any]] = unchanged,
    ) -> None:
        self.labels = case.labels[None]
        self.form = label_form(case, void_index)
        mode = "multiclass" if self.form else "multilabel"
        probs = case.probs[None]
        self.probs = probs if calibration is None else calibration(probs, output_mode=mode)
        high = self.probs.reshape(len(case.probs), -1).max(axis=1)
        self.high = high.astype(np.result_type(high, np.float32))
        self.metric, self.average, self.written = metric, average, written
        self.selected = average.selected(len(case.probs), not self.form)
        self.present = class_presence(self.labels, **self.form)
        self.scores: dict[Any, np.ndarray] = {}

    def active(self, pruning_prob: Any) -> np.ndarray:
        """Return which classes pruning leaves (class,)."""
        return self.high > np.asarray(pruning_prob, self.high.dtype)

    def __call__(self, config: Config) -> np.ndarray:
        """Return `Parts` as one array (presence, part, column).

        First of classes in the label, then of those in label or prediction.
        """
        # Pruning matters only by the classes that it leaves.
        active = () if config.solver in UNPRUNED else tuple(self.active(config.pruning_prob))
        correlation = config.solver_params.get("correlation", 0.0)
        key = (config.metric, config.smooth, config.solver, correlation, active)
        if key not in self.scores:
            found = self.written(RankSEG(**config.arguments))(self.probs)
            counts = (*overlap(found, self.labels, **self.form), self.present)
            parts = [
                self.average.parts(self.metric, presence, *counts, self.selected)
                for presence in PRESENCES
            ]
            self.scores[key] = np.array(parts)[:, :, 0]
        return self.scores[key]


def as_presences(parts: np.ndarray) -> np.ndarray:
    """Return scores (case, ..., presence) of what `Scorer` returned for each case.

    Their means over the cases are the scores of all; see `averages.as_scores`.

    Parameters
    ----------
    parts : array, shape (case, ..., presence, part, column)
    """
    return as_scores(Parts(*np.moveaxis(parts, -2, 0)))


def target(scores: np.ndarray, presence: str) -> np.ndarray:
    """Return one score a case.

    Parameters
    ----------
    scores : array, shape (case, ..., 2)
        What `as_presences` returns.
    presence : {"both", "label", "either"}
        Which score counts: by classes in the label, for "both" too, or in label or prediction.

    Returns
    -------
    array, shape (case, ...)
    """
    return scores[..., int(presence == "either")]


def admitted(scores: np.ndarray, reference: np.ndarray, presence: str) -> np.ndarray:
    """Say which scores may be chosen: all, or for "both" those that cost nothing elsewhere.

    These are not below the reference in the mean over the cases by classes in label or prediction.
    To maximise the mean of both scores instead gives away much of one for little of the other.

    Parameters
    ----------
    scores : array, shape (case, candidate, 2)
        What `as_presences` returns.
    reference : array, shape (case, 2)
        Scores to compare with.
    presence : {"both", "label", "either"}
        Which score counts.

    Returns
    -------
    bool array, shape (candidate,)
    """
    gains = (scores[..., 1] - reference[:, None, 1]).mean(axis=0)
    return (gains >= 0) | (presence != "both")
