"""Cross-validation: what is fitted to some cases is scored on the others."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import compress
from typing import Any

import numpy as np

from ..calibration import Calibration
from ..config import Config
from .candidates import Candidate, Scorer
from .cases import Case
from .checking import checked_cases, no_usable_case
from .fit import Sample, fit, sample_pixels
from .folds import split
from .pruning import search, trials

PIXELS = 2000
"""Pixels of a case that calibrations are fitted to, at most."""

VALUES = 2**22
"""Probabilities that they are fitted to, of all cases together, at most."""

ALL = -1
"""In place of the fold that is left out: none is."""


class Source:
    """Cases that are gone through again and again, the bad ones left out."""

    def __init__(
        self,
        cases: Iterable[Any],
        output_mode: str,
        void_index: int,
        progress: Callable[[str, int], None] | None,
    ) -> None:
        if isinstance(cases, Iterator):
            raise TypeError(
                "cases are gone through several times: pass Cases, a list or the like, "
                f"found {type(cases).__name__}"
            )
        self.cases, self.output_mode, self.void_index = cases, output_mode, void_index
        self.progress = progress or (lambda step, done: None)
        self.problems: dict[str, str] = {}
        self.names: list[str] = []
        self.groups: list[str] = []
        self.classes: int | None = None

    def read(self, step: str) -> Iterator[tuple[int, Case]]:
        """Go through the cases, those only that were good the first time."""
        first, count = not self.names, 0
        good = checked_cases(
            self.cases,
            self.problems,
            output_mode=self.output_mode,
            void_index=self.void_index,
            classes=self.classes,
            skip=self.problems,
        )
        for i, case in enumerate(good):
            if first:
                self.names.append(case.name)
                self.groups.append(case.group)
                self.classes = len(case.probs)
            if self.names[i : i + 1] != [case.name]:
                break
            yield i, case
            count += 1
            self.progress(step, count)
        if count < len(self.names):
            raise ValueError("cases must be the same each time that they are gone through")

    def sample(self, seed: int, total: int | None) -> list[Sample]:
        """Go through the cases for the first time, and keep some pixels of each."""
        rng = np.random.default_rng(seed)
        samples = []
        for _, case in self.read("reading"):
            each = max(1, VALUES // (len(case.probs) * (total or 1000)))
            samples.append(
                sample_pixels(case.probs, case.labels, min(PIXELS, each), rng, self.void_index)
            )
        if not samples:
            raise no_usable_case(self.problems)
        return samples


class CrossValidation:
    """Scores of candidates on each case, by what was fitted without the fold of the case.

    Attributes
    ----------
    parts : int array, shape (case,)
        Fold of each case.
    fits : dict
        Calibration by kind and by the fold that was left out.
    pruning : dict
        Pruning probabilities of the classes by the fold that was left out.
    """

    def __init__(
        self, source: Source, samples: Sequence[Sample], kinds: Iterable[str], folds: int
    ) -> None:
        self.source = source
        self.parts = split(source.groups, folds)
        self.left_out = (*range(self.parts.max() + 1), ALL)
        self.fits = {
            (kind, part): _fit(kind, list(compress(samples, self.parts != part)))
            for kind in kinds
            for part in self.left_out
        }
        self.pruning: dict[int, tuple[float, ...]] = {}

    def scores(self, candidates: Sequence[Candidate], metric: str, step: str) -> np.ndarray:
        """Return the scores (case, candidate, presence) that `Scorer` gives."""
        scores = np.empty((len(self.parts), len(candidates), 2))
        for i, case in self.source.read(step):
            part, scorers = self.parts[i], {}
            for j, candidate in enumerate(candidates):
                kind = candidate.calibration
                if kind not in scorers:
                    scorers[kind] = self._scorer(case, metric, self.fits[kind, part])
                scores[i, j] = scorers[kind](self.config(candidate, part))
        return scores

    def config(self, candidate: Candidate, part: int) -> Config:
        """Return the settings of a candidate but for its calibration, fitted without a fold."""
        if not candidate.per_class:
            return candidate.config
        return replace(candidate.config, pruning_prob=self.pruning[part])

    def fit_pruning(
        self, base: Candidate, pruning_probs: Sequence[float], metric: str, presence: str
    ) -> None:
        """Find a pruning probability for each class, from that of the base for all classes."""
        before = base.config.pruning_prob
        results: dict[int, list[np.ndarray]] = {part: [] for part in self.left_out}
        for i, case in self.source.read("pruning each class"):
            known: dict[Calibration | None, np.ndarray] = {}
            for part in self.left_out:
                if part == self.parts[i]:
                    continue
                calibration = self.fits[base.calibration, part]
                if calibration not in known:
                    scorer = self._scorer(case, metric, calibration)
                    known[calibration] = trials(scorer, base.config, pruning_probs)
                results[part].append(known[calibration])
        for part, found in results.items():
            groups = np.asarray(self.source.groups)[self.parts != part]
            self.pruning[part] = search(np.array(found), before, pruning_probs, groups, presence)

    def _scorer(self, case: Case, metric: str, calibration: Calibration | None) -> Scorer:
        return Scorer(case, metric, self.source.void_index, calibration)


def _fit(kind: str, samples: Sequence[Sample]) -> Calibration | None:
    if kind == "none":
        return None
    pixels = Sample(*map(np.concatenate, zip(*samples, strict=True)))
    return fit(kind, pixels, prior=1 / len(samples))
