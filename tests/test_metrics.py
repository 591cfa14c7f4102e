"""Samplewise Dice and IoU against a brute-force oracle and torchmetrics, on every library."""

import importlib
import warnings
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rankseg.metrics import class_presence, dice, iou, mean_score, overlap

BACKENDS = ["numpy", "torch", "jax", "strict", "dask"]
VOID = 255


def _refuse(*args, **kwargs):
    raise AssertionError("a lazy array was computed")


def _read_only(array):
    array = np.array(array)
    array.flags.writeable = False
    return array


@pytest.fixture(params=BACKENDS)
def backend(request):
    """`asarray` from NumPy, `numpy` back to it, and the `module` itself."""
    if request.param == "numpy":
        yield SimpleNamespace(name="numpy", module=np, asarray=_read_only, numpy=np.asarray)
    elif request.param == "torch":
        torch = pytest.importorskip("torch")
        yield SimpleNamespace(
            name="torch",
            module=torch,
            asarray=lambda a: torch.tensor(np.asarray(a)),
            numpy=lambda t: t.numpy(),
        )
    elif request.param == "jax":
        jnp = pytest.importorskip("jax.numpy")
        yield SimpleNamespace(name="jax", module=jnp, asarray=jnp.asarray, numpy=np.asarray)
    elif request.param == "strict":
        strict = pytest.importorskip("array_api_strict")
        flags = {"data_dependent_shapes": False, "boolean_indexing": False}
        with strict.ArrayAPIStrictFlags(**flags):
            yield SimpleNamespace(
                name="strict", module=strict, asarray=strict.asarray, numpy=np.asarray
            )
    else:
        da = pytest.importorskip("dask.array")
        config = importlib.import_module("dask.config")
        with config.set(scheduler=_refuse):
            yield SimpleNamespace(
                name="dask",
                module=da,
                asarray=lambda a: da.from_array(np.asarray(a), chunks=2),
                numpy=lambda a: a.compute(scheduler="synchronous"),
            )


def oracle(metric, pred, target, num_classes, ignore_index=None):
    """Pixel by pixel, in Python integers."""
    scores = np.full((len(target), num_classes), np.nan)
    for b in range(len(target)):
        pixels = [
            (int(p), int(t))
            for p, t in zip(pred[b].ravel(), target[b].ravel(), strict=True)
            if ignore_index is None or t != ignore_index
        ]
        for c in range(num_classes):
            both = sum(p == c and t == c for p, t in pixels)
            sizes = sum(p == c for p, _ in pixels) + sum(t == c for _, t in pixels)
            if sizes:
                scores[b, c] = 2 * both / sizes if metric is dice else both / (sizes - both)
    return scores


def is_small(shape):
    return np.prod(shape) < 64


def random_maps(seed, shape=(3, 5, 4), num_classes=4, void_share=0.0):
    rng = np.random.default_rng(seed)
    pred = rng.integers(0, num_classes, shape)
    target = np.where(rng.random(shape) < 0.5, pred, rng.integers(0, num_classes, shape))
    return pred, np.where(rng.random(shape) < void_share, VOID, target)


def one_hot(labels, num_classes):
    return np.stack([labels == c for c in range(num_classes)], axis=1)


metrics = pytest.mark.parametrize("metric", [dice, iou])


class TestScores:
    @metrics
    @pytest.mark.parametrize("shape", [(3, 7), (2, 5, 4), (2, 3, 2, 3)])
    def test_label_maps(self, backend, metric, shape):
        pred, target = random_maps(0, shape)
        scores = metric(backend.asarray(pred), backend.asarray(target), num_classes=5)
        assert type(scores) is type(backend.asarray(np.zeros(1)))
        np.testing.assert_allclose(
            backend.numpy(scores), oracle(metric, pred, target, 5), rtol=1e-6
        )

    @metrics
    def test_masks_may_overlap(self, backend, metric):
        rng = np.random.default_rng(1)
        pred, target = rng.random((2, 2, 3, 4, 5)) < 0.4
        target[0, 1] = pred[0, 1] = False
        scores = backend.numpy(metric(backend.asarray(pred), backend.asarray(target)))
        one_class = partial(oracle, metric, num_classes=2)
        for c in range(3):
            expected = one_class(pred[:, c], target[:, c])[:, 1]
            np.testing.assert_allclose(scores[:, c], expected, rtol=1e-6)

    @metrics
    def test_masks_and_label_maps_agree(self, metric):
        pred, target = random_maps(2)
        np.testing.assert_array_equal(
            metric(one_hot(pred, 4), one_hot(target, 4), num_classes=4),
            metric(pred, target, num_classes=4),
        )

    @metrics
    def test_ignored_pixels_count_nowhere(self, backend, metric):
        pred, target = random_maps(3, void_share=0.3)
        scores = metric(
            backend.asarray(pred), backend.asarray(target), num_classes=4, ignore_index=VOID
        )
        expected = oracle(metric, pred, target, 4, VOID)
        np.testing.assert_allclose(backend.numpy(scores), expected, rtol=1e-6)

    @metrics
    @settings(deadline=None, max_examples=60)
    @given(data=st.data())
    def test_any_small_maps(self, metric, data):
        # Of 64 values and more, zeros and ones with an axis of classes may be taken for masks.
        shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=4, max_side=4).filter(is_small))
        num_classes = data.draw(st.integers(1, 4))
        ignore_index = data.draw(st.sampled_from([None, VOID, -1, 0]))
        classes = list(range(num_classes))
        labels = classes if ignore_index is None else [*classes, ignore_index]
        pred = data.draw(hnp.arrays(np.int16, shape, elements=st.sampled_from([*classes, -3, 9])))
        target = data.draw(hnp.arrays(np.int16, shape, elements=st.sampled_from(labels)))
        scores = metric(pred, target, num_classes=num_classes, ignore_index=ignore_index)
        expected = oracle(metric, pred, target, num_classes, ignore_index)
        np.testing.assert_allclose(scores, expected, rtol=1e-14)

    def test_dice_is_a_function_of_iou(self):
        pred, target = random_maps(4)
        jaccard = iou(pred, target, num_classes=6)
        np.testing.assert_allclose(
            dice(pred, target, num_classes=6), 2 * jaccard / (1 + jaccard), rtol=1e-14
        )

    def test_nan_only_where_absent_from_both(self, backend):
        pred = backend.asarray(np.asarray([[0, 0, 0, 2]]))
        target = backend.asarray(np.asarray([[0, 0, 3, 0]]))
        expected = [[0.5, np.nan, 0.0, 0.0, np.nan]]
        np.testing.assert_array_equal(
            backend.numpy(iou(pred, target, num_classes=5)), np.asarray(expected)
        )

    def test_void_prediction_is_no_class(self, backend):
        pred = backend.asarray(np.asarray([[0, VOID, 1, VOID]], dtype=np.uint8))
        target = backend.asarray(np.asarray([[0, 0, 1, VOID]], dtype=np.uint8))
        scores = iou(pred, target, num_classes=2, ignore_index=VOID)
        np.testing.assert_array_equal(backend.numpy(scores), [[0.5, 1.0]])

    @pytest.mark.parametrize("ignore_index", [257, 2**70])
    def test_labels_beyond_the_dtype(self, backend, ignore_index):
        pred = backend.asarray(np.asarray([[0, 1, -128]], dtype=np.int8))  # 128 if it wrapped
        target = backend.asarray(np.asarray([[0, 1, 1]], dtype=np.int8))  # 257 if it wrapped
        scores = iou(pred, target, num_classes=130, ignore_index=ignore_index)
        expected = [[1.0, 0.5] + [np.nan] * 128]
        np.testing.assert_array_equal(backend.numpy(scores), expected)

    def test_pred_and_target_of_different_integer_dtypes(self, backend):
        pred, target = random_maps(5, void_share=0.2)
        scores = dice(
            backend.asarray(pred.astype(np.int32)),
            backend.asarray(target.astype(np.uint8)),
            num_classes=4,
            ignore_index=VOID,
        )
        expected = oracle(dice, pred, target, 4, VOID)
        np.testing.assert_allclose(backend.numpy(scores), expected, rtol=1e-6)

    @pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4)])
    def test_empty(self, backend, shape):
        labels = backend.asarray(np.zeros(shape, dtype=np.int32))
        scores = iou(labels, labels, num_classes=3)
        np.testing.assert_array_equal(backend.numpy(scores), np.full((shape[0], 3), np.nan))

    @pytest.mark.parametrize("backend", ["numpy", "torch", "jax"], indirect=True)
    def test_more_than_2_to_the_24_pixels(self, backend):
        labels = np.zeros((1, 1, 2**24 + 3), dtype=bool)
        target = labels.copy()
        target[..., :-1] = True
        labels[..., :-2] = True
        scores = backend.numpy(dice(backend.asarray(labels), backend.asarray(target)))
        exact = 2 * (2**24 + 1) / (2 * (2**24 + 1) + 1)
        assert scores[0, 0] == np.asarray(exact, dtype=scores.dtype)

    def test_default_dtype_of_torch_does_not_matter(self):
        torch = pytest.importorskip("torch")
        default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float16)
        try:
            mask = torch.ones((1, 1, 70_000), dtype=torch.bool)
            assert iou(mask, mask).dtype == torch.float64
            assert iou(mask, mask) == 1
        finally:
            torch.set_default_dtype(default)

    def test_runs_under_jit(self):
        jax = pytest.importorskip("jax")
        pred, target = random_maps(6, void_share=0.2)

        @jax.jit
        def mean_dice(pred, target):
            scores = dice(pred, target, num_classes=4, ignore_index=VOID)
            present = class_presence(target, num_classes=4, ignore_index=VOID)
            return mean_score(scores, present=present)

        expected = oracle(dice, pred, target, 4, VOID)
        present = np.stack([[np.any(t == c) for c in range(4)] for t in target])
        expected = np.nanmean(np.nanmean(np.where(present, expected, np.nan), axis=1))
        np.testing.assert_allclose(mean_dice(pred, target), expected, rtol=1e-6)


class TestMeanScore:
    SCORES = np.asarray([[1.0, 0.5, np.nan], [0.0, 0.25, 0.5], [np.nan, np.nan, np.nan]])
    PRESENT = np.asarray([[True, False, False], [False, True, True], [False, False, True]])

    @pytest.mark.parametrize(
        ("per", "expected"),
        [
            (None, 0.5),
            ("image", [0.75, 0.25, np.nan]),
            ("class", [0.5, 0.375, 0.5]),
        ],
    )
    def test_present_in_label_or_prediction(self, backend, per, expected):
        mean = mean_score(backend.asarray(self.SCORES), per=per)
        np.testing.assert_array_equal(backend.numpy(mean), np.asarray(expected))

    @pytest.mark.parametrize(
        ("per", "expected"),
        [
            (None, 0.6875),
            ("image", [1.0, 0.375, np.nan]),
            ("class", [1.0, 0.25, 0.5]),
        ],
    )
    def test_present_in_label(self, backend, per, expected):
        mean = mean_score(
            backend.asarray(self.SCORES), present=backend.asarray(self.PRESENT), per=per
        )
        np.testing.assert_array_equal(backend.numpy(mean), np.asarray(expected))

    def test_nothing_counts(self, backend):
        scores = backend.asarray(np.full((2, 3), np.nan))
        assert np.isnan(backend.numpy(mean_score(scores)))
        assert np.isnan(backend.numpy(mean_score(scores[:0, :])))

    def test_keeps_the_dtype(self, backend):
        scores = backend.asarray(np.asarray([[0.5, 1.0]], dtype=np.float32))
        assert mean_score(scores).dtype == scores.dtype

    def test_presence(self, backend):
        target = np.asarray([[[0, 2], [0, VOID]], [[1, 1], [1, 1]]])
        expected = [[True, False, True], [False, True, False]]
        present = class_presence(backend.asarray(target), num_classes=3, ignore_index=VOID)
        np.testing.assert_array_equal(backend.numpy(present), np.asarray(expected))
        present = class_presence(backend.asarray(one_hot(target, 3)))
        np.testing.assert_array_equal(backend.numpy(present), np.asarray(expected))

    def test_ignored_class_is_not_present(self):
        present = class_presence(np.asarray([[0, 1, 1]]), num_classes=2, ignore_index=0)
        np.testing.assert_array_equal(present, [[False, True]])


class TestTorchmetrics:
    """`aggregation_level="samplewise"`, on images that miss some classes."""

    @pytest.fixture
    def maps(self):
        torch = pytest.importorskip("torch")
        pred, target = random_maps(7, shape=(6, 3, 4), num_classes=5)
        pred[0], target[0] = 1, 1
        pred[1], target[1] = 0, 3
        return torch.from_numpy(pred), torch.from_numpy(target)

    @pytest.fixture
    def segmentation(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pytest.importorskip("torchmetrics.segmentation")

    @pytest.mark.parametrize(("average", "per"), [("macro", None), ("none", "class")])
    def test_dice_score(self, segmentation, maps, average, per):
        reference = segmentation.DiceScore(
            num_classes=6, average=average, aggregation_level="samplewise", input_format="index"
        )
        expected = reference(*maps).numpy()
        mean = mean_score(dice(*maps, num_classes=6), per=per)
        np.testing.assert_allclose(mean.numpy(), expected, rtol=1e-6)

    def test_dice_score_of_masks(self, segmentation, maps):
        masks = [maps[0][:, None] >= maps[0].new_tensor([1, 2, 5])[:, None, None]]
        masks.append(maps[1][:, None] >= maps[1].new_tensor([1, 2, 5])[:, None, None])
        reference = segmentation.DiceScore(num_classes=3, average="macro")
        expected = reference(*(mask.long() for mask in masks)).numpy()
        np.testing.assert_allclose(mean_score(dice(*masks)).numpy(), expected, rtol=1e-6)

    def test_mean_iou_per_class(self, segmentation, maps):
        reference = segmentation.MeanIoU(num_classes=6, per_class=True, input_format="index")
        expected = reference(*maps).numpy()
        mean = mean_score(iou(*maps, num_classes=6), per="class")
        np.testing.assert_allclose(np.nan_to_num(mean.numpy(), nan=-1.0), expected, rtol=1e-6)

    def test_mean_iou_pools_images_and_classes(self, segmentation, maps):
        reference = segmentation.MeanIoU(num_classes=5, per_class=False, input_format="index")
        scores = iou(*maps, num_classes=5)
        expected = float(reference(*maps))
        assert float(scores.nanmean()) == pytest.approx(expected, rel=1e-6)
        assert float(mean_score(scores)) != pytest.approx(expected, rel=1e-3)

    @pytest.mark.parametrize("per_class", [False, True])
    def test_mean_iou_of_each_image(self, segmentation, maps, per_class):
        functional = importlib.import_module("torchmetrics.functional.segmentation")
        expected = functional.mean_iou(
            *maps, num_classes=6, per_class=per_class, input_format="index"
        ).numpy()
        scores = iou(*maps, num_classes=6)
        if per_class:
            scores = np.nan_to_num(scores.numpy(), nan=-1.0)
            np.testing.assert_allclose(scores, expected, rtol=1e-6)
        else:
            mean = mean_score(scores, per="image")
            np.testing.assert_allclose(mean.numpy(), expected, rtol=1e-6)


MAPS = np.asarray([[0, 1, 2]])
MASKS = np.asarray([[[True, False], [False, False]]])


class TestBadInput:
    @metrics
    @pytest.mark.parametrize(
        ("pred", "target", "options", "error", "message"),
        [
            ([[0]], MAPS, {"num_classes": 3}, TypeError, "pred must be an array, found .*list"),
            (MAPS, None, {"num_classes": 3}, TypeError, "target must be an array, found .*None"),
            (
                MAPS / 2,
                MAPS,
                {"num_classes": 3},
                TypeError,
                "pred must be .*integer.*found float64",
            ),
            (MAPS, MAPS * 1j, {"num_classes": 3}, TypeError, "target must be .*found complex128"),
            (MASKS, MASKS + 0, {"num_classes": 2}, TypeError, "both .*found bool and int64"),
            (MAPS, MAPS, {}, ValueError, "num_classes must be given"),
            (MAPS, MAPS, {"num_classes": True}, TypeError, "num_classes must be an int.*True"),
            (MAPS, MAPS, {"num_classes": 3.0}, TypeError, "num_classes must be an int.*3.0"),
            (MAPS, MAPS, {"num_classes": 0}, ValueError, "num_classes must be at least 1, found 0"),
            (MAPS, MAPS, {"num_classes": 2}, ValueError, r"target must be in \[0, 2\), found 2"),
            (MAPS, MAPS - 1, {"num_classes": 3}, ValueError, r"target must be .*found -1"),
            (
                MAPS,
                MAPS,
                {"num_classes": 2, "ignore_index": 9},
                ValueError,
                "or equal to ignore_index=9, found 2",
            ),
            (
                MAPS,
                MAPS,
                {"num_classes": 3, "ignore_index": "void"},
                TypeError,
                "ignore_index must be an int.*'void'",
            ),
            (
                MAPS,
                MAPS[:, :2],
                {"num_classes": 3},
                ValueError,
                r"same shape, found \(1, 3\) and \(1, 2\)",
            ),
            (MAPS[0], MAPS[0], {"num_classes": 3}, ValueError, r"target .*found \(3,\)"),
            (MASKS[0], MASKS[0], {}, ValueError, r"\(batch, class, \*spatial\).*found \(2, 2\)"),
            (MASKS[:, :0], MASKS[:, :0], {}, ValueError, r"one class.*found \(1, 0, 2\)"),
            (MASKS, MASKS, {"num_classes": 3}, ValueError, "num_classes must be None or .*found 3"),
            (MASKS, MASKS, {"ignore_index": 255}, ValueError, "ignore_index must be None .*255"),
        ],
    )
    def test_scores(self, metric, pred, target, options, error, message):
        with pytest.raises(error, match=message):
            metric(pred, target, **options)

    def test_two_libraries(self):
        torch = pytest.importorskip("torch")
        with pytest.raises(TypeError, match="one library"):
            dice(torch.from_numpy(MAPS), MAPS, num_classes=3)

    @pytest.mark.parametrize("backend", ["torch", "jax", "strict"], indirect=True)
    def test_labels_out_of_range(self, backend):
        labels = backend.asarray(MAPS)
        with pytest.raises(ValueError, match="target must be"):
            dice(labels, labels, num_classes=2)
        with pytest.raises(ValueError, match="target must be"):
            class_presence(labels, num_classes=2)

    @pytest.mark.parametrize("backend", ["dask"], indirect=True)
    def test_lazy_labels_out_of_range_are_no_class(self, backend):
        labels = backend.asarray(MAPS)
        scores = dice(labels, labels, num_classes=2)
        np.testing.assert_array_equal(backend.numpy(scores), [[1.0, 1.0]])

    @pytest.mark.parametrize(
        ("scores", "options", "error", "message"),
        [
            ([[0.5]], {}, TypeError, "scores must be an array"),
            (np.ones((1, 2), dtype=int), {}, TypeError, "scores .*floating.*int64"),
            (np.ones(2), {}, ValueError, r"scores .*\(batch, class\).*\(2,\)"),
            (np.ones((1, 2)), {"present": [True, True]}, TypeError, "present must be an array"),
            (np.ones((1, 2)), {"present": np.ones((1, 2))}, TypeError, "present .*bool.*float64"),
            (
                np.ones((1, 2)),
                {"present": np.ones(2, dtype=bool)},
                ValueError,
                r"present .*\(1, 2\), found \(2,\)",
            ),
            (np.ones((1, 2)), {"per": "pixel"}, ValueError, "per must be .*'pixel'"),
        ],
    )
    def test_mean_score(self, scores, options, error, message):
        with pytest.raises(error, match=message):
            mean_score(scores, **options)


# What people hand over


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("spatial", [(40,), (7, 9), (4, 5, 6)])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64"])
def test_integer_masks_are_refused_with_the_cast(classes, spatial, dtype):
    rng = np.random.default_rng(0)
    pred, target = (rng.integers(0, classes, (2, *spatial)) for _ in range(2))
    one_hot = [np.moveaxis(np.eye(classes, dtype=dtype)[x], -1, 1) for x in (pred, target)]
    for function in (dice, iou, overlap):
        with pytest.raises(ValueError, match="cast them to bool"):
            function(*one_hot, num_classes=classes)
    with pytest.raises(ValueError, match="cast them to bool"):
        class_presence(one_hot[1], num_classes=classes)
    masks = [x.astype(bool) for x in one_hot]
    expected = dice(pred, target, num_classes=classes)
    np.testing.assert_array_equal(dice(*masks, num_classes=classes), expected)


@pytest.mark.parametrize("which", [0, 1])
def test_masks_of_which_one_is_empty_are_refused(which):
    masks = [np.zeros((2, 3, 6, 7), int), np.zeros((2, 3, 6, 7), int)]
    masks[which][:, 1, 2:4] = 1
    with pytest.raises(ValueError, match="cast them to bool"):
        dice(*masks, num_classes=3)


@pytest.mark.parametrize("shape", [(2, 3, 9), (2, 2, 8, 9), (3, 2, 5, 6), (2, 5, 8), (2, 4, 4, 4)])
def test_label_maps_of_such_a_shape_are_label_maps(shape):
    rng = np.random.default_rng(0)
    for classes in (2, 3, shape[1]):
        pred, target = (rng.integers(0, classes, shape) for _ in range(2))
        found = dice(pred, target, num_classes=classes)
        wide = [x.reshape(len(x), 1, -1) for x in (pred, target)]
        np.testing.assert_allclose(found, dice(*wide, num_classes=classes))


def test_whole_numbers_may_be_floats(backend):
    if backend.name == "dask":
        pytest.skip("values are not known there")
    rng = np.random.default_rng(0)
    pred, target = (rng.integers(0, 3, (2, 6, 7)) for _ in range(2))
    found = dice(
        backend.asarray(pred.astype(np.float32)),
        backend.asarray(target.astype(np.float32)),
        num_classes=3,
    )
    np.testing.assert_allclose(backend.numpy(found), dice(pred, target, num_classes=3), 1e-6)
    with pytest.raises(TypeError, match="integer"):
        dice(
            backend.asarray(pred + np.float32(0.5)),
            backend.asarray(target.astype(np.float32)),
            num_classes=3,
        )


def test_unsigned_integers_of_torch():
    torch = pytest.importorskip("torch")
    if not hasattr(torch, "uint16"):
        pytest.skip("not in this PyTorch")
    rng = np.random.default_rng(0)
    pred, target = (rng.integers(0, 3, (2, 6, 7), np.uint16) for _ in range(2))
    found = dice(torch.from_numpy(pred), torch.from_numpy(target), num_classes=3)
    np.testing.assert_allclose(found.numpy(), dice(pred, target, num_classes=3))


def test_overlaps_add_up_to_a_data_set():
    rng = np.random.default_rng(0)
    pred, target = (rng.integers(0, 3, (5, 6, 7)) for _ in range(2))
    both, either = (part.sum(axis=0) for part in overlap(pred, target, num_classes=3))
    whole = [x.reshape(1, -1) for x in (pred, target)]
    np.testing.assert_allclose(both / either, iou(*whole, num_classes=3)[0])
    np.testing.assert_allclose(2 * both / (both + either), dice(*whole, num_classes=3)[0])
