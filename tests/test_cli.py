import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commandline import only, refuse, run, succeed, write_cases
from PIL import Image

from rankseg import RankSEG, __version__
from rankseg.activations import sigmoid, softmax
from rankseg.calibration import Calibration
from rankseg.cli import outputs
from rankseg.cli.app import app
from rankseg.cli.errors import with_flags
from rankseg.config import Config
from rankseg.evaluation import Cases
from rankseg.functional import rankseg
from rankseg.io.reading import read_array
from rankseg.plotting import class_colours, comparison_figure


def predict(source, output, *options):
    result = run("predict", source, "-o", output, *options)
    assert result.exit_code == 0, result.stderr
    assert str(output) in result.stdout
    return result


def make_logits(shape, seed=0):
    return np.random.default_rng(seed).normal(scale=2, size=shape).astype(np.float32)


@pytest.fixture
def logits():
    return make_logits((4, 12, 15))


@pytest.fixture
def probs(logits):
    return softmax(logits, axis=0)


@pytest.fixture
def npy(tmp_path, probs):
    path = tmp_path / "probs.npy"
    np.save(path, probs)
    return path


@pytest.fixture
def batch_npy(tmp_path):
    path = tmp_path / "batch.npy"
    np.save(path, softmax(make_logits((3, 4, 12, 15)), axis=1))
    return path


# What works


def test_one_sample(npy, probs, tmp_path):
    predict(npy, tmp_path / "out.npy")
    labels = np.load(tmp_path / "out.npy")
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, rankseg(probs[None])[0])


def test_overwrite_replaces_an_older_output_and_leaves_nothing_else(npy, tmp_path):
    (tmp_path / "out.npy").write_text("old")
    predict(npy, tmp_path / "out.npy", "--overwrite")
    assert np.load(tmp_path / "out.npy").shape == (12, 15)
    assert only(tmp_path, "out.npy", "probs.npy")


def test_permissions_are_the_usual_ones(npy, tmp_path):
    predict(npy, tmp_path / "out.npy")
    assert (tmp_path / "out.npy").stat().st_mode == npy.stat().st_mode


def test_four_axes_are_a_batch(batch_npy, tmp_path):
    predict(batch_npy, tmp_path / "out.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), rankseg(np.load(batch_npy)))


def test_no_batched_makes_four_axes_a_volume(batch_npy, tmp_path):
    line = refuse("predict", batch_npy, "-o", tmp_path / "out.npy", "--no-batched")
    assert "over axis 1, not over axis 0: --batched" in line
    predict(batch_npy, tmp_path / "out.npy", "--no-batched", "--no-check-sums")
    expected = rankseg(np.load(batch_npy)[None])[0]
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_a_volume_is_not_taken_for_a_batch(tmp_path, dtype):
    volume = np.random.default_rng(0).dirichlet(np.ones(3), (8, 9, 10)).astype(np.float32)
    volume = np.moveaxis(volume, -1, 0)
    np.save(
        tmp_path / "volume.npy",
        volume if dtype == np.float32 else np.rint(255 * volume).astype(dtype),
    )
    line = refuse("predict", tmp_path / "volume.npy", "-o", tmp_path / "out.npy")
    assert "--no-batched, or --batched" in line
    predict(tmp_path / "volume.npy", tmp_path / "out.npy", "--no-batched")
    assert np.load(tmp_path / "out.npy").shape == (8, 9, 10)


def test_batched_makes_three_axes_a_batch_of_lines(npy, probs, tmp_path):
    options = ("--batched", "--no-check-sums")
    predict(npy, tmp_path / "out.npy", *options)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), rankseg(probs))


def test_two_axes_are_classes_and_pixels_only_if_asked(tmp_path, probs):
    np.save(tmp_path / "flat.npy", probs.reshape(4, -1))
    line = refuse("predict", tmp_path / "flat.npy", "-o", tmp_path / "out.npy")
    assert "shape (4, 180)" in line
    assert "--no-batched" in line
    predict(tmp_path / "flat.npy", tmp_path / "out.npy", "--no-batched")
    assert np.load(tmp_path / "out.npy").shape == (12 * 15,)


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
def test_class_axis_counts_in_the_file(batch_npy, tmp_path, batched, mode):
    probs = np.load(batch_npy) if batched else np.load(batch_npy)[0]
    np.save(tmp_path / "last.npy", np.moveaxis(probs, int(batched), -1))
    predict(tmp_path / "last.npy", tmp_path / "out.npy", "--class-axis", -1, "--mode", mode)
    expected = rankseg(probs if batched else probs[None], output_mode=mode)
    if mode == "multilabel":
        expected = np.moveaxis(expected, 1, -1)
    np.testing.assert_array_equal(
        np.load(tmp_path / "out.npy"), expected if batched else expected[0]
    )


@pytest.mark.parametrize("metric", ["dice", "iou"])
def test_settings_reach_the_solver(npy, probs, tmp_path, metric):
    options = ("--metric", metric, "--mode", "multilabel", "--smooth", 50, "--pruning-prob", 0.9)
    predict(npy, tmp_path / "out.npy", *options, "--solver", "rma")
    masks = np.load(tmp_path / "out.npy")
    segment = RankSEG(metric, smooth=50.0, output_mode="multilabel", pruning_prob=0.9)
    assert masks.dtype == bool
    np.testing.assert_array_equal(masks, segment(probs[None])[0])
    assert not np.array_equal(masks, RankSEG(metric, output_mode="multilabel")(probs[None])[0])


def test_accuracy_chooses_its_own_solver(npy, probs, tmp_path):
    predict(npy, tmp_path / "labels.npy", "--metric", "acc")
    np.testing.assert_array_equal(np.load(tmp_path / "labels.npy"), probs.argmax(axis=0))
    predict(npy, tmp_path / "masks.npy", "--metric", "acc", "--mode", "multilabel")
    np.testing.assert_array_equal(np.load(tmp_path / "masks.npy"), probs > 0.5)


@pytest.mark.parametrize(
    ("activation", "function"),
    [("softmax", lambda values: softmax(values, axis=0)), ("sigmoid", sigmoid)],
)
def test_activations(tmp_path, logits, activation, function):
    np.save(tmp_path / "logits.npy", logits)
    options = ("--activation", activation)
    if activation == "sigmoid":
        line = refuse("predict", tmp_path / "logits.npy", "-o", tmp_path / "out.npy", *options)
        assert "--mode multilabel is for probabilities that are independent" in line
        options += ("--no-check-sums",)
    predict(tmp_path / "logits.npy", tmp_path / "out.npy", *options)
    expected = rankseg(function(logits)[None])[0]
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)


@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8"])
def test_floating_dtypes(tmp_path, logits, dtype):
    probs = softmax(logits.astype(np.float64), axis=0).astype(dtype)
    np.save(tmp_path / "probs.npy", probs)
    predict(tmp_path / "probs.npy", tmp_path / "out.npy")
    expected = rankseg(probs.astype(probs.dtype.newbyteorder("="))[None])[0]
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)


def test_many_classes_need_wider_labels(tmp_path):
    probs = np.zeros((300, 2, 150), dtype=np.float32)
    probs[np.arange(300), np.arange(300) // 150, np.arange(300) % 150] = 1
    np.save(tmp_path / "probs.npy", probs)
    predict(tmp_path / "probs.npy", tmp_path / "out.npy")
    labels = np.load(tmp_path / "out.npy")
    assert labels.dtype == np.uint16
    np.testing.assert_array_equal(labels.ravel(), np.arange(300))
    assert "up to 256 classes" in refuse(
        "predict", tmp_path / "probs.npy", "-o", tmp_path / "out.png"
    )


@pytest.mark.parametrize(
    ("arrays", "options"),
    [
        (["anything"], []),
        (["probs", "label"], []),
        (["first", "second"], ["--probs-key", "first"]),
    ],
)
def test_npz_files(tmp_path, probs, arrays, options):
    named = dict(zip(arrays, (probs, probs[::-1]), strict=False))
    np.savez_compressed(tmp_path / "probs.npz", **named)
    predict(tmp_path / "probs.npz", tmp_path / "out.npy", *options)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), rankseg(probs[None])[0])


@pytest.mark.parametrize(
    ("options", "words"),
    [([], "several arrays, name one of a, b"), (["--probs-key", "c"], "no array 'c' among a, b")],
)
def test_npz_files_without_the_array(tmp_path, probs, options, words):
    np.savez(tmp_path / "probs.npz", a=probs, b=probs)
    assert words in refuse("predict", tmp_path / "probs.npz", "-o", tmp_path / "out.npy", *options)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_torch_files(tmp_path, probs, dtype):
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(probs, dtype=getattr(torch, dtype))
    torch.save(tensor.requires_grad_(), tmp_path / "tensor.pt")
    torch.save({"values": tensor, "step": 3}, tmp_path / "dictionary.pt")
    expected = rankseg(tensor.detach()[None])[0].numpy()
    for name, options in (("tensor", ()), ("dictionary", ("--probs-key", "values"))):
        predict(tmp_path / f"{name}.pt", tmp_path / f"{name}.npy", *options)
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy"), expected)
    arguments = ("-o", tmp_path / "out.npy", "--probs-key", "step")
    assert "expected a tensor" in refuse("predict", tmp_path / "dictionary.pt", *arguments)


@pytest.mark.parametrize(
    ("dtype", "options", "divisor"),
    [("uint8", [], 255), (">u2", [], 65535), ("uint8", ["--scale", 100], 100)],
)
def test_integers_are_probabilities_times_their_maximum(tmp_path, probs, dtype, options, divisor):
    stored = np.rint(probs * divisor).astype(dtype)
    np.save(tmp_path / "probs.npy", stored)
    result = predict(tmp_path / "probs.npy", tmp_path / "out.npy", *options)
    assert f"- Note: probabilities were divided by {divisor}" in result.stdout
    expected = rankseg((stored.astype(np.float32) / np.float32(divisor))[None])[0]
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)


def test_floats_are_divided_only_if_asked(tmp_path, probs):
    np.save(tmp_path / "probs.npy", probs * 100)
    result = predict(tmp_path / "probs.npy", tmp_path / "out.npy", "--scale", 100)
    assert "divided by 100" in result.stdout
    expected = rankseg((probs * 100 / np.float32(100))[None])[0]
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)


def test_settings_tuned_on_files_serve_for_these_files(tmp_path):
    """With the calibration; tune and predict read the same .npz files of uint8 and labels."""
    folder, config = write_cases(tmp_path / "data", 6), tmp_path / "rankseg.toml"
    succeed("tune", folder, folder, "-o", config)
    text = succeed("predict", folder, "-o", tmp_path / "out", "--config", config)
    assert "labels of 6 of 6 files - Note: probabilities were divided by 255" in text
    segment = RankSEG.from_config(config)
    for case in Cases(folder, folder):
        found = np.load(tmp_path / "out" / f"{case.name}.npy")
        np.testing.assert_array_equal(found, segment(case.probs[None])[0])


def test_a_pruning_probability_for_each_class(npy, probs, tmp_path):
    predict(npy, tmp_path / "out.npy", "--pruning-prob", "0.5,0.99,0.9,0.995")
    found = np.load(tmp_path / "out.npy")
    expected = rankseg(probs[None], pruning_prob=[0.5, 0.99, 0.9, 0.995])[0]
    np.testing.assert_array_equal(found, expected)
    assert not np.array_equal(found, rankseg(probs[None])[0])


def test_evaluate_reads_torch_files_too(tmp_path):
    torch = pytest.importorskip("torch")
    folder = write_cases(tmp_path / "npz", 2)
    (tmp_path / "pt").mkdir()
    for file in folder.iterdir():
        tensors = {name: torch.tensor(array) for name, array in np.load(file).items()}
        torch.save(tensors, tmp_path / "pt" / f"{file.stem}.pt")
    for expected, found in zip(
        Cases(folder, folder), Cases(tmp_path / "pt", tmp_path / "pt"), strict=True
    ):
        np.testing.assert_array_equal(found.probs, expected.probs)
        np.testing.assert_array_equal(found.labels, expected.labels)


# NIfTI

AFFINE = np.array([[0, -2.0, 0, 7], [1.5, 0, 0, -3], [0, 0, 3, 5], [0, 0, 0, 1]])


@pytest.fixture
def volume(tmp_path):
    """A file with the classes last, and its probabilities with the classes first."""
    nibabel = pytest.importorskip("nibabel")
    probs = softmax(make_logits((3, 5, 6, 4)), axis=0)
    image = nibabel.Nifti1Image(np.moveaxis(probs, 0, -1), AFFINE)
    image.header["descrip"] = b"scanner"
    image.header["cal_max"] = 1
    (tmp_path / "in").mkdir()
    nibabel.save(image, tmp_path / "in" / "case.nii.gz")
    return tmp_path / "in" / "case.nii.gz", probs


@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
def test_nifti_keeps_its_geometry(volume, tmp_path, mode):
    import nibabel

    path, probs = volume
    options = ("--class-axis", -1, "--mode", mode)
    predict(path, tmp_path / "out.nii.gz", *options)
    predict(path.parent, tmp_path / "folder", *options)
    expected = rankseg(probs[None], output_mode=mode)[0]
    if mode == "multilabel":
        expected = np.moveaxis(expected, 0, -1)
    for file in (tmp_path / "out.nii.gz", tmp_path / "folder" / "case.nii.gz"):
        image = nibabel.load(file)
        assert image.get_data_dtype() == np.uint8
        np.testing.assert_array_equal(np.asarray(image.dataobj), expected)
        np.testing.assert_array_equal(image.affine, AFFINE)
        assert image.header["descrip"] == b"scanner"
        assert image.header["cal_max"] == 0
    assert (tmp_path / "out.nii.gz").read_bytes() == file.read_bytes()  # no date in it


def test_nifti_can_go_to_npy(volume, tmp_path):
    path, probs = volume
    predict(path, tmp_path / "out.npy", "--class-axis", -1)
    predict(path, tmp_path / "out", "--class-axis", -1, "--format", "npy")
    for file in (tmp_path / "out.npy", tmp_path / "out" / "case.npy"):
        np.testing.assert_array_equal(np.load(file), rankseg(probs[None])[0])


def test_nifti_of_integers_with_classes_first(volume, tmp_path):
    import nibabel

    probs = np.rint(255 * volume[1]).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(probs, AFFINE), tmp_path / "first.nii")
    options = ("--class-axis", 0)
    result = predict(tmp_path / "first.nii", tmp_path / "out.nii.gz", *options)
    assert "divided by 255" in result.stdout
    image = nibabel.load(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(image.affine, AFFINE)
    expected = rankseg((probs / np.float32(255))[None])[0]
    np.testing.assert_array_equal(np.asarray(image.dataobj), expected)


def test_nifti_that_cannot_be_written(volume, npy, tmp_path):
    path, out = volume[0], tmp_path / "out.nii.gz"
    assert "--class-axis does, -1 for the last" in refuse("predict", path, "-o", out)
    assert "only NIfTI has the geometry" in refuse("predict", npy, "-o", out)
    arguments = ("-o", tmp_path / "out", "--format", "nii.gz")
    assert "only NIfTI has the geometry" in refuse("predict", npy, *arguments)
    arguments = ("-o", out, "--batched", "--class-axis", -1)
    assert "not a batch" in refuse("predict", path, *arguments)
    assert only(tmp_path, "in", "probs.npy")


# Void


@pytest.fixture
def void(tmp_path):
    """A function that returns options for settings with a void index, and what they predict."""
    pytest.importorskip("nibabel")
    import nibabel

    probs = np.full((4, 8, 12), 0.01, np.float32)
    for c in range(4):
        probs[c, :, 3 * c : 3 * c + 3] = 0.97
    probs[:, 0, ::2] = 0.25  # of no class, which is more than the threshold of any
    np.save(tmp_path / "probs.npy", probs)
    nibabel.save(nibabel.Nifti1Image(probs[..., None], AFFINE), tmp_path / "probs.nii.gz")

    def make(void_index):
        params = {"unassigned_policy": "void", "void_index": void_index}
        config = Config(solver_params=params)
        config.save(tmp_path / "settings.toml", overwrite=True)
        expected = RankSEG(**config.arguments)(probs[None])[0]
        assert (expected == void_index).sum() == 6
        return ("--config", tmp_path / "settings.toml"), expected

    return make


@pytest.mark.parametrize(
    ("void_index", "dtype"), [(255, "u1"), (1000, "u2"), (-1, "i2"), (2**40, "u8")]
)
def test_void_keeps_its_number(void, tmp_path, void_index, dtype):
    import nibabel

    options, expected = void(void_index)
    predict(tmp_path / "probs.npy", tmp_path / "out.npy", *options)
    found = np.load(tmp_path / "out.npy")
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, expected)
    predict(tmp_path / "probs.nii.gz", tmp_path / "out.nii.gz", "--class-axis", 0, *options)
    image = nibabel.load(tmp_path / "out.nii.gz")
    assert image.get_data_dtype() == dtype
    np.testing.assert_array_equal(np.asarray(image.dataobj)[..., 0], expected)


def test_void_is_white_in_a_png_and_refused_where_it_does_not_fit(void, tmp_path):
    options, expected = void(255)
    predict(tmp_path / "probs.npy", tmp_path / "out.png", *options)
    with Image.open(tmp_path / "out.png") as image:
        np.testing.assert_array_equal(np.asarray(image), expected)
        colours = np.asarray(image.convert("RGB"))
    assert (colours[expected == 255] == 255).all()
    for void_index in (256, -1):
        options, _ = void(void_index)
        arguments = ("predict", tmp_path / "probs.npy", "-o", tmp_path / "more.png", *options)
        assert "a void_index from 0 to 255; write a .npy file" in refuse(*arguments)
    assert not (tmp_path / "more.png").exists()


def test_void_is_drawn(void, tmp_path):
    options, expected = void(1000)
    predict(tmp_path / "probs.npy", tmp_path / "out.npy", "--compare", tmp_path / "c.png", *options)
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    legend = comparison_figure(expected * 0, expected, 4).legends[0]
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["class 0", "class 1", "class 2", "class 3", "void", "no difference"]


# Pictures and folders


def test_png_holds_the_class_indices(npy, probs, tmp_path):
    predict(npy, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), rankseg(probs[None])[0])
        palette = np.array(image.getpalette()).reshape(-1, 3)
    np.testing.assert_array_equal(palette[:4], class_colours(4))


@pytest.mark.parametrize("with_image", [False, True])
@pytest.mark.parametrize("shape", [(12, 15), (8, 30)])
def test_compare_draws_a_picture(tmp_path, with_image, shape):
    np.save(tmp_path / "probs.npy", softmax(make_logits((1, 4, *shape)), axis=1))
    options = ["--compare", tmp_path / "compare.png"]
    if with_image:
        Image.new("LA", (3 * shape[1], 3 * shape[0]), 128).save(tmp_path / "image.png")
        options += ["--image", tmp_path / "image.png"]
    predict(tmp_path / "probs.npy", tmp_path / "out.npy", *options)
    with Image.open(tmp_path / "compare.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 200
    assert np.load(tmp_path / "out.npy").shape == (1, *shape)


def test_a_folder_goes_to_a_folder(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    expected = {}
    for i in range(3):
        probs = softmax(make_logits((3, 6 + i, 5), seed=i), axis=0)
        np.save(source / f"{i}.npy", probs)
        expected[f"{i}"] = rankseg(probs[None])[0]
    (source / "notes.txt").write_text("left alone")
    (source / "._0.npy").write_text("left alone too")
    predict(source, tmp_path / "out")
    predict(source, tmp_path / "pictures", "--format", "png")
    assert only(tmp_path / "out", "0.npy", "1.npy", "2.npy")
    assert only(tmp_path / "pictures", "0.png", "1.png", "2.png")
    for name, labels in expected.items():
        np.testing.assert_array_equal(np.load(tmp_path / "out" / f"{name}.npy"), labels)
        with Image.open(tmp_path / "pictures" / f"{name}.png") as image:
            np.testing.assert_array_equal(np.asarray(image), labels)


def test_a_file_goes_into_a_folder(npy, tmp_path):
    result = run("predict", npy, "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert only(tmp_path / "out", "probs.npy")


def test_npy_stays_on_disk(batch_npy):
    assert isinstance(read_array(batch_npy, None, ()), np.memmap)


def test_version_and_help():
    assert run("--version").stdout == f"rankseg {__version__}\n"
    for arguments in (["-h"], ["predict", "-h"], ["demo", "--help"]):
        assert run(*arguments).exit_code == 0


# What does not


def test_missing_file(tmp_path):
    assert "no such file" in refuse("predict", tmp_path / "no.npy", "-o", tmp_path / "out.npy")
    assert only(tmp_path)


@pytest.mark.parametrize("name", ["text.npy", "text.npz", "text.pt", "empty.npy"])
def test_a_file_that_is_not_what_its_name_says(tmp_path, name):
    if name.endswith(".pt"):
        pytest.importorskip("torch")
    (tmp_path / name).write_text("" if name.startswith("empty") else "0.1 0.9\n" * 20)
    assert name in refuse("predict", tmp_path / name, "-o", tmp_path / "out.npy")
    assert only(tmp_path, name)


def test_other_names_are_refused(tmp_path, npy):
    (tmp_path / "probs.txt").write_text("0.1")
    assert ".npy" in refuse("predict", tmp_path / "probs.txt", "-o", tmp_path / "out.npy")
    assert ".png" in refuse("predict", npy, "-o", tmp_path / "out.bmp")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_truncated_files(tmp_path, probs, suffix):
    path = tmp_path / f"probs{suffix}"
    np.save(path, probs) if suffix == ".npy" else np.savez(path, probs)
    path.write_bytes(path.read_bytes()[:-400])
    assert "cannot be read" in refuse("predict", path, "-o", tmp_path / "out.npy")


class Malice:
    def __reduce__(self):
        return (os.mkdir, ("executed",))


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt"])
def test_nothing_in_a_file_is_executed(tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"malice{suffix}"
    if suffix == ".pt":
        torch = pytest.importorskip("torch")
        torch.save(Malice(), path)
    else:
        array = np.array([Malice()], dtype=object)
        np.save(path, array) if suffix == ".npy" else np.savez(path, array)
    assert "cannot be read" in refuse("predict", path, "-o", tmp_path / "out.npy")
    assert only(tmp_path, path.name)


def test_a_pickle_named_pt(tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "list.pt").write_bytes(pickle.dumps([1, 2]))
    refuse("predict", tmp_path / "list.pt", "-o", tmp_path / "out.npy")


@pytest.mark.parametrize("shape", [(), (5,), (0, 4, 4), (3, 0, 4)])
def test_wrong_shapes(tmp_path, shape):
    np.savez(tmp_path / "probs.npz", np.full(shape, 0.5, dtype=np.float32))
    line = refuse("predict", tmp_path / "probs.npz", "-o", tmp_path / "out.npy")
    assert str(shape) in line
    assert only(tmp_path, "probs.npz")


@pytest.mark.parametrize("options", [("--class-axis", 3), ("--batched", "--class-axis", -3)])
def test_wrong_class_axis(npy, tmp_path, options):
    assert "(4, 12, 15)" in refuse("predict", npy, "-o", tmp_path / "out.npy", *options)


def test_batch_of_one_axis_too_few(tmp_path):
    np.save(tmp_path / "probs.npy", np.full((3, 4), 0.5))
    line = refuse("predict", tmp_path / "probs.npy", "-o", tmp_path / "out.npy", "--batched")
    assert "(batch, class, *spatial)" in line


def test_one_class_needs_multilabel(tmp_path):
    np.save(tmp_path / "probs.npy", np.full((1, 4, 4), 0.6))
    arguments = (tmp_path / "probs.npy", "-o", tmp_path / "out.npy")
    assert "needs --mode multilabel" in refuse("predict", *arguments, "--mode", "multiclass")
    predict(tmp_path / "probs.npy", tmp_path / "out.npy")
    predict(tmp_path / "probs.npy", tmp_path / "same.npy", "--mode", "multilabel")
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), np.load(tmp_path / "same.npy"))


@pytest.mark.parametrize("dtype", [bool, complex, "S2"])
def test_wrong_dtypes(tmp_path, dtype):
    np.save(tmp_path / "probs.npy", np.ones((2, 4, 4), dtype=dtype))
    line = refuse("predict", tmp_path / "probs.npy", "-o", tmp_path / "out.npy")
    assert f"found {np.dtype(dtype)}" in line


def test_logits_are_noticed(tmp_path, logits):
    np.save(tmp_path / "logits.npy", logits)
    line = refuse("predict", tmp_path / "logits.npy", "-o", tmp_path / "out.npy")
    assert "--activation softmax" in line
    assert only(tmp_path, "logits.npy")


def test_nan_is_no_logit(tmp_path, probs):
    probs[0, 0, 0] = np.nan
    np.save(tmp_path / "nan.npy", probs)
    line = refuse("predict", tmp_path / "nan.npy", "-o", tmp_path / "out.npy")
    assert "finite" in line
    assert "--activation" not in line


def test_infinite_logits_are_refused_without_a_warning(tmp_path, logits):
    logits[0, 0, 0] = np.inf
    np.save(tmp_path / "logits.npy", logits)
    line = refuse(
        "predict", tmp_path / "logits.npy", "-o", tmp_path / "out.npy", "--activation", "softmax"
    )
    assert "finite" in line


def test_activations_are_not_for_masks(tmp_path):
    np.save(tmp_path / "masks.npy", np.ones((2, 4, 4), bool))
    arguments = ("-o", tmp_path / "out.npy", "--activation", "sigmoid")
    assert "found bool" in refuse("predict", tmp_path / "masks.npy", *arguments)


def test_activations_are_not_for_integers(tmp_path):
    np.save(tmp_path / "logits.npy", np.ones((2, 4, 4), np.int8))
    arguments = ("-o", tmp_path / "out.npy", "--activation", "softmax")
    assert "(int8) take no --activation" in refuse("predict", tmp_path / "logits.npy", *arguments)


def test_an_older_output_stays_without_overwrite(npy, tmp_path):
    """And nothing is read: the file of probabilities is damaged."""
    npy.write_bytes(b"")
    (tmp_path / "out").mkdir()
    for old in ("labels.npy", "picture.png", "out/probs.npy"):
        (tmp_path / old).write_text("old")
    new = ("-o", tmp_path / "new.npy", "--compare", tmp_path / "picture.png")
    for arguments in (("-o", tmp_path / "labels.npy"), ("-o", tmp_path / "out"), new):
        line = refuse("predict", npy, *arguments)
        assert "exists already; --overwrite replaces it" in line
    for old in ("labels.npy", "picture.png", "out/probs.npy"):
        assert (tmp_path / old).read_text() == "old"


def test_an_older_file_in_the_output_folder_is_refused_before_the_others(tmp_path, npy):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    for name in ("a.npy", "b.npy"):
        (folder / name).write_bytes(npy.read_bytes())
    (out / "b.npy").write_text("old")
    assert "b.npy: exists already" in refuse("predict", folder, "-o", out)
    assert only(out, "b.npy")
    predict(folder, out, "--overwrite")
    np.testing.assert_array_equal(np.load(out / "a.npy"), np.load(out / "b.npy"))


def test_a_folder_with_files_that_cannot_be_segmented(tmp_path, npy):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    (folder / "bad.npy").write_bytes(b"")
    np.save(folder / "logits.npy", np.full((2, 3, 4), 5.0))
    (folder / "good.npy").write_bytes(npy.read_bytes())
    result = run("predict", folder, "-o", out)
    assert result.exit_code == 1
    assert result.stdout == f"{out}: labels of 1 of 3 files\n"
    bad, logits, last = result.stderr.splitlines()
    assert bad.startswith("rankseg: bad.npy cannot be read")
    assert logits.startswith(f"rankseg: {folder / 'logits.npy'}: probs must be in [0, 1]")
    assert last == "rankseg: 2 of 3 cases were not written"
    assert only(out, "good.npy")

    (folder / "good.npy").unlink()
    result = run("predict", folder, "-o", tmp_path / "none")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.endswith("rankseg: 2 of 2 cases were not written\n")


@pytest.mark.parametrize(("failures", "code"), [(1, 1), (2, 2)])
def test_nnunet_says_what_was_not_written(tmp_path, monkeypatch, failures, code):
    def failing(folder, output, **_):
        raise ExceptionGroup("", [ValueError(f"case {i} is bad") for i in range(failures)])

    monkeypatch.setattr("rankseg.cli.nnunet.segment_folder", failing)
    for name in ("a.npz", "b.npz"):
        (tmp_path / name).touch()
    result = run("nnunet", tmp_path, "-o", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.splitlines() == [
        *(f"rankseg: case {i} is bad" for i in range(failures)),
        f"rankseg: {failures} of 2 cases were not written",
    ]


def test_nnunet_takes_settings_from_one_place(tmp_path, monkeypatch):
    calls = []

    def segment_folder(folder, output, **settings):
        calls.append(settings)
        return [output]

    monkeypatch.setattr("rankseg.cli.nnunet.segment_folder", segment_folder)
    config = Config("iou", pruning_prob=(0.5, 0.7), calibration=Calibration("temperature", 2.0))
    config.save(tmp_path / "settings.toml")
    arguments = ("nnunet", tmp_path, "-o", tmp_path / "out")
    succeed(*arguments, "--config", tmp_path / "settings.toml")
    assert config.arguments.items() <= calls[0].items()
    succeed(*arguments, "--pruning-prob", "0.5,0.7")
    assert calls[1]["pruning_prob"] == [0.5, 0.7]
    assert calls[1]["solver"] is None  # which depends on the model
    both = ("--config", tmp_path / "settings.toml", "--metric", "iou")
    assert "--config has a value for --metric already" in refuse(*arguments, *both)


def test_only_the_default_picture_of_the_demo_is_replaced(tmp_path, monkeypatch):
    def interrupted(seed):
        raise KeyboardInterrupt

    monkeypatch.setattr("rankseg.demo.study.run_study", interrupted)
    monkeypatch.chdir(tmp_path)
    for name in ("rankseg-demo.png", "mine.png"):
        (tmp_path / name).write_text("old")
    assert "mine.png: exists already; --overwrite" in refuse("demo", "-o", "mine.png")
    for arguments in ((), ("-o", "mine.png", "--overwrite")):
        assert "interrupted" in refuse("demo", *arguments)


def test_a_bad_sample_late_in_a_batch_leaves_no_output(tmp_path, batch_npy):
    batch = np.load(batch_npy)
    batch[2, 0, 0, 0] = 7
    np.save(batch_npy, batch)
    (tmp_path / "out.npy").write_text("old")
    refuse("predict", batch_npy, "-o", tmp_path / "out.npy", "--overwrite")
    assert (tmp_path / "out.npy").read_text() == "old"
    assert only(tmp_path, "batch.npy", "out.npy")


@pytest.mark.parametrize(
    "options",
    [
        ("--smooth", "-1"),
        ("--smooth", "nan"),
        ("--pruning-prob", "2"),
        ("--solver", "argmax"),
    ],
)
def test_settings_are_checked_before_any_file(tmp_path, options):
    line = refuse("predict", tmp_path / "no.npy", "-o", tmp_path / "out.npy", *options)
    assert "no.npy" not in line


@pytest.mark.parametrize("metric", ["accuracy", "ACC", "Acc"])
def test_names_are_those_of_the_library_in_any_case(npy, tmp_path, metric):
    succeed("predict", npy, "-o", tmp_path / "out.npy", "--metric", metric)
    succeed("predict", npy, "-o", tmp_path / "argmax.npy", "--solver", "ARGMAX", "--metric", "acc")
    assert (tmp_path / "out.npy").read_bytes() == (tmp_path / "argmax.npy").read_bytes()


@pytest.mark.parametrize(
    "options", [("--metric", "no"), ("--solver", "nonsense"), ("--nonsense",), ()]
)
def test_usage_errors(npy, options):
    result = run("predict", npy, *options)
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr


def test_unwritable_output(npy, tmp_path, monkeypatch):
    assert "no such folder" in refuse("predict", npy, "-o", tmp_path / "no" / "out.npy")
    assert "No such file" in refuse("predict", npy, "-o", tmp_path / "no" / "folder")
    (tmp_path / "folder.npy").mkdir()
    run("predict", npy, "-o", tmp_path / "folder.npy")
    assert only(tmp_path / "folder.npy", "probs.npy")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    assert "not writable" in refuse("predict", npy, "-o", tmp_path / "out.npy")


def test_a_full_disk_leaves_nothing(npy, tmp_path, monkeypatch):
    def write_npy(path, *_):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outputs, "write_npy", write_npy)
    line = refuse("predict", npy, "-o", tmp_path / "out.npy")
    assert "No space left on device" in line
    assert only(tmp_path, "probs.npy")


def test_lack_of_memory_is_one_line(npy, tmp_path, monkeypatch):
    def out_of_memory(*_, **__):
        raise MemoryError

    monkeypatch.setattr(RankSEG, "predict", out_of_memory)
    assert "memory" in refuse("predict", npy, "-o", tmp_path / "out.npy")
    assert only(tmp_path, "probs.npy")


def test_a_bug_keeps_its_traceback(npy, tmp_path, monkeypatch):
    def bug(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(RankSEG, "predict", bug)
    result = run("predict", npy, "-o", tmp_path / "out.npy")
    assert isinstance(result.exception, ZeroDivisionError)
    assert only(tmp_path, "probs.npy")


def test_folders_that_cannot_work(tmp_path, npy):
    (tmp_path / "empty").mkdir()
    assert "no file named" in refuse("predict", tmp_path / "empty", "-o", tmp_path / "out")
    assert "go to a folder" in refuse("predict", tmp_path, "-o", tmp_path / "out.npy")
    for source, output in ((tmp_path, tmp_path), (npy, npy)):
        line = refuse("predict", source, "-o", output, "--overwrite")
        assert "probs.npy: is the input, which is never overwritten" in line
    (tmp_path / "file").write_text("")
    assert "File exists" in refuse("predict", tmp_path, "-o", tmp_path / "file")
    (tmp_path / "probs.npz").write_text("")
    assert "several files" in refuse("predict", tmp_path, "-o", tmp_path / "out")


def test_options_that_do_not_go_together(tmp_path, npy, batch_npy):
    out, png = tmp_path / "out.npy", tmp_path / "compare.png"
    assert "--compare" in refuse("predict", npy, "-o", out, "--image", png)
    assert "--format" in refuse("predict", npy, "-o", out, "--format", "png")
    assert "not a folder" in refuse("predict", tmp_path, "-o", tmp_path / "o", "--compare", png)
    assert "one two-dim" in refuse("predict", batch_npy, "-o", out, "--compare", png)
    assert "one two-dim" in refuse("predict", batch_npy, "-o", tmp_path / "out.png")
    assert ".png" in refuse("predict", npy, "-o", out, "--compare", tmp_path / "compare.jpg")
    assert "same file" in refuse("predict", npy, "-o", png, "--compare", png)
    assert "positive" in refuse("predict", npy, "-o", out, "--scale", 0)
    assert "takes a number" in refuse("predict", npy, "-o", out, "--pruning-prob", "a")
    line = refuse("predict", npy, "-o", tmp_path / "out.png", "--mode", "multilabel")
    assert ".npy" in line
    assert only(tmp_path, "probs.npy", "batch.npy")


@pytest.mark.parametrize("content", [None, b"no picture"])
def test_wrong_image_leaves_no_output_at_all(tmp_path, npy, content):
    image = tmp_path / "image.png"
    if content is not None:
        image.write_bytes(content)
    options = ("--compare", tmp_path / "compare.png", "--image", image)
    assert "image.png" in refuse("predict", npy, "-o", tmp_path / "out.npy", *options)
    assert not (tmp_path / "out.npy").exists()
    assert not (tmp_path / "compare.png").exists()


@pytest.mark.parametrize(
    ("package", "name", "extra"),
    [
        ("torch", "probs.pt", "torch"),
        ("PIL", "out.png", "cli"),
        ("matplotlib.figure", "compare.png", "cli"),
    ],
)
def test_missing_packages_are_named(tmp_path, npy, monkeypatch, package, name, extra):
    monkeypatch.setitem(sys.modules, package, None)
    source = tmp_path / name if name.endswith(".pt") else npy
    source.touch()
    output = tmp_path / ("out.png" if name == "out.png" else "out.npy")
    options = ("--compare", tmp_path / name) if name == "compare.png" else ()
    line = refuse("predict", source, "-o", output, *options)
    assert f'pip install "rankseg[{extra}]"' in line
    assert not output.exists()


def test_interruption_leaves_nothing(batch_npy, tmp_path, monkeypatch):
    calls = []

    def interrupted(self, probs):
        calls.append(probs)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return rankseg(probs)

    monkeypatch.setattr(RankSEG, "predict", interrupted)
    assert "interrupted" in refuse("predict", batch_npy, "-o", tmp_path / "out.npy")
    assert only(tmp_path, "batch.npy")


# As a process


def python(code, **kwargs):
    root = Path(outputs.__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, *(["-c", code] if isinstance(code, str) else code)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **kwargs,
    )


def test_module_runs_and_fails_as_a_process(npy, tmp_path):
    process = python(["-m", "rankseg.cli", "predict", str(npy), "-o", str(tmp_path / "out.png")])
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "4 classes" in out
    process = python(["-m", "rankseg.cli", "predict", "no.npy", "-o", "out.npy"], cwd=tmp_path)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert err == "rankseg: no.npy: no such file or folder\n"


def test_importing_the_library_loads_no_extra():
    code = (
        "import sys, rankseg, rankseg.cli, rankseg.plotting, rankseg.demo.picture;"
        "print(*{'typer', 'rich', 'click', 'matplotlib', 'PIL', 'torch'} & set(sys.modules))"
    )
    out, err = python(code).communicate(timeout=60)
    assert (out, err) == ("\n", "")


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_without_the_extra_there_is_one_clear_line(package):
    code = f"import sys; sys.modules[{package!r}] = None; from rankseg.cli import main; main()"
    process = python(code)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert err == f'rankseg: {package} is not installed: pip install "rankseg[cli]"\n'


WAITING = """
import sys
from rankseg import RankSEG, cli

segment, done = RankSEG.predict, []

def predict(self, probs, valid=None):
    if done:
        print("waiting", flush=True)
        sys.stdin.read()
        raise AssertionError("nobody interrupted")
    done.append(probs)
    return segment(self, probs)

RankSEG.predict = predict
cli.main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_ctrl_c(batch_npy, tmp_path):
    """In the second of three samples, which waits until it is interrupted."""
    process = python(
        ["-c", WAITING, "predict", "batch.npy", "-o", "out.npy"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
    )
    assert process.stdout.readline() == "waiting\n"
    assert len(list(tmp_path.glob(".out*"))) == 1
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)  # which ends the wait too
    assert (process.returncode, out, err) == (2, "", "rankseg: interrupted\n")
    assert only(tmp_path, "batch.npy")


# Pictures


def test_colours_differ():
    colours = class_colours(60)
    assert len(np.unique(colours, axis=0)) == 60
    assert class_colours(0).shape == (0, 3)


def test_a_long_legend_is_cut():
    labels = np.arange(40).reshape(5, 8)
    legend = comparison_figure(labels, labels[::-1], 40).legends[0]
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts[-2:] == ["and 16 more", "no difference"]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("output_mode='multilabel' is for masks", "--mode multilabel is for masks"),
        ("void_index must be an int, found 'x'", "--void-index must be an int, found 'x'"),
        ("pruning_prob[1] must be in [0, 1]", "--pruning-prob[1] must be in [0, 1]"),
        ("use label_map={255: 1} here", "use --label-map 255:1 here"),
        ("label_map={'#ff0000': 1}, or so", "--label-map #ff0000:1, or so"),
        ("class_axis=-1, or check_sums=False", "--class-axis -1, or --no-check-sums"),
        ("reorient=True turns", "--reorient turns"),
        ("one_class=True: a map", "--binary: a map"),
        ("check_labels=False says", "--void-index 255 says"),
        ("labels must be in [0, 3)", "labels must be in [0, 3)"),
        ("the group of a name, my_scale=3", "the group of a name, my_scale=3"),
    ],
)
def test_messages_of_the_library_name_options(message, expected):
    assert with_flags(message) == expected


@pytest.mark.parametrize("option", ["--metric", "--solver", "--mode", "--activation"])
def test_choices_are_completed(option):
    import typer

    command = typer.main.get_command(app).commands["predict"]
    (parameter,) = (one for one in command.params if option in one.opts)
    names = [one.value for one in parameter.shell_complete(None, "")]
    assert names == parameter.metavar.strip("[]").split("|")
    found = [one.value for one in parameter.shell_complete(None, names[0][:2])]
    assert found == [name for name in names if name.startswith(names[0][:2])]


def test_options_of_labels_reach_the_solver(npy, probs, tmp_path):
    options = ("--unassigned-policy", "VOID", "--void-index", 200, "--refine", 2)
    predict(npy, tmp_path / "out.npy", *options, "--pruning-prob", 0.9)
    segment = RankSEG(pruning_prob=0.9, unassigned_policy="void", void_index=200, refine=2)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), segment(probs[None])[0])
    arguments = ("predict", npy, "-o", tmp_path / "new.npy", "--void-index", 200)
    assert "--void-index 200 requires --unassigned-policy void" in refuse(*arguments)


def test_a_picture_of_other_proportions_is_refused(npy, tmp_path):
    Image.new("RGB", (40, 30)).save(tmp_path / "image.png")
    drawn = ("--compare", tmp_path / "c.png", "--image", tmp_path / "image.png")
    line = refuse("predict", npy, "-o", tmp_path / "out.npy", *drawn)
    assert "--image must have the proportions of the labels, 12 x 15, found 30 x 40" in line
    assert only(tmp_path, "image.png", "probs.npy")
