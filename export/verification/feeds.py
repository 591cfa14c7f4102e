"""Inputs to run a model with: random pictures, or one that is given."""

from collections.abc import Mapping

import numpy as np
from onnx import ModelProto, helper

from ..head.index import GraphIndex, Shape

Feeds = Mapping[str, np.ndarray]

_SIZE = 256
"""Length of an axis that the model leaves open."""


def random_feeds(model: ModelProto, seed: int = 0) -> dict[str, np.ndarray]:
    """Return smooth random pictures for the inputs; open sizes are 1 (batch) and 256."""
    index, rng = GraphIndex(model), np.random.default_rng(seed)
    return {name: _picture(index, name, rng) for name in index.inputs()}


def _picture(index: GraphIndex, name: str, rng: np.random.Generator) -> np.ndarray:
    sizes = index.shape(name)
    dtype = helper.tensor_dtype_to_np_dtype(index.element_type(name))
    if sizes is None or len(sizes) < 3 or not (dtype.kind == "f" or dtype == np.uint8):
        raise ValueError(f"input {name!r} is no picture: give its values as feeds")
    shape = [size if isinstance(size, int) else _SIZE if i else 1 for i, size in enumerate(sizes)]
    values = rng.normal(size=shape)
    for axis in [axis for axis, length in enumerate(shape) if axis and length > 16]:
        for _ in range(3):
            shifted = [np.roll(values, shift, axis) for shift in (-8, -4, -2, -1, 1, 2, 4, 8)]
            values = np.mean([values, *shifted], axis=0)
    values = values / values.std()
    if dtype == np.uint8:
        return np.clip(128 + 64 * values, 0, 255).astype(np.uint8)
    return values.astype(dtype)


def picture_feed(
    model: ModelProto, picture: np.ndarray, mean: np.ndarray, std: np.ndarray
) -> dict[str, np.ndarray]:
    """Return an RGB picture, uint8 (height, width, 3), as the model's only input.

    It is resized to the input's size, open sizes becoming multiples of 32. Values in [0, 1] are
    shifted by `mean` and divided by `std`, unless the input takes uint8.
    """
    from PIL import Image

    index = GraphIndex(model)
    names = index.inputs()
    shape: Shape = index.shape(names[0]) or ()
    if len(names) != 1 or len(shape) != 4 or 3 not in (shape[1], shape[3]):
        raise ValueError("the model has no input for one RGB picture: [N, 3, H, W] or [N, H, W, 3]")
    first = shape[1] == 3
    sizes = zip(shape[2:] if first else shape[1:3], picture.shape, strict=False)
    height, width = (s if isinstance(s, int) else max(32, found // 32 * 32) for s, found in sizes)
    values = np.asarray(Image.fromarray(picture).resize((width, height)))
    dtype = helper.tensor_dtype_to_np_dtype(index.element_type(names[0]))
    if dtype != np.uint8:
        values = ((values / 255 - mean) / std).astype(dtype)
    return {names[0]: np.moveaxis(values, 2, 0)[None] if first else values[None]}
