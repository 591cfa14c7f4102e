"""RankSEG: segmentation masks with the best expected Dice or IoU, in any array library."""

from importlib.metadata import PackageNotFoundError, version

from rankseg import functional
from rankseg.functional import Thresholds, rankseg_rma, thresholds
from rankseg.predictor import RankSEG

try:
    __version__ = version("rankseg")
except PackageNotFoundError:
    __version__ = "0+unknown"

__all__ = ["RankSEG", "Thresholds", "__version__", "functional", "rankseg_rma", "thresholds"]
