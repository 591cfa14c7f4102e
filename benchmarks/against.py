"""Two versions of rankseg in turn: the table of ``cpu.py --against PYTHON``.

Each version is a process that stays alive and reads the same maps. A run is some calls of one
function, the same number in both versions, on a map that was just read, and counts as long as the
fastest of them. Runs alternate, old, new, old, new, and each pair of neighbours gives one ratio.
The interval of a row is that of the median ratio by the sign test: it assumes nothing about how the
times are spread. Argmax, which is the same code in both, has rows of its own: how far their
intervals are from 1 is what the machine adds.
"""

import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import maps
import numpy as np
from harness import ISOLATED, Peer, PeerError, machine, say, table

BOUND = 1.05
"""A row fails if its whole interval lies above this."""

LOST = "works no more"
"""Remark on a row that only the old version can do, which fails too."""

RUN_SECONDS, LEAST_CALLS = 0.2, 3
"""A run has as many calls as this time holds, and at least so many: the first of them warms up."""

IMPORTS = 3
"""Imports of one run, each in a fresh process."""

CLOCKS = {False: "perf_counter", True: "process_time"}
IMPORT = "from time import {0}; start = {0}(); import rankseg; print({0}() - start)"
COLUMNS = ["map", "library", "settings", "old ms", "new ms", "new / old", "interval", ""]

CLASSES = 11
"""Classes of `maps.REAL`, on which all settings are timed."""

SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "multilabel": {"output_mode": "multilabel"},
    "iou": {"metric": "iou"},
    "smooth 1": {"smooth": 1.0},
    "accuracy": {"metric": "accuracy", "solver": "argmax"},
    "exact": {"solver": "exact"},
    "BA": {"solver": "BA", "output_mode": "multilabel"},
    "TRNA": {"solver": "TRNA", "output_mode": "multilabel"},
    "refine=3": {"refine": 3},
    "calibration": {
        "calibration": {
            "kind": "vector",
            "scale": 1.1,
            "bias": np.linspace(0, -1, CLASSES).tolist(),
        }
    },
}
SMALL = {
    "256x11x64x64": (maps.Scene(11, (64, 64), active=4, spacing=16), 256),
    "256x11x32x32": (maps.Scene(11, (32, 32), active=4, spacing=8), 256),
    "64x2x32x32": (maps.Scene(2, (32, 32), active=2, spacing=8), 64),
}
LAST, HALF, IMPORTED = "512x512x21", "21x512x512 float16", "import"
REAL_LAST, REAL_HALF = "360x480x11", "11x360x480 float16"
LAYOUTS = {LAST: "21x512x512", HALF: "21x512x512", REAL_LAST: maps.REAL, REAL_HALF: maps.REAL}
NAMES = [*maps.SHAPES, *SMALL, *LAYOUTS, IMPORTED]


@dataclass(frozen=True)
class Work:
    """A map, and the settings that it is timed with, by the names of table rows."""

    name: str
    probs: np.ndarray
    settings: dict[str, dict[str, Any]]


def work_of(name: str) -> Work:
    """Return what is timed under one of `NAMES`."""
    if name in SMALL:
        scene, count = SMALL[name]
        return Work(name, scene.draw_batch(count), {"defaults": {}})
    if name in LAYOUTS:
        probs = maps.load(LAYOUTS[name])[1]
        if name in (HALF, REAL_HALF):
            return Work(name, probs.astype(np.float16), {"defaults": {}})
        probs = np.ascontiguousarray(np.moveaxis(probs, 1, -1))
        return Work(name, probs, {"class_axis=-1": {"class_axis": -1}})
    shown, probs = maps.load(name)
    return Work(shown, probs, SETTINGS if name == maps.REAL else {"defaults": {}})


def interval(values: list[float], level: float = 0.95) -> tuple[float, float, float]:
    """Return a confidence interval of the median, and the probability that it covers it.

    Between the k-th smallest and the k-th largest of n values lies their median, unless fewer
    than k of them fell on one of its sides: a matter of tossing n coins. k is the largest for
    which `level` is reached, and 1 if none is.
    """
    n = len(values)
    below = [sum(math.comb(n, i) for i in range(k)) / 2**n for k in range(1, (n + 1) // 2 + 1)]
    fitting = [k for k, one_side in enumerate(below, 1) if 2 * one_side <= 1 - level]
    k = max(fitting, default=1)
    ordered = sorted(values)
    return ordered[k - 1], ordered[n - k], 1 - 2 * below[k - 1]


@dataclass(frozen=True)
class Pair:
    """Both versions, "old" and "new", and how often and with which clock they are timed."""

    versions: dict[str, Peer]
    repeats: int
    processor: bool


@dataclass(frozen=True)
class Compared:
    """One row: what both versions took, or why one of them could not.

    A `control` is the same code in both, so that it cannot be slower.
    """

    names: list[str]
    old: list[float]
    new: list[float]
    control: bool = False
    remark: str = ""

    @property
    def ratios(self) -> list[float]:
        return [new / old for old, new in zip(self.old, self.new, strict=True)]

    @property
    def verdict(self) -> str:
        low, high, _ = interval(self.ratios)
        found = "slower" if low > BOUND else "faster" if high < 1 / BOUND else ""
        return "noise" if found and self.control else found

    @property
    def cells(self) -> list[str]:
        if not self.ratios:
            return [*self.names, *["n/a"] * 4, self.remark]
        low, high, _ = interval(self.ratios)
        return [
            *self.names,
            *(f"{1000 * statistics.median(times):.2f}" for times in (self.old, self.new)),
            f"{statistics.median(self.ratios):.3f}",
            f"{low:.3f} to {high:.3f}",
            self.verdict,
        ]


def in_turn(
    names: list[str], repeats: int, old: Callable[[], float], new: Callable[[], float]
) -> Compared:
    """Take the times of both versions in turn."""
    pairs = [(old(), new()) for _ in range(repeats)]
    return Compared(names, [first for first, _ in pairs], [second for _, second in pairs])


def timed_calls(names: list[str], pair: Pair, function: str, arguments: dict[str, Any]) -> Compared:
    """Time calls of a function in both versions, unless one of them refuses."""
    found, refused = {}, {}
    for version, peer in pair.versions.items():
        try:
            found[version] = peer.seconds(function, **arguments)
        except PeerError as error:
            refused[version] = str(error)
    if refused:
        text = "; ".join(f"{version}: {error}" for version, error in refused.items())
        say(f"n/a: {', '.join(names)}: {text}")
        remark = f"not in {' or '.join(refused)}" if "old" in refused else LOST
        return Compared(names, [], [], remark=remark)
    calls = max(LEAST_CALLS, math.ceil(RUN_SECONDS / max(found.values())))

    def run(peer: Peer) -> float:
        peer.reload()  # where a map lies in memory matters: one place for all runs would be a bias
        return peer.seconds(function, calls, pair.processor, **arguments)

    return in_turn(names, pair.repeats, *(partial(run, peer) for peer in pair.versions.values()))


def import_seconds(python: list[str], processor: bool) -> float:
    """Return the time of ``import rankseg`` in a fresh process, the fastest of some."""
    command = [*python, "-P", "-c", IMPORT.format(CLOCKS[processor])]
    # An installed version has its bytecode: let a source tree keep its own as well.
    env = {name: os.environ[name] for name in os.environ if name != "PYTHONDONTWRITEBYTECODE"}
    found = (
        subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=env)
        for _ in range(IMPORTS)
    )
    return min(float(done.stdout) for done in found)


def compare(pair: Pair, names: list[str], libraries: list[str]) -> Iterator[Compared]:
    """Yield the rows."""
    for name in names:
        say(f"{name} ...")
        if name == IMPORTED:
            imports = (
                partial(import_seconds, peer.python, pair.processor)
                for peer in pair.versions.values()
            )
            yield in_turn([IMPORTED, "numpy", ""], pair.repeats, *imports)
            continue
        work = work_of(name)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "probs.npy")
            np.save(file, work.probs)
            for library in libraries:
                for peer in pair.versions.values():
                    peer.load_file(file, library)
                if name == maps.REAL:
                    row = [work.name, library, "argmax (same code)"]
                    yield replace(timed_calls(row, pair, "argmax", {}), control=True)
                for label, arguments in work.settings.items():
                    row = [work.name, library, label]
                    yield timed_calls(row, pair, "rankseg", arguments)


def common_libraries(pair: Pair) -> list[str]:
    """Return the libraries that both versions have; say where these differ."""
    old, new = (peer.libraries for peer in pair.versions.values())
    for name in (name for name in new if name in old and old[name] != new[name]):
        say(f"NOTE: {old[name]} is compared with {new[name]} as well")
    return [name for name in new if name in old]


def main(python: str, names: list[str], libraries: list[str], repeats: int, processor: bool) -> int:
    """Print the table; return 1 if a row is slower or lost, else 0."""
    if not os.access(python, os.X_OK):
        sys.exit("--against is not an executable")
    wanted = ",".join(libraries)
    with (
        Peer([python, *ISOLATED], libraries=wanted) as old,
        Peer([sys.executable], libraries=wanted) as new,
    ):
        pair = Pair({"old": old, "new": new}, repeats, processor)
        for version, peer in pair.versions.items():
            say(f"{version}: {peer.description}, in {peer.home}")
        rows = list(compare(pair, names, common_libraries(pair)))
    print(f"{machine()}; old: {old.description}; new: {new.description}")
    covered = interval([1.0] * repeats)[2]
    print(f"medians of {repeats} runs{', processor time' if processor else ''}; ", end="")
    print(f"{covered:.1%} intervals of the median ratio\n")
    print(table(COLUMNS, (row.cells for row in rows)))
    measured = [row for row in rows if row.ratios and not row.control]
    slower = sum(row.verdict == "slower" for row in measured)
    lost = sum(row.remark == LOST for row in rows)
    failed = bool(slower or lost)
    print(f"\n{'FAIL' if failed else 'PASS'}: {slower} of {len(measured)} rows ", end="")
    print(f"lie above {BOUND}{f', {lost} {LOST}' if lost else ''}")
    return int(failed)
