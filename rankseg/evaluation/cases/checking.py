"""What a case must be; those that are not are left out and reported at the end."""

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from itertools import count
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from ... import arrays
from ...arrays import Array
from ...classaxis import doubt
from ...opening import open_rows
from ...settings import MODES, Settings, check_void_index
from ...validation import choice
from .case import Case
from .files import Cases


def checked_cases(
    cases: Iterable[Any],
    problems: dict[str, str],
    *,
    output_mode: str = Settings.output_mode,
    void_index: int = Settings.void_index,
    classes: int | None = None,
    skip: Collection[str] = (),
    check_sums: bool = True,
) -> Iterator[Case]:
    """Go through cases once, holding one, and leave out those that something is wrong with.

    Parameters
    ----------
    cases : Cases, or iterable
        A `Case`, (name, probs, labels) or (probs, labels) each. Without a name a case is called
        by its position, from "0"; without a group it is its own.
    problems : dict
        Receives why a case was left out, by name.
    output_mode : {"multiclass", "multilabel"}
        What labels are.
    void_index : int, default 255
        Label of pixels that do not count.
    classes : int, optional
        Number of classes that all cases must have; by default that of the first good one.
    skip : collection of str
        Names of cases to pass over; `Cases` do not even read them.
    check_sums : bool, default True
        Whether multiclass probabilities must sum to 1 over the class axis, as half of the pixels
        or more of a thinned sample show.

    Yields
    ------
    Case
        With NumPy arrays; labels are integers, or bool in multilabel.
    """
    output_mode = choice("output_mode", output_mode, MODES)
    void_index = check_void_index(void_index)
    seen = set()
    for name, take in _takers(cases):
        if name in seen:
            problems[name] = "several cases have this name; the first one counts"
        elif name not in skip:
            try:
                case = check_case(
                    take(), classes, output_mode, void_index, cases if check_sums else None
                )
            except (TypeError, ValueError) as error:
                problems[name] = " ".join(str(error).split())
            else:
                classes = len(case.probs)
                yield case
                del case  # before the next one is read
        seen.add(name)
        del take  # which holds a case that was passed over
    problems.update(getattr(cases, "problems", {}))


def no_usable_case(problems: dict[str, str]) -> ValueError:
    """Return the error to raise when no case is left."""
    names: dict[str, list[str]] = {}
    for name, reason in sorted(problems.items()):
        names.setdefault(reason, []).append(name)
    reasons = [
        f"{first}{f' and {len(others)} more' if others else ''}: {reason}"
        for reason, (first, *others) in list(names.items())[:3]
    ]
    return ValueError(f"no usable case; {'; '.join(reasons) or 'there is none at all'}")


def _takers(cases: Iterable[Any]) -> Iterator[tuple[str, Callable[[], Case]]]:
    """Yield the name of each case, and a function that hands it over once and keeps nothing."""
    if isinstance(cases, Cases):
        for name in cases.names:
            yield name, partial(cases.read, name)
        return
    positions = count()  # not enumerate, which holds an item until it has the next one
    for item in cases:
        case = _as_case(item, str(next(positions)))
        del item
        name, holder = case.name, [case]
        del case
        yield name, holder.pop
        del holder


def _as_case(item: Any, position: str) -> Case:
    if isinstance(item, Case):
        return item
    if not isinstance(item, tuple | list) or len(item) not in (2, 3):
        raise TypeError(
            "cases must hold Case, (name, probs, labels) or (probs, labels), "
            f"found {type(item).__name__}"
        )
    name, probs, labels = (position, *item)[-3:]
    return Case(str(name), probs, labels, str(name))


def check_case(
    case: Case,
    classes: int | None,
    output_mode: str,
    void_index: int,
    of: Iterable[Any] | None = None,
) -> Case:
    """Return a case with checked NumPy arrays.

    `of` are the cases that it is of, whose files' class axis a message may name; without them
    probabilities need not sum to 1.

    Raises
    ------
    TypeError, ValueError
        If it is not what it should be; the message does not repeat the name.
    """
    if not arrays.is_array(case.probs) or not arrays.is_array(case.labels):
        kinds = f"{type(case.probs).__name__} and {type(case.labels).__name__}"
        raise TypeError(f"probs and labels must be arrays, found {kinds}")
    probs, labels = (_to_numpy(part) for part in (case.probs, case.labels))
    if probs.ndim < 2:
        raise ValueError(f"probs must have shape (class, *spatial), found {probs.shape}")
    open_rows(probs[None])
    if classes is not None and len(probs) != classes:
        raise ValueError(f"probs have {len(probs)} classes, the cases before have {classes}")
    multilabel = output_mode == "multilabel"
    if len(probs) == 1 and not multilabel:
        raise ValueError(
            f"probs has one class, of shape {probs.shape}, which is for output_mode='multilabel'"
        )
    if of is not None and not multilabel:
        _check_sums(probs, of)
    expected = probs.shape if multilabel else probs.shape[1:]
    if labels.shape == (1, *expected):  # a channel axis of pictures
        labels = labels[0]
    if multilabel and len(probs) == 1 and labels.shape == expected[1:]:
        labels = labels[None]
    if labels.shape != expected:
        raise ValueError(
            f"labels have shape {labels.shape}, expected {expected} beside probs of {probs.shape}"
            f"{_shape_hint(labels, probs)}"
        )
    labels = _check_labels(
        labels, 2 if multilabel else len(probs), None if multilabel else void_index
    )
    return case._replace(probs=probs, labels=labels.astype(bool) if multilabel else labels)


def _shape_hint(labels: np.ndarray, probs: np.ndarray) -> str:
    """Return what may settle a wrong shape of labels."""
    spatial = probs.shape[1:]
    if labels.shape == probs.shape:
        return (
            ": masks of classes are for output_mode='multilabel', and one_class=True says that no "
            "axis has the classes"
        )
    if labels.shape[:-1] == spatial and labels.shape[-1] in (3, 4):
        return ": label_map={'#ff0000': 1} gives labels to colours"
    return ""


def _check_sums(probs: np.ndarray, cases: Iterable[Any]) -> None:
    """Refuse probabilities of a multiclass case that do not sum to 1 over the classes.

    Raises
    ------
    ValueError
        Naming what settles it.
    """
    found = doubt(probs, 0)
    if found is None:
        return
    anyway = "check_sums=False takes them as they are"
    if found.axis is not None:
        classes, axis = 0, found.axis
        if isinstance(cases, Cases):
            classes, axis = cases.axis_in_file(found.axis, probs.ndim)
        raise ValueError(
            f"values sum to 1 over axis {axis}, not over the class axis {classes} "
            f"(shape {probs.shape}, classes first): class_axis={axis}, or {anyway}"
        )
    hints = ["output_mode='multilabel' is for probabilities that are independent"]
    if found.typical > 1.5 or found.typical < 0.5:
        hints.append("scale=... is the value that stands for probability 1")
    raise ValueError(
        f"probabilities must sum to 1 over the {len(probs)} classes, found sums of about "
        f"{found.typical:.3g}: {', '.join(hints)}, {anyway}"
    )


def _check_labels(labels: np.ndarray, count: int, void_index: int | None) -> np.ndarray:
    if labels.dtype.kind == "f":
        labels = _whole(labels)
    if labels.dtype.kind == "b":
        labels = labels.view(np.uint8)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels must be whole numbers, found {labels.dtype}")
    wrong = (labels < 0) | (labels >= count)
    if void_index is not None:
        wrong &= labels != void_index
    if wrong.any():
        found = labels[wrong][0]
        allowed = f"in [0, {count})" + ("" if void_index is None else f" or void ({void_index})")
        hint = f"label_map={{{found}: {count - 1}}} would make it {count - 1}"
        if void_index is None and np.any(labels == 1):  # 0, 1 and more: hardly a mask of 0 and 255
            hint = "masks have no void, which labels of background and class have"
        raise ValueError(f"labels must be {allowed}, found {found}; {hint}")
    return labels


def _whole(labels: np.ndarray) -> np.ndarray:
    """Return whole floats as integers; those of scaled files are off by rounding."""
    near = np.rint(labels)
    off = ~(np.abs(labels - near) <= 1e-3)  # NaN is off
    if off.any():
        raise TypeError(f"labels must be whole numbers, found {labels.dtype} with {labels[off][0]}")
    return near.astype(np.int64)


def _to_numpy(x: Array) -> np.ndarray:
    if arrays.dtype_name(x.dtype) == "bfloat16":  # NumPy has no such dtype
        xp = array_namespace(x)
        x = xp.astype(x, xp.float32)
    return arrays.read_values(arrays.to_numpy_view(x))[0]
