"""RankSEG with remembered settings."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from .arrays import Array
from .functional import predict
from .validation import check_class_axis, check_settings


class RankSEG:
    """Segment with the best expected Dice or IoU; `rankseg.functional.rankseg` as an object.

    Settings are checked when the object is made. It holds nothing else, so it can be pickled and
    shared between threads.

    Parameters
    ----------
    metric, smooth, output_mode, solver, pruning_prob, class_axis, **solver_params
        As in `rankseg.functional.rankseg`.

    Raises
    ------
    TypeError, ValueError
        As in `rankseg.functional.rankseg`.

    Examples
    --------
    >>> import numpy as np
    >>> from rankseg import RankSEG
    >>> segment = RankSEG(metric="dice", output_mode="multilabel")
    >>> segment(np.array([[[0.6, 0.45, 0.45, 0.1]]]))
    array([[[ True,  True,  True, False]]])
    """

    def __init__(
        self,
        metric: str = "dice",
        smooth: float = 0.0,
        output_mode: str = "multiclass",
        solver: str = "RMA",
        pruning_prob: float | Sequence[float] = 0.5,
        *,
        class_axis: int = 1,
        **solver_params: Any,
    ) -> None:
        self._settings = check_settings(
            metric, smooth, output_mode, solver, pruning_prob, solver_params
        )
        self._class_axis = check_class_axis(class_axis)
        self._solver_params = dict(solver_params)

    metric = property(attrgetter("_settings.metric"), doc="What is maximised.")
    smooth = property(attrgetter("_settings.smooth"), doc="Constant added to both sums.")
    output_mode = property(attrgetter("_settings.output_mode"), doc="Labels or masks.")
    solver = property(attrgetter("_settings.solver"), doc="How the masks are found.")
    pruning_prob = property(attrgetter("_settings.pruning_prob"), doc="Above it classes count.")
    class_axis = property(attrgetter("_class_axis"), doc="Position of the class axis.")

    @property
    def solver_params(self) -> dict[str, Any]:
        """Parameters of the solver that were given."""
        return dict(self._solver_params)

    def predict(self, probs: Array, *, valid: Array | None = None) -> Array:
        """Return labels or masks, as `rankseg.functional.rankseg` does."""
        return predict(probs, self._settings, self._class_axis, valid)

    __call__ = predict

    def __repr__(self) -> str:
        names = ("metric", "smooth", "output_mode", "solver", "pruning_prob", "class_axis")
        settings = {name: getattr(self, name) for name in names} | self.solver_params
        return f"RankSEG({', '.join(f'{name}={value!r}' for name, value in settings.items())})"
