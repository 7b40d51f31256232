"""The builds of commits: asv makes the environment and the wheel, and each commit's package is kept in a folder."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import asv_machine
from benchmarks.tracking.errors import Refused, last_line

ROOT = Path(__file__).parents[2]
KEPT = 24  # folders of commits; the kernels' cache is shared by all


class Build(NamedTuple):
    """A commit that can be measured.

    Attributes:
        commit: its hash.
        name: what the user called it.
        folder: where its package lies.
        python: the interpreter of asv's environment.
        environment: asv's object.
    """

    commit: str
    name: str
    folder: Path
    python: str
    environment: Any

    def variables(self) -> dict[str, str]:
        """What a process of this commit finds its package, the benchmarks of this tree, and the kernels' cache by."""
        path = os.pathsep.join(map(str, (self.folder, ROOT)))
        own = {
            "PYTHONPATH": path,
            "OMP_WAIT_POLICY": "passive",
            "OMP_PROC_BIND": "true",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return os.environ | own | {"NUMBA_CACHE_DIR": str(self.folder.parents[1] / "kernels")}


class Project:
    """The repository with asv's configuration.

    Raises:
        Refused: asv, the repository or its configuration is not there.
    """

    def __init__(self, root: Path = ROOT):
        try:
            from asv.config import Config
            from asv.repo import get_repo
            from asv.util import UserError
        except ImportError:
            raise Refused('asv is not installed: pip install -e ".[bench]"') from None
        asv_machine.setup()
        os.chdir(root)  # asv's paths are relative
        if git("rev-parse", "--git-dir").returncode:
            raise Refused(f"{root} is no git repository: commits cannot be compared without one")
        try:
            self.conf = Config.load(str(root / "asv.conf.json"))
            self.repo = get_repo(self.conf)
        except (UserError, OSError) as error:
            raise Refused(last_line(str(error))) from None
        self.root, self.kept = root, Path(self.conf.env_dir).absolute().parent / "commits"

    def commit(self, name: str) -> str:
        """The hash of a commit."""
        found = git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        if found.returncode:
            raise Refused(f"{name} is no commit of this repository")
        return found.stdout.strip()

    def uncommitted(self) -> int:
        """How many files of the tree are not as they are committed."""
        return len(git("status", "--porcelain", "--untracked-files=no").stdout.splitlines())

    def build(self, name: str) -> Build:
        """The package of a commit, built or kept from an earlier comparison.

        Raises:
            Refused: there is no environment, or the commit does not build.
        """
        commit, environment = self.commit(name), self._environment()
        folder = self.kept / commit
        if not (folder / "fastconv").is_dir():
            print(f"regressions.py: building {name} ({commit[:8]})", file=sys.stderr, flush=True)
            with _refusing(f"{name} ({commit[:8]}) does not build"):
                environment.install_project(self.conf, self.repo, commit)
            self._keep(environment, folder)
        os.utime(folder)
        return Build(commit, name, folder, environment.find_executable("python"), environment)

    def _environment(self) -> Any:
        from asv import environment

        with _refusing("asv's environment cannot be made (is there a network, and the Python that is asked for?)"):
            found = list(environment.get_environments(self.conf, None))
            if not found:
                raise Refused(f"asv finds no Python of versions {self.conf.pythons}")
            found[0].create()
        return found[0]

    def _keep(self, environment: Any, folder: Path) -> None:
        """Copy what was installed, and forget the commits that have not been compared for longest."""
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        packages = Path(environment.run(["-c", code]).strip())
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        for path in packages.glob("fastconv*"):
            shutil.copytree(path, part / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        part.rename(folder)
        for old in sorted(self.kept.iterdir(), key=lambda path: path.stat().st_mtime)[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What git says in the current folder."""
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        raise Refused("git is not installed") from None


@contextlib.contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Turn an error of asv into one line; what it prints of one fills the screen."""
    from asv.environment import EnvironmentUnavailable
    from asv.util import ProcessError, UserError

    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    except ProcessError as error:
        raise Refused(f"{what}: {last_line(error.stderr or error.stdout or str(error))}") from None
    except (UserError, EnvironmentUnavailable, OSError) as error:
        raise Refused(f"{what}: {last_line(str(error))}") from None
