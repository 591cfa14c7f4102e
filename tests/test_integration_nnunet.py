"""Segmentations of nnU-Net's saved probabilities against the files that nnU-Net itself writes."""

import copy
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from rankseg import RankSEG
from rankseg.calibration import Calibration
from rankseg.config import Config
from rankseg.functional import rankseg

pytest.importorskip("nnunetv2")

import SimpleITK as sitk
import torch
from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder2
from nnunetv2.imageio import nibabel_reader_writer, simpleitk_reader_writer
from nnunetv2.inference.export_prediction import export_prediction_from_logits
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from recipes import recipes, run

from rankseg.integration.nnunet import segment_case, segment_folder

RESAMPLING = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
CONFIGURATION = {
    "preprocessor_name": "DefaultPreprocessor",
    "patch_size": [16, 16, 16],
    "spacing": [2.0, 1.0, 1.0],
    "normalization_schemes": ["ZScoreNormalization"],
    "use_mask_for_norm": [False],
    "resampling_fn_data": "resample_data_or_seg_to_shape",
    "resampling_fn_data_kwargs": RESAMPLING,
    "resampling_fn_seg": "resample_data_or_seg_to_shape",
    "resampling_fn_seg_kwargs": RESAMPLING | {"is_seg": True},
    "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
    "resampling_fn_probabilities_kwargs": RESAMPLING,
    "architecture": {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 2,
            "features_per_stage": [4, 8],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * 2,
            "strides": [[1, 1, 1], [2, 2, 2]],
            "n_conv_per_stage": [1, 1],
            "n_conv_per_stage_decoder": [1],
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    },
}
PLANS = {
    "dataset_name": "Dataset001_Test",
    "plans_name": "nnUNetPlans",
    "image_reader_writer": "SimpleITKIO",
    "transpose_forward": [1, 2, 0],
    "transpose_backward": [2, 0, 1],
    "configurations": {"3d_fullres": CONFIGURATION},
    "foreground_intensity_properties_per_channel": {"0": {}},
    "label_manager": "LabelManager",
}
LABELS = {
    "channel_names": {"0": "CT"},
    "file_ending": ".nii.gz",
    "labels": {"background": 0, "liver": 1, "tumour": 2},
}
REGIONS = LABELS | {
    "labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "rim": 3, "ignore": 4},
    "regions_class_order": [1, 2, 3],
}


def write_image(path, shape=(9, 14, 12)):
    """Write an image with a zero border, which nnU-Net crops, and an oblique geometry."""
    image = np.zeros(shape, np.float32)
    image[1:-2, 2:-1, 1:-1] = np.random.default_rng(0).uniform(1, 2, image[1:-2, 2:-1, 1:-1].shape)
    image = sitk.GetImageFromArray(image)
    image.SetSpacing((0.8, 0.9, 2.5))
    image.SetOrigin((-12.5, 40.0, 7.25))
    image.SetDirection((0.6, -0.8, 0.0, 0.8, 0.6, 0.0, 0.0, 0.0, -1.0))
    sitk.WriteImage(image, str(path))


def write_model(folder, dataset, plans=PLANS):
    (folder / "dataset.json").write_text(json.dumps(dataset))
    (folder / "plans.json").write_text(json.dumps(plans))


def export_case(folder, name, dataset, plans=PLANS, seed=0):
    """Preprocess an image with nnU-Net, make up logits, and let nnU-Net save what it saves."""
    source = folder / f"{name}_0000{dataset['file_ending']}"
    write_image(source)
    manager = PlansManager(copy.deepcopy(plans))
    configuration = manager.get_configuration("3d_fullres")
    preprocessor = configuration.preprocessor_class(verbose=False)
    data, _, properties = preprocessor.run_case(
        [str(source)], None, manager, configuration, dataset
    )
    source.unlink()
    heads = manager.get_label_manager(dataset).num_segmentation_heads
    logits = np.random.default_rng(seed).normal(0, 1.5, (heads, *data.shape[1:]))
    export_prediction_from_logits(
        logits.astype(np.float32),
        properties,
        configuration,
        manager,
        dataset,
        str(folder / name),
        save_probabilities=True,
    )
    assert np.prod(properties["shape_after_cropping_and_before_resampling"]) < 9 * 14 * 12
    assert data.shape[1:] != properties["shape_after_cropping_and_before_resampling"]


@pytest.fixture(scope="module", params=["labels", "regions"])
def predictions(request, tmp_path_factory):
    """A folder as ``nnUNetv2_predict --save_probabilities`` leaves it, with three cases."""
    folder = tmp_path_factory.mktemp(request.param)
    dataset = {"labels": LABELS, "regions": REGIONS}[request.param]
    write_model(folder, dataset)
    for seed in range(3):
        export_case(folder, f"case_{seed}", dataset, seed=seed)
    return folder


def read(path):
    image = sitk.ReadImage(str(path))
    geometry = image.GetSpacing() + image.GetOrigin() + image.GetDirection()
    return sitk.GetArrayFromImage(image), geometry


def assert_same_files(found, wanted):
    (labels, geometry), (expected, expected_geometry) = read(found), read(wanted)
    np.testing.assert_array_equal(labels, expected)
    assert labels.dtype == expected.dtype
    assert geometry == expected_geometry


def case(folder, name="case_0"):
    return {
        "npz": folder / f"{name}.npz",
        "pkl": folder / f"{name}.pkl",
        "dataset_json": folder / "dataset.json",
        "plans_json": folder / "plans.json",
    }


def test_accuracy_is_the_file_that_nnunet_writes(predictions, tmp_path):
    written = segment_folder(predictions, tmp_path / "out", metric="accuracy")
    assert [path.name for path in written] == [f"case_{i}.nii.gz" for i in range(3)]
    for path in written:
        assert_same_files(path, predictions / path.name)
    assert len(np.unique(read(written[0])[0])) > 2


@pytest.mark.parametrize("settings", [{}, {"metric": "iou", "smooth": 1.0, "solver": "exact"}])
def test_dice_and_iou_are_rankseg_on_the_saved_probabilities(predictions, tmp_path, settings):
    output = tmp_path / "result.nii.gz"
    segment_case(**case(predictions), output=output, **settings)
    labels, geometry = read(output)
    argmax, expected_geometry = read(predictions / "case_0.nii.gz")
    probs = np.load(predictions / "case_0.npz")["probabilities"][None]
    if predictions.name.startswith("labels"):
        expected = rankseg(probs, **settings)[0]
    else:
        whole, core, rim = rankseg(probs, output_mode="multilabel", **settings)[0]
        expected = np.where(rim, 3, np.where(core, 2, np.where(whole, 1, 0)))
    np.testing.assert_array_equal(labels, expected)
    assert geometry == expected_geometry
    assert (labels != argmax).any()
    assert os.listdir(tmp_path) == ["result.nii.gz"]


def test_probabilities_of_a_network_end_to_end(tmp_path):
    manager = PlansManager(copy.deepcopy(PLANS))
    configuration = manager.get_configuration("3d_fullres")
    torch.manual_seed(0)
    network = get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        1,
        3,
        deep_supervision=False,
    )
    with torch.no_grad():
        for parameter in network.decoder.seg_layers.parameters():
            parameter *= 10  # an untrained network is sure of nothing: every class would be pruned
    predictor = nnUNetPredictor(device=torch.device("cpu"), use_mirroring=False)
    parameters = [network.state_dict()]
    predictor.manual_initialization(
        network, manager, configuration, parameters, LABELS, "nnUNetTrainer", None
    )
    write_model(tmp_path, LABELS)
    write_image(tmp_path / "image.nii.gz")
    image, properties = manager.image_reader_writer_class().read_images(
        [str(tmp_path / "image.nii.gz")]
    )
    predictor.predict_single_npy_array(image, properties, None, str(tmp_path / "case_0"), True)

    argmax, dice = tmp_path / "argmax.nii.gz", tmp_path / "dice.nii.gz"
    segment_case(**case(tmp_path), output=argmax, metric="accuracy")
    assert_same_files(argmax, tmp_path / "case_0.nii.gz")
    segment_case(**case(tmp_path), output=dice)
    probs = np.load(tmp_path / "case_0.npz")["probabilities"]
    np.testing.assert_array_equal(read(dice)[0], rankseg(probs[None])[0])
    assert read(dice)[1] == pytest.approx(read(tmp_path / "image.nii.gz")[1])


IGNORING = LABELS | {"labels": LABELS["labels"] | {"ignore": 3}}
WITHOUT_VOID = REGIONS | {"labels": {k: v for k, v in REGIONS["labels"].items() if k != "ignore"}}
TRAINED = {
    "labels": (LABELS, "SimpleITKIO"),
    "an ignored label": (IGNORING, "SimpleITKIO"),
    "regions": (WITHOUT_VOID, "SimpleITKIO"),
    "turned to RAS by nibabel": (LABELS, "NibabelIOWithReorient"),
    "turned to RAS by ITK": (LABELS, "SimpleITKIOWithReorient"),
    "nibabel": (WITHOUT_VOID, "NibabelIO"),
}


def write_labels(path, prediction, dataset, seed):
    """Write labels that differ from a prediction in a third of its voxels, at the same place."""
    image = sitk.ReadImage(str(prediction))
    labels = sitk.GetArrayFromImage(image)
    rng = np.random.default_rng(seed)
    known = {0}.union(*([v] if isinstance(v, int) else v for v in dataset["labels"].values()))
    others = rng.integers(0, len(known), labels.shape).astype(labels.dtype)
    labels = np.where(rng.random(labels.shape) < 0.33, others, labels)
    result = sitk.GetImageFromArray(labels)
    result.CopyInformation(image)
    sitk.WriteImage(result, str(path))


@pytest.mark.parametrize(("dataset", "reader"), TRAINED.values(), ids=list(TRAINED))
def test_evaluate_is_the_summary_of_nnunet(tmp_path, dataset, reader):
    plans = PLANS | {"image_reader_writer": reader}
    if reader not in vars(simpleitk_reader_writer) | vars(nibabel_reader_writer):
        pytest.skip(f"this nnU-Net has no {reader}")
    model, labels = tmp_path / "model", tmp_path / "raw" / "labelsTr"
    validation = model / "fold_0" / "validation"
    validation.mkdir(parents=True)
    labels.mkdir(parents=True)
    write_model(model, dataset, plans)
    for seed in range(3):
        name = f"case_{seed}"
        export_case(validation, name, dataset, plans, seed)
        write_labels(labels / f"{name}.nii.gz", validation / f"{name}.nii.gz", dataset, seed)
    compute_metrics_on_folder2(
        str(labels),
        str(validation),
        str(model / "dataset.json"),
        str(model / "plans.json"),
        num_processes=1,
    )
    summary = json.loads((validation / "summary.json").read_text())

    commandline = pytest.importorskip("commandline")
    output = tmp_path / "found.json"
    commandline.printed("evaluate", validation, labels, "--average", "nnunet", "--json", output)
    numbers = json.loads(output.read_text())
    assert numbers["cases"] == 3
    regions = numbers["settings"]["output_mode"] == "multilabel"
    names = [name for name in dataset["labels"] if name != "ignore"][regions:]
    assert numbers["class_names"] == names
    for metric, title in (("dice", "Dice"), ("iou", "IoU")):
        result = next(
            r for r in numbers["results"] if (r["metric"], r["presence"]) == (metric, "either")
        )
        assert result["method"] in ("argmax", "threshold")
        found = dict(zip(names, result["classes"]["score"], strict=True))
        for name in names[not regions :]:
            value = dataset["labels"][name]
            key = str(tuple(value) if isinstance(value, list) else value)
            assert found[name] == pytest.approx(summary["mean"][key][title], abs=1e-6)
        assert result["score"] == pytest.approx(summary["foreground_mean"][title], abs=1e-6)
        assert 0.3 < result["score"] < 0.9


def test_other_reader_writers(tmp_path):
    plans = PLANS | {"image_reader_writer": "NibabelIOWithReorient"}
    write_model(tmp_path, LABELS, plans)
    export_case(tmp_path, "case_0", LABELS, plans)
    output = tmp_path / "out.nii.gz"
    segment_case(**case(tmp_path), output=output, metric="accuracy")
    assert_same_files(output, tmp_path / "case_0.nii.gz")


def test_a_writer_with_a_second_file(tmp_path):
    dataset = LABELS | {"file_ending": ".tif"}
    write_model(tmp_path, dataset, PLANS | {"image_reader_writer": "Tiff3DIO"})
    probs = np.random.default_rng(0).dirichlet([1, 1, 1], (5, 7, 6)).transpose(3, 0, 1, 2)
    np.savez(tmp_path / "case_0.npz", probabilities=probs.astype(np.float32))
    properties = {"spacing": (2.0, 1.0, 1.0), "shape_before_cropping": (7, 6, 5)}
    (tmp_path / "case_0.pkl").write_bytes(pickle.dumps(properties))
    segment_folder(tmp_path, tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == ["case_0.json", "case_0.tif"]
    spacing = json.loads((tmp_path / "out" / "case_0.json").read_text())
    assert spacing == {"spacing": [2.0, 1.0, 1.0]}


@pytest.fixture
def folder(tmp_path):
    """Two small cases, without a call of nnU-Net."""
    folder = tmp_path / "in"
    folder.mkdir()
    write_model(folder, LABELS)
    stuff = {"spacing": (1.0, 2.0, 3.0), "origin": (0.0, 0.0, 0.0)}
    stuff["direction"] = tuple(np.eye(3).ravel())
    properties = {
        "sitk_stuff": stuff,
        "spacing": [np.float64(3.0), np.float64(2.0), np.float64(1.0)],
        "shape_before_cropping": (7, 6, 5),
    }
    for seed in range(2):
        probs = np.random.default_rng(seed).dirichlet([0.5] * 3, (5, 7, 6)).transpose(3, 0, 1, 2)
        save_case(folder, f"case_{seed}", probs.astype(np.float32), properties)
    return folder


def save_case(folder, name, probs, properties):
    np.savez_compressed(folder / f"{name}.npz", probabilities=probs)
    (folder / f"{name}.pkl").write_bytes(pickle.dumps(properties))


def load_case(folder, name="case_0"):
    with np.load(folder / f"{name}.npz") as archive:
        return archive["probabilities"], pickle.loads((folder / f"{name}.pkl").read_bytes())


def change_properties(folder, **changes):
    probs, properties = load_case(folder)
    save_case(folder, "case_0", probs, properties | changes)


def change_probabilities(folder, change):
    probs, properties = load_case(folder)
    save_case(folder, "case_0", change(probs), properties)


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("executed",)


DAMAGE = {
    "no properties": (
        lambda folder: (folder / "case_0.pkl").unlink(),
        FileNotFoundError,
        "case_0.pkl",
    ),
    "properties that run something": (
        lambda folder: change_properties(folder, spacing=Malicious()),
        ValueError,
        r"case_0.pkl: not a readable .pkl file: \w+.mkdir is not allowed in it",
    ),
    "empty properties": (
        lambda folder: (folder / "case_0.pkl").write_bytes(b""),
        ValueError,
        "case_0.pkl: not a readable .pkl file",
    ),
    "properties of something else": (
        lambda folder: (folder / "case_0.pkl").write_bytes(pickle.dumps([1])),
        ValueError,
        "case_0.pkl: not the properties of a case",
    ),
    "properties of another case": (
        lambda folder: change_properties(folder, shape_before_cropping=(7, 6, 9)),
        ValueError,
        r"case_0.npz: .*\(3, 9, 7, 6\) .* found \(3, 5, 7, 6\)",
    ),
    "properties of another reader": (
        lambda folder: change_properties(folder, sitk_stuff={}),
        ValueError,
        r"case_0.nii.gz: nnU-Net could not write it: KeyError\('spacing'\)",
    ),
    "too few classes": (
        lambda folder: change_probabilities(folder, lambda probs: probs[:2]),
        ValueError,
        r"case_0.npz: .*\(3, 5, 7, 6\).*\(2, 5, 7, 6\)",
    ),
    "logits": (
        lambda folder: change_probabilities(folder, lambda probs: probs * 9),
        ValueError,
        r"case_0.npz: probs must be in \[0, 1\]",
    ),
    "labels": (
        lambda folder: change_probabilities(folder, lambda probs: probs.astype(np.uint8)),
        TypeError,
        "case_0.npz: probs must be float16",
    ),
    "a truncated archive": (
        lambda folder: os.truncate(folder / "case_0.npz", 900),
        ValueError,
        "case_0.npz: no probabilities as nnU-Net v2 saves them",
    ),
    "another array": (
        lambda folder: np.savez(folder / "case_0.npz", softmax=np.zeros(3)),
        ValueError,
        "case_0.npz: no probabilities",
    ),
}


@pytest.mark.parametrize(("damage", "error", "message"), DAMAGE.values(), ids=list(DAMAGE))
def test_one_bad_case(folder, tmp_path, monkeypatch, damage, error, message):
    monkeypatch.chdir(tmp_path)
    damage(folder)
    with pytest.raises(ExceptionGroup, match="1 of 2 cases were not written") as failure:
        segment_folder(folder, tmp_path / "out")
    with pytest.raises(error, match=message):
        raise failure.value.exceptions[0]
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]
    assert os.listdir(tmp_path / "out") == ["case_1.nii.gz"]


def test_existing_files_need_overwrite(folder, tmp_path):
    segment_folder(folder, tmp_path / "out")
    dice = (tmp_path / "out" / "case_1.nii.gz").read_bytes()
    with pytest.raises(ExceptionGroup) as failure:
        segment_folder(folder, tmp_path / "out", metric="accuracy")
    assert [str(error) for error in failure.value.exceptions] == [
        f"{tmp_path / 'out' / f'case_{i}.nii.gz'}: exists already" for i in range(2)
    ]
    assert (tmp_path / "out" / "case_1.nii.gz").read_bytes() == dice
    segment_folder(folder, tmp_path / "out", metric="accuracy", overwrite=True)
    probs, _ = load_case(folder, "case_1")
    np.testing.assert_array_equal(read(tmp_path / "out" / "case_1.nii.gz")[0], probs.argmax(0))


def test_settings_of_a_file(folder, tmp_path):
    calibration = Calibration("vector", scale=0.5, bias=[0.0, 0.3, -0.2])
    Config(metric="iou", pruning_prob=0.4, calibration=calibration).save(tmp_path / "rankseg.toml")
    settings = Config.load(tmp_path / "rankseg.toml").arguments
    segment_folder(folder, tmp_path / "out", **settings)
    probs, _ = load_case(folder)
    expected = RankSEG(**settings)(probs[None])[0]
    np.testing.assert_array_equal(read(tmp_path / "out" / "case_0.nii.gz")[0], expected)


def test_progress(folder, tmp_path):
    seen = []

    def track(cases):
        for path in cases:
            yield path
            seen.append((path.name, len(os.listdir(tmp_path / "out"))))

    segment_folder(folder, tmp_path / "out", track=track)
    assert seen == [("case_0.npz", 1), ("case_1.npz", 2)]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"metric": "f1"}, ValueError, "metric must be one of"),
        ({"solver": "BA"}, ValueError, "'BA' is not supported"),
        ({"output_mode": "multilabel"}, ValueError, "output_mode must be 'multiclass'"),
        ({"void_index": -1, "unassigned_policy": "void"}, ValueError, "void_index must be in"),
        ({"class_axis": 1}, TypeError, "class_axis is no option here"),
        ({"threshold": 0.5}, TypeError, "does not take threshold"),
    ],
)
def test_bad_settings(folder, tmp_path, settings, error, message):
    with pytest.raises(error, match=message):
        segment_folder(folder, tmp_path / "out", **settings)
    assert os.listdir(tmp_path) == ["in"]


@pytest.mark.parametrize(
    ("dataset", "plans", "message"),
    [
        ({"modality": {}}, PLANS, "dataset.json: no 'labels' in it"),
        (LABELS, {"plans_name": "x"}, "plans.json: no 'image_reader_writer' in it"),
        (LABELS, PLANS | {"image_reader_writer": "MyIO"}, "plans.json: .*MyIO"),
        (
            REGIONS | {"regions_class_order": [1, 2]},
            PLANS,
            r"dataset.json: regions_class_order must have 3 labels.*found \[1, 2\]",
        ),
    ],
)
def test_bad_models(folder, tmp_path, dataset, plans, message):
    write_model(folder, dataset, plans)
    with pytest.raises(ValueError, match=message):
        segment_folder(folder, tmp_path / "out")
    assert os.listdir(tmp_path) == ["in"]


def test_bad_paths(folder, tmp_path):
    with pytest.raises(ValueError, match=r"the name must end in .nii.gz"):
        segment_case(**case(folder), output=tmp_path / "out.mha")
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        segment_case(**case(folder), output=tmp_path / "nowhere" / "out.nii.gz")
    (folder / "plans.json").write_text("{")
    with pytest.raises(ValueError, match=r"plans.json: not a readable .json file"):
        segment_folder(folder, tmp_path / "out")
    (folder / "plans.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"plans.json"):
        segment_folder(folder, tmp_path / "out")
    write_model(tmp_path, LABELS)
    with pytest.raises(FileNotFoundError, match=r"no .npz file in it"):
        segment_folder(tmp_path, tmp_path / "out")


def test_properties_that_numpy_1_pickled(folder, tmp_path):
    path = folder / "case_0.pkl"
    content = pickle.loads(path.read_bytes()) | {"array": np.eye(2)}
    path.write_bytes(pickle.dumps(content, protocol=2).replace(b"numpy._core", b"numpy.core"))
    assert b"numpy.core.multiarray" in path.read_bytes()
    segment_case(**case(folder), output=tmp_path / "out.nii.gz")


def test_pytorch_is_not_loaded(folder, tmp_path):
    program = (
        "import sys; from rankseg.integration.nnunet import segment_folder; "
        f"print(len(segment_folder({str(folder)!r}, {str(tmp_path / 'out')!r}))); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "2\nFalse\n", done.stderr


def test_without_nnunet(folder, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "nnunetv2"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "nnunetv2", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "rankseg\[nnunet\]"'):
        segment_folder(folder, tmp_path / "out")


def test_the_guide(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder.rename("predictions")
    (recipe,) = recipes("integrations.md", "nnU-Net")
    run(recipe)
    assert_same_files("case_1_dice.nii.gz", "predictions_dice/case_1.nii.gz")


@pytest.fixture
def command():
    typer = pytest.importorskip("typer")
    pytest.importorskip("rich")
    from typer.testing import CliRunner

    from rankseg.cli.nnunet import nnunet

    app = typer.Typer()
    app.command()(nnunet)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_command(command, folder, tmp_path):
    done = command(folder, "-o", tmp_path / "out", "--metric", "iou", "--pruning-prob", 0.7)
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'out'}: segmentations of 2 cases\n")
    probs, _ = load_case(folder)
    expected = rankseg(probs[None], metric="iou", pruning_prob=0.7)[0]
    np.testing.assert_array_equal(read(tmp_path / "out" / "case_0.nii.gz")[0], expected)


def test_command_with_a_bad_case(command, folder, tmp_path):
    (folder / "case_0.pkl").unlink()
    done = command(folder, "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        f"rankseg: {folder / 'case_0.pkl'}: No such file or directory",
        "rankseg: 1 of 2 cases were not written",
    ]
    assert os.listdir(tmp_path / "out") == ["case_1.nii.gz"]
    done = command(folder, "-o", tmp_path / "out", "--metric", "acc", "--overwrite")
    assert done.exit_code == 1
    probs, _ = load_case(folder, "case_1")
    np.testing.assert_array_equal(read(tmp_path / "out" / "case_1.nii.gz")[0], probs.argmax(0))


def test_command_with_a_bad_setting(command, folder, tmp_path):
    done = command(folder, "-o", tmp_path / "out", "--solver", "BA")
    assert done.exit_code == 2
    assert done.stderr.startswith("rankseg: --solver 'BA' is not supported")
    assert os.listdir(tmp_path) == ["in"]
