"""Time and memory on the processor, as one Markdown table.

    python benchmarks/cpu.py [--shapes 21x512x512,...] [--libraries numpy,torch,jax]
                             [--repeats 5] [--no-memory]
    python benchmarks/cpu.py --against PYTHON [--shapes ...] [--libraries numpy,torch]
                             [--repeats 11] [--processor-time]

Multiclass Dice with the defaults, against argmax over the class axis of the same library and,
where RANKSEG_PEER names a Python that has it, against the reference package: as it is by default
and with ``safe_screening="auto"``. All are timed in turn; the table has the medians.

With ``--against`` this rankseg is timed in turn with the one that PYTHON finds, another version in
another environment, with more settings and maps. The exit code is 1 if a row is slower for sure.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial

import against
import maps
from harness import (
    ISOLATED,
    LIBRARIES,
    Library,
    Peer,
    choose,
    extra_memory,
    load_libraries,
    machine,
    medians,
    open_peer,
    peer_python,
    say,
    table,
)

from rankseg.functional import rankseg

COLUMNS = ["shape", "library", "argmax ms", "rankseg ms", "ratio", "extra memory / input"]
PEER_COLUMNS = ["reference ms", "screened ms", "its extra memory", "speed-up", "over screened"]
MEASURED = ["numpy", "torch"]
"""Libraries whose memory is measured."""


def milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.1f}"


def ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def rows_of_shape(
    shape: str,
    libraries: dict[str, Library],
    peer: Peer | None,
    repeats: int,
    memory: bool,
) -> list[list[str]]:
    """Return one row a library."""
    name, probs = maps.load(shape)
    say(f"{name} ...")
    timings: dict[str, Callable[[], float]] = {}
    for key, library in libraries.items():
        x = library.asarray(probs)
        timings[f"{key} argmax"] = partial(library.clock, partial(library.argmax, x))
        timings[f"{key} rankseg"] = partial(library.clock, partial(rankseg, x))
    if peer is not None:
        peer.load(probs)
        timings["default"] = peer.seconds
        timings["screened"] = partial(peer.seconds, safe_screening="auto")
    found = medians(timings, repeats)
    memory_of = partial(extra_memory, probs=probs) if memory else lambda *_: None
    peer_row = []
    if peer is not None:
        peer_row = [milliseconds(found["default"]), milliseconds(found["screened"])]
        peer_row.append(ratio(memory_of([str(peer_python()), *ISOLATED], "torch")))
    rows = []
    for key in libraries:
        argmax, ours = found[f"{key} argmax"], found[f"{key} rankseg"]
        extra = memory_of([sys.executable], key) if key in MEASURED else None
        row = [name, key, milliseconds(argmax), milliseconds(ours), ratio(ours / argmax)]
        row += [ratio(extra), *peer_row]
        if peer is not None:
            row += [f"{found[which] / ours:.1f}" for which in ("default", "screened")]
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory on the processor.")
    parser.add_argument("--against", metavar="PYTHON", help="interpreter of another version")
    parser.add_argument("--shapes", help="maps to time, by default all")
    parser.add_argument("--libraries", help="array libraries, with --against numpy,torch")
    parser.add_argument("--repeats", type=int, help="runs, by default 5, with --against 11")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="with --against: of all threads, which a busy machine shakes less",
    )
    options = parser.parse_args()
    names = maps.SHAPES if options.against is None else against.NAMES
    usual = list(LIBRARIES) if options.against is None else ["numpy", "torch"]
    shapes = choose(options.shapes or ",".join(names), names)
    chosen = choose(options.libraries or ",".join(usual), list(LIBRARIES))
    if options.against is not None:
        repeats = options.repeats or 11
        clock = options.processor_time
        sys.exit(against.main(options.against, shapes, chosen, repeats, clock))
    repeats = options.repeats or 5
    libraries = load_libraries(chosen, LIBRARIES)
    with open_peer() as peer:
        rows = [
            row
            for shape in shapes
            for row in rows_of_shape(shape, libraries, peer, repeats, not options.no_memory)
        ]
    described = [library.description for library in libraries.values()]
    print(f"{machine()}; {', '.join(described)}; medians of {repeats}", end="")
    print(f"; reference: {peer.description}\n" if peer is not None else "\n")
    print(table(COLUMNS + (PEER_COLUMNS if peer is not None else []), rows))


if __name__ == "__main__":
    main()
