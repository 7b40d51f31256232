"""Run one script of a tutorial in a process of its own, as it is or with its import lines changed.

What is compared are the numbers that it prints and those that it draws. It runs in a copy of the checkout, with a small
part of MNIST and NumPy's random state seeded; what it downloads, shows on a screen or draws progress with is replaced.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import io
import json
import os
import re
import shutil
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

if not __package__:  # run as a script: the folder of the packages is one up
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np

from fastconv.data import load_mnist

IMPORT = re.compile(r"^(\s*(?:from|import)\s+)(\S+)")
NUMBER = re.compile(r"-?\d+\.\d+(?:e[+-]?\d+)?|\bnan\b|\binf\b")


class Script(NamedTuple):
    """A script of a tutorial.

    Attributes:
        tutorial: what it belongs to.
        path: where it is in the checkout.
        renamed: the modules whose imports change, and what they become.
        package: the package that its relative imports start from, if it has some.
        after: what is done with its names to train, and gives the numbers to compare; None if it does so itself.
    """

    tutorial: str
    path: str
    renamed: Mapping[str, str]
    package: str | None = None
    after: Callable[[dict[str, Any]], list[np.ndarray]] | None = None


def vae(names: dict[str, Any]) -> list[np.ndarray]:
    """Two epochs of numpy-ml's only convolutional model, and its encoder's parameters."""
    (x, _), _ = SCRIPT_DATA()
    model = names["BernoulliVAE"]()
    model.fit(x[: max(len(x) // 20, 8)].transpose(0, 2, 3, 1).astype(float), n_epochs=2, batchsize=8, verbose=False)
    layers = model.parameters["components"]["encoder"].values()
    return [array for layer in layers for array in layer.values()]


BOOK = {
    "common": "fastconv.compat.dlfs.common", "simple_convnet": "fastconv.compat.dlfs.simple_convnet",
    "deep_convnet": "fastconv.compat.dlfs.deep_convnet",
}  # fmt: skip
SCRIPTS = (
    Script(
        "ML-From-Scratch", "mlfromscratch/examples/convolutional_neural_network.py",
        {"mlfromscratch": "fastconv.compat.mlfromscratch"},
    ),
    *(
        Script("Deep Learning from Scratch", path, BOOK)
        for path in (
            "ch07/train_convnet.py", "ch07/gradient_check.py", "ch07/visualize_filter.py", "ch07/apply_filter.py",
            "ch08/train_deepnet.py", "ch08/misclassified_mnist.py", "ch08/half_float_network.py",
        )
    ),
    Script(
        "numpy-ml", "numpy_ml/neural_nets/models/vae.py",
        {f"..{name}": f"fastconv.compat.numpy_ml.neural_nets.{name}" for name in ("utils", "activations", "layers")},
        "numpy_ml.neural_nets.models", vae,
    ),
)  # fmt: skip


def changed(source: str, renamed: Mapping[str, str]) -> tuple[str, int]:
    """A script with its imports renamed, and how many lines that changed."""
    lines, count = source.split("\n"), 0
    for i, line in enumerate(lines):
        found = IMPORT.match(line)
        if not found:
            continue
        for old, new in renamed.items():
            if found[2] == old or found[2].startswith(f"{old}."):
                lines[i] = found[1] + new + found[2][len(old) :] + line[found.end() :]
                count += 1
                break
    return "\n".join(lines), count


@functools.cache
def SCRIPT_DATA() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """A part of MNIST, as many images as the environment says, and a fifth of these to test; read once.

    All of MNIST is read for it, which would be a third of the time of a script that is given some hundred images.
    """
    images = int(os.environ["ORIGINALS_IMAGES"])
    (x, t), (x_test, t_test) = load_mnist(download=False)
    return (x[:images], t[:images]), (x_test[: max(images // 5, 100)], t_test[: max(images // 5, 100)])


def load_part(normalize: bool = True, flatten: bool = True, one_hot_label: bool = False) -> Any:
    """What the book's own `load_mnist` gives, which would download it."""
    found = []
    for x, t in SCRIPT_DATA():
        pixels = x if normalize else np.rint(x * 255).astype(np.uint8)
        labels = np.eye(10)[t] if one_hot_label else t.astype(np.uint8)
        found.append((pixels.reshape(len(x), -1) if flatten else pixels, labels))
    return tuple(found)


def stand_ins() -> None:
    """Modules that scripts import and that are not there, or that would download data."""
    if importlib.util.find_spec("progressbar") is None:
        bar = types.ModuleType("progressbar")
        for name in ("Percentage", "Bar", "ETA"):
            setattr(bar, name, lambda **_: "")
        bar.ProgressBar = lambda **_: lambda rounds: rounds  # type: ignore[attr-defined]
        sys.modules["progressbar"] = bar
    if importlib.util.find_spec("terminaltables") is None:
        tables = types.ModuleType("terminaltables")
        tables.AsciiTable = lambda rows: types.SimpleNamespace(table="\n".join(map(str, rows)))  # type: ignore
        sys.modules["terminaltables"] = tables
    mnist = types.ModuleType("dataset.mnist")
    mnist.load_mnist = load_part  # type: ignore[attr-defined]
    SCRIPT_DATA()
    sys.modules["dataset.mnist"] = mnist
    import collections
    import collections.abc

    collections.Hashable = collections.abc.Hashable  # type: ignore[attr-defined]


@contextlib.contextmanager
def recorded() -> Iterator[list[np.ndarray]]:
    """The numbers of every curve and picture that is drawn meanwhile; nothing is shown."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.axes import Axes

    found: list[np.ndarray] = []
    plot, imshow, show = Axes.plot, Axes.imshow, plt.show

    def kept_plot(axes: Axes, *args: Any, **keywords: Any) -> Any:
        found.extend(np.array(list(a), float) for a in args if not isinstance(a, str))
        return plot(axes, *args, **keywords)

    def kept_imshow(axes: Axes, image: Any, *args: Any, **keywords: Any) -> Any:
        found.append(np.array(image, float))
        return imshow(axes, image, *args, **keywords)

    Axes.plot, Axes.imshow, plt.show = kept_plot, kept_imshow, lambda *_, **__: None
    try:
        yield found
    finally:
        Axes.plot, Axes.imshow, plt.show = plot, imshow, show
        plt.close("all")


def imported(source: str, package: str | None) -> None:
    """Import what a script will import, so that its time is its own."""
    for node in ast.parse(source).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = ["." * node.level + (node.module or "")]
        for name in names:
            if name != "__future__":
                importlib.import_module(name, package)


def run(script: Script, root: Path, fast: bool, rounds: int) -> dict[str, Any]:
    """The smallest time of a script, and its numbers of the last round."""
    source, lines = (root / script.path).read_text(encoding="utf-8"), 0
    if fast:
        source, lines = changed(source, script.renamed)
    sys.path[:0] = [str((root / script.path).parent), str(root)]
    os.chdir((root / script.path).parent)
    stand_ins()
    imported(source, script.package)
    code, times = compile(source, script.path, "exec"), []
    for _ in range(rounds):
        np.random.seed(0)  # noqa: NPY002
        names: dict[str, Any] = {"__name__": "__main__", "__package__": script.package}
        with recorded() as drawn, contextlib.redirect_stdout(io.StringIO()) as printed:
            begin = time.perf_counter()
            exec(code, names)
            after = script.after(names) if script.after else []
            times.append(time.perf_counter() - begin)
        # of a model that is trained from here, what it prints are times too
        numbers = [] if after else [float(number) for number in NUMBER.findall(printed.getvalue())]
        numbers += [float(value) for array in [*drawn, *after] for value in array.ravel()]
    return {"seconds": min(times), "numbers": numbers, "lines": lines}


def main(words: list[str]) -> int:
    """The number of a script, its checkout, `original` or `fastconv`, how many rounds, and the file for the result."""
    number, checkout, side, rounds, result = words
    warnings.simplefilter("ignore")  # of the tutorials
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "checkout"
        shutil.copytree(checkout, root, ignore=shutil.ignore_patterns(".git", "docs", "notebooks"))
        found = run(SCRIPTS[int(number)], root, side == "fastconv", int(rounds))
        os.chdir(checkout)
    Path(result).write_text(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
