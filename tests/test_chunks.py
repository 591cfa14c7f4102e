"""Lazy arrays: three reads of each chunk, and what NumPy answers."""

from collections import Counter

import numpy as np
import pytest

from rankseg import RankSEG, rankseg, thresholds
from rankseg.chunks import Focus
from rankseg.maps import ProbabilityMap
from rankseg.rows import LazyRows
from rankseg.solvers import bracket

da = pytest.importorskip("dask.array")

SETTINGS = [
    {},
    {"metric": "iou"},
    {"smooth": 1.0},
    {"smooth": 300.0, "pruning_prob": 0.1},
    {"metric": "iou", "smooth": 5.0},
    {"smooth": 1e308},
    {"pruning_prob": 0.0},
    {"unassigned_policy": "void"},
    {"output_mode": "multilabel"},
    {"output_mode": "multilabel", "smooth": 2.0},
]


def maps(kind, shape=(2, 4, 50, 60), seed=0):
    random = np.random.default_rng(seed)
    if kind == "masks":
        return (random.random(shape) < 0.1).astype(np.float32)
    sharpness = {"soft": 1, "sharp": 6, "double": 3, "eighths": 3, "half": 3, "zero": 3}[kind]
    coarse = random.normal(size=(*shape[:2], 5, 6))
    scores = sharpness * np.kron(coarse, np.ones((10, 10))) + random.normal(size=shape)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    p = powers / powers.sum(axis=1, keepdims=True)
    if kind == "double":
        return p
    if kind == "eighths":
        p = np.round(p * 8) / 8
    if kind == "zero":
        p[:, 1] = 0
    return p.astype(np.float16 if kind == "half" else np.float32)


def counted(p, chunks):
    """Return a lazy array, and how often each of its chunks was read."""
    reads = Counter()

    def read(block, block_info=None):
        reads[tuple(block_info[0]["chunk-location"])] += 1
        return block

    return da.from_array(p, chunks=chunks).map_blocks(read, dtype=p.dtype, meta=p[:0]), reads


@pytest.mark.parametrize("chunks", [(1, 4, 25, 20), (2, 1, 50, 60), ((1, 1), (1, 3), 17, 60)])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_each_chunk_is_read_three_times_at_most(settings, chunks):
    x, reads = counted(maps("soft"), chunks)
    rankseg(x, **settings).compute()
    assert len(reads) == np.prod(x.numblocks)
    assert max(reads.values()) <= 3
    reads.clear()
    rankseg(x, metric="accuracy").compute()
    assert set(reads.values()) == {1}


def test_values_outside_by_rounding_cost_no_read():
    p = maps("sharp")
    p[0, 0, 0, 0], p[1, 1, 3, 3] = -4e-7, 1 + 4e-7
    x, reads = counted(p, (1, 4, 25, 20))
    assert np.array_equal(rankseg(x).compute(), rankseg(p))
    assert max(reads.values()) == 3


def test_thresholds_take_two_reads():
    x, reads = counted(maps("soft"), (1, 4, 25, 20))
    thresholds(x)
    assert set(reads.values()) == {2}


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("kind", ["soft", "sharp", "double", "eighths", "half", "zero", "masks"])
def test_answers_are_those_of_numpy(kind, settings):
    for seed in range(3):
        p = maps(kind, seed=seed)
        x = da.from_array(p, chunks=(1, 2, 25, 20))
        assert np.array_equal(rankseg(x, **settings).compute(), rankseg(p, **settings))


@pytest.mark.parametrize("metric", ["dice", "iou"])
def test_valid_pixels_count(metric):
    p, valid = maps("soft"), np.random.default_rng(1).random((2, 50, 60)) < 0.7
    x, there = da.from_array(p, chunks=(1, 4, 25, 20)), da.from_array(valid, chunks=(1, 25, 20))
    found = RankSEG(metric=metric).predict(x, valid=there).compute()
    assert np.array_equal(found, RankSEG(metric=metric).predict(p, valid=valid))


@pytest.mark.parametrize("settings", SETTINGS[:4], ids=str)
def test_where_too_many_pixels_are_undecided_each_threshold_is_a_read(monkeypatch, settings):
    monkeypatch.setattr("rankseg.rows.UNDECIDED", 0)
    p = maps("soft")
    x, reads = counted(p, (1, 4, 25, 20))
    found = rankseg(x, **settings).compute()
    assert np.mean(found == rankseg(p, **settings)) > (0.999 if settings.get("smooth") else 0.9999)
    assert max(reads.values()) > 3


def test_a_pixel_at_a_threshold_is_not_above_it():
    p = maps("eighths")
    low, high = np.full((2, 4), 0.2, np.float32), np.full((2, 4), 0.625, np.float32)
    focus = Focus.of(ProbabilityMap(da.from_array(p, chunks=(1, 4, 25, 20))), low, high)
    for t in (0.2, 0.25, 0.5, 0.625):  # eighths are values, and ends of the bounds
        size, overlap = focus.above(np.full((2, 4), t, np.float32))
        mask = p > np.float32(t)
        assert np.array_equal(size, mask.sum(axis=(2, 3)))
        assert np.array_equal(overlap, np.sum(p, axis=(2, 3), where=mask))
        number, value = focus.between(low, np.full((2, 4), t, np.float32))
        inside = (p > low[0, 0]) & (p <= np.float32(t))
        assert np.array_equal(np.bincount(number, minlength=8), inside.sum(axis=(2, 3)).ravel())
        assert np.sum(value) == np.sum(p[inside])


def test_pixels_between_the_bounds_are_few(monkeypatch):
    kept = []
    original = LazyRows.focus_between

    def look(self, *args):
        kept.append(original(self, *args))
        return kept[-1]

    monkeypatch.setattr(LazyRows, "focus_between", look)
    p = np.random.default_rng(0).random((1, 3, 300, 300), dtype=np.float32)
    rankseg(da.from_array(p, chunks=(1, 3, 100, 300)), output_mode="multilabel").compute()
    assert 0 < len(kept[0].pixels) < 0.02 * 300 * 300


@pytest.mark.parametrize("smooth", [0.0, 3.0, 1e30])
@pytest.mark.parametrize("metric", ["dice", "iou"])
def test_bounds_hold_for_any_histogram(monkeypatch, metric, smooth):
    """The threshold that was found lies between them, with no bin to spare."""
    seen = []
    original = bracket.bounds

    def look(*args):
        seen.append(original(*args))
        return seen[-1]

    monkeypatch.setattr("rankseg.solvers.rma.bounds", look)
    random = np.random.default_rng(0)
    for scale in (0.01, 0.1, 1.0, 10.0):
        p = random.beta(scale, 5 * scale, (8, 1, 100)).astype(np.float32)
        p[:, :, 0] = 0.9
        lazy = thresholds(da.from_array(p), metric, smooth)
        exact = thresholds(p, metric, smooth).threshold
        low, start, high = seen.pop()
        assert np.all((low < start) & (start <= exact * (1 + 1e-6)))
        if metric == "iou" or smooth == 0:
            assert np.all(exact <= high) and np.all(high / low < 1.05)
        assert np.allclose(lazy.threshold.compute(), exact, rtol=1e-6)
