import hashlib
import json
import os
from functools import partial

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import commandline
import onnx
from PIL import Image
from test_export_verify import segmenter

from rankseg.calibration import Calibration
from rankseg.config import Config
from rankseg.export.record import recorded

succeed, refuse = (
    partial(function, "export") for function in (commandline.printed, commandline.refuse)
)


@pytest.fixture
def softmax(tmp_path):
    onnx.save(segmenter("Softmax"), tmp_path / "softmax.onnx")
    return tmp_path / "softmax.onnx"


@pytest.fixture
def logits(tmp_path):
    onnx.save(segmenter("Identity", opset=12), tmp_path / "logits.onnx")
    return tmp_path / "logits.onnx"


def test_append(softmax, tmp_path):
    out = tmp_path / "out.onnx"
    lines = succeed("append", softmax, "-o", out, "--metric", "iou").splitlines()
    assert lines[0].startswith("One label a pixel with the best expected IoU (smooth=0) under")
    assert lines[1:-1] == [
        "output 'y': float [1, 6, 48, 64]",
        "probabilities by Softmax over axis 1",
        "6 classes on axis 1, by the nodes before it",
        "final Softmax replaced by the tail's own",
        "tail behind 'logits', activation to add: softmax",
        "outputs are now 'labels'",
    ]
    assert lines[-1].startswith(f"{out}: written, +")
    assert recorded(onnx.load(out))["labels"]["metric"] == "iou"


def test_append_with_every_option(logits, tmp_path):
    out = tmp_path / "out.onnx"
    text = succeed(
        *("append", logits, "-o", out, "--head", "y", "--smooth", 1, "--mode", "multiclass"),
        *("--pruning-prob", "0.5,0.4,0.3,0.5,0.5,0.5", "--unassigned-policy", "void"),
        *("--void-index", 99, "--activation", "softmax", "--class-axis", 1),
        *("--label-dtype", "uint8", "--keep-outputs", "--resize-to", "96x128"),
        *("--profile", "static", "--form", "function", "--name", "best"),
    )
    assert "IR version 7 becomes 8, for the function" in text
    assert "values are resized to [96, 128]" in text
    assert "outputs are now 'y', 'best'" in text
    record = recorded(onnx.load(out))["best"]
    assert record["pruning_prob"] == [0.5, 0.4, 0.3, 0.5, 0.5, 0.5]
    assert record["void_index"] == 99
    assert "100.0000 %" in succeed("verify", out)


def test_info(softmax, logits):
    text = succeed("info", softmax)
    assert "opset 17, IR version 8, SHA-256 " in text
    assert "final Softmax replaced by the tail's own" in text
    assert "tail behind 'logits', activation to add: softmax" in text
    assert "append: output 'y': ends in Conv, Identity: logits or prob" in succeed("info", logits)


def test_info_on_what_append_made(softmax, tmp_path):
    digest = hashlib.sha256(softmax.read_bytes()).hexdigest()
    succeed("append", softmax, "-o", tmp_path / "out.onnx", "--smooth", 0.5, "--keep-outputs")
    text = succeed("info", tmp_path / "out.onnx")
    assert "tail behind 'y', activation to add: none" in text
    assert "output 'labels' is RankSEG's, dice, multiclass" in text
    assert "probabilities by Softmax over axis 1" in text.partition("is RankSEG's")[2]
    assert "smooth 0.5, output_mode multiclass, solver RMA, pruning_prob 0.5" in text
    assert f"source_sha256 {digest}" in text


def test_info_on_a_model_of_its_own(tmp_path):
    sizes = ["--num-classes", 2, "--pruning-prob", "0.25,0.5"]
    succeed("node", "-o", tmp_path / "rma.onnx", "--metric", "iou", *sizes)
    text = succeed("info", tmp_path / "rma.onnx")
    assert "best expected IoU (smooth=0) under probabilities" in text
    assert "output 'labels' is RankSEG's, iou, multiclass" in text
    assert "metric iou" in text
    assert "pruning_prob [0.25, 0.5]" in text
    assert "append:" not in text
    assert "a RankSEG tail alone" in refuse("verify", tmp_path / "rma.onnx")


def test_two_heads(heads, tmp_path):
    """One after the other."""
    one, two = tmp_path / "one.onnx", tmp_path / "two.onnx"
    assert "choose an output, the model has 'y' [1, 6" in refuse("append", heads, "-o", one)
    assert os.listdir(tmp_path) == ["heads.onnx"]
    succeed("append", heads, "-o", one, "--head", "y")
    text = succeed("append", one, "-o", two, "--head", "z", "--mode", "multilabel")
    assert "outputs are now 'labels', 'masks'" in text
    assert "choose one of the outputs 'labels', 'masks'" in refuse("verify", two)
    for name in ("labels", "masks"):
        assert f"agreement of '{name}' with NumPy: 100.0000 %" in succeed(
            "verify", two, "--head", name
        )
    for path in (heads, one):
        assert "never overwritten" in refuse(
            "append", path, "-o", path, "--head", "z", "--overwrite"
        )
    text = succeed("info", two)
    assert "output 'labels' is RankSEG's, dice, multiclass" in text
    assert "output 'masks' is RankSEG's, dice, multilabel" in text


@pytest.fixture
def heads(tmp_path):
    model = segmenter("Softmax")
    model.graph.node.append(onnx.helper.make_node("Sigmoid", ["logits"], ["z"]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("z", 1, [None] * 4))
    onnx.save(model, tmp_path / "heads.onnx")
    return tmp_path / "heads.onnx"


def test_weights_beside_the_model(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    onnx.save(
        segmenter("Softmax"),
        source / "m.onnx",
        save_as_external_data=True,
        location="w.bin",
        size_threshold=0,
    )
    (target / "w.bin").write_text("of another model")
    arguments = ["append", source / "m.onnx", "-o", target / "out.onnx"]
    assert "weights in w.bin would not be found" in refuse(*arguments)
    assert "does not hold the model's weights" in refuse(*arguments, "--copy-weights")
    assert os.listdir(target) == ["w.bin"]
    (target / "w.bin").unlink()
    succeed(*arguments, "--copy-weights")
    assert "100.0000 %" in succeed("verify", target / "out.onnx")


def test_verify(softmax, tmp_path):
    out, picture = tmp_path / "out.onnx", tmp_path / "cat.png"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (50, 60, 3), dtype=np.uint8)).save(picture)
    succeed("append", softmax, "-o", out)
    text = succeed(
        *("verify", out, "--image", picture, "--original", softmax),
        *("--mean", "0.4,0.5,0.6", "--std", "0.2", "--head", "labels", "--threads", 1),
    )
    assert text.count("\n") == 5
    assert f"{picture} as 'x' [1, 3, 48, 64], less 0.4,0.5,0.6 and then over 0.2\n" in text
    assert "agreement of 'labels' with NumPy: 100.0000 %" in text
    assert "time of a run: " in text
    assert "largest change of the model's own output: 0" in text


def test_node(tmp_path):
    out = tmp_path / "rma.onnx"
    assert succeed("node", "-o", out) == f"{out}: written, 'probs' to 'labels'\n"
    onnx.checker.check_model(onnx.load(out), full_check=True)
    arguments = ["--activation", "sigmoid", "--mode", "multilabel", "--form", "function"]
    text = succeed("node", "-o", out, "--overwrite", "--layout", "NHWC", *arguments)
    assert text == f"{out}: written, 'logits' to 'masks'\n"


def test_node_of_fixed_sizes(tmp_path):
    out = tmp_path / "rma.onnx"
    sizes = ["--batch", 2, "--size", "12x20x24", "--spatial-ndim", 3, "--num-classes", 5]
    succeed("node", "-o", out, *sizes)
    graph = onnx.load(out).graph
    dims = [
        [d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*graph.input, *graph.output)
    ]
    assert dims == [[2, 5, 12, 20, 24], [2, 12, 20, 24]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "320"], "spatial_shape must have spatial_ndim=2 sizes"),
        (["--size", "input"], "--size takes HEIGHTxWIDTH, found 'input'"),
        (["--size", "320x0"], "spatial_shape must be positive"),
        (["--batch", 0], "batch must be positive"),
        (["--opset", 10], "opset must lie in [11, "),
        (["--smooth", -1], "smooth must be finite and >= 0"),
    ],
)
def test_node_refuses(tmp_path, arguments, message):
    assert message in refuse("node", "-o", tmp_path / "rma.onnx", *arguments)
    assert os.listdir(tmp_path) == []


# What is refused, with nothing written


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--smooth", "-1"], "smooth must be finite and >= 0"),
        (["--head", "z"], "there is no output 'z'; the model has 'y'"),
        (["--activation", "sigmoid"], "the activation to add is none, not sigmoid"),
        (["--pruning-prob", "much"], "--pruning-prob takes a number"),
        (["--pruning-prob", "0.5,0.5"], "2 values"),
        (["--resize-to", "big"], "--resize-to takes input or HEIGHTxWIDTH"),
        (["--resize-to", "4x5x6"], "resize_to must be 'input' or 2 positive sizes"),
        (["--class-axis", "7"], "--class-axis 7 is no axis"),
        (["--name", "logits"], "the graph has a value 'logits' already"),
    ],
)
def test_append_refuses(softmax, tmp_path, arguments, message):
    assert message in refuse("append", softmax, "-o", tmp_path / "out.onnx", *arguments)
    assert os.listdir(tmp_path) == ["softmax.onnx"]


def test_logits_need_a_choice(logits, tmp_path):
    message = refuse("append", logits, "-o", tmp_path / "out.onnx")
    assert "choose --activation 'softmax'" in message
    assert os.listdir(tmp_path) == ["logits.onnx"]


def test_files_that_are_in_the_way(softmax, tmp_path, monkeypatch):
    out = tmp_path / "out.onnx"
    out.write_text("mine")
    assert "out.onnx: exists already; --overwrite" in refuse("append", softmax, "-o", out)
    assert "exists already" in refuse("node", "-o", out)
    assert out.read_text() == "mine"
    before = softmax.read_bytes()
    os.link(softmax, tmp_path / "link.onnx")
    os.symlink(softmax, tmp_path / "symlink.onnx")
    monkeypatch.chdir(tmp_path)
    for name in (
        softmax,
        "link.onnx",
        "symlink.onnx",
        "softmax.onnx",
        f"../{tmp_path.name}/softmax.onnx",
    ):
        assert "never overwritten" in refuse("append", softmax, "-o", name, "--overwrite")
        assert "never overwritten" in refuse("append", name, "-o", softmax, "--overwrite")
    assert softmax.read_bytes() == before
    for name in ("link.onnx", "symlink.onnx"):
        (tmp_path / name).unlink()
    succeed("append", softmax, "-o", out, "--overwrite")
    assert "no such folder" in refuse("append", softmax, "-o", tmp_path / "a" / "b.onnx")
    assert "is a folder" in refuse("append", softmax, "-o", tmp_path, "--overwrite")
    assert sorted(os.listdir(tmp_path)) == ["out.onnx", "softmax.onnx"]


def test_files_that_are_no_models(softmax, tmp_path):
    text = tmp_path / "text.onnx"
    text.write_text("some text")
    for arguments in (["append", "-o", tmp_path / "out.onnx"], ["info"], ["verify"]):
        command, *rest = arguments
        assert "text.onnx: not an ONNX model" in refuse(command, text, *rest)
        assert "No such file" in refuse(command, tmp_path / "none.onnx", *rest)
    assert "no RankSEG tail" in refuse("verify", softmax)
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize(
    ("kind", "opset", "message"),
    [
        ("Softmax", 10, "opset 10 is not supported, only 11 to"),
        ("Cast", 17, "output 'y' is int64 and not made by an ArgMax that could be replaced"),
        ("GlobalAveragePool", 17, "RankSEG needs"),
    ],
)
def test_models_that_do_not_suit(tmp_path, kind, opset, message):
    model = segmenter("Identity")
    model.graph.node[-1].op_type = kind
    model.opset_import[0].version = opset
    if kind == "Cast":
        model.graph.node[-1].attribute.append(onnx.helper.make_attribute("to", 7))
        model.graph.output[0].type.tensor_type.elem_type = 7
    if kind == "GlobalAveragePool":
        flat = onnx.helper.make_node("Flatten", ["y"], ["flat"])
        model.graph.node.append(flat)
        model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("flat", 1, [1, 6]))
    onnx.save(model, tmp_path / "m.onnx")
    arguments = ["-o", tmp_path / "out.onnx", "--activation", "softmax"]
    assert message in refuse("append", tmp_path / "m.onnx", *arguments)
    assert os.listdir(tmp_path) == ["m.onnx"]


def test_pictures_that_do_not_fit(softmax, tmp_path):
    out = tmp_path / "out.onnx"
    succeed("append", softmax, "-o", out)
    assert "not a readable picture" in refuse("verify", out, "--image", softmax)
    assert "No such file" in refuse("verify", out, "--image", tmp_path / "none.png")
    picture = tmp_path / "a.png"
    Image.new("RGB", (9, 9)).save(picture)
    assert "--mean takes a number" in refuse("verify", out, "--image", picture, "--mean", "x")


def test_settings_from_a_file(softmax, tmp_path):
    config, out, alone = (tmp_path / name for name in ("rankseg.toml", "out.onnx", "node.onnx"))
    calibration = Calibration("vector", bias=[0, 0, 1, 0, 0, -1])
    Config(metric="iou", pruning_prob=0.7, calibration=calibration).save(config)
    lines = succeed("append", softmax, "-o", out, "--config", config)
    assert "calibrated (vector scaling)" in lines
    record = recorded(onnx.load(out))["labels"]
    assert (record["metric"], record["pruning_prob"]) == ("iou", 0.7)
    assert record["calibration"]["bias"] == [0, 0, 1, 0, 0, -1]
    assert "100.0000 %" in succeed("verify", out)
    succeed("node", "-o", alone, "--config", config)
    assert onnx.load(alone).graph.input[0].type.tensor_type.shape.dim[1].dim_value == 6


@pytest.mark.parametrize(
    ("settings", "options", "words"),
    [
        ({}, ["--metric", "iou"], "--config has a value for --metric already"),
        ({"solver": "exact"}, [], "solver exact; a model has RMA, argmax"),
        ({"solver_params": {"refine": 2}}, [], "refine must be 0 for a model, found 2"),
        ({"solver_params": {"correlation": 0.5}}, [], "rankseg tune --correlation 0 chooses"),
    ],
)
def test_settings_from_a_file_that_a_model_cannot_have(softmax, tmp_path, settings, options, words):
    config, out = tmp_path / "rankseg.toml", tmp_path / "out.onnx"
    Config(**settings).save(config)
    assert words in refuse("append", softmax, "-o", out, "--config", config, *options)
    assert not out.exists()


@pytest.mark.parametrize("solver", ["argmax", "pruned-argmax"])
def test_a_tuned_argmax_becomes_an_argmax(softmax, tmp_path, solver):
    config, out = tmp_path / "rankseg.toml", tmp_path / "out.onnx"
    Config("accuracy", solver=solver, pruning_prob=0.3).save(config)
    assert "most probable class" in succeed("append", softmax, "-o", out, "--config", config)
    assert "100.0000 %" in succeed("verify", out)
    assert recorded(onnx.load(out))["labels"]["solver"] == solver


def test_inputs_are_listed(softmax):
    assert "input 'x': float [1, 3, 48, 64]" in succeed("info", softmax).splitlines()


def test_scales_for_a_picture(softmax, tmp_path):
    picture, out = tmp_path / "cat.png", tmp_path / "out.onnx"
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(picture)
    succeed("append", softmax, "-o", out)
    words = "--mean takes one number or three with commas, found 2"
    assert words in refuse("verify", out, "--image", picture, "--mean", "0.5,0.4")


def test_an_agreement_that_is_asked_for(softmax, tmp_path):
    out = tmp_path / "out.onnx"
    succeed("append", softmax, "-o", out)
    succeed("verify", out, "--min-agreement", "0.9")
    model = onnx.load(out)
    record = recorded(model)["labels"] | {"pruning_prob": 1.0}  # not what the nodes compute
    for item in model.metadata_props:
        if item.value.startswith("{"):
            item.value = json.dumps(record)
    onnx.save(model, out)
    result = commandline.run("export", "verify", out, "--min-agreement", "1")
    assert result.exit_code == 1, result.output
