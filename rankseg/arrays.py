"""How array libraries differ: what the solvers ask of arrays, the same for every library.

Four kinds of array are told apart, and everything else follows from the kind:

========  ===========================================  ================================
kind      arrays                                       how the solvers work on it
========  ===========================================  ================================
host      NumPy; PyTorch and JAX arrays in CPU memory  blocks that stay in cache
device    CUDA, MPS, any other eager library           a few large operations
lazy      Dask                                         as device, one ``compute`` a read
traced    inside ``jax.jit`` or ``torch.compile``      as device, a fixed number of steps
========  ===========================================  ================================

Host arrays of other libraries are read through a NumPy view of the same memory.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial, wraps
from math import ceil, prod
from typing import Any, Literal, ParamSpec, TypeAlias, TypeVar

import numpy as np
from array_api_compat import (
    array_namespace,
    is_array_api_obj,
    is_cupy_array,
    is_dask_array,
    is_jax_array,
    is_numpy_array,
    is_torch_array,
)
from array_api_compat import device as device_of

Array: TypeAlias = Any
Namespace: TypeAlias = Any
Kind: TypeAlias = Literal["host", "device", "lazy", "traced"]
Slab: TypeAlias = tuple[slice, ...]
_P = ParamSpec("_P")
_R = TypeVar("_R")

BLOCK = 2**18
"""Elements that one operation on a host array touches: small enough to stay in cache.

A real 11x360x480 map takes 3.4 ms; with 2^16 3.8, with 2^14 6.0, with 2^20 5.8.
"""

SHORT = 4096
"""Longest axis that is summed in the precision of the array itself.

Off by 6e-7 at worst; a row of 10^6 in one run by 2e-4.
"""


@cache
def numpy_namespace() -> Namespace:
    """Return NumPy with the names of the standard, which NumPy itself has from 2.1 on.

    Not at import: it takes 100 ms, as much as NumPy.
    """
    return array_namespace(np.empty(0))


def is_array(x: object) -> bool:
    """Tell whether the Python array API standard, or array-api-compat, covers this object."""
    return is_array_api_obj(x)


def kind_of(x: Array) -> Kind:
    """Tell how an array has to be worked on."""
    if is_numpy_array(x):
        return "host"
    if is_dask_array(x):
        return "lazy"
    if is_jax_array(x) and isinstance(x, sys.modules["jax"].core.Tracer):
        return "traced"
    if is_torch_array(x) and _is_traced_by_torch(x):
        return "traced"
    return "device"


def _is_traced_by_torch(x: Array) -> bool:
    # torch.compile says so by itself in late versions; PyTorch 2.4 hands its symbolic tensors over.
    torch = sys.modules["torch"]
    symbolic = (torch._subclasses.FakeTensor, torch._subclasses.functional_tensor.FunctionalTensor)
    return (
        torch.compiler.is_compiling()
        or isinstance(x, symbolic)
        or torch.jit.is_tracing()  # torch.onnx.export(dynamo=False) too
        or torch._C._functorch.is_functorch_wrapped_tensor(x)  # vmap, grad, functionalize
        or _is_recorded_by_fx()
    )


def is_compiling() -> bool:
    """Tell whether ``torch.compile`` or ``torch.export`` is reading the code."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.compiler.is_compiling()


def _is_recorded_by_fx() -> bool:
    # make_fx on plain tensors, and its variant that runs before autograd.
    torch = sys.modules["torch"]
    key = torch._C._TorchDispatchModeKey.PROXY
    found = torch._C._get_dispatch_mode(key) or torch._ops._get_dispatch_mode_pre_dispatch(key)
    return found is not None


def kind_without_values(x: Array) -> str | None:
    """Name the kind of a tensor that has no values to be worked on as they are, None for others."""
    if not is_torch_array(x):
        return None
    torch = sys.modules["torch"]
    if x.is_nested:
        return "a nested tensor"
    if x.is_quantized:
        return "a quantized tensor"
    if x.layout != torch.strided:
        return f"a tensor of layout {x.layout}"
    if _is_traced_by_torch(x):
        return None
    if x.is_meta:
        return "a meta tensor, which has no values"
    own = type(x).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__
    return f"a {type(x).__name__}" if own else None


def device(x: Array) -> Any:
    """Return where an array goes that meets this one: None, anywhere, if it lies on several."""
    place = device_of(x)
    if is_jax_array(x) and kind_of(x) != "traced" and len(x.devices()) > 1:
        return None  # a sharding says how arrays of one shape are cut
    return place


def move_axis(x: Array, source: int, destination: int) -> Array:
    """Move an axis: ``moveaxis`` has no rule under torch.vmap."""
    order = list(range(x.ndim))
    order.insert(destination % x.ndim, order.pop(source % x.ndim))
    return array_namespace(x).permute_dims(x, tuple(order))


def fuses(x: Array) -> bool:
    """Tell whether XLA will compile what is done to an array: then these are for it.

    `largest_and_total`, `count_and_total` and `computed_once` each cost one read of their input.
    """
    return is_jax_array(x) and kind_of(x) == "traced"


def largest_and_total(x: Array, ndim: int) -> tuple[Array, Array]:
    """Return the largest value, of values >= 0, and the sum over the last `ndim` axes."""
    lax = sys.modules["jax"].lax
    # As bits, which order alike: XLA has no vector code for two reductions of floats at once, and
    # takes 8 times as long on a CPU.
    bits = lax.bitcast_convert_type(x, f"int{8 * x.dtype.itemsize}")
    largest, sums = _reduce_together((bits, x), (lax.max, lax.add), ndim)
    return lax.bitcast_convert_type(largest, x.dtype), sums


def count_and_total(mask: Array, x: Array, ndim: int) -> tuple[Array, Array]:
    """Count the True values over the last `ndim` axes, and sum the others' values there."""
    xp, lax = array_namespace(x), sys.modules["jax"].lax
    chosen = xp.where(mask, x, xp.zeros((), dtype=x.dtype))
    return _reduce_together((xp.astype(mask, xp.int32), chosen), (lax.add, lax.add), ndim)


def _reduce_together(
    parts: tuple[Array, ...], operators: tuple[Callable[..., Array], ...], ndim: int
) -> tuple[Array, Array]:
    # One axis after the other: sums over lines keep float32 accurate.
    def both(old: tuple[Array, ...], new: tuple[Array, ...]) -> tuple[Array, ...]:
        return tuple(f(a, b) for f, a, b in zip(operators, old, new, strict=True))

    starts = tuple(part.dtype.type(0) for part in parts)
    for _ in range(ndim):
        parts = sys.modules["jax"].lax.reduce(parts, starts, both, (parts[0].ndim - 1,))
    return parts[0], parts[1]


def computed_once(x: Array) -> Array:
    """Have an array computed before what follows, which would else compute it again."""
    return sys.modules["jax"].lax.optimization_barrier(x)


def to_numpy_view(x: Array) -> Array:
    """Return a NumPy view of an array that lies in CPU memory, any other array as it is.

    No element is copied. bfloat16 has no NumPy type: its bits come as int16 (see `widen`).
    """
    if is_torch_array(x):
        torch = sys.modules["torch"]
        x = x.detach()
        if kind_of(x) == "traced" or x.device.type != "cpu" or x.layout != torch.strided:
            return x
        return _view_of_tensor(x)
    if is_jax_array(x):
        jax = sys.modules["jax"]
        x = jax.lax.stop_gradient(x)
        if kind_of(x) == "traced":
            return x
        if not isinstance(x, jax.Array):  # what a transformation holds of a NumPy array
            return np.asarray(x)
        on_cpu = all(place.platform == "cpu" for place in x.devices())
        return np.asarray(x) if on_cpu and x.is_fully_addressable else x
    return x


def _view_of_tensor(x: Array) -> np.ndarray:
    """Return a NumPy view of a tensor in CPU memory."""
    torch = sys.modules["torch"]
    x = x.resolve_neg()  # the imaginary part of a conjugate is a view without its sign
    return x.view(torch.int16).numpy() if x.dtype == torch.bfloat16 else x.numpy(force=True)


def from_numpy(result: Array, like: Array) -> Array:
    """Bring a NumPy result into the library, and to the device, of another array.

    Any other result is there already.
    """
    if is_numpy_array(like) or not is_numpy_array(result):
        return result
    xp = array_namespace(like)
    if result.dtype == np.float64 and state_dtype(xp, like) != xp.float64:
        result = result.astype(np.float32)
    if is_torch_array(like):
        return sys.modules["torch"].from_numpy(result).to(like.device)
    if is_dask_array(like):
        return xp.asarray(result)
    if kind_of(like) == "traced":
        return xp.asarray(result)
    return xp.asarray(result, device=_sharding(result, like) or device(like))


def _sharding(result: np.ndarray, like: Array) -> Any:
    """Cut a result as JAX's array is cut, along the batch alone: it may have other axes."""
    if not is_jax_array(like) or len(like.devices()) < 2:
        return None
    sharding = sys.modules["jax"].sharding
    if not isinstance(like.sharding, sharding.NamedSharding):
        return None
    along_batch = like.sharding.spec[:1] if result.shape[:1] == like.shape[:1] else ()
    return sharding.NamedSharding(like.sharding.mesh, sharding.PartitionSpec(*along_batch))


def beside(x: Array, like: Array) -> Array:
    """Bring an array into the library of another, and to its device, where it is not there yet."""
    if is_numpy_array(like):
        return read_values(to_numpy_view(x))[0]
    if is_numpy_array(x):
        return from_numpy(x, like)
    xp = array_namespace(like)
    # JAX says itself which devices do not go together; a sharding of one shape is none of another.
    stays = is_jax_array(like) or kind_of(like) in ("lazy", "traced")
    return xp.asarray(x) if stays else xp.asarray(x, device=device(like))


def on_its_device(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Run a function on the device of the first array of CuPy that it is given.

    CuPy's results lie on the current device, wherever those arrays are that they come from.
    """

    @wraps(function)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        given: tuple[Any, ...] = (*args, *kwargs.values())
        for x in given:
            if is_cupy_array(x):
                with x.device:
                    return function(*args, **kwargs)
        return function(*args, **kwargs)

    return run


def largest_label(like: Array) -> int:
    """Return the largest value of the integers that an array's library makes by default."""
    xp = array_namespace(like)
    default = xp.__array_namespace_info__().default_dtypes()["integral"]
    return int(xp.iinfo(default).max)


def extracts(x: Array) -> bool:
    """Tell whether elements that a condition chooses can be picked out of an array with values."""
    if is_jax_array(x):  # which denies it for the sake of jax.jit
        return kind_of(x) != "traced"
    capabilities = array_namespace(x).__array_namespace_info__().capabilities()
    return bool(capabilities["data-dependent shapes"])


def dtype_name(dtype: Any) -> str:
    """Return the name of a dtype without its library's."""
    return getattr(dtype, "name", None) or str(dtype).split(".")[-1]


def widen(xp: Namespace, x: Array) -> Array:
    """Return half precision as float32, float32 and float64 as they are."""
    if x.dtype in (xp.float32, xp.float64):
        return x
    if x.dtype == xp.int16:  # the bits of bfloat16 are the upper half of a float32's
        return np.left_shift(x, 16, dtype=np.int32).view(np.float32)
    return xp.astype(x, xp.float32)


def clip(xp: Namespace, x: Array, low: float, high: float) -> Array:
    """Return values clipped to [low, high]."""
    # array-api-compat's writes through masks: not traced before 1.14, 48 kernels with CuPy.
    if is_torch_array(x):
        return x.clamp(low, high)
    return (sys.modules["cupy"] if is_cupy_array(x) else xp).clip(x, low, high)


def as_number(condition: Array, like: Array) -> Array:
    """Return 1 where a condition holds and 0 elsewhere, to calculate with beside another array."""
    if isinstance(condition, bool | np.bool_ | np.ndarray) or not is_array(condition):
        return condition  # a value of an ONNX graph too, which has operators alone
    return array_namespace(condition).astype(condition, like.dtype)  # the standard mixes no kinds


def wide_dtype(xp: Namespace, dtype: Any) -> Any:
    """Return the dtype in which values of this dtype are compared."""
    return xp.float64 if dtype == xp.float64 else xp.float32


def state_dtype(xp: Namespace, x: Array) -> Any:
    """Return float64 where the library and device have it, float32 elsewhere."""
    floats = xp.__array_namespace_info__().dtypes(device=device(x), kind="real floating")
    return floats.get("float64", xp.float32)


def read_values(*arrays: Array) -> tuple[Array, ...]:
    """Read small results of one pass: NumPy arrays, or the arrays themselves when traced.

    On a GPU this is the host's one wait for the pass, on Dask its one read of the data.
    """
    if isinstance(arrays[0], int | float | np.generic | np.ndarray):
        return arrays
    kind = kind_of(arrays[0])
    if kind == "traced":
        return arrays
    if kind == "lazy":
        arrays = sys.modules["dask"].compute(*arrays)
    return tuple(
        _view_of_tensor(x.cpu()) if is_torch_array(x) else _copy_to_host(x) for x in arrays
    )


def read_sums(*arrays: Array) -> tuple[Array, ...]:
    """Read counts and sums as `read_values` does, in float64 NumPy where nothing is traced.

    Those of a device come in one copy.
    """
    if len(arrays) > 1 and _come_together(arrays):
        xp = array_namespace(arrays[0])
        (together,) = read_values(xp.stack([xp.astype(part, xp.float64) for part in arrays]))
        return tuple(together)
    return tuple(
        part.astype(np.float64) if isinstance(part, np.ndarray) else part
        for part in read_values(*arrays)
    )


def _come_together(arrays: Sequence[Array]) -> bool:
    if isinstance(arrays[0], int | float | np.generic | np.ndarray):
        return False
    if kind_of(arrays[0]) != "device" or len({part.shape for part in arrays}) > 1:
        return False
    xp = array_namespace(arrays[0])
    return bool(state_dtype(xp, arrays[0]) == xp.float64)


def _copy_to_host(x: Array) -> np.ndarray:
    if hasattr(x, "get"):
        return x.get()
    if hasattr(x, "__array__"):
        try:
            return np.asarray(x)
        except (TypeError, RuntimeError):  # not from this device
            pass
    return np.from_dlpack(x, **_TO_HOST)


_TO_HOST: dict[str, Any] = {} if np.__version__ < "2.1" else {"device": "cpu"}


def bring(like: Array, *values: Array) -> list[Array]:
    """Bring small NumPy arrays of one shape to where another array lies, in one copy.

    In float64 where there is one. Any other arrays are there already.
    """
    if is_numpy_array(like) or not is_numpy_array(values[0]):
        return list(values)
    xp = array_namespace(like)
    dtype = state_dtype(xp, like)
    host = np.stack(values).astype(np.float64 if dtype == xp.float64 else np.float32)
    together = from_numpy(host, like)
    return [together[i, ...] for i in range(len(values))]


def count(xp: Namespace, mask: Array, ndim: int) -> Array:
    """Count the True values over the last `ndim` axes."""
    if not is_numpy_array(mask):
        if not _has_runs(mask, ndim):
            # The old ONNX exporter of PyTorch has no count_nonzero.
            return xp.sum(xp.astype(mask, xp.int32), axis=_last_axes(mask, ndim))
        # PyTorch's count_nonzero writes the mask as int64 first. A run is short enough for int16,
        # which ONNX cannot sum.
        short = xp.float32 if kind_of(mask) == "traced" else xp.int16
        counts, rest = _over_runs(xp, partial(xp.sum, dtype=short), xp.astype(mask, short), ndim)
        counts = xp.astype(counts, xp.int32)
        return xp.sum(counts, axis=_last_axes(counts, rest)) if rest else counts
    lead = mask.shape[: mask.ndim - ndim]  # NumPy counts whole arrays 8 times faster than axes
    if not lead:
        return np.count_nonzero(mask)
    rows = mask.reshape(prod(lead), prod(mask.shape[mask.ndim - ndim :]))
    return np.array([np.count_nonzero(row) for row in rows], dtype=np.int64).reshape(lead)


def total(xp: Namespace, x: Array, ndim: int, mask: Array | None = None) -> Array:
    """Sum over the last `ndim` axes, where a mask is True if one is given.

    A float32 sum over a whole volume loses the small among the many. Short runs are summed as
    they are, and these sums in float64 where the library has it, else one axis after the other.
    """
    if is_numpy_array(x):
        return _total_of_runs(x, ndim, mask)
    if mask is not None:
        x = xp.where(mask, x, xp.zeros((), dtype=x.dtype, device=device(x)))
    if _has_runs(x, ndim):
        x, ndim = _over_runs(xp, xp.sum, x, ndim)
    dtype = state_dtype(xp, x)
    if dtype == xp.float64:
        return xp.sum(x, axis=_last_axes(x, ndim), dtype=dtype)
    for _ in range(ndim):
        x = xp.sum(x, axis=-1)
    return x


def extremes(xp: Namespace, x: Array, ndim: int) -> tuple[Array, Array]:
    """Return the smallest and the largest values over the last `ndim` axes."""
    low, high = x, x
    if kind_of(x) == "device":
        low, _ = _over_runs(xp, xp.min, x, ndim)
        high, ndim = _over_runs(xp, xp.max, x, ndim)
        if not ndim:
            return low, high
    axes = _last_axes(low, ndim)
    return xp.min(low, axis=axes), xp.max(high, axis=axes)


def _has_runs(x: Array, ndim: int) -> bool:
    return _run(x, ndim) > 0 or kind_of(x) == "device"


def _over_runs(
    xp: Namespace, reduce: Callable[..., Array], x: Array, ndim: int
) -> tuple[Array, int]:
    """Reduce short runs of the last `ndim` axes, and tell how many are left.

    CuPy gives a whole row to one block of the GPU, which reads 27 GB/s (cupy#8092).
    """
    run = _run(x, ndim)
    if run:
        return reduce(x, axis=_last_axes(x, run)), ndim - run
    whole = x.shape[-1] // SHORT * SHORT
    tiles = xp.reshape(x[..., :whole], (*x.shape[:-1], whole // SHORT, SHORT))
    parts = [reduce(tiles, axis=-1)]
    if whole < x.shape[-1]:
        parts.append(reduce(x[..., whole:], axis=-1, keepdims=True))
    return xp.concat(parts, axis=-1), ndim


def _run(x: Array, ndim: int) -> int:
    """Return how many of the last `ndim` axes together are short; none where sizes are symbols."""
    axes, length = 0, 1
    for size in reversed(x.shape[x.ndim - ndim :]):
        if not isinstance(size, int) or length * size > SHORT:
            break
        axes, length = axes + 1, length * size
    return axes


def _total_of_runs(x: np.ndarray, ndim: int, mask: np.ndarray | None) -> np.ndarray:
    # Dot products over runs of the last axis, 3 times faster than a sum in float64 and as good
    # for what follows: BLAS keeps 32 partial sums, so few additions stand behind each other.
    length = x.shape[-1]
    weights = np.ones(length, x.dtype) if mask is None else mask.astype(x.dtype, copy=False)
    if length <= SHORT:
        sums = _dot(x, weights)
        return np.add.reduce(sums, axis=_last_axes(sums, ndim - 1), dtype=np.float64)
    runs = [np.s_[..., start : start + SHORT] for start in range(0, length, SHORT)]
    sums = np.stack([_dot(x[run], weights[run]) for run in runs], axis=-1)
    return sums.sum(axis=_last_axes(sums, ndim), dtype=np.float64)


def _dot_products(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    # What np.vecdot does, bit for bit, for NumPy before 2.0. It costs half a microsecond more.
    return np.matmul(x[..., None, :], weights[..., None])[..., 0, 0]


_dot = np.vecdot if hasattr(np, "vecdot") else _dot_products


def _last_axes(x: Array, ndim: int) -> tuple[int, ...]:
    return tuple(range(x.ndim - ndim, x.ndim))


def bits_of(xp: Namespace, x: Array) -> Array | None:
    """Return the bits of float32 or float64 values as integers, None where none can be seen."""
    integer = xp.int32 if x.dtype == xp.float32 else xp.int64
    if is_numpy_array(x):
        return np.ascontiguousarray(x).view(integer)
    if is_torch_array(x) or is_jax_array(x) or is_cupy_array(x):
        return x.view(integer)
    return None


def sums_by_index(xp: Namespace, index: Array, length: int, values: Array | None) -> Array:
    """Count how often each number below `length` is in `index`, or add up integers there."""
    if is_numpy_array(index) or is_cupy_array(index):
        return xp.bincount(index, values, minlength=length)
    if is_jax_array(index):
        return sys.modules["jax"].numpy.bincount(index, values, length=length)
    if is_torch_array(index):
        if values is None and kind_of(index) != "traced":
            return xp.bincount(index, minlength=length)
        index = xp.astype(index, xp.int64)
        values = xp.ones_like(index) if values is None else xp.astype(values, xp.int64)
        zeros = xp.zeros(length, dtype=xp.int64, device=device(index))
        return zeros.scatter_add(0, index, values)
    order = xp.argsort(index)
    ends = xp.searchsorted(
        xp.take(index, order), xp.arange(length + 1, dtype=index.dtype, device=device(index))
    )
    if values is None:
        return ends[1:] - ends[:-1]
    zero = xp.zeros(1, dtype=values.dtype, device=device(values))
    sums = xp.concat([zero, xp.cumulative_sum(xp.take(values, order))])
    sums = xp.take(sums, ends)
    return sums[1:] - sums[:-1]


def slabs(shape: Sequence[int], limit: int) -> Iterator[Slab]:
    """Cut an array of this shape along its first axes into pieces of at most `limit` elements."""
    inner = prod(shape[1:])
    if shape[0] == 0:
        return
    if inner > limit and len(shape) > 1:
        for i in range(shape[0]):
            for rest in slabs(shape[1:], limit):
                yield slice(i, i + 1), *rest
        return
    pieces = ceil(shape[0] * inner / limit)
    step = ceil(shape[0] / pieces)
    for start in range(0, shape[0], step):
        yield (slice(start, min(start + step, shape[0])),)


def in_slabs(work: Callable[[Slab], Array], shape: Sequence[int], width: int, like: Array) -> Array:
    """Compute an array of this shape slab by slab from a NumPy array, at once from any other.

    An element takes `width` elements of work. The slab () is the whole.
    """
    if not is_numpy_array(like):
        return work(())
    result = np.empty(shape, wide_dtype(np, like.dtype))
    for slab in slabs(shape, max(1, BLOCK // width)):
        result[slab] = work(slab)
    return result
