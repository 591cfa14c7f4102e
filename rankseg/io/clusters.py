"""Where chunks are worked on: on this machine, or on a cluster of dask.distributed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..extras import optional_imports

PATIENCE = 10
"""Seconds to wait for the scheduler."""


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Have Dask work on the cluster of a scheduler inside the block, if an address is given.

    Its workers need rankseg, and the files under the same names.

    Raises
    ------
    OSError
        If there is no scheduler.
    ModuleNotFoundError
        If distributed is not installed.
    """
    if address is None:
        yield
        return
    with optional_imports():
        import distributed
    untyped: Any = distributed
    try:
        client = untyped.Client(address, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        raise OSError(f"--scheduler {address}: no scheduler there") from error
    with client:
        yield
