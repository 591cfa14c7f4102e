"""xarray: arrays whose axes have names and coordinates, which labels keep."""

import sys
from collections.abc import Hashable
from typing import Any

from .arrays import Array
from .validation import check_class_axis


def is_labelled(x: object) -> bool:
    """Tell whether this is an xarray.DataArray; xarray is not imported for it."""
    xarray = sys.modules.get("xarray")
    return xarray is not None and isinstance(x, xarray.DataArray)


def plain(x: Any) -> Array:
    """Return the array in a DataArray, of NumPy or Dask or another library; any other as it is."""
    return x.data if is_labelled(x) else x


def plain_valid(valid: Any, probs: Any, class_axis: int) -> Array:
    """Return `valid` as an array whose axes are those of labels of the DataArray `probs`, by name.

    Raises
    ------
    ValueError
        If its axes have other names.
    """
    if not is_labelled(valid):
        return valid
    dims = _dims_of_labels(probs, check_class_axis(class_axis, probs.ndim))
    if set(valid.dims) != set(dims):
        raise ValueError(
            f"valid must have the axes of probs without its classes, {', '.join(map(str, dims))}, "
            f"found {', '.join(map(str, valid.dims))}"
        )
    return valid.transpose(*dims).data


def _dims_of_labels(probs: Any, class_axis: int) -> list[Hashable]:
    classes = probs.dims[class_axis % probs.ndim]
    return [name for name in probs.dims if name != classes]


def labelled(result: Array, like: Any, class_axis: int) -> Any:
    """Return a result as a DataArray with the axes, coordinates and attributes of `like`.

    Labels lack the class axis, and the coordinates along it.
    """
    if not is_labelled(like):
        return result
    dims = like.dims if result.ndim == like.ndim else _dims_of_labels(like, class_axis)
    coordinates = {
        name: values for name, values in like.coords.items() if set(values.dims) <= set(dims)
    }
    xarray: Any = sys.modules["xarray"]
    return xarray.DataArray(result, coordinates, dims, like.name, like.attrs)
