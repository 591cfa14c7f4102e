"""Arrays in chunks, .zarr and HDF5: opened lazily through Dask, and labels written in chunks."""

from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Array
from ..extras import optional_imports
from .damage import reading
from .names import choose

STORES = (".zarr", ".h5", ".hdf5")
"""Suffixes of files that are read by chunks, so that they may be larger than memory."""

READ = 2**25
"""Bytes that are read at once, about: a task of Dask costs some milliseconds.

On each thread some four times as much is in memory.
"""


class Stored:
    """An array in HDF5, opened anew for each read: workers on other machines open it themselves."""

    def __init__(self, path: Path, name: str) -> None:
        import h5py

        self.path, self.name = path, name
        with h5py.File(path, "r") as file:
            array: Any = file[name]
            self.shape, self.dtype, self.chunks = array.shape, array.dtype, array.chunks
        self.ndim = len(self.shape)

    def __getitem__(self, key: Any) -> np.ndarray:
        """Read a part."""
        import h5py

        with h5py.File(self.path, "r") as file:
            array: Any = file[self.name]
            return np.asarray(array[key])


class Guarded:
    """An array of a store, of which a read that fails names the file."""

    def __init__(self, path: Path, array: Any) -> None:
        self.path, self.array = path, array
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim

    def __getitem__(self, key: Any) -> np.ndarray:
        """Read a part."""
        with reading(self.path):
            return np.asarray(self.array[key])


def open_store(path: Path, key: str | None, usual: tuple[str, ...]) -> Any:
    """Open the array of a store, without reading it: it has a shape, a dtype and chunks.

    Raises
    ------
    ValueError
        If the array is not clear.
    ModuleNotFoundError
        If zarr or h5py is not installed.
    """
    if path.suffix.lower() == ".zarr":
        import zarr

        node: Any = zarr.open(str(path.absolute()), mode="r")
        if not isinstance(node, zarr.Group):
            return node
        return node[choose(sorted(name for name, _ in node.arrays()), key, usual)]
    import h5py

    with h5py.File(path, "r") as file:
        names: list[str] = []
        file.visititems(
            lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
        )
    return Stored(path.absolute(), choose(names, key, usual))


def open_lazily(path: Path, key: str | None, usual: tuple[str, ...]) -> Array:
    """Open the array of a store as one of Dask, whose chunks are several of the store's.

    Raises
    ------
    ValueError
        If it cannot be read.
    ModuleNotFoundError
        If Dask, or the package that reads such files, is not installed.
    """
    with reading(path), optional_imports():  # its extra brings Dask too
        array = open_store(path, key, usual)
    with optional_imports():
        import dask.array as da
    native = getattr(array, "shards", None) or array.chunks or (1,) * array.ndim
    chunks = reading_chunks(array.shape, native, array.dtype.itemsize, READ)
    untyped: Any = da
    return untyped.from_array(Guarded(path, array), chunks=chunks, asarray=True, name=False)


def reading_chunks(
    shape: Iterable[int], native: Iterable[int], itemsize: int, most: int
) -> tuple[int, ...]:
    """Return chunks that are whole ones of a store, grown from the last axis on.

    Examples
    --------
    >>> from rankseg.io.stores import reading_chunks
    >>> reading_chunks((1, 5, 12000, 10000), (1, 5, 256, 256), 4, 2**25)
    (1, 5, 256, 6400)
    """
    shape = tuple(shape)
    chunks = [min(part, size) for part, size in zip(native, shape, strict=True)]
    for axis in reversed(range(len(shape))):
        times = most // max(1, prod(chunks) * itemsize)
        if times < 2:
            break
        chunks[axis] = min(shape[axis], chunks[axis] * times)
        if chunks[axis] < shape[axis]:
            break
    return tuple(chunks)


def look(array: Array) -> np.ndarray:
    """Read the middle of a lazy array: of short axes, that may have the classes, all of it."""
    places = []
    for sizes, length in zip(array.chunks, array.shape, strict=True):
        if length <= 64:
            places.append(slice(None))
            continue
        first = sum(sizes[: len(sizes) // 2])
        places.append(slice(first, first + min(sizes[len(sizes) // 2], 256)))
    return np.asarray(array[tuple(places)].compute())


def slabs_of_chunks(array: Array) -> Iterator[tuple[slice, ...]]:
    """Cut an array of Dask along its chunks of the first axis, or of the second if that has one."""
    axis = 0 if len(array.chunks[0]) > 1 or array.ndim == 1 else 1
    start = 0
    for size in array.chunks[axis]:
        yield (*[slice(None)] * axis, slice(start, start + size))
        start += size


def write_zarr(path: Path, labels: Array) -> None:
    """Write labels of NumPy or Dask, chunk by chunk as they are computed.

    Parameters
    ----------
    path : Path
        The folder, whatever its name is.
    labels : array
        Of Dask: its largest chunks are those of the store.
    """
    with optional_imports():
        import zarr

    lazy = hasattr(labels, "dask")
    if lazy:
        chunks = tuple(max(sizes) for sizes in labels.chunks)
    else:
        chunks = tuple(min(size, 1024) for size in labels.shape)
    store: Any = zarr.create_array(
        str(path.absolute()), shape=labels.shape, chunks=chunks, dtype=labels.dtype
    )
    if lazy:
        labels.rechunk(chunks).store(store, lock=False)
    else:
        store[...] = labels
