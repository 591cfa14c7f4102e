"""Models run in onnxruntime on the CPU: their values, time and memory."""

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from onnx import ModelProto

from .feeds import Feeds

_PEAK = """
import sys
import numpy as np
import onnxruntime

def resident(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field)) * 1024

options = onnxruntime.SessionOptions()
options.log_severity_level = 3
options.intra_op_num_threads = int(sys.argv[3])
if sys.argv[4]:
    options.add_session_config_entry(sys.argv[5], sys.argv[4])
session = onnxruntime.InferenceSession(sys.argv[1], options, ["CPUExecutionProvider"])
feeds = dict(np.load(sys.argv[2]))
with open("/proc/self/clear_refs", "w") as reset:
    reset.write("5")
before = resident("VmRSS")
session.run(None, feeds)
print(resident("VmHWM") - before)
"""
_FOLDER_KEY = "session.model_external_initializers_file_folder_path"


class Runner:
    """Runs models in onnxruntime on the CPU."""

    def __init__(self, threads: int, folder: str) -> None:
        self.threads, self.folder = threads, folder

    def session(self, model: ModelProto) -> Any:
        """Load a model, without its file."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = self.threads
        if self.folder:
            options.add_session_config_entry(_FOLDER_KEY, self.folder)
        try:
            return onnxruntime.InferenceSession(
                model.SerializeToString(), options, ["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions have no class in common but this
            raise ValueError(f"onnxruntime cannot load it: {_first_line(error)}") from error

    def once(self, session: Any, feeds: Feeds) -> list[np.ndarray]:
        """Run a session once on the feeds that it takes, and return its outputs."""
        wanted = {value.name for value in session.get_inputs()}
        given = {name: value for name, value in feeds.items() if name in wanted}
        try:
            return session.run(None, given)
        except Exception as error:
            raise ValueError(f"onnxruntime does not run it: {_first_line(error)}") from error

    def values(self, model: ModelProto, feeds: Feeds) -> np.ndarray:
        """Return the first output of a model as float64."""
        return self.once(self.session(model), feeds)[0].astype(np.float64)

    def seconds(self, session: Any, feeds: Feeds) -> float:
        """Time one run of a session."""
        start = perf_counter()
        self.once(session, feeds)
        return perf_counter() - start

    def peak(self, model: ModelProto, feeds: Feeds) -> int | None:
        """Peak memory of one run in a process of its own; None where it cannot be read."""
        if not Path("/proc/self/clear_refs").exists():
            return None
        needed = {value.name for value in model.graph.input}
        with tempfile.TemporaryDirectory() as folder:
            file, inputs = Path(folder, "model.onnx"), Path(folder, "feeds.npz")
            file.write_bytes(model.SerializeToString())
            given = {name: values for name, values in feeds.items() if name in needed}
            np.savez(inputs, **given)  # type: ignore[arg-type]
            arguments = [file, inputs, self.threads, self.folder, _FOLDER_KEY]
            done = subprocess.run(
                [sys.executable, "-c", _PEAK, *map(str, arguments)], capture_output=True, text=True
            )
        return int(done.stdout) if done.returncode == 0 else None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def medians(
    run: Runner, sessions: Mapping[str, Any], feeds: Feeds, repeats: int
) -> dict[str, float]:
    """Median time of a run of each session, in turns."""
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(repeats + 1):
        for name, session in sessions.items():
            times[name].append(run.seconds(session, feeds))
    return {name: median(values[1:]) for name, values in times.items()}
