"""What the scripts that write RESULTS.md share: times, tables, the machine's name, text between two markers."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from fastconv.config import facts
from fastconv.data.files import written_atomically

VECTORS = {512: "AVX-512", 256: "AVX2", 128: "vectors of 128 bits"}


class Section(NamedTuple):
    """What stands between two lines of a file, each of them there once."""

    begin: str
    end: str

    def split(self, path: Path) -> tuple[str, str]:
        """The text of a file up to and with the first marker, and from the second one on.

        Raises:
            ValueError: the markers are not there, each once and in order.
        """
        text = path.read_bytes().decode()
        before, begin, rest = text.partition(self.begin)
        _, end, after = rest.partition(self.end)
        if not begin or not end or text.count(self.begin) != 1 or text.count(self.end) != 1:
            raise ValueError(f"{path}: needs the lines {self.begin} and {self.end}, each once and in this order")
        return before + begin, end + after

    def check(self, path: Path) -> None:
        """Find out before measuring for minutes, not after, whether a file can be written to.

        Raises:
            ValueError: as for `split`.
            OSError: the file cannot be read, or its folder not written to.
        """
        self.split(path)
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(f"{path}: its folder is not writeable")

    def replace(self, path: Path, text: str) -> None:
        """Put `text` between the markers; the file is whole at any time and keeps its mode."""
        head, tail = self.split(path)
        mode = path.stat().st_mode
        with written_atomically(path) as file:
            file.write(f"{head}\n{text}\n{tail}".encode())
        path.chmod(mode)


def add_write(parser: argparse.ArgumentParser, section: Section, other: Section | None = None) -> None:
    """Add the option `--write FILE ...`, of a section, or of one of two."""
    between = f"replace what is between {section.begin} and {section.end} in each of these"
    between += f", or what is between {other.begin} and {other.end}" if other else ""
    parser.add_argument("--write", type=Path, nargs="+", default=[], metavar="FILE", help=between)


def published(script: str, section: Section, paths: Sequence[Path], measured: Callable[[], str]) -> int:
    """Measure, print the text, and write it to each of the files; 1 if something cannot be read or written."""
    try:
        for path in paths:
            section.check(path)
        warn_if_busy(script)
        text = measured()
        print(text)
        for path in paths:
            section.replace(path, text)
    except (OSError, ValueError) as error:
        print(f"{script}: {error}", file=sys.stderr)
        return 1
    return 0


def milliseconds(seconds: float) -> str:
    """Three significant digits, down to a microsecond."""
    ms = seconds * 1e3
    return f"{ms:.{3 if ms < 1 else 2 if ms < 10 else 1 if ms < 100 else 0}f} ms"


def times_as_fast(ratio: float, digits: int = 2) -> str:
    """A ratio in that number of digits, zeros before the point among them."""
    decimals = digits - 1
    while decimals and len(f"{ratio:.{decimals}f}") > digits + 1:
        decimals -= 1
    return f"{ratio:.{decimals}f}x"


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table that can also be read as it is: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return [
        "| " + " | ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:]))]) + " |"
        for line in (header, rule, *rows)
    ]


def machine() -> str:
    """The processor's model and the vectors that the kernels are compiled for: no figure holds for others."""
    vectors = VECTORS.get(facts()["vector_bits"])
    return f"{processor()} with {vectors}" if vectors else processor()


def processor() -> str:
    """The processor's model."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    found = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(found, "") or platform.processor() or platform.machine()


def warn_if_busy(script: str) -> None:
    """Say so if other programs run: kernels wait for their slowest thread, so beside them a ratio means nothing."""
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if busy > 0.5:
        print(
            f"{script}: about {busy:.1f} processors are busy with something else; ratios will be off", file=sys.stderr
        )
