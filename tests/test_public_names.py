"""The page of public names and the packages: each has the names of the other."""

import re
from importlib import import_module
from pathlib import Path

import pytest

from rankseg.extras import how_to_install

API = Path(__file__).parents[1] / "docs" / "api"
PAGE = (API / "public-names.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(rankseg[\w.]*)` \| (.+) \|$", PAGE, re.MULTILINE)
NAMES = {module: re.findall(r"`(\w+)`", names) for module, names in ROWS}


def found(module, name):
    """Return what a module has under a name, unless it needs a package that is not installed."""
    try:
        return getattr(import_module(module), name, None)
    except ModuleNotFoundError as error:
        if how_to_install(error) is None:
            raise
        pytest.skip(str(error))


@pytest.mark.parametrize(
    "module, name", [(module, name) for module, names in NAMES.items() for name in names]
)
def test_a_name_of_the_page_can_be_imported(module, name):
    assert found(module, name) is not None


@pytest.mark.parametrize("module", NAMES)
def test_a_name_that_a_module_exports_is_on_the_page(module):
    exported = found(module, "__all__")
    assert exported is None or sorted(exported) == sorted(NAMES[module])


@pytest.mark.parametrize("page", sorted(API.glob("*.md")), ids=lambda page: page.stem)
def test_a_name_that_is_documented_is_on_the_page(page):
    directive = r"^\.\. auto(?:class|function):: (?:[\w.]+\.)?(\w+)"
    members = re.findall(r"^\.\. automodule:: .+\n +:members: (.+)$", page.read_text("utf-8"), re.M)
    names = re.findall(directive, page.read_text("utf-8"), re.M)
    names += [name for line in members for name in line.split(", ")]
    assert {*names} <= {*re.findall(r"`(\w+)`", PAGE)}


def test_the_page_has_the_modules_of_the_reference():
    assert len(NAMES) > 10
    assert {"rankseg", "rankseg.functional", "rankseg.export"} < NAMES.keys()
