"""A rankseg at the other end of a pipe: one JSON request a line, one JSON reply a line.

Started by `harness.Peer` with the Python that has it: the reference, or another version of this
library. A reply holds a "value", or the "error" of what that rankseg cannot do.
"""

import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import harness
import numpy as np
from harness import Array, Library, load_libraries

import rankseg
from rankseg.functional import rankseg as predict


def loaders(device: str) -> dict[str, Callable[[], Library]]:
    """Return the libraries that compute on a device."""
    if device == "cpu":
        return harness.LIBRARIES
    import gpu

    return gpu.LIBRARIES


def make_call(library: Library, x: Array, function: str, arguments: Any) -> Callable[[], Array]:
    """Return a call of rankseg, or of the library's argmax, without arguments."""
    if function == "argmax":
        return lambda: library.argmax(x)
    if "calibration" not in arguments:
        return lambda: predict(x, **arguments)
    from rankseg.calibration import Calibration

    calibration = Calibration(**arguments["calibration"])
    segment = rankseg.RankSEG(**{**arguments, "calibration": calibration})
    return lambda: segment(x)


class Session:
    """What may be asked for: each method answers one kind of request."""

    def __init__(self, device: str, libraries: list[str]) -> None:
        self.device = device
        self.libraries = load_libraries(libraries, loaders(device))

    def describe(self) -> dict[str, Any]:
        """Return the version, where it lies, and the libraries with theirs."""
        libraries = {name: library.description for name, library in self.libraries.items()}
        if self.device != "cpu":
            libraries["triton"] = f"{'with' if find_spec('triton') else 'WITHOUT'} triton"
        return {
            "version": f"rankseg {version('rankseg')}",
            "home": str(Path(rankseg.__file__).parent),
            "libraries": libraries,
        }

    def load(self, file: str, library: str) -> None:
        """Read the map that the next requests are about."""
        self.library = self.libraries[library]
        self.probs = self.library.asarray(np.load(file))

    def time(self, function: str, calls: int, processor: bool, arguments: Any) -> float:
        """Return the time of the fastest of some calls."""
        call = make_call(self.library, self.probs, function, arguments)
        clock = harness.processor_time if processor else self.library.clock
        return min(clock(call) for _ in range(calls))

    def predict(self, file: str, arguments: Any) -> None:
        """Write what rankseg returns for a torch tensor."""
        np.save(file, predict(self.probs, **arguments).cpu().numpy())


def main() -> None:
    device, libraries = sys.argv[1:]
    replies, sys.stdout = sys.stdout, sys.stderr  # nothing else may get among the replies

    def reply(**fields: Any) -> None:
        print(json.dumps(fields), file=replies, flush=True)

    session = Session(device, libraries.split(","))
    reply(value=session.describe())
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply(value=getattr(session, request.pop("do"))(**request))
        except Exception as error:
            reply(error=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
