import itertools

import numpy as np
import pytest
from test_assignment import soft_maps
from test_rma import hard_rows

from rankseg import RankSEG, arrays, factor, rankseg_rma, thresholds
from rankseg.config import Config
from rankseg.functional import rankseg
from rankseg.maps import ProbabilityMap
from rankseg.objectives import OBJECTIVES
from rankseg.rows import BlockRows, rows_of
from rankseg.solvers import correlated, correlated_labels, rma

CASES = [("dice", 0.0), ("dice", 1.0), ("iou", 0.0), ("iou", 0.5)]
RHOS = [0.2, 0.5, 0.85, 0.95]


def mean_score(metric, smooth, rho, p, mask):
    """RMA's score of any mask, averaged over the factor: slow, with no bins."""
    if rho == 1:
        edges = np.unique(np.append(p, [0.0, 1.0]))
        f, weight = (p[:, None] > edges[:-1]).astype(float), np.diff(edges)
    else:
        f, weight = factor.conditional(p, rho), factor.nodes(rho).weight
    score = OBJECTIVES[metric](smooth).score(mask.sum(), f[mask].sum(axis=0), f.sum(axis=0))
    return float(score @ weight)


def best_by_sorting(metric, smooth, rho, p):
    found = [mean_score(metric, smooth, rho, p, np.zeros(len(p), bool))]
    return max(found + [mean_score(metric, smooth, rho, p, p >= t) for t in np.unique(p[p > 0])])


def check_loss(metric, smooth, rho, rows, masks, tolerance):
    for p, mask in zip(rows.astype(float), masks, strict=True):
        best = best_by_sorting(metric, smooth, rho, p)
        assert mean_score(metric, smooth, rho, p, mask) >= best - tolerance, (p, mask)


@pytest.mark.parametrize("rho", [0.2, 0.5, 0.95, 1.0])
@pytest.mark.parametrize(("metric", "smooth"), CASES)
def test_no_mask_at_all_is_better(metric, smooth, rho):
    rng = np.random.default_rng(0)
    for pixels in (1, 2, 5, 8):
        p = rng.random(pixels) ** rng.integers(1, 4)
        p = np.round(p * 8) / 8 if pixels == 5 else p
        mask = rankseg_rma(p[None, None], metric, smooth, "multilabel", 0.0, correlation=rho)[0, 0]
        found = mean_score(metric, smooth, rho, p, mask)
        for other in itertools.product([False, True], repeat=pixels):
            assert mean_score(metric, smooth, rho, p, np.array(other)) <= found + 1e-9


@pytest.mark.parametrize("rho", [*RHOS, 1.0])
@pytest.mark.parametrize(("metric", "smooth"), CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_masks_are_the_best_thresholds(metric, smooth, rho, dtype):
    p = hard_rows(1, rows=4, pixels=60, dtype=dtype)
    masks = rankseg(p, metric, smooth, "multilabel", pruning_prob=0.0, correlation=rho)
    check_loss(metric, smooth, rho, p[0], masks[0], 2e-6 if rho < 1 else 1e-4)


@pytest.mark.parametrize("pixels", [700, 40_000])
@pytest.mark.parametrize("rho", [0.5, 0.95])
def test_long_rows_lose_little(pixels, rho):
    rng = np.random.default_rng(pixels)
    u = rng.random((3, pixels))
    logits = np.stack([rng.normal(-2, 6, pixels), *np.log(u[:2] ** 4 / (1 - u[:2] ** 4))])
    p = (1 / (1 + np.exp(-logits))).astype(np.float32)[None]
    found = thresholds(p, pruning_prob=0.0, correlation=rho)
    for row, threshold in zip(p[0], found.threshold[0], strict=True):
        v, count = np.unique(row, return_counts=True)
        v, count = v[::-1].astype(float), count[::-1]
        f = factor.conditional(v, rho)
        overlap, size = np.cumsum(f * count[:, None], axis=0), np.cumsum(count)[:, None]
        score = (2 * overlap / (overlap[-1] + size + 1)) @ factor.nodes(rho).weight
        assert score[np.flatnonzero(v > threshold)[-1]] >= score.max() - 2e-6


@pytest.mark.parametrize("rho", [0.5, 1.0])
@pytest.mark.parametrize(("metric", "smooth"), CASES)
def test_every_backend_has_the_same_masks_and_labels(backend, metric, smooth, rho):
    dtype = np.float64 if backend.float64 else np.float32
    p = soft_maps(0, dtype=dtype)
    arguments = {"metric": metric, "smooth": smooth, "correlation": rho, "pruning_prob": 0.3}
    labels = backend.call(rankseg, p, **arguments)
    masks = backend.call(rankseg, p, output_mode="multilabel", **arguments)
    expected = rankseg(p, **arguments), rankseg(p, output_mode="multilabel", **arguments)
    if not backend.static:
        assert np.array_equal(labels, expected[0])
        assert np.array_equal(masks, expected[1])
        return
    # Pixels of one bin cannot be told apart.
    assert np.mean(labels == expected[0]) > 0.9
    for row, mask in zip(p.reshape(-1, 42), masks.reshape(-1, 42), strict=True):
        if mask.any():
            best = best_by_sorting(metric, smooth, rho, row.astype(float))
            assert mean_score(metric, smooth, rho, row.astype(float), mask) >= best - 1e-3


def test_one_correlation_a_class(backend):
    p = soft_maps(2, dtype=np.float32)
    each = (0.0, 0.5, 0.85, 0.95, 1.0)
    masks = backend.call(rankseg, p, output_mode="multilabel", pruning_prob=0.0, correlation=each)
    for c, rho in enumerate(each):
        alone = backend.call(
            rankseg, p, output_mode="multilabel", pruning_prob=0.0, correlation=(rho,) * 4 + (0.1,)
        )
        if c < 4:
            assert np.array_equal(masks[:, c], alone[:, c])


@pytest.mark.parametrize(("metric", "smooth"), CASES)
def test_without_correlation_the_search_finds_what_rma_finds(metric, smooth):
    p = hard_rows(3, rows=5, pixels=50)
    rows = rows_of(ProbabilityMap(p))
    objective = OBJECTIVES[metric](smooth)
    found = correlated.solve(rows, objective, 0.0, 0.0)
    expected = rma.solve(rows, objective, 0.0)
    assert np.allclose(found.score, expected.score, atol=1e-9)
    above = p > found.threshold[..., None].astype(np.float32)
    assert np.array_equal(above.sum(axis=-1), found.size)


def test_no_correlation_is_todays_path(monkeypatch):
    monkeypatch.setattr(correlated, "solve", None)
    p = soft_maps(4)
    assert np.array_equal(rankseg(p, correlation=0.0), rankseg(p))
    assert np.array_equal(rankseg(p, correlation=[0.0] * 5), rankseg(p))
    with pytest.raises(TypeError):
        rankseg(p, correlation=0.1)


def test_a_row_with_two_peaks():
    # The smaller mask is better where the factor is high, the larger where it is low.
    rng = np.random.default_rng(5)
    for _ in range(30):
        few, many = int(rng.integers(2, 20)), int(rng.integers(100, 2000))
        p = np.concatenate([np.full(few, 0.9), np.full(many, rng.uniform(0.01, 0.3))])
        for rho in (0.5, 0.95):
            mask = rankseg_rma(p[None, None], "dice", 0.0, "multilabel", 0.0, correlation=rho)[0]
            check_loss("dice", 0.0, rho, p[None], mask, 2e-6)


@pytest.mark.parametrize(("metric", "smooth"), CASES)
@pytest.mark.parametrize("rho", [0.5, 1.0])
def test_a_conflict_goes_to_the_largest_mean_increment(metric, smooth, rho):
    for seed in range(8):
        p = soft_maps(seed, 1, 4, (5, 6), 1.5)
        labels = rankseg(p, metric, smooth, pruning_prob=0.2, correlation=rho)[0].reshape(-1)
        found = thresholds(p, metric, smooth, 0.2, correlation=rho)
        rows = p[0].reshape(4, -1)
        masks = rows > found.threshold[0][:, None]
        votes, active = masks.sum(axis=0), found.active[0]
        alone = masks & (votes == 1)
        for j in np.flatnonzero(votes != 1):
            classes = np.flatnonzero(masks[:, j] if votes[j] else active)
            gains = []
            for c in classes:
                joined = alone[c].copy()
                joined[j] = True
                gains.append(
                    mean_score(metric, smooth, rho, rows[c], joined)
                    - mean_score(metric, smooth, rho, rows[c], alone[c])
                )
            order = np.sort(gains)
            if len(gains) < 2 or order[-1] - order[-2] > 0.02 * abs(order[-1]):
                assert labels[j] == classes[int(np.argmax(gains))]


def test_blocks_and_whole_maps_label_alike():
    p = soft_maps(3, 2, 6, (40, 30), 3.0)
    whole = rankseg(p, correlation=0.5)
    rows = BlockRows(ProbabilityMap(p), block=200)
    objective = OBJECTIVES["dice"](0.0)
    solution = correlated.solve(rows, objective, 0.5, 0.5, competing=True)
    assert np.array_equal(correlated_labels.labels(rows, solution, objective, None), whole)


@pytest.mark.parametrize("objective", [OBJECTIVES["dice"](1.0), OBJECTIVES["iou"]()])
def test_small_samples_are_labelled_two_at_a_time_as_alone(objective):
    p = soft_maps(3, 5, 6, (6, 7), 1.5)
    rows = BlockRows(ProbabilityMap(p), block=2 * p[0].size)
    solution = correlated.solve(rows, objective, 0.3, 0.5, competing=True)
    labels = correlated_labels.labels(rows, solution, objective, None)
    for sample, found in zip(p, labels, strict=True):
        alone = rows_of(ProbabilityMap(sample[None]))
        solution = correlated.solve(alone, objective, 0.3, 0.5, competing=True)
        assert np.array_equal(correlated_labels.labels(alone, solution, objective, None)[0], found)


def test_pruned_void_and_invalid_pixels(backend):
    p = soft_maps(7, sharpness=3.0, dtype=np.float32)
    p[:, 2] *= np.float32(0.3)
    valid = np.random.default_rng(0).random((3, 6, 7)) < 0.8
    labels = backend.call(
        rankseg, p, correlation=0.5, unassigned_policy="void", void_index=-7, valid=valid
    )
    assert not np.isin(labels, 2).any()
    assert (labels[~valid] == -7).all()
    nothing = np.full((3, 5, 6, 7), 1 / 3, dtype=np.float32)
    nothing[1, 2] = 0.4
    labels = backend.call(rankseg, nothing, correlation=0.5)
    assert (labels[0] == 0).all()
    assert (backend.call(rankseg, nothing, correlation=0.5, unassigned_policy="void") == 255).all()


def test_extreme_rows():
    p = np.stack([np.zeros(30), np.ones(30), np.full(30, 0.5), np.eye(30)[3], np.full(30, 1e-9)])
    for rho in (0.5, 1.0):
        masks = rankseg(
            p[None], output_mode="multilabel", pruning_prob=0.0, correlation=rho, metric="iou"
        )[0]
        assert masks.sum(axis=1).tolist() == [0, 30, 30, 1, 0]
        assert not rankseg(
            p[None], output_mode="multilabel", pruning_prob=1.0, correlation=rho
        ).any()
    one = np.array([[[0.7]]])
    assert rankseg(one, output_mode="multilabel", correlation=0.5).all()


@pytest.mark.parametrize("value", [-0.1, 0.96, 0.999, 1.1, float("nan")])
def test_other_correlations_are_refused(value):
    with pytest.raises(ValueError, match=r"correlation must be in \[0, 0.95\] or 1, found"):
        rankseg(soft_maps(0), correlation=value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"solver": "exact"}, "solver 'RMA' takes"),
        ({"solver": "BA", "output_mode": "multilabel"}, "solver 'RMA' takes"),
        ({"solver": "TRNA", "output_mode": "multilabel"}, "solver 'RMA' takes"),
        ({"metric": "accuracy"}, "solver 'RMA' takes"),
        ({"refine": 2}, "refine=0"),
        ({"correlation": [0.5] * 3}, "correlation has 3 values, but probs has 5 classes"),
    ],
)
def test_what_does_not_go_with_a_correlation(arguments, message):
    with pytest.raises(ValueError, match=message):
        rankseg(soft_maps(0), **{"correlation": 0.5} | arguments)


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_a_device_sends_no_map_to_the_host(monkeypatch, name):
    pytest.importorskip(name)
    from conftest import BACKENDS

    keep = lambda x: getattr(x, "detach", lambda: x)()  # noqa: E731
    monkeypatch.setattr(arrays, "to_numpy_view", keep)
    read = arrays.read_values
    sizes = []

    def counted(*parts):
        result = read(*parts)
        sizes.extend(np.size(part) for part in result)
        return result

    monkeypatch.setattr(arrays, "read_values", counted)
    p = soft_maps(0, 1, 3, (150, 150), dtype=np.float32)
    BACKENDS[name]().call(rankseg, p, correlation=0.5)
    assert 0 < max(sizes) <= 6 * factor.BINS < p[0, 0].size  # counts and sums of 3 rows


def test_traced_by_torch():
    torch = pytest.importorskip("torch")
    from rankseg.integration.torch import RankSEGModule

    p = torch.rand(2, 4, 30, 40).softmax(1)
    for arguments in ({}, {"metric": "iou"}, {"output_mode": "multilabel"}):
        module = RankSEGModule(correlation=0.5, pruning_prob=0.2, **arguments)
        program = torch.export.export(module, (p,)).module()
        assert (program(p) == module(p)).float().mean() > 0.98


def test_configurations_keep_the_correlation(tmp_path):
    for value in (0.5, (0.5, 1.0, 0.0, 0.0, 0.0)):
        config = Config(solver_params={"correlation": value})
        config.save(tmp_path / "c.toml", overwrite=True)
        assert Config.load(tmp_path / "c.toml").solver_params == {"correlation": value}
        p = soft_maps(0)
        found = RankSEG.from_config(tmp_path / "c.toml")(p)
        assert np.array_equal(found, rankseg(p, correlation=value))


def test_the_command_takes_a_correlation(tmp_path):
    pytest.importorskip("typer")
    from commandline import run

    p = soft_maps(0, 1, 3, (20, 20), dtype=np.float32)
    np.save(tmp_path / "p.npy", p)
    run("predict", tmp_path / "p.npy", "-o", tmp_path / "l.npy", "--correlation", "0.85")
    found = np.load(tmp_path / "l.npy")
    assert np.array_equal(found.reshape(20, 20), rankseg(p, correlation=0.85)[0])
    assert not np.array_equal(found.reshape(20, 20), rankseg(p)[0])
