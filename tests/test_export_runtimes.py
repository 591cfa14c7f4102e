"""The same labels and masks from every runtime, for every setting of the graph."""

from itertools import cycle, product

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from boundaries import check_differences
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from test_export_append import SOFTMAX_LAST, make_model, picture
from test_export_graph import objects, regions, run

from rankseg import activations, thresholds
from rankseg.export import append_rma, rma_model
from rankseg.functional import rankseg

NEWEST = onnx.defs.onnx_opset_version()
OPSETS = (11, 13, 17, 18, NEWEST)
PROFILES = ("onnxruntime", "static")
SETTINGS = [
    {"metric": metric, "smooth": smooth, **rest}
    for metric in ("dice", "iou")
    for smooth in (0.0, 1.0)
    for rest in (
        {"output_mode": "multiclass"},
        {"output_mode": "multiclass", "unassigned_policy": "void"},
        {"output_mode": "multilabel"},
    )
]


def name(settings):
    return "-".join(str(value) for value in settings.values())


def maps(shape=(48, 64), classes=5, seed=0):
    """A scene of large soft regions and one of objects of 3 to 50 pixels."""
    return np.concatenate([regions(shape, classes, seed), objects(seed, shape, classes)])


def scores(settings, activation, seed=0):
    """What a model is fed, and the probabilities that it should work on."""
    probs = maps(seed=seed)
    if activation is None:
        return None, probs, probs
    logits = np.log(probs)
    if settings["output_mode"] == "multilabel":
        logits -= np.log1p(-probs)
        return "sigmoid", logits, activations.sigmoid(logits)
    return "softmax", logits, activations.softmax(logits, axis=1)


def by_reference(model, x):
    (result,) = ReferenceEvaluator(model).run(None, {model.graph.input[0].name: x})
    return result


def by_openvino(model, x):
    openvino = pytest.importorskip("openvino")
    core, exact = openvino.Core(), {"INFERENCE_PRECISION_HINT": "f32"}  # not bfloat16
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", exact)
    return next(iter(compiled(x).values()))


def test_the_check_finds_what_rounding_does_not_explain():
    probs = maps()
    labels, masks = rankseg(probs), rankseg(probs, output_mode="multilabel")
    check_differences(labels, probs)
    check_differences(masks, probs, output_mode="multilabel")
    labels[0, 20, 30] = (labels[0, 20, 30] + 1) % probs.shape[1]
    with pytest.raises(AssertionError):
        check_differences(labels, probs)
    threshold = thresholds(probs).threshold[0, 0]
    just_below = np.max(probs[0, 0], where=~masks[0, 0], initial=0)
    assert just_below < 0.9999 * threshold
    masks[0, 0][probs[0, 0] == just_below] = True
    with pytest.raises(AssertionError):
        check_differences(masks, probs, output_mode="multilabel")


def pruned_map():
    """The last class of sample 0 is pruned, and every class of sample 1."""
    rng = np.random.default_rng(0)
    logits = 2 * rng.standard_normal((2, 4, 48, 64)).astype(np.float32)
    logits[0, 3] -= 9
    logits[1] *= 0.05
    probs = activations.softmax(logits, axis=1)
    pruned = np.isinf(thresholds(probs).threshold)
    np.testing.assert_array_equal(pruned, [[False, False, False, True], [True] * 4])
    return probs


@pytest.mark.parametrize("policy", ["max_score", "void"])
@pytest.mark.parametrize("pixel", [(0, 20, 20), (0, 9, 41), (1, 20, 20)])
def test_the_check_finds_wrong_pixels_where_a_class_is_pruned(pixel, policy):
    probs = pruned_map()
    expected = rankseg(probs, unassigned_policy=policy)
    for label in {0, 1, 2, 3} - {int(expected[pixel])}:
        labels = expected.copy()
        labels[pixel] = label
        with pytest.raises(AssertionError):
            check_differences(labels, probs, unassigned_policy=policy)


def test_the_check_finds_pixels_in_the_mask_of_a_pruned_class():
    probs = pruned_map()
    masks = rankseg(probs, output_mode="multilabel")
    masks[0, 3, 20, 20] = True
    with pytest.raises(AssertionError):
        check_differences(masks, probs, output_mode="multilabel")


@pytest.mark.parametrize(("others", "right", "wrong"), [(0.9, 0, [2, 3]), (0.3, 1, [3])])
def test_a_threshold_excuses_the_class_whose_it_is(others, right, wrong):
    """Class 0 may have the pixel or not; class 3 is pruned."""
    probs = pruned_map()
    for _ in range(3):  # the pixel moves the threshold a little
        threshold = thresholds(probs).threshold[0, 0]
        probs[0, :, 20, 20] = [threshold * (1 + 1e-7), others, 0.05, 0.05]
    labels = rankseg(probs)
    labels[0, 20, 20] = right
    check_differences(labels, probs)
    for label in wrong:
        labels[0, 20, 20] = label
        with pytest.raises(AssertionError):
            check_differences(labels, probs)


def test_the_check_passes_a_tie():
    """Class 2 is class 1 mirrored, so on the middle column they gain the same."""
    logits = 2 * np.random.default_rng(0).standard_normal((1, 3, 41, 41))
    logits[:, 0] += logits[:, 0, :, ::-1]
    logits[:, 2] = logits[:, 1, :, ::-1]
    probs = activations.softmax(logits, axis=1)
    masks = rankseg(probs, output_mode="multilabel")
    labels = rankseg(probs)
    ties = np.flatnonzero((masks[0, :, :, 20].sum(axis=0) != 1) & (labels[0, :, 20] > 0))
    assert ties.size
    row = ties[0]
    labels[0, row, 20] = 3 - labels[0, row, 20]
    check_differences(labels, probs)
    labels[0, row, 20] = 0
    with pytest.raises(AssertionError):
        check_differences(labels, probs)


def test_the_maps_have_pixels_to_compete_for():
    for given in (None, "logits"):
        probs = scores(SETTINGS[0], given)[2]
        votes = rankseg(probs, output_mode="multilabel").sum(axis=1)
        assert np.all(np.mean(votes != 1, axis=(1, 2)) > 1e-3)
        assert np.any(votes == 0)
        assert np.any(votes > 1)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("settings", SETTINGS, ids=name)
def test_onnxruntime(settings, profile, opset):
    for given in (None, "logits"):
        activation, x, probs = scores(settings, given)
        arguments = {"activation": activation, "profile": profile, "opset": opset, **settings}
        flat = run(rma_model(**arguments), x)
        check_differences(flat, probs, **settings)
        np.testing.assert_array_equal(run(rma_model(**arguments, form="function"), x), flat)


# The other runtimes are slow to start: each setting, profile and activation with one opset.
CASES = [
    (*case, opset)
    for case, opset in zip(
        product(SETTINGS, PROFILES, (None, "logits")), cycle(OPSETS), strict=False
    )
]


@pytest.mark.parametrize("runtime", [by_reference, by_openvino])
@pytest.mark.parametrize(
    ("settings", "profile", "given", "opset"),
    CASES,
    ids=[f"{name(case[0])}-{case[1]}-{case[2]}-{case[3]}" for case in CASES],
)
def test_other_runtimes(runtime, settings, profile, given, opset):
    activation, x, probs = scores(settings, given)
    model = rma_model(activation=activation, profile=profile, opset=opset, **settings)
    check_differences(runtime(model, x), probs, **settings)


@pytest.mark.parametrize("opset", OPSETS)
def test_function_by_reference(opset):
    probs = maps()
    model = rma_model(form="function", opset=opset)
    check_differences(by_reference(model, probs), probs)


def test_function_by_openvino():
    """OpenVINO does not read functions of a model: flat is the form for it."""
    pytest.importorskip("openvino")
    with pytest.raises(RuntimeError, match="RankSEG"):
        by_openvino(rma_model(form="function"), maps())


@pytest.mark.parametrize("runtime", [run, by_reference, by_openvino])
@pytest.mark.parametrize("profile", PROFILES)
def test_appended_model(runtime, profile):
    model = make_model(SOFTMAX_LAST)
    x = picture()
    probs = run(model, x)
    made = append_rma(model, profile=profile)
    check_differences(runtime(made, x), probs)


# Of the standard, the operators whose output's shape depends on values, or which an accelerator
# without control flow lacks.
DYNAMIC = {"Compress", "NonZero", "Unique", "Range", "NonMaxSuppression", "Expand", "Tile"}
CONTROL = {"Loop", "Scan", "If", "SequenceMap", "TopK", "CumSum", "Shape"}


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("settings", SETTINGS, ids=name)
def test_static_profile_has_static_shapes(settings, opset):
    for activation in (None, "softmax", "sigmoid"):
        arguments = {"profile": "static", "activation": activation, "opset": opset, **settings}
        model = rma_model(**arguments)
        kinds = {node.op_type for node in model.graph.node}
        assert not kinds & (DYNAMIC | CONTROL)
        assert shapes_of(model, (2, 5, 48, 64))


def shapes_of(model, shape):
    """Fix the input's shape, and see every shape of the graph follow from it."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for axis, size in zip(fixed.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        axis.dim_value = size
    inferred = onnx.shape_inference.infer_shapes(
        fixed, check_type=True, strict_mode=True, data_prop=True
    )
    values = {value.name: value.type.tensor_type.shape for value in inferred.graph.value_info}
    outputs = {name for node in fixed.graph.node for name in node.output}
    outputs -= {value.name for value in fixed.graph.output}
    assert set(values) >= outputs
    return all(axis.HasField("dim_value") for s in values.values() for axis in s.dim)


def test_reduction_axes_of_the_static_profile_are_constants():
    for opset in (13, 18, NEWEST):
        model = rma_model(profile="static", opset=opset, smooth=1.0)
        constants = {tensor.name for tensor in model.graph.initializer}
        sums = [node for node in model.graph.node if node.op_type == "ReduceSum"]
        assert sums
        assert all(node.input[1] in constants for node in sums)
        assert all(numpy_helper.to_array(t).size for t in model.graph.initializer)
