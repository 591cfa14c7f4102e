"""A stand-in for CuPy that needs no GPU: NumPy arrays behind CuPy's border of host and device.

`installed` puts it where ``import cupy`` finds it, and array-api-compat takes it for CuPy. What it
keeps was read in CuPy 13.6 and 14.2:

- Nothing crosses the border by itself: ``np.asarray(x)`` raises. `get`, `item`, `int`, `float` and
  `bool` are the ways out. Beside a NumPy array of one or more axes every function raises.
- NumPy functions that are given device arrays call this module's of that name.
- Reductions and indexing give arrays without axes, never scalars.
- `count_nonzero` has no `keepdims`, `clip` no `min` and `max`, and nothing takes a `device`.
- Arrays are made on the current device, and so are results. Work on an array of another device
  warns.

`counters` counts kernels, copies between host and device, and waits for the device. It keeps no
speed, no streams and no rounding of CuPy's own; a name that is not here is an AttributeError.
"""

import builtins
import sys
import types
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

__version__ = "14.2.0"
counters: Counter[str] = Counter()
_current = [0]


class PerformanceWarning(RuntimeWarning):
    """Work on an array of another device than the current one."""


class Device:
    """A device: its number, and a context in which it is the current one."""

    def __init__(self, number: "int | Device | None" = None) -> None:
        self.id = _current[-1] if number is None else int(number)
        if self.id not in (0, 1):
            raise RuntimeError("cudaErrorInvalidDevice: invalid device ordinal")

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self) -> int:
        return self.id

    def __enter__(self) -> "Device":
        _current.append(self.id)
        return self

    def __exit__(self, *_: object) -> None:
        _current.pop()


def _read(x: Any) -> Any:
    """Return what a kernel works on: device arrays and scalars, nested or not."""
    if isinstance(x, list | tuple):
        return type(x)(map(_read, x))
    if isinstance(x, ndarray):
        if x.device != Device():
            warnings.warn(
                f"The array is on device {x.device.id}, the current device is {Device().id}",
                PerformanceWarning,
                stacklevel=2,
            )
        return x.host
    if isinstance(x, np.ndarray):
        raise TypeError(f"Unsupported type {type(x)}")
    return x


def _made(host: Any, device: Device | None = None) -> "ndarray":
    made = object.__new__(ndarray)
    made.host, made.device = np.asarray(host), device or Device()
    if made.host.dtype.kind not in "biufc":
        raise ValueError(f"Unsupported dtype {made.host.dtype}")
    return made


def _run(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Run one kernel, or make one view."""
    given = _read(args)
    with np.errstate(all="ignore"):  # a device raises no warnings
        found = function(*given, **options)
    if isinstance(found, tuple | list):
        counters["kernels"] += 1
        return type(found)(map(_made, found))
    for x in given:
        if isinstance(x, np.ndarray) and np.may_share_memory(x, found):
            return _made(found)
    counters["kernels"] += 1
    return _made(found)


def _waiting(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    counters["waits"] += 1
    return _run(function, *args, **options)


class ndarray:
    """An array on a device."""

    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]
    host: np.ndarray
    device: Device

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **options: Any) -> Any:
        compares = ufunc.__name__.startswith(("greater", "less", "equal", "not_equal"))
        if compares:  # the one place for NumPy arrays without axes
            args = tuple(x.item() if isinstance(x, np.ndarray) and not x.ndim else x for x in args)
        return getattr(sys.modules[__name__], ufunc.__name__)(*args, **options)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        return getattr(sys.modules[__name__], function.__name__)(*args, **options)

    def get(self) -> np.ndarray:
        """Copy to the host."""
        counters.update(copies=1, waits=1)
        return self.host.copy()

    def item(self) -> Any:
        """Return the only element."""
        return self.get().item()

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    dtype = property(lambda self: self.host.dtype)
    shape = property(lambda self: self.host.shape)
    ndim = property(lambda self: self.host.ndim)
    size = property(lambda self: self.host.size)
    nbytes = property(lambda self: self.host.nbytes)
    flags = property(lambda self: self.host.flags)

    def __len__(self) -> int:
        return len(self.host)

    def __iter__(self) -> Iterator["ndarray"]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> "ndarray":
        parts = index if isinstance(index, tuple) else (index,)
        for part in parts:
            if isinstance(part, list | np.ndarray):  # copied to the device
                counters.update(copies=1, waits=1)
            elif isinstance(part, ndarray) and part.dtype == bool:  # how many has to be known
                counters["waits"] += 1
        found = tuple(_read(part) if isinstance(part, ndarray) else part for part in parts)
        if builtins.any(isinstance(part, list | np.ndarray) for part in found):
            return _run(lambda x: x[found], self)
        return _made(self.host[found], self.device)

    def __setitem__(self, index: Any, value: Any) -> None:
        counters["kernels"] += 1
        self.host[_read(index)] = _read(value)

    def astype(self, dtype: Any, copy: bool = True) -> "ndarray":
        """Return the values in a dtype."""
        same = not copy and self.dtype == dtype
        return self if same else _run(lambda x: x.astype(dtype), self)

    def copy(self) -> "ndarray":
        """Return a copy."""
        return _run(np.copy, self)

    def view(self, dtype: Any) -> "ndarray":
        """Return the same bytes as another dtype."""
        return _made(self.host.view(dtype), self.device)

    def reshape(self, *shape: Any) -> "ndarray":
        """Return the elements in another shape."""
        return _run(lambda x: x.reshape(*shape), self)


def _ufunc(name: str) -> Callable[..., Any]:
    function = getattr(np, name)

    def ufunc(*args: Any, out: Any = None, **options: Any) -> Any:
        if out is None:
            return _run(function, *args, **options)
        counters["kernels"] += 1
        with np.errstate(all="ignore"):
            function(*_read(args), out=out.host, **options)
        return out

    return ufunc


def _as_in_numpy(name: str) -> Callable[..., Any]:
    function = getattr(np, name)
    return lambda *args, **options: _run(function, *args, **options)


PLAIN = """bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64
complex128 intp dtype finfo iinfo issubdtype isdtype inf nan newaxis pi e
floating integer signedinteger unsignedinteger complexfloating inexact number generic"""
UFUNCS = """add subtract multiply divide true_divide floor_divide remainder power negative
positive absolute sign exp expm1 log log2 log10 log1p sqrt square sin cos tan arcsin arccos arctan
arctan2 sinh cosh tanh arcsinh arccosh arctanh logaddexp maximum minimum greater greater_equal
less less_equal equal not_equal logical_and logical_or logical_not logical_xor bitwise_and
bitwise_or bitwise_xor invert left_shift right_shift isfinite isinf isnan nextafter floor ceil
trunc"""
SAME = """where sum prod mean min max amin amax any all argmax argmin cumsum sort argsort
searchsorted take_along_axis reshape moveaxis swapaxes transpose expand_dims squeeze broadcast_to
flip ravel stack concatenate tile repeat matmul tensordot round zeros_like ones_like full_like
empty_like"""
MAKING = "empty zeros ones full arange linspace eye"
OPERATORS = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "true_divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "power",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "lshift": "left_shift",
    "rshift": "right_shift",
}
COMPARISONS = {
    "lt": "less",
    "le": "less_equal",
    "eq": "equal",
    "ne": "not_equal",
    "gt": "greater",
    "ge": "greater_equal",
}


def _fill() -> None:
    here = globals()
    here.update({name: getattr(np, name) for name in PLAIN.split() if hasattr(np, name)})
    here.update({name: _ufunc(name) for name in UFUNCS.split()})
    here.update({name: _as_in_numpy(name) for name in (SAME + " " + MAKING).split()})
    here.update(abs=here["absolute"])
    for method, name in OPERATORS.items():
        function = here[name]
        setattr(ndarray, f"__{method}__", lambda x, y, f=function: f(x, y))
        setattr(ndarray, f"__r{method}__", lambda x, y, f=function: f(y, x))
        setattr(ndarray, f"__i{method}__", lambda x, y, f=function: f(x, y, out=x))
    for method, name in COMPARISONS.items():
        function = getattr(np, name)
        setattr(ndarray, f"__{method}__", lambda x, y, f=function: f(x, y))
    for method, name in {"neg": "negative", "abs": "absolute", "invert": "invert"}.items():
        setattr(ndarray, f"__{method}__", lambda x, f=here[name]: f(x))


_fill()


def clip(a: ndarray, a_min: float, a_max: float) -> ndarray:
    """Clip in one kernel."""
    return _run(np.clip, a, a_min, a_max)


def count_nonzero(a: ndarray, axis: Any = None) -> ndarray:
    """Count, without `keepdims`."""
    return _run(np.count_nonzero, a, axis=axis)


def nonzero(a: ndarray) -> tuple[ndarray, ...]:
    """Wait for the number of the elements that are found."""
    return _waiting(np.nonzero, a)


def unique(a: ndarray, **options: Any) -> Any:
    """Wait for the number of the elements that are found."""
    return _waiting(np.unique, a, **options)


def bincount(x: ndarray, weights: ndarray | None = None, minlength: int = 0) -> ndarray:
    """Wait for the largest number."""
    return _waiting(np.bincount, x, weights, minlength)


def take(a: ndarray, indices: ndarray, axis: int | None = None) -> ndarray:
    """Take elements; beyond the end from the start."""
    return _run(np.take, a, indices, axis=axis, mode="wrap")


def array(a: Any, dtype: Any = None, copy: bool = True) -> ndarray:
    """Copy a NumPy array or nested numbers to the current device, or an array of any device."""
    if not isinstance(a, ndarray):
        counters.update(copies=1, waits=1)
        return _made(np.array(a, dtype=dtype))
    if a.device == Device() and not copy and dtype in (None, a.dtype):
        return a
    counters["kernels"] += 1
    return _made(np.array(a.host, dtype=dtype))


def asarray(a: Any, dtype: Any = None) -> ndarray:
    """Return an array on the current device, copied if it has to be."""
    return array(a, dtype, copy=False)


def asnumpy(a: Any) -> np.ndarray:
    """Copy to the host."""
    return a.get() if isinstance(a, ndarray) else np.asarray(a)


def _module(name: str, **members: Any) -> types.ModuleType:
    module = types.ModuleType(f"cupy.{name}")
    vars(module).update(members)
    return module


def _not_here(*_: object, **__: object) -> None:
    raise NotImplementedError("not in this stand-in")


FFT = "fft ifft fftn ifftn rfft irfft rfftn irfftn hfft ihfft fftfreq rfftfreq fftshift ifftshift"
LINALG = """lstsq cross outer eigh qr slogdet svd cholesky matrix_rank pinv norm inv det solve"""
_runtime = _module("cuda.runtime", CUDARuntimeError=RuntimeError)
cuda = _module("cuda", Device=Device, runtime=_runtime)
fft = _module("fft", **dict.fromkeys(FFT.split(), _not_here))
linalg = _module("linalg", **dict.fromkeys(LINALG.split(), _not_here))


@contextmanager
def installed() -> Iterator[types.ModuleType]:
    """Let ``import cupy`` find this module for a while."""
    module = sys.modules[__name__]
    modules = {"": module, ".cuda": cuda, ".cuda.device": cuda, ".fft": fft, ".linalg": linalg}
    modules = {"cupy" + name: part for name, part in modules.items()}
    sys.modules.update(modules)
    try:
        yield module
    finally:
        for name in modules:
            sys.modules.pop(name, None)
