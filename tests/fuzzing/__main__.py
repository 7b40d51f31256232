"""The command: `python -m fuzzing networks calls --cases 300 --seed 1`."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
HUNTS = sorted(path.stem for path in HERE.glob("*.py") if "\nHUNT = " in path.read_text())
RESULTS = HERE / "results"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzzing", description="Hunt for cases that break a promise.")
    parser.add_argument("hunts", nargs="*", metavar="HUNT", help=f"{', '.join(HUNTS)}; all of them if none is named")
    parser.add_argument("--long", action="store_true", help="the counts of a run by hand, not the short ones")
    parser.add_argument("--cases", type=int, help="how many cases instead")
    parser.add_argument("--seed", type=int, default=0, help="where drawing begins (0)")
    parser.add_argument("--keep", action="store_true", help="note the counts in results/, for promises.md")
    options = parser.parse_args()
    unknown = set(options.hunts) - set(HUNTS)
    if unknown:
        parser.error(f"no hunt is called {', '.join(sorted(unknown))}; there are {', '.join(HUNTS)}")
    failed = 0
    for name in options.hunts or HUNTS:
        hunt = importlib.import_module(f"fuzzing.{name}").HUNT
        cases = options.cases or (hunt.long if options.long else hunt.short)
        found = hunt(cases, options.seed)
        counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(found.counts.items()))
        print(f"{name}: {counts}; {len(found.failures)} failed, in {found.seconds:.0f} s", flush=True)
        failed += len(found.failures)
        if options.keep:
            kept = {"cases": cases, "seed": options.seed, "counts": found.counts, "failures": len(found.failures)}
            RESULTS.mkdir(exist_ok=True)
            (RESULTS / f"{name}.json").write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
