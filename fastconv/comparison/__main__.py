"""The process of one side: `python -m fastconv.comparison SIDE THREADS BATCH_SIZE NETWORK times|memory`.

A job a line, and its seconds; or, once and unasked, the bytes that training steps need.
"""

from __future__ import annotations

import importlib
import json
import statistics
import sys
import time

from fastconv._runtime.threads import set_num_threads
from fastconv.comparison.backends import MOST_SECONDS
from fastconv.comparison.memory import peak_bytes
from fastconv.comparison.networks import NETWORKS, Network
from fastconv.comparison.sides import SIDES, Side

BLOCK_SECONDS, LEAST_CALLS, MOST_CALLS = 0.25, 2, 400
# not counted: a step of 40 ms takes 110 ms where the process has rested for as long as the others had their turns
WARM_SECONDS = 0.2
STEPS = 3  # whose memory is measured: from the second on there are the momentum's arrays too


def times(side: Side, network: Network, threads: int, batch_size: int) -> None:
    """Answer until the input ends."""
    jobs, first = side.jobs(network, threads, batch_size), {}
    for name, call in jobs.items():
        start = time.perf_counter()
        call()  # compiles
        first[name] = time.perf_counter() - start
    _say(list(jobs))
    for line in sys.stdin:
        name = json.loads(line)
        if side.steady and first[name] > MOST_SECONDS:  # long enough to be the figure
            _say(first[name])
            continue
        found: list[float] = []
        end = time.perf_counter() + WARM_SECONDS
        while time.perf_counter() < end:
            jobs[name]()
        end = time.perf_counter() + BLOCK_SECONDS
        while len(found) < LEAST_CALLS or (time.perf_counter() < end and len(found) < MOST_CALLS):
            start = time.perf_counter()
            jobs[name]()
            found.append(time.perf_counter() - start)
        _say(statistics.median(found))


def memory(side: Side, network: Network, threads: int, batch_size: int) -> None:
    """Say how much more than for its imports the process has needed to make the network and to take steps."""
    for module in side.needed:
        importlib.import_module(module)
    before = peak_bytes()
    step = side.jobs(network._replace(epoch=False, images=1), threads, batch_size)["step"]
    end = time.perf_counter() + MOST_SECONDS
    for done in range(STEPS):
        if not done or time.perf_counter() < end:
            step()
    after = peak_bytes()
    _say(None if before is None or after is None else after - before)


def _say(answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main(side: str, threads: int, batch_size: int, network: str, what: str) -> None:
    """Do what the process is for."""
    set_num_threads(threads)
    (times if what == "times" else memory)(SIDES[side], NETWORKS[network], threads, batch_size)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5])
