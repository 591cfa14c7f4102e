"""BA, TRNA and exact against the reference's BA and TRNA: time, and masks of 200 random rows.

    RANKSEG_PEER=.../python python benchmarks/rankdice.py

The reference's TRNA takes seconds for a 128 x 128 row, so each size is timed once there.
"""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import maps
import numpy as np
from harness import Peer, medians, open_peer, say, table, wall_clock

from rankseg.functional import rankseg
from rankseg.maps import ProbabilityMap
from rankseg.rows import rows_of
from rankseg.solvers import normal

TIMED = [("BA", 256, "BA"), ("exact", 256, "BA"), ("TRNA", 64, "TRNA"), ("TRNA", 128, "TRNA")]
MASKS: dict[str, Any] = {"metric": "dice", "output_mode": "multilabel"}


def soft_disc(side: int) -> np.ndarray:
    """Return one confident object with a soft border: (1, 1, side, side)."""
    x = np.linspace(-1, 1, side)
    distance = np.hypot(*np.meshgrid(x, x))
    rng = np.random.default_rng(0)
    logits = 12 * (0.6 - distance) + 0.5 * rng.standard_normal((side, side))
    return (1 / (1 + np.exp(-logits))).astype(np.float32)[None, None]


def random_rows() -> np.ndarray:
    """Return 200 rows of 256 pixels, from nearly certain to uniform: (1, 200, 16, 16)."""
    rng = np.random.default_rng(1)
    powers = rng.choice([0.5, 1.0, 2.0, 6.0], (200, 1))
    rows = rng.random((200, 256)) ** powers
    rows[:, 0] = 0.9
    return rows.astype(np.float32).reshape(1, 200, 16, 16)


def timing_rows(peer: Peer) -> list[list[str]]:
    """Return a table row for each solver and size, timed in turn with the reference."""
    rows = []
    for solver, side, theirs in TIMED:
        probs = soft_disc(side)
        peer.load(probs)
        calls: dict[str, Callable[[], float]] = {
            "ours": partial(wall_clock, partial(rankseg, probs, solver=solver, **MASKS)),
            "reference": partial(peer.seconds, solver=theirs, **MASKS),
        }
        took = medians(calls, repeats=1 if theirs == "TRNA" else 7)
        took["ours"] = medians({"ours": calls["ours"]}, repeats=7)["ours"]
        ratio = took["reference"] / took["ours"]
        times = (f"{1e3 * took[name]:.2f} ms" for name in ("ours", "reference"))
        rows.append([solver, f"{side} x {side}", *times, theirs, f"{ratio:.1f} x"])
    whole = maps.SCENES["21x512x512"].draw()
    call = partial(rankseg, whole, solver="TRNA", **MASKS)
    took = medians({"ours": partial(wall_clock, call)}, repeats=3)
    rows.append(["TRNA", "21 x 512 x 512", f"{1e3 * took['ours']:.0f} ms", "not run", "TRNA", ""])
    return rows


def mask_rows(peer: Peer, name: str, probs: np.ndarray) -> list[list[str]]:
    """Return a table row for each solver: equal masks, and objective lost where they differ."""
    peer.load(probs)
    rows = []
    for solver in ("BA", "TRNA"):
        for smooth in (0.0, 1.0):
            given = {"solver": solver, "smooth": smooth, **MASKS}
            sizes = [
                np.count_nonzero(predict(**given), axis=(2, 3))
                for predict in (partial(rankseg, probs), peer.predict)
            ]
            source = rows_of(ProbabilityMap(probs))
            lost, split = [0.0], 0
            for b, c in np.argwhere(sizes[0] != sizes[1]).tolist():
                row = source.host_row((b, c))
                masks, losses = normal.scored_masks(row, smooth, solver, 1e-4)
                ours, theirs = (np.flatnonzero(masks.sizes == s[b, c]) for s in sizes)
                if len(theirs):
                    lost.append(float(losses[ours[0]] - losses[theirs[0]]))
                else:
                    split += 1
            equal = f"{np.mean(sizes[0] == sizes[1]):.1%} of {sizes[0].size}"
            rows.append([name, solver, f"{smooth:g}", equal, str(split), f"{max(lost):.1e}"])
    return rows


def main() -> None:
    """Print both tables."""
    with open_peer() as peer:
        if peer is None:
            sys.exit("this comparison needs the reference: set RANKSEG_PEER")
        header = ["solver", "row", "rankseg", "reference", "its solver", "faster"]
        print(table(header, timing_rows(peer)))
        say("masks ...")
        rows = mask_rows(peer, "random rows", random_rows())
        for frame in maps.frames("camvid_espnet_f16"):
            rows += mask_rows(
                peer, "real crop", np.ascontiguousarray(frame[:, :, 180:204, 200:232])
            )
        header = [
            "rows",
            "solver",
            "smooth",
            "same tau",
            "tau inside a tie",
            "objective lost at most",
        ]
        print("\n" + table(header, rows))


if __name__ == "__main__":
    main()
