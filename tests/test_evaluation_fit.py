"""Calibrations fitted by likelihood to labelled pixels."""

import numpy as np
import pytest

from rankseg.activations import sigmoid, softmax
from rankseg.calibration import Calibration
from rankseg.evaluation.tuning.fit import LEAST_SCALE, Sample, fit, sample_pixels

TRUE = Calibration("vector", (0.7, 1.0, 1.4), (0.0, 0.5, -0.8))


def draw(rng, q):
    """Draw a class from each row of probabilities."""
    return (q.cumsum(axis=1) < rng.random((len(q), 1))).sum(axis=1)


def soft_rows(rng, count, classes=3):
    return softmax(rng.normal(scale=2, size=(count, classes)), axis=1)


def apply(calibration, p, multilabel=False):
    """Correct rows of probabilities (pixel, class)."""
    mode = "multilabel" if multilabel else "multiclass"
    return calibration(p.T[None], output_mode=mode)[0].T


def loss(calibration, sample):
    """Mean negative log-likelihood of a pixel, written down once more."""
    multilabel = sample.labels.dtype == bool
    q = apply(calibration, sample.probs, multilabel)
    if multilabel:
        return -np.log(np.where(sample.labels, q, 1 - q)).sum() / len(q)
    return -np.log(q[np.arange(len(q)), sample.labels]).mean()


def multiclass_sample(calibration, count=20000, seed=0):
    rng = np.random.default_rng(seed)
    p = soft_rows(rng, count)
    return Sample(p, draw(rng, apply(calibration, p)))


def multilabel_sample(calibration, count=20000, seed=0):
    rng = np.random.default_rng(seed)
    p = sigmoid(rng.normal(scale=2, size=(count, 3)))
    return Sample(p, rng.random(p.shape) < apply(calibration, p, multilabel=True))


@pytest.mark.parametrize("true", [0.4, 1.0, 1.7])
def test_a_known_temperature_is_found(true):
    sample = multiclass_sample(Calibration("temperature", true))
    found = fit("temperature", sample)
    # The information of a pixel about the scale is the variance of log p over classes.
    x, q = np.log(sample.probs), apply(Calibration("temperature", true), sample.probs)
    variance = np.sum(q * x**2, axis=1) - np.sum(q * x, axis=1) ** 2
    assert abs(found.scale - true) < 5 / np.sqrt(variance.sum())


@pytest.mark.parametrize("true", [0.4, 1.7])
def test_a_known_temperature_is_found_in_multilabel(true):
    sample = multilabel_sample(Calibration("temperature", true))
    found = fit("temperature", sample)
    x = np.log(sample.probs / (1 - sample.probs))
    q = sigmoid(true * x)
    assert abs(found.scale - true) < 5 / np.sqrt(np.sum(q * (1 - q) * x**2))


@pytest.mark.parametrize("make", [multiclass_sample, multilabel_sample])
def test_known_scales_and_biases_are_found(make):
    sample = make(TRUE)
    found = fit("vector", sample)
    # Twice the gain in log-likelihood over the truth is chi-squared with at most 6 degrees of
    # freedom, which exceeds 45 once in 20 million draws.
    gain = 2 * len(sample.probs) * (loss(TRUE, sample) - loss(found, sample))
    assert 0 <= gain < 45
    np.testing.assert_allclose(found.scale, TRUE.scale, atol=0.1)
    np.testing.assert_allclose(np.subtract(found.bias, found.bias[0]), TRUE.bias, atol=0.15)


@pytest.mark.parametrize("prior", [0.0, 0.1])
@pytest.mark.parametrize("make", [multiclass_sample, multilabel_sample])
@pytest.mark.parametrize("kind", ["temperature", "vector"])
def test_no_other_numbers_near_by_are_better(kind, make, prior):
    sample = make(TRUE, count=2000)
    found = fit(kind, sample, prior)
    numbers = np.ravel(found.scale)
    biases = np.ravel(found.bias) if kind == "vector" else np.array([])

    def penalised(numbers, biases):
        if kind == "temperature":
            calibration = Calibration(kind, float(numbers[0]), floor=found.floor)
        else:
            calibration = Calibration(kind, numbers.tolist(), biases.tolist(), found.floor)
        distance = np.sum((numbers - 1) ** 2) + np.sum(biases**2)
        return loss(calibration, sample) + prior / 2 * distance

    least = penalised(numbers, biases)
    both = np.concatenate([numbers, biases])
    for i in range(len(both)):
        for step in (-1e-2, 1e-2):
            moved = both.copy()
            moved[i] += step
            assert penalised(*np.split(moved, [len(numbers)])) > least


def test_a_class_that_is_never_labelled_keeps_most_of_its_probability_by_the_prior():
    rng = np.random.default_rng(0)
    p = soft_rows(rng, 5000)
    sample = Sample(p, rng.integers(0, 2, len(p)))
    strong, weak = (fit("vector", sample, prior) for prior in (1.0, 1e-4))
    assert apply(strong, p)[:, 2].mean() > 0.5 * p[:, 2].mean()
    assert apply(weak, p)[:, 2].mean() < 0.02 * p[:, 2].mean()


def test_a_strong_prior_changes_nothing():
    found = fit("vector", multiclass_sample(TRUE), prior=1e6)
    np.testing.assert_allclose(found.scale, 1, atol=1e-5)
    np.testing.assert_allclose(found.bias, 0, atol=1e-5)


def test_probabilities_that_point_the_wrong_way_end_at_the_least_scale():
    rng = np.random.default_rng(0)
    p = soft_rows(rng, 5000)
    wrong = Sample(p, draw(rng, p[:, ::-1]))
    assert fit("temperature", wrong).scale == LEAST_SCALE
    found = fit("vector", wrong)
    assert min(found.scale) == LEAST_SCALE
    assert loss(found, wrong) < loss(Calibration("temperature"), wrong)


def test_zeros_of_rounded_probabilities_count_as_half_a_step():
    sample = multiclass_sample(Calibration("temperature"))
    rounded = sample._replace(probs=np.rint(255 * sample.probs) / 255)
    found = fit("temperature", rounded)
    assert found.floor == pytest.approx(1 / 510, rel=1e-3)
    # Without rounding the scale is 1; half a step leaves it nearly there.
    assert found.scale == pytest.approx(1, abs=0.05)
    assert fit("temperature", sample).floor == Calibration.floor


def test_a_sample_is_of_pixels_that_count():
    rng = np.random.default_rng(0)
    probs = rng.dirichlet((1, 1), (4, 5)).transpose(2, 0, 1)
    labels = np.zeros((4, 5), np.uint8)
    labels[:2] = 255
    labels[3] = 1
    drawn = sample_pixels(probs, labels, 100, rng)
    assert sorted(drawn.labels) == [0] * 5 + [1] * 5
    assert {tuple(row) for row in drawn.probs} == {
        tuple(probs[:, i, j]) for i in (2, 3) for j in range(5)
    }
    assert len(sample_pixels(probs, labels, 3, rng).labels) == 3


def test_a_multilabel_sample_keeps_masks_beside_their_probabilities():
    rng = np.random.default_rng(0)
    probs = rng.random((3, 4, 5))
    drawn = sample_pixels(probs, probs > 0.5, 7, rng)
    assert drawn.labels.dtype == bool
    assert drawn.probs.shape == drawn.labels.shape == (7, 3)
    assert np.array_equal(drawn.labels, drawn.probs > 0.5)


def test_wrong_arguments_are_refused():
    sample = Sample(np.full((3, 2), 0.5), np.zeros(3, int))
    with pytest.raises(ValueError, match="kind must be one of"):
        fit("platt", sample)
    with pytest.raises(ValueError, match="prior must be"):
        fit("vector", sample, -1)
    with pytest.raises(ValueError, match="at least one labelled pixel"):
        fit("vector", Sample(np.zeros((0, 2)), np.zeros(0, int)))
