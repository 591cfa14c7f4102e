"""Files that appear whole or not at all, and arrays written part by part."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from rankseg.io.labels import LabelMap, class_names
from rankseg.io.replacing import check_target, replacing
from rankseg.io.writing import write_npy


def loaded_by(statement):
    """Return the modules that a fresh Python has after a statement."""
    code = f"import sys; {statement}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_files_need_numpy_only_and_are_no_part_of_the_import_of_the_library():
    assert "rankseg.io" not in loaded_by("import rankseg")
    modules = "rankseg.io.reading, rankseg.io.writing, rankseg.io.replacing"
    further = loaded_by(f"import {modules}") - loaded_by("import rankseg")
    third_party = {name.partition(".")[0] for name in further} - set(sys.stdlib_module_names)
    assert third_party == {"rankseg"}


# Whole or not


def test_a_file_appears_under_its_name_at_the_end(tmp_path):
    path = tmp_path / "result"
    with replacing(path, overwrite=False) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path
        assert not path.exists()
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["result"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError])
def test_a_block_that_ends_early_changes_nothing(tmp_path, failure):
    (tmp_path / "result").write_text("old")
    with pytest.raises(failure), replacing(tmp_path / "result", overwrite=True) as temporary:
        temporary.write_text("half")
        raise failure
    assert (tmp_path / "result").read_text() == "old"
    assert os.listdir(tmp_path) == ["result"]


def test_an_older_file_is_replaced_only_if_asked(tmp_path):
    path = tmp_path / "result"
    path.write_text("old")
    with pytest.raises(FileExistsError, match="result: exists already"), replacing(path, False):
        pytest.fail("the block was entered")
    with replacing(path, True) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


def test_of_a_link_the_file_is_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "file")
    with replacing(tmp_path / "link", overwrite=True) as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "file").read_text() == "new"


def test_names_that_no_file_can_have(tmp_path, monkeypatch):
    with pytest.raises(IsADirectoryError, match="is a folder"):
        check_target(tmp_path, overwrite=True)
    with pytest.raises(FileNotFoundError, match="none: no such folder"):
        check_target(tmp_path / "none" / "result", overwrite=False)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(PermissionError, match="folder is not writable"):
        check_target(tmp_path / "result", overwrite=False)


# Part by part


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, bool])
def test_an_array_in_parts_is_the_file_that_numpy_writes(tmp_path, dtype):
    array = np.arange(60).reshape(5, 3, 4).astype(dtype)
    np.save(tmp_path / "whole.npy", array)
    parts = (part.astype(np.int64) for part in np.split(array, [1, 4]))
    write_npy(tmp_path / "parts.npy", parts, array.shape, array.dtype)
    assert (tmp_path / "parts.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


def full(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="not on this system")
def test_a_full_disk_is_an_error_before_any_part(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        write_npy(tmp_path / "x.npy", iter(()), (5,), np.dtype(np.uint8))


@pytest.mark.parametrize("free", [132, 133])
def test_a_full_disk_is_an_error_where_room_cannot_be_reserved(tmp_path, monkeypatch, free):
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    usage = shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    path, parts = tmp_path / "x.npy", [np.arange(5, dtype=np.uint8)]
    if free == 133:  # a header of 128 bytes, and five
        write_npy(path, parts, (5,), np.dtype(np.uint8))
        assert path.stat().st_size == 133
    else:
        with pytest.raises(OSError, match="No space left"):
            write_npy(path, parts, (5,), np.dtype(np.uint8))


# Labels of other numbers, and names


@pytest.mark.parametrize(
    ("given", "labels", "expected"),
    [
        ("255:1", [0, 255], [0, 1]),
        ({255: 1}, [0, 255], [0, 1]),
        ({"255": 1}, [0, 255], [0, 1]),
        (" 1:0, 2:1 ", [1, 2], [0, 1]),
        ("1-3:1", [0, 1, 2, 3, 4], [0, 1, 1, 1, 4]),
        ("-1:255", [-1, 0], [255, 0]),
        ("7:0,*:255", [7, 0, 3], [0, 255, 255]),
        ("cityscapes", [0, 7, 33, 11, 29], [255, 0, 18, 2, 255]),
        ("1:2,2:1", [1, 2, 2], [2, 1, 1]),
        ("1:0", [1.0, 2.0], [0, 2]),
    ],
)
@pytest.mark.parametrize("shape", [(1, -1), (-1,), (-1, 1, 1)])
@pytest.mark.parametrize("dtype", [None, "uint8", "uint16"])
def test_labels_that_are_to_be_others(given, labels, expected, shape, dtype):
    labels = np.array(labels, dtype if min(labels) >= 0 else None)
    found = LabelMap.parse(given)(labels.reshape(shape))
    np.testing.assert_array_equal(found, np.array(expected).reshape(shape))
    assert found.dtype.itemsize == 1


def test_new_labels_take_little_room():
    for new, dtype in ((255, "uint8"), (256, "uint16"), (-1, "int16"), (70_000, "uint32")):
        assert LabelMap({1: new})(np.array([0, 1], np.uint8)).dtype == dtype
    assert LabelMap({1: 2})(np.zeros((0, 3), np.uint8)).shape == (0, 3)


def test_a_map_of_labels_in_a_file(tmp_path):
    (tmp_path / "map.txt").write_text("1:0\n2:1\n")
    (tmp_path / "map.json").write_text('{"1": 0, "2": 1}')
    (tmp_path / "list.json").write_text("[1]")
    for name in ("map.txt", "map.json"):
        assert LabelMap.parse(str(tmp_path / name))(np.array([1, 2])).tolist() == [0, 1]
    with pytest.raises(ValueError, match="label_map must be an object"):
        LabelMap.parse(str(tmp_path / "list.json"))
    (tmp_path / "half.json").write_text("{")
    with pytest.raises(ValueError, match=r"half\.json is not JSON: Expecting"):
        LabelMap.parse(str(tmp_path / "half.json"))
    with pytest.raises(ValueError, match=r"half\.json is not JSON: Expecting"):
        class_names(str(tmp_path / "half.json"))


@pytest.mark.parametrize("alpha", [3, 4])
def test_colours_are_labels(alpha):
    picture = np.zeros((2, 3, alpha), np.uint8)
    picture[0, 1, :3] = (255, 16, 1)
    found = LabelMap.parse("#000000:0,#FF1001:7")(picture)
    assert found.tolist() == [[0, 7, 0], [0, 0, 0]]
    with pytest.raises(ValueError, match="uint8 pictures in RGB"):
        LabelMap.parse("#000000:0")(picture[..., 0].T)


@pytest.mark.parametrize(
    "given", ["1", "a:1", "1:b", "#12:1", "1:0,#000000:1", "", "*:1", "5-1:0", {1.5: 0}, {"x": 0}]
)
def test_wrong_maps_of_labels(given):
    with pytest.raises(ValueError, match="label_map must"):
        LabelMap.parse(given)


def test_labels_between_whole_numbers_have_no_other():
    with pytest.raises(ValueError, match=r"whole numbers, found 0\.5"):
        LabelMap.parse("1:0")(np.array([0.5]))


def test_names_of_classes(tmp_path):
    files = {
        "lines.txt": "sky\n road \n\n",
        "list.json": '["sky", "road"]',
        "numbers.json": '{"1": "road", "0": "sky"}',
        "dataset.json": '{"labels": {"sky": 0, "road": 1, "ignore": 2}}',
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        assert class_names(str(tmp_path / name)) == ("sky", "road")
    assert class_names("sky, road") == class_names(["sky", "road"]) == ("sky", "road")
    for text in ('{"a": "sky"}', '"sky"'):
        (tmp_path / "wrong.json").write_text(text)
        with pytest.raises(ValueError, match=r"wrong\.json: class_names must be"):
            class_names(str(tmp_path / "wrong.json"))
