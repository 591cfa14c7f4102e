"""Accuracy: each pixel decided by itself, among all classes or those that pruning leaves."""

from functools import singledispatch

import numpy as np

from .. import arrays
from ..arrays import Array, device
from ..rows import BlockRows, Rows
from .assignment import eligible_classes, masks


def most_probable(rows: Rows, active: Array | None = None) -> Array:
    """Return the class of largest probability of each pixel: (batch, *spatial).

    Of the classes in `active`, (batch, class), if it is given; where it has none, of all.
    """
    source = rows.source
    if active is None and source.correction is None:
        # The bits of bfloat16 (see `arrays.widen`) order like the values.
        return source.xp.argmax(source.probs, axis=1)
    eligible = np.ones(rows.shape, bool) if active is None else eligible_classes(rows, active)
    return _most_probable(rows, eligible)


@singledispatch
def _most_probable(rows: Rows, eligible: Array) -> Array:
    source, xp = rows.source, rows.source.xp
    p = source.read(...)
    eligible = source.broadcast(eligible) > 0
    return xp.argmax(xp.where(eligible, p, -xp.ones_like(p)), axis=1)


@_most_probable.register
def _most_probable_in_blocks(rows: BlockRows, eligible: np.ndarray) -> np.ndarray:
    # Class by class, so that a volume needs no second copy.
    source = rows.source
    labels = np.empty((source.batch, *source.spatial), np.int64)
    for b in range(source.batch):
        first, *others = np.flatnonzero(eligible[b]).tolist()
        for slab in arrays.slabs(source.spatial, rows.block):
            best = source.read((b, first), slab).copy()
            part = np.full(best.shape, first)
            for c in others:
                p = source.read((b, c), slab)
                part[p > best] = c
                np.maximum(best, p, out=best)
            labels[b][slab] = part
    return labels


def one_hot(rows: Rows) -> Array:
    """Return `most_probable` as bool masks: (batch, class, *spatial)."""
    source, xp = rows.source, rows.source.xp
    labels = most_probable(rows)
    classes = xp.arange(source.classes, device=device(source.probs))
    classes = xp.reshape(classes, (-1, *[1] * len(source.spatial)))
    hot = labels[:, None, ...] == classes
    return hot if source.valid is None else hot & source.valid[:, None, ...]


def above_half(rows: Rows, active: Array | None = None) -> Array:
    """Return the masks p > 0.5 (TR), of active rows if told which: (batch, class, *spatial)."""
    half = rows.xp.full(rows.shape, 0.5)
    return masks(rows, half if active is None else rows.xp.where(active, half, float("inf")))
