from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv
from benchmarks import measure, networks, report, shapes, tables
from fastconv import reference

ROOT = Path(__file__).parents[1]
MODULES = sorted(path.stem for path in (ROOT / "benchmarks").glob("bench_*.py"))
SMALLEST = measure.smallest  # the fixture below replaces it
IN_LOOPS_OF = measure.in_loops
PREFIXES = ("time_", "peakmem_", "track_")


def methods(cls: type) -> list[str]:
    return [name for name in dir(cls) if name.startswith(PREFIXES)]


def benchmark_classes() -> list[type]:
    found = []
    for name in MODULES:
        module = importlib.import_module(f"benchmarks.{name}")
        classes = [c for _, c in inspect.getmembers(module, inspect.isclass) if c.__module__ == module.__name__]
        found += [c for c in classes if not c.__name__.startswith("_")]  # what others are derived from
    return found


def once(call: Callable[[], Any], budget: float) -> float:
    call()
    return 1.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(measure, "REST", 0.0)
    monkeypatch.setattr(measure, "in_loops", lambda call, reference: once(call, 0.0))
    monkeypatch.setattr(measure, "smallest", once)
    yield
    measure.warmed.cache_clear()


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    # the benchmarks set the number for the whole process; monkeypatch puts the old one back
    monkeypatch.setattr("fastconv._runtime.threads._wanted", None)


def test_names_are_unique() -> None:
    for table in (shapes.CONVS, shapes.POOLS, shapes.LINEARS):
        names = [shape.name for shape in table]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("shape", shapes.CONVS, ids=lambda shape: shape.name)
def test_conv_geometry(shape: shapes.ConvShape) -> None:
    assert shape.C % shape.groups == shape.OC % shape.groups == 0
    out = reference.conv_output_shape(shape.input_shape, shape.weight_shape, *shape.options[:3])
    assert shape.output_shape == out
    _, OC, OH, OW = out
    assert shape.flops == shape.N * 2 * OC * OH * OW * shape.C * shape.K**2 // shape.groups


@pytest.mark.parametrize("shape", shapes.POOLS, ids=lambda shape: shape.name)
def test_pool_geometry(shape: shapes.PoolShape) -> None:
    y = fastconv.max_pool2d(np.zeros((1, 1, shape.H, shape.W), np.float32), *shape.options)
    assert shape.output_shape == (shape.N, shape.C, *y.shape[2:])


def test_modules_are_found() -> None:
    assert {"bench_conv", "bench_im2col", "bench_lenet", "bench_linear", "bench_pool", "bench_start"} <= set(MODULES)


@pytest.mark.parametrize("cls", benchmark_classes(), ids=lambda cls: f"{cls.__module__.split('.')[-1]}.{cls.__name__}")
def test_first_parameters_run(cls: type, monkeypatch: pytest.MonkeyPatch) -> None:
    assert methods(cls)
    params = getattr(cls, "params", ())
    assert len(params) == len(getattr(cls, "param_names", ()))
    smallest = tuple(values[0] for values in params)  # the first is the smallest in each list
    if hasattr(cls, "processes_each"):
        monkeypatch.setattr(cls, "processes_each", 1)
    for name in methods(cls):
        if name.startswith("track_first_call") and name != "track_first_call_warm_cache":
            continue  # seconds of compiling, and the one with a warm cache begins with it
        benchmark: Any = cls()
        benchmark.setup(*smallest)
        result = getattr(benchmark, name)(*smallest)
        assert not name.startswith("track_") or result > 0
        getattr(benchmark, "teardown", lambda *_: None)(*smallest)


def test_too_many_threads_are_skipped() -> None:
    with pytest.raises(NotImplementedError, match="this machine has"):
        measure.use_threads(10_000)


def test_smallest_repeats_at_least_so_often() -> None:
    seen: list[int] = []
    assert 0 <= SMALLEST(lambda: seen.append(1), 0.0, least=4) < float("inf")
    assert len(seen) == 4


def test_a_time_in_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "IN_LOOPS", 0.0)
    assert IN_LOOPS_OF(lambda: None, "multiply-adds") < 1


def test_sides_take_turns() -> None:
    seen: list[str] = []
    times = measure.against_numpy(lambda: seen.append(fastconv.get_backend()), rounds=2)
    assert seen == ["numba", "numpy"] * 2
    assert times == (1.0, 1.0)


def test_tables_replace_what_is_between_the_markers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = tmp_path / "RESULTS.md", tmp_path / "README.md"
    for path in paths:
        path.write_bytes(f"before é\r\n{tables.SECTION.begin}\nold\n{tables.SECTION.end}\nafter\n".encode())
        path.chmod(0o640)
    assert tables.main(["--quick", "--write", *map(str, paths)]) == 0
    printed = capsys.readouterr().out
    assert "LeNet-5 training step" in printed and "Numba" in printed
    for path in paths:
        text = path.read_bytes().decode()
        assert text == f"before é\r\n{tables.SECTION.begin}\n{printed}{tables.SECTION.end}\nafter\n"
        assert path.stat().st_mode & 0o777 == 0o640
    assert {*tmp_path.iterdir()} == {*paths}


@pytest.mark.parametrize(
    "text",
    [
        "",
        tables.SECTION.begin,
        tables.SECTION.end + tables.SECTION.begin,
        2 * (tables.SECTION.begin + tables.SECTION.end),
    ],
)
def test_tables_without_markers_change_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    path = tmp_path / "RESULTS.md"
    path.write_text(text)
    assert tables.main(["--write", str(path)]) == 1  # and without --quick: nothing is measured
    assert "ratios:begin" in capsys.readouterr().err
    assert path.read_text() == text


def test_tables_of_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tables.main(["--write", str(tmp_path / "none.md")]) == 1
    assert "none.md" in capsys.readouterr().err


@pytest.mark.parametrize(("bits", "vectors"), [(512, " with AVX-512"), (256, " with AVX2"), (None, "")])
def test_tables_say_for_which_vectors_they_hold(
    bits: int | None, vectors: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "facts", lambda: {"vector_bits": bits})
    monkeypatch.setattr(report, "processor", lambda: "A processor")
    assert tables.conditions().startswith(f"A processor{vectors}, ")


def test_scripts_warn_on_a_busy_machine(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (1.7, 0.0, 0.0))
    report.warn_if_busy("tables.py")
    assert "1.7 processors are busy" in capsys.readouterr().err
    monkeypatch.setattr("os.getloadavg", lambda: (0.1, 0.0, 0.0))
    report.warn_if_busy("tables.py")
    assert capsys.readouterr().err == ""


FOUND = {
    "title": "cifar-cnn", "batch_size": 64, "threads": 2, "versions": {"fastconv": "0", "PyTorch": "1"},
    "seconds": {
        "fastconv": {"step": 0.01, "1 image": 1e-4, "64 images": 2e-3},
        "PyTorch": {"step": 0.02, "1 image": 3e-4, "64 images": 3e-3},
    },
    "ratio": {"PyTorch": {"step": 2.0, "1 image": 3.0, "64 images": 1.5}},
    "memory": {"fastconv": 50_000_000, "PyTorch": 60_000_000},
}  # fmt: skip


def test_networks_are_measured_once_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[Any, ...]] = []

    def compare(*arguments: Any) -> dict[str, Any]:
        asked.append(arguments)
        return FOUND | {"title": arguments[-1]}

    monkeypatch.setattr(networks, "compare_libraries", compare)
    monkeypatch.setattr(networks, "libraries", lambda: ["fastconv", "PyTorch"])
    page, kept = tmp_path / "RESULTS.md", tmp_path / "kept.json"
    page.write_text(f"{networks.SECTION.begin}\nold\n{networks.SECTION.end}\n")
    words = ["--networks", "cifar-cnn", "resnet20", "--rounds", "2", "--results", str(kept), "--write", str(page)]
    assert networks.main(words) == 0
    assert asked == [(None, 2, ["fastconv", "PyTorch"], name) for name in ("cifar-cnn", "resnet20")]
    printed = capsys.readouterr().out
    assert page.read_text() == f"{networks.SECTION.begin}\n{printed}{networks.SECTION.end}\n"
    line = next(line for line in printed.splitlines() if line.startswith("| cifar-cnn, 64"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == [
        "cifar-cnn, 64", "10.0 ms", "**2.00x**", "2.00 ms, 64", "**1.50x**", "-", "0.100 ms", "**3.00x**", "-",
        "50 MB", "60 MB",
    ]  # fmt: skip
    assert networks.main(words) == 0 and len(asked) == 2  # from the file of results

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(networks, "compare_libraries", interrupted)
    before = page.read_text()
    assert networks.main(["--results", str(kept), "--write", str(page)]) == 130
    assert capsys.readouterr().err.endswith(f"networks.py: interrupted; what is measured is in {kept}\n")
    assert page.read_text() == before and set(json.loads(kept.read_text())) == {"cifar-cnn", "resnet20"}


def test_networks_that_cannot_be_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ended(*_: Any) -> None:
        raise RuntimeError("bench: the process for PyTorch ended with code 1")

    monkeypatch.setattr(networks, "compare_libraries", ended)
    assert networks.main([]) == 1
    assert capsys.readouterr().err.endswith("networks.py: bench: the process for PyTorch ended with code 1\n")
    assert networks.main(["--write", str(tmp_path / "none.md")]) == 1
    for words in (["--networks", "lenet"], ["--rounds", "0"], ["--round-and-round"]):
        with pytest.raises(SystemExit, match="2"):
            networks.main(words)
    assert set(networks.COMPARED) <= set(networks.NETWORKS)


@pytest.mark.process
@pytest.mark.parametrize("name", ["networks", "lenet"])
def test_scripts_say_how_they_are_called(name: str) -> None:
    script = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), "--help"]
    run = subprocess.run(script, capture_output=True, text=True, check=True, cwd="/")
    assert "--rounds" in run.stdout and "--write" in run.stdout


@pytest.mark.process
def test_tables_run_as_a_script() -> None:
    script = [sys.executable, str(ROOT / "benchmarks" / "tables.py"), "--help"]
    run = subprocess.run(script, capture_output=True, text=True, check=True, cwd="/")
    assert "--quick" in run.stdout


def test_asv_configuration() -> None:
    config = json.loads((ROOT / "asv.conf.json").read_text())
    assert config["branches"] == ["HEAD"]  # a clone need not have a branch of a certain name
    assert config["repo"] == "." and (ROOT / config["benchmark_dir"] / "__init__.py").is_file()
