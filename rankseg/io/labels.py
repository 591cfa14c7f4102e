"""Labels as data sets store them: other numbers, palettes of colours, and the names of classes."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_CITYSCAPES = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""labelIds of the 19 evaluated classes, in the order of their trainIds."""

_COLOUR = re.compile(r"#[0-9a-f]{6}")


@dataclass(frozen=True)
class LabelMap:
    """What becomes of the labels in files.

    Parameters
    ----------
    pairs : dict
        New label by old one: a number, or for pictures in colour a 24-bit 0xRRGGBB.
    rest : int, optional
        New label of all others. By default they stay, and colours that are not named are refused.
    colours : bool
        Whether the old ones are colours.

    Examples
    --------
    >>> import numpy as np
    >>> from rankseg.io.labels import LabelMap
    >>> LabelMap.parse("255:1")(np.array([0, 255, 255], np.uint8))
    array([0, 1, 1], dtype=uint8)
    >>> LabelMap.parse("1:0,2:1,*:255")(np.array([0, 1, 2]))
    array([255,   0,   1], dtype=uint8)
    """

    pairs: Mapping[int, int]
    rest: int | None = None
    colours: bool = False

    @classmethod
    def parse(cls, given: "LabelMap | Mapping[int | str, int] | str") -> "LabelMap":
        """Return what a mapping, or the text of an option, or a file of such text stands for.

        The text is "OLD:NEW,OLD:NEW", where an OLD is a number, a range "1-5", a colour
        "#rrggbb", or "*" for all others; or "cityscapes", from labelIds to trainIds.

        Raises
        ------
        ValueError
            If it is none of these.
        """
        if isinstance(given, LabelMap):
            return given
        if isinstance(given, str):
            if given.strip().lower() == "cityscapes":
                return cls({old: new for new, old in enumerate(_CITYSCAPES)}, 255)
            given = _pairs_of_text(given)
        pairs: dict[int, int] = {}
        rest, kinds = None, set()
        for old, new in given.items():
            old = str(old).strip().lower()
            try:
                if old == "*":
                    rest = int(new)
                    continue
                found = _olds(old)
                pairs |= dict.fromkeys(found, int(new))
            except (TypeError, ValueError) as error:
                raise ValueError(
                    "label_map must be OLD:NEW,... with numbers, ranges 1-5, colours #rrggbb or *, "
                    f"found {old}:{new}"
                ) from error
            kinds.add(old.startswith("#"))
        if len(kinds) != 1:
            raise ValueError(f"label_map must name either numbers or colours, found {dict(given)}")
        return cls(pairs, rest, kinds.pop())

    def __call__(self, labels: np.ndarray) -> np.ndarray:
        """Return the new labels; of colours (*spatial, 3) without their axis.

        Raises
        ------
        ValueError
            If there is a colour that has no label, or no axis of colours.
        """
        if self.colours:
            labels = _packed(labels)
        if labels.dtype in (np.uint8, np.uint16) and labels.size:  # 20 times faster than sorting
            return _smallest([self._new(old) for old in range(int(labels.max()) + 1)])[labels]
        olds, places = np.unique(labels, return_inverse=True)
        return _smallest([self._new(old) for old in olds.tolist()])[places.reshape(labels.shape)]

    def _new(self, old: float) -> int:
        found = self.pairs.get(int(old)) if old == int(old) else None
        if found is not None:
            return found
        if self.rest is not None:
            return self.rest
        if self.colours:
            raise ValueError(f"labels have the colour #{int(old):06x}, which label_map lacks")
        if old != int(old):
            raise ValueError(f"labels must be whole numbers, found {old}")
        return int(old)


def _smallest(values: list[int]) -> np.ndarray:
    """Return integers in the smallest dtype that holds them: volumes are large."""
    wide = np.array(values, np.int64)
    low, high = (np.min_scalar_type(end(wide, initial=0)) for end in (np.min, np.max))
    return wide.astype(np.result_type(low, high))


def _olds(text: str) -> list[int]:
    if text.startswith("#"):
        if not _COLOUR.fullmatch(text):
            raise ValueError
        return [int(text[1:], 16)]
    first, dash, last = text.partition("-")
    if dash and first:
        found = list(range(int(first), int(last) + 1))
        if not found:
            raise ValueError
        return found
    return [int(text)]


def _pairs_of_text(text: str) -> dict[Any, Any]:
    path = Path(text)
    if path.suffix in (".txt", ".json"):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            content = _json(path)
            if not isinstance(content, dict):
                raise ValueError(f"{path}: label_map must be an object of old and new labels")
            return content
    pairs: dict[Any, Any] = {}
    for part in filter(None, (part.strip() for part in re.split(r"[,\n]", text))):
        old, colon, new = part.partition(":")
        if not colon:
            raise ValueError(f"label_map must be OLD:NEW,..., found {part!r}")
        pairs[old] = new
    return pairs


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error


def _packed(labels: np.ndarray) -> np.ndarray:
    if labels.dtype != np.uint8 or labels.ndim < 2 or labels.shape[-1] not in (3, 4):
        raise ValueError(
            "label_map names colours: labels must be uint8 pictures in RGB, found "
            f"{labels.dtype} of shape {labels.shape}"
        )
    red, green, blue = (labels[..., i].astype(np.int64) for i in range(3))
    return red << 16 | green << 8 | blue


def class_names(given: str | Sequence[str]) -> tuple[str, ...]:
    """Return names of the classes, in their order.

    Parameters
    ----------
    given : str or sequence of str
        The names; or text "sky,building,..."; or the name of a file: .txt with a line each, or
        .json with a list, an object of numbers and names, or nnU-Net's dataset.json.

    Raises
    ------
    ValueError
        If a file is none of these.

    Examples
    --------
    >>> from rankseg.io.labels import class_names
    >>> class_names("sky, road")
    ('sky', 'road')
    """
    if not isinstance(given, str):
        return tuple(str(name) for name in given)
    path = Path(given)
    if path.suffix == ".json":
        return _names_of_json(path)
    text = path.read_text(encoding="utf-8") if path.suffix == ".txt" else given.replace(",", "\n")
    return tuple(name.strip() for name in text.splitlines() if name.strip())


def _names_of_json(path: Path) -> tuple[str, ...]:
    content = _json(path)
    if isinstance(content, dict) and isinstance(content.get("labels"), dict):  # nnU-Net
        return tuple(name for name in content["labels"] if name != "ignore")
    if isinstance(content, dict):
        try:
            content = [content[key] for key in sorted(content, key=int)]
        except ValueError as error:
            raise ValueError(f"{path}: class_names must be a list, or names by number") from error
    if not isinstance(content, list):
        raise ValueError(f"{path}: class_names must be a list, or names by number")
    return tuple(str(name) for name in content)
