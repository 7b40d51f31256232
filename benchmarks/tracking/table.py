"""A comparison as a table, and as JSON."""

from __future__ import annotations

from typing import Any

from benchmarks.report import aligned
from benchmarks.tracking.compare import Comparison
from benchmarks.tracking.judge import judged
from benchmarks.tracking.rows import Row

STEPS = {"seconds": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")), "bytes": ((1e6, "MB"), (1e3, "kB"))}


def amount(value: float, unit: str) -> str:
    """Three digits and the unit."""
    for size, name in STEPS.get(unit, ()):
        if value >= size:
            return f"{value / size:.3g} {name}"
    return f"{value:.3g} {unit}"


def lines(comparison: Comparison) -> list[str]:
    """One row for each that was measured, regressions first."""
    order = sorted(comparison.pairs, key=lambda row: (comparison.state(row) != "slower", row.name))
    cells = []
    for row in order:
        found, unit = comparison.judgement(row), row.benchmark["unit"]
        interval = f"{found.low:.3f} to {found.high:.3f}"
        before, after = amount(found.base, unit), amount(found.head, unit)
        cells.append([row.name, before, after, f"{found.ratio:.3f}", interval, comparison.state(row)])
    return aligned(["benchmark", "before", "after", "ratio", "interval", ""], cells)


def as_json(comparison: Comparison, interrupted: bool) -> dict[str, Any]:
    """All that was found out."""
    return {
        "base": comparison.base.commit, "head": comparison.head.commit, "factor": comparison.factor,
        "interrupted": interrupted, "confirmed": [row.name for row in comparison.confirmed()],
        "notes": comparison.notes, "rows": [_row(comparison, row) for row in comparison.pairs],
    }  # fmt: skip


def _row(comparison: Comparison, row: Row) -> dict[str, Any]:
    found = comparison.judgement(row)
    pairs, again = comparison.pairs[row], comparison.again.get(row, [])
    return {
        "name": row.name, "unit": row.benchmark["unit"], "state": comparison.state(row), **found._asdict(),
        "pairs": [judged([pair]).ratio for pair in pairs], "again": [judged([pair]).ratio for pair in again],
    }  # fmt: skip
