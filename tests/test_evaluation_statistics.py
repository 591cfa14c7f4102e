"""Bootstrap intervals, standard errors and calibration, against enumeration and plain loops."""

from itertools import product

import numpy as np
import pytest

from rankseg.evaluation.compare.reliability import BINS, Reliability, add, measure
from rankseg.evaluation.statistics import LEVEL, gain_interval, resample, standard_error

# Bootstrap


def test_groups_are_drawn_as_a_whole_and_as_many_as_there_are():
    groups = ["b", "a", "b", "c", "a", "d"]
    draws = np.concatenate(list(resample(groups, times=300, seed=0)))
    assert draws.shape == (300, 6)
    by_name = dict(zip(groups, draws.T, strict=True))
    for name, drawn in zip(groups, draws.T, strict=True):
        np.testing.assert_array_equal(drawn, by_name[name])
    assert (sum(by_name.values()) == 4).all()
    # Each group once on average, with standard deviation sqrt(4 * 1/4 * 3/4 / 300) = 0.05.
    assert np.stack(list(by_name.values())).mean(axis=1) == pytest.approx(1, abs=5 * 0.05)


def test_a_seed_repeats_the_draws():
    groups = [str(i) for i in range(20)]
    first, again, other = (next(resample(groups, 5, seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("groups", ["abcd", "aabbcd"])
def test_intervals_are_quantiles_of_all_possible_resamples(groups):
    """With few groups every resample can be written down; all are equally likely."""
    rng = np.random.default_rng(len(groups))
    scores, baseline = rng.random((2, len(groups)))
    scores[1], baseline[2] = np.nan, np.nan
    members = {name: [i for i, g in enumerate(groups) if g == name] for name in sorted(set(groups))}
    differences = []
    for names in product(members, repeat=len(members)):
        drawn = [i for name in names for i in members[name]]
        if np.isnan(scores[drawn]).all() or np.isnan(baseline[drawn]).all():
            continue
        differences.append(np.nanmean(scores[drawn]) - np.nanmean(baseline[drawn]))
    differences = np.array(differences)
    times = 20_000
    low, high = gain_interval(scores[:, None], baseline[:, None], list(groups), times, seed=0)
    tail = (1 - LEVEL) / 2
    tolerance = 5 * np.sqrt(tail * (1 - tail) / times)  # five standard deviations of a frequency
    for end, part in ((low, tail), (high, 1 - tail)):
        assert (differences < end - 1e-9).mean() <= part + tolerance
        assert (differences <= end + 1e-9).mean() >= part - tolerance


def test_the_bootstrap_is_paired():
    """A constant gain is certain, however much the scores themselves vary."""
    baseline = np.random.default_rng(0).random((30, 1))
    groups = [str(i) for i in range(30)]
    low, high = gain_interval(baseline + 0.01, baseline, groups, times=100, seed=0)
    assert low == pytest.approx(0.01)
    assert high == pytest.approx(0.01)


def test_intervals_shrink_with_the_number_of_cases_but_not_of_copies():
    gains = np.random.default_rng(0).normal(size=(400, 1))

    def width(gains, groups):
        low, high = gain_interval(gains, 0 * gains, groups, times=2000, seed=0)
        return float(high[0] - low[0])

    few, many = (width(gains[:n], [str(i) for i in range(n)]) for n in (100, 400))
    assert many == pytest.approx(few / 2, rel=0.25)
    copies = np.repeat(gains[:100], 4, axis=0)
    groups = [str(i // 4) for i in range(400)]
    assert width(copies, groups) == pytest.approx(few)


def test_columns_without_scores_and_single_groups_have_no_interval():
    scores = np.array([[0.1, np.nan], [0.3, np.nan]])
    low, high = gain_interval(scores, scores, ["a", "b"], times=10, seed=0)
    np.testing.assert_array_equal(np.isnan([low, high]), [[False, True]] * 2)
    assert np.isnan(gain_interval(scores, scores, ["a", "a"], times=10, seed=0)).all()


@pytest.mark.parametrize("size", [1, 4])
def test_of_many_groups_the_interval_is_the_mean_and_1_96_standard_errors(size):
    """A normal mean lies within 1.96 standard errors with a probability of 95 %."""
    rng = np.random.default_rng(0)
    gains = np.repeat(rng.normal(0.3, 1, 300), size) + rng.normal(0, 0.1, 300 * size)
    groups = [str(i // size) for i in range(300 * size)]
    low, high = gain_interval(gains[:, None], 0 * gains[:, None], groups, times=8000, seed=0)
    error = standard_error(gains, groups)
    # A tail of 200 draws has a quantile that is off by 0.03 standard errors or so.
    assert float(low[0]) == pytest.approx(gains.mean() - 1.96 * error, abs=0.15 * error)
    assert float(high[0]) == pytest.approx(gains.mean() + 1.96 * error, abs=0.15 * error)


# Standard errors


def test_the_standard_error_of_single_cases_is_the_usual_one():
    values = np.random.default_rng(0).normal(size=17)
    expected = values.std(ddof=1) / np.sqrt(17)
    assert standard_error(values, [str(i) for i in range(17)]) == pytest.approx(expected)


def test_the_standard_error_of_equal_groups_is_that_of_their_means():
    values = np.random.default_rng(0).normal(size=(6, 4))
    expected = values.mean(axis=1).std(ddof=1) / np.sqrt(6)
    groups = np.repeat(list("abcdef"), 4)
    assert standard_error(values.ravel(), groups) == pytest.approx(expected)
    assert standard_error(values.ravel(), ["a"] * 24) == np.inf


# Calibration


def make_pixels(classes=3, pixels=500, seed=0):
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(0.5 * np.ones(classes), pixels).T
    labels = (probs.cumsum(axis=0) < rng.random(pixels)).sum(axis=0)
    return probs, labels


def test_bins_are_those_of_a_loop_over_pixels():
    probs, labels = make_pixels()
    labels[::7] = 255
    expected = np.zeros((3, BINS))
    for p, label in zip(probs.T, labels, strict=True):
        if label != 255:
            b = min(int(p.max() * BINS), BINS - 1)
            expected[:, b] += (1, p.max(), p.argmax() == label)
    found = measure(probs, labels, void_index=255)
    np.testing.assert_allclose(found.bins, expected)
    np.testing.assert_allclose(found.mass, probs[:, labels != 255].sum(axis=1))
    np.testing.assert_array_equal(found.area, [(labels == c).sum() for c in range(3)])
    distances = np.abs(expected[1] - expected[2])
    assert found.error == pytest.approx(distances.sum() / expected[0].sum())


def test_masks_count_every_probability():
    probs = np.array([[0.2, 0.9], [1.0, 0.0]])
    found = measure(probs, np.array([[False, True], [True, True]]), void_index=255)
    assert found.bins[0].sum() == 4
    assert found.bins[1].sum() == pytest.approx(2.1)
    assert found.bins[2].sum() == 3
    assert found.bins[0, -1] == 1  # confidence 1 belongs to the last bin
    np.testing.assert_array_equal(found.area, [1, 2])


def test_counts_of_parts_add_up_to_those_of_the_whole():
    probs, labels = make_pixels()
    whole = measure(probs, labels, 255)
    parts = [measure(probs[:, cut], labels[cut], 255) for cut in np.s_[:100, 100:]]
    for one, other in zip(add(parts), whole, strict=True):
        np.testing.assert_allclose(one, other)


def test_calibrated_probabilities_have_no_error_but_that_of_sampling():
    probs, labels = make_pixels(pixels=200_000)
    honest = measure(probs, labels, 255)
    # In each bin the frequency is off by sqrt(p (1 - p) / n) or less; summed over the bins.
    assert honest.error < 3 * sum(np.sqrt(n / 4) for n in honest.bins[0]) / 200_000
    np.testing.assert_allclose(honest.claimed_area, 1, atol=0.02)
    sharp = probs**3 / (probs**3).sum(axis=0)
    assert measure(sharp, labels, 255).error > 10 * honest.error


def test_what_is_not_there_is_nan():
    empty = Reliability(np.zeros((3, BINS)), np.array([1.0]), np.array([0]))
    assert np.isnan(empty.claimed_area).all()
    assert np.isnan(empty.accuracy).all()
    assert empty.error == 0
    assert empty.furthest is None


def test_the_furthest_claimed_area_is_so_as_a_ratio():
    """A quarter is further from 1 than a double; a class without any probability is left out."""
    area = np.array([4, 4, 4, 0])
    claims = Reliability(np.zeros((3, BINS)), np.array([8.0, 1.0, 0.0, 3.0]), area)
    assert claims.furthest == 1
