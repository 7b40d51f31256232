"""LeNet-5 by hand, channels last: shapes, gradients against the reference, and the faults that are not repeated."""

from __future__ import annotations

import os

import numpy as np
import pytest
from strategies import integers

from fastconv import reference
from fastconv.compat import nhwc
from fastconv.data import load_mnist
from fastconv.models import lenet5_by_hand
from fastconv.nn import Parameter
from fastconv.optim import SGD, Adagrad, RMSprop, clip_grad_value
from fastconv.training import evaluate, fit

SHAPES = ((5, 3, 3, 1), (4, 3, 3, 5), (100, 50), (50, 10))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def backward(cashes, delta):
    """The tutorial's way back: the gradients of the four arrays of weights, and the deltas on the way."""
    dense2 = nhwc.full_backprop(delta, cashes[5])
    dense1 = nhwc.full_backprop(dense2["delta_pre"], cashes[4])
    pooled2 = nhwc.pool_backprop(dense1["delta_pre"], cashes[3])
    conv2 = nhwc.conv_backprop(pooled2, cashes[2])
    pooled1 = nhwc.pool_backprop(conv2["delta_pre"], cashes[1], flattened=False)
    conv1 = nhwc.conv_backprop(pooled1, cashes[0])
    deltas = [dense2["delta_pre"], dense1["delta_pre"], pooled2, conv2["delta_pre"], pooled1, conv1["delta_pre"]]
    return [conv1["dw"], conv2["dw"], dense1["dw"], dense2["dw"]], deltas


@pytest.mark.parametrize("step", [1, 2])
def test_img2col_conv(rng, step):
    """OH = floor((H-KH)/step) + 1; four results, the last (N, OH, OW, F)."""
    X, filter = integers(rng, (2, 7, 6, 3), np.float64), integers(rng, (4, 3, 2, 3), np.float64)
    columns, filters, state, res = nhwc.img2col_conv(X, filter, step)
    OH, OW = (7 - 3) // step + 1, (6 - 2) // step + 1
    assert (columns.shape, filters.shape) == ((2 * OH * OW, 18), (18, 4))
    assert (state.shape, res.shape) == ((2 * OH * OW, 4), (2, OH, OW, 4))
    np.testing.assert_array_equal(res, reference.conv2d(X, filter, stride=step, layout="NHWC"))
    np.testing.assert_array_equal(columns @ filters, state)
    np.testing.assert_array_equal(state.reshape(res.shape), res)
    np.testing.assert_array_equal(columns[0], X[0, :3, :2].transpose(2, 0, 1).ravel())


@pytest.mark.parametrize(("pool", "step"), [((2, 2), 2), ((3, 2), 1)])
def test_img2col_maxpool(rng, pool, step):
    """The index is the offset in the window, (N*OH*OW, C)."""
    X = integers(rng, (2, 7, 6, 3), np.float64)
    windows, largest, index, res = nhwc.img2col_maxpool(X, pool, step)
    np.testing.assert_array_equal(res, reference.max_pool2d(X, pool, step, layout="NHWC"))
    P = res[..., 0].size
    assert (windows.shape, largest.shape, index.shape) == ((P, pool[0] * pool[1], 3), (P, 3), (P, 3))
    np.testing.assert_array_equal(index, windows.argmax(axis=1))
    np.testing.assert_array_equal(largest, windows.max(axis=1))
    np.testing.assert_array_equal(largest.reshape(res.shape), res)
    np.testing.assert_array_equal(windows[0], X[0, : pool[0], : pool[1]].reshape(-1, 3))


def test_the_chain_of_shapes(rng):
    """Batch 300, and the same shapes in reverse on the way back; 5,725 weights."""
    weights = [rng.normal(0, 0.1, shape) for shape in SHAPES]
    assert sum(w.size for w in weights) == sum(p.value.size for p in lenet5_by_hand().parameters()) == 5_725
    X, Y = rng.random((300, 28, 28, 1)), np.eye(10)[rng.integers(0, 10, 300)]
    cashes, y_p = nhwc.forward(X, weights)
    chain = [X.shape, *(cash["z"].shape for cash in cashes)]
    assert chain == [
        (300, 28, 28, 1), (300, 26, 26, 5), (300, 13, 13, 5), (300, 11, 11, 4), (300, 5, 5, 4), (300, 50), (300, 10)
    ]  # fmt: skip
    assert cashes[4]["a_p"].shape == (300, 100)
    gradients, deltas = backward(cashes, y_p - Y)
    assert [g.shape for g in gradients] == list(SHAPES)
    assert [d.shape for d in deltas] == [
        (300, 50), (300, 100), (300, 11, 11, 4), (300, 13, 13, 5), (300, 26, 26, 5), (300, 28, 28, 1)
    ]  # fmt: skip


def test_it_is_the_model_with_the_channels_last(rng):
    """The same logits and gradients as the `Sequential`, whose backward the reference judges elsewhere."""
    model = lenet5_by_hand(rng=0, dtype=np.float64)
    conv1, conv2, w3, w4 = (p.value for p in model.parameters())
    weights = [conv1.transpose(0, 2, 3, 1), conv2.transpose(0, 2, 3, 1), w3.T, w4.T]
    X, Y = rng.random((300, 28, 28, 1)), np.eye(10)[rng.integers(0, 10, 300)]
    cashes, y_p = nhwc.forward(X, weights)
    logits, way_back = model.forward(X.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(cashes[5]["z"], logits, rtol=1e-12, atol=1e-13)
    grad_x = way_back(reference.softmax(logits) - Y)
    gradients, deltas = backward(cashes, y_p - Y)
    np.testing.assert_allclose(deltas[-1], grad_x.transpose(0, 2, 3, 1), rtol=1e-9, atol=1e-12)
    conv1, conv2, w3, w4 = (p.grad for p in model.parameters())
    for found, expected in zip(gradients, (conv1.transpose(0, 2, 3, 1), conv2.transpose(0, 2, 3, 1), w3.T, w4.T)):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


def test_the_gradient_is_that_of_the_loss(rng):
    """The tutorial feeds pre-activations on, and its gradient then belongs to no loss."""
    weights = [rng.normal(0, 0.3, shape) for shape in SHAPES]
    X, Y = rng.random((3, 28, 28, 1)), np.eye(10)[[1, 5, 9]]

    def loss():
        return -np.log(nhwc.forward(X, weights)[1])[Y == 1].sum()

    cashes, y_p = nhwc.forward(X, weights)
    gradients, _ = backward(cashes, y_p - Y)
    for w, gradient in zip(weights, gradients):
        for place in rng.permutation(w.size)[:4]:
            where = np.unravel_index(place, w.shape)
            old, found = w[where], []
            for moved in (old + 1e-6, old - 1e-6):
                w[where] = moved
                found.append(loss())
            w[where] = old
            np.testing.assert_allclose(gradient[where], (found[0] - found[1]) / 2e-6, rtol=1e-4, atol=1e-6)


def test_flatten_is_channel_major(rng):
    X = integers(rng, (2, 3, 4, 5), np.float64)
    flat = nhwc.flatten(X)
    np.testing.assert_array_equal(flat[1, 12:24], X[1, :, :, 1].ravel())
    np.testing.assert_array_equal(nhwc.conv_flatten(flat, X.shape), X)


@pytest.mark.parametrize(("pool", "step"), [((2, 3), None), ((3, 2), None), ((3, 3), 2), ((2, 2), 3)])
def test_upsample_of_any_window_and_step(rng, pool, step):
    """The tutorial's is wrong for windows that are not square, and where the step is not the size."""
    X = integers(rng, (2, 9, 12, 3), np.float64)
    stride = pool if step is None else step
    res, cells = reference.max_pool2d_with_indices(X, pool, stride, layout="NHWC")
    rows, columns = np.divmod(cells, 12)
    vertical, horizontal = pool if step is None else (step, step)
    rows -= np.arange(res.shape[1])[:, None, None] * vertical
    columns -= np.arange(res.shape[2])[:, None] * horizontal
    index = (rows * pool[1] + columns).reshape(-1, 3)
    if step is not None:
        np.testing.assert_array_equal(nhwc.img2col_maxpool(X, pool, step)[2], index)
    delta = integers(rng, res.shape, np.float64)
    expected = reference.max_pool2d_backward(delta, cells, X.shape, layout="NHWC")
    np.testing.assert_array_equal(nhwc.upsample(delta, pool, X.shape, index, step), expected)
    # and on to the pre-activation
    cash = {"z_p": X, "w": pool, "index": index, "os": res.shape, "step": step}
    np.testing.assert_array_equal(nhwc.pool_backprop(nhwc.flatten(delta), cash), np.where(X > 0, expected, 0))


def test_upsample_s_errors():
    delta, index = np.ones((1, 2, 2, 1)), np.zeros((4, 1), int)
    with pytest.raises(ValueError, match="upsample: index must be from 0 to 3, got 0 to 4"):
        nhwc.upsample(delta, (2, 2), (1, 4, 4, 1), np.array([[0], [4], [0], [0]]))
    with pytest.raises(ValueError, match=r"upsample: index must have shape \(4, 1\), got \(2, 1\)"):
        nhwc.upsample(delta, (2, 2), (1, 4, 4, 1), index[:2])
    with pytest.raises(ValueError, match="has windows outside of target_shape"):
        nhwc.upsample(delta, (2, 2), (1, 4, 2, 1), index)


@pytest.mark.parametrize("step", [1, 2])
def test_conv_backprop(rng, step):
    x, w = integers(rng, (2, 7, 6, 3), np.float64), integers(rng, (4, 3, 2, 3), np.float64)
    delta = integers(rng, reference.conv2d(x, w, stride=step, layout="NHWC").shape, np.float64)
    found = nhwc.conv_backprop(delta, {"a_p": x, "w": w, "step": step})
    grad_x, dw, _ = reference.conv2d_backward(delta, x, w, step, layout="NHWC")
    np.testing.assert_array_equal(found["dw"], dw, strict=True)
    np.testing.assert_array_equal(found["delta_pre"], grad_x, strict=True)


def test_full_backprop(rng):
    delta, a_p, z_p, w = (integers(rng, shape, np.float64) for shape in ((4, 2), (4, 3), (4, 3), (3, 2)))
    found = nhwc.full_backprop(delta, {"a_p": a_p, "z_p": z_p, "w": w})
    np.testing.assert_array_equal(found["dw"], a_p.T @ delta)
    np.testing.assert_array_equal(found["db"], delta.sum(axis=0))
    np.testing.assert_array_equal(found["delta_pre"], delta @ w.T * (z_p > 0))


def test_softmax_leaves_its_input_alone(rng):
    X = integers(rng, (4, 5), np.float64)
    before = X.copy()
    np.testing.assert_allclose(nhwc.softmax(X), reference.softmax(X), rtol=1e-14)
    np.testing.assert_array_equal(X, before)


def test_the_small_functions(rng):
    t = np.array([[-2.0, 0.0, 3.0]])
    np.testing.assert_array_equal(nhwc.relu(t), [[0, 0, 3]])
    np.testing.assert_array_equal(nhwc.drelu(t), [[0, 0, 1]])
    y_p, y = np.array([[0.25, 0.75], [1.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    assert nhwc.entrop_loss(y_p, y) == pytest.approx(-(np.log(0.25 + 1e-5) + np.log(1e-5)) / 2, rel=1e-14)
    assert nhwc.accuracy(y_p, y[::-1]) == 1.0
    assert nhwc.accuracy(y_p, y) == 0.0
    dw = np.array([-11.0, -10.0, 5.0, 10.5])
    np.testing.assert_array_equal(nhwc.gradient_clip(dw, -10, 10), [-10, -10, 5, 10])
    assert dw[0] == -11.0


def stepped(optimizer, *gradients):
    (parameter,) = optimizer.parameters
    for gradient in gradients:
        optimizer.zero_grad()
        parameter.accumulate(np.array([gradient]))
        clip_grad_value([parameter], 10)
        optimizer.step()
    return parameter.value[0]


def test_adagrad_s_closed_form():
    """acc = 1e-3 + sum of g * g; w -= lr * g / sqrt(acc); gradients beyond 10 are 10."""
    found = stepped(Adagrad([Parameter(np.array([1.0]))], 0.01, initial_accumulator_value=1e-3, eps=0), 0.5, -30.0)
    expected = 1 - 0.01 * 0.5 / np.sqrt(0.251) + 0.01 * 10 / np.sqrt(100.251)
    assert found == pytest.approx(expected, rel=1e-14)


def test_rmsprop_keeps_the_gradient_s_sign():
    """Step 1 is lr * g / sqrt((1 - alpha) * g * g): down for a gradient that is positive, up for a negative one."""
    for gradient in (0.5, -0.5, -30.0):
        found = stepped(RMSprop([Parameter(np.array([1.0]))], 0.01, alpha=0.9, eps=0), gradient)
        assert found == pytest.approx(1 - 0.01 * np.sign(gradient) / np.sqrt(0.1), rel=1e-13)


@pytest.mark.skipif("FASTCONV_DATA" not in os.environ, reason="FASTCONV_DATA is not set to a folder with MNIST")
def test_mnist_in_one_epoch():
    """The tutorial gave up at 80 % after 76 rounds. Its test pixels were scaled differently from those it learnt."""
    train, test = load_mnist()
    assert train[0].min() == test[0].min() == 0.0
    assert train[0].max() == test[0].max() == 1.0
    model = lenet5_by_hand(rng=0)
    fit(model, train, optimizer=SGD(model.parameters(), 0.1), epochs=1, batch_size=64, rng=0)
    assert evaluate(model, *test)[1] > 0.8


def test_the_matrices_of_the_convolutions(rng):
    """The keys of a convolution's cash that hold them, made when they are read."""
    weights = [rng.normal(0, 0.3, shape) for shape in SHAPES]
    cashes, _ = nhwc.forward(rng.random((3, 28, 28, 1)), weights)
    for cash in (cashes[0], cashes[2]):
        assert "c_a_p" not in cash
        columns, filters, state, res = nhwc.img2col_conv(cash["a_p"], cash["w"], 1)
        for key, expected in (("c_z_p", state), ("c_a_p", columns), ("c_w", filters), ("z", res)):
            np.testing.assert_allclose(cash[key], expected, rtol=1e-13, atol=1e-15)
    with pytest.raises(KeyError, match="c_a_q"):
        cashes[0]["c_a_q"]


def test_conv_backprop2_of_any_size(rng):
    """The tutorial's is written for filters of 3 x 3."""
    x, w = integers(rng, (2, 7, 6, 3), np.float64), integers(rng, (4, 2, 5, 3), np.float64)
    delta = integers(rng, (2, 6, 2, 4), np.float64)
    expected = nhwc.conv_backprop(delta, {"a_p": x, "w": w})["dw"]
    np.testing.assert_array_equal(nhwc.conv_backprop2(delta, {"a_p": x, "w": w})["dw"], expected)
    columns, *_ = nhwc.img2col_conv(x, w, 1)
    np.testing.assert_array_equal(nhwc.conv_backprop2(delta, {"c_a_p": columns, "w": w}, True)["dw"], expected)


def test_swapped_axes_and_reshaped_images(rng):
    mat = integers(rng, (2, 3, 4, 5), np.float64)
    np.testing.assert_array_equal(nhwc.swap_first_end_axis(mat), mat.transpose(3, 1, 2, 0))
    with pytest.raises(ValueError, match="swap_first_end_axis: mat must have 4 dimensions"):
        nhwc.swap_first_end_axis(mat[0])
    rows = integers(rng, (3, 12), np.float64)
    np.testing.assert_array_equal(nhwc.tensorHandle(rows, [3, 4, 1]), rows.reshape(3, 3, 4, 1))
    with pytest.raises(ValueError, match="tensorHandle: X must hold images that fit shape"):
        nhwc.tensorHandle(rows, [5, 5])


def test_the_way_back_is_the_same_after_a_look_at_the_places(rng):
    """They are made when they are read, and those that are there are used."""
    weights = [rng.normal(0, 0.1, shape) for shape in SHAPES]
    X, Y = rng.random((20, 28, 28, 1)), np.eye(10)[rng.integers(0, 10, 20)]
    cashes, y_p = nhwc.forward(X, weights)
    expected, _ = backward(cashes, y_p - Y)
    for cash in (cashes[1], cashes[3]):
        _, _, index, res = nhwc.img2col_maxpool(np.ascontiguousarray(cash["a_p"]), (2, 2), 2)
        np.testing.assert_array_equal(cash["index"], index)
        np.testing.assert_array_equal(cash["a"], res)
        with pytest.raises(KeyError, match="places"):
            cash["places"]
    found, _ = backward(cashes, y_p - Y)
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
    cashes[1]["index"] = np.zeros_like(cashes[1]["index"])
    assert np.abs(backward(cashes, y_p - Y)[0][0] - expected[0]).max() > 1e-6
