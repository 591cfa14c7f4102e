import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import assign, increment

from rankseg import thresholds
from rankseg.functional import rankseg
from rankseg.maps import ProbabilityMap
from rankseg.objectives import OBJECTIVES, Dice, IoU
from rankseg.rows import BlockRows, Rows, rows_of
from rankseg.solvers import assignment, rma

CASES = [("dice", 0.0), ("dice", 1.0), ("dice", 50.0), ("iou", 0.0), ("iou", 1.0)]


def soft_maps(seed, batch=3, classes=5, shape=(6, 7), sharpness=2.0, dtype=np.float64):
    """Softmax of smooth random scores, with a few exact ties.

    Tests over the backends keep to one shape: JAX compiles for each one anew.
    """
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.standard_normal((batch, classes, *shape))
    logits[:, 1, : shape[0] // 3] = logits[:, 0, : shape[0] // 3]
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (p / p.sum(axis=1, keepdims=True)).astype(dtype)


def check_labels(p, labels, metric, smooth, pruning_prob=0.5, void_index=None, margin=1e-9):
    found = thresholds(p, metric, smooth, pruning_prob)
    for b in range(p.shape[0]):
        rows = p[b].reshape(p.shape[1], -1)
        masks = rows > found.threshold[b][:, None].astype(p.dtype)
        expected, lead = assign(metric, smooth, rows, masks, found.active[b], void_index)
        clear = lead > margin
        assert np.array_equal(labels[b].reshape(-1)[clear], expected[clear])
        assert clear.mean() > 0.5


@pytest.mark.parametrize(("metric", "smooth"), CASES)
def test_increments_are_what_one_more_pixel_adds(metric, smooth):
    rng = np.random.default_rng(0)
    for _ in range(200):
        size, p = int(rng.integers(0, 6)), rng.random()
        overlap = size * rng.random()
        mass = overlap + p + 3 * rng.random()
        a, b, c = (*OBJECTIVES[metric](smooth).increment(size, overlap, mass), 0.0)[:3]
        expected = increment(metric, smooth, p, size, overlap, mass)
        assert (a * p - b) / (1 - c * p) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("policy", ["max_score", "void"])
@pytest.mark.parametrize(("metric", "smooth"), CASES)
def test_labels_follow_the_rules_on_every_backend(backend, metric, smooth, policy):
    p = soft_maps(0, dtype=np.float64 if backend.float64 else np.float32)
    labels = backend.call(rankseg, p, metric=metric, smooth=smooth, unassigned_policy=policy)
    void = 255 if policy == "void" else None
    margin = 1e-9 if backend.float64 else 1e-4
    if backend.static and metric == "dice" and smooth > 0:
        assert labels.shape == (3, 6, 7)  # thresholds are from a grid: other pixels can contest
        assert np.isin(labels, [*range(5), 255]).all()
    else:
        check_labels(p, labels, metric, smooth, void_index=void, margin=margin)


@pytest.mark.parametrize(("metric", "smooth"), CASES)
def test_in_small_maps_the_curve_of_increments_matters(metric, smooth):
    # There an IoU's denominator 1 - c p is far from 1: it decides one map in six.
    for seed in range(30):
        p = soft_maps(seed, 3, 4, (2, 4))
        labels = rankseg(p, metric, smooth, pruning_prob=0.0)
        check_labels(p, labels, metric, smooth, pruning_prob=0.0)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    case=st.sampled_from(CASES),
    classes=st.integers(2, 7),
    sharpness=st.sampled_from([0.1, 1.0, 4.0]),
    pruning_prob=st.sampled_from([0.0, 0.4, 0.9]),
    void=st.sampled_from([None, 255]),
)
def test_labels_follow_the_rules(seed, case, classes, sharpness, pruning_prob, void):
    p = soft_maps(seed, 1, classes, (5, 4), sharpness)
    policy = "max_score" if void is None else "void"
    labels = rankseg(p, *case, pruning_prob=pruning_prob, unassigned_policy=policy)
    found = thresholds(p, *case, pruning_prob)
    rows = p[0].reshape(classes, -1)
    masks = rows > found.threshold[0][:, None]
    expected, lead = assign(*case, rows, masks, found.active[0], void)
    clear = lead > 1e-9
    assert np.array_equal(labels[0].reshape(-1)[clear], expected[clear])


def test_blocks_and_whole_maps_label_alike(monkeypatch):
    p = soft_maps(3, 2, 6, (40, 30), 3.0)
    whole = rankseg(p)
    rows = BlockRows(ProbabilityMap(p), block=200)
    solution = rma.solve(rows, Dice(), 0.5)
    labels = assignment.labels(rows, solution, Dice(), None)
    assert np.array_equal(labels, whole)
    at_once = assignment.labels(Rows(ProbabilityMap(p)), solution, Dice(), None)
    assert np.array_equal(at_once, whole)


@pytest.mark.parametrize("objective", [Dice(), IoU()])
def test_slabs_and_whole_maps_bar_the_same_classes(objective):
    barred = 0
    for seed in range(40):
        source = ProbabilityMap(soft_maps(seed, 2, 6, sharpness=0.7))
        rows = rows_of(source)
        solution = rma.solve(rows, objective, 0.5)
        barred += np.count_nonzero(~solution.active)
        in_slabs = assignment.labels(rows, solution, objective, None)
        at_once = assignment.labels(Rows(source), solution, objective, None)
        assert np.array_equal(at_once, in_slabs)
    assert barred > 100


def test_an_overlap_is_won_by_a_class_that_selected_the_pixel(backend):
    p = soft_maps(5, sharpness=1.5, dtype=np.float32)
    labels = backend.call(rankseg, p, pruning_prob=0.0)
    masks = p > thresholds(p, pruning_prob=0.0).threshold[..., None, None]
    chosen = np.take_along_axis(masks, labels[:, None], axis=1)[:, 0]
    assert chosen[masks.any(axis=1)].all()


def test_pruned_classes_win_nothing(backend):
    p = soft_maps(7, sharpness=3.0, dtype=np.float32)
    p[:, 2] *= np.float32(0.3)
    labels = backend.call(rankseg, p)
    assert not np.isin(labels, 2).any()


def test_all_classes_compete_where_every_class_is_pruned(backend):
    p = np.full((3, 5, 6, 7), 1 / 3, dtype=np.float32)
    p[1, 2] = 0.4
    labels = backend.call(rankseg, p)
    assert (labels[0] == 0).all()  # equal increments: the lower index
    # Dice increments at empty sets are 2 p / (mu + 2): a class of larger mass gains less.
    gains = 2 * p[1, :, 0, 0] / (p[1].sum(axis=(1, 2)) + 2)
    assert (labels[1] == np.argmax(gains)).all()


def test_void_policy_voids_what_nobody_selected(backend):
    p = np.full((3, 5, 6, 7), 0.1, dtype=np.float32)
    p[0, 1, 0] = 0.9
    labels = backend.call(rankseg, p, unassigned_policy="void", void_index=-7)
    assert (labels[0, 0] == 1).all()
    assert (labels[0, 1:] == -7).all()
    assert (labels[1:] == -7).all()
    p[0, 1, 0] = 0.1
    assert (backend.call(rankseg, p, unassigned_policy="void") == 255).all()


@pytest.mark.parametrize("smooth", [1e6, 1e12, 1e300])
@pytest.mark.parametrize("metric", ["dice", "iou"])
def test_a_huge_smooth_does_not_erase_the_order_of_classes(backend, metric, smooth):
    if not backend.float64 and smooth > 1e6:
        pytest.skip("a smooth beyond float32 needs float64")
    p = soft_maps(46, sharpness=1.0, dtype=np.float32)  # of the equal ones, the larger is 0
    labels = backend.call(rankseg, p, metric=metric, smooth=smooth, pruning_prob=0.0)
    # In the limit both objectives count p - 1/2: the most probable class wins.
    assert np.array_equal(labels, np.argmax(p, axis=1))


@pytest.mark.parametrize("layout", ["classes first", "classes last", "every second", "half"])
@pytest.mark.parametrize("void", [None, 255])
@pytest.mark.parametrize("objective", [Dice(), Dice(1.0), IoU()])
def test_small_samples_are_labelled_together_as_alone(layout, void, objective):
    p = soft_maps(9, 9, 6, (12, 10), 2.0, np.float16 if layout == "half" else np.float32)
    p[4], p[6, 2:] = 1 / 6, 0.01  # a sample whose classes are all pruned, and one with two
    if layout == "classes last":
        p = np.moveaxis(np.ascontiguousarray(np.moveaxis(p, 1, -1)), -1, 1)
    if layout == "every second":
        p = np.repeat(p, 2, axis=-1)[..., ::2]
    valid = np.random.default_rng(0).random((9, 12, 10)) < 0.8
    for source in (ProbabilityMap(p), ProbabilityMap(p, valid)):
        together = BlockRows(source)
        solution = rma.solve(together, objective, np.float32(0.5))
        labels = assignment.labels(together, solution, objective, void)
        alone = BlockRows(source, block=source.pixels)
        assert alone.summary.high.shape == (9, 6)
        slabs = assignment.labels(alone, solution, objective, void)
        inside = np.ones_like(valid) if source.valid is None else valid
        assert np.array_equal(labels[inside], slabs[inside])
        few = assignment.labels(BlockRows(source, block=4 * 120), solution, objective, void)
        assert np.array_equal(few[inside], labels[inside])
