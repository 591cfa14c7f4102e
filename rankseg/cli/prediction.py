"""Probabilities of a file to labels, sample by sample: what its axes and values stand for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..activations import activate
from ..classaxis import doubt, sums_to_one
from ..io.geometry import is_a_volume, looks_channels_last, volume_with_class_axis
from ..io.reading import (
    PROBS_KEYS,
    as_probabilities,
    divisor_of,
    doubtful_scale,
    is_itk,
    is_nifti,
    read_array,
    suffix_of,
)
from ..io.stores import STORES, look, open_lazily
from ..io.writing import without_bool
from ..predictor import RankSEG
from ..settings import Settings
from .errors import CommandError, describe, library_errors, with_flags


@dataclass(frozen=True)
class Options:
    """How files are read and segmented.

    `settings` are arguments of `RankSEG`; its output mode gives way to masks for maps of one
    structure unless it was said (`mode_said`). `batched` None stands for the rule by number of
    axes, `class_axis` None for the first axis of a sample, `scale` None for the rule by dtype,
    and `binary` says that there is no class axis.
    """

    settings: dict[str, Any]
    activation: str | None = None
    batched: bool | None = None
    class_axis: int | None = None
    scale: float | None = None
    key: str | None = None
    binary: bool = False
    check_sums: bool = True
    mode_said: bool = True
    nodata: float | None = None
    scheduler: str | None = None

    def check(self) -> None:
        """Refuse settings that no file could be segmented with."""
        if self.scale is not None and not 0 < self.scale < np.inf:
            raise CommandError(f"--scale must be positive and finite, found {self.scale:g}")
        if self.binary and self.class_axis is not None:
            raise CommandError("--binary says that there is no class axis, --class-axis names one")
        with library_errors():
            RankSEG(**self.settings)


class Prediction:
    """The labels of one file, each sample computed when it is asked for.

    An array with three axes is one sample (class, *spatial), one with four or more is a batch of
    samples, unless the options say otherwise; one with two is a map of one structure. A file of
    NIfTI, .mha or .nrrd is one sample. NIfTI is of one structure if it has three axes and they
    are not said to hold classes, and whether classes come first or last is for the options to say.

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
    settings : dict
        Arguments of `RankSEG`.
    """

    def __init__(self, path: Path, options: Options) -> None:
        self.path, self.options = path, options
        with library_errors():
            self.lazy = suffix_of(path) in STORES
            array: Any = (open_lazily if self.lazy else read_array)(path, options.key, PROBS_KEYS)
            seen = look(array) if self.lazy else array
        if options.scheduler is not None and not self.lazy:
            raise CommandError(f"{path}: --scheduler is for {', '.join(STORES)}")
        self.divisor = divisor_of(array.dtype, options.scale)
        self._refuse_scaled_logits(array.dtype)
        self._check_nodata(array.dtype)
        self.settings = options.settings
        self.binary = self._is_binary(seen)
        if self.binary:
            class_axis = int(bool(options.batched))
            seen = np.expand_dims(seen, class_axis)
            array = np.expand_dims(array, class_axis)
            self.batched = bool(options.batched)
        else:
            self._refuse_to_guess(array.shape, seen)
            by_axes = array.ndim >= 4 and not self.is_one
            self.batched = by_axes if options.batched is None else options.batched
        class_axis = class_axis if self.binary else self._find_class_axis(array.shape)
        self._refuse_slices(array, class_axis)
        self.array = array if self.batched else array[None]
        self.seen = seen if self.batched else seen[None]
        self.class_axis = class_axis if self.batched else class_axis + 1
        if self.classes == 1:
            self._expect_masks(array.shape)
        elif options.class_axis is None and (self.multilabel or options.activation is not None):
            self._refuse_long_axis(array.shape, class_axis)

    def _is_binary(self, array: np.ndarray) -> bool:
        """Say whether the map is of one structure, without a class axis."""
        options = self.options
        if options.binary or options.class_axis is not None or array.size == 0:
            return options.binary
        if is_nifti(self.path):
            return array.ndim == 3 and self._axis_of_ones(array) is None
        return array.ndim == 2 and options.batched is None and self._axis_of_ones(array) is None

    def _axis_of_ones(self, array: np.ndarray) -> int | None:
        """Return the axis over which values sum to 1, unless masks or logits are in the file."""
        if self.options.activation is not None or (self.options.mode_said and self.multilabel):
            return None
        values = as_probabilities(array, self.divisor)
        axes = range(array.ndim - 1, -1, -1)
        return next((a for a in axes if values.shape[a] > 1 and sums_to_one(values, a)), None)

    def _refuse_slices(self, array: np.ndarray, class_axis: int) -> None:
        """Refuse to take the slices of a NIfTI volume for classes."""
        options = self.options
        if not is_nifti(self.path) or self.binary or not options.check_sums:
            return
        values = as_probabilities(array, self.divisor)
        if options.activation is None and is_a_volume(values, class_axis):
            reason = with_flags(volume_with_class_axis(array.shape, class_axis))
            raise CommandError(f"{self.path}: {reason}; --no-check-sums takes it for the classes")

    def _refuse_long_axis(self, shape: tuple[int, ...], axis: int) -> None:
        """Refuse lines of an image as classes, where values need not sum to 1 over these."""
        if looks_channels_last(shape, axis):
            raise CommandError(
                f"{self.path}: the shape {shape} is hardly one with the classes on axis {axis}: "
                f"--class-axis -1 says that they are last, --class-axis {axis} that they are not"
            )

    def _expect_masks(self, shape: tuple[int, ...]) -> None:
        if self.options.activation == "softmax":
            raise CommandError(
                f"{self.path}: --activation softmax needs two classes or more, found one in the "
                f"shape {shape}: --activation sigmoid is for one"
            )
        if self.multilabel:
            return
        if self.options.mode_said:
            raise CommandError(
                f"{self.path}: shape {shape} has one class, which needs --mode multilabel"
            )
        self.settings = self.settings | {"output_mode": "multilabel"}
        with library_errors():
            RankSEG(**self.settings)

    def _refuse_to_guess(self, shape: tuple[int, ...], array: np.ndarray) -> None:
        """Refuse an array whose axes are not clear as long as no option says what they are."""
        batched, class_axis = self.options.batched, self.options.class_axis
        found = f"{self.path}: shape {shape}"
        if array.ndim == 2 and batched is None:
            raise CommandError(
                f"{found}, whose values sum to 1 over an axis, may be (class, pixels), which "
                "--no-batched says, or one map without a class axis, which --binary says"
            )
        if is_nifti(self.path):
            if class_axis is None:
                axis = self._axis_of_ones(array)
                which = "-1 for the last"
                if axis is not None:
                    which += f" (values sum to 1 over axis {axis})"
                raise CommandError(
                    f"{found} does not tell the classes from the spatial axes; --class-axis does, "
                    f"{which}"
                )
        elif not self.is_one and batched is class_axis is None and self._looks_like_a_volume(array):
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

    def _check_nodata(self, dtype: np.dtype) -> None:
        nodata = self.options.nodata
        if nodata is None or dtype.kind not in "iu":
            return
        info = np.iinfo(dtype)
        if not (info.min <= nodata <= info.max and nodata == int(nodata)):
            raise CommandError(
                f"{self.path}: --nodata must be a value that {dtype} has, whole and from "
                f"{info.min} to {info.max}, found {nodata:g}"
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
    def is_one(self) -> bool:
        """Whether the format holds one image or volume, and no batch."""
        return is_nifti(self.path) or is_itk(self.path)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.array.shape[self.class_axis]

    @property
    def multilabel(self) -> bool:
        """Whether labels are masks, one for each class."""
        return bool(self.settings["output_mode"] == "multilabel")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the labels of the whole file."""
        shape = list(self.array.shape)
        if not self.multilabel or self.binary:
            del shape[self.class_axis]
        return tuple(shape if self.batched else shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """The bool of masks, or the smallest integers that hold the labels, void among them."""
        if self.multilabel:
            return np.dtype(bool)
        classes = np.min_scalar_type(self.classes - 1)
        if self.settings.get("unassigned_policy") != "void" and self.options.nodata is None:
            return classes
        return np.result_type(classes, np.min_scalar_type(self.void_index))

    @property
    def void_index(self) -> int:
        """The label of pixels without data, and of those that no class selected if so said."""
        return int(self.settings.get("void_index", Settings.void_index))

    @property
    def is_picture(self) -> bool:
        """Whether the labels are one two-dimensional map, or mask."""
        one = not self.multilabel or self.classes == 1
        return one and len(self.array) == 1 and self.array.ndim == 4

    def probabilities(self, index: int) -> np.ndarray:
        """Return the probabilities of one sample, with a batch axis of one."""
        stored = self.array[index : index + 1]
        values = self._activated(stored)
        self._refuse_misread(stored, values)
        return values

    def _activated(self, stored: Any) -> Any:
        """Return probabilities of values as stored, of NumPy or Dask; zero where there is none."""
        values = as_probabilities(stored, self.divisor)
        missing = self._missing(stored)
        if missing is not None:
            values = np.where(
                np.expand_dims(missing, self.class_axis), values.dtype.type(0), values
            )
        with library_errors():
            return activate(values, self.options.activation, self.class_axis)

    def _missing(self, stored: Any) -> Any:
        """Return which pixels have no data in some class, None if there are only others."""
        nodata = self.options.nodata
        if nodata is None:
            return None
        equal = np.isnan(stored) if np.isnan(nodata) else stored == stored.dtype.type(nodata)
        return equal.any(axis=self.class_axis)

    def _valid(self, stored: Any) -> Any:
        missing = self._missing(stored)
        return None if missing is None else ~missing

    def lazy_labels(self) -> Any:
        """Return the labels of the whole file, of its shape and dtype, as an array of Dask."""
        values = self._activated(self.seen)
        if self.options.nodata is None or values.any():
            self._refuse_misread(self.seen, values)
        labels = self._segment(self._activated(self.array), self._valid(self.array))
        labels = labels.astype(self.dtype)
        if self.binary:
            labels = labels.squeeze(self.class_axis)
        return labels if self.batched else labels[0]

    def _refuse_misread(self, stored: np.ndarray, values: np.ndarray) -> None:
        """Refuse probabilities that cannot be what they are taken for."""
        check = self.options.check_sums and not self.multilabel and values.dtype.kind == "f"
        found = doubt(values, self.class_axis) if check else None
        scale = doubtful_scale(stored, self.divisor, self.options.scale)
        if scale and (self.multilabel or found is not None):
            raise CommandError(f"{self.path}: {with_flags(scale)}")
        if found is None or values.min() < -0.1 or values.max() > 1.1:  # refused as that
            return
        shape, axis = self.array.shape, self.class_axis
        if not self.batched:
            shape, axis = shape[1:], axis - 1
        if found.axis is not None:
            other = found.axis - (not self.batched)
            option = f"--class-axis {other}"
            if len(shape) > 3 and not self.batched and other == 1 and axis == 0:
                option = "--batched"
            raise CommandError(
                f"{self.path}: of the shape {shape} values sum to 1 over axis {other}, not over "
                f"axis {axis}: {option} takes that for the classes, --no-check-sums takes them as "
                "they are"
            )
        raise CommandError(
            f"{self.path}: of the shape {shape} values must sum to 1 over the classes, axis {axis},"
            f" found sums of about {found.typical:.3g}: --mode multilabel is for probabilities "
            "that are independent, --binary for a map of one structure, --scale for percent, "
            "--activation for logits; --no-check-sums takes them as they are"
        )

    def baseline(self) -> np.ndarray:
        """Return the argmax of the first sample, or the mask above 0.5 of one structure."""
        probs = self.probabilities(0)
        if self.classes == 1:
            return probs > 0.5
        labels, missing = probs.argmax(axis=self.class_axis), self._missing(self.array[:1])
        return labels if missing is None else np.where(missing, self.void_index, labels)

    def picture(self, labels: np.ndarray) -> np.ndarray:
        """Return labels of one two-dimensional sample, or its one mask, as a picture of integers.

        Their batch axis has length 1, and so has the class axis of a mask.
        """
        one = labels.squeeze(self.class_axis) if self.multilabel else labels
        return without_bool(one[0])

    def labels(self, index: int) -> np.ndarray:
        """Return the labels of one sample, with a batch axis of one."""
        valid = self._valid(self.array[index : index + 1])
        return self._segment(self.probabilities(index), valid)

    def _segment(self, probs: Any, valid: Any) -> Any:
        try:
            rankseg = RankSEG(**self.settings, class_axis=self.class_axis)
            return rankseg.predict(probs, valid=valid)
        except (TypeError, ValueError) as error:
            hint = ""
            plain = self.options.activation is None and self.divisor is None
            if plain and isinstance(error, ValueError) and "must be in [0, 1]" in str(error):
                hint = " (--activation softmax or sigmoid is for logits, --scale 100 for percent)"
            raise CommandError(f"{self.path}: {describe(error)}{hint}") from error
