"""Does a model with a RankSEG tail compute what `rankseg` computes, and what does it cost."""

from .verify import Verification

__all__ = ["Verification"]
