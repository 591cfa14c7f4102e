"""The command line as tests call it, and folders of cases for it."""

import os
import re

import numpy as np
import pytest

pytest.importorskip("typer", reason="the command line is an extra")
pytest.importorskip("matplotlib", reason="the command line is an extra")

from typer.testing import CliRunner

from rankseg.cli.app import app


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def printed(*arguments):
    """Run what must work, and return what it prints."""
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def succeed(*arguments):
    """Run what must work, and return what it prints with single spaces."""
    return re.sub(r"\s+", " ", printed(*arguments))


def refuse(*arguments):
    """Run what must fail at once, and return its one line."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("rankseg: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def only(folder, *names):
    """Say whether a folder holds these files and nothing else, hidden ones included."""
    return sorted(os.listdir(folder)) == sorted(names)


def write_cases(folder, count):
    """Fill a new folder with cases p0_0, p1_1, p0_2, ... of two patients."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        probs = np.moveaxis(rng.dirichlet((0.4, 0.4, 0.4), (10, 12)), -1, 0)
        labels = (probs.cumsum(axis=0) < rng.random((10, 12))).sum(axis=0).astype(np.uint8)
        stored = np.rint(255 * probs).astype(np.uint8)
        np.savez(folder / f"p{i % 2}_{i}.npz", probs=stored, label=labels)
    return folder
