"""What a hunt is, and what comes out of one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Findings:
    """What a run has seen so far.

    Attributes:
        counts: how many cases of each kind were judged.
        failures: a line for each case that broke the promise, with what is needed to make it again.
    """

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def fail(self, text: str) -> None:
        """Note a failure, and tell it at once: the process may die at the next case."""
        self.failures.append(text)
        print(f"FAILED {text}", flush=True)

    @contextmanager
    def case(self, kind: str, description: str) -> Iterator[None]:
        """Judge a case: what is raised inside, assertions above all, is a failure."""
        self.counts[kind] += 1
        try:
            yield
        except Exception as error:
            self.fail(f"{description}: {type(error).__name__}: {str(error).strip()[:500]}")


@dataclass(frozen=True)
class Hunt:
    """One promise and the hunt for what breaks it.

    Attributes:
        promise: what holds, a sentence.
        how: how cases are made and judged, a sentence.
        run: runs so many cases from a seed, and notes what it finds.
        short: the cases of the short form.
        long: the cases of the long form.
    """

    promise: str
    how: str
    run: Callable[[int, int, Findings], None]
    short: int
    long: int

    def __call__(self, cases: int, seed: int) -> Findings:
        """Run it."""
        findings, start = Findings(), time.perf_counter()
        self.run(cases, seed, findings)
        findings.seconds = time.perf_counter() - start
        return findings
