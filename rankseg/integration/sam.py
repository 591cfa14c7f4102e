"""Masks of SAM, SAM 2 and SAM 3 of Hugging Face Transformers.

Each adapter takes the steps of its family's processor up to the probabilities, where the processor
applies a threshold. Masks of prompts and instances are independent of each other: the answer is
always multilabel. Only torch is needed.
"""

from .sam_concepts import Sam3
from .sam_prompts import Sam1, Sam2

__all__ = ["Sam1", "Sam2", "Sam3"]
