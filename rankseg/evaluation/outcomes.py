"""`Outcome` and `Tuning` under the name by which 0.1.0 documents them."""

from .tuning.outcomes import Outcome, Tuning

__all__ = ["Outcome", "Tuning"]
