"""Triton kernels that read a map once. `rankseg.fused` calls them, and says what each is for.

They sum, count and compare; formulas stay in `rankseg.objectives`. A row is one (sample, class)
pair, numbered ``sample * classes + class``. Nothing here depends on the order in which programs
run: float sums are taken over fixed tiles in a fixed order, and what is added by atomics, or over
lists that were filled by them, is a sum of integers.
"""

import triton
import triton.language as tl

WRONG_BRACKET = tl.constexpr(1)
LONG_LIST = tl.constexpr(2)
OUT_OF_RANGE = tl.constexpr(4)
MANY_UNDECIDED = tl.constexpr(8)
"""Why the result of a row cannot be used; they are added up."""

SUMS = 5
"""What `main` keeps of each row and tile: low, high, mass, and size and overlap above the bracket.

Further sums of a row belong here: `main` stores them, `thresholds` adds them up.
"""


@triton.jit
def _clip(p):
    # NaN stays NaN, and shows in the sum.
    return tl.where(p > 1.0, 1.0, tl.where(p < 0.0, 0.0, p))


@triton.jit
def _spread(j):
    """Return well-spread fractions of 2^32, for sample points inside their strides."""
    return (j.to(tl.int64) * 2654435761) & 0xFFFFFFFF


@triton.jit
def _offsets(x, width, line, step, FLAT: tl.constexpr):
    """Return where pixels lie: `step` apart in lines of `width` pixels, `line` apart."""
    x = x.to(tl.int64)
    if FLAT:
        return x * step
    return x // width * line + x % width * step


@triton.jit
def _round_down(t):
    """Return the largest float32 not above t >= 0: ``p > t`` stays as it is."""
    r = t.to(tl.float32)
    below = (r.to(tl.int32, bitcast=True) - 1).to(tl.float32, bitcast=True)
    return tl.where(r.to(tl.float64) > t, below, r)


@triton.jit
def _step(offset, base, size, overlap):
    """Return one step of Dinkelbach's iteration, with the line of `objectives`."""
    return tl.minimum((overlap + offset) / tl.maximum(base + size, 1e-300), 1.0)


@triton.jit
def guess(
    P, Valid, Constants, Low, High, Mass,
    sample_stride, class_stride, width, line, step, pixels, points,
    C: tl.constexpr, N: tl.constexpr, FLAT: tl.constexpr, HAS_VALID: tl.constexpr,
):  # fmt: skip
    """Bracket the threshold of each row from sample points: one program a row, all in registers.

    The bracket is four standard errors of the sampled threshold wide on each side, and 1 % at
    least. A row whose sample stays below its pruning value, but above half of it, may be active:
    its bracket has no upper end. Below that it counts as inactive, with a bracket above all.
    """
    row = tl.program_id(0)
    b, c = row // C, row % C
    j = tl.arange(0, N)
    used = j < points
    first = j.to(tl.int64) * pixels // points
    length = (j.to(tl.int64) + 1) * pixels // points - first
    x = first + (_spread(j) * length >> 32)
    if HAS_VALID:
        used = used & (tl.load(Valid + b.to(tl.int64) * pixels + x, used, other=0) != 0)
    start = P + b.to(tl.int64) * sample_stride + c.to(tl.int64) * class_stride
    p = _clip(tl.load(start + _offsets(x, width, line, step, FLAT), used, other=0.0).to(tl.float32))

    one = tl.full((), 1.0, tl.float64)
    scale = one * pixels / points
    offset, base = tl.load(Constants), tl.load(Constants + 1)
    mass = tl.sum(p, 0).to(tl.float64) * scale
    t, size = one * 0.4, one * 0.0
    for k in range(12):
        over = p > t.to(tl.float32)
        size = tl.sum(over.to(tl.float32), 0).to(tl.float64) * scale
        overlap = tl.sum(tl.where(over, p, 0.0), 0).to(tl.float64) * scale
        new = _step(offset, base + mass, size, overlap)
        t = tl.where(k == 0, new, tl.maximum(t, new))

    # What one point more of value p would add to the threshold, by the delta method.
    t32 = t.to(tl.float32)
    influence = tl.where(p > t32, p - t32, 0.0) - t32 * p
    unseen = 1.0 - one / scale
    spread = tl.sqrt(tl.sum(influence * influence, 0).to(tl.float64) * unseen)
    error = scale * spread / tl.maximum(base + mass + size, 1e-300)
    margin = tl.maximum(4.0 * error, 0.01 * t)
    high, pruning = tl.max(p, 0), tl.load(Constants + 2 + c)
    low_end = tl.where(high > 0.5 * pruning, tl.maximum(t - margin, 0.0), float("inf"))
    high_end = tl.where(high > pruning, t + margin, float("inf"))
    tl.store(Low + row, low_end.to(tl.float32))
    tl.store(High + row, high_end.to(tl.float32))
    tl.store(Mass + row, mass)


@triton.jit
def main(
    P, Valid, Low, High, Sums, Out, PixelCount, Pixels, Values, RowCount, RowValues, RowPixels,
    sample_stride, class_stride, width, line, step, pixels, tiles, capacity, row_capacity, void,
    C: tl.constexpr, BLOCK: tl.constexpr, TILE: tl.constexpr, LABELS: tl.constexpr,
    MASKS: tl.constexpr, VOID: tl.constexpr, FLAT: tl.constexpr, HAS_VALID: tl.constexpr,
):  # fmt: skip
    """Read the map: one program a tile of pixels of a sample, `BLOCK` classes at a time.

    Values inside their row's bracket join the row's list. A pixel that the same single class
    claims at both ends of every bracket has its label; with `VOID` so has one that none claims.
    The others join the list of pixels, with their values of all classes.
    """
    tile, b = tl.program_id(0), tl.program_id(1)
    x = tile * TILE + tl.arange(0, TILE)
    inside = x < pixels
    seen = inside
    if HAS_VALID:
        seen = inside & (tl.load(Valid + b.to(tl.int64) * pixels + x, inside, other=0) != 0)
    start = P + b.to(tl.int64) * sample_stride + _offsets(x, width, line, step, FLAT)
    some = tl.zeros((TILE,), tl.int32)  # classes above the lower ends of their brackets
    sure = tl.zeros((TILE,), tl.int32)  # classes above the upper ends
    winner = tl.zeros((TILE,), tl.int32)
    for c0 in range(0, C, BLOCK):
        c = c0 + tl.arange(0, BLOCK)
        real, row = c < C, b * C + c
        where = start[None, :] + c[:, None].to(tl.int64) * class_stride
        stored = tl.load(where, real[:, None] & seen[None, :], other=0.0).to(tl.float32)
        p = _clip(stored)
        low = tl.load(Low + row, real, other=float("inf"))
        high = tl.load(High + row, real, other=float("inf"))
        over = p > high[:, None]
        between = (p > low[:, None]) & (p <= high[:, None])

        sums = Sums + row.to(tl.int64) * tiles + tile
        plane = tl.num_programs(1).to(tl.int64) * C * tiles
        tl.store(sums, tl.min(stored, 1), real)
        tl.store(sums + plane, tl.max(stored, 1), real)
        tl.store(sums + 2 * plane, tl.sum(p, 1), real)
        tl.store(sums + 3 * plane, tl.sum(over.to(tl.float32), 1), real)
        tl.store(sums + 4 * plane, tl.sum(tl.where(over, p, 0.0), 1), real)

        count = tl.sum(between.to(tl.int32), 1)
        if tl.sum(count, 0) > 0:
            first = tl.atomic_add(RowCount + row, count.to(tl.int64), real, sem="relaxed")
            place = first[:, None] + tl.cumsum(between.to(tl.int32), 1) - 1
            fits = between & (place < row_capacity)
            place = row[:, None].to(tl.int64) * row_capacity + place
            tl.store(RowValues + place, p, fits)
            if MASKS:
                tl.store(RowPixels + place, tl.broadcast_to(x[None, :], (BLOCK, TILE)), fits)
        if MASKS:
            mask = Out + row[:, None].to(tl.int64) * pixels + x[None, :]
            tl.store(mask, over.to(tl.int8), real[:, None] & inside[None, :])
        if LABELS:
            some += tl.sum((over | between).to(tl.int32), 0)
            sure += tl.sum(over.to(tl.int32), 0)
            winner = tl.maximum(winner, tl.max(tl.where(over, c[:, None], 0), 0))

    if LABELS:
        decided = (some == 1) & (sure == 1)
        label = tl.where(decided & seen, winner.to(tl.int64), void)
        if VOID:
            decided = decided | (some == 0)
        kept = seen & ~decided
        tl.store(Out + b.to(tl.int64) * pixels + x, label, inside & ~kept)
        number = tl.sum(kept.to(tl.int32), 0)
        if number > 0:
            begin = tl.atomic_add(PixelCount + b, number.to(tl.int64), sem="relaxed")
            place = begin + tl.cumsum(kept.to(tl.int32), 0) - 1
            fits = kept & (place < capacity)
            tl.store(Pixels + b.to(tl.int64) * capacity + place, x, fits)
            for c0 in range(0, C, BLOCK):  # read again, from the cache if it still has them
                c = c0 + tl.arange(0, BLOCK)
                where = start[None, :] + c[:, None].to(tl.int64) * class_stride
                wanted = (c < C)[:, None] & fits[None, :]
                copy = (b * C + c)[:, None].to(tl.int64) * capacity + place[None, :]
                tl.store(Values + copy, tl.load(where, wanted, other=0.0), wanted)


@triton.jit
def _above(values, length, t, unit, CHUNK: tl.constexpr):
    """Count and sum the values of a list above a threshold: the same in any order."""
    k = tl.arange(0, CHUNK)
    counts, parts = tl.zeros((CHUNK,), tl.int64), tl.zeros((CHUNK,), tl.int64)
    for i in range(0, length, CHUNK):
        v = tl.load(values + i + k, i + k < length, other=0.0)
        over = (i + k < length) & (v > t)
        counts += over.to(tl.int64)
        parts += tl.where(over, v.to(tl.float64) / unit, 0.0).to(tl.int64)
    return tl.sum(counts, 0).to(tl.float64), tl.sum(parts, 0).to(tl.float64) * unit


@triton.jit
def _total(sums, tiles, CHUNK: tl.constexpr):
    """Add up one sum of a row over its tiles."""
    k = tl.arange(0, CHUNK)
    total = tl.zeros((CHUNK,), tl.float64)
    for i in range(0, tiles, CHUNK):
        total += tl.load(sums + i + k, i + k < tiles, other=0.0).to(tl.float64)
    return tl.sum(total, 0)


@triton.jit
def thresholds(
    Constants, Low, High, Sums, RowCount, RowValues, Result, Status,
    tiles, row_capacity, tolerance, grain,
    C: tl.constexpr, CHUNK: tl.constexpr, KNOWN: tl.constexpr,
):  # fmt: skip
    """Find the threshold of each row from its sums and its list: one program a row.

    Writes threshold, size, overlap, mass, activity and the unit of integer sums, float64 each.
    `KNOWN` takes the bracket, whose ends are the same, for the threshold.
    """
    row, rows = tl.program_id(0), tl.num_programs(0)
    k = tl.arange(0, CHUNK)
    sums, plane = Sums + row.to(tl.int64) * tiles, rows.to(tl.int64) * tiles
    least, most = tl.zeros((CHUNK,), tl.float32), tl.zeros((CHUNK,), tl.float32)
    for i in range(0, tiles, CHUNK):
        least = tl.minimum(least, tl.load(sums + i + k, i + k < tiles, other=0.0))
        most = tl.maximum(most, tl.load(sums + plane + i + k, i + k < tiles, other=0.0))
    lowest, highest = tl.min(least, 0), tl.max(most, 0)
    mass = _total(sums + 2 * plane, tiles, CHUNK)
    size_above = _total(sums + 3 * plane, tiles, CHUNK)
    overlap_above = _total(sums + 4 * plane, tiles, CHUNK)
    good = (lowest >= -tolerance) & (highest <= 1.0 + tolerance) & (mass < float("inf"))
    active = highest > tl.load(Constants + 2 + row % C).to(tl.float32)
    unit = tl.maximum(tl.minimum(highest, 1.0), 1e-37).to(tl.float64) / grain

    low, high = tl.load(Low + row), tl.load(High + row)
    threshold, size, overlap = low, size_above, overlap_above
    status = tl.where(good, 0, OUT_OF_RANGE)
    if not KNOWN:
        offset, base = tl.load(Constants), tl.load(Constants + 1) + mass
        values, listed = RowValues + row.to(tl.int64) * row_capacity, tl.load(RowCount + row)
        length = tl.minimum(listed, row_capacity).to(tl.int32)
        # One step from anywhere lands at or below the optimum; from there it only rises.
        count, part = _above(values, length, low, unit, CHUNK)
        from_low = _step(offset, base, size_above + count, overlap_above + part)
        from_high = _step(offset, base, size_above, overlap_above)
        t, rising, rounds = tl.maximum(from_low, from_high), active, 0
        while rising & (rounds < 64):
            threshold = _round_down(t)
            count, part = _above(values, length, threshold, unit, CHUNK)
            size, overlap = size_above + count, overlap_above + part
            new = _step(offset, base, size, overlap)
            rising = new > t
            t = tl.maximum(t, new)
            rounds += 1
        outside = (from_low <= low) | (from_high > high) | rising
        status += tl.where(active & outside, WRONG_BRACKET, 0)
        status += tl.where(active & (listed > row_capacity), LONG_LIST, 0)
    empty = (active & (size > 0.0)) == 0
    result = Result + row
    tl.store(result, tl.where(empty, float("inf"), threshold).to(tl.float64))
    tl.store(result + rows, tl.where(empty, 0.0, size))
    tl.store(result + 2 * rows, tl.where(empty, 0.0, overlap))
    tl.store(result + 3 * rows, mass)
    tl.store(result + 4 * rows, active.to(tl.float64))
    tl.store(result + 5 * rows, unit)
    tl.store(Status + row, status.to(tl.int64))


@triton.jit
def undecided(
    Result, Upper, High, RowCount, RowValues, Table, Found, Status, row_capacity,
    SLOTS: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Lay out the masks of smoothed Dice between two thresholds: one program a row.

    Writes threshold, size and overlap of the mask above each listed value up to `Upper`; slots
    that are left over hold the mask of the lower threshold.
    """
    row, rows = tl.program_id(0), tl.num_programs(0)
    k = tl.arange(0, CHUNK)
    low = tl.load(Result + row).to(tl.float32)
    size, overlap = tl.load(Result + rows + row), tl.load(Result + 2 * rows + row)
    unit, upper = tl.load(Result + 5 * rows + row), tl.load(Upper + row)
    values = RowValues + row.to(tl.int64) * row_capacity
    length = tl.minimum(tl.load(RowCount + row), row_capacity).to(tl.int32)
    found, number = Found + row * SLOTS, 0
    for i in range(0, length, CHUNK):
        v = tl.load(values + i + k, i + k < length, other=0.0)
        inside = (i + k < length) & (v > low) & (v <= upper)
        place = number + tl.cumsum(inside.to(tl.int32), 0) - 1
        tl.store(found + place, v, inside & (place < SLOTS))
        number += tl.sum(inside.to(tl.int32), 0)
    tl.debug_barrier()  # what was stored is read by other threads
    j = tl.arange(0, SLOTS)
    v = tl.load(found + j, j < number, other=0.0)
    parts = (v.to(tl.float64) / unit).to(tl.int64)
    # The mask above v[j] lacks those of the listed values that are not above it.
    lacking = (v[None, :] <= v[:, None]) & (j < number)[None, :] & (j < number)[:, None]
    fewer = tl.sum(lacking.to(tl.float64), 1)
    less = tl.sum(tl.where(lacking, parts[None, :], 0), 1).to(tl.float64) * unit
    plane, table = rows * SLOTS, Table + row * SLOTS + j
    tl.store(table, tl.where(j < number, v, low).to(tl.float64))
    tl.store(table + plane, size - fewer)
    tl.store(table + 2 * plane, overlap - less)
    wrong = (low < float("inf")) & ((number >= SLOTS) | (upper > tl.load(High + row)))
    tl.store(Status + row, tl.load(Status + row) + tl.where(wrong, MANY_UNDECIDED, 0))


@triton.jit
def masks(Result, RowCount, RowValues, RowPixels, Out, pixels, row_capacity, CHUNK: tl.constexpr):
    """Write the listed pixels of each row: one program a piece of its list."""
    row = tl.program_id(1)
    k = tl.program_id(0) * CHUNK + tl.arange(0, CHUNK)
    listed = k < tl.minimum(tl.load(RowCount + row), row_capacity)
    place = row.to(tl.int64) * row_capacity + k
    v = tl.load(RowValues + place, listed, other=0.0)
    x = tl.load(RowPixels + place, listed, other=0)
    above = v > tl.load(Result + row).to(tl.float32)
    tl.store(Out + row.to(tl.int64) * pixels + x, above.to(tl.int8), listed)


@triton.jit
def _piece(Result, PixelCount, Values, capacity, C: tl.constexpr, ALL: tl.constexpr,
           TILE: tl.constexpr):  # fmt: skip
    """Read a piece of a sample's list: which pixels, classes and rows it has, values and masks."""
    b = tl.program_id(1)
    k = tl.program_id(0) * TILE + tl.arange(0, TILE)
    c = tl.arange(0, ALL)
    listed = k < tl.minimum(tl.load(PixelCount + b), capacity)
    row, real = b * C + c, c < C
    place = row[:, None].to(tl.int64) * capacity + k[None, :]
    known = real[:, None] & listed[None, :]
    v = _clip(tl.load(Values + place, known, other=0.0).to(tl.float32))
    t = tl.load(Result + row, real, other=float("inf")).to(tl.float32)
    return k, listed, row, real, v, v > t[:, None]


@triton.jit
def claims(
    Result, PixelCount, Values, SharedSize, SharedSum, capacity,
    C: tl.constexpr, ALL: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Count and sum the listed pixels that a class claims with others: one program a piece."""
    if tl.program_id(0) * TILE < tl.load(PixelCount + tl.program_id(1)):
        _, _, row, real, v, mask = _piece(Result, PixelCount, Values, capacity, C, ALL, TILE)
        shared = mask & (tl.sum(mask.to(tl.int32), 0) > 1)[None, :]
        size = tl.sum(shared.to(tl.int32), 1)
        unit = tl.load(Result + 5 * tl.num_programs(1) * C + row, real, other=1.0)
        parts = tl.where(shared, v.to(tl.float64) / unit[:, None], 0.0).to(tl.int64)
        some = real & (size > 0)
        tl.atomic_add(SharedSize + row, size.to(tl.int64), some, sem="relaxed")
        tl.atomic_add(SharedSum + row, tl.sum(parts, 1), some, sem="relaxed")


@triton.jit
def labels(
    Result, PixelCount, Pixels, Values, Increment, Out, pixels, capacity, void,
    C: tl.constexpr, ALL: tl.constexpr, TILE: tl.constexpr, VOID: tl.constexpr,
    CURVE: tl.constexpr,
):  # fmt: skip
    """Write the labels of the listed pixels: one program a piece.

    The classes that claim a pixel compete for it; if none does, those that are eligible. As
    `solvers.assignment.compete`.
    """
    if tl.program_id(0) * TILE < tl.load(PixelCount + tl.program_id(1)):
        k, listed, row, real, v, mask = _piece(Result, PixelCount, Values, capacity, C, ALL, TILE)
        plane = tl.num_programs(1) * C
        slope = tl.load(Increment + row, real, other=0.0)
        offset = tl.load(Increment + plane + row, real, other=0.0)
        eligible = tl.load(Increment + 2 * plane + row, real, other=0.0) > 0.0
        growth = slope[:, None] * v - offset[:, None]
        if CURVE:
            curve = tl.load(Increment + 3 * plane + row, real, other=0.0)
            growth = growth / (1.0 - curve[:, None] * v)
        unclaimed = tl.sum(mask.to(tl.int32), 0) == 0
        allowed = mask | (eligible[:, None] & unclaimed[None, :])
        winner = tl.argmax(tl.where(allowed, growth, -float("inf")), 0).to(tl.int64)
        if VOID:
            winner = tl.where(unclaimed, void, winner)
        b = tl.program_id(1).to(tl.int64)
        x = tl.load(Pixels + b * capacity + k, listed, other=0)
        tl.store(Out + b * pixels + x, winner, listed)
