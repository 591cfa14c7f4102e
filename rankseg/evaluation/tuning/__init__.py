"""Argmax or RankSEG, and with which settings? Candidates, cross-validation, the choice."""

from .outcomes import Outcome, Tuning
from .run import tune

__all__ = ["Outcome", "Tuning", "tune"]
