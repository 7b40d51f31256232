"""The cache of machine code, in processes of their own on a copy of the package: never stale, never fatal."""

from __future__ import annotations

import compileall
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numba
import pytest
from numba import types

import fastconv
from fastconv._runtime import store

pytestmark = pytest.mark.process

# max-pooling of integers without indices: one kernel, and what Python calls of it, so that each process compiles little
SCRIPT = """
import numpy as np
import fastconv
x = np.arange(32).reshape(1, 2, 4, 4)
print(*fastconv.max_pool2d(x, 2).ravel().astype(int))
"""
COUNTED = (
    SCRIPT
    + """
from fastconv.kernels import max_pool
forms = max_pool.forward.forms
print(sum(form.loaded for form in forms), sum(form.compiled for form in forms))
"""
)
USER = """
import numba
import fastconv

@numba.njit(cache=True)
def pooled(x):
    return fastconv.max_pool2d(x, 2)
"""
USERS = """
import numpy as np
import user
print(*user.pooled(np.arange(32).reshape(1, 2, 4, 4)).ravel().astype(int))
"""
# and before it, the modules that the user's cache names
NAMED = f"""
from numba.core import environment
build = environment._rebuild_env
environment._rebuild_env = lambda name, *rest: (print(name), build(name, *rest))[1]
{USERS}"""
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
    assert copy.run(COUNTED).splitlines() == [RIGHT, "2 0"]
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
        "@jitable\ndef planes(",
        "from fastconv.kernels._elsewhere import SHIFT, moved\n\n\n@jitable\ndef planes(",
    )
    copy.edit(
        "kernels/max_pool.py",
        "value, best = x[p, iy, ox * sx + shift],",
        "value, best = moved(x[p, iy, ox * sx + shift]) + SHIFT,",
    )
    elsewhere = copy.root / "fastconv" / "kernels" / "_elsewhere.py"
    source = "from fastconv._runtime.jit import strict_helper\nSHIFT = {}\n"
    source += "@strict_helper\ndef moved(v):\n    return v * {}\n"
    for shift, factor in ((0, 1), (100, 1), (100, 2)):
        elsewhere.write_text(source.format(shift, factor))
        assert copy.run() == " ".join(str(int(v) * factor + shift) for v in RIGHT.split())


def test_a_convolution_sees_an_edited_tile(copy):
    """The helper that every convolution and matrix product rests on."""
    script = "import numpy as np, fastconv\nprint(fastconv.conv2d(np.ones((1, 1, 2, 2)), np.ones((1, 1, 1, 1))).sum())"
    assert copy.run(script) == "4.0"
    tripled = "builder.fmul(builder.load(slot), ir.Constant(vectors.type, [3.0] * vectors.lanes))"
    copy.edit(
        "kernels/micro/gemm.py", "vectors.store(builder.load(slot), row, j, m)", f"vectors.store({tripled}, row, j, m)"
    )
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


def test_an_entry_with_any_bit_flipped_is_not_looked_at(tmp_path):
    """A single bit of machine code, or of a pickle, may end the process: nothing is read that fails its checksum."""
    files = store.Store([tmp_path])
    files.save("kernel", "key 1", {"code": bytes(range(40))})
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    assert files.load("kernel", "key 1") == {"code": bytes(range(40))}
    with mock.patch.object(pickle, "loads") as unpickle:
        for bit in range(0, 8 * len(whole), 11):
            changed = bytearray(whole)
            changed[bit // 8] ^= 1 << bit % 8
            path.write_bytes(changed)
            assert files.load("kernel", "key 1") is None
        unpickle.assert_not_called()
    path.write_bytes(whole)
    assert files.load("kernel", "key 2") is None
    path.rename(files._path(tmp_path, "kernel", "key 2"))  # a whole entry under another's name
    assert files.load("kernel", "key 2") is None


def test_what_a_killed_process_was_writing_is_removed(tmp_path):
    files = store.Store([tmp_path])
    old, new, others = (tmp_path / name for name in ("kernel-a.tmp", "kernel-b.tmp", "other-a.tmp"))
    for path in (old, new, others):
        path.write_bytes(b"half")
    for path in (old, others):
        os.utime(path, (0, 0))
    files.save("kernel", "key", 1)
    assert [path.exists() for path in (old, new, others)] == [False, True, True]
    assert files.load("kernel", "key") == 1


def test_the_first_folder_that_can_be_written_to_is_used(tmp_path):
    (tmp_path / "file").write_text("")
    files = store.Store([tmp_path / "file" / "nowhere", tmp_path / "second", tmp_path / "third"])
    assert files.load("kernel", "key") is None
    assert files.folder == tmp_path / "second"
    files.save("kernel", "key", 1)
    assert files.load("kernel", "key") == 1
    (path,) = (tmp_path / "second").iterdir()
    (tmp_path / "third").mkdir()
    path.rename(tmp_path / "third" / path.name)  # as where a folder has become read-only since
    assert files.load("kernel", "key") == 1
    assert store.Store([tmp_path / "file" / "nowhere"]).folder is None
    store.Store([tmp_path / "file" / "nowhere"]).save("kernel", "key", 1)


def test_a_need_that_is_damaged_or_of_other_sources_is_compiled_again():
    """FileNotFoundError is the one that Numba takes for an entry that is not there."""
    import fastconv._overloads
    from fastconv._runtime import cells

    assert fastconv._overloads
    name, signature = "fastconv.kernels.packing:all_finite", (types.Array(types.float64, 1, "C"),)
    cell = cells.cell(name, signature)
    build, (stamp, found, kinds) = cells.Need(cell).__reduce__()
    assert build(stamp, found, kinds).cell is cell and (found, kinds) == (name, signature)
    wrong = bytes([stamp[0] ^ 1]) + stamp[1:]
    for arguments in ((wrong, name, kinds), (stamp, name[:-1], kinds), (stamp, name, kinds * 2)):
        with pytest.raises(FileNotFoundError):
            build(*arguments)


def test_a_users_cache_names_no_module_that_a_later_version_may_lack(copy):
    """Numba raises where one of them is missing, instead of compiling again."""
    (copy.root / "user.py").write_text(USER)
    assert copy.run(USERS).strip() == RIGHT
    *names, found = copy.run(NAMED).splitlines()
    assert found == RIGHT
    assert "fastconv" in names and not [name for name in names if name.startswith("fastconv.")]


def test_a_package_without_sources_has_a_cache(copy):
    assert compileall.compile_dir(copy.root / "fastconv", quiet=1, legacy=True)
    for path in (copy.root / "fastconv").rglob("*.py"):
        path.unlink()
    environment = {"NUMBA_CACHE_DIR": None, "HOME": str(copy.root), "XDG_CACHE_HOME": None}
    assert copy.run(COUNTED, **environment).splitlines() == [RIGHT, "0 2"]
    assert list((copy.root / "fastconv" / "__pycache__").glob("*.nbc"))
    assert copy.run(COUNTED, **environment).splitlines() == [RIGHT, "2 0"]


def test_a_package_in_an_archive_has_a_cache_in_the_users_folder(tmp_path, monkeypatch):
    archive = tmp_path / "packed.zip"
    archive.write_bytes(b"content")
    monkeypatch.setattr(store, "PACKAGE", archive / "fastconv")
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert store.kernel_sources() == [archive]
    files = store.Store(store.folders())
    assert files.folder.parent == tmp_path / "home" / "numba"
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "asked"))
    assert store.Store(store.folders()).folder.parent == tmp_path / "asked"


def test_other_compiled_files_are_other_sources(copy):
    package = copy.root / "fastconv"
    assert compileall.compile_dir(package, quiet=1, legacy=True)
    for path in package.rglob("*.py"):
        path.unlink()
    with mock.patch.object(store, "PACKAGE", package):
        files = store.kernel_sources()
        assert {path.suffix for path in files} == {".pyc"}
        assert package / "kernels" / "micro" / "gemm.pyc" in files
        before = store.digest(files)
        (package / "kernels" / "micro" / "gemm.pyc").write_bytes(b"other")
        assert store.digest(files) != before


def test_modules_that_are_no_files_have_no_cache(tmp_path):
    with mock.patch.object(store, "PACKAGE", tmp_path / "nowhere"), pytest.raises(FileNotFoundError, match="nowhere"):
        store.kernel_sources()
