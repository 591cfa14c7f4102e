"""What ``torch.compile`` takes for `rankseg.functional.rankseg`: one step, which it does not read.

A module of its own, as it imports PyTorch's compiler, which takes a second.
"""

from ..extras import optional_imports
from ..functional import segment_of_settings

with optional_imports():
    import torch

segment_in_graph = torch.compiler.allow_in_graph(segment_of_settings)
"""Return the segmentation; of a symbolic tensor when a graph is made."""
