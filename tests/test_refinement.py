import numpy as np
import pytest
from test_assignment import soft_maps

from rankseg import thresholds
from rankseg.functional import rankseg
from rankseg.metrics import expected_dice, expected_iou

EXPECTED = {"dice": expected_dice, "iou": expected_iou}


def joint(p, labels, metric, smooth):
    return EXPECTED[metric](p, labels, smooth, method="rma").sum(axis=1)


@pytest.mark.parametrize(("metric", "smooth"), [("dice", 0.0), ("dice", 2.0), ("iou", 0.5)])
@pytest.mark.parametrize("solver", ["RMA", "exact"])
def test_never_lowers_the_joint_objective(metric, smooth, solver):
    gains = []
    for seed in range(8):
        p = soft_maps(seed, 3, 5, (20, 17), 1.0)
        arguments = {"metric": metric, "smooth": smooth, "solver": solver, "pruning_prob": 0.0}
        scores = [joint(p, rankseg(p, refine=n, **arguments), metric, smooth) for n in (0, 1, 2, 5)]
        assert np.all(np.diff(scores, axis=0) >= -1e-12)
        gains.append(scores[-1] - scores[0])
    assert np.mean(gains) > 1e-4


def test_every_backend_refines_alike(backend):
    if backend.jit:
        pytest.skip("eager and traced thresholds differ in the last bit: see the next test")
    p = soft_maps(1, 2, 4, (9, 8), 1.0, np.float32)
    labels = backend.call(rankseg, p, refine=3)
    assert np.mean(labels == rankseg(p, refine=3)) > 0.98
    assert np.all(joint(p, labels, "dice", 0.0) >= joint(p, rankseg(p), "dice", 0.0) - 1e-6)


def test_refines_inside_jit():
    jax = pytest.importorskip("jax")
    p = soft_maps(1, 2, 4, (9, 8), 1.0, np.float32)
    labels = np.asarray(jax.jit(lambda x: rankseg(x, refine=3))(p))
    assert np.all(joint(p, labels, "dice", 0.0) >= joint(p, rankseg(p), "dice", 0.0) - 1e-6)


def test_pruned_void_and_invalid_pixels_stay(backend):
    p = soft_maps(2, 2, 4, (9, 8), 2.0, np.float32)
    p[:, 3] *= np.float32(0.4)
    valid = np.ones((2, 9, 8), bool)
    valid[0, :3] = False
    before = backend.call(rankseg, p, valid=valid, unassigned_policy="void")
    after = backend.call(rankseg, p, valid=valid, unassigned_policy="void", refine=2)
    assert np.array_equal(before == 255, after == 255)
    assert (after[0, :3] == 255).all()
    assert not np.isin(after, 3).any()


@pytest.mark.parametrize(("classes", "shape"), [(6, (6, 7)), (10, (5, 5))])
def test_pruned_classes_gain_nothing_that_the_objective_would_give_them(classes, shape):
    moved = 0
    for seed in range(32):
        p = soft_maps(seed, 2, classes, shape, 1.0)
        active = thresholds(p).active
        may_win = active | ~active.any(axis=1, keepdims=True)
        labels = rankseg(p, refine=3)
        assert all(may_win[b, labels[b]].all() for b in range(2))
        moved += np.count_nonzero(labels != rankseg(p))
    assert moved > 100


@pytest.mark.parametrize(
    ("value", "error"), [(-1, ValueError), (1.5, TypeError), (True, TypeError)]
)
def test_bad_refine_is_refused(value, error):
    with pytest.raises(error, match="refine must be"):
        rankseg(soft_maps(0), refine=value)


def test_refine_is_for_labels_only():
    with pytest.raises(TypeError, match="does not take refine"):
        rankseg(soft_maps(0), output_mode="multilabel", refine=1)
