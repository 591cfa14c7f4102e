"""Which maps the kernels of `rankseg.kernels` are for, and how these lie in memory."""

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

from array_api_compat import is_cupy_array, is_torch_array

from . import arrays
from .arrays import Array

DTYPES = ("float16", "bfloat16", "float32")


def is_eligible(probs: Array) -> bool:
    """Tell whether this is an array on a GPU that the kernels run on."""
    if is_cupy_array(probs):  # PyTorch is not imported for arrays that are not its own
        torch = sys.modules.get("torch")
        usable = torch is not None and torch.cuda.is_available()
        return usable and arrays.dtype_name(probs.dtype) in DTYPES and _has_kernels(0)
    if not is_torch_array(probs) or arrays.kind_of(probs) != "device":
        return False
    torch = sys.modules["torch"]
    plain = type(probs) in (torch.Tensor, torch.nn.Parameter) and probs.layout == torch.strided
    return (
        plain
        and is_on_gpu(probs)
        and arrays.dtype_name(probs.dtype) in DTYPES
        and _has_kernels(probs.device.index or 0)
    )


def is_on_gpu(probs: Array) -> bool:
    """Tell whether a tensor is in the memory of a GPU."""
    return bool(probs.is_cuda)


@cache
def _has_kernels(index: int) -> bool:
    torch = sys.modules["torch"]
    if find_spec("triton") is None or torch.version.hip:
        return False
    try:
        from . import kernels  # noqa: F401
    except ImportError:
        return False
    return not torch.cuda.is_available() or torch.cuda.get_device_capability(index) >= (7, 5)


def tensor_of(x: Array) -> Any:
    """Return an array of CuPy or PyTorch as a tensor of the same memory."""
    if is_torch_array(x):
        return x.detach()
    torch = sys.modules["torch"]
    if arrays.dtype_name(x.dtype) == "bool":  # which DLPack has only in late versions
        return torch.from_dlpack(x.view("uint8")).view(torch.bool)
    return torch.from_dlpack(x)


def brought_back(tensor: Any, probs: Array) -> Array:
    """Return a tensor as an array of the library of `probs`."""
    if is_torch_array(probs):
        return tensor
    cupy, torch = sys.modules["cupy"], sys.modules["torch"]
    if tensor.dtype == torch.bool:
        return cupy.from_dlpack(tensor.view(torch.uint8)).view(bool)
    return cupy.from_dlpack(tensor)


def current_device(tensor: Any) -> AbstractContextManager[Any]:
    """Have kernels run on the device of a tensor."""
    torch = sys.modules["torch"]
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


@dataclass(frozen=True)
class Lines:
    """How pixels lie: `step` apart in lines of `width`, which are `line` apart."""

    width: int
    line: int
    step: int

    @property
    def flat(self) -> bool:
        """Whether there is one line alone."""
        return self.line == 0


def lines_of(tensor: Any) -> Lines | None:
    """Merge spatial axes into two at most, without a copy; None where there are more."""
    merged: list[tuple[int, int]] = []
    for size, stride in zip(tensor.shape[2:], tensor.stride()[2:], strict=True):
        if size == 1:
            continue
        if merged and merged[-1][1] == size * stride:
            merged[-1] = (merged[-1][0] * size, stride)
        else:
            merged.append((size, stride))
    if len(merged) > 2:
        return None
    if len(merged) < 2:
        size, stride = merged[0] if merged else (1, 1)
        return Lines(size, 0, stride)
    return Lines(merged[1][0], merged[0][1], merged[1][1]) if merged[0][1] else None
