"""The fused path, with Triton's interpreter in the place of a GPU."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from test_assignment import soft_maps

from rankseg import arrays, fused, gpu, thresholds
from rankseg.functional import rankseg

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def softmax_map(*shape, seed=0, scale=4.0):
    logits = scale * np.random.default_rng(seed).normal(size=shape)
    for axis in range(2, len(shape)):
        logits = (logits + np.roll(logits, 1, axis) + np.roll(logits, 2, axis)) / 1.7
    e = np.exp(logits - logits.max(1, keepdims=True))
    return (e / e.sum(1, keepdims=True)).astype(np.float32)


@pytest.fixture(autouse=True)
def language_is_replaced_once(monkeypatch):
    """Spare the interpreter from it at every function that a kernel calls: half of the time."""
    import triton.language as tl
    from triton.runtime import interpreter

    run = interpreter.InterpretedFunction.run

    def prepared(*args, **kwargs):
        scope = interpreter._patch_lang(tl.sum.fn)
        try:
            return run(*args, **kwargs)
        finally:
            scope.restore()

    def call(function, *args, **kwargs):
        return function.rewrite()(*args, **kwargs)

    monkeypatch.setattr(interpreter.InterpretedFunction, "run", prepared)
    monkeypatch.setattr(interpreter.InterpretedFunction, "__call__", call)


@pytest.fixture
def attempts(monkeypatch):
    """Send tensors down the fused path, and count reads of the map: flags of each."""
    monkeypatch.setattr(arrays, "to_numpy_view", lambda x: getattr(x, "detach", lambda: x)())
    monkeypatch.setattr(gpu, "is_on_gpu", lambda probs: True)
    seen, attempt = [], fused._Map.attempt

    def counted(self, *args):
        result = attempt(self, *args)
        seen.append(result[2])
        return result

    monkeypatch.setattr(fused._Map, "attempt", counted)
    return seen


def on_device(x):
    return torch.from_numpy(np.array(x)).to(DEVICE)


def differing(found, probs, **settings):
    return int(np.sum(found.cpu().numpy() != rankseg(probs, **settings)))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"metric": "iou", "smooth": 1.0},
        {"smooth": 1.0, "unassigned_policy": "void"},
        {"output_mode": "multilabel", "smooth": 1.0},
        {"output_mode": "multilabel", "pruning_prob": [0.5, 0.9, 0.1]},
        {"pruning_prob": 1.0},
    ],
)
def test_result_is_that_of_numpy(attempts, settings):
    probs = softmax_map(2, 3, 11, 17)
    assert differing(rankseg(on_device(probs), **settings), probs, **settings) == 0
    assert attempts


def test_layouts_and_valid(attempts):
    probs = softmax_map(1, 3, 5, 6, 7)
    valid = np.random.default_rng(1).random((1, 5, 6, 7)) < 0.8
    last = on_device(np.moveaxis(probs, 1, -1))
    found = rankseg(last, class_axis=-1, valid=on_device(valid))
    assert attempts and np.array_equal(found.cpu().numpy(), rankseg(probs, valid=valid))
    cut = on_device(probs)[0, :, :, :, 1:6][None, :, 0]
    assert differing(rankseg(cut), cut.cpu().numpy()) == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(attempts, dtype):
    probs = on_device(softmax_map(1, 3, 200)).to(dtype)
    assert differing(rankseg(probs), probs.float().cpu().numpy()) == 0
    assert attempts


def test_wrong_bracket_is_found_and_mended(attempts, monkeypatch):
    probs, guess = softmax_map(1, 3, 12, 13), fused._Map.guess

    def misled(self):
        bracket = guess(self)
        return fused._Bracket(bracket.low * 0 + 0.9, bracket.high * 0 + 0.95)

    monkeypatch.setattr(fused._Map, "guess", misled)
    assert differing(rankseg(on_device(probs)), probs) == 0
    assert len(attempts) == 2 and attempts[0].any()
    masks = rankseg(on_device(probs), output_mode="multilabel")
    assert differing(masks, probs, output_mode="multilabel") == 0


@pytest.mark.parametrize("room", [4096, 4])
@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
def test_samples_of_a_batch_are_mended_by_themselves(attempts, monkeypatch, mode, room):
    scale = np.array([9.0, 3.0, 1.5]).reshape(3, 1, 1, 1)  # thresholds of their own
    probs, guess = softmax_map(3, 3, 12, 13, scale=scale), fused._Map.guess
    valid = np.random.default_rng(1).random((3, 12, 13)) < 0.7

    def misled(self):
        bracket = guess(self)
        low, high = bracket.low.view(3, 3), bracket.high.view(3, 3)
        low[1, 2], high[1, 2] = 0.9, 0.95
        low[2, 1:], high[2, 1:] = 0.01, 0.02  # not the first, which is inactive
        return bracket

    monkeypatch.setattr(fused._Map, "guess", misled)
    monkeypatch.setattr(fused, "FEW", room)
    settings = {"output_mode": mode, "pruning_prob": [1.0, 0.5, 0.5]}
    found = rankseg(on_device(probs), valid=on_device(valid), **settings)
    assert np.array_equal(found.cpu().numpy(), rankseg(probs, valid=valid, **settings))
    assert len(attempts) >= 3 if mode == "multiclass" else attempts[0].any()


def test_long_lists_are_mended(attempts, monkeypatch):
    monkeypatch.setattr(fused, "FEW", 4)
    probs = softmax_map(1, 3, 12, 13, scale=0.3)
    assert differing(rankseg(on_device(probs)), probs) == 0
    assert len(attempts) > 1


def test_a_list_of_pixels_that_grows_when_it_is_mended(attempts, monkeypatch):
    # Above the wrong brackets no pixel is shared, and with "void" none is listed.
    probs, guess = softmax_map(1, 3, 12, 13, scale=1.5), fused._Map.guess

    def misled(self):
        bracket = guess(self)
        return fused._Bracket(bracket.low * 0 + 0.98, bracket.high * 0 + 0.99)

    monkeypatch.setattr(fused._Map, "guess", misled)
    monkeypatch.setattr(fused, "FEW", 4)
    settings = {"unassigned_policy": "void"}
    assert differing(rankseg(on_device(probs), **settings), probs, **settings) == 0
    assert len(attempts) == 3


def test_thresholds(attempts):
    probs = softmax_map(2, 3, 11, 17)
    probs[1, 2] *= 0.4  # which is pruned: its score is 0
    settings = {"metric": "iou", "smooth": 1.0}
    found, expected = thresholds(on_device(probs), **settings), thresholds(probs, **settings)
    assert attempts and not expected.active.all()
    for part, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(part.cpu().numpy(), other, rtol=1e-6)


@pytest.mark.parametrize("bad, message", [(np.nan, "finite"), (1.5, r"\[0, 1\]")])
def test_bad_values_raise_as_everywhere(attempts, bad, message):
    probs = softmax_map(1, 3, 50)
    probs[0, 1, 7] = bad
    with pytest.raises(ValueError, match=message):
        rankseg(on_device(probs))


def sampled(pixels):
    """Return the pixels that the guess looks at."""
    points = min(pixels, max(4096, pixels // 64))
    j = np.arange(points)
    first, last = j * pixels // points, (j + 1) * pixels // points
    return first + ((j * 2654435761 & 0xFFFFFFFF) * (last - first) >> 32)


def two_classes(p):
    return np.stack([p, 1 - p])[None].astype(np.float32)


def test_misleading_sample_is_found_and_mended(attempts):
    rng = np.random.default_rng(0)
    p = rng.uniform(0.0, 1.0, 12_300)
    p[sampled(p.size)] = rng.uniform(0.5, 0.6, 4096)
    for settings in {}, {"output_mode": "multilabel"}:
        attempts.clear()
        assert (
            differing(rankseg(on_device(two_classes(p)), **settings), two_classes(p), **settings)
            == 0
        )
        assert attempts[0].any()


def test_active_row_that_the_sample_does_not_show_is_found(attempts):
    p = np.full(12_300, 0.01)
    p[np.setdiff1d(np.arange(p.size), sampled(p.size))[::1000]] = 0.9
    assert differing(rankseg(on_device(two_classes(p))), two_classes(p)) == 0
    assert attempts[0][0].tolist() == [1, 0] and len(attempts) == 2


def test_values_in_a_bracket_that_do_not_fit_are_mended(attempts):
    # Half of the pixels lie at the threshold that they lead to.
    rng = np.random.default_rng(0)
    p = np.where(rng.random(12_300) < 0.5, 0.9, 0.3925 + rng.integers(-8, 9, 12_300) / 4096)
    for settings in {}, {"output_mode": "multilabel"}:
        attempts.clear()
        assert (
            differing(rankseg(on_device(two_classes(p)), **settings), two_classes(p), **settings)
            == 0
        )
        assert attempts[0][0, 0] & 2


@pytest.mark.skipif(DEVICE != "cpu", reason="a GPU has an order of its own")
@pytest.mark.parametrize("settings", [{}, {"smooth": 1.0, "output_mode": "multilabel"}])
def test_order_of_programs_does_not_matter(attempts, monkeypatch, settings):
    from triton.runtime.interpreter import interpreter_builder as builder

    set_dim, set_place, rows = builder.set_grid_dim, builder.set_grid_idx, []
    thresholds_step = fused._Map.thresholds

    def kept(self, *args):
        rows.append(thresholds_step(self, *args))
        return rows[-1]

    monkeypatch.setattr(fused._Map, "thresholds", kept)
    probs = softmax_map(2, 3, 4200, scale=1.0)
    expected = rankseg(on_device(probs), **settings)
    order = {}

    def shuffled_dim(*dim):
        order["dim"] = dim
        order["places"] = np.random.default_rng(1).permutation(np.prod(dim))
        set_dim(*dim)

    def shuffled_place(*place):
        place = order["places"][np.ravel_multi_index(place, order["dim"])]
        set_place(*map(int, np.unravel_index(place, order["dim"])))

    monkeypatch.setattr(builder, "set_grid_dim", shuffled_dim)
    monkeypatch.setattr(builder, "set_grid_idx", shuffled_place)
    assert torch.equal(rankseg(on_device(probs), **settings), expected)
    assert order and len(rows) == 2
    assert np.array_equal(rows[0].numpy().view(np.int64), rows[1].numpy().view(np.int64))


def objects():
    """Return a map whose classes own disks of 3 to 50 pixels on a background."""
    rng = np.random.default_rng(3)
    logits = rng.normal(scale=0.7, size=(4, 40, 50))
    logits[0] += 4
    y, x = np.mgrid[:40, :50]
    for c, area in (1, 3), (1, 20), (2, 5), (2, 50), (3, 12):
        center = rng.uniform([0, 0], [40, 50])
        logits[c] += 6 * ((y - center[0]) ** 2 + (x - center[1]) ** 2 < area / np.pi)
    e = np.exp(logits)
    return (e / e.sum(0))[None].astype(np.float32)


def ones_and_zeros():
    owner = np.random.default_rng(0).integers(0, 3, (1, 200))
    return np.moveaxis(np.eye(3, dtype=np.float32)[owner], -1, 1)


def equal_values():
    return (np.random.default_rng(0).integers(0, 5, (2, 3, 300)) / 8).astype(np.float32)


def unequal_activity():
    probs = softmax_map(3, 4, 300)
    probs[1, 1:] *= 0.1
    probs[2, ::2] = 0
    return probs


@pytest.mark.parametrize(
    "settings", [{}, {"metric": "iou", "smooth": 1.0}, {"output_mode": "multilabel"}]
)
@pytest.mark.parametrize("draw", [objects, ones_and_zeros, equal_values, unequal_activity])
def test_kinds_of_maps(attempts, draw, settings):
    probs = draw()
    assert differing(rankseg(on_device(probs), **settings), probs, **settings) == 0
    assert attempts


def test_increments_of_few_pixels(attempts):
    # In these samples the sign of c in an IoU's increment (a p - b) / (1 - c p) decides.
    maps = (1, 2), (8, 0), (15, 2), (34, 2), (38, 0), (58, 1)
    probs = np.concatenate([soft_maps(seed, 3, 4, (2, 4))[i : i + 1] for seed, i in maps])
    probs, settings = probs.astype(np.float32), {"metric": "iou", "pruning_prob": 0.0}
    assert differing(rankseg(on_device(probs), **settings), probs, **settings) == 0
    assert attempts


def test_smoothed_dice_may_leave_the_last_mask_empty(attempts):
    probs = np.zeros((1, 8, 20), np.float32)
    probs[0, :, 3] = np.linspace(0.3, 0.6, 8)
    settings = {"smooth": 1.0, "output_mode": "multilabel", "pruning_prob": 0.2}
    assert differing(rankseg(on_device(probs), **settings), probs, **settings) == 0
    assert attempts and 0 < rankseg(probs, **settings).sum() < 8
    found, expected = (
        thresholds(on_device(probs), "dice", 1.0, 0.2),
        thresholds(probs, "dice", 1.0, 0.2),
    )
    assert np.array_equal(np.isinf(found.threshold.cpu().numpy()), np.isinf(expected.threshold))


@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_one_class(attempts, smooth):
    probs = softmax_map(2, 2, 150)[:, :1]
    settings = {"output_mode": "multilabel", "smooth": smooth}
    assert differing(rankseg(on_device(probs), **settings), probs, **settings) == 0
    assert attempts


def test_others_go_another_way(attempts):
    probs = softmax_map(1, 3, 50)
    rankseg(on_device(probs.astype(np.float64)))
    rankseg(on_device(probs), refine=1)
    rankseg(on_device(probs), solver="exact")
    assert not attempts
