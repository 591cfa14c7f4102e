"""RankSEG inside other libraries: import a module by its name; each needs its library."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Say how to install what an import inside the block does not find."""
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        message = f'{name} is not installed: pip install "rankseg[{extra}]"'
        raise ModuleNotFoundError(message, name=name) from error
