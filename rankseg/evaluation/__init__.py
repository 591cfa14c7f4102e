"""Does RankSEG help on your data? Cases with known labels in, comparison with argmax out."""

from .cases import Case, Cases
from .checking import checked_cases
from .methods import Method, default_methods
from .outcomes import Outcome, Tuning
from .report import write_report
from .results import Evaluation, Result
from .run import evaluate
from .tuning import tune

__all__ = [
    "Case",
    "Cases",
    "Evaluation",
    "Method",
    "Outcome",
    "Result",
    "Tuning",
    "checked_cases",
    "default_methods",
    "evaluate",
    "tune",
    "write_report",
]
