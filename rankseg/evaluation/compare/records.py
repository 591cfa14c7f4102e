"""What is kept of a case, its scores and a few sums; and the log that holds it, line by line."""

import json
import os
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...metrics import class_presence, overlap
from ..averages import scores_of_case
from ..cases.case import Case
from ..cases.census import Census, count_labels
from .methods import Method
from .reliability import Reliability, measure
from .scores import METRICS, label_form


@dataclass(frozen=True)
class Record:
    """What is kept of one case.

    `present` (class,) says which classes the label has. `intersection` and `union` (method, class)
    count the pixels of prediction and label. `scores` (method, metric, class) are samplewise,
    with NaN for a class in neither label nor prediction; the metrics are Dice and IoU. `seconds`
    and `memory` (method,) are time and peak of allocated bytes; memory is NaN in a case that is
    no larger than one before it. `census` counts the labels.
    """

    name: str
    group: str
    present: np.ndarray
    intersection: np.ndarray
    union: np.ndarray
    seconds: np.ndarray
    memory: np.ndarray
    reliability: Reliability
    census: Census

    @property
    def scores(self) -> np.ndarray:
        """Samplewise scores (method, metric, class)."""
        both = [scores_of_case(metric, self.intersection, self.union) for metric in METRICS]
        return np.stack(both, axis=1)

    def to_json(self) -> str:
        """Return one line of JSON, with null for NaN."""
        fields = {
            "name": self.name,
            "group": self.group,
            "present": self.present.tolist(),
            "intersection": self.intersection.tolist(),
            "union": self.union.tolist(),
            "seconds": to_lists(self.seconds),
            "memory": to_lists(self.memory),
            "reliability": [part.tolist() for part in self.reliability],
            "census": [np.asarray(part).tolist() for part in self.census],
        }
        return json.dumps(fields, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> "Record":
        """Return the record of such a line."""
        fields = json.loads(line)
        area, void, pixels, claimed = fields["census"]
        return cls(
            fields["name"],
            fields["group"],
            present=np.array(fields["present"], bool),
            intersection=np.array(fields["intersection"], np.float64),
            union=np.array(fields["union"], np.float64),
            seconds=np.array(fields["seconds"], np.float64),
            memory=np.array(fields["memory"], np.float64),
            reliability=Reliability(*map(np.array, fields["reliability"])),
            census=Census(np.array(area), void, pixels, np.array(claimed)),
        )


def to_lists(values: np.ndarray) -> Any:
    """Return nested lists of floats with None for NaN, which JSON does not have."""
    lists = values.astype(object)
    lists[np.isnan(values)] = None
    return lists.tolist()


def score_case(
    case: Case, methods: Sequence[Method], void_index: int, measure_memory: bool
) -> Record:
    """Segment one checked case with every method, and score the results."""
    probs, target = case.probs[None], case.labels[None]
    form = label_form(case, void_index)
    overlaps, seconds, memory = [], [], []
    for method in methods:
        memory.append(_peak_memory(method, probs) if measure_memory else np.nan)
        start = time.perf_counter()
        prediction = method.predict(probs)
        seconds.append(time.perf_counter() - start)
        overlaps.append([part[0] for part in overlap(prediction, target, **form)])
        del prediction  # before the next one is made
    intersection, union = np.moveaxis(np.array(overlaps), 1, 0)
    return Record(
        case.name,
        case.group,
        class_presence(target, **form)[0],
        intersection,
        union,
        np.array(seconds),
        np.array(memory),
        measure(case.probs, case.labels, void_index),
        count_labels(case, void_index),
    )


def _peak_memory(method: Method, probs: np.ndarray) -> float:
    """Peak of what Python and NumPy allocate during one more call, which also warms up."""
    was_tracing = tracemalloc.is_tracing()
    if not was_tracing:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        method.predict(probs)
        return float(tracemalloc.get_traced_memory()[1] - before)
    finally:
        if not was_tracing:
            tracemalloc.stop()


def open_log(
    path: Path | None, settings: dict[str, Any]
) -> tuple[list[Record], Callable[[Record], None]]:
    """Return the records that a log has, and a function that adds one to it.

    The first line holds the settings, the others one record each, on disk as soon as added. A
    last line that was not finished is cut off. Without a path there is no log, and without a
    record no file.

    Raises
    ------
    ValueError
        If the log was made with other settings, or is no such log.
    """
    if path is None:
        return [], lambda record: None
    text = path.read_bytes() if path.exists() else b""
    complete = text[: text.rfind(b"\n") + 1]
    lines = complete.decode(errors="replace").splitlines()
    if text:
        _check_settings(path, lines[0] if lines else "", settings)
    if complete != text:
        os.truncate(path, len(complete))

    def add(record: Record) -> None:
        with path.open("a", encoding="utf-8") as file:
            if file.tell() == 0:
                file.write(json.dumps(settings) + "\n")
            file.write(record.to_json() + "\n")

    try:
        return [Record.from_json(line) for line in lines[1:]], add
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"log {path} is damaged; remove it") from error


def _check_settings(path: Path, head: str, settings: dict[str, Any]) -> None:
    try:
        found = dict(json.loads(head))
    except (TypeError, ValueError) as error:
        raise ValueError(f"log {path} is not a log of an evaluation") from error
    for name in settings.keys() | found.keys():
        if found.get(name) != settings.get(name):
            raise ValueError(
                f"log {path} was made with {name}={found.get(name)!r}, not {settings.get(name)!r}; "
                "repeat those settings, or remove the log"
            )
