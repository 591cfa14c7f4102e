"""Models read and written, and the record of what was appended to them."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError, EncodeError
from onnx import ModelProto, TensorProto

from .index import default_opset

OLDEST_OPSET = 11
METADATA = "rankseg.output."


def load(model: ModelProto | str | os.PathLike[str]) -> tuple[ModelProto, str]:
    """Return a model that may be changed, without external weights, and the source's SHA-256."""
    if isinstance(model, ModelProto):
        copy = ModelProto()
        copy.CopyFrom(model)
        try:
            digest = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
        except (ValueError, EncodeError) as error:
            raise ValueError("a model over 2 GB has to be a file with external weights") from error
    else:
        path = Path(model)
        try:
            copy = onnx.load(path, load_external_data=False)
        except DecodeError as error:
            raise ValueError(f"{path}: not an ONNX model") from error
        digest = _file_digest(path)
    opset = default_opset(copy)
    if not opset or not copy.graph.node or not copy.graph.output:
        where = "the model" if isinstance(model, ModelProto) else str(model)
        raise ValueError(f"{where}: not an ONNX model with nodes, outputs and an opset")
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= opset <= newest:
        raise ValueError(
            f"opset {opset} is not supported, only {OLDEST_OPSET} to {newest}"
            + ("; onnx.version_converter can raise it" if opset < OLDEST_OPSET else "")
        )
    return copy, digest


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save(model: ModelProto, path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Write a model, whole or not at all.

    Parameters
    ----------
    model : ModelProto
        As from `append_rma`.
    path : path
        The file; external weights must lie in its folder already.
    overwrite : bool, default False
        Replace an existing file, but never the model that the tail was appended to.

    Raises
    ------
    FileExistsError
        If there is such a file, and `overwrite` is False or it is the source model.
    ValueError
        If external weights would not be found.
    """
    path = Path(path).resolve()
    if path.exists():
        if not overwrite:
            raise FileExistsError(f"{path}: exists already")
        if _file_digest(path) in {entry["source_sha256"] for entry in appended(model).values()}:
            raise FileExistsError(f"{path}: is the input model, which is never overwritten")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent}: no such folder")
    for location in sorted(_external_files(model)):
        if not (path.parent / location).exists():
            raise ValueError(
                f"the weights are in {location!r}, which is not in {path.parent}: save the model "
                "beside its weights"
            )
    with _replacing(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _external_files(model: ModelProto) -> set[str]:
    return {
        entry.value
        for tensor in model.graph.initializer
        if tensor.data_location == TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }


def appended(model: ModelProto) -> dict[str, dict[str, Any]]:
    """Return what was appended to a model: for each output of labels the record of its tail."""
    return {
        item.key.removeprefix(METADATA): json.loads(item.value)
        for item in model.metadata_props
        if item.key.startswith(METADATA) and item.value.startswith("{")
    }
