"""``rankseg tune``, and the files of settings that it writes for ``rankseg predict``."""

import re

import numpy as np
import pytest
from commandline import only, refuse, run, succeed, write_cases

from rankseg import RankSEG
from rankseg.calibration import Calibration
from rankseg.config import Config
from rankseg.evaluation import Cases
from rankseg.evaluation.tuning import tune


@pytest.fixture
def data(tmp_path):
    return write_cases(tmp_path / "data", 6)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], [0, 0.5, 0.85, 1]),
        (["--correlation", "0"], [0]),
        (["--correlation", "0,0.9"], [0, 0.9]),
    ],
)
def test_correlations_that_are_tried(data, tmp_path, monkeypatch, options, expected):
    passed = []

    def watched(*args, correlations, **settings):
        passed.append(correlations)
        return tune(*args, correlations=[0], calibrations=["none"], metric=settings["metric"])

    monkeypatch.setattr("rankseg.cli.tune.run", watched)
    succeed("tune", data, data, "-o", tmp_path / "found.toml", *options)
    assert passed == [expected]


def test_a_correlation_that_cannot_be(data, tmp_path):
    refused = refuse("tune", data, data, "-o", tmp_path / "no.toml", "--correlation", "0.97")
    assert "[0, 0.95] or 1" in refused and "0.97" in refused


@pytest.mark.parametrize("suffix", [".toml", ".json"])
def test_it_writes_what_tune_returns(data, tmp_path, suffix):
    path = tmp_path / f"settings{suffix}"
    shown = succeed("tune", data, data, "-o", path)
    expected = tune(Cases(data, data))
    found = Config.load(path)
    assert found.arguments == expected.config.arguments
    assert found.tuned == {"probs": str(data), "labels": str(data), **expected.config.tuned}
    assert expected.verdict in shown
    assert "do not rely" not in shown
    assert "probabilities were divided by 255" in shown
    assert f"Written: {path}" in re.sub(r"\s+", " ", shown)
    assert only(tmp_path, "data", path.name)


def test_the_table_has_every_kind_of_candidate_and_marks_the_choice(data, tmp_path):
    result = run("tune", data, data, "-o", tmp_path / "settings.toml")
    rows = [line for line in result.stdout.splitlines() if "±0" in line]
    cells = [re.split(r"\s{2,}", row.strip())[:3] for row in rows]  # method, maybe corr., scaling
    kinds = {(row[0], row[2 if row[1][0].isdigit() else 1]) for row in cells}
    assert {(kind[0], kind[-1]) for kind in kinds} == {
        (method, scaling)
        for method in ("argmax", "Dice", "IoU")
        for scaling in ("none", "temperature", "vector")
    }
    assert sum("◀" in row for row in rows) == 1
    assert max(map(len, rows)) <= 80


def test_options_reach_the_tuning(data, tmp_path):
    path = tmp_path / "settings.toml"
    options = ["--metric", "iou", "--presence", "label", "--group", "(p.)_", "--solver", "exact"]
    shown = succeed("tune", data, data, "-o", path, *options, "--calibration", "temperature")
    expected = tune(
        Cases(data, data, group="(p.)_"),
        metric="iou",
        presence="label",
        solvers=["exact"],
        calibrations=["temperature"],
    )
    assert Config.load(path).arguments == expected.config.arguments
    assert expected.verdict in shown
    assert "6 images of 2 groups" in shown
    assert "do not rely on the choice" in shown
    assert "vector" not in shown


def test_bad_files_are_listed_and_the_exit_code_is_one(data, tmp_path):
    (data / "p9_broken.npz").write_bytes(b"PK")
    np.savez(data / "p9_shape.npz", probs=np.full((3, 4, 5), 0.3), label=np.zeros((4, 6), int))
    path = tmp_path / "settings.toml"
    result = run("tune", data, data, "-o", path)
    assert result.exit_code == 1
    assert "2 cases were left out" in result.stderr
    assert "p9_broken" in result.stderr
    assert "p9_shape: labels have shape" in result.stderr
    assert Config.load(path).tuned["images"] == 6


def test_an_older_file_is_replaced_only_if_asked(data, tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text("old")
    assert "--overwrite replaces it" in refuse("tune", data, data, "-o", path)
    assert path.read_text() == "old"
    succeed("tune", data, data, "-o", path, "--overwrite")
    assert Config.load(path).tuned["images"] == 6
    assert only(tmp_path, "data", "settings.toml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "settings.yaml"], r"expected a name that ends in \.toml or \.json"),
        (["-o", "none/settings.toml"], "no such folder"),
        (["-o", "s.toml", "--group", "("], "group must be a regular expression"),
        (["-o", "s.toml", "--group", "p"], "two groups of cases or more, found 1"),
        (["-o", "s.toml", "--solver", "BA"], "solver 'BA' is not supported"),
        (["-o", "s.toml", "--labels-key", "x"], "no array 'x'"),
    ],
)
def test_wrong_options_are_one_line(data, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert re.search(message, refuse("tune", data, data, *arguments))
    assert only(tmp_path, "data")


# rankseg predict --config


@pytest.fixture
def npy(tmp_path):
    probs = np.random.default_rng(0).dirichlet((0.5, 0.5, 0.5), (12, 15))
    np.save(tmp_path / "probs.npy", np.moveaxis(probs, -1, 0).astype(np.float32))
    return tmp_path / "probs.npy"


@pytest.mark.parametrize(
    "config",
    [
        Config("iou", pruning_prob=(0.5, 0.9, 0.999)),
        Config(calibration=Calibration("vector", [0.5, 1.0, 2.0], [1.0, 0.0, -1.0])),
        Config("accuracy", solver="argmax", calibration=Calibration("vector", 1.0, [2.0, 0, 0])),
        Config(output_mode="multilabel", calibration=Calibration("temperature", 0.3)),
        Config(smooth=100.0, solver_params={"unassigned_policy": "void"}),
        Config(smooth=100.0, solver_params={"unassigned_policy": "void", "void_index": -1}),
        Config(smooth=100.0, solver_params={"unassigned_policy": "void", "void_index": 999}),
    ],
)
def test_predict_takes_settings_from_a_file(npy, tmp_path, config):
    config.save(tmp_path / "settings.toml")
    succeed("predict", npy, "-o", tmp_path / "out.npy", "--config", tmp_path / "settings.toml")
    expected = RankSEG.from_config(config)(np.load(npy)[None])[0]
    found = np.load(tmp_path / "out.npy")
    np.testing.assert_array_equal(found, expected)
    assert found.dtype.itemsize <= 2
    assert not np.array_equal(found, RankSEG()(np.load(npy)[None])[0])


@pytest.mark.parametrize(
    "option",
    [
        ("--metric", "iou"),
        ("--smooth", "0"),
        ("--solver", "RMA"),
        ("--mode", "multiclass"),
        ("--pruning-prob", "0.5"),
    ],
)
def test_predict_takes_settings_from_one_place(npy, tmp_path, option):
    Config().save(tmp_path / "settings.toml")
    files = [npy, "-o", tmp_path / "out.npy", "--config", tmp_path / "settings.toml"]
    assert f"--config has a value for {option[0]} already" in refuse("predict", *files, *option)
    assert only(tmp_path, "probs.npy", "settings.toml")


def test_predict_refuses_a_wrong_file_of_settings(npy, tmp_path):
    path = tmp_path / "settings.toml"
    command = ("predict", npy, "-o", tmp_path / "out.npy", "--config", path)
    assert "No such file" in refuse(*command)
    path.write_text("[rankseg]\ncolour = 1\n")
    assert "unknown colour; allowed are metric" in refuse(*command)
    path.write_text('[calibration]\nkind = "vector"\nscale = [1.0, 1.0]\n')
    assert "3 classes, but the calibration is for 2" in refuse(*command)
    assert only(tmp_path, "probs.npy", "settings.toml")


def test_the_mean_is_an_option(data, tmp_path):
    path = tmp_path / "t.toml"
    options = ("--average", "class-first", "--ignore-class", "0", "--calibration", "none")
    text = succeed("tune", data, data, "-o", path, *options, "--empty", "one")
    expected = tune(
        Cases(data, data),
        average="class-first",
        ignore_classes=[0],
        empty="one",
        calibrations=["none"],
    )
    record = Config.load(path).tuned
    assert record["score"] == expected.config.tuned["score"]
    assert (record["average"], record["ignore_classes"]) == ("class-first", [0])
    assert "class-first" in text
