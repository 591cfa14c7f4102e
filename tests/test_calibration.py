"""Temperature and vector scaling of probabilities."""

import copy
import pickle
import tracemalloc

import numpy as np
import pytest

from rankseg import RankSEG, functional, opening
from rankseg import calibration as calibration_module
from rankseg.activations import sigmoid, softmax
from rankseg.calibration import Calibration

VECTOR = Calibration("vector", [0.5, 1.0, 2.0], [0.3, 0.0, -0.7])
TEMPERATURE = Calibration("temperature", 0.6)
MODES = ["multiclass", "multilabel"]

# Scores are up to 2 * log(1e12) = 55, so float32 rounds them by 55 * 2**-24 = 3e-6, and a
# probability by that relative to itself; the logarithms of JAX and others add a few times more.
RELATIVE = 2e-5


def soft_maps(shape=(2, 3, 8, 9), seed=0):
    return softmax(np.random.default_rng(seed).normal(scale=3, size=shape), axis=1)


def expected(p, calibration, mode):
    """Write down the definition in float64."""
    column = (1, -1, *[1] * (p.ndim - 2))
    scale, bias = (np.reshape(part, column) for part in (calibration.scale, calibration.bias))
    p = np.clip(np.asarray(p, np.float64), calibration.floor, None)
    if mode == "multiclass":
        return softmax(scale * np.log(p) + bias, axis=1)
    return sigmoid(scale * np.log(p / (1 - p)) + bias)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("calibration", [VECTOR, TEMPERATURE], ids=["vector", "temperature"])
def test_it_is_the_formula_on_every_backend(backend, calibration, mode):
    p = soft_maps().astype(np.float32)
    found = backend.call(calibration, p, output_mode=mode)
    assert found.shape == p.shape
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected(p, calibration, mode), RELATIVE)


@pytest.mark.parametrize("mode", MODES)
def test_zeros_count_as_the_floor_on_every_backend(backend, mode):
    p = np.zeros((1, 3, 2, 2), np.float32)
    p[:, 0] = 0.9
    calibration = Calibration("vector", [1.0, 0.5, 0.25], floor=1e-3)
    found = backend.call(calibration, p, output_mode=mode)
    np.testing.assert_allclose(found, expected(p, calibration, mode), RELATIVE)


def test_ones_stay_finite_and_on_top_in_multilabel(backend):
    p = np.array([1.0, 0.999, 0.0]).astype(np.float32).reshape(1, 1, 3)
    for scale in (0.1, 1.0, 10.0):
        found = backend.call(Calibration("temperature", scale), p, output_mode="multilabel")
        assert found[0, 0, 0] >= found[0, 0, 1] > 0.5 > found[0, 0, 2] >= 0


def test_temperature_scales_logits():
    logits = np.random.default_rng(1).normal(scale=3, size=(1, 4, 5, 6))
    found = TEMPERATURE(softmax(logits, axis=1))
    np.testing.assert_allclose(found, softmax(0.6 * logits, axis=1), 1e-12)
    found = TEMPERATURE(sigmoid(logits), output_mode="multilabel")
    np.testing.assert_allclose(found, sigmoid(0.6 * logits), 1e-12)


def test_a_bias_multiplies_odds():
    p = np.array([0.2, 0.8]).reshape(1, 2, 1)
    found = Calibration("vector", 1.0, [np.log(3.0), 0.0])(p)
    np.testing.assert_allclose(found[0, 0], 3 * 0.2 / (3 * 0.2 + 0.8))


def test_neutral_numbers_change_nothing():
    p = soft_maps()
    np.testing.assert_allclose(Calibration("vector")(p), p, 1e-12)
    np.testing.assert_allclose(Calibration("temperature")(p, output_mode="multilabel"), p, 1e-12)


def test_maps_of_many_blocks_are_as_one():
    p = soft_maps((2, 3, 400, 500)).astype(np.float32)
    np.testing.assert_allclose(VECTOR(p), expected(p, VECTOR, "multiclass"), RELATIVE)


def test_the_input_is_left_alone():
    p = soft_maps()
    before = p.copy()
    VECTOR(p)
    assert np.array_equal(p, before)


def test_the_class_axis_may_be_any():
    p = soft_maps()
    found = VECTOR(np.moveaxis(p, 1, -1), class_axis=-1)
    assert np.array_equal(np.moveaxis(found, -1, 1), VECTOR(p))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_half_precision_comes_out_as_float32(dtype):
    assert VECTOR(soft_maps().astype(dtype)).dtype == np.result_type(dtype, np.float32)


def test_bfloat16_is_read():
    torch = pytest.importorskip("torch")
    p = torch.from_numpy(soft_maps()).to(torch.bfloat16)
    found = VECTOR(p)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(
        found.numpy(), expected(p.double().numpy(), VECTOR, "multiclass"), RELATIVE
    )


def test_dask_results_are_lazy():
    da = pytest.importorskip("dask.array")
    assert isinstance(VECTOR(da.from_array(soft_maps())), da.Array)


def test_pixels_that_do_not_count_may_hold_anything():
    p, valid = soft_maps(), np.ones((2, 8, 9), bool)
    expected = VECTOR(p)
    valid[:, :3] = False
    p[:, :, :3] = np.nan
    assert np.array_equal(VECTOR(p, valid=valid)[:, :, 3:], expected[:, :, 3:])
    with pytest.raises(ValueError, match="finite"):
        VECTOR(p)


def test_logits_are_refused():
    with pytest.raises(ValueError, match="softmax"):
        VECTOR(np.full((1, 3, 4), 2.0))


def test_lazy_logits_are_refused():
    da = pytest.importorskip("dask.array")
    with pytest.raises(ValueError, match="softmax"):
        VECTOR(da.full((1, 3, 4), 2.0))


def test_the_number_of_classes_must_agree():
    with pytest.raises(ValueError, match="2 classes, but the calibration is for 3"):
        VECTOR(np.full((1, 2, 4), 0.5))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("platt",), ValueError, "kind must be one of 'temperature', 'vector'"),
        ((None,), TypeError, "kind must be a string"),
        (("temperature", 0.0), ValueError, "scale must be in"),
        (("temperature", np.nan), ValueError, "scale must be in"),
        (("temperature", "1"), TypeError, "scale must be a real number"),
        (("temperature", [1.0, 2.0]), ValueError, "one scale and no bias"),
        (("temperature", 1.0, 0.5), ValueError, "one scale and no bias"),
        (("vector", [1.0, -1.0]), ValueError, r"scale\[1\] must be in"),
        (("vector", []), TypeError, "scale must be a real number"),
        (("vector", [1.0, 1.0], [0.0, None]), TypeError, r"bias\[1\] must be a real number"),
        (("vector", [1.0, 1.0], [0.0] * 3), ValueError, "one length"),
        (("vector", 1.0, 0.0, 0.0), ValueError, "floor must be in"),
    ],
)
def test_wrong_numbers_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Calibration(*arguments)


def test_it_knows_its_number_of_classes():
    assert VECTOR.classes == 3
    assert Calibration("vector", 1.0, [0.0, 1.0]).classes == 2
    assert TEMPERATURE.classes is None


@pytest.mark.parametrize("mode", MODES)
def test_a_predictor_applies_it_first_on_every_backend(backend, mode):
    p = soft_maps().astype(np.float32)
    segment = RankSEG("iou", output_mode=mode, calibration=VECTOR)
    plain = RankSEG("iou", output_mode=mode)
    found = backend.call(segment, p)
    assert np.array_equal(found, plain(VECTOR(p, output_mode=mode)))
    assert not np.array_equal(found, plain(p))


def test_a_predictor_passes_its_class_axis_and_valid_on():
    p, valid = np.moveaxis(soft_maps(), 1, -1).copy(), np.ones((2, 8, 9), bool)
    valid[:, :3], p[:, :3] = False, np.nan
    found = RankSEG(class_axis=-1, calibration=VECTOR)(p, valid=valid)
    assert np.all(found[:, :3] == 255)
    corrected = VECTOR(p, class_axis=-1, valid=valid)
    assert np.array_equal(found, RankSEG(class_axis=-1)(corrected, valid=valid))


@pytest.mark.parametrize("duplicate", [lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy])
def test_a_predictor_with_it_can_be_pickled_and_copied(duplicate):
    segment = RankSEG(calibration=VECTOR)
    again = duplicate(segment)
    assert again.calibration == VECTOR
    assert np.array_equal(again(soft_maps()), segment(soft_maps()))


def test_the_repr_of_a_predictor_has_it_where_there_is_one():
    segment = RankSEG(calibration=VECTOR)
    again = eval(repr(segment), {"RankSEG": RankSEG, "Calibration": Calibration})
    assert again.calibration == VECTOR
    assert "calibration" not in repr(RankSEG())


def test_a_predictor_takes_nothing_else_for_it():
    with pytest.raises(TypeError, match="calibration must be a Calibration, found str"):
        RankSEG(calibration="vector")


@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
def test_the_map_is_opened_once_and_never_copied(monkeypatch, mode):
    opened = []
    original = opening.open_rows
    for module in (functional, calibration_module):
        monkeypatch.setattr(module, "open_rows", lambda *a: opened.append(a) or original(*a))
    p = np.full((1, 32, 512, 512), 0.1 / 31, np.float32)
    for c in range(32):
        p[0, c, 16 * c : 16 * c + 16] = 0.9
    segment = RankSEG(output_mode=mode, calibration=Calibration("vector", [0.8] * 32, [0.1] * 32))
    tracemalloc.start()
    try:
        segment(p)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(opened) == 1
    assert peak < 0.6 * p.nbytes


def test_a_row_that_is_copied_to_the_host_is_corrected_as_its_class(backend):
    if backend.jit:
        pytest.skip("the exact solver needs values")
    p = np.moveaxis(np.random.default_rng(3).dirichlet((0.6, 0.6, 0.6), (2, 9, 11)), -1, 1)
    p = np.ascontiguousarray(p.astype(np.float32))
    segment = RankSEG(output_mode="multilabel", solver="exact", calibration=VECTOR)
    corrected = VECTOR(p, output_mode="multilabel")
    wanted = RankSEG(output_mode="multilabel", solver="exact")(corrected)
    found = backend.call(segment, p)
    assert np.count_nonzero(found != wanted) <= 3  # ties by the libraries' rounding of exp


def test_the_classes_of_a_bias_alone_are_checked():
    p = np.full((1, 2, 3), 0.5)
    with pytest.raises(ValueError, match="2 classes, but the calibration is for 3"):
        Calibration("vector", bias=[0.0, 1.0, 0.0])(p)
