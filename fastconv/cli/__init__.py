"""The command: train, eval, predict, export-onnx, bench, info, warmup, demo; a file for each declares and runs it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from fastconv._runtime.backend import use_backend
from fastconv._runtime.threads import set_num_threads
from fastconv.cli import bench, demo, evaluate, export_onnx, info, predict, train, warmup
from fastconv.cli.arguments import UsageError, at_least
from fastconv.config import VERSION
from fastconv.errors import MissingExtraError

COMMANDS = (train, evaluate, predict, export_onnx, bench, info, warmup, demo)


def _parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser, and that of each command by its name."""
    parser = argparse.ArgumentParser(prog="fastconv", description="Train small convolutional networks on a CPU, fast.")
    parser.add_argument("--version", action="version", version=f"fastconv {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    group = common.add_argument_group(
        "options of every command",
        "info shows the threads and the backend; export-onnx needs neither, and bench times both backends",
    )
    group.add_argument("--threads", type=at_least(1), metavar="N", help="threads to run on (default: all processors)")
    group.add_argument("--backend", choices=("numba", "numpy"), default="numba", help="kernels or plain NumPy")
    group.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    for command in COMMANDS:
        command.add(commands, common)
    return parser, dict(commands.choices)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 done, 1 failed or interrupted, 2 wrong usage."""
    parser, commands = _parsers()
    arguments, unknown = parser.parse_known_args(argv)
    parser = commands[arguments.command]  # whose usage an error shows
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        if arguments.threads is not None:
            set_num_threads(arguments.threads)
        with use_backend(arguments.backend):
            code = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except UsageError as error:
        parser.error(str(error))
    except BrokenPipeError:  # the reader of the output, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes it once more
        return 1
    except (OSError, ValueError, TypeError, KeyError, ArithmeticError, MemoryError, MissingExtraError) as error:
        print(f"fastconv: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nfastconv: interrupted", file=sys.stderr)
        return 1
