"""Values that options of the command line take."""

from enum import StrEnum


class Metric(StrEnum):
    """What to maximise."""

    DICE = "dice"
    IOU = "iou"
    ACC = "acc"


class Score(StrEnum):
    """What to maximise and to measure, beside the accuracy."""

    DICE = "dice"
    IOU = "iou"


class Mode(StrEnum):
    """Labels or masks."""

    MULTICLASS = "multiclass"
    MULTILABEL = "multilabel"


class Activation(StrEnum):
    """What turns values into probabilities."""

    NONE = "none"
    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"


class Format(StrEnum):
    """Files in an output folder."""

    NPY = "npy"
    PNG = "png"
