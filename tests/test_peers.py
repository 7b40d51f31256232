from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import comparison, isa, peak, peers, workers
from benchmarks.libraries import LIBRARIES, Library
from benchmarks.problems import OPERATIONS, Problem, problem

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "peers.py"
QUICK = ["--quick", "--threads", "1", "--peers"]


class Doubling(Library):
    version = "1"

    def linear(self, p: Problem) -> Callable[[], Any]:
        return lambda: 2 * p.bias

    def conv(self, p: Problem) -> Callable[[], Any]:
        raise OSError("no room")


def row(shape: str, groups: int = 1, **ratio: float) -> dict[str, Any]:
    return {"operation": "conv", "shape": shape, "groups": groups, "ratio": ratio}


@pytest.mark.process
def test_fastconv_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file, page = tmp_path / "peers.json", tmp_path / "RESULTS.md"
    page.write_text(f"a\n{peers.SECTIONS[None].begin}\nold\n{peers.SECTIONS[None].end}\nb\n")
    operations = ["--operations", "conv", "linear", "max-pool", "--shapes", "LeNet c1", "LeNet f3"]
    assert peers.main([*QUICK, *operations, "--json", str(file), "--write", str(page)]) == 0
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["threads"] == 1 and found["peak_gflops"] > 0 and found["summary"] == [] and found["absent"] == {}
    assert list(found["versions"]) == ["fastconv"]
    assert [(row["operation"], row["shape"]) for row in found["rows"]] == [("conv", "LeNet c1"), ("linear", "LeNet f3")]
    conv, linear = found["rows"]
    assert conv["flops"] == 2 * 64 * 6 * 28 * 28 * 25 and linear["flops"] == 2 * 64 * 84 * 10
    for measured in found["rows"]:
        assert measured["seconds"]["fastconv"] > 0 and measured["spread"]["fastconv"] >= 1 and measured["ratio"] == {}
    printed = capfd.readouterr().out
    assert page.read_text() == f"a\n{peers.SECTIONS[None].begin}\n{printed}{peers.SECTIONS[None].end}\nb\n"
    assert "LeNet c1" in printed and "of the peak" in printed


@pytest.mark.process
def test_a_library_that_is_missing_is_said(tmp_path: Path) -> None:
    # a module that cannot be imported, before any that is installed
    (tmp_path / "scipy.py").write_text("raise ImportError('not here')")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        with comparison.started(["fastconv", "scipy"], 1, SCRIPT) as (there, absent):
            assert list(there) == ["fastconv"] and absent == {"scipy": "not here"}
            with pytest.raises(workers.WorkerError, match=r"fastconv: KeyError: 'no such operation'"):
                there["fastconv"].ask("prepare", operation="no such operation", shape="", block=0.0, save="")


@pytest.mark.process
def test_runs_as_a_script_from_anywhere() -> None:
    run = subprocess.run([sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True, check=True, cwd="/")
    assert "conv-weight-gradient" in run.stdout and "--worker" not in run.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threads", "0"], "--threads must be from 1 to"),
        (["--repeats", "0"], "--repeats must be at least 1, got 0"),
        (["--operations", "linear", "--shapes", "VGG 5"], "none of the --operations has one of the --shapes"),
        (["--peers", "fastconv"], "invalid choice: 'fastconv'"),
    ],
)
def test_senseless_options(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        peers.main(arguments)
    assert message in capsys.readouterr().err


def test_a_file_without_markers_is_refused_before_measuring(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "RESULTS.md"
    file.write_text("no markers")
    assert peers.main(["--write", str(file)]) == 1
    assert "peers:begin" in capsys.readouterr().err


@pytest.mark.parametrize("operation", OPERATIONS)
def test_fastconv_has_every_operation(operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastconv._runtime.threads._wanted", None)  # the library sets it for the whole process
    assert LIBRARIES["fastconv"](1).call(operation, problem(operation, next(iter(OPERATIONS[operation].shapes))))


def test_a_server_answers_errors_and_what_is_not_there(tmp_path: Path) -> None:
    server, save = workers.Server(Doubling()), str(tmp_path / "saved.npz")
    request = {"do": "prepare", "shape": "LeNet c1", "block": 0.0, "save": save}
    assert server.answer(**request, operation="conv") == {"error": "OSError: no room"}
    assert server.answer(**request, operation="conv-input-gradient") == {"supported": False}
    request["shape"] = "LeNet f3"
    assert server.answer(**request, operation="linear") == {"supported": True, "inner": 1}
    assert np.load(save)["arr_0"].shape == (10,)
    measured = server.answer("measure", repeats=3)
    assert len(measured["seconds"]) == 3 and min(measured["seconds"]) > 0


def test_blocks_are_as_long_as_asked() -> None:
    calls: list[int] = []
    inner = workers.calibrated(lambda: calls.append(1), 1e-3)
    assert 10 < inner <= len(calls)


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ([1.0, -2.0, 4.0001], None),
        ([1.0, -2.0, 4.01], "off by 2.5e-03"),
        ([1.0, np.nan, 4.0], "off by nan"),
        ([1.0, -2.0], r"its shape is (2,), not (3,)"),
    ],
)
def test_other_results_are_found(tmp_path: Path, theirs: list[float], message: str | None) -> None:
    np.savez(tmp_path / "a.npz", np.array([1.0, -2.0, 4.0]))
    np.savez(tmp_path / "b.npz", np.array(theirs))
    found = comparison.differs(tmp_path / "a.npz", tmp_path / "b.npz")
    assert found is None if message is None else message in str(found)


def test_summary_keeps_grouped_convolutions_apart() -> None:
    rows = [row("a", torch=4.0, jax=3.0), row("b", torch=0.25), row("c", 8, torch=10.0)]
    found = {(line["peer"], line["grouped"]): line for line in peers.summary(rows)}
    dense = found["torch", False]
    assert (dense["mean"], dense["worst"], dense["worst_shape"], dense["shapes"]) == (1.0, 0.25, "b", 2)
    assert found["torch", True]["mean"] == pytest.approx(10.0) and found["jax", False]["shapes"] == 1
    assert len(found) == 3


def test_the_peak_is_measured() -> None:
    assert (peak.peak_gflops(repeats=1, steps=10_000) or 1.0) > 0


def test_libraries_are_told_which_instruction_set_to_keep_to(monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    told = isa.environment("torch", isa.AVX2)
    assert told["ONEDNN_MAX_CPU_ISA"] == "AVX2" and told["PATH"] == os.environ["PATH"]
    assert "ONEDNN_MAX_CPU_ISA" not in isa.environment("torch", isa.AVX512)
    assert isa.environment("torch", None)["ONEDNN_MAX_CPU_ISA"] == "SSE41"
    with pytest.raises(ValueError, match="cannot be told to keep to avx2"):
        isa.environment("scipy", isa.AVX2)


def test_a_library_that_does_not_keep_to_it_is_left_out():
    other = isa.AVX2 if isa.SWITCHES["fastconv"].vectors() != isa.AVX2 else isa.AVX512
    with pytest.raises(OSError, match=f"told to keep to {other}, and uses"):
        isa.check("fastconv", other)
    isa.check("fastconv", None)


@pytest.mark.process
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="a switch of x86 processors")
def test_fastconv_keeps_to_avx2():
    script = "from benchmarks.isa import check; check('fastconv', 'avx2')"
    environment = isa.environment("fastconv", isa.AVX2)
    done = subprocess.run([sys.executable, "-c", script], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
