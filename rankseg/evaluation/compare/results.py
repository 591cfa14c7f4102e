"""From records to conclusions: means, gains over the baseline, and how sure they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from ...metrics import mean_score
from ..statistics import FEWEST_GROUPS, LEVEL, gain_interval
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
    `groups` groups. `gains` (case,) are differences case by case. Fields that begin with `class_`
    (class,) are the same for each class alone, over the cases where it counts.
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
    """

    methods: tuple[Method, ...]
    records: tuple[Record, ...]
    problems: dict[str, str]
    settings: dict[str, Any]
    bootstrap: int
    seed: int

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the methods."""
        return tuple(method.name for method in self.methods)

    @cached_property
    def results(self) -> tuple[Result, ...]:
        """A result for each metric, convention and method, the baseline included."""
        columns = tuple(product(METRICS, PRESENCES))
        tables = [
            [self._scores(index, metric, presence) for metric, presence in columns]
            for index in range(len(self.names))
        ]
        results = [
            result
            for method, table in zip(self.names, tables, strict=True)
            for result in self._compare(method, columns, table, tables[0])
        ]
        order = {column: place for place, column in enumerate(columns)}
        return tuple(sorted(results, key=lambda result: order[result.metric, result.presence]))

    def result(self, method: str, metric: str, presence: str) -> Result:
        """Return one of the results."""
        wanted = (method, metric, presence)
        for result in self.results:
            if (result.method, result.metric, result.presence) == wanted:
                return result
        raise ValueError(f"no result for method, metric and presence {wanted}")

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
            - "results": a list of {"method", "metric", "presence", "score", "gain",
              "interval": [low, high], "verdict", "better", "same", "worse", "classes":
              {"score", "gain", "low", "high"}, each a list}.
            - "per_case": {"name", "group": lists, "gains": {method: {metric: {presence: list}}}}.
            - "calibration": {"error", "bins": {"number", "confidence", "accuracy"},
              "claimed_area": list by class}.
            - "cost": {method: {"seconds", "bytes"}}, the median time and largest peak memory.
        """
        gains: dict[str, Any] = {}
        for result in self.results:
            by_metric = gains.setdefault(result.method, {}).setdefault(result.metric, {})
            by_metric[result.presence] = to_lists(result.gains)
        reliability, costs = self.reliability, zip(self.seconds, self.memory, strict=True)
        return {
            "settings": self.settings,
            "problems": self.problems,
            "cases": len(self.records),
            "groups": self.groups,
            "bootstrap": {"times": self.bootstrap, "seed": self.seed, "level": LEVEL},
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

    def _scores(self, method: int, metric: str, presence: str) -> np.ndarray:
        """Scores (case, 1 + class): the mean over the classes that count, and each class."""
        place = list(METRICS).index(metric)
        scores = np.array([record.scores[method, place] for record in self.records])
        if presence == "label":
            present = np.array([record.present for record in self.records])
            scores = np.where(present, scores, np.nan)
        return np.column_stack([mean_score(scores, per="image"), scores])

    def _compare(
        self,
        method: str,
        columns: Sequence[tuple[str, str]],
        table: list[np.ndarray],
        baseline: list[np.ndarray],
    ) -> list[Result]:
        groups = [record.group for record in self.records]
        low, high = gain_interval(
            np.concatenate(table, axis=1),
            np.concatenate(baseline, axis=1),
            groups,
            self.bootstrap,
            self.seed,
        )
        results = []
        parts = zip(
            columns,
            table,
            baseline,
            low.reshape(len(columns), -1),
            high.reshape(len(columns), -1),
            strict=True,
        )
        for (metric, presence), scores, before, lower, upper in parts:
            mean = mean_score(scores, per="class")
            gain = mean - mean_score(before, per="class")
            results.append(
                Result(
                    method,
                    metric,
                    presence,
                    score=float(mean[0]),
                    gain=float(gain[0]),
                    low=float(lower[0]),
                    high=float(upper[0]),
                    groups=self.groups,
                    gains=(scores - before)[:, 0],
                    class_score=mean[1:],
                    class_gain=gain[1:],
                    class_low=lower[1:],
                    class_high=upper[1:],
                )
            )
        return results


def _result_to_json(result: Result) -> dict[str, Any]:
    numbers = (result.score, result.gain, result.low, result.high)
    score, gain, low, high = to_lists(np.array(numbers))
    return {
        "method": result.method,
        "metric": result.metric,
        "presence": result.presence,
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
