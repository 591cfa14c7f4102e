import array_api_compat
import numpy as np
import pytest

from rankseg import arrays


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("shape", [(300,), (3, 300), (2, 3, 300), (0, 300), (3, 0)])
def test_dot_products_are_the_same_for_every_numpy(shape, step, dtype):
    x = np.random.default_rng(0).random((*shape[:-1], 2 * shape[-1]), dtype=dtype)
    x = x[..., ::step][..., : shape[-1]]
    for weights in (np.ones(shape[-1], dtype), (x > 0.5).astype(dtype)):
        each = np.broadcast_to(weights, x.shape)
        dots = [np.dot(x[i], each[i]) for i in np.ndindex(shape[:-1])]
        for function in (arrays._dot, arrays._dot_products):
            found = function(x, weights)
            assert found.shape == shape[:-1]
            assert found.dtype == dtype
            assert found.reshape(-1).tolist() == np.array(dots, dtype).tolist()


def test_torch_clips_without_array_api_compat():
    torch = pytest.importorskip("torch")
    namespace = None
    assert arrays.clip(namespace, torch.tensor([-1.0, 2.0]), 0.0, 1.0).tolist() == [0, 1]


def test_symbolic_tensors_are_traced():
    torch = pytest.importorskip("torch")
    x = torch.ones(2)
    with torch._subclasses.FakeTensorMode() as mode:
        assert arrays.kind_of(mode.from_tensor(x)) == "traced"
    functional = torch._subclasses.functional_tensor
    with functional.FunctionalTensorMode():
        assert arrays.kind_of(functional.FunctionalTensor.to_functional(x)) == "traced"
    assert arrays.kind_of(x) == "device"


SHAPES = [(2, 3), (40, 50), (3, 4096), (2, 4097), (5, 40, 50), (2, 3, 5000), (70, 70, 70)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("library", ["torch", "array_api_strict", "jax.numpy"])
def test_counts_and_sums_of_rows(library, shape):
    xp = pytest.importorskip(library)
    rng = np.random.default_rng(0)
    p = rng.random((2, 3, *shape), dtype=np.float32)
    chosen = p > 0.3
    mask, x = xp.asarray(chosen), xp.asarray(p)
    xp, axes = array_api_compat.array_namespace(x), tuple(range(2, p.ndim))
    assert np.array_equal(np.asarray(arrays.count(xp, mask, len(shape))), chosen.sum(axis=axes))
    rounding = 1e-6 if library == "jax.numpy" else 2e-7
    for given in (None, mask):
        wanted = np.where(True if given is None else chosen, p, 0).sum(axis=axes, dtype=float)
        found = np.asarray(arrays.total(xp, x, len(shape), given))
        np.testing.assert_allclose(found, wanted, rounding)


def test_rows_without_pixels_above_are_counted_as_such():
    torch = pytest.importorskip("torch")
    xp = array_api_compat.array_namespace(torch.ones(1))
    assert arrays.count(xp, torch.zeros(2, 3, 9, 9, dtype=torch.bool), 2).tolist() == [[0] * 3] * 2


def test_sums_of_a_device_are_read_in_one_copy(monkeypatch):
    torch = pytest.importorskip("torch")
    reads = []
    original = arrays.read_values
    monkeypatch.setattr(arrays, "read_values", lambda *x: reads.append(x) or original(*x))
    counts, sums = torch.tensor([[3, 4]]), torch.tensor([[0.5, 0.25]])
    found = arrays.read_sums(counts, sums)
    assert [part.tolist() for part in found] == [[[3.0, 4.0]], [[0.5, 0.25]]]
    assert [part.dtype for part in found] == [np.float64] * 2
    assert [len(arguments) for arguments in reads] == [1]


@pytest.mark.parametrize(
    ("shape", "ndim", "axes"),
    [((2, 64, 64), 2, 2), ((2, 64, 65), 2, 1), ((3, 4097), 1, 0), ((2, 3, 4), 1, 1)],
)
def test_runs_are_short(shape, ndim, axes):
    assert arrays._run(np.empty(shape), ndim) == axes
