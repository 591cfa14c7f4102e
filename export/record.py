"""What a model's metadata record of its tails: JSON, one entry for each output of labels or masks.

An entry holds the settings of the tail (`TailSettings`) and

- output, source : the head of the model and the value that the tail goes behind, as
  `append_rma` found them; None in a model that is a tail alone;
- resize_to, input, class_axis : what was resized to, the value that the tail reads, and its axis
  of classes;
- result : the value that the tail computes, before axes and types change to those of the output;
- source_sha256 : of the model before, None for a tail alone;
- rankseg : the version of this package.
"""

import json
from dataclasses import asdict
from typing import Any

from onnx import ModelProto, helper

from .. import __version__
from .settings import TailSettings

KEY = "rankseg.output."
NOT_IN_A_GRAPH = ("eps", "refine")


def record(
    model: ModelProto,
    name: str,
    settings: TailSettings,
    *,
    input: str,
    class_axis: int,
    result: str,
    output: str | None = None,
    source: str | None = None,
    resize_to: Any = None,
    source_sha256: str | None = None,
) -> None:
    """Add to a model's metadata what one of its outputs is."""
    entry = {
        **{name: value for name, value in asdict(settings).items() if name not in NOT_IN_A_GRAPH},
        "output": output,
        "source": source,
        "resize_to": resize_to,
        "input": input,
        "class_axis": class_axis,
        "result": result,
        "source_sha256": source_sha256,
        "rankseg": __version__,
    }
    others = {item.key: item.value for item in model.metadata_props}
    helper.set_model_props(model, others | {KEY + name: json.dumps(entry)})


def recorded(model: ModelProto) -> dict[str, dict[str, Any]]:
    """Return what is recorded of a model: for each output of labels or masks its entry."""
    return {
        item.key.removeprefix(KEY): json.loads(item.value)
        for item in model.metadata_props
        if item.key.startswith(KEY) and item.value.startswith("{")
    }
