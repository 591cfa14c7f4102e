"""Arrays on a device: what crosses its border, and how often."""

import array_api_compat
import cupy_standin
import numpy as np
import pytest

from rankseg import arrays, metrics, thresholds
from rankseg.distribution import RefinedNormalPB
from rankseg.functional import rankseg
from rankseg.passes import Group, SmallRows
from rankseg.solvers import rma

P = np.random.default_rng(0).dirichlet([0.3] * 4, (2, 80, 90)).astype(np.float32)
P = np.moveaxis(P, -1, 1)


@pytest.fixture
def cupy():
    """The stand-in, whose counters start at zero."""
    with cupy_standin.installed() as cupy:
        cupy.counters.clear()
        yield cupy


def test_nothing_crosses_the_border_of_the_standin_by_itself(cupy):
    x, host = cupy.asarray(P), np.ones_like(P)
    for mix in (
        lambda: x + host,
        lambda: host + x,
        lambda: x > host,
        lambda: np.add(x, host),
        lambda: cupy.where(x > 0, x, host),
        lambda: cupy.where(host > 0, x, x),
        lambda: x.__setitem__(0, host[0]),
        lambda: x.__iadd__(host),
        lambda: np.asarray(x),
    ):
        with pytest.raises(TypeError):
            mix()
    assert (x + 1).get().tolist() == (P + 1).tolist()


def test_the_standin_counts_kernels_copies_and_waits(cupy):
    x = cupy.asarray(P)
    assert cupy.counters == {"copies": 1, "waits": 1}
    cupy.sum(x * 2)
    assert cupy.counters == {"copies": 1, "waits": 1, "kernels": 2}
    cupy.nonzero(x[0] > 0.5)
    assert cupy.counters == {"copies": 1, "waits": 2, "kernels": 4}


def test_a_pass_waits_twice_and_labels_once(cupy):
    x = cupy.asarray(P)
    cupy.counters.clear()
    full = []
    with pytest.MonkeyPatch.context() as patch:
        original = Group.above_each
        count = lambda self, t: full.append(self.source) or original(self, t)  # noqa: E731
        patch.setattr(Group, "above_each", count)
        rankseg(x)
    passes = sum(source.pixels == P[0, 0].size for source in full)
    # Values and sums, the thinned map, thresholds up and sums down for each pass, and the labels.
    assert cupy.counters["copies"] == cupy.counters["waits"] == 2 + 2 * passes + 1
    assert passes <= 4


def test_masks_that_stand_still_are_not_counted_again(monkeypatch):
    counted = []
    original = SmallRows.above
    monkeypatch.setattr(SmallRows, "above", lambda self, t: counted.append(t) or original(self, t))
    best = 0.9 / (0.9 + 1 + 1)  # from the first pixel alone
    monkeypatch.setattr(rma, "START", best)
    found = rankseg(np.array([[[0.9, 0.0]]]), output_mode="multilabel")
    assert found.tolist() == [[[True, False]]]
    assert [float(np.squeeze(t)) for t in counted] == [best]


def test_clipping_is_one_kernel(cupy):
    x = cupy.asarray(P)
    cupy.counters.clear()
    xp = array_api_compat.array_namespace(x)
    assert arrays.clip(xp, x, 0.1, 0.2).get().tolist() == np.clip(P, 0.1, 0.2).tolist()
    assert cupy.counters["kernels"] == 1


@pytest.mark.parametrize("shape", [(10_000,), (70, 90), (3, 9000), (20, 30, 40), (2, 4096)])
def test_rows_are_reduced_in_tiles(cupy, monkeypatch, shape):
    longest = []

    def spy(function):
        def reduce(x, axis=None, **options):
            axes = (axis,) if isinstance(axis, int) else axis
            longest.append(int(np.prod([x.shape[i] for i in axes])))
            return function(x, axis=axis, **options)

        return reduce

    p = np.random.default_rng(0).random((2, 3, *shape), dtype=np.float32)
    x, ndim, axes = cupy.asarray(p), len(shape), tuple(range(2, p.ndim))
    xp = array_api_compat.array_namespace(x)
    for name in ("sum", "min", "max", "count_nonzero"):
        monkeypatch.setattr(xp, name, spy(getattr(xp, name)))
    low, high = arrays.extremes(xp, x, ndim)
    assert np.array_equal(low.get(), p.min(axis=axes))
    assert np.array_equal(high.get(), p.max(axis=axes))
    assert np.array_equal(arrays.count(xp, x > 0.3, ndim).get(), (p > 0.3).sum(axis=axes))
    sums = arrays.total(xp, x, ndim).get()
    np.testing.assert_allclose(sums, p.sum(axis=axes, dtype=float), 2e-7)
    assert max(longest) <= arrays.SHORT


def test_small_arrays_are_brought_in_one_copy(cupy):
    x = cupy.asarray(P)
    cupy.counters.clear()
    one, two = arrays.bring(x, np.array([[0.1]]), np.array([[True]]))
    assert cupy.counters["copies"] == 1
    assert (one.get().tolist(), two.get().tolist()) == ([[0.1]], [[1.0]])


@pytest.fixture
def single():
    """Bring arrays to a device without float64."""
    strict = pytest.importorskip("array_api_strict")
    device = strict.Device("no_float64")
    return lambda x: strict.asarray(x, device=device)


def _on_host(x):
    import array_api_strict as strict

    assert x.device == strict.Device("no_float64")
    return np.asarray(x.to_device(strict.Device("CPU_DEVICE")))


@pytest.mark.parametrize("settings", [{}, {"smooth": 1.0}, {"metric": "iou"}, {"solver": "exact"}])
def test_devices_without_float64_have_the_same_labels(single, settings):
    assert np.array_equal(_on_host(rankseg(single(P), **settings)), rankseg(P, **settings))


@pytest.mark.parametrize("method", ["exact", "rma"])
def test_devices_without_float64_get_scores_in_float32(single, method):
    for function in (metrics.expected_dice, metrics.expected_iou):
        found = _on_host(function(single(P), single(P > 0.4), method=method))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, function(P, P > 0.4, method=method), 1e-6)


def test_devices_without_float64_get_float32_of_integers(single):
    positives, points = RefinedNormalPB(10, 5.0, 1.5, 0.0), np.arange(4, 7)
    found = _on_host(positives.pmf(single(points)))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, positives.pmf(points), 1e-6)


def test_what_numpy_cannot_read_is_copied_by_dlpack(single):
    assert arrays._copy_to_host(single(P)).tolist() == P.tolist()


@pytest.mark.parametrize("backend", ["cupy", "strict-device1", "torch-device"], indirect=True)
def test_valid_and_masks_may_come_from_numpy(backend):
    valid = P[:, 0] < 0.5
    x = backend.asarray(P)
    assert np.array_equal(backend.to_numpy(rankseg(x, valid=valid)), rankseg(P, valid=valid))
    for method in ("exact", "rma"):
        for mask in (P > 0.4, P.argmax(axis=1)):
            found = backend.to_numpy(metrics.expected_dice(x, mask, method=method))
            np.testing.assert_allclose(found, metrics.expected_dice(P, mask, method=method), 1e-6)


def test_eager_jax_off_the_host_finishes_smoothed_dice_exactly(monkeypatch):
    jnp = pytest.importorskip("jax.numpy")
    monkeypatch.setattr(arrays, "to_numpy_view", lambda x: x)
    p = np.random.default_rng(0).random((1, 30, 40), dtype=np.float32) / 4
    found, wanted = (
        p > np.asarray(thresholds(x, smooth=1.0, pruning_prob=0.0).threshold)[..., None]
        for x in (jnp.asarray(p), p)
    )
    assert np.array_equal(found, wanted)
