"""What is compared: rows, each a benchmark of asv with one choice of its parameters."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from benchmarks.tracking import quick

FIGURES = ("peakmemory", "track")


@dataclass(frozen=True, eq=False)
class Row:
    """One benchmark with one choice of its parameters.

    Attributes:
        benchmark: asv's record: its name, type, unit and all parameters.
        index: which choice of the parameters.
        values: these parameters, as asv writes them.
    """

    benchmark: dict[str, Any]
    index: int
    values: tuple[str, ...]

    @property
    def key(self) -> str:
        """What asv's runner finds it by."""
        name = self.benchmark["name"]
        return f"{name}-{self.index}" if self.values else name

    @property
    def name(self) -> str:
        """As asv prints it: `bench_pool.MaxPool.time_forward('LeNet p1', 'float32', 1)`."""
        return f"{self.benchmark['name']}({', '.join(self.values)})" if self.values else self.benchmark["name"]

    @property
    def timed(self) -> bool:
        """Whether it is a time, which is sampled; other figures are taken once in a process."""
        return self.benchmark["type"] not in FIGURES


def rows(benchmarks: Iterable[dict[str, Any]], only_quick: bool, pattern: str | None) -> list[Row]:
    """The rows of benchmarks that are compared.

    Figures in reference loops are not: what is compared here is in turn already, and each is the time beside it.
    """
    found = []
    for benchmark in benchmarks:
        name = benchmark["name"]
        if benchmark["type"] == "track" and not _compared(name):
            continue
        for index, values in enumerate(itertools.product(*benchmark["params"])):
            row = Row(benchmark, index, values)
            if only_quick and not quick.is_quick(name, values):
                continue
            if pattern is None or re.search(pattern, row.name):
                found.append(row)
    return found


def _compared(name: str) -> bool:
    return "first_call" in name or "import" in name
