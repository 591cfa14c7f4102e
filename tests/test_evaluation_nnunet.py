"""Folders of nnU-Net as cases; against nnU-Net itself in test_integration_nnunet.py."""

import json
import os
import pickle
import shutil

import numpy as np
import pytest

nibabel = pytest.importorskip("nibabel", reason="the labels are NIfTI")

from rankseg.config import Config
from rankseg.evaluation import Cases, checked_cases, default_methods, evaluate, tune

LABELS = {"labels": {"background": 0, "tumour": 2, "liver": 1}, "file_ending": ".nii.gz"}
IGNORING = {"labels": LABELS["labels"] | {"ignore": 3}, "file_ending": ".nii.gz"}
REGIONS = {
    "labels": {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3},
    "file_ending": ".nii.gz",
    "regions_class_order": [1, 2],
}
PLANS = {"transpose_backward": [1, 2, 0]}
TURNED = np.array([[0, -2, 0, 5], [1.5, 0, 0, -7], [0, 0, -3, 11], [0, 0, 0, 1.0]])
"""An affine whose axes run neither as in RAS nor in its order."""


def properties(affine=TURNED, shape=(7, 7, 7), reader="nibabel"):
    """What nnU-Net's readers keep of an image (z, y, x)."""
    found = {"shape_before_cropping": (shape[2], shape[0], shape[1])}
    if reader == "nibabel":
        return found | {"nibabel_stuff": {"original_affine": affine}}
    itk = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(itk[:3, :3], axis=0)
    direction = itk[:3, :3] / spacing
    stuff = {"spacing": tuple(spacing), "origin": tuple(itk[:3, 3])}
    return found | {"sitk_stuff": stuff | {"direction": tuple(direction.ravel())}}


def write_case(validation, labels, name, probs, truth, affine=TURNED, reader="nibabel"):
    """Write what nnU-Net does, and labels (z, y, x)."""
    np.savez_compressed(validation / f"{name}.npz", probabilities=probs)
    content = properties(affine, probs.shape[1:], reader)
    (validation / f"{name}.pkl").write_bytes(pickle.dumps(content))
    argmax = probs.argmax(axis=0).astype(np.uint8)
    for path, array in ((validation, argmax), (labels, truth)):
        nibabel.save(nibabel.Nifti1Image(array.T, affine), path / f"{name}.nii.gz")


def make_case(seed, shape=(7, 7, 7), channels=3):
    """Probabilities that exclude each other, of a cube: shapes tell nothing; and labels of them."""
    rng = np.random.default_rng(seed)
    probs = np.moveaxis(rng.dirichlet([0.6] * channels, shape), -1, 0).astype(np.float32)
    return probs, (probs.cumsum(axis=0) < rng.random(shape)).sum(axis=0).astype(np.uint8)


def make_regions(seed):
    """Probabilities of two regions by themselves, and labels."""
    rng = np.random.default_rng(seed)
    whole, core = rng.random((2, 7, 7, 7)).astype(np.float32)
    inside = rng.random(whole.shape) < whole
    return np.stack([whole, core]), (inside * (1 + (rng.random(whole.shape) < core))).astype("u1")


@pytest.fixture
def trained(tmp_path):
    """Write a fold of a model, and labelsTr elsewhere; return both folders."""

    def write(dataset=LABELS, count=6, make=make_case, **options):
        validation = tmp_path / "model" / "fold_0" / "validation"
        labels = tmp_path / "raw" / "labelsTr"
        validation.mkdir(parents=True)
        labels.mkdir(parents=True)
        (tmp_path / "model" / "dataset.json").write_text(json.dumps(dataset))
        (tmp_path / "model" / "plans.json").write_text(json.dumps(PLANS))
        (validation / "summary.json").write_text("{}")
        for seed in range(count):
            write_case(validation, labels, f"case_{seed}", *make(seed), **options)
        return validation, labels

    return write


def summary(folders, masks, ignored=None):
    """Mean Dice of each class as nnU-Net computes it, from the files: NaN where it is nowhere."""
    scores = []
    for path in sorted(folders[1].glob("*.nii.gz")):
        found, truth = (np.asarray(nibabel.load(f / path.name).dataobj) for f in folders)
        valid = np.full(truth.shape, True) if ignored is None else truth != ignored
        scores.append([])
        for labels in masks:
            a, b = (np.isin(array, labels) & valid for array in (found, truth))
            total = a.sum() + b.sum()
            scores[-1].append(2 * (a & b).sum() / total if total else np.nan)
    return np.nanmean(scores, axis=0)


def by_command(tmp_path, *arguments):
    """Run evaluate without any word of what the files are, and return its numbers and text."""
    commandline = pytest.importorskip("commandline")
    text = commandline.succeed("evaluate", *arguments, "--json", tmp_path / "found.json")
    return json.loads((tmp_path / "found.json").read_text()), text


def result_of(numbers, method, metric="dice", presence="either"):
    wanted = (method, metric, presence)
    (found,) = (
        r for r in numbers["results"] if (r["method"], r["metric"], r["presence"]) == wanted
    )
    return found


@pytest.mark.parametrize("reader", ["nibabel", "itk"])
def test_a_validation_folder_is_read_as_what_it_is(trained, reader):
    validation, labels = trained(reader=reader)
    cases = Cases(validation, labels)
    assert (cases.class_names, cases.output_mode) == (
        ("background", "liver", "tumour"),
        "multiclass",
    )
    assert [case.name for case in cases] == [f"case_{i}" for i in range(6)]
    assert not cases.problems
    for seed, case in enumerate(cases):
        probs, truth = make_case(seed)
        np.testing.assert_array_equal(case.probs, probs)
        np.testing.assert_array_equal(case.labels, truth)
    assert any("model/dataset.json" in note for note in cases.notes)
    assert "dataset.json" in repr(cases)  # which the log of a run that is resumed has


def test_evaluate_says_what_nnunet_does(trained, tmp_path):
    def make(seed):
        probs, truth = make_case(seed)
        if seed == 2:  # a class in neither label nor prediction of a case
            probs[1] += probs[2]
            probs[2] = 0
            truth[truth == 2] = 1
        return probs, truth

    folders = trained(make=make)
    numbers, text = by_command(tmp_path, *folders, "--average", "nnunet")
    expected = summary(folders, [0, 1, 2])
    found = result_of(numbers, "argmax")
    np.testing.assert_allclose(found["classes"]["score"], expected, atol=1e-6)
    assert found["score"] == pytest.approx(expected[1:].mean(), abs=1e-6)
    assert numbers["class_names"] == ["background", "liver", "tumour"]
    assert numbers["average"] == [{"name": "nnunet", "classes": [1, 2], "empty": "nan"}]
    assert "read as a folder of nnU-Net" in text


def test_regions_are_masks_painted_as_in_files(trained, tmp_path):
    folders = trained(REGIONS, make=make_regions)
    for path in folders[0].glob("*.npz"):
        whole, core = np.load(path)["probabilities"] > 0.5
        painted = np.where(core, 2, whole).astype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(painted.T, TURNED), path.with_suffix(".nii.gz"))
    numbers, _ = by_command(tmp_path, *folders, "--average", "nnunet")
    expected = summary(folders, [[1, 2], [2]])
    found = result_of(numbers, "threshold")
    np.testing.assert_allclose(found["classes"]["score"], expected, atol=1e-6)
    assert found["score"] == pytest.approx(expected.mean(), abs=1e-6)
    assert numbers["class_names"] == ["whole", "core"]
    cases = Cases(*folders)
    (first, *_) = cases
    np.testing.assert_array_equal(first.labels, make_regions(0)[1] >= [[[[1]]], [[[2]]]])
    tuning = tune(cases, output_mode=cases.output_mode, average="nnunet", presence="either")
    assert tuning.outcomes[0].score == pytest.approx(expected.mean(), abs=1e-6)


def test_tune_takes_the_folder(trained, tmp_path):
    commandline = pytest.importorskip("commandline")
    folders = trained(REGIONS, make=make_regions)
    text = commandline.succeed("tune", *folders, "-o", tmp_path / "s.toml", "--folds", "2")
    assert "read as a folder of nnU-Net" in text
    assert Config.load(tmp_path / "s.toml").output_mode == "multilabel"


def test_ignored_labels_are_void(trained, tmp_path):
    def make(seed):
        probs, truth = make_case(seed)
        truth[truth == 2] = 3  # no label has a class of much probability in what is ignored
        return probs, truth

    folders = trained(IGNORING, make=make)
    numbers, text = by_command(tmp_path, *folders, "--average", "nnunet")
    found = result_of(numbers, "argmax")
    np.testing.assert_allclose(
        found["classes"]["score"], summary(folders, [0, 1, 2], ignored=3), atol=1e-6
    )
    assert numbers["labels"]["void"] == sum((make(seed)[1] == 3).sum() for seed in range(6))
    assert "label 3, ignored in dataset.json, counts as void" in text
    assert "no label has class tumour" in text


@pytest.mark.parametrize(
    "place", ["model/fold_0/validation", "model/fold_0", "model", "raw/labelsTr", "raw"]
)
def test_where_dataset_json_may_be(trained, tmp_path, place):
    folders = trained()
    os.replace(tmp_path / "model" / "dataset.json", tmp_path / place / "dataset.json")
    (tmp_path / "model" / "plans.json").unlink()
    cases = Cases(*folders)
    assert cases.class_names == ("background", "liver", "tumour")
    assert len(list(cases)) == 6


def test_the_dataset_of_the_model_comes_first(trained, tmp_path):
    folders = trained()
    (tmp_path / "raw" / "dataset.json").write_text(json.dumps(REGIONS))
    assert Cases(*folders).output_mode == "multiclass"


def turn_labels(folders, write):
    """Store the labels along other axes, with the affine that says so."""
    for path in folders[1].glob("*.nii.gz"):
        image = nibabel.load(path)
        turned = nibabel.as_closest_canonical(image)
        affine = turned.affine if write else image.affine
        nibabel.save(nibabel.Nifti1Image(np.asarray(turned.dataobj).copy(), affine), path)


@pytest.mark.parametrize("reader", ["nibabel", "itk"])
def test_turned_labels(trained, reader):
    folders = trained(reader=reader)
    turn_labels(folders, write=True)
    cases = Cases(*folders)
    assert not list(cases)
    assert "reorient=True turns the labels" in cases.problems["case_0"]
    assert "labels_order='zyx' takes them as nnU-Net does" in cases.problems["case_0"]
    cases = Cases(*folders, reorient=True)
    for seed, case in enumerate(cases):
        np.testing.assert_array_equal(case.labels, make_case(seed)[1])
    assert not cases.problems
    found = list(Cases(*folders, labels_order="zyx"))
    assert len(found) == 6
    for case in found:
        stored = np.asarray(nibabel.load(folders[1] / f"{case.name}.nii.gz").dataobj)
        np.testing.assert_array_equal(case.labels, stored.T)


@pytest.mark.parametrize("stuff", ["nibabel_stuff", "sitk_stuff"])
def test_readers_that_turn_images_turn_labels(trained, stuff):
    reader = stuff.partition("_")[0].replace("sitk", "itk")
    folders = trained()
    ras = nibabel.as_closest_canonical(nibabel.load(folders[1] / "case_0.nii.gz"))
    for path in folders[0].glob("*.pkl"):
        content = properties(ras.affine, reader=reader)
        if reader == "nibabel":
            content[stuff] = {"original_affine": TURNED, "reoriented_affine": ras.affine}
        else:
            content[stuff]["original_orientation"] = "ARI"
        path.write_bytes(pickle.dumps(content))
    cases = Cases(*folders)
    for case in cases:
        image = nibabel.as_closest_canonical(nibabel.load(folders[1] / f"{case.name}.nii.gz"))
        np.testing.assert_array_equal(case.labels, np.asarray(image.dataobj).T)
    assert not cases.problems


def test_slices_in_png(trained):
    image = pytest.importorskip("PIL.Image")
    folders = trained(LABELS | {"file_ending": ".png"}, count=0)
    probs, truth = make_case(0, (1, 5, 8))
    np.savez(folders[0] / "a.npz", probabilities=probs)
    content = {"spacing": (999, 1, 1), "shape_before_cropping": (8, 1, 5)}
    (folders[0] / "a.pkl").write_bytes(pickle.dumps(content))
    image.fromarray(truth[0]).save(folders[1] / "a.png")
    cases = Cases(*folders)
    (case,) = cases
    assert case.probs.shape == (3, 1, 5, 8)
    np.testing.assert_array_equal(case.labels, truth)


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def save_probs(folders, probs):
    np.savez(folders[0] / "case_0.npz", probabilities=probs)


def save_pkl(folders, content):
    (folders[0] / "case_0.pkl").write_bytes(pickle.dumps(content))


def save_labels(folders, value):
    truth = make_case(0)[1]
    truth[0, 0, 0] = value
    nibabel.save(nibabel.Nifti1Image(truth.T, TURNED), folders[1] / "case_0.nii.gz")


DAMAGE = {
    "no .pkl": (
        LABELS,
        lambda f: (f[0] / "case_0.pkl").unlink(),
        "there is no case_0.pkl, which nnU-Net writes beside case_0.npz",
    ),
    "another .pkl": (LABELS, lambda f: save_pkl(f, [1]), "case_0.pkl: not the properties"),
    "a .pkl that runs something": (
        LABELS,
        lambda f: save_pkl(f, {"spacing": Malicious()}),
        "mkdir is not allowed in it",
    ),
    "no geometry": (
        LABELS,
        lambda f: save_pkl(f, properties() | {"nibabel_stuff": {}}),
        "the .pkl file has no geometry",
    ),
    "another shape": (
        LABELS,
        lambda f: save_pkl(f, properties(shape=(7, 6, 7))),
        r"probs have shape \(3, 7, 7, 7\), expected \(class, z, y, x\) = \(3, 7, 6, 7\)",
    ),
    "other classes": (
        LABELS,
        lambda f: save_probs(f, make_case(0, channels=4)[0]),
        "probs have 4 classes, .*dataset.json has 3: background, liver, tumour",
    ),
    "a label that is no class": (
        LABELS,
        lambda f: save_labels(f, 3),
        r"labels must be in \[0, 3\) or void \(255\), found 3",
    ),
    "a label of no region": (
        REGIONS,
        lambda f: save_labels(f, 4),
        "labels must be of a region or 0, found 4",
    ),
    "ignored beside regions": (
        REGIONS,
        lambda f: save_labels(f, 3),
        "labels have 3, ignored in dataset.json: masks of regions have no void",
    ),
    "a fraction beside regions": (
        REGIONS,
        lambda f: nibabel.save(
            nibabel.Nifti1Image(np.full((7, 7, 7), 0.5, np.float32), TURNED),
            f[1] / "case_0.nii.gz",
        ),
        "labels must be whole numbers",
    ),
}


@pytest.mark.parametrize(("dataset", "damage", "message"), DAMAGE.values(), ids=list(DAMAGE))
def test_one_bad_case(trained, tmp_path, monkeypatch, dataset, damage, message):
    monkeypatch.chdir(tmp_path)
    folders = trained(dataset, count=2, make=make_regions if dataset is REGIONS else make_case)
    damage(folders)
    cases, problems = Cases(*folders), {}
    found = list(checked_cases(cases, problems, output_mode=cases.output_mode))
    assert [case.name for case in found] == ["case_1"]
    assert problems.keys() == {"case_0"}
    with pytest.raises(ValueError, match=message):
        raise ValueError(problems["case_0"])
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_axis": -1}, "class_axis=-1 is not for a folder of nnU-Net"),
        ({"one_class": True}, "one_class=True is not for"),
        ({"activation": "softmax"}, "activation='softmax' is not for"),
        ({"scale": 255}, "scale=255 is not for"),
        ({"labels_order": "xyz"}, "labels_order='xyz' is not for"),
    ],
)
def test_options_against_the_files(trained, options, message):
    folders = trained(count=1)
    with pytest.raises(ValueError, match=message):
        Cases(*folders, **options)
    assert len(Cases(*folders, class_axis=0)) == 1


def test_segmentations_are_no_probabilities(trained, tmp_path):
    validation, labels = trained(count=2)
    with pytest.raises(ValueError, match=r"fold_0: a fold of nnU-Net, .* are in .*validation"):
        Cases(validation.parent, labels)
    for path in validation.glob("*.npz"):
        path.unlink()
    with pytest.raises(ValueError, match=r"validation: a folder of nnU-Net without .* --npz"):
        Cases(validation, labels)
    (tmp_path / "model" / "plans.json").unlink()  # then it may be anybody's folder
    assert len(Cases(validation, labels)) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "dataset.json: not a readable .json file"),
        (json.dumps(LABELS | {"labels": ["a", "b"]}), "'labels' must be numbers, or lists"),
        (json.dumps(REGIONS | {"regions_class_order": [1]}), "regions_class_order must have 2"),
    ],
)
def test_a_damaged_dataset_json(trained, tmp_path, content, message):
    folders = trained(count=1)
    (tmp_path / "model" / "dataset.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        Cases(*folders)


def test_what_is_no_folder_of_nnunet(trained, tmp_path):
    validation, labels = trained(count=2)
    for dataset in ({"labels": {"0": "background"}, "modality": {}}, ["x"]):  # v1; another program
        (tmp_path / "model" / "dataset.json").write_text(json.dumps(dataset))
        assert Cases(validation, labels).output_mode is None
    (tmp_path / "model" / "dataset.json").write_text(json.dumps(LABELS))
    shutil.copytree(validation, tmp_path / "model" / "other" / "probs")
    for path in (tmp_path / "model" / "other" / "probs").glob("*.pkl"):
        path.unlink()
    assert Cases(tmp_path / "model" / "other" / "probs", labels).output_mode is None
    assert Cases(validation, validation).output_mode is None  # both arrays in one file


def test_labels_of_other_folds_are_no_problem(trained):
    validation, labels = trained(count=4)
    for name in ("case_0", "case_1"):
        (validation / f"{name}.pkl").unlink()
        (validation / f"{name}.npz").unlink()
    (validation / "case_0.nii.gz").unlink()  # of another fold; case_1 has only its segmentation
    cases = Cases(validation, labels)
    assert cases.names == ("case_2", "case_3")
    assert cases.problems == {"case_1": "there are labels but no probabilities of this name"}
    assert "labels of 1 case are not of this folder" in cases.notes
    (labels / "case_3.nii.gz").unlink()
    problems = Cases(validation, labels).problems
    assert problems["case_3"] == "there are probabilities but no labels of this name"


def test_names_that_are_given_are_taken(trained):
    folders = trained()
    cases = Cases(*folders)
    methods = default_methods(["dice"])
    assert evaluate(cases, methods).class_names == ("background", "liver", "tumour")
    assert evaluate(cases, methods, class_names="a,b,c").class_names == ("a", "b", "c")
