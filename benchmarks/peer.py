"""The reference package on the other end of a pipe: one JSON request a line, one reply a line.

Started by `harness.Peer` with the Python that has the reference; needs nothing but torch there.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from rankseg.functional import rankseg


def describe(device: str) -> str:
    text = f"rankseg {version('rankseg')}, torch {torch.__version__}"
    if device == "cpu":
        return f"{text} ({torch.get_num_threads()} threads)"
    return f"{text}, {'with' if find_spec('triton') else 'WITHOUT'} triton"


def seconds_on_cpu(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def seconds_on_gpu(call: Callable[[], object]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    call()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) / 1000


def main() -> None:
    device = sys.argv[1]
    clock = seconds_on_cpu if device == "cpu" else seconds_on_gpu
    replies, sys.stdout = sys.stdout, sys.stderr  # nothing else may get among the replies
    probs = torch.empty(0)

    def reply(value: Any) -> None:
        print(json.dumps(value), file=replies, flush=True)

    reply(describe(device))
    for line in sys.stdin:
        request = json.loads(line)
        arguments = request.get("arguments", {})
        if request["do"] == "load":
            probs = torch.from_numpy(np.load(request["file"])).to(device)
            reply(None)
        elif request["do"] == "time":
            reply(clock(partial(rankseg, probs, **arguments)))
        elif request["do"] == "predict":
            np.save(request["file"], rankseg(probs, **arguments).cpu().numpy())
            reply(None)


if __name__ == "__main__":
    main()
