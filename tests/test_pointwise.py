import numpy as np
import pytest

from rankseg import RankSEG, thresholds
from rankseg.functional import rankseg


def soft_maps(dtype=np.float32):
    rng = np.random.default_rng(0)
    p = rng.dirichlet((0.3, 0.3, 0.3, 0.3), (2, 9, 11)).astype(dtype)
    p = np.moveaxis(p, -1, 1)
    p[0, 1:3] *= 0.3  # nowhere likely
    p[1] *= 0.2  # no class of this sample is
    return np.ascontiguousarray(p)


def pruned_argmax(p, limits):
    """Of each pixel, by the definition."""
    active = p.max(axis=(2, 3)) > np.broadcast_to(limits, p.shape[1]).astype(p.dtype)
    labels = np.empty((len(p), *p.shape[2:]), int)
    for b, y, x in np.ndindex(labels.shape):
        allowed = np.flatnonzero(active[b]) if active[b].any() else np.arange(p.shape[1])
        labels[b, y, x] = max(allowed, key=lambda c: (p[b, c, y, x], -c))
    return labels


@pytest.mark.parametrize("limits", [0.0, 0.4, (0.9, 0.2, 0.2, 1.0)])
def test_pruned_argmax_takes_the_classes_that_pruning_leaves(backend, limits):
    p = soft_maps()
    settings = {"metric": "accuracy", "solver": "pruned-argmax", "pruning_prob": limits}
    assert np.array_equal(backend.call(rankseg, p, **settings), pruned_argmax(p, limits))


def test_pruned_argmax_is_the_limit_of_a_huge_smooth(backend):
    p = soft_maps()
    found = backend.call(rankseg, p, metric="accuracy", solver="pruned-argmax")
    for metric in ("dice", "iou"):
        assert np.array_equal(found, rankseg(p.astype(float), metric, 1e16))


def test_ties_go_to_the_lowest_class(backend):
    p = np.full((1, 3, 2, 5), 0.25, np.float32)
    p[0, 1:, 0, 0] = 0.75
    found = backend.call(rankseg, p, metric="accuracy", solver="pruned-argmax")
    assert np.array_equal(found, np.ones((1, 2, 5)))


@pytest.mark.parametrize("limits", [0.4, (0.9, 0.2, 0.2, 1.0)])
def test_pruned_tr_leaves_out_masks(backend, limits):
    p = soft_maps()
    settings = {"metric": "accuracy", "output_mode": "multilabel", "pruning_prob": limits}
    active = thresholds(p, pruning_prob=limits).active
    found = backend.call(rankseg, p, solver="pruned-TR", **settings)
    assert np.array_equal(found, (p > 0.5) & active[..., None, None])
    assert np.array_equal(backend.call(rankseg, p, solver="TR", **settings), p > 0.5)


def test_pixels_that_take_no_part_decide_nothing(backend):
    p = soft_maps()
    p[:, 1, 0, 0] = 1.0  # would keep a class alive
    valid = np.ones((2, 9, 11), bool)
    valid[:, 0, 0] = False
    settings = {"metric": "accuracy", "solver": "pruned-argmax", "valid": valid}
    found = backend.call(rankseg, p, **settings)
    p[:, :, 0, 0] = 0
    expected = np.where(valid, pruned_argmax(p, 0.5), 255)
    assert np.array_equal(found, expected)


def test_rows_larger_than_a_block():
    p = np.random.default_rng(1).random((1, 3, 700, 500))
    found = rankseg(p, "accuracy", solver="pruned-argmax", pruning_prob=[0.5, 1.0, 0.5])
    assert np.array_equal(found, 2 * (p[:, 2] > p[:, 0]))


def test_the_default_solver_suits_the_metric():
    assert RankSEG().solver == "RMA"
    assert RankSEG("accuracy").solver == "argmax"
    assert RankSEG("accuracy", output_mode="multilabel").solver == "TR"


def test_an_explicit_rma_with_accuracy_is_refused():
    supported = "supported solvers: argmax, pruned-argmax"
    with pytest.raises(ValueError, match=supported):
        RankSEG("accuracy", solver="RMA")


def test_plain_argmax_ignores_pruning():
    p = soft_maps()
    assert np.array_equal(rankseg(p, "accuracy", pruning_prob=1.0), p.argmax(axis=1))
