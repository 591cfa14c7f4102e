"""Cases in files: probabilities and labels of the same name."""

import re
from collections.abc import Callable, Iterator, Mapping
from operator import index
from pathlib import Path
from typing import Any

import numpy as np

from ...activations import activate, check_activation
from ...classaxis import doubt
from ...io.geometry import (
    is_a_volume,
    looks_channels_last,
    match_grid,
    volume_with_class_axis,
)
from ...io.labels import LabelMap
from ...io.reading import (
    LABELS_KEYS,
    PROBS_KEYS,
    PROBS_SUFFIXES,
    SUFFIXES,
    as_probabilities,
    divisor_of,
    doubtful_scale,
    is_itk,
    is_nifti,
    read_array,
    suffix_of,
)
from ...validation import choice, number
from .case import Case
from .nnunet import recognise

ORDERS = ("xyz", "zyx")


class Cases:
    """Cases in files that are read one at a time, as often as asked.

    Probabilities and labels are files of the same name, but for the suffix, in two folders; or
    both arrays of the same .npz file where the two folders are one.

    A folder of nnU-Net v2, such as fold_0/validation of a model, is known by its files: classes
    or regions are those of dataset.json, the axes of NIfTI labels go as nnU-Net reads them, and
    of the files in it .npz are probabilities.

    Parameters
    ----------
    probs_folder, labels_folder : str or Path
        Folders of .npy, .npz, .pt, .nii.gz and .nii files; labels may also be .png images.
    probs_key, labels_key : str, optional
        Names of the arrays in .npz and .pt files. By default the only array there, or else the one
        called "probs" or "probabilities", and "label" or "labels".
    scale : float, optional
        Value that stands for probability 1. Integer probabilities are divided by the maximum of
        their dtype by default, floating-point ones by nothing.
    class_axis : int, optional
        Position of the class axis of probabilities (and of multilabel masks), -1 for the last. By
        default the first, in NIfTI the first or last over which values sum to 1; and none where
        maps (height, width), or NIfTI (x, y, z), have masks of the same shape: these are of one
        structure, and come as one class.
    group : str, optional
        Regular expression that finds the group in a case's name: its first bracketed part, or
        all that matches. By default each case is its own group.
    one_class : bool, default False
        Say that no map has a class axis, as that of a volume of one structure does not tell.
    activation : {"softmax", "sigmoid"}, optional
        What turns values, logits then, into probabilities.
    label_map : str or mapping, optional
        New labels by old ones, as `rankseg.io.labels.LabelMap` takes them: "255:1" for masks of
        0 and 255, "1:0,2:1" for classes from 1, "#ff0000:1,..." for colours, "cityscapes".
    labels_order : {"xyz", "zyx"}, optional
        Order of the axes in which NIfTI labels go with probabilities of another format: as they
        are in the file, or reversed, as SimpleITK and nnU-Net read them. By default what the
        shapes allow; where they allow both it has to be said.
    reorient : bool, default False
        Turn NIfTI labels whose axes are flipped or permuted beside those of the probabilities.
        Files whose voxels lie elsewhere are refused in any case.
    probs_pattern, labels_pattern : str, default "{}"
        Names of the files but for the suffix, with ``{}`` for that of the case and ``*`` for
        anything: ``{}_probs`` and ``{}_mask``, or with folders ``*/{}_gtFine_labelIds``.

    Attributes
    ----------
    names : tuple of str
        Names of the cases, sorted. A name found in one folder only is a problem.
    problems : dict of str to str
        Why a case could not be had, by name, as far as that has turned out.
    notes : set of str
        What was done to the probabilities that have been read so far.
    class_names : tuple of str
        Names of the classes where files say them, as those of nnU-Net do.
    output_mode : {"multiclass", "multilabel"} or None
        What labels are where files say it.
    has_void : bool
        Whether files say that a label does not count.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or value.
    NotADirectoryError
        If there is no such folder.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from rankseg.evaluation import Cases
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("anna_1", "anna_2"):
    ...         probs, label = np.full((2, 3, 4), 0.5), np.zeros((3, 4), np.uint8)
    ...         np.savez(Path(folder, name), probs=probs, label=label)
    ...     cases = Cases(folder, folder, group="(.*)_")
    ...     [(case.name, case.group, case.probs.shape) for case in cases]
    [('anna_1', 'anna', (2, 3, 4)), ('anna_2', 'anna', (2, 3, 4))]
    """

    def __init__(
        self,
        probs_folder: str | Path,
        labels_folder: str | Path,
        *,
        probs_key: str | None = None,
        labels_key: str | None = None,
        scale: float | None = None,
        class_axis: int | None = None,
        group: str | None = None,
        one_class: bool = False,
        activation: str | None = None,
        label_map: "LabelMap | Mapping[int | str, int] | str | None" = None,
        labels_order: str | None = None,
        reorient: bool = False,
        probs_pattern: str = "{}",
        labels_pattern: str = "{}",
    ) -> None:
        if scale is not None and number("scale", scale, 0, float("inf")) == 0:
            raise ValueError("scale must be positive, found 0")
        try:
            self._group = None if group is None else re.compile(group)
        except re.error as error:
            raise ValueError(f"group must be a regular expression, found {group!r}") from error
        self._probs_key, self._labels_key = probs_key, labels_key
        self._scale = None if scale is None else float(scale)
        self._class_axis = None if class_axis is None else index(class_axis)
        if one_class and class_axis is not None:
            raise ValueError(f"one_class has no class axis, found class_axis={class_axis}")
        self._one_class = one_class
        self._activation = check_activation(activation)
        self._label_map = None if label_map is None else LabelMap.parse(label_map)
        self._order = None if labels_order is None else choice("labels_order", labels_order, ORDERS)
        self._reorient = reorient
        self._patterns = probs_pattern, labels_pattern
        for argument, pattern in zip(
            ("probs_pattern", "labels_pattern"), self._patterns, strict=True
        ):
            if pattern.count("{}") != 1:
                raise ValueError(f"{argument} must have {{}} for the name once, found {pattern!r}")
        self.problems: dict[str, str] = {}
        self.notes: set[str] = set()
        probs_path, labels_path = Path(probs_folder).resolve(), Path(labels_folder).resolve()
        self._folders = str(probs_path), str(labels_path)
        self._nnunet = None
        if probs_path.is_dir() and labels_path.is_dir():
            self._nnunet = recognise(probs_path, labels_path)
        self.class_names: tuple[str, ...] = ()
        self.output_mode: str | None = None
        self.has_void = False
        suffixes = PROBS_SUFFIXES
        if self._nnunet is not None:
            self._nnunet.check_options(
                class_axis=self._class_axis or None,
                one_class=one_class or None,
                activation=activation,
                scale=scale,
                labels_order=None if labels_order == "zyx" else labels_order,
            )
            self.class_names = self._nnunet.dataset.names
            self.output_mode = self._nnunet.output_mode
            self.has_void = self._nnunet.dataset.ignored is not None
            self.notes |= self._nnunet.notes
            suffixes = (".npz",)
        self._probs = self._find(probs_path, suffixes, "probs_pattern", probs_pattern)
        self._labels = self._find(labels_path, SUFFIXES, "labels_pattern", labels_pattern)
        self.names = tuple(sorted(self._probs.keys() & self._labels.keys()))
        if self._nnunet is not None:
            self._leave_other_folds(probs_path, self._nnunet.dataset.ending)
        for name in sorted(self._probs.keys() ^ self._labels.keys()):
            found, missing = ("probabilities", "labels")[:: 1 if name in self._probs else -1]
            self.problems.setdefault(name, f"there are {found} but no {missing} of this name")

    def __repr__(self) -> str:
        settings: dict[str, Any] = {
            "probs_key": self._probs_key,
            "labels_key": self._labels_key,
            "scale": self._scale,
            "class_axis": self._class_axis,
            "group": self._group and self._group.pattern,
            "one_class": self._one_class,
            "activation": self._activation,
            "label_map": self._label_map,
            "labels_order": self._order,
            "reorient": self._reorient,
            "probs_pattern": self._patterns[0],
            "labels_pattern": self._patterns[1],
        }
        if self._nnunet is not None:
            settings["nnunet"] = self._nnunet
        listed = ", ".join(f"{name}={value!r}" for name, value in settings.items())
        return f"Cases({self._folders[0]!r}, {self._folders[1]!r}, {listed})"

    def __len__(self) -> int:
        """Return the number of cases, those included that turn out to be unreadable."""
        return len(self.names)

    def __iter__(self) -> Iterator[Case]:
        """Read the cases in the order of their names; one that cannot be is a problem."""
        for name in self.names:
            try:
                yield self.read(name)
            except ValueError as error:
                self.problems[name] = str(error)

    def read(self, name: str) -> Case:
        """Read one case.

        Raises
        ------
        ValueError
            If its files do not hold what they should; the message does not repeat the name.
        ModuleNotFoundError
            If a package that reads such files is not installed.
        """
        group = name
        if self._group is not None:
            match = self._group.search(name)
            if not match:
                raise ValueError(f"group {self._group.pattern!r} does not match the name")
            group = next((part for part in match.groups() if part is not None), match[0])
        path = self._probs[name]
        values = read_array(path, self._probs_key, PROBS_KEYS)
        labels = self._read_labels(name)
        if self._nnunet is not None:
            labels = self._nnunet.labels(
                labels,
                self._labels[name],
                path,
                values.shape,
                turn=self._reorient,
                as_stored=self._order is not None,
            )
            return Case(name, self._probabilities(values, 0), labels, group)
        axis = self._find_axis(values, labels, is_nifti(path))
        probs = self._probabilities(values, axis)
        if axis is None:
            probs = probs[None]
            labels = labels[None] if labels.ndim == values.ndim else labels
            labels = self._in_order(name, labels, values.shape)
        else:
            if labels.ndim == probs.ndim:
                labels = np.moveaxis(labels, axis, 0)
            probs = np.moveaxis(probs, axis, 0)
            labels = self._in_order(name, labels, probs.shape[1:])
        return Case(name, probs, labels, group)

    def has_one_class(self) -> bool:
        """Return whether the first case that can be read is a map of one structure."""
        for name in self.names:
            try:
                return len(self.read(name).probs) == 1
            except ValueError:
                continue
        return False

    def written(self, predict: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return a prediction as the program that the folder is of would write it to a file.

        That of nnU-Net paints overlapping regions over each other; all others are as they are.
        """
        return predict if self._nnunet is None else self._nnunet.written(predict)

    def axis_in_file(self, axis: int, ndim: int) -> tuple[int, int]:
        """Return the class axis in the file, and which one another axis of a `Case` was there.

        `axis` is one of the probabilities of a `Case`, of `ndim` axes.
        """
        classes = 0 if self._class_axis is None else self._class_axis % ndim
        order = [classes, *(a for a in range(ndim) if a != classes)]
        return classes, order[axis]

    def _read_labels(self, name: str) -> np.ndarray:
        path = self._labels[name]
        labels = read_array(path, self._labels_key, LABELS_KEYS)
        if is_itk(path) and is_nifti(self._probs[name]):
            raise ValueError(
                f"{path.suffix} labels have axes (z, y, x), NIfTI probabilities (x, y, z): convert "
                "one of them"
            )
        if self._label_map is not None:
            labels = self._label_map(labels)
        if is_nifti(path) and is_nifti(self._probs[name]) and labels.ndim < 4:
            turned = match_grid(labels, path, self._probs[name], self._reorient)
            if turned is not labels:
                self.notes.add("labels were turned to the axes of the probabilities")
            labels = turned
        return labels

    def _find_axis(self, values: np.ndarray, labels: np.ndarray, nifti: bool) -> int | None:
        """Return the class axis in the file, None for a map of one structure."""
        axis = self._class_axis
        if axis is not None:
            if not -values.ndim <= axis < values.ndim:
                raise ValueError(f"no class axis {axis} in the shape {values.shape}")
            if nifti and is_a_volume(self._probabilities(values, axis), axis):
                raise ValueError(volume_with_class_axis(values.shape, axis))
            return axis % values.ndim
        fits = labels.shape in (values.shape, (1, *values.shape))
        if self._one_class or (fits and (values.ndim == 2 or (nifti and values.ndim == 3))):
            return None
        if nifti and values.ndim > 1:
            return self._axis_of_nifti(values)
        if looks_channels_last(values.shape, 0) and not self._sums_tell(values):
            raise ValueError(
                f"the shape {values.shape} is hardly (class, *spatial): class_axis=-1 says that "
                "the classes are last, class_axis=0 that they are first"
            )
        return 0

    def _sums_tell(self, values: np.ndarray) -> bool:
        """Say whether values sum to 1 over some axis, which is then checked by that."""
        if self._activation is not None:
            return False
        probs = self._probabilities(values, 0)
        found = doubt(probs, 0)
        return found is None or found.axis is not None

    def _axis_of_nifti(self, values: np.ndarray) -> int:
        last = values.ndim - 1
        if values.shape[last] == 1:
            return last
        if self._activation is not None:
            raise ValueError(
                f"the shape {values.shape} of a NIfTI file does not tell which axis has the "
                "classes of logits: class_axis=-1 says the last"
            )
        probs = self._probabilities(values, last)
        first = next((axis for axis in (last, 0) if doubt(probs, axis) is None), None)
        if first is None:
            raise ValueError(
                f"the shape {values.shape} of a NIfTI file does not tell which axis has the "
                "classes, and values sum to 1 over neither the first nor the last: class_axis=-1 "
                "says the last"
            )
        return first

    def _probabilities(self, values: np.ndarray, axis: int | None) -> np.ndarray:
        divisor = divisor_of(values.dtype, self._scale)
        if self._activation is not None:
            if divisor is not None:
                raise ValueError(
                    f"activation is for floating-point logits, found {values.dtype} that stand "
                    f"for probabilities times {divisor:g}"
                )
            if self._activation == "softmax" and (axis is None or values.shape[axis] == 1):
                raise ValueError(
                    f"activation='softmax' needs two classes or more, found one in the shape "
                    f"{values.shape}: activation='sigmoid' is for one"
                )
            probs = activate(as_probabilities(values, None), self._activation, axis or 0)
            self.notes.add(f"{self._activation} turned logits into probabilities")
            return np.asarray(probs)
        probs = as_probabilities(values, divisor)
        reason = doubtful_scale(values, divisor, self._scale)
        if reason and (axis is None or doubt(probs, axis) is not None):
            raise ValueError(reason)
        if divisor is not None:
            self.notes.add(f"probabilities were divided by {divisor:g}")
        return probs

    def _in_order(self, name: str, labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Return NIfTI labels with their axes in the order of probabilities of another format."""
        if not is_nifti(self._labels[name]) or is_nifti(self._probs[name]):
            return labels
        lead = labels.ndim - len(shape)
        if lead not in (0, 1):
            return labels
        as_read = labels.shape[lead:] == shape
        reversed_fits = labels.shape[lead:] == shape[::-1]
        order = self._order
        if order is None and as_read and reversed_fits and len(shape) > 1:
            raise ValueError(
                f"the shape {shape} does not tell whether the axes of the NIfTI labels are in the "
                "order of the probabilities: labels_order='zyx' if these are of nnU-Net or "
                "SimpleITK, labels_order='xyz' if they are of nibabel"
            )
        if order == "zyx" or (order is None and reversed_fits and not as_read):
            self.notes.add("NIfTI labels were read as (z, y, x), as nnU-Net and SimpleITK do")
            axes = (*range(lead), *reversed(range(lead, labels.ndim)))
            return labels.transpose(axes)
        return labels

    def _leave_other_folds(self, probs: Path, ending: str) -> None:
        """Forget labels of cases that nnU-Net did not predict here: labelsTr has all folds."""
        predicted = {p.name.removesuffix(ending) for p in probs.iterdir() if p.suffix != ".npz"}
        others = self._labels.keys() - self._probs.keys() - predicted
        if others:
            cases = "case" if len(others) == 1 else "cases"
            self.notes.add(f"labels of {len(others)} {cases} are not of this folder")
        self._labels = {name: path for name, path in self._labels.items() if name not in others}

    def _find(
        self, folder: Path, suffixes: tuple[str, ...], argument: str, pattern: str
    ) -> dict[str, Path]:
        if not folder.is_dir():
            if folder.is_file():
                raise NotADirectoryError(f"{folder}: is a file, not a folder of files")
            raise NotADirectoryError(f"{folder}: no such folder")
        expression = re.compile(
            re.escape(pattern)
            .replace(re.escape("{}"), "([^/]+)")
            .replace(re.escape("**/"), "(?:.*/)?")
            .replace(re.escape("*"), "[^/]*")
        )
        paths: Any = folder.rglob("*") if "/" in pattern else folder.iterdir()
        found: dict[str, Path] = {}
        other = ""
        for path in sorted(paths):
            suffix = suffix_of(path)
            if suffix not in suffixes or path.name.startswith("."):
                continue
            other = other or path.name
            match = expression.fullmatch(path.relative_to(folder).as_posix()[: -len(suffix)])
            if match is None:
                continue
            name = match[1]
            if name in found:
                self.problems[name] = f"{found[name].name} and {path.name} have the same name"
            found[name] = path
        if not found:
            raise ValueError(_nothing_in(folder, suffixes, f"{argument}={pattern!r}", other))
        return {name: path for name, path in found.items() if name not in self.problems}


def _nothing_in(folder: Path, suffixes: tuple[str, ...], pattern: str, other: str) -> str:
    """Say why no file of a folder is taken, and which folder in it has some."""
    if other:
        return f"{folder}: no name fits {pattern}, {other} for example"
    inside = sorted(p for p in folder.iterdir() if p.is_dir() and suffix_of(p) not in suffixes)
    better = next((p for p in inside if any(suffix_of(f) in suffixes for f in p.iterdir())), None)
    hint = "" if better is None else f"; there are such files in {better}"
    return f"{folder}: no file named {', '.join(suffixes)} in it{hint}"
