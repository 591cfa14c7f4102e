"""What is installed is what stands in the source tree: slow, in a tox environment of its own."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

for package in ("build", "mypy", "pyright", "setuptools"):
    pytest.importorskip(package)

ROOT = Path(__file__).parents[1]
IGNORED = shutil.ignore_patterns(
    *(".git", ".tox", ".venv", ".hypothesis", ".*_cache", "__pycache__"),
    *("build", "dist", "_build", "*.egg-info"),
)
MODULES = {
    *(f"rankseg/{path.relative_to(ROOT / 'rankseg')}" for path in ROOT.glob("rankseg/**/*.py")),
    *(f"rankseg/{path.relative_to(ROOT)}" for path in ROOT.glob("export/**/*.py")),
    "rankseg/evaluation/report/page.html",
    "rankseg/py.typed",
}


def run(*command, cwd=None):
    """Run a command without what this environment says of Python; return what it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=kept, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def succeed(*command, cwd=None):
    code, output = run(*command, cwd=cwd)
    assert code == 0, output
    return output


@pytest.fixture(scope="module", params=["link", "text"])
def tree(request, tmp_path_factory):
    """A clean copy of the tree; "text" is what a clone with core.symlinks=false has of a link."""
    tree = tmp_path_factory.mktemp(request.param) / "tree"
    shutil.copytree(ROOT, tree, ignore=IGNORED, symlinks=True)
    link = tree / "rankseg" / "export"
    if request.param == "text":
        target = os.readlink(link) if link.is_symlink() else "../export"
        link.unlink(missing_ok=True)
        link.write_text(target)
    return tree


@pytest.fixture(scope="module")
def built(tree):
    """The sdist of the tree, and the wheel that is built from that sdist."""
    succeed(sys.executable, "-m", "build", "--no-isolation", tree)
    return tree / "dist"


def test_the_wheel_of_the_sdist_has_every_module_of_the_tree(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith("rankseg/")}
    assert names == MODULES


def test_the_wheel_of_the_tree_has_every_module_of_the_tree(tree, tmp_path):
    succeed(sys.executable, "-m", "build", "--no-isolation", "--wheel", "-o", tmp_path, tree)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith("rankseg/")}
    assert names == MODULES


def test_the_sdist_has_all_that_its_tests_and_documentation_need(built, tree):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    skipped = ("rankseg/export", "rankseg.egg-info", "dist", "build")
    expected = {
        path.relative_to(tree).as_posix()
        for path in tree.rglob("*")
        if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts
    }
    missing = {name for name in expected - names if not name.startswith(skipped)}
    assert missing == set()


def test_an_index_shows_no_relative_link(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("dist-info/METADATA"))
        text = archive.read(name).decode()
    assert "# rankseg" in text
    assert not re.findall(r"\]\((?!https?://)", text)


PROGRAM = """\
from typing import Any

import numpy as np
from rankseg import RankSEG
from rankseg.export import append_rma
from rankseg.functional import rankseg
from rankseg.integration.transformers import postprocess

probs = np.full((1, 2, 8, 8), 0.5, dtype=np.float32)
segment = RankSEG(metric="dice")
labels = rankseg(probs, metric="dice")
untyped: Any = probs


class Tensor:
    pass


"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The Python of a fresh environment with an editable install."""
    folder = tmp_path_factory.mktemp("editable")
    shutil.copytree(ROOT, folder / "tree", ignore=IGNORED, symlinks=True)
    succeed(sys.executable, "-m", "venv", folder / "venv")
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    succeed(python, "-m", "pip", "install", "--quiet", "-e", folder / "tree")
    return python


@pytest.fixture(params=["mypy", "pyright"])
def check(request, installed, tmp_path):
    """Type-check a line behind the program; the exit code and what was said come back."""

    def check(line=""):
        (tmp_path / "program.py").write_text(PROGRAM + line)
        option = {"mypy": "--python-executable", "pyright": "--pythonpath"}[request.param]
        tool = [sys.executable, "-m", request.param, option, installed, "program.py"]
        return run(*tool, cwd=tmp_path)

    return check


def test_an_editable_install_imports_from_anywhere(installed, tmp_path):
    program = "import rankseg.export; print(rankseg.__version__)"
    assert succeed(installed, "-c", program, cwd=tmp_path).strip() != "0+unknown"


def test_type_checkers_find_an_editable_install(check):
    code, output = check("reveal_type(segment)")
    assert code == 0, output
    assert "RankSEG" in output


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ('rankseg(probs, metric="dicee")', "overload"),
        ('RankSEG(metric="dicee")', "dice"),
        ("segment.nothing", "nothing"),
    ],
)
def test_type_checkers_catch_mistakes(check, line, word):
    code, output = check(line)
    assert code == 1, output
    assert word in output


@pytest.mark.parametrize(
    "call", ["rankseg({}, metric='dice')", "segment({})", "RankSEG().predict({})"]
)
@pytest.mark.parametrize(
    ("array", "library"), [("probs", "ndarray"), ("Tensor()", "Tensor"), ("untyped", "Any")]
)
def test_type_checkers_know_the_library_of_a_result(check, call, array, library):
    code, output = check(f"reveal_type({call.format(array)})")
    assert code == 0, output
    (line,) = (line for line in output.splitlines() if re.search("[Tt]ype .*is", line))
    assert re.search(rf"\b{library}\b", re.split(r"\bis ", line)[1])
