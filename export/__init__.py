"""RankSEG as ONNX: a model of its own, or the tail of one that is deployed.

Needs the extra ``onnx``. Nothing of it is imported before a name is asked for.
"""

from importlib import import_module
from typing import Any

from ..extras import optional_imports

_HOMES = {
    "Tail": "emitter.tail",
    "TailSettings": "settings",
    "append_rma": "append",
    "rma_model": "model",
    "save": "files",
    "tail": "emitter.tail",
    "verify": "verification.verify",
}

__all__ = ["Tail", "TailSettings", "append_rma", "rma_model", "save", "tail", "verify"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        with optional_imports():
            return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
