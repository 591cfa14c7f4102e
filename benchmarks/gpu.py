"""Time on an NVIDIA GPU, as one Markdown table.

    python benchmarks/gpu.py [--libraries torch,cupy] [--repeats 20] [--tests]

Multiclass Dice with the defaults, against argmax over the class axis of the same library and,
where RANKSEG_PEER names a Python that has it, against the reference package on the same GPU, as
it is by default and screened (with triton). CUDA events are the clock; the table has medians.
`--tests` runs the tests of these backends afterwards.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import maps
import numpy as np
from harness import HERE, Array, Library, choose, load_libraries, medians, open_peer, say, table

from rankseg.functional import rankseg

BATCHES = {"21x512x512": 8, "19x1024x2048": 1}
COLUMNS = ["batch", "library", "argmax ms", "rankseg ms", "ratio", "labels as on CPU"]
PEER_COLUMNS = ["reference ms", "screened ms", "speed-up", "over screened"]
MISSING = "no CUDA device"


def _torch() -> Library:
    import torch

    if not torch.cuda.is_available():
        raise ImportError(MISSING)

    def clock(call: Callable[[], object]) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1000

    return Library(
        "torch",
        f"torch {torch.__version__}, {torch.cuda.get_device_name()}",
        lambda x: torch.from_numpy(x).cuda(),
        lambda x: torch.argmax(x, dim=1),
        clock,
    )


def _cupy() -> Library:
    import cupy

    if not cupy.cuda.is_available():
        raise ImportError(MISSING)

    def clock(call: Callable[[], object]) -> float:
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        call()
        end.record()
        end.synchronize()
        return float(cupy.cuda.get_elapsed_time(start, end)) / 1000

    return Library(
        "cupy",
        f"cupy {cupy.__version__}",
        cupy.asarray,
        lambda x: cupy.argmax(x, axis=1),
        clock,
    )


LIBRARIES: dict[str, Callable[[], Library]] = {"torch": _torch, "cupy": _cupy}


def equal_share(labels: Array, expected: np.ndarray) -> str:
    """Compare labels on the GPU with those of NumPy."""
    host = labels.get() if hasattr(labels, "get") else labels.cpu().numpy()
    return f"{np.mean(host == expected):.5%}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Time on an NVIDIA GPU.")
    parser.add_argument("--libraries", default=",".join(LIBRARIES))
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--tests", action="store_true")
    options = parser.parse_args()
    libraries = load_libraries(choose(options.libraries, list(LIBRARIES)), LIBRARIES)
    if not libraries:
        sys.exit("No NVIDIA GPU that torch or cupy can use: nothing measured")

    rows = []
    with open_peer("cuda") as peer:
        for shape, batch in BATCHES.items():
            say(f"{batch} of {shape} ...")
            probs = maps.SCENES[shape].draw_batch(batch)
            expected = rankseg(probs)
            if peer is not None:
                peer.load(probs)
            for library in libraries.values():
                x = library.asarray(probs)
                timings: dict[str, Callable[[], float]] = {
                    "argmax": partial(library.clock, partial(library.argmax, x)),
                    "rankseg": partial(library.clock, partial(rankseg, x)),
                }
                if peer is not None:
                    timings["default"] = peer.seconds
                    timings["screened"] = partial(peer.seconds, safe_screening="auto")
                medians(timings, 3)  # warm up: compile kernels, fill the memory pool
                found = medians(timings, options.repeats)
                ours = found["rankseg"]
                row = [f"{batch} of {shape}", library.name]
                row += [f"{1000 * found[name]:.3f}" for name in ("argmax", "rankseg")]
                row += [f"{ours / found['argmax']:.2f}", equal_share(rankseg(x), expected)]
                if peer is not None:
                    theirs = [found["default"], found["screened"]]
                    row += [f"{1000 * seconds:.3f}" for seconds in theirs]
                    row += [f"{seconds / ours:.1f}" for seconds in theirs]
                rows.append(row)
                del x
    described = [library.description for library in libraries.values()]
    print(f"{', '.join(described)}; medians of {options.repeats}", end="")
    print(f"; reference: {peer.description}\n" if peer is not None else "\n")
    print(table(COLUMNS + (PEER_COLUMNS if peer is not None else []), rows), flush=True)

    if options.tests:
        command = [sys.executable, "-m", "pytest", "tests", "-k", "torch or cupy"]
        sys.exit(subprocess.call(command, cwd=HERE.parent))


if __name__ == "__main__":
    main()
