"""RankSEG: segmentation masks with the best expected Dice or IoU, in any array library."""

from . import distribution, functional
from .distribution import RefinedNormal, RefinedNormalPB
from .functional import Thresholds, rankdice_ba, rankseg_rma, thresholds
from .predictor import RankSEG

__all__ = [
    "RankSEG",
    "RefinedNormal",
    "RefinedNormalPB",
    "Thresholds",
    "__version__",
    "distribution",
    "functional",
    "rankdice_ba",
    "rankseg_rma",
    "thresholds",
]


def __getattr__(name: str) -> str:
    # Looked up when it is asked for: reading metadata takes as long as all the rest of the import.
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("rankseg")
        except PackageNotFoundError:
            return "0+unknown"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
