"""The MONAI transforms, in the pipelines that they are made for."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

from rankseg import RankSEG, metrics
from rankseg.calibration import Calibration
from rankseg.functional import rankseg

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

from monai.data import (
    DataLoader,
    Dataset,
    MetaTensor,
    ThreadDataLoader,
    decollate_batch,
)
from monai.inferers import sliding_window_inference
from monai.metrics import DiceMetric
from monai.networks.nets import UNet
from monai.transforms import (
    Activationsd,
    AsDiscrete,
    AsDiscreted,
    Compose,
    Flipd,
    Resized,
)
from recipes import recipes, run

from rankseg.integration import monai as integration
from rankseg.integration.monai import AsRankSEG, AsRankSEGd

AFFINE = torch.tensor(
    [[0.0, -0.8, 0.0, 12.0], [0.8, 0.0, 0.0, -7.0], [0.0, 0.0, 2.5, 30.0], [0.0, 0.0, 0.0, 1.0]],
    dtype=torch.float64,
)


@pytest.fixture
def logits():
    """Two volumes of three classes in which every class has pixels of high probability."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn((2, 3, 6, 7, 8), generator=generator) * 2


@pytest.fixture
def probs(logits):
    return logits.softmax(1)


def test_after_sliding_window_inference():
    torch.manual_seed(0)
    network = UNet(spatial_dims=3, in_channels=1, out_channels=3, channels=(4, 8), strides=(2,))
    volumes = [MetaTensor(torch.randn(1, 20, 18, 16), affine=AFFINE * (i + 1)) for i in range(2)]
    batch = next(iter(DataLoader(Dataset(volumes), batch_size=2)))
    with torch.no_grad():
        output = sliding_window_inference(batch, (16, 16, 16), 2, network.eval()) * 8
    post = Compose([AsRankSEG(activation="softmax", metric="iou")])
    results = [post(item) for item in decollate_batch(output)]

    expected = rankseg(output.as_tensor().softmax(1), metric="iou")
    assert len(expected.unique()) > 1
    for result, volume, labels in zip(results, volumes, expected, strict=True):
        assert result.shape == volume.shape
        assert torch.equal(result.as_tensor(), labels[None].float())
        assert torch.equal(result.affine, volume.affine)


def test_dictionaries_through_a_loader():
    generator = torch.Generator().manual_seed(1)
    items = [
        {
            "pred": MetaTensor(torch.randn((3, 9, 8), generator=generator) * 2, affine=AFFINE),
            "id": i,
        }
        for i in range(4)
    ]
    post = Compose([Activationsd("pred", softmax=True), AsRankSEGd("pred")])
    loader = ThreadDataLoader(Dataset(items, post), batch_size=4, num_workers=0)
    batch = next(iter(loader))
    probs = torch.stack([item["pred"].as_tensor() for item in items]).softmax(1)
    assert torch.equal(batch["pred"].as_tensor()[:, 0], rankseg(probs).float())
    assert batch["id"].tolist() == [0, 1, 2, 3]
    assert batch["pred"].meta["affine"].shape == (4, 4, 4)
    assert items[0]["pred"].shape == (3, 9, 8)  # the dictionary that came in is left alone


def test_worker_threads_share_one_transform():
    generator = torch.Generator().manual_seed(2)
    items = [torch.rand((2, 30, 30), generator=generator) for _ in range(12)]
    post = AsRankSEG(output_mode="multilabel")
    loader = ThreadDataLoader(
        Dataset(items, post), batch_size=3, num_workers=2, use_thread_workers=True
    )
    batches = torch.cat(list(loader)).as_subclass(torch.Tensor)
    assert torch.equal(batches, rankseg(torch.stack(items), output_mode="multilabel").float())


def test_accuracy_is_as_discrete(probs):
    ours = AsRankSEG(metric="accuracy", solver="argmax")
    theirs = AsDiscrete(argmax=True)
    for item in decollate_batch(MetaTensor(probs, affine=AFFINE)):
        found, wanted = ours(item), theirs(item)
        assert torch.equal(found, wanted)
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        assert torch.equal(found.affine, wanted.affine)


def test_accuracy_of_masks_is_as_discrete(logits):
    ours = AsRankSEGd(
        "pred", metric="accuracy", solver="TR", output_mode="multilabel", activation="sigmoid"
    )
    theirs = Compose([Activationsd("pred", sigmoid=True), AsDiscreted("pred", threshold=0.5)])
    data = {"pred": MetaTensor(logits[0])}
    found, wanted = ours(data)["pred"], theirs(data)["pred"]
    assert torch.equal(found, wanted)
    assert found.dtype == wanted.dtype


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"metric": "iou", "smooth": 1.0, "pruning_prob": [0.2, 0.9, 0.3]},
        {"solver": "exact", "refine": 2},
        {"unassigned_policy": "void", "void_index": 7},
        {"calibration": Calibration("vector", scale=0.5, bias=[0.0, 0.3, -0.2])},
        {"output_mode": "multilabel", "solver": "BA"},
    ],
)
def test_every_setting_goes_through(probs, settings):
    expected = RankSEG(**settings)(probs).float()
    if settings.get("output_mode") != "multilabel":
        expected = expected[:, None]
    for item, wanted in zip(probs, expected, strict=True):
        assert torch.equal(AsRankSEG(**settings)(item), wanted)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("activation", [None, "softmax"])
def test_numpy_in_numpy_out(logits, probs, dtype, activation):
    values = (probs if activation is None else logits)[0].numpy().astype(dtype)
    values.flags.writeable = False  # as memory-mapped files are
    wide = torch.from_numpy(values.copy()).to(
        torch.promote_types(getattr(torch, dtype), torch.float32)
    )
    expected = rankseg((wide if activation is None else wide.softmax(0))[None])
    result = AsRankSEG(activation=activation)(values)
    assert type(result) is np.ndarray
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, expected.numpy())


def test_a_plain_tensor_stays_plain_and_records_no_gradient(logits):
    result = AsRankSEG(activation="softmax")(logits[0].requires_grad_())
    assert type(result) is torch.Tensor
    assert not result.requires_grad


def test_metadata_is_kept_and_copied(probs):
    item = MetaTensor(probs[0], affine=AFFINE, meta={"filename_or_obj": "case_1.nii.gz"})
    result = AsRankSEG()(item)
    assert result.meta["filename_or_obj"] == "case_1.nii.gz"
    assert torch.equal(result.affine, AFFINE)
    result.affine[0, 0] = 5
    assert torch.equal(item.affine, AFFINE)


def test_its_labels_go_on_to_one_hot_and_the_dice_metric(probs):
    target = torch.randint(0, 3, (2, 6, 7, 8), generator=torch.Generator().manual_seed(3))
    post, one_hot = Compose([AsRankSEG(), AsDiscrete(to_onehot=3)]), AsDiscrete(to_onehot=3)
    scores = DiceMetric()([post(item) for item in probs], [one_hot(item[None]) for item in target])
    expected = metrics.dice(rankseg(probs), target, num_classes=3)
    np.testing.assert_allclose(scores.numpy(), expected.numpy(), rtol=1e-6)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies(probs, copied):
    transform = AsRankSEGd("pred", metric="iou", activation="sigmoid", output_mode="multilabel")
    data = {"pred": probs[0]}
    assert torch.equal(copied(transform)(data)["pred"], transform(data)["pred"])


def test_missing_keys(probs):
    data = {"pred": probs[0]}
    with pytest.raises(KeyError, match="other"):
        AsRankSEGd(["pred", "other"])(data)
    result = AsRankSEGd(["pred", "other"], allow_missing_keys=True)(data)
    assert result.keys() == {"pred"}


def test_names_of_the_dictionary_version():
    assert integration.AsRankSEGD is integration.AsRankSEGDict is AsRankSEGd


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"activation": "relu"}, ValueError, "activation must be one of 'softmax', 'sigmoid'"),
        ({"activation": True}, TypeError, "activation must be a string, found True"),
        ({"class_axis": 1}, TypeError, "class_axis is no option here"),
        ({"metric": "f1"}, ValueError, "metric must be one of"),
        ({"argmax": True}, TypeError, "does not take argmax"),
    ],
)
def test_bad_options(options, error, message):
    for make in (AsRankSEG, lambda **options: AsRankSEGd("pred", **options)):
        with pytest.raises(error, match=message):
            make(**options)


@pytest.mark.parametrize(
    ("options", "img", "error", "message"),
    [
        ({}, [[0.1, 0.9]], TypeError, "img must be an ndarray or a Tensor, found list"),
        ({}, torch.zeros(3), ValueError, r"img must have shape \(class, \*spatial\), found \(3,\)"),
        ({}, torch.zeros(1, 4), ValueError, "multilabel"),
        ({}, torch.zeros((2, 4), dtype=torch.int64), TypeError, "float32 or float64"),
        ({}, torch.full((2, 4), 3.0), ValueError, "logits need a softmax or sigmoid"),
        ({"activation": "softmax"}, np.zeros((2, 4), int), TypeError, "real floating dtype"),
        ({"activation": "softmax"}, torch.full((2, 4), torch.nan), ValueError, "finite"),
    ],
)
def test_bad_images(options, img, error, message):
    with pytest.raises(error, match=message):
        AsRankSEG(**options)(img)


def test_without_monai():
    code = "import sys; sys.modules['monai'] = None; import rankseg.integration.monai"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    message = 'ModuleNotFoundError: monai is not installed: pip install "rankseg[monai]"'
    assert run.stderr.strip().splitlines()[-1] == message


def test_the_guide():
    torch.manual_seed(0)
    tensors, dictionaries = recipes("integrations.md", "MONAI")
    network = UNet(spatial_dims=3, in_channels=1, out_channels=3, channels=(4, 8), strides=(2,))
    image = MetaTensor(torch.randn(1, 20, 18, 16), affine=AFFINE)
    tensors = tensors.replace("(96, 96, 96)", "(16, 16, 16)")
    (labels,) = run(tensors, batch={"image": image[None]}, model=network)["labels"]
    assert labels.shape == image.shape

    preprocessing = Compose([Resized("image", (8, 9, 10)), Flipd("image", 1)])
    data = preprocessing({"image": image})
    data["pred"] = MetaTensor(torch.randn(3, 8, 9, 10) * 3)
    labels = run(dictionaries, preprocessing=preprocessing)["post"](data)["pred"]
    assert labels.shape == image.shape
    assert set(labels.unique().tolist()) == {0, 1, 2}
