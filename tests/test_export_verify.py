import json
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
import onnxruntime
from onnx import TensorProto, helper

from rankseg.export import append_rma, rma_model, save
from rankseg.export.verification.feeds import picture_feed, random_feeds
from rankseg.export.verification.submodels import until
from rankseg.export.verification.verify import _expected_accuracy, verify
from rankseg.functional import rankseg
from rankseg.metrics import expected_dice, expected_iou


def segmenter(ending, opset=17, shape=(1, 3, 48, 64), dtype=TensorProto.FLOAT):
    """Six classes by a convolution and a last node."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(6, 3, 3, 3)).astype(helper.tensor_dtype_to_np_dtype(dtype))
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "weight"], ["logits"], pads=[1, 1, 1, 1]),
            helper.make_node(ending, ["logits"], ["y"], **({"axis": 1} if "x" in ending else {})),
        ],
        "segmenter",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info("y", 7 if ending == "ArgMax" else dtype, [None] * 4)],
        [onnx.numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = helper.find_min_ir_version_for(model.opset_import)
    return model


@pytest.mark.parametrize(
    ("ending", "settings"),
    [
        ("Softmax", {}),
        ("Softmax", {"output_mode": "multilabel", "metric": "iou"}),
        ("Softmax", {"unassigned_policy": "void", "void_index": 99}),
        ("Softmax", {"resize_to": "input"}),
        ("Identity", {"activation": "softmax", "form": "function"}),
        ("Identity", {"activation": "softmax", "opset": 12}),
        ("Identity", {"activation": "sigmoid", "output_mode": "multilabel"}),
        ("ArgMax", {"activation": "softmax"}),
    ],
)
def test_agreement(ending, settings):
    model = segmenter(ending, settings.pop("opset", 17))
    found = verify(append_rma(model, **settings), model, repeats=2)
    assert found.agreement >= 0.9999
    assert found.change == 0
    assert found.decided == 48 * 64 * (6 if "output_mode" in settings else 1)
    assert min(found.model_seconds, found.plain_seconds, found.tail_seconds) > 0
    assert found.map_bytes == 6 * 48 * 64 * 4
    if os.path.exists("/proc/self/clear_refs"):
        assert 0 <= found.peak_bytes < 1e9
    assert "100.0000 %" in str(found) or found.different


def test_open_sizes_and_half_precision():
    model = segmenter("Softmax", shape=("N", 3, "H", "W"), dtype=TensorProto.FLOAT16)
    found = verify(append_rma(model), repeats=1)
    assert found.decided == 256 * 256
    assert found.agreement >= 0.9999
    assert found.change is None


def test_probabilities_that_rounding_puts_above_one():
    model = segmenter("Softmax")
    factor = onnx.numpy_helper.from_array(np.array(1.001, np.float32), "factor")
    model.graph.initializer.append(factor)
    model.graph.node.append(helper.make_node("Mul", ["y", "factor"], ["z"]))
    model.graph.output[0].name = "z"
    assert verify(append_rma(model, activation=None), repeats=1).agreement >= 0.999


def test_a_wrong_tail_is_found_out():
    made = append_rma(segmenter("Softmax"), metric="iou", smooth=0.0)
    for item in made.metadata_props:
        item.value = item.value.replace('"pruning_prob": 0.5', '"pruning_prob": 0.999')
    found = verify(made, repeats=1)
    assert found.agreement < 0.9999
    assert f"({found.different} of {found.decided} differ)" in str(found)


def with_other_record(model, **values):
    """The model with a record that its nodes do not compute."""
    for item in model.metadata_props:
        item.value = json.dumps(json.loads(item.value) | values)
    return model


@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
@pytest.mark.parametrize("metric", ["dice", "iou"])
def test_the_loss_of_a_wrong_tail(metric, mode):
    """What it computes is best with all classes pruned but some, and nothing else is as good."""
    model, x = segmenter("Softmax"), random_feeds(segmenter("Softmax"))
    made = append_rma(model, metric=metric, output_mode=mode, pruning_prob=0.999, keep_outputs=True)
    wrong = with_other_record(made, pruning_prob=0.0)
    session = onnxruntime.InferenceSession(wrong.SerializeToString())
    probs, found = session.run(None, x)
    score = {"dice": expected_dice, "iou": expected_iou}[metric]
    best = rankseg(probs, metric, output_mode=mode, pruning_prob=0.0)
    wanted, got = (score(probs, result).mean() for result in (best, found))
    loss = verify(wrong, feeds=x, repeats=1).loss
    assert loss > 1e-3
    assert loss == pytest.approx(wanted - got, rel=0.05)


def test_the_loss_is_that_of_the_worst_sample():
    model = segmenter("Softmax", shape=("N", 3, 48, 64))
    (x,) = random_feeds(segmenter("Softmax")).values()
    wrong = with_other_record(append_rma(model, pruning_prob=0.999), pruning_prob=0.0)
    both = np.concatenate([np.zeros_like(x), x])
    alone = [verify(wrong, feeds={"x": part[None]}, repeats=1).loss for part in both]
    assert alone[0] != pytest.approx(alone[1])
    assert verify(wrong, feeds={"x": both}, repeats=1).loss == pytest.approx(max(alone))


def test_another_original_is_found_out():
    model, other = segmenter("Softmax"), segmenter("Softmax")
    other.graph.initializer[0].CopyFrom(
        onnx.numpy_helper.from_array(np.ones((6, 3, 3, 3), np.float32), "weight")
    )
    found = verify(append_rma(model), other, repeats=1)
    assert found.change > 0.01
    assert "largest change" in str(found)


def branch(result, *reads):
    """A graph inside a node that adds up values of the graph around it."""
    output = helper.make_tensor_value_info(result, TensorProto.FLOAT, None)
    return helper.make_graph([helper.make_node("Sum", reads, [result])], result, [], [output])


def conditional():
    """The classes by an If, whose branches alone read `scaled`, `raised` and the weight `bias`."""
    model = segmenter("Identity")
    graph = model.graph
    graph.initializer.append(onnx.numpy_helper.from_array(np.ones((6, 1, 1), np.float32), "bias"))
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "yes"))
    del graph.node[1:]
    graph.node.extend(
        [
            helper.make_node("Tanh", ["logits"], ["scaled"]),
            helper.make_node("Sqrt", ["yes_as_float"], ["raised"]),
            helper.make_node(
                "If",
                ["yes"],
                ["chosen"],
                then_branch=branch("a", "scaled", "bias"),
                else_branch=branch("b", "scaled", "raised"),
            ),
            helper.make_node("Softmax", ["chosen"], ["y"], axis=1),
        ]
    )
    graph.node.insert(1, helper.make_node("Cast", ["yes"], ["yes_as_float"], to=1))
    model.graph.value_info.append(
        helper.make_tensor_value_info("chosen", TensorProto.FLOAT, [1, 6, 48, 64])
    )
    return model


def test_what_a_graph_inside_a_node_reads_belongs_to_the_part_before():
    model = conditional()
    part = until(model, "chosen")
    assert {tensor.name for tensor in part.graph.initializer} == {"weight", "bias", "yes"}
    onnx.checker.check_model(part)
    found = verify(append_rma(model), model, repeats=1)
    assert found.agreement >= 0.9999
    assert found.change == 0


def test_the_part_before_a_value_has_nothing_else():
    made = append_rma(segmenter("Softmax"))
    part = until(made, "logits")
    assert [node.op_type for node in part.graph.node] == ["Conv"]
    assert [tensor.name for tensor in part.graph.initializer] == ["weight"]
    assert [value.name for value in part.graph.output] == ["logits"]


def test_external_weights(tmp_path):
    onnx.save(
        segmenter("Softmax"),
        tmp_path / "m.onnx",
        save_as_external_data=True,
        location="w.bin",
        size_threshold=0,
    )
    save(append_rma(tmp_path / "m.onnx"), tmp_path / "out.onnx")
    found = verify(tmp_path / "out.onnx", tmp_path / "m.onnx", repeats=1)
    assert found.agreement >= 0.9999
    assert found.change == 0


def test_a_model_without_tail():
    with pytest.raises(ValueError, match="no RankSEG tail"):
        verify(segmenter("Softmax"))


def test_unknown_output():
    with pytest.raises(ValueError, match="choose one of the outputs 'labels'"):
        verify(append_rma(segmenter("Softmax")), output="y")


def test_feeds_that_do_not_fit():
    made = append_rma(segmenter("Softmax"))
    with pytest.raises(ValueError, match="onnxruntime does not run it"):
        verify(made, feeds={"x": np.zeros((1, 3, 4, 4), np.float32)})


def test_inputs_that_are_no_pictures():
    model = segmenter("Softmax")
    model.graph.input.append(helper.make_tensor_value_info("n", TensorProto.INT64, [1]))
    with pytest.raises(ValueError, match="input 'n' is no picture"):
        random_feeds(model)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 3, 48, 64), (1, 3, 48, 64)),
        (("N", 3, "H", "W"), (1, 3, 64, 96)),
        ((1, 48, 64, 3), (1, 48, 64, 3)),
    ],
)
def test_picture_feed(shape, expected):
    pytest.importorskip("PIL")
    model = segmenter("Softmax", shape=shape)
    picture = np.full((70, 100, 3), 255, np.uint8)
    feed = picture_feed(model, picture, np.array([0.5, 0.4, 0.2]), np.array(0.5))["x"]
    assert feed.shape == expected
    assert feed.dtype == np.float32
    corner = feed[0, :, 0, 0] if shape[1] == 3 else feed[0, 0, 0]
    np.testing.assert_allclose(corner, [1, 1.2, 1.6], rtol=1e-6)


def test_real_model():
    folder = os.environ.get("RANKSEG_DATA")
    if not folder:
        pytest.skip("RANKSEG_DATA is not set: the real models were NOT tested")
    path = Path(folder, "models", "SINet_Softmax.onnx")
    found = verify(append_rma(path), path, repeats=1)
    assert found.agreement >= 0.9999
    assert found.change == 0


def test_a_tail_alone_and_another_original():
    with pytest.raises(ValueError, match="a RankSEG tail alone"):
        verify(rma_model())
    made = append_rma(segmenter("Softmax"))
    with pytest.raises(ValueError, match="it is another model"):
        verify(made, rma_model(), repeats=1)


def test_the_expected_accuracy_of_labels_and_masks_in_the_loss():
    labels = np.array([[[0, 1]]])
    probs = np.array([[0.9, 0.2], [0.1, 0.8]]).reshape(1, 2, 1, 2)
    assert _expected_accuracy(probs, labels) == pytest.approx((0.9 + 0.8) / 2)
    masks = np.array([[True, False], [True, True]]).reshape(1, 2, 1, 2)
    assert _expected_accuracy(probs, masks) == pytest.approx((0.9 + 0.8 + 0.1 + 0.8) / 4)
