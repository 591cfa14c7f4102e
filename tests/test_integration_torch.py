"""RankSEGModule: the function in eager mode, and the same labels out of export and compile."""

import copy
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from recipes import recipes, run

from rankseg import RankSEG
from rankseg.calibration import Calibration
from rankseg.functional import rankseg
from rankseg.integration.torch import RankSEGModule

SETTINGS = [
    {},
    {"metric": "iou", "smooth": 1.0},
    {"unassigned_policy": "void", "void_index": -1},
    {"pruning_prob": (0.5, 0.9, 0.0, 0.7), "refine": 2},
    {"output_mode": "multilabel"},
    {"output_mode": "multilabel", "metric": "iou", "pruning_prob": 0.0},
    {"metric": "accuracy", "solver": "argmax"},
]
SIZES = [(3, 9, 17), (1, 70, 90), (2, 24, 40)]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.compiler.reset()
    yield
    torch.set_num_threads(before)


def random_logits(batch=2, *spatial, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(batch, classes, *(spatial or (24, 40)), generator=generator)


def as_network(settings):
    """A module of logits, and what it should compute."""
    activation = "sigmoid" if settings.get("output_mode") == "multilabel" else "softmax"
    activate = torch.sigmoid if activation == "sigmoid" else lambda x: torch.softmax(x, 1)
    module = RankSEGModule(**settings, activation=activation)
    return module, lambda x: rankseg(activate(x), **settings)


def near_all_equal(found, expected):
    """At most one pixel in 10,000 is within rounding of its boundary."""
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert (found != expected).sum() <= 1e-4 * expected.numel()


@pytest.mark.parametrize("settings", [*SETTINGS, {"smooth": 0.1}, {"solver": "exact"}])
@pytest.mark.parametrize("spatial", [(500,), (24, 40), (8, 9, 10)])
def test_eager_is_the_function(settings, spatial):
    x = random_logits(2, *spatial)
    module, expected = as_network(settings)
    assert torch.equal(module(x), expected(x))
    probs = torch.softmax(x, 1)
    assert torch.equal(RankSEGModule(**settings)(probs), rankseg(probs, **settings))


# Strict export and compilation see one call, whatever the settings: two of them are enough there.
@pytest.mark.parametrize(
    ("settings", "strict"), [(s, False) for s in SETTINGS] + [({}, True), (SETTINGS[4], True)]
)
def test_export_with_dynamic_sizes(settings, strict):
    module, expected = as_network(settings)
    dim = torch.export.Dim
    axes = {0: dim("batch"), 2: dim("height", min=9), 3: dim("width", min=9)}
    program = torch.export.export(module, (random_logits(),), strict=strict, dynamic_shapes=(axes,))
    for sizes in SIZES:
        x = random_logits(*sizes)
        near_all_equal(program.module()(x), expected(x))


def test_exported_program_needs_nothing_of_rankseg():
    program = torch.export.export(RankSEGModule(), (random_logits().softmax(1),))
    called = {str(n.target) for n in program.graph.nodes if n.op == "call_function"}
    assert called
    assert all(name.startswith("aten.") for name in called)
    assert not [n for n in program.graph.nodes if n.op == "get_attr" and "predictor" in n.target]
    assert not program.state_dict


def test_export_of_a_volume():
    module, expected = as_network({})
    sizes = [torch.export.Dim(name, min=9) for name in ("depth", "height", "width")]
    axes = {0: torch.export.Dim("batch"), **dict(enumerate(sizes, 2))}
    example = random_logits(2, 10, 16, 20)
    program = torch.export.export(module, (example,), dynamic_shapes=(axes,))
    x = random_logits(1, 20, 30, 17)
    near_all_equal(program.module()(x), expected(x))


def test_export_of_objects_that_the_thinned_map_misses():
    probs = torch.full((1, 2, 300, 300), 1e-6)
    probs[0, 0, 101:104, 101:104] = 0.6  # no line whose number 8 divides
    probs[0, 1, 100, 101] = 0.9
    module = RankSEGModule(output_mode="multilabel")
    program = torch.export.export(module, (probs,))
    assert torch.equal(program.module()(probs), module(probs))
    assert module(probs).sum(dim=(2, 3)).tolist() == [[9, 1]]


@pytest.mark.parametrize(
    ("settings", "backend", "dynamic"),
    [({}, "eager", True), (SETTINGS[4], "aot_eager", True), (SETTINGS[3], "aot_eager", False)],
)
def test_compile_without_graph_break(settings, backend, dynamic):
    module, expected = as_network(settings)
    compiled = torch.compile(module, backend=backend, fullgraph=True, dynamic=dynamic)
    for sizes in SIZES[1:]:
        x = random_logits(*sizes)
        near_all_equal(compiled(x), expected(x))


def test_compiled_behind_a_network_in_training():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), RankSEGModule(activation="softmax"))
    images = torch.rand(2, 3, 20, 30)
    labels = torch.compile(network, backend="aot_eager", fullgraph=True)(images)
    assert not labels.requires_grad
    near_all_equal(labels, network(images))


def test_valid_pixels():
    probs = random_logits().softmax(1)
    valid = torch.arange(40).expand(2, 24, 40) < 33
    module = RankSEGModule(void_index=9)
    expected = rankseg(probs, valid=valid, void_index=9)
    assert torch.equal(module(probs, valid), expected)
    program = torch.export.export(module, (probs, valid))
    near_all_equal(program.module()(probs, valid), expected)


def test_calibration():
    calibration = Calibration("vector", scale=0.5, bias=[0.0, 0.4, -0.3, 0.2])
    x = random_logits()
    module = RankSEGModule(activation="softmax", calibration=calibration)
    expected = RankSEG(calibration=calibration)(x.softmax(1))
    assert not torch.equal(expected, rankseg(x.softmax(1)))
    assert torch.equal(module(x), expected)
    near_all_equal(torch.export.export(module, (x,)).module()(x), expected)


@pytest.mark.parametrize("activation", [None, "softmax", "sigmoid"])
def test_channels_last(activation):
    x = random_logits()
    x = x if activation else x.softmax(1)
    settings = {"output_mode": "multilabel", "activation": activation}
    expected = RankSEGModule(**settings)(x)
    found = RankSEGModule(**settings, class_axis=-1)(x.movedim(1, -1))
    assert torch.equal(found.movedim(-1, 1), expected)


def test_gradients_are_not_recorded():
    x = random_logits().requires_grad_()
    masks = RankSEGModule(activation="sigmoid", output_mode="multilabel")(x)
    assert not masks.requires_grad
    assert x.grad is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_activations_of_other_precisions(dtype):
    x = random_logits().to(dtype)
    wide = x if dtype == torch.float64 else x.float()
    module = RankSEGModule(activation="softmax")
    assert torch.equal(module(x), rankseg(wide.softmax(1)))
    program = torch.export.export(module, (x,))
    near_all_equal(program.module()(x), module(x))


def test_nothing_to_save_and_everything_kept():
    settings = {"metric": "iou", "smooth": 2.0, "pruning_prob": 0.3, "activation": "softmax"}
    module = RankSEGModule(**settings).eval()
    assert not module.state_dict()
    x = random_logits()
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), module.to("cpu")):
        assert repr(other) == repr(module)
        assert not other.training
        assert torch.equal(other(x), module(x))


def test_repr_shows_the_settings():
    module = RankSEGModule("iou", 1.0, unassigned_policy="void", activation="Softmax ")
    predictor = RankSEG("iou", 1.0, unassigned_policy="void")
    assert repr(module) == f"RankSEGModule({predictor!r}, activation='softmax')"


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"activation": "tanh"}, ValueError, "activation must be one of 'softmax', 'sigmoid'"),
        ({"activation": 1}, TypeError, "activation must be a string"),
        ({"metric": "recall"}, ValueError, "metric must be one of"),
        ({"smooth": -1.0}, ValueError, "smooth must be"),
        ({"eps": 0.1}, TypeError, "does not take eps"),
    ],
)
def test_bad_settings(settings, error, message):
    with pytest.raises(error, match=message):
        RankSEGModule(**settings)


@pytest.mark.parametrize(
    ("scores", "error", "message"),
    [
        (np.ones((1, 2, 3, 3)), TypeError, "scores must be a tensor .* found float64"),
        (torch.ones(1, 2, 3, 3, dtype=torch.int64), TypeError, "found torch.int64"),
        ([0.5], TypeError, "found list"),
        (torch.ones(2, 3), ValueError, r"shape \(batch, class, \*spatial\)"),
        (torch.full((1, 2, 3, 3), 4.0), ValueError, "logits need a softmax"),
    ],
)
def test_bad_scores(scores, error, message):
    with pytest.raises(error, match=message):
        RankSEGModule()(scores)


def test_exact_solver_is_not_traced():
    module = RankSEGModule(solver="exact")
    with pytest.raises(Exception, match="exact"):
        torch.export.export(module, (random_logits().softmax(1),), strict=False)


def test_the_guide():
    torch.manual_seed(0)
    model, images = torch.nn.Conv2d(3, 4, 3, padding=1), torch.rand(2, 3, 20, 30)
    names = run(recipes("deploy.md", "From PyTorch")[1], torch=torch, model=model, images=images)
    assert torch.equal(names["labels"], rankseg(model(images).softmax(1)))
    images = torch.rand(3, 3, 40, 25)
    near_all_equal(names["program"].module()(images), names["network"](images))
