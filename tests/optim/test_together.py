"""One kernel call for all parameters: the bits of NumPy's formulas, clipping on the way, odd parameters, threads."""

from __future__ import annotations

import numpy as np
import pytest
from strategies import DTYPES, assert_same_bits, real

import fastconv
from fastconv import nn, optim
from fastconv.optim import clip_grad_norm, clip_grad_value
from fastconv.optim.clipping import Clip

SHAPES = ((3, 5), (0,), (4,), (61, 257), (1,))
MAKERS = {
    "SGD": lambda p: optim.SGD(p, 0.1),
    "SGD with all": lambda p: optim.SGD(p, 0.1, 0.9, True, 0.1),
    "Adagrad": lambda p: optim.Adagrad(p, 0.1, eps=0),
    "Adagrad with all": lambda p: optim.Adagrad(p, 0.1, 0.1, 0.1, 0.1),
    "RMSprop": lambda p: optim.RMSprop(p, 0.1, eps=0),
    "RMSprop with momentum": lambda p: optim.RMSprop(p, 0.1, momentum=0.9),
    "RMSprop centred": lambda p: optim.RMSprop(p, 0.1, centered=True),
    "RMSprop with all": lambda p: optim.RMSprop(p, 0.1, 0.9, 1e-8, 0.1, 0.9, True),
    "Adam": lambda p: optim.Adam(p, 0.1),
    "Adam with all": lambda p: optim.Adam(p, 0.1, (0.8, 0.9), 1e-3, 0.1),
    "AdamW": lambda p: optim.AdamW(p, 0.1, weight_decay=0.1),
}
CLIPS = [Clip(norm=1.5), Clip(norm=1e6), Clip(norm=0.0), Clip(value=0.25), Clip(value=0.0)]
every = pytest.mark.parametrize("name", MAKERS)


def parameters(dtype=np.float32, shapes=SHAPES, seed=0):
    rng = np.random.default_rng(seed)
    return [nn.Parameter(real(rng, shape, dtype)) for shape in shapes]


def draw(made, seed, missing=3):
    """New gradients, some elements of which are 0."""
    rng = np.random.default_rng(seed)
    for p in made:
        p.grad[...] = real(rng, p.value.shape, p.value.dtype)
        p.grad.reshape(-1)[::missing] = 0


def assert_same_state(made, optimizer, others, other):
    for p, q in zip(made, others):
        assert_same_bits(p.value, q.value)
        assert_same_bits(p.grad, q.grad)
    for name, arrays in optimizer.slots.items():
        for a, b in zip(arrays, other.slots[name]):
            assert_same_bits(a, b)
    assert optimizer.steps == other.steps


@every
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_bits_of_the_formulas_in_numpy(name, dtype):
    made, others = parameters(dtype), parameters(dtype)
    made[2].trainable = others[2].trainable = False
    optimizer, other = MAKERS[name](made), MAKERS[name](others)
    frozen = made[2].value.copy()
    for k in range(4):
        draw(made, k)
        draw(others, k)
        optimizer.step(0.7)
        with fastconv.use_backend("numpy"):
            other.step(0.7)
    assert_same_state(made, optimizer, others, other)
    assert_same_bits(made[2].value, frozen)
    assert all(np.isfinite(p.value).all() for p in made)


@every
@pytest.mark.parametrize("clip", CLIPS, ids=str)
def test_clipping_in_the_same_pass(name, clip):
    """It leaves the gradients, too, as the function would."""
    made, others = parameters(), parameters()
    made[2].trainable = others[2].trainable = False
    optimizer, other = MAKERS[name](made), MAKERS[name](others)
    for k in range(3):
        draw(made, k)
        draw(others, k)
        before = [p.grad.copy() for p in made]
        optimizer.clip_and_step(clip, 0.5)
        if clip.norm is not None:
            clip_grad_norm(others, clip.norm)
        else:
            clip_grad_value(others, clip.value)
        other.step(0.5)
        assert_same_state(made, optimizer, others, other)
        assert_same_bits(made[2].grad, before[2])
        assert clip.norm == 1e6 or not np.array_equal(made[3].grad, before[3])


@pytest.mark.parametrize("clip", CLIPS, ids=str)
def test_clipping_where_one_call_will_not_do(clip):
    class Own(optim.SGD):
        def step(self, lr_factor=1.0):
            super().step(lr_factor / 2)

    def run(make, two_dtypes, numpy=False, apart=False, **options):
        made = parameters(np.float64, SHAPES[:3]) + parameters(np.float32 if two_dtypes else np.float64, SHAPES[3:])
        optimizer = make([*made, made[0]] if options.get("twice") else made)
        draw(made, 1)
        with fastconv.use_backend("numpy" if numpy else "numba"):
            if apart:
                clip.apply(made)
                optimizer.step()
            else:
                optimizer.clip_and_step(clip)
        return made, optimizer

    for make, options in (
        (MAKERS["Adam"], {"two_dtypes": True}), (Own, {"two_dtypes": False}),
        (MAKERS["SGD"], {"two_dtypes": False, "numpy": True}),
    ):  # fmt: skip
        assert_same_state(*run(make, **options), *run(make, apart=True, **options))
    made, _ = run(lambda p: optim.SGD(p, 0.0), False, twice=True)
    wanted, _ = run(lambda p: optim.SGD(p, 0.0), False, apart=True)
    assert_same_bits(made[0].grad, wanted[0].grad)  # clipped once


@every
@pytest.mark.parametrize("clip", CLIPS[::3], ids=str)
def test_any_number_of_threads_gives_the_same_bits(name, clip):
    found = []
    for threads in (1, 2):
        with fastconv.num_threads(threads):
            made = parameters(shapes=((257, 301), (5,), (129, 513)))
            optimizer = MAKERS[name](made)
            for k in range(2):
                draw(made, k)
                optimizer.clip_and_step(clip)
            draw(made, 2)
            norm = clip_grad_norm(made, 2.0)
            found.append((norm, [p.value.tobytes() for p in made], [p.grad.tobytes() for p in made]))
    assert found[0] == found[1]


def test_the_norm_is_of_all_tasks():
    """Of more elements than one task has, in float64."""
    made = parameters(shapes=((3, 5000), (4096,), (4097,)))
    for p in made:
        p.grad[...] = np.arange(p.value.size).reshape(p.value.shape) % 7 - 3
    exact = sum(int(g) ** 2 for p in made for g in p.grad.ravel())
    assert clip_grad_norm(made, 1e9) == np.sqrt(exact)


@every
def test_what_is_not_finite_stays_in_its_element(name):
    made = parameters(shapes=((40,),))
    optimizer = MAKERS[name](made)
    draw(made, 0)
    made[0].grad[7], made[0].grad[11] = np.nan, np.inf
    optimizer.step()
    assert np.isnan(made[0].value[7])
    assert np.isfinite(np.delete(made[0].value, [7, 11])).all()
    optimizer = MAKERS[name](parameters(shapes=((40,),)))
    (p,) = optimizer.parameters
    p.grad[:], p.grad[3] = 1, np.nan
    optimizer.clip_and_step(Clip(norm=1.0))
    assert np.isnan(p.grad).all() and np.isnan(p.value).all()


@every
def test_odd_parameters(name):
    message = f"{name.split()[0]}: parameters and gradients must be contiguous, writeable arrays of one dtype and shape"
    odd = {
        "strided": lambda p: setattr(p, "grad", np.ones((3, 10), np.float32)[:, ::2]),
        "dtype": lambda p: setattr(p, "grad", np.ones((3, 5))),
        "shape": lambda p: setattr(p, "grad", np.ones((3, 4), np.float32)),
        "read-only": lambda p: p.value.setflags(write=False),
    }
    for change in odd.values():
        made = parameters()
        optimizer = MAKERS[name](made)
        before = made[3].value.copy()
        change(made[0])
        with pytest.raises(ValueError, match=message):
            optimizer.step()
        assert_same_bits(made[3].value, before)
    wide = [nn.Parameter(np.ones(4, np.longdouble))]  # in NumPy: there is no kernel for it
    wide[0].grad[:] = 1
    MAKERS[name](wide).step()
    assert (wide[0].value < 1).all()


def test_odd_gradients_are_clipped():
    for clip, wanted in ((Clip(norm=1.0), 1 / np.sqrt(15)), (Clip(value=0.125), 0.125)):
        p = nn.Parameter(np.zeros((3, 5), np.float32))
        p.grad = np.ones((3, 10), np.float32)[:, ::2]
        clip.apply([p])
        np.testing.assert_allclose(p.grad, wanted, rtol=1e-5)
