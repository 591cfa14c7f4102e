"""Compiled code: tensors that other code records, transforms or cannot show, and sharded arrays."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from test_rma import check_optimal, hard_rows

from rankseg.functional import rankseg

HERE = Path(__file__).parent
TRACER_WARNING = "ignore::torch.jit.TracerWarning" if find_spec("torch") else "default"
SETTINGS = [
    {},
    {"metric": "iou", "smooth": 1.0},
    {"smooth": 0.5, "unassigned_policy": "void"},
    {"pruning_prob": (0.5, 0.9, 0.0, 0.7), "refine": 2},
    {"output_mode": "multilabel"},
    {"metric": "accuracy"},
]


def soft_maps(*shape, seed=0):
    logits = 3 * np.random.default_rng(seed).standard_normal(shape)
    p = np.exp(logits)
    return (p / p.sum(axis=1, keepdims=True)).astype(np.float32)


EXAMPLE, OTHER, LARGER = (
    soft_maps(2, 4, 20, 24, seed=1),
    soft_maps(2, 4, 20, 24, seed=2),
    soft_maps(3, 4, 33, 41, seed=3),
)


def near_all_equal(found, expected):
    found = np.asarray(found)
    assert found.shape == expected.shape
    assert np.count_nonzero(found != expected) <= 1e-3 * expected.size


# PyTorch

RECORDERS = ["jit.trace", "make_fx", "make_fx before autograd", "symbolic make_fx", "functionalize"]


def recorded(how, function, example):
    torch = pytest.importorskip("torch")
    make_fx = torch.fx.experimental.proxy_tensor.make_fx
    return {
        "jit.trace": lambda: torch.jit.trace(function, example),
        "make_fx": lambda: make_fx(function)(example),
        "make_fx before autograd": lambda: make_fx(function, pre_dispatch=True)(example),
        "symbolic make_fx": lambda: make_fx(function, tracing_mode="symbolic")(example),
        "functionalize": lambda: torch.func.functionalize(function),
    }[how]()


@pytest.mark.filterwarnings(TRACER_WARNING)
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("how", RECORDERS)
def test_what_is_recorded_is_no_constant(how, settings):
    torch = pytest.importorskip("torch")
    function = recorded(how, lambda x: rankseg(x, **settings), torch.from_numpy(EXAMPLE))
    sizes = [EXAMPLE, OTHER] + [LARGER] * (how in ("jit.trace", "functionalize"))
    for p in sizes:
        near_all_equal(function(torch.from_numpy(p)), rankseg(p, **settings))


@pytest.mark.parametrize("metric", ["dice", "iou"])
def test_a_fixed_number_of_passes_is_enough_for_hard_rows(metric):
    torch = pytest.importorskip("torch")
    settings = {"metric": metric, "output_mode": "multilabel", "pruning_prob": 0.0}
    for seed in range(4):
        p = hard_rows(seed)
        found = torch.func.functionalize(lambda x: rankseg(x, **settings))(torch.from_numpy(p))
        check_optimal(p, found.numpy(), metric, 0.0, 2e-6)


@pytest.mark.filterwarnings("ignore")
def test_the_old_onnx_exporter_writes_no_constant(tmp_path):
    torch, runtime = pytest.importorskip("torch"), pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from rankseg.integration.torch import RankSEGModule

    torch.onnx.export(
        RankSEGModule(),
        (torch.from_numpy(EXAMPLE),),
        tmp_path / "model.onnx",
        dynamo=False,
        input_names=["probs"],
        opset_version=17,
    )
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    for p in (EXAMPLE, OTHER):
        near_all_equal(session.run(None, {"probs": p})[0], rankseg(p))


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("class_axis", [1, -1])
def test_vmap(settings, class_axis):
    torch = pytest.importorskip("torch")
    p = np.stack([np.moveaxis(p, 1, class_axis) for p in (EXAMPLE, OTHER)])
    found = torch.vmap(lambda x: rankseg(x, class_axis=class_axis, **settings))(torch.from_numpy(p))
    near_all_equal(found, np.stack([rankseg(x, class_axis=class_axis, **settings) for x in p]))


def kinds(torch, x):
    return {
        "meta": lambda: x.to("meta"),
        "layout torch.sparse_coo": lambda: x.to_sparse(),
        "layout torch._mkldnn": lambda: x.to_mkldnn(),
        "nested": lambda: torch.nested.nested_tensor([x[0], x[1]]),
        "quantized": lambda: torch.quantize_per_tensor(x, 0.01, 0, torch.quint8),
        "MaskedTensor": lambda: torch.masked.masked_tensor(x, x > 0.1),
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", list(kinds(None, None)))
def test_kinds_without_values_are_named(kind):
    torch = pytest.importorskip("torch")
    x = kinds(torch, torch.from_numpy(EXAMPLE))[kind]()
    with pytest.raises(TypeError, match=f"probs must be a plain tensor with values, .* {kind}"):
        rankseg(x)


def test_sparse_valid_is_named():
    torch = pytest.importorskip("torch")
    valid = torch.ones(2, 20, 24, dtype=torch.bool).to_sparse()
    with pytest.raises(TypeError, match="valid must be a plain tensor with values"):
        rankseg(torch.from_numpy(EXAMPLE), valid=valid)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_negative_views_are_read(dtype):
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(EXAMPLE).to(getattr(torch, dtype))
    assert torch.equal(rankseg(torch._neg_view(-x)), rankseg(x))


def test_subclasses_without_a_way_of_their_own():
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(EXAMPLE)
    same = x.as_subclass(type("Named", (torch.Tensor,), {}))
    assert torch.equal(rankseg(same), rankseg(x))


# JAX


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("valid", [False, True])
def test_jitted_labels_are_those_of_numpy(settings, valid):
    jax = pytest.importorskip("jax")
    inside = np.random.default_rng(0).random((3, 33, 41)) < 0.8 if valid else None
    taken = None if inside is None else jax.numpy.asarray(inside)
    found = jax.jit(lambda x: rankseg(x, valid=taken, **settings))(LARGER)
    near_all_equal(found, rankseg(LARGER, valid=inside, **settings))


def test_jitted_without_arrays_of_the_size_of_the_map():
    jax = pytest.importorskip("jax")
    p = soft_maps(1, 12, 128, 128)
    quick = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    try:
        compiled = jax.jit(lambda x: rankseg(x)).lower(p).compile()
    finally:
        jax.config.update("jax_disable_most_optimizations", quick)
    assert compiled.memory_analysis().temp_size_in_bytes < 0.6 * p.nbytes
    assert compiled.cost_analysis()["bytes accessed"] < 40 * p.size


def test_jax_vmap():
    jax = pytest.importorskip("jax")
    p = np.stack([EXAMPLE, OTHER])
    near_all_equal(jax.vmap(rankseg)(p), np.stack([rankseg(x) for x in p]))


def test_smoothed_dice_of_an_eager_device_is_exact(monkeypatch):
    jax = pytest.importorskip("jax")
    from rankseg import arrays, rows

    monkeypatch.setattr(arrays, "to_numpy_view", lambda x: x)
    source = rows.ProbabilityMap(jax.numpy.asarray(EXAMPLE))
    assert rows.rows_of(source).extracts
    settings = {"smooth": 30.0, "output_mode": "multilabel", "pruning_prob": 0.0}
    found = rankseg(jax.numpy.asarray(EXAMPLE), **settings)
    assert np.array_equal(found, rankseg(EXAMPLE, **settings))


SHARDED = """
import json, sys
import jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from rankseg import arrays, thresholds
from rankseg.functional import rankseg
from rankseg.metrics import expected_dice
p = np.load(sys.argv[1])
mesh = Mesh(np.array(jax.devices()), ("d",))
keep, wrong = arrays.to_numpy_view, []
for axis in range(4):
    spec = PartitionSpec(*[None] * axis, "d")
    x = jax.device_put(p, NamedSharding(mesh, spec))
    for on_device in (False, True):
        arrays.to_numpy_view = (lambda x: x) if on_device else keep
        for function in (
            rankseg,
            jax.jit(rankseg),
            lambda x: rankseg(x, output_mode="multilabel"),
            lambda x: rankseg(x, smooth=1.0, unassigned_policy="void"),
            lambda x: rankseg(x, refine=1),
            lambda x: thresholds(x).active,
            lambda x: expected_dice(x, x > 0.5) > 0.5,
        ):
            if not np.mean(np.asarray(function(x)) == np.asarray(function(p))) > 0.999:
                wrong.append([axis, on_device])
print(json.dumps([len(jax.devices()), wrong]))
"""


def test_sharded_arrays(tmp_path):
    pytest.importorskip("jax")
    np.save(tmp_path / "p.npy", soft_maps(4, 4, 16, 20))
    ran = subprocess.run(
        [sys.executable, "-c", SHARDED, str(tmp_path / "p.npy")],
        env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4"},
        cwd=HERE.parent,
        capture_output=True,
        text=True,
    )
    assert not ran.returncode, ran.stderr[-3000:]
    assert json.loads(ran.stdout.splitlines()[-1]) == [4, []]


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_function_compiles_without_a_graph_break(settings):
    torch = pytest.importorskip("torch")
    torch.compiler.reset()
    compiled = torch.compile(rankseg, backend="aot_eager", fullgraph=True)
    for p in (EXAMPLE, OTHER, LARGER):
        found = compiled(torch.from_numpy(p), **settings)
        near_all_equal(found, rankseg(p, **settings))


def test_a_compiled_call_of_the_function_takes_valid():
    torch = pytest.importorskip("torch")
    torch.compiler.reset()
    valid = np.random.default_rng(3).random((len(EXAMPLE), *EXAMPLE.shape[2:])) < 0.7
    compiled = torch.compile(rankseg, backend="aot_eager", fullgraph=True)
    found = compiled(torch.from_numpy(EXAMPLE), valid=torch.from_numpy(valid))
    near_all_equal(found, rankseg(EXAMPLE, valid=valid))
