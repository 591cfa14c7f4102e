"""What is accepted, what is refused, and what the error says."""

import re
import warnings
from fractions import Fraction

import numpy as np
import pytest

from rankseg import RankSEG, rankdice_ba, rankseg_rma, thresholds
from rankseg.functional import rankseg

PROBS = np.array([[[0.6, 0.45, 0.45, 0.1], [0.4, 0.55, 0.55, 0.9]]])
VALID = np.ones((1, 4), dtype=bool)

# The solvers of each metric and mode: the table "Solvers and backends" of README.md
PAIRS = {
    ("dice", "multiclass"): ["RMA", "exact"],
    ("dice", "multilabel"): ["RMA", "exact", "BA", "TRNA", "BA+TRNA"],
    ("iou", "multiclass"): ["RMA", "exact"],
    ("iou", "multilabel"): ["RMA", "exact"],
    ("accuracy", "multiclass"): ["argmax"],
    ("accuracy", "multilabel"): ["TR", "argmax"],
}
SOLVERS = ["RMA", "exact", "BA", "TRNA", "BA+TRNA", "argmax", "TR"]


def call(**settings):
    return rankseg(PROBS, **settings)


def construct(**settings):
    return RankSEG(**settings)


@pytest.fixture(params=[call, construct])
def check(request):
    """Settings are checked alike when a function is called and when an object is made."""
    return request.param


def refused(error, *parts):
    """Expect an error that holds these texts, in this order."""
    return pytest.raises(error, match=".*".join(map(re.escape, parts)))


# Strings


@pytest.mark.parametrize("name", ["metric", "output_mode", "solver", "unassigned_policy"])
@pytest.mark.parametrize("value", [None, 1, b"dice", ["dice"]])
def test_a_name_must_be_a_string(check, name, value):
    if name == "solver" and value is None:
        pytest.skip("stands for the solver that suits the metric")
    with refused(TypeError, name, "string", repr(value)):
        check(**{name: value})


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("metric", ["dice", "iou", "acc", "accuracy"]),
        ("output_mode", ["multiclass", "multilabel"]),
        ("solver", SOLVERS),
        ("unassigned_policy", ["max_score", "void"]),
    ],
)
@pytest.mark.parametrize("value", ["", "dices"])
def test_an_unknown_name_is_refused_with_the_known_ones(check, name, allowed, value):
    with refused(ValueError, name, f"found {value!r}") as error:
        check(**{name: value})
    assert all(repr(option) in str(error.value) for option in allowed)


@pytest.mark.parametrize("spell", [str.upper, str.title, "  {}\n".format])
@pytest.mark.parametrize(
    "settings",
    [
        {"metric": "iou", "unassigned_policy": "void"},
        {"metric": "dice", "solver": "rma", "safe_screening": "auto"},
        {"metric": "accuracy", "solver": "argmax"},
        {"metric": "acc", "solver": "tr", "output_mode": "multilabel"},
    ],
)
def test_names_are_stripped_and_case_insensitive(settings, spell):
    spelled = {name: spell(value) for name, value in settings.items()}
    assert np.array_equal(call(**spelled), call(**settings))


# Numbers


@pytest.mark.parametrize("name", ["smooth", "pruning_prob"])
@pytest.mark.parametrize("value", [True, np.False_, None, "0.5", 0.5j, np.array(0.5)])
def test_a_number_must_be_real_and_no_bool(check, name, value):
    with refused(TypeError, name, "real number", f"found {value!r}"):
        check(**{name: value})


@pytest.mark.parametrize(
    "value", [-1e-9, -1, float("nan"), float("inf"), pytest.param(10**400, id="10**400")]
)
def test_smooth_must_be_finite_and_not_negative(check, value):
    with refused(ValueError, "smooth", ">= 0", f"found {value!r}"):
        check(smooth=value)


@pytest.mark.parametrize("value", [-1e-9, 1 + 1e-9, 2, float("nan"), -float("inf")])
def test_pruning_prob_must_be_in_the_unit_interval(check, value):
    with refused(ValueError, "pruning_prob", "[0, 1]", f"found {value!r}"):
        check(pruning_prob=value)


@pytest.mark.parametrize("number", [int, float, np.float32, np.int8, Fraction])
@pytest.mark.parametrize("name", ["smooth", "pruning_prob"])
@pytest.mark.parametrize("value", [0, 1])
def test_any_kind_of_real_number_is_accepted(name, value, number):
    expected = call(**{name: float(value)})
    assert np.array_equal(call(**{name: number(value)}), expected)


@pytest.mark.parametrize("metric", ["dice", "iou"])
@pytest.mark.parametrize("smooth", [5e-324, 1e300, np.finfo(float).max])
def test_every_finite_smooth_is_accepted(metric, smooth):
    assert call(metric=metric, smooth=smooth).shape == (1, 4)
    assert RankSEG(metric, smooth).smooth == smooth


@pytest.mark.parametrize("metric", ["acc", "accuracy", " Accuracy "])
@pytest.mark.parametrize("output_mode", ["multiclass", "multilabel"])
def test_the_accuracy_alone_names_its_solver(metric, output_mode):
    solver = {"multiclass": "argmax", "multilabel": "TR"}[output_mode]
    expected = call(metric=metric, output_mode=output_mode, solver=solver)
    assert np.array_equal(call(metric=metric, output_mode=output_mode), expected)
    assert RankSEG(metric, output_mode=output_mode).solver == solver


@pytest.mark.parametrize("output_mode", ["multiclass", "multilabel"])
def test_accuracy_ignores_smooth_and_pruning_prob_but_checks_them(check, output_mode):
    settings = {"metric": "accuracy", "output_mode": output_mode}
    settings["solver"] = "argmax" if output_mode == "multiclass" else "TR"
    expected = call(**settings)
    assert np.array_equal(call(smooth=1e6, pruning_prob=1.0, **settings), expected)
    with refused(ValueError, "smooth", "found -1"):
        check(smooth=-1, **settings)
    with refused(ValueError, "pruning_prob", "found 7"):
        check(pruning_prob=7, **settings)


# One pruning_prob for each class


@pytest.mark.parametrize("value", [[0.2, 0.8], (0.2, 0.8), np.array([0.2, 0.8])])
def test_pruning_prob_takes_one_value_for_each_class(value):
    active = thresholds(PROBS * 0.8, pruning_prob=value).active
    assert active.tolist() == [[True, False]]


@pytest.mark.parametrize("number", [np.float16, np.float32, np.int64])
def test_pruning_prob_takes_an_array_of_any_real_dtype(number):
    active = thresholds(PROBS, pruning_prob=np.array([0, 1], number)).active
    assert active.tolist() == [[True, False]]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("requires_grad", [False, True])
def test_pruning_prob_takes_a_tensor(dtype, requires_grad):
    torch = pytest.importorskip("torch")
    value = torch.tensor([0.25, 1.0], dtype=getattr(torch, dtype), requires_grad=requires_grad)
    assert thresholds(PROBS, pruning_prob=value).active.tolist() == [[True, False]]


@pytest.mark.parametrize(
    ("value", "error", "found"),
    [
        ([0.5, 1.5], ValueError, "pruning_prob[1] must be in [0, 1], found 1.5"),
        ([float("nan"), 0.5], ValueError, "pruning_prob[0] must be in [0, 1], found nan"),
        ([0.5, True], TypeError, "pruning_prob[1] must be a real number, found True"),
        (["0.5", 0.5], TypeError, "pruning_prob[0] must be a real number, found '0.5'"),
        (np.array([True, False]), TypeError, "pruning_prob[0] must be a real number, found True"),
        (np.full((2, 1), 0.5), TypeError, "pruning_prob must be a real number, found array"),
    ],
)
def test_each_value_of_pruning_prob_is_checked(check, value, error, found):
    with refused(error, found):
        check(pruning_prob=value)


@pytest.mark.parametrize("output_mode", ["multiclass", "multilabel"])
@pytest.mark.parametrize("values", [[], [0.5], [0.5, 0.5, 0.5]])
def test_pruning_prob_must_have_as_many_values_as_classes(values, output_mode):
    with refused(ValueError, f"pruning_prob has {len(values)} values", "2 classes"):
        call(pruning_prob=values, output_mode=output_mode)


# Solvers and their parameters


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("metric", "output_mode"), PAIRS)
def test_each_solver_is_accepted_with_its_metrics_and_modes_only(
    check, metric, output_mode, solver
):
    settings = {"metric": metric, "output_mode": output_mode, "solver": solver}
    supported = PAIRS[metric, output_mode]
    with warnings.catch_warnings(action="ignore"):
        if solver in supported:
            assert check(**settings) is not None
        else:
            with refused(ValueError, repr(solver), repr(metric), repr(output_mode), *supported):
                check(**settings)


@pytest.mark.parametrize("solver", ["RMA", "exact", "TR", "argmax"])
def test_rankdice_ba_takes_the_normal_approximations_only(solver):
    assert rankdice_ba(PROBS, " trna ").shape == PROBS.shape
    with refused(ValueError, "solver must be one of 'BA', 'TRNA', 'BA+TRNA'", repr(solver)):
        rankdice_ba(PROBS, solver)


@pytest.mark.parametrize("solver", ["exact", "BA", "TRNA", "BA+TRNA"])
def test_solvers_that_need_values_refuse_a_trace(solver):
    jax = pytest.importorskip("jax")
    with refused(NotImplementedError, repr(solver), "RMA"):
        jax.jit(lambda x: rankseg(x, solver=solver, output_mode="multilabel"))(PROBS.astype("f4"))


@pytest.mark.parametrize("metric", ["dice", "iou"])
@pytest.mark.parametrize("function", [rankseg_rma, thresholds])
def test_the_functions_of_rma_refuse_accuracy(function, metric):
    assert function(PROBS, metric) is not None
    with refused(ValueError, "metric='accuracy'"):
        function(PROBS, "accuracy")


def test_argmax_needs_two_channels_in_multilabel():
    settings = {"metric": "accuracy", "output_mode": "multilabel"}
    assert rankseg(PROBS[:, :1], solver="TR", **settings).shape == (1, 1, 4)
    with refused(ValueError, "'argmax'", "one class", "TR"):
        rankseg(PROBS[:, :1], solver="argmax", **settings)


@pytest.mark.parametrize(
    ("settings", "taken"),
    [
        ({}, ["safe_screening", "unassigned_policy", "void_index"]),
        ({"solver": "exact"}, ["unassigned_policy", "void_index"]),
        ({"output_mode": "multilabel"}, ["safe_screening"]),
        ({"solver": "BA", "output_mode": "multilabel"}, ["eps"]),
        ({"metric": "acc", "solver": "argmax"}, ["void_index"]),
        ({"metric": "acc", "solver": "TR", "output_mode": "multilabel"}, ["no further parameters"]),
    ],
)
def test_an_unknown_solver_parameter_is_refused_with_the_known_ones(check, settings, taken):
    with refused(TypeError, "does not take depth, speed; it takes", *taken):
        check(**settings, speed=9, depth=1)


@pytest.mark.parametrize("solver", ["RMA", "exact"])
@pytest.mark.parametrize("output_mode", ["multiclass", "multilabel"])
def test_eps_is_for_the_normal_approximations_only(check, solver, output_mode):
    with refused(TypeError, repr(solver), "does not take eps"):
        check(solver=solver, output_mode=output_mode, eps=1e-4)


@pytest.mark.parametrize("value", [0, 1, 1.0, -0.1, 2, float("nan")])
def test_eps_must_be_inside_the_unit_interval(check, value):
    with refused(ValueError, "eps must be in", f"found {value!r}"):
        check(solver="BA", output_mode="multilabel", eps=value)


@pytest.mark.parametrize("value", [True, "1e-4", None])
def test_eps_must_be_a_real_number_and_no_bool(check, value):
    with refused(TypeError, "eps must be a real number", f"found {value!r}"):
        check(solver="TRNA", output_mode="multilabel", eps=value)


@pytest.mark.parametrize("value", [True, 1.0, "1", None])
def test_refine_must_be_an_int_and_no_bool(check, value):
    with refused(TypeError, "refine must be an int", f"found {value!r}"):
        check(refine=value)


def test_refine_must_not_be_negative(check):
    with refused(ValueError, "refine must be >= 0", "found -1"):
        check(refine=-1)


@pytest.mark.parametrize("settings", [{"output_mode": "multilabel"}, {"solver": "argmax"}])
def test_refine_is_for_labels_of_dice_and_iou_only(check, settings):
    metric = "accuracy" if "solver" in settings else "dice"
    with refused(TypeError, "does not take refine"):
        check(metric=metric, refine=1, **settings)


@pytest.mark.parametrize("solver", ["RMA", "exact"])
@pytest.mark.parametrize("name", ["unassigned_policy", "void_index"])
def test_multilabel_takes_no_unassigned_pixels(check, name, solver):
    value = {"unassigned_policy": "void", "void_index": -1}[name]
    with refused(TypeError, f"does not take {name}"):
        check(output_mode="multilabel", solver=solver, **{name: value})


@pytest.mark.parametrize("value", [True, False, "auto", " Auto "])
@pytest.mark.parametrize("output_mode", ["multiclass", "multilabel"])
def test_safe_screening_changes_nothing(value, output_mode):
    found = call(output_mode=output_mode, safe_screening=value)
    assert np.array_equal(found, call(output_mode=output_mode))


@pytest.mark.parametrize("value", [None, 1, "yes"])
def test_safe_screening_is_a_bool_or_auto(check, value):
    with refused(TypeError, "safe_screening", "bool or 'auto'", repr(value)):
        check(safe_screening=value)


# void_index


@pytest.mark.parametrize("value", [True, np.True_, 7.0, "7", None])
def test_void_index_must_be_an_int_and_no_bool(check, value):
    with refused(TypeError, "void_index", "int", f"found {value!r}"):
        check(unassigned_policy="void", void_index=value)


@pytest.mark.parametrize("value", [True, 255.0, None])
def test_void_index_of_rankseg_rma_must_be_an_int_and_no_bool(value):
    with refused(TypeError, "void_index", "int", f"found {value!r}"):
        rankseg_rma(PROBS, unassigned_policy="void", void_index=value)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, np.uint64(2**64 - 1)])
def test_void_index_must_fit_int64(check, value):
    with refused(ValueError, "void_index", "int64", str(value)):
        check(unassigned_policy="void", void_index=value)


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), -1, 2, np.int8(-5)])
def test_void_index_may_be_any_int_but_a_class(value):
    labels = rankseg(PROBS * 0.1, unassigned_policy="void", void_index=value)
    assert (labels == value).all()


@pytest.mark.parametrize("value", [0, 1])
def test_void_index_must_be_no_class(value):
    with refused(ValueError, "void_index", "[0, 2)", f"found {value}"):
        call(unassigned_policy="void", void_index=value)


def test_the_default_void_index_is_a_class_of_256():
    probs = np.full((1, 256, 3), 1 / 256)
    assert (rankseg(probs) == 0).all()
    assert (rankseg(probs[:, :255], unassigned_policy="void") == 255).all()
    assert (rankseg(probs, unassigned_policy="void", void_index=256) == 256).all()
    with refused(ValueError, "void_index", "[0, 256)", "found 255"):
        rankseg(probs, unassigned_policy="void")


def test_the_default_void_index_cannot_mark_invalid_pixels_of_256_classes():
    probs, valid = np.full((1, 256, 3), 1 / 256), np.array([[True, True, False]])
    with refused(ValueError, "void_index", "[0, 256)", "found 255"):
        rankseg(probs, valid=valid)
    masks = rankseg(probs, output_mode="multilabel", valid=valid)
    assert not masks.any()  # there is no label in masks that could be mistaken


@pytest.mark.parametrize("settings", [{}, {"metric": "acc", "solver": "argmax"}])
def test_a_void_index_needs_the_void_policy_or_invalid_pixels(settings):
    with refused(ValueError, "void_index=7", "unassigned_policy='void' or valid"):
        rankseg(PROBS, void_index=7, **settings)
    valid = np.array([[True, True, True, False]])
    assert rankseg(PROBS, void_index=7, valid=valid, **settings)[0, 3] == 7


def test_a_masked_array_is_refused():
    with refused(TypeError, "probs", "masked array", "valid"):
        rankseg(np.ma.masked_array(PROBS, PROBS > 0.9))


def test_a_dask_array_of_unknown_shape_is_refused():
    da = pytest.importorskip("dask.array")
    probs = da.from_array(np.full((1, 3, 8), 0.3, np.float32))
    with refused(ValueError, "probs", "known shape"):
        rankseg(probs[:, :, da.from_array(np.arange(8)) > 3])


@pytest.mark.parametrize("policy", ["max_score", "MAX_SCORE", " max_score "])
def test_rankseg_rma_takes_its_default_policy_in_multilabel(policy):
    masks = rankseg_rma(PROBS, output_mode="multilabel", unassigned_policy=policy)
    assert np.array_equal(masks, call(output_mode="multilabel"))


def test_rankseg_rma_has_no_void_in_multilabel():
    with refused(ValueError, "unassigned_policy must be 'max_score'", "found 'Void'"):
        rankseg_rma(PROBS, output_mode="multilabel", unassigned_policy="Void")


# The probabilities


@pytest.mark.parametrize("probs", [None, PROBS.tolist(), 0.5, "probs", object()])
def test_probs_must_be_an_array(probs):
    with refused(TypeError, "probs must be an array", type(probs).__name__):
        rankseg(probs)


@pytest.mark.parametrize(
    "dtype",
    ["bool", "uint8", "int64", "complex64", "complex128", "longdouble", "object", "U1", "M8[s]"],
)
def test_probs_must_have_a_real_floating_dtype_of_at_most_64_bits(dtype):
    probs = np.zeros((1, 2, 3), dtype)
    if probs.dtype == np.float64:
        pytest.skip("long double is float64 here")
    with refused(
        TypeError, "probs must be float16, bfloat16, float32 or float64", str(probs.dtype)
    ):
        rankseg(probs)


@pytest.mark.parametrize("dtype", [np.bool_, np.int32, np.complex64])
def test_the_dtype_is_checked_in_every_library(backend, dtype):
    for function in (rankseg, thresholds):
        with refused(TypeError, "probs must be float", np.dtype(dtype).name):
            backend.call(function, np.zeros((1, 2, 3), dtype))


@pytest.mark.parametrize("library", ["torch", "jax.numpy"])
def test_float8_is_refused(library):
    library = pytest.importorskip(library)
    probs = library.asarray(PROBS, dtype=library.float32)
    dtype = library.float8_e4m3fn
    probs = probs.to(dtype) if hasattr(probs, "to") else probs.astype(dtype)
    with refused(TypeError, "probs must be float16, bfloat16, float32 or float64"):
        rankseg(probs)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_probs_must_have_three_axes(shape):
    with refused(ValueError, "(batch, class, *spatial)", f"found {shape}"):
        rankseg(np.zeros(shape))


def test_the_axes_are_checked_in_every_library(backend):
    for function in (rankseg, thresholds):
        with refused(ValueError, "(batch, class, *spatial)", "found (2, 3)"):
            backend.call(function, np.zeros((2, 3), np.float32))


@pytest.mark.parametrize("shape", [(2, 0, 4), (2, 3, 0), (2, 3, 4, 0), (0, 3, 0)])
def test_probs_must_have_a_class_and_a_pixel_in_every_library(backend, shape):
    if backend.name == "dask" and shape[0] == 0:
        pytest.skip("Dask cannot chunk two empty axes")
    for function in (rankseg, thresholds):
        with refused(ValueError, "at least one class and one pixel", f"{shape}"):
            backend.call(function, np.zeros(shape, np.float32))


def test_one_channel_makes_no_multiclass_map_in_any_library(backend):
    for settings in ({}, {"metric": "acc", "solver": "argmax"}):
        with refused(ValueError, "one class", "multilabel", "background and a foreground"):
            backend.call(rankseg, np.zeros((2, 1, 4), np.float32), **settings)


@pytest.mark.parametrize("bad", [[np.nan], [np.inf], [-np.inf], [np.inf, -np.inf]])
def test_values_that_are_not_finite_are_refused(backend, bad):
    if backend.jit:
        pytest.skip("values are not known inside jit")
    probs = np.full((2, 3, 5, 7), 0.3, np.float32)
    probs[1, 2, 3, : len(bad)] = bad
    with refused(ValueError, "probs must be finite", "NaN or infinity"):
        backend.call(rankseg, probs)


@pytest.mark.parametrize("bad", [-1e-4, 1 + 1e-4, -1.2e-5, 1 + 1.2e-5, -3.5, 7.25])
def test_values_outside_the_unit_interval_are_refused_by_name(backend, bad):
    if backend.jit:
        pytest.skip("values are not known inside jit")
    probs = np.full((2, 3, 5, 7), 0.3, np.float32)
    probs[1, 2, 3, 4] = bad
    with refused(ValueError, "probs must be in [0, 1], found ") as error:
        backend.call(rankseg, probs)
    found, _, hint = str(error.value).partition("found ")[2].partition("; ")
    assert ("logits" in hint) == (abs(bad) > 3)
    assert float(found) == pytest.approx(bad, rel=1e-6)


@pytest.mark.parametrize("function", [rankseg, thresholds])
def test_logits_are_refused_with_the_way_out(function):
    with refused(ValueError, "[0, 1]", "found -4.5", "softmax or sigmoid"):
        function(PROBS - 4.6)


@pytest.mark.parametrize("solver", ["argmax", "TR"])
@pytest.mark.parametrize("bad", [np.nan, -1e-4, 1 + 1e-4])
def test_accuracy_refuses_bad_values_too(solver, bad):
    probs = PROBS.copy()
    probs[0, 0, 0] = bad
    mode = "multiclass" if solver == "argmax" else "multilabel"
    with refused(ValueError, "probs must be"):
        rankseg(probs, "accuracy", solver=solver, output_mode=mode)


def test_a_single_bad_value_deep_inside_a_large_map_is_found():
    probs = np.full((2, 3, 300, 1100), 0.3, np.float32)
    probs[1, 1, 170, 901] = np.nan
    with refused(ValueError, "NaN"):
        rankseg(probs)


ROUNDED = {"float16": 8 * 2.0**-10, "float32": 9e-6, "float64": 9e-6}


@pytest.mark.parametrize("output_mode", ["multiclass", "multilabel"])
@pytest.mark.parametrize("dtype", ROUNDED)
def test_rounding_beyond_0_and_1_is_accepted_as_0_and_1(backend, dtype, output_mode):
    if (backend.name, dtype) in [("strict", "float16"), ("jax", "float64")]:
        pytest.skip("no such dtype there")
    rng = np.random.default_rng(0)
    exact = np.round(rng.random((2, 3, 8, 9)) * 8).astype(dtype) / 8
    probs = np.where(exact == 0, -ROUNDED[dtype], exact)
    probs = np.where(exact == 1, 1 + ROUNDED[dtype], probs).astype(dtype)
    assert probs.max() > 1 > 0 > probs.min()
    found = backend.call(rankseg, probs, output_mode=output_mode)
    assert np.array_equal(found, backend.call(rankseg, exact, output_mode=output_mode))
    found, clean = backend.call(thresholds, probs), backend.call(thresholds, exact)
    assert all(np.array_equal(*parts) for parts in zip(found, clean, strict=True))


@pytest.mark.parametrize("beyond", [-1, 1])
@pytest.mark.parametrize("dtype", ROUNDED)
def test_more_than_rounding_is_refused(dtype, beyond):
    probs = PROBS.astype(dtype)
    probs[0, 0, 0] = 0.5 + beyond * (0.5 + 1.5 * ROUNDED[dtype])
    with refused(ValueError, "probs must be in [0, 1]"):
        rankseg(probs)


@pytest.mark.parametrize("library", ["torch", "jax.numpy"])
@pytest.mark.parametrize("low", [False, True])
def test_rounding_of_bfloat16_is_eight_of_its_steps(library, low):
    library = pytest.importorskip(library)
    step = 2.0**-7
    exact, rounded, beyond = (
        library.asarray([[[0.5], [-n * step if low else 1 + n * step]]], dtype=library.bfloat16)
        for n in (0, 8, 9)
    )
    assert int(rankseg(rounded)[0, 0]) == int(rankseg(exact)[0, 0])
    with refused(ValueError, "probs must be in [0, 1]"):
        rankseg(beyond)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("classes", [19, 150, 1000])
def test_sums_of_merged_classes_are_probabilities(dtype, classes):
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(classes)
    p = torch.softmax(torch.randn((1, classes, 24, 24), generator=generator), 1)
    p = p.to(getattr(torch, dtype))
    merged = torch.zeros_like(p[:, 0])
    for c in range(classes if dtype == "float32" else min(classes, 150)):
        merged = merged + p[:, c]
    rankseg(torch.stack([merged * 0, merged], 1))


@pytest.mark.parametrize(("classes", "beyond"), [(8, 0.0099), (64, 0.07), (1000, 0.15)])
def test_more_than_that_is_refused_in_half_precision_whatever_the_number_of_classes(
    classes, beyond
):
    probs = np.full((1, classes, 4, 5), 1 / classes, np.float16)
    probs[0, 0, 0, 0] = 1 + beyond
    with refused(ValueError, "probs must be in [0, 1]"):
        rankseg(probs)


def test_values_are_clipped_inside_jit():
    jax = pytest.importorskip("jax")
    probs = PROBS.astype(np.float32) * 1.5 - 0.2
    assert probs.max() > 1 > 0 > probs.min()
    for mode in ("multiclass", "multilabel"):
        found = jax.jit(lambda x, mode=mode: rankseg(x, output_mode=mode))(probs)
        assert np.array_equal(found, rankseg(np.clip(probs, 0, 1), output_mode=mode))


def test_shapes_and_dtypes_of_dask_arrays_are_checked_before_any_is_read():
    da, dask = pytest.importorskip("dask.array"), pytest.importorskip("dask")

    def read(*args, **kwargs):
        raise AssertionError("a lazy array was read")

    with dask.config.set(scheduler=read):
        for shape, dtype, error in [
            ((2, 3), float, ValueError),
            ((2, 0, 4), float, ValueError),
            ((2, 1, 4), float, ValueError),
            ((2, 3, 4), int, TypeError),
        ]:
            with refused(error, "probs"):
                rankseg(da.zeros(shape, dtype=dtype))
        with refused(ValueError, "valid must have shape"):
            rankseg(da.zeros((2, 3, 4)), valid=da.ones((2, 5), dtype=bool))
        with refused(ValueError, "pruning_prob has 2 values"):
            rankseg(da.zeros((2, 3, 4)), pruning_prob=[0.5, 0.5])


# class_axis


@pytest.mark.parametrize("value", [True, np.True_, 1.0, "1", None])
def test_class_axis_must_be_an_int_and_no_bool(check, value):
    with refused(TypeError, "class_axis", "int", f"found {value!r}"):
        check(class_axis=value)


@pytest.mark.parametrize("value", [0, 3, -3, -4, 7])
def test_class_axis_must_be_an_axis_other_than_the_batch(value):
    with refused(ValueError, "class_axis", "[-2, 3)", f"found {value}"):
        call(class_axis=value)


@pytest.mark.parametrize("value", [1, -2, np.int64(1)])
def test_class_axis_may_count_from_either_end(value):
    assert np.array_equal(call(class_axis=value), call())


def test_the_class_axis_is_the_one_that_needs_classes():
    with refused(ValueError, "one class"):
        rankseg(np.full((2, 3, 1), 0.5), class_axis=-1)
    with refused(ValueError, "pruning_prob has 3 values", "4 classes"):
        rankseg(np.full((2, 3, 4), 0.5), class_axis=-1, pruning_prob=[0.5] * 3)


# valid


@pytest.mark.parametrize(
    "function", [rankseg, thresholds, lambda p, valid: RankSEG()(p, valid=valid)]
)
@pytest.mark.parametrize(
    ("valid", "error", "found"),
    [
        (VALID.tolist(), TypeError, "boolean array, found list"),
        (True, TypeError, "boolean array, found bool"),
        (VALID.astype(np.uint8), TypeError, "boolean dtype, found uint8"),
        (VALID.astype(float), TypeError, "boolean dtype, found float64"),
        (VALID[0], ValueError, "(batch, *spatial) = (1, 4), found (4,)"),
        (VALID[:, :3], ValueError, "(batch, *spatial) = (1, 4), found (1, 3)"),
        (VALID[:, None], ValueError, "(batch, *spatial) = (1, 4), found (1, 1, 4)"),
        (VALID[:, :1], ValueError, "(batch, *spatial) = (1, 4), found (1, 1)"),
    ],
)
def test_valid_is_a_boolean_array_of_one_value_a_pixel(function, valid, error, found):
    with refused(error, "valid", found):
        function(PROBS, valid=valid)


def test_valid_is_checked_in_every_library(backend):
    probs = np.full((2, 3, 4, 5), 0.4, np.float32)
    with refused(ValueError, "valid", "(2, 4, 5)", "(2, 3, 4, 5)"):
        backend.call(rankseg, probs, valid=np.ones((2, 3, 4, 5), dtype=bool))
    with refused(TypeError, "valid", "boolean dtype"):
        backend.call(rankseg, probs, valid=np.ones((2, 4, 5), dtype=np.int32))


def test_valid_has_its_spatial_axes_where_probs_has_them():
    probs = np.moveaxis(np.full((2, 3, 4, 5), 0.4), 1, -1)
    assert rankseg(probs, class_axis=-1, valid=np.ones((2, 4, 5), dtype=bool)).shape == (2, 4, 5)
    with refused(ValueError, "valid", "(2, 4, 5)", "(2, 3, 4)"):
        rankseg(probs, class_axis=-1, valid=np.ones((2, 3, 4), dtype=bool))
