"""The same calls as `cpu.py` under pytest-benchmark: ``pytest benchmarks/bench_rankseg.py``."""

from collections.abc import Callable
from functools import cache
from typing import Any

import maps
import numpy as np
import pytest

from rankseg.functional import rankseg

CALLS: dict[str, Callable[[Any], Any]] = {
    "argmax": lambda probs: np.argmax(probs, axis=1),
    "dice": rankseg,
    "iou": lambda probs: rankseg(probs, "iou"),
    "smooth": lambda probs: rankseg(probs, smooth=1.0),
    "exact": lambda probs: rankseg(probs, solver="exact"),
    "multilabel": lambda probs: rankseg(probs, output_mode="multilabel"),
}


@cache
def draw(name: str) -> np.ndarray:
    """Return one of the generated maps, made once."""
    return maps.SCENES[name].draw()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", ["21x512x512", "150x512x512"])
def test_speed(benchmark: Any, name: str, call: str) -> None:
    benchmark.group = name
    benchmark(CALLS[call], draw(name))
