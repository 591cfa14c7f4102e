"""The ONNX graph: valid at every opset, and the labels and masks of the NumPy package."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx.reference import ReferenceEvaluator

from rankseg import __version__ as version
from rankseg import activations, thresholds
from rankseg.export import TailSettings, rma_model, tail
from rankseg.export.record import recorded
from rankseg.functional import rankseg
from rankseg.objectives import Dice

NEWEST = onnx.defs.onnx_opset_version()
OPSETS = [11, 12, 13, 17, 18, 21, NEWEST]
PROFILES = ["onnxruntime", "static"]
SETTINGS = [
    {},
    {"metric": "iou"},
    {"smooth": 1.0},
    {"metric": "iou", "smooth": 1.0},
    {"unassigned_policy": "void"},
    {"unassigned_policy": "void", "void_index": -1},
    {"pruning_prob": 0.9},
    {"pruning_prob": (0.9, 0.0, 0.5, 1.0)},
    {"output_mode": "multilabel"},
    {"output_mode": "multilabel", "metric": "iou", "smooth": 1.0},
    {"output_mode": "multilabel", "smooth": 0.1, "pruning_prob": 0.0},
]


def soft_map(shape, classes=4, batch=2, sharpness=3.0, seed=0):
    """Logits and their softmax, (batch, class, *shape)."""
    rng = np.random.default_rng(seed)
    logits = (sharpness * rng.standard_normal((batch, classes, *shape))).astype(np.float32)
    return logits, activations.softmax(logits, axis=1)


def objects(seed, shape=(256, 256), classes=6):
    """A background and one object of 3 to 50 pixels a class: (1, class, *shape)."""
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((classes, *shape)) * 0.5 - rng.uniform(5, 12)
    logits[0] = 0
    grid = np.indices(shape)
    for c in range(1, classes):
        radius = np.sqrt(rng.uniform(3, 50) / np.pi)
        centre = rng.uniform(10, np.array(shape) - 10)
        offset = grid - centre.reshape(-1, *[1] * len(shape))
        distance = np.sqrt(np.sum(offset**2, axis=0)) - radius
        peak = rng.uniform(1, 6) - np.mean(logits[c])
        logits[c] += peak * np.exp(-(np.maximum(distance, 0) ** 2) / rng.uniform(0.5, 8))
    return activations.softmax(logits.astype(np.float32)[None], axis=1)


def regions(shape=(180, 240), classes=7, seed=0):
    """Large soft regions, some classes absent."""
    rng = np.random.default_rng(seed)
    grid = np.indices(shape) / np.reshape(shape, (-1, *[1] * len(shape)))
    logits = 0.3 * rng.standard_normal((classes, *shape))
    for c in range(classes):
        waves = rng.uniform(-9, 9, (3, len(shape)))
        phases = rng.uniform(0, 6, 3)
        field = sum(
            np.sin(np.tensordot(w, grid, 1) + f) for w, f in zip(waves, phases, strict=True)
        )
        logits[c] += 4 * field - (8 if c > 4 else 0)
    return activations.softmax(logits.astype(np.float32)[None], axis=1)


def run(model, x):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (result,) = session.run(None, {session.get_inputs()[0].name: x})
    return result


def check_equal(result, probs, **settings):
    """Equal but for at most 1 pixel of 10,000."""
    expected = rankseg(probs, **settings)
    assert result.shape == expected.shape
    assert np.count_nonzero(result != expected) <= 1e-4 * expected.size


def check_thresholds(probs, profile="onnxruntime", **settings):
    """The masks are those of thresholds within float32 rounding of the package's."""
    assert not count_wrong(probs, profile, **settings)


def count_wrong(probs, profile, **settings):
    """Count the pixels that rounding of a threshold does not explain."""
    model = rma_model(
        output_mode="multilabel", num_classes=probs.shape[1], profile=profile, **settings
    )
    masks = run(model, probs)
    found = thresholds(probs, **settings).threshold.reshape(*probs.shape[:2], 1, 1)
    close = np.abs(probs - found) <= 4 * np.finfo(np.float32).eps * found
    return np.count_nonzero((masks != (probs > found)) & ~close)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("settings", SETTINGS)
def test_valid_and_equal_at_every_opset(opset, profile, settings):
    model = rma_model(opset=opset, profile=profile, num_classes=4, **settings)
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    assert model.opset_import[0].version == opset
    probs = soft_map((24, 40))[1]
    check_equal(run(model, probs), probs, **settings)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("sharpness", [1.0, 3.0, 8.0])
@pytest.mark.parametrize("classes", [None, 4])
def test_soft_maps(profile, settings, sharpness, classes):
    probs = soft_map((96, 130), sharpness=sharpness, seed=int(sharpness))[1]
    model = rma_model(profile=profile, num_classes=classes, **settings)
    check_equal(run(model, probs), probs, **settings)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("settings", [s for s in SETTINGS if "pruning_prob" not in s])
def test_regions(profile, settings):
    probs = regions()
    model = rma_model(profile=profile, num_classes=7, **settings)
    check_equal(run(model, probs), probs, **settings)


@pytest.mark.parametrize("metric", ["dice", "iou"])
@pytest.mark.parametrize("seed", range(6))
def test_objects_of_a_few_pixels(metric, seed):
    probs = objects(seed)
    check_thresholds(probs, metric=metric)
    for profile in PROFILES:
        check_equal(run(rma_model(metric=metric, profile=profile), probs), probs, metric=metric)


@pytest.mark.parametrize("metric", ["dice", "iou"])
def test_thresholds_of_regions(metric):
    for seed in range(3):
        check_thresholds(regions(seed=seed), metric=metric)


def faint(seed, size=96):
    """Heavy tails and faint classes, half of the maps with nothing where the map is thinned."""
    rng = np.random.default_rng(seed)
    few = rng.random((6, size, size)) < rng.uniform(0.0005, 0.05, (6, 1, 1))
    tails = rng.random((6, size, size)) ** rng.uniform(0.5, 12, (6, 1, 1))
    bright, dim = rng.uniform(0.3, 1, (6, 1, 1)), rng.uniform(0.001, 0.3, (6, 1, 1))
    sparse = rng.random((6, 1, 1)) < 0.5
    p = np.where(sparse, np.where(few, bright, tails * dim), tails)
    p[:, :: 3 + size * (seed % 2), :: 3 + size * (seed % 2)] = 0
    return p.astype(np.float32)[None]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("metric", ["dice", "iou"])
def test_thresholds_that_take_every_step(profile, metric):
    settings = {"metric": metric, "pruning_prob": 0.0}
    wrong = sum(count_wrong(faint(seed), profile, **settings) for seed in range(40))
    assert wrong <= {"onnxruntime": 0, "static": 8}[profile]  # of 2,211,840


def shortfall(probs, profile, smooth):
    """By how much the expected Dice of a mask is below the best, at most."""
    settings = {"smooth": smooth, "pruning_prob": 0.0}
    masks = run(rma_model(output_mode="multilabel", profile=profile, **settings), probs)
    wide = probs.astype(np.float64)
    sums = [x.sum(axis=(2, 3)) for x in (1.0 * masks, masks * wide, wide)]
    return np.max(thresholds(wide, **settings).score - Dice(smooth).score(*sums))


@pytest.mark.parametrize("profile", PROFILES)
def test_smoothed_dice_of_faint_classes_is_close_to_the_best(profile):
    assert max(shortfall(faint(seed), profile, 10.0) for seed in range(24)) < 5e-8


@pytest.mark.parametrize("profile", PROFILES)
def test_smoothed_dice_of_few_pixels_is_close_to_the_best(profile):
    worst = 0.0
    for seed in range(16):
        rng = np.random.default_rng(seed)
        power, largest = rng.uniform(1, 20), rng.uniform(0.05, 1)
        probs = (rng.random((1, 6, 24, 24)) ** power * largest).astype(np.float32)
        worst = max(worst, shortfall(probs, profile, 5.0))
    assert worst < 2e-5


@pytest.mark.parametrize(("smooth", "limit"), [(0.0, 0.0855), (1.0, 0.18)])
def test_few_pixels_are_left_to_the_later_steps(smooth, limit):
    model = rma_model(smooth=smooth)
    name = next(node.output[0] for node in model.graph.node if node.op_type == "NonZero")
    model.graph.output[0].CopyFrom(onnx.ValueInfoProto(name=name))
    scenes = [regions(seed=seed) for seed in range(8)]
    gathered = sum(run(model, probs).size for probs in scenes)
    assert gathered < limit * sum(probs[0, 0].size for probs in scenes)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("metric", ["dice", "iou"])
def test_a_class_of_probability_zero(profile, metric):
    probs = soft_map((24, 40))[1]
    probs[0, 0] = 0  # in one sample: else the class is left out
    for settings in ({"pruning_prob": 0.0}, {"unassigned_policy": "void"}):
        model = rma_model(profile=profile, metric=metric, **settings)
        expected = rankseg(probs, metric=metric, **settings)
        np.testing.assert_array_equal(run(model, probs), expected)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 5), (9, 2), (8, 8), (17, 33)])
@pytest.mark.parametrize("settings", [{}, {"metric": "iou"}, {"unassigned_policy": "void"}])
def test_tiny_maps(profile, shape, settings):
    model = rma_model(profile=profile, **settings)
    for seed in range(5):
        probs = soft_map(shape, batch=3, seed=seed)[1]
        np.testing.assert_array_equal(run(model, probs), rankseg(probs, **settings))


@pytest.mark.parametrize("profile", PROFILES)
def test_every_class_pruned(profile):
    probs = np.full((2, 4, 10, 12), 0.25, np.float32)
    probs[1, 2] += 0.5
    for policy in ("max_score", "void"):
        settings = {"unassigned_policy": policy, "pruning_prob": 0.6}
        result = run(rma_model(profile=profile, **settings), probs)
        np.testing.assert_array_equal(result, rankseg(probs, **settings))


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("shape", "layout"), [((300,), "NWC"), ((40, 50), "NHWC")])
def test_channels_last(profile, shape, layout):
    probs = np.ascontiguousarray(np.moveaxis(soft_map(shape)[1], 1, -1))
    for mode in ("multiclass", "multilabel"):
        model = rma_model(layout=layout, spatial_ndim=len(shape), output_mode=mode, profile=profile)
        check_equal(run(model, probs), probs, output_mode=mode, class_axis=-1)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("shape", [(500,), (12, 20, 24)])
@pytest.mark.parametrize("settings", SETTINGS[:5] + SETTINGS[8:10])
def test_other_numbers_of_axes(profile, shape, settings):
    probs = soft_map(shape)[1]
    model = rma_model(spatial_ndim=len(shape), profile=profile, **settings)
    check_equal(run(model, probs), probs, **settings)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
@pytest.mark.parametrize("opset", [11, 17])
def test_other_precisions(dtype, opset):
    probs = soft_map((30, 40))[1].astype(dtype)
    for settings in ({}, {"metric": "iou"}, {"smooth": 1.0}, {"output_mode": "multilabel"}):
        check_equal(run(rma_model(dtype=dtype, opset=opset, **settings), probs), probs, **settings)


@pytest.mark.parametrize("profile", PROFILES)
def test_logits(profile):
    logits, probs = soft_map((64, 70))
    check_equal(run(rma_model(activation="softmax", profile=profile), logits), probs)
    model = rma_model(activation="sigmoid", output_mode="multilabel", profile=profile)
    expected = activations.sigmoid(logits)
    check_equal(run(model, logits), expected, output_mode="multilabel")


@pytest.mark.parametrize("label_dtype", ["int64", "int32", "uint8"])
@pytest.mark.parametrize("profile", PROFILES)
def test_label_types(label_dtype, profile):
    probs = soft_map((20, 30))[1]
    for policy in ("max_score", "void"):
        settings = {"unassigned_policy": policy}
        result = run(rma_model(label_dtype=label_dtype, profile=profile, **settings), probs)
        assert result.dtype == label_dtype
        check_equal(result, probs, **settings)


def test_volume_sums():
    rng = np.random.default_rng(0)
    probs = (0.2 + 0.6 * rng.random((1, 2, 96, 128, 128))).astype(np.float32)
    masks = run(rma_model(spatial_ndim=3, output_mode="multilabel"), probs)
    found = thresholds(probs).threshold.reshape(1, 2, 1, 1, 1)
    close = np.abs(probs - found) <= 2e-6 * found
    assert np.all((masks == (probs > found)) | close)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("settings", [{}, {"metric": "iou"}, {"output_mode": "multilabel"}])
def test_openvino(profile, settings):
    openvino = pytest.importorskip("openvino")
    probs = soft_map((24, 40))[1]
    model = rma_model(profile=profile, **settings)
    core, exact = openvino.Core(), {"INFERENCE_PRECISION_HINT": "f32"}  # not bfloat16
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", exact)
    result = next(iter(compiled(probs).values()))
    check_equal(result, probs, **settings)


@pytest.mark.parametrize("settings", [{}, {"output_mode": "multilabel"}, {"profile": "static"}])
def test_reference_evaluator(settings):
    probs = soft_map((12, 18))[1]
    model = rma_model(**settings)
    (result,) = ReferenceEvaluator(model).run(None, {"probs": probs})
    np.testing.assert_array_equal(result, run(model, probs))


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("settings", SETTINGS)
def test_function_is_one_node_and_the_same(profile, settings):
    probs = soft_map((24, 40))[1]
    model = rma_model(form="function", profile=profile, **settings)
    onnx.checker.check_model(model, full_check=True)
    assert [(node.op_type, node.domain) for node in model.graph.node] == [("RankSEG", "ai.rankseg")]
    flat = rma_model(profile=profile, **settings)
    np.testing.assert_array_equal(run(model, probs), run(flat, probs))


@pytest.mark.parametrize("settings", SETTINGS)
def test_no_operator_that_sorts_or_loops(settings):
    for profile in PROFILES:
        model = rma_model(profile=profile, **settings)
        kinds = {node.op_type for node in model.graph.node}
        assert not kinds & {"TopK", "CumSum", "Loop", "Scan", "If", "Where", "Softmax"}
        if profile == "static":
            assert not kinds & {"NonZero", "Compress", "Range", "ScatterElements", "Shape"}
        assert model.ByteSize() < 20_000


def test_static_profile_reduces_over_constants():
    model = rma_model(profile="static", opset=18)
    constants = {tensor.name for tensor in model.graph.initializer}
    axes = [node.input[1] for node in model.graph.node if node.op_type.startswith("Reduce")]
    assert axes and set(axes) <= constants
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    assert onnx.TensorProto.DOUBLE not in kinds


def test_metadata_and_shapes():
    settings = {"metric": "iou", "smooth": 1.0, "pruning_prob": (0.5, 0.0, 1.0, 0.5, 0.5)}
    model = rma_model(num_classes=5, layout="NHWC", **settings)
    assert [entry.key for entry in model.metadata_props] == ["rankseg.output.labels"]
    found = recorded(model)["labels"]
    assert (found["metric"], found["smooth"]) == ("iou", 1.0)
    assert found["pruning_prob"] == [0.5, 0.0, 1.0, 0.5, 0.5]
    assert (found["input"], found["class_axis"], found["result"]) == ("probs", 3, "labels")
    assert found["rankseg"] == version
    model = rma_model(metric="iou", smooth=1.0, num_classes=5)
    source, result = model.graph.input[0], model.graph.output[0]
    sizes = [d.dim_param or d.dim_value for d in source.type.tensor_type.shape.dim]
    assert (source.name, sizes) == ("probs", ["batch", 5, "height", "width"])
    assert result.name == "labels"


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("form", ["flat", "function"])
def test_fixed_sizes(opset, profile, form):
    sizes = {"batch": 2, "num_classes": 4, "spatial_shape": (24, 40)}
    probs = soft_map((24, 40))[1]
    for mode, shape in (("multiclass", [2, 24, 40]), ("multilabel", [2, 4, 24, 40])):
        model = rma_model(opset=opset, profile=profile, form=form, output_mode=mode, **sizes)
        onnx.checker.check_model(model, full_check=True)
        assert inferred_sizes(model) == shape
        check_equal(run(model, probs), probs, output_mode=mode)
        if profile == "static" or opset >= 18:  # older opsets do not carry sizes through Gather
            model.graph.output[0].type.tensor_type.ClearField("shape")
            assert inferred_sizes(model) == shape


def inferred_sizes(model):
    inferred = onnx.shape_inference.infer_shapes(
        model, check_type=True, strict_mode=True, data_prop=True
    )
    dims = inferred.graph.output[0].type.tensor_type.shape.dim
    return [dim.dim_param or dim.dim_value for dim in dims]


@pytest.mark.parametrize(
    ("arguments", "sizes"),
    [
        ({"batch": 1}, [1, "class", "height", "width"]),
        ({"spatial_shape": (8, 9)}, ["batch", "class", 8, 9]),
        ({"spatial_shape": [8, 9], "layout": "NHWC", "num_classes": 3}, ["batch", 8, 9, 3]),
        ({"spatial_shape": (7, 8, 9), "spatial_ndim": 3}, ["batch", "class", 7, 8, 9]),
    ],
)
def test_some_fixed_sizes(arguments, sizes):
    dims = rma_model(**arguments).graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in dims] == sizes


def test_names_begin_with_the_prefix():
    made = tail(
        TailSettings(),
        "scores",
        prefix="mine/",
        opset=13,
        spatial_ndim=2,
        num_classes=3,
        element_type=onnx.TensorProto.FLOAT,
    )
    names = [output for node in made.nodes for output in node.output]
    names += [tensor.name for tensor in made.initializers]
    assert all(name.startswith("mine/") for name in names)
    assert len(set(names)) == len(names)
    assert (made.output in names, made.output_type) == (True, onnx.TensorProto.INT64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"opset": 10}, "opset must lie in"),
        ({"opset": NEWEST + 1}, "opset must lie in"),
        ({"smooth": -1.0}, "smooth must be"),
        ({"metric": "dicee"}, "metric must be one of"),
        ({"activation": "tanh"}, "activation must be one of"),
        ({"layout": "NDHWC"}, "layout must be one of"),
        ({"spatial_ndim": 4}, "spatial_ndim must be"),
        ({"label_dtype": "int8"}, "label_dtype must be one of"),
        ({"label_dtype": "uint8", "output_mode": "multilabel"}, "masks are bool"),
        ({"profile": "fast"}, "profile must be one of"),
        ({"form": "nested"}, "form must be one of"),
        ({"void_index": 7}, "requires unassigned_policy='void'"),
        ({"num_classes": 9, "unassigned_policy": "void", "void_index": 7}, "void_index must lie"),
        ({"label_dtype": "uint8", "unassigned_policy": "void", "void_index": -1}, "must fit"),
        ({"num_classes": 300, "label_dtype": "uint8"}, "do not fit"),
        ({"num_classes": 1}, "one class"),
        ({"batch": 0}, "batch must be positive, found 0"),
        ({"num_classes": 0}, "num_classes must be positive, found 0"),
        ({"spatial_shape": (4, -1)}, "spatial_shape must be positive, found -1"),
        ({"spatial_shape": (4, 5, 6)}, r"spatial_ndim=2 sizes, found \(4, 5, 6\)"),
        ({"num_classes": 3, "pruning_prob": (0.5, 0.5)}, "pruning_prob has 2 values"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        rma_model(**arguments)


@pytest.mark.parametrize(
    "arguments", [{"batch": "1"}, {"batch": True}, {"spatial_shape": (4.0, 5)}]
)
def test_sizes_of_another_type(arguments):
    (name,) = arguments
    with pytest.raises(TypeError, match=f"{name} must be an int, found"):
        rma_model(**arguments)


def test_integer_source():
    with pytest.raises(TypeError, match="found INT64"):
        tail(
            TailSettings(),
            "x",
            prefix="",
            opset=17,
            spatial_ndim=2,
            num_classes=None,
            element_type=onnx.TensorProto.INT64,
        )


@pytest.mark.parametrize("classes", [2, 255, 256, 300])
def test_many_classes(classes):
    rng = np.random.default_rng(classes)
    logits = 3 * rng.standard_normal((2, classes, 20, 30)).astype(np.float32)
    logits[:, classes // 2 :] += 2 * np.sin(np.arange(30, dtype=np.float32) / 9)
    probs = activations.softmax(logits, axis=1)
    settings = {"pruning_prob": 0.1, "unassigned_policy": "void", "void_index": 1000}
    model = rma_model(num_classes=classes, **settings)
    labels = run(model, probs)
    check_equal(labels, probs, **settings)
    assert len(np.unique(labels)) > classes // 4


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("pruning_prob", [0.5, 0.9, 1.0, (0.9, 0.0, 0.5, 1.0)])
@pytest.mark.parametrize(
    ("solver", "mode"),
    [
        ("argmax", "multiclass"),
        ("pruned-argmax", "multiclass"),
        ("TR", "multilabel"),
        ("pruned-TR", "multilabel"),
    ],
)
def test_the_solvers_of_the_accuracy(profile, pruning_prob, solver, mode):
    settings = {"solver": solver, "output_mode": mode, "pruning_prob": pruning_prob}
    probs = soft_map((40, 50), sharpness=2.0)[1]
    model = rma_model(metric="accuracy", profile=profile, num_classes=4, **settings)
    assert len(model.graph.node) < 20
    found = run(model, probs)
    np.testing.assert_array_equal(found, rankseg(probs, "accuracy", **settings))
    if solver.startswith("pruned") and isinstance(pruning_prob, tuple):
        plain = rankseg(probs, "accuracy", solver=solver.removeprefix("pruned-"), output_mode=mode)
        assert not np.array_equal(found, plain)


def test_the_default_solver_suits_the_metric():
    probs = soft_map((40, 50), sharpness=2.0)[1]
    np.testing.assert_array_equal(run(rma_model(metric="accuracy"), probs), probs.argmax(axis=1))


@pytest.mark.parametrize(
    ("metric", "solver", "mode"),
    [
        ("dice", "exact", "multiclass"),
        ("dice", "BA", "multilabel"),
        ("accuracy", "argmax", "multilabel"),
        ("accuracy", "RMA", "multiclass"),
    ],
)
def test_other_solvers_are_refused(metric, solver, mode):
    with pytest.raises(ValueError, match=f"solver '{solver}'"):
        rma_model(metric=metric, solver=solver, output_mode=mode)
