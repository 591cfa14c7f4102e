"""Makes torchvision importable beside the CPU build of torch; to be imported before torchvision.

PyPI's Linux wheels of torchvision are built for CUDA. Beside a torch without CUDA their compiled
operators cannot be loaded, and importing torchvision fails where it describes two of them. Image
transforms, all that the tests need, are plain Python: declaring the two operators is enough.
"""

from importlib.util import find_spec
from pathlib import Path


def _declare_operators():
    import torch

    extension = next(Path(find_spec("torchvision").origin).parent.glob("_C*"))
    try:
        torch.ops.load_library(extension)
    except OSError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return library
    return None


# Operators vanish with their Library.
OPERATORS = _declare_operators() if find_spec("torch") and find_spec("torchvision") else None
