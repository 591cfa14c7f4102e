"""Labels and masks of the ONNX graph against NumPy's, as a Markdown table.

    python benchmarks/onnx_parity.py [--profile onnxruntime] [--random 200] [--frames 60]

Over random maps (soft noise of several sharpnesses, large regions, objects of 3 to 50 pixels), the
real frames of RANKSEG_DATA, and a volume of 3x192x256x256. "Loss" is by how much the expected
metric of the worst sample (mean over its classes) is below that of NumPy's result.
"""

import argparse
from collections.abc import Iterator

import maps
import numpy as np
import onnxruntime
from harness import machine, say, table

from rankseg import thresholds
from rankseg.activations import softmax
from rankseg.export import rma_model
from rankseg.export.verification.running import Runner
from rankseg.functional import rankseg
from rankseg.metrics import expected_dice, expected_iou

SETTINGS = [
    {},
    {"metric": "iou"},
    {"smooth": 1.0},
    {"metric": "iou", "smooth": 1.0},
    {"pruning_prob": 0.0, "unassigned_policy": "void"},
    {"output_mode": "multilabel"},
    {"output_mode": "multilabel", "metric": "iou"},
    {"output_mode": "multilabel", "smooth": 1.0},
]
EXPECTED = {"dice": expected_dice, "iou": expected_iou}


def noise(rng: np.random.Generator) -> np.ndarray:
    """Return a softmax of white noise."""
    logits = rng.uniform(0.5, 8) * rng.standard_normal((1, 6, 128, 160), np.float32)
    return softmax(logits, 1)


def regions(rng: np.random.Generator) -> np.ndarray:
    """Return a generated scene."""
    scene = maps.Scene(8, (160, 200), active=5, spacing=24)
    return scene.draw(int(rng.integers(2**31)))


def objects(rng: np.random.Generator) -> np.ndarray:
    """Return a background and an object of 3 to 50 pixels a class."""
    classes, shape = 6, (192, 192)
    logits = rng.standard_normal((classes, *shape), np.float32) * 0.5 - rng.uniform(5, 12)
    logits[0] = 0
    grid = np.indices(shape)
    for c in range(1, classes):
        centre = rng.uniform(10, 180, 2).reshape(2, 1, 1)
        distance = np.sqrt(np.sum((grid - centre) ** 2, axis=0))
        outside = np.maximum(distance - np.sqrt(rng.uniform(3, 50) / np.pi), 0)
        logits[c] += rng.uniform(6, 16) * np.exp(-(outside**2) / rng.uniform(0.5, 8))
    return softmax(logits[None], 1)


def random_maps(count: int) -> Iterator[np.ndarray]:
    """Yield as many maps of each kind in turn."""
    rng = np.random.default_rng(0)
    for i in range(count):
        yield (noise, regions, objects)[i % 3](rng)


def loss(probs: np.ndarray, wanted: np.ndarray, found: np.ndarray, settings: dict) -> float:
    """Return by how much the expected metric is lower."""
    if np.array_equal(wanted, found):
        return 0.0
    expected = EXPECTED[settings.get("metric", "dice")]
    smooth = settings.get("smooth", 0.0)
    scores = [expected(probs, x, smooth, "rma").mean(axis=1) for x in (wanted, found)]
    return float(np.max(scores[0] - scores[1]))


def compare(name: str, probs: Iterator[np.ndarray], profile: str) -> Iterator[list[str]]:
    """Yield a row for each of the settings."""
    run, totals, sessions = Runner(2, ""), [[0, 0, 0, 0.0] for _ in SETTINGS], {}
    for p in probs:
        for i, (settings, total) in enumerate(zip(SETTINGS, totals, strict=True)):
            key = (i, p.shape[1], p.ndim)
            if key not in sessions:
                model = rma_model(
                    profile=profile, num_classes=p.shape[1], spatial_ndim=p.ndim - 2, **settings
                )
                sessions[key] = run.session(model)
            (found,) = run.once(sessions[key], {"probs": p})
            wanted = rankseg(p, **settings)
            total[0] += 1
            total[1] += wanted.size
            total[2] += np.count_nonzero(found != wanted)
            total[3] = max(total[3], loss(p, wanted, found, settings))
    for settings, (count, size, different, worst) in zip(SETTINGS, totals, strict=True):
        words = ", ".join(f"{key} {value}" for key, value in settings.items()) or "defaults"
        agreement = f"{100 * (1 - different / size):.5f} %" if size else "-"
        yield [name, words, str(count), f"{different:,} of {size:,}", agreement, f"{worst:.1g}"]


def worst_threshold(p: np.ndarray) -> float:
    """Return the largest relative error of thresholds that a graph finds in float32.

    What it selects lies above its threshold, what it leaves out does not: that bounds it from
    both sides, to the spacing of the values.
    """
    model = rma_model(output_mode="multilabel", spatial_ndim=p.ndim - 2, num_classes=p.shape[1])
    run = Runner(2, "")
    (mask,) = run.once(run.session(model), {"probs": p})
    exact = thresholds(p.astype(np.float64)).threshold[0]
    worst = 0.0
    for c, t in enumerate(exact):
        if np.isfinite(t):
            low = p[0, c][mask[0, c]].min() / t - 1  # should be > 0
            high = p[0, c][~mask[0, c]].max() / t - 1  # should be <= 0
            worst = max(worst, -low, high)
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", choices=["onnxruntime", "static"], default="onnxruntime")
    parser.add_argument("--random", type=int, default=200)
    parser.add_argument("--frames", type=int, default=60)
    options = parser.parse_args()
    collections = {
        "random": random_maps(options.random),
        "CamVid": (
            p for _, p in zip(range(options.frames), maps.frames("camvid_espnet"), strict=False)
        ),
    }
    rows = []
    for name, probs in collections.items():
        say(f"{name} ...")
        rows += compare(name, probs, options.profile)
    print(table(["maps", "settings", "number", "differ", "equal", "loss"], rows))
    if options.profile == "onnxruntime":
        say("volume ...")
        volume = maps.load("3x192x256x256")[1]
        print(f"\nthresholds of 3x192x256x256: wrong by at most {worst_threshold(volume):.1g}")
    print(f"\n{machine()}; onnxruntime {onnxruntime.__version__}.")


if __name__ == "__main__":
    main()
