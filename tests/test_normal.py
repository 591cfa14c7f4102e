import numpy as np
import pytest

from rankseg import rankdice_ba
from rankseg.distribution import RefinedNormalPB
from rankseg.functional import rankseg
from rankseg.maps import ProbabilityMap
from rankseg.rows import rows_of
from rankseg.solvers import normal

stats = pytest.importorskip("scipy.stats")

METHODS = ["BA", "TRNA"]


def refined_cdf(x, skew):
    return np.clip(stats.norm.cdf(x) + skew * (1 - x**2) * stats.norm.pdf(x) / 6, 0, 1)


def direct_scores(p, smooth, eps, method, floor):
    """Eq. 12 and 13 of the paper, a mask at a time, up to the bound of Lemma 3."""
    p = np.sort(p.astype(float))[::-1]
    d = p.size
    variance = p * (1 - p)
    moments = np.array([p.sum(), variance.sum(), (variance * (1 - 2 * p)).sum()])

    def pmf(mean, var, third):
        var = max(var, floor)
        x = (support[:, None] + [[-0.5, 0.5]] - mean) / np.sqrt(var)
        mass = np.clip(np.diff(refined_cdf(x, third / var**1.5), axis=1)[:, 0], 0, 1)
        return mass / mass.sum()

    var = max(moments[1], floor)
    law = RefinedNormalPB(d, moments[0], np.sqrt(var), moments[2] / var**1.5)
    low, high = (int(end) for end in law.interval(eps))
    support = np.arange(low, high + 1)
    full = pmf(*moments)
    sums = np.cumsum(p)
    stops = [sums[t - 1] >= (t + smooth + d) * p[t] for t in range(1, d)] + [True]
    scores = [smooth * np.sum(full / (support + smooth)) if smooth > 0 else 0.0]
    hits = np.zeros(len(support))
    for t in range(1, int(np.argmax(stops)) + 2):
        q = p[t - 1]
        v = q * (1 - q)
        hits = (
            sums[t - 1] * full
            if method == "BA"
            else hits + q * pmf(*(moments - [q, v, v * (1 - 2 * q)]))
        )
        second = smooth * np.sum(full / (t + support + smooth)) if smooth > 0 else 0.0
        scores.append(2 * np.sum(hits / (t + support + smooth + 1)) + second)
    return np.array(scores)


def solve_row(p, smooth, method, eps=1e-4):
    return normal.best_in_row(
        rows_of(ProbabilityMap(p[None, None])).host_row((0, 0)), smooth, method, eps
    )


@pytest.mark.parametrize("smooth", [0.0, 0.3, 1.0, 100.0])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("pixels", "power"), [(1, 1), (2, 1), (4, 1), (7, 3), (30, 1), (30, 6), (400, 1), (400, 5)]
)
def test_score_and_choice_are_those_of_the_paper(pixels, power, method, smooth):
    p = np.random.default_rng(pixels).random(pixels) ** power
    masks, score = solve_row(p, smooth, method)
    scores = direct_scores(p, smooth, 1e-4, method, np.finfo(float).eps)
    assert score == pytest.approx(scores[int(masks.size)], abs=1e-13)
    assert scores[int(masks.size)] >= scores.max() - 1e-13


@pytest.mark.parametrize("power", [1, 3])
@pytest.mark.parametrize("smooth", [0.0, 2.0])
def test_interpolation_agrees_with_the_direct_sum(monkeypatch, power, smooth):
    p = np.random.default_rng(0).random(1200) ** power
    direct = solve_row(p, smooth, "TRNA")
    monkeypatch.setattr(normal, "DIRECT", 0)
    interpolated = solve_row(p, smooth, "TRNA")
    assert interpolated[0] == direct[0]
    assert interpolated[1] == pytest.approx(direct[1], abs=1e-13)


@pytest.mark.parametrize("mean", [0.5, 3.0, 40.0, 3000.0])
@pytest.mark.parametrize("nearest", [1.0, 2.5, 300.0])
def test_reciprocals_are_interpolated_to_rounding(mean, nearest):
    points = np.arange(max(0, int(mean - 6 * np.sqrt(mean))), int(mean + 6 * np.sqrt(mean)) + 3)
    pmf = stats.poisson.pmf(points, mean)
    nodes, weights = normal.reciprocal_rule(points, nearest)
    assert len(nodes) <= len(points)
    for a in (nearest, 2 * nearest, 1e4):
        found = pmf @ weights @ (1 / (nodes + a))
        assert found == pytest.approx(pmf @ (1 / (points + a)), rel=1e-12)


def test_ba_trna_is_blind_where_the_deviation_is_large():
    rng = np.random.default_rng(1)
    for pixels, method in ((50, "TRNA"), (2000, "BA")):
        p = rng.random(pixels)
        assert solve_row(p, 0.0, "BA+TRNA") == solve_row(p, 0.0, method)


@pytest.mark.parametrize(("pixels", "method"), [(99, "TRNA"), (100, "TRNA"), (101, "BA")])
def test_ba_trna_is_blind_beyond_a_deviation_of_five(pixels, method):
    p = np.full(pixels, 0.5)  # sigma^2 = pixels / 4
    assert solve_row(p, 0.0, "BA+TRNA") == solve_row(p, 0.0, method)
    assert solve_row(p, 0.0, "BA")[1] != solve_row(p, 0.0, "TRNA")[1]


@pytest.mark.parametrize("solver", [*METHODS, "BA+TRNA"])
def test_every_backend_finds_the_same_masks(backend, solver):
    if backend.jit:
        pytest.skip("normal approximations need values: see test_exact.test_traces_are_refused")
    p = np.random.default_rng(2).random((2, 2, 8, 9)).astype(np.float32)
    p[1, 0] *= 0.4
    arguments = {"output_mode": "multilabel", "solver": solver, "smooth": 0.5}
    masks = backend.call(rankseg, p, **arguments)
    assert np.array_equal(masks, rankseg(p, **arguments))
    assert not masks[1, 0].any()


@pytest.mark.parametrize("method", METHODS)
def test_rows_of_zeros_ones_and_ties(method):
    p = np.array([[np.zeros(20), np.ones(20), np.r_[np.ones(5), np.zeros(15)], np.full(20, 0.6)]])
    masks = rankdice_ba(p, solver=method)
    assert masks.sum(axis=-1).tolist() == [[0, 20, 5, 20]]


def test_eps_widens_the_interval():
    p = np.random.default_rng(3).random(60) ** 2
    scores = [solve_row(p, 0.0, "BA", eps)[1] for eps in (0.5, 1e-2, 1e-8)]
    assert len(set(scores)) == 3
    assert scores[2] == pytest.approx(direct_scores(p, 0.0, 1e-8, "BA", 1e-16).max(), abs=1e-13)


@pytest.mark.parametrize("eps", [0, 1, -0.1, float("nan")])
def test_eps_outside_the_open_interval_is_refused(eps):
    with pytest.raises(ValueError, match="eps must be in"):
        rankdice_ba(np.full((1, 1, 4), 0.6), eps=eps)


def test_rankdice_ba_takes_normal_solvers_only():
    with pytest.raises(ValueError, match="solver must be one of 'BA', 'TRNA', 'BA\\+TRNA'"):
        rankdice_ba(np.full((1, 1, 4), 0.6), solver="RMA")
