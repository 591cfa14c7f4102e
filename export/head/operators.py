"""Operators of ONNX by what they do to the axes and to probabilities."""

SOFTMAXES = {"Softmax", "LogSoftmax", "QLinearSoftmax"}
SIGMOIDS = {"Sigmoid", "QLinearSigmoid"}
SHAPING = {"Transpose", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Gather", "Slice"}
KEEPING = SHAPING | {
    "Identity",
    "Cast",
    "CastLike",
    "Dropout",
    "Resize",
    "Upsample",
    "QuantizeLinear",
    "DequantizeLinear",
}
# Elementwise: no probabilities any more, but the axes are still what they were.
ELEMENTWISE = {
    *SOFTMAXES,
    *SIGMOIDS,
    "HardSigmoid",
    *("Add", "Sub", "Mul", "Div", "Pow", "Exp", "Log", "Neg", "Sqrt", "Tanh", "Softplus", "Max"),
    *("Relu", "LeakyRelu", "PRelu", "Elu", "Clip", "HardSwish", "Concat", "Pad", "Min", "Sum"),
    *("QLinearAdd", "QLinearMul", "QLinearConcat", "QLinearLeakyRelu"),
}
# Nodes whose result has the axes (batch, class, *spatial) by definition.
CHANNELS_FIRST = {
    *("Conv", "ConvTranspose", "DeformConv", "QLinearConv", "ConvInteger", "FusedConv"),
    *("BatchNormalization", "InstanceNormalization", "GroupNormalization", "LRN"),
    *("MaxPool", "AveragePool", "DepthToSpace", "SpaceToDepth"),
}
