"""Does RankSEG help on your data? Cases with known labels in, comparison with argmax out."""

from .cases.case import Case
from .cases.checking import checked_cases
from .cases.files import Cases
from .compare.methods import Method, default_methods
from .compare.results import Evaluation, Result
from .compare.run import evaluate
from .report.page import write_report
from .tuning import Outcome, Tuning, tune

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
