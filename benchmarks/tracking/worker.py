"""One commit's process: it measures what it is asked for, while the other commit's waits."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import resource
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numba.core.caching

BENCHMARKS = Path(__file__).parents[1]
SKIPPED = (NotImplementedError,)


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

    def names(self, pattern: str) -> dict[str, Any]:
        """asv's benchmarks whose names match."""
        from asv_runner.discovery import disc_benchmarks

        fields = "name", "params", "param_names", "type", "unit", "version"
        found = {}
        for benchmark in disc_benchmarks(str(BENCHMARKS), ignore_import_errors=True):
            if re.search(pattern, benchmark.name):
                found[benchmark.name] = {field: getattr(benchmark, field) for field in fields}
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
        except SKIPPED as error:
            return {"skipped": str(error)}
        except Exception as error:
            traceback.print_exc()
            return {"error": f"{type(error).__name__}: {error}"}


def serve() -> None:
    """One JSON object a line, requests in and answers out, until the input ends."""
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as answers, contextlib.suppress(KeyboardInterrupt):
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what is printed must not get between the answers
        share_the_cache()
        server = Server()
        _say(answers, {"ready": True})
        for line in sys.stdin:
            _say(answers, server.answer(**json.loads(line)))


def _say(stream: TextIO, message: dict[str, Any]) -> None:
    print(json.dumps(message), file=stream, flush=True)


if __name__ == "__main__":
    serve()
