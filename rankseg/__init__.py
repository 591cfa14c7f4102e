"""RankSEG: segmentation masks with the best expected Dice or IoU, in any array library."""

from typing import TYPE_CHECKING, Any

from . import distribution, functional
from .classaxis import ClassAxisWarning
from .distribution import RefinedNormal, RefinedNormalPB
from .functional import Thresholds, rankdice_ba, rankseg, rankseg_rma, thresholds
from .predictor import RankSEG

if TYPE_CHECKING:
    from . import activations as activations
    from . import calibration as calibration
    from . import config as config
    from . import evaluation as evaluation
    from . import export as export
    from . import integration as integration
    from . import metrics as metrics
    from . import plotting as plotting

__all__ = [
    "ClassAxisWarning",
    "RankSEG",
    "RefinedNormal",
    "RefinedNormalPB",
    "Thresholds",
    "__version__",
    "distribution",
    "functional",
    "rankdice_ba",
    "rankseg",
    "rankseg_rma",
    "thresholds",
]

_MODULES = (
    "activations",
    "calibration",
    "config",
    "evaluation",
    "export",
    "integration",
    "metrics",
    "plotting",
)
"""Public modules that are imported when they are asked for."""


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        from importlib import import_module

        return import_module(f".{name}", __name__)
    # Looked up when it is asked for: reading metadata takes as long as all the rest of the import.
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("rankseg")
        except PackageNotFoundError:
            return "0+unknown"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
