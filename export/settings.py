"""What the graph is to compute: the settings of `rankseg`, and how the tensors come and go."""

from collections.abc import Iterable
from dataclasses import dataclass

from ..activations import ACTIVATIONS
from ..calibration import Calibration
from ..settings import Settings, check_classes, check_settings
from ..validation import choice

SOLVERS = ("RMA", "argmax", "pruned-argmax", "TR", "pruned-TR")
"""What a graph can solve by."""

SETTINGS = (
    "metric",
    "smooth",
    "output_mode",
    "solver",
    "pruning_prob",
    "unassigned_policy",
    "void_index",
)
"""What a graph has of `Settings`."""

PROFILES = ("onnxruntime", "static")
LABEL_DTYPES = {"int64": 2**63 - 1, "int32": 2**31 - 1, "uint8": 255}
"""Types of labels, and the largest value of each."""

FORMS = ("flat", "function")


@dataclass(frozen=True, kw_only=True)
class TailSettings(Settings):
    """Checked settings of the nodes that turn a network's output into labels or masks.

    Parameters
    ----------
    metric, smooth, output_mode, solver, pruning_prob, unassigned_policy, void_index
        As in `rankseg.functional.rankseg`; for Dice and IoU the solver is RMA, and "argmax" gives
        labels alone.
    activation : {None, "softmax", "sigmoid"}
        What turns the source into probabilities; None if it already holds them.
    label_dtype : {"int64", "int32", "uint8"}
        Type of the labels. Masks are bool.
    profile : {"onnxruntime", "static"}
        "static" computes in float32 alone, and every shape follows from the input's.
    calibration : Calibration, optional
        Correction of the probabilities.

    Raises
    ------
    TypeError, ValueError
        If a setting has the wrong type or value, or two of them do not go together.
    """

    activation: str | None = None
    label_dtype: str = "int64"
    profile: str = "onnxruntime"
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        checked = self._check()
        for name in SETTINGS:
            object.__setattr__(self, name, getattr(checked, name))
        if self.solver not in SOLVERS or (self.solver == "argmax" and not self.multiclass):
            raise ValueError(
                f"solver {self.solver!r} with output_mode={self.output_mode!r} is none of a graph, "
                f"which has {', '.join(SOLVERS)}"
            )
        if self.activation is not None:
            self._choose("activation", ACTIVATIONS)
        self._choose("label_dtype", LABEL_DTYPES)
        if self.label_dtype != "int64" and not self.multiclass:
            raise ValueError(f"label_dtype={self.label_dtype!r} is for labels; masks are bool")
        self._choose("profile", PROFILES)
        if not isinstance(self.calibration, Calibration | None):
            found = type(self.calibration).__name__
            raise TypeError(f"calibration must be a Calibration, found {found}")
        if self.void_index != Settings.void_index and not self.void:
            raise ValueError(f"void_index={self.void_index} requires unassigned_policy='void'")
        if self.void and not self.smallest_label <= self.void_index <= self.largest_label:
            raise ValueError(
                f"void_index must fit label_dtype={self.label_dtype!r}, found {self.void_index}"
            )

    def _choose(self, name: str, allowed: Iterable[str]) -> None:
        object.__setattr__(self, name, choice(name, getattr(self, name), allowed))

    def _check(self) -> Settings:
        given = {name: getattr(self, name) for name in ("unassigned_policy", "void_index")}
        changed = {k: v for k, v in given.items() if v != getattr(Settings, k)}
        return check_settings(
            self.metric, self.smooth, self.output_mode, self.solver, self.pruning_prob, changed
        )

    @property
    def multiclass(self) -> bool:
        """Whether the result is one label a pixel, not one mask a class."""
        return self.output_mode == "multiclass"

    @property
    def void(self) -> bool:
        """Whether pixels that no class selected get `void_index`."""
        return self.unassigned_policy == "void"

    @property
    def smallest_label(self) -> int:
        """The smallest value of the labels' type."""
        return 0 if self.label_dtype == "uint8" else -self.largest_label - 1

    @property
    def largest_label(self) -> int:
        """The largest value of the labels' type."""
        return LABEL_DTYPES[self.label_dtype]

    @property
    def label_type(self) -> int:
        """The number that ONNX has for the labels' type."""
        from onnx import TensorProto

        return int(TensorProto.DataType.Value(self.label_dtype.upper()))

    def check_classes(self, classes: int) -> None:
        """Check the settings against the number of classes.

        Raises
        ------
        ValueError
            If pruning_prob has another length, or the labels do not fit their type or include
            `void_index`.
        """
        check_classes(self, classes, False, self.largest_label)
        made_for = classes if self.calibration is None else self.calibration.classes
        if made_for not in (None, classes):
            raise ValueError(f"the calibration is for {made_for} classes, found {classes}")
        if self.multiclass and classes - 1 > self.largest_label:
            raise ValueError(f"{classes} classes do not fit label_dtype={self.label_dtype!r}")
