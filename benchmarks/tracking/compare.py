"""Both commits' processes in turn, row by row, until it is known what is slower."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tqdm import tqdm

from benchmarks.tracking.builds import Build
from benchmarks.tracking.errors import Refused
from benchmarks.tracking.judge import AGAIN, ROUNDS, TURNS, Judgement, Turn, is_slower, judged, looks_slower
from benchmarks.tracking.rows import Row
from benchmarks.tracking.sides import Side, SideError, Skipped, started

FIRST = 2  # pairs of processes before anything looks slower


class Comparison:
    """What is known of the rows so far; it is valid after each step, also if the next one is interrupted.

    Attributes:
        pairs: of each row, the turns of each pair of processes.
        again: the same of the fresh pairs for what looked slower; they alone decide.
        notes: what could not be measured, and why.
    """

    def __init__(self, base: Build, head: Build, factor: float, until: float = float("inf")):
        self.base, self.head, self.factor, self.until = base, head, factor, until
        self.pairs: dict[Row, list[list[Turn]]] = {}
        self.again: dict[Row, list[list[Turn]]] = {}
        self.notes: list[str] = []
        self.layouts = 0

    def run(self, rows: Sequence[Row]) -> None:
        """Measure all rows, then those that look slower in fresh processes."""
        for _ in range(FIRST):
            self._pair(rows, self.pairs)
        doubtful = [row for row in self.pairs if looks_slower(judged(self.pairs[row]), self.factor)]
        for _ in range(AGAIN):
            if doubtful and time.monotonic() < self.until:
                self._pair(doubtful, self.again)
                doubtful = [row for row in doubtful if self._open(row)]
        if late := [row for row in doubtful if len(self.again.get(row, ())) < AGAIN]:
            self.notes.append(f"no time was left to measure {len(late)} rows again that look slower")

    def judgement(self, row: Row) -> Judgement:
        """Of the fresh pairs where there are any, so that what raised the suspicion does not confirm it as well."""
        return judged(self.again.get(row) or self.pairs[row])

    def state(self, row: Row) -> str:
        """In a word: "slower" was confirmed."""
        found = self.judgement(row)
        if len(self.again.get(row, ())) >= AGAIN and is_slower(found, self.factor):
            return "slower"
        if row in self.again:
            return "not confirmed"
        return "faster" if found.ratio * self.factor < 1 and found.high < 1 else ""

    def confirmed(self) -> list[Row]:
        """The regressions."""
        return [row for row in self.pairs if self.state(row) == "slower"]

    def _open(self, row: Row) -> bool:
        """Whether the pairs that are to come could still confirm it: all but one must agree."""
        half = 1 + (self.factor - 1) / 2
        return sum(judged([pair]).ratio <= half for pair in self.again.get(row, ())) < 2

    def _pair(self, rows: Sequence[Row], found: dict[Row, list[list[Turn]]]) -> None:
        """One more pair of processes for each row, the commits in the other order than in the last."""
        self.layouts += 1
        builds = (self.base, self.head) if self.layouts % 2 else (self.head, self.base)
        with started(*builds, layout=self.layouts) as sides:
            base, head = sides if self.layouts % 2 else reversed(sides)
            title = f"pair {self.layouts} of processes"
            for row in tqdm([row for row in rows if row.timed], title, disable=None, leave=False):
                self._note(row, found, lambda row=row: self._turns(row, base, head))
        for row in tqdm([row for row in rows if not row.timed], "memory", disable=None, leave=False):
            self._note(row, found, lambda row=row: [self._figures(row, builds)])

    def _note(self, row: Row, found: dict[Row, list[list[Turn]]], measured: Callable[[], list[Turn]]) -> None:
        try:
            turns = measured()
            found.setdefault(row, []).append(turns)
        except Skipped:
            pass
        except SideError as error:
            self.notes.append(f"{row.name} is left out: {error}")

    def _turns(self, row: Row, base: Side, head: Side) -> list[Turn]:
        calls = [asked(side, "prepare", row=row.key)["calls"] for side in (base, head)]
        turns = []
        for number in range(TURNS):
            order = (base, head) if number % 2 == 0 else (head, base)
            found = {id(side): asked(side, "measure", calls=max(calls), rounds=ROUNDS) for side in order}
            turns.append(Turn(found[id(base)], found[id(head)]))
        return turns

    def _figures(self, row: Row, builds: Iterable[Build]) -> Turn:
        """Each in a process of its own: the peak of memory is one of the whole process."""
        found = {}
        for build in builds:
            with started(build, layout=self.layouts) as (side,):
                found[build.commit] = asked(side, "figure", row=row.key)
        return Turn(found[self.base.commit], found[self.head.commit])


def asked(side: Side, do: str, **arguments: Any) -> dict[str, Any]:
    """A side's answer.

    Raises:
        SideError: which commit cannot measure it, and why.
        Refused: its process has ended, and with it all that is to come.
    """
    name = f"{side.build.name} ({side.build.commit[:8]})"
    try:
        return side.ask(do, **arguments)
    except Skipped:
        raise
    except SideError as error:
        if side.process.poll() is not None:
            raise Refused(f"{name}: {error}") from None
        raise SideError(f"{name} cannot run it: {error}") from None
