"""The process of one side: `python -m fastconv.comparison SIDE THREADS BATCH_SIZE`; a job a line, and its seconds."""

from __future__ import annotations

import json
import statistics
import sys
import time

from fastconv._runtime.threads import set_num_threads
from fastconv.comparison.sides import SIDES

BLOCK_SECONDS, LEAST_CALLS, MOST_CALLS = 0.25, 2, 400


def main(side: str, threads: int, batch_size: int) -> None:
    """Answer until the input ends."""
    set_num_threads(threads)
    jobs = SIDES[side][1](threads, batch_size)
    for call in jobs.values():
        call()  # compiles
    _say(list(jobs))
    for line in sys.stdin:
        call = jobs[json.loads(line)]
        times: list[float] = []
        end = time.perf_counter() + BLOCK_SECONDS
        while len(times) < LEAST_CALLS or (time.perf_counter() < end and len(times) < MOST_CALLS):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        _say(statistics.median(times))


def _say(answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
