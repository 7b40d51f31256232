"""The list of benchmarks against the lists of plans and of public names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba.core.entrypoints import init_all

import fastconv
from benchmarks import bench_algorithms, bench_calls, calls, plans
from benchmarks.cases import DTYPES
from benchmarks.measure import THREADS, Timed
from benchmarks.tracking.quick import QUICK
from fastconv import nn
from fastconv._geometry.conv import conv_geometry
from fastconv._plans import text
from fastconv._plans.forward import plan_forward
from fastconv._plans.input_gradient import plan_input_gradient
from fastconv._plans.names import Algorithm, Winograd
from fastconv._plans.weight_gradient import plan_weight_gradient
from fastconv._runtime.host import HOST, host_of
from fastconv.models import MODELS

TABLES = {"forward": plans.FORWARD, "input": plans.INPUT_GRADIENT, "weight": plans.WEIGHT_GRADIENT}
PLANNERS: dict[str, Any] = {"forward": plan_forward, "input": plan_input_gradient, "weight": plan_weight_gradient}
ROWS = [(product, row) for product, table in TABLES.items() for row in table]


def planned(product: str, row: plans.Planned, host: Any = HOST, itemsize: int = 4) -> Any:
    shape = row.sizes
    conv = conv_geometry("test", shape.input_shape[1:], shape.weight_shape, *shape.options)
    sizes = conv, shape.N, itemsize, row.layout == "NHWC"
    return PLANNERS[product](*sizes, host, int(Winograd.WHERE_FASTER))


def known(product: str) -> set[str]:
    """The algorithms whose kernels a plan of that product can name."""
    plan, found = planned(product, TABLES[product][0]), set()
    kernels = {"forward": text.forward_kernels, "weight": text.weight_gradient_kernels}[product]
    for algorithm in Algorithm:
        try:
            kernels(plan._replace(algorithm=int(algorithm)))
            found.add(algorithm.name)
        except KeyError:
            pass
    return found


@pytest.mark.parametrize(("product", "row"), ROWS, ids=str)
def test_a_row_is_computed_as_it_says(product: str, row: plans.Planned) -> None:
    for host in (HOST, host_of({"avx", "avx2"})):
        for itemsize in (4, 8):
            assert text.algorithm_of(planned(product, row, host, itemsize)) == row.algorithm


def test_every_algorithm_of_every_product_has_a_row() -> None:
    rows = {product: {row.algorithm for row in table} for product, table in TABLES.items()}
    assert rows["forward"] == known("forward")
    assert rows["weight"] == known("weight")
    gathered = {f"GATHERED {name}" for name in known("forward") - {"DEPTHWISE"}}
    assert rows["input"] == gathered | {"PHASED", "SCATTERED", "DEPTHWISE", "CHANNELWISE"}
    named = {word for table in rows.values() for name in table for word in name.split()}
    assert named == {algorithm.name for algorithm in Algorithm} - {"NONE"}


def test_every_public_function_layer_and_model_has_a_row() -> None:
    assert set(calls.FUNCTIONS) == set(fastconv.__all__) - calls.SETTINGS - {"__version__"}
    layers = {n for n, v in vars(nn).items() if isinstance(v, type) and issubclass(v, nn.Layer) and v is not nn.Layer}
    assert set(calls.LAYERS) == layers
    assert set(bench_calls.Models.params[0]) == set(MODELS)


@pytest.mark.parametrize("module", [bench_algorithms, bench_calls], ids=lambda module: module.__name__)
def test_each_is_timed_in_both_dtypes_on_one_thread_and_on_all(module: Any) -> None:
    timed = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, Timed)]
    timed = [cls for cls in timed if cls.__module__ == module.__name__ and not cls.__name__.startswith("_")]
    assert len(timed) == 3
    for cls in timed:
        assert cls.params[1:] == (DTYPES, THREADS)
        for name in [name for name in dir(cls) if name.startswith("time_")]:
            tracked = getattr(cls, name.replace("time_", "track_", 1) + "_in_loops")
            assert tracked.unit == "reference loops"


def test_the_functions_run_and_compute_what_they_are_named_after(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays, called = calls.Arrays("float32"), []
    init_all()  # Numba does it where it first compiles; the forms for jitted code are made of the real functions
    for name in calls.FUNCTIONS:
        real = getattr(calls.F, name)

        def noted(*args: Any, name: str = name, real: Any = real, **options: Any) -> Any:
            called.append(name)
            return real(*args, **options)

        monkeypatch.setattr(calls.F, name, noted)
        calls.FUNCTIONS[name](arrays)
        assert called.pop() == name and not called
        monkeypatch.undo()


def test_the_layers_are_those_of_their_names() -> None:
    for name, made in calls.LAYERS.items():
        assert type(made("float32")).__name__ == name
        assert calls.kind_of(name) in ("copies", "multiply-adds")


def test_the_quick_rows_exist() -> None:
    import importlib

    assert len(set(QUICK)) == len(QUICK)
    for name, *values in QUICK:
        module, cls, method = name.split(".")
        found = getattr(importlib.import_module(f"benchmarks.{module}"), cls)
        assert callable(getattr(found, method))
        assert len(found.params) == len(values)
        assert all(value in choices for value, choices in zip(values, found.params)), name


def test_arrays_begin_with_a_line_of_the_cache() -> None:
    for dtype in DTYPES:
        array = plans.random((3, 5), dtype, 1)
        assert array.ctypes.data % 64 == 0 and array.dtype == dtype
        np.testing.assert_array_equal(array, np.random.default_rng(1).standard_normal((3, 5), dtype=np.dtype(dtype)))
