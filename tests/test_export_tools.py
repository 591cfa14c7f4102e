"""Tools that come after append leave the labels as they are."""

import warnings

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper

from rankseg.export import append_rma

CLASSES = 7
TAIL = "r/"
PROFILES = ["onnxruntime", "static"]
SIZES = {"open": ("h", "w"), "fixed": (48, 64)}


def network(ending, size):
    """A convolution with synthetic weights, and perhaps a Softmax that stays for another output."""
    rng = np.random.default_rng(0)
    weights = (0.6 * rng.standard_normal((CLASSES, 3, 3, 3))).astype(np.float32)
    nodes = [helper.make_node("Conv", ["x", "W"], ["logits"], "/head/Conv", pads=[1] * 4)]
    if ending == "probs":
        nodes.append(helper.make_node("Softmax", ["logits"], ["probs"], "/head/Softmax", axis=1))
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, *size])
    result = helper.make_tensor_value_info(ending, TensorProto.FLOAT, ["n", CLASSES, *size])
    graph = helper.make_graph(
        nodes, "network", [source], [result], [numpy_helper.from_array(weights, "W")]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def pictures():
    """Three smooth pictures."""
    rng = np.random.default_rng(1)
    for _ in range(3):
        coarse = 2 * rng.standard_normal((1, 3, 12, 16)).astype(np.float32)
        yield np.repeat(np.repeat(coarse, 4, axis=2), 4, axis=3)


def labels(model):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    given = model if isinstance(model, str) else model.SerializeToString()
    session = onnxruntime.InferenceSession(given, options, ["CPUExecutionProvider"])
    (source,) = session.get_inputs()
    names = [o.name for o in session.get_outputs() if o.type == "tensor(int64)"]
    return [session.run(names[:1], {source.name: x})[0] for x in pictures()]


def in_symbolic_shapes(model, folder):
    pytest.importorskip("sympy")
    tool = pytest.importorskip("onnxruntime.tools.symbolic_shape_infer")
    return tool.SymbolicShapeInference.infer_shapes(model)


def in_quantisation_preprocessing(model, folder):
    pytest.importorskip("sympy")
    from onnxruntime.quantization.shape_inference import quant_pre_process

    onnx.save(model, folder / "model.onnx")
    quant_pre_process(str(folder / "model.onnx"), str(folder / "out.onnx"))
    return onnx.load(folder / "out.onnx")


def in_onnxslim(model, folder):
    return pytest.importorskip("onnxslim").slim(model)


def in_onnxsim(model, folder):
    simplified, _ = pytest.importorskip("onnxsim").simplify(model)
    return simplified


def in_onnxoptimizer(model, folder):
    return pytest.importorskip("onnxoptimizer").optimize(model)


def in_a_newer_opset(model, folder):
    from onnx import version_converter

    return version_converter.convert_version(model, 21)


def in_ort_format(model, folder):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / "model.ort")
    onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return str(folder / "model.ort")


def in_add_prefix(model, folder):
    return onnx.compose.add_prefix(model, "mine/")


def in_merge_models(model, folder):
    before = helper.make_graph(
        [helper.make_node("Identity", ["picture"], ["same"])],
        "before",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("same", TensorProto.FLOAT, ["n", 3, "h", "w"])],
    )
    first = helper.make_model(before, opset_imports=model.opset_import, ir_version=model.ir_version)
    return onnx.compose.merge_models(first, model, io_map=[("same", "x")])


TOOLS = [
    in_symbolic_shapes,
    in_quantisation_preprocessing,
    in_onnxslim,
    in_onnxsim,
    in_onnxoptimizer,
    in_a_newer_opset,
    in_ort_format,
    in_add_prefix,
    in_merge_models,
]


@pytest.fixture(params=["logits", "probs"])
def ending(request):
    return request.param


@pytest.fixture(params=PROFILES)
def profile(request):
    return request.param


def appended(ending, profile, size=("h", "w")):
    activation = "softmax" if ending == "logits" else "auto"
    # Kept, so that the Softmax stays and the tail reads probabilities.
    return append_rma(
        network(ending, size), activation=activation, profile=profile, keep_outputs=True
    )


def is_tail(node):
    return node.name.startswith(TAIL)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("tool", TOOLS)
def test_labels_stay(tool, ending, profile, size, tmp_path):
    model = appended(ending, profile, SIZES[size])
    expected = labels(model)
    assert all(len(np.unique(each)) > 2 for each in expected)
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    np.testing.assert_array_equal(labels(tool(copy, tmp_path)), expected)


def test_every_node_of_a_tail_has_a_name_of_its_own(ending, profile):
    names = [node.name for node in appended(ending, profile).graph.node]
    assert len(set(names)) == len(names)
    assert all(name.startswith((TAIL, "/head/")) for name in names)


class Calibrating:
    def __init__(self):
        self.feeds = ({"x": x} for x in pictures())

    def get_next(self):
        return next(self.feeds, None)


@pytest.mark.filterwarnings("ignore")
def test_a_tail_left_out_of_quantisation_stays_in_float(ending, profile, tmp_path):
    from onnxruntime.quantization import quantize_static

    def quantised(model, out, exclude=()):
        onnx.save(model, tmp_path / "model.onnx")
        quantize_static(
            str(tmp_path / "model.onnx"),
            str(tmp_path / out),
            Calibrating(),
            nodes_to_exclude=list(exclude),
        )
        return onnx.load(tmp_path / out)

    model = appended(ending, profile)
    after = quantised(model, "after.onnx", [n.name for n in model.graph.node if is_tail(n)])
    activation = "softmax" if ending == "logits" else None
    before = quantised(network(ending, ("h", "w")), "before.onnx")
    first = append_rma(before, activation=activation, profile=profile)
    np.testing.assert_array_equal(labels(after), labels(first))


def test_a_tail_in_the_block_list_of_float16(ending, profile):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        float16 = pytest.importorskip("onnxconverter_common.float16")
        model = appended(ending, profile)
        blocked = [node.name for node in model.graph.node if is_tail(node)]
        half = float16.convert_float_to_float16(model, keep_io_types=True, node_block_list=blocked)
    tail_casts = [node for node in half.graph.node if is_tail(node)]
    assert len(tail_casts) >= len(blocked)
    wanted, found = (np.concatenate(labels(m)) for m in (appended(ending, profile), half))
    assert np.mean(wanted != found) < 2e-3  # of logits in float16
