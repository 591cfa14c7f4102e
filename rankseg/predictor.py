"""RankSEG with remembered settings."""

import os
from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, overload

from numpy.typing import NDArray

from .arrays import Array
from .calibration import Calibration
from .docstrings import shared_parameters
from .functional import predict, rankseg
from .settings import Metric, OutputMode, Solver, check_settings
from .signatures import ArrayT, Untyped
from .validation import check_class_axis

if TYPE_CHECKING:
    from .config import Config


@shared_parameters(rankseg)
class RankSEG:
    """Segment with the best expected Dice or IoU; `rankseg.functional.rankseg` as an object.

    Settings are checked when the object is made. It holds nothing else, so it can be pickled and
    shared between threads.

    Parameters
    ----------
    metric, smooth, output_mode, solver, pruning_prob, class_axis, **solver_params
        As in `rankseg.functional.rankseg`.
    calibration : Calibration, optional
        Correction that the probabilities go through first.

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
        metric: Metric = "dice",
        smooth: float = 0.0,
        output_mode: OutputMode = "multiclass",
        solver: Solver | None = None,
        pruning_prob: float | Sequence[float] = 0.5,
        *,
        class_axis: int = 1,
        calibration: Calibration | None = None,
        **solver_params: Any,
    ) -> None:
        self._settings = check_settings(
            metric, smooth, output_mode, solver, pruning_prob, solver_params
        )
        self._class_axis = check_class_axis(class_axis)
        if calibration is not None and not isinstance(calibration, Calibration):
            found = type(calibration).__name__
            raise TypeError(f"calibration must be a Calibration, found {found}")
        self._calibration = calibration
        self._solver_params = dict(solver_params)

    metric = property(attrgetter("_settings.metric"), doc="What is maximised.")
    smooth = property(attrgetter("_settings.smooth"), doc="Constant added to both sums.")
    output_mode = property(attrgetter("_settings.output_mode"), doc="Labels or masks.")
    solver = property(attrgetter("_settings.solver"), doc="How the masks are found.")
    pruning_prob = property(attrgetter("_settings.pruning_prob"), doc="Above it classes count.")
    class_axis = property(attrgetter("_class_axis"), doc="Position of the class axis.")
    calibration = property(attrgetter("_calibration"), doc="What corrects the probabilities.")

    @classmethod
    def from_config(
        cls, config: "Config | str | os.PathLike[str]", *, class_axis: int = 1
    ) -> "RankSEG":
        """Return RankSEG with settings and calibration from a file.

        Parameters
        ----------
        config : path or Config
            A .toml or .json file as `rankseg tune` writes it, or what `Config.load` returns.
        class_axis : int, default 1
            As in `rankseg.functional.rankseg`.

        Raises
        ------
        OSError
            If the file cannot be read.
        TypeError, ValueError
            As in `rankseg.config.Config.load`.
        """
        from .config import Config  # not needed by those who read no file

        if not isinstance(config, Config):
            config = Config.load(config)
        return cls(**config.arguments, class_axis=class_axis)

    @property
    def solver_params(self) -> dict[str, Any]:
        """Parameters of the solver that were given."""
        return dict(self._solver_params)

    @overload
    def predict(self, probs: Untyped, *, valid: Array | None = None) -> Any: ...
    @overload
    def predict(self, probs: NDArray[Any], *, valid: Array | None = None) -> NDArray[Any]: ...
    @overload
    def predict(self, probs: ArrayT, *, valid: Array | None = None) -> ArrayT: ...
    def predict(self, probs: Array, *, valid: Array | None = None) -> Array:
        """Return labels or masks.

        Parameters
        ----------
        probs : array, shape (batch, class, *spatial)
            Probabilities in [0, 1], as in `rankseg.functional.rankseg`.
        valid : bool array, shape (batch, *spatial), optional
            Pixels that take part. The others get `void_index` in labels and False in masks.

        Returns
        -------
        array
            Labels, int64 of shape (batch, *spatial), or bool masks of the shape of `probs`, of
            the same library and device.

        Raises
        ------
        TypeError, ValueError
            As in `rankseg.functional.rankseg`.

        Examples
        --------
        >>> import numpy as np
        >>> from rankseg import RankSEG
        >>> p = np.array([0.6, 0.45, 0.45, 0.1])
        >>> RankSEG(metric="dice").predict(np.stack([1 - p, p])[None])
        array([[1, 1, 1, 0]])
        """
        correction = None
        if self._calibration is not None:
            correction = self._calibration.correction(self.output_mode)
        return predict(probs, self._settings, self._class_axis, valid, correction)

    __call__ = predict

    def __repr__(self) -> str:
        names = ("metric", "smooth", "output_mode", "solver", "pruning_prob", "class_axis")
        settings = {name: getattr(self, name) for name in names} | self.solver_params
        if self._calibration is not None:
            settings["calibration"] = self._calibration
        return f"RankSEG({', '.join(f'{name}={value!r}' for name, value in settings.items())})"
