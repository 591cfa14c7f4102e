"""Probabilities of a file to labels in a file, sample by sample."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..activations import activate
from ..io.reading import (
    PROBS_KEYS,
    as_probabilities,
    divisor_of,
    is_nifti,
    read_array,
    read_image,
    suffix_of,
)
from ..io.replacing import replacing
from ..io.writing import write_nifti, write_npy, write_png
from ..plotting import class_colours, comparison_figure, save_png
from ..predictor import RankSEG
from ..settings import Settings
from .errors import CommandError, describe, library_errors

Track = Callable[[Iterable[int]], Iterable[int]]


@dataclass(frozen=True)
class Options:
    """How files are read and segmented.

    `settings` are arguments of `RankSEG`. `batched` None stands for the rule by number of axes,
    `class_axis` None for the first axis of a sample, and `scale` None for the rule by dtype.
    """

    settings: dict[str, Any]
    activation: str | None = None
    batched: bool | None = None
    class_axis: int | None = None
    scale: float | None = None
    key: str | None = None

    def check(self) -> None:
        """Refuse settings that no file could be segmented with."""
        if self.scale is not None and not 0 < self.scale < np.inf:
            raise CommandError(f"--scale must be positive and finite, found {self.scale:g}")
        with library_errors():
            RankSEG(**self.settings)


class Prediction:
    """The labels of one file, each sample computed when it is asked for.

    An array with three axes is one sample (class, *spatial), one with four or more is a batch of
    samples, unless the options say otherwise; one with two needs them to. A NIfTI file is one
    sample, and whether its classes come first or last is for the options to say.

    Attributes
    ----------
    array : array
        Values of the file, as a batch; of one sample if the file is one.
    batched : bool
        Whether the file is a batch.
    class_axis : int
        Axis of the classes in `array`.
    divisor : float or None
        Value of the file that stands for probability 1, None for 1 itself.
    """

    def __init__(self, path: Path, options: Options) -> None:
        self.path, self.options = path, options
        with library_errors():
            array = read_array(path, options.key, PROBS_KEYS)
        self.divisor = divisor_of(array.dtype, options.scale)
        self._refuse_to_guess(array)
        self._refuse_scaled_logits(array.dtype)
        by_axes = array.ndim >= 4 and not is_nifti(path)
        self.batched = by_axes if options.batched is None else options.batched
        class_axis = self._find_class_axis(array.shape)
        self.array = array if self.batched else array[None]
        self.class_axis = class_axis if self.batched else class_axis + 1

    def _refuse_to_guess(self, array: np.ndarray) -> None:
        """Refuse an array whose axes are not clear as long as no option says what they are."""
        batched, class_axis = self.options.batched, self.options.class_axis
        found = f"{self.path}: shape {array.shape}"
        if array.ndim == 2 and batched is None:
            raise CommandError(
                f"{found} may be one map without a class axis; --no-batched reads it as "
                "(class, pixels)"
            )
        if is_nifti(self.path):
            if class_axis is None:
                raise CommandError(
                    f"{found} does not tell the classes from the spatial axes; --class-axis does, "
                    "-1 for the last"
                )
        elif batched is None and class_axis is None and self._looks_like_a_volume(array):
            raise CommandError(
                f"{found} may be one volume (class, *spatial), as values sum to 1 over the first "
                "axis: --no-batched, or --batched if it is a batch"
            )

    def _looks_like_a_volume(self, array: np.ndarray) -> bool:
        """Say of four axes or more whether the first, not the second, is that of the classes."""
        if array.ndim < 4 or self.multilabel:
            return False
        few: Any = (..., *[slice(None, None, max(1, size // 16)) for size in array.shape[2:]])
        values = as_probabilities(array[few], self.divisor)
        first, second = (np.allclose(values.sum(axis=axis), 1, atol=0.05) for axis in (0, 1))
        return first and not second

    def _refuse_scaled_logits(self, dtype: np.dtype) -> None:
        if self.divisor is not None and self.options.activation is not None:
            raise CommandError(
                f"{self.path}: scaled probabilities ({dtype}) take no --activation, which is for "
                "floating-point logits"
            )

    def _find_class_axis(self, shape: tuple[int, ...]) -> int:
        """Return the axis of the classes, counted from the front of the array of the file."""
        layout = "(batch, class, *spatial)" if self.batched else "(class, *spatial)"
        if len(shape) < 2 + self.batched or 0 in shape:
            raise CommandError(f"{self.path}: expected a non-empty {layout}, found shape {shape}")
        axis = self.options.class_axis
        if axis is None:
            return int(self.batched)
        if not -len(shape) <= axis < len(shape) or (self.batched and axis % len(shape) == 0):
            raise CommandError(f"{self.path}: no class axis {axis} in an array of shape {shape}")
        return axis % len(shape)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.array.shape[self.class_axis]

    @property
    def multilabel(self) -> bool:
        """Whether labels are masks, one for each class."""
        return self.options.settings["output_mode"] == "multilabel"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the labels of the whole file."""
        shape = list(self.array.shape)
        if not self.multilabel:
            del shape[self.class_axis]
        return tuple(shape if self.batched else shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """The bool of masks, or the smallest integers that hold the labels, void among them."""
        if self.multilabel:
            return np.dtype(bool)
        classes = np.min_scalar_type(self.classes - 1)
        if self.options.settings.get("unassigned_policy") != "void":
            return classes
        void_index = self.options.settings.get("void_index", Settings.void_index)
        return np.result_type(classes, np.min_scalar_type(void_index))

    @property
    def is_picture(self) -> bool:
        """Whether the labels are one two-dimensional map."""
        return not self.multilabel and len(self.array) == 1 and self.array.ndim == 4

    def probabilities(self, index: int) -> np.ndarray:
        """Return the probabilities of one sample, with a batch axis of one."""
        values = as_probabilities(self.array[index : index + 1], self.divisor)
        with library_errors():
            return activate(values, self.options.activation, self.class_axis)

    def labels(self, index: int) -> np.ndarray:
        """Return the labels of one sample, with a batch axis of one."""
        probs = self.probabilities(index)
        try:
            return RankSEG(**self.options.settings, class_axis=self.class_axis).predict(probs)
        except (TypeError, ValueError) as error:
            hint = ""
            plain = self.options.activation is None and self.divisor is None
            if plain and isinstance(error, ValueError) and (probs.min() < 0 or probs.max() > 1):
                hint = " (--activation softmax or sigmoid turns logits into probabilities)"
            raise CommandError(f"{self.path}: {describe(error)}{hint}") from error


def predict_file(
    source: Path,
    output: Path,
    options: Options,
    *,
    overwrite: bool,
    picture: Path | None = None,
    image: Path | None = None,
    track: Track = iter,
) -> list[str]:
    """Write the labels of one file, and a comparison with argmax if `picture` names its file.

    Both files are written completely or not at all.

    Returns
    -------
    list of str
        For the user: the output's name, shape, dtype and number of classes; and what was done to
        the probabilities, if anything.
    """
    prediction = Prediction(source, options)
    suffix = suffix_of(output)
    if suffix == ".png" and not (prediction.is_picture and prediction.dtype == np.uint8):
        raise CommandError(
            f"{source}: a PNG holds the labels of one two-dimensional sample with up to 256 "
            "classes, and a void_index from 0 to 255; write a .npy file"
        )
    if is_nifti(output) and prediction.batched:
        raise CommandError(f"{source}: NIfTI holds one sample, not a batch; write a .npy file")
    if picture is not None and not prediction.is_picture:
        raise CommandError(f"{source}: --compare draws labels of one two-dimensional sample")

    with ExitStack() as stack:
        target = stack.enter_context(replacing(output, overwrite))
        results = _results(prediction, track)
        if suffix != ".npy" or picture is not None:
            labels = next(results)
            results = iter([labels])
        if picture is not None:
            with library_errors():
                panel = None if image is None else read_image(image)
            argmax = prediction.probabilities(0).argmax(axis=prediction.class_axis)
            figure = comparison_figure(argmax[0], labels[0], prediction.classes, panel)
            save_png(figure, stack.enter_context(replacing(picture, overwrite)))
        if suffix == ".png":
            write_png(target, labels[0], class_colours(prediction.classes))
        elif is_nifti(output):
            write_nifti(target, labels[0].astype(prediction.dtype), source)
        else:
            write_npy(target, results, prediction.shape, prediction.dtype)
    size = f"shape {prediction.shape}, {prediction.dtype}, {prediction.classes} classes"
    divided = prediction.divisor is not None
    note = [f"probabilities were divided by {prediction.divisor:g}"] if divided else []
    return [f"{output}: {size}", *note]


def _results(prediction: Prediction, track: Track) -> Iterator[np.ndarray]:
    for index in track(range(len(prediction.array))):
        yield prediction.labels(index)
