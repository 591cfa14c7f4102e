"""What a correlation of pixels does: gains over argmax, loss of the search, and time.

    python benchmarks/correlation.py gains [SET ...]
    python benchmarks/correlation.py loss [SET ...]
    python benchmarks/correlation.py time
    python benchmarks/correlation.py tune [SET ...] [--calibrations KIND ...]

RANKSEG_DATA is a folder of sets, each a folder of .npz files with ``probs``, uint8 (class, height,
width) of 255ths, and ``label``, uint8 with 255 for pixels that count nowhere. Without it gains and
loss on these are skipped; loss also has a suite of generated rows, and time generated maps.

Gains are in points of Dice, pruning 0.5, as means over the classes in an image's label, over those
in label or prediction, and over classes of the means over images whose label has them; of two
classes the foreground alone. Loss is how much lower F is than at the best of all thresholds. Tune
chooses settings on half of a set, as `rankseg tune` does, and prints what they gain on the other
half in the first two means, with 95 % intervals: four random halves, and for CamVid both ways of
its two sequences.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import perf_counter

import maps
import numpy as np

from rankseg import RankSEG, factor, thresholds
from rankseg.evaluation import Method, default_methods, evaluate, tune
from rankseg.evaluation.tuning.candidates import CALIBRATIONS
from rankseg.functional import rankseg

RHOS = (0.0, 0.5, 0.85, 1.0)
SETS = ("camvid_espnet", "voc_deeplab", "nuclei", "roads")


def cases(name: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the probabilities and the label of each file of a set."""
    for path in sorted(Path(os.environ["RANKSEG_DATA"], name).glob("*.npz")):
        with np.load(path) as file:
            p = file["probs"].astype(np.float32) / 255
            yield p / np.maximum(p.sum(axis=0), 1e-6), file["label"]


def dice(found: np.ndarray, label: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the Dice of each class, NaN where it is nowhere, and whether the label has it."""
    seen = label != 255
    there, here = label[seen].astype(int), found[seen]
    both, predicted, labelled = (
        np.bincount(x, minlength=classes)[:classes] for x in (there[there == here], here, there)
    )
    with np.errstate(invalid="ignore"):
        return 2 * both / np.where(predicted + labelled, predicted + labelled, np.nan), labelled > 0


def means(scores: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return the three means, in points."""
    if scores.shape[1] == 2:
        scores, present = scores[:, 1:], present[:, 1:]
    inside = np.where(present, scores, np.nan)
    kept = inside[np.isfinite(inside).any(axis=1)]
    either = scores[np.isfinite(scores).any(axis=1)]
    first = inside[:, np.isfinite(inside).any(axis=0)]
    parts = np.nanmean(kept, 1), np.nanmean(either, 1), np.nanmean(first, 0)
    return 100 * np.array([part.mean() for part in parts])


def gains(name: str) -> None:
    """Print the means of argmax, and what each correlation adds."""
    found: dict[object, list[tuple[np.ndarray, np.ndarray]]] = {}
    for p, label in cases(name):
        ways = {"argmax": p.argmax(axis=0)}
        ways |= {rho: rankseg(p[None], correlation=rho)[0] for rho in RHOS}
        for way, labels in ways.items():
            found.setdefault(way, []).append(dice(labels, label, len(p)))
    scores = {way: tuple(map(np.stack, zip(*parts, strict=True))) for way, parts in found.items()}
    base = means(*scores["argmax"])
    print(f"{name:15s} argmax " + " / ".join(f"{x:.2f}" for x in base))
    at = slice(1, None) if len(scores["argmax"][0][0]) == 2 else slice(None)
    for rho in RHOS:
        change = means(*scores[rho]) - base
        drop = np.where(scores[rho][1], scores[rho][0] - scores["argmax"][0], np.nan)[:, at]
        mean = np.nansum(drop, 1) / np.maximum(np.isfinite(drop).sum(1), 1)
        text = " / ".join(f"{x:+.2f}" for x in change)
        print(f"  correlation {rho:4g}  {text}   images worse by a point: {np.sum(mean < -0.01)}")


def row_loss(p: np.ndarray, threshold: float, rho: float) -> float:
    """Return how much lower F is than at the best threshold, from every distinct value."""
    values, count = np.unique(p, return_counts=True)
    values, count = values[::-1].astype(float), count[::-1]
    f, weight = factor.conditional(values, rho), factor.nodes(rho).weight
    overlap, size = np.cumsum(f * count[:, None], axis=0), np.cumsum(count)[:, None]
    score = (2 * overlap / (overlap[-1] + size + 1)) @ weight
    return float(score.max() - score[np.flatnonzero(values > threshold)[-1]])


def suite(seed: int = 0) -> Iterator[tuple[str, np.ndarray]]:
    """Yield named rows of 10 to 10^5 pixels."""
    rng = np.random.default_rng(seed)
    for pixels in (10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 40_000, 100_000):
        for _ in range(5 if pixels < 2000 else 1):
            u, x = rng.random(pixels), np.linspace(-1, 1, pixels)
            yield "uniform", u
            yield "fourth power", u**4
            yield "eighth power", u**8
            yield "confident", 1 / (1 + np.exp(-rng.normal(-2, 6, pixels)))
            yield "edge", 1 / (1 + np.exp(12 * (abs(x) - rng.random()) + rng.normal(0, 1, pixels)))
            centre = rng.choice([0.05, 0.3, 0.35, 0.6, 0.9], pixels)
            yield "clusters", np.clip(centre + rng.normal(0, 0.01, pixels), 0, 1)
            yield "ties", np.round(u**2 * 20) / 20
            yield "faint", np.where(u < 0.9, 1e-3 * rng.random(pixels), u)
            yield "faint alone", 1e-3 * rng.random(pixels) ** 2 + 1e-6


def loss(sets: list[str]) -> None:
    """Print the largest loss of each kind of row, and of each set."""
    worst: dict[str, float] = {}
    for rho in (0.2, 0.5, 0.85, 0.95):
        for name, p in suite():
            p = p.astype(np.float32)
            found = thresholds(p[None, None], pruning_prob=0.0, correlation=rho).threshold[0, 0]
            worst[name] = max(worst.get(name, 0.0), row_loss(p, found, rho))
    for name in sets:
        for p, _ in cases(name):
            for rho in (0.5, 0.85):
                found = thresholds(p[None], correlation=rho)
                for c in np.flatnonzero(found.active[0]):
                    value = row_loss(p[c].reshape(-1), found.threshold[0, c], rho)
                    worst[name] = max(worst.get(name, 0.0), value)
    for name, value in worst.items():
        print(f"{name:15s} {value:.1e}")


def halves(name: str) -> Iterator[tuple[str, np.ndarray]]:
    """Yield which cases of a set to choose on."""
    paths = sorted(Path(os.environ["RANKSEG_DATA"], name).glob("*.npz"))
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(len(paths))
        yield f"half {seed}", order < len(paths) // 2
    if name == "camvid_espnet":
        first = np.array([path.name.startswith("0001TP") for path in paths])
        yield from (("sequence 1", first), ("sequence 2", ~first))


def tuned(name: str, calibrations: list[str]) -> None:
    """Print what settings that were chosen on half of a set gain on the other."""
    every = list(cases(name))
    ignored = (0,) if len(every[0][0]) == 2 else ()
    means = []
    for split, seen in halves(name):
        chosen_on = [case for case, one in zip(every, seen, strict=True) if one]
        found = tune(chosen_on, calibrations=calibrations, ignore_classes=ignored)
        methods = [default_methods()[0], Method("tuned", RankSEG.from_config(found.config))]
        others = [case for case, one in zip(every, seen, strict=True) if not one]
        tested = evaluate(others, methods, ignore_classes=ignored, bootstrap=200)
        parts = [tested.result("tuned", "dice", presence) for presence in ("label", "either")]
        means.append([100 * part.gain for part in parts])
        text = " / ".join(
            f"{100 * part.gain:+.2f} [{100 * part.low:+.2f}, {100 * part.high:+.2f}]"
            for part in parts
        )
        print(f"{name:15s} {split:10s} {text}  {found.chosen.candidate.name}", flush=True)
    print(f"{name:15s} mean       " + " / ".join(f"{x:+.2f}" for x in np.mean(means, axis=0)))


def time() -> None:
    """Print the time of each correlation over that of none, all timed in turn."""
    rng = np.random.default_rng(0)
    logits = 3 * rng.standard_normal((256, 11, 32, 32)).astype(np.float32)
    small = np.exp(logits - logits.max(axis=1, keepdims=True))
    shapes = [maps.load("11x360x480"), maps.load("21x512x512")]
    for name, p in [*shapes, ("256x11x32x32", small / small.sum(axis=1, keepdims=True))]:
        calls = [partial(rankseg, p, correlation=rho) for rho in RHOS]
        taken = []
        for _ in range(4 if len(p) > 1 else 12):
            taken.append([])
            for call in calls:
                start = perf_counter()
                call()
                taken[-1].append(perf_counter() - start)
        none, *others = np.median(taken[1:], axis=0)
        ratios = "  ".join(f"{r:g}: {t / none:.2f}" for r, t in zip(RHOS[1:], others, strict=True))
        print(f"{name}: {1000 * none:.1f} ms, times that with correlation {ratios}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["gains", "loss", "time", "tune"])
    parser.add_argument("sets", nargs="*", default=list(SETS))
    parser.add_argument("--calibrations", nargs="*", default=list(CALIBRATIONS))
    arguments = parser.parse_args()
    if arguments.what == "time":
        time()
        return
    if "RANKSEG_DATA" not in os.environ:
        print("RANKSEG_DATA is not set: the sets are SKIPPED", file=sys.stderr)
        arguments.sets = []
    if arguments.what == "loss":
        loss(arguments.sets)
        return
    for name in arguments.sets:
        if arguments.what == "tune":
            tuned(name, arguments.calibrations)
        else:
            gains(name)


if __name__ == "__main__":
    main()
