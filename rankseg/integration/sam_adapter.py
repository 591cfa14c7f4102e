"""What the adapters of the SAM families have in common."""

from collections.abc import Mapping
from typing import Any

from .outputs import make_predictor

# A type of outputs belongs to the first of these prefixes that its name begins with.
ADAPTERS = {
    "Sam3Tracker": "Sam2",  # SAM 3 with points and boxes has the outputs and steps of SAM 2
    "EdgeTam": "Sam2",
    "Sam3": "Sam3",
    "Sam2": "Sam2",
    "Sam": "Sam1",
}


class SamAdapter:
    """Settings of RankSEG that give masks, and the check that outputs are of the right family."""

    def __init__(self, rankseg_kwargs: Mapping[str, Any] | None) -> None:
        self.segment = make_predictor(rankseg_kwargs, "multilabel")
        if self.segment.output_mode != "multilabel":
            raise ValueError(
                "rankseg_kwargs must have output_mode='multilabel' or none: the masks of prompts "
                f"and instances are no classes, found {self.segment.output_mode!r}"
            )

    def check_family(self, outputs: Any) -> None:
        """Refuse outputs whose type is of another family; a type without a family passes."""
        name, adapter = type(outputs).__name__, type(self).__name__
        owner = next((ADAPTERS[key] for key in ADAPTERS if name.startswith(key)), adapter)
        if owner != adapter:
            raise ValueError(
                f"{adapter} cannot read {name}: use {owner} of rankseg.integration.sam"
            )
