"""The package as a whole: what importing it costs, its names, and its examples."""

import doctest
import importlib
import inspect
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import fields
from importlib import metadata, resources
from importlib.util import find_spec
from pathlib import Path

import pytest

import rankseg
from rankseg import functional
from rankseg.settings import Settings

SOURCE = Path(rankseg.__file__).parent

HEAVY = [
    "torch",
    "cupy",
    "jax",
    "dask",
    "scipy",
    "onnx",
    "onnxruntime",
    "nibabel",
    "monai",
    "transformers",
    "torchvision",
    "typer",
    "rich",
    "matplotlib",
]
MODULES = [
    found.name
    for found in pkgutil.walk_packages(rankseg.__path__, "rankseg.")
    if not found.name.endswith("__main__")  # importing it runs it
]


def loaded_by(statement):
    """Return the top-level names of the modules that a fresh Python loads for a statement."""
    code = f"import sys; before = set(sys.modules); {statement}; print(*set(sys.modules) - before)"
    run = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in run.stdout.split()}


@pytest.mark.parametrize(
    "module", ["rankseg", "rankseg.functional", "rankseg.metrics", "rankseg.evaluation"]
)
def test_importing_the_library_loads_no_other_array_library_or_extra(module):
    assert loaded_by(f"import {module}").isdisjoint(HEAVY)


def test_importing_the_library_loads_its_two_dependencies_only():
    third_party = loaded_by("import numpy, rankseg") - loaded_by("import numpy")
    assert third_party - set(sys.stdlib_module_names) == {"rankseg", "array_api_compat"}


def test_using_it_with_numpy_loads_no_other_array_library():
    statement = "import numpy, rankseg; rankseg.RankSEG()(numpy.full((1, 2, 3), 0.5))"
    assert loaded_by(statement).isdisjoint(HEAVY)


@pytest.mark.parametrize("installed", ["1.2.3", None])
def test_the_version_is_that_of_the_installed_metadata(monkeypatch, installed):
    def version(name):
        assert name == "rankseg"
        if installed is None:
            raise metadata.PackageNotFoundError(name)
        return installed

    with monkeypatch.context() as patch:
        patch.setattr(metadata, "version", version)
        found = importlib.reload(rankseg).__version__
    importlib.reload(rankseg)
    assert found == (installed or "0+unknown")


@pytest.mark.parametrize(
    "name",
    [
        "RankSEG",
        "RefinedNormal",
        "RefinedNormalPB",
        "__version__",
        "distribution",
        "functional",
        "rankdice_ba",
        "rankseg_rma",
        "thresholds",
    ],
)
def test_public_names_are_exported(name):
    assert hasattr(rankseg, name)
    assert name in rankseg.__all__


def test_the_function_and_the_modules_are_there_after_a_plain_import():
    code = (
        "import rankseg; rankseg.metrics.dice; from rankseg import rankseg as f;"
        "import rankseg.functional; print(rankseg.rankseg is f is rankseg.functional.rankseg)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_every_exported_name_exists_once():
    assert all(hasattr(rankseg, name) for name in rankseg.__all__)
    assert len(set(rankseg.__all__)) == len(rankseg.__all__)


COMMON = {
    "metric": "dice",
    "smooth": 0.0,
    "output_mode": "multiclass",
    "solver": None,  # which is RMA, as there, but suits the accuracy too
    "pruning_prob": 0.5,
}
BA = {"solver": "BA", "smooth": 0.0, "eps": 1e-4, "pruning_prob": 0.5}
RMA = {"unassigned_policy": "max_score", "void_index": 255, "safe_screening": False}


@pytest.mark.parametrize(
    ("function", "first", "defaults", "further"),
    [
        (rankseg.RankSEG, [], COMMON, "solver_params"),
        (functional.rankseg, ["probs"], COMMON, "solver_params"),
        (
            rankseg.rankseg_rma,
            ["probs"],
            {name: value for name, value in COMMON.items() if name != "solver"} | RMA,
            None,
        ),
        (rankseg.rankdice_ba, ["probs"], BA, None),
    ],
)
def test_arguments_have_the_order_and_the_defaults_of_the_published_package(
    function, first, defaults, further
):
    parameters = inspect.signature(function).parameters
    positional = {n: p.default for n, p in parameters.items() if p.kind == p.POSITIONAL_OR_KEYWORD}
    assert list(positional) == first + list(defaults)
    assert {name: positional[name] for name in defaults} == defaults
    assert [n for n, p in parameters.items() if p.kind == p.VAR_KEYWORD] == [further] * bool(
        further
    )


def _spelled_defaults():
    """Yield each public callable with its defaults of settings."""
    from rankseg import evaluation, metrics
    from rankseg.calibration import Calibration
    from rankseg.config import Config

    yield "Config", Config
    yield "Calibration", Calibration.__call__
    for module in (evaluation, metrics):
        for name in module.__all__:
            if callable(getattr(module, name)):
                yield name, getattr(module, name)
    for name in ("RankSEG", "rankseg", "rankseg_rma", "rankdice_ba", "thresholds"):
        yield name, getattr(rankseg, name)
    if find_spec("torch"):
        from rankseg.integration.torch import RankSEGModule

        yield "RankSEGModule", RankSEGModule
    if find_spec("onnx"):
        from rankseg import export

        for name in export.__all__:
            if callable(getattr(export, name)):
                yield name, getattr(export, name)


def test_public_signatures_have_the_defaults_of_the_settings():
    names = {field.name for field in fields(Settings)}
    seen = 0
    for name, function in _spelled_defaults():
        for parameter in inspect.signature(function).parameters.values():
            if parameter.name in names and parameter.default is not parameter.empty:
                if (name, parameter.name) == ("rankdice_ba", "solver"):
                    continue  # which is for BA and TRNA alone
                if parameter.default is None and parameter.name in ("pruning_prob", "correlation"):
                    continue  # several are tried
                assert parameter.default == getattr(Settings, parameter.name), (name, parameter)
                seen += 1
    assert seen > 20


def test_how_an_array_is_worked_on_is_asked_in_one_module():
    asking = [
        path.name
        for path in SOURCE.rglob("*.py")
        if re.search(r"\bkind_of\(|(?:source|rows)\.kind\b", path.read_text())
        and "export" not in path.parts
    ]
    # gpu, metrics and outputs have no rows
    names = ["arrays.py", "gpu.py", "metrics.py", "outputs.py", "rows.py"]
    assert sorted(asking) == names


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_are_true(name):
    module = pytest.importorskip(name)
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    "function",
    [
        functional.rankseg,
        rankseg.rankdice_ba,
        rankseg.rankseg_rma,
        rankseg.thresholds,
        rankseg.RankSEG,
    ],
)
def test_public_functions_show_an_example(function):
    assert ">>>" in function.__doc__


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_for(name):
    assert pytest.importorskip(name).__doc__


def test_the_package_can_be_vendored_under_another_name(tmp_path):
    ignore = shutil.ignore_patterns("__pycache__")
    source = Path(rankseg.__file__).parent
    shutil.copytree(source, tmp_path / "host" / "_vendored", ignore=ignore)
    (tmp_path / "host" / "__init__.py").touch()
    program = (
        "import sys, numpy as np\n"
        "from host._vendored import RankSEG\n"
        "from host._vendored.metrics import expected_dice\n"
        "print(RankSEG(output_mode='multilabel')(np.array([[[0.6, 0.45, 0.1]]])).tolist())\n"
        "print('rankseg' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[[[True, True, False]]]\nFalse\n"


def test_the_package_is_marked_as_typed():
    assert resources.files("rankseg").joinpath("py.typed").is_file()


ROOT = Path(__file__).parents[1]


def test_every_folder_of_modules_is_installed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = settings["tool"]["setuptools"]["packages"]
    folders = {
        path.parent.relative_to(base).as_posix().replace("/", ".")
        for base, folder in ((ROOT, "rankseg"), (ROOT, "export"))
        for path in (base / folder).rglob("*.py")
    }
    found = {re.sub(r"^export", "rankseg.export", name) for name in folders}
    assert sorted(packages) == sorted(found)


def test_what_an_index_shows_is_said_by_the_readme_too():
    readme, description = (
        (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "DESCRIPTION.md")
    )
    assert "](" not in description  # a relative link leads nowhere on an index
    paragraphs = description.strip().split("\n\n")
    assert [part for part in paragraphs if part not in readme] == [
        "The source distribution has the rest: README.md, the guides in docs/, the tests and the "
        "benchmarks."
    ]


def test_the_version_is_the_same_wherever_it_stands():
    version, citation, changelog = (
        re.search(pattern, (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)[1]
        for name, pattern in (
            ("pyproject.toml", r'^version = "(.+)"$'),
            ("CITATION.cff", r"^version: (.+)$"),
            ("CHANGELOG.md", r"^## (\S+)"),
        )
    )
    assert version.removesuffix(".dev0") == citation == changelog
