"""Backends: every solver test runs over every installed array library.

``pytest --fast``, which is what ``tox run -e fast`` does, takes NumPy alone of them and leaves out
the files of `SLOW`: the solvers, the rules about arguments and the statistics in half a minute.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Most functions run once, on little: XLA need not optimise them, nor Dask or BLAS start threads.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault("DASK_SCHEDULER", "synchronous")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Triton asks when it is imported, and torch may do that first.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")

import cpu_torchvision  # noqa: F401  (before anything imports torchvision)
import cupy_standin
import hypothesis
import numpy as np
import pytest

from rankseg import arrays

# The same examples in every CI run; new ones each time elsewhere.
hypothesis.settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")


SLOW = ("cli", "demo", "docs", "export", "integration", "package", "tuning")
"""What follows "test_" in the names of files that start programs, train, or run other libraries."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="NumPy alone, without the slow files")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    slow = collection_path.name.startswith(tuple("test_" + name for name in SLOW))
    return True if slow and config.getoption("fast") else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("fast"):
        others = [item for item in items if _backend_of(item) not in (None, "numpy")]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]


def _backend_of(item: pytest.Item) -> str | None:
    parameters = getattr(item, "callspec", None)
    return parameters and parameters.params.get("backend")


@dataclass(frozen=True)
class Backend:
    """An array library, and how a test calls the library through it."""

    name: str
    asarray: Callable[[np.ndarray], Any]
    to_numpy: Callable[[Any], np.ndarray] = np.asarray
    jit: bool = False
    static: bool = False  # shapes cannot depend on values
    float64: bool = True

    def bind(self, function: Callable[..., Any], **arguments: Any) -> Callable[[Any], Any]:
        """Return a function of the probabilities alone, compiled where this backend compiles."""
        if not self.jit:
            return partial(function, **arguments)
        known = all(isinstance(value, str | int | float) for value in arguments.values())
        return (_compiled_once if known else _compiled)(function, **arguments)

    def call(self, function: Callable[..., Any], probs: np.ndarray, **arguments: Any) -> Any:
        """Call with the probabilities, and any `valid`, in this library; NumPy arrays come back."""
        if arguments.get("valid") is not None:
            arguments["valid"] = self.asarray(arguments["valid"])
        result = self.bind(function, **arguments)(self.asarray(probs))
        if isinstance(result, tuple):
            return type(result)(*(self.to_numpy(part) for part in result))
        return self.to_numpy(result)


def _compiled(function: Callable[..., Any], **arguments: Any) -> Callable[[Any], Any]:
    import jax

    return jax.jit(partial(function, **arguments), **_quick_options())


# JAX keeps what it compiled for a shape with the function: the same settings, the same function.
_compiled_once = lru_cache(maxsize=None, typed=True)(_compiled)


@cache
def _quick_options() -> dict[str, Any]:
    """Return what halves the time that XLA takes, where this version of JAX knows it."""
    import jax

    options = {"compiler_options": {"xla_cpu_use_fusion_emitters": False}}
    try:
        jax.jit(lambda x: x, **options)(0)
    except (TypeError, RuntimeError):
        return {}
    return options


def _read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


def _channels_last(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def _strided(x: np.ndarray) -> np.ndarray:
    return np.repeat(x, 2, axis=-1)[..., ::2]


def _numpy(convert: Callable[[np.ndarray], np.ndarray]) -> Callable[[], Backend]:
    return lambda: Backend("numpy", convert)


def _torch() -> Backend:
    torch = pytest.importorskip("torch")

    def asarray(x: np.ndarray) -> Any:
        x = torch.from_numpy(x.copy())
        return x.requires_grad_() if x.is_floating_point() else x

    return Backend("torch", asarray, lambda x: x.numpy())


def _torch_cuda() -> Backend:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return Backend("torch", lambda x: torch.from_numpy(x.copy()).cuda(), lambda x: x.cpu().numpy())


def _strict(device: str = "CPU_DEVICE") -> Backend:
    strict = pytest.importorskip("array_api_strict")
    place = strict.Device(device)

    def to_numpy(x: Any) -> np.ndarray:
        assert x.device == place
        return np.asarray(x.to_device(strict.Device("CPU_DEVICE")))

    return Backend("strict", lambda x: strict.asarray(x, device=place), to_numpy)


def _jax(jit: bool = False) -> Backend:
    jnp = pytest.importorskip("jax.numpy")
    return Backend("jax", jnp.asarray, jit=jit, static=jit, float64=False)


def _dask() -> Backend:
    da = pytest.importorskip("dask.array")

    def asarray(x: np.ndarray) -> Any:
        return da.from_array(x, chunks=tuple(max(1, -(-n // 2)) for n in x.shape))

    return Backend("dask", asarray, lambda x: np.asarray(x.compute()), static=True)


def _cupy() -> Backend:
    import cupy

    return Backend("cupy", cupy.asarray, cupy.asnumpy)


BACKENDS: dict[str, Callable[[], Backend]] = {
    "numpy": _numpy(np.asarray),
    "numpy-readonly": _numpy(_read_only),
    "numpy-channels-last": _numpy(_channels_last),
    "numpy-strided": _numpy(_strided),
    "torch": _torch,
    "torch-device": _torch,
    "torch-cuda": _torch_cuda,
    "jax": _jax,
    "jax-device": _jax,
    "jax-jit": lambda: _jax(jit=True),
    "strict": _strict,
    "strict-static": _strict,
    "strict-device1": lambda: _strict("device1"),
    "dask": _dask,
    "cupy": _cupy,
}


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """Every backend in turn.

    "-device" takes arrays in CPU memory the way that arrays on a GPU go; "-static" switches
    data-dependent shapes and boolean indexing off. "-device1" can hand nothing to NumPy as it is,
    nor can "cupy", which is a stand-in where the library is not installed.
    """
    with contextlib.ExitStack() as stack:
        if request.param == "cupy" and find_spec("cupy") is None:
            stack.enter_context(cupy_standin.installed())
        backend = BACKENDS[request.param]()
        if request.param.endswith("-device"):
            keep = lambda x: getattr(x, "detach", lambda: x)()  # noqa: E731
            monkeypatch.setattr(arrays, "to_numpy_view", keep)
        if request.param == "strict-static":
            import array_api_strict

            backend = replace(backend, static=True)
            flags = {"boolean_indexing": False, "data_dependent_shapes": False}
            stack.enter_context(array_api_strict.ArrayAPIStrictFlags(**flags))
        yield backend
