"""Which output gets a tail, and what the tail has to know about it."""

from contextlib import suppress
from dataclasses import replace

from .index import GraphIndex, shape_words
from .recognize import Head, recognize
from .without_softmax import without_softmax


def plan(
    index: GraphIndex,
    output: str | None,
    activation: str | None,
    class_axis: int | None,
    fold: bool = True,
) -> Head:
    """Choose the output and settle what it holds, or raise a ValueError that says what is open.

    With `fold` a final Softmax is left out where that is possible.
    """
    head = _choose_output(index, output, class_axis)
    _check_activation(head, activation)
    _check_axes(head)
    if activation != "auto":
        head = replace(head, activation=activation)
    if fold:
        head = without_softmax(index, head)
    words = f"tail behind {head.source!r}, activation to add: {head.activation or 'none'}"
    return replace(head, findings=(*head.findings, words))


def _choose_output(index: GraphIndex, output: str | None, class_axis: int | None) -> Head:
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
    maps = [head for head in found if len(head.shape) > 2]
    if len(maps) != 1:
        raise ValueError(f"choose an output, the model has {listed}")
    return maps[0]


def _check_activation(head: Head, activation: str | None) -> None:
    if head.activation == "unknown" and activation == "auto":
        raise ValueError(
            f"output {head.output!r}: {head.values}; choose activation 'softmax' (logits, one "
            "class a pixel), 'sigmoid' (logits, each class by itself) or none (probabilities)"
        )
    if activation != "auto" and head.activation not in ("unknown", activation):
        raise ValueError(
            f"output {head.output!r}: {head.values}; the activation to add is "
            f"{head.activation or 'none'}, not {activation or 'none'}"
        )


def _check_axes(head: Head) -> None:
    axes = head.axes
    if (len(head.shape) < 3 and axes is None) or (axes and "S" not in axes):
        raise ValueError(
            f"output {head.output!r} has shape {shape_words(head.shape)}: RankSEG needs a "
            "class axis and at least one spatial axis"
        )
    if axes is None:
        raise ValueError(f"output {head.output!r}: {head.findings[-1]}; give class_axis")
    if axes.find("N") > 0:
        raise ValueError(f"output {head.output!r}: the batch must be axis 0, found {axes}")
