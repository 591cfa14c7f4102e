"""Formats that optional packages read: values, names of arrays, geometry, pixels without data."""

import subprocess
import sys
from collections import Counter
from textwrap import dedent

import numpy as np
import pytest
from commandline import refuse, run, succeed

from rankseg import rankseg
from rankseg.io.reading import read_array
from rankseg.io.replacing import replacing
from rankseg.io.stores import look, open_lazily, reading_chunks

USUAL = ("probs", "probabilities")


def probabilities(shape=(1, 3, 40, 50), seed=0):
    random = np.random.default_rng(seed)
    scores = 2 * random.normal(size=shape)
    powers = np.exp(scores)
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def write_zarr(path, p, chunks=None, **more):
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(path, shape=p.shape, chunks=chunks or p.shape, dtype=p.dtype, **more)
    array[...] = p


def write_h5(path, p, chunks=None):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file.create_dataset("probs", data=p, chunks=chunks)
        file.create_dataset("group/other", data=np.zeros(3))


def write(path, p):
    """Write an array in the format that the name says."""
    if path.suffix == ".zarr":
        write_zarr(path, p)
    elif path.suffix in (".h5", ".hdf5"):
        write_h5(path, p)
    elif path.suffix in (".tif", ".tiff"):
        pytest.importorskip("tifffile").imwrite(path, p, photometric="minisblack")
    elif path.suffix == ".safetensors":
        pytest.importorskip("safetensors.numpy").save_file({"probs": p}, path)
    elif path.suffix == ".pth":
        torch = pytest.importorskip("torch")
        torch.save({"probs": torch.from_numpy(p)}, path)
    else:
        itk = pytest.importorskip("SimpleITK")
        image = itk.GetImageFromArray(np.moveaxis(p, 0, -1), isVector=True)
        image.SetSpacing((0.5, 2.0))
        image.SetOrigin((10.0, -20.0))
        image.SetDirection((0.0, 1.0, -1.0, 0.0))
        itk.WriteImage(image, str(path))


PLAIN = [".zarr", ".h5", ".hdf5", ".tif", ".tiff", ".safetensors", ".pth"]


@pytest.mark.parametrize("suffix", PLAIN)
def test_values_are_read_as_they_are(tmp_path, suffix):
    p = probabilities()[0]
    path = tmp_path / f"case{suffix}"
    write(path, p)
    found = read_array(path, None, USUAL)
    assert found.dtype == np.float32 and np.array_equal(found, p)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_classes_of_vector_images_are_last(tmp_path, suffix):
    p = probabilities()[0]
    write(tmp_path / f"case{suffix}", p)
    found = read_array(tmp_path / f"case{suffix}", None, USUAL)
    assert np.array_equal(found, np.moveaxis(p, 0, -1))


@pytest.mark.parametrize("suffix", PLAIN)
def test_damaged_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"case{suffix}"
    path.write_bytes(b"nothing of this format")
    with pytest.raises(ValueError, match=f"^case{suffix} cannot be read: "):
        read_array(path, None, USUAL)


def test_a_tiff_cut_short_is_refused(tmp_path, caplog):
    tifffile = pytest.importorskip("tifffile")
    path = tmp_path / "case.tif"
    tifffile.imwrite(path, probabilities()[0], photometric="minisblack", compression="zlib")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])  # the first class and a half of three
    with pytest.raises(ValueError, match=r"^case.tif cannot be read: .*invalid page offset"):
        read_array(path, None, USUAL)
    assert not caplog.records


@pytest.mark.parametrize("suffix", [".zarr", ".h5"])
def test_damaged_stores_are_refused(tmp_path, suffix):
    path, out = tmp_path / f"case{suffix}", ("-o", tmp_path / "o.zarr")
    path.write_text("text")
    assert f"case{suffix} cannot be read: " in refuse("predict", path, *out)
    path.unlink()
    if suffix == ".zarr":
        write_zarr(path, probabilities(), chunks=(1, 3, 40, 10))
        (path / "c/0/0/0/4").write_bytes(b"damaged")
    else:
        with pytest.importorskip("h5py").File(path, "w") as file:
            store = file.create_dataset(
                "probs", data=probabilities(), chunks=(1, 3, 40, 10), compression="gzip"
            )
            store.id.write_direct_chunk((0, 0, 0, 40), b"damaged")
    assert f"case{suffix} cannot be read: " in refuse("predict", path, *out)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_damage_behind_what_is_looked_at_is_refused(tmp_path):
    path = tmp_path / "case.zarr"
    write_zarr(path, probabilities((1, 3, 40, 700)), chunks=(1, 3, 40, 100))
    (path / "c/0/0/0/6").write_bytes(b"damaged")
    pytest.importorskip("dask")
    stored = open_lazily(path, None, USUAL)
    assert stored[..., :100].compute().shape == (1, 3, 40, 100)
    assert "case.zarr cannot be read: " in refuse("predict", path, "-o", tmp_path / "o.zarr")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_store_without_arrays_is_refused(tmp_path):
    pytest.importorskip("h5py").File(tmp_path / "case.h5", "w").close()
    message = refuse("predict", tmp_path / "case.h5", "-o", tmp_path / "o.npy")
    assert "case.h5 cannot be read: no array in it" in message


def test_objects_of_torch_are_refused_without_a_way_to_run_them(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "case.pt"
    torch.save(torch.nn.Linear(2, 2), path)
    for text in (None, b"hello"):
        if text:
            path.write_bytes(text)
        with pytest.raises(ValueError, match=r"cannot be read: expected tensors that torch\.save"):
            read_array(path, None, USUAL)


def test_bfloat16_comes_as_float32(tmp_path):
    torch = pytest.importorskip("torch")
    values = torch.tensor([[0.25, 0.75]], dtype=torch.bfloat16)
    path = tmp_path / "case.safetensors"
    pytest.importorskip("safetensors.torch").save_file({"probs": values}, path)
    found = read_array(path, None, USUAL)
    assert found.dtype == np.float32 and found.tolist() == [[0.25, 0.75]]


def test_an_array_is_chosen_by_its_name(tmp_path):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "case.zarr", mode="w")
    for name in ("a", "b"):
        group.create_array(name, shape=(2,), dtype="f4")[...] = ord(name)
    with pytest.raises(ValueError, match="several arrays, name one of a, b"):
        read_array(tmp_path / "case.zarr", None, USUAL)
    assert read_array(tmp_path / "case.zarr", "b", USUAL)[0] == ord("b")
    write_h5(tmp_path / "case.h5", np.zeros((2, 3)))
    assert read_array(tmp_path / "case.h5", None, USUAL).shape == (2, 3)
    assert read_array(tmp_path / "case.h5", "group/other", USUAL).shape == (3,)


@pytest.mark.parametrize(
    "suffix, module, extra",
    [
        (".zarr", "zarr", "zarr"),
        (".h5", "h5py", "hdf5"),
        (".tif", "tifffile", "tiff"),
        (".mha", "SimpleITK", "itk"),
        (".nrrd", "SimpleITK", "itk"),
        (".safetensors", "safetensors", "safetensors"),
        (".pth", "torch", "torch"),
    ],
)
def test_the_extra_of_a_format_is_named(tmp_path, monkeypatch, suffix, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    path = tmp_path / f"case{suffix}"
    path.write_bytes(b"")
    with pytest.raises(ModuleNotFoundError, match=rf'pip install "rankseg\[{extra}\]"'):
        read_array(path, None, USUAL)


# predict


def read_labels(path):
    if path.suffix == ".npy":
        return np.load(path)
    return read_array(path, None, ("label",))


@pytest.mark.parametrize("out", [".npy", ".tif", ".zarr"])
@pytest.mark.parametrize("suffix", PLAIN)
def test_predict_writes_the_labels_of_each_format(tmp_path, suffix, out):
    p = probabilities()
    source, output = tmp_path / f"case{suffix}", tmp_path / f"labels{out}"
    write(source, p[0])
    if out == ".zarr":
        pytest.importorskip("zarr")
    found = succeed("predict", source, "-o", output)
    assert "shape (40, 50), uint8, 3 classes" in found
    assert np.array_equal(read_labels(output), rankseg(p)[0])


@pytest.mark.parametrize("form", ["h5", "zarr"])
@pytest.mark.parametrize(
    "options, settings",
    [
        ([], {}),
        (["--mode", "multilabel"], {"output_mode": "multilabel"}),
        (["--metric", "iou", "--smooth", "2"], {"metric": "iou", "smooth": 2.0}),
    ],
    ids=str,
)
def test_batches_by_chunks(tmp_path, form, options, settings):
    p, write_it = probabilities((3, 4, 30, 40)), {"h5": write_h5, "zarr": write_zarr}[form]
    write_it(tmp_path / f"p.{form}", p, chunks=(1, 2, 16, 16))
    for out in ("out.zarr", "out.npy"):
        succeed("predict", tmp_path / f"p.{form}", "-o", tmp_path / out, *options)
        assert np.array_equal(read_labels(tmp_path / out), rankseg(p, **settings))


def test_maps_of_one_structure_and_classes_last_by_chunks(tmp_path):
    p = probabilities()
    write_zarr(tmp_path / "one.zarr", p[0, 1], chunks=(16, 16))
    succeed("predict", tmp_path / "one.zarr", "-o", tmp_path / "one_out.zarr")
    expected = rankseg(p[:, 1:2], output_mode="multilabel")[0, 0]
    assert np.array_equal(read_labels(tmp_path / "one_out.zarr"), expected)
    write_zarr(tmp_path / "last.zarr", np.moveaxis(p[0], 0, -1), chunks=(16, 16, 3))
    message = refuse("predict", tmp_path / "last.zarr", "-o", tmp_path / "x.zarr")
    assert "--class-axis 2" in message
    succeed("predict", tmp_path / "last.zarr", "-o", tmp_path / "out.zarr", "--class-axis", "-1")
    assert np.array_equal(read_labels(tmp_path / "out.zarr"), rankseg(p)[0])


def test_integers_and_logits_by_chunks(tmp_path):
    stored = np.rint(255 * probabilities()).astype(np.uint8)
    write_zarr(tmp_path / "p.zarr", stored, chunks=(1, 3, 16, 16))
    assert "divided by 255" in succeed("predict", tmp_path / "p.zarr", "-o", tmp_path / "a.zarr")
    expected = rankseg(stored / np.float32(255))
    assert np.array_equal(read_labels(tmp_path / "a.zarr"), expected)
    p = probabilities()
    write_zarr(tmp_path / "logits.zarr", np.log(p), chunks=(1, 3, 16, 16))
    arguments = "predict", tmp_path / "logits.zarr", "-o", tmp_path / "b.zarr"
    assert "--activation softmax" in refuse(*arguments)
    succeed(*arguments, "--activation", "softmax")
    assert np.mean(read_labels(tmp_path / "b.zarr") == rankseg(p)) > 0.999


def test_a_store_is_replaced_whole_and_only_if_asked(tmp_path):
    write_zarr(tmp_path / "p.zarr", probabilities(), chunks=(1, 3, 16, 16))
    arguments = "predict", tmp_path / "p.zarr", "-o", tmp_path / "out.zarr"
    succeed(*arguments)
    (tmp_path / "out.zarr" / "old").write_text("old")
    assert "--overwrite replaces it" in refuse(*arguments)
    succeed(*arguments, "--overwrite")
    assert not (tmp_path / "out.zarr" / "old").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.zarr", "p.zarr"]
    with pytest.raises(KeyError), replacing(tmp_path / "new.zarr", False) as target:
        write_zarr(target, np.zeros(3))
        raise KeyError
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.zarr", "p.zarr"]
    (tmp_path / "folder.zarr").mkdir()
    message = refuse("predict", tmp_path / "p.zarr", "-o", tmp_path / "folder.zarr", "--overwrite")
    assert "is a folder" in message


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_geometry_is_kept_by_simpleitk(tmp_path, suffix):
    itk = pytest.importorskip("SimpleITK")
    p = probabilities()
    source, output = tmp_path / f"case{suffix}", tmp_path / f"labels{suffix}"
    write(source, p[0])
    succeed("predict", source, "-o", output, "--class-axis", "-1")
    found = itk.ReadImage(str(output))
    assert np.array_equal(itk.GetArrayFromImage(found), rankseg(p)[0])
    assert found.GetSpacing() == (0.5, 2.0) and found.GetOrigin() == (10.0, -20.0)
    assert found.GetDirection() == (0.0, 1.0, -1.0, 0.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [source.name, output.name]
    np.save(tmp_path / "p.npy", p[0])
    message = refuse("predict", tmp_path / "p.npy", "-o", tmp_path / f"x{suffix}")
    assert "geometry" in message


def test_geometry_of_an_image_with_an_axis_of_classes(tmp_path):
    itk = pytest.importorskip("SimpleITK")
    p = probabilities((1, 3, 6, 7, 8))
    image = itk.GetImageFromArray(p[0], isVector=False)
    image.SetSpacing((1.0, 2.0, 3.0, 9.0))
    itk.WriteImage(image, str(tmp_path / "p.mha"))
    succeed("predict", tmp_path / "p.mha", "-o", tmp_path / "o.mha")
    found = itk.ReadImage(str(tmp_path / "o.mha"))
    assert found.GetSpacing() == (1.0, 2.0, 3.0)
    assert np.array_equal(itk.GetArrayFromImage(found), rankseg(p)[0])


def test_a_volume_of_vectors_is_one_sample(tmp_path):
    itk = pytest.importorskip("SimpleITK")
    p = probabilities((1, 3, 6, 7, 8))
    image = itk.GetImageFromArray(np.moveaxis(p[0], 0, -1), isVector=True)
    itk.WriteImage(image, str(tmp_path / "p.nrrd"))
    succeed("predict", tmp_path / "p.nrrd", "-o", tmp_path / "o.nrrd", "--class-axis", "-1")
    found = itk.GetArrayFromImage(itk.ReadImage(str(tmp_path / "o.nrrd")))
    assert np.array_equal(found, rankseg(p)[0])


def test_geography_of_a_tiff_is_kept(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    p = probabilities()
    scale = (33550, "d", 3, (10.0, 10.0, 0.0), True)
    tifffile.imwrite(
        tmp_path / "p.tif", p[0], photometric="minisblack", extratags=[scale], metadata=None
    )
    succeed("predict", tmp_path / "p.tif", "-o", tmp_path / "o.tif")
    with tifffile.TiffFile(tmp_path / "o.tif") as file:
        assert file.pages[0].tags[33550].value == (10.0, 10.0, 0.0)
        assert np.array_equal(file.asarray(), rankseg(p)[0])


@pytest.mark.parametrize("suffix", [".npy", ".zarr", ".tif"])
@pytest.mark.parametrize("value", [np.nan, -1.0])
def test_pixels_without_data_take_no_part(tmp_path, suffix, value):
    p, valid = probabilities(), np.random.default_rng(1).random((40, 50)) < 0.8
    stored = p[0].copy()
    stored[0, ~valid] = value  # in one class is enough
    source = tmp_path / f"p{suffix}"
    np.save(source, stored) if suffix == ".npy" else write(source, stored)
    refuse("predict", source, "-o", tmp_path / "o.npy")
    for flags, void in (([], 255), (["--void-index", "7"], 7)):
        succeed(
            "predict", source, "-o", tmp_path / "o.npy", f"--nodata={value}", *flags, "--overwrite"
        )
        expected = rankseg(p, valid=valid[None], void_index=void)[0]
        assert np.array_equal(np.load(tmp_path / "o.npy"), expected)


def test_a_folder_of_which_nothing_is_written_is_not_made(tmp_path):
    (tmp_path / "in").mkdir()
    source, out = tmp_path / "in" / "a.npy", tmp_path / "out"
    source.write_text("text")
    for path in (source, source.parent):
        assert run("predict", path, "-o", out).exit_code == 2
        assert not out.exists()
    out.mkdir()
    assert run("predict", source, "-o", out).exit_code == 2
    assert out.exists()


def test_surfaces_are_refused(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    axis = nibabel.cifti2.ScalarAxis(["a", "b"])
    brain = nibabel.cifti2.BrainModelAxis.from_mask(np.ones((2, 2, 2)), affine=np.eye(4))
    image = nibabel.Cifti2Image(np.full((2, 8), 0.5, np.float32), (axis, brain))
    nibabel.save(image, tmp_path / "p.dscalar.nii")
    message = refuse("predict", tmp_path / "p.dscalar.nii", "-o", tmp_path / "o.npy", "--binary")
    assert "expected an image or a volume, found CIFTI" in message


@pytest.mark.parametrize("value", ["-1", "0.5", "256", "nan"])
def test_nodata_that_the_dtype_cannot_have_is_refused(tmp_path, value):
    source = tmp_path / "p.npy"
    np.save(source, (255 * probabilities()[0]).round().astype(np.uint8))
    message = refuse("predict", source, "-o", tmp_path / "o.npy", f"--nodata={value}")
    assert f"--nodata must be a value that uint8 has, whole and from 0 to 255, found {value}" in (
        message
    )
    assert "--nodata takes one number" in refuse(
        "predict", source, "-o", tmp_path / "o.npy", "--nodata", "none"
    )


def test_results_of_a_folder_are_like_their_files(tmp_path):
    p = probabilities()[0]
    (tmp_path / "in").mkdir()
    for i, suffix in enumerate((".zarr", ".tiff", ".h5", ".pth")):
        write(tmp_path / "in" / f"case{i}{suffix}", p)
    succeed("predict", tmp_path / "in", "-o", tmp_path / "out")
    found = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert found == ["case0.zarr", "case1.tif", "case2.npy", "case3.npy"]


def test_labels_of_simpleitk_do_not_go_with_nifti(tmp_path):
    itk, nibabel = pytest.importorskip("SimpleITK"), pytest.importorskip("nibabel")
    from rankseg.evaluation import Cases

    image = itk.GetImageFromArray(np.zeros((4, 4, 4), np.uint8))
    itk.WriteImage(image, str(tmp_path / "a.mha"))
    (tmp_path / "probs").mkdir()
    p = np.moveaxis(probabilities((1, 3, 4, 4, 4))[0], 0, -1)
    nibabel.save(nibabel.Nifti1Image(p, np.eye(4)), tmp_path / "probs" / "a.nii.gz")
    with pytest.raises(ValueError, match=r"\.mha labels have axes \(z, y, x\)"):
        Cases(tmp_path / "probs", tmp_path, class_axis=-1).read("a")


# Larger than memory


def test_each_chunk_of_a_file_is_read_three_times_at_most(tmp_path, monkeypatch):
    """But for those that are looked at to see what the file holds."""
    zarr = pytest.importorskip("zarr")
    p = probabilities((1, 3, 400, 500))
    write_zarr(tmp_path / "p.zarr", p, chunks=(1, 3, 50, 50), compressors=None)
    monkeypatch.setattr("rankseg.io.stores.READ", 50_000)
    reads, original = Counter(), zarr.storage.LocalStore.get

    async def get(self, key, *args, **more):
        if "p.zarr" in str(self.root) and "/" in key:
            reads[key] += 1
        return await original(self, key, *args, **more)

    monkeypatch.setattr(zarr.storage.LocalStore, "get", get)
    succeed("predict", tmp_path / "p.zarr", "-o", tmp_path / "o.zarr")
    assert len(reads) == 80
    often = [count for count in reads.values() if count > 3]
    assert len(often) <= 4 and max(reads.values()) == 4
    assert np.array_equal(read_labels(tmp_path / "o.zarr"), rankseg(p))


def test_chunks_are_whole_ones_of_the_store():
    assert reading_chunks((1, 5, 12000, 10000), (1, 5, 1000, 1000), 4, 2**25) == (1, 5, 1000, 1000)
    assert reading_chunks((8, 3, 10, 10), (1, 1, 10, 10), 4, most=1200) == (1, 3, 10, 10)
    assert reading_chunks((2, 3, 10, 10), (1, 1, 3, 3), 4, most=130) == (1, 1, 3, 9)


def test_shards_are_read_whole(tmp_path, monkeypatch):
    pytest.importorskip("dask.array")
    monkeypatch.setattr("rankseg.io.stores.READ", 1)
    write_zarr(tmp_path / "p.zarr", probabilities(), chunks=(1, 3, 10, 10), shards=(1, 3, 20, 50))
    assert open_lazily(tmp_path / "p.zarr", None, USUAL).chunks[2:] == ((20, 20), (50,))


def test_the_middle_of_an_array_is_looked_at():
    da = pytest.importorskip("dask.array")
    found = look(da.arange(1000, chunks=100)[None])
    assert np.array_equal(found, np.arange(500, 600)[None])


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is one of Linux")
def test_memory_stays_below_a_limit_that_is_less_than_the_file(tmp_path):
    zarr = pytest.importorskip("zarr")
    pytest.importorskip("dask.array")
    shape = (1, 4, 4000, 4000)  # 256 MB
    array = zarr.create_array(
        tmp_path / "p.zarr", shape=shape, chunks=(1, 4, 500, 500), dtype="f4", compressors=None
    )
    for i in range(8):
        array[:, :, 500 * i : 500 * (i + 1)] = probabilities((1, 4, 500, 4000), i)
    code = f"""
        import resource, sys
        import dask, zarr, dask.array
        from rankseg.cli import main
        dask.config.set(num_workers=2)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        sys.argv = ["rankseg", "predict", {str(tmp_path / "p.zarr")!r}, "-o",
                    {str(tmp_path / "o.zarr")!r}]
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        limit = used + 900 * 2**20  # addresses, of which threads reserve more than they use
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        try:
            main()
        finally:
            after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print((after - before) // 1024)
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(code)], capture_output=True, text=True, timeout=300
    )
    assert "uint8" in done.stdout, done.stderr
    assert int(done.stdout.split()[-1]) < 240


# A cluster


def test_workers_of_a_scheduler_answer_the_same(tmp_path):
    distributed = pytest.importorskip("distributed")
    p = probabilities()
    write_zarr(tmp_path / "p.zarr", p, chunks=(1, 3, 16, 16))
    write_h5(tmp_path / "p.h5", p, chunks=(1, 3, 16, 16))
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
    ) as found:
        for name in ("p.zarr", "p.h5"):
            output = tmp_path / f"{name}.out.zarr"
            succeed(
                "predict", tmp_path / name, "-o", output, "--scheduler", found.scheduler_address
            )
            assert np.array_equal(read_labels(output), rankseg(p))


def test_a_scheduler_that_is_not_there_is_named(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("rankseg.io.clusters.PATIENCE", 0.5)
    write_zarr(tmp_path / "p.zarr", probabilities())
    arguments = ("-o", tmp_path / "o.zarr", "--scheduler", "tcp://127.0.0.1:9")
    message = refuse("predict", tmp_path / "p.zarr", *arguments)
    assert "--scheduler tcp://127.0.0.1:9: no scheduler there" in message
    np.save(tmp_path / "p.npy", probabilities())
    assert "--scheduler is for .zarr" in refuse("predict", tmp_path / "p.npy", *arguments)


def test_lazy_arrays_need_dask(tmp_path, monkeypatch):
    write_zarr(tmp_path / "p.zarr", probabilities())
    monkeypatch.setitem(sys.modules, "dask", None)
    monkeypatch.setitem(sys.modules, "dask.array", None)
    with pytest.raises(ModuleNotFoundError, match=r"rankseg\[dask\]"):
        open_lazily(tmp_path / "p.zarr", None, USUAL)
    monkeypatch.setitem(sys.modules, "zarr", None)  # whose extra brings Dask
    with pytest.raises(ModuleNotFoundError, match=r"rankseg\[zarr\]"):
        open_lazily(tmp_path / "p.zarr", None, USUAL)
