"""What is said of packages that are not installed."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from rankseg import extras
from rankseg.extras import how_to_install, optional_imports


@pytest.mark.parametrize("module", ["PIL", "PIL.Image"])
def test_a_missing_package_is_named_with_the_command(monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with (
        pytest.raises(ModuleNotFoundError, match=r'^PIL .* pip install "rankseg\[cli\]"$') as found,
        optional_imports(),
    ):
        import PIL.Image  # noqa: F401
    assert how_to_install(found.value) == str(found.value)


def test_other_packages_are_not_explained():
    with (
        pytest.raises(ModuleNotFoundError, match="No module named 'no_such_package'"),
        optional_imports(),
    ):
        import no_such_package  # noqa: F401
    assert how_to_install(ModuleNotFoundError("without a name")) is None


def test_extras_are_those_of_the_package():
    pyproject = Path(__file__).parents[1] / "pyproject.toml"
    known = tomllib.loads(pyproject.read_text())["project"]["optional-dependencies"]
    assert set(extras._EXTRAS.values()) <= set(known)


def test_reading_names_the_extra(tmp_path):
    code = (
        "import sys; sys.modules['nibabel'] = None; from pathlib import Path;"
        "from rankseg.io.reading import read_array; read_array(Path('a.nii'), None, ())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == (
        'ModuleNotFoundError: nibabel is not installed: pip install "rankseg[nifti]"'
    )
