"""Which labels there are: the share of void, and classes that no label has."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from .case import Case


class Census(NamedTuple):
    """Counts of the labels of a case, or of several together.

    `area` (class,) counts the pixels of each class, `void` those that do not count, and
    `claimed` (class,) is the sum of the probabilities over the void ones.
    """

    area: np.ndarray
    void: int
    pixels: int
    claimed: np.ndarray

    @property
    def absent(self) -> list[int]:
        """Classes that no label has."""
        return np.flatnonzero(self.area == 0).tolist()

    def notes(self, names: Iterable[str] = ()) -> list[str]:
        """Say which part is void, and which classes no label has."""
        notes = []
        if self.void:
            notes.append(f"{100 * self.void / self.pixels:.2g} % of the pixels are void")
        if self.absent:
            known = list(names)
            listed = [known[c] if c < len(known) else str(c) for c in self.absent]
            several = "class" if len(listed) == 1 else "classes"
            notes.append(f"no label has {several} {', '.join(listed)}")
        return notes

    def check(self, void_index: int) -> None:
        """Refuse labels whose void seems to be a class.

        That is so if all others are of one class, or if more than a third of the probability in
        void pixels is that of classes that no label has. A border of void in a small set that
        lacks a class is neither.

        Raises
        ------
        ValueError
            Naming what settles it.
        """
        absent = self.absent
        if not self.void or not absent:
            return
        claims = float(self.claimed[absent].sum() / max(float(self.claimed.sum()), 1e-12))
        if len(self.area) - len(absent) > 1 and claims <= 1 / 3:
            return
        share = f"{100 * self.void / self.pixels:.2g} % of the pixels have the label {void_index}"
        new = absent[0]
        raise ValueError(
            f"no label has class {', '.join(map(str, absent))}, while {share} and count as void: "
            f"if that is a class, label_map={{{void_index}: {new}}} makes it class {new}; if it "
            f"is void, void_index={void_index} says so"
        )


def count_labels(case: Case, void_index: int) -> Census:
    """Return the counts of one checked case; masks have no void."""
    classes = len(case.probs)
    if case.labels.dtype == bool:
        area = np.array([np.count_nonzero(mask) for mask in case.labels])
        return Census(area, 0, case.labels[0].size, np.zeros(classes))
    void = case.labels == void_index
    area = np.bincount(case.labels[~void], minlength=classes)
    number = int(np.count_nonzero(void))
    claimed = np.zeros(classes)
    if number:
        claimed = np.array([p[void].sum(dtype=np.float64) for p in case.probs])
    return Census(area, number, case.labels.size, claimed)


def add_up(parts: Iterable[Census]) -> Census:
    """Return the counts of several cases together."""
    area, void, pixels, claimed = zip(*parts, strict=True)
    return Census(np.sum(area, axis=0), sum(void), sum(pixels), np.sum(claimed, axis=0))
