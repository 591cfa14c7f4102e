"""Files that appear whole or not at all."""

import os

import pytest

from rankseg.files import check_target, replacing


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
