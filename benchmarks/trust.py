"""How far `regressions.py --quick` can be trusted on this machine: false alarms, and slow-downs found.

    python benchmarks/trust.py --minutes 10

Run it again until nothing is left: each run is a line of a file, and what is there is not run again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__" and __package__ is None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import Section, add_write, aligned, machine
from benchmarks.tracking.builds import ROOT, git
from benchmarks.tracking.errors import Refused
from benchmarks.tracking.injected import KERNELS, Clone

BUSY = "while True: pass"
EQUAL = "equal commits"
SECTION = Section("<!-- trust:begin -->", "<!-- trust:end -->")


class Run(NamedTuple):
    """One comparison; its key stands in the file.

    Attributes:
        what: a kernel that is slowed down, or EQUAL.
        factor: by how much; 1 of equal commits.
        number: which of the runs of its kind.
        busy: whether another process keeps a processor busy.
    """

    what: str
    factor: float
    number: int
    busy: bool

    @property
    def key(self) -> str:
        """What it is found again by."""
        return f"{self.what}, {self.factor}, {self.number}" + ", busy" * self.busy


def planned(options: argparse.Namespace) -> list[Run]:
    """All runs: equal commits, every second one beside a busy process, then each kernel and factor."""
    runs = [Run(EQUAL, 1.0, number, number % 2 == 1) for number in range(options.equal)]
    each = [
        (kernel, factor, n) for factor in options.factors for n in range(options.each) for kernel in options.kernels
    ]
    return runs + [Run(*job, False) for job in each]


@contextlib.contextmanager
def company(busy: bool) -> Iterator[None]:
    """Another process that keeps a processor busy."""
    if not busy:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def carried_out(run: Run, clone: Clone) -> dict[str, Any]:
    """Compare as a user would, and keep what came out."""
    head = clone.equal() if run.what == EQUAL else clone.slower(run.what, run.factor)
    found, script = clone.folder.with_suffix(".json"), clone.folder / "benchmarks" / "regressions.py"
    found.unlink(missing_ok=True)
    command = [sys.executable, str(script), "--quick", "--no-save", clone.base, head, "--json", str(found)]
    begin = time.monotonic()
    with company(run.busy):
        done = subprocess.run(command, cwd=clone.folder, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise Refused(f"{run.key}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'no output'}")
    result = json.loads(found.read_text(encoding="utf-8"))
    if left_out := [note for note in result["notes"] if "left out" in note]:
        raise Refused(f"{run.key}: {left_out[0]}")
    rows = {row["name"]: [*row["pairs"], *row["again"]] for row in result["rows"]}
    return {
        "key": run.key, **run._asdict(), "confirmed": result["confirmed"], "notes": result["notes"], "rows": rows,
        "seconds": round(time.monotonic() - begin, 1),
    }  # fmt: skip


def is_found(line: dict[str, Any]) -> bool:
    """Whether a row of the kernel that was slowed down is among the confirmed ones."""
    return any(re.search(KERNELS[line["what"]].rows, name) for name in line["confirmed"])


def told(line: dict[str, Any]) -> str:
    """A run in a line."""
    names = ", ".join(line["confirmed"]) or "nothing"
    verdict = "" if line["what"] == EQUAL else "found" if is_found(line) else "MISSED"
    return f"{line['key']} ({line['seconds']:.0f} s): {verdict} {names}".replace("  ", " ")


def summary(lines: Sequence[dict[str, Any]]) -> list[str]:
    """False alarms, and how many slow-downs were found of each kernel and factor."""
    equal = [line for line in lines if line["what"] == EQUAL]
    seconds = sorted(line["seconds"] for line in lines) or [0.0]
    text = [f"{machine()}; {len(lines)} runs of `--quick`, the median took {seconds[len(seconds) // 2]:.0f} s.", ""]
    for busy in (False, True):
        runs = [line for line in equal if line["busy"] == busy]
        alarms, beside = sum(len(line["confirmed"]) for line in runs), " beside a busy process" * busy
        text.append(f"- Equal commits{beside}: {alarms} false alarms in {len(runs)} runs.")
    slowed = [line for line in lines if line["what"] != EQUAL]
    factors = sorted({line["factor"] for line in slowed})
    table = []
    for kernel in (*KERNELS, None):
        cells = []
        for factor in factors:
            runs = [line for line in slowed if line["factor"] == factor and kernel in (None, line["what"])]
            cells.append(f"{sum(map(is_found, runs))} of {len(runs)}")
        table.append([kernel or "together", *cells])
    if factors:
        text += ["", *aligned(["slowed down", *map(str, factors)], table)]
        others = sum(
            not re.search(KERNELS[line["what"]].rows, name) for line in slowed for name in line["confirmed"]
        )  # fmt: skip
        text += ["", f"Rows of other kernels that were called slower in these: {others}."]
    return text


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="trust.py", description="What regressions.py --quick is worth here.")
    parser.add_argument("--equal", type=int, default=20, help="runs between equal commits (%(default)s)")
    parser.add_argument("--factors", type=float, nargs="*", default=[1.2, 1.1], help="slow-downs (1.2 1.1)")
    parser.add_argument("--each", type=int, default=5, help="runs of each kernel and factor (%(default)s)")
    parser.add_argument("--kernels", nargs="+", choices=KERNELS, default=list(KERNELS), metavar="NAME")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no run after these")
    parser.add_argument("--file", type=Path, help="of the runs (.asv/trust/COMMIT.jsonl)")
    add_write(parser, SECTION)
    parser.add_argument("--summary", action="store_true", help="run nothing, tell what is there")
    return parser.parse_args(arguments)


def done_in(file: Path) -> list[dict[str, Any]]:
    """The runs that a file holds; a line that was cut off is none."""
    lines = []
    for text in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        with contextlib.suppress(ValueError):
            lines.append(json.loads(text))
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is left, and tell what all runs say: 2 if that cannot be done."""
    options, end = parsed(arguments), time.monotonic()
    end += 60 * options.minutes
    try:
        commit = git("-C", str(ROOT), "rev-parse", "--short=8", "HEAD").stdout.strip()
        folder = ROOT / ".asv" / "trust"
        file = options.file or folder / f"{commit}.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        lines = done_in(file)
        for path in options.write:
            SECTION.check(path)
        left = [run for run in planned(options) if run.key not in {line["key"] for line in lines}]
        clone = None if options.summary else Clone(ROOT, folder / commit)
        while left and clone and time.monotonic() < end:
            lines.append(carried_out(left.pop(0), clone))
            with file.open("a", encoding="utf-8") as out:
                out.write(json.dumps(lines[-1]) + "\n")
            print(f"{len(left)} left; {told(lines[-1])}", file=sys.stderr, flush=True)
    except (Refused, OSError, ValueError) as error:
        print(f"trust.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    text = "\n".join(summary(lines))
    print(text)
    for path in options.write:
        SECTION.replace(path, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
