"""Training that is killed at random steps and goes on from its checkpoint, against the same run left alone: equal bits.

Processes are forked from one that has run the same training once, so that nothing is compiled in them.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from fastconv import nn
from fastconv.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from fastconv.history import History
from fastconv.optim import SCHEDULES, SGD, Adam
from fastconv.training import Position, Run, fit
from fuzzing.hunt import Findings, Hunt

OF_THE_CLOCK = ("seconds", "images_per_second")
LONGEST = 0.15  # seconds that a run takes with its checkpoints


@dataclass(frozen=True)
class Case:
    """A run: what is trained, how often it is saved, and when it is killed."""

    optimizer: str
    schedule: str
    clip_norm: float | None
    images: int
    batch_size: int
    epochs: int
    every: int  # steps between two checkpoints
    seed: int
    kills: tuple[float, ...]  # each after so many steps, or, below 1, so many seconds


def drawn(rng: np.random.Generator) -> Case:
    """A case."""
    images, batch_size, epochs = int(rng.integers(9, 30)), int(rng.integers(2, 9)), int(rng.integers(2, 5))
    every, steps = int(rng.integers(1, 5)), epochs * -(-images // batch_size)
    kills = [float(rng.integers(1, steps + 1)) if rng.random() < 0.6 else float(rng.random() * LONGEST)
             for _ in range(int(rng.integers(1, 6)))]  # fmt: skip
    return Case(
        str(rng.choice(["sgd", "momentum", "adam"])), str(rng.choice(sorted(SCHEDULES))),
        float(rng.choice([0.1, 1.0])) if rng.random() < 0.3 else None,
        images, batch_size, epochs, every, int(rng.integers(2**31)), tuple(kills),
    )  # fmt: skip


def _parts(case: Case) -> tuple[nn.Sequential, Any, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(case.seed)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, rng=rng), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Dropout(0.3, rng=case.seed), nn.Linear(36, 3, rng=rng),
    )  # fmt: skip
    parameters = model.parameters()
    optimizer = Adam(parameters) if case.optimizer == "adam" else SGD(parameters, 0.05, 0.9 * (case.optimizer != "sgd"))
    x = rng.standard_normal((case.images, 1, 8, 8)).astype(np.float32)
    return model, optimizer, (x, rng.integers(0, 3, case.images))


def train(case: Case, path: Path, kill: float = 0.0, save: bool = True) -> None:
    """Begin, or go on from a checkpoint, to the end; it dies after so many steps if there are so many."""
    model, optimizer, data = _parts(case)
    history, position, taken = History(), Position(), 0
    if path.exists():
        found = load_checkpoint(path)
        model.load_state_dict(found.model)
        optimizer.load_state_dict(found.optimizer)
        history, position = found.history, found.position

    def write() -> None:
        state = model.state_dict(resumable=True), optimizer.state_dict()
        save_checkpoint(path, Checkpoint(*state, {}, history, position))

    def after(run: Run) -> None:
        nonlocal taken
        taken += not run.epoch_ended
        if save and (run.epoch_ended or run.position.step % case.every == 0):
            write()
        if kill and taken == kill:
            os.kill(os.getpid(), signal.SIGKILL)

    fit(
        model, data, (data[0][:4], data[1][:4]), optimizer=optimizer, epochs=case.epochs, batch_size=case.batch_size,
        rng=case.seed, schedule=SCHEDULES[case.schedule], callbacks=[after], history=history, position=position,
        clip_norm=case.clip_norm,
    )  # fmt: skip
    write()


def _child(work: Callable[[], None]) -> NoReturn:
    try:
        work()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def _in_fork(work: Callable[[], None], seconds: float | None = None) -> bool:
    """Whether it came to its end, and was not killed after so many seconds or by itself."""
    child = os.fork()
    if child == 0:
        _child(work)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    killed = os.WIFSIGNALED(status)
    assert status == 0 or (killed and os.WTERMSIG(status) == signal.SIGKILL), f"ended with status {status}"
    return not killed


def told(path: Path) -> dict[str, Any]:
    """All that a finished run has left, but for what the clock says."""
    found = load_checkpoint(path)
    arrays = {f"model {name}": value for name, value in found.model.items()}
    arrays |= {f"optimizer {name}": np.asarray(value) for name, value in found.optimizer.items()}
    said: dict[str, Any] = {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in arrays.items()}
    for row in found.history.rows:
        said[f"epoch {row['epoch']}"] = {name: value for name, value in row.items() if name not in OF_THE_CLOCK}
    said["position"] = {name: value for name, value in asdict(found.position).items() if name not in OF_THE_CLOCK}
    return said


def judge(case: Case, folder: Path) -> int:
    """Run it alone and killed; how often it died."""
    alone, path, died = folder / "alone.npz", folder / "killed.npz", 0
    assert _in_fork(lambda: train(case, alone, save=False))
    for kill in case.kills:
        steps, seconds = (kill, None) if kill >= 1 else (0.0, kill)
        died += not _in_fork(lambda steps=steps: train(case, path, steps), seconds)  # type: ignore[misc]
    assert _in_fork(lambda: train(case, path))
    right, found = told(alone), told(path)
    assert right.keys() == found.keys(), f"{sorted(right.keys() ^ found.keys())} are there once only"
    other = [name for name in right if right[name] != found[name]]
    assert not other, f"other bits in {', '.join(other)}"
    assert sorted(os.listdir(folder)) == [alone.name, path.name], os.listdir(folder)
    return died


def run(cases: int, seed: int, findings: Findings) -> None:
    """So many runs."""
    warnings.simplefilter("ignore", DeprecationWarning)  # Python's own, of forking with threads
    compiled = set()
    for number in range(cases):
        case = drawn(np.random.default_rng([seed, number]))
        with tempfile.TemporaryDirectory() as folder, findings.case("run", f"seed {seed}, case {number}: {case}"):
            own = (case.optimizer, case.clip_norm is None)
            if own not in compiled:
                train(case, Path(folder) / "alone.npz", save=False)
                (Path(folder) / "alone.npz").unlink()
                compiled.add(own)
            findings.counts["death and resumption of these"] += judge(case, Path(folder))


HUNT = Hunt(
    promise="training that is killed at any moment goes on from its checkpoint to the same bits as a run left alone:"
    " weights, running statistics, dropout, the optimiser's state, the history",
    how="a small network with batch normalisation and dropout, SGD and Adam, schedules and clipping; up to five"
    " SIGKILLs after drawn steps or at drawn moments, also while a checkpoint is written",
    run=run,
    short=3,
    long=300,
)
