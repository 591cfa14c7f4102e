"""The labels of a prediction to a file, in the format that the file's name says."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from ..io.clusters import cluster
from ..io.reading import ITK, is_nifti, read_image, suffix_of
from ..io.replacing import replacing
from ..io.stores import slabs_of_chunks, write_zarr
from ..io.writing import npy_target, write_nifti, write_npy, write_png, write_tiff, write_whole
from ..plotting import class_colours, comparison_figure, save_png
from .errors import CommandError, library_errors
from .prediction import Options, Prediction

Track = Callable[[Iterable[int]], Iterable[int]]


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
    small = prediction.dtype in (np.uint8, bool)
    if suffix == ".png" and not (prediction.is_picture and small):
        raise CommandError(
            f"{source}: a PNG holds the labels of one two-dimensional sample with up to 256 "
            "classes, and a void_index from 0 to 255; write a .npy file"
        )
    if is_nifti(output) and prediction.batched:
        raise CommandError(f"{source}: NIfTI holds one sample, not a batch; write a .npy file")
    if suffix in ITK and prediction.batched:
        raise CommandError(f"{source}: {suffix} holds one sample, not a batch; write a .npy file")
    if picture is not None and not prediction.is_picture:
        raise CommandError(f"{source}: --compare draws labels of one two-dimensional sample")

    if prediction.lazy:
        if picture is not None:
            raise CommandError(f"{source}: --compare draws what fits in memory, not {source.name}")
        return _predict_lazily(prediction, output, overwrite)
    with ExitStack() as stack:
        target = stack.enter_context(replacing(output, overwrite))
        results = _results(prediction, track)
        if (suffix != ".npy" and not prediction.batched) or picture is not None:
            labels = next(results)
            results = iter([labels])
        if picture is not None:
            with library_errors():
                panel = None if image is None else read_image(image)
            if panel is not None:
                _check_proportions(image, panel, prediction.picture(labels))
            before = prediction.picture(prediction.baseline())
            after, number = prediction.picture(labels), max(prediction.classes, 2)
            figure = comparison_figure(before, after, number, panel)
            save_png(figure, stack.enter_context(replacing(picture, overwrite)))
        if suffix == ".png":
            palette = class_colours(max(prediction.classes, 2))
            write_png(target, prediction.picture(labels), palette)
        elif is_nifti(output):
            shaped = labels[0].reshape(prediction.shape)
            write_nifti(target, shaped.astype(prediction.dtype), source)
        elif suffix in (".tif", ".zarr", *ITK):
            write_whole(
                target, suffix, _together(results, prediction), source, prediction.class_axis - 1
            )
        else:
            write_npy(target, results, prediction.shape, prediction.dtype)
    return _told(prediction, output)


def _predict_lazily(prediction: Prediction, output: Path, overwrite: bool) -> list[str]:
    """Write the labels of a file that is read by chunks."""
    suffix = suffix_of(output)
    if suffix not in (".zarr", ".npy", ".tif", ".png"):
        raise CommandError(f"{output}: labels of {prediction.path.name} go to .zarr, .npy, .tif")
    with (
        cluster(prediction.options.scheduler),
        library_errors(),
        replacing(output, overwrite) as target,
    ):
        labels = prediction.lazy_labels()
        if suffix == ".zarr":
            write_zarr(target, labels)
        elif suffix == ".npy":
            with npy_target(target, labels.shape, labels.dtype) as array:
                for slab in slabs_of_chunks(labels):
                    array[slab] = labels[slab].compute()
        elif suffix == ".png":
            picture = labels.compute().reshape(prediction.shape)
            picture = picture.squeeze().astype(np.uint8)
            write_png(target, picture, class_colours(max(prediction.classes, 2)))
        else:
            write_tiff(target, labels.compute(), None)
    return _told(prediction, output)


def _together(results: Iterator[np.ndarray], prediction: Prediction) -> np.ndarray:
    """Return the labels of all samples in one array."""
    labels = np.empty(prediction.shape, prediction.dtype)
    flat, start = labels.reshape(-1), 0
    for part in results:
        flat[start : start + part.size] = part.reshape(-1)
        start += part.size
    return labels


def _told(prediction: Prediction, output: Path) -> list[str]:
    size = f"shape {prediction.shape}, {prediction.dtype}, {prediction.classes} classes"
    divided = prediction.divisor is not None
    note = [f"probabilities were divided by {prediction.divisor:g}"] if divided else []
    return [f"{output}: {size}", *note]


def _check_proportions(path: Path | None, panel: np.ndarray, labels: np.ndarray) -> None:
    (height, width), (lines, columns) = panel.shape[:2], labels.shape
    if not 0.98 < height * columns / (width * lines) < 1.02:
        raise CommandError(
            f"{path}: --image must have the proportions of the labels, {lines} x {columns}, found "
            f"{height} x {width}"
        )


def _results(prediction: Prediction, track: Track) -> Iterator[np.ndarray]:
    for index in track(range(len(prediction.array))):
        yield prediction.labels(index)
