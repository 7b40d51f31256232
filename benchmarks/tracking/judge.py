"""From samples to a judgement: the ratio of two commits, how sure it is, and whether it is a regression."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

# What is measured of a row in a pair of processes. Short turns follow the machine's own changes of speed, which take
# seconds; the smallest of a turn's samples is one that was not interrupted. Measured: docs/regressions.md.
TURNS, ROUNDS = 20, 6
# Fresh pairs of processes that a row which looks slower is measured in again; all but one must agree.
AGAIN = 5

SIDES = "base", "head"


class Turn(NamedTuple):
    """What both commits gave one after the other: samples as `rounds.Samples`, or one figure each."""

    base: dict[str, Any]
    head: dict[str, Any]


class Judgement(NamedTuple):
    """The ratio of a row.

    Attributes:
        base: seconds, or the figure, before.
        head: the same after.
        ratio: after over before, the median of the pairs' ratios.
        low: the lower end of its interval.
        high: the upper end.
        best: after over before, each in the pair that is best for it, in reference loops: where memory happens to lie
            makes a pair's ratio, not a regression.
        in_loops: the times of both over that of the reference loop; None for a figure.
    """

    base: float
    head: float
    ratio: float
    low: float
    high: float
    best: float
    in_loops: tuple[float, float] | None


def pair_ratio(turns: Sequence[Turn]) -> float:
    """After over before in one pair of processes: the median of the turns."""
    return statistics.median(least(turn.head) / least(turn.base) for turn in turns)


def least(samples: dict[str, Any], of: str = "call") -> float:
    """The smallest of a turn's samples; a figure that is no time has a loop of 1."""
    if "value" in samples:
        return samples["value"] if of == "call" else 1.0
    return min(samples[of])


def judged(pairs: Sequence[Sequence[Turn]]) -> Judgement:
    """The judgement of all pairs of processes of a row.

    The interval is from the smallest to the largest ratio of a pair, without these two where there are four or more.
    """
    ratios = sorted(pair_ratio(turns) for turns in pairs)
    inner = ratios[1:-1] if len(ratios) >= 4 else ratios
    levels = [level([turn for pair in pairs for turn in pair], side) for side in SIDES]
    best = [min(level(pair, side) / level(pair, side, "loop") for pair in pairs) for side in SIDES]
    loops = [level(pairs[0], side, "loop") for side in SIDES]
    in_loops = (best[0], best[1]) if loops != [1.0, 1.0] else None
    return Judgement(*levels, statistics.median(ratios), inner[0], inner[-1], best[1] / best[0], in_loops)


def level(turns: Sequence[Turn], side: str, of: str = "call") -> float:
    """The time of a side: the median of the turns."""
    return statistics.median(least(getattr(turn, side), of) for turn in turns)


def looks_slower(found: Judgement, factor: float) -> bool:
    """Whether a row is to be measured again: its ratio is near the factor, or it may be above and is not known well."""
    limit = 1 + 0.7 * (factor - 1)
    return found.ratio > limit or (found.ratio > 1 and found.high > 1 + 2 * (factor - 1))


def is_slower(found: Judgement, factor: float) -> bool:
    """Whether a row that was measured again is a regression: above the factor, and sure to be half-way to it."""
    half = 1 + (factor - 1) / 2
    return found.ratio > factor and found.low > half and found.best > half


def geometric_mean(ratios: Sequence[float]) -> float:
    """Of all rows; 1 for none."""
    return math.exp(statistics.fmean(map(math.log, ratios))) if ratios else 1.0
