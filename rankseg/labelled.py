"""xarray: arrays whose axes have names and coordinates, which labels keep."""

import sys
from collections.abc import Hashable
from typing import Any

from .arrays import Array


def is_labelled(x: object) -> bool:
    """Tell whether this is an xarray.DataArray; xarray is not imported for it."""
    xarray = sys.modules.get("xarray")
    return xarray is not None and isinstance(x, xarray.DataArray)


def plain(x: Any) -> Array:
    """Return the array in a DataArray, of NumPy or Dask or another library; any other as it is."""
    return x.data if is_labelled(x) else x


def labelled(result: Array, like: Any, class_axis: int) -> Any:
    """Return a result as a DataArray with the axes, coordinates and attributes of `like`.

    Labels lack the class axis, and the coordinates along it.
    """
    if not is_labelled(like):
        return result
    classes: Hashable = like.dims[class_axis % like.ndim]
    dims = like.dims if result.ndim == like.ndim else [d for d in like.dims if d != classes]
    coordinates = {
        name: values for name, values in like.coords.items() if set(values.dims) <= set(dims)
    }
    xarray: Any = sys.modules["xarray"]
    return xarray.DataArray(result, coordinates, dims, like.name, like.attrs)
