"""RankSEG: segmentation masks with the best expected Dice or IoU, in any array library."""

from importlib.metadata import PackageNotFoundError, version

from . import distribution, functional
from .distribution import RefinedNormal, RefinedNormalPB
from .functional import Thresholds, rankdice_ba, rankseg_rma, thresholds
from .predictor import RankSEG

try:
    __version__ = version("rankseg")
except PackageNotFoundError:
    __version__ = "0+unknown"

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
