import numpy as np
import pytest
from oracle import mask_score

from rankseg import factor, thresholds
from rankseg.metrics import expected_dice, expected_iou

METRICS = {"dice": expected_dice, "iou": expected_iou}


@pytest.mark.parametrize("smooth", [0.0, 0.5, 10.0])
@pytest.mark.parametrize("metric", METRICS)
def test_expected_scores_are_the_objective_on_every_backend(backend, metric, smooth):
    rng = np.random.default_rng(0)
    p = rng.random((2, 3, 5, 6), dtype=np.float32)
    masks = rng.random(p.shape) < 0.4
    masks[0, 0] = False
    found = METRICS[metric](backend.asarray(p), backend.asarray(masks), smooth, "rma")
    found = backend.to_numpy(found)
    for b, c in np.ndindex(2, 3):
        expected = mask_score(metric, smooth, p[b, c], masks[b, c])
        assert found[b, c] == pytest.approx(expected, rel=1e-6)


def test_labels_stand_for_one_mask_a_class(backend):
    rng = np.random.default_rng(1)
    p = rng.random((2, 3, 4, 4), dtype=np.float32)
    labels = rng.integers(0, 4, (2, 4, 4))  # 3 is no class
    masks = labels[:, None] == np.arange(3)[:, None, None]
    by_labels = expected_dice(backend.asarray(p), backend.asarray(labels), method="exact")
    by_masks = expected_dice(backend.asarray(p), backend.asarray(masks), method="exact")
    assert np.array_equal(backend.to_numpy(by_labels), backend.to_numpy(by_masks))


@pytest.mark.parametrize("metric", METRICS)
def test_the_score_of_thresholds_is_that_of_its_masks(metric):
    p = np.random.default_rng(2).random((2, 3, 50))
    found = thresholds(p, metric)
    scores = METRICS[metric](p, p > found.threshold[..., None], method="rma")
    assert np.allclose(scores, found.score, rtol=1e-12)


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        ([[True]], TypeError, "mask must be an array, found list"),
        (np.zeros((1, 2, 3)), TypeError, "mask must be boolean masks or integer labels, found"),
        (np.zeros((1, 2, 4), bool), ValueError, r"must have shape \(1, 2, 3\), found \(1, 2, 4\)"),
        (np.zeros((1, 2, 3), int), ValueError, r"must have shape \(1, 3\), found \(1, 2, 3\)"),
    ],
)
def test_bad_masks_are_refused(mask, error, message):
    with pytest.raises(error, match=message):
        expected_dice(np.full((1, 2, 3), 0.5), mask)


@pytest.mark.parametrize("expected", [expected_dice, expected_iou])
@pytest.mark.parametrize("method", ["exact", "rma"])
def test_the_largest_smooth_gives_a_score_of_one(expected, method):
    probs = np.random.default_rng(0).random((1, 2, 30))
    scores = expected(probs, probs > 0.5, smooth=1e308, method=method)
    np.testing.assert_allclose(scores, np.ones((1, 2)), rtol=1e-12)


def test_bad_smooth_is_refused():
    with pytest.raises(ValueError, match="smooth must be finite and >= 0, found -1"):
        expected_iou(np.full((1, 2, 3), 0.5), np.zeros((1, 2, 3), bool), smooth=-1)


def test_unknown_method_is_refused():
    with pytest.raises(ValueError, match="method must be one of 'exact', 'rma', found 'monte'"):
        expected_dice(np.full((1, 2, 3), 0.5), np.zeros((1, 2, 3), bool), method="monte")


@pytest.mark.parametrize("rho", [0.3, 0.9, 1.0])
@pytest.mark.parametrize("smooth", [0.0, 1.0])
@pytest.mark.parametrize("metric", METRICS)
def test_correlated_scores_are_the_mean_of_simulated_objects(metric, smooth, rho):
    rng = np.random.default_rng(5)
    p = 0.7 * rng.random(12) ** 2
    p[:3] = p[3]
    mask = p > 0.15
    z, e = rng.normal(size=(200_000, 1)), rng.normal(size=(200_000, len(p)))
    objects = rho**0.5 * z + (1 - rho) ** 0.5 * e > -factor.normal_ppf(p)
    inside, area = objects[:, mask].sum(axis=1), objects.sum(axis=1)
    if metric == "dice":
        drawn = (2 * inside + smooth) / (area + mask.sum() + smooth)
    else:
        drawn = (inside + smooth) / (area - inside + mask.sum() + smooth)
    found = METRICS[metric](p[None, None], mask[None, None], smooth, correlation=rho)[0, 0]
    assert abs(found - drawn.mean()) < 4 * drawn.std() / len(drawn) ** 0.5


@pytest.mark.parametrize("rho", [0.5, 1.0])
@pytest.mark.parametrize("metric", METRICS)
def test_correlated_approximations_are_the_score_of_thresholds(metric, rho):
    p = np.random.default_rng(6).random((1, 2, 40)) ** 3
    found = thresholds(p, metric, correlation=rho)
    scores = METRICS[metric](p, p > found.threshold[..., None], method="rma", correlation=rho)
    assert np.allclose(scores, found.score, atol=2e-4)


def test_correlated_scores_on_every_backend(backend):
    p = np.random.default_rng(7).random((2, 2, 6, 5), dtype=np.float32)
    found = expected_dice(
        backend.asarray(p), backend.asarray(p > 0.4), method="rma", correlation=(0.5, 1)
    )
    expected = expected_dice(p, p > 0.4, method="rma", correlation=(0.5, 1))
    assert np.allclose(backend.to_numpy(found), expected, rtol=1e-6)


def test_many_values_are_read_from_the_table(monkeypatch):
    p = np.random.default_rng(8).random((1, 1, 300)) ** 3
    expected = expected_dice(p, p > 0.3, method="rma", correlation=0.5)
    monkeypatch.setattr(factor, "MANY_VALUES", 0)
    found = expected_dice(p, p > 0.3, method="rma", correlation=0.5)
    assert found != expected
    assert found == pytest.approx(expected, abs=5e-6)
    p = p[p < 0.9]  # nearer to 1 bins are wide for f
    for (_, given), exact in zip(
        factor.given_factor(p, 0.5), factor.conditional(p, 0.5).T, strict=True
    ):
        assert np.allclose(given, exact, atol=5e-5)


def test_a_correlation_for_each_class_or_one():
    p = np.full((1, 2, 4), 0.5)
    with pytest.raises(ValueError, match="correlation has 3 values, but probs has 2 classes"):
        expected_dice(p, p > 0.4, correlation=(0, 0.5, 1))
    with pytest.raises(ValueError, match=r"correlation must be in \[0, 0.95\] or 1, found 0.97"):
        expected_iou(p, p > 0.4, correlation=0.97)
