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
        in_loops: the times of both over that of the reference loop; None for a figure.
    """

    base: float
    head: float
    ratio: float
    low: float
    high: float
    in_loops: tuple[float, float] | None


def pair_ratio(turns: Sequence[Turn]) -> float:
    """After over before in one pair of processes: the median of the turns."""
    return statistics.median(least(turn.head) / least(turn.base) for turn in turns)


def least(samples: dict[str, Any], of: str = "call") -> float:
    """The smallest of a turn's samples."""
    return samples["value"] if "value" in samples else min(samples[of])


def judged(pairs: Sequence[Sequence[Turn]]) -> Judgement:
    """The judgement of all pairs of processes of a row.

    The interval is from the smallest to the largest ratio of a pair, without these two where there are four or more.
    """
    ratios = sorted(pair_ratio(turns) for turns in pairs)
    inner = ratios[1:-1] if len(ratios) >= 4 else ratios
    turns = [turn for pair in pairs for turn in pair]
    base, head = (statistics.median(least(side) for side in sides) for sides in zip(*turns))
    in_loops = None
    if "loop" in turns[0].base:
        loops = [statistics.median(least(side, "loop") for side in sides) for sides in zip(*turns)]
        in_loops = base / loops[0], head / loops[1]
    return Judgement(base, head, statistics.median(ratios), inner[0], inner[-1], in_loops)


def looks_slower(found: Judgement, factor: float) -> bool:
    """Whether a row is to be measured again: its ratio is near the factor, or it may be above and is not known well."""
    limit = 1 + 0.7 * (factor - 1)
    return found.ratio > limit or (found.ratio > 1 and found.high > 1 + 2 * (factor - 1))


def is_slower(found: Judgement, factor: float) -> bool:
    """Whether a row that was measured again is a regression: above the factor, and sure to be half-way to it."""
    return found.ratio > factor and found.low > 1 + (factor - 1) / 2


def geometric_mean(ratios: Sequence[float]) -> float:
    """Of all rows; 1 for none."""
    return math.exp(statistics.fmean(map(math.log, ratios))) if ratios else 1.0
