"""What ``torch.compile`` takes for `rankseg.functional.rankseg`: one step, which it does not read.

A module of its own, as it imports PyTorch's compiler, which takes a second.
"""

from typing import Any

from ..extras import optional_imports
from ..functional import predict
from ..settings import check_settings

with optional_imports():
    import torch


def _segment(
    probs: torch.Tensor, settings: tuple[Any, ...], class_axis: int, valid: torch.Tensor | None
) -> torch.Tensor:
    """Return the segmentation; of a symbolic tensor when a graph is made."""
    return predict(probs, check_settings(*settings), class_axis, valid)


segment_in_graph = torch.compiler.allow_in_graph(_segment)
