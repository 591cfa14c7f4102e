"""Labels and masks of the fused path in Triton's interpreter against NumPy's, pixel by pixel.

    python benchmarks/fused_parity.py [--maps 20] [--frames 8] [--height 24] [--all]

Generated maps, half of them with objects of 3 to 50 pixels, and real frames (RANKSEG_DATA, the
middle `--height` lines of each, as the interpreter is slow). The settings are Dice and IoU, smooth
0 and 1, labels, labels with void, and masks: of these twelve each map takes four in turn, or with
`--all` every one. Each map has another dtype, class axis, pruning and `valid`. The exit status is 1
if any pixel differs.
"""

import argparse
import sys
from collections.abc import Iterator
from itertools import islice, product
from typing import Any

import fused_cost
import maps
import numpy as np
import torch
from harness import data_folder, say, table

from rankseg import fused
from rankseg.functional import rankseg

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
MODES: list[dict[str, Any]] = [
    {},
    {"unassigned_policy": "void"},
    {"output_mode": "multilabel"},
]

SETTINGS = list(product(["dice", "iou"], [0.0, 1.0], MODES))


def small_objects(seed: int, classes: int, height: int, width: int) -> np.ndarray:
    """Return a map whose classes but the first own disks of 3 to 50 pixels, (1, class, H, W)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=0.7, size=(classes, height, width)).astype(np.float32)
    logits[0] += 4
    y, x = np.mgrid[:height, :width]
    for c in range(1, classes):
        for _ in range(rng.integers(1, 4)):
            center, area = rng.uniform([0, 0], [height, width]), rng.uniform(3, 50)
            disk = (y - center[0]) ** 2 + (x - center[1]) ** 2 < area / np.pi
            logits[c] += disk * rng.uniform(3, 9)
    e = np.exp(logits - logits.max(0))
    return (e / e.sum(0))[None].astype(np.float32)


def draw(count: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield generated maps: scenes and small objects in turn, one or two samples each."""
    for k in range(count):
        rng = np.random.default_rng(k)
        classes, height, width = rng.integers([2, 30, 40], [7, 50, 70]).tolist()
        if k % 2:
            name, parts = "objects", [small_objects(k, classes, height, width)]
        else:
            scene = maps.Scene(classes, (height, width), active=max(1, classes // 2))
            name, parts = "scene", [scene.draw(k + 100 * b) for b in range(1 + k // 2 % 2)]
        yield f"{name} {k}, {len(parts)}x{classes}x{height}x{width}", np.concatenate(parts)


def real(count: int, height: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield frames of both collections of CamVid, cut to their middle lines."""
    if data_folder() is None:
        say("NOT RUN: real frames (RANKSEG_DATA is not set)")
        return
    halves = {"camvid_espnet": count - count // 2, "camvid_espnet_f16": count // 2}
    for collection, number in halves.items():
        for k, probs in enumerate(islice(maps.frames(collection), number)):
            first = (probs.shape[2] - height) // 2
            yield f"{collection} {k}", probs[:, :, first : first + height]


def variants(k: int, probs: np.ndarray) -> tuple[torch.Tensor, dict[str, Any]]:
    """Return a map in the dtype and layout of its turn, and the settings of its turn."""
    rng = np.random.default_rng(k)
    settings: dict[str, Any] = {}
    x = torch.from_numpy(probs).to(DTYPES[(k + k // 3) % 3])
    if k % 4 == 1:
        settings["pruning_prob"] = rng.uniform(0.1, 0.9, probs.shape[1]).round(2).tolist()
    if k % 4 == 2:
        settings["valid"] = torch.from_numpy(rng.random((len(probs), *probs.shape[2:])) < 0.8)
    if k % 5 == 3:
        x, settings["class_axis"] = x.movedim(1, -1).contiguous(), -1
    elif k % 7 == 6:
        x, settings["class_axis"] = x.movedim(1, 2).contiguous(), 2
    return x, settings


def some(k: int) -> list[tuple[str, float, dict[str, Any]]]:
    """Return four of `SETTINGS`: three maps that follow one another take all."""
    return [SETTINGS[(4 * k + 5 * j) % 12] for j in range(4)]


def on_the_host(x: torch.Tensor) -> np.ndarray:
    return x.float().numpy() if x.is_floating_point() else x.numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--maps", type=int, default=20, help="generated maps")
    parser.add_argument("--frames", type=int, default=8, help="real frames")
    parser.add_argument("--all", action="store_true", help="every setting on every map")
    parser.add_argument("--height", type=int, default=24, help="lines of a real frame")
    options = parser.parse_args()
    rows, total = [], 0
    sources = [*draw(options.maps), *real(options.frames, options.height)]
    reads: list[int] = []
    attempt = fused._Map.attempt

    def counted(self, *arguments):
        reads.append(self.shape[0])
        return attempt(self, *arguments)

    fused._Map.attempt = counted  # type: ignore[method-assign]
    for k, (name, probs) in enumerate(sources):
        x, given = variants(k, probs)
        runs = differing = pixels = again = 0
        for metric, smooth, mode in SETTINGS if options.all else some(k):
            settings = {"metric": metric, "smooth": smooth, **mode, **given}
            reads.clear()
            with fused_cost.interpreted():
                found = rankseg(x, **settings)
            if not reads:
                sys.exit(f"{name}, {settings}: not on the fused path")
            host = {
                key: on_the_host(v) if isinstance(v, torch.Tensor) else v
                for key, v in settings.items()
            }
            expected = rankseg(on_the_host(x), **host)
            runs, pixels = runs + 1, pixels + expected.size
            again += len(reads) > 1
            different = int(np.sum(found.numpy() != expected))
            if different:
                say(f"{name}, {metric}, smooth {smooth}, {mode}: {different} differ")
            differing += different
        total += differing
        turn = str(x.dtype).removeprefix("torch.") + "".join(f", {key}" for key in given)
        rows.append([name, turn, str(runs), str(pixels), str(differing), str(again)])
        say(" | ".join(rows[-1]))
    print(table(["map", "as", "runs", "pixels", "differ", "runs that mended"], rows))
    if total:
        sys.exit(f"{total} pixels differ")


if __name__ == "__main__":
    main()
