"""Cases in files: probabilities and labels of the same name."""

import re
from collections.abc import Iterator
from operator import index
from pathlib import Path

import numpy as np

from ...io.reading import (
    LABELS_KEYS,
    PROBS_KEYS,
    PROBS_SUFFIXES,
    SUFFIXES,
    as_probabilities,
    divisor_of,
    read_array,
    suffix_of,
)
from ...validation import number
from .case import Case


class Cases:
    """Cases in files that are read one at a time, as often as asked.

    Probabilities and labels are files of the same name, but for the suffix, in two folders; or
    both arrays of the same .npz file where the two folders are one.

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
    class_axis : int, default 0
        Position of the class axis of probabilities (and of multilabel masks), -1 for the last.
    group : str, optional
        Regular expression that finds the group in a case's name: its first bracketed part, or
        all that matches. By default each case is its own group.

    Attributes
    ----------
    names : tuple of str
        Names of the cases, sorted. A name found in one folder only is a problem.
    problems : dict of str to str
        Why a case could not be had, by name, as far as that has turned out.
    notes : set of str
        What was done to the probabilities that have been read so far.

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
        class_axis: int = 0,
        group: str | None = None,
    ) -> None:
        if scale is not None and number("scale", scale, 0, float("inf")) == 0:
            raise ValueError("scale must be positive, found 0")
        try:
            self._group = None if group is None else re.compile(group)
        except re.error as error:
            raise ValueError(f"group must be a regular expression, found {group!r}") from error
        self._probs_key, self._labels_key = probs_key, labels_key
        self._scale = None if scale is None else float(scale)
        self._class_axis = index(class_axis)
        self.problems: dict[str, str] = {}
        self.notes: set[str] = set()
        probs_path, labels_path = Path(probs_folder).resolve(), Path(labels_folder).resolve()
        self._folders = str(probs_path), str(labels_path)
        self._probs = self._find(probs_path, PROBS_SUFFIXES)
        self._labels = self._find(labels_path, SUFFIXES)
        self.names = tuple(sorted(self._probs.keys() & self._labels.keys()))
        for name in sorted(self._probs.keys() ^ self._labels.keys()):
            found, missing = ("probabilities", "labels")[:: 1 if name in self._probs else -1]
            self.problems.setdefault(name, f"there are {found} but no {missing} of this name")

    def __repr__(self) -> str:
        return (
            f"Cases({self._folders[0]!r}, {self._folders[1]!r}, probs_key={self._probs_key!r}, "
            f"labels_key={self._labels_key!r}, scale={self._scale!r}, "
            f"class_axis={self._class_axis!r}, group={self._group and self._group.pattern!r})"
        )

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
        values = read_array(self._probs[name], self._probs_key, PROBS_KEYS)
        divisor = divisor_of(values.dtype, self._scale)
        if divisor is not None:
            self.notes.add(f"probabilities were divided by {divisor:g}")
        probs = as_probabilities(values, divisor)
        labels = read_array(self._labels[name], self._labels_key, LABELS_KEYS)
        if not -probs.ndim <= self._class_axis < probs.ndim:
            raise ValueError(f"no class axis {self._class_axis} in the shape {probs.shape}")
        if labels.ndim == probs.ndim:
            labels = np.moveaxis(labels, self._class_axis, 0)
        return Case(name, np.moveaxis(probs, self._class_axis, 0), labels, group)

    def _find(self, folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
        if not folder.is_dir():
            raise NotADirectoryError(f"{folder}: no such folder")
        found: dict[str, Path] = {}
        for path in sorted(folder.iterdir()):
            suffix = suffix_of(path)
            if suffix in suffixes and not path.name.startswith("."):
                name = path.name[: -len(suffix)]
                if name in found:
                    self.problems[name] = f"{found[name].name} and {path.name} have the same name"
                found[name] = path
        return {name: path for name, path in found.items() if name not in self.problems}
