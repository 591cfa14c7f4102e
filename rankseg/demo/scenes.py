"""Small aerial scenes, drawn at random, whose true labels are known to the pixel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

CLASSES = ("grass", "water", "forest", "road", "roof", "car")
SIZE = 64  # a product of two such matrices is too small for BLAS to start threads

_COLOURS = np.array(
    [
        (0.42, 0.50, 0.30),
        (0.30, 0.42, 0.46),
        (0.27, 0.39, 0.25),
        (0.50, 0.48, 0.46),
        (0.56, 0.42, 0.35),
        (0.60, 0.58, 0.60),
    ]
)
_TEXTURE_SCALE = (1.0, 4.0, 1.5, 1.0, 2.0, 1.0)
_TEXTURE_STRENGTH = (0.05, 0.02, 0.09, 0.03, 0.04, 0.10)


@dataclass(frozen=True)
class Scenes:
    """Images (number, size, size, 3) in [0, 1] and their labels (number, size, size)."""

    images: np.ndarray
    labels: np.ndarray


def blur_matrix(size: int, sigma: float) -> np.ndarray:
    """Gaussian blur of one axis as a matrix K: ``K @ image @ K.T`` blurs an image.

    Its lines add up to 1, so that the border is an average of what lies inside.
    """
    distance = np.subtract.outer(np.arange(size), np.arange(size))
    kernel = np.exp(-0.5 * (distance / sigma) ** 2)
    return kernel / kernel.sum(axis=1, keepdims=True)


def make_scenes(number: int, rng: np.random.Generator) -> Scenes:
    """Draw `number` scenes: fields, water, forest, a road, roofs and cars a few pixels long.

    Every scene has its own light, haze, blur and noise, and every object its own tint, so that
    borders and small objects are hard to tell apart, as they are in a real photograph.
    """
    labels = np.stack([_draw_labels(rng) for _ in range(number)])
    images = np.stack([_render(label, rng) for label in labels])
    return Scenes(images.astype(np.float32), labels)


def _draw_labels(rng: np.random.Generator) -> np.ndarray:
    label = np.zeros((SIZE, SIZE), dtype=np.int64)
    for index, sigma in ((CLASSES.index("water"), 8.0), (CLASSES.index("forest"), 5.0)):
        label[_smooth_noise(rng, sigma) > rng.uniform(0.5, 1.8)] = index
    for _ in range(rng.integers(0, 6)):
        centre, sides = rng.uniform(0, SIZE, 2).tolist(), rng.uniform(4, 13, 2).tolist()
        shape = _rectangle(centre, sides, rng.uniform(0, np.pi))
        label[shape] = CLASSES.index("roof")
    if rng.random() < 0.8:
        _draw_road(label, rng)
    return label


def _draw_road(label: np.ndarray, rng: np.random.Generator) -> None:
    """Draw a bending road, down or across the scene, and cars on it and beside it."""
    if rng.random() < 0.5:
        label = label.T
    phase, start, slope = rng.uniform(0, 2 * np.pi), rng.uniform(15, SIZE - 15), rng.normal(0, 0.3)
    swing, bends, width = rng.uniform(2, 9), rng.uniform(0.03, 0.08), rng.uniform(3, 6)
    y, x = np.indices(label.shape)

    def height(x: Any) -> Any:
        return start + slope * (x - SIZE / 2) + swing * np.sin(bends * x + phase)

    steep = slope + swing * bends * np.cos(bends * x + phase)
    label[np.abs(y - height(x)) < 0.5 * width * np.hypot(1, steep)] = CLASSES.index("road")
    for _ in range(rng.integers(0, 5)):
        column = rng.uniform(4, SIZE - 4)
        centre = (height(column) + rng.normal(0, 0.25 * width), column)
        heading = np.arctan(slope + swing * bends * np.cos(bends * column + phase))
        label[_rectangle(centre, (2.2, 4.4), heading)] = CLASSES.index("car")


def _rectangle(centre: Sequence[float], sides: Sequence[float], angle: float) -> np.ndarray:
    y, x = np.indices((SIZE, SIZE), dtype=float)
    y, x = y - centre[0], x - centre[1]
    across = y * np.cos(angle) - x * np.sin(angle)
    along = y * np.sin(angle) + x * np.cos(angle)
    return (np.abs(across) <= sides[0] / 2) & (np.abs(along) <= sides[1] / 2)


def _smooth_noise(rng: np.random.Generator, sigma: float) -> np.ndarray:
    blur = blur_matrix(SIZE, sigma)
    field = blur @ rng.normal(size=(SIZE, SIZE)) @ blur.T
    return (field - field.mean()) / field.std()


def _render(label: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    image = np.empty((SIZE, SIZE, 3))
    for index, colour in enumerate(_COLOURS):
        inside = label == index
        tint = _smooth_noise(rng, 9.0)[..., None] * rng.normal(0, 0.03, 3)
        texture = _TEXTURE_STRENGTH[index] * _smooth_noise(rng, _TEXTURE_SCALE[index])
        drawn = colour + rng.normal(0, 0.025, 3) + tint + texture[..., None]
        image[inside] = drawn[inside]
    blur = blur_matrix(SIZE, rng.uniform(0.7, 1.6))
    image = np.moveaxis(blur @ np.moveaxis(image, -1, 0) @ blur.T, 0, -1)
    light = 1 + rng.normal(0, 0.08) + 0.1 * _smooth_noise(rng, 25.0)[..., None]
    return np.clip(image * light + rng.normal(0, 0.08, image.shape), 0, 1)
