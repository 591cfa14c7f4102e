"""Cases: found and read in folders, or given as arrays; and what is refused."""

import re
import sys

import numpy as np
import pytest

from rankseg.evaluation import Case, Cases, checked_cases

CLASSES, SHAPE = 3, (6, 8)


def make_case(seed=0, classes=CLASSES, shape=SHAPE):
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(classes), shape).astype(np.float32)
    return np.ascontiguousarray(np.moveaxis(probs, -1, 0)), rng.integers(
        0, classes, shape, dtype=np.uint8
    )


@pytest.fixture
def folders(tmp_path):
    """Two folders with the cases a and b."""
    probs, labels = tmp_path / "probs", tmp_path / "labels"
    probs.mkdir()
    labels.mkdir()
    for seed, name in enumerate("ab"):
        p, t = make_case(seed)
        np.save(probs / f"{name}.npy", p)
        np.save(labels / f"{name}.npy", t)
    return probs, labels


def assert_case(case, seed):
    probs, labels = make_case(seed)
    np.testing.assert_array_equal(case.probs, probs)
    np.testing.assert_array_equal(case.labels, labels)


def checked(cases, **options):
    problems = {}
    return list(checked_cases(cases, problems, **options)), problems


# Files


def test_two_folders_of_npy(folders):
    cases = Cases(*folders)
    assert cases.names == ("a", "b")
    assert len(cases) == 2
    for _ in range(2):  # again and again
        for seed, case in enumerate(cases):
            assert case.name == case.group == "ab"[seed]
            assert_case(case, seed)
    assert not cases.problems
    assert not cases.notes


@pytest.mark.parametrize("keys", [("probs", "label"), ("probabilities", "labels"), ("p", "t")])
def test_one_folder_of_npz_with_both(tmp_path, keys):
    probs, labels = make_case()
    np.savez(tmp_path / "a.npz", **dict(zip(keys, (probs, labels), strict=True)))
    named = {"probs_key": "p", "labels_key": "t"} if keys[0] == "p" else {}
    assert_case(next(iter(Cases(tmp_path, tmp_path, **named))), 0)


def test_the_only_array_of_an_npz_needs_no_name(folders, tmp_path):
    probs = make_case(0)[0]
    (folders[0] / "a.npy").unlink()
    np.savez(folders[0] / "a.npz", whatever=probs)
    assert_case(next(iter(Cases(*folders))), 0)


@pytest.mark.parametrize(
    ("key", "reason"), [(None, "name one of x, y"), ("z", "no array 'z' among x, y")]
)
def test_an_npz_without_the_array_is_a_problem(tmp_path, key, reason):
    np.savez(tmp_path / "a.npz", x=np.zeros(2), y=np.zeros(2))
    cases = Cases(tmp_path, tmp_path, probs_key=key)
    assert not list(cases)
    assert reason in cases.problems["a"]


def test_label_images(folders):
    image = pytest.importorskip("PIL.Image")
    (folders[1] / "a.npy").unlink()
    image.fromarray(make_case(0)[1]).save(folders[1] / "a.png")
    assert_case(next(iter(Cases(*folders))), 0)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_volumes(tmp_path, suffix):
    nibabel = pytest.importorskip("nibabel")
    probs, labels = make_case(shape=(4, 5, 6))
    for folder, array in (("p", np.moveaxis(probs, 0, -1)), ("t", labels.astype(np.float64))):
        (tmp_path / folder).mkdir()
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / folder / f"a{suffix}")
    (case,), problems = checked(Cases(tmp_path / "p", tmp_path / "t", class_axis=-1))
    assert not problems
    assert case.name == "a"
    np.testing.assert_array_equal(case.probs, probs)
    np.testing.assert_array_equal(case.labels, labels)
    assert case.labels.dtype.kind == "i"


@pytest.mark.parametrize(
    ("dtype", "scale", "divisor"),
    [("uint8", None, 255), ("uint16", None, 65535), ("uint8", 200, 200), ("float32", 100, 100)],
)
def test_scaled_probabilities(folders, dtype, scale, divisor):
    probs = make_case(0)[0]
    stored = probs * divisor if dtype == "float32" else np.rint(probs * divisor)
    np.save(folders[0] / "a.npy", stored.astype(dtype))
    cases = Cases(*folders, scale=scale)
    case = cases.read("a")
    assert case.probs.dtype == np.float32
    np.testing.assert_allclose(case.probs, probs, atol=0.5 / divisor + 1e-6)
    assert cases.notes == {f"probabilities were divided by {divisor}"}


def test_foreign_byte_order(folders):
    np.save(folders[0] / "a.npy", make_case(0)[0].astype(">f4"))
    (case, _), problems = checked(Cases(*folders))
    assert not problems
    assert_case(case, 0)


def test_masks_have_the_class_axis_of_the_probabilities(folders):
    probs = make_case(0)[0]
    np.save(folders[0] / "a.npy", np.moveaxis(probs, 0, -1))
    np.save(folders[1] / "a.npy", np.moveaxis(probs > 0.4, 0, -1))
    case = Cases(*folders, class_axis=-1).read("a")
    np.testing.assert_array_equal(case.labels, case.probs > 0.4)


@pytest.mark.parametrize(
    ("pattern", "group"), [("(anna|ben)_", "anna"), ("^[^_]+", "anna"), (r"(x)|_(\d)", "1")]
)
def test_groups(tmp_path, pattern, group):
    probs, label = make_case()
    np.savez(tmp_path / "anna_1.npz", probs=probs, label=label)
    assert next(iter(Cases(tmp_path, tmp_path, group=pattern))).group == group


def test_a_name_without_group_is_a_problem(folders):
    (case,), problems = checked(Cases(*folders, group="a"))
    assert case.name == "a"
    assert problems == {"b": "group 'a' does not match the name"}


def test_names_without_partner_are_problems(folders):
    (folders[0] / "b.npy").unlink()
    (folders[1] / "a.npy").rename(folders[1] / "c.npy")
    cases = Cases(*folders)
    assert not cases.names
    assert list(cases.problems) == ["a", "b", "c"]
    assert cases.problems == {
        "a": "there are probabilities but no labels of this name",
        "b": "there are labels but no probabilities of this name",
        "c": "there are labels but no probabilities of this name",
    }


def test_two_files_of_one_name_are_a_problem(folders):
    np.savez(folders[0] / "a.npz", probs=make_case()[0])
    cases = Cases(*folders)
    assert cases.names == ("b",)
    assert cases.problems == {"a": "a.npy and a.npz have the same name"}


def test_other_files_are_passed_over(folders):
    (folders[0] / "readme.txt").touch()
    (folders[1] / ".hidden.npy").touch()
    cases = Cases(*folders)
    assert cases.names == ("a", "b")
    assert not cases.problems


@pytest.mark.parametrize(
    "content", [b"", b"no array", b"PK\x03\x04damaged", b"\x93NUMPY\x01\x00v\x00{'descr'"]
)
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".nii", ".nii.gz"])
def test_damaged_files_are_problems(folders, content, suffix):
    if suffix.startswith(".nii"):
        pytest.importorskip("nibabel")
    (folders[0] / "a.npy").unlink()
    (folders[0] / f"a{suffix}").write_bytes(content)
    cases = Cases(*folders)
    assert [case.name for case in cases] == ["b"]
    assert cases.problems["a"].startswith(f"a{suffix} cannot be read: ")


def test_a_pickle_is_not_opened(folders):
    np.save(folders[0] / "a.npy", np.array([print], dtype=object), allow_pickle=True)
    np.savez(folders[1] / "b.npz", np.array([print], dtype=object))
    (folders[1] / "b.npy").unlink()
    good, problems = checked(Cases(*folders))
    assert not good
    assert problems.keys() == {"a", "b"}


def test_a_missing_package_is_no_problem_of_the_file(folders, monkeypatch):
    (folders[0] / "a.npy").rename(folders[0] / "a.nii.gz")
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "rankseg\[nifti\]"'):
        list(checked_cases(Cases(*folders), {}))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"scale": 0}, ValueError, "scale must be positive"),
        ({"scale": -1}, ValueError, "scale must be finite"),
        ({"scale": "1"}, TypeError, "scale must be a real number"),
        ({"class_axis": 0.0}, TypeError, "integer"),
        ({"group": "("}, ValueError, "group must be a regular"),
    ],
)
def test_wrong_arguments(folders, options, error, message):
    with pytest.raises(error, match=message):
        Cases(*folders, **options)


def test_no_such_folder(tmp_path):
    with pytest.raises(NotADirectoryError, match="nowhere"):
        Cases(tmp_path / "nowhere", tmp_path)


def test_the_description_names_every_setting(folders):
    assert repr(Cases(*folders, group="a+")) != repr(Cases(*folders))
    assert str(folders[1]) in repr(Cases(*folders))


# Arrays, and what every case must be


def test_every_form_of_a_case_in_memory():
    probs, labels = make_case()
    given = [(probs, labels), ("x", probs, labels), Case("y", probs, labels, "g")]
    good, problems = checked(given)
    assert not problems
    assert [(case.name, case.group) for case in good] == [("0", "0"), ("x", "x"), ("y", "g")]


@pytest.mark.parametrize("item", [3, (1,), "probs"])
def test_something_else_is_an_error_at_once(item):
    with pytest.raises(TypeError, match="cases must hold"):
        checked([item])


def test_tensors_come_as_numpy_arrays():
    torch = pytest.importorskip("torch")
    probs, labels = make_case()
    tensor = torch.from_numpy(probs).bfloat16().requires_grad_()
    (case,), problems = checked([(tensor, torch.from_numpy(labels))])
    assert not problems
    assert isinstance(case.probs, np.ndarray)
    np.testing.assert_array_equal(case.probs, tensor.detach().float().numpy())
    np.testing.assert_array_equal(case.labels, labels)


def test_void_pixels_and_whole_floats_are_labels():
    probs, labels = make_case()
    labels[0, 0] = 255
    for dtype in (np.uint8, np.int64, np.float32):
        (case,), problems = checked([(probs, labels.astype(dtype))])
        assert not problems
        assert case.labels.dtype.kind in "iu"
        np.testing.assert_array_equal(case.labels, labels)


def test_masks_in_multilabel():
    probs, _ = make_case()
    for dtype in (bool, np.uint8, np.float32):
        (case,), problems = checked(
            [(probs, (probs > 0.5).astype(dtype))], output_mode="multilabel"
        )
        assert not problems
        assert case.labels.dtype == bool


def wrong(**change):
    probs, labels = make_case()
    return {"probs": probs, "labels": labels} | change


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (
            wrong(probs=make_case(shape=(6, 9))[0]),
            r"labels have shape \(6, 8\), expected \(6, 9\) beside",
        ),
        (wrong(probs=make_case(classes=4)[0]), "probs have 4 classes, the cases before have 3"),
        (wrong(probs=make_case()[0] * 3), "in \\[0, 1\\]"),
        (wrong(probs=make_case()[0] * np.nan), "finite"),
        (wrong(probs=make_case()[0].astype(int)), "float"),
        (wrong(probs=make_case()[0].ravel()), r"\(class, \*spatial\)"),
        (wrong(probs=[0.5]), "arrays, found list and ndarray"),
        (wrong(labels=make_case()[1] + 2), r"in \[0, 3\) or void \(255\), found [34]"),
        (wrong(labels=make_case()[1].astype(int) - 1), "found -1"),
        (wrong(labels=make_case()[1] + 0.5), "whole numbers, found float64"),
        (wrong(labels=make_case()[0]), r"labels have shape \(3, 6, 8\)"),
    ],
)
def test_a_wrong_case_is_left_out_with_its_reason(case, reason):
    good, problems = checked([("first", *make_case()), ("wrong", *case.values()), make_case(1)])
    assert [case.name for case in good] == ["first", "2"]
    assert problems.keys() == {"wrong"}
    assert re.search(reason, problems["wrong"])


def test_of_two_cases_with_one_name_the_first_counts():
    good, problems = checked([("x", *make_case(0)), ("x", *make_case(1))])
    assert_case(good[0], 0)
    assert len(good) == 1
    assert "several" in problems["x"]


def test_skipped_files_are_not_read(folders):
    (folders[0] / "a.npy").write_bytes(b"would be a problem")
    good, problems = checked(Cases(*folders), skip={"a"})
    assert [case.name for case in good] == ["b"]
    assert not problems
