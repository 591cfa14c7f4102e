"""RankSEG as an object: the function with remembered settings."""

import contextlib
import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from rankseg import RankSEG
from rankseg.functional import rankseg

SETTINGS = [
    {},
    {"metric": "iou", "smooth": 2.0, "pruning_prob": 0.8},
    {"output_mode": "multilabel", "pruning_prob": [0.1, 0.5, 0.9], "safe_screening": "auto"},
    {"unassigned_policy": "void", "void_index": -1, "pruning_prob": 0.9},
    {"metric": "iou", "solver": "exact", "refine": 2},
    {"solver": "TRNA", "output_mode": "multilabel", "eps": 1e-3},
    {"metric": "accuracy", "solver": "argmax"},
    {"metric": "accuracy", "solver": "TR", "output_mode": "multilabel"},
]


def soft_maps(seed=0, shape=(2, 3, 8, 9)):
    p = np.exp(3 * np.random.default_rng(seed).standard_normal(shape))
    return p / p.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("settings", SETTINGS)
def test_call_and_predict_are_the_function(settings):
    p, segment = soft_maps(), RankSEG(**settings)
    expected = rankseg(p, **settings)
    for found in (segment(p), segment.predict(p)):
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected)


def test_call_and_predict_are_the_function_on_every_backend(backend):
    p = soft_maps().astype(np.float32)
    for method in (RankSEG("iou"), RankSEG("iou").predict):
        assert np.array_equal(backend.call(method, p), backend.call(rankseg, p, metric="iou"))


def test_call_and_predict_take_valid():
    p, segment = soft_maps(), RankSEG()
    valid = p[:, 0] < 0.7
    expected = rankseg(p, valid=valid)
    assert np.array_equal(segment(p, valid=valid), expected)
    assert np.array_equal(segment.predict(p, valid=valid), expected)


@pytest.mark.parametrize("output_mode", ["multiclass", "multilabel"])
def test_the_class_axis_is_remembered(output_mode):
    p, settings = np.moveaxis(soft_maps(), 1, -1), {"output_mode": output_mode, "class_axis": -1}
    assert np.array_equal(RankSEG(**settings)(p), rankseg(p, **settings))


def test_settings_come_in_the_order_of_the_function():
    p, order = soft_maps(), ("iou", 1.5, "multilabel", "RMA", 0.9)
    assert np.array_equal(RankSEG(*order)(p), rankseg(p, *order))


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"metric": "f1"}, ValueError),
        ({"smooth": -1}, ValueError),
        ({"output_mode": None}, TypeError),
        ({"metric": "iou", "solver": "BA"}, ValueError),
        ({"solver": "BA", "output_mode": "multilabel", "eps": 2}, ValueError),
        ({"pruning_prob": [0.5, 2]}, ValueError),
        ({"class_axis": 0}, ValueError),
        ({"void_index": True}, TypeError),
        ({"colour": "red"}, TypeError),
    ],
)
def test_settings_are_checked_when_the_object_is_made(settings, error):
    with pytest.raises(error, match=next(reversed(settings))):
        RankSEG(**settings)


def test_default_settings_are_those_of_the_function():
    segment = RankSEG()
    assert segment.metric == "dice"
    assert segment.smooth == 0.0
    assert segment.output_mode == "multiclass"
    assert segment.solver == "RMA"
    assert segment.pruning_prob == 0.5
    assert segment.solver_params == {}


def test_settings_are_attributes():
    segment = RankSEG("iou", 2.0, "multiclass", "RMA", 0.25, unassigned_policy="void")
    assert segment.metric == "iou"
    assert segment.smooth == 2.0
    assert segment.output_mode == "multiclass"
    assert segment.solver == "RMA"
    assert segment.pruning_prob == 0.25
    assert segment.solver_params == {"unassigned_policy": "void"}


@pytest.mark.parametrize("settings", SETTINGS)
def test_repr_shows_every_setting_and_makes_the_same_object(settings):
    shown = repr(RankSEG(**settings))
    for name in ("metric", "smooth", "output_mode", "solver", "pruning_prob", "class_axis"):
        assert f"{name}=" in shown
    for name in ("unassigned_policy", "void_index", "safe_screening", "refine", "eps"):
        assert (f"{name}={settings.get(name)!r}" in shown) == (name in settings)
    again = eval(shown, {"RankSEG": RankSEG})
    assert repr(again) == shown
    assert np.array_equal(again(soft_maps()), RankSEG(**settings)(soft_maps()))


@pytest.mark.parametrize("duplicate", [lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy])
@pytest.mark.parametrize("settings", SETTINGS)
def test_pickles_and_copies_are_the_same_predictor(settings, duplicate):
    segment = RankSEG(**settings)
    again = duplicate(segment)
    assert repr(again) == repr(segment)
    assert np.array_equal(again(soft_maps()), segment(soft_maps()))


def test_settings_do_not_follow_the_callers_list():
    limits = [0.1, 0.5, 0.9]
    segment = RankSEG(output_mode="multilabel", pruning_prob=limits)
    expected = segment(soft_maps())
    limits[:] = [1.0, 1.0, 1.0]
    assert expected.any()
    assert np.array_equal(segment(soft_maps()), expected)


def test_attributes_and_answers_cannot_disagree():
    segment = RankSEG(output_mode="multilabel")
    with contextlib.suppress(AttributeError):
        segment.pruning_prob = 1.0
    found = segment(soft_maps())
    expected = rankseg(soft_maps(), output_mode="multilabel", pruning_prob=segment.pruning_prob)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("library", ["numpy", "torch", "jax.numpy"])
def test_threads_share_one_predictor(library, settings):
    asarray = pytest.importorskip(library).asarray
    segment = RankSEG(**settings)
    maps = [asarray(soft_maps(seed).astype(np.float32)) for seed in range(8)]
    expected = [np.asarray(segment(p)) for p in maps]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(segment, maps * 4))
    assert all(np.array_equal(*pair) for pair in zip(found, expected * 4, strict=True))
