"""From what a network gives to probabilities: wider types, axes, activation, calibration."""

import numpy as np
from onnx import TensorProto

from ...calibration import Calibration
from ..settings import TailSettings
from .fragment import Value


def probabilities(source: Value, settings: TailSettings, class_axis: int, ndim: int) -> Value:
    """Return probabilities in float32 or float64 with the classes on axis 1."""
    f = source.fragment
    if source.dtype != TensorProto.DOUBLE:
        source = source.cast(TensorProto.FLOAT, "wide")
    if class_axis != 1:
        order = [0, class_axis, *(i for i in range(1, 2 + ndim) if i != class_axis)]
        source = source.transpose(order, "channels")
    if settings.activation is not None:
        source = activated(source, settings.activation)
    if settings.calibration is not None:
        f.scope = "calib/"
        source = calibrated(source, settings.calibration, settings.multiclass, ndim)
    return source


def activated(logits: Value, activation: str) -> Value:
    """Return the softmax over the classes in parts, or the sigmoid."""
    f = logits.fragment
    if activation == "sigmoid":
        return f.add("Sigmoid", [logits], logits.dtype, "probs")
    f.scope = f.scope or "softmax/"
    centred = logits - logits.reduce("ReduceMax", [1])
    powers = f.add("Exp", [centred], logits.dtype)
    return powers / powers.reduce("ReduceSum", [1])


def calibrated(p: Value, calibration: Calibration, multiclass: bool, ndim: int) -> Value:
    """Return the probabilities that `rankseg.calibration.Calibration` gives."""
    f = p.fragment
    epsilon = float(np.finfo(np.float64 if p.dtype == TensorProto.DOUBLE else np.float32).eps)
    p = p.clip(calibration.floor, 1.0 if multiclass else 1 - max(calibration.floor, epsilon))
    scores = f.add("Log", [p], p.dtype)
    if not multiclass:
        scores = scores - f.add("Log", [1.0 - p], p.dtype)
    scale, bias = (
        f.constant(np.reshape(values, (1, -1, *[1] * ndim)), p.dtype, name)
        for name, values in (("scale", calibration.scale), ("bias", calibration.bias))
    )
    return activated(scores * scale + bias, "softmax" if multiclass else "sigmoid")
