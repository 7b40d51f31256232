"""Machine code that comes with the package, in processes on a copy of it: whole and fitting, or it is not run."""

from __future__ import annotations

import json
import sys
from unittest import mock

import llvmlite
import llvmlite.binding
import numba
import numpy as np
import pytest
from test_jit_cache import Copy

from fastconv._runtime import cells, forms, machine_code, shipped, store
from fastconv._runtime.jit import sized_strict_kernel
from fastconv._runtime.launch import prange

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(shipped.level() is None, reason="there are levels of x86-64 alone"),
]

CALLED = """
import json
import numba.core.event
import numpy as np

class Compilations(numba.core.event.Listener):
    count = 0
    def on_start(self, event):
        Compilations.count += 1
    def on_end(self, event):
        pass

numba.core.event.register("numba:compile", Compilations())
import fastconv
from fastconv._runtime import forms
x = np.arange(32, dtype=np.float32).reshape(1, 2, 4, 4)
y = fastconv.max_pool2d(x, 2)
print(json.dumps([y.ravel().tolist(), forms.COUNTS, Compilations.count]))
"""
BUILT = (
    CALLED
    + """
from fastconv._wheel import calls, level
from fastconv._runtime import shipped
shipped.FOLDER.mkdir()
codes = level.compiled(calls.asked_for())
shipped.write(shipped.FOLDER / f"{shipped.level()}.code", shipped.stamp(), level.blocks(codes))
"""
)
RIGHT = [5.0, 7.0, 13.0, 15.0, 21.0, 23.0, 29.0, 31.0]


def said(copy, script=CALLED, **environment):
    result, counts, compilations = json.loads(copy.run(script, **environment))
    assert result == RIGHT
    assert (compilations == 0) == (counts["compiled"] == 0)
    return counts


@pytest.fixture(scope="module")
def install(tmp_path_factory):
    """A copy of the package with machine code for one function."""
    copy = Copy(tmp_path_factory.mktemp("install"))
    assert said(copy, BUILT)["compiled"] > 0
    return copy


@pytest.fixture
def copy(install, tmp_path):
    """The same with an empty cache, and its archive put back in the end."""
    install.cache = tmp_path / "cache"
    (archive,) = (install.root / "fastconv" / "machine_code").iterdir()
    content = archive.read_bytes()
    yield install
    archive.write_bytes(content)


def archive_of(copy):
    return copy.root / "fastconv" / "machine_code" / f"{shipped.level()}.code"


def test_what_is_shipped_is_not_compiled(copy):
    assert said(copy) == {"shipped": 2, "kept": 0, "compiled": 0}
    assert not copy.files()
    assert said(copy, FASTCONV_SHIPPED_CODE="0")["shipped"] == 0
    assert said(copy)["shipped"] == 2  # it comes before what is kept


def test_a_damaged_archive_is_not_looked_at(copy):
    path = archive_of(copy)
    whole = path.read_bytes()
    flipped = [bytearray(whole) for _ in range(4)]
    for n, damaged in enumerate(flipped):
        damaged[n * (len(whole) - 1) // 3] ^= 4
    for damaged in (b"", whole[:20], whole[: len(whole) // 2], whole[::-1], *flipped):
        path.write_bytes(damaged)
        assert said(copy)["shipped"] == 0
    path.write_bytes(whole)
    assert said(copy)["shipped"] == 2


@pytest.mark.parametrize(
    "foreign",
    [
        "import sys; sys.implementation.cache_tag = 'cpython-310'",
        "import numba; numba.__version__ = '0.1'",
        "import llvmlite; llvmlite.__version__ = '0.99.0'",
    ],
)
def test_an_archive_of_another_version_is_not_looked_at(copy, foreign):
    assert said(copy, f"{foreign}\n{CALLED}")["shipped"] == 0


def test_an_archive_of_other_sources_is_not_looked_at(copy):
    copy.edit("kernels/max_pool.py", "return (value > best)", "return  (value > best)")
    assert said(copy)["shipped"] == 0
    copy.edit("kernels/max_pool.py", "return  (value > best)", "return (value > best)")
    assert said(copy)["shipped"] == 2


def test_a_processor_below_the_level_never_runs_it(copy):
    levels = list(shipped.LEVELS)
    below = levels[levels.index(shipped.level()) + 1 :]
    for level in below:
        features = ",".join(f"+{name}" for name in sorted(shipped.LEVELS[level]))
        lesser = {"NUMBA_CPU_NAME": level, "NUMBA_CPU_FEATURES": features}
        assert said(copy, **lesser)["shipped"] == 0
        disguised = archive_of(copy).with_name(f"{level}.code")  # an archive of the higher level under its name
        disguised.write_bytes(archive_of(copy).read_bytes())
        try:
            assert said(copy, **lesser)["shipped"] == 0
        finally:
            disguised.unlink()


@pytest.mark.parametrize("level", shipped.LEVELS)
def test_levels_follow_from_features(level):
    names = shipped.LEVELS[level]
    for have, expected in ((names | {"sse4a", "avx512vnni"}, level), (names - {"popcnt"}, None)):
        with mock.patch.object(shipped, "features", lambda have=have: have):
            assert shipped.level() == expected
    with mock.patch.object(llvmlite.binding, "get_process_triple", lambda: "aarch64-unknown-linux-gnu"):
        assert shipped.level() is None


def test_the_stamp_holds_all_that_code_depends_on(monkeypatch):
    stamps = [shipped.stamp()]
    changes = (
        (sys.implementation, "cache_tag", "cpython-310"),
        (llvmlite.binding, "get_process_triple", lambda: "x86_64-apple-darwin"),
        (numba, "__version__", "0.1"),
        (llvmlite, "__version__", "0.1"),
        (numba.config, "OPT", 1),
        (numba.config, "BOUNDSCHECK", 1),
        (store, "serial_only", lambda: True),
        (store, "_kernel_digest", lambda: "others"),
        (shipped, "HOST", shipped.HOST._replace(tile_rows=5)),
    )
    for holder, name, value in changes:
        with monkeypatch.context() as patch:
            patch.setattr(holder, name, value)
            stamps.append(shipped.stamp())
    assert len(set(stamps)) == len(changes) + 1
    assert shipped.stamp() == stamps[0]


def test_code_that_cannot_be_brought_to_life_is_compiled(monkeypatch, tmp_path):
    """Whatever goes wrong with code that was found: the result is the compiler's."""

    def doubled(team, x, y):
        for i in prange(team, x.size):
            y[i] = 2 * x[i]

    kept = store.Store([tmp_path])
    monkeypatch.setattr(store, "of_user", lambda: kept)
    for fails, expected in (
        ("none", "2 compiled"),
        ("none", "2 kept"),
        ("load", "2 kept, 2 compiled"),
        ("callable_of", "2 kept, 1 compiled"),
        ("address", "2 kept, 1 compiled"),
    ):
        x, y, before = np.arange(5.0), np.zeros(5), dict(forms.COUNTS)
        with monkeypatch.context() as patch:
            patch.setattr(cells, "_cells", {})  # as in another process
            failing = mock.Mock(side_effect=RuntimeError("of another Numba"))
            patch.setattr(machine_code, fails, failing, raising=False)
            sized_strict_kernel(doubled)(x, y)
        np.testing.assert_array_equal(y, 2 * x)
        assert forms.origins(before) == expected
