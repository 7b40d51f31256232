"""Lines that the tutorials' own classes print, as their readers expect; nothing else in the package does."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def line(text: str = "") -> None:
    """Write a line to the standard output."""
    sys.stdout.write(f"{text}\n")


def framed(rows: Sequence[Sequence[str]]) -> str:
    """A table with a frame of plain characters; the first row is its head.

    Example:
        >>> for line in framed([["a", "bc"], ["1", "2"]]).splitlines(): print(line)
        +---+----+
        | a | bc |
        +---+----+
        | 1 | 2  |
        +---+----+
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    rule = "+".join(["", *("-" * (width + 2) for width in widths), ""])
    lines = ["|".join(["", *(f" {cell:{width}} " for cell, width in zip(row, widths)), ""]) for row in rows]
    return "\n".join([rule, lines[0], rule, *(lines[1:] and [*lines[1:], rule])])
