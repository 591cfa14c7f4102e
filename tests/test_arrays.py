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
