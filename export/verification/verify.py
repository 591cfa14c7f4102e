"""Does a model with a RankSEG tail compute what `rankseg` computes, and what does it cost."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto

from ...activations import sigmoid, softmax
from ...calibration import Calibration
from ...expected import expected_dice, expected_iou
from ...functional import rankseg
from ..files import load
from ..record import recorded
from .feeds import Feeds, random_feeds
from .running import Runner, medians
from .submodels import showing, until, with_plain_decision


@dataclass(frozen=True)
class Verification:
    """What `verify` measured.

    Attributes
    ----------
    output : str
        The output of labels or masks.
    decided, different : int
        Number of values of the output, and of those that NumPy gives otherwise.
    loss : float
        By how much the expected metric is below that of NumPy's result: the mean over the
        classes, of the worst sample. Pixels on a boundary cost nothing, whichever side they are.
    change : float or None
        Largest difference between what the original model and this one feed the tail.
    model_seconds, plain_seconds, tail_seconds : float
        Median time of a run of the model without tail, with Softmax and ArgMax (Sigmoid and a
        threshold) instead of it, and with it.
    map_bytes : int
        Size of the probability map.
    peak_bytes : int or None
        What the tail adds to the peak memory of a run, where that can be measured.
    """

    output: str
    decided: int
    different: int
    loss: float
    change: float | None
    model_seconds: float
    plain_seconds: float
    tail_seconds: float
    map_bytes: int
    peak_bytes: int | None

    @property
    def agreement(self) -> float:
        """Part of the values that are those of NumPy."""
        return 1 - self.different / self.decided

    def __str__(self) -> str:
        model, plain, tail = (
            1e3 * s for s in (self.model_seconds, self.plain_seconds, self.tail_seconds)
        )
        peak = "not measured here"
        if self.peak_bytes is not None:
            peak = f"{self.peak_bytes / 1e6:.1f} MB for a map of {self.map_bytes / 1e6:.1f} MB"
        lines = [
            f"agreement of {self.output!r} with NumPy: {100 * self.agreement:.4f} % "
            f"({self.different} of {self.decided} differ); the expected metric is "
            f"{self.loss:.1g} lower",
            f"time of a run: {model:.1f} ms without a decision, {plain:.1f} ms with the plain one, "
            f"{tail:.1f} ms with RankSEG (x {tail / plain:.2f})",
            f"memory added to the peak: {peak}",
        ]
        if self.change is not None:
            lines.append(f"largest change of the model's own output: {self.change:.3g}")
        return "\n".join(lines)


def verify(
    model: ModelProto | str | os.PathLike[str],
    original: ModelProto | str | os.PathLike[str] | None = None,
    feeds: Feeds | None = None,
    *,
    output: str | None = None,
    repeats: int = 7,
    threads: int = 2,
) -> Verification:
    """Run a model from `append_rma` in onnxruntime and compare it with `rankseg` in NumPy.

    Parameters
    ----------
    model : ModelProto or path
        The model with the tail; a path if its weights are external.
    original : ModelProto or path, optional
        The model without it, to see that its own output is unchanged.
    feeds : dict of arrays, optional
        Inputs by name; by default random pictures.
    output : str, optional
        Which output of labels or masks, if there are several.
    repeats : int, default 7
        Number of runs, whose median is reported.
    threads : int, default 2
        Threads of onnxruntime.

    Returns
    -------
    Verification
        Print it for a report.

    Raises
    ------
    ValueError
        If the model has no tail, or onnxruntime does not run it with these inputs.
    """
    proto, folder = _read(model)
    name, record = _record(proto, output)
    feeds = random_feeds(proto) if feeds is None else feeds
    run = Runner(threads, folder)
    without = until(proto, record["input"])
    bare, deployed = run.session(without), run.session(proto)
    plain = run.session(with_plain_decision(without, record))
    shown = run.session(showing(proto, record["input"], record["result"]))
    values, found = run.once(shown, feeds)
    probs = _probabilities(values, record)
    expected = _expected(probs, record)
    sessions = {"model": bare, "plain": plain, "tail": deployed}
    seconds = medians(run, sessions, feeds, repeats)
    peaks = [run.peak(part, feeds) for part in (without, proto)]
    return Verification(
        output=name,
        decided=expected.size,
        different=int(np.count_nonzero(found != expected)),
        loss=_loss(probs, expected, found, record),
        change=None if original is None else _change(original, proto, record, feeds, run),
        model_seconds=seconds["model"],
        plain_seconds=seconds["plain"],
        tail_seconds=seconds["tail"],
        map_bytes=values.size * 4,
        peak_bytes=None if None in peaks else max(0, peaks[1] - peaks[0]),  # type: ignore[operator]
    )


def _read(model: ModelProto | str | os.PathLike[str]) -> tuple[ModelProto, str]:
    if isinstance(model, ModelProto):
        return model, ""
    path = Path(model)
    return load(path)[0], str(path.resolve().parent)


def _record(model: ModelProto, output: str | None) -> tuple[str, dict[str, Any]]:
    records = recorded(model)
    if not records:
        raise ValueError("the model has no RankSEG tail: append one first")
    if output is None and len(records) == 1:
        output = next(iter(records))
    if output is None or output not in records:
        raise ValueError(f"choose one of the outputs {', '.join(map(repr, records))}")
    if records[output]["source"] is None:
        raise ValueError("the model is a RankSEG tail alone: verify takes what append made")
    return output, records[output]


def _probabilities(values: np.ndarray, record: Mapping[str, Any]) -> np.ndarray:
    """Return what the input of the tail holds, (batch, class, *spatial)."""
    values = values.astype(np.float32) if values.dtype != np.float64 else values
    values = np.moveaxis(values, record["class_axis"], 1)
    if record["activation"] is None:
        probs = np.clip(values, 0, 1)
    else:
        probs = softmax(values, 1) if record["activation"] == "softmax" else sigmoid(values)
    if record["calibration"] is None:
        return probs
    return Calibration(**record["calibration"])(probs, output_mode=record["output_mode"])


def _expected(probs: np.ndarray, record: Mapping[str, Any]) -> np.ndarray:
    """Compute with NumPy what the tail computes."""
    multiclass = record["output_mode"] == "multiclass"
    solver = record.get("solver")  # not in records of 0.1
    names = ["unassigned_policy", "void_index"] if multiclass and solver in ("RMA", None) else []
    result = rankseg(
        probs,
        record["metric"],
        record["smooth"],
        record["output_mode"],
        solver,
        record["pruning_prob"],
        **{name: record[name] for name in names},
    )
    return result if multiclass else np.moveaxis(result, 1, record["class_axis"])


def _loss(
    probs: np.ndarray, expected: np.ndarray, found: np.ndarray, record: Mapping[str, Any]
) -> float:
    """Return by how much the expected metric of what was found is lower."""
    if record["output_mode"] == "multilabel":
        expected, found = (np.moveaxis(x, record["class_axis"], 1) for x in (expected, found))
    if record["metric"] == "accuracy":
        wanted, got = (_expected_accuracy(probs, x) for x in (expected, found))
        return float(np.max(wanted - got, initial=0))
    score = {"dice": expected_dice, "iou": expected_iou}[record["metric"]]
    wanted, got = (score(probs, x, record["smooth"], "rma") for x in (expected, found))
    return float(np.max(np.mean(wanted - got, axis=1), initial=0))


def _expected_accuracy(probs: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return the share of pixels, or of pixels and classes, that are right as likely as not."""
    if found.ndim == probs.ndim:
        right = np.where(found, probs, 1 - probs)
    else:
        right = np.take_along_axis(probs, found[:, None].astype(np.int64), axis=1)
    return right.mean(axis=tuple(range(1, right.ndim)))


def _change(
    original: ModelProto | str | os.PathLike[str],
    model: ModelProto,
    record: Mapping[str, Any],
    feeds: Feeds,
    run: Runner,
) -> float:
    before, folder = _read(original)
    source = record["source"]
    if source not in {name for node in before.graph.node for name in node.output}:
        raise ValueError(f"the original has no value {source!r}: it is another model")
    old = Runner(run.threads, folder).values(until(before, source), feeds)
    return float(np.max(np.abs(old - run.values(until(model, source), feeds)), initial=0))
