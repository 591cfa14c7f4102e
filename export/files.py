"""Models read and written."""

import filecmp
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, EncodeError
from onnx import GraphProto, ModelProto, TensorProto

from ..io.replacing import check_target, replacing
from .head.index import default_opset
from .names import subgraphs
from .record import recorded

OLDEST_OPSET = 11


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
            copy = ModelProto.FromString(path.read_bytes())
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


def save(
    model: ModelProto,
    path: str | os.PathLike[str],
    overwrite: bool = False,
    *,
    weights: str | os.PathLike[str] | None = None,
) -> None:
    """Write a model, whole or not at all.

    Parameters
    ----------
    model : ModelProto
        As from `append_rma`.
    path : path
        The file.
    overwrite : bool, default False
        Replace an existing file, but never the model that the tail was appended to, or weights.
    weights : path, optional
        The folder with the external weights of the model, which are copied beside the new file;
        by default they have to be there already. (Copied, as onnx refuses links.)

    Raises
    ------
    FileExistsError
        If there is such a file, and `overwrite` is False, or it is the source model or weights,
        or another file has the name of the weights.
    ValueError
        If external weights would not be found.
    """
    path, locations = Path(path).resolve(), external_files(model)
    if path in [(path.parent / location).resolve() for location in locations]:
        raise FileExistsError(f"{path}: holds weights of the model, which are never overwritten")
    check_target(path, overwrite)
    sources = {entry["source_sha256"] for entry in recorded(model).values()}
    if path.exists() and _file_digest(path) in sources:
        raise FileExistsError(f"{path}: is the input model, which is never overwritten")
    if weights is not None:
        _copy(Path(weights).resolve(), path.parent, locations)
    for location in locations:
        if not (path.parent / location).exists():
            raise ValueError(
                f"the weights are in {location!r}, which is not in {path.parent}: save the model "
                "beside its weights, or name their folder to have them copied"
            )
    with replacing(path, overwrite) as temporary:
        temporary.write_bytes(model.SerializeToString())


def _copy(source: Path, target: Path, locations: list[str]) -> None:
    """Copy files between folders, unless they are there."""
    if source == target:
        return
    for location in locations:
        old, new = source / location, target / location
        if new.exists() and not filecmp.cmp(old, new, shallow=False):
            raise FileExistsError(f"{new}: exists already and does not hold the model's weights")
    for location in locations:
        new = target / location
        if not new.exists():
            new.parent.mkdir(parents=True, exist_ok=True)
            with replacing(new, overwrite=False) as temporary:
                shutil.copyfile(source / location, temporary)


def external_files(model: ModelProto) -> list[str]:
    """Return the files with weights that a model names, relative to its own."""
    return sorted(
        {
            entry.value
            for tensor in _tensors(model.graph)
            if tensor.data_location == TensorProto.EXTERNAL
            for entry in tensor.external_data
            if entry.key == "location"
        }
    )


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for item in node.attribute:
            yield from (item.t, *item.tensors)
        for inner in subgraphs(node):
            yield from _tensors(inner)
