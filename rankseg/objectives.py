"""Dice and IoU of a mask, as functions of three sums.

For one (sample, class) row of pixel probabilities p and a mask:

- ``size``: the number of pixels in the mask (tau, n);
- ``overlap``: the sum of p inside the mask (S), its expected intersection with the object;
- ``mass``: the sum of p over the whole row (mu), the expected size of the object;

and ``smooth`` (s) is the usual constant added to numerator and denominator. Arguments are floats
or arrays of one library; only operators are used. Both classes offer the same:

- ``score``: the approximate expected metric of a mask;
- ``threshold``: the probability above which a pixel raises the ratio that this mask has;
- ``break_even``: the probability at which a pixel neither raises nor lowers a ratio of that score;
- ``margin``: not negative if the expected metric of a mask of n >= 1 pixels may reach a score
  (`solvers.exact` has the proof);
- ``reach``: not less than the score of any mask that adds up to `added` to the overlap, by pixels
  of which `least` would be enough for all of that (`solvers.correlated`);
- ``increment``: (a, b) or (a, b, c): one more pixel, of probability p, adds (a p - b) / (1 - c p).

References: Dai & Li, JMLR 24(224), 2023; Wang & Dai, NeurIPS 2025, arXiv:2510.15362 (RMA).
"""

from dataclasses import dataclass
from typing import TypeAlias

from .arrays import Array, as_number


def ratio(numerator: Array, denominator: Array) -> Array:
    """Divide, with 0/0 = 0."""
    return numerator / (denominator + as_number(denominator == 0, like=denominator))


@dataclass(frozen=True)
class Dice:
    """f = 2 S / (mu + tau + 1 + s) + s / (mu + tau + s)."""

    smooth: float = 0.0

    def score(self, size: Array, overlap: Array, mass: Array) -> Array:
        """Return f."""
        denominator = mass + size + self.smooth
        score = 2 * overlap / (denominator + 1)
        return score + ratio(self.smooth, denominator) if self.smooth else score

    def score_of_known(self, size: Array, overlap: Array, area: Array) -> Array:
        """Return Dice with an object that is known: its area, and the part of it in the mask."""
        return ratio(2 * overlap + self.smooth, area + size + self.smooth)

    def odds(self, size: Array, overlap: Array, mass: Array) -> Array:
        """Return f / (1 - f), which orders masks as f does.

        It keeps apart the scores near 1 of a large `smooth` and the scores near 0 of faint rows.
        """
        denominator = mass + size + self.smooth
        missing = mass + size - 2 * overlap + (1 - ratio(self.smooth, denominator))
        loss = missing / (denominator + 1)
        certain = loss < 1e-300
        return self.score(size, overlap, mass) / (loss * ~certain + 1e-300 * certain)

    def line(self, mass: Array) -> tuple[float, Array]:
        """Return B and A of the threshold."""
        return self.smooth / 2, mass + (1 + self.smooth)

    def threshold(self, size: Array, overlap: Array, mass: Array) -> Array:
        """Return (S + B) / (A + tau): g / 2 for g = (2 S + s) / (mu + tau + 1 + s) <= f."""
        offset, base = self.line(mass)
        return (overlap + offset) / (base + size)

    def break_even(self, score: Array) -> Array:
        """Return score / 2."""
        return score / 2

    def margin(self, score: Array, size: Array, overlap: Array, mass: Array) -> Array:
        """Return 2 S + s - score (mu + n + s - 1)."""
        return 2 * overlap + self.smooth - score * (mass + size + self.smooth - 1)

    def reach(self, size: Array, overlap: Array, least: Array, added: Array, mass: Array) -> Array:
        """Return the larger of both ends, with the s term of the smaller mask."""
        denominator = mass + size + self.smooth
        ratio_now = overlap / (denominator + 1)
        ratio_then = (overlap + added) / (denominator + least + 1)
        larger = ratio_now + (ratio_then - ratio_now) * (ratio_then > ratio_now)
        return 2 * larger + ratio(self.smooth, denominator) if self.smooth else 2 * larger

    def undecided(self, mass: Array) -> Array:
        """Return delta with g* <= f* <= g* + delta.

        f - g = s / (A (A + 1)) at A = mu + tau + s, which is largest for the empty mask. The best
        mask holds every pixel with p > (f* + delta) / 2 and none with p < f* / 2, so only pixels
        with g*/2 <= p <= g*/2 + delta are undecided. Zero when s = 0.
        """
        return ratio(self.smooth, mass + self.smooth) / (mass + self.smooth + 1)

    def increment(self, size: Array, overlap: Array, mass: Array) -> tuple[Array, ...]:
        """With D = mu + n + 1 + s: 2 / (D + 1) (p - m / D - s (D + 1) / (2 D (D - 1)))."""
        full = mass + size + self.smooth + 1
        slope = 2 / (full + 1)
        emptiness = ratio(self.smooth, full - 1) * ((full + 1) / full) / 2
        return slope, slope * (overlap / full + emptiness)


@dataclass(frozen=True)
class IoU:
    """f = (S + s) / (mu - S + tau + s)."""

    smooth: float = 0.0

    def score(self, size: Array, overlap: Array, mass: Array) -> Array:
        """Return f."""
        return ratio(overlap + self.smooth, mass - overlap + size + self.smooth)

    def score_of_known(self, size: Array, overlap: Array, area: Array) -> Array:
        """Return IoU with an object that is known: its area, and the part of it in the mask."""
        return self.score(size, overlap, area)

    def line(self, mass: Array) -> tuple[float, Array]:
        """Return B and A of the threshold."""
        return self.smooth, mass + 2 * self.smooth

    def threshold(self, size: Array, overlap: Array, mass: Array) -> Array:
        """Return (S + B) / (A + tau): f / (1 + f)."""
        offset, base = self.line(mass)
        return ratio(overlap + offset, base + size)

    def break_even(self, score: Array) -> Array:
        """Return score / (1 + score)."""
        return score / (1 + score)

    def margin(self, score: Array, size: Array, overlap: Array, mass: Array) -> Array:
        """Return S + s - score (mu - S + n + s - 1)."""
        return overlap + self.smooth - score * (mass - overlap + size + self.smooth - 1)

    def reach(self, size: Array, overlap: Array, least: Array, added: Array, mass: Array) -> Array:
        """Return the larger of both ends."""
        now = self.score(size, overlap, mass)
        then = self.score(size + least, overlap + added, mass)
        return now + (then - now) * (then > now)

    def increment(self, size: Array, overlap: Array, mass: Array) -> tuple[Array, ...]:
        """With E = mu - m + n + s and r = (m + s) / E: (p - r (1 - p)) / (E + 1 - p)."""
        union = mass - overlap + size + self.smooth
        current = ratio(overlap + self.smooth, union)
        scale = 1 / (union + 1)
        return scale * (1 + current), scale * current, scale


Objective: TypeAlias = Dice | IoU

LARGEST_SMOOTH = 1e30
"""What any larger `smooth` is computed as: masks come in the same order.

The thresholds of both are 0.5 up to the number of pixels over `smooth`. Twice 1e308 is infinite,
and so is 1e39 in float32.
"""

OBJECTIVES: dict[str, type[Objective]] = {"dice": Dice, "iou": IoU}
