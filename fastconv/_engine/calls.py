"""Python's way into the engine: what follows from a call's arguments, decided once; long calls in pieces; the log."""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastconv._arguments import arrays, hints
from fastconv._arguments.arrays import ready
from fastconv._arguments.sizes import is_plain, layout_argument
from fastconv._engine import forward as product
from fastconv._engine import input_gradient as input_product
from fastconv._engine import weight_gradient as weight_product
from fastconv._engine.pieces import Piece, at, pieces
from fastconv._geometry.conv import Conv, conv_geometry
from fastconv._plans.forward import check_winograd, plan_forward
from fastconv._plans.input_gradient import plan_input_gradient
from fastconv._plans.records import ForwardPlan, InputGradientPlan, WeightGradientPlan
from fastconv._plans.weight_gradient import plan_weight_gradient
from fastconv._runtime import forms
from fastconv._runtime.host import HOST
from fastconv.errors import ShapeError
from fastconv.kernels import packing

# whether each call writes a line with its plan and its time to standard error
VERBOSE = os.environ.get("FASTCONV_VERBOSE", "0") not in ("", "0")

Plan = ForwardPlan | InputGradientPlan | WeightGradientPlan


class Gradients(NamedTuple):
    """What follows from a convolution's sizes for its gradients.

    Attributes:
        input: how the input's is computed.
        weight: how that of the weights is computed.
        winograd: a `Winograd`.
        pieces: the parts that they are done in; empty where they are done at once.
        zeros: (C,), what the input's starts from without a bias.
    """

    input: InputGradientPlan
    weight: WeightGradientPlan
    winograd: int
    pieces: list[Piece]
    zeros: np.ndarray


class Call(NamedTuple):
    """What follows from the shapes, dtypes and options of a convolution alone.

    One look-up is faster than deciding, all the more where the kernel of the call before has emptied the caches.

    Attributes:
        conv: its sizes.
        plan: how it is computed.
        run: what computes it: (where, x, weight, bias, lowest, y).
        winograd: a `Winograd`.
        pieces: the parts that it is done in; empty where it is done at once.
        dtype: the result's dtype.
        compute: the dtype that it is computed in.
        unbatched: whether x lacks the batch axis.
        shape: the result's shape, as the caller has it.
        batched: the result's shape with a batch.
        new: what makes the array for the result.
        zeros: (OC,), what the sums start from without a bias.
        lowest: what nothing is below.
        gradients: those that it has, where it is called for them.
    """

    conv: Conv
    plan: ForwardPlan
    run: Callable[..., None]
    winograd: int
    pieces: list[Piece]
    dtype: np.dtype
    compute: np.dtype
    unbatched: bool
    shape: tuple[int, ...]
    batched: tuple[int, int, int, int]
    new: Callable[[], np.ndarray]
    zeros: np.ndarray
    lowest: Any
    gradients: Gradients | None = None


def call_of(
    where: str, x: Any, weight: Any, third: Any, name: str, stride: Any, padding: Any, dilation: Any, groups: Any,
    layout: Any, winograd: int,
) -> Call:  # fmt: skip
    """The call of a convolution of these arrays, or of its gradients, all checked but for that gradient's shape.

    `third` is the argument `name`: the bias, which may be None, or the gradient of the result.
    """
    kinds = arrays.kinds_of(where, x, weight, third, name)
    shapes = x.shape, weight.shape, None if third is None or name != "bias" else third.shape
    # nothing that is merely equal to an integer may find what was decided for one
    plain = type(stride) is type(padding) is type(dilation) is type(groups) is int and type(layout) is str
    decide = _decided if plain or is_plain((stride, padding, dilation, groups, layout)) else _decided.__wrapped__
    return decide(where, shapes, kinds, name, stride, padding, dilation, groups, layout, winograd)


@functools.lru_cache(maxsize=1024)
def _decided(
    where: str, shapes: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...] | None], kinds: tuple[np.dtype, ...],
    name: str, stride: Any, padding: Any, dilation: Any, groups: Any, layout: Any, winograd: int,
) -> Call:  # fmt: skip
    layout_argument(where, layout)
    arrays.check_kinds(where, kinds, name)
    x, weight, bias = shapes
    check_ranks(where, x, weight)
    if bias is not None and bias != weight[:1]:
        raise ShapeError("{}: bias must have shape {}, got {}", where, weight[:1], bias)
    dtype = arrays.promoted(kinds)
    compute = arrays.compute_dtype(dtype)
    unbatched, last = len(x) == 3, layout == "NHWC"
    N, C, H, W = arrays.shape_from((1, *x) if unbatched else x, layout)
    kernels = arrays.shape_from(weight, layout)
    try:
        conv = conv_geometry(where, (C, H, W), kernels, stride, padding, dilation, groups)
    except ShapeError as error:
        error.args = (f"{error}{hints.of_convolution(x, weight, groups, layout)}",)
        raise
    check_winograd(where, conv, winograd)
    batched = arrays.shape_as((N, conv.OC, conv.rows.out, conv.columns.out), layout)
    shape = batched[int(unbatched) :]
    return call(conv, N, compute, winograd, last)._replace(
        dtype=dtype, unbatched=unbatched, shape=shape, batched=batched, new=arrays.maker(where, shape, dtype),
        gradients=gradients(conv, N, compute, last, winograd) if name != "bias" else None,
    )  # fmt: skip


def call(conv: Conv, N: int, dtype: np.dtype, winograd: int, last: bool = False) -> Call:
    """The call of a convolution of N images of a dtype that is computed in."""
    plan = settled(plan_forward(conv, N, dtype.itemsize, last, HOST, winograd))
    shape = arrays.shape_as((N, conv.OC, conv.rows.out, conv.columns.out), "NHWC" if last else "NCHW")
    zeros, lowest, new = np.zeros(conv.OC, dtype), dtype.type(-np.inf), arrays.maker("conv2d", shape, dtype)
    return Call(
        conv, plan, product.prepared(plan), winograd, pieces(conv, N), dtype, dtype, False, shape, shape, new, zeros,
        lowest,
    )  # fmt: skip


@functools.lru_cache(maxsize=1024)
def gradients(conv: Conv, N: int, dtype: np.dtype, last: bool, winograd: int) -> Gradients:
    """The gradients of a convolution of N images of a dtype that is computed in."""
    return Gradients(
        settled(plan_input_gradient(conv, N, dtype.itemsize, last, HOST, winograd)),
        settled(plan_weight_gradient(conv, N, dtype.itemsize, last, HOST, winograd)),
        winograd, pieces(conv, N), np.zeros(conv.C, dtype),
    )  # fmt: skip


def forget() -> None:
    """Decide anew from now on."""
    _decided.cache_clear()
    gradients.cache_clear()


def settled(plan: Any) -> Any:
    """The plan that is carried out: the one place where tests replace fields of it."""
    return plan


def check_ranks(where: str, x: tuple[int, ...], weight: tuple[int, ...], axes: str = "OC, C/groups, KH, KW") -> None:
    """Raise a ShapeError unless these are the shapes of images and of a bank of kernels, whose axes are those."""
    if len(x) not in (3, 4):
        raise ShapeError(f"{where}: x must have 4 dimensions, or 3 without a batch, got shape {x}")
    if len(weight) != 4:
        raise ShapeError(f"{where}: weight must have 4 dimensions ({axes}), got shape {weight}")


def _run(function: Callable, where: str, plan: Plan, *args: Any) -> None:
    """Call `function` of (where, *args), which carries out a plan, and tell of it where that is wanted."""
    if not VERBOSE:
        function(where, *args)
        return
    begin, before = time.perf_counter(), dict(forms.COUNTS)
    function(where, *args)
    milliseconds, code = (time.perf_counter() - begin) * 1e3, forms.origins(before)
    sys.stderr.write(f"fastconv: {where}: {milliseconds:.3f} ms: {plan.line()}{code and f' (code: {code})'}\n")


def convolve(
    where: str, call: Call, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, lowest: Any, y: np.ndarray
) -> None:
    """y = the convolution of arrays that are ready, clamped to `lowest`, in the call's layout."""
    if not call.pieces:
        if VERBOSE:
            _run(call.run, where, call.plan, x, weight, bias, lowest, y)
        else:
            call.run(where, x, weight, bias, lowest, y)
        return
    last = call.plan.last
    for piece in call.pieces:
        images, target = ready(x[at(piece.inputs, last)], x.dtype), y[at(piece.outputs, last)]
        result = target if target.flags.c_contiguous else np.empty(target.shape, y.dtype)
        plan = settled(plan_forward(piece.conv, len(images), x.itemsize, last, HOST, call.winograd))
        _run(product.prepared(plan), where, plan, images, weight, bias, lowest, result)
        if result is not target:
            target[...] = result


def input_gradient(
    where: str, own: Gradients, g: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, grad: np.ndarray
) -> None:
    """Grad = the gradient of x, plus bias (C,) on its channels, of arrays that are ready."""
    start, last = own.zeros if bias is None else bias, own.input.last
    if not own.pieces:
        _run(input_product.input_gradient, where, own.input, own.input, g, weight, start, grad)
        return
    grad[...] = start if last else start[:, None, None]
    for piece in own.pieces:
        target, part_g = grad[at(piece.inputs, last)], ready(g[at(piece.outputs, last)], g.dtype)
        part = np.empty(target.shape, g.dtype)
        plan = gradients(piece.conv, len(part_g), g.dtype, last, own.winograd).input
        _run(input_product.input_gradient, where, plan, plan, part_g, weight, own.zeros, part)
        target += part


def weight_gradient(where: str, own: Gradients, g: np.ndarray, x: np.ndarray, grad: np.ndarray) -> None:
    """Grad = the gradient of the weights, of arrays that are ready."""
    if not own.pieces:
        _run(weight_product.weight_gradient, where, own.weight, own.weight, g, x, grad)
        return
    grad[...] = 0
    last = own.weight.last
    for piece in own.pieces:
        part_g, part_x = (
            ready(a[at(place, last)], a.dtype) for a, place in ((g, piece.outputs), (x, piece.inputs))
        )  # fmt: skip
        part = np.empty(grad.shape, grad.dtype)
        plan = gradients(piece.conv, len(part_g), g.dtype, last, own.winograd).weight
        _run(weight_product.weight_gradient, where, plan, plan, part_g, part_x, part)
        grad += part


def first(where: str, array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A view (N, C, H, W), of an array in any order, as kernels take it."""
    if array.dtype != dtype or array.flags.c_contiguous:
        return ready(array, dtype)
    N, C, H, W = array.shape
    last = ready(array.transpose(0, 2, 3, 1), dtype)
    result = arrays.empty(where, array.shape, dtype, "the input in NCHW order")
    packing.transposed(last.reshape(N, H * W, C), result.reshape(N, C, H * W))
    return result


def put(array: np.ndarray, layout: str, y: np.ndarray) -> None:
    """Write an array (N, C, H, W) to y, which is of that size in `layout`, or without the batch of one."""
    N, C, H, W = array.shape
    if layout == "NHWC" and array.dtype == y.dtype:
        packing.transposed(array.reshape(N, C, H * W), y.reshape(N, H * W, C))
    else:
        y[...] = arrays.channels_as(array, layout).reshape(y.shape)
