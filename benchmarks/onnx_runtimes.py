"""Where a tail runs and gives the labels of NumPy: one line a runtime and profile.

Three maps of other sizes and numbers of classes go one after the other through every runtime in
one process. The time is that of the largest map over the ArgMax of that runtime, the median of
interleaved runs. A runtime that is not there prints NOT RUN and counts as not exact::

    python benchmarks/onnx_runtimes.py
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from rankseg.export import rma_model
from rankseg.functional import rankseg

SHAPES = [(5, 48, 64), (11, 96, 80), (21, 128, 160)]
ROUNDS = 15
Run = Callable[[np.ndarray], np.ndarray]


def maps() -> list[np.ndarray]:
    """Return blocky maps of softmax probabilities."""
    rng = np.random.default_rng(0)
    found = []
    for classes, height, width in SHAPES:
        coarse = 2 * rng.standard_normal((1, classes, height // 8, width // 8))
        scores = np.kron(coarse, np.ones((8, 8))) + 0.3 * rng.standard_normal(
            (1, classes, height, width)
        )
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        found.append((powers / powers.sum(axis=1, keepdims=True)).astype(np.float32))
    return found


def argmax_model(shape: tuple[int, ...]) -> onnx.ModelProto:
    """Return a model of ArgMax alone."""
    node = helper.make_node("ArgMax", ["probs"], ["labels"], axis=1, keepdims=0)
    source = helper.make_tensor_value_info("probs", TensorProto.FLOAT, shape)
    sizes = [shape[0], *shape[2:]]
    result = helper.make_tensor_value_info("labels", TensorProto.INT64, sizes)
    graph = helper.make_graph([node], "argmax", [source], [result])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def onnxruntime(path: Path) -> Run:
    import onnxruntime as ort

    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda p: session.run(None, {"probs": p})[0]


def openvino(path: Path) -> Run:
    import openvino as ov

    compiled = ov.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda p: compiled([p])[0]


def opencv(path: Path) -> Run:
    import cv2

    net = cv2.dnn.readNetFromONNX(str(path))

    def run(p: np.ndarray) -> np.ndarray:
        net.setInput(p)
        return net.forward()

    return run


def tract(path: Path) -> Run:
    import tract as engine

    model = engine.onnx().load(str(path)).into_model().into_runnable()
    return lambda p: model.run([p])[0].to_numpy()


def onnx2torch(path: Path) -> Run:
    import onnx2torch as converter
    import torch

    module = converter.convert(str(path)).eval()
    return lambda p: module(torch.from_numpy(p)).detach().numpy()


RUNTIMES: dict[str, Callable[[Path], Run]] = {
    "onnxruntime": onnxruntime,
    "OpenVINO": openvino,
    "OpenCV": opencv,
    "tract": tract,
    "onnx2torch": onnx2torch,
}


def measure(load: Callable[[Path], Run], profile: str, folder: Path) -> str:
    """Return the equal fraction of labels, and the time over ArgMax."""
    equal = total = 0
    for p in maps():
        paths = [folder / "tail.onnx", folder / "argmax.onnx"]
        settings: dict[str, Any] = {"profile": profile, "num_classes": p.shape[1]}
        onnx.save(rma_model(batch=1, spatial_shape=p.shape[2:], **settings), paths[0])
        onnx.save(argmax_model(p.shape), paths[1])
        runs = [load(path) for path in paths]
        expected = rankseg(p)
        equal += int((np.reshape(runs[0](p), expected.shape) == expected).sum())
        total += expected.size
    seconds: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for run, taken in zip(runs, seconds, strict=True):
            start = time.perf_counter()
            run(p)
            taken.append(time.perf_counter() - start)
    tail, usual = map(statistics.median, seconds)
    return f"{equal / total:.6f} equal, {tail / usual:.1f} x ArgMax"


def main() -> None:
    """Print a line for each runtime and profile."""
    for name, load in RUNTIMES.items():
        for profile in ("onnxruntime", "static"):
            with tempfile.TemporaryDirectory() as folder:
                try:
                    result = measure(load, profile, Path(folder))
                except ImportError:
                    result = "NOT RUN"
                except Exception as error:  # each runtime has errors of its own
                    first = (str(error).strip().splitlines() or [""])[0]
                    result = f"does not load or run: {type(error).__name__} {first[:90]}"
            print(f"{name:12} {profile:12} {result}", flush=True)


if __name__ == "__main__":
    main()
