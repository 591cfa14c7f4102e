"""What a case is."""

from typing import NamedTuple

from ...arrays import Array


class Case(NamedTuple):
    """One image or volume.

    `probs` are probabilities (class, *spatial), `labels` label maps (*spatial) or, in multilabel,
    masks (class, *spatial). Cases of one `group` (a patient, a sequence) belong together.
    """

    name: str
    probs: Array
    labels: Array
    group: str
