"""Which output gets a tail, and what the tail has to know about it."""

from contextlib import suppress
from dataclasses import replace

from .index import GraphIndex, shape_words
from .recognize import Ending, recognize
from .without_softmax import without_softmax


def plan(
    index: GraphIndex,
    output: str | None,
    activation: str | None,
    class_axis: int | None,
    fold: bool = True,
) -> Ending:
    """Choose the output and settle what it holds, or raise a ValueError that says what is open.

    With `fold` a final Softmax is left out where that is possible.
    """
    ending = _choose_output(index, output, class_axis)
    _check_activation(ending, activation)
    _check_axes(ending)
    if activation != "auto":
        ending = replace(ending, activation=activation)
    if fold:
        ending = without_softmax(index, ending)
    words = f"tail behind {ending.source!r}, activation to add: {ending.activation or 'none'}"
    return replace(ending, findings=(*ending.findings, words))


def _choose_output(index: GraphIndex, output: str | None, class_axis: int | None) -> Ending:
    outputs = index.outputs()
    listed = ", ".join(f"{name!r} {shape_words(index.shape(name))}" for name in outputs)
    if output is not None:
        if output not in outputs:
            raise ValueError(f"there is no output {output!r}; the model has {listed}")
        return recognize(index, output, class_axis)
    if len(outputs) == 1:
        return recognize(index, outputs[0], class_axis)
    found = []
    for name in outputs:
        with suppress(ValueError):
            found.append(recognize(index, name, class_axis))
    maps = [ending for ending in found if len(ending.shape) > 2]
    if len(maps) != 1:
        raise ValueError(f"choose an output, the model has {listed}")
    return maps[0]


def _check_activation(ending: Ending, activation: str | None) -> None:
    if ending.activation == "unknown" and activation == "auto":
        raise ValueError(
            f"output {ending.output!r}: {ending.values}; choose activation 'softmax' (logits, one "
            "class a pixel), 'sigmoid' (logits, each class by itself) or none (probabilities)"
        )
    if activation != "auto" and ending.activation not in ("unknown", activation):
        raise ValueError(
            f"output {ending.output!r}: {ending.values}; the activation to add is "
            f"{ending.activation or 'none'}, not {activation or 'none'}"
        )


def _check_axes(ending: Ending) -> None:
    axes = ending.axes
    if (len(ending.shape) < 3 and axes is None) or (axes and "S" not in axes):
        raise ValueError(
            f"output {ending.output!r} has shape {shape_words(ending.shape)}: RankSEG needs a "
            "class axis and at least one spatial axis"
        )
    if axes is None:
        raise ValueError(f"output {ending.output!r}: {ending.findings[-1]}; give class_axis")
    if axes.find("N") > 0:
        raise ValueError(f"output {ending.output!r}: the batch must be axis 0, found {axes}")
