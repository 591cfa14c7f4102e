"""The fused path, with Triton's interpreter in the place of a GPU."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from rankseg import arrays, fused, thresholds
from rankseg.functional import rankseg

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def softmax_map(*shape, seed=0, scale=4.0):
    logits = scale * np.random.default_rng(seed).normal(size=shape)
    for axis in range(2, len(shape)):
        logits = (logits + np.roll(logits, 1, axis) + np.roll(logits, 2, axis)) / 1.7
    e = np.exp(logits - logits.max(1, keepdims=True))
    return (e / e.sum(1, keepdims=True)).astype(np.float32)


@pytest.fixture
def attempts(monkeypatch):
    """Send tensors down the fused path, and count reads of the map: flags of each."""
    monkeypatch.setattr(arrays, "to_numpy_view", lambda x: getattr(x, "detach", lambda: x)())
    monkeypatch.setattr(fused, "_is_on_gpu", lambda probs: True)
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


def test_long_lists_are_mended(attempts, monkeypatch):
    monkeypatch.setattr(fused, "FEW", 4)
    probs = softmax_map(1, 3, 12, 13, scale=0.3)
    assert differing(rankseg(on_device(probs)), probs) == 0
    assert len(attempts) > 1


def test_thresholds(attempts):
    probs = softmax_map(2, 3, 11, 17)
    found, expected = thresholds(on_device(probs)), thresholds(probs)
    assert attempts
    for part, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(part.cpu().numpy(), other, rtol=1e-6)


@pytest.mark.parametrize("bad, message", [(np.nan, "finite"), (1.5, r"\[0, 1\]")])
def test_bad_values_raise_as_everywhere(attempts, bad, message):
    probs = softmax_map(1, 3, 50)
    probs[0, 1, 7] = bad
    with pytest.raises(ValueError, match=message):
        rankseg(on_device(probs))


def test_others_go_another_way(attempts):
    probs = softmax_map(1, 3, 50)
    rankseg(on_device(probs.astype(np.float64)))
    rankseg(on_device(probs), refine=1)
    rankseg(on_device(probs), solver="exact")
    assert not attempts
