"""What a call costs on a GPU, counted without one.

    python benchmarks/device_cost.py [--json FILE]

CPU tensors are sent down the path of device arrays, every operation is logged, and each is priced
as the CUDA kernels that PyTorch runs for it: bytes read and written, kernels, and waits for copies
from and to the host. Such counts depend on no machine. The prediction takes 3.0 TB/s and 15
microseconds a wait. Launches are not in it, as long kernels hide them: it is a lower bound. The
fused path is counted by fused_cost.py, which says how.
"""

import argparse
import json
import os
import sys
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("TRITON_INTERPRET", "1")  # for fused_cost; torch may import Triton first

import maps
import numpy as np
import torch
from jit_cost import jitted
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from rankseg import arrays
from rankseg.functional import rankseg

BANDWIDTH, LAUNCH, WAIT = 3.0e12, 5e-6, 15e-6
SHAPES = {"8x21x512x512": ("21x512x512", 8), "1x19x1024x2048": ("19x1024x2048", 1)}
VIEWS = ("view", "detach", "lift_fresh", "unsqueeze", "squeeze", "select", "slice", "expand")
VIEWS += ("permute", "alias", "as_strided", "transpose", "empty", "_unsafe_view", "t.", "movedim")
WAITING = ("_local_scalar_dense", "nonzero", "masked_select")
FEW = 4096
"""Results of a reduction below which PyTorch takes two kernels."""


class Cost(TorchDispatchMode):
    """Log of the operations of one call; memory is what is alive beyond its input."""

    def __init__(self, given: torch.Tensor) -> None:
        super().__init__()
        self.kernels = self.waits = self.alive = self.memory = 0
        self.bytes: Counter[str] = Counter()
        self.known = {given.untyped_storage()._cdata}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        name = str(function).removeprefix("aten.").partition(".")[0]
        given = [x for x in tree_flatten((args, kwargs or {}))[0] if isinstance(x, torch.Tensor)]
        made = [x for x in tree_flatten(result)[0] if isinstance(x, torch.Tensor)]
        for x in made:
            self._hold(x)
        if not str(function).removeprefix("aten.").startswith(VIEWS):
            self._price(name, given, made)
        return result

    def _price(self, name: str, given: list[torch.Tensor], made: list[torch.Tensor]) -> None:
        read, written = (sum(x.numel() * x.element_size() for x in part) for part in (given, made))
        self.waits += name in WAITING
        if name in ("sum", "count_nonzero") and given[0].dtype != made[0].dtype:
            # The input is first written in the type of the result.
            cast = given[0].numel() * made[0].element_size()
            self.memory = max(self.memory, self.alive + cast)
            self._charge(f"{name}: cast", read + cast, 1)
            read = cast
        reduces = name in ("sum", "count_nonzero", "amin", "amax", "argmax", "any")
        self._charge(name, read + written, 2 if reduces and made[0].numel() < FEW else 1)

    def _charge(self, name: str, amount: int, kernels: int) -> None:
        self.bytes[name] += amount
        self.kernels += kernels

    def _hold(self, x: torch.Tensor) -> None:
        storage = x.untyped_storage()
        if storage._cdata in self.known:
            return
        self.known.add(storage._cdata)
        self.alive += storage.nbytes()
        self.memory = max(self.memory, self.alive)
        weakref.finalize(storage, self._release, storage._cdata, storage.nbytes())

    def _release(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.alive -= size


@contextmanager
def as_on_a_device(cost: Cost) -> Iterator[None]:
    """Keep tensors where they are, and count copies between host and device."""
    read, bring = arrays.read_values, arrays.bring

    def counted_read(*parts):
        cost.waits += sum(isinstance(part, torch.Tensor) for part in parts)
        return read(*parts)

    def counted_bring(like, *values):
        cost.waits += isinstance(like, torch.Tensor) and isinstance(values[0], np.ndarray)
        return bring(like, *values)

    with (
        mock.patch.object(arrays, "to_numpy_view", lambda x: getattr(x, "detach", lambda: x)()),
        mock.patch.object(arrays, "read_values", counted_read),
        mock.patch.object(arrays, "bring", counted_bring),
    ):
        yield


def eager(probs: torch.Tensor) -> tuple[dict[str, float], Counter[str]]:
    """Return what labels of best Dice cost, and the bytes of each kind of operation."""
    cost = Cost(probs)
    with as_on_a_device(cost), cost:
        labels = rankseg(probs)
    elements, total = probs.numel(), sum(cost.bytes.values())
    argmax = (elements * probs.element_size() + labels.numel() * 8) / BANDWIDTH + LAUNCH
    return {
        "bytes_per_element": total / elements,
        "kernels": cost.kernels,
        "waits": cost.waits,
        "memory": cost.memory / (elements * probs.element_size()),
        "predicted_over_argmax": (total / BANDWIDTH + cost.waits * WAIT) / argmax,
    }, cost.bytes


def report(found: dict[str, Any], once: bool, path: Path | None) -> None:
    """Write counts to a file, if one is named, and fail if a map was read more than once."""
    if path:
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if not once:
        sys.exit("the map was read more than once")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts there")
    options = parser.parse_args()
    has_triton = find_spec("triton") is not None
    if has_triton:
        import fused_cost  # which needs what stands above
    else:
        print("fused: NOT RUN (Triton is not installed)")
    found: dict[str, dict[str, dict[str, float]]] = {}
    once = True
    for name, (scene, batch) in SHAPES.items():
        probs = torch.from_numpy(maps.SCENES[scene].draw_batch(batch))
        assert tuple(probs.shape) == tuple(map(int, name.split("x")))
        counts, by_operation = eager(probs)
        found[name] = {"eager": counts}
        found[name]["jit"] = jitted(probs.numpy())
        print(f"{name}, jit: " + ", ".join(f"{k} {n:.4g}" for k, n in found[name]["jit"].items()))
        print(f"{name}, eager: " + ", ".join(f"{key} {n:.4g}" for key, n in counts.items()))
        for operation, amount in by_operation.most_common(8):
            print(f"    {operation:20s} {amount / prod(probs.shape):6.1f} bytes an element")
        if has_triton:
            found[name]["fused"], single = fused_cost.fused_counts(name, probs)
            once &= single
    report(found, once, options.json)


if __name__ == "__main__":
    main()
