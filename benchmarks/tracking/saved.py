"""What was measured, as asv's results: `asv compare`, `asv show` and `asv publish` read them."""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.tracking.builds import Build, Project
from benchmarks.tracking.compare import Comparison
from benchmarks.tracking.judge import least
from benchmarks.tracking.rows import Row

# what keeps these apart from the results of `asv run`, which measures one commit after the other
HOW = {"FASTCONV_MEASURED": "in turn"}


def save(project: Project, comparison: Comparison, benchmarks: Sequence[dict[str, Any]]) -> None:
    """Write the results of both commits, beside what is there of other rows."""
    from asv.benchmarks import Benchmarks
    from asv.machine import Machine

    with contextlib.redirect_stdout(io.StringIO()):
        machine = Machine.load(interactive=True)
        machine.save(project.conf.results_dir)
        Benchmarks(project.conf, list(benchmarks)).save()
    by_name: dict[str, list[Row]] = defaultdict(list)
    for row in comparison.pairs:
        by_name[row.benchmark["name"]].append(row)
    for number, build in enumerate((comparison.base, comparison.head)):
        results = _results(project, build, vars(machine))
        for rows in by_name.values():
            _add(results, rows, {row: _samples(comparison, row, number) for row in rows})
        results.save(project.conf.results_dir)


def _samples(comparison: Comparison, row: Row, number: int) -> list[float]:
    pairs: Iterable[Any] = (*comparison.pairs[row], *comparison.again.get(row, ()))
    return [least(turn[number]) for turns in pairs for turn in turns]


def _results(project: Project, build: Build, machine: dict[str, Any]) -> Any:
    from asv.results import Results, get_filename

    environment = build.environment
    name = f"{environment.name}-in-turn"
    path = Path(project.conf.results_dir) / get_filename(machine["machine"], build.commit, name)
    if path.exists():
        with contextlib.suppress(Exception):  # of another version of asv
            return Results.load(str(path), machine["machine"])
    parameters = {**machine, "python": environment.python, **environment.requirements}
    date = project.repo.get_date(build.commit)
    return Results(parameters, environment.requirements, build.commit, date, environment.python, name, HOW)


def _add(results: Any, rows: Sequence[Row], samples: dict[Row, list[float]]) -> None:
    from asv.runner import BenchmarkResult

    benchmark = rows[0].benchmark
    size = 1
    for values in benchmark["params"]:
        size *= len(values)
    values: list[Any] = [float("nan")] * size
    kept: list[Any] = [None] * size
    counts: list[Any] = [None] * size
    for row in rows:
        values[row.index], kept[row.index], counts[row.index] = min(samples[row]), samples[row], 1
    found = BenchmarkResult(values, kept, counts, 0, "", None)
    results.add_result(benchmark, found, record_samples=True, selected_idx={row.index for row in rows})
