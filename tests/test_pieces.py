"""Long calls are cut into pieces, between which signals are seen; the pieces together are the call."""

from __future__ import annotations

import gc
import importlib
import signal

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import assert_identical, conv_cases, integers, pool_cases, transposed_cases

import fastconv
from fastconv import nn
from fastconv._engine import calls, pieces
from fastconv._geometry.conv import conv_geometry

EXAMPLES = settings(max_examples=30)  # each is run at once and in pieces


@pytest.fixture
def short(monkeypatch):
    """So few products at once that small calls are cut into images and rows or columns."""
    yield from _cut(monkeypatch, 200)


def _cut(monkeypatch, products):
    _forget()
    monkeypatch.setattr(pieces, "PRODUCTS", products)
    yield
    _forget()


def _forget():
    """Calls are kept with the pieces that they are done in."""
    pieces.pieces.cache_clear()
    calls.forget()
    for module in ("linear", "pool_call"):
        importlib.import_module(f"fastconv.functional.{module}")._decided.cache_clear()


def both(monkeypatch, call, products=200):
    """What a call gives in pieces, and at once."""
    with monkeypatch.context() as patch:
        for _ in _cut(patch, products):
            found = call()
    return found, call()


@EXAMPLES
@given(conv_cases())
def test_convolutions_in_pieces(case):
    x, weight, bias, g = case.arrays(integers)
    for algorithm in ("auto", "im2col"):
        found, expected = both(
            pytest.MonkeyPatch(), lambda a=algorithm: fastconv.conv2d(x, weight, bias, **case.keywords, algorithm=a)
        )
        assert_identical(found, expected)
    found, expected = both(pytest.MonkeyPatch(), lambda: fastconv.conv2d_backward(g, x, weight, **case.keywords))
    for a, b in zip(found, expected):
        assert_identical(a, b)


@EXAMPLES
@given(transposed_cases())
def test_transposed_convolutions_in_pieces(case):
    x, weight, bias, g = case.arrays(integers)
    found, expected = both(pytest.MonkeyPatch(), lambda: fastconv.conv_transpose2d(x, weight, bias, **case.keywords))
    assert_identical(found, expected)
    found, expected = both(
        pytest.MonkeyPatch(), lambda: fastconv.conv_transpose2d_backward(g, x, weight, **case.keywords)
    )
    for a, b in zip(found, expected):
        assert_identical(a, b)


@EXAMPLES
@given(pool_cases("max"))
def test_max_pooling_in_pieces(case):
    x = case.arrays(integers)[0]
    for function in (fastconv.max_pool2d_with_indices, fastconv.max_pool2d):
        found, expected = both(pytest.MonkeyPatch(), lambda f=function: f(x, **case.keywords), 20)
        for a, b in zip(*((r if isinstance(r, tuple) else (r,)) for r in (found, expected))):
            assert_identical(a, b)


@EXAMPLES
@given(pool_cases("avg"))
def test_average_pooling_in_pieces(case):
    x = case.arrays(integers)[0]
    assert_identical(*both(pytest.MonkeyPatch(), lambda: fastconv.avg_pool2d(x, **case.keywords), 20))


def test_linear_layers_and_networks_in_pieces(monkeypatch):
    rng = np.random.default_rng(0)
    x, weight, bias, g = (integers(rng, s, np.float32) for s in ((9, 30), (7, 30), (7,), (9, 7)))
    found, expected = both(monkeypatch, lambda: fastconv.linear(x, weight, bias))
    assert_identical(found, expected)
    for a, b in zip(*both(monkeypatch, lambda: fastconv.linear_backward(g, x, weight))):
        assert_identical(a, b)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, rng=0), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5, rng=0))
    images = rng.standard_normal((70, 1, 8, 8)).astype(np.float32)
    assert_identical(*both(monkeypatch, lambda: model(images)))

    def gradients():
        y, backward = model.forward(images)
        return y, backward(np.ones_like(y))

    for a, b in zip(*both(monkeypatch, gradients)):
        assert_identical(a, b)


class Seen(Exception):
    """What the handler of a signal raises."""


def test_signals_are_seen_between_pieces(monkeypatch):
    def seen(number, frame):
        raise Seen

    x, weight = np.ones((1, 8, 512, 512), np.float32), np.ones((16, 8, 5, 5), np.float32)
    y = np.full((1, 16, 508, 508), np.nan, np.float32)
    with monkeypatch.context() as patch:
        for _ in _cut(patch, 2**14):
            fastconv.conv2d(x[..., :30], weight)
            before = signal.signal(signal.SIGALRM, seen)
            gc.disable()  # an exception in a collector's callback, of which Hypothesis has one, goes no further
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.001)
                with pytest.raises(Seen):
                    fastconv.conv2d(x, weight, out=y)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
                gc.enable()
                signal.signal(signal.SIGALRM, before)
    assert np.isnan(y[..., -1, -1]).all()


def test_what_is_cut_and_what_is_not(short):
    geometry = conv_geometry("test", (2, 30, 5), (3, 2, 3, 3), 1, 1, 1, 1)
    found = pieces.pieces(geometry, 2)
    assert [piece.outputs[0] for piece in found[:1]] == [slice(0, 1)]
    rows = [piece.outputs[1] for piece in found if piece.outputs[0] == slice(1, 2)]
    assert rows[0].start == 0 and rows[-1].stop == 30 and len(rows) > 5
    assert not pieces.pieces(conv_geometry("test", (2, 3, 3), (3, 2, 3, 3), 1, 0, 1, 1), 1)
