"""One commit's process: it measures what it is asked for, while the other commit's waits."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import mmap
import os
import resource
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numba.core.caching

BENCHMARKS = Path(__file__).parents[1]
ADDR_NO_RANDOMIZE = 0x40000


def without_random_addresses() -> None:
    """Start this process anew with the memory laid out as in every other, where the system allows it.

    Where the arrays lie makes a kernel up to 20 % faster or slower (measured: docs/regressions.md).
    """
    with contextlib.suppress(AttributeError, OSError):
        personality = ctypes.CDLL(None).personality
        now = personality(0xFFFFFFFF)
        if now >= 0 and not now & ADDR_NO_RANDOMIZE and personality(now | ADDR_NO_RANDOMIZE) >= 0:
            if personality(0xFFFFFFFF) & ADDR_NO_RANDOMIZE:  # otherwise it would start anew for ever
                os.execv(sys.executable, sys.orig_argv)


class Layout:
    """Memory that moves all that comes after it: one layout for both processes of a pair, another for the next pair."""

    def __init__(self, number: int):
        self.heap = bytearray(1040 * number)
        self.pages = mmap.mmap(-1, mmap.PAGESIZE * (number + 1))


def share_the_cache() -> None:
    """Name the kernels' folders by their place in the package: commits with equal kernels compile them once.

    The name of each file in them is a digest that covers the sources, so that other kernels lie beside.
    """

    def place(cls: Any, path: str) -> str:
        parts = Path(path).parent.parts
        inside = parts[-parts[::-1].index("fastconv") - 1 :] if "fastconv" in parts else parts[-1:]
        return "_".join(inside)

    numba.core.caching._CacheLocator.get_suitable_cache_subpath = classmethod(place)


class Server:
    """Answers requests with the package that this process has imported."""

    def __init__(self) -> None:
        from benchmarks import measure
        from benchmarks.loops import reference_loop

        self.forget = measure.warmed.cache_clear
        self.loop_of = functools.cache(reference_loop)
        self.call: Callable[[], Any] = lambda: None
        self.loop: Callable[[], Any] = lambda: None

    def benchmarks(self) -> dict[str, Any]:
        """All of asv's benchmarks, as `asv run` saves them."""
        from asv_runner.discovery import disc_benchmarks

        kept = str, int, float, list, dict, bool
        found = {}
        for benchmark in disc_benchmarks(str(BENCHMARKS), ignore_import_errors=True):
            fields = {name: value for name, value in vars(benchmark).items() if not name.startswith("_")}
            found[benchmark.name] = {name: value for name, value in fields.items() if isinstance(value, kept)}
        return {"found": list(found.values())}

    def prepare(self, row: str) -> dict[str, Any]:
        """Make the arrays, call once, and find out how many calls a sample is made of."""
        import fastconv
        from benchmarks.rounds import calls_for

        self.call = lambda: None
        self.forget()
        benchmark = self._benchmark(row)
        self.call = functools.partial(benchmark.func, *benchmark._current_params)
        self.call()
        kind = getattr(benchmark.func.__self__, "reference", "multiply-adds")
        self.loop = self.loop_of(kind, fastconv.get_num_threads())
        return {"calls": calls_for(self.call), "threads": fastconv.get_num_threads()}

    def measure(self, calls: int, rounds: int) -> dict[str, Any]:
        """Samples of the call and of its reference loop, in turn."""
        from benchmarks.rounds import samples_in_turn

        return samples_in_turn(self.call, self.loop, calls, rounds)._asdict()

    def figure(self, row: str) -> dict[str, Any]:
        """The value of a benchmark that is no time; the peak of memory is that of the process."""
        benchmark = self._benchmark(row)
        value = benchmark.func(*benchmark._current_params)
        if benchmark.type == "peakmemory":
            value = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        benchmark.do_teardown()
        return {"value": float(value)}

    def _benchmark(self, row: str) -> Any:
        from asv_runner.discovery import get_benchmark_from_name

        benchmark = get_benchmark_from_name(str(BENCHMARKS), row)
        if benchmark.do_setup():
            raise NotImplementedError("is skipped")
        return benchmark

    def answer(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Do what is asked; an error is an answer too, because the other rows may go well."""
        try:
            return getattr(self, do)(**arguments)
        except NotImplementedError as error:
            return {"skipped": str(error)}
        except Exception as error:
            traceback.print_exc()
            return {"error": f"{type(error).__name__}: {error}"}


def serve(layout: int) -> None:
    """One JSON object a line, requests in and answers out, until the input ends."""
    without_random_addresses()
    moved = Layout(layout)
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as answers, contextlib.suppress(KeyboardInterrupt):
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what is printed must not get between the answers
        share_the_cache()
        server = Server()
        _say(answers, {"ready": True})
        for line in sys.stdin:
            _say(answers, server.answer(**json.loads(line)))
        del moved


def _say(stream: TextIO, message: dict[str, Any]) -> None:
    print(json.dumps(message), file=stream, flush=True)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
