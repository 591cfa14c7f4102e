"""What the Transformers and SAM integrations share: fields, families, sizes, the predictor."""

import re
from collections.abc import Mapping, Sequence
from math import isfinite
from numbers import Integral, Number
from typing import Any, TypeAlias

from ..arrays import kind_of
from ..extras import optional_imports
from ..predictor import RankSEG

with optional_imports():
    import torch
    from torch import Tensor
    from torch.nn.functional import interpolate

Size: TypeAlias = tuple[int, int]
Sizes: TypeAlias = Sequence[Sequence[int]] | Sequence[int] | Mapping[str, int] | Tensor

MAY_BE_EMPTY = ("batch", "query", "prompt")
"""Axes of outputs that may have no element; maps and classes need one."""

# The adapter of a SAM family, by the first of these that a type of its outputs begins with.
SAM_ADAPTERS = {
    "Sam3Tracker": "Sam2",  # SAM 3 with points and boxes has the outputs and steps of SAM 2
    "EdgeTam": "Sam2",
    "Sam3": "Sam3",
    "Sam2": "Sam2",
    "Sam": "Sam1",
}


def read(outputs: Any, name: str) -> Any:
    """Return a field of a model's outputs, or None where they have none."""
    if isinstance(outputs, tuple | list | Tensor):
        raise ValueError(
            "outputs must have named fields, as a Transformers model returns them with "
            f"return_dict=True, found {type(outputs).__name__}"
        )
    if isinstance(outputs, Mapping) and not hasattr(outputs, name):
        return outputs.get(name)
    return getattr(outputs, name, None)


def read_tensor(outputs: Any, name: str, *axes: str) -> Tensor:
    """Return a field that has to be a floating tensor, in float32 or wider.

    An axis is a name, or the number of elements that it has to have. Those of maps and classes
    must not be empty.
    """
    value = read(outputs, name)
    if value is None:
        raise ValueError(f"outputs must have {name}, found none in {type(outputs).__name__}")
    if not isinstance(value, Tensor):
        raise TypeError(f"outputs.{name} must be a torch.Tensor, found {type(value).__name__}")
    if not value.is_floating_point():
        raise TypeError(f"outputs.{name} must have a real floating dtype, found {value.dtype}")
    fixed = {i: int(axis) for i, axis in enumerate(axes) if axis.isdigit()}
    if value.ndim != len(axes) or any(value.shape[i] != fixed[i] for i in fixed):
        raise ValueError(
            f"outputs.{name} must have shape ({', '.join(axes)}), found {tuple(value.shape)}"
        )
    empty = [axes[i] for i, n in enumerate(value.shape) if n == 0 and i not in fixed]
    if not {*empty} <= {*MAY_BE_EMPTY}:
        raise ValueError(
            f"outputs.{name} must have no empty axis but {', '.join(MAY_BE_EMPTY)}, "
            f"found shape {tuple(value.shape)}"
        )
    return value.to(torch.promote_types(value.dtype, torch.float32))


def class_names(value: Any) -> list[str]:
    """Return the names of the type of a value and of its bases."""
    return [base.__name__ for base in type(value).__mro__]


def check_sam_family(outputs: Any, adapter: str) -> None:
    """Refuse outputs whose type is of another SAM family; a type without a family passes."""
    owners = (
        (name, SAM_ADAPTERS[key])
        for name in class_names(outputs)
        for key in SAM_ADAPTERS
        if re.match(f"{key}(?![a-z])", name)
    )
    name, owner = next(owners, ("", adapter))
    if owner != adapter:
        raise ValueError(f"{adapter} cannot read {name}: use {owner} of rankseg.integration.sam")


def check_queries(**fields: Tensor) -> None:
    """Check that fields have the same number of images and of queries."""
    shapes = {name: tuple(field.shape[:2]) for name, field in fields.items()}
    if len(set(shapes.values())) > 1:
        found = ", ".join(f"{shape} in {name}" for name, shape in shapes.items())
        raise ValueError(f"outputs must have the same (batch, query) in all fields, found {found}")


def check_values(**fields: Tensor) -> None:
    """Check that fields lie on one device, and that they hold no NaN and no infinity."""
    if len({field.device for field in fields.values()}) > 1:
        found = ", ".join(f"{name} on {field.device}" for name, field in fields.items())
        raise ValueError(f"outputs must have all fields on one device, found {found}")
    for name, field in fields.items():
        if field.is_meta:
            raise ValueError(f"outputs.{name} must hold values, found a tensor on device 'meta'")
        if field.numel() == 0 or kind_of(field) == "traced":
            continue
        # 5 ms for 150 x 512 x 512, isfinite().all() 134; both ends are NaN if any value is.
        low, high = torch.stack(torch.aminmax(field.detach())).tolist()
        if not (isfinite(low) and isfinite(high)):
            raise ValueError(f"outputs.{name} must be finite, found values of [{low}, {high}]")


def check_size(name: str, size: Any) -> Size:
    """Return a (height, width) pair of positive ints."""
    values = _as_list(name, size)
    if isinstance(size, Mapping):
        values = [size[key] for key in ("height", "width") if key in size]
    if not isinstance(values, list | tuple) or len(values) != 2:
        raise ValueError(f"{name} must be a (height, width) pair, found {size!r}")
    if not all(isinstance(n, Integral) and not isinstance(n, bool) for n in values):
        raise TypeError(f"{name} must hold two ints, found {size!r}")
    if min(values) <= 0:
        raise ValueError(f"{name} must be positive, found {size!r}")
    return int(values[0]), int(values[1])


def check_sizes(name: str, sizes: Any, batch: int) -> list[Size]:
    """Return one (height, width) pair for each image; a single pair is that of all."""
    if sizes is None:
        raise ValueError(f"{name} must be given, as the processor returned them, found None")
    values = _as_list(name, sizes)
    if isinstance(values, Mapping) or _is_pair(values):
        return [check_size(name, values)] * batch
    if not isinstance(values, list | tuple):
        raise TypeError(
            f"{name} must be a list of (height, width) pairs or an integer tensor of shape "
            f"(batch, 2), found {sizes!r}"
        )
    if len(values) != batch:
        raise ValueError(f"{name} must have one pair for each of {batch} images, found {sizes!r}")
    return [check_size(f"{name}[{i}]", size) for i, size in enumerate(values)]


def _as_list(name: str, sizes: Any) -> Any:
    """Return arrays as lists, all else as it is."""
    if not hasattr(sizes, "tolist"):
        return sizes
    if "int" not in str(sizes.dtype):  # which an empty list would not tell
        raise TypeError(f"{name} must have an integer dtype, found {sizes.dtype}")
    return sizes.tolist()


def _is_pair(values: Any) -> bool:
    numbers = isinstance(values, list | tuple) and all(isinstance(n, Number) for n in values)
    return numbers and len(values) > 0


def check_target_sizes(sizes: Any, batch: int, name: str = "target_sizes") -> Sequence[Size | None]:
    """Return a size for each image, None for those that keep their own."""
    return [None] * batch if sizes is None else check_sizes(name, sizes, batch)


def resize(x: Tensor, size: Size | None, antialias: bool = False) -> Tensor:
    """Resize (batch, channel, height, width) as image processors do."""
    if size is None:
        return x
    return interpolate(x, size, mode="bilinear", align_corners=False, antialias=antialias)


def make_predictor(settings: Mapping[str, Any] | None, output_mode: str) -> RankSEG:
    """Return RankSEG with the user's settings, and an output mode where they name none."""
    if settings is not None and not isinstance(settings, Mapping):
        raise TypeError(f"rankseg_kwargs must be a dict or None, found {settings!r}")
    return RankSEG(**{"output_mode": output_mode, **(settings or {})}, class_axis=1)


def make_mask_predictor(settings: Mapping[str, Any] | None) -> RankSEG:
    """Return RankSEG with the user's settings for masks that do not depend on each other."""
    predictor = make_predictor(settings, "multilabel")
    if predictor.output_mode != "multilabel":
        raise ValueError(
            "rankseg_kwargs must have output_mode='multilabel' or none: the masks of prompts "
            f"and instances are no classes, found {predictor.output_mode!r}"
        )
    return predictor
