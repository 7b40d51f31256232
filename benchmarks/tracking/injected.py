"""Commits with a known difference, in a clone of their own: a blank line, or one kernel that is slower by a factor."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from benchmarks.tracking.errors import Refused, last_line

# A file that kernels are not compiled from, so that nothing is compiled anew.
PLACE = "fastconv/config.py"
SPIN = """

def _slow_down() -> None:
    from time import perf_counter

    from fastconv._runtime.jit import Kernel

    call, prepared = Kernel.__call__, Kernel.prepared

    def slowed(kernel, function):
        if (kernel.__module__, kernel.__name__) != ({module!r}, {name!r}):
            return function

        def slow(*args):
            begin = perf_counter()
            result = function(*args)
            end = begin + (perf_counter() - begin) * {factor}
            while perf_counter() < end:
                pass
            return result

        return slow

    Kernel.__call__ = lambda self, *args: slowed(self, call)(self, *args)
    Kernel.prepared = lambda self, elements=None: slowed(self, prepared(self, elements))


_slow_down()
"""


class Slowed(NamedTuple):
    """A kernel that can be slowed down.

    Attributes:
        module: of `fastconv.kernels`.
        name: its function.
        rows: a regular expression of the rows that run it.
    """

    module: str
    name: str
    rows: str


KERNELS = {
    "forward packed": Slowed("conv_packed", "forward_packed", r"Forward\..*PACKED"),
    "forward direct": Slowed("conv", "forward", r"Forward\..*DIRECT"),
    "input gradient": Slowed("conv_input_gradient", "input_gradient", r"InputGradient\..*SCATTERED"),
    "weight gradient": Slowed("conv_shards", "weight_gradient_sharded", r"WeightGradient\..*SHARDED"),
    "max-pool": Slowed("max_pool", "forward_in_vectors", r"MaxPool\.time_forward"),
    "LeNet's step": Slowed("fused.network", "backward", r"Step\.time_step"),
}


class Clone:
    """A clone of the repository at one commit, in which such commits are made.

    Raises:
        Refused: git fails.
    """

    def __init__(self, root: Path, folder: Path):
        self.folder = folder
        if not (folder / ".git").exists():
            _git(root, "clone", "--quiet", "--shared", str(root), str(folder))
        self.base = _git(folder, "rev-parse", "HEAD")

    def equal(self) -> str:
        """The branch with a blank line more."""
        return self._branch("equal", "\n")

    def slower(self, kernel: str, factor: float) -> str:
        """The branch on which a kernel takes `factor` times as long: it waits for what is missing after each call."""
        slowed = KERNELS[kernel]
        text = SPIN.format(module=f"fastconv.kernels.{slowed.module}", name=slowed.name, factor=factor)
        return self._branch(f"{kernel} {factor}", text)

    def _branch(self, title: str, appended: str) -> str:
        name = re.sub(r"[^\w.]+", "-", title)
        known = subprocess.run(["git", "rev-parse", "--verify", "--quiet", name], cwd=self.folder, capture_output=True)
        if known.returncode:
            path = self.folder / PLACE
            path.write_text(path.read_text(encoding="utf-8") + appended, encoding="utf-8")
            identity = "-c", "user.name=trust.py", "-c", "user.email=trust@localhost"
            _git(self.folder, *identity, "commit", "--quiet", "--no-verify", "-a", "-m", title)
            _git(self.folder, "branch", name)
            _git(self.folder, "reset", "--quiet", "--hard", self.base)
        return name


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise Refused(f"git {arguments[0]}: {last_line(done.stderr)}")
    return done.stdout.strip()
