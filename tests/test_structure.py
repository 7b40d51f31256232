"""The order of the package: who may import whom, who prints, and what an import costs."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastconv
from fastconv._runtime.store import kernel_sources

PACKAGE = Path(fastconv.__file__).parent
# from low to high; modules of one line may not import each other
LAYERS = (
    ("errors",),
    ("_arguments",),
    ("_runtime",),
    ("_geometry",),
    ("reference",),
    ("kernels",),
    ("_plans",),
    ("_engine",),
    ("functional", "config"),
    ("_overloads",),
    ("nn",),
    ("models",),
    ("optim",),
    ("data",),
    ("history",),
    ("training",),
    ("viz", "checkpoint", "onnx"),
    ("weights",),
    ("testing", "comparison", "_warmup", "compat", "demos"),
    ("cli", "_wheel"),
    ("__main__",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
EXTRAS = {"onnx", "matplotlib", "pooch", "PIL", "sklearn", "safetensors", "torch", "tqdm", "onnxruntime"}
JIT = "fastconv._runtime.jit"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "docs" not in path.parts)  # what is installed


def unit(path):
    """The module or sub-package of fastconv that a file belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(node):
    """The dotted names that an import statement brings in."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    assert node.level == 0, "imports are absolute"
    return [f"{node.module}.{alias.name}" for alias in node.names]


def imports(path, module_level=False):
    tree = ast.parse(path.read_text())
    nodes = tree.body if module_level else ast.walk(tree)
    return [name for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for name in imported(node)]


@pytest.mark.parametrize("path", [p for p in FILES if p != PACKAGE / "__init__.py"], ids=lambda p: str(p.name))
def test_imports_go_upwards(path):
    own = unit(path)
    assert own in LEVEL, f"{own} has no place in the order"
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "fastconv":
            continue
        # `from fastconv import conv2d` would import the whole package
        assert parts[1] in LEVEL, f"{path.name} imports {name}"
        assert parts[1] == own or LEVEL[parts[1]] < LEVEL[own], f"{path.name} imports {name}"


def test_the_key_of_the_cache_covers_what_is_compiled():
    """Every file that takes a decorator from jit.py, and what these files import."""
    covered = set(kernel_sources())
    decorators = {f"{JIT}.{name}" for name in ("kernel", "strict_kernel", "helper", "strict_helper", "inlined")}
    compiled = [path for path in FILES if decorators & set(imports(path))]
    assert compiled
    for path in compiled:
        assert path in covered
        for name in imports(path):
            parts = name.split(".")[1:] if name.startswith("fastconv.") else []
            modules = (PACKAGE.joinpath(*parts[:n]).with_suffix(".py") for n in range(1, len(parts) + 1))
            assert {module for module in modules if module.exists()} <= covered, (path, name)


def test_the_judge_shares_no_code():
    assert not [name for name in imports(PACKAGE / "reference.py") if name.startswith("fastconv")]
    assert not [name for name in imports(PACKAGE / "reference.py") if name.startswith("numba")]


@pytest.mark.parametrize("path", [p for p in FILES if unit(p) not in ("cli", "_wheel")], ids=lambda p: str(p.name))
def test_only_commands_print(path):
    calls = [n.func for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    assert not [f for f in calls if isinstance(f, ast.Name) and f.id == "print"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.name))
def test_extras_are_imported_when_used(path):
    tops = {name.split(".")[0] for name in imports(path, module_level=True)}
    assert not tops & (EXTRAS - {"tqdm"})


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.name))
def test_numba_flags_are_in_one_place(path):
    """Only jit.py may call njit; kernels take `prange` and the decorators from there."""
    if path.name in ("jit.py", "threads.py"):
        return
    brought = [name for name in imports(path) if name.split(".")[0] == "numba"]
    assert not [name for name in brought if name.split(".")[-1] in ("njit", "jit", "vectorize", "guvectorize")]


@pytest.mark.process
def test_import_compiles_nothing_and_needs_no_extra(tmp_path):
    script = """
import sys
import fastconv
from fastconv._runtime.jit import Kernel
from fastconv.kernels import avg_pool, batch_norm, conv, conv_gradients, depthwise, elementwise, gemm, im2col, max_pool
from fastconv.kernels import conv_shards
from fastconv.kernels.fused import network
from fastconv.kernels import conv_packed
from fastconv.kernels import global_pool, packing, unpool
modules = avg_pool, batch_norm, conv, conv_gradients, depthwise, elementwise, gemm, im2col, max_pool, network
modules = *modules, conv_packed, conv_shards, global_pool, packing, unpool
kernels = [k for module in modules for k in vars(module).values()]
kernels = [k for k in kernels if isinstance(k, Kernel)]
assert len(kernels) > 10
assert not any(form.signatures for k in kernels for form in k.forms)
assert "fastconv._overloads" not in sys.modules  # Numba imports it when something is compiled
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert not set(done.stdout.split()) & EXTRAS
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_the_page_of_functions_names_every_function_layer_and_model_with_its_test():
    from every import LAYER_NAMES

    from fastconv import models

    root, pages = PACKAGE.parent, [PACKAGE / "docs" / name for name in ("functions.md", "tutorials.md")]
    if not pages[0].exists():
        pytest.skip("not in a checkout")
    rows = [line for page in pages for line in page.read_text().splitlines() if line.startswith("| `")]
    named = {word for row in rows for word in re.findall(r"`(\w+)", row)}
    functions = {name for name in fastconv.functional.__all__ if not name.endswith("_backward")}
    networks = {getattr(model, "func", model).__name__ for model in models.MODELS.values()}
    assert functions | LAYER_NAMES | networks <= named
    tests = {path for row in rows for path in re.findall(r"`(tests/[\w/]+\.py)`", row)}
    assert len(tests) > 10
    assert not [path for path in tests if not (root / path).exists()]


def test_public_names():
    assert sorted(fastconv.__all__) == sorted(set(fastconv.__all__))
    for name in fastconv.__all__:
        assert name == "__version__" or callable(getattr(fastconv, name))


def test_files_are_short_enough_to_be_read() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {path.name for path, count in lines.items() if count > 300} == {"reference.py"}
    assert sum(count for path, count in lines.items() if path.parent.name == "_overloads") <= 1500
