import numpy as np
import pytest

from rankseg.solvers import generating


@pytest.mark.parametrize("beta", [-0.99, -0.9, -0.5, -0.1, 0.0])
def test_gauss_jacobi_is_scipys(beta):
    special = pytest.importorskip("scipy.special")
    x, w = special.roots_jacobi(16, 0.0, beta)
    nodes, weights = generating.gauss_jacobi(16, beta)
    assert np.allclose(nodes, (x + 1) / 2, atol=1e-14)
    assert np.allclose(weights, w / 2 ** (1 + beta), rtol=1e-12)


@pytest.mark.parametrize("beta", [-0.9, -0.3, 0.0])
@pytest.mark.parametrize("scale", [1.001, 2.0, 3.9, 4.1, 11.0, 35.9, 36.1, 60.0, 1e3, 1e6])
def test_nodes_integrate_decaying_integrands(scale, beta):
    # int_0^1 t^(beta + k) dt and int t^beta (1 - p u)^n dt have E 1/(X + a) as closed forms.
    u, weight = generating.nodes(scale, beta)
    k = int(scale) - 1
    exact = 1 / (beta + k + 1)
    assert weight @ np.exp(k * np.log1p(-u)) == pytest.approx(exact, rel=1e-13)


@pytest.mark.parametrize("mass", [0.5, 30.0, 400.0, 5000.0])
@pytest.mark.parametrize("power", [1, 6])
def test_power_sums_and_single_pixels_make_up_the_generating_function(mass, power):
    p = np.random.default_rng(0).random(20_000) ** power
    p *= min(1.0, mass / p.sum())
    scale = p.sum() + 1
    limit = generating.largest_small(scale)
    count = generating.orders(scale)
    small = p <= limit
    sums = generating.power_sums(np.where(small, p, 0), count, p > 0.3 * p.max())
    u, _ = generating.nodes(scale, 0.0)
    weight = np.exp(-scale * u)
    everything = generating.Pixels(sums[0], p[~small])
    chosen = p[p > 0.3 * p.max()]
    upper = generating.Pixels(sums[1], chosen[chosen > limit])
    logs = np.log1p(-np.outer(u, p)).sum(axis=1)
    ratios = (chosen / (1 - np.outer(u, chosen))).sum(axis=1)
    assert np.abs(weight * (everything.log_product(u) - logs)).max() < 1e-13
    assert np.abs(weight * (upper.ratio_sum(u) / ratios - 1)).max() < 1e-13
