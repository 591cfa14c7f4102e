"""Print the bytes that one call of `rankseg` needs at its peak, beyond its input and labels.

    python benchmarks/memory.py numpy|torch PROBS.npy

Works with this library and with the reference, whichever the interpreter finds. Linux only: the
kernel's record of the largest resident size is reset before the call and read after it.
"""

import ctypes
import gc
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

import rankseg
from rankseg.functional import rankseg as predict


def resident(which: str) -> int:
    """Return VmRSS (now) or VmHWM (the largest since the last reset) in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(which)))


def peak(call: Callable[[], object]) -> int:
    """Return the bytes by which memory grows at most during a call."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # so that memory freed earlier is not used unseen
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    result = call()
    growth = resident("VmHWM") - before
    del result
    return growth


def main() -> None:
    library, file = sys.argv[1:]
    probs = np.load(file)
    labels = 8 * probs.size // probs.shape[1]
    # One small call first: what is loaded or started only once belongs to no call.
    small = np.ascontiguousarray(probs[..., :64, :64])
    if library == "torch":
        import torch

        probs, small = torch.from_numpy(probs), torch.from_numpy(small)
    predict(small)
    growth = [peak(lambda: predict(probs)) - labels]
    if hasattr(rankseg, "thresholds"):  # the part of the work before there are labels
        growth.append(peak(lambda: rankseg.thresholds(probs)))
    print(max(growth))


if __name__ == "__main__":
    main()
