"""Files of settings."""

import json
import os

import numpy as np
import pytest

from rankseg import RankSEG
from rankseg.calibration import Calibration
from rankseg.config import Config

CONFIGS = [
    Config(),
    Config("iou", 2.0, "multiclass", "RMA", 0.25),
    Config("accuracy", solver="pruned-argmax", pruning_prob=(0.1, 0.5, 0.9)),
    Config(solver_params={"unassigned_policy": "void", "void_index": -1, "refine": 2}),
    Config(output_mode="multilabel", solver="TRNA", solver_params={"eps": 1e-3}),
    Config("accuracy", solver="argmax", calibration=Calibration("temperature", 1 / 3)),
    Config(calibration=Calibration("vector", [0.5, 1.0, 2.0], [0.1, -1e-7, 0.0], 1 / 510)),
    Config(tuned={"choice": 'a "b" \\ é\x7f', "images": 3, "gain": -0.5, "names": ["x", "y"]}),
]


def soft_maps(shape=(2, 3, 8, 9)):
    p = np.exp(2 * np.random.default_rng(0).standard_normal(shape))
    return p / p.sum(axis=1, keepdims=True)


def written(tmp_path, text, name="settings.toml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".toml", ".json", ".TOML"])
@pytest.mark.parametrize("config", CONFIGS)
def test_what_is_saved_is_loaded(tmp_path, config, suffix):
    config.save(tmp_path / f"settings{suffix}")
    assert Config.load(tmp_path / f"settings{suffix}") == config
    assert os.listdir(tmp_path) == [f"settings{suffix}"]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_predictor_is_made_from_a_config_or_its_file(tmp_path, config):
    config.save(tmp_path / "settings.toml")
    p = soft_maps()
    expected = RankSEG(**config.arguments)
    for source in (config, tmp_path / "settings.toml", str(tmp_path / "settings.toml")):
        segment = RankSEG.from_config(source)
        assert repr(segment) == repr(expected)
        assert np.array_equal(segment(p), expected(p))


def test_the_class_axis_belongs_to_the_arrays():
    p = np.moveaxis(soft_maps(), 1, -1)
    config = Config(calibration=Calibration("vector", [0.5, 1.0, 2.0]))
    found = RankSEG.from_config(config, class_axis=-1)(p)
    assert np.array_equal(found, RankSEG.from_config(config)(soft_maps()))


def test_a_file_is_for_people(tmp_path):
    CONFIGS[6].save(tmp_path / "settings.toml")
    lines = (tmp_path / "settings.toml").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# Settings of RankSEG")
    assert 'metric = "dice"' in lines
    assert "scale = [0.5, 1.0, 2.0]" in lines
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize(
    ("mode", "solver"), [("multiclass", "pruned-argmax"), ("multilabel", "pruned-TR")]
)
@pytest.mark.parametrize("metric", ["dice", "iou"])
def test_files_of_0_1_have_argmax_with_pruning_as_a_huge_smooth(tmp_path, metric, mode, solver):
    path = tmp_path / "settings.toml"
    path.write_text(
        f'[rankseg]\nmetric = "{metric}"\nsmooth = 1e16\noutput_mode = "{mode}"\n'
        'solver = "RMA"\npruning_prob = 0.7\n'
    )
    found = Config.load(path)
    assert found == Config("accuracy", 0.0, mode, solver, 0.7)
    probs = soft_maps()
    as_before = RankSEG(metric, 1e16, mode, pruning_prob=0.7)
    assert np.array_equal(RankSEG.from_config(found)(probs), as_before(probs))


@pytest.mark.parametrize(
    "line",
    [
        "smooth = 1e15",
        'smooth = 1e16\nunassigned_policy = "void"',
        'smooth = 1e16\nsolver = "exact"',
    ],
)
def test_other_settings_are_read_as_they_are(tmp_path, line):
    path = tmp_path / "settings.toml"
    path.write_text(f"[rankseg]\n{line}\n")
    assert Config.load(path).metric == "dice"


def test_settings_that_a_file_leaves_out_have_their_defaults(tmp_path):
    assert Config.load(written(tmp_path, "")) == Config()
    assert Config.load(written(tmp_path, "[rankseg]\nsmooth = 1\n")) == Config(smooth=1.0)


def test_spellings_are_those_of_rankseg():
    assert Config(" DICE", solver="rma", output_mode="MultiLabel") == Config(
        output_mode="multilabel"
    )
    found = Config(solver_params={"unassigned_policy": "VOID "})
    assert found.solver_params == {"unassigned_policy": "void"}


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("[rankseg", ValueError, "settings.toml: "),
        ("rankseg = 3", TypeError, r"\[rankseg\] must be a table"),
        ('metric = "iou"', ValueError, r"metric must be under \[rankseg\]"),
        ("[ranksegs]", ValueError, "unknown ranksegs; allowed are rankseg, calibration, tuned"),
        ("[rankseg]\ncolour = 1", ValueError, "unknown colour; allowed are metric, smooth"),
        ('[rankseg]\nmetric = "f1"', ValueError, "metric must be one of"),
        ("[rankseg]\neps = 0.1", TypeError, "does not take eps"),
        ("[rankseg]\npruning_prob = [0.5, true]", TypeError, r"pruning_prob\[1\]"),
        ("[calibration]\nscale = 1.0", TypeError, "kind"),
        (
            '[calibration]\nkind = "vector"\nT = 2',
            ValueError,
            "unknown T; allowed are kind, scale, bias, floor",
        ),
        ('[calibration]\nkind = "vector"\nscale = -1', ValueError, "scale must be in"),
        ("tuned = 1", TypeError, r"\[tuned\] must be a table"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name(tmp_path, text, error, message):
    with pytest.raises(error, match=message) as caught:
        Config.load(written(tmp_path, text))
    assert str(tmp_path / "settings.toml") in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[]", '{"rankseg": 3}'])
def test_wrong_json_is_refused(tmp_path, text):
    with pytest.raises((TypeError, ValueError), match=r"settings\.json"):
        Config.load(written(tmp_path, text, "settings.json"))


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "settings.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"settings\.toml"):
        Config.load(tmp_path / "settings.toml")


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        Config.load(tmp_path / "settings.toml")


@pytest.mark.parametrize("name", ["settings", "settings.yaml"])
def test_other_names_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"\.toml or \.json"):
        Config().save(tmp_path / name)
    with pytest.raises(ValueError, match=r"\.toml or \.json"):
        Config.load(tmp_path / name)


def test_a_file_is_replaced_only_if_asked(tmp_path):
    path = written(tmp_path, "old")
    with pytest.raises(FileExistsError, match="exists already"):
        Config().save(path)
    assert path.read_text() == "old"
    Config().save(path, overwrite=True)
    assert Config.load(path) == Config()


def test_nothing_is_left_of_a_file_that_cannot_be_written(tmp_path):
    path = written(tmp_path, "old")
    with pytest.raises(TypeError):
        Config(tuned={"x": object()}).save(path, overwrite=True)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["settings.toml"]


def test_a_config_is_checked_when_it_is_made():
    with pytest.raises(ValueError, match="solver 'BA' is not supported"):
        Config(solver="BA")
    with pytest.raises(TypeError, match="calibration must be a Calibration"):
        Config(calibration={"kind": "vector"})


def test_json_has_the_shape_of_toml(tmp_path):
    CONFIGS[6].save(tmp_path / "settings.json")
    tables = json.loads((tmp_path / "settings.json").read_text())
    assert list(tables) == ["rankseg", "calibration"]
    assert tables["calibration"]["scale"] == [0.5, 1.0, 2.0]
