import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from oracle import best_score, mask_score

from rankseg import thresholds
from rankseg.functional import rankseg
from rankseg.maps import ProbabilityMap
from rankseg.objectives import Dice, IoU
from rankseg.passes import Group, SmallRows
from rankseg.rows import BlockRows, Rows, rows_of
from rankseg.solvers import rma

SMOOTH = [0.0, 1e-300, 1e-3, 0.1, 1.0, 10.0, 1e6, 1e12]


def hard_rows(seed: int = 0, rows: int = 12, pixels: int = 40, dtype=np.float32) -> np.ndarray:
    """Rows of many kinds: (1, kinds * rows, pixels)."""
    rng = np.random.default_rng(seed)
    p = rng.random((rows, pixels))
    kinds = [
        p,
        p**8,
        np.round(p * 4) / 4,
        np.where(p < 0.8, p * 1e-3, p),
        np.where(p < 0.9, 0.0, 1.0),
        0.5 + 1e-3 * (p - 0.5),
        1e-4 * p,
        np.full_like(p, 0.3),
        np.zeros_like(p),
        np.ones_like(p),
    ]
    return np.concatenate(kinds)[None].astype(dtype)


def check_optimal(p, masks, metric, smooth, tolerance):
    for row, mask in zip(p.reshape(-1, p.shape[-1]), masks.reshape(-1, p.shape[-1]), strict=True):
        best = best_score(metric, smooth, row)
        found = mask_score(metric, smooth, row, mask)
        assert found >= best - tolerance * best - 1e-16, (row, mask, found, best)


@pytest.mark.parametrize("smooth", SMOOTH)
@pytest.mark.parametrize("metric", ["dice", "iou"])
def test_masks_are_the_sorted_optimum_on_every_backend(backend, metric, smooth):
    p = hard_rows()
    masks = backend.call(
        rankseg, p, metric=metric, smooth=smooth, output_mode="multilabel", pruning_prob=0.0
    )
    tolerance = 1e-7 if backend.float64 else 2e-6
    if metric == "dice" and smooth > 0 and backend.static:
        for row, mask in zip(p[0], masks[0], strict=True):
            mass = row.astype(float).sum()
            width = Dice(smooth).undecided(mass)
            low = np.sort(row)[::-1].astype(float)
            bound = width * len(low) / (mass + 1) + 2e-6
            assert mask_score(metric, smooth, row, mask) >= best_score(metric, smooth, row) - bound
    else:
        check_optimal(p, masks, metric, smooth, tolerance)


@settings(max_examples=1500, deadline=None)
@given(
    p=hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        st.integers(1, 24),
        elements=st.one_of(
            st.sampled_from([0.0, 0.25, 0.5, 1.0]),
            st.floats(0, 1, width=32),
            st.floats(0, 0.0078125, width=32),
        ),
    ),
    metric=st.sampled_from(["dice", "iou"]),
    smooth=st.one_of(st.sampled_from(SMOOTH), st.floats(0, 100)),
)
def test_masks_are_the_sorted_optimum(p, metric, smooth):
    masks = rankseg(
        p[None, None], metric=metric, smooth=smooth, output_mode="multilabel", pruning_prob=0.0
    )
    check_optimal(p[None, None], masks, metric, smooth, 1e-7)


@settings(max_examples=300, deadline=None)
@given(
    p=hnp.arrays(np.float16, st.integers(1, 16), elements=st.floats(0, 1, width=16)),
    metric=st.sampled_from(["dice", "iou"]),
)
def test_half_precision_is_solved_as_float32(p, metric):
    p = p[None, None]
    arguments = {"metric": metric, "output_mode": "multilabel", "pruning_prob": 0.0}
    assert np.array_equal(rankseg(p, **arguments), rankseg(p.astype(np.float32), **arguments))


@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_smaller_mask_wins_exact_ties(smooth):
    # Dice: f(1) = 2 / (1 + 1 + 1) = f(2) = 2 (1 + 1/3) / (4/3 + ...): built to tie in float64.
    p = np.array([[[1.0, 0.5, 0.5, 0.5, 0.5, 0.0]]])
    masks = rankseg(p, smooth=smooth, output_mode="multilabel", pruning_prob=0.0)[0, 0]
    best = best_score("dice", smooth, p)
    sizes = [n for n in range(7) if mask_score("dice", smooth, p[0, 0], np.arange(6) < n) >= best]
    assert masks.sum() == sizes[0]


def test_the_empty_mask_competes_when_smooth_is_positive():
    p = np.full((1, 1, 100), 0.02)
    masks = rankseg(p, smooth=10.0, output_mode="multilabel", pruning_prob=0.0)
    assert not masks.any()
    assert best_score("dice", 10.0, p[0, 0]) == pytest.approx(10 / 12)
    assert rankseg(p, smooth=0.0, output_mode="multilabel", pruning_prob=0.0).any()


@pytest.mark.parametrize("shape", [(3000,), (70, 90), (20, 18, 22), (9, 10, 8, 11)])
@pytest.mark.parametrize("objects", [3, 50])
def test_objects_of_a_few_pixels_in_a_large_map(backend, shape, objects):
    rng = np.random.default_rng(objects)
    p = np.float32(0.02) * rng.random((1, 3, *shape), dtype=np.float32) ** 4
    for c in range(3):
        where = rng.choice(p[0, c].size, objects, replace=False)
        p[0, c].reshape(-1)[where] = 0.45 + 0.5 * rng.random(objects)
    p[0, 0].reshape(-1)[where[0]] = p[0, 1].reshape(-1)[0] = p[0, 2].reshape(-1)[0] = 0.9
    masks = backend.call(rankseg, p, output_mode="multilabel")
    tolerance = 1e-7 if backend.float64 else 2e-6
    check_optimal(p.reshape(1, 3, -1), masks.reshape(1, 3, -1), "dice", 0.0, tolerance)


@pytest.mark.parametrize("block", [64, 700, 10**6])
@pytest.mark.parametrize("objective", [Dice(), Dice(1.0), IoU(), IoU(0.5)])
@pytest.mark.parametrize("shape", [(5000,), (50, 61), (7, 30, 31)])
def test_blocks_change_nothing(block, objective, shape):
    rng = np.random.default_rng(1)
    p = rng.random((2, 4, *shape)) ** 6
    p[:, :, : shape[0] // 3] *= 0.1  # bands that are skipped
    p[1, 2] = 0.1
    whole = rma.solve(BlockRows(ProbabilityMap(p), block=p.size), objective, 0.5)
    solution = rma.solve(BlockRows(ProbabilityMap(p), block=block), objective, 0.5)
    assert np.allclose(solution.threshold, whole.threshold, rtol=1e-13)
    assert np.allclose(solution.score[solution.active], whole.score[whole.active], rtol=1e-13)


@pytest.mark.parametrize("smooth", [0.1, 1.0, 10.0, 100.0])
def test_the_grid_of_smoothed_dice_loses_little(monkeypatch, smooth):
    monkeypatch.setattr(Rows, "extracts", False)
    for seed in range(10):
        p = hard_rows(seed)
        masks = p > rma.solve(rows_of(ProbabilityMap(p)), Dice(smooth), 0.0).threshold[..., None]
        check_optimal(p, masks, "dice", smooth, 5e-4)  # of 4 thresholds: 1e-3


def test_smoothed_dice_of_rows_larger_than_a_block():
    x = np.linspace(-1, 1, 600, dtype=np.float32)
    r = np.hypot(*np.meshgrid(x, x))
    p = (1 / (1 + np.exp(9 * (r - np.float32(0.4)))))[None, None]
    masks = rankseg(p, smooth=1.0, output_mode="multilabel")
    check_optimal(p.reshape(1, 1, -1), masks.reshape(1, 1, -1), "dice", 1.0, 1e-7)


@pytest.mark.parametrize("objective", [Dice(), IoU(), IoU(1.0)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_iteration_ends_at_a_fixed_point(objective, dtype):
    p = np.random.default_rng(0).random((1, 5, 100, 120)) ** np.arange(1, 6)[:, None, None]
    found = rma.solve(rows_of(ProbabilityMap(p.astype(dtype))), objective, 0.0)
    again = objective.threshold(found.size, found.overlap, found.mass)
    assert np.allclose(found.threshold, again, rtol=2 * np.finfo(dtype).eps, atol=0)


def test_large_float32_volumes_are_summed_accurately():
    rng = np.random.default_rng(0)
    p = np.where(rng.random((1, 1, 96, 128, 128)) < 0.01, 0.9, 0.3).astype(np.float32)
    found = thresholds(p)
    p = p.astype(np.float64)
    above = p > 0.3 + 1e-6
    everything = 2 * p.sum() / (p.sum() + p.size + 1)
    assert found.score[0, 0] == pytest.approx(everything, rel=2e-7)
    assert everything > mask_score("dice", 0.0, p[0, 0], above[0, 0])


@pytest.mark.parametrize("pixels", [10**6, 2**20 + 4095])
def test_long_rows_of_one_axis_are_summed_accurately(pixels):
    p = np.where(np.arange(pixels) < pixels // 2, 0.9, 1e-4).astype(np.float32)[None, None]
    found = rma.solve(rows_of(ProbabilityMap(p)), Dice(), 0.5)  # in one float32 sum: off by 2e-4
    assert found.mass[0, 0] == pytest.approx(p.sum(dtype=float), rel=1e-6)
    assert found.overlap[0, 0] == pytest.approx(p[p > 0.5].sum(dtype=float), rel=1e-6)


def test_few_full_passes(monkeypatch):
    rng = np.random.default_rng(0)
    x = np.linspace(-1, 1, 512)
    r = np.hypot(*np.meshgrid(x, x))
    p = 1 / (1 + np.exp(20 * (r - rng.random((1, 6, 1, 1)))))
    counted = []
    original = rma.climb

    def climb(rows, group, *arguments):
        above = group.above
        group.above = lambda t: counted.append(group.source.pixels == 512**2) or above(t)
        return original(rows, group, *arguments)

    monkeypatch.setattr(rma, "climb", climb)
    thresholds(p)
    assert 6 < sum(counted) <= 4 * 6


def test_rows_that_are_pruned_do_not_hold_up_the_others():
    p = np.random.default_rng(0).random((1, 40, 60, 60))
    p[:, 1:] = hard_rows(0)[:1, :1, :1].mean() * p[:, 1:] ** 9 * 0.4  # hard, and all of it pruned
    rows = Rows(ProbabilityMap(p))
    passes = []

    class Counted(Group):
        def above(self, threshold):
            passes.append(threshold)
            return super().above(threshold)

    group = Counted(rows.source, ...)
    active, mass = rows.summary.high > 0.5, rows.summary.mass
    start = np.full(rows.shape, 0.4)
    rma.climb(rows, group, Dice(), mass, start, active)
    with_all = len(passes)
    alone = BlockRows(ProbabilityMap(p[:, :1]))
    few = Counted(alone.source, ...)
    passes.clear()
    rma.climb(alone, few, Dice(), mass[:, :1], start[:, :1], active[:, :1])
    assert active.sum() == 1
    assert with_all == len(passes)
    passes.clear()
    rma.climb(rows, group, Dice(), mass, start, np.ones_like(active))
    assert len(passes) > with_all  # or this map shows nothing


@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("moved", [1, 5])
def test_rows_of_a_group_are_counted_when_their_threshold_moves(reads, moved):
    p = np.random.default_rng(0).random((3, 4, 9, 11))
    index = (np.array([0, 0, 1, 2, 2, 2]), np.array([1, 3, 0, 0, 1, 3]))  # in order, not adjacent
    group = SmallRows(ProbabilityMap(p), index, scale=2.0)
    rows = p[index].reshape(6, -1)
    threshold = np.full(6, 0.4)
    for change in (0.0, 0.3, -0.2):
        threshold = threshold + change * (np.arange(6) < moved)
        inside = rows > threshold[:, None]
        size, read_overlap = group.above(threshold)
        assert np.array_equal(size, 2 * inside.sum(axis=1))
        if reads or change < 0:
            assert np.allclose(read_overlap(), 2 * (rows * inside).sum(axis=1), rtol=1e-12)
