"""What `tune` found: how every candidate did, the choice, and the reason in plain words."""

from dataclasses import dataclass, field
from typing import Any

from ... import __version__
from ...config import Config
from ..averages import IMAGE_FIRST, Average
from ..cases.census import Census
from ..compare.scores import TITLES
from ..statistics import FEWEST_GROUPS
from .candidates import TARGETS, Candidate


@dataclass(frozen=True)
class Outcome:
    """What cross-validation says of one candidate.

    `label` and `either` are the samplewise score over the classes in the label, and over those
    in label or prediction; `score` is the one of them that decides, for presence "both" the
    former. `gain` is that of this score over the plain argmax, and `behind` what it lacks to the
    best candidate, each with its standard error. All between 0 and 1. `admitted` is false if for
    "both" it is below argmax in `either`, and cannot be chosen.
    """

    candidate: Candidate
    complexity: int
    label: float
    either: float
    score: float
    gain: float
    gain_error: float
    behind: float
    behind_error: float
    admitted: bool = True


@dataclass(frozen=True)
class Tuning:
    """The choice, and what it was made from.

    `config` holds the chosen settings, fitted to all cases. `outcomes` begins with the plain
    argmax; `best`, `chosen` and `untuned` (RankSEG with its defaults) are among them. `unseen` is
    the gain, with its standard error, on each fold of what is chosen from the scores of the others.
    `problems` says why cases were left out, by name.
    """

    config: Config
    outcomes: tuple[Outcome, ...]
    best: Outcome
    chosen: Outcome
    untuned: Outcome
    metric: str
    presence: str
    images: int
    groups: int
    folds: int
    problems: dict[str, str]
    average: Average = IMAGE_FIRST
    census: Census | None = field(default=None, compare=False)
    unseen: float = 0.0
    unseen_error: float = 0.0

    @property
    def baseline(self) -> Outcome:
        """The plain argmax, or threshold in multilabel."""
        return self.outcomes[0]

    @property
    def title(self) -> str:
        """The score that decides, and what it is from."""
        units = f"{self.images} images"
        if self.groups < self.images:
            units += f" of {self.groups} groups"
        words = TARGETS[self.presence]
        if self.average.name != "image-first":
            words = f"{self.average.name}, {words}"
        if self.average.ignored:
            words += f", without {', '.join(map(str, self.average.ignored))}"
        if self.average.classes is not None:
            words += f", of {', '.join(map(str, self.average.classes))}"
        return f"{TITLES[self.metric]} of {units} ({words})"

    def leaders(self) -> list[Outcome]:
        """Return the best pruning and correlation of each kind of candidate, the best kind first.

        What was chosen, and untuned RankSEG, are among them in any case.
        """
        seen, leaders = set(), []
        for outcome in sorted(self.outcomes, key=lambda one: (not one.admitted, one.behind)):
            one = outcome.candidate
            kind = (one.method, one.calibration, one.pruning == "none", one.per_class)
            if kind not in seen or outcome is self.chosen or outcome is self.untuned:
                leaders.append(outcome)
            seen.add(kind)
        return leaders

    @property
    def verdict(self) -> str:
        """The choice in plain words."""
        argmax, best, chosen = self.baseline, self.best, self.chosen
        score = f"cross-validated {self.title}"
        if chosen is argmax and best is argmax:
            text = f"Leave {argmax.candidate.name} alone: no candidate has a higher {score}."
            return text + self._refused
        if chosen is argmax:
            text = (
                f"Leave {argmax.candidate.name} alone: the best candidate, {best.candidate.name}, "
                f"is {_points(best.gain, best.gain_error)} better in {score}, which is within "
                "one standard error."
            )
            return text + self._refused
        text = (
            f"Use {chosen.candidate.name}: it is {_points(chosen.gain, chosen.gain_error)} better "
            f"than {argmax.candidate.name} in {score}"
        )
        if chosen is not self.untuned:
            text += f", and RankSEG untuned is {100 * self.untuned.gain:+.2f}"
        if chosen is not best:
            text += (
                f". The best candidate, {best.candidate.name}, is less simple, and only "
                f"{_points(chosen.behind, chosen.behind_error)} better"
            )
        return (
            f"{text}. Chosen without the fold that it is scored on, the gain is "
            f"{_points(self.unseen, self.unseen_error)}.{self._refused}"
        )

    @property
    def _refused(self) -> str:
        """What would be better if it did not lose elsewhere, as a further sentence, if any is."""
        other = max(self.outcomes, key=lambda outcome: outcome.gain)
        lost = other.either - self.baseline.either
        if other.admitted:
            return ""
        return (
            f" {other.candidate.name} is {100 * other.gain:.2f} better than "
            f"{self.baseline.candidate.name}, and refused for "
            f"{100 * lost:+.2f} over classes in label or prediction."
        )

    @property
    def caution(self) -> str:
        """What to be careful about, if anything."""
        if self.groups >= FEWEST_GROUPS:
            return ""
        return (
            f"Standard errors need {FEWEST_GROUPS} groups or more, and here the number of groups "
            f"is {self.groups}: do not rely on the choice."
        )

    def _average_record(self) -> dict[str, Any]:
        """Return what is not usual of the mean that decided."""
        found: dict[str, Any] = {}
        if self.average.name != IMAGE_FIRST.name:
            found["average"] = self.average.name
        if self.average.classes is not None:
            found["classes"] = list(self.average.classes)
        if self.average.ignored:
            found["ignore_classes"] = list(self.average.ignored)
        if self.average.empty != IMAGE_FIRST.empty:
            found["empty"] = self.average.empty
        return found

    def record(self) -> dict[str, Any]:
        """Return what a file of settings tells about their origin."""
        return {
            "choice": self.chosen.candidate.name,
            "metric": self.metric,
            "presence": self.presence,
            **self._average_record(),
            "images": self.images,
            "groups": self.groups,
            "folds": self.folds,
            "candidates": len(self.outcomes),
            "score": round(self.chosen.score, 6),
            "score_argmax": round(self.baseline.score, 6),
            "score_untuned": round(self.untuned.score, 6),
            "gain": round(self.chosen.gain, 6),
            "gain_standard_error": round(self.chosen.gain_error, 6),
            "gain_unseen": round(self.unseen, 6),
            "version": __version__,
        }


def _points(value: float, error: float) -> str:
    return f"{100 * value:.2f} ± {100 * error:.2f} points"
