"""Schedules: closed forms, the values that the usual schedules by epochs have, warm-up, errors."""

from __future__ import annotations

import functools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastconv.optim import SCHEDULES, constant, cosine, exponential, inverse_sqrt, step

SHARES = st.floats(0, 1)


@given(SHARES, st.floats(0, 1))
def test_closed_forms(done, end):
    assert constant(done) == 1
    assert cosine(done) == pytest.approx(math.cos(math.pi * done / 2) ** 2, abs=1e-12)
    if end:
        assert exponential(done, end=end) == pytest.approx(math.exp(done * math.log(end)))
    assert inverse_sqrt(done, warmup=0.25) == pytest.approx(min(4 * done, 0.5 / math.sqrt(done) if done else 1))


@given(st.integers(1, 9), st.integers(1, 120))
def test_by_epochs(period, stages):
    """The stages begin with the epochs that they should, whatever epoch / epochs is rounded to."""
    epochs = period * stages
    factors = [step(epoch / epochs, gamma=0.5, stages=stages) for epoch in range(epochs)]
    assert factors == [0.5 ** (epoch // period) for epoch in range(epochs)]
    assert step(1.0, gamma=0.5, stages=stages) == factors[-1]
    factors = [exponential(epoch / epochs, end=0.9**epochs) for epoch in range(epochs)]
    assert factors == pytest.approx([0.9**epoch for epoch in range(epochs)])


@given(st.sampled_from([constant, cosine, exponential, step]), SHARES, st.floats(0.01, 0.99))
def test_warmup(schedule, done, warmup):
    factor = schedule(done, warmup=warmup)
    if done < warmup:
        assert factor == pytest.approx(done / warmup)
    else:
        assert factor == schedule((done - warmup) / (1 - warmup))
    assert schedule(0.0, warmup=warmup) == 0
    assert schedule(warmup, warmup=warmup) == 1


@given(st.sampled_from(sorted(SCHEDULES)), SHARES)
def test_factors_are_from_0_to_1(name, done):
    assert 0 <= SCHEDULES[name](done) <= 1


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: cosine(-0.1), ValueError, "cosine: done must be finite, at least 0, got -0.1"),
        (lambda: constant("1"), TypeError, "constant: done must be a number, got '1'"),
        (lambda: cosine(0, warmup=1), ValueError, "cosine: warmup must be finite, at least 0, below 1, got 1"),
        (lambda: step(0, gamma=-1), ValueError, "step: gamma must be finite, at least 0, got -1"),
        (lambda: step(0, stages=0), ValueError, "step: stages must be from 1 to"),
        (lambda: step(0, stages=1.5), TypeError, "step: stages must be an integer, got 1.5"),
        (lambda: exponential(0, end=0), ValueError, "exponential: end must be above 0, got 0"),
        (lambda: inverse_sqrt(0, warmup=0), ValueError, "inverse_sqrt: warmup must be above 0, got 0"),
        (lambda: inverse_sqrt(math.nan), ValueError, "inverse_sqrt: done must be finite"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_settings_by_partial():
    assert functools.partial(step, gamma=0.5, stages=2)(0.75) == 0.5
