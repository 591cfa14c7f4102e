import numpy as np
import pytest

from rankseg.distribution import RefinedNormal, RefinedNormalPB

stats = pytest.importorskip("scipy.stats")


def oracle(x, skew):
    return np.clip(stats.norm.cdf(x) + skew * (1 - x**2) * stats.norm.pdf(x) / 6, 0, 1)


def test_cdf_pmf_and_pdf_are_the_formulas_on_every_backend(backend):
    if backend.jit or backend.name == "dask":
        pytest.skip("the error function is evaluated on the host, on values")
    loc, scale, skew = np.array([3.0, 5.0]), np.array([1.2, 2.0]), np.array([0.3, -0.2])
    law = RefinedNormalPB(20, loc, scale, skew)
    k = np.arange(0.0, 12.0)
    value = backend.asarray(np.stack([k, k]))
    x = (k + 0.5 - loc[:, None]) / scale[:, None]
    rel = 1e-12 if backend.float64 else 1e-5
    cdf = oracle(x, skew[:, None])
    before = oracle(x - 1 / scale[:, None], skew[:, None])
    assert backend.to_numpy(law.cdf(value)) == pytest.approx(cdf, rel=rel, abs=1e-7)
    assert backend.to_numpy(law.pmf(value)) == pytest.approx(np.clip(cdf - before, 0, 1), abs=1e-6)
    density = stats.norm.pdf(x) * (1 + skew[:, None] * (x**3 - 3 * x) / 6) / scale[:, None]
    assert backend.to_numpy(law.pdf(value)) == pytest.approx(np.clip(density, 0, None), abs=1e-6)


def test_the_refined_normal_is_close_to_the_poisson_binomial():
    p = np.random.default_rng(0).random(200)
    pmf = np.ones(1)
    for q in p:
        pmf = np.append(pmf * (1 - q), 0) + np.append(0, pmf * q)
    variance = (p * (1 - p)).sum()
    skew = (p * (1 - p) * (1 - 2 * p)).sum() / variance**1.5
    law = RefinedNormalPB(200, p.sum(), np.sqrt(variance), skew)
    assert np.abs(law.cdf(np.arange(201.0)) - np.cumsum(pmf)).max() < 5e-4


@pytest.mark.parametrize("skew", [-0.5, 0.0, 0.4])
def test_quantiles_invert_the_cdf(skew):
    q = np.array([1e-6, 0.01, 0.3, 0.5, 0.9, 1 - 1e-6])
    normal = RefinedNormal()
    assert normal.cdf(normal.ppf(q, skew), skew) == pytest.approx(q, abs=1e-12)
    assert np.array_equal(normal.ppf(np.array([0.0, 1.0]), skew), [-np.inf, np.inf])
    lower, upper = normal.interval(0.9, skew)
    assert normal.cdf(upper, skew) - normal.cdf(lower, skew) == pytest.approx(0.9)


def test_icdf_inverts_the_cdf_on_every_backend(backend):
    if backend.jit or backend.name == "dask":
        pytest.skip("the error function is evaluated on the host, on values")
    law = RefinedNormalPB(30, np.array([10.0]), np.array([2.0]), np.array([0.1]))
    p = np.array([[0.1, 0.5, 0.75]])
    found = backend.to_numpy(law.icdf(backend.asarray(p)))
    assert found.dtype == (np.float64 if backend.float64 else np.float32)
    assert law.cdf(found.astype(float)) == pytest.approx(p, abs=1e-6)


def test_interval_is_clipped_to_the_support():
    law = RefinedNormalPB(6, np.array([0.5, 3.0, 5.8]), np.array([1.0, 0.1, 1.0]), 0.0)
    lower, upper = law.interval(1e-4)
    assert lower.tolist() == [0, 1, 0]
    assert upper.tolist() == [5, 4, 6]
    assert lower.dtype == np.int32


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ((-1, 0.0, 1.0, 0.0), ValueError, "dim must be a non-negative integer, found -1"),
        ((2.5, 0.0, 1.0, 0.0), ValueError, "dim must be a non-negative integer"),
        ((2, np.nan, 1.0, 0.0), ValueError, "loc must be finite"),
        ((2, 0.0, 0.0, 0.0), ValueError, "scale must be positive, found 0.0"),
        ((2, 0.0, 1.0, np.inf), ValueError, "skew must be finite"),
        ((2, "a", 1.0, 0.0), TypeError, "expected real numbers, found 'a'"),
        ((True, 0.0, 1.0, 0.0), TypeError, "expected real numbers, found True"),
        ((2, np.array([True]), 1.0, 0.0), TypeError, "loc must hold real numbers"),
    ],
)
def test_bad_parameters_are_refused(parameters, error, message):
    with pytest.raises(error, match=message):
        RefinedNormalPB(*parameters)


@pytest.mark.parametrize(
    ("p", "options", "error", "message"),
    [
        (0.5, {}, TypeError, "p must be an array of real floating dtype"),
        (np.array([1]), {}, TypeError, "p must be an array of real floating dtype"),
        (np.array([]), {}, ValueError, "p must not be empty"),
        (np.array([0.0]), {}, ValueError, "in \\(0, 1\\)"),
        (np.array([0.5]), {"max_iter": 0}, ValueError, "max_iter and tol must be positive"),
        (np.array([0.5]), {"max_iter": 1.5}, TypeError, "max_iter must be an int"),
        (np.array([0.5]), {"tol": 0.0}, ValueError, "max_iter and tol must be positive"),
    ],
)
def test_bad_quantiles_are_refused(p, options, error, message):
    with pytest.raises(error, match=message):
        RefinedNormalPB(2, 1.0, 1.0, 0.0).icdf(p, **options)


@pytest.mark.parametrize("p", [-0.1, 1.1, np.array([])])
def test_bad_interval_probability_is_refused(p):
    with pytest.raises(ValueError, match="p must not be empty, and in \\[0, 1\\]"):
        RefinedNormalPB(2, 1.0, 1.0, 0.0).interval(p)
