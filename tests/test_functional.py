"""What comes out of the functions: dtype, shape, library, and the rules that hold everywhere."""

from types import SimpleNamespace

import numpy as np
import pytest
from array_api_compat import array_namespace, device
from conftest import Backend
from oracle import mask_score

from rankseg import RankSEG, rankseg_rma, thresholds
from rankseg.functional import rankseg

LABELS = {"output_mode": "multiclass"}
MASKS = {"output_mode": "multilabel"}
ARGMAX = {"metric": "accuracy", "solver": "argmax"}
TR = {"metric": "accuracy", "solver": "TR", "output_mode": "multilabel"}
EVERY_ANSWER = [LABELS, MASKS, ARGMAX, TR]
EXACT = {"solver": "exact"}
NORMAL = {"solver": "BA", "output_mode": "multilabel"}
EVERY_SOLVER = [*EVERY_ANSWER, EXACT, NORMAL]


def soft_maps(shape=(6, 7), batch=2, classes=4, dtype=np.float32, seed=0):
    """Softmax probabilities, (batch, class, *spatial), with active and pruned classes."""
    logits = 3 * np.random.default_rng(seed).standard_normal((batch, classes, *shape))
    p = np.exp(logits)
    return (p / p.sum(axis=1, keepdims=True)).astype(dtype)


def of_the_library(found, x):
    return array_namespace(found) is array_namespace(x) and device(found) == device(x)


def same(found, expected):
    return all(np.array_equal(*parts) for parts in zip(found, expected, strict=True))


# Library, device, dtype, shape


@pytest.mark.parametrize("settings", [LABELS, ARGMAX])
def test_labels_are_int64_of_batch_and_spatial_shape_in_the_same_library(backend, settings):
    x = backend.asarray(soft_maps())
    labels = backend.bind(rankseg, **settings)(x)
    assert of_the_library(labels, x)
    labels = backend.to_numpy(labels)
    assert labels.dtype == (np.int32 if backend.name == "jax" else np.int64)
    assert labels.shape == (2, 6, 7)


@pytest.mark.parametrize("settings", [MASKS, TR])
def test_masks_are_bool_of_the_shape_of_the_input_in_the_same_library(backend, settings):
    x = backend.asarray(soft_maps())
    masks = backend.bind(rankseg, **settings)(x)
    assert of_the_library(masks, x)
    masks = backend.to_numpy(masks)
    assert masks.dtype == np.bool_
    assert masks.shape == (2, 4, 6, 7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_thresholds_are_of_batch_and_class_shape_in_float32_or_better(backend, dtype):
    if dtype == np.float64 and not backend.float64:
        pytest.skip("no float64 there")
    x = backend.asarray(soft_maps(dtype=dtype))
    found = backend.bind(thresholds)(x)
    assert all(of_the_library(part, x) for part in found)
    found = [backend.to_numpy(part) for part in found]
    assert [part.dtype for part in found] == [dtype, dtype, np.bool_]
    assert [part.shape for part in found] == [(2, 4)] * 3


@pytest.mark.parametrize("shape", [(42,), (3, 2, 1, 7)])
def test_spatial_axes_are_one_set_of_pixels(backend, shape):
    p = soft_maps()
    labels = backend.call(rankseg, p.reshape(2, 4, *shape))
    assert labels.shape == (2, *shape)
    assert np.array_equal(labels.reshape(2, -1), rankseg(p).reshape(2, -1))


@pytest.mark.parametrize("settings", EVERY_SOLVER)
@pytest.mark.parametrize("shape", [(42,), (3, 2, 7), (3, 2, 1, 7)])
def test_every_answer_has_the_spatial_axes_of_the_input(shape, settings):
    p = soft_maps()
    found = rankseg(p.reshape(2, 4, *shape), **settings)
    expected = rankseg(p, **settings)
    assert np.array_equal(found, expected.reshape(*expected.shape[:-2], *shape))


def test_float16_is_computed_in_float32(backend):
    if backend.name == "strict":
        pytest.skip("no float16 there")
    p = soft_maps(dtype=np.float16)
    found = backend.call(thresholds, p)
    assert found.threshold.dtype == found.score.dtype == np.float32
    assert same(found, backend.call(thresholds, p.astype(np.float32)))


def test_bfloat16_is_computed_in_float32(backend):
    narrow = {"torch": lambda x: x.bfloat16(), "jax": lambda x: x.astype("bfloat16")}
    if backend.name not in narrow:
        pytest.skip("no bfloat16 there")
    p = soft_maps()
    p = (p.view(np.uint32) & 0xFFFF0000).view(np.float32)
    x = narrow[backend.name](backend.asarray(p))
    for settings in (LABELS, ARGMAX):
        found = backend.to_numpy(backend.bind(rankseg, **settings)(x))
        assert np.array_equal(found, backend.call(rankseg, p, **settings))
    found = [backend.to_numpy(part) for part in backend.bind(thresholds)(x)]
    assert same(found, backend.call(thresholds, p))
    assert found[0].dtype == np.float32


def test_float64_is_ranked_in_float64(backend):
    if not backend.float64:
        pytest.skip("no float64 there")
    # Four pixels of 0.9 and two of x, where x is half the Dice of the four: the threshold.
    x = np.roots([2, 8.6, -3.6]).max()
    p = np.array([[[0.9, 0.9, 0.9, 0.9, x + 1e-10, x - 1e-10]]])
    assert p.astype(np.float32)[0, 0, 4] == p.astype(np.float32)[0, 0, 5]
    masks = backend.call(rankseg, p, output_mode="multilabel")
    assert masks.tolist() == [[[True, True, True, True, True, False]]]


def test_float64_is_pruned_in_float64(backend):
    if not backend.float64:
        pytest.skip("no float64 there")
    p = np.full((1, 2, 5), 0.5)
    p[0, 1, 2] += 1e-12
    assert backend.call(thresholds, p).active.tolist() == [[False, True]]
    active = backend.call(thresholds, p, pruning_prob=0.5 - 1e-12).active
    assert active.tolist() == [[True, True]]


# Small and empty inputs


@pytest.mark.parametrize("settings", EVERY_ANSWER)
def test_an_empty_batch_gives_an_empty_answer(backend, settings):
    found = backend.call(rankseg, np.zeros((0, 4, 6, 7), np.float32), **settings)
    masks = settings.get("output_mode") == "multilabel"
    assert found.shape == ((0, 4, 6, 7) if masks else (0, 6, 7))
    assert found.dtype.kind == ("b" if masks else "i")


def test_an_empty_batch_has_no_thresholds(backend):
    found = backend.call(thresholds, np.zeros((0, 4, 6, 7), np.float32))
    assert [part.shape for part in found] == [(0, 4)] * 3


def test_one_pixel_gets_its_most_probable_class(backend):
    p = soft_maps((1,), batch=9)
    assert np.array_equal(backend.call(rankseg, p), np.argmax(p, axis=1))
    assert np.array_equal(rankseg(p, output_mode="multilabel"), p > 0.5)


def test_one_class_alone_gets_the_mask_it_has_among_others(backend):
    p = soft_maps()
    together = backend.call(rankseg, p, output_mode="multilabel")
    alone = backend.call(rankseg, p[:, 1:2], output_mode="multilabel")
    assert alone.any()
    assert np.array_equal(alone, together[:, 1:2])


def test_samples_do_not_see_each_other(backend):
    p = soft_maps()
    labels = backend.call(rankseg, p)
    p[0] = soft_maps(seed=1)[0]
    changed = backend.call(rankseg, p)
    assert not np.array_equal(changed[0], labels[0])
    assert np.array_equal(changed[1], labels[1])


def test_two_classes_are_ordinary_multiclass():
    p = soft_maps(classes=2, batch=3)
    labels, masks = rankseg(p), rankseg(p, output_mode="multilabel")
    assert set(np.unique(labels)) == {0, 1}
    alone = masks.sum(axis=1) == 1
    assert np.array_equal(labels[alone], masks[:, 1][alone])


# Pruning


def test_masks_are_empty_where_everything_is_pruned(backend):
    p = soft_maps()
    assert not backend.call(rankseg, p, output_mode="multilabel", pruning_prob=1.0).any()
    found = backend.call(thresholds, p, pruning_prob=1.0)
    assert np.isposinf(found.threshold).all()
    assert not found.score.any()
    assert not found.active.any()


@pytest.mark.parametrize("pruning_prob", [0.1, 0.7])
def test_a_class_whose_maximum_equals_pruning_prob_is_pruned(backend, pruning_prob):
    p = np.full((1, 1, 4), pruning_prob, np.float32)
    settings = {"output_mode": "multilabel", "pruning_prob": pruning_prob}
    assert not backend.call(rankseg, p, **settings).any()
    p[0, 0, 1] = np.nextafter(p[0, 0, 1], np.float32(1))
    assert backend.call(rankseg, p, **settings).any()


def test_pruning_prob_counts_class_by_class(backend):
    p = soft_maps(seed=1) * np.float32(0.9)
    limits = [0.0, 0.85, 0.5, 1.0]
    masks = backend.call(rankseg, p, output_mode="multilabel", pruning_prob=limits)
    for c, limit in enumerate(limits):
        alone = rankseg(p, output_mode="multilabel", pruning_prob=limit)
        assert np.array_equal(masks[:, c], alone[:, c])
    assert masks[:, 0].any()
    assert not masks[:, 3].any()


# class_axis


@pytest.mark.parametrize("settings", EVERY_ANSWER)
def test_classes_may_be_last_in_every_library(backend, settings):
    p = soft_maps()
    found = backend.call(rankseg, np.moveaxis(p, 1, -1), class_axis=-1, **settings)
    assert np.array_equal(found, rankseg(np.moveaxis(p, 1, -1), class_axis=-1, **settings))


@pytest.mark.parametrize("settings", EVERY_SOLVER)
@pytest.mark.parametrize("axis", [2, 3, -1, -2])
def test_the_class_axis_may_be_anywhere_and_masks_keep_it_there(axis, settings):
    p = soft_maps()
    expected = rankseg(p, **settings)
    if settings.get("output_mode") == "multilabel":
        expected = np.moveaxis(expected, 1, axis)
    assert np.array_equal(rankseg(np.moveaxis(p, 1, axis), class_axis=axis, **settings), expected)


def test_thresholds_are_the_same_wherever_the_class_axis_is(backend):
    p = soft_maps()
    found = backend.call(thresholds, np.moveaxis(p, 1, -1), class_axis=-1)
    expected = backend.call(thresholds, p)
    assert np.allclose(found.threshold, expected.threshold, rtol=1e-6)
    assert np.allclose(found.score, expected.score, rtol=1e-6)
    assert np.array_equal(found.active, expected.active)


# valid


def some_pixels(shape=(6, 7), batch=2):
    """One sample with holes, one with padding at its end, (batch, *spatial)."""
    valid = np.random.default_rng(5).random((batch, *shape)) < 0.7
    valid[1] = True
    valid[1, -2:] = False
    return valid


def test_pixels_outside_valid_count_as_zero_and_get_the_void_index(backend):
    p, valid = soft_maps(), some_pixels()
    zeroed = np.where(valid[:, None], p, np.float32(0))
    hidden = np.where(valid[:, None], p, np.float32(np.nan))
    labels = backend.call(rankseg, hidden, valid=valid)
    assert np.array_equal(labels[valid], rankseg(zeroed)[valid])
    assert (labels[~valid] == 255).all()
    masks = backend.call(rankseg, hidden, output_mode="multilabel", valid=valid)
    assert np.array_equal(masks, rankseg(zeroed, output_mode="multilabel"))
    assert not masks[np.broadcast_to(~valid[:, None], masks.shape)].any()


def test_thresholds_leave_out_pixels_outside_valid(backend):
    p, valid = soft_maps(), some_pixels()
    zeroed = np.where(valid[:, None], p, np.float32(0))
    hidden = np.where(valid[:, None], p, np.float32(np.nan))
    found = backend.call(thresholds, hidden, valid=valid)
    assert same(found, backend.call(thresholds, zeroed))


@pytest.mark.parametrize("settings", [*EVERY_SOLVER, {"metric": "iou"}])
@pytest.mark.parametrize("fill", [0.0, 1.0, -7.0, 1e30, np.inf, -np.inf])
def test_any_value_outside_valid_is_harmless(settings, fill):
    p, valid = soft_maps(), some_pixels()
    hidden = np.where(valid[:, None], p, np.float32(fill))
    expected = rankseg(np.where(valid[:, None], p, np.float32(0)), valid=valid, **settings)
    assert np.array_equal(rankseg(hidden, valid=valid, **settings), expected)


def test_accuracy_leaves_out_pixels_outside_valid(backend):
    p, valid = soft_maps(), some_pixels()
    hidden = np.where(valid[:, None], p, np.float32(np.nan))
    labels = backend.call(rankseg, hidden, valid=valid, **ARGMAX)
    assert np.array_equal(labels, np.where(valid, np.argmax(p, axis=1), 255))
    masks = backend.call(rankseg, hidden, valid=valid, **TR)
    assert np.array_equal(masks, (p > 0.5) & valid[:, None])


def test_valid_pixels_that_nobody_selected_and_invalid_ones_get_the_same_void_index(backend):
    p, valid = soft_maps(), some_pixels()
    p[0] *= np.float32(0.4)
    settings = {"unassigned_policy": "void", "void_index": -3}
    labels = backend.call(rankseg, p, valid=valid, **settings)
    assert (labels[0] == -3).all()
    assert (labels[1][~valid[1]] == -3).all()
    assert (labels[1][valid[1]] != -3).any()


@pytest.mark.parametrize("settings", EVERY_SOLVER)
def test_every_pixel_valid_changes_nothing(settings):
    p, everywhere = soft_maps(), np.ones((2, 6, 7), dtype=bool)
    found = rankseg(p, valid=everywhere, **settings)
    assert np.array_equal(found, rankseg(p, **settings))


def test_no_pixel_valid_leaves_nothing(backend):
    p, nowhere = np.full((2, 4, 6, 7), np.nan, np.float32), np.zeros((2, 6, 7), dtype=bool)
    assert (backend.call(rankseg, p, valid=nowhere) == 255).all()
    assert not backend.call(thresholds, p, valid=nowhere).active.any()


def test_valid_goes_with_any_class_axis(backend):
    p, valid = soft_maps(), some_pixels()
    last = np.moveaxis(p, 1, -1)
    masks = backend.call(rankseg, last, class_axis=-1, valid=valid, output_mode="multilabel")
    expected = rankseg(p, valid=valid, output_mode="multilabel")
    assert np.array_equal(masks, np.moveaxis(expected, 1, -1))


def test_valid_may_be_an_argument_of_a_jitted_function():
    jax = pytest.importorskip("jax")
    p, valid = soft_maps(), some_pixels()
    labels = jax.jit(lambda x, v: rankseg(x, valid=v))(p, valid)
    assert np.array_equal(labels, rankseg(p, valid=valid))


@pytest.mark.parametrize("settings", [{}, {"metric": "iou"}, {"smooth": 1.0}])
def test_the_optimisations_of_xla_change_nothing(settings):
    jax = pytest.importorskip("jax")
    p, quick = soft_maps((24, 31)), jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    try:
        found = jax.jit(lambda x: thresholds(x, **settings))(p)
        labels = jax.jit(lambda x: rankseg(x, **settings))(p)
    finally:
        jax.config.update("jax_disable_most_optimizations", quick)
    expected = Backend("jax", jax.numpy.asarray, jit=True).call(thresholds, p, **settings)
    np.testing.assert_allclose(found.threshold, expected.threshold, rtol=1e-6)
    np.testing.assert_allclose(found.score, expected.score, rtol=1e-6)
    assert np.mean(labels == rankseg(p, **settings)) > 0.99


# Accuracy


def test_accuracy_takes_the_most_probable_class_and_the_first_of_equals(backend):
    p = soft_maps()
    p[0, :, 0] = np.float32([0.1, 0.4, 0.1, 0.4])[:, None]
    labels = backend.call(rankseg, p, metric="acc", solver="argmax")
    assert np.array_equal(labels, np.argmax(p, axis=1))
    assert (labels[0, 0] == 1).all()


def test_accuracy_masks_are_above_one_half(backend):
    above = np.nextafter(np.float32(0.5), np.float32(1))
    p = np.array([[[0.5, above, 0.2], [1.0, 0.0, 0.5]]], np.float32)
    masks = backend.call(rankseg, p, **TR)
    assert masks.tolist() == [[[False, True, False], [True, False, False]]]


def test_argmax_masks_are_one_hot_and_warn(backend):
    p = soft_maps()
    with pytest.warns(UserWarning, match="'argmax' gives masks that do not overlap.*'TR'"):
        masks = backend.call(rankseg, p, output_mode="multilabel", **ARGMAX)
    assert masks.dtype == np.bool_
    assert np.array_equal(masks, np.argmax(p, axis=1)[:, None] == np.arange(4)[:, None, None])


def test_argmax_masks_are_empty_outside_valid(backend):
    p, valid = soft_maps(), some_pixels()
    with pytest.warns(UserWarning, match="argmax"):
        masks = backend.call(rankseg, p, output_mode="multilabel", valid=valid, **ARGMAX)
    assert np.array_equal(masks.sum(axis=1), valid)


@pytest.mark.parametrize(
    "call",
    [
        lambda p: rankseg(p, output_mode="multilabel", **ARGMAX),
        lambda p: RankSEG(output_mode="multilabel", **ARGMAX)(p),
        lambda p: RankSEG(output_mode="multilabel", **ARGMAX).predict(p),
    ],
)
def test_the_argmax_warning_points_at_the_line_of_the_caller(call):
    with pytest.warns(UserWarning, match="argmax") as record:
        call(soft_maps())
    assert [warning.filename for warning in record] == [__file__]


@pytest.mark.parametrize("smooth", [1e30, 1e300, 1e308])
@pytest.mark.parametrize(
    ("metric", "solver"),
    [(metric, solver) for metric in ("dice", "iou") for solver in ("RMA", "exact")]
    + [("dice", solver) for solver in ("BA", "TRNA", "BA+TRNA")],
)
def test_the_largest_smooth_keeps_the_order_of_masks(backend, metric, solver, smooth):
    if backend.jit and (solver != "RMA" or smooth < 1e308):
        pytest.skip("only RMA can be traced, and one smooth is enough to compile")
    p = np.random.default_rng(0).random((2, 3, 40)).astype(np.float32)
    p[np.abs(p - 0.5) < 1e-3] = 0.0
    settings = {"metric": metric, "solver": solver, "smooth": smooth, "pruning_prob": 0.0}
    masks = backend.call(rankseg, p, output_mode="multilabel", **settings)
    assert np.array_equal(masks, p > 0.5)
    if solver in ("RMA", "exact"):
        assert np.array_equal(backend.call(rankseg, p, **settings), p.argmax(1))


# rankseg_rma and thresholds


def test_rankseg_rma_is_rankseg_with_its_parameters_in_order(backend):
    p = soft_maps()
    found = backend.call(
        lambda x: rankseg_rma(x, "iou", 2.0, "multiclass", 0.9, "void", -9, "auto"), p
    )
    expected = rankseg(
        p,
        metric="iou",
        smooth=2.0,
        output_mode="multiclass",
        pruning_prob=0.9,
        unassigned_policy="void",
        void_index=-9,
    )
    assert np.array_equal(found, expected)
    assert (found == -9).any()
    masks = rankseg_rma(p, "iou", 2.0, "multilabel", 0.9)
    assert np.array_equal(masks, rankseg(p, "iou", 2.0, "multilabel", "RMA", 0.9))


@pytest.mark.parametrize(("metric", "smooth"), [("dice", 0.0), ("dice", 1.0), ("iou", 1.0)])
def test_masks_are_the_pixels_above_the_threshold_and_score_is_their_objective(
    backend, metric, smooth
):
    p = soft_maps()
    settings = {"metric": metric, "smooth": smooth}
    found = backend.call(thresholds, p, **settings)
    masks = backend.call(rankseg, p, output_mode="multilabel", **settings)
    assert np.array_equal(masks, p > found.threshold[..., None, None])
    for row in np.ndindex(2, 4):
        expected = mask_score(metric, smooth, p[row], masks[row]) if found.active[row] else 0.0
        assert found.score[row] == pytest.approx(expected, rel=2e-6)


def test_a_class_is_active_where_its_maximum_exceeds_pruning_prob(backend):
    p = soft_maps(batch=5) * np.float32(0.9)
    found = backend.call(thresholds, p, pruning_prob=0.8)
    assert np.array_equal(found.active, p.max(axis=(2, 3)) > 0.8)
    assert 0 < found.active.sum() < found.active.size
    assert np.array_equal(found.active, np.isfinite(found.threshold))


# What a call leaves alone


@pytest.mark.parametrize("settings", [LABELS, MASKS])
def test_the_input_is_not_modified(backend, settings):
    p, valid = soft_maps(), some_pixels()
    p[0, 0, 0] = -3e-7  # rounding, which is clipped
    p[0, 1, 0] = 1 + 3e-7
    kept, kept_valid = p.copy(), valid.copy()
    given = SimpleNamespace()

    def remember(x, valid):
        given.x, given.valid = x, valid
        return rankseg(x, valid=valid, **settings)

    backend.call(remember, p, valid=valid)
    assert np.array_equal(p, kept)
    if not backend.jit:
        x = given.x.detach() if backend.name == "torch" else given.x
        assert np.array_equal(backend.to_numpy(x), kept)
        assert np.array_equal(backend.to_numpy(given.valid), kept_valid)


def test_two_calls_give_identical_bits(backend):
    x = backend.asarray(soft_maps())
    run = backend.bind(rankseg)
    first, second = (backend.to_numpy(run(x)).tobytes() for _ in range(2))
    assert first == second
    run = backend.bind(thresholds)
    first, second = ([backend.to_numpy(part).tobytes() for part in run(x)] for _ in range(2))
    assert first == second


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_two_calls_on_a_large_map_give_identical_bits(library):
    x = pytest.importorskip(library).asarray(soft_maps((300, 500)))
    for function in (rankseg, thresholds):
        first, second = (np.asarray(function(x)).tobytes() for _ in range(2))
        assert first == second


@pytest.mark.parametrize("settings", EVERY_SOLVER)
def test_torch_gradients_are_not_recorded(settings):
    torch = pytest.importorskip("torch")
    x = torch.tensor(soft_maps(), requires_grad=True)
    for probs in (x, x * 1.0):
        assert not rankseg(probs, **settings).requires_grad
        assert not any(part.requires_grad for part in thresholds(probs))


@pytest.mark.parametrize("jit", [False, True])
def test_jax_gradients_are_not_recorded(jit):
    jax = pytest.importorskip("jax")
    p = soft_maps()

    def total(x):
        score = thresholds(x).score.sum()
        masks = rankseg(x, output_mode="multilabel").astype("float32").sum()
        return score + masks + rankseg(x).astype("float32").sum()

    gradient = jax.grad(total)
    assert not np.any((jax.jit(gradient) if jit else gradient)(p))


# Single libraries


def test_a_memory_map_is_read_as_it_is(tmp_path):
    p = soft_maps((40, 50), classes=3)
    path = tmp_path / "probs.npy"
    np.save(path, p)
    x = np.load(path, mmap_mode="r")
    assert isinstance(x, np.memmap)
    for settings in EVERY_SOLVER:
        found = rankseg(x, **settings)
        assert np.array_equal(found, rankseg(p, **settings))
        assert isinstance(found, np.ndarray)
    assert same(thresholds(x), thresholds(p))


@pytest.mark.parametrize("order", ["<", ">"])
def test_any_byte_order_is_read(order):
    p = soft_maps()
    assert np.array_equal(rankseg(p.astype(f"{order}f4")), rankseg(p))


def test_jax_labels_without_x64_refuse_a_void_index_they_cannot_hold(backend):
    if backend.name != "jax":
        pytest.skip("labels are int64 there")
    p = soft_maps() * np.float32(0.4)
    settings = {"unassigned_policy": "void"}
    assert (backend.call(rankseg, p, void_index=2**31 - 1, **settings) == 2**31 - 1).all()
    with pytest.raises(ValueError, match="void_index"):
        backend.call(rankseg, p, void_index=2**40, **settings)


CHUNKS = ((1, 1), (1, 3), (4, 2), (3, 4))


def test_a_dask_answer_is_lazy_with_the_spatial_chunks_of_the_input():
    da = pytest.importorskip("dask.array")
    x = da.from_array(soft_maps(), chunks=CHUNKS)
    for settings in EVERY_ANSWER:
        found = rankseg(x, **settings)
        assert isinstance(found, da.Array)
        masks = settings.get("output_mode") == "multilabel"
        assert found.chunks[0] == CHUNKS[0]
        assert found.chunks[2 if masks else 1 :] == CHUNKS[2:]


def test_one_chunk_of_a_dask_answer_reads_the_chunks_at_its_place_only():
    da = pytest.importorskip("dask.array")
    p, reads = soft_maps(), []

    def read(block, block_info=None):
        reads.append(block_info[0]["chunk-location"])
        return block

    x = da.from_array(p, chunks=CHUNKS).map_blocks(read, dtype=p.dtype, meta=p[:0])
    for settings in EVERY_ANSWER:
        found = rankseg(x, **settings)
        reads.clear()
        masks = settings.get("output_mode") == "multilabel"
        corner = found.blocks[1, :, 0, 1] if masks else found.blocks[1, 0, 1]
        expected = rankseg(p, **settings)[1:, ..., :4, 3:]
        assert np.array_equal(corner.compute(), expected)
        assert set(reads) == {(1, 0, 0, 1), (1, 1, 0, 1)}


@pytest.mark.parametrize("settings", EVERY_SOLVER)
@pytest.mark.parametrize("chunks", [(2, 4, 6, 7), (1, 1, 3, 2), CHUNKS])
def test_dask_chunks_change_nothing(chunks, settings):
    da = pytest.importorskip("dask.array")
    p = soft_maps()
    x = da.from_array(p, chunks=chunks)
    assert np.array_equal(rankseg(x, **settings).compute(), rankseg(p, **settings))


def test_values_outside_by_rounding_count_as_0_or_1(backend):
    p = np.full((1, 2, 6, 7), -4e-7, np.float32)
    p[0, :, :3] = 1 + 4e-7
    p[0, 1, 0] = 0.25
    found = backend.call(thresholds, p)
    expected = backend.call(thresholds, np.clip(p, 0, 1))
    for part, clipped in zip(found, expected, strict=True):
        assert np.array_equal(part, clipped)
