"""Cross-validation: what is fitted to some cases is scored on the others."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import compress

import numpy as np

from ...calibration import Calibration
from ...config import Config
from ..averages import IMAGE_FIRST, Average
from ..cases.case import Case
from ..cases.census import Census, count_labels
from ..cases.source import Source
from .candidates import Candidate, Scorer, as_presences
from .fit import Sample, fit, sample_pixels
from .folds import split
from .pruning import search, trials

PIXELS = 2000
"""Pixels of a case that calibrations are fitted to, at most."""

VALUES = 2**22
"""Probabilities that they are fitted to, of all cases together, at most."""


def draw_pixels(
    source: Source, seed: int, total: int | None, counts: list[Census] | None = None
) -> list[Sample]:
    """Draw some pixels of each case; of a `total` number of cases, if that is known.

    `counts` receives those of the labels of each case.
    """
    rng = np.random.default_rng(seed)

    def draw(_: int, case: Case) -> Sample:
        if counts is not None:
            counts.append(count_labels(case, source.void_index))
        each = max(1, VALUES // (len(case.probs) * (total or 1000)))
        return sample_pixels(case.probs, case.labels, min(PIXELS, each), rng, source.void_index)

    return source.visit("reading", draw)


class CrossValidation:
    """Scores of candidates on each case, by what was fitted without the fold of the case.

    Whatever is fitted is fitted without each fold in turn, for the scores, and once to all cases,
    for the settings to keep. It is stored by the fold that was left out: a number, or None where
    none was.

    Attributes
    ----------
    folds : int array, shape (case,)
        Fold of each case.
    left_out : tuple of (int or None)
        Each fold, and None.
    calibrations : dict
        By kind and fold left out.
    pruning : dict
        Pruning probabilities of the classes by fold left out, as of `fit_pruning`.
    """

    def __init__(
        self,
        source: Source,
        samples: Sequence[Sample],
        kinds: Iterable[str],
        folds: int,
        average: Average = IMAGE_FIRST,
    ) -> None:
        self.source, self.average = source, average
        self.folds = split(source.groups, folds)
        self.left_out: tuple[int | None, ...] = (*range(self.folds.max() + 1), None)
        self.calibrations = {
            (kind, fold): _fit(kind, list(compress(samples, self.seen_without(fold))))
            for kind in kinds
            for fold in self.left_out
        }
        self.pruning: dict[int | None, tuple[float, ...]] = {}

    def seen_without(self, fold: int | None) -> np.ndarray:
        """Say of each case whether it is fitted to when a fold is left out, or none (None)."""
        return np.full(len(self.folds), True) if fold is None else self.folds != fold

    def settings(self, candidate: Candidate, fold: int | None) -> Config:
        """Return the settings of a candidate but for its calibration, fitted without a fold."""
        if not candidate.per_class:
            return candidate.config
        return replace(candidate.config, pruning_prob=self.pruning[fold])

    def scores(self, candidates: Sequence[Candidate], metric: str, step: str) -> np.ndarray:
        """Return the scores (case, candidate, presence): their means over cases are the scores."""
        kinds = dict.fromkeys(candidate.calibration for candidate in candidates)

        def score(position: int, case: Case) -> np.ndarray:
            fold = int(self.folds[position])
            found: list[np.ndarray] = [np.empty(0)] * len(candidates)
            for kind in kinds:  # one calibrated copy of the probabilities at a time
                of_kind = [i for i, one in enumerate(candidates) if one.calibration == kind]
                settings = [self.settings(candidates[i], fold) for i in of_kind]
                calibration = self.calibrations[kind, fold]
                scorer = self._scorer(case, metric, calibration)
                for i, one in zip(of_kind, settings, strict=True):
                    found[i] = scorer(one)
                del scorer
            return np.array(found)

        return as_presences(np.array(self.source.visit(step, score)))

    def _scorer(self, case: Case, metric: str, calibration: Calibration | None) -> Scorer:
        void_index, written = self.source.void_index, self.source.written
        return Scorer(case, metric, void_index, calibration, self.average, written)

    def fit_pruning(
        self, base: Candidate, pruning_probs: Sequence[float], metric: str, presence: str
    ) -> None:
        """Find a pruning probability for each class, from that of the base for all classes.

        Each case is tried once with every calibration that it was fitted to; the choice without
        a fold is made from the trials of the other folds, with the calibration fitted to these.
        """
        calibrations = {fold: self.calibrations[base.calibration, fold] for fold in self.left_out}

        def try_classes(position: int, case: Case) -> dict[Calibration | None, np.ndarray]:
            wanted = {c for fold, c in calibrations.items() if self.seen_without(fold)[position]}
            return {
                calibration: trials(
                    self._scorer(case, metric, calibration),
                    base.config,
                    pruning_probs,
                )
                for calibration in wanted
            }

        tried = self.source.visit("pruning each class", try_classes)
        for fold, calibration in calibrations.items():
            seen = self.seen_without(fold)
            self.pruning[fold] = search(
                as_presences(np.array([of_case[calibration] for of_case in compress(tried, seen)])),
                base.config.pruning_prob,
                pruning_probs,
                list(compress(self.source.groups, seen)),
                presence,
            )


def _fit(kind: str, samples: Sequence[Sample]) -> Calibration | None:
    if kind == "none":
        return None
    pixels = Sample(*map(np.concatenate, zip(*samples, strict=True)))
    return fit(kind, pixels, prior=1 / len(samples))
