"""RankSEG: segmentation masks with the best expected Dice or IoU, in any array library."""

from importlib.metadata import PackageNotFoundError, version

from rankseg import distribution, functional
from rankseg.distribution import RefinedNormal, RefinedNormalPB
from rankseg.functional import Thresholds, rankdice_ba, rankseg_rma, thresholds
from rankseg.predictor import RankSEG

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
