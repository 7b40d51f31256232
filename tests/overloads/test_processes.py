"""Jitted code in processes of its own: found through the entry point, cached, with any threads, never stale."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numba
import numpy as np
import pytest
import variants
from strategies import assert_same_bits, real
from test_jit_cache import Copy

import fastconv
import fastconv._overloads

ROOT = Path(fastconv.__file__).parents[1]
# im2col: the kernel that compiles fastest, for each of these processes does it anew
USER = """
import numpy as np, numba
import fastconv

@numba.njit(cache=True)
def last(x):
    return fastconv.im2col(x, 1, stride=2)
"""
CALL = """
import user
print(user.last(user.np.ones((1, 1, 8, 8))).sum(), sum(user.last.stats.cache_hits.values()))
"""
PARALLEL = """
import numpy as np, numba
import fastconv

@numba.njit(parallel=True)
def every(frames):
    found = np.empty((len(frames), 16, 1))
    for i in numba.prange(len(frames)):
        found[i] = fastconv.im2col(frames[i], 1)
    return found

print(every(np.ones((3, 1, 4, 4))).sum(), numba.threading_layer())
"""


def installed(folder, package):
    """Lay down what an installer would for Numba to find the package: its entry points."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    lines = [f"[{name}]\n" + "\n".join(f"{k} = {v}" for k, v in group.items()) for name, group in groups.items()]
    info = folder / "fastconv-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fastconv\nVersion: 0\n")
    (info / "entry_points.txt").write_text("\n".join(lines))
    (folder / "user.py").write_text(USER)
    base = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA", "FASTCONV"))}
    path = os.pathsep.join([str(folder), str(package)])
    return base | {"PYTHONPATH": path, "NUMBA_CACHE_DIR": str(folder / "cache"), "OMP_WAIT_POLICY": "passive"}


def run(script, environment, folder):
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.process
def test_users_caches_are_hit_and_never_stale(tmp_path):
    copy = Copy(tmp_path)
    environment = installed(tmp_path, tmp_path)
    assert run(CALL, environment, tmp_path) == ["16.0", "0"]
    files = copy.files()
    assert run(CALL, environment, tmp_path) == ["16.0", "1"]
    # fastconv's own cache was not needed either, but for reading
    assert copy.files() == files
    for path in files:
        if not path.name.startswith("user."):
            path.unlink()
    assert run(CALL, environment, tmp_path) == ["16.0", "1"]
    assert copy.files().keys() == files.keys()
    copy.edit("kernels/im2col.py", "source, taps = x.reshape(-1)", "source, taps = (3 * x).reshape(-1)")
    assert run(CALL, environment, tmp_path) == ["48.0", "0"]
    assert run(CALL, environment, tmp_path) == ["48.0", "1"]


@pytest.mark.process
def test_no_thread_is_started_inside_prange(tmp_path):
    """The workqueue layer ends a process that starts threads inside a parallel loop."""
    environment = installed(tmp_path, ROOT) | {"NUMBA_THREADING_LAYER": "workqueue", "NUMBA_NUM_THREADS": "2"}
    environment |= {"NUMBA_CACHE_DIR": os.environ.get("NUMBA_CACHE_DIR", environment["NUMBA_CACHE_DIR"])}
    assert run(PARALLEL, environment, tmp_path) == ["48.0", "workqueue"]


def test_the_same_bits_inside_prange():
    rng = np.random.default_rng(0)
    frames, w, b = real(rng, (9, 3, 20, 21), np.float32), real(rng, (5, 3, 3, 3), np.float32), np.ones(5, np.float32)

    @numba.njit(parallel=True)
    def f(frames, w, b):
        found = np.empty((len(frames), 5, 5, 6), np.float32)
        for i in numba.prange(len(frames)):
            y = fastconv.conv2d(frames[i], w, b, stride=2, padding="same_upper")
            found[i] = fastconv.max_pool2d(fastconv.relu(y), 3, stride=2, padding=1)
        return found

    with variants.as_in_jitted_code():
        y = fastconv.relu(fastconv.conv2d(frames, w, b, stride=2, padding="same_upper"))
        assert_same_bits(f(frames, w, b), fastconv.max_pool2d(y, 3, stride=2, padding=1))


def test_the_results_of_python_whichever_variant_that_takes():
    """Image by image, and with packed weights."""
    rng = np.random.default_rng(2)
    f = numba.njit(lambda x, weight: fastconv.conv2d(x, weight, None, 1, 1))
    for shape, OC in (((9, 3, 150, 150), 4), ((5, 64, 9, 9), 96)):
        x, weight = real(rng, shape, np.float32), real(rng, (OC, shape[1], 3, 3), np.float32)
        assert_same_bits(f(x, weight), fastconv.conv2d(x, weight, None, 1, 1))


def test_an_error_inside_prange_has_its_cause():
    @numba.njit(parallel=True)
    def f(frames, w, total):
        for i in numba.prange(len(frames)):
            total[i] = fastconv.conv2d(frames[i], w).sum()

    with pytest.raises(SystemError) as found:
        f(np.ones((2, 1, 3, 3)), np.ones((1, 1, 4, 4)), np.zeros(2))
    assert isinstance(found.value.__cause__, fastconv.errors.ShapeError)


def test_options_of_the_users_function_do_not_change_results():
    rng = np.random.default_rng(1)
    x, w = real(rng, (2, 3, 9, 9), np.float32), real(rng, (4, 3, 3, 3), np.float32)
    x[0, 0, 0, 0] = np.nan
    for options in ({"fastmath": True}, {"boundscheck": True}):
        f = numba.njit(lambda x, w: fastconv.max_pool2d(fastconv.conv2d(x, w), 2), **options)
        with variants.as_in_jitted_code():
            assert_same_bits(f(x, w), fastconv.max_pool2d(fastconv.conv2d(x, w), 2))
