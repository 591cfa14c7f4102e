"""What is measured: Dice or IoU of each case, and which of its classes count."""

from typing import Any

from ... import metrics
from ..cases.case import Case

METRICS = {"dice": metrics.dice, "iou": metrics.iou}
TITLES = {"dice": "Dice", "iou": "IoU"}
PRESENCES = {"label": "classes in label", "either": "classes in label or prediction"}


def label_form(case: Case, void_index: int) -> dict[str, Any]:
    """Return what `rankseg.metrics` has to know of the labels of a checked case."""
    if case.labels.dtype == bool:
        return {}
    return {"num_classes": len(case.probs), "ignore_index": void_index}
