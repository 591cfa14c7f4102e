import numpy as np
import pytest

from rankseg import held
from rankseg.functional import rankseg
from rankseg.maps import ProbabilityMap
from rankseg.rows import BlockRows

SHAPE = (1, 3, 400, 500)  # one row a block


def soft(dtype=np.float32):
    logits = 3 * np.random.default_rng(0).standard_normal(SHAPE)
    p = np.exp(logits)
    return (p / p.sum(axis=1, keepdims=True)).astype(dtype)


def layouts():
    p = soft()
    valid = np.random.default_rng(1).random((1, *SHAPE[2:])) < 0.9
    last = np.ascontiguousarray(np.moveaxis(p, 1, -1))
    yield "classes last", last, {"class_axis": -1}
    yield "half", soft(np.float16), {}
    yield "valid", p, {"valid": valid}


def rows_read(monkeypatch, *arguments, **settings):
    read = []
    original = ProbabilityMap.read

    def count(source, index, slab=()):
        if source.pixels == SHAPE[2] * SHAPE[3] and isinstance(index[0], int):
            read.append(index)
        return original(source, index, slab)

    monkeypatch.setattr(ProbabilityMap, "read", count)
    return rankseg(*arguments, **settings), read


@pytest.mark.parametrize(("name", "p", "settings"), list(layouts()))
def test_rows_that_take_work_are_read_once(monkeypatch, name, p, settings):
    labels, read = rows_read(monkeypatch, p, **settings)
    assert sorted(read) == [(0, 0), (0, 1), (0, 2)]
    monkeypatch.setattr(held, "HELD", p.size - 1)
    again, read = rows_read(monkeypatch, p, **settings)
    assert len(read) > 3
    assert np.array_equal(labels, again)


def test_views_are_not_kept():
    rows = BlockRows(ProbabilityMap(soft()))
    assert rows.summary.high.shape == (1, 3)
    assert rows.held.kept == {}


@pytest.mark.parametrize(("name", "p", "settings"), list(layouts()))
def test_a_kept_row_reads_like_the_map(name, p, settings):
    source = ProbabilityMap(np.moveaxis(p, settings.get("class_axis", 1), 1), settings.get("valid"))
    rows = BlockRows(source)
    rows.held.keep((0, 2))
    slab, pixels = (slice(10, 40), slice(None)), np.array([0, 7, 499, 500, 14999])
    whole = source.read((0, 2), slab)
    assert np.array_equal(rows.held.read((0, 2), slab), whole)
    assert np.array_equal(rows.held.pick((0, 2), slab, pixels), whole.reshape(-1)[pixels])
