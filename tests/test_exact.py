import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rankseg.functional import rankseg
from rankseg.maps import ProbabilityMap
from rankseg.metrics import expected_dice, expected_iou
from rankseg.objectives import Dice, IoU
from rankseg.rows import rows_of
from rankseg.solvers import exact, rma
from rankseg.solvers.candidates import Candidates

OBJECTIVES = {"dice": Dice, "iou": IoU}
EXPECTED = {"dice": expected_dice, "iou": expected_iou}
SMOOTH = [0.0, 0.1, 0.3, 1.0, 1.5, 10.0]


def by_enumeration(metric, smooth, p, masks):
    """Expected metric of each mask, over all 2^d outcomes."""
    outcomes = np.array(list(itertools.product([0.0, 1.0], repeat=p.size)))
    chances = np.prod(np.where(outcomes == 1, p, 1 - p), axis=1)
    masks = masks.astype(float)
    overlap, sizes, positives = outcomes @ masks.T, masks.sum(axis=1), outcomes.sum(axis=1)
    if metric == "dice":
        top, bottom = 2 * overlap + smooth, positives[:, None] + sizes + smooth
    else:
        top, bottom = overlap + smooth, positives[:, None] + sizes - overlap + smooth
    return chances @ np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)


def pmf(p):
    """Distribution of the number of positives, one convolution a pixel."""
    result = np.ones(1)
    for q in p:
        result = np.convolve(result, [1 - q, q])
    return result


def by_convolution(metric, smooth, inside, outside):
    """Expected metric of one mask, from the exact distributions inside and outside."""
    i, j = np.arange(len(inside))[:, None], np.arange(len(outside))
    n = len(inside) - 1
    top, bottom = (2 * i + smooth, i + j + n + smooth)
    if metric == "iou":
        top, bottom = (i + smooth + 0 * j, j + n + smooth + 0 * i)
    ratios = np.divide(
        top, bottom, out=np.zeros(np.broadcast_shapes(i.shape, j.shape)), where=bottom > 0
    )
    return float(inside @ ratios @ outside)


def threshold_masks(p):
    """Every mask above a threshold, by size."""
    return np.array([p > t for t in np.append(np.inf, np.unique(np.append(p, -1.0))[::-1])])


@settings(max_examples=120, deadline=None)
@given(
    p=hnp.arrays(
        np.float64,
        st.integers(1, 12),
        elements=st.one_of(
            st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0, 1), st.floats(0, 2e-6)
        ),
    ),
    metric=st.sampled_from(["dice", "iou"]),
    smooth=st.sampled_from(SMOOTH),
)
def test_exact_is_the_best_by_enumeration(p, metric, smooth):
    row = p[None, None]
    mask = rankseg(row, metric, smooth, output_mode="multilabel", solver="exact", pruning_prob=0.0)[
        0, 0
    ]
    if not p.any():
        return
    masks = threshold_masks(p)
    scores = by_enumeration(metric, smooth, p, masks)
    found = by_enumeration(metric, smooth, p, mask[None])[0]
    assert found >= scores.max() - 1e-12
    for scored, value in zip(masks, scores, strict=True):
        score = EXPECTED[metric](row, scored[None, None], smooth, method="exact")[0, 0]
        assert score == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("metric", OBJECTIVES)
@pytest.mark.parametrize("mass", [1e-3, 0.03, 1.0, 5.0, 20.0, 46.0, 200.0, 900.0])
def test_scores_are_those_of_the_convolution(metric, mass):
    rng = np.random.default_rng(0)
    for power in (1, 8, None):
        p = np.ones(1000) if power is None else rng.random(1000) ** power
        for _ in range(60):
            p = np.minimum(p * mass / p.sum(), 1)
        ranks = np.argsort(np.argsort(-p))
        for size in (0, 1, int(mass), 700, 1000):
            mask = ranks < size
            laws = pmf(p[mask]), pmf(p[~mask])
            for smooth in (0.0, 0.1, 1.0, 1.5):
                found = EXPECTED[metric](p[None, None], mask[None, None], smooth, method="exact")
                expected = by_convolution(metric, smooth, *laws)
                assert found[0, 0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("smooth", [0.0, 0.3])
@pytest.mark.parametrize("metric", OBJECTIVES)
def test_masks_scored_together_score_as_alone(metric, smooth):
    p = np.random.default_rng(8).random(400) * np.r_[np.ones(4), np.full(396, 1e-2)]
    row, mass = rows_of(ProbabilityMap(p[None, None])).host_row((0, 0)), p.sum()
    every = Candidates.of(p, -1.0, 0.0, 0.0).between(1, 400)
    inside = p > every.thresholds[0]
    everything, first = exact.gather(row, mass + smooth + 1, lambda _, x: x > every.thresholds[0])
    _, outside = exact.gather(row, mass + smooth + 1, lambda _, x: x <= every.thresholds[-1])
    if metric == "dice":
        scores = exact.dice_scores(every, smooth, mass, everything, first)
    else:
        scores = exact.iou_scores(every, smooth, mass, outside)
    assert inside.sum() == 1
    for i in (0, 1, 5, 40, 200, 399):
        mask = p > every.thresholds[i]
        assert mask.sum() == every.sizes[i]
        expected = by_convolution(metric, smooth, pmf(p[mask]), pmf(p[~mask]))
        assert scores[i] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("smooth", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("metric", OBJECTIVES)
@pytest.mark.parametrize("kind", ["spread", "sparse", "half", "ties", "flat", "tiny"])
def test_the_bracket_loses_nothing_to_a_full_scan(metric, smooth, kind):
    rng = np.random.default_rng(3)
    p = rng.random(3000)
    p = {
        "spread": p,
        "sparse": p**20,
        "half": 0.5 + 1e-3 * (p - 0.5),
        "ties": np.round(p * 8) / 8,
        "flat": np.full(3000, 1e-3),
        "tiny": p * 1e-5,
    }[kind]
    objective = OBJECTIVES[metric](smooth)
    solution = exact.solve(rows_of(ProbabilityMap(p[None, None])), objective, 0.0)
    thresholds = np.append(np.unique(p)[::-1][:: max(1, len(np.unique(p)) // 300)], 0.0)
    for t in thresholds:
        score = EXPECTED[metric](p[None, None], p[None, None] > t, smooth, method="exact")[0, 0]
        assert score <= solution.score[0, 0] + 1e-13


def test_bounds_hold():
    rng = np.random.default_rng(4)
    for metric, smooth in itertools.product(OBJECTIVES, SMOOTH):
        objective = OBJECTIVES[metric](smooth)
        for _ in range(20):
            p = np.sort(rng.random(8) ** rng.choice([1, 5]))[::-1]
            for n in range(1, 9):
                mask = np.arange(8) < n
                true = by_enumeration(metric, smooth, p, mask[None])[0]
                sums = (n, p[:n].sum(), p.sum())
                assert objective.score(*sums) <= true + 1e-14
                assert objective.margin(true, *sums) >= -1e-13


@pytest.mark.parametrize(("metric", "smooth"), [("dice", 0.0), ("dice", 0.3), ("iou", 1.0)])
def test_every_backend_finds_the_same_masks(backend, metric, smooth):
    if backend.jit:
        pytest.skip("the exact solver needs values: see test_traces_are_refused")
    p = np.random.default_rng(5).random((2, 3, 9, 11)).astype(np.float32) ** 2
    arguments = {"metric": metric, "smooth": smooth, "solver": "exact"}
    masks = backend.call(rankseg, p, output_mode="multilabel", **arguments)
    assert np.array_equal(masks, rankseg(p, output_mode="multilabel", **arguments))
    assert np.array_equal(backend.call(rankseg, p, **arguments), rankseg(p, **arguments))


@pytest.mark.parametrize("solver", ["exact", "BA"])
def test_traces_are_refused(solver):
    jax = pytest.importorskip("jax")
    with pytest.raises(NotImplementedError, match="use solver='RMA'"):
        jax.jit(lambda p: rankseg(p, solver=solver, output_mode="multilabel"))(
            np.ones((1, 2, 3)) / 2
        )


def test_empty_mask_wins_where_it_should():
    p = np.full((1, 1, 50), 0.01)
    masks = rankseg(p, smooth=5.0, output_mode="multilabel", solver="exact", pruning_prob=0.0)
    assert not masks.any()
    empty = by_convolution("dice", 5.0, np.ones(1), pmf(p[0, 0]))
    solution = exact.solve(rows_of(ProbabilityMap(p)), Dice(5.0), 0.0)
    assert solution.score[0, 0] == pytest.approx(empty)


def test_rma_is_rarely_beaten_by_much():
    p = np.random.default_rng(6).random((1, 4, 64, 64)) ** 3
    best, close = (s.solve(rows_of(ProbabilityMap(p)), Dice(), 0.5) for s in (exact, rma))
    reached = expected_dice(p, p > close.threshold[..., None, None], method="exact")
    assert np.all(best.score >= reached - 1e-14)
    assert np.all(best.score - reached < 1e-5)


def test_splitting_ties_gains_nothing_worth_having():
    # Pixels of equal probability stay together; over all top-tau masks the loss is this small.
    rng = np.random.default_rng(7)
    worst = 0.0
    for _ in range(300):
        p = np.sort(rng.choice([0.1, 0.3, 0.5, 0.9], 8))[::-1]
        every = by_enumeration("dice", 0.0, p, np.arange(8) < np.arange(9)[:, None]).max()
        worst = max(worst, every - by_enumeration("dice", 0.0, p, threshold_masks(p)).max())
    assert worst < 5e-3
