"""Files that appear whole or not at all, and arrays written part by part."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

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
