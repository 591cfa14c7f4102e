"""What ``rankseg predict`` does: probabilities of files to labels in files, sample by sample."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..activations import sigmoid, softmax
from ..files import replacing
from ..plotting import class_colours, comparison_figure, save_png
from ..predictor import RankSEG
from ..validation import VOID_INDEX
from .errors import CommandError, describe
from .files import (
    READABLE,
    WRITABLE,
    read_array,
    read_image,
    write_npy,
    write_png,
)

Track = Callable[[Iterable[int]], Iterable[int]]

_ACTIVATIONS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "none": lambda values, axis: values,
    "softmax": softmax,
    "sigmoid": lambda values, axis: sigmoid(values),
}
_PALETTE_SIZE = 256


@dataclass(frozen=True)
class Options:
    """How files are read and segmented.

    `settings` are arguments of `RankSEG`. `batched` None stands for the rule by number of axes,
    and `class_axis` None for the first axis of a sample.
    """

    settings: dict[str, Any]
    activation: str = "none"
    key: str | None = None
    batched: bool | None = None
    class_axis: int | None = None

    def check(self) -> None:
        """Refuse settings that no file could be segmented with."""
        try:
            RankSEG(**self.settings)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise CommandError(describe(error)) from error


class Prediction:
    """The labels of one file, each sample computed when it is asked for.

    An array with three axes is one sample (class, *spatial), one with four or more is a batch of
    samples, unless the options say otherwise; one with two needs them to.
    """

    def __init__(self, path: Path, options: Options) -> None:
        self.path, self.options = path, options
        array = read_array(path, options.key)
        if array.ndim == 2 and options.batched is None:
            raise CommandError(
                f"{path}: shape {array.shape} may be one map without a class axis; "
                "--no-batched reads it as (class, pixels)"
            )
        self.batched = array.ndim >= 4 if options.batched is None else options.batched
        self.class_axis = self._check_class_axis(array.shape)
        if not self.batched:
            array, self.class_axis = array[None], self.class_axis + 1
        self.array = array

    def _check_class_axis(self, shape: tuple[int, ...]) -> int:
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
        """The bool of masks, or the smallest integers that hold the labels."""
        if self.multilabel:
            return np.dtype(bool)
        classes = np.min_scalar_type(self.classes - 1)
        if self.options.settings.get("unassigned_policy") != "void":
            return classes
        void_index = self.options.settings.get("void_index", VOID_INDEX)
        return np.result_type(classes, np.min_scalar_type(void_index))

    @property
    def is_picture(self) -> bool:
        """Whether the labels are one two-dimensional map."""
        return not self.multilabel and len(self.array) == 1 and self.array.ndim == 4

    def probabilities(self, index: int) -> np.ndarray:
        """Return the probabilities of one sample, with a batch axis of one."""
        values = self.array[index : index + 1]
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        return _ACTIVATIONS[self.options.activation](values, self.class_axis)

    def labels(self, index: int) -> np.ndarray:
        """Return the labels of one sample, with a batch axis of one."""
        probs = self.probabilities(index)
        try:
            return RankSEG(**self.options.settings, class_axis=self.class_axis).predict(probs)
        except (TypeError, ValueError, NotImplementedError) as error:
            hint = ""
            if self.options.activation == "none" and (probs.min() < 0 or probs.max() > 1):
                hint = " (--activation softmax or sigmoid turns logits into probabilities)"
            raise CommandError(f"{self.path}: {describe(error)}{hint}") from error


def plan(source: Path, output: Path, form: str | None) -> list[tuple[Path, Path]]:
    """Pair each file to be read with the file to be written.

    Parameters
    ----------
    source, output : Path
        Two files, or two folders, or a file and a folder for its result.
    form : str, optional
        Suffix of files written to a folder, ".npy" if not given.
    """
    if not source.exists():
        raise CommandError(f"{source}: no such file or folder")
    if output.suffix.lower() in WRITABLE and not output.is_dir():
        if source.is_dir():
            raise CommandError(f"{output}: the results of a folder go to a folder")
        if form is not None:
            raise CommandError("--format is for an output folder; a file's own name says it")
        pairs = [(source, output)]
    elif output.is_dir() or not output.suffix:
        files = _readable_files(source) if source.is_dir() else [source]
        pairs = [(file, output / f"{file.stem}{form or WRITABLE[0]}") for file in files]
    else:
        raise CommandError(f"{output}: expected a folder, or a file named {', '.join(WRITABLE)}")
    for file, result in pairs:
        if file.resolve() == result.resolve():
            raise CommandError(f"{result}: would overwrite its own input")
    return pairs


def _readable_files(folder: Path) -> list[Path]:
    files = [
        file
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in READABLE and not file.name.startswith(".")
    ]
    if not files:
        raise CommandError(f"{folder}: no file named {', '.join(READABLE)} in it")
    stems = [file.stem for file in files]
    for file in files:
        if stems.count(file.stem) > 1:
            raise CommandError(f"{folder}: several files are called {file.stem}")
    return files


def predict_file(
    source: Path,
    output: Path,
    options: Options,
    *,
    picture: Path | None = None,
    image: Path | None = None,
    track: Track = iter,
) -> str:
    """Write the labels of one file, and a comparison with argmax if `picture` names its file.

    Both files are written completely or not at all.

    Returns
    -------
    str
        The output's name, shape, dtype and number of classes, for the user.
    """
    prediction = Prediction(source, options)
    as_png = output.suffix.lower() == ".png"
    if as_png and not (prediction.is_picture and prediction.classes <= _PALETTE_SIZE):
        raise CommandError(
            f"{source}: a PNG holds the labels of one two-dimensional sample with up to "
            f"{_PALETTE_SIZE} classes; write a .npy file"
        )
    if picture is not None and not prediction.is_picture:
        raise CommandError(f"{source}: --compare draws labels of one two-dimensional sample")

    with ExitStack() as stack:
        target = stack.enter_context(replacing(output, overwrite=True))
        results = _results(prediction, track)
        if as_png or picture is not None:
            labels = next(results)
            results = iter([labels])
        if picture is not None:
            panel = None if image is None else read_image(image)
            argmax = prediction.probabilities(0).argmax(axis=prediction.class_axis)
            figure = comparison_figure(argmax[0], labels[0], prediction.classes, panel)
            save_png(figure, stack.enter_context(replacing(picture, overwrite=True)))
        if as_png:
            write_png(target, labels[0], class_colours(prediction.classes))
        else:
            write_npy(target, results, prediction.shape, prediction.dtype)
    return f"{output}: shape {prediction.shape}, {prediction.dtype}, {prediction.classes} classes"


def _results(prediction: Prediction, track: Track) -> Iterator[np.ndarray]:
    for index in track(range(len(prediction.array))):
        yield prediction.labels(index)
