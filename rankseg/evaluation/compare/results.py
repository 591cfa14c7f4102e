"""From records to conclusions: means, gains over the baseline, and how sure they are."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ..averages import IMAGE_FIRST, Average, Parts, mean_of
from ..cases.census import Census, add_up
from ..statistics import FEWEST_GROUPS, LEVEL, paired_interval
from .methods import Method
from .records import Record, to_lists
from .reliability import Reliability, add
from .scores import METRICS, PRESENCES

_TIE = 1e-9


@dataclass(frozen=True)
class Result:
    """Scores of one method by one metric and convention, and its gain over the baseline.

    `presence` says which classes of a case are averaged: those in its "label", or those in
    "either" its label or the prediction. `score` is the mean over the cases, `gain` its
    difference from the baseline's, `low` and `high` the 95 % interval of that, by resampling of
    `groups` groups. `gains` (case,) are differences case by case, of the mean over its classes.
    Fields that begin with `class_` (class,) are the same for each class alone, over the cases
    where it counts. `average` says which mean the score is, as `evaluate` takes it.
    """

    method: str
    metric: str
    presence: str
    score: float
    gain: float
    low: float
    high: float
    groups: int
    gains: np.ndarray
    class_score: np.ndarray
    class_gain: np.ndarray
    class_low: np.ndarray
    class_high: np.ndarray
    average: str = "image-first"

    @property
    def counts(self) -> tuple[int, int, int]:
        """Number of cases that are better, the same and worse than with the baseline."""
        better, worse = (int(np.sum(sign * self.gains > _TIE)) for sign in (1, -1))
        return better, int(np.sum(np.abs(self.gains) <= _TIE)), worse

    @property
    def verdict(self) -> str:
        """Say "helps" or "hurts" if the interval is on one side of zero, else "unclear".

        With few groups it is always unclear: they may well agree by chance.
        """
        if self.groups < FEWEST_GROUPS:
            return "unclear"
        if self.low > 0:
            return "helps"
        return "hurts" if self.high < 0 else "unclear"


@dataclass(frozen=True)
class Evaluation:
    """Comparison of several methods on the same cases.

    Parameters
    ----------
    methods : tuple of Method
        The first is the baseline of the others.
    records : tuple of Record
        What was kept of each case, by name.
    problems : dict of str to str
        Why a case is not among them, by name.
    settings : dict
        How this was made.
    bootstrap, seed : int
        How many resamples the intervals are from, and their seed.
    averages : tuple of Average
        Means that are reported, the first being the one meant where none is named.
    class_names : tuple of str
        Names of the classes; their numbers if there are none.
    """

    methods: tuple[Method, ...]
    records: tuple[Record, ...]
    problems: dict[str, str]
    settings: dict[str, Any]
    bootstrap: int
    seed: int
    averages: tuple[Average, ...] = (IMAGE_FIRST,)
    class_names: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.records[0].present)

    @property
    def census(self) -> Census:
        """Counts of the labels of all cases."""
        return add_up(record.census for record in self.records)

    def class_name(self, label: int) -> str:
        """Return the name of a class, its number if it has none."""
        return self.class_names[label] if label < len(self.class_names) else str(label)

    def selected(self, average: Average) -> np.ndarray:
        """Return which classes count in a mean (class,)."""
        multilabel = self.settings.get("output_mode") == "multilabel"
        return average.selected(self.classes, multilabel)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the methods."""
        return tuple(method.name for method in self.methods)

    @cached_property
    def results(self) -> tuple[Result, ...]:
        """A result for each average, metric, convention and method, the baseline included."""
        results: list[Result] = []
        for average, metric, presence in product(self.averages, METRICS, PRESENCES):
            found = [
                self._scores(index, average, metric, presence) for index in range(len(self.names))
            ]
            results += self._compare(average.name, metric, presence, found)
        return tuple(results)

    def result(self, method: str, metric: str, presence: str, average: str | None = None) -> Result:
        """Return one of the results, by default of the first of the averages."""
        wanted = (method, metric, presence, average or self.averages[0].name)
        for result in self.results:
            if (result.method, result.metric, result.presence, result.average) == wanted:
                return result
        raise ValueError(f"no result for method, metric, presence and average {wanted}")

    def worst(self, result: Result, number: int = 10) -> list[tuple[str, float]]:
        """Return the names and gains of the cases that lose most, the worst first."""
        return self._extremes(result, -1, number)

    def best(self, result: Result, number: int = 10) -> list[tuple[str, float]]:
        """Return the names and gains of the cases that gain most, the best first."""
        return self._extremes(result, 1, number)

    def _extremes(self, result: Result, sign: int, number: int) -> list[tuple[str, float]]:
        order = np.argsort(-sign * result.gains, kind="stable")[:number]  # NaN comes last
        return [
            (self.records[i].name, float(result.gains[i]))
            for i in order
            if sign * result.gains[i] > _TIE
        ]

    @cached_property
    def groups(self) -> int:
        """Number of groups that the bootstrap draws from."""
        return len({record.group for record in self.records})

    @cached_property
    def reliability(self) -> Reliability:
        """Calibration of the probabilities over all cases."""
        return add(record.reliability for record in self.records)

    @property
    def seconds(self) -> np.ndarray:
        """Median time per case of each method."""
        return np.median([record.seconds for record in self.records], axis=0)

    @property
    def memory(self) -> np.ndarray:
        """Largest peak of allocated bytes of each method."""
        return np.nanmax([record.memory for record in self.records], axis=0)

    def to_json(self) -> dict[str, Any]:
        """Return everything as values that JSON has; null stands for what is not defined.

        Returns
        -------
        dict
            - "settings", "problems": as given.
            - "cases", "groups": how many there are.
            - "bootstrap": {"times", "seed", "level"}.
            - "results": a list of {"method", "metric", "presence", "average", "score", "gain",
              "interval": [low, high], "verdict", "better", "same", "worse", "classes":
              {"score", "gain", "low", "high"}, each a list}.
            - "average": a list of {"name", "classes" that count, "empty"}.
            - "class_names": a list.
            - "labels": {"area": list by class, "void", "pixels"}, in pixels.
            - "per_case": {"name", "group": lists, "gains": {method: {metric: {presence: list}}}},
              by the first average.
            - "calibration": {"error", "bins": {"number", "confidence", "accuracy"},
              "claimed_area": list by class}.
            - "cost": {method: {"seconds", "bytes"}}, the median time and largest peak memory.
        """
        gains: dict[str, Any] = {}
        for result in self.results:
            if result.average != self.averages[0].name:
                continue
            by_metric = gains.setdefault(result.method, {}).setdefault(result.metric, {})
            by_metric[result.presence] = to_lists(result.gains)
        reliability, costs = self.reliability, zip(self.seconds, self.memory, strict=True)
        return {
            "settings": self.settings,
            "problems": self.problems,
            "cases": len(self.records),
            "groups": self.groups,
            "bootstrap": {"times": self.bootstrap, "seed": self.seed, "level": LEVEL},
            "average": [
                {
                    "name": average.name,
                    "classes": np.flatnonzero(self.selected(average)).tolist(),
                    "empty": average.empty,
                }
                for average in self.averages
            ],
            "class_names": [self.class_name(label) for label in range(self.classes)],
            "labels": {
                "area": self.census.area.tolist(),
                "void": self.census.void,
                "pixels": self.census.pixels,
            },
            "results": [_result_to_json(result) for result in self.results],
            "per_case": {
                "name": [record.name for record in self.records],
                "group": [record.group for record in self.records],
                "gains": gains,
            },
            "calibration": {
                "error": reliability.error,
                "bins": {
                    "number": reliability.bins[0].tolist(),
                    "confidence": to_lists(reliability.confidence),
                    "accuracy": to_lists(reliability.accuracy),
                },
                "claimed_area": to_lists(reliability.claimed_area),
            },
            "cost": {
                method: {"seconds": float(seconds), "bytes": float(size)}
                for method, (seconds, size) in zip(self.names, costs, strict=True)
            },
        }

    def _scores(self, method: int, average: Average, metric: str, presence: str) -> "_Scores":
        intersection = np.array([record.intersection[method] for record in self.records])
        union = np.array([record.union[method] for record in self.records])
        present = np.array([record.present for record in self.records])
        counts = (metric, presence, intersection, union, present)
        selected = self.selected(average)
        by_class = (
            replace(average, name="class-first") if average.name == "image-first" else average
        )
        every = np.full(self.classes, True)
        cases = replace(average, name="image-first").parts(*counts, selected)
        return _Scores(
            mean=average.parts(*counts, selected),
            classes=by_class.parts(*counts, every),
            cases=np.where(cases.counts > 0, cases.over, np.nan)[:, 0],
        )

    def _compare(
        self, average: str, metric: str, presence: str, found: "list[_Scores]"
    ) -> Iterator[Result]:
        """Yield a result for the scores of each method; the first is the baseline."""
        baseline, count = found[0], len(found)

        def estimates(draws: np.ndarray) -> np.ndarray:
            return np.concatenate([scores.estimate(draws) for scores in found], axis=1)

        def of_baseline(draws: np.ndarray) -> np.ndarray:
            return np.tile(baseline.estimate(draws), count)

        groups = [record.group for record in self.records]
        low, high = paired_interval(estimates, of_baseline, groups, self.bootstrap, self.seed)
        once = np.ones((1, len(groups)))
        means = estimates(once)[0]
        parts = (means, means - of_baseline(once)[0], low, high)
        columns = (part.reshape(count, -1) for part in parts)
        for name, scores, mean, gain, lower, upper in zip(self.names, found, *columns, strict=True):
            yield Result(
                name,
                metric,
                presence,
                score=float(mean[0]),
                gain=float(gain[0]),
                low=float(lower[0]),
                high=float(upper[0]),
                groups=self.groups,
                gains=scores.cases - baseline.cases,
                class_score=mean[1:],
                class_gain=gain[1:],
                class_low=lower[1:],
                class_high=upper[1:],
                average=average,
            )


class _Scores(NamedTuple):
    """What one method scored: the parts of the mean, of each class, and a mean a case (case,)."""

    mean: Parts
    classes: Parts
    cases: np.ndarray

    def estimate(self, draws: np.ndarray) -> np.ndarray:
        """Return the mean and the score of each class (draw, 1 + class)."""
        mean = mean_of(self.mean.columns(draws))
        return np.column_stack([mean, self.classes.columns(draws)])


def _result_to_json(result: Result) -> dict[str, Any]:
    numbers = (result.score, result.gain, result.low, result.high)
    score, gain, low, high = to_lists(np.array(numbers))
    return {
        "method": result.method,
        "metric": result.metric,
        "presence": result.presence,
        "average": result.average,
        "score": score,
        "gain": gain,
        "interval": [low, high],
        "verdict": result.verdict,
        **dict(zip(("better", "same", "worse"), result.counts, strict=True)),
        "classes": {
            name: to_lists(getattr(result, f"class_{name}"))
            for name in ("score", "gain", "low", "high")
        },
    }
