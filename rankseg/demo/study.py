"""The demo's experiment: argmax and RankSEG on images that the models have not seen."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .. import metrics
from ..functional import rankseg
from .model import PixelMLP, pixel_features
from .scenes import CLASSES, Scenes, make_scenes

_SCORES = {"dice": metrics.dice, "iou": metrics.iou}


@dataclass(frozen=True)
class Comparison:
    """Mean samplewise scores of argmax and RankSEG, and the gain of RankSEG on each image.

    `metric` is "dice" or "iou". With `label_only` the classes present in an image's label are
    averaged, otherwise those present in its label or in the prediction.
    """

    metric: str
    label_only: bool
    argmax: float
    rankseg: float
    gains: np.ndarray

    @property
    def gain(self) -> float:
        """Mean gain over the images."""
        return float(self.gains.mean())

    @property
    def error(self) -> float:
        """Standard error of the mean gain."""
        return float(self.gains.std(ddof=1) / np.sqrt(len(self.gains)))

    @property
    def verdict(self) -> int:
        """1 for a gain and -1 for a loss of more than two standard errors, else 0."""
        return int(np.sign(self.gain)) if abs(self.gain) > 2 * self.error else 0

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of images where RankSEG is better, equal and worse."""
        signs = np.sign(np.where(np.abs(self.gains) < 1e-9, 0, self.gains))
        return tuple(int(np.sum(signs == sign)) for sign in (1, 0, -1))


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

    `claimed_area` is, for each class, the sum of its probabilities over its true area: 1 for
    calibrated probabilities. `labels` holds the label maps of "argmax", "dice" and "iou" (RankSEG
    for that metric), and `seconds` the time that each took. `foresight` is about the Dice labels.
    """

    title: str
    labels: dict[str, np.ndarray]
    seconds: dict[str, float]
    comparisons: tuple[Comparison, ...]
    claimed_area: np.ndarray
    foresight: Foresight


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
    labels, seconds = {}, {}
    labels["argmax"], seconds["argmax"] = _timed(partial(probs.argmax, axis=1))
    for metric in _SCORES:
        labels[metric], seconds[metric] = _timed(partial(rankseg, probs, metric))
    comparisons = tuple(
        _comparison(metric, label_only, labels, truth, probs.shape[1])
        for metric in _SCORES
        for label_only in (True, False)
    )
    area = np.bincount(truth.reshape(-1), minlength=probs.shape[1])
    claimed = np.moveaxis(probs, 1, 0).reshape(probs.shape[1], -1).sum(axis=1, dtype=np.float64)
    claimed_area = claimed / np.maximum(area, 1)
    foresight = _foresight(probs, labels["dice"], truth)
    return Case(title, labels, seconds, comparisons, claimed_area, foresight)


def _foresight(probs: np.ndarray, labels: np.ndarray, truth: np.ndarray) -> Foresight:
    classes = probs.shape[1]
    predicted = metrics.class_presence(labels, num_classes=classes)
    expected = metrics.expected_dice(probs, labels)[predicted]
    measured = metrics.dice(labels, truth, num_classes=classes)[predicted]
    correlation = np.corrcoef(expected, measured)[0, 1]
    return Foresight(float(expected.mean()), float(measured.mean()), float(correlation))


def _comparison(
    metric: str, label_only: bool, labels: dict[str, np.ndarray], truth: np.ndarray, classes: int
) -> Comparison:
    present = metrics.class_presence(truth, num_classes=classes) if label_only else None
    before, after = (
        metrics.mean_score(
            _SCORES[metric](labels[method], truth, num_classes=classes),
            present=present,
            per="image",
        )
        for method in ("argmax", metric)
    )
    return Comparison(metric, label_only, float(before.mean()), float(after.mean()), after - before)


def _timed(function: Callable[[], Any]) -> tuple[np.ndarray, float]:
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start
