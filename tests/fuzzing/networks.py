"""Random networks, as users call them, against their layers one by one and against plain NumPy."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from typing import Any

import numpy as np

import fastconv
from fastconv import nn
from fastconv.errors import ShapeError
from fastconv.nn.fused.interleaved import Together
from fastconv.nn.fused.program import Program
from fastconv.optim import SGD, Adam, Optimizer
from fastconv.training import train_step
from fuzzing.drawn_networks import Network, draw_network
from fuzzing.hunt import Findings, Hunt

ROUNDINGS = 8  # and twice the root of the number of terms: by so many roundings of its terms a sum may be wrong
PROBES = (4, 20)  # runs with such errors put in, of which the worst is allowed; more of them before a failure
ALLOWED = 16  # times what the probes differ by

Results = dict[str, np.ndarray]
Pass = Callable[[nn.Layer, np.ndarray], tuple[np.ndarray, Callable]]
Spoil = Callable[[np.ndarray, int], np.ndarray]
Trace = list[tuple[nn.Layer, np.ndarray, np.ndarray]]


def one_by_one(
    layer: nn.Layer, x: np.ndarray, spoil: Spoil = lambda a, terms: a, trace: Trace | None = None
) -> tuple[np.ndarray, Callable]:
    """The layer's result and its backward, every layer inside by itself; `spoil` goes over all that comes out."""
    if type(layer) is nn.Sequential:
        ways = []
        for inner in layer:
            x, way = one_by_one(inner, x, spoil, trace)
            ways.append(way)

        def back(grad: np.ndarray) -> np.ndarray:
            for way in reversed(ways):
                grad = way(grad)
            return grad

        return x, back
    if type(layer) is nn.Residual:
        y, body = one_by_one(layer.body, x, spoil, trace)
        side, way = (x, lambda g: g) if layer.shortcut is None else one_by_one(layer.shortcut, x, spoil, trace)
        return y + side, lambda grad: body(grad) + way(grad)
    y, way = layer.forward(x)

    terms = sum(p.value.size for p in layer.parameters())

    def traced(grad: np.ndarray) -> np.ndarray:
        if trace is not None:
            trace.append((layer, x, grad))
        grad_x = spoil(way(grad), terms)
        for p in layer.parameters():
            p.grad = spoil(p.grad, grad.size)
        return grad_x

    return spoil(y, terms), traced


def inferred(layer: nn.Layer, x: np.ndarray) -> np.ndarray:
    """The layer's result in inference, every layer inside by itself."""
    if type(layer) is nn.Sequential:
        for inner in layer:
            x = inferred(inner, x)
        return x
    if type(layer) is nn.Residual:
        return inferred(layer.body, x) + (x if layer.shortcut is None else inferred(layer.shortcut, x))
    return layer(x)


def optimizers(model: nn.Layer) -> dict[str, Optimizer]:
    # with an eps that keeps rounding errors of a gradient of nothing from becoming whole steps
    return {"SGD": SGD(model.parameters(), 0.0625, 0.5), "Adam": Adam(model.parameters(), 0.01, eps=0.1)}


def step(net: Network, model: nn.Sequential, run: Pass, optimizer: Optimizer) -> float:
    """One step of training, written out."""
    optimizer.zero_grad()
    y, backward = run(model, net.x)
    loss, grad = (0.0, net.grad) if net.labels is None else fastconv.cross_entropy(y, net.labels)
    backward(grad)
    optimizer.step()
    return loss


def results(net: Network, run: Pass, infer: Callable = inferred, train: Callable = step) -> Results:
    """All that is compared: inference, a pass of training, the gradients, and the state after two steps each."""
    model = copy.deepcopy(net.model)
    found = {"inference": infer(model, net.x)}
    y, backward = run(model, net.x)
    found["result"] = y
    for times in ("", ", added to the first"):
        found[f"gradient of x{times}"] = backward(net.grad)
        for name, p in model.named_parameters():
            found[f"gradient of {name}{times}"] = p.grad.copy()
    for name in optimizers(model):
        model = copy.deepcopy(net.model)
        optimizer = optimizers(model)[name]
        found[f"losses with {name}"] = np.array([train(net, model, run, optimizer) for _ in range(2)], net.x.dtype)
        for path, value in model.state_dict(resumable=True).items():
            found[f"{path} after two steps of {name}"] = value
    return found


def as_users_call(model: nn.Layer, x: np.ndarray) -> tuple[np.ndarray, Callable]:
    """`forward`, with calls for other batches before it and before the gradient is asked for."""
    if not model.buffers():  # which a pass of training changes; what is not a number must not stay in the memory used
        with np.errstate(all="ignore"):
            model.forward(np.full((48, *x.shape[1:]), np.nan, x.dtype))
    y, backward = model.forward(x)
    for images in (1, 9, 33):
        model(2 * x[:images])
        if not model.buffers():
            model.forward(2 * x[:images])
    with contextlib.suppress(ShapeError):
        model(2 * np.concatenate([x, x], axis=-1))
    return y, backward


def user_step(net: Network, model: nn.Sequential, run: Pass, optimizer: Optimizer) -> float:
    """One step of training, as users take it."""
    if net.labels is None:
        return step(net, model, lambda model, x: model.forward_from_data(x), optimizer)
    return train_step(model, net.x, net.labels, optimizer)


def on_numpy(net: Network) -> Results:
    with fastconv.use_backend("numpy"):
        return results(net, lambda model, x: model.forward(x), lambda model, x: model(x), user_step)


def spoiled(net: Network, seed: int) -> Results:
    """The results of the layers one by one, with rounding errors added to what comes out of each."""
    rng = np.random.default_rng(seed)

    def spoil(a: np.ndarray, terms: int) -> np.ndarray:
        size = (ROUNDINGS + 2 * terms**0.5) * np.finfo(a.dtype).eps / 2 * np.abs(a).max(initial=0)
        return a + (rng.uniform(-1, 1, a.shape) * size).astype(a.dtype)

    return results(
        net, lambda model, x: one_by_one(model, spoil(x, x.size), spoil), lambda model, x: spoil(inferred(model, x), 0)
    )


def bits(a: np.ndarray) -> int:
    """How many bits after the point the numbers have."""
    return next((n for n in range(40) if np.array_equal(np.ldexp(a, n), np.rint(np.ldexp(a, n)))), 40)


def is_exact(net: Network) -> bool:
    """Whether no sum of the two passes can be rounded, in any order: the terms' absolute values are so small."""
    if net.kind == "real":
        return False
    trace: Trace = []
    one_by_one(copy.deepcopy(net.model), net.x, trace=trace)[1](net.grad)
    room = 2.0 ** (np.finfo(net.x.dtype).nmant - 1)
    for layer, x, grad in trace:
        both, largest = bits(x) + bits(grad), np.abs(x).max() * np.abs(grad).max()
        sums = max(np.abs(x).max(), np.abs(grad).max())
        for p in layer.parameters():
            sums *= np.abs(p.value).sum() + 1
        if max(sums, largest * max(grad.size, x.size)) * 2.0**both > room:
            return False
    return True


def difference(found: Any, expected: np.ndarray) -> float:
    assert found.dtype == expected.dtype, f"dtype {found.dtype}, expected {expected.dtype}"
    assert found.shape == expected.shape, f"shape {found.shape}, expected {expected.shape}"
    return float(np.abs(found - expected).max(initial=0))


class Judge:
    """Compares results with those expected, more closely where nothing is rounded."""

    def __init__(self, net: Network, expected: Results, findings: Findings):
        self.net, self.expected, self.findings, self.exact = net, expected, findings, is_exact(net)
        self.probes: list[Results] = []
        findings.counts["networks without rounding"] += self.exact

    def compare(self, found: Results, what: str) -> None:
        assert found.keys() == self.expected.keys()
        for name, value in found.items():
            self.findings.counts["gradients" if name.startswith("gradient") else "other results"] += 1
            error = difference(value, self.expected[name])
            allowed = 0.0 if self.exact and "step" not in name and "loss" not in name else self.allowed(name, error)
            assert error <= allowed, f"{what}: {name} differs by {error:.3g}, allowed are {allowed:.3g}"

    def allowed(self, name: str, error: float) -> float:
        """What rounding may do to a result: little, or as much as probes show."""
        expected = self.expected[name]
        eps, scale = np.finfo(self.net.x.dtype).eps, np.abs(expected).max(initial=0)
        least = float(ROUNDINGS * eps / 2 * scale)
        if error <= least:
            return least
        for count in PROBES:
            self.probes += [spoiled(self.net, seed) for seed in range(len(self.probes), count)]
            allowed = least + ALLOWED * max(difference(probe[name], self.probes[0][name]) for probe in self.probes)
            if error <= allowed:
                break
        self.findings.counts["at a kink"] += bool(allowed > 1e-2 * scale)
        return allowed


def programs(layer: nn.Layer) -> int:
    """How many runs of layers the model has computed with images side by side."""
    if isinstance(layer, nn.Residual):
        return programs(layer.body) + (0 if layer.shortcut is None else programs(layer.shortcut))
    if not isinstance(layer, nn.Sequential):
        return 0
    inside = sum(map(programs, layer.layers))
    together = [step for step in layer._together if isinstance(step, Together)]
    return inside + sum(isinstance(p, Program) for step in together for p in step._programs.values())


def judge(net: Network, findings: Findings) -> None:
    """Compare all ways to compute a network."""
    found = results(net, as_users_call, lambda model, x: model(x), user_step)
    net.model(net.x)
    findings.counts["runs of layers with images side by side"] += programs(net.model)
    judge = Judge(net, on_numpy(net), findings)
    judge.compare(results(net, one_by_one), "layers one by one, not NumPy's")
    judge.compare(found, "fused, not NumPy's")


def run(cases: int, seed: int, findings: Findings) -> None:
    """Networks `seed`, `seed + 1` and so on: `--seed S --cases 1` makes one of them again."""
    for number in range(seed, seed + cases):
        net = draw_network(number)
        with findings.case("networks", f"--seed {number} --cases 1: {net}"):
            judge(net, findings)


HUNT = Hunt(
    promise="Layers that are computed together give the results and gradients of the layers one by one.",
    how="Random networks of all layers, as users call them, one by one and on the NumPy backend: inference, training, "
    "all gradients and two steps each of SGD and Adam; with equality where no sum is rounded.",
    run=run,
    short=300,
    long=5000,
)  # fmt: skip
