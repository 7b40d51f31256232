"""The comparison of two commits: its judgement, its messages, its asv machine; no commit is built here."""

from __future__ import annotations

import json
import mmap
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import asv_machine, counters, loops, measure, regressions, rounds, trust
from benchmarks.tracking import builds, injected, judge, sides
from benchmarks.tracking.compare import Comparison
from benchmarks.tracking.judge import Turn, is_slower, judged, looks_slower
from benchmarks.tracking.rows import rows
from benchmarks.tracking.table import amount, as_json, lines

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "regressions.py"
BENCHMARK = {
    "name": "bench_x.X.time_call", "type": "time", "unit": "seconds", "params": [["'a'", "'b'"], ["1"]], "version": "1",
}  # fmt: skip


def turn(base: float, head: float, loop: float = 1e-4) -> Turn:
    return Turn(*({"call": [2 * x, x, 9 * x], "loop": [loop, 2 * loop]} for x in (base, head)))


def pairs(*ratios: float) -> list[list[Turn]]:
    return [[turn(1e-3, 1e-3 * ratio)] * 3 for ratio in ratios]


def test_a_ratio_is_that_of_the_smallest_samples_in_the_median_turn() -> None:
    found = judged([[turn(1, 1.1), turn(1, 1.2), turn(1, 7)]])
    assert found.ratio == pytest.approx(1.2) and found.base == 1 and found.head == pytest.approx(1.2)
    assert found.in_loops == pytest.approx((1e4, 1.2e4))
    found = judged(pairs(1.0, 1.1, 1.2, 1.3, 5.0))
    assert (found.low, found.ratio, found.high) == pytest.approx((1.1, 1.2, 1.3))


@pytest.mark.parametrize(
    ("ratios", "slower"),
    [
        ((1.2, 1.2, 1.2, 1.2, 1.2), True),
        ((1.1, 1.08, 1.12, 1.1, 9.0), True),
        ((1.2, 1.2, 1.2, 1.0, 1.0), False),
        ((1.04, 1.04, 1.04, 1.04, 1.04), False),  # below the factor
        ((1.0, 1.0, 1.0, 1.0, 3.0), False),
    ],
)
def test_a_regression_is_what_fresh_processes_agree_on(ratios: tuple[float, ...], slower: bool) -> None:
    assert is_slower(judged(pairs(*ratios)), 1.05) is slower


def test_all_pairs_but_one_have_to_agree() -> None:
    levels = [(1.0, 1.1), (1.02, 1.1), (1.0, 1.12), (1.0, 1.1), (1.1, 1.1)]
    assert is_slower(judged([[turn(*level)] * 3 for level in levels]), 1.05)


def test_where_memory_lies_is_no_regression() -> None:
    """Both commits have a fast and a slow layout; the head's processes had the slow one more often."""
    levels = [(1.0, 1.2), (1.0, 1.2), (1.0, 1.2), (1.0, 1.2), (1.2, 1.0)]
    found = judged([[turn(*level)] * 3 for level in levels])
    assert found.ratio == pytest.approx(1.2) and found.low > 1.1
    assert not is_slower(found, 1.05)


def test_what_is_near_the_factor_or_not_known_well_is_measured_again() -> None:
    assert looks_slower(judged(pairs(1.04, 1.04)), 1.05)
    assert looks_slower(judged(pairs(0.9, 1.12)), 1.05)
    assert not looks_slower(judged(pairs(1.02, 1.0)), 1.05)
    assert not looks_slower(judged(pairs(0.7, 1.2)), 1.05)


def comparison(ratios: dict[str, float], again: float) -> tuple[Comparison, list[Any]]:
    """A comparison whose pairs of processes are not started."""
    build = builds.Build("0" * 40, "HEAD", Path(), "python", None)
    made = Comparison(build, build._replace(commit="1" * 40), 1.05)

    def pair(chosen: Any, found: Any) -> None:
        made.layouts += 1
        for row in chosen:
            ratio = ratios[row.values[0]] if found is made.pairs else again
            found.setdefault(row, []).extend(pairs(ratio))

    made._pair = pair  # type: ignore[method-assign]
    return made, rows([BENCHMARK], False, None)


@pytest.mark.parametrize(("again", "confirmed"), [(1.21, ["'b'"]), (1.01, [])])
def test_only_what_is_slower_again_is_confirmed(again: float, confirmed: list[str]) -> None:
    made, all_rows = comparison({"'a'": 1.0, "'b'": 1.2}, again)
    made.run(all_rows)
    assert [row.values[0] for row in made.confirmed()] == confirmed
    assert made.layouts == (2 + judge.AGAIN if confirmed else 4)  # two that disagree are enough
    table = "\n".join(lines(made))
    assert "bench_x.X.time_call('b', 1)" in table and ("slower" if confirmed else "not confirmed") in table
    found = json.loads(json.dumps(as_json(made, False)))
    assert len(found["confirmed"]) == len(confirmed) and found["rows"][0]["pairs"] == pytest.approx([1.0, 1.0])


def test_without_time_nothing_is_confirmed_and_that_is_said() -> None:
    made, all_rows = comparison({"'a'": 1.0, "'b'": 1.2}, 1.2)
    made.until = 0
    made.run(all_rows)
    assert made.confirmed() == [] and "no time was left" in made.notes[0]


def test_a_benchmark_that_one_commit_lacks_is_said_and_the_rest_goes_on() -> None:
    made, (first, second) = comparison({}, 1.0)

    def lacking() -> list[Turn]:
        raise sides.SideError("HEAD (00000000) cannot run it: AttributeError: relu6")

    made._note(first, made.pairs, lacking)
    made._note(second, made.pairs, lambda: [turn(1, 1)])
    assert list(made.pairs) == [second] and "relu6" in made.notes[0]


def test_an_interrupted_comparison_tells_what_is_known(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    made, all_rows = comparison({"'a'": 1.0, "'b'": 1.0}, 1.0)
    made._pair(all_rows[:1], made.pairs)
    options = regressions.parsed(["A", "B", "--json", str(tmp_path / "found.json")])
    assert regressions.report(made, options, interrupted=True) == 130
    out = capsys.readouterr()
    assert "1 rows" in out.out and "interrupted" in out.err
    assert json.loads((tmp_path / "found.json").read_text())["interrupted"]


def test_amounts() -> None:
    assert amount(0.00123, "seconds") == "1.23 ms" and amount(4.5e-6, "seconds") == "4.5 µs"
    assert amount(2.5e8, "bytes") == "250 MB" and amount(3.0, "x") == "3 x"


def refused(*arguments: str, cwd: Path = ROOT, **environment: str) -> str:
    """What the command says, in one line, where it cannot compare."""
    run = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], cwd=cwd, capture_output=True, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert run.returncode == 2, run.stderr
    said = [line for line in run.stderr.splitlines() if "not committed" not in line]
    assert len(said) == 1 and said[0].startswith("regressions.py: "), run.stderr
    return said[0]


@pytest.mark.process
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not in a checkout")
def test_bad_input_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("asv")
    assert "no-such-commit is no commit" in refused("no-such-commit", "HEAD")
    assert "are the same commit" in refused("HEAD", "HEAD")
    (tmp_path / "asv.py").write_text("raise ImportError('none')\n")
    assert "asv is not installed" in refused("HEAD~1", "HEAD", PYTHONPATH=str(tmp_path))
    assert "no git repository" in refused("HEAD~1", "HEAD", GIT_DIR=str(tmp_path / "none"))


def test_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert regressions.parsed(["A", "B", "--quick"]).minutes == regressions.MINUTES
    with pytest.raises(SystemExit):
        regressions.parsed(["A", "B", "--factor", "0.9"])
    assert "above 1" in capsys.readouterr().err
    with pytest.raises(regressions.Refused, match="no benchmark"):
        regressions.chosen([BENCHMARK], regressions.parsed(["A", "B", "--bench", "none"]))
    with pytest.raises(regressions.Refused, match="--bench"):
        regressions.chosen([BENCHMARK], regressions.parsed(["A", "B", "--bench", "("]))


def test_other_vectors_are_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert asv_machine.vectors({"avx512f", "avx2"}) == "AVX-512"
    assert asv_machine.vectors({"avx2"}) == "AVX2" and asv_machine.vectors({"sse2"}) == "SSE2"
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "+avx,+avx2,+fma")
    assert asv_machine.vectors() == "AVX2"
    name = asv_machine.name_of("Intel(R) Xeon(R) Processor @ 2.5GHz", "AVX2", 4)
    assert name == "Intel-Xeon-Processor-2.5GHz-AVX2-4-threads"


def test_reference_loops_take_some_time_on_any_number_of_threads() -> None:
    for kind in loops.STEPS:
        loop = loops.reference_loop(kind, 1)
        assert 1e-6 < min(rounds.sample(loop, 1) for _ in range(5)) < 0.1


def test_samples_are_in_turn() -> None:
    seen: list[str] = []
    found = rounds.samples_in_turn(lambda: seen.append("call"), lambda: seen.append("loop"), 2, 3)
    assert seen == ["call"] + ["loop", "call", "call"] * 3
    assert len(found.call) == len(found.loop) == 3
    assert rounds.low([5, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]) == 2
    assert rounds.calls_for(lambda: None, 1e-4) > 10


def touched_pages() -> None:
    """Write to pages that the system has not given to this process before."""
    with mmap.mmap(-1, 64 * mmap.PAGESIZE) as pages:
        for page in range(64):
            pages[page * mmap.PAGESIZE] = 1


def test_counters_count() -> None:
    """Where the machine's own are not offered, one of the system's tells that counting works."""
    if sys.platform != "linux":
        pytest.skip("Linux alone has them")
    try:
        faults = counters.counted((1, 2), touched_pages)
    except OSError:
        pytest.skip("not offered here")
    assert faults > 10
    assert set(counters.offered()) <= set(counters.EVENTS)
    tracked = {name for name in dir(measure.Timed) if name.startswith("track_")}
    assert not tracked


def test_slowed_kernels_exist_and_their_rows_are_quick() -> None:
    import importlib

    from benchmarks.tracking.quick import QUICK

    names = [f"{name}({', '.join(map(repr, values))})" for name, *values in QUICK]
    for slowed in injected.KERNELS.values():
        assert hasattr(importlib.import_module(f"fastconv.kernels.{slowed.module}"), slowed.name)
        assert any(re.search(slowed.rows, name) for name in names)


def test_a_slowed_kernel_takes_as_long_as_it_is_told_to(monkeypatch) -> None:
    import fastconv
    from fastconv._runtime.jit import Kernel
    from fastconv.functional import pool_call
    from fastconv.kernels import max_pool

    x = np.arange(16).reshape(1, 1, 4, 4)
    assert fastconv.max_pool2d(x, 2).max() == fastconv.relu(x).max() == 15  # compiled, which reads the clock too
    readings: list[int] = []
    monkeypatch.setattr("time.perf_counter", lambda: readings.append(len(readings)) or len(readings))
    for name in ("__call__", "prepared"):
        monkeypatch.setattr(Kernel, name, getattr(Kernel, name))
    kernel = max_pool.forward
    exec(injected.SPIN.format(module=kernel.__module__, name=kernel.__name__, factor=5), {})
    assert fastconv.max_pool2d(x, 2, 1).ravel().tolist() == [5, 6, 7, 9, 10, 11, 13, 14, 15]  # not prepared before
    once = 1 + 5  # the beginning; the call's end, a tick later; each tick until five are over
    assert len(readings) == once
    y = np.empty((1, 1, 2, 2), np.int64)
    kernel(x, (2, 2, 0, 0, 2, 2, 1, 1), np.int64(0), y)
    assert y.ravel().tolist() == [5, 7, 13, 15] and len(readings) == 2 * once
    assert fastconv.relu(x).max() == 15 and len(readings) == 2 * once
    pool_call._decided.cache_clear()


@pytest.mark.process
def test_trust_goes_on_where_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = trust.parsed(["--equal", "2", "--each", "1", "--factors", "1.2"])
    runs = trust.planned(options)
    assert [run.busy for run in runs[:2]] == [False, True] and len(runs) == 2 + len(injected.KERNELS)
    file, confirmed = tmp_path / "runs.jsonl", ["bench_lenet.Step.time_step('float32', 1)"]
    written = [{"key": run.key, **run._asdict(), "confirmed": confirmed, "seconds": 1} for run in runs]
    file.write_text("\n".join(map(json.dumps, written)) + '\n{"key": "cut o')
    assert len(trust.done_in(file)) == len(runs)
    assert trust.main(["--summary", "--file", str(file)]) == 0
    out = capsys.readouterr().out
    assert "1 false alarms in 1 runs" in out and re.search(r"LeNet's step +\| +1 of 1", out)
    assert re.search(r"max-pool +\| +0 of 1", out) and "slower in these: 5" in out
