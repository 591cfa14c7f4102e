"""RankSEG as the last module of a PyTorch network."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from ..activations import activate, check_activation
from ..docstrings import shared_parameters
from ..extras import optional_imports
from ..functional import rankseg
from ..predictor import RankSEG
from ..settings import Metric, OutputMode, Solver

with optional_imports():
    import torch


@shared_parameters(rankseg)
class RankSEGModule(torch.nn.Module):
    """Segment with the best expected Dice or IoU; `rankseg.RankSEG` as a module.

    It has no parameters and no buffers, and never records gradients. It works in eager mode, in
    ``torch.export`` (strict or not) and in ``torch.compile`` without a graph break.

    Parameters
    ----------
    metric, smooth, output_mode, solver, pruning_prob, class_axis
        As in `rankseg.functional.rankseg`.
    **settings
        Further arguments of `rankseg.RankSEG`: `calibration`, and the parameters of the solver.
    activation : {None, "softmax", "sigmoid"}
        What turns the scores into probabilities, in float32 for half precisions. By default they
        are probabilities already.

    Raises
    ------
    TypeError, ValueError
        As in `rankseg.RankSEG`, or if `activation` is none of these.

    Notes
    -----
    Exported or compiled, the number of passes is fixed and values are not checked, so that a pixel
    within float32 rounding of a threshold may be decided differently. Of the solvers for Dice and
    IoU only RMA can be traced. Batch and spatial sizes may be dynamic, from 9 pixels an axis on:
    the first thresholds are found on every eighth line.

    For ONNX, export the network without this module and put the solver behind it with
    `rankseg.export.append_rma`, which emits fewer and faster operators; ``torch.onnx.export`` of
    this module works too.

    Examples
    --------
    >>> import torch
    >>> from rankseg.integration.torch import RankSEGModule
    >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), RankSEGModule(activation="softmax"))
    >>> labels = network(torch.rand(2, 3, 20, 30))
    >>> labels.shape, labels.dtype
    (torch.Size([2, 18, 28]), torch.int64)

    An exported program runs where rankseg is not installed:

    >>> sizes = {0: torch.export.Dim("batch")}
    >>> example = torch.rand(2, 3, 20, 30)
    >>> program = torch.export.export(network, (example,), dynamic_shapes=(sizes,))
    >>> program.module()(torch.rand(5, 3, 20, 30)).shape
    torch.Size([5, 18, 28])
    """

    def __init__(
        self,
        metric: Metric = "dice",
        smooth: float = 0.0,
        output_mode: OutputMode = "multiclass",
        solver: Solver | None = None,
        pruning_prob: float | Sequence[float] = 0.5,
        *,
        activation: str | None = None,
        class_axis: int = 1,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.predictor = RankSEG(
            metric,
            smooth,
            output_mode,
            solver,
            pruning_prob,
            class_axis=class_axis,
            **settings,
        )
        self.activation = check_activation(activation)
        self._segment = _as_graph_node(self.predictor, self.activation)

    def forward(self, scores: torch.Tensor, valid: torch.Tensor | None = None) -> torch.Tensor:
        """Return labels or masks.

        Parameters
        ----------
        scores : tensor, shape (batch, class, *spatial)
            Probabilities, or logits if there is an activation, of a real floating dtype.
        valid : bool tensor, shape (batch, *spatial), optional
            Pixels that take part, as in `rankseg.functional.rankseg`.

        Returns
        -------
        tensor
            Labels, int64 of shape (batch, *spatial), or bool masks of the shape of `scores`.
        """
        if not (isinstance(scores, torch.Tensor) and scores.is_floating_point()):
            found = getattr(scores, "dtype", type(scores).__name__)
            raise TypeError(f"scores must be a tensor of a real floating dtype, found {found}")
        return self._segment(scores, valid)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"{self.predictor!r}, activation={self.activation!r}"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_segment"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._segment = _as_graph_node(self.predictor, self.activation)


@cache  # PyTorch before 2.7 keeps only the id of such a function, which must not be used again
def _as_graph_node(predictor: RankSEG, activation: str | None) -> Callable[..., torch.Tensor]:
    # torch.compile does not read the code behind this function, it traces what the code does to
    # a symbolic tensor. The settings are not arguments, whose floats would become symbols.
    def segment(scores: torch.Tensor, valid: torch.Tensor | None) -> torch.Tensor:
        probs = activate(scores, activation, predictor.class_axis)
        return predictor(probs, valid=valid)

    return torch.compiler.allow_in_graph(segment)
