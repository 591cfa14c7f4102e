"""What is compared: a plain argmax (or threshold), the same with pruning, and RankSEG."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ...predictor import RankSEG
from ...settings import MODES, PRUNED
from ...validation import choice
from .scores import TITLES

BASELINES = {"multiclass": "argmax", "multilabel": "threshold"}

CORRELATION = 0.5
"""What to try where nobody has tuned (docs/correlation.md)."""


class Method(NamedTuple):
    """A name and a function of probabilities (1, class, *spatial).

    The function returns labels (1, *spatial) or, in multilabel, masks (1, class, *spatial). Its
    ``repr`` stands for its settings when an interrupted evaluation is resumed.
    """

    name: str
    predict: Callable[[Any], Any]


def default_methods(
    metrics: Sequence[str] = ("dice", "iou"),
    solvers: Sequence[str] = ("RMA",),
    *,
    output_mode: str = "multiclass",
    pruning_prob: float | Sequence[float] = 0.5,
    correlation: float | Sequence[float] | None = None,
    **solver_params: Any,
) -> tuple[Method, ...]:
    """Return the baseline, the baseline with pruning, and RankSEG for each metric and solver.

    The second tells how much of a gain comes from leaving out classes that are nowhere likely,
    which an argmax can do as well.

    Parameters
    ----------
    metrics : sequence of {"dice", "iou"}
        What RankSEG maximises.
    solvers : sequence of str
        Solvers of RankSEG, each used for every metric.
    output_mode : {"multiclass", "multilabel"}
        The baseline is an argmax, or in multilabel a threshold of 0.5.
    pruning_prob : float or sequence of float, default 0.5
        A class whose largest probability in a case is not above this is left out of it. One
        value, or one for each class.
    correlation : float or sequence of float, optional
        Correlation of pixels, one value or one for each class. By default RMA is compared
        without and with one of 0.5, and with `refine` without alone.
    **solver_params
        Further parameters of `RankSEG`.

    Returns
    -------
    tuple of Method
        The baseline comes first.

    Raises
    ------
    TypeError, ValueError
        As `RankSEG` does.

    Examples
    --------
    >>> from rankseg.evaluation import default_methods
    >>> [method.name for method in default_methods(metrics=["dice"])]
    ['argmax', 'argmax, pruned', 'RankSEG Dice', 'RankSEG Dice, correlation 0.5']
    """
    output_mode = choice("output_mode", output_mode, MODES)
    both = correlation is None and not solver_params.get("refine")
    if correlation is not None:
        solver_params["correlation"] = correlation
    name = BASELINES[output_mode]
    shared: Any = {"output_mode": output_mode, "pruning_prob": pruning_prob}
    baseline: Any = {"metric": "accuracy", "output_mode": output_mode}
    pruned: Any = {"metric": "accuracy", "solver": PRUNED[output_mode], **shared}
    methods = [Method(name, RankSEG(**baseline)), Method(f"{name}, pruned", RankSEG(**pruned))]
    for solver in solvers:
        for metric in metrics:
            chosen: Any = {"metric": choice("metrics", metric, TITLES), "solver": solver}
            segment = RankSEG(**chosen, **shared, **solver_params)
            suffix = "" if segment.solver == "RMA" else f", {segment.solver}"
            name = f"RankSEG {TITLES[segment.metric]}{suffix}"
            methods.append(Method(name, segment))
            if both and segment.solver == "RMA":
                chosen["correlation"] = CORRELATION
                correlated = RankSEG(**chosen, **shared, **solver_params)
                methods.append(Method(f"{name}, correlation {CORRELATION:g}", correlated))
    return tuple(methods)
