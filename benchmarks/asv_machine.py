"""A plugin of asv: results of other processors, vectors or numbers of threads are those of another machine.

asv draws one graph for each machine, whose name is the host's by default: a new one for each run on a rented machine,
and the same one where a host moves to another processor. Here the name is what the figures depend on.
"""

from __future__ import annotations

import os
import platform
import re
from typing import Any

# the widest first, as Linux names them and LLVM's features
VECTORS = (("avx512f", "AVX-512"), ("avx2", "AVX2"), ("avx", "AVX"))


def vectors(flags: set[str] | None = None) -> str:
    """The vectors that kernels are compiled for: the processor's, or what NUMBA_CPU_FEATURES asks for."""
    asked = os.environ.get("NUMBA_CPU_FEATURES") or os.environ.get("NUMBA_CPU_NAME")
    if flags is None:
        flags = set(re.findall(r"\+([\w.-]+)", asked)) if asked else _flags()
    found = next((name for flag, name in VECTORS if flag in flags), "SSE2")
    return found if platform.machine() in ("x86_64", "AMD64") else platform.machine()


def _flags() -> set[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return set(next((line for line in file if line.startswith("flags")), "").split())
    except OSError:
        return set()


def name_of(processor: str, width: str, threads: int) -> str:
    """A name that can be one of a folder: `Intel-Xeon-Processor-AVX-512-2-threads`."""
    plain = re.sub(r"\((R|TM)\)", "", processor)
    return re.sub(r"[^\w.+-]+", "-", f"{plain} {width} {threads} threads").strip("-")


def setup() -> None:
    """What asv calls when it has loaded the plugin; asv is imported here, since it is not where benchmarks run."""
    from asv.machine import Machine

    if hasattr(Machine, "vectors"):
        return
    defaults, load = Machine.get_defaults, Machine.load.__func__

    def facts(use_defaults: bool = True) -> dict[str, Any]:
        found, width = defaults(), vectors()
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        name = name_of(found["cpu"] or found["arch"], width, threads)
        # neither the system's release nor the bytes of memory: a graph would end with each of their changes
        own = {"machine": name, "arch": f"{found['arch']}, {width}", "os": platform.system(), "ram": ""}
        return {**found, **own}

    def loaded(cls: type, *arguments: Any, **options: Any) -> Any:
        found = load(cls, *arguments, **options)
        found.arch = facts()["arch"]  # `--machine` may name one of other days
        return found

    Machine.vectors = staticmethod(vectors)
    Machine.get_defaults = Machine.generate_machine_file = staticmethod(facts)
    Machine.hardcoded_machine_name = facts()["machine"]
    Machine.load = classmethod(loaded)
