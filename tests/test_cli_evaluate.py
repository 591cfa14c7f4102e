"""``rankseg evaluate``: files in, tables and reports out, nothing half-written."""

import json
from functools import partial

import commandline
import numpy as np
import pytest
from commandline import only, write_cases

from rankseg import RankSEG
from rankseg.calibration import Calibration
from rankseg.config import Config
from rankseg.evaluation import Cases, Method, default_methods, evaluate
from rankseg.evaluation.compare import run

invoke, succeed, refuse = (
    partial(function, "evaluate")
    for function in (commandline.run, commandline.succeed, commandline.refuse)
)


@pytest.fixture
def data(tmp_path):
    return write_cases(tmp_path / "data", 5)


def numbers(path):
    """The numbers that do not depend on the clock."""
    content = json.loads(path.read_text())
    del content["cost"]
    return content


def test_tables_and_conclusions_without_any_file(data, tmp_path):
    text = succeed(data, data)
    evaluation = evaluate(Cases(data, data))
    assert "5 cases in 5 groups" in text
    for title in ("Dice, classes in label", "IoU, classes in label or prediction", "Cost per case"):
        assert title in text
    for result in evaluation.results:
        assert f"{100 * result.score:.2f}" in text
    assert "RankSEG Dice: " in text
    assert "probabilities were divided by 255" in text
    assert only(tmp_path, "data")


def test_report_and_json(data, tmp_path):
    text = succeed(data, data, "-o", tmp_path / "r.html", "--json", tmp_path / "r.json")
    assert only(tmp_path, "data", "r.html", "r.json")  # no log, nothing temporary
    assert str(tmp_path / "r.html") in text
    report = (tmp_path / "r.html").read_text()
    assert "probabilities were divided by 255" in report
    expected = evaluate(Cases(data, data)).to_json()
    del expected["cost"]
    assert numbers(tmp_path / "r.json") == expected


def test_options_reach_the_evaluation(data, tmp_path):
    path = tmp_path / "r.json"
    options = ("--metric", "iou", "--solver", "exact", "--solver", "RMA", "--pruning-prob", "0.3")
    more = ("--group", "p(.)", "--bootstrap", "50", "--seed", "7", "--void-index", "2")
    succeed(data, data, "--json", path, *options, *more, "--scale", "255")
    methods = default_methods(["iou"], ["exact", "RMA"], pruning_prob=0.3)
    cases = Cases(data, data, group="p(.)", scale=255)
    expected = evaluate(cases, methods, bootstrap=50, seed=7, void_index=2).to_json()
    del expected["cost"]
    assert numbers(path) == expected
    assert expected["groups"] == 2


def test_masks_channels_last_and_named_arrays(tmp_path):
    rng = np.random.default_rng(0)
    for folder in ("p", "t", "out"):
        (tmp_path / folder).mkdir()
    for name in "ab":
        probs = rng.random((8, 9, 2))
        np.savez(tmp_path / "p" / f"{name}.npz", other=0, soft=probs)
        np.savez(tmp_path / "t" / f"{name}.npz", other=0, truth=rng.random(probs.shape) < probs)
    keys = ("--probs-key", "soft", "--labels-key", "truth", "--class-axis", "-1")
    path = tmp_path / "out" / "r.html"
    text = succeed(tmp_path / "p", tmp_path / "t", "--mode", "multilabel", *keys, "-o", path)
    assert "threshold, pruned" in text
    assert only(path.parent, "r.html")


def test_tuned_settings_are_one_more_method(data, tmp_path):
    path = tmp_path / "[bold] mine.toml"  # no markup
    calibration = Calibration("temperature", scale=2.0)
    Config("iou", pruning_prob=0.2, calibration=calibration).save(path)
    outputs = ("--json", tmp_path / "r.json", "-o", tmp_path / "r.html")
    assert f" {path.name} " in succeed(data, data, *outputs, "--config", path)
    methods = (*default_methods(), Method(path.name, RankSEG.from_config(path)))
    expected = evaluate(Cases(data, data), methods).to_json()
    del expected["cost"]
    assert numbers(tmp_path / "r.json") == expected
    assert f"<h1>{path.name} and argmax" in (tmp_path / "r.html").read_text()
    Config(output_mode="multilabel").save(path, overwrite=True)
    assert "--mode multilabel" in refuse(data, data, "--config", path)
    path.write_text("metric = 3")
    assert "mine.toml" in refuse(data, data, "--config", path)


def test_bad_files_are_reported_at_the_end_and_the_rest_is_evaluated(data, tmp_path):
    (data / "p0_0.npz").write_bytes(b"PK damaged")
    np.savez(data / "p1_1.npz", probs=np.ones((3, 4, 4)), label=np.zeros((4, 5), int))
    np.save(data / "p1_3.npy", np.zeros(3))
    result = invoke(data, data, "-o", tmp_path / "r.html", "--json", tmp_path / "r.json")
    assert result.exit_code == 1
    assert "2 cases in 2 groups" in result.stdout
    lines = result.stderr.splitlines()
    assert lines[0] == "rankseg: 3 cases were left out:"
    assert f"Kept: {tmp_path / 'r.html.log'}" in result.stdout
    reasons = {line.split(":")[0].strip(): line for line in lines[1:]}
    assert "cannot be read" in reasons["p0_0"]
    assert "shape" in reasons["p1_1"]
    assert "the same name" in reasons["p1_3"]
    assert numbers(tmp_path / "r.json")["problems"].keys() == reasons.keys()
    assert "p1_1" in (tmp_path / "r.html").read_text()


def test_repaired_files_are_added_with_resume(data, tmp_path):
    path = tmp_path / "r.json"
    original = (data / "p0_0.npz").read_bytes()
    (data / "p0_0.npz").write_bytes(b"PK damaged")
    assert invoke(data, data, "--json", path).exit_code == 1
    (data / "p0_0.npz").write_bytes(original)
    succeed(data, data, "--json", path, "--resume", "--overwrite")
    assert numbers(path)["cases"] == 5
    assert only(tmp_path, "data", "r.json")


@pytest.fixture
def interrupted(data, tmp_path, monkeypatch):
    """The arguments of a run that was stopped after two of five cases."""
    arguments = (data, data, "--json", tmp_path / "r.json")
    scored, score_case = [], run.score_case

    def stopping(*args):
        if len(scored) == 2:
            raise KeyboardInterrupt
        scored.append(args)
        return score_case(*args)

    with monkeypatch.context() as patch:
        patch.setattr(run, "score_case", stopping)
        assert refuse(*arguments) == "rankseg: interrupted\n"
    assert only(tmp_path, "data", "r.json.log")
    return arguments


def test_an_interrupted_run_resumes(interrupted, tmp_path, data):
    succeed(*interrupted, "--resume")
    assert only(tmp_path, "data", "r.json")
    succeed(data, data, "--json", tmp_path / "whole.json")
    assert numbers(tmp_path / "r.json") == numbers(tmp_path / "whole.json")


def test_an_interrupted_run_is_not_started_anew_by_accident(interrupted, tmp_path):
    before = (tmp_path / "r.json.log").read_bytes()
    assert "--resume continues it" in refuse(*interrupted)
    assert "was made with" in refuse(*interrupted, "--resume", "--pruning-prob", "0.1")
    assert (tmp_path / "r.json.log").read_bytes() == before
    succeed(*interrupted, "--overwrite")
    assert numbers(tmp_path / "r.json")["cases"] == 5


def test_resume_without_a_log_simply_starts(data, tmp_path):
    succeed(data, data, "--json", tmp_path / "r.json", "--resume")
    assert numbers(tmp_path / "r.json")["cases"] == 5


def test_older_results_are_replaced_only_if_asked(data, tmp_path):
    path = tmp_path / "r.json"
    path.write_text("old")
    assert "--overwrite" in refuse(data, data, "--json", path)
    assert path.read_text() == "old"
    succeed(data, data, "--json", path, "--overwrite")
    assert numbers(path)["cases"] == 5


def test_what_fails_leaves_nothing_behind(data, tmp_path, monkeypatch):
    def broken(*args):
        raise OSError("disk full")

    monkeypatch.setattr("rankseg.cli.evaluate.write_report", broken)
    refuse(data, data, "-o", tmp_path / "r.html", "--json", tmp_path / "r.json")
    assert only(tmp_path, "data", "r.html.log")  # of the finished cases, for --resume


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-o", "r.txt"), "ends in .html"),
        (("--json", "r.html"), "ends in .json"),
        (("--json", "nowhere/r.json"), "no such folder"),
        (("--resume",), "--resume needs"),
        (("--solver", "BA"), "solver 'BA' is not supported"),
        (("--pruning-prob", "2"), "--pruning-prob must be in"),
        (("--group", "("), "group must be a regular expression"),
        (("--group", "nothing"), "no usable case"),
        (("--scale", "0"), "scale must be positive"),
        (("--class-axis", "5"), "no class axis 5"),
        (("--mode", "multilabel"), "labels have shape"),
    ],
)
def test_wrong_options_are_one_line(data, options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in refuse(data, data, *options)
    assert only(tmp_path, "data")


def test_a_run_that_finds_nothing_leaves_no_log(data, tmp_path):
    refuse(data, data, "--json", tmp_path / "r.json", "--group", "nothing")
    assert only(tmp_path, "data")


def test_missing_and_empty_folders(data, tmp_path):
    assert "no such folder" in refuse(tmp_path / "nowhere", data)
    (tmp_path / "empty").mkdir()
    assert "empty: no file named .npy, " in refuse(tmp_path / "empty", tmp_path / "empty")
    assert "empty: no file named .npy, " in refuse(data, tmp_path / "empty")


def test_the_folder_that_has_the_files_is_named(data, tmp_path):
    (tmp_path / "fold_0").mkdir()
    data.rename(tmp_path / "fold_0" / "validation")
    message = refuse(tmp_path / "fold_0", tmp_path / "fold_0" / "validation")
    inside = tmp_path / "fold_0" / "validation"
    assert message.endswith(f"; there are such files in {inside}\n")


def test_a_pattern_that_no_file_has_is_named(data):
    message = refuse(data, data, "--labels-pattern", "{}_mask")
    first = min(path.name for path in data.iterdir())
    assert f"data: no name fits --labels-pattern {{}}_mask, {first} for example" in message


def test_a_pruning_probability_for_each_class(data, tmp_path):
    succeed(data, data, "--pruning-prob", "0.5,0.9,0.3", "--json", tmp_path / "r.json")
    assert "--pruning-prob has 2 values" in refuse(data, data, "--pruning-prob", "0.5,0.9")


def test_the_mean_and_its_classes_are_options(data, tmp_path):
    path = tmp_path / "r.json"
    options = ("--average", "class-first", "--average", "DATASET", "--ignore-class", "0")
    more = ("--empty", "one", "--class-names", "sky,road,tree", "--bootstrap", "50")
    report = ("-o", tmp_path / "r.html")
    text = succeed(data, data, "--json", path, *options, *more, *report)
    assert "averaged over the cases of each class, then over the classes; not counted: sky" in text
    assert "Dice, class-first, classes in label" in text
    assert "IoU, dataset, classes in label or prediction" in text
    arguments = {"average": ["class-first", "dataset"], "ignore_classes": [0], "empty": "one"}
    expected = evaluate(Cases(data, data), bootstrap=50, class_names="sky,road,tree", **arguments)
    content = expected.to_json()
    del content["cost"]
    assert numbers(path) == content
    assert content["class_names"] == ["sky", "road", "tree"]
    page = (tmp_path / "r.html").read_text()
    assert "not counted: sky" in page
    assert "Dice, class-first, classes in label or prediction, in points" in page
    for name in ("sky", "road", "tree"):
        assert f">{name}</td>" in page or f" {name}\n" in page
    assert (
        f"probabilities of class {['sky', 'road', 'tree'][expected.reliability.furthest]}" in text
    )


def test_settings_of_labels_reach_the_methods(data, tmp_path):
    path = tmp_path / "r.json"
    options = ("--unassigned-policy", "void", "--refine", "2", "--metric", "dice")
    succeed(data, data, "--json", path, *options)
    methods = default_methods(["dice"], unassigned_policy="void", refine=2, void_index=255)
    expected = evaluate(Cases(data, data), methods).to_json()
    del expected["cost"]
    found = numbers(path)
    assert found["results"] == expected["results"]
    assert found["settings"]["methods"] == expected["settings"]["methods"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--classes", "a"), "--classes takes classes with commas"),
        (("--classes", "7"), "--classes must be in [0, 3)"),
        (("--ignore-class", "7"), "--ignore-class must be in [0, 3)"),
        (("--ignore-class", "0,1,2"), "--ignore-class must leave one or more classes of 3"),
        (("--ignore-class", "-1"), "--ignore-class must be classes from 0"),
        (("--class-names", "a,b"), "--class-names must be 3"),
        (("--label-map", "x"), "--label-map must be OLD:NEW"),
        (("--class-axis", "0", "--binary"), "found --class-axis 0"),
        (("--probs-key", "x"), "as by --probs-key probs"),
        (("--labels-key", "x"), "as by --labels-key probs"),
        (("--group", "("), "--group must be a regular expression"),
    ],
)
def test_messages_name_options(data, options, message):
    assert message in refuse(data, data, *options)
