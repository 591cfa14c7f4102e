"""From a PyTorch network to labels in onnxruntime."""

from functools import cache

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from boundaries import check_differences
from test_export_graph import run
from torch import nn

from rankseg.export import append_rma
from rankseg.integration.torch import RankSEGModule

pytestmark = pytest.mark.filterwarnings(
    r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning"
)

OPSETS = [18, 20, onnx.defs.onnx_opset_version()]
SIZES = [(2, 64, 48), (1, 97, 130), (3, 32, 32)]
LABELS = {"output_mode": "multiclass"}
MASKS = {"output_mode": "multilabel"}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Network(nn.Module):
    """An encoder, a decoder and its output at the size of the picture."""

    def __init__(self, ending=None, classes=5):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1)
        )
        self.decoder = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(16, 8, 2, 2), nn.ReLU())
        self.head = nn.Sequential(nn.Conv2d(8, classes, 1), nn.BatchNorm2d(classes))
        self.ending = ending or nn.Identity()

    def logits(self, images):
        small = self.head(self.decoder(self.encoder(images)))
        return 3 * nn.functional.interpolate(small, images.shape[2:], mode="bilinear")

    def forward(self, images):
        return self.ending(self.logits(images))


class Argmax(nn.Module):
    def forward(self, logits):
        return logits.argmax(dim=1)


def network(ending=None):
    """Random weights, with the statistics of a batch in its normalisations."""
    torch.manual_seed(0)
    module = Network(ending)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # the mean over all batches, here of one
    with torch.no_grad():
        module.logits(pictures(4, 64, 64))
    return module.eval()


def export(module, opset):
    program = torch.onnx.export(
        module,
        (torch.zeros(2, 3, 64, 48),),
        dynamo=True,
        opset_version=opset,
        input_names=["image"],
        output_names=["out"],
        dynamic_shapes=({0: "batch", 2: "height", 3: "width"},),
        verbose=False,
    )
    model = program.model_proto
    assert model.opset_import[0].version == opset
    return model


@cache
def exported(ending, opset):
    """Return a network and its model, which nobody changes: exporting takes seconds."""
    module = network(ending)
    return module, export(module, opset)


def pictures(batch, height, width):
    """Smooth noise, so that classes make regions."""
    coarse = torch.randn(batch, 3, 7, 6, generator=torch.Generator().manual_seed(batch))
    return nn.functional.interpolate(coarse, (height, width), mode="bicubic")


def check(made, module, activate, settings):
    """Compare with `rankseg` on what the network itself computes.

    Its logits reach 20, so that float32 rounding in two runtimes is 1e-5 of a probability.
    """
    onnx.checker.check_model(made, full_check=True)
    for sizes in SIZES:
        images = pictures(*sizes)
        with torch.no_grad():
            logits = module.logits(images)
        assert 5 < logits.abs().max() < 20
        probs = activate(logits).numpy()
        found = run(made, images.numpy())
        assert len(np.unique(found)) > (1 if found.dtype == bool else 3)
        check_differences(found, probs, rounding=1e-5, **settings)


def softmax(logits):
    return torch.softmax(logits, dim=1)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize(
    ("ending", "activation", "activate", "settings"),
    [
        (None, "softmax", softmax, LABELS),
        (None, "sigmoid", torch.sigmoid, MASKS | {"metric": "iou"}),
        (nn.Softmax(dim=1), "auto", softmax, LABELS | {"smooth": 1.0}),
        (Argmax(), "softmax", softmax, LABELS | {"unassigned_policy": "void"}),
        (nn.Sigmoid(), "auto", torch.sigmoid, MASKS),
    ],
    ids=["logits", "logits of independent classes", "softmax", "argmax", "sigmoid"],
)
def test_append(ending, activation, activate, settings, opset):
    module, model = exported(ending, opset)
    made = append_rma(model, activation=activation, **settings)
    assert made.opset_import[0].version == model.opset_import[0].version
    check(made, module, activate, settings)


@pytest.mark.parametrize("profile", ["onnxruntime", "static"])
def test_a_fixed_size(profile):
    module = network()
    program = torch.onnx.export(
        module, (pictures(1, 64, 48),), dynamo=True, input_names=["image"], verbose=False
    )
    made = append_rma(program.model_proto, activation="softmax", profile=profile)
    images = pictures(1, 64, 48)
    with torch.no_grad():
        probs = softmax(module.logits(images)).numpy()
    check_differences(run(made, images.numpy()), probs, rounding=1e-5)


def test_logits_are_not_guessed():
    with pytest.raises(ValueError, match="softmax"):
        append_rma(exported(None, 18)[1])


@pytest.mark.parametrize(
    ("activation", "activate", "settings", "opset"),
    [
        ("softmax", softmax, {}, 18),
        ("softmax", softmax, {"metric": "iou", "smooth": 1.0, "unassigned_policy": "void"}, 20),
        ("sigmoid", torch.sigmoid, {"output_mode": "multilabel", "pruning_prob": 0.6}, 18),
    ],
)
def test_the_module_itself(activation, activate, settings, opset):
    module = network(RankSEGModule(activation=activation, **settings))
    check(export(module, opset), module, activate, settings)
