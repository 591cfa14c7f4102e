import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper

from rankseg import RankSEG
from rankseg.activations import sigmoid, softmax
from rankseg.calibration import Calibration
from rankseg.export import append_rma, rma_model, save, verify
from rankseg.export.files import external_files
from rankseg.export.head.index import GraphIndex
from rankseg.export.head.recognize import recognize
from rankseg.export.record import recorded
from rankseg.functional import rankseg

NEWEST = onnx.defs.onnx_opset_version()
OPSETS = [11, 12, 13, 17, 18, 21, NEWEST]
CLASSES = 5


def node(kind, inputs, outputs, **attributes):
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def with_axes(kind, value, output, axes, opset):
    """Squeeze or Unsqueeze in the form of the opset."""
    if opset < 13:
        return [node(kind, value, output, axes=axes)]
    listed = numpy_helper.from_array(np.array(axes))
    return [
        node("Constant", "", f"{output}_axes", value=listed),
        node(kind, f"{value} {output}_axes", output),
    ]


def make_model(
    nodes,
    outputs=("y",),
    opset=17,
    shape=(1, 3, 24, 32),
    classes=CLASSES,
    dtype=TensorProto.FLOAT,
    ir_version=None,
    out_type=None,
    seed=0,
):
    """A convolution of `x` that gives `logits`, and what follows."""
    rng = np.random.default_rng(seed)
    kernel = [classes, shape[1], *[3] * (len(shape) - 2)]
    weight = rng.normal(size=kernel).astype(helper.tensor_dtype_to_np_dtype(dtype))
    conv = node("Conv", "x weight", "logits", pads=[1] * 2 * (len(shape) - 2))
    infos = [helper.make_tensor_value_info(name, out_type or dtype, None) for name in outputs]
    graph = helper.make_graph(
        [conv, *nodes],
        "segmenter",
        [helper.make_tensor_value_info("x", dtype, shape)],
        infos,
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = ir_version or helper.find_min_ir_version_for(model.opset_import)
    model = onnx.shape_inference.infer_shapes(model)
    del model.graph.value_info[:]
    return model


def picture(shape=(1, 3, 24, 32), dtype=np.float32, seed=1):
    """Smooth noise, so that classes make regions."""
    values = np.random.default_rng(seed).normal(size=shape)
    for axis in range(2, len(shape)):
        for _ in range(3):
            values = values + np.roll(values, 1, axis) + np.roll(values, 2, axis)
    return (values / values.std()).astype(dtype)


def run(model, feeds, *names):
    """Values of a model by onnxruntime."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    for name in set(names) - {value.name for value in model.graph.output}:
        shown.graph.output.append(onnx.ValueInfoProto(name=name))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        shown.SerializeToString(), options, ["CPUExecutionProvider"]
    )
    return session.run(list(names), feeds)


def check(model, made, value, feeds=None, activation=None, class_axis=1, name="labels", **settings):
    """Compare the new output with `rankseg` on a value of the model as it was."""
    onnx.checker.check_model(made, full_check=True)
    assert made.opset_import[0].version == model.opset_import[0].version
    feeds = feeds or {"x": picture()}
    (values,) = run(model, feeds, value)
    values = values.astype(np.float32)
    probs = {None: np.clip(values, 0, 1)}
    probs["softmax"] = softmax(values, class_axis)
    probs["sigmoid"] = sigmoid(values)
    expected = rankseg(probs[activation], class_axis=class_axis, **settings)
    (found,) = run(made, feeds, name)
    assert found.size == expected.size
    assert np.mean(found.reshape(expected.shape) == expected) >= 0.9999
    return found


SOFTMAX_LAST = [
    node("Transpose", "logits", "last", perm=[0, 2, 3, 1]),
    node("Softmax", "last", "last_probs", axis=3),
    node("Transpose", "last_probs", "y", perm=[0, 3, 1, 2]),
]


# Endings at every opset


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("form", ["flat", "function"])
def test_softmax(opset, form):
    model = make_model(SOFTMAX_LAST, opset=opset)
    made = append_rma(model, form=form)
    found = check(model, made, "y")
    assert found.shape == (1, 24, 32)
    assert found.dtype == np.int64
    assert [value.name for value in made.graph.output] == ["labels"]
    assert made.ir_version == (max(8, model.ir_version) if form == "function" else model.ir_version)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_logits(opset, activation):
    model = make_model([node("Identity", "logits", "y")], opset=opset)
    check(
        model,
        append_rma(model, activation=activation, metric="iou"),
        "y",
        None,
        activation,
        metric="iou",
    )


@pytest.mark.parametrize("opset", OPSETS)
def test_argmax_is_replaced(opset):
    model = make_model([node("ArgMax", "logits", "y", axis=1)], opset=opset, out_type=7)
    made = append_rma(model, activation="softmax", name="y")
    assert check(model, made, "logits", None, "softmax", name="y").shape == (1, 1, 24, 32)
    assert made.graph.output[0].type == model.graph.output[0].type


@pytest.mark.parametrize("opset", OPSETS)
def test_channels_last(opset):
    model = make_model(SOFTMAX_LAST[:2], ["last_probs"], opset=opset)
    made = append_rma(model)
    assert check(model, made, "last_probs", class_axis=-1).shape == (1, 24, 32)


@pytest.mark.parametrize("opset", OPSETS)
def test_squeezed_batch(opset):
    squeeze = with_axes("Squeeze", "y_batch", "y", [0], opset)
    nodes = [*SOFTMAX_LAST[:2], node("Transpose", "last_probs", "y_batch", perm=[0, 3, 1, 2])]
    model = make_model([*nodes, *squeeze], opset=opset)
    assert check(model, append_rma(model), "y_batch").shape == (24, 32)
    made = append_rma(model, output_mode="multilabel")
    found = check(model, made, "y_batch", name="masks", output_mode="multilabel")
    assert found.shape == (CLASSES, 24, 32)


@pytest.mark.parametrize("opset", OPSETS)
def test_resize_to_the_input(opset):
    pool = node("AveragePool", "logits", "y", kernel_shape=[2, 2], strides=[2, 2])
    model = make_model([pool], opset=opset, shape=("N", 3, "H", "W"))
    made = append_rma(model, activation="softmax", resize_to="input")
    feeds = {"x": picture((2, 3, 24, 32))}
    value = recorded(made)["labels"]["input"]
    assert check(made, made, value, feeds, "softmax").shape == (2, 24, 32)
    values, small = run(made, feeds, value, "y")
    np.testing.assert_allclose(values, doubled(doubled(small, 2), 3), rtol=1e-5, atol=1e-5)


BEST = node("ArgMax", "logits", "best", axis=1, keepdims=0)
SHAPED = {
    "plain": [node("Identity", "logits", "y")],
    "last": [node("Transpose", "logits", "y", perm=[0, 2, 3, 1])],
    "kept": [node("ArgMax", "logits", "y", axis=1)],
    "dropped": [BEST, node("Identity", "best", "y")],
    "cast": [BEST, node("Cast", "best", "y", to=TensorProto.FLOAT)],
    "turned": [BEST, node("Transpose", "best", "y", perm=[0, 2, 1])],
    "widened": [BEST, *with_axes("Unsqueeze", "best", "y", [3], 17)],
    "squeezed": with_axes("Squeeze", "logits", "y", [0], 17),
}


@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
@pytest.mark.parametrize("resize_to", [None, "input", (30, 50)])
@pytest.mark.parametrize("ending", SHAPED)
def test_the_declared_shape_is_that_of_a_run(ending, resize_to, mode):
    out_type = TensorProto.INT64 if ending in ("kept", "dropped", "turned", "widened") else None
    model = make_model(SHAPED[ending], out_type=out_type)
    made = append_rma(
        model, activation="softmax", resize_to=resize_to, output_mode=mode, name="result"
    )
    (found,) = run(made, {"x": picture()}, "result")
    dims = made.graph.output[0].type.tensor_type.shape.dim
    assert len(dims) == found.ndim
    declared = [
        dim.dim_value if dim.HasField("dim_value") else size
        for dim, size in zip(dims, found.shape, strict=True)
    ]
    assert declared == list(found.shape)
    assert {30, 50} <= set(found.shape) or resize_to != (30, 50)
    if resize_to is None:
        assert all(dim.HasField("dim_value") for dim in dims)


def doubled(x, axis):
    """Linear interpolation with half-pixel centres to twice the length."""
    x = np.moveaxis(x, axis, -1)
    before = np.concatenate([x[..., :1], x[..., :-1]], -1)
    after = np.concatenate([x[..., 1:], x[..., -1:]], -1)
    both = np.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], -1)
    return np.moveaxis(both.reshape(*x.shape[:-1], -1), -1, axis)


# More endings


def parts(source, output, axis, opset, largest=True, kind="ReduceSum", keepdims=1):
    """A softmax as exporters write it in parts."""

    def reduce(kind, value, result, since):
        if opset < since:
            return [node(kind, value, result, axes=[axis], keepdims=keepdims)]
        listed = node("Constant", "", f"{result}_axes", value_ints=[axis])
        return [listed, node(kind, f"{value} {result}_axes", result, keepdims=keepdims)]

    nodes, centred = [], source
    if largest:
        nodes = [*reduce("ReduceMax", source, "largest", 18)]
        nodes.append(node("Sub", f"{source} largest", "centred"))
        centred = "centred"
    nodes += [node("Exp", centred, "powers"), *reduce(kind, "powers", "total", 13)]
    return [*nodes, node("Div", "powers total", output)]


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("largest", [False, True])
def test_softmax_in_parts(opset, largest):
    model = make_model(parts("logits", "y", 1, opset, largest), opset=opset)
    head = recognize(GraphIndex(model), "y")
    assert head.findings[1] == "probabilities by Softmax in parts over axis 1"
    check(model, append_rma(model), "y")


def test_the_parts_of_a_softmax_tell_the_class_axis():
    nodes = [SOFTMAX_LAST[0], *parts("last", "y", -1, 17)]
    model = make_model(nodes)
    assert recognize(GraphIndex(model), "y").axes == "NSSC"
    check(model, append_rma(model), "y", class_axis=-1)


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Exp", "logits", "powers"), node("Div", "powers logits", "y")],
        [node("Div", "logits logits", "y")],
        [node("HardSigmoid", "logits", "y")],
        [node("Exp", "logits", "y")],
        parts("logits", "y", 1, 17, kind="ReduceMean"),
    ],
)
def test_what_only_looks_like_probabilities(nodes):
    with pytest.raises(ValueError, match="does not decide; choose activation"):
        append_rma(make_model(nodes))


def test_exp_of_log_softmax():
    model = make_model([node("LogSoftmax", "logits", "l", axis=1), node("Exp", "l", "y")])
    made = append_rma(model)
    assert recorded(made)["labels"]["activation"] is None
    check(model, made, "y")


def test_labels_keep_the_shape_and_casts_behind_an_argmax():
    nodes = [
        node("ArgMax", "logits", "top", axis=1, keepdims=0),
        node("Cast", "top", "as_float", to=1),
        *with_axes("Unsqueeze", "as_float", "y", [3], 17),
    ]
    model = make_model(nodes)
    made = append_rma(model, activation="softmax", label_dtype="int32")
    found = check(model, made, "logits", None, "softmax")
    assert found.shape == (1, 24, 32, 1)
    assert found.dtype == np.int32
    assert not {"top", "as_float", "y"} & {name for n in made.graph.node for name in n.output}


def test_log_softmax():
    model = make_model([node("LogSoftmax", "logits", "y", axis=1)])
    for keep in (False, True):
        made = append_rma(model, keep_outputs=keep)
        assert recorded(made)["labels"]["activation"] == "softmax"
        check(model, made, "y", None, "softmax")


def test_sigmoid_of_one_class():
    model = make_model([node("Sigmoid", "logits", "y")], classes=1)
    made = append_rma(model, output_mode="multilabel")
    check(model, made, "y", name="masks", output_mode="multilabel")
    with pytest.raises(ValueError, match="one class"):
        append_rma(model)


def test_squeezed_class():
    squeeze = with_axes("Squeeze", "probs", "y", [1], 17)
    model = make_model([node("Sigmoid", "logits", "probs"), *squeeze], classes=1)
    made = append_rma(model, output_mode="multilabel")
    found = check(model, made, "probs", name="masks", output_mode="multilabel")
    assert found.shape == (1, 24, 32)


@pytest.mark.parametrize("opset", OPSETS)
def test_volume(opset):
    shape = (2, 3, 12, 16, 20)
    model = make_model(parts("logits", "y", 1, opset), shape=shape, opset=opset)
    check(model, append_rma(model), "y", {"x": picture(shape)})


def test_lines():
    model = make_model([node("Softmax", "logits", "y", axis=1)], shape=(2, 3, 500))
    check(model, append_rma(model), "y", {"x": picture((2, 3, 500))})


def test_dynamic_batch_and_size():
    model = make_model([node("Softmax", "logits", "y", axis=1)], shape=("N", 3, "H", "W"))
    made = append_rma(model)
    dims = made.graph.output[0].type.tensor_type.shape.dim
    assert [dim.dim_param for dim in dims] == ["N", "", ""]  # a convolution hides the others
    for shape in [(1, 3, 24, 32), (3, 3, 40, 17)]:
        assert check(model, made, "y", {"x": picture(shape)}).shape == (shape[0], *shape[2:])


@pytest.mark.parametrize("opset", OPSETS)
def test_half_precision(opset):
    model = make_model(SOFTMAX_LAST, dtype=TensorProto.FLOAT16, opset=opset)
    feeds = {"x": picture(dtype=np.float16)}
    check(model, append_rma(model), "y", feeds)
    made = append_rma(model, resize_to=(48, 64))
    check(made, made, recorded(made)["labels"]["input"], feeds)


# onnxruntime 1.32 has no QuantizeLinear of the opsets behind 24
@pytest.mark.parametrize("opset", [*OPSETS[:-1], min(NEWEST, 24)])
@pytest.mark.parametrize("ends_quantized", [False, True])
def test_quantized(ends_quantized, opset):
    constants = [
        node("Constant", "", "scale", value=numpy_helper.from_array(np.float32(1 / 255))),
        node("Constant", "", "zero", value=numpy_helper.from_array(np.uint8(0))),
    ]
    nodes = [*SOFTMAX_LAST, *constants, node("QuantizeLinear", "y scale zero", "q")]
    nodes.append(node("DequantizeLinear", "q scale zero", "d"))
    if ends_quantized:
        model = make_model(nodes[:-1], ["q"], opset, out_type=TensorProto.UINT8)
        check(model, append_rma(model), "y")
    else:
        model = make_model(nodes, ["d"], opset)
        check(model, append_rma(model), "d")


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
def test_resize_behind_softmax(mode, opset):
    """Cubic interpolation overshoots, so what it makes are no probabilities."""
    roi = node("Constant", "", "roi", value=numpy_helper.from_array(np.zeros(0, np.float32)))
    scales = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32))
    resize = node("Resize", "small roi scales", "y", mode=mode)
    nodes = [roi, node("Constant", "", "scales", value=scales), resize]
    model = make_model([*SOFTMAX_LAST[:2], transposed("small"), *nodes], opset=opset)
    if mode == "cubic":
        with pytest.raises(ValueError, match="does not decide"):
            append_rma(model)
    else:
        check(model, append_rma(model), "y")


def transposed(output, perm=(0, 3, 1, 2)):
    return node("Transpose", "last_probs", output, perm=list(perm))


def test_joint_softmax_of_old_opsets_is_not_taken_for_probabilities():
    model = make_model([node("Softmax", "logits", "y", axis=1)], opset=12)
    with pytest.raises(ValueError, match="axes 1 to 3 at once"):
        append_rma(model)


# A final Softmax, which the tail's own replaces


def kinds(model):
    return [n.op_type for n in model.graph.node if not n.output[0].startswith("r/")]


TURNED = [
    node("Transpose", "logits", "turned", perm=[0, 3, 2, 1]),
    node("Softmax", "turned", "turned_probs", axis=-1),
    node("Transpose", "turned_probs", "y", perm=[0, 3, 2, 1]),
]
FOLDED = {
    "plain": [node("Softmax", "logits", "y", axis=1)],
    "log": [node("LogSoftmax", "logits", "y", axis=1)],
    "between": SOFTMAX_LAST,
    "turned": TURNED,
    "last": [SOFTMAX_LAST[0], node("Softmax", "last", "y", axis=-1)],
    "behind": [node("Softmax", "logits", "probs", axis=1), node("Identity", "probs", "y")],
    "moved": [
        node("Softmax", "logits", "probs", axis=1),
        node("Transpose", "probs", "y", perm=[0, 2, 3, 1]),
    ],
}


@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
@pytest.mark.parametrize("name", FOLDED)
def test_final_softmax_is_replaced(name, mode):
    model = make_model(FOLDED[name], shape=(2, 3, 24, 32))
    made = append_rma(model, output_mode=mode, name="result")
    record = recorded(made)["result"]
    assert (record["source"], record["activation"]) == ("logits", "softmax")
    if mode == "multiclass":
        assert kinds(made)[0] == "Conv"
        assert not {"Softmax", "LogSoftmax"} & set(kinds(made))
    found = check(
        model,
        made,
        "y",
        {"x": picture((2, 3, 24, 32))},
        "softmax" if name == "log" else None,
        class_axis=-1 if name in ("last", "moved") else 1,
        name="result",
        output_mode=mode,
    )
    shape = [2, 24, 32]
    if mode == "multilabel":
        shape.insert(3 if name in ("last", "moved") else 1, CLASSES)
    assert list(found.shape) == shape
    assert "replaced by the tail's own" in made.graph.output[0].doc_string


def test_softmax_before_an_argmax_is_replaced():
    nodes = [*SOFTMAX_LAST, node("ArgMax", "y", "best", axis=1, keepdims=0)]
    model = make_model(nodes, ["best"], out_type=TensorProto.INT64)
    made = append_rma(model)
    assert not {"Softmax", "Transpose"} & set(kinds(made))
    assert check(model, made, "y").shape == (1, 24, 32)


@pytest.mark.parametrize(
    ("nodes", "model_arguments", "arguments"),
    [
        (TURNED, {}, {"keep_outputs": True}),
        (TURNED, {"outputs": ["y", "turned_probs"]}, {"output": "y"}),
        (TURNED, {"dtype": TensorProto.FLOAT16}, {}),
        (
            [*FOLDED["behind"][:1], node("Transpose", "probs", "y", perm=[0, 1, 3, 2])],
            {},
            {},
        ),
        (
            [*FOLDED["plain"], node("AveragePool", "y", "z", kernel_shape=[2, 2])],
            {"outputs": ["y", "z"]},
            {"output": "y"},
        ),
    ],
    ids=["kept", "other output", "half", "other order", "other reader"],
)
def test_final_softmax_stays(nodes, model_arguments, arguments):
    model = make_model(nodes, **model_arguments)
    made = append_rma(model, **arguments)
    assert "Softmax" in kinds(made)
    assert recorded(made)["labels"]["activation"] is None
    dtype = np.float16 if "dtype" in model_arguments else np.float32
    check(model, made, "y", {"x": picture(dtype=dtype)})


def test_a_softmax_over_another_axis_than_the_classes_stays():
    nodes = [
        node("Softmax", "logits", "y", axis=2),
        node("ArgMax", "y", "best", axis=1, keepdims=0),
    ]
    model = make_model(nodes, ["best"], out_type=TensorProto.INT64)
    made = append_rma(model)
    assert recorded(made)["labels"]["source"] == "y"
    check(model, made, "y")


def test_resized_probabilities_are_not_those_of_resized_logits():
    model = make_model(SOFTMAX_LAST)
    made = append_rma(model, resize_to=(48, 64))
    assert "Softmax" in kinds(made)
    probs = run(made, {"x": picture()}, recorded(made)["labels"]["input"])[0]
    np.testing.assert_array_equal(run(made, {"x": picture()}, "labels")[0], rankseg(probs))


def test_masks_turned_twice_have_a_name_each():
    """The Relu keeps the classes last before the tail; behind it they are on axis 1 again."""
    relu, last = node("Relu", "last", "relu"), node("Softmax", "relu", "last_probs", axis=3)
    model = make_model([SOFTMAX_LAST[0], relu, last, transposed("y")])
    made = append_rma(model, output_mode="multilabel")
    assert recorded(made)["masks"]["source"] == "relu"
    check(model, made, "y", name="masks", output_mode="multilabel")


# Several heads, names and outputs


def heads():
    nodes = [
        node("Softmax", "logits", "y", axis=1),
        node("Sigmoid", "logits", "z"),
        node("GlobalAveragePool", "logits", "pooled"),
        node("Flatten", "pooled", "score"),
    ]
    return make_model(nodes, ["y", "z", "score"])


def test_several_heads():
    model = heads()
    made = append_rma(model, "y")
    assert [value.name for value in made.graph.output] == ["labels", "z", "score"]
    both = append_rma(made, "z", output_mode="multilabel", form="function")
    assert [value.name for value in both.graph.output] == ["labels", "masks", "score"]
    check(model, both, "y")
    check(model, both, "z", name="masks", output_mode="multilabel")
    assert set(recorded(both)) == {"labels", "masks"}
    with pytest.raises(ValueError, match=r"choose an output, the model has 'y' \[1, 5, 24, 32\]"):
        append_rma(model)
    with pytest.raises(ValueError, match="no output 'a'; the model has 'y'"):
        append_rma(model, "a")


def test_only_one_head_could_be_meant():
    model = heads()
    del model.graph.output[1]
    assert [value.name for value in append_rma(model).graph.output] == ["labels", "score"]


def test_two_functions_in_one_model():
    made = append_rma(append_rma(heads(), "y", form="function"), "z", name="l2", form="function")
    check(heads(), made, "y")
    check(heads(), made, "z", name="l2")
    assert len({function.name for function in made.functions}) == 2


def test_keep_outputs():
    model = make_model([node("ArgMax", "logits", "y", axis=1, keepdims=0)], out_type=7)
    made = append_rma(model, activation="softmax", keep_outputs=True)
    assert [value.name for value in made.graph.output] == ["y", "labels"]
    check(model, made, "logits", None, "softmax")
    with pytest.raises(ValueError, match="a value 'y' already"):
        append_rma(model, activation="softmax", keep_outputs=True, name="y")


def test_names_do_not_collide():
    model = make_model([node("Softmax", "logits", "r/whole", axis=1)], ["r/whole"])
    made = append_rma(model)
    assert any(node.output[0].startswith("r2/") for node in made.graph.node)
    check(model, made, "r/whole")


def test_a_value_that_a_subgraph_reads_stays():
    def branch(name):
        output = helper.make_tensor_value_info(name, TensorProto.INT64, [1, 1, 24, 32])
        return helper.make_graph([node("Identity", "y", name)], name, [], [output])

    true = numpy_helper.from_array(np.array(True))
    nodes = [
        node("ArgMax", "logits", "y", axis=1),
        node("Constant", "", "true", value=true),
        node("If", "true", "z", then_branch=branch("r/a"), else_branch=branch("b")),
    ]
    model = make_model(nodes, ["y", "z"], out_type=TensorProto.INT64)
    made = append_rma(model, "y", activation="softmax")
    assert any(node.output[0].startswith("r2/") for node in made.graph.node)
    check(model, made, "logits", None, "softmax")
    feeds = {"x": picture()}
    np.testing.assert_array_equal(run(made, feeds, "z")[0], run(model, feeds, "z")[0])


def test_old_ir_version_gets_no_initializers():
    model = make_model(SOFTMAX_LAST, opset=11, ir_version=3)
    model.graph.input.append(helper.make_tensor_value_info("weight", 1, [CLASSES, 3, 3, 3]))
    made = append_rma(model)
    assert len(made.graph.initializer) == 1
    check(model, made, "y")


# Settings


@pytest.mark.parametrize(
    "settings",
    [
        {"smooth": 1.0},
        {"pruning_prob": (0.2, 0.5, 0.9, 0.5, 0.5)},
        {"unassigned_policy": "void"},
        {"unassigned_policy": "void", "void_index": 77},
        {"metric": "iou", "output_mode": "multilabel"},
    ],
)
@pytest.mark.parametrize("profile", ["onnxruntime", "static"])
def test_settings(settings, profile):
    model = make_model(SOFTMAX_LAST)
    made = append_rma(model, profile=profile, name="result", **settings)
    assert made.ByteSize() - model.ByteSize() < 20_000
    check(model, made, "y", name="result", **settings)


def test_metadata_names_settings_and_source(tmp_path):
    model = make_model(SOFTMAX_LAST)
    helper.set_model_props(model, {"author": "me"})
    onnx.save(model, tmp_path / "m.onnx")
    made = append_rma(tmp_path / "m.onnx", smooth=0.5)
    record = recorded(made)["labels"]
    digest = hashlib.sha256((tmp_path / "m.onnx").read_bytes()).hexdigest()
    assert record["source_sha256"] == digest
    assert record["smooth"] == 0.5
    assert {p.key: p.value for p in made.metadata_props}["author"] == "me"
    assert len(made.metadata_props[-1].value) < 700


def test_the_model_itself_is_not_changed():
    model = make_model(SOFTMAX_LAST)
    before = model.SerializeToString()
    append_rma(model)
    assert model.SerializeToString() == before


# What is found


def test_findings_are_words():
    head = recognize(GraphIndex(make_model(SOFTMAX_LAST)), "y")
    assert str(head).splitlines() == [
        "output 'y': float [1, 5, 24, 32]",
        "probabilities by Softmax over axis 3, then Transpose",
        "5 classes on axis 1, by the nodes before it",
    ]


def plain_model(shape, nodes, out_type=TensorProto.FLOAT, inputs=None):
    """A model without convolution."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, inputs or shape)]
    outputs = [helper.make_tensor_value_info("y", out_type, shape)]
    graph = helper.make_graph(nodes, "plain", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        (("N", 21, 64, 64), "NCSS"),
        (("N", 64, 64, 21), "NSSC"),
        (("N", "H", "W", 4), "NSSC"),
        (("N", "H", "W", "C"), None),
        ((1, 64, 64, 64), None),
        ((1, 24, 32), None),
        ((5, 24, 32), None),
    ],
)
def test_class_axis_by_sizes(shape, axes):
    model = plain_model(shape, [node("Sigmoid", "x", "y")])
    assert recognize(GraphIndex(model), "y").axes == axes
    if axes is None:
        with pytest.raises(ValueError, match="class_axis"):
            append_rma(model)
        assert append_rma(model, class_axis=-1)


PICTURE, SQUEEZED = (1, 3, 24, 32), ("N", 3, "H", "W")


@pytest.mark.parametrize(
    ("shape", "inputs", "class_axis", "axes"),
    [
        ((24, 32, 5), PICTURE, -1, "SSC"),
        ((24, 32, 5), PICTURE, 2, "SSC"),
        ((5, 24, 32), PICTURE, 0, "CSS"),
        ((5, 24, 32), PICTURE, -3, "CSS"),
        (("H", "W", "C"), SQUEEZED, -1, "SSC"),
        (("N", "L", "C"), SQUEEZED, -1, "NSC"),
        ((1, 768, 5), PICTURE, -1, "NSC"),
        ((24, 32, 5), (24, 32, 3), -1, "NSC"),
        ((12, 24, 32, 5), (1, 1, 12, 24, 32), -1, "SSSC"),
        ((64, 64, 64), (1, 3, 64, 64), 0, "CSS"),
    ],
)
def test_class_axis_settles_what_the_graph_does_not(shape, inputs, class_axis, axes):
    model = plain_model(shape, [node("Mystery", "x", "y", domain="ours")], inputs=inputs)
    index = GraphIndex(model)
    if axes[0] != "N":
        with pytest.raises(ValueError, match="the graph does not decide; give class_axis"):
            append_rma(model, activation="softmax")
    assert recognize(index, "y", class_axis).axes == axes


@pytest.mark.parametrize(("perm", "class_axis"), [((2, 0, 1), 0), ((0, 1, 2), -1)])
@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
def test_no_batch_and_no_hint(perm, class_axis, mode):
    """A reshape to [H, W, class], or [class, H, W], hides where the axes went."""
    flat = numpy_helper.from_array(np.array([24, 32, CLASSES]))
    nodes = [
        node("Transpose", "logits", "last", perm=[0, 2, 3, 1]),
        node("Constant", "", "flat", value=flat),
        node("Reshape", "last flat", "whole"),
        node("Transpose", "whole", "y", perm=list(perm)),
    ]
    model = make_model(nodes)
    with pytest.raises(ValueError, match="give class_axis"):
        append_rma(model, activation="softmax")
    made = append_rma(model, class_axis=class_axis, activation="softmax", output_mode=mode)
    (logits,) = run(model, {"x": picture()}, "logits")
    expected = rankseg(softmax(logits, 1), output_mode=mode)[0]
    (found,) = run(made, {"x": picture()}, "labels" if mode == "multiclass" else "masks")
    if mode == "multilabel":
        expected = np.moveaxis(expected, 0, class_axis)
    assert found.shape == expected.shape
    assert np.mean(found == expected) >= 0.9999
    says = f"5 classes on axis {class_axis % 3}, no batch axis, as class_axis says"
    assert says in made.graph.output[0].doc_string


# Files


def save_with_weights(model, path, weights):
    onnx.save(model, path, save_as_external_data=True, location=weights, size_threshold=0)


def test_external_weights_stay_where_they_are(tmp_path):
    model = make_model(SOFTMAX_LAST)
    expected = rankseg(run(model, {"x": picture()}, "y")[0])
    save_with_weights(model, tmp_path / "m.onnx", "w.bin")
    before = (tmp_path / "w.bin").read_bytes()
    made = append_rma(tmp_path / "m.onnx")
    assert made.graph.initializer[0].data_location == TensorProto.EXTERNAL
    save(made, tmp_path / "out.onnx")
    assert sorted(os.listdir(tmp_path)) == ["m.onnx", "out.onnx", "w.bin"]
    assert (tmp_path / "w.bin").read_bytes() == before
    session = onnxruntime.InferenceSession(str(tmp_path / "out.onnx"))
    np.testing.assert_array_equal(session.run(None, {"x": picture()})[0], expected)
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match=r"'w.bin', which is not in"):
        save(made, tmp_path / "other" / "out.onnx")
    assert os.listdir(tmp_path / "other") == []


def test_weights_in_another_folder(tmp_path):
    """They are copied if asked for: onnx refuses links, and the original then too."""
    model = make_model(SOFTMAX_LAST)
    source, target = tmp_path / "a", tmp_path / "b"
    source.mkdir()
    target.mkdir()
    expected = rankseg(run(model, {"x": picture()}, "y")[0])
    save_with_weights(model, source / "m.onnx", "w.bin")
    made = append_rma(source / "m.onnx")
    (target / "w.bin").write_bytes(b"weights of another model")
    with pytest.raises(FileExistsError, match=r"w\.bin: exists already and does not hold"):
        save(made, target / "out.onnx", weights=source)
    assert os.listdir(target) == ["w.bin"]
    (target / "w.bin").unlink()
    for overwrite in (False, True):  # the second time they are there
        save(made, target / "out.onnx", overwrite, weights=source)
    assert sorted(os.listdir(target)) == ["out.onnx", "w.bin"]
    (source / "w.bin").unlink()
    (source / "m.onnx").unlink()
    session = onnxruntime.InferenceSession(str(target / "out.onnx"))
    np.testing.assert_array_equal(session.run(None, {"x": picture()})[0], expected)
    onnx.checker.check_model(target / "out.onnx", full_check=True)


def test_weights_are_never_overwritten(tmp_path):
    save_with_weights(make_model(SOFTMAX_LAST), tmp_path / "m.onnx", "w")
    before = (tmp_path / "w").read_bytes()
    with pytest.raises(FileExistsError, match="holds weights of the model"):
        save(append_rma(tmp_path / "m.onnx"), tmp_path / "w", overwrite=True)
    assert (tmp_path / "w").read_bytes() == before


def test_external_values_inside_nodes_are_found():
    inner = TensorProto(name="i", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    inner.external_data.add(key="location", value="inner.bin")
    outer = TensorProto()
    outer.CopyFrom(inner)
    outer.external_data[0].value = "outer.bin"
    branch = helper.make_graph([], "branch", [], [], [inner])
    nodes = [node("Constant", "", "c", value=outer), node("If", "c", "d", then_branch=branch)]
    model = make_model([])
    model.graph.node.extend(nodes)
    assert external_files(model) == ["inner.bin", "outer.bin"]


def test_weights_over_2_gb(tmp_path):
    """The largest of them are read by nobody, and a hole in the file takes no space."""
    model = make_model(SOFTMAX_LAST)
    expected = rankseg(run(model, {"x": picture()}, "y")[0])
    big = TensorProto(name="big", data_type=TensorProto.FLOAT, dims=[3 * 2**28])
    big.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "big.bin"), ("length", str(3 * 2**30))):
        big.external_data.add(key=key, value=value)
    model.graph.initializer.append(big)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with (tmp_path / "big.bin").open("wb") as file:
        file.truncate(3 * 2**30)
    save(append_rma(tmp_path / "m.onnx"), tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").stat().st_size < 1e5
    assert (tmp_path / "big.bin").stat().st_blocks < 100
    session = onnxruntime.InferenceSession(str(tmp_path / "out.onnx"))
    np.testing.assert_array_equal(session.run(None, {"x": picture()})[0], expected)


def test_save_never_overwrites_the_input(tmp_path, monkeypatch):
    path = tmp_path / "m.onnx"
    onnx.save(make_model(SOFTMAX_LAST), path)
    before = path.read_bytes()
    made = append_rma(path)
    with pytest.raises(FileExistsError, match="exists already"):
        save(made, path)
    os.link(path, tmp_path / "link.onnx")
    os.symlink(path, tmp_path / "symlink.onnx")
    monkeypatch.chdir(tmp_path)
    for name in (path, "link.onnx", "symlink.onnx", "./m.onnx", "../" + tmp_path.name + "/m.onnx"):
        with pytest.raises(FileExistsError, match="never overwritten"):
            save(made, name, overwrite=True)
    assert path.read_bytes() == before
    (tmp_path / "link.onnx").unlink()
    (tmp_path / "symlink.onnx").unlink()
    save(made, tmp_path / "out.onnx")
    save(append_rma(path, metric="iou"), tmp_path / "out.onnx", overwrite=True)
    assert recorded(onnx.load(tmp_path / "out.onnx"))["labels"]["metric"] == "iou"
    assert sorted(os.listdir(tmp_path)) == ["m.onnx", "out.onnx"]


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    made = append_rma(make_model(SOFTMAX_LAST))
    (tmp_path / "out.onnx").write_text("mine")

    def full(self, data):
        with self.open("wb") as file:
            file.write(data[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        save(made, tmp_path / "out.onnx", overwrite=True)
    assert os.listdir(tmp_path) == ["out.onnx"]
    assert (tmp_path / "out.onnx").read_text() == "mine"


# What is refused


@pytest.mark.parametrize("content", [b"", b"no model at all", bytes(range(256)), b"{}", None])
@pytest.mark.parametrize("name", ["m.onnx", "m.json", "m.txt"])
def test_not_onnx(tmp_path, content, name):
    if content is None:  # cut short
        content = make_model(SOFTMAX_LAST).SerializeToString()[:-20]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}: not an ONNX model"):
        append_rma(tmp_path / name)


def test_no_model_to_read(tmp_path):
    with pytest.raises(FileNotFoundError):
        append_rma(tmp_path / "none.onnx")
    with pytest.raises(IsADirectoryError):
        append_rma(tmp_path)


@pytest.mark.parametrize("opset", [10, NEWEST + 1])
def test_unsupported_opset(opset):
    model = make_model(SOFTMAX_LAST)
    model.opset_import[0].version = opset
    with pytest.raises(ValueError, match=f"opset {opset} is not supported, only 11 to"):
        append_rma(model)


@pytest.mark.parametrize(
    ("nodes", "arguments", "message"),
    [
        ([node("Identity", "logits", "y")], {}, "choose activation 'softmax'"),
        (SOFTMAX_LAST, {"activation": "softmax"}, "the activation to add is none, not softmax"),
        (SOFTMAX_LAST, {"activation": "relu"}, "activation"),
        (SOFTMAX_LAST, {"smooth": -1.0}, "smooth"),
        (SOFTMAX_LAST, {"metric": "dicee"}, "metric"),
        (SOFTMAX_LAST, {"class_axis": 4}, "class_axis=4 is no axis"),
        (SOFTMAX_LAST, {"class_axis": -1}, "but the graph has the classes on axis 1"),
        (SOFTMAX_LAST, {"output": "z"}, r"no output 'z'; the model has 'y' \[1, 5, 24, 32\]"),
        (SOFTMAX_LAST, {"form": "tree"}, "form"),
        (SOFTMAX_LAST, {"resize_to": "output"}, "resize_to must be 'input' or 2"),
        (SOFTMAX_LAST, {"resize_to": (4, 5, 6)}, "resize_to must be 'input' or 2"),
        (SOFTMAX_LAST, {"pruning_prob": (0.5, 0.5)}, "2 values"),
        (SOFTMAX_LAST, {"name": "logits"}, "a value 'logits' already"),
        ([node("Cast", "logits", "y", to=7)], {}, "int64 and not made by an ArgMax"),
        ([node("Cast", "logits", "y", to=9)], {}, "bool and not made by an ArgMax"),
        (
            [node("GlobalAveragePool", "logits", "p"), node("Flatten", "p", "y")],
            {"activation": "softmax"},
            r"shape \[1, 5\]: RankSEG needs",
        ),
    ],
)
def test_refused(nodes, arguments, message):
    out_type = next((a.i for n in nodes for a in n.attribute if a.name == "to"), None)
    with pytest.raises(ValueError, match=message):
        append_rma(make_model(nodes, out_type=out_type), **arguments)


def test_class_axis_of_another_type():
    with pytest.raises(TypeError, match="class_axis must be an int, found '1'"):
        append_rma(make_model(SOFTMAX_LAST), class_axis="1")


def test_integers_that_no_argmax_made():
    nodes = [node("Cast", "logits", "i", to=7), node("ReduceMax", "i", "y", axes=[1])]
    with pytest.raises(ValueError, match="int64 and not made by an ArgMax"):
        append_rma(make_model(nodes, out_type=TensorProto.INT64))


def test_unknown_rank():
    model = plain_model((1, 2, 3, 4), [node("Mystery", "x", "y", domain="ours")])
    model.graph.output[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ValueError, match="the rank of 'y' is not known"):
        append_rma(model)


def test_class_axis_against_the_argmax():
    model = make_model([node("ArgMax", "logits", "y", axis=1)], out_type=7)
    with pytest.raises(ValueError, match="class_axis=-1, but the graph has the classes on axis 1"):
        append_rma(model, class_axis=-1, activation="softmax")


# Real models


def test_text_detector():
    package = pytest.importorskip("rapidocr_onnxruntime")
    (path,) = Path(package.__file__).parent.glob("models/*det*.onnx")
    model = onnx.load(path)
    made = append_rma(path, output_mode="multilabel")
    feeds = {"x": picture((2, 3, 96, 128))}
    value = model.graph.output[0].name
    onnx.checker.check_model(made, full_check=True)
    (probs,), (masks,) = run(model, feeds, value), run(made, feeds, "masks")
    assert np.mean(masks == rankseg(probs, output_mode="multilabel")) >= 0.9999


@pytest.mark.parametrize("form", ["flat", "function"])
@pytest.mark.parametrize("name", ["SINet_Softmax", "SINet", "deeplabv3_voc_257"])
def test_real_models(name, form):
    folder = os.environ.get("RANKSEG_DATA")
    if not folder:
        pytest.skip("RANKSEG_DATA is not set: the real models were NOT tested")
    path = Path(folder, "models", f"{name}.onnx")
    model = onnx.load(path)
    activation = None if "Softmax" in name else "softmax"
    made = append_rma(path, activation=activation or "auto", form=form)
    source = model.graph.input[0]
    for image in photographs():
        feeds = {source.name: resized(image, source.type.tensor_type.shape.dim[2].dim_value)}
        check(model, made, model.graph.output[0].name, feeds, activation)


def photographs():
    """A person and a cat, where scikit-image is installed, or noise."""
    try:
        from skimage import data
    except ImportError:
        return [np.clip(128 + 64 * picture((1, 400, 300, 3))[0], 0, 255).astype(np.uint8)]
    return [data.astronaut(), data.chelsea()]


def resized(image, size):
    from PIL import Image

    values = np.asarray(Image.fromarray(image).resize((size, size)), np.float32)
    return np.moveaxis(values / 127.5 - 1, 2, 0)[None]


CALIBRATIONS = [
    Calibration("temperature", scale=0.6),
    Calibration("vector", [1.2, 0.7, 1.0, 0.5, 0.9], [0.3, -1.0, 0.0, 1.5, -0.2], floor=2e-3),
]


@pytest.mark.parametrize("calibration", CALIBRATIONS)
@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
@pytest.mark.parametrize("profile", ["onnxruntime", "static"])
def test_a_calibration_becomes_part_of_the_tail(calibration, mode, profile):
    activation = "softmax" if mode == "multiclass" else "sigmoid"
    model = make_model([node("Identity", "logits", "y")])
    made = append_rma(
        model, activation=activation, output_mode=mode, calibration=calibration, profile=profile
    )
    logits = run(model, {"x": picture()}, "y")[0]
    probs = softmax(logits, 1) if mode == "multiclass" else sigmoid(logits)
    segment = RankSEG(output_mode=mode, calibration=calibration)
    (found,) = run(made, {"x": picture()})
    np.testing.assert_array_equal(found, segment(probs))
    assert np.any(found != rankseg(probs, output_mode=mode))
    assert verify(made, repeats=1).agreement > 0.9999


def test_a_calibration_for_another_number_of_classes():
    model = make_model([node("Softmax", "logits", "y", axis=1)])
    with pytest.raises(ValueError, match="the calibration is for 3 classes, found 5"):
        append_rma(model, calibration=Calibration("vector", bias=[0, 1, 0]))
    with pytest.raises(TypeError, match="calibration must be a Calibration, found dict"):
        append_rma(model, calibration={"kind": "temperature"})


def test_a_tail_behind_a_tail_alone():
    with pytest.raises(ValueError, match="output 'labels' is RankSEG's already"):
        append_rma(rma_model())


def test_a_tail_behind_a_tail():
    made = append_rma(make_model([node("Softmax", "logits", "y", axis=1)]))
    for output in (None, "labels"):
        with pytest.raises(ValueError, match="output 'labels' is RankSEG's already"):
            append_rma(made, output)
