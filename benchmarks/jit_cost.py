"""What a call costs inside ``jax.jit``, as XLA tells, and in time beside a compiled argmax.

python benchmarks/jit_cost.py
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import maps
import numpy as np

from rankseg.functional import rankseg

ROUNDS = 9


def jitted(probs: np.ndarray, **settings: Any) -> dict[str, float]:
    """Return bytes an element and extra memory over the map's, as compiled, and time over argmax.

    The two are timed in turn, and their medians compared.
    """
    x = jnp.asarray(probs)
    compiled = [_compiled(lambda x: rankseg(x, **settings), x), _compiled(_argmax, x)]
    times: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for call, seconds in zip(compiled, times, strict=True):
            start = time.perf_counter()
            jax.block_until_ready(call(x))
            seconds.append(time.perf_counter() - start)
    ours, argmax = map(statistics.median, times)
    cost = compiled[0].cost_analysis()
    return {
        "bytes_per_element": cost["bytes accessed"] / x.size,
        "memory": compiled[0].memory_analysis().temp_size_in_bytes / x.nbytes,
        "measured_over_argmax": ours / argmax,
    }


def _argmax(x: jax.Array) -> jax.Array:
    return jnp.argmax(x, axis=1)


def _compiled(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> Any:
    return jax.jit(function).lower(x).compile()


def main() -> None:
    for scene in ("21x512x512", "19x1024x2048"):
        found = jitted(maps.SCENES[scene].draw())
        print(f"{scene}: " + ", ".join(f"{key} {value:.3g}" for key, value in found.items()))


if __name__ == "__main__":
    main()
