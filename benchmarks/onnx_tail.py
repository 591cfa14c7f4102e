"""Time of the ONNX graph in onnxruntime, as a Markdown table.

    python benchmarks/onnx_tail.py [--profile onnxruntime] [--threads 2] [--rounds 5]

Multiclass Dice with the defaults: from probabilities against onnxruntime's ArgMax over the
classes, and from logits against its Softmax and ArgMax. Each model has rounds of its own, in turn
with the others; the table has the medians.
"""

import argparse
import statistics
import time

import maps
import numpy as np
import onnxruntime
from harness import machine, say, table
from onnx import ModelProto, TensorProto, helper

from rankseg.export import rma_model

COLUMNS = [
    "map",
    "ArgMax ms",
    "tail ms",
    "ratio",
    "Softmax + ArgMax ms",
    "tail from logits ms",
    "ratio",
]
SHAPES = ["21x512x512", maps.REAL]
RUNS = 8
"""Timed runs of one round."""


def pointwise(from_logits: bool) -> ModelProto:
    """Return what a deployed model ends in today."""
    nodes = [helper.make_node("Softmax", ["x"], ["probs"], axis=1)] if from_logits else []
    source = "probs" if from_logits else "x"
    nodes.append(helper.make_node("ArgMax", [source], ["labels"], axis=1, keepdims=0))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None] * 4)]
    outputs = [helper.make_tensor_value_info("labels", TensorProto.INT64, [None] * 3)]
    graph = helper.make_graph(nodes, "pointwise", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class Timed:
    """A model in onnxruntime, and how long its runs took."""

    def __init__(self, model: ModelProto, x: np.ndarray, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self.feeds = {self.session.get_inputs()[0].name: x}
        self.seconds: list[float] = []

    def round(self) -> None:
        """Run once to get warm, then with the clock."""
        time.sleep(0.05)  # the threads of the session before spin for a while
        self.session.run(None, self.feeds)
        for _ in range(RUNS):
            start = time.perf_counter()
            self.session.run(None, self.feeds)
            self.seconds.append(time.perf_counter() - start)


def row(shape: str, profile: str, threads: int, rounds: int) -> list[str]:
    """Return one line of the table."""
    name, probs = maps.load(shape)
    say(f"{name} ...")
    logits = np.log(np.maximum(probs, 1e-12))
    timed = [
        Timed(pointwise(False), probs, threads),
        Timed(rma_model(profile=profile), probs, threads),
        Timed(pointwise(True), logits, threads),
        Timed(rma_model(profile=profile, activation="softmax"), logits, threads),
    ]
    for _ in range(rounds):
        for each in timed:
            each.round()
    plain, tail, softmax, from_logits = (1e3 * statistics.median(each.seconds) for each in timed)
    return [
        name,
        f"{plain:.1f}",
        f"{tail:.1f}",
        f"{tail / plain:.2f}",
        f"{softmax:.1f}",
        f"{from_logits:.1f}",
        f"{from_logits / softmax:.2f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", choices=["onnxruntime", "static"], default="onnxruntime")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rows = [row(shape, options.profile, options.threads, options.rounds) for shape in SHAPES]
    print(table(COLUMNS, rows))
    print(f"\n{machine()}; onnxruntime {onnxruntime.__version__}, {options.threads} threads.")


if __name__ == "__main__":
    main()
