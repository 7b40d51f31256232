"""The cache of machine code, in processes of their own on a copy of the package: never stale, never fatal."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastconv

pytestmark = pytest.mark.process

# max-pooling of integers without indices: one kernel with one helper, so that each process compiles little
SCRIPT = """
import numpy as np
import fastconv
x = np.arange(32).reshape(1, 2, 4, 4)
print(*fastconv.max_pool2d(x, 2).ravel().astype(int))
"""
RIGHT = "5 7 13 15 21 23 29 31"


class Copy:
    """A copy of the package with a cache of its own."""

    def __init__(self, root: Path):
        self.root, self.cache = root, root / "cache"
        ignored = shutil.ignore_patterns("__pycache__", "*.npz")
        shutil.copytree(Path(fastconv.__file__).parent, root / "fastconv", ignore=ignored)

    def start(self, script=SCRIPT, **environment):
        base = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA", "FASTCONV"))}
        base |= {"PYTHONPATH": str(self.root), "NUMBA_CACHE_DIR": str(self.cache), "PYTHONDONTWRITEBYTECODE": "1"}
        wanted = {k: v for k, v in (base | environment).items() if v is not None}
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-c", script], env=wanted, cwd=self.root,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, script=SCRIPT, **environment):
        process = self.start(script, **environment)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        return out.strip()

    def edit(self, file, old, new):
        path = self.root / "fastconv" / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def files(self):
        return {p: p.stat().st_mtime_ns for p in self.cache.rglob("*.nbc")}


@pytest.fixture
def copy(tmp_path):
    return Copy(tmp_path)


def test_a_warm_cache_compiles_nothing(copy):
    assert copy.run() == RIGHT
    files = copy.files()
    assert files
    counted = (
        SCRIPT
        + """
from fastconv.kernels import max_pool
stats = max_pool.forward.parallel.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""
    )
    assert copy.run(counted).splitlines() == [RIGHT, "1 0"]
    assert copy.files() == files
    assert not list(copy.cache.rglob("*.tmp"))


def test_an_edited_kernel_helper_or_constant_is_seen(copy):
    assert copy.run() == RIGHT
    # the kernel's own file
    copy.edit("kernels/max_pool.py", "value if value > best", "value * 2 if value > best")
    assert copy.run() != RIGHT
    copy.edit("kernels/max_pool.py", "value * 2 if value > best", "value if value > best")
    assert copy.run() == RIGHT
    # a helper and a constant in another file, which Numba's own key does not see
    copy.edit(
        "kernels/max_pool.py",
        "@strict_helper\ndef _reach",
        "from fastconv._elsewhere import SHIFT, moved\n\n\n@strict_helper\ndef _reach",
    )
    copy.edit(
        "kernels/max_pool.py",
        "value, best = x[p, iy, ox * sx + shift],",
        "value, best = moved(x[p, iy, ox * sx + shift]) + SHIFT,",
    )
    elsewhere = copy.root / "fastconv" / "_elsewhere.py"
    source = "from fastconv._jit import strict_helper\nSHIFT = {}\n@strict_helper\ndef moved(v):\n    return v * {}\n"
    for shift, factor in ((0, 1), (100, 1), (100, 2)):
        elsewhere.write_text(source.format(shift, factor))
        assert copy.run() == " ".join(str(int(v) * factor + shift) for v in RIGHT.split())


def test_a_convolution_sees_an_edited_tile(copy):
    """The helper that every convolution and matrix product rests on."""
    script = "import numpy as np, fastconv\nprint(fastconv.conv2d(np.ones((1, 1, 2, 2)), np.ones((1, 1, 1, 1))).sum())"
    assert copy.run(script) == "4.0"
    tripled = "total = builder.fmul(builder.load(slot), ir.Constant(vectors.type, [3.0] * vectors.lanes))"
    copy.edit("kernels/tiles.py", "total = builder.load(slot)", tripled)
    assert copy.run(script) == "12.0"


def test_options_of_compilation_are_part_of_the_key(copy):
    assert copy.run() == RIGHT
    files = copy.files()
    assert copy.run(NUMBA_BOUNDSCHECK="1", FASTCONV_SERIAL="1") == RIGHT
    assert len(copy.files()) > len(files)


def test_a_damaged_cache_is_not_fatal(copy):
    assert copy.run() == RIGHT
    good = {path: path.read_bytes() for path in sorted(copy.files())}
    other = next(iter(good.values()))  # one kernel's code under every name
    damages = {
        "truncated": lambda data: data[: len(data) // 2],
        "empty": lambda data: b"",
        "noise": lambda data: b"\x80\x05" + data[::-1],
        "other content": lambda data: other,
    }
    for name, damage in damages.items():
        for path, data in good.items():
            path.write_bytes(damage(data))
        assert copy.run() == RIGHT, name


@pytest.mark.parametrize("where", ["a file", "/proc/nowhere"])
def test_a_cache_that_cannot_be_written_is_not_fatal(copy, where):
    (copy.root / "file").write_text("")
    place = copy.root / "file" if where == "a file" else where
    assert copy.run(NUMBA_CACHE_DIR=str(place)) == RIGHT


def test_a_read_only_install_without_a_home(copy):
    """As a package installed by root and run by a service: neither its folder nor a home can be written."""
    for folder in [copy.root / "fastconv", *(p for p in (copy.root / "fastconv").rglob("*") if p.is_dir())]:
        folder.chmod(0o555)
    # for root, whom permissions do not stop, a file stands where Numba's folders would have to be
    for folder in (copy.root / "fastconv", copy.root / "fastconv" / "kernels"):
        folder.chmod(0o755)
        (folder / "__pycache__").write_text("")
        folder.chmod(0o555)
    home = copy.root / "file"
    home.write_text("")
    try:
        found = copy.run(NUMBA_CACHE_DIR=None, HOME=str(home), XDG_CACHE_HOME=str(home), IPYTHONDIR=None)
    finally:
        for folder in [copy.root / "fastconv", *(p for p in (copy.root / "fastconv").rglob("*") if p.is_dir())]:
            folder.chmod(0o755)
    assert found == RIGHT


def test_two_processes_fill_it_at_once(copy):
    processes = [copy.start() for _ in range(2)]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert out.strip() == RIGHT
    files = copy.files()
    assert copy.run() == RIGHT
    assert copy.files() == files
