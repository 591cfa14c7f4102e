"""What `tune` chooses among: argmax or RankSEG, pruning and calibration; and how each scores."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
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
    "both": "mean over classes in label and over classes in label or prediction",
    **PRESENCES,
}
CALIBRATIONS = ("none", "temperature", "vector")


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
    def name(self) -> str:
        """The candidate, in words."""
        parts = [self.method]
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
            count = 2 + (self.config != Config(metric, output_mode=self.config.output_mode))
        count += {"none": 0, "temperature": 1, "vector": 2 * classes}[self.calibration]
        return count + self.per_class * (classes - 1)


def all_candidates(
    metrics: Sequence[str],
    solvers: Sequence[str],
    pruning_probs: Sequence[float],
    calibrations: Iterable[str],
    output_mode: str,
) -> Iterator[Candidate]:
    """Yield every combination; the first is the plain argmax, or threshold in multilabel."""
    pruned = PRUNED[output_mode]
    for kind in calibrations:
        if kind != "temperature":  # which changes no argmax
            yield Candidate(Config("accuracy", output_mode=output_mode), kind)
        for pruning in pruning_probs:
            yield Candidate(Config("accuracy", 0.0, output_mode, pruned, pruning), kind)
            for metric in metrics:
                for solver in solvers:
                    yield Candidate(Config(metric, 0.0, output_mode, solver, pruning), kind)


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
        key = (config.metric, config.smooth, config.solver, active)
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
        Which score counts: by classes in the label, in label or prediction, or their mean.

    Returns
    -------
    array, shape (case, ...)
    """
    return scores.mean(axis=-1) if presence == "both" else scores[..., int(presence == "either")]
