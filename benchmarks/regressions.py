"""Whether one commit is slower than another, with an answer that holds on a machine that does other things too.

    python benchmarks/regressions.py --quick HEAD~1 HEAD

The page that tells how to read it is fastconv/docs/regressions.md.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__" and __package__ is None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.tracking.builds import Build, Project
from benchmarks.tracking.compare import Comparison
from benchmarks.tracking.errors import Refused
from benchmarks.tracking.judge import geometric_mean
from benchmarks.tracking.rows import Row, rows
from benchmarks.tracking.saved import save
from benchmarks.tracking.sides import SideError, say, started
from benchmarks.tracking.table import as_json, lines

MINUTES = 10.0  # of a quick comparison


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command's options; exits with 2 if they make no sense."""
    parser = argparse.ArgumentParser(
        prog="regressions.py", description="Exit status 1: something is slower. 2: it cannot be compared."
    )
    parser.add_argument("base", help="the commit before, as git names it")
    parser.add_argument("head", help="the commit after")
    parser.add_argument("--quick", action="store_true", help="a few rows of each kind of kernel, for a pull request")
    parser.add_argument("--bench", metavar="REGEX", help="only rows whose names match, as the table writes them")
    parser.add_argument(
        "--factor", type=float, default=1.05, help="what is slower by less is no regression (%(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all ratios, and what they were computed from")
    parser.add_argument("--minutes", type=float, help=f"measure nothing again after these ({MINUTES:.0f} with --quick)")
    parser.add_argument("--no-save", action="store_true", help="leave asv's results as they are")
    options = parser.parse_args(arguments)
    if not options.factor > 1:
        parser.error(f"--factor must be above 1, got {options.factor}")
    if options.minutes is None:
        options.minutes = MINUTES if options.quick else float("inf")
    return options


def listed(build: Build) -> list[dict[str, Any]]:
    """All benchmarks of this tree, as asv has them."""
    with started(build) as (side,):
        return side.ask("benchmarks")["found"]


def chosen(benchmarks: Sequence[dict[str, Any]], options: argparse.Namespace) -> list[Row]:
    """The rows that the options ask for."""
    try:
        found = rows(benchmarks, options.quick, options.bench)
    except re.error as error:
        raise Refused(f"--bench: {error}") from None
    if not found:
        raise Refused("no benchmark matches --bench")
    return found


def report(comparison: Comparison, options: argparse.Namespace, interrupted: bool) -> int:
    """Print and write what is known; the exit status."""
    for note in dict.fromkeys(comparison.notes):
        say(note)
    for line in lines(comparison):
        print(line)
    slower = comparison.confirmed()
    mean = geometric_mean([comparison.judgement(row).ratio for row in comparison.pairs])
    print(f"\n{len(comparison.pairs)} rows, geometric mean {mean:.3f}; slower: {len(slower)}")
    if interrupted:
        say("interrupted: this is what was known until then")
    if options.json:
        options.json.write_text(json.dumps(as_json(comparison, interrupted), indent=1) + "\n", encoding="utf-8")
    return 130 if interrupted else int(bool(slower))


def compared(options: argparse.Namespace) -> int:
    """Build, measure, report; the exit status."""
    project = Project()
    if changed := project.uncommitted():
        say(f"{changed} files are not committed: commits are compared, with the benchmarks as they are in this tree")
    if project.commit(options.base) == project.commit(options.head):
        raise Refused(f"{options.base} and {options.head} are the same commit")
    base, head = project.build(options.base), project.build(options.head)
    benchmarks = listed(head)
    comparison = Comparison(base, head, options.factor, time.monotonic() + 60 * options.minutes)
    interrupted = False
    try:
        comparison.run(chosen(benchmarks, options))
    except KeyboardInterrupt:
        interrupted = True
    except (SideError, Refused) as error:  # a process has died: what was measured before is kept
        if not comparison.pairs:
            raise
        comparison.notes.append(str(error))
    status = report(comparison, options, interrupted)
    if not options.no_save and comparison.pairs:
        save(project, comparison, benchmarks)
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare two commits: 0 if nothing is slower, 1 if something is, 2 if that cannot be found out."""
    options = parsed(arguments)
    try:
        return compared(options)
    except (Refused, SideError, OSError) as error:
        say(str(error))
        return 2
    except KeyboardInterrupt:
        say("interrupted before anything was measured")
        return 130


if __name__ == "__main__":
    sys.exit(main())
