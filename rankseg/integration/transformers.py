"""Semantic segmentation with Hugging Face Transformers.

The probabilities are those that a family's own image processor takes the argmax of. Only torch is
needed: a model's outputs are recognised by their fields and by the name of their type. Instance
and panoptic segmentation are out of scope.
"""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from ..extras import optional_imports
from .outputs import (
    Size,
    Sizes,
    check_queries,
    check_target_sizes,
    check_values,
    class_names,
    make_predictor,
    read,
    read_tensor,
    resize,
)

with optional_imports():
    import torch
    from torch import Tensor

__all__ = ["postprocess", "restore_semantic_probs"]


class _QueryFamily(NamedTuple):
    """What the image processor of a family of query models does in its own way."""

    no_object: bool = True  # the last class stands for no object
    mask_size: Size | None = None  # masks are resized to this before the sigmoid
    antialias: bool = False


_QUERY_FAMILIES = {
    "maskformer": _QueryFamily(),
    "mask2former": _QueryFamily(mask_size=(384, 384)),
    "oneformer": _QueryFamily(antialias=True),
    "conditionaldetr": _QueryFamily(no_object=False),
}

_SAM = re.compile("([Ss]am|[Ee]dge[Tt]am)(?![a-z])")
"""How the outputs, configurations and model types of the SAM families begin."""


def restore_semantic_probs(
    outputs: Any, *, model: Any = None, target_sizes: Sizes | None = None
) -> list[Tensor]:
    """Return the class probabilities of each image, from the outputs of a segmentation model.

    Parameters
    ----------
    outputs : ModelOutput
        What the model returned, or any object or mapping with the same fields:

        - `logits` (batch, class, height, width): SegFormer, UPerNet, BEiT, DPT and other dense
          models. They are resized, then the softmax is taken, or the sigmoid of one channel.
        - `class_queries_logits` (batch, query, class + 1) and `masks_queries_logits`
          (batch, query, height, width): MaskFormer, Mask2Former, OneFormer.
        - `logits` (batch, query, class + 1) and `pred_masks` (batch, query, height, width):
          DETR; Conditional DETR, which has no class for "no object".

        The masks of queries are added up per class, weighted by the queries' class probabilities,
        resized, and divided by their sum over the classes (a sum of zero stays zero; the scores
        of a single class are clamped to [0, 1] instead).
    model : PreTrainedModel or its configuration, optional
        Tells the family of query models whose `outputs` have lost their type. Any object with a
        `config` that has a `model_type`, or whose class or a base of it has the family's name.
    target_sizes : list of (height, width) or integer tensor, shape (batch, 2), optional
        The size of each result, or one (height, width) for all. By default that of the model's
        maps, 384 x 384 for Mask2Former.

    Returns
    -------
    list of Tensor, shape (class, height, width)
        Probabilities on the device of the outputs, in float64 if a field is float64 and float32
        otherwise. Gradients flow through them.

    Raises
    ------
    TypeError
        If a field is no real floating tensor, `model` tells no family, or a size is no int.
    ValueError
        If `outputs` is a tuple, if the fields, their shapes or the sizes are wrong, fields lie on
        different devices or hold NaN or infinity, or the family is not supported: SAM
        (see `rankseg.integration.sam`), EoMT, models with `pred_masks` alone.

    Examples
    --------
    >>> import torch
    >>> from types import SimpleNamespace
    >>> from rankseg.integration.transformers import restore_semantic_probs
    >>> outputs = SimpleNamespace(logits=torch.zeros(2, 4, 8, 8))  # or: model(**inputs)
    >>> probs = restore_semantic_probs(outputs, target_sizes=[(30, 40), (20, 20)])
    >>> [tuple(p.shape) for p in probs]
    [(4, 30, 40), (4, 20, 20)]
    """
    return list(_restore(outputs, model, target_sizes))


def postprocess(
    outputs: Any,
    *,
    model: Any = None,
    target_sizes: Sizes | None = None,
    rankseg_kwargs: Mapping[str, Any] | None = None,
) -> list[Tensor]:
    """Return the segmentation of each image with the best expected Dice or IoU.

    It takes the place of an image processor's ``post_process_semantic_segmentation``. One image
    at a time is resized and segmented; gradients are never recorded.

    Parameters
    ----------
    outputs, model, target_sizes
        As in `restore_semantic_probs`.
    rankseg_kwargs : dict, optional
        Arguments of `rankseg.RankSEG`. `output_mode` is "multiclass" by default, and
        "multilabel" for models of one class.

    Returns
    -------
    list of Tensor
        Labels, int64 of shape (height, width), or in multilabel mode bool masks of shape
        (class, height, width).

    Raises
    ------
    TypeError, ValueError
        As by `restore_semantic_probs` and `rankseg.RankSEG`.

    Examples
    --------
    >>> import torch
    >>> from types import SimpleNamespace
    >>> from rankseg.integration.transformers import postprocess
    >>> p = torch.tensor([[[0.6, 0.45, 0.45, 0.1]]])
    >>> outputs = SimpleNamespace(logits=torch.stack([1 - p, p], dim=1).log())
    >>> postprocess(outputs, rankseg_kwargs={"metric": "dice"})  # argmax: 1, 0, 0, 0
    [tensor([[1, 1, 1, 0]])]
    """
    with torch.no_grad():
        return [_segment(probs, rankseg_kwargs) for probs in _restore(outputs, model, target_sizes)]


def _segment(probs: Tensor, settings: Mapping[str, Any] | None) -> Tensor:
    predict = make_predictor(settings, "multilabel" if len(probs) == 1 else "multiclass")
    return predict(probs[None])[0]


def _restore(outputs: Any, model: Any, target_sizes: Sizes | None) -> Iterator[Tensor]:
    names = _names(outputs, model)
    _refuse(outputs, names)
    if read(outputs, "class_queries_logits") is not None:
        fields = "class_queries_logits", "masks_queries_logits"
        return _from_queries(outputs, fields, _query_family(names), target_sizes)
    if read(outputs, "pred_masks") is not None:
        return _from_queries(outputs, ("logits", "pred_masks"), _query_family(names), target_sizes)
    return _from_logits(outputs, target_sizes)


def _from_logits(outputs: Any, target_sizes: Sizes | None) -> Iterator[Tensor]:
    logits = read_tensor(outputs, "logits", "batch", "class", "height", "width")
    check_values(logits=logits)
    for i, size in enumerate(check_target_sizes(target_sizes, len(logits))):
        yield _dense_probs(logits[i : i + 1], size)


def _dense_probs(logits: Tensor, size: Size | None) -> Tensor:
    """Return the probabilities (class, height, width) of one image."""
    scores = resize(logits, size)[0]
    return scores.sigmoid() if len(scores) == 1 else scores.softmax(0)


def _from_queries(
    outputs: Any, fields: tuple[str, str], family: _QueryFamily, target_sizes: Sizes | None
) -> Iterator[Tensor]:
    classes = read_tensor(outputs, fields[0], "batch", "query", "class")
    masks = read_tensor(outputs, fields[1], "batch", "query", "height", "width")
    if family.no_object and classes.shape[2] == 1:
        raise ValueError(
            f"outputs.{fields[0]} must have a class besides 'no object', "
            f"found shape {tuple(classes.shape)}"
        )
    check_queries(**{fields[0]: classes, fields[1]: masks})
    check_values(**{fields[0]: classes, fields[1]: masks})
    dtype = torch.promote_types(classes.dtype, masks.dtype)
    classes, masks = classes.to(dtype), masks.to(dtype)
    for i, size in enumerate(check_target_sizes(target_sizes, len(classes))):
        yield _query_probs(classes[i : i + 1], masks[i : i + 1], family, size)


def _query_probs(classes: Tensor, masks: Tensor, family: _QueryFamily, size: Size | None) -> Tensor:
    """Return the probabilities (class, height, width) of one image."""
    weights = classes.softmax(-1)
    if family.no_object:
        weights = weights[..., :-1]
    masks = resize(masks, family.mask_size).sigmoid()
    with torch.autocast(masks.device.type, enabled=False):  # a caller's would compute in half
        scores = torch.einsum("bqc,bqhw->bchw", weights, masks)
    scores = resize(scores, size, family.antialias)[0]
    if len(scores) == 1:
        return scores.clamp(0, 1)
    total = scores.sum(0)
    return scores / total.masked_fill(total == 0, 1)


def _names(outputs: Any, model: Any) -> list[str]:
    """Return what tells the family: the names of the outputs' types, then those of the model."""
    names = class_names(outputs)
    if model is None:
        return names
    config = getattr(model, "config", model)
    get = config.get if isinstance(config, Mapping) else partial(getattr, config)
    told = [get("model_type", None), *(n for n in class_names(config) if n.endswith("Config"))]
    told = [name for name in told if isinstance(name, str)]
    if not told:
        raise TypeError(
            "model must be a Transformers model or its configuration, with a model_type, "
            f"found {type(model).__name__}"
        )
    return names + told


def _query_family(names: list[str]) -> _QueryFamily:
    found = (_QUERY_FAMILIES[key] for n in names for key in _QUERY_FAMILIES if _is_of(n, key))
    return next(found, _QueryFamily())


def _is_of(name: str, family: str) -> bool:
    return name.replace("_", "").lower().startswith(family)


def _refuse(outputs: Any, names: list[str]) -> None:
    """Refuse families whose class probabilities cannot be told from their outputs."""
    name = type(outputs).__name__
    if any(map(_SAM.match, names)):
        raise ValueError(
            f"{name} holds the masks of prompts or instances, no classes: use Sam1, Sam2 or Sam3 "
            "of rankseg.integration.sam"
        )
    has_patches = hasattr(outputs, "patch_offsets")
    if isinstance(outputs, Mapping):
        has_patches = "patch_offsets" in outputs
    if has_patches or any(_is_of(n, "eomt") for n in names):
        raise ValueError(
            f"{name} is of EoMT, whose maps only its processor can put together: take the "
            "segmentation_scores of its post_process_semantic_segmentation(..., "
            "return_segmentation_scores=True), divide them by their sum over the classes, and "
            "pass them to rankseg.functional.rankseg"
        )
    masks = [f for f in ("pred_masks", "semantic_seg") if read(outputs, f) is not None]
    if masks and read(outputs, "logits") is None:
        raise ValueError(
            f"{name} has {masks[0]} but no logits, and what they mean depends on the model: for "
            "SAM use rankseg.integration.sam; otherwise turn them into probabilities and pass "
            "them to rankseg.functional.rankseg"
        )
