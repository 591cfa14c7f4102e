"""xarray in, xarray out."""

import numpy as np
import pytest

from rankseg import RankSEG, rankseg

xarray = pytest.importorskip("xarray")


def given(classes_last=False, lazy=False):
    p = np.random.default_rng(0).dirichlet(np.ones(3), (2, 20, 30)).astype(np.float32)
    values, dims = p, ("time", "y", "x", "class")
    if not classes_last:
        values, dims = np.moveaxis(p, -1, 1), ("time", "class", "y", "x")
    if lazy:
        values = pytest.importorskip("dask.array").from_array(values, chunks=15)
    coordinates = {
        "time": [2019, 2021],
        "class": ["sky", "road", "car"],
        "y": np.arange(20) * 0.5,
        "area": (("y", "x"), np.ones((20, 30))),
        "weight": ("class", [1.0, 2.0, 3.0]),
        "crs": 32632,
    }
    return xarray.DataArray(values, coordinates, dims, "cover", {"source": "satellite"})


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("axis", [1, -1])
def test_labels_keep_coordinates_and_attributes(axis, lazy):
    probs = given(axis == -1, lazy)
    found = RankSEG(class_axis=axis).predict(probs)
    assert isinstance(found, xarray.DataArray) and found.dims == ("time", "y", "x")
    assert set(found.coords) == {"time", "y", "area", "crs"}
    assert found.coords["time"].values.tolist() == [2019, 2021]
    assert found.name == "cover" and found.attrs == {"source": "satellite"}
    assert (found.chunks is not None) == lazy
    expected = rankseg(np.asarray(probs.values), class_axis=axis)
    assert np.array_equal(found.values, expected)


def test_masks_keep_the_class_axis():
    probs = given(classes_last=True)
    found = rankseg(probs, output_mode="multilabel", class_axis=-1)
    assert found.dims == probs.dims and set(found.coords) == set(probs.coords)
    expected = rankseg(probs.values, output_mode="multilabel", class_axis=-1)
    assert np.array_equal(found.values, expected)


def test_valid_may_be_labelled_too():
    probs, valid = given(), given().isel({"class": 0}) > 0.3
    expected = rankseg(probs.values, valid=valid.values)
    assert np.array_equal(rankseg(probs, valid=valid).values, expected)
    assert np.array_equal(rankseg(probs.values, valid=valid), expected)


def test_axes_of_valid_go_by_their_names():
    probs = given().isel(x=slice(20))  # as many lines as columns: shapes would not tell
    valid = probs.isel({"class": 0}) > 0.3
    expected = rankseg(probs, valid=valid)
    assert rankseg(probs, valid=valid.transpose("x", "time", "y")).equals(expected)
    with pytest.raises(
        ValueError, match=r"valid must have the axes .* time, y, x, found time, y, lon"
    ):
        rankseg(probs, valid=valid.rename(x="lon"))
    with pytest.raises(ValueError, match="class_axis must be an axis"):
        rankseg(probs, valid=valid, class_axis=4)
