"""Masks of SAM, SAM 2 and SAM 3 of Hugging Face Transformers.

Each adapter takes the steps of its family's processor up to the probabilities, where the processor
applies a threshold. Masks of prompts and instances are independent of each other: the answer is
always multilabel. Only torch is needed.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ..extras import optional_imports
from .outputs import (
    Sizes,
    check_sam_family,
    check_size,
    check_sizes,
    check_values,
    make_mask_predictor,
    read,
    read_tensor,
    resize,
)
from .sam3 import Sam3

with optional_imports():
    import torch
    from torch import Tensor

__all__ = ["Sam1", "Sam2", "Sam3"]


class Sam1:
    """Masks of SAM and SAM-HQ for points and boxes.

    Parameters
    ----------
    rankseg_kwargs : dict, optional
        Arguments of `rankseg.RankSEG`; `output_mode` is always "multilabel".
    pad_size : (height, width) or {"height": ..., "width": ...}, optional
        The size that pictures were padded to, the processor's ``pad_size``. By default
        1024 x 1024.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Examples
    --------
    >>> import torch
    >>> from types import SimpleNamespace
    >>> from rankseg.integration.sam import Sam1
    >>> outputs = SimpleNamespace(pred_masks=torch.zeros(1, 2, 3, 16, 16))  # or: model(**inputs)
    >>> adapter = Sam1(rankseg_kwargs={"metric": "iou"}, pad_size=(64, 64))
    >>> masks = adapter.postprocess(
    ...     outputs, original_sizes=[(30, 40)], reshaped_input_sizes=[(48, 64)]
    ... )
    >>> masks[0].shape, masks[0].dtype
    (torch.Size([2, 3, 30, 40]), torch.bool)
    """

    def __init__(
        self,
        *,
        rankseg_kwargs: Mapping[str, Any] | None = None,
        pad_size: tuple[int, int] | Mapping[str, int] | None = None,
    ) -> None:
        self._segment = make_mask_predictor(rankseg_kwargs)
        self._pad_size = check_size("pad_size", (1024, 1024) if pad_size is None else pad_size)

    def restore_mask_probs(
        self, outputs: Any, *, original_sizes: Sizes, reshaped_input_sizes: Sizes
    ) -> list[Tensor]:
        """Return the mask probabilities of each picture in its original size.

        Parameters
        ----------
        outputs : SamImageSegmentationOutput or SamHQImageSegmentationOutput
            Or any object or mapping with `pred_masks` of shape
            (batch, prompt, mask, height, width), or (batch, mask, height, width) of one prompt.
        original_sizes, reshaped_input_sizes : list of (height, width) or integer tensor (batch, 2)
            As the processor returned them; one (height, width) is that of all pictures.

        Returns
        -------
        list of Tensor, shape (prompt, mask, height, width)
            Float32, or float64 for float64 outputs. Gradients flow through them.

        Raises
        ------
        TypeError, ValueError
            If the outputs are of another family, a shape or size is wrong, or a value is NaN or
            infinite.
        """
        return list(self._restore(outputs, original_sizes, reshaped_input_sizes))

    def postprocess(
        self, outputs: Any, *, original_sizes: Sizes, reshaped_input_sizes: Sizes
    ) -> list[Tensor]:
        """Return bool masks (prompt, mask, height, width) of each picture, without gradients.

        The arguments and errors are those of `restore_mask_probs`.
        """
        with torch.no_grad():
            restored = self._restore(outputs, original_sizes, reshaped_input_sizes)
            return [self._segment(probs) for probs in restored]

    def _restore(
        self, outputs: Any, original_sizes: Sizes, reshaped_input_sizes: Sizes
    ) -> Iterator[Tensor]:
        masks = _read_masks(outputs, "Sam1")
        originals = check_sizes("original_sizes", original_sizes, len(masks))
        inner = check_sizes("reshaped_input_sizes", reshaped_input_sizes, len(masks))
        for i, (height, width) in enumerate(inner):
            if height > self._pad_size[0] or width > self._pad_size[1]:
                raise ValueError(
                    f"reshaped_input_sizes[{i}] must fit into the pad size {self._pad_size}, "
                    f"found {(height, width)}"
                )
        for logits, original, (height, width) in zip(masks, originals, inner, strict=True):
            unpadded = resize(logits, self._pad_size)[..., :height, :width]
            yield resize(unpadded, original).sigmoid()


class Sam2:
    """Masks of SAM 2 for points and boxes; also of EdgeTAM and of SAM 3's tracker.

    Parameters
    ----------
    rankseg_kwargs : dict, optional
        Arguments of `rankseg.RankSEG`; `output_mode` is always "multilabel".
    apply_non_overlapping_constraints : bool, default False
        As in the processor: at each pixel the logits of all prompts but the highest are lowered
        to -10 or less.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong.

    Examples
    --------
    >>> import torch
    >>> from types import SimpleNamespace
    >>> from rankseg.integration.sam import Sam2
    >>> outputs = SimpleNamespace(pred_masks=torch.zeros(1, 2, 3, 16, 16))  # or: model(**inputs)
    >>> Sam2().postprocess(outputs, original_sizes=[(30, 40)])[0].shape
    torch.Size([2, 3, 30, 40])
    """

    def __init__(
        self,
        *,
        rankseg_kwargs: Mapping[str, Any] | None = None,
        apply_non_overlapping_constraints: bool = False,
    ) -> None:
        self._segment = make_mask_predictor(rankseg_kwargs)
        if not isinstance(apply_non_overlapping_constraints, bool):
            raise TypeError(
                "apply_non_overlapping_constraints must be a bool, "
                f"found {apply_non_overlapping_constraints!r}"
            )
        self._non_overlapping = apply_non_overlapping_constraints

    def restore_mask_probs(self, outputs: Any, *, original_sizes: Sizes) -> list[Tensor]:
        """Return the mask probabilities of each picture in its original size.

        Parameters
        ----------
        outputs : Sam2ImageSegmentationOutput
            Or any object or mapping with `pred_masks` of shape
            (batch, prompt, mask, height, width), or (batch, mask, height, width) of one prompt.
        original_sizes : list of (height, width) or integer tensor, shape (batch, 2)
            As the processor returned them; one (height, width) is that of all pictures.

        Returns
        -------
        list of Tensor, shape (prompt, mask, height, width)
            Float32, or float64 for float64 outputs. Gradients flow through them.

        Raises
        ------
        TypeError, ValueError
            If the outputs are of another family, a shape or size is wrong, or a value is NaN or
            infinite.
        """
        return list(self._restore(outputs, original_sizes))

    def postprocess(self, outputs: Any, *, original_sizes: Sizes) -> list[Tensor]:
        """Return bool masks (prompt, mask, height, width) of each picture, without gradients.

        The arguments and errors are those of `restore_mask_probs`.
        """
        with torch.no_grad():
            return [self._segment(probs) for probs in self._restore(outputs, original_sizes)]

    def _restore(self, outputs: Any, original_sizes: Sizes) -> Iterator[Tensor]:
        masks = _read_masks(outputs, "Sam2")
        originals = check_sizes("original_sizes", original_sizes, len(masks))
        for logits, original in zip(masks, originals, strict=True):
            resized = resize(logits, original)
            yield (_without_overlap(resized) if self._non_overlapping else resized).sigmoid()


def _read_masks(outputs: Any, adapter: str) -> Tensor:
    check_sam_family(outputs, adapter)
    axes = ["batch", "prompt", "mask", "height", "width"]
    one_prompt = getattr(read(outputs, "pred_masks"), "ndim", 5) == 4
    if one_prompt:
        axes.remove("prompt")
    masks = read_tensor(outputs, "pred_masks", *axes)
    check_values(pred_masks=masks)
    return masks[:, None] if one_prompt else masks


def _without_overlap(logits: Tensor) -> Tensor:
    prompts = torch.arange(len(logits), device=logits.device)
    highest = logits.argmax(0) == prompts[:, None, None, None]
    return torch.where(highest, logits, logits.clamp(max=-10))
