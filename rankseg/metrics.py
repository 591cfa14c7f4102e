"""Dice and IoU of a prediction against its label, for each image and class, and their means.

Scores are *samplewise*: one number per image and class, averaged afterwards. A class absent from
both the prediction and the label of an image has no score there (NaN) and counts in no mean.

`expected_dice` and `expected_iou` need no label: they tell from the probabilities how good a mask
is likely to be.

Every function takes the arrays of any library that follows the Python array API standard and
answers with arrays of that library, on the same device.
"""

import math
from collections.abc import Iterator
from numbers import Integral
from types import ModuleType
from typing import Literal

from array_api_compat import array_namespace, is_array_api_obj, is_torch_array

from .arrays import Array, count, dtype_name, kind_of, on_its_device, state_dtype
from .expected import expected_dice, expected_iou

__all__ = [
    "class_presence",
    "dice",
    "expected_dice",
    "expected_iou",
    "iou",
    "mean_score",
    "overlap",
]

_FEWEST = 64
"""Arrays of fewer values are never taken for masks of a wrong dtype."""


@on_its_device
def dice(
    pred: Array,
    target: Array,
    *,
    num_classes: int | None = None,
    ignore_index: int | None = None,
) -> Array:
    r"""Dice score of each image and class.

    With :math:`P` the pixels of one image predicted as a class and :math:`T` those labelled so,

    .. math::

        \mathrm{Dice} = \frac{2 |P \cap T|}{|P| + |T|}.

    Parameters
    ----------
    pred : array
        The prediction. The dtype says which of two forms it has:

        - integer: label maps (batch, \*spatial), one class per pixel. A pixel whose value lies
          outside [0, num_classes) is predicted as no class at all. Whole numbers in a floating
          dtype are the same; masks of 0 and 1 are not, and refused where they show: cast them.
        - boolean: masks (batch, class, \*spatial), which may overlap.
    target : array
        The label, in the same form and of the same shape as `pred`.
    num_classes : int, optional
        Number of classes of label maps, which need it. Masks have it in their shape; a value
        given all the same must agree.
    ignore_index : int, optional
        Value in a `target` of label maps for pixels to leave out altogether, whatever was
        predicted there. Masks have no such value.

    Returns
    -------
    array
        Scores (batch, class) in [0, 1], in float64 where library and device have it and float32
        elsewhere. NaN where both :math:`P` and :math:`T` are empty.

    Raises
    ------
    TypeError
        If an argument has the wrong type or dtype.
    ValueError
        If a shape is wrong, or if `target` has a value that is neither a class nor
        `ignore_index`. Values are not looked at in lazy arrays (Dask) or under ``jax.jit``:
        there, a pixel with such a value is labelled as no class.

    See Also
    --------
    iou : The same for intersection over union.
    mean_score : Means of these scores.

    Examples
    --------
    >>> import numpy as np
    >>> from rankseg.metrics import dice
    >>> target = np.array([[[0, 0, 1], [0, 1, 255]]])
    >>> pred = np.array([[[0, 0, 1], [0, 0, 1]]])
    >>> dice(pred, target, num_classes=3, ignore_index=255).round(3)
    array([[0.857, 0.667,   nan]])
    """
    xp, pred, target = _check_pair(pred, target, num_classes, ignore_index)
    intersection, union = _overlap(xp, pred, target, num_classes, ignore_index)
    return _ratio(xp, 2 * intersection, intersection + union)  # |P| + |T| = |P & T| + |P | T|


@on_its_device
def iou(
    pred: Array,
    target: Array,
    *,
    num_classes: int | None = None,
    ignore_index: int | None = None,
) -> Array:
    r"""Intersection over union (Jaccard index) of each image and class.

    With :math:`P` the pixels of one image predicted as a class and :math:`T` those labelled so,

    .. math::

        \mathrm{IoU} = \frac{|P \cap T|}{|P \cup T|}.

    Parameters
    ----------
    pred, target, num_classes, ignore_index
        As for :func:`dice`.

    Returns
    -------
    array
        Scores (batch, class) in [0, 1], as for :func:`dice`.

    Raises
    ------
    TypeError, ValueError
        As for :func:`dice`.

    See Also
    --------
    dice : The same for the Dice score.
    mean_score : Means of these scores.

    Examples
    --------
    Two overlapping structures in one image:

    >>> import numpy as np
    >>> from rankseg.metrics import iou
    >>> target = np.array([[[True, True, False, False], [False, True, True, True]]])
    >>> pred = np.array([[[True, True, True, False], [False, True, True, True]]])
    >>> iou(pred, target).round(3)
    array([[0.667, 1.   ]])
    """
    xp, pred, target = _check_pair(pred, target, num_classes, ignore_index)
    intersection, union = _overlap(xp, pred, target, num_classes, ignore_index)
    return _ratio(xp, intersection, union)


@on_its_device
def overlap(
    pred: Array,
    target: Array,
    *,
    num_classes: int | None = None,
    ignore_index: int | None = None,
) -> tuple[Array, Array]:
    r"""Return the sizes of intersection and union of each image and class.

    Added up over a data set they give its Dice, :math:`2 I / (I + U)`, and its IoU,
    :math:`I / U`, of all pixels together.

    Parameters
    ----------
    pred, target, num_classes, ignore_index
        As for :func:`dice`.

    Returns
    -------
    intersection, union : array
        Pixels (batch, class) that are in prediction and label, and in either, as floating-point
        numbers.

    Raises
    ------
    TypeError, ValueError
        As for :func:`dice`.

    Examples
    --------
    >>> import numpy as np
    >>> from rankseg.metrics import overlap
    >>> target = np.array([[[0, 0, 1, 1]], [[0, 0, 0, 1]]])
    >>> pred = np.array([[[0, 0, 1, 1]], [[0, 0, 1, 1]]])
    >>> both, either = (part.sum(axis=0) for part in overlap(pred, target, num_classes=2))
    >>> both / either  # IoU of the data set
    array([0.8 , 0.75])
    """
    xp, pred, target = _check_pair(pred, target, num_classes, ignore_index)
    return _overlap(xp, pred, target, num_classes, ignore_index)


@on_its_device
def class_presence(
    target: Array, *, num_classes: int | None = None, ignore_index: int | None = None
) -> Array:
    r"""Say which classes have at least one pixel in the label of each image.

    Parameters
    ----------
    target, num_classes, ignore_index
        As for :func:`dice`.

    Returns
    -------
    array of bool
        Presence (batch, class), to be passed to :func:`mean_score`.

    Raises
    ------
    TypeError, ValueError
        As for :func:`dice`.

    Examples
    --------
    >>> import numpy as np
    >>> from rankseg.metrics import class_presence
    >>> class_presence(np.array([[[0, 0], [0, 2]]]), num_classes=3)
    array([[ True, False,  True]])
    """
    xp, target = _check_labels("target", target, num_classes, ignore_index)
    _check_values(xp, target, num_classes, ignore_index)
    _refuse_one_hot(xp, "target", target, num_classes)
    valid = _valid_pixels(xp, target, ignore_index)
    masks = _class_masks(xp, target, num_classes, valid)
    return xp.stack([count(xp, mask, mask.ndim - 1) > 0 for mask in masks], axis=1)


@on_its_device
def mean_score(
    scores: Array,
    *,
    present: Array | None = None,
    per: Literal["image", "class"] | None = None,
) -> Array:
    r"""Mean of samplewise scores: over the classes of each image, then over the images.

    .. math::

        \frac{1}{|B|} \sum_{b \in B} \frac{1}{|C_b|} \sum_{c \in C_b} s_{bc},

    where :math:`s_{bc}` is the score of class :math:`c` in image :math:`b`, :math:`C_b` the
    classes that count in that image, and :math:`B` the images where some class counts. Two
    conventions are in use for :math:`C_b`:

    - present in the label or in the prediction, the default. A class predicted where there is
      none scores 0 and lowers the mean.
    - present in the label: pass ``present=class_presence(target, ...)``. A class predicted where
      there is none lowers the mean only through the pixels that it takes from the others.

    Parameters
    ----------
    scores : array
        Scores (batch, class) from :func:`dice` or :func:`iou`; NaN never counts. For the mean
        over a whole data set, concatenate the scores of its batches along the first axis: a mean
        of their means would give the images unequal weights.
    present : array of bool, optional
        Further restricts what counts (batch, class).
    per : {"image", "class"}, optional
        Stop at one mean per image (over its classes) or take one mean per class (over the
        images). By default, a single number.

    Returns
    -------
    array
        Mean, of shape (), (batch,) or (class,), in the dtype of `scores`. NaN where nothing
        counts.

    Raises
    ------
    TypeError
        If `scores` is not a floating-point array or `present` not a boolean one.
    ValueError
        If a shape is wrong, or `per` is unknown.

    Notes
    -----
    The default agrees with ``DiceScore(average="macro", aggregation_level="samplewise")`` of
    torchmetrics; ``per="class"`` with its ``average="none"`` and with
    ``MeanIoU(per_class=True)``, which writes -1 for our NaN; ``per="image"`` with its function
    ``mean_iou``. The class ``MeanIoU(per_class=False)`` is another mean: all pairs of image and
    class weigh the same, so that images with many classes weigh more.

    Examples
    --------
    >>> import numpy as np
    >>> from rankseg.metrics import class_presence, iou, mean_score
    >>> target = np.array([[[0, 0, 1, 1]], [[0, 0, 0, 0]]])
    >>> pred = np.array([[[0, 0, 1, 1]], [[0, 0, 0, 1]]])
    >>> scores = iou(pred, target, num_classes=3)
    >>> scores
    array([[1.  , 1.  ,  nan],
           [0.75, 0.  ,  nan]])
    >>> float(mean_score(scores))
    0.6875
    >>> float(mean_score(scores, present=class_presence(target, num_classes=3)))
    0.875
    >>> mean_score(scores, per="image")
    array([1.   , 0.375])
    >>> mean_score(scores, per="class")
    array([0.875, 0.5  ,   nan])
    """
    xp = _check_scores(scores, present)
    if present is not None:
        scores = xp.where(present, scores, xp.full_like(scores, xp.nan))
    if per == "class":
        return _nanmean(xp, scores, axis=0)
    image_means = _nanmean(xp, scores, axis=1)
    if per == "image":
        return image_means
    if per is None:
        return _nanmean(xp, image_means, axis=0)
    raise ValueError(f'per must be "image", "class" or None, found {per!r}')


def _overlap(
    xp: ModuleType,
    pred: Array,
    target: Array,
    num_classes: int | None,
    ignore_index: int | None,
) -> tuple[Array, Array]:
    """Sizes (batch, class) of the intersection and of the union, counted in integers."""
    valid = _valid_pixels(xp, target, ignore_index)
    intersections, unions = [], []
    for p, t in zip(
        _class_masks(xp, pred, num_classes, valid),
        _class_masks(xp, target, num_classes, valid),
        strict=True,
    ):
        intersections.append(count(xp, p & t, t.ndim - 1))
        unions.append(count(xp, p | t, t.ndim - 1))

    dtype = state_dtype(xp, target)
    return (
        xp.astype(xp.stack(intersections, axis=1), dtype),
        xp.astype(xp.stack(unions, axis=1), dtype),
    )


def _class_masks(
    xp: ModuleType, labels: Array, num_classes: int | None, valid: Array | None
) -> Iterator[Array]:
    """One boolean map (batch, *spatial) after the other, so that memory holds one class only."""
    for c in range(num_classes or labels.shape[1]):
        is_mask = xp.isdtype(labels.dtype, "bool")
        mask = labels[:, c, ...] if is_mask else _equals(xp, labels, c)
        yield mask if valid is None else mask & valid


def _valid_pixels(xp: ModuleType, target: Array, ignore_index: int | None) -> Array | None:
    """Pixels (batch, *spatial) that count, or None if all do."""
    if ignore_index is None:
        return None
    return xp.logical_not(_equals(xp, target, ignore_index))


def _equals(xp: ModuleType, labels: Array, label: int) -> Array:
    """``labels == label``, for a label that may not fit the dtype (some libraries wrap it)."""
    limits = xp.iinfo(labels.dtype)
    if not limits.min <= label <= limits.max:
        return xp.zeros_like(labels, dtype=xp.bool)
    return labels == int(label)


def _ratio(xp: ModuleType, numerator: Array, denominator: Array) -> Array:
    """``numerator / denominator``, and NaN for 0 / 0."""
    defined = denominator > 0
    divisor = xp.where(defined, denominator, xp.ones_like(denominator))
    return xp.where(defined, numerator / divisor, xp.full_like(numerator, xp.nan))


def _nanmean(xp: ModuleType, scores: Array, axis: int) -> Array:
    """Mean along an axis of what is not NaN."""
    counted = xp.logical_not(xp.isnan(scores))
    total = xp.sum(xp.where(counted, scores, xp.zeros_like(scores)), axis=axis)
    return _ratio(xp, total, xp.sum(xp.astype(counted, scores.dtype), axis=axis))


def _check_pair(
    pred: Array, target: Array, num_classes: int | None, ignore_index: int | None
) -> tuple[ModuleType, Array, Array]:
    """Check prediction and label, and return their namespace and them, as integers or bool."""
    xp, target = _check_labels("target", target, num_classes, ignore_index)
    other, pred = _check_labels("pred", pred, num_classes, ignore_index)
    if other is not xp:
        raise TypeError(
            f"pred and target must be arrays of one library, found {type(pred)} and {type(target)}"
        )
    if xp.isdtype(pred.dtype, "bool") != xp.isdtype(target.dtype, "bool"):
        raise TypeError(
            "pred and target must both be integer label maps or both boolean masks, "
            f"found {pred.dtype} and {target.dtype}"
        )
    if tuple(pred.shape) != tuple(target.shape):
        raise ValueError(
            "pred and target must have the same shape, "
            f"found {tuple(pred.shape)} and {tuple(target.shape)}"
        )
    _refuse_one_hot(xp, "target", target, num_classes)
    _check_values(xp, target, num_classes, ignore_index)
    if _looks_like_masks(xp, pred, num_classes) and int(xp.max(target)) <= 1:  # or an empty label
        _refuse_one_hot(xp, "pred", pred, num_classes)
    return xp, pred, target


def _check_labels(
    name: str, labels: Array, num_classes: int | None, ignore_index: int | None
) -> tuple[ModuleType, Array]:
    """Check label maps or masks but for their values, and return their namespace and them.

    Whole numbers in a floating dtype become integers.
    """
    xp = _namespace(name, labels)
    labels = _as_integers(xp, labels)
    _check_int("num_classes", num_classes)
    _check_int("ignore_index", ignore_index)
    if num_classes is not None and num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, found {num_classes}")
    shape = tuple(labels.shape)
    if xp.isdtype(labels.dtype, "bool"):
        if len(shape) < 3 or shape[1] == 0:
            raise ValueError(
                f"{name} must have the shape (batch, class, *spatial) if boolean, with at least "
                f"one class and one spatial axis, found {shape}"
            )
        if num_classes not in (None, shape[1]):
            raise ValueError(
                f"num_classes must be None or the length of the class axis of {name}, "
                f"found {num_classes} for the shape {shape}"
            )
        if ignore_index is not None:
            raise ValueError(
                "ignore_index must be None for boolean masks, which have no such value, "
                f"found {ignore_index}"
            )
    elif xp.isdtype(labels.dtype, "integral"):
        if len(shape) < 2:
            raise ValueError(
                f"{name} must have the shape (batch, *spatial) if integer, with at least one "
                f"spatial axis, found {shape}"
            )
        if num_classes is None:
            raise ValueError(f"num_classes must be given for integer label maps, as {name} is")
    else:
        raise TypeError(
            f"{name} must be label maps of an integer dtype or masks of dtype bool, "
            f"found {labels.dtype}"
        )
    return xp, labels


def _has_values(labels: Array) -> bool:
    """Say whether values can be looked at: not in lazy arrays, nor under ``jax.jit``."""
    return kind_of(labels) not in ("lazy", "traced")


def _as_integers(xp: ModuleType, labels: Array) -> Array:
    """Return whole numbers in floats, and unsigned integers of PyTorch, as integers that compare.

    Floats whose values cannot be looked at stay, and are refused.
    """
    if dtype_name(labels.dtype) in ("uint16", "uint32") and is_torch_array(labels):
        return labels.to(xp.int64)
    if not xp.isdtype(labels.dtype, "real floating") or not _has_values(labels):
        return labels
    whole = (labels == xp.round(labels)) & (xp.abs(labels) < 2.0**31)
    return xp.astype(labels, xp.int32) if bool(xp.all(whole)) else labels


def _looks_like_masks(xp: ModuleType, labels: Array, num_classes: int | None) -> bool:
    """Say whether integers are masks (batch, class, *spatial) of 0 and 1, not label maps.

    Label maps of two classes may be of such a shape and of such values: masks are only those that
    exclude each other, and few values are none.
    """
    if num_classes is None or num_classes < 2 or xp.isdtype(labels.dtype, "bool"):
        return False
    shape = tuple(labels.shape)
    if len(shape) < 3 or shape[1] != num_classes or math.prod(shape) < _FEWEST:
        return False
    if not _has_values(labels):
        return False
    low, high = int(xp.min(labels)), int(xp.max(labels))
    if low < 0 or high != 1:
        return False
    if num_classes > 2 and len(shape) > 3:
        return True
    return bool(xp.all(xp.sum(labels, axis=1) == 1))


def _refuse_one_hot(xp: ModuleType, name: str, labels: Array, num_classes: int | None) -> None:
    if _looks_like_masks(xp, labels, num_classes):
        raise ValueError(
            f"{name} must be label maps if integer, found what look like masks of 0 and 1 with a "
            f"class axis, of shape {tuple(labels.shape)}: cast them to bool"
        )


def _namespace(name: str, array: Array) -> ModuleType:
    if not is_array_api_obj(array):
        raise TypeError(f"{name} must be an array, found {type(array)}")
    xp: ModuleType = array_namespace(array)
    return xp


def _check_int(name: str, value: int | None) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, Integral)):
        raise TypeError(f"{name} must be an int or None, found {value!r}")


def _check_values(
    xp: ModuleType, target: Array, num_classes: int | None, ignore_index: int | None
) -> None:
    """Check that label maps hold nothing but classes and `ignore_index`."""
    if num_classes is None or xp.isdtype(target.dtype, "bool"):
        return
    if not _has_values(target) or math.prod(target.shape) == 0:
        return
    if ignore_index is not None:
        void = _equals(xp, target, ignore_index)
        target = xp.where(void, xp.zeros_like(target), target)
    low, high = int(xp.min(target)), int(xp.max(target))
    if low < 0 or high >= num_classes:
        found = low if low < 0 else high
        allowed = f"in [0, {num_classes})"
        if ignore_index is not None:
            allowed += f" or equal to ignore_index={ignore_index}"
        raise ValueError(f"target must be {allowed}, found {found}")


def _check_scores(scores: Array, present: Array | None) -> ModuleType:
    """Check samplewise scores and what counts among them, and return their namespace."""
    xp = _namespace("scores", scores)
    if not xp.isdtype(scores.dtype, "real floating"):
        raise TypeError(f"scores must have a real floating dtype, found {scores.dtype}")
    if scores.ndim != 2:
        raise ValueError(f"scores must have the shape (batch, class), found {tuple(scores.shape)}")
    if present is None:
        return xp
    if _namespace("present", present) is not xp:
        raise TypeError(
            f"scores and present must be arrays of one library, found {type(scores)} "
            f"and {type(present)}"
        )
    if not xp.isdtype(present.dtype, "bool"):
        raise TypeError(f"present must have dtype bool, found {present.dtype}")
    if tuple(present.shape) != tuple(scores.shape):
        raise ValueError(
            f"present must have the shape of scores, {tuple(scores.shape)}, "
            f"found {tuple(present.shape)}"
        )
    return xp
