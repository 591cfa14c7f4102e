"""Labels that are better together: an optional pass over the joint objective.

`assignment` resolves the overlaps of masks that were each best alone. The labels of a sample as a
whole should make sum_c f_c large. As in Dinkelbach's iteration, each ratio f_c is made linear at
the current labels, every pixel goes to the class of largest gain, and the best labels seen are
kept, so that a pass never lowers the sum.
"""

from collections.abc import Iterator

import numpy as np
from array_api_compat import device

from .. import arrays
from ..arrays import Array, Slab
from ..maps import ProbabilityMap
from ..objectives import Objective
from .assignment import BARRED, heirs_of, increments
from .rma import Solution

DAMPING = 0.5
"""Share of the newest sums in those at which the objective is made linear."""


def refine(
    source: ProbabilityMap, solution: Solution, objective: Objective, labels: Array, passes: int
) -> Array:
    """Return labels whose sum of objectives over classes is at least as large.

    Pixels with a label outside [0, class) keep it.
    """
    state, heirs = source.state, heirs_of(source, solution)

    def joint(size: Array, overlap: Array) -> Array:
        return state.sum(
            state.where(heirs, objective.score(size, overlap, solution.mass), 0.0), axis=1
        )

    size, overlap = tally(source, labels)
    best = joint(size, overlap)
    point = (size, overlap)
    for _ in range(passes):
        slope, offset, *_ = increments(source, solution, objective, *point)
        proposal = relabel(source, labels, slope, offset + BARRED * ~heirs)
        size, overlap = tally(source, proposal)
        value = joint(size, overlap)
        labels = _choose(source, value > best, proposal, labels)
        best = state.maximum(best, value)
        point = tuple(
            old + DAMPING * (new - old) for old, new in zip(point, (size, overlap), strict=True)
        )
    return labels


def tally(source: ProbabilityMap, labels: Array) -> tuple[Array, Array]:
    """Return the pixels of each label and their sums of probability: (batch, class) each."""
    if source.kind == "host":
        return _tally_in_blocks(source, labels)
    xp, ndim = source.xp, len(source.spatial)
    p = source.read(...)
    masks = [labels == c for c in range(source.classes)]
    sizes = [arrays.count(xp, mask, ndim) for mask in masks]
    overlaps = [arrays.total(xp, p[:, c, ...], ndim, mask) for c, mask in enumerate(masks)]
    return arrays.read_sums(xp.stack(sizes, axis=1), xp.stack(overlaps, axis=1))


def relabel(source: ProbabilityMap, labels: Array, slope: Array, offset: Array) -> Array:
    """Give each labelled pixel to the class with the largest ``slope p - offset``."""
    if source.kind == "host":
        return _relabel_in_blocks(source, labels, slope, offset)
    xp = source.xp
    growth = source.broadcast(slope) * source.read(...) - source.broadcast(offset)
    winner = xp.astype(xp.argmax(growth, axis=1), labels.dtype)
    return xp.where((labels >= 0) & (labels < source.classes), winner, labels)


def _choose(source: ProbabilityMap, better: Array, proposal: Array, labels: Array) -> Array:
    xp = source.xp
    better = xp.asarray(better, device=device(labels))
    return xp.where(xp.reshape(better, (-1, *[1] * len(source.spatial))), proposal, labels)


def _blocks(source: ProbabilityMap) -> Iterator[tuple[int, Slab, np.ndarray]]:
    # One sample's slabs with all their classes: (class, pixel).
    for b in range(source.batch):
        for slab in arrays.slabs(source.spatial, max(2**13, 2**20 // source.classes)):
            rows = [source.read((b, c), slab).reshape(-1) for c in range(source.classes)]
            yield b, slab, np.stack(rows)


def _tally_in_blocks(source: ProbabilityMap, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    size = np.zeros((source.batch, source.classes))
    overlap = np.zeros_like(size)
    for b, slab, p in _blocks(source):
        flat = labels[b][slab].reshape(-1)
        pixels = np.flatnonzero((flat >= 0) & (flat < source.classes))
        chosen = flat[pixels]
        size[b] += np.bincount(chosen, minlength=source.classes)
        overlap[b] += np.bincount(chosen, p[chosen, pixels], minlength=source.classes)
    return size, overlap


def _relabel_in_blocks(
    source: ProbabilityMap, labels: np.ndarray, slope: np.ndarray, offset: np.ndarray
) -> np.ndarray:
    result = np.empty_like(labels)
    for b, slab, p in _blocks(source):
        growth = slope[b, :, None].astype(p.dtype) * p - offset[b, :, None].astype(p.dtype)
        part = labels[b][slab]
        winner = growth.argmax(axis=0).reshape(part.shape)
        result[b][slab] = np.where((part >= 0) & (part < source.classes), winner, part)
    return result
