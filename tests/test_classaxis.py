"""The class axis: what values sum to, and one warning where it is not 1."""

import inspect
import warnings

import numpy as np
import pytest

from rankseg import ClassAxisWarning, RankSEG, rankseg, thresholds
from rankseg.activations import sigmoid, softmax
from rankseg.classaxis import doubt, doubt_of_total, sums_to_one

SPATIAL = [(40,), (24, 32), (32, 24), (16, 16), (6, 10, 12), (8, 8, 8)]
DTYPES = ["float16", "float32", "float64"]


def make_probs(shape, classes, sharp=2.0, seed=0):
    """Probabilities (batch, *spatial, class)."""
    rng = np.random.default_rng(seed)
    return softmax(rng.normal(scale=sharp, size=(*shape, classes)), axis=-1)


def warning_of(function, *arguments, **options):
    """The one warning of a call, or None."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ClassAxisWarning)
        function(*arguments, **options)
    assert len(caught) < 2
    return str(caught[0].message) if caught else None


def good_inputs():
    """200 multiclass maps as people have them, with a class axis where it is said to be."""
    rng = np.random.default_rng(0)
    for i in range(200):
        classes = int(rng.choice([2, 3, 4, 11, 21, 150]))
        spatial = SPATIAL[i % len(SPATIAL)]
        probs = make_probs(
            (1 + i % 3, *spatial), classes, sharp=rng.choice([0.1, 1, 4, 20]), seed=i
        )
        kind = ("plain", "uint8", "cut", "float16", "padded", "dropped", "windows", "hard")[i % 8]
        if kind == "uint8":
            probs = np.rint(255 * probs) / 255
        elif kind == "cut":
            probs = np.floor(255 * probs) / 255
        elif kind == "float16":
            probs = probs.astype(np.float16)
        elif kind == "padded":
            probs[:, spatial[0] // 3 :] = 0
        elif kind == "dropped":  # a class that few pixels have
            probs[..., -1] *= rng.random(probs.shape[:-1]) > 0.3
        elif kind == "windows":
            weights = rng.random(16).astype(np.float32)
            probs = sum(w / weights.sum() * probs.astype(np.float32) for w in weights)
        elif kind == "hard":
            probs = np.eye(classes)[probs.argmax(axis=-1)]
        axis = int(rng.integers(1, probs.ndim)) - probs.ndim
        yield kind, np.moveaxis(probs.astype(rng.choice(DTYPES)), -1, axis), axis


def test_200_good_inputs_give_no_warning():
    wrong = []
    for kind, probs, axis in good_inputs():
        found = doubt(probs, axis % probs.ndim)
        wrong += [] if found is None else [(kind, probs.shape, axis, found)]
    assert not wrong


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spatial", SPATIAL)
@pytest.mark.parametrize("classes", [2, 3, 21])
def test_another_axis_is_named(dtype, spatial, classes):
    probs = make_probs((2, *spatial), classes).astype(dtype)
    for axis in range(1, probs.ndim):
        array = np.moveaxis(probs, -1, axis)
        for said in range(1, probs.ndim):
            message = warning_of(rankseg, array, class_axis=said)
            if said == axis:
                assert message is None
            else:
                assert f"over axis {axis}, not over the class axis {said}" in message
                assert f"class_axis={axis}" in message


@pytest.mark.parametrize("spatial", SPATIAL[1:])
@pytest.mark.parametrize("classes", [3, 4, 21])
def test_a_missing_batch_axis_is_named(spatial, classes):
    probs = np.moveaxis(make_probs(spatial, classes), -1, 0)
    assert "pass probs[None]" in warning_of(rankseg, probs)
    assert warning_of(rankseg, probs[None]) is None


@pytest.mark.parametrize("classes", [2, 3, 5, 11, 21])
@pytest.mark.parametrize("shift", [-6.0, -2.0, 0.0, 2.0])
def test_independent_probabilities_are_no_multiclass_map(classes, shift):
    logits = np.random.default_rng(classes).normal(shift, 2, (1, classes, 24, 32))
    message = warning_of(rankseg, sigmoid(logits))
    assert "output_mode='multilabel'" in message
    found = float(message.partition("about ")[2].partition(":")[0])
    assert found == pytest.approx(np.median(sigmoid(logits).sum(axis=1)), rel=0.5)
    assert warning_of(rankseg, sigmoid(logits), output_mode="multilabel") is None
    assert warning_of(thresholds, sigmoid(logits)) is None


@pytest.mark.parametrize("scale", [255, 100 / 255, 0.1])
def test_values_of_another_scale_are_noticed(scale):
    probs = np.moveaxis(make_probs((1, 24, 32), 3), -1, 1) / max(scale, 1 / scale)
    assert "sums of about" in warning_of(rankseg, probs)


def test_the_warning_points_at_the_call():
    probs = make_probs((1, 24, 32), 3)
    for call in (
        lambda: rankseg(probs),
        lambda: RankSEG()(probs),
        lambda: RankSEG().predict(probs),
    ):
        with pytest.warns(ClassAxisWarning) as caught:
            call()
        assert caught[0].filename == __file__
        lines, start = inspect.getsourcelines(call)
        assert start <= caught[0].lineno < start + len(lines)


def test_pixels_that_do_not_take_part_do_not_count():
    probs = np.moveaxis(make_probs((1, 24, 32), 3), -1, 1)
    valid = np.zeros((1, 24, 32), bool)
    valid[:, 8:16, 8:16] = True
    probs = np.where(valid[:, None], probs, 0.9)
    assert warning_of(rankseg, probs) is not None
    assert warning_of(rankseg, probs, valid=valid) is None


def test_a_few_pixels_are_not_doubted():
    assert doubt(np.full((1, 3, 21), 0.1), 1) is None
    assert doubt(np.full((1, 3, 22), 0.1), 1) is not None
    assert doubt_of_total(21, (1, 21, 3), 1) is None
    assert doubt_of_total(22, (1, 22, 3), 1) is not None


def test_half_of_the_pixels_decide():
    probs = np.moveaxis(make_probs((1, 64, 64), 3), -1, 1)
    for part, expected in ((3, False), (16, False), (48, True)):
        damaged = probs.copy()
        damaged[:, :, :part] /= 3
        assert (doubt(damaged, 1) is not None) == expected
        assert sums_to_one(damaged, 1) == (part == 3)  # of an axis that is to be named, most


def test_zeros_alone_are_not_doubted():
    assert doubt(np.zeros((1, 3, 24, 32)), 1) is None


def test_bfloat16_is_read_by_its_bits():
    torch = pytest.importorskip("torch")
    probs = torch.from_numpy(make_probs((1, 24, 32), 5)).bfloat16()
    assert warning_of(rankseg, probs.movedim(-1, 1)) is None
    assert "class_axis=3" in warning_of(rankseg, probs)


def test_arrays_of_every_library(backend):
    """At once or not at all: lazy and traced arrays are not looked at."""
    probs = make_probs((1, 24, 32), 5).astype(np.float32)
    message = warning_of(backend.call, rankseg, probs)
    if backend.jit or backend.name == "dask":
        assert message is None
    else:
        assert "over axis 3, not over the class axis 1" in message
    assert warning_of(backend.call, rankseg, np.moveaxis(probs, -1, 1)) is None


def test_on_a_device_nothing_more_is_read(monkeypatch):
    torch = pytest.importorskip("torch")
    from rankseg import arrays

    monkeypatch.setattr(arrays, "to_numpy_view", lambda x: getattr(x, "detach", lambda: x)())
    read = arrays.read_values
    count = []
    monkeypatch.setattr(arrays, "read_values", lambda *x: (count.append(1), read(*x))[1])
    probs = torch.from_numpy(make_probs((1, 24, 32), 5)).movedim(-1, 1)
    counts = []
    for check in (True, False):
        if not check:
            monkeypatch.setattr("rankseg.functional.warn_about_classes", lambda *_: None)
        count.clear()
        rankseg(probs)
        counts.append(len(count))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("shape", [(1, 24, 32, 5), (2, 16, 16, 3), (1, 7, 9, 11, 4)])
def test_the_sum_of_all_values_tells_axes_of_different_lengths(shape):
    last = len(shape) - 1
    total = np.prod(shape[:-1])
    assert doubt_of_total(total, shape, last) is None
    assert doubt_of_total(total, shape, 1).axis == last
    assert doubt_of_total(0.5 * total, shape, last) is None  # padding, or independent: not known


def test_the_warning_can_be_filtered():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ClassAxisWarning)
        rankseg(make_probs((1, 24, 32), 5))
    assert issubclass(ClassAxisWarning, UserWarning)
