"""Masks and labels against the reference package, pixel by pixel, as one Markdown table.

    RANKSEG_PEER=.../python python benchmarks/parity.py [--maps ...] [--library numpy] \
                                                        [--frames 60] [--double]

on the real maps (RANKSEG_DATA) and the generated ones, for Dice and IoU, smooth 0 and 1, masks
(multilabel) and labels (multiclass). Every pixel that differs is explained, or counted as "other":

boundary
    A class decided differently whether to hold the pixel, whose probability is within `ULPS`
    float32 steps of that class's threshold.
score
    The same, further from the threshold, but the two masks have the same expected score in
    float32: on a large object one pixel changes it by less than it can resolve.
increment
    Each library picked the class that gains most from the pixel given its own masks, as far as
    float32 can tell.

With `--double` the reference gets the same values as float64 and computes in float64, so that only
the rounding of this library is left.

PASS means at least `TARGET` equal and nothing under "other". The exit code is 1 otherwise.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice, product
from typing import Any

import maps
import numpy as np
from harness import LIBRARIES, Array, Library, Peer, choose, open_peer, say, table

from rankseg import Thresholds, thresholds
from rankseg.functional import rankseg

TARGET = 0.99995
ULPS = 4
TOLERANCE = 4 * float(np.finfo(np.float32).eps)
REAL = {"uint8 frames": "camvid_espnet", "float16 frames": "camvid_espnet_f16"}
SETTINGS = list(product(["dice", "iou"], [0.0, 1.0]))
REASONS = ["boundary", "score", "increment", "other"]
COLUMNS = ["map", "metric", "smooth", "result", "pixels", "different", "equal", *REASONS]
COLUMNS += ["farthest from threshold", "our score above theirs", "verdict"]


class Tally:
    """Pixels of one kind of result, and why some of them differ."""

    def __init__(self) -> None:
        self.pixels = 0
        self.reasons = Counter[str]()
        self.farthest = 0.0
        self.gains = [0.0]
        self.example = ""

    def row(self) -> list[str]:
        equal = 1 - self.reasons.total() / self.pixels
        passed = equal >= TARGET and not self.reasons["other"]
        return [
            f"{self.pixels:,}",
            f"{self.reasons.total():,}",
            f"{equal:.5%}",
            *(f"{self.reasons[reason]:,}" for reason in REASONS),
            f"{self.farthest:.1e}",
            " to ".join(f"{gain:.1e}" for gain in (min(self.gains), max(self.gains))),
            "PASS" if passed else "FAIL",
        ]


def score(metric: str, smooth: float, size: Array, overlap: Array, mass: Array) -> Array:
    """Return the expected metric of masks under RMA, in float64, from their sums."""
    if metric == "iou":
        return _ratio(overlap + smooth, mass - overlap + size + smooth)
    return 2 * overlap / (mass + size + 1 + smooth) + _ratio(smooth, mass + size + smooth)


def _ratio(numerator: Array, denominator: Array) -> Array:
    return numerator / np.where(denominator == 0, 1, denominator)


class Comparison:
    """Two answers for one map under one metric, ours first. Arrays are (class, pixel)."""

    def __init__(
        self,
        probs: np.ndarray,
        metric: str,
        smooth: float,
        masks: list[np.ndarray],
        found: Thresholds,
    ) -> None:
        self.probs, self.metric, self.smooth, self.masks = probs, metric, smooth, masks
        self.threshold, self.active = np.asarray(found.threshold)[0], np.asarray(found.active)[0]
        self.mass = np.sum(probs, axis=1, dtype=np.float64)
        ours, theirs = (self._score(*self._sums(mask), self.mass) for mask in masks)
        self.gain = _ratio(ours - theirs, np.maximum(ours, theirs))

    def compare_masks(self, tally: Tally) -> None:
        """Count the differences between the masks."""
        tally.pixels += self.probs.size
        for c, pixel in np.argwhere(self.masks[0] != self.masks[1]).tolist():
            self._count(tally, self._reason_of_mask(c, pixel), c, pixel)

    def compare_labels(self, tally: Tally, labels: list[np.ndarray]) -> None:
        """Count the differences between the labels."""
        tally.pixels += self.probs.shape[1]
        differing = np.flatnonzero(labels[0] != labels[1])
        if differing.size == 0:
            return
        fair = np.logical_and(
            *(
                self._is_fair(mask, part, differing)
                for mask, part in zip(self.masks, labels, strict=True)
            )
        )
        for pixel, both_fair in zip(differing.tolist(), fair, strict=True):
            classes = np.flatnonzero(self.masks[0][:, pixel] != self.masks[1][:, pixel]).tolist()
            reasons = [self._reason_of_mask(c, pixel) for c in classes]
            if not reasons:
                classes, reasons = [labels[0][pixel]], ["increment" if both_fair else "other"]
            self._count(tally, max(reasons, key=REASONS.index), classes[0], pixel)

    def _reason_of_mask(self, c: int, pixel: int) -> str:
        if self._distance(c, pixel) <= ULPS * np.spacing(np.float32(self.threshold[c])):
            return "boundary"
        return "score" if abs(self.gain[c]) <= TOLERANCE else "other"

    def _is_fair(self, mask: np.ndarray, labels: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        # Whether the label of each of some pixels is the eligible class that gains most from it,
        # on top of the pixels that the class alone selected. float32 cannot resolve a share of
        # the gain of a certain pixel over that of an impossible one.
        alone = mask & (np.count_nonzero(mask, axis=0) == 1)
        size, overlap = (part[:, None] for part in self._sums(alone))
        mass = self.mass[:, None]
        p = self.probs[:, pixels].astype(np.float64)
        gain = self._score(size + 1, overlap + p, mass) - self._score(size, overlap, mass)
        span = self._score(size + 1, overlap + 1, mass) - self._score(size + 1, overlap, mass)
        active = self.active if np.any(self.active) else np.ones_like(self.active)
        votes = mask[:, pixels]
        eligible = np.where(np.any(votes, axis=0), votes, active[:, None])
        to_beat = np.max(np.where(eligible, gain - TOLERANCE * span, -np.inf), axis=0)
        label = labels[pixels], np.arange(pixels.size)
        return eligible[label] & ((gain + TOLERANCE * span)[label] >= to_beat)

    def _sums(self, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        size = np.count_nonzero(mask, axis=1)
        return size, np.sum(self.probs, axis=1, dtype=np.float64, where=mask)

    def _score(self, size: Array, overlap: Array, mass: Array) -> Array:
        return score(self.metric, self.smooth, size, overlap, mass)

    def _distance(self, c: int, pixel: int) -> float:
        return abs(float(self.probs[c, pixel]) - float(self.threshold[c]))

    def _count(self, tally: Tally, reason: str, c: int, pixel: int) -> None:
        tally.reasons[reason] += 1
        if np.isfinite(self.threshold[c]) and reason in ("boundary", "score"):
            tally.farthest = max(tally.farthest, self._distance(c, pixel))
            tally.gains.append(self.gain[c])
        if reason == "other" and not tally.example:
            p, threshold = self.probs[c, pixel], self.threshold[c]
            tally.example = f"class {c}, pixel {pixel}: p {p:.9g}, threshold {threshold:.9g}"


def examples(name: str, frames: int) -> Iterator[np.ndarray]:
    """Yield the maps of a group."""
    if name in REAL:
        yield from islice(maps.frames(REAL[name]), frames)
    else:
        yield maps.SCENES[name].draw()


def compare(
    name: str, group: Iterable[np.ndarray], library: Library, peer: Peer, double: bool
) -> Iterator[list[str]]:
    """Yield a row for each setting and kind of result, over all maps of a group."""
    tallies = {(*setting, kind): Tally() for setting in SETTINGS for kind in ("masks", "labels")}
    for probs in group:
        peer.load(probs.astype(np.float64) if double else probs)
        x = library.asarray(probs)
        flat = (probs.shape[1], -1)
        for metric, smooth in SETTINGS:
            given: dict[str, Any] = {"metric": metric, "smooth": smooth}
            both = partial(rankseg, x, **given), partial(peer.predict, **given)
            masks = [
                np.asarray(predict(output_mode="multilabel")).reshape(flat) for predict in both
            ]
            labels = [np.asarray(predict()).reshape(-1) for predict in both]
            found = thresholds(x, **given)
            comparison = Comparison(probs.reshape(flat), metric, smooth, masks, found)
            comparison.compare_masks(tallies[metric, smooth, "masks"])
            comparison.compare_labels(tallies[metric, smooth, "labels"], labels)
    for (metric, smooth, kind), tally in tallies.items():
        if tally.example:
            say(f"{name}, {metric}, smooth {smooth:g}, {kind}: {tally.example}")
        if tally.pixels:
            yield [name, metric, f"{smooth:g}", kind, *tally.row()]


def main() -> None:
    names = [*REAL, *maps.SCENES]
    parser = argparse.ArgumentParser(description="Masks and labels against the reference.")
    parser.add_argument("--maps", default=",".join(names))
    parser.add_argument("--frames", type=int, default=60, help="real frames at most")
    parser.add_argument("--library", default="numpy", choices=LIBRARIES)
    parser.add_argument("--double", action="store_true", help="the reference in float64")
    options = parser.parse_args()
    library = LIBRARIES[options.library]()
    rows: list[list[str]] = []
    with open_peer() as peer:
        if peer is None:
            sys.exit("parity needs the reference: set RANKSEG_PEER")
        for name in choose(options.maps, names):
            say(f"{name} ...")
            rows += compare(name, examples(name, options.frames), library, peer, options.double)
    print(f"{library.description} against {peer.description}", end="")
    print(", in float64\n" if options.double else "\n")
    print(table(COLUMNS, rows))
    failed = [row for row in rows if row[-1] != "PASS"]
    if failed or not rows:
        sys.exit(f"FAIL: {len(failed)} of {len(rows)} rows")
    print(f"\nPASS: {len(rows)} rows")


if __name__ == "__main__":
    main()
