"""What the benchmarks share: libraries, timing, another rankseg in its own process, tables."""

import functools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np

HERE = Path(__file__).parent
ISOLATED = ("-E", "-s")
"""Options of an interpreter that finds its own packages, whatever PYTHONPATH says to this one."""

Array: TypeAlias = Any
Clock: TypeAlias = Callable[[Callable[[], object]], float]


def say(text: str) -> None:
    """Print a remark beside the tables."""
    print(text, file=sys.stderr, flush=True)


def table(columns: list[str], rows: Iterable[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def choose(text: str, allowed: list[str]) -> list[str]:
    """Split a comma-separated option into known values."""
    chosen = [part.strip() for part in text.split(",")]
    if unknown := [part for part in chosen if part not in allowed]:
        sys.exit(f"unknown {', '.join(unknown)}: choose from {', '.join(allowed)}")
    return chosen


@functools.cache
def data_folder() -> str | None:
    """Return the folder of real data, if there is one."""
    folder = os.environ.get("RANKSEG_DATA")
    if folder is None:
        say("SKIPPED: RANKSEG_DATA is not set, so no real maps are used")
    elif not Path(folder).is_dir():
        sys.exit("RANKSEG_DATA is not a folder")
    return folder


@functools.cache
def peer_python() -> str | None:
    """Return the Python that has the reference package, if there is one."""
    python = os.environ.get("RANKSEG_PEER")
    if python is None:
        say("SKIPPED: RANKSEG_PEER is not set, so nothing is compared with the reference")
    elif not os.access(python, os.X_OK):
        sys.exit("RANKSEG_PEER is not an executable")
    return python


def machine() -> str:
    """Return the processor and the number of cores that this process may use."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{model}, {cores} cores"


@dataclass(frozen=True)
class Library:
    """An array library: how to bring an array into it, its argmax, and how to time it."""

    name: str
    description: str
    asarray: Callable[[np.ndarray], Array]
    argmax: Callable[[Array], Array]
    clock: Clock


def wall_clock(call: Callable[[], object], wait: Callable[[Any], object] | None = None) -> float:
    """Return the seconds that a call takes, until `wait` says that its result is there."""
    start = time.perf_counter()
    result = call()
    if wait is not None:
        wait(result)
    return time.perf_counter() - start


def processor_time(call: Callable[[], object]) -> float:
    """Return the seconds that a call keeps processors busy, all threads together."""
    start = time.process_time()
    call()
    return time.process_time() - start


def _numpy() -> Library:
    return Library(
        "numpy",
        f"numpy {np.__version__} (1 thread)",
        np.asarray,
        lambda x: np.argmax(x, axis=1),
        wall_clock,
    )


def _torch() -> Library:
    import torch

    return Library(
        "torch",
        f"torch {torch.__version__} ({torch.get_num_threads()} threads)",
        torch.from_numpy,
        lambda x: torch.argmax(x, dim=1),
        wall_clock,
    )


def _jax() -> Library:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax

    return Library(
        "jax",
        f"jax {jax.__version__}",
        jax.numpy.asarray,
        lambda x: jax.numpy.argmax(x, axis=1),
        functools.partial(wall_clock, wait=jax.block_until_ready),
    )


LIBRARIES: dict[str, Callable[[], Library]] = {"numpy": _numpy, "torch": _torch, "jax": _jax}


def load_libraries(
    names: list[str], loaders: dict[str, Callable[[], Library]]
) -> dict[str, Library]:
    """Return those that are installed, and say which are not."""
    libraries = {}
    for name in names:
        try:
            libraries[name] = loaders[name]()
        except ImportError as error:
            say(f"SKIPPED: {name} cannot be imported ({error})")
    return libraries


def medians(timings: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, float]:
    """Return the median of each timing, taken in turn, each once unmeasured before it counts."""
    samples: dict[str, list[float]] = {name: [] for name in timings}
    for _ in range(repeats):
        for name, timing in timings.items():
            timing()
            samples[name].append(timing())
    return {name: statistics.median(values) for name, values in samples.items()}


class PeerError(RuntimeError):
    """What another rankseg cannot do."""


class Peer:
    """Another rankseg in a process of its own, which keeps one map between requests.

    `python` starts the interpreter that finds it.
    """

    def __init__(self, python: list[str], device: str = "cpu", libraries: str = "torch") -> None:
        self.python = python
        self.folder = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen(
            [*python, HERE / "peer.py", device, libraries],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        found = self._reply()
        self.home: str = found["home"]
        self.libraries: dict[str, str] = found["libraries"]
        self.description = ", ".join([found["version"], *self.libraries.values()])

    def _reply(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.python[0]}: the process ended; its error is above")
        reply = json.loads(line)
        if "error" in reply:
            raise PeerError(reply["error"])
        return reply["value"]

    def _ask(self, do: str, **request: Any) -> Any:
        assert self.process.stdin is not None
        print(json.dumps({"do": do, **request}), file=self.process.stdin, flush=True)
        return self._reply()

    def load(self, probs: np.ndarray, library: str = "torch") -> None:
        """Give it the map that the next requests are about."""
        file = Path(self.folder.name, "probs.npy")
        np.save(file, probs)
        self.load_file(file, library)

    def load_file(self, file: Path, library: str) -> None:
        """Have it read the map that the next requests are about."""
        self.loaded = {"file": str(file), "library": library}
        self.reload()

    def reload(self) -> None:
        """Have it read the same map again, to another place in memory."""
        self._ask("load", **self.loaded)

    def seconds(
        self, function: str = "rankseg", calls: int = 1, processor: bool = False, **arguments: Any
    ) -> float:
        """Return the time of the fastest of some calls of its `rankseg`, or of "argmax".

        With `processor` it is the processor time.
        """
        request = {"function": function, "calls": calls, "processor": processor}
        return float(self._ask("time", **request, arguments=arguments))

    def predict(self, **arguments: Any) -> np.ndarray:
        """Return what its `rankseg` returns."""
        file = Path(self.folder.name, "result.npy")
        self._ask("predict", file=str(file), arguments=arguments)
        return np.load(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()  # it stops at the end of its input
        self.process.wait()
        self.folder.cleanup()


def open_peer(device: str = "cpu") -> AbstractContextManager[Peer | None]:
    """Start the reference where there is one."""
    python = peer_python()
    return Peer([python, *ISOLATED], device) if python else nullcontext()


def extra_memory(python: list[str], library: str, probs: np.ndarray) -> float | None:
    """Return the peak memory of one call in a fresh process, over the bytes of its input.

    `python` starts the interpreter whose `rankseg` is called. None where it cannot be measured.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "probs.npy")
        np.save(file, probs)
        command = [*python, str(HERE / "memory.py"), library, str(file)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        say(f"NOT MEASURED: memory of {library}")
        return None
    return float(done.stdout) / probs.nbytes
