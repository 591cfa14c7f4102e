"""Files that would be read wrongly: each right, or refused in a line that says what settles it."""

import commandline
import numpy as np
import pytest
from commandline import printed, refuse

from rankseg.activations import softmax
from rankseg.evaluation import Cases, checked_cases, evaluate
from rankseg.functional import rankseg

SPATIAL = [(12, 15), (16, 16), (5, 6, 7), (6, 6, 6)]


def make_cases(classes=3, spatial=(12, 15), count=3, seed=0, sharp=3.0):
    """Probabilities (class, *spatial) and labels drawn from them."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        probs = softmax(rng.normal(scale=sharp, size=(classes, *spatial)), axis=0)
        labels = (probs.cumsum(axis=0) < rng.random(spatial)).sum(axis=0).clip(0, classes - 1)
        yield probs.astype(np.float32), labels.astype(np.uint8)


def make_maps(spatial=(12, 15), count=3, seed=0):
    """Maps of one structure and their masks."""
    for probs, labels in make_cases(2, spatial, count, seed):
        yield probs[1], labels


def save(folder, form, number, array, affine=None):
    """Write an array in one of several formats."""
    folder.mkdir(exist_ok=True)
    path = folder / f"case{number}.{form}"
    if form == "npy":
        np.save(path, array)
    elif form == "npz":
        np.savez(path, array)
    elif form == "png":
        pytest.importorskip("PIL.Image").fromarray(array).save(path)
    elif form == "pt":
        torch = pytest.importorskip("torch")
        torch.save(torch.from_numpy(np.ascontiguousarray(array)), path)
    else:
        nibabel = pytest.importorskip("nibabel")
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), path)


@pytest.fixture
def folders(tmp_path):
    """A function that writes cases, and returns their two folders."""

    def write(
        cases, forms=("npy", "npy"), probs=lambda p: p, labels=lambda t: t, affines=(None,) * 2
    ):
        for i, (p, t) in enumerate(cases):
            save(tmp_path / "p", forms[0], i, probs(p), affines[0])
            save(tmp_path / "t", forms[1], i, labels(t), affines[1])
        return tmp_path / "p", tmp_path / "t"

    return write


def read(paths, mode="multiclass", **options):
    """The good cases, and why the others are none."""
    problems = {}
    good = list(checked_cases(Cases(*paths, **options), problems, output_mode=mode))
    return good, problems


def assert_equal(good, expected):
    expected = list(expected)
    assert len(good) == len(expected)
    for case, (probs, labels) in zip(good, expected, strict=True):
        np.testing.assert_allclose(case.probs, probs, atol=0.01)
        np.testing.assert_array_equal(case.labels, labels)


# The class axis in files


@pytest.mark.parametrize("form", ["npy", "npz", "pt"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "uint16"])
@pytest.mark.parametrize("spatial", SPATIAL)
def test_classes_last_are_refused_or_said(folders, form, dtype, spatial):
    if form == "pt" and dtype == "uint16":
        pytest.skip("not in every PyTorch")
    top = np.iinfo(dtype).max if dtype.startswith("u") else None

    def stored(probs):
        last = np.moveaxis(probs, 0, -1)
        return (np.rint(last * top) if top else last).astype(dtype)

    paths = folders(make_cases(spatial=spatial), (form, "npy"), stored)
    good, problems = read(paths)
    assert not good
    axis = len(spatial)
    for reason in problems.values():
        assert f"sum to 1 over axis {axis}, not over the class axis 0" in reason
        assert f"class_axis={axis}" in reason
    assert_equal(read(paths, class_axis=-1)[0], make_cases(spatial=spatial))


def sweep():
    """200 folders of a case, as people have them, with the options that they need."""
    rng = np.random.default_rng(0)
    for i in range(200):
        classes = int(rng.choice([2, 3, 5, 11, 19]))
        spatial = SPATIAL[i % len(SPATIAL)]
        ((probs, labels),) = make_cases(classes, spatial, 1, i, rng.choice([0.5, 1, 2, 5]))
        dtype = ("float32", "uint8", "float16", "float64", "uint16")[i % 5]
        if dtype.startswith("u"):
            probs = np.rint(probs * np.iinfo(dtype).max)
        if rng.random() < 0.3:
            labels[rng.random(spatial) < 0.1] = 255
        axis = int(rng.integers(0, len(spatial) + 1))
        options = {"class_axis": axis} if axis else {}
        dtype_of_labels = rng.choice(["uint8", "int16", "int64", "float32"])
        array = np.moveaxis(probs, 0, axis).astype(dtype)
        yield array, labels.astype(dtype_of_labels), options


def test_200_good_cases_are_read_without_a_false_alarm(tmp_path):
    refused = []
    for i, (probs, labels, options) in enumerate(sweep()):
        folder = tmp_path / str(i)
        folder.mkdir()
        np.savez(folder / "case.npz", probs=probs, labels=labels)
        good, problems = read((folder, folder), **options)
        refused += [(probs.shape, probs.dtype, problems)] if problems or len(good) != 1 else []
    assert not refused


def test_200_good_maps_of_one_structure_are_read_without_a_false_alarm(tmp_path):
    rng, refused = np.random.default_rng(1), []
    for i in range(200):
        spatial = SPATIAL[i % 2]
        ((probs, mask),) = make_maps(spatial, 1, i)
        probs = probs * rng.choice([1.0, 1.0, 0.3, 0.01])  # faint ones, and none at all
        dtype = ("float32", "uint8", "float16", "uint16")[i % 4]
        if dtype.startswith("u"):
            probs = np.rint(probs * np.iinfo(dtype).max)
        folder = tmp_path / str(i)
        folder.mkdir()
        np.savez(folder / "case.npz", probs=probs.astype(dtype), labels=mask)
        good, problems = read((folder, folder), "multilabel")
        refused += [(probs.shape, dtype, problems)] if problems or len(good) != 1 else []
    assert not refused


@pytest.mark.parametrize("shape", [(24, 32, 3), (3, 24, 32, 3), (24, 32, 1, 5), (16, 16, 2)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_predict_refuses_classes_last_and_names_the_option(tmp_path, shape, dtype):
    probs = softmax(np.random.default_rng(0).normal(size=shape), axis=-1)
    array = np.rint(255 * probs).astype(dtype) if dtype == "uint8" else probs.astype(dtype)
    np.save(tmp_path / "in.npy", array)
    arguments = ("predict", tmp_path / "in.npy", "-o", tmp_path / "out.npy")
    line = refuse(*arguments)
    assert f"--class-axis {len(shape) - 1}" in line
    printed(*arguments, "--class-axis", "-1")
    assert np.load(tmp_path / "out.npy").shape == shape[:-1]


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_independent_probabilities_need_multilabel(folders, tmp_path, classes):
    rng = np.random.default_rng(0)
    cases = [(p, p > 0.5) for p in rng.random((3, classes, 12, 15), np.float32)]
    paths = folders(cases)
    folders([(p, np.zeros((12, 15), np.uint8)) for p, _ in cases])
    good, problems = read(paths)
    assert not good
    assert all("output_mode='multilabel'" in reason for reason in problems.values())
    assert len(read(paths, activation="softmax")[0]) == 3
    line = refuse("evaluate", *paths)
    assert "--mode multilabel" in line
    assert "--no-check-sums" in line
    assert "3 cases" in printed("evaluate", *paths, "--no-check-sums")


# Percent and other scales


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32", "int64", "uint64"])
@pytest.mark.parametrize("kind", ["classes", "one"])
def test_percent_is_refused_and_said(folders, dtype, kind):
    make, mode = (make_cases, "multiclass") if kind == "classes" else (make_maps, "multilabel")
    paths = folders(make(), probs=lambda p: np.rint(100 * p).astype(dtype))
    good, problems = read(paths, mode)
    assert not good
    assert all("scale=" in reason for reason in problems.values())
    good, problems = read(paths, mode, scale=100)
    assert not problems
    for case, (probs, _) in zip(good, make(), strict=True):
        np.testing.assert_allclose(case.probs, probs.reshape(case.probs.shape), atol=0.006)


def test_what_is_meant_can_be_said(folders):
    """Values that end at 100 by chance."""
    paths = folders(make_maps(), probs=lambda p: np.rint(100 * p).astype(np.uint8))
    good, problems = read(paths, "multilabel", scale=255)
    assert not problems
    assert good[0].probs.max() < 0.4


@pytest.mark.parametrize("scale", [100, 255, 1000])
def test_floats_of_another_scale_are_refused(folders, scale):
    paths = folders(make_cases(), probs=lambda p: scale * p)
    assert all("must be in [0, 1]" in reason for reason in read(paths)[1].values())
    assert_equal(read(paths, scale=scale)[0], make_cases())


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint16", "uint8"])
def test_nothing_at_all_has_every_scale(folders, dtype):
    paths = folders(make_maps(), probs=lambda p: np.zeros(p.shape, dtype))
    assert not read(paths, "multilabel")[1]


# Masks, void, other labels


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float32"])
@pytest.mark.parametrize("form", ["npy", "npz", "png", "nii.gz"])
@pytest.mark.parametrize("spatial", [(12, 15), (24, 24)])
def test_masks_of_0_and_255_give_no_verdict(folders, dtype, form, spatial):
    if form == "png" and dtype != "uint8":
        pytest.skip("pictures of 8 bits")
    if form == "nii.gz" and dtype == "int64":
        pytest.skip("nibabel wants to be told")
    cases = list(make_cases(2, spatial))
    paths = folders(cases, ("npy", form), labels=lambda t: (255 * t).astype(dtype))
    order = {"labels_order": "xyz"} if form == "nii.gz" else {}
    with pytest.raises(ValueError, match=r"no label has class 1, .*label_map={255: 1}"):
        evaluate(Cases(*paths, **order))
    assert_equal(read(paths, label_map="255:1", **order)[0], cases)
    found = evaluate(Cases(*paths, label_map={255: 1}, **order))
    assert found.census.void == 0
    options = [x for name, value in order.items() for x in (f"--{name.replace('_', '-')}", value)]
    line = refuse("evaluate", *paths, *options)
    assert "--label-map 255:1 makes it class 1" in line
    assert "% of the pixels have the label 255" in line
    assert "void" in printed("evaluate", *paths, *options, "--void-index", "255")
    line = refuse("tune", *paths, *options, "-o", paths[0] / "out.toml", "--folds", "2")
    assert "--label-map 255:1" in line


def test_masks_of_faint_objects_give_no_verdict_either(folders):
    """What is void is mostly claimed by the background."""
    cases = [
        (np.stack([1 - p / 5, p / 5]), (np.random.default_rng(0).random(p.shape) < p / 5) * 255)
        for p, _ in make_maps()
    ]
    with pytest.raises(ValueError, match="no label has class 1"):
        evaluate(Cases(*folders(cases)))


@pytest.mark.parametrize("classes", [3, 5])
def test_a_class_that_is_void_is_noticed(folders, classes):
    cases = list(make_cases(classes, (24, 24)))
    paths = folders(cases, labels=lambda t: np.where(t == classes - 1, 255, t))
    if classes == 3:
        with pytest.raises(ValueError, match=f"no label has class {classes - 1}"):
            evaluate(Cases(*paths))
    folders(cases, labels=lambda t: np.where(t > 0, 255, t))
    with pytest.raises(ValueError, match="no label has class"):
        evaluate(Cases(*paths))
    assert evaluate(Cases(*paths), check_labels=False).census.absent == list(range(1, classes))


def test_a_border_of_void_and_a_missing_class_are_told_but_not_refused(folders):
    """As in a few images of VOC: the class is nowhere, and void is where objects meet."""
    cases = []
    for probs, labels in make_cases(6, (24, 24)):
        probs = probs * np.array([1, 1, 1, 1, 1, 0.05], np.float32)[:, None, None]
        labels = np.where(labels == 5, 0, labels)
        labels[::6] = 255
        cases.append((probs / probs.sum(axis=0), labels))
    text = printed("evaluate", *folders(cases))
    assert "17 % of the pixels are void" in text
    assert "no label has class 5" in text


def test_a_class_as_void_is_told(folders):
    paths = folders(make_cases())
    text = " ".join(printed("evaluate", *paths, "--void-index", "0").split())
    assert "--void-index 0 is a class too" in text
    assert "--ignore-class 0 leaves the class out of the means instead" in text
    assert "is a class too" not in printed("evaluate", *paths, "--ignore-class", "0")


@pytest.mark.parametrize("value", [2, 128, 200, -1, 1000])
def test_values_outside_are_refused_with_the_way_out(folders, value):
    paths = folders(make_cases(2), labels=lambda t: t.astype(np.int16) * value)
    reason = read(paths)[1]["case0"]
    assert f"found {value}" in reason
    assert f"label_map={{{value}: 1}}" in reason
    assert_equal(read(paths, label_map={value: 1})[0], make_cases(2))


@pytest.mark.parametrize("values", [(0, 255), (0, 1, 255)])
def test_masks_of_0_and_255_beside_maps_of_one_structure(folders, values):
    paths = folders(make_maps(), labels=lambda t: np.array(values, np.uint8)[t * (len(values) - 1)])
    if len(values) == 3:
        for i in range(3):
            mask = np.load(paths[1] / f"case{i}.npy")
            mask[:4] = 1
            np.save(paths[1] / f"case{i}.npy", mask)
    good, problems = read(paths, "multilabel")
    assert not good
    assert all("in [0, 2), found 255" in reason for reason in problems.values())
    assert ("label_map={255: 1}" in problems["case0"]) == (len(values) == 2)
    assert ("masks have no void" in problems["case0"]) == (len(values) == 3)
    assert len(read(paths, "multilabel", label_map="255:1")[0]) == 3


def test_labels_from_1(folders):
    paths = folders(make_cases(), labels=lambda t: t + 1)
    assert "found 3" in read(paths)[1]["case0"]
    assert_equal(read(paths, label_map="1:0,2:1,3:2")[0], make_cases())


def test_labels_in_colours(folders):
    palette = np.array([[0, 0, 0], [255, 0, 0], [0, 128, 255]], np.uint8)
    paths = folders(make_cases(), ("npy", "png"), labels=lambda t: palette[t])
    assert "label_map=" in read(paths)[1]["case0"]
    given = "#000000:0,#ff0000:1,#0080ff:2"
    assert_equal(read(paths, label_map=given)[0], make_cases())
    reason = read(paths, label_map="#000000:0,#ff0000:1")[1]["case0"]
    assert "colour #0080ff" in reason
    assert read(paths, label_map="#000000:0,#ff0000:1,*:255")[0][0].labels.max() == 255


def test_labels_of_floats_that_are_nearly_whole(folders):
    paths = folders(make_cases(), labels=lambda t: t + np.float32(1e-6))
    assert_equal(read(paths)[0], make_cases())
    paths = folders(make_cases(), labels=lambda t: t + np.float32(0.25))
    assert "found float32 with" in read(paths)[1]["case0"]


def test_labels_with_an_axis_of_channels(folders):
    assert_equal(read(folders(make_cases(), labels=lambda t: t[None]))[0], make_cases())


# Maps of one structure


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
@pytest.mark.parametrize("forms", [("npy", "npy"), ("npz", "png"), ("npy", "pt")])
@pytest.mark.parametrize("lead", [0, 1, 2])
def test_maps_with_masks_of_the_same_shape_are_one_class(folders, dtype, forms, lead):
    if forms[1] == "png" and lead == 2:
        pytest.skip("a picture has no such axis")

    def stored(probs):
        probs = probs if lead == 0 else probs[None]
        return (np.rint(255 * probs) if dtype == "uint8" else probs).astype(dtype)

    expected = [(p[None], t[None]) for p, t in make_maps()]
    paths = folders(make_maps(), forms, stored, lambda t: t[None] if lead == 2 else t)
    assert Cases(*paths).has_one_class()
    assert_equal(read(paths, "multilabel")[0], expected)
    text = printed("evaluate", *paths)
    assert "threshold, pruned" in text
    assert "3 cases" in text
    assert "has one class" in refuse("evaluate", *paths, "--mode", "multiclass")


@pytest.mark.parametrize("form", ["nii", "nii.gz"])
@pytest.mark.parametrize("mode", [(), ("--mode", "multilabel")])
def test_a_nifti_volume_of_one_structure(folders, tmp_path, form, mode):
    nibabel = pytest.importorskip("nibabel")
    affine = np.diag([2.0, 3, 4, 1])
    maps = list(make_maps((5, 6, 7)))
    paths = folders(maps, (form, form), affines=(affine, affine))
    assert_equal(read(paths, "multilabel")[0], [(p[None], t[None]) for p, t in maps])
    assert "threshold" in printed("evaluate", *paths, *mode)
    out = tmp_path / "out.nii.gz"
    printed("predict", paths[0] / f"case0.{form}", "-o", out, *mode)
    image = nibabel.load(out)
    expected = rankseg(maps[0][0][None, None], output_mode="multilabel")[0, 0]
    np.testing.assert_array_equal(np.asarray(image.dataobj), expected)
    np.testing.assert_array_equal(image.affine, affine)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_slices_of_a_nifti_volume_are_no_classes(folders, tmp_path, axis):
    maps = list(make_maps((5, 6, 7)))
    paths = folders(maps, ("nii.gz", "nii.gz"))
    good, problems = read(paths, "multilabel", class_axis=axis)
    assert not good
    assert all(f"leave class_axis={axis} out" in reason for reason in problems.values())
    options = ("--mode", "multilabel", "--class-axis", axis)
    arguments = ("predict", paths[0] / "case0.nii.gz", "-o", tmp_path / "out.nii.gz", *options)
    assert f"leave --class-axis {axis % 3} out" in refuse(*arguments)
    printed(*arguments, "--no-check-sums")


@pytest.mark.parametrize("axis", [0, -1])
def test_a_nifti_image_may_have_its_classes_third(folders, axis):
    cases = list(make_cases())
    paths = folders(cases, ("nii.gz", "npy"), lambda p: np.moveaxis(p, 0, axis))
    assert_equal(read(paths, class_axis=axis)[0], cases)
    assert_equal(read(paths)[0], cases)


def test_a_volume_of_one_structure_in_another_format_is_said(folders):
    maps = list(make_maps((5, 6, 7)))
    paths = folders(maps)
    assert "one_class=True" in read(paths)[1]["case0"] or "sums of" in read(paths)[1]["case0"]
    assert_equal(
        read(paths, "multilabel", one_class=True)[0], [(p[None], t[None]) for p, t in maps]
    )
    assert "--mode multilabel" in refuse("evaluate", *paths)
    assert "threshold" in printed("evaluate", *paths, "--binary")


@pytest.mark.parametrize("suffix", ["npy", "png"])
def test_predict_writes_masks_of_maps(tmp_path, suffix):
    image = pytest.importorskip("PIL.Image")
    ((probs, _),) = make_maps((24, 32), 1)
    expected = rankseg(probs[None, None], output_mode="multilabel")[0, 0]
    for name, array in {"plain": probs, "channel": probs[None]}.items():
        np.save(tmp_path / f"{name}.npy", array)
        out = tmp_path / f"{name}_out.{suffix}"
        printed(
            "predict", tmp_path / f"{name}.npy", "-o", out, "--compare", tmp_path / f"{name}.png"
        )
        found = np.asarray(image.open(out)) if suffix == "png" else np.load(out)
        np.testing.assert_array_equal(found.reshape(24, 32), expected)
    assert found.dtype == (np.uint8 if suffix == "png" else bool)


# Geometry


FLIPS = [(-1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, -1, 1), (-1, -1, -1)]
ORDERS = [(0, 1, 2), (1, 0, 2), (2, 1, 0), (1, 2, 0)]


def turned(labels, affine, flips, order):
    """The same voxels of the same world, stored with other axes."""
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for new, old in enumerate(order):
        matrix[old, new] = flips[old]
        matrix[old, 3] += (labels.shape[old] - 1) if flips[old] < 0 else 0
    indices = tuple(slice(None, None, flip) for flip in flips)
    return labels[indices].transpose(order), affine @ matrix


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("flips", FLIPS)
@pytest.mark.parametrize("form", ["nii", "nii.gz"])
def test_turned_labels_are_refused_or_turned_back(folders, flips, order, form):
    pytest.importorskip("nibabel")
    affine = np.array([[-1.5, 0, 0, 10], [0, -2, 0.1, 20], [0, 0.1, 3, -5], [0, 0, 0, 1]])
    cases = list(make_cases(spatial=(6, 6, 6)))
    other = turned(cases[0][1], affine, flips, order)[1]
    paths = folders(
        cases,
        (form, form),
        lambda p: np.moveaxis(p, 0, -1),
        lambda t: np.ascontiguousarray(turned(t, affine, flips, order)[0]),
        (affine, other),
    )
    good, problems = read(paths)
    assert not good
    assert all("another grid" in reason for reason in problems.values())
    assert all("reorient=True" in reason for reason in problems.values())
    good, problems = read(paths, reorient=True)
    assert not problems
    assert_equal(good, cases)


@pytest.mark.parametrize("shift", [(0.2, 0, 0), (0, 40, 0), (0, 0, -3)])
@pytest.mark.parametrize("zoom", [1.0, 1.2])
def test_labels_elsewhere_are_refused_in_any_case(folders, shift, zoom):
    pytest.importorskip("nibabel")
    there = np.diag([zoom, zoom, zoom, 1.0])
    there[:3, 3] = shift
    paths = folders(
        make_cases(spatial=(6, 6, 6)),
        ("nii.gz", "nii.gz"),
        lambda p: np.moveaxis(p, 0, -1),
        affines=(np.eye(4), there),
    )
    for reorient in (False, True):
        good, problems = read(paths, reorient=reorient)
        assert not good
        assert all("resample one of them" in reason for reason in problems.values())
    line = refuse("evaluate", *paths)
    assert "case0 and 2 more: labels lie on another grid" in line


@pytest.mark.parametrize("noise", [1e-6, 1e-4, 1e-3])
def test_affines_that_differ_by_rounding_are_one(folders, noise):
    pytest.importorskip("nibabel")
    affine = np.diag([1.5, 2, 3, 1]) + noise
    affine[3] = (0, 0, 0, 1)
    paths = folders(
        make_cases(spatial=(6, 6, 6)),
        ("nii.gz", "nii.gz"),
        lambda p: np.moveaxis(p, 0, -1),
        affines=(np.diag([1.5, 2, 3, 1]), affine),
    )
    assert_equal(read(paths)[0], make_cases(spatial=(6, 6, 6)))


@pytest.mark.parametrize("spatial", [(5, 6, 7), (6, 6, 6), (6, 5, 6), (12, 15)])
def test_arrays_of_nnunet_with_nifti_labels(folders, spatial):
    """Probabilities (class, z, y, x) in .npz, labels (x, y, z): right, or refused."""
    pytest.importorskip("nibabel")
    cases = list(make_cases(spatial=spatial))
    paths = folders(cases, ("npz", "nii.gz"), labels=lambda t: np.ascontiguousarray(t.T))
    good, problems = read(paths)
    if spatial[::-1] == spatial:
        assert not good
        assert all("labels_order='zyx'" in reason for reason in problems.values())
        assert "--labels-order zyx" in refuse("evaluate", *paths)
    else:
        assert_equal(good, cases)
    assert_equal(read(paths, labels_order="zyx")[0], cases)
    if spatial[::-1] == spatial:  # what nibabel reads
        folders(cases, ("npz", "nii.gz"))
        assert_equal(read(paths, labels_order="xyz")[0], cases)


def test_vectors_of_itk(folders, tmp_path):
    nibabel = pytest.importorskip("nibabel")
    cases = list(make_cases(spatial=(5, 6, 7)))
    paths = folders(cases, ("nii.gz", "nii.gz"), lambda p: np.moveaxis(p, 0, -1)[:, :, :, None])
    for file in paths[0].iterdir():
        image = nibabel.load(file)
        image.header.set_intent("vector")
        nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), None, image.header), file)
    assert_equal(read(paths)[0], cases)
    out = tmp_path / "out.nii.gz"
    printed("predict", paths[0] / "case0.nii.gz", "-o", out, "--class-axis", "-1")
    image = nibabel.load(out)
    assert image.shape == (5, 6, 7)
    assert image.header.get_intent()[0] == "none"
    np.testing.assert_array_equal(np.asarray(image.dataobj), rankseg(cases[0][0][None])[0])


@pytest.mark.parametrize("axis", [0, -1])
def test_the_class_axis_of_nifti_is_found_by_its_sums(folders, axis):
    pytest.importorskip("nibabel")
    cases = list(make_cases(spatial=(5, 6, 7)))
    order = {} if axis else {"labels": lambda t: t}
    paths = folders(cases, ("nii.gz", "npy"), lambda p: np.moveaxis(p, 0, axis), **order)
    assert_equal(read(paths)[0], cases)
    paths = folders([(p * 0.5, t) for p, t in cases], ("nii.gz", "npy"))
    assert "class_axis=-1" in read(paths)[1]["case0"]


def test_scaled_nifti_is_read_as_float32(folders):
    nibabel = pytest.importorskip("nibabel")
    from rankseg.io.reading import read_array

    cases = list(make_cases(spatial=(5, 6, 7)))
    paths = folders(cases, ("nii.gz", "npy"), lambda p: np.moveaxis(p, 0, -1))
    for file, (probs, _) in zip(sorted(paths[0].iterdir()), cases, strict=True):
        image = nibabel.Nifti1Image(np.moveaxis(probs, 0, -1), np.eye(4))
        image.set_data_dtype(np.uint16)
        nibabel.save(image, file)
    assert read_array(sorted(paths[0].iterdir())[0], None, ()).dtype == np.float32
    assert_equal(read(paths)[0], cases)


# Names and logits


def test_names_by_patterns(folders, tmp_path):
    paths = folders(make_cases())
    for folder, ending in zip(paths, ("_probs", "_mask"), strict=True):
        for i, file in enumerate(sorted(folder.iterdir())):
            inner = folder / f"city{i % 2}"
            inner.mkdir(exist_ok=True)
            file.rename(inner / f"frame{i}{ending}.npy")
    options = {"probs_pattern": "*/{}_probs", "labels_pattern": "**/{}_mask"}
    good, problems = read(paths, **options)
    assert not problems
    assert [case.name for case in good] == ["frame0", "frame1", "frame2"]
    assert_equal(good, make_cases())
    flags = ("--probs-pattern", "*/{}_probs", "--labels-pattern", "**/{}_mask")
    assert "3 cases" in printed("evaluate", *paths, *flags)
    assert "--labels-pattern must have {}" in refuse("evaluate", *paths, "--labels-pattern", "x")


def test_patterns_pass_over_other_files(folders):
    paths = folders(make_cases())
    np.save(paths[1] / "case0_other.npy", np.zeros(3))
    assert len(read(paths, labels_pattern="case{}", probs_pattern="case{}")[0]) == 3


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_logits(folders, activation):
    cases = list(make_cases())
    paths = folders(cases, probs=lambda p: np.log(p) + 3)
    assert "logits need" in read(paths)[1]["case0"]
    if activation == "softmax":
        assert_equal(read(paths, activation="softmax")[0], cases)
        assert "softmax turned logits" in printed("evaluate", *paths, "--activation", "softmax")
    else:
        assert "output_mode='multilabel'" in read(paths, activation="sigmoid")[1]["case0"]


@pytest.mark.parametrize("kind", ["softmax", "sigmoid", "masks"])
@pytest.mark.parametrize("shape", [(24, 32, 3), (40, 30, 1), (18, 16, 4), (24, 6, 8, 2)])
@pytest.mark.parametrize("batched", [False, True])
def test_classes_last_are_noticed_where_sums_do_not_tell(folders, tmp_path, kind, shape, batched):
    rng = np.random.default_rng(0)
    values = rng.random(shape) if kind == "masks" else rng.normal(size=shape)
    options = () if kind == "softmax" else ("--mode", "multilabel")
    options += () if kind == "masks" else ("--activation", kind)
    options += ("--batched",) if batched else ("--no-batched",)
    np.save(tmp_path / "in.npy", values[None] if batched else values)
    arguments = ("predict", tmp_path / "in.npy", "-o", tmp_path / "out.npy", *options)
    assert "--class-axis -1 says that they are last" in refuse(*arguments)
    if shape[-1] > 1 or kind != "softmax":
        printed(*arguments, "--class-axis", "-1")
    if not batched:
        paths = folders([(values, rng.random(shape) < 0.5)])
        read_as = {} if kind == "masks" else {"activation": kind}
        reason = read(paths, "multilabel", **read_as)[1]["case0"]
        assert "class_axis=-1 says that the classes are last" in reason
        if shape[-1] > 1 or kind != "softmax":
            assert len(read(paths, "multilabel", class_axis=-1, **read_as)[0]) == 1


def test_few_lines_of_many_classes_may_be_first(folders):
    cases = [(p, p > 0.5) for p in np.random.default_rng(0).random((3, 60, 7, 9), np.float32)]
    paths = folders(cases)
    assert "class_axis=0 that they are first" in read(paths, "multilabel")[1]["case0"]
    assert_equal(read(paths, "multilabel", class_axis=0)[0], cases)
    assert_equal(read(folders(make_cases(60, (7, 9))))[0], make_cases(60, (7, 9)))


@pytest.mark.parametrize("form", ["npy", "nii.gz"])
def test_one_class_has_no_softmax(folders, tmp_path, form):
    spatial = (12, 15) if form == "npy" else (5, 6, 7)
    paths = folders(make_maps(spatial), (form, form), lambda p: np.log(p / (1 - p)))
    for activation in ("softmax", "sigmoid"):
        good, problems = read(paths, "multilabel", activation=activation)
        command = ("predict", paths[0] / f"case0.{form}", "-o", tmp_path / f"out.{form}")
        options = ("--activation", activation)
        if activation == "softmax":
            assert not good
            assert all("activation='sigmoid' is for one" in r for r in problems.values())
            assert "--activation sigmoid is for one" in refuse(*command, *options)
        else:
            assert_equal(good, [(p[None], t[None]) for p, t in make_maps(spatial)])
            printed(*command, *options)


def test_the_class_axis_of_logits_in_nifti_is_said(folders):
    cases = list(make_cases(spatial=(5, 6, 7)))
    for axis in (0, -1):
        paths = folders(cases, ("nii.gz", "npy"), lambda p: np.moveaxis(np.log(p), 0, axis))  # noqa: B023
        assert "class_axis=-1" in read(paths, activation="softmax")[1]["case0"]
        assert_equal(read(paths, activation="softmax", class_axis=axis)[0], cases)


def test_integers_are_no_logits(folders):
    paths = folders(make_cases(), probs=lambda p: np.rint(255 * p).astype(np.uint8))
    assert "activation is for floating-point" in read(paths, activation="softmax")[1]["case0"]


def test_hidden_files_that_macos_leaves_are_no_cases(folders, tmp_path):
    from rankseg.integration.nnunet import saved_cases

    paths = folders(make_cases(), ("npz", "npy"))
    (paths[0] / "._case0.npz").write_bytes(b"not an archive")
    assert [path.name for path in saved_cases(paths[0])] == [f"case{i}.npz" for i in range(3)]
    assert_equal(read(paths)[0], make_cases())
    assert "3 of 3 files" in printed("predict", paths[0], "-o", tmp_path / "out")


def test_files_for_folders(folders):
    paths = folders(make_cases())
    line = refuse("evaluate", paths[0] / "case0.npy", paths[1] / "case0.npy")
    assert "is a file, not a folder" in line


@pytest.mark.parametrize("command", ["evaluate", "tune", "predict", "nnunet", "demo", "export"])
def test_every_help_has_an_example(command):
    text = printed(command, "--help")
    assert "Example" in text
    assert f"rankseg {command}" in text.partition("Usage")[2].partition("\n")[2]


def test_completion_is_there():
    assert "--install-completion" in printed("--help")
    assert commandline.run("--version").stdout.startswith("rankseg ")
