"""What one read of the map costs on a GPU, counted in Triton's interpreter.

    python benchmarks/fused_cost.py [--full] [--json FILE]

Kernels run on CPU tensors, and every load, store and atomic addition is counted: the elements that
its mask leaves, times their size. `sectors` counts the 32 bytes that a GPU moves for each of them
at least; the prediction takes those, 3.0 TB/s, 5 microseconds a launch and 15 a wait, as kernels
are too short here to hide launches. Operations of PyTorch are counted as in device_cost.py.

The interpreter is slow: without `--full` it runs a part of each map of device_cost.py (one sample,
or the upper left quarter), whose bytes an element stand for the whole. Of the whole map it then
runs the guess alone, and NumPy says whether each threshold lies in its bracket and the lists fit:
if not, or if the part was read more than once, the exit status is 1.
"""

import argparse
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

os.environ.setdefault("TRITON_INTERPRET", "1")  # Triton asks when it is imported

import device_cost
import maps
import numpy as np
import torch
import triton.language as tl
from torch.utils._python_dispatch import _disable_current_modes
from triton.runtime import interpreter

from rankseg import arrays, fused, gpu, thresholds
from rankseg.functional import rankseg
from rankseg.settings import Settings

SECTOR = 32
"""Bytes that a GPU reads or writes together."""


class Traffic:
    """What kernels loaded, stored and added to memory, by kernel."""

    def __init__(self, probs: torch.Tensor | None = None) -> None:
        self.bytes: Counter[str] = Counter()
        self.sectors: Counter[str] = Counter()
        self.launches: Counter[str] = Counter()
        self.from_map: Counter[str] = Counter()
        """Elements of the map that were loaded."""
        self.kernel = ""
        start = 0 if probs is None else probs.data_ptr()
        self.map = (start, start if probs is None else start + probs.nbytes)

    def count(self, pointers: interpreter.TensorHandle, mask: np.ndarray, times: int = 1) -> None:
        size = pointers.get_element_ty().primitive_bitwidth // 8 or 1
        where = np.broadcast_to(pointers.data, np.shape(mask))[mask]
        self.bytes[self.kernel] += times * size * where.size
        self.sectors[self.kernel] += times * SECTOR * np.unique(where // SECTOR).size
        if where.size and self.map[0] <= int(where.flat[0]) < self.map[1]:
            self.from_map[self.kernel] += where.size


@contextmanager
def interpreted(traffic: Traffic | None = None) -> Iterator[None]:
    """Send CPU tensors down the fused path; the interpreter replaces Triton's language once.

    By itself it does so again for every function that a kernel calls, which takes most of the time.
    """
    builder, run = interpreter.interpreter_builder, interpreter.InterpretedFunction.run
    load, store = builder.create_masked_load, builder.create_masked_store
    add = builder.create_atomic_rmw

    def counted_run(function, *args, **kwargs):
        if traffic is not None:
            traffic.kernel = function.__name__
            traffic.launches[traffic.kernel] += 1
        scope = interpreter._patch_lang(tl.sum.fn)
        try:
            with _disable_current_modes():
                return run(function, *args, **kwargs)
        finally:
            scope.restore()

    def counted_load(pointers, mask, *args):
        if traffic is not None:
            traffic.count(pointers, mask.data)
        return load(pointers, mask, *args)

    def counted_store(pointers, value, mask, *args):
        if traffic is not None:
            traffic.count(pointers, mask.data)
        return store(pointers, value, mask, *args)

    def counted_add(kind, pointers, value, mask, *args):
        if traffic is not None:
            traffic.count(pointers, mask.data, times=2)
        return add(kind, pointers, value, mask, *args)

    def call(function, *args, **kwargs):
        return function.rewrite()(*args, **kwargs)

    with (
        mock.patch.object(interpreter.InterpretedFunction, "run", counted_run),
        mock.patch.object(interpreter.InterpretedFunction, "__call__", call),
        mock.patch.object(builder, "create_masked_load", counted_load),
        mock.patch.object(builder, "create_masked_store", counted_store),
        mock.patch.object(builder, "create_atomic_rmw", counted_add),
        mock.patch.object(arrays, "to_numpy_view", lambda x: getattr(x, "detach", lambda: x)()),
        mock.patch.object(gpu, "is_on_gpu", lambda probs: True),
    ):
        yield


class FusedCost(device_cost.Cost):
    """Also counts boolean indices and tensors made from the host's values as waits."""

    def _price(self, name, given, made):
        if name not in ("unbind", "scalar_tensor"):  # a view, and a number
            super()._price(name, given, made)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = str(function).removeprefix("aten.").partition(".")[0]
        if name in ("index", "index_put", "index_put_"):
            self.waits += any(x is not None and x.dtype == torch.bool for x in args[1])
        if name == "lift_fresh":  # of torch.tensor and torch.from_numpy: a copy to the device
            self.waits += 1
            self.kernels += 1
        return super().__torch_dispatch__(function, types, args, kwargs)


def count(probs: torch.Tensor, whole: int) -> tuple[dict[str, float], int, FusedCost, Traffic]:
    """Return what labels of best Dice cost, how often the map is read, and the counters.

    The prediction is for a map of `whole` elements.
    """
    cost, traffic = FusedCost(probs), Traffic(probs)
    fused._constants.cache_clear()
    with device_cost.as_on_a_device(cost), interpreted(traffic), cost:
        labels = rankseg(probs)
    assert np.array_equal(labels.numpy(), rankseg(probs.numpy())), "labels differ"
    elements, size = probs.numel(), probs.element_size()
    torchs, launches = cost.bytes.total(), sum(traffic.launches.values())
    argmax = whole * (size + 8 * labels.numel() / elements) / device_cost.BANDWIDTH
    argmax += device_cost.LAUNCH
    kernels = cost.kernels + launches
    predicted = (traffic.sectors.total() + torchs) * whole / elements / device_cost.BANDWIDTH
    predicted += kernels * device_cost.LAUNCH + cost.waits * device_cost.WAIT
    return (
        {
            "bytes_per_element": (traffic.bytes.total() + torchs) / elements,
            "kernels": kernels,
            "waits": cost.waits,
            "memory": cost.memory / (elements * size),
            "predicted_over_argmax": predicted / argmax,
        },
        traffic.launches["main"],
        cost,
        traffic,
    )


def holds(probs: torch.Tensor) -> bool:
    """Print and return whether the guess makes one read of the whole map enough."""
    settings = Settings("dice", 0.0, "multiclass", "RMA")
    lines = gpu.lines_of(probs)
    assert lines is not None
    whole = fused._Map(probs, lines, None, settings, False)
    with interpreted():
        bracket = whole.guess()
    shape = probs.shape[:2]
    low, high = (x.numpy().reshape(shape) for x in (bracket.low, bracket.high))
    found = thresholds(probs.numpy())
    inside = (low < found.threshold) & (found.threshold <= high)
    outside = int(np.sum(found.active & ~inside))
    pixels = whole.shape[2]
    longest, listed = 0.0, 0.0
    for b, sample in enumerate(probs.flatten(2).numpy()):
        above = sum((p > t).astype(int) for p, t in zip(sample, low[b], strict=True))
        sure = sum((p > t).astype(int) for p, t in zip(sample, high[b], strict=True))
        listed = max(listed, 1 - float(np.mean((above == 1) & (sure == 1))))
        for p, low_end, high_end in zip(sample, low[b], high[b], strict=True):
            longest = max(longest, float(np.mean((p > low_end) & (p <= high_end))))
    fits = longest <= 1 / fused.BETWEEN and listed <= 1 / fused.LISTED
    print(
        f"    the whole map: {outside} of {int(found.active.sum())} thresholds outside their "
        f"brackets; {listed:.2%} of the pixels of a sample listed (room for "
        f"{1 / fused.LISTED:.2%}), {longest:.2%} of a row ({1 / fused.BETWEEN:.2%}), of {pixels}"
    )
    return outside == 0 and fits


def measure(name: str, probs: torch.Tensor, whole: int) -> tuple[dict[str, float], bool]:
    """Print and return the counts, and whether the map was read once."""
    counts, reads, cost, traffic = count(probs, whole)
    elements = probs.numel()
    print(f"{name}, fused: " + ", ".join(f"{key} {n:.4g}" for key, n in counts.items()))
    ran = "x".join(map(str, probs.shape))
    print(f"    counted on {ran}; reads of the map: {reads}")
    for kernel, number in traffic.launches.items():
        print(
            f"    {kernel:12s} {number} launch, {traffic.bytes[kernel] / elements:.3f} bytes an "
            f"element ({traffic.sectors[kernel] / elements:.3f} in sectors), "
            f"{traffic.from_map[kernel] / elements:.3f} of the map"
        )
    print(f"    PyTorch: {cost.kernels} kernels, {cost.bytes.total() / elements:.3f} bytes")
    return counts, reads == 1


def fused_counts(
    name: str, probs: torch.Tensor, full: bool = False
) -> tuple[dict[str, float], bool]:
    """Print and return the counts of a map, and whether one read of it is enough."""
    part = probs
    if not full:
        height, width = probs.shape[2:]
        small = probs.shape[0] > 1
        part = probs[:1] if small else probs[:, :, : height // 2, : width // 2]
    counts, once = measure(name, part.contiguous(), probs.numel())
    return counts, once and (full or holds(probs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--full", action="store_true", help="run the whole maps")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts there")
    options = parser.parse_args()
    found, once = {}, True
    for name, (scene, batch) in device_cost.SHAPES.items():
        probs = torch.from_numpy(maps.SCENES[scene].draw_batch(batch))
        counts, single = fused_counts(name, probs, options.full)
        found[name] = {"fused": counts}
        once &= single
    device_cost.report(found, once, options.json)


if __name__ == "__main__":
    main()
