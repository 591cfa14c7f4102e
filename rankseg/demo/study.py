"""The demo's experiment: argmax and RankSEG on images that the models have not seen."""

import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .. import evaluation, metrics
from ..evaluation import Evaluation, Result, default_methods, evaluate
from ..evaluation.compare.scores import METRICS, PRESENCES, TITLES
from .model import PixelMLP, pixel_features
from .scenes import CLASSES, Scenes, make_scenes


class Comparison(NamedTuple):
    """A mean score of argmax, and what `rankseg.evaluation` says of RankSEG by the same score."""

    argmax: float
    result: Result

    @property
    def rankseg(self) -> float:
        """Mean score of RankSEG."""
        return self.result.score

    @property
    def gains(self) -> np.ndarray:
        """Gain on each image."""
        return self.result.gains

    @property
    def counts(self) -> tuple[int, int, int]:
        """Number of images where RankSEG is better, equal and worse."""
        return self.result.counts


@dataclass(frozen=True)
class Foresight:
    """How well the expected Dice of RankSEG's masks, which needs no label, tells the true one.

    Means, and the correlation, over all masks that are not empty.
    """

    expected: float
    measured: float
    correlation: float


@dataclass(frozen=True)
class Case:
    """One model's probabilities on the held-out images, and what became of them.

    `labels` holds the label maps of "argmax" and "dice" (RankSEG for Dice), which `foresight` is
    about.
    """

    title: str
    evaluation: Evaluation
    labels: dict[str, np.ndarray]
    foresight: Foresight

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Each score of argmax, and of RankSEG that maximises it."""
        return tuple(
            Comparison(
                self.evaluation.result("argmax", metric, presence).score,
                self.evaluation.result(f"RankSEG {TITLES[metric]}", metric, presence),
            )
            for metric in METRICS
            for presence in PRESENCES
        )


@dataclass(frozen=True)
class Study:
    """Held-out scenes, the cases tried on them, and the duration of everything."""

    scenes: Scenes
    cases: tuple[Case, ...]
    seconds: float


def run_study(
    seed: int = 0, *, training_scenes: int = 100, test_scenes: int = 200, steps: int = 6000
) -> Study:
    """Train two models and compare argmax with RankSEG on held-out scenes, in three cases.

    The second model differs from the first by class weights in its loss, a common habit that
    makes it claim rare classes too often. In the third case these weights are divided out of its
    probabilities again.

    Parameters
    ----------
    seed : int, default 0
        Fixes the scenes and the training.
    training_scenes, test_scenes, steps : int
        Size of the experiment.

    Returns
    -------
    Study
        Everything that is printed or drawn.
    """
    start = time.perf_counter()
    training = make_scenes(training_scenes, np.random.default_rng([seed, 0]))
    test = make_scenes(test_scenes, np.random.default_rng([seed, 1]))
    features, test_features = pixel_features(training.images), pixel_features(test.images)

    frequency = np.bincount(training.labels.reshape(-1), minlength=len(CLASSES)) + 1
    weights = np.sqrt(frequency.sum() / frequency)
    plain, weighted = (
        PixelMLP(len(CLASSES), seed)
        .fit(features, training.labels, class_weights=class_weights, steps=steps)
        .probabilities(test_features)
        for class_weights in (None, weights)
    )
    undone = weighted / weights.astype(np.float32)[:, None, None]
    undone /= undone.sum(axis=1, keepdims=True)

    cases = (
        compare("Plain cross-entropy", plain, test.labels),
        compare("Cross-entropy with class weights", weighted, test.labels),
        compare("The same model, its class weights divided out again", undone, test.labels),
    )
    return Study(test, cases, time.perf_counter() - start)


def compare(title: str, probs: np.ndarray, truth: np.ndarray) -> Case:
    """Compare argmax with RankSEG on probabilities (number, class, *spatial) with known labels."""
    argmax, _, *rankseg = default_methods(correlation=0.0)  # without the argmax with pruning
    cases = (
        evaluation.Case(f"{i:06}", *pair, group=f"{i:06}")
        for i, pair in enumerate(zip(probs, truth, strict=True))
    )
    labels = {"argmax": argmax.predict(probs), "dice": rankseg[0].predict(probs)}
    return Case(
        title,
        evaluate(cases, [argmax, *rankseg]),
        labels,
        _foresight(probs, labels["dice"], truth),
    )


def _foresight(probs: np.ndarray, labels: np.ndarray, truth: np.ndarray) -> Foresight:
    classes = probs.shape[1]
    predicted = metrics.class_presence(labels, num_classes=classes)
    expected = metrics.expected_dice(probs, labels)[predicted]
    measured = metrics.dice(labels, truth, num_classes=classes)[predicted]
    correlation = np.corrcoef(expected, measured)[0, 1]
    return Foresight(float(expected.mean()), float(measured.mean()), float(correlation))
