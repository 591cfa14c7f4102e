"""Every public function, under many settings, in other libraries as in NumPy."""

import warnings
from functools import cache, partial
from itertools import product

import numpy as np
import pytest

from rankseg import RankSEG, metrics, rankdice_ba, rankseg_rma, thresholds
from rankseg.activations import sigmoid, softmax
from rankseg.calibration import Calibration
from rankseg.distribution import RefinedNormalPB
from rankseg.functional import rankseg

LIBRARIES = ["torch-device", "strict-device1", "cupy"]


def _probs(shape, dtype=np.float32):
    scores = 3 * np.random.default_rng(0).normal(size=shape)
    for axis in range(2, len(shape)):
        scores = (scores + np.roll(scores, 1, axis) + np.roll(scores, 2, axis)) / 1.7
    return softmax(scores, axis=1).astype(dtype)


PROBS = {
    "2d": _probs((2, 4, 40, 48)),
    "3d": _probs((1, 3, 12, 14, 20)),
    "1d": _probs((2, 3, 200)),
    "long": _probs((1, 3, 5000)),
    "thinned": _probs((1, 3, 130, 140)),
    "float64": _probs((2, 4, 40, 48), np.float64),
    "float16": _probs((2, 4, 40, 48), np.float16),
    "last": np.moveaxis(_probs((2, 4, 40, 48)), 1, -1),
    "rounding": _probs((2, 4, 40, 48)),
}
PROBS["rounding"][0, :, 0, 0] = [1 + 2e-7, -1e-7, -1e-7, -1e-7]
P, LABELS = PROBS["2d"], PROBS["2d"].argmax(axis=1)
MASKS, LOGITS = P > 0.4, np.log(P)
VALID = np.random.default_rng(1).random((2, 40, 48)) < 0.8
HOLES = P.copy()
HOLES[0, :, ~VALID[0]] = np.nan
SOLVERS = [("dice", s, m, "RMA") for s, m in product((0.0, 1.0), ("multiclass", "multilabel"))]
SOLVERS += [("iou", s, m, "RMA") for s, m in product((0.0, 1.0), ("multiclass", "multilabel"))]
SOLVERS += [("accuracy", 0.0, "multiclass", "argmax"), ("accuracy", 0.0, "multilabel", "TR")]
SOLVERS += [("accuracy", 0.0, "multiclass", "pruned-argmax")]
SOLVERS += [("dice", 0.0, "multilabel", solver) for solver in ("BA", "TRNA", "BA+TRNA", "exact")]
SOLVERS += [("iou", 1.0, "multiclass", "exact")]
VALID_SETTINGS = [
    {},
    {"unassigned_policy": "void"},
    {"refine": 2},
    {"metric": "iou"},
    {"solver": "exact"},
    {"output_mode": "multilabel", "smooth": 1.0},
    {"output_mode": "multilabel", "solver": "TRNA"},
    {"metric": "accuracy"},
    {"metric": "accuracy", "output_mode": "multilabel", "solver": "argmax"},
]


def _calls():
    """Yield a name, a function and the arrays that it takes of a library."""
    for name, probs in PROBS.items():
        axis = {"class_axis": -1 if name == "last" else 1}
        for *settings, solver in SOLVERS:
            call = partial(_rankseg, settings=(*settings, solver), **axis)
            yield f"{name} {settings} {solver}", call, probs
        yield f"{name} refined", partial(rankseg, refine=3, **axis), probs
        yield f"{name} thresholds", partial(thresholds, smooth=1.0, **axis), probs
        numbers = (0.7,) * probs.shape[axis["class_axis"]]
        kinds = [Calibration("temperature", 0.7), Calibration("vector", numbers, numbers)]
        for kind, mode in product(kinds, ("multiclass", "multilabel")):
            yield f"{name} {kind.kind} {mode}", partial(kind, output_mode=mode, **axis), probs
            predict = RankSEG(output_mode=mode, calibration=kind, **axis)
            yield f"{name} predictor {kind.kind} {mode}", predict, probs
    for settings in VALID_SETTINGS:
        call = partial(_with_valid, function=rankseg, **settings)
        yield f"valid {settings}", call, HOLES, VALID
        yield f"valid in NumPy {settings}", call, HOLES
    yield "valid thresholds", partial(_with_valid, function=thresholds), HOLES, VALID
    yield (
        "valid calibration",
        partial(_with_valid, function=Calibration("temperature", 0.5)),
        P,
        VALID,
    )
    yield "void", RankSEG(unassigned_policy="void", void_index=-1), P
    yield "pruning", partial(rankseg, pruning_prob=[0.5, 0.9, 0.1, 0.5]), P
    yield "all pruned", partial(rankseg, pruning_prob=1.0), P
    yield "no sample", rankseg, P[:0]
    yield "no sample's masks", partial(rankseg, output_mode="multilabel"), P[:0]
    yield "one class", partial(rankseg, output_mode="multilabel"), P[:, :1]
    yield "rma", partial(rankseg_rma, unassigned_policy="void"), P
    yield "ba", rankdice_ba, P
    yield "faint", partial(rankseg, output_mode="multilabel", pruning_prob=0), P * np.float32(1e-3)
    yield "zeros", rankseg, 0 * P
    yield "huge smooth", partial(rankseg, smooth=1e20), P
    other = np.roll(LABELS, 1, axis=-1)
    for dtype in (np.int64, np.int32, np.uint8, np.int8):
        pair = LABELS.astype(dtype), other.astype(dtype)
        yield f"dice {dtype.__name__}", partial(metrics.dice, num_classes=4), *pair
        call = partial(metrics.iou, num_classes=4, ignore_index=255)
        yield f"iou {dtype.__name__}", call, *pair
        call = partial(metrics.class_presence, num_classes=4, ignore_index=3)
        yield f"presence {dtype.__name__}", call, pair[0]
    yield "dice masks", metrics.dice, MASKS, np.roll(MASKS, 1, axis=-1)
    yield "iou masks", metrics.iou, MASKS, np.roll(MASKS, 1, axis=-1)
    scores = metrics.dice(MASKS, np.roll(MASKS, 1, axis=-1))
    yield "mean", lambda x, y: metrics.mean_score(x, present=y), scores, scores > 0.5
    for per in ("image", "class"):
        yield f"mean {per}", partial(metrics.mean_score, per=per), scores
    for method, smooth in product(("exact", "rma"), (0.0, 1.0)):
        options = {"method": method, "smooth": smooth}
        dice, iou = (partial(f, **options) for f in (metrics.expected_dice, metrics.expected_iou))
        yield f"expected dice {options}", dice, P, MASKS
        yield f"expected iou {options}", iou, P, LABELS
        yield f"expected dice float16 {options}", dice, PROBS["float16"], MASKS
        yield f"expected dice, NumPy mask {options}", partial(dice, mask=MASKS), P
        yield f"expected iou, NumPy labels {options}", partial(iou, mask=LABELS), P
    positives = RefinedNormalPB(100, 20.0, 3.0, 0.1)
    yield "cdf", positives.cdf, np.arange(30.0)
    yield "pmf of integers", positives.pmf, np.arange(30)
    yield "pdf", positives.pdf, np.array([19.0, 20.0])
    yield "icdf", positives.icdf, np.array([0.1, 0.5])
    yield "interval", positives.interval, np.array(0.05)
    call = lambda loc, scale: RefinedNormalPB(100, loc, scale, 0.1).cdf(loc)  # noqa: E731
    yield "parameters", call, np.array([20.0, 30.0]), np.array([3.0, 4.0])
    yield "softmax", partial(softmax, axis=1), LOGITS
    yield "sigmoid", sigmoid, LOGITS


def _rankseg(probs, settings, class_axis):
    metric, smooth, mode, solver = settings
    return rankseg(probs, metric, smooth, mode, solver, class_axis=class_axis)


def _with_valid(probs, valid=VALID, *, function, **settings):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="solver 'argmax'")
        return function(probs, valid=valid, **settings)


CALLS = {name: rest for name, *rest in _calls()}


def _parts(result):
    return tuple(result) if isinstance(result, tuple) else (result,)


@cache
def _expected(name):
    function, *given = CALLS[name]
    return _parts(function(*given))


def test_it_is_as_long_as_it_says():
    assert len(CALLS) >= 264


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("backend", LIBRARIES, indirect=True)
def test_every_call_is_as_in_numpy(backend, name):
    function, *given = CALLS[name]
    if backend.name == "strict" and any(x.dtype == np.float16 for x in given):
        pytest.skip("no float16 there")
    given = [getattr(x, "detach", lambda x=x: x)() for x in map(backend.asarray, given)]
    for part, wanted in zip(_parts(function(*given)), _expected(name), strict=True):
        part = backend.to_numpy(part)
        assert (part.shape, part.dtype) == (wanted.shape, wanted.dtype)
        if part.dtype.kind == "f":
            np.testing.assert_allclose(part, wanted, rtol=1e-5, atol=1e-7)
        else:
            assert np.array_equal(part, wanted)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("backend", ["cupy"], indirect=True)
def test_cupy_works_where_the_arrays_lie(backend, name):
    import cupy

    function, *given = CALLS[name]
    try:
        with cupy.cuda.Device(1) as other:
            given = [backend.asarray(x) for x in given]
    except cupy.cuda.runtime.CUDARuntimeError:
        pytest.skip("one device")
    assert [part.device for part in _parts(function(*given))] == [other] * len(_expected(name))
