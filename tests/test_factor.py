from statistics import NormalDist

import numpy as np
import pytest

from rankseg import factor

RHOS = [0.0, 0.2, 0.5, 0.85, 0.9, 0.95]
NORMAL = NormalDist()


def test_the_normal_distribution_has_the_stated_accuracy():
    x = np.linspace(-37, 37, 4001)
    expected = np.array([NORMAL.cdf(v) for v in x])  # loses its upper digits below -5
    assert np.allclose(factor.normal_cdf(x), expected, rtol=0, atol=2e-16)
    p = np.concatenate(
        [np.logspace(-300, -1, 3000), np.linspace(0.1, 0.9, 801), 1 - np.logspace(-15, -1, 500)]
    )
    expected = np.array([NORMAL.inv_cdf(v) for v in p])
    assert np.all(
        np.abs(factor.normal_ppf(p) - expected) <= 1e-13 * np.maximum(1, np.abs(expected))
    )
    found = factor.normal_cdf(factor.normal_ppf(p))
    assert np.allclose(found, p, rtol=2e-12, atol=0)  # of 1e-300: x has 16 digits, x^2 / 2 is 690
    assert np.array_equal(factor.normal_ppf(np.array([0.0, 0.5, 1.0])), [-np.inf, 0, np.inf])


@pytest.mark.parametrize("rho", RHOS)
def test_weights_sum_to_one_and_nodes_are_symmetric(rho):
    z, weight = factor.nodes(rho)
    assert weight.sum() == pytest.approx(1, abs=1e-15)
    assert np.allclose(z, -z[::-1])
    assert np.allclose(weight, weight[::-1])
    assert weight @ z**2 == pytest.approx(1 if rho else 0, abs=1e-6)


@pytest.mark.parametrize("rho", [-0.1, 0.96, 0.99, 1.0, float("nan")])
def test_correlations_between_095_and_1_have_no_nodes(rho):
    with pytest.raises(ValueError, match="rho must be in"):
        factor.nodes(rho)


@pytest.mark.parametrize(
    ("rho", "bound"), [(0.0, 0), (0.2, 1e-4), (0.5, 1.3e-3), (0.85, 6e-3), (0.95, 1.2e-2)]
)
def test_the_mean_over_the_factor_keeps_every_probability(rho, bound):
    p = np.concatenate(
        [np.logspace(-6, -1, 200), np.linspace(0.1, 0.9, 100), 1 - np.logspace(-6, -1, 200)]
    )
    mean = factor.conditional(p, rho) @ factor.nodes(rho).weight
    assert np.abs(mean / p - 1).max() <= bound
    assert np.abs((1 - mean) / (1 - p) - 1).max() <= bound + 1e-9


@pytest.mark.parametrize("rho", RHOS)
def test_probabilities_given_the_factor_rise_with_p_and_z(rho):
    low, slope, weight = factor.table(rho)
    f = low + slope / 2
    assert f.shape == (factor.BINS, len(factor.nodes(rho).z))
    assert np.array_equal(weight, factor.nodes(rho).weight)
    assert (np.diff(f, axis=0) >= 0).all()
    assert (np.diff(f, axis=1) >= 0).all()
    assert (f[-1] == 1).all()
    assert (f[0] == 0).all()
    inside = factor.EDGES[2000:2900] + 0.3 * factor.WIDTHS[2000:2900]
    found = (low + 0.3 * slope)[2000:2900]
    assert np.abs(found - factor.conditional(inside, rho)).max() < 3e-5
    assert (factor.conditional(np.zeros(1), rho) == 0).all()


def test_independent_pixels_have_one_node():
    p = np.array([0.0, 0.3, 1.0])
    assert np.array_equal(factor.conditional(p, 0.0), p[:, None])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bins_are_where_the_edges_say(dtype):
    edges = factor.EDGES.astype(dtype)
    assert np.array_equal(edges, factor.EDGES)
    assert np.array_equal(factor.bin_of(edges), np.arange(factor.BINS))
    below = np.nextafter(edges[1:], dtype(0))
    assert np.array_equal(factor.bin_of(below), np.arange(factor.BINS - 1))
    p = np.random.default_rng(0).random(10**5).astype(dtype) ** 6
    p[:100], p[100:200], p[200:300] = 0, 1, np.finfo(dtype).smallest_subnormal
    expected = np.searchsorted(factor.EDGES, p.astype(float), side="right") - 1
    assert np.array_equal(factor.bin_of(p), expected)
    for b in (0, 1, 700, factor.BINS - 1, factor.BINS):
        threshold = factor.threshold_of(np.asarray(b), dtype)
        assert np.array_equal(p > threshold.astype(dtype), expected >= b)


def test_all_pixels_above_a_level_are_positive_where_the_correlation_is_one():
    low, slope, weight = factor.table(1.0)
    assert weight.sum() == 1
    middle = factor.EDGES[:-1] + factor.WIDTHS[:-1] / 2
    mean = (low + slope / 2)[1:-1] @ weight  # of the indicator p > U is p
    assert np.allclose(mean, middle[1:], rtol=1e-12)
    starts = np.append(0.0, np.cumsum(weight)[:-1])
    for b in (1500, 2700, 3000):
        assert np.array_equal(low[b] == 1, starts + weight <= factor.EDGES[b])
