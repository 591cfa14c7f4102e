"""Temperature and vector scaling, fitted by likelihood to a sample of labelled pixels."""

from typing import NamedTuple

import numpy as np

from ...activations import sigmoid
from ...calibration import KINDS, Calibration
from ...settings import Settings
from ...validation import choice, number

LEAST_SCALE = 0.05
"""Scales below this would turn the order of a class's pixels into noise, or around."""

_STEPS = 100
_GRADIENT = 1e-9
_DIGITS = 6  # more would only make files hard to read


class Sample(NamedTuple):
    """Probabilities (pixel, class) and labels of pixels.

    Labels are classes (pixel,), or in multilabel bool (pixel, class).
    """

    probs: np.ndarray
    labels: np.ndarray


def sample_pixels(
    probs: np.ndarray,
    labels: np.ndarray,
    count: int,
    rng: np.random.Generator,
    void_index: int = Settings.void_index,
) -> Sample:
    """Draw pixels of one case, without replacement and without void.

    Parameters
    ----------
    probs : array, shape (class, *spatial)
        Probabilities.
    labels : int array of shape (*spatial), or bool array of the shape of `probs`
        Truth.
    count : int
        How many pixels, at most.
    rng : numpy.random.Generator
        Source of the draw.
    void_index : int, default 255
        Label of pixels that do not count.

    Returns
    -------
    Sample
        Of at most `count` pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from rankseg.evaluation.tuning.fit import sample_pixels
    >>> probs = np.array([[0.9, 0.2, 0.5], [0.1, 0.8, 0.5]])
    >>> drawn = sample_pixels(probs, np.array([0, 1, 255]), 10, np.random.default_rng(0))
    >>> sorted(drawn.labels.tolist())
    [0, 1]
    """
    classes = len(probs)
    flat = probs.reshape(classes, -1)
    if labels.dtype == bool:
        pixels = np.arange(flat.shape[1])
        truth: np.ndarray = labels.reshape(classes, -1).T
    else:
        truth = labels.reshape(-1)
        pixels = np.flatnonzero(truth != void_index)
    pixels = rng.choice(pixels, min(count, len(pixels)), replace=False)
    return Sample(np.asarray(flat[:, pixels].T, np.float64), truth[pixels])


def fit(kind: str, sample: Sample, prior: float = 0.0) -> Calibration:
    """Return the calibration of greatest likelihood.

    Parameters
    ----------
    kind : {"temperature", "vector"}
        As in `rankseg.calibration.Calibration`.
    sample : Sample
        Pixels. The dtype of the labels says whether they are multiclass or multilabel.
    prior : float, default 0.0
        Weight of half the squared distance of scales from 1 and of biases from 0, added to the
        mean loss of a pixel. It decides where the labels do not: a class that the sample lacks
        keeps most of its probability, and one with few pixels is moved with care. `tune` takes
        one over the number of images: pixels of one image are alike, so each image counts as one
        observation beside a standard normal prior.

    Returns
    -------
    Calibration
        With `floor` at half the least positive probability if there are zeros. Scales are at
        least `LEAST_SCALE`.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or value, or there is no pixel.
    RuntimeError
        If the gradient does not vanish, which a convex loss of finite input rules out.

    Notes
    -----
    The loss is convex in scale and bias; Newton's method with step halving finds its minimum.

    Examples
    --------
    Nine of ten claims of 99 % hold:

    >>> import numpy as np
    >>> from rankseg.evaluation.tuning.fit import Sample, fit
    >>> sample = Sample(np.tile([0.99, 0.01], (10, 1)), np.array([0] * 9 + [1]))
    >>> found = fit("temperature", sample)
    >>> found(np.array([0.99, 0.01]).reshape(1, 2, 1)).ravel().round(3)
    array([0.9, 0.1])
    """
    kind = choice("kind", kind, KINDS)
    prior = number("prior", prior, 0, float("inf"))
    if not len(sample.labels):
        raise ValueError("sample must have at least one labelled pixel")
    floor = _floor(sample.probs)
    loss = _Loss(sample, floor)
    classes = sample.probs.shape[1]
    start = np.repeat([1.0, 0.0], classes)
    if kind == "temperature":
        single = float(_minimum(loss, start, start[:, None], prior)[0])
        return Calibration(kind, round(max(single, LEAST_SCALE), _DIGITS), floor=floor)
    directions = np.eye(2 * classes)
    while True:
        found = _minimum(loss, start, directions, prior)
        low = np.flatnonzero(found[:classes] < LEAST_SCALE)
        if not len(low):
            break
        start[low], directions[low] = LEAST_SCALE, 0  # held there while the others are fitted
    scale, bias = found.round(_DIGITS).reshape(2, classes).tolist()
    return Calibration(kind, tuple(scale), tuple(bias), floor)


def _floor(probs: np.ndarray) -> float:
    if probs.min() > 0:
        return Calibration.floor
    half_step = probs.min(where=probs > 0, initial=0.2) / 2
    return float(f"{np.clip(half_step, 1e-30, 0.1):.4g}")


class _Loss:
    """Mean negative log-likelihood of a pixel with its two derivatives."""

    def __init__(self, sample: Sample, floor: float) -> None:
        self.multilabel = sample.labels.dtype == bool
        p, classes = sample.probs, sample.probs.shape[1]
        if self.multilabel:
            p = np.clip(p, floor, 1 - floor)
            self.x, self.truth = np.log(p) - np.log1p(-p), sample.labels
        else:
            self.x = np.log(np.clip(p, floor, 1))
            self.truth = sample.labels[:, None] == np.arange(classes)

    def __call__(self, numbers: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Return value, gradient and Hessian at scales followed by biases."""
        x, (pixels, classes) = self.x, self.x.shape
        z = x * numbers[:classes] + numbers[classes:]
        if self.multilabel:
            value = np.sum(np.logaddexp(0, z) - self.truth * z) / pixels
            q = sigmoid(z)
            weight = q * (1 - q)
        else:
            z -= z.max(axis=1, keepdims=True)
            total = np.exp(z).sum(axis=1, keepdims=True)
            value = np.sum(np.log(total)) / pixels - np.sum(z, where=self.truth) / pixels
            weight = q = np.exp(z) / total
        excess = q - self.truth
        gradient = np.concatenate([(excess * x).sum(axis=0), excess.sum(axis=0)]) / pixels
        curvature = [(weight * x**n).sum(axis=0) / pixels for n in range(3)]
        hessian = np.block(
            [
                [np.diag(curvature[2]), np.diag(curvature[1])],
                [np.diag(curvature[1]), np.diag(curvature[0])],
            ]
        )
        if not self.multilabel:  # classes of a pixel share one sum
            each = np.concatenate([q * x, q], axis=1)
            hessian -= each.T @ each / pixels
        return float(value), gradient, hessian


def _minimum(loss: _Loss, start: np.ndarray, directions: np.ndarray, prior: float) -> np.ndarray:
    """Minimise over ``start + directions @ u``, with `prior` times half the square of u."""

    def penalised(u: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        value, gradient, hessian = loss(start + directions @ u)
        return (
            value + prior / 2 * float(u @ u),
            directions.T @ gradient + prior * u,
            directions.T @ hessian @ directions + prior * np.eye(len(u)),
        )

    u = np.zeros(directions.shape[1])
    value, gradient, hessian = penalised(u)
    for _ in range(_STEPS):
        if np.abs(gradient).max() < _GRADIENT:
            break
        # Least squares: without a prior, a bias common to all classes changes nothing.
        step = np.linalg.lstsq(hessian, -gradient, rcond=1e-12)[0]
        trial = penalised(u + step)
        while trial[0] > value + 1e-14 and np.abs(step).max() > 1e-12:
            step = step / 2
            trial = penalised(u + step)
        u, (value, gradient, hessian) = u + step, trial
    if np.abs(gradient).max() > 1e3 * _GRADIENT:
        raise RuntimeError(f"no fit: the gradient stays at {np.abs(gradient).max():.1g}")
    return start + directions @ u
