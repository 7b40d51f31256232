"""demo: what the tutorials print, and their pictures."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastconv.demos import DEMOS, LANGUAGES
from fastconv.viz.figures import library

PAGE = "lightsteelblue"  # on a white one white pixels would not be seen


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    text = "show what a tutorial prints and draws"
    parser = commands.add_parser("demo", parents=[common], help=text, description=f"{text}, computed by fastconv")
    parser.add_argument("name", choices=DEMOS, help="which")
    parser.add_argument("--out", metavar="FOLDER", help='write the pictures as PNG files (extra "plot")')
    parser.add_argument("--show", action="store_true", help='show the pictures in windows (extra "plot")')
    parser.add_argument("--language", choices=LANGUAGES, default="en", help="of words and titles (default: en)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demonstration; returns the exit code."""
    draws = bool(arguments.out or arguments.show)
    if draws:
        _check_pictures(arguments.show)
    demo = DEMOS[arguments.name](arguments.language)
    if not arguments.json:
        print("\n".join(demo.lines).rstrip())
    pictures = demo.pictures() if draws else {}
    for ax in pictures.values():
        ax.figure.set_facecolor(PAGE)
    files = _saved(pictures, Path(arguments.out), arguments.name) if arguments.out else []
    if arguments.json:
        print(json.dumps({"demo": arguments.name, **demo.numbers, "files": files}))
    elif files:
        print("\n".join(f"wrote {file}" for file in files))
    if arguments.show:
        _show(pictures)
    return 0


def _check_pictures(show: bool) -> None:
    """Fail before the work, not after it."""
    backend = library().get_backend()
    if show:
        from matplotlib.backends import BackendFilter, backend_registry

        if backend.lower() in backend_registry.list_builtin(BackendFilter.NON_INTERACTIVE):
            raise OSError(f"--show needs a screen, and matplotlib's backend {backend} has no windows; try --out FOLDER")


def _saved(pictures: Mapping[str, Any], folder: Path, name: str) -> list[str]:
    from fastconv.viz import save

    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for stem, ax in pictures.items():
        files.append(str(folder / f"{name}-{stem}.png"))
        save(ax, files[-1])
    return files


def _show(pictures: Mapping[str, Any]) -> None:
    from matplotlib import pyplot

    for ax in pictures.values():
        # pyplot does not know the figure, so a window of its own shows what is drawn on it
        ax.figure.canvas.draw()
        window = pyplot.figure(figsize=ax.figure.get_size_inches(), dpi=ax.figure.dpi)
        window.figimage(np.asarray(ax.figure.canvas.buffer_rgba()))
    pyplot.show()
