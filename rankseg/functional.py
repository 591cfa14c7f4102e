"""RankSEG as functions: probabilities in, masks or labels out."""

import warnings
from collections.abc import Sequence
from typing import Any, Generic, NamedTuple

import numpy as np

from . import arrays, fused
from .arrays import Array
from .classaxis import warn_about_classes
from .correction import Correction
from .docstrings import shared_parameters
from .labelled import is_labelled, labelled, plain, plain_valid
from .opening import open_rows, settled
from .rows import Rows
from .settings import (
    MODES,
    NORMAL_SOLVERS,
    POLICIES,
    PRUNED,
    Metric,
    OutputMode,
    Policy,
    Settings,
    Solver,
    check_classes,
    check_settings,
    check_void_index,
)
from .signatures import ArrayT, same_library
from .solvers import (
    assignment,
    correlated,
    correlated_labels,
    correlated_traced,
    exact,
    normal,
    pointwise,
    refinement,
    rma,
)
from .validation import choice


@same_library
def rankseg(
    probs: Array,
    metric: Metric = "dice",
    smooth: float = 0.0,
    output_mode: OutputMode = "multiclass",
    solver: Solver | None = None,
    pruning_prob: float | Sequence[float] = 0.5,
    *,
    class_axis: int = 1,
    valid: Array | None = None,
    **solver_params: Any,
) -> Array:
    """Return the segmentation with the best expected Dice or IoU.

    Argmax and a threshold of 0.5 maximise the expected accuracy. Dice and IoU are ratios over
    the whole image, and their best mask holds the pixels above a threshold that depends on the
    image; it is found here for each sample and class.

    Parameters
    ----------
    probs : array, shape (batch, class, *spatial)
        Probabilities in [0, 1] (not logits) of a real floating dtype, with one or more spatial
        axes, of NumPy, PyTorch, CuPy, JAX, Dask or any library that follows the Python array API
        standard; or an xarray.DataArray of one of these, whose coordinates labels keep.
        Values outside [0, 1] by rounding alone count as 0 or 1. Half precisions are computed in
        float32.
    metric : {"dice", "iou", "accuracy"}
        What to maximise, per sample and class. "acc" is short for "accuracy".
    smooth : float, default 0.0
        Constant s >= 0 that the metric adds to numerator and denominator.
    output_mode : {"multiclass", "multilabel"}
        One label a pixel, or one mask a class.
    solver : {"RMA", "exact", "BA", "TRNA", "BA+TRNA", "argmax", "pruned-argmax", "TR", \
"pruned-TR"}, optional
        For Dice and IoU "RMA", a fast approximation and the default, or "exact", the best
        expectation over independent pixels, which takes about five times as long. For multilabel
        Dice also the normal approximations of RankDice. Of these only RMA can be traced by
        ``jax.jit``. For accuracy "argmax", the default, or "pruned-argmax", that of the classes
        that pruning leaves; in multilabel "TR" (p > 0.5), the default, "pruned-TR", or "argmax"
        as masks.
    pruning_prob : float or sequence of float, default 0.5
        A class whose largest probability in a sample is not above this is left out of that
        sample. One value, or one for each class. "argmax" and "TR" ignore it.
    class_axis : int, default 1
        Position of the class axis; -1 for channels-last arrays, which are not copied.
    valid : bool array, shape (batch, *spatial), optional
        Pixels that take part. The others (padding, bars, outside of the body) get `void_index`
        in labels and False in masks.
    **solver_params
        For RMA: `correlation` in [0, 0.95] or 1 (default 0), one value or one for each class, of
        the pixels of a row: 0 takes them as independent, which those of networks seldom are; 0.5
        keeps nearly all of the gain, and nearly none of the loss where that hurts
        (docs/correlation.md).
        For RMA and exact, multiclass: `unassigned_policy` ("max_score" or "void") says what
        becomes of a pixel that no class selected, the class that gains most or `void_index`
        (default 255, outside of [0, class); also what `valid` writes, for argmax too).
        `refine=n` then makes up to n passes that improve
        the sum of the classes' objectives over labels, which overlaps resolved once need not
        maximise (default 0). For BA, TRNA and BA+TRNA: `eps` in (0, 1), default
        1e-4, the probability left out of the normal approximation. For RMA `safe_screening` is
        accepted and has no effect: there is no slower path to screen.

    Returns
    -------
    array
        Labels, int64 of shape (batch, *spatial), or bool masks of the shape of `probs`, of the
        same library and device. JAX without x64 has int32 labels. A Dask result is lazy.

    Raises
    ------
    TypeError
        If an argument has the wrong type, or `probs` no real floating dtype.
    ValueError
        If a value is outside its range, `probs` holds NaN, infinity or values outside [0, 1]
        (not checked under ``jax.jit``), or the metric, mode and solver do not go together.

    Notes
    -----
    The approximate expected Dice of the tau most probable pixels, with S their sum and mu the
    sum of all (Wang & Dai, NeurIPS 2025), is

    ``2 S / (mu + tau + 1 + s) + s / (mu + tau + s)``,   and of IoU ``(S + s) / (mu - S + tau + s)``

    Examples
    --------
    A faint object that argmax misses:

    >>> import numpy as np
    >>> from rankseg.functional import rankseg
    >>> p = np.array([0.6, 0.45, 0.45, 0.1])
    >>> probs = np.stack([1 - p, p])[None]
    >>> np.argmax(probs, axis=1)
    array([[1, 0, 0, 0]])
    >>> rankseg(probs, metric="dice")
    array([[1, 1, 1, 0]])
    """
    if arrays.is_compiling():  # torch.compile takes the rest as one step
        from .integration.compiled import segment_in_graph

        given = (metric, smooth, output_mode, solver, pruning_prob, solver_params)
        return segment_in_graph(probs, given, class_axis, valid)
    settings = check_settings(metric, smooth, output_mode, solver, pruning_prob, solver_params)
    return predict(probs, settings, class_axis, valid)


@arrays.on_its_device
def predict(
    probs: Array,
    settings: Settings,
    class_axis: int = 1,
    valid: Array | None = None,
    correction: Correction | None = None,
) -> Array:
    """Return the segmentation for settings that are already checked."""
    if is_labelled(probs):
        inside = plain_valid(valid, probs, class_axis)
        result = predict(plain(probs), settings, class_axis, inside, correction)
        return labelled(result, probs, class_axis)
    valid = plain(valid)
    if correction is None:
        found = fused.labels_or_masks(probs, settings, class_axis, valid)
        if found is not None:
            return found
    rows = open_rows(probs, class_axis, valid, correction)
    check_classes(settings, rows.source.classes, valid is not None, arrays.largest_label(probs))
    multiclass = settings.output_mode == "multiclass"
    if multiclass:
        warn_about_classes(rows, class_axis % probs.ndim)
    result = _labels(rows, settings) if multiclass else _masks(rows, settings)
    result = arrays.from_numpy(result, like=probs)
    return result if multiclass else arrays.move_axis(result, 1, class_axis)


class Thresholds(NamedTuple, Generic[ArrayT]):
    """Masks as one number a row: ``probs > threshold`` is the mask of a sample and class.

    Each is an array of shape (batch, class). An inactive row and an empty best mask have
    threshold infinity.
    """

    threshold: ArrayT
    score: ArrayT
    active: ArrayT


@shared_parameters(rankseg)
@arrays.on_its_device
def thresholds(
    probs: ArrayT,
    metric: Metric = "dice",
    smooth: float = 0.0,
    pruning_prob: float | Sequence[float] = 0.5,
    *,
    class_axis: int = 1,
    valid: Array | None = None,
    correlation: float | Sequence[float] = 0.0,
) -> Thresholds[ArrayT]:
    """Return the threshold, the expected score and the activity of each sample and class.

    A threshold is all that a device has to store of RankSEG: ``probs > threshold`` are the
    multilabel masks of `rankseg`.

    Parameters
    ----------
    probs : array, shape (batch, class, *spatial)
        Probabilities in [0, 1], as in `rankseg`.
    metric : {"dice", "iou"}
        What to maximise, per sample and class.
    smooth, pruning_prob, class_axis, valid
        As in `rankseg`.
    correlation : float or sequence of float, default 0.0
        As in `rankseg`; the score is then the mean over the factor.

    Returns
    -------
    Thresholds
        `threshold` and `score` (RMA's approximate expected metric of the mask, 0 for inactive
        rows) in float32, or float64 for float64 probabilities, and bool `active`; all of shape
        (batch, class), of the library and on the device of `probs`.

    Raises
    ------
    TypeError, ValueError
        As in `rankseg`.

    Examples
    --------
    >>> import numpy as np
    >>> from rankseg import thresholds
    >>> probs = np.array([[[0.9, 0.5, 0.45, 0.1], [0.1, 0.3, 0.2, 0.1]]])
    >>> thresholds(probs).threshold.round(3)
    array([[0.311,   inf]])
    """
    settings = check_settings(
        metric, smooth, "multilabel", "RMA", pruning_prob, {"correlation": correlation}
    )
    found = fused.row_thresholds(probs, settings, class_axis, valid)
    if found is not None:
        return Thresholds(*found)
    rows = open_rows(probs, class_axis, valid)
    check_classes(settings, rows.source.classes, valid is not None, arrays.largest_label(probs))
    solution = _solve(settled(rows), settings)
    dtype = np.float64 if rows.source.is_double else np.float32
    parts = (solution.threshold, solution.score, solution.active)
    if isinstance(solution.threshold, np.ndarray):
        parts = (parts[0].astype(dtype), parts[1].astype(dtype), parts[2])
    return Thresholds(*(arrays.from_numpy(part, like=probs) for part in parts))


def _pruning(rows: Rows, settings: Settings) -> Array:
    # In the precision of the map: a maximum of float32(0.1) does not exceed 0.1.
    dtype = np.float64 if rows.source.is_double else np.float32
    return rows.xp.asarray(np.asarray(settings.pruning_prob, dtype))


def _solve(rows: Rows, settings: Settings) -> rma.Solution:
    pruning = _pruning(rows, settings)
    objective = settings.objective
    if settings.solver in NORMAL_SOLVERS:
        return normal.solve(rows, objective.smooth, pruning, settings.solver, settings.eps)
    if settings.correlated:
        if rows.reads == "never":
            return correlated_traced.solve(rows, objective, pruning, settings.correlation)
        competing = settings.output_mode == "multiclass"
        return correlated.solve(rows, objective, pruning, settings.correlation, competing)
    solver = exact if settings.solver == "exact" else rma
    return solver.solve(rows, objective, pruning)


def _active(rows: Rows, settings: Settings) -> Array | None:
    """Return the classes that a solver of the accuracy leaves, None for all."""
    if settings.solver != PRUNED[settings.output_mode]:
        return None
    return rows.summary.high > _pruning(rows, settings)


def _labels(rows: Rows, settings: Settings) -> Array:
    if settings.metric == "accuracy":
        rows = settled(rows) if settings.solver in PRUNED.values() else rows
        labels = pointwise.most_probable(rows, _active(rows, settings))
        return _without_invalid(rows, labels, settings)
    rows = settled(rows)
    objective = settings.objective
    solution = _solve(rows, settings)
    void = settings.void_index if settings.unassigned_policy == "void" else None
    step = correlated_labels if settings.correlated else assignment
    labels = step.labels(rows, solution, objective, void)
    labels = _without_invalid(rows, labels, settings)
    if settings.refine:
        labels = refinement.refine(rows, solution, objective, labels, settings.refine)
    return labels


def _without_invalid(rows: Rows, labels: Array, settings: Settings) -> Array:
    source = rows.source
    if source.valid is None:
        return labels
    return source.xp.where(source.valid, labels, source.xp.full_like(labels, settings.void_index))


def _masks(rows: Rows, settings: Settings) -> Array:
    if settings.solver == "argmax":
        warnings.warn(
            "solver 'argmax' gives masks that do not overlap; 'TR' decides each class by itself",
            UserWarning,
            stacklevel=5,
        )
        return pointwise.one_hot(rows)
    if settings.solver == "TR":
        return pointwise.above_half(rows)
    rows = settled(rows)
    if settings.metric == "accuracy":
        return pointwise.above_half(rows, _active(rows, settings))
    return assignment.masks(rows, _solve(rows, settings).threshold)


@same_library
@shared_parameters(rankseg)
def rankseg_rma(
    probs: Array,
    metric: Metric = "dice",
    smooth: float = 0.0,
    output_mode: OutputMode = "multiclass",
    pruning_prob: float | Sequence[float] = 0.5,
    unassigned_policy: Policy = "max_score",
    void_index: int = 255,
    safe_screening: bool | str = False,
    *,
    correlation: float | Sequence[float] = 0.0,
) -> Array:
    """Return `rankseg` with the RMA solver and its parameters spelled out.

    Parameters
    ----------
    probs : array, shape (batch, class, *spatial)
        Probabilities in [0, 1], as in `rankseg`.
    metric : {"dice", "iou"}
        What to maximise, per sample and class.
    smooth, output_mode, pruning_prob
        As in `rankseg`.
    unassigned_policy : {"max_score", "void"}
        What becomes of a pixel that no class selected: the class that gains most, or `void_index`.
    void_index : int, default 255
        Outside of [0, class).
    safe_screening : bool or "auto"
        Accepted, and without effect: there is no slower path to screen.
    correlation : float or sequence of float, default 0.0
        As in `rankseg`.

    Returns
    -------
    array
        As of `rankseg`.

    Raises
    ------
    TypeError, ValueError
        As in `rankseg`.

    Examples
    --------
    >>> import numpy as np
    >>> from rankseg import rankseg_rma
    >>> rankseg_rma(np.array([[[0.6, 0.45, 0.45, 0.1]]]), output_mode="multilabel")
    array([[[ True,  True,  True, False]]])
    """
    policy = choice("unassigned_policy", unassigned_policy, POLICIES)
    params: dict[str, Any] = {
        "unassigned_policy": policy,
        "void_index": check_void_index(void_index),
    }
    if choice("output_mode", output_mode, MODES) == "multilabel":
        if policy != POLICIES[0]:  # masks have no unassigned pixels
            raise ValueError(
                f"unassigned_policy must be {POLICIES[0]!r} with output_mode='multilabel', "
                f"found {unassigned_policy!r}"
            )
        params = {}
    return rankseg(
        probs,
        metric,
        smooth,
        output_mode,
        "RMA",
        pruning_prob,
        safe_screening=safe_screening,
        correlation=correlation,
        **params,
    )


@same_library
def rankdice_ba(
    probs: Array,
    solver: Solver = "BA",
    smooth: float = 0.0,
    eps: float = 1e-4,
    pruning_prob: float | Sequence[float] = 0.5,
) -> Array:
    """Return `rankseg` for multilabel Dice with a normal approximation.

    Parameters
    ----------
    probs, smooth, pruning_prob
        As in `rankseg`.
    solver : {"BA", "TRNA", "BA+TRNA"}
        The blind approximation, the truncated refined normal approximation, or the first where
        1 / sigma < 0.2 and the second elsewhere, with sigma the standard deviation of the number
        of positives (Dai & Li, JMLR 24(224), 2023).
    eps : float, default 1e-4
        The refined normal is cut to its central interval of probability 1 - eps.

    Returns
    -------
    array of bool
        Masks of the shape of `probs`.

    Raises
    ------
    TypeError, ValueError
        As in `rankseg`.

    Examples
    --------
    >>> import numpy as np
    >>> from rankseg import rankdice_ba
    >>> rankdice_ba(np.array([[[0.6, 0.45, 0.45, 0.1]]]))
    array([[[ True,  True,  True, False]]])
    """
    choice("solver", solver, NORMAL_SOLVERS)
    return rankseg(probs, "dice", smooth, "multilabel", solver, pruning_prob, eps=eps)
