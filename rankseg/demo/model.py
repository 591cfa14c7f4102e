"""A segmentation model small enough to train while one waits, in plain NumPy."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Self

import numpy as np

from ..activations import softmax
from .scenes import blur_matrix

_SCALES = (1.0, 2.0, 4.0, 8.0)
_RATE, _DECAY, _DECAY_OF_SQUARES = 3e-3, 0.9, 0.999

Weights = list[np.ndarray]


def pixel_features(images: np.ndarray) -> np.ndarray:
    """Return what the model sees of a pixel: its colour, and local mean and contrast around it.

    Parameters
    ----------
    images : array, shape (number, size, size, 3)
        Colour images.

    Returns
    -------
    array, shape (number, size, size, features)
        The three colours, and three means and one contrast at each of four scales.
    """
    planes = np.ascontiguousarray(np.moveaxis(images, -1, 1))
    features = [planes]
    for sigma in _SCALES:
        blur = blur_matrix(images.shape[1], sigma).astype(images.dtype)
        mean = blur @ planes @ blur.T
        variance = ((planes - mean) ** 2).mean(axis=1, keepdims=True)
        features += [mean, np.sqrt(blur @ variance @ blur.T)]
    return np.moveaxis(np.concatenate(features, axis=1), 1, -1)


class PixelMLP:
    """A perceptron with two hidden layers that labels each pixel from its features.

    Parameters
    ----------
    num_classes : int
        How many classes there are.
    seed : int
        Fixes the initial weights and the order of the training pixels.
    hidden : tuple of int, default (64, 32)
        Widths of the hidden layers.
    """

    def __init__(self, num_classes: int, seed: int, hidden: tuple[int, ...] = (64, 32)) -> None:
        self.num_classes = num_classes
        self.hidden = hidden
        self.rng = np.random.default_rng(seed)

    def fit(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        *,
        class_weights: np.ndarray | None = None,
        steps: int = 6000,
        batch: int = 128,
    ) -> Self:
        """Train on random pixels with cross-entropy, weighted by class if so wished, and Adam.

        The batches are small enough that BLAS starts no threads, which on a busy machine would
        spend their time waiting for each other.
        """
        inputs, labels = features.reshape(-1, features.shape[-1]), labels.reshape(-1)
        self.mean, self.scale = inputs.mean(axis=0), inputs.std(axis=0)
        targets = np.eye(self.num_classes, dtype=inputs.dtype)
        if class_weights is None:
            class_weights = np.ones(self.num_classes)
        importance = class_weights / class_weights[labels].mean()
        self.weights = self._initial_weights((inputs.shape[1], *self.hidden, self.num_classes))
        adam = _Adam(self.weights)
        for step in range(steps):
            drawn = self.rng.integers(len(inputs), size=batch)
            classes = labels[drawn]
            pixels = (inputs[drawn] - self.mean) / self.scale
            gradients = self._gradients(pixels, targets[classes], importance[classes, None])
            adam.update(gradients, rate=_RATE * 0.5 * (1 + np.cos(np.pi * step / steps)))
        return self

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Return (number, class, height, width) for features (number, height, width, feature)."""
        probs = [softmax(self._layers((scene - self.mean) / self.scale)[-1]) for scene in features]
        return np.ascontiguousarray(np.moveaxis(np.stack(probs), -1, 1))

    def _initial_weights(self, widths: Sequence[int]) -> Weights:
        weights: Weights = []
        for before, after in pairwise(widths):
            draw = self.rng.normal(0, np.sqrt(2 / before), size=(before, after))
            weights += [draw.astype(np.float32), np.zeros(after, dtype=np.float32)]
        return weights

    def _layers(self, inputs: np.ndarray) -> list[np.ndarray]:
        """Return inputs, activations of the hidden layers, and logits."""
        layers = [inputs]
        for matrix, bias in zip(self.weights[:-2:2], self.weights[1:-2:2], strict=True):
            layers.append(np.maximum(layers[-1] @ matrix + bias, 0))
        return [*layers, layers[-1] @ self.weights[-2] + self.weights[-1]]

    def _gradients(
        self, inputs: np.ndarray, targets: np.ndarray, importance: np.ndarray
    ) -> Weights:
        *layers, logits = self._layers(inputs)
        error = ((softmax(logits) - targets) * importance / len(inputs)).astype(inputs.dtype)
        gradients: Weights = []
        for layer, matrix in zip(layers[::-1], self.weights[-2::-2], strict=True):
            gradients = [layer.T @ error, error.sum(axis=0), *gradients]
            error = (error @ matrix.T) * (layer > 0)
        return gradients


class _Adam:
    """Adam with its usual constants, changing the weights in place."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.means = [np.zeros_like(weight) for weight in weights]
        self.squares = [np.zeros_like(weight) for weight in weights]
        self.count = 0

    def update(self, gradients: Weights, rate: float) -> None:
        self.count += 1
        rate *= np.sqrt(1 - _DECAY_OF_SQUARES**self.count) / (1 - _DECAY**self.count)
        for weight, mean, square, gradient in zip(
            self.weights, self.means, self.squares, gradients, strict=True
        ):
            mean += (1 - _DECAY) * (gradient - mean)
            square += (1 - _DECAY_OF_SQUARES) * (gradient**2 - square)
            weight -= np.float32(rate) * mean / (np.sqrt(square) + np.float32(1e-8))
