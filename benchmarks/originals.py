"""Run the tutorials' real scripts beside fastconv, for RESULTS.md: `python benchmarks/originals.py PATH...`.

Each PATH is a checkout of ML-From-Scratch, Deep Learning from Scratch or numpy-ml. Their scripts run in a copy, as they
are and with their import lines changed; nothing of theirs is in this project. MNIST is taken from FASTCONV_DATA.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

if not __package__:  # run as a script: the folder of the packages is one up
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tqdm import tqdm

from benchmarks.original_script import SCRIPTS, Script
from benchmarks.report import Section, add_write, aligned, published, times_as_fast
from benchmarks.tables import conditions
from fastconv.data.files import written_atomically

SECTION = Section("<!-- originals:begin -->", "<!-- originals:end -->")
ROOT = Path(__file__).resolve().parents[1]
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def found_in(checkouts: Sequence[Path], words: Sequence[str]) -> list[tuple[int, Script, Path]]:
    """The scripts that are in the checkouts and have one of the words in their path.

    Raises:
        ValueError: a checkout has none.
    """
    found = []
    for checkout in checkouts:
        here = [(i, s, checkout.resolve()) for i, s in enumerate(SCRIPTS) if (checkout / s.path).is_file()]
        if not here:
            raise ValueError(f"{checkout}: is no checkout of {', '.join(sorted({s.tutorial for s in SCRIPTS}))}")
        found += here
    return [one for one in found if not words or any(word in one[1].path for word in words)]


def ran(number: int, checkout: Path, side: str, rounds: int, threads: int, images: int) -> dict[str, Any]:
    """A script's result, from a process of its own."""
    environment = {**os.environ, **dict.fromkeys(THREADS, str(threads)), "ORIGINALS_IMAGES": str(images)}
    environment |= {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]), "MPLBACKEND": "Agg"}
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        script = str(ROOT / "benchmarks" / "original_script.py")
        words = [str(number), str(checkout), side, str(rounds), str(result)]
        done = subprocess.run([sys.executable, script, *words], env=environment, capture_output=True, text=True)
        if done.returncode:
            raise ValueError(f"{SCRIPTS[number].path}, {side}: {done.stderr.strip().splitlines()[-1]}")
        return json.loads(result.read_text())


def deviation(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The largest difference of two rows of numbers, relative beyond 1; infinite if one row is longer."""
    if len(ours) != len(theirs):
        return math.inf
    pairs = [(a, b) for a, b in zip(ours, theirs) if not (math.isnan(a) and math.isnan(b))]
    return max((abs(a - b) / max(1.0, abs(b)) for a, b in pairs), default=0.0)


class Both(NamedTuple):
    """The two sides of a script: seconds, the lines that changed, how many numbers, their largest difference."""

    theirs: float
    ours: float
    lines: int
    numbers: int
    deviation: float


def both(number: int, checkout: Path, threads: int, images: int) -> Both:
    """A script as it is, and with its import lines changed."""
    theirs = ran(number, checkout, "original", 1, threads, images)
    # the first round compiles, or reads what is compiled
    ours = ran(number, checkout, "fastconv", 2, threads, images)
    different = deviation(ours["numbers"], theirs["numbers"])
    return Both(theirs["seconds"], ours["seconds"], ours["lines"], len(ours["numbers"]), different)


def measured(
    checkouts: Sequence[Path], words: Sequence[str], threads: Sequence[int], images: int, path: Path | None
) -> str:  # fmt: skip
    """The table; what is not yet in the file of results is measured and put there."""
    results: dict[str, Any] = json.loads(path.read_text()) if path and path.exists() else {}
    jobs = [(n, script, checkout, count) for n, script, checkout in found_in(checkouts, words) for count in threads]
    for number, script, checkout, count in tqdm(jobs, disable=None, leave=False):
        key = f"{script.path}, {count} threads, {images} images"
        if key not in results:
            results[key] = both(number, checkout, count, images)
            if path:
                with written_atomically(path) as file:
                    file.write(json.dumps(results).encode())
    return table(results, threads, images)


def table(results: Mapping[str, Sequence[Any]], threads: Sequence[int], images: int) -> str:
    """A row for each script that is measured for each number of threads."""
    rows = []
    for script in SCRIPTS:
        keys = [f"{script.path}, {count} threads, {images} images" for count in threads]
        if any(key not in results for key in keys):
            continue
        found = [Both(*results[key]) for key in keys]
        cells = [f"**{times_as_fast(f.theirs / f.ours)}** {f.theirs:.2f} s, {f.ours:.2f} s" for f in found]
        equal = f"{found[0].numbers:,}, to {max(f.deviation for f in found):.0e}"
        rows.append([f"{script.tutorial}: `{Path(script.path).name}`", str(found[0].lines), equal, *cells])
    header = ["script", "changed lines", "equal numbers", *(f"{n} thread{'s' * (n > 1)}" for n in threads)]
    text = "The original's time and fastconv's, imports and reading MNIST left out, of a script that takes"
    about = f"{text} {images:,} images of MNIST or all of scikit-learn's digits. {conditions()}."
    return "\n".join([about, "", *aligned(header, rows)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, compare, print, and write if asked to; 1 if something cannot be run, read or written."""
    parser = argparse.ArgumentParser(prog="originals.py", description="The tutorials' own scripts, and fastconv.")
    parser.add_argument("checkouts", type=Path, nargs="+", metavar="PATH", help="a checkout of a tutorial's repository")
    parser.add_argument("--scripts", nargs="+", default=[], metavar="WORD", help="those with such a word in their path")
    parser.add_argument("--images", type=int, default=500, metavar="N", help="of MNIST; 500 by default")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], metavar="N", help="1 and 2 by default")
    parser.add_argument("--results", type=Path, metavar="FILE", help="keep measurements; what is there is not repeated")
    add_write(parser, SECTION)
    options = parser.parse_args(arguments)
    return published(
        parser.prog, SECTION, options.write,
        lambda: measured(options.checkouts, options.scripts, options.threads, options.images, options.results),
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
