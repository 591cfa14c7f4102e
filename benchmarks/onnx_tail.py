"""Time and memory of the ONNX graph in onnxruntime, as Markdown tables.

    python benchmarks/onnx_tail.py [--profile onnxruntime] [--threads 2] [--rounds 5]

Multiclass Dice with the defaults: from probabilities against onnxruntime's ArgMax over the
classes, from logits against its Softmax and ArgMax, and a deployed model (DeepLab from
RANKSEG_DATA, on random pictures) with its tail against the same with ArgMax. The models run in
turns; times are medians. CPU time adds up the threads and suffers less from a busy machine.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import maps
import numpy as np
import onnx
import onnxruntime
from harness import data_folder, machine, say, table
from onnx import ModelProto, TensorProto, helper

from rankseg.export import append_rma, rma_model
from rankseg.export.verification.feeds import random_feeds
from rankseg.export.verification.running import Runner

COLUMNS = ["", "usual ms", "with RankSEG ms", "ratio", "ratio of CPU times", "memory / map"]
SHAPES = ["21x512x512", maps.REAL]
RUNS = 8
"""Timed runs of one round."""


def usual_ending(from_logits: bool, classes: int) -> ModelProto:
    """Return what a deployed model ends in today."""
    nodes = [helper.make_node("Softmax", ["x"], ["probs"], axis=1)] if from_logits else []
    nodes.append(
        helper.make_node("ArgMax", ["probs" if nodes else "x"], ["labels"], axis=1, keepdims=0)
    )
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, classes, None, None])]
    outputs = [helper.make_tensor_value_info("labels", TensorProto.INT64, [None] * 3)]
    graph = helper.make_graph(nodes, "usual", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def with_argmax(model: ModelProto) -> ModelProto:
    """Return a model of logits with an ArgMax behind its only output."""
    (logits,) = (output.name for output in model.graph.output)
    ended = ModelProto()
    ended.CopyFrom(model)
    ended.graph.node.append(helper.make_node("ArgMax", [logits], ["labels"], axis=1, keepdims=0))
    ended.graph.output[0].CopyFrom(helper.make_tensor_value_info("labels", TensorProto.INT64, None))
    return ended


class Timed:
    """A model in onnxruntime, and how long its runs took."""

    def __init__(self, run: Runner, model: ModelProto, x: np.ndarray) -> None:
        self.session = run.session(model)
        self.feeds = {self.session.get_inputs()[0].name: x}
        self.peak = run.peak(model, self.feeds)
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def round(self) -> None:
        """Run once to get warm, then with the clocks."""
        time.sleep(0.05)  # the threads of the session before spin for a while
        self.session.run(None, self.feeds)
        for _ in range(RUNS):
            wall, cpu = time.perf_counter(), time.process_time()
            self.session.run(None, self.feeds)
            self.wall.append(time.perf_counter() - wall)
            self.cpu.append(time.process_time() - cpu)


def cases(profile: str) -> Iterator[tuple[str, ModelProto, ModelProto, np.ndarray, int]]:
    """Yield a name, the usual model, ours, their input and the bytes of the map."""
    for shape in SHAPES:
        name, probs = maps.load(shape)
        classes = probs.shape[1]
        tails = [
            rma_model(profile=profile, num_classes=classes, activation=activation)
            for activation in (None, "softmax")
        ]
        logits = np.log(np.maximum(probs, 1e-12))
        yield f"{name}, probabilities", usual_ending(False, classes), tails[0], probs, probs.nbytes
        yield f"{name}, logits", usual_ending(True, classes), tails[1], logits, probs.nbytes
    folder = data_folder()
    if folder is not None:
        model = onnx.load(Path(folder, "models", "deeplabv3_voc_257.onnx"))
        (x,) = random_feeds(model).values()
        tailed = append_rma(model, activation="softmax", profile=profile)
        yield "DeepLab VOC 257, whole model", with_argmax(model), tailed, x, 4 * 21 * 257 * 257


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", choices=["onnxruntime", "static"], default="onnxruntime")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    run, rows = Runner(options.threads, ""), []
    for name, usual, ours, x, size in cases(options.profile):
        say(f"{name} ...")
        pair = [Timed(run, model, x) for model in (usual, ours)]
        for _ in range(options.rounds):
            for each in pair:
                each.round()
        wall, cpu = (
            [statistics.median(t) for t in ts]
            for ts in zip(*((each.wall, each.cpu) for each in pair), strict=True)
        )
        peaks = [each.peak for each in pair]
        memory = "-" if None in peaks else f"{(peaks[1] - peaks[0]) / size:.2f}"
        rows.append(
            [name, *(f"{1e3 * t:.1f}" for t in wall)]
            + [f"{ours / usual:.2f}" for usual, ours in (wall, cpu)]
            + [memory]
        )
    print(table(COLUMNS, rows))
    print(f"\n{machine()}; onnxruntime {onnxruntime.__version__}, {options.threads} threads.")


if __name__ == "__main__":
    main()
