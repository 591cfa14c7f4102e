"""Probability maps that look like a network's: a few confident classes with soft borders.

    python benchmarks/maps.py

describes them: how many classes are active, and how many pixels are in conflict (selected by no
class or by several).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from harness import data_folder, say, table


@dataclass(frozen=True)
class Scene:
    """What a generated map looks like.

    Parameters
    ----------
    classes, spatial
        Shape of the map, without the batch.
    active
        Number of classes that own a part of the scene.
    sharpness
        Scale of the logits of the most certain class; that of the least certain is a third.
    spacing
        Pixels from one region to the next.
    """

    classes: int
    spatial: tuple[int, ...]
    active: int
    sharpness: float = 12.0
    spacing: int = 48

    def draw(self, seed: int = 0) -> np.ndarray:
        """Return probabilities of shape (1, class, *spatial), float32."""
        rng = np.random.default_rng(seed)
        sharpness, bias = np.full(self.classes, 2.5), np.full(self.classes, -8.0)
        owners = rng.permutation(self.classes)[: self.active]
        sharpness[owners] = np.linspace(self.sharpness, self.sharpness / 3, self.active)
        bias[owners] = np.linspace(0, -3, self.active)
        logits = np.empty((self.classes, *self.spatial), np.float32)
        for c in range(self.classes):
            rng.standard_normal(out=logits[c], dtype=np.float32)
            logits[c] *= 0.3
            logits[c] += sharpness[c] * smooth_field(rng, self.spatial, self.spacing) + bias[c]
        logits -= np.max(logits, axis=0)
        probs = np.exp(logits, out=logits)
        probs /= np.sum(probs, axis=0)
        return probs[None]

    def draw_batch(self, count: int) -> np.ndarray:
        """Return probabilities of shape (count, class, *spatial), each sample of its own seed."""
        return np.concatenate([self.draw(seed) for seed in range(count)])


def smooth_field(rng: np.random.Generator, spatial: tuple[int, ...], spacing: int) -> np.ndarray:
    """Return white noise at nodes `spacing` pixels apart, blurred between them to variance 1."""
    margin = 2
    field = rng.standard_normal([n // spacing + 2 * margin + 1 for n in spatial], np.float32)
    for n in spatial:
        nodes = np.arange(-margin, n // spacing + margin + 1)
        distance = np.arange(n)[:, None] / spacing - nodes
        weight = np.exp(-0.8 * distance**2)
        weight /= np.sqrt(np.sum(weight**2, axis=1, keepdims=True))
        field = np.tensordot(field, weight.astype(np.float32), axes=(0, 1))
    return field


SCENES = {
    "21x512x512": Scene(21, (512, 512), active=10),
    "19x1024x2048": Scene(19, (1024, 2048), active=12),
    "150x512x512": Scene(150, (512, 512), active=14),
    "3x192x256x256": Scene(3, (192, 256, 256), active=3, sharpness=6.0, spacing=24),
}

REAL = "11x360x480"
STAND_IN = Scene(11, (360, 480), active=10)
SHAPES = [REAL, *SCENES]


def load(shape: str) -> tuple[str, np.ndarray]:
    """Return the name and the probabilities, (1, class, *spatial), of one of `SHAPES`.

    Without RANKSEG_DATA a generated map stands in for the real one, and its name says so.
    """
    if shape != REAL:
        return shape, SCENES[shape].draw()
    if data_folder() is None:
        return f"{REAL} (generated)", STAND_IN.draw()
    return f"{REAL} (real)", next(frames("camvid_espnet_f16"))


def frames(collection: str) -> Iterator[np.ndarray]:
    """Yield each stored frame of CamVid as float32 probabilities, (1, 11, 360, 480).

    `collection` is "camvid_espnet" (60 frames, uint8) or "camvid_espnet_f16" (4 frames).
    """
    folder = data_folder()
    files = sorted(Path(folder, collection).glob("*.npz")) if folder else []
    if folder and not files:
        say(f"NOT FOUND: no .npz in {collection} of RANKSEG_DATA")
    for file in files:
        with np.load(file) as stored:
            probs = stored["probs"].astype(np.float32)
        yield (probs / np.sum(probs, axis=0))[None]


def describe(name: str, probs: np.ndarray) -> list[str]:
    """Return a row: active classes, pixels in conflict, how certain the pixels are."""
    from rankseg import thresholds

    found = thresholds(probs)
    cut = found.threshold.reshape(*probs.shape[:2], *[1] * (probs.ndim - 2))
    votes = np.count_nonzero(probs > cut, axis=1)
    certainty = np.quantile(np.max(probs, axis=1), [0.05, 0.25, 0.5])
    return [
        name,
        f"{np.count_nonzero(found.active)} of {probs.shape[1]}",
        f"{np.mean(votes == 0):.2%}",
        f"{np.mean(votes > 1):.2%}",
        " / ".join(f"{value:.2f}" for value in certainty),
    ]


def main() -> None:
    columns = ["map", "active classes", "selected by none", "by several", "max p: 5 / 25 / 50 %"]
    print(table(columns, [describe(*load(shape)) for shape in SHAPES]))


if __name__ == "__main__":
    main()
