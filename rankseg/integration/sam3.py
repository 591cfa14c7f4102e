"""SAM 3: the instances of a concept, and its semantic mask."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..extras import optional_imports
from ..validation import number
from .outputs import (
    Size,
    Sizes,
    check_queries,
    check_sam_family,
    check_target_sizes,
    check_values,
    make_mask_predictor,
    read,
    read_tensor,
    resize,
)

with optional_imports():
    import torch
    from torch import Tensor


class Sam3:
    """Instances and the semantic mask of a concept in SAM 3.

    Parameters
    ----------
    rankseg_kwargs : dict, optional
        Arguments of `rankseg.RankSEG`; `output_mode` is always "multilabel".
    threshold : float, default 0.3
        Instances are kept whose score is above it.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Examples
    --------
    >>> import torch
    >>> from types import SimpleNamespace
    >>> from rankseg.integration.sam import Sam3
    >>> outputs = SimpleNamespace(semantic_seg=torch.zeros(1, 1, 16, 16))  # or: model(**inputs)
    >>> Sam3().postprocess_semantic(outputs, target_sizes=[(30, 40)])[0].shape
    torch.Size([30, 40])
    """

    def __init__(
        self, *, rankseg_kwargs: Mapping[str, Any] | None = None, threshold: float = 0.3
    ) -> None:
        self._segment = make_mask_predictor(rankseg_kwargs)
        self._threshold = number("threshold", threshold, 0, 1)

    def restore_instance_mask_probs(
        self,
        outputs: Any,
        *,
        target_sizes: Sizes | None = None,
        original_sizes: Sizes | None = None,
    ) -> list[dict[str, Tensor]]:
        """Return the scores, boxes and mask probabilities of each picture's instances.

        Parameters
        ----------
        outputs : Sam3ImageSegmentationOutput
            Or any object or mapping with `pred_masks` (batch, query, height, width),
            `pred_logits` (batch, query), `pred_boxes` (batch, query, 4) and, if the model has
            it, `presence_logits` (batch, 1).
        target_sizes : list of (height, width) or integer tensor, shape (batch, 2), optional
            The size of each result, or one (height, width) for all. By default masks keep the
            model's size and boxes are relative to the picture.
        original_sizes : as target_sizes, optional
            What the processor calls them; used where `target_sizes` is None.

        Returns
        -------
        list of dict
            `scores` (instance,), `boxes` (instance, 4) as left, top, right, bottom, and
            `mask_probs` (instance, height, width) of each picture, which keep the model's size
            where there is no instance. Gradients flow through them.

        Raises
        ------
        TypeError, ValueError
            If the outputs are of another family, a shape or size is wrong, fields lie on
            different devices, or a value is NaN or infinite.
        """
        return list(self._instances(outputs, target_sizes, original_sizes))

    def postprocess_instance(
        self,
        outputs: Any,
        *,
        target_sizes: Sizes | None = None,
        original_sizes: Sizes | None = None,
    ) -> list[dict[str, Tensor]]:
        """Return `scores`, `boxes` and bool `masks` of each picture's instances.

        The arguments and errors are those of `restore_instance_mask_probs`. Gradients are never
        recorded.
        """
        with torch.no_grad():
            results = []
            for found in self._instances(outputs, target_sizes, original_sizes):
                probs = found.pop("mask_probs")
                results.append(found | {"masks": self._segment(probs[:, None])[:, 0]})
            return results

    def restore_semantic_mask_probs(
        self,
        outputs: Any,
        *,
        target_sizes: Sizes | None = None,
        original_sizes: Sizes | None = None,
    ) -> list[Tensor]:
        """Return the probabilities (1, height, width) of the concept in each picture.

        Parameters
        ----------
        outputs : Sam3ImageSegmentationOutput
            Or any object or mapping with `semantic_seg` of shape (batch, 1, height, width).
        target_sizes, original_sizes
            As in `restore_instance_mask_probs`.

        Returns
        -------
        list of Tensor, shape (1, height, width)
            Float32, or float64 for float64 outputs. Gradients flow through them.

        Raises
        ------
        TypeError, ValueError
            If the outputs are of another family, a shape or size is wrong, fields lie on
            different devices, or a value is NaN or infinite.
        """
        return list(self._semantic(outputs, target_sizes, original_sizes))

    def postprocess_semantic(
        self,
        outputs: Any,
        *,
        target_sizes: Sizes | None = None,
        original_sizes: Sizes | None = None,
    ) -> list[Tensor]:
        """Return the bool mask (height, width) of the concept in each picture.

        The arguments and errors are those of `restore_semantic_mask_probs`. Gradients are never
        recorded.
        """
        with torch.no_grad():
            restored = self._semantic(outputs, target_sizes, original_sizes)
            return [self._segment(probs[None])[0, 0] for probs in restored]

    def _instances(
        self, outputs: Any, target_sizes: Sizes | None, original_sizes: Sizes | None
    ) -> Iterator[dict[str, Tensor]]:
        check_sam_family(outputs, "Sam3")
        masks = read_tensor(outputs, "pred_masks", "batch", "query", "height", "width")
        boxes = read_tensor(outputs, "pred_boxes", "batch", "query", "4")
        logits = read_tensor(outputs, "pred_logits", "batch", "query")
        check_queries(pred_masks=masks, pred_boxes=boxes, pred_logits=logits)
        fields = {"pred_masks": masks, "pred_boxes": boxes, "pred_logits": logits}
        if read(outputs, "presence_logits") is not None:
            presence = read_tensor(outputs, "presence_logits", str(len(masks)), "1")
            fields["presence_logits"] = presence
        check_values(**fields)
        scores = logits.sigmoid()
        if "presence_logits" in fields:
            scores = scores * presence.sigmoid()
        for i, size in enumerate(_sizes(target_sizes, original_sizes, len(masks))):
            kept = scores[i] > self._threshold
            scale = (1, 1) if size is None else size[::-1]
            probs = masks[i][kept][:, None].sigmoid()
            yield {
                "scores": scores[i][kept],
                "boxes": boxes[i][kept] * boxes.new_tensor(scale * 2),
                "mask_probs": resize(probs, size if len(probs) else None)[:, 0],
            }

    def _semantic(
        self, outputs: Any, target_sizes: Sizes | None, original_sizes: Sizes | None
    ) -> Iterator[Tensor]:
        check_sam_family(outputs, "Sam3")
        logits = read_tensor(outputs, "semantic_seg", "batch", "1", "height", "width")
        check_values(semantic_seg=logits)
        for i, size in enumerate(_sizes(target_sizes, original_sizes, len(logits))):
            yield resize(logits[i : i + 1].sigmoid(), size)[0]


def _sizes(
    target_sizes: Sizes | None, original_sizes: Sizes | None, batch: int
) -> Sequence[Size | None]:
    if target_sizes is None:
        return check_target_sizes(original_sizes, batch, "original_sizes")
    return check_target_sizes(target_sizes, batch)
