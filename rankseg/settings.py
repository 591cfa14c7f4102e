"""The settings of a segmentation: their names, defaults and rules, once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from array_api_compat import array_namespace

from . import arrays
from .factor import LARGEST
from .objectives import LARGEST_SMOOTH, OBJECTIVES, Objective
from .validation import choice, integer, number

Metric: TypeAlias = Literal["dice", "iou", "acc", "accuracy"]
OutputMode: TypeAlias = Literal["multiclass", "multilabel"]
Solver: TypeAlias = Literal[
    "RMA", "exact", "BA", "TRNA", "BA+TRNA", "argmax", "pruned-argmax", "TR", "pruned-TR"
]
Policy: TypeAlias = Literal["max_score", "void"]

METRICS = {name: "accuracy" if name == "acc" else name for name in get_args(Metric)}
SCORES = ("dice", "iou")
MODES: tuple[str, ...] = get_args(OutputMode)
POLICIES: tuple[str, ...] = get_args(Policy)
NORMAL_SOLVERS = ("BA", "TRNA", "BA+TRNA")
SOLVERS = {
    ("dice", "multiclass"): ("RMA", "exact"),
    ("dice", "multilabel"): ("RMA", "exact", *NORMAL_SOLVERS),
    ("iou", "multiclass"): ("RMA", "exact"),
    ("iou", "multilabel"): ("RMA", "exact"),
    ("accuracy", "multiclass"): ("argmax", "pruned-argmax"),
    ("accuracy", "multilabel"): ("TR", "argmax", "pruned-TR"),
}
"""Solvers of each metric and output mode. The first is the default."""

PRUNED = {"multiclass": "pruned-argmax", "multilabel": "pruned-TR"}
"""Solvers of the accuracy that leave out what pruning leaves out."""

UNPRUNED = ("argmax", "TR")
"""Solvers that ignore `pruning_prob`."""

LABEL_PARAMS = ("refine", "unassigned_policy", "void_index")
SOLVER_PARAMS = ("eps", *LABEL_PARAMS, "safe_screening", "correlation")


@dataclass(frozen=True)
class Settings:
    """Checked settings of one predictor, in the spelling of the tables above.

    `solver` None stands for the first that `SOLVERS` has for the metric and mode; `check_settings`
    never returns it.
    """

    metric: str = "dice"
    smooth: float = 0.0
    output_mode: str = "multiclass"
    solver: str | None = None
    pruning_prob: float | tuple[float, ...] = 0.5
    unassigned_policy: str = "max_score"
    void_index: int = 255
    eps: float = 1e-4
    refine: int = 0
    correlation: float | tuple[float, ...] = 0.0

    @property
    def objective(self) -> Objective:
        """What Dice or IoU ask of a mask."""
        return OBJECTIVES[self.metric](min(self.smooth, LARGEST_SMOOTH))

    @property
    def correlated(self) -> bool:
        """Whether the pixels of any class are correlated."""
        return bool(np.any(self.correlation))


def check_settings(
    metric: object,
    smooth: Any,
    output_mode: object,
    solver: object,
    pruning_prob: Any,
    solver_params: Mapping[str, Any],
) -> Settings:
    """Check everything that can be checked without the probabilities."""
    metric = METRICS[choice("metric", metric, METRICS)]
    output_mode = choice("output_mode", output_mode, MODES)
    solver = _check_solver(solver, metric, output_mode)
    smooth = number("smooth", smooth, 0, float("inf"))
    pruning_prob = _check_pruning(pruning_prob)
    params = _check_params(solver, output_mode, solver_params)
    return Settings(metric, smooth, output_mode, solver, pruning_prob, **params)


def _check_solver(solver: object, metric: str, output_mode: str) -> str:
    supported = SOLVERS[metric, output_mode]
    if solver is None:
        return supported[0]
    solver = choice("solver", solver, get_args(Solver))
    if solver not in supported:
        raise ValueError(
            f"solver {solver!r} is not supported for metric={metric!r} with "
            f"output_mode={output_mode!r}; supported solvers: {', '.join(supported)}"
        )
    return solver


def _check_pruning(value: Any) -> float | tuple[float, ...]:
    return _each_class("pruning_prob", value, lambda name, p: number(name, p, 0, 1))


def _check_correlation(value: Any, solver: str, refine: int) -> float | tuple[float, ...]:
    found = each_correlation(value)
    if np.any(found) and solver != "RMA":
        raise ValueError(
            f"correlation must be 0 with solver {solver!r}, found {value!r}: "
            "solver 'RMA' takes others"
        )
    if np.any(found) and refine:
        raise ValueError(
            f"correlation must be 0 with refine={refine}, found {value!r}: "
            "solver 'RMA' takes others with refine=0"
        )
    return found


def each_correlation(value: Any) -> float | tuple[float, ...]:
    """Check one correlation, or one for each class."""
    return _each_class("correlation", value, one_correlation)


def one_correlation(name: str, value: Any) -> float:
    """Check one correlation."""
    try:
        found = number(name, value, 0, 1)
    except ValueError:
        found = -1.0
    if not (0 <= found <= LARGEST or found == 1):
        raise ValueError(f"{name} must be in [0, {LARGEST}] or 1, found {value!r}")
    return found


def _each_class(
    name: str, value: Any, check: Callable[[str, Any], float]
) -> float | tuple[float, ...]:
    """Check one value, or one for each class."""
    if arrays.is_array(value) and value.ndim == 1:
        host = arrays.to_numpy_view(value)
        if array_namespace(value).isdtype(value.dtype, "real floating"):
            host = arrays.widen(array_namespace(host), host)
        value = np.asarray(arrays.read_values(host)[0]).tolist()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(check(f"{name}[{i}]", part) for i, part in enumerate(value))
    return check(name, value)


def _check_params(solver: str, output_mode: str, params: Mapping[str, Any]) -> dict[str, Any]:
    allowed = _params_of(solver, output_mode)
    unknown = sorted(set(params) - {*allowed, "correlation"})
    if unknown:
        taken = ", ".join(sorted(allowed)) or "no further parameters"
        raise TypeError(
            f"solver {solver!r} with output_mode={output_mode!r} does not take "
            f"{', '.join(unknown)}; it takes {taken}"
        )
    screening = params.get("safe_screening", False)
    if not isinstance(screening, bool) and not (
        isinstance(screening, str) and screening.strip().lower() == "auto"
    ):
        raise TypeError(f"safe_screening must be a bool or 'auto', found {screening!r}")
    policy = params.get("unassigned_policy", Settings.unassigned_policy)
    eps = number("eps", params.get("eps", Settings.eps), 0, 1)
    if eps in (0, 1):
        raise ValueError(f"eps must be in (0, 1), found {params['eps']!r}")
    refine = integer("refine", params.get("refine", Settings.refine))
    if refine < 0:
        raise ValueError(f"refine must be >= 0, found {refine}")
    return {
        "unassigned_policy": choice("unassigned_policy", policy, POLICIES),
        "void_index": check_void_index(params.get("void_index", Settings.void_index)),
        "eps": eps,
        "refine": refine,
        "correlation": _check_correlation(
            params.get("correlation", Settings.correlation), solver, refine
        ),
    }


def _params_of(solver: str, output_mode: str) -> list[str]:
    allowed = ["eps"] if solver in NORMAL_SOLVERS else []
    if solver == "RMA":
        allowed += ["correlation", "safe_screening"]
    if output_mode == "multiclass":
        allowed += LABEL_PARAMS if solver in ("RMA", "exact") else ["void_index"]
    return allowed


def check_void_index(value: Any) -> int:
    """Return a void index that fits int64."""
    value = integer("void_index", value)
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"void_index must fit int64, found {value}")
    return value


def check_classes(settings: Settings, classes: int, has_valid: bool, largest: int) -> None:
    """Check the settings against the number of classes and the largest label of an array."""
    if classes == 1 and settings.output_mode == "multiclass":
        raise ValueError(
            "probs has one class, which cannot make a multiclass label map: use "
            "output_mode='multilabel', or pass a background and a foreground class"
        )
    if classes == 1 and settings.solver == "argmax":
        raise ValueError(
            "solver 'argmax' is not supported for one class; supported solvers: TR, pruned-TR"
        )
    for name in ("pruning_prob", "correlation"):
        check_length(name, getattr(settings, name), classes)
    if settings.output_mode == "multiclass":
        _check_void(settings, classes, has_valid, largest)


def check_length(name: str, value: float | tuple[float, ...], classes: int) -> None:
    """Check that there are as many values as classes, where there are several."""
    if isinstance(value, tuple) and len(value) != classes:
        raise ValueError(f"{name} has {len(value)} values, but probs has {classes} classes")


def _check_void(settings: Settings, classes: int, has_valid: bool, largest: int) -> None:
    writes_void = settings.unassigned_policy == "void" or has_valid
    if not writes_void:
        if settings.void_index != Settings.void_index:
            raise ValueError(
                f"void_index={settings.void_index} requires unassigned_policy='void' or valid"
            )
        return
    if 0 <= settings.void_index < classes:
        raise ValueError(
            f"void_index must lie outside [0, {classes}), the classes of probs, "
            f"found {settings.void_index}"
        )
    if not -largest - 1 <= settings.void_index <= largest:
        raise ValueError(
            f"void_index must fit the labels of this library, which end at {largest}, "
            f"found {settings.void_index}"
        )
