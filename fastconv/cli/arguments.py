"""Kinds of arguments that commands share."""

from __future__ import annotations

import argparse
import math
from typing import Any


class UsageError(Exception):
    """Arguments that are wrong in a way only the command itself can tell; answered with the usage and exit code 2."""


def at_least(least: int) -> Any:
    """A kind of argument: an integer of at least `least`."""

    def parse(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {number}")
        return number

    parse.__name__ = "integer"  # argparse shows it: invalid integer value
    return parse


def nine_integers(text: str) -> tuple[int, ...]:
    """The nine integers of a convolution."""
    found = tuple(int(part) for part in text.split(","))
    if len(found) != 9:
        raise argparse.ArgumentTypeError(f"must be 9 integers, got {len(found)}")
    return found


nine_integers.__name__ = "list of integers"  # as above


def rate(text: str) -> float:
    """A finite number of at least 0."""
    number = float(text)
    if not (math.isfinite(number) and number >= 0):
        raise argparse.ArgumentTypeError(f"must be finite and at least 0, got {text}")
    return number


rate.__name__ = "number"
