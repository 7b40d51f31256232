"""Convolution: check, plan, allocate, call."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastconv import _arrays, reference
from fastconv._arrays import ready
from fastconv._backend import on_numpy
from fastconv._geometry import ConvGeometry, conv_geometry
from fastconv._plan import (
    declines_by_group,
    declines_by_image,
    declines_gathered,
    declines_last,
    declines_packed,
    declines_phased,
    declines_turned,
)
from fastconv._sizes import Int2, Padding, layout_argument, sizes
from fastconv.errors import ShapeError
from fastconv.functional import channels_last
from fastconv.functional.im2col import unfold
from fastconv.kernels import conv as kernels
from fastconv.kernels import conv_gradients as gradients
from fastconv.kernels import planes as moves
from fastconv.kernels.gemm import matmul

ALGORITHMS = ("auto", "direct", "im2col")


def conv_output_shape(
    input_shape: tuple[int, ...], weight_shape: tuple[int, ...], stride: Int2 = 1, padding: Padding = 0,
    dilation: Int2 = 1,
) -> tuple[int, int, int, int]:  # fmt: skip
    """The shape (N, OC, OH, OW) of a convolution's result; OH = floor((H + pads - dilation*(KH-1) - 1) / stride) + 1.

    Args:
        input_shape: (N, C, H, W).
        weight_shape: (OC, C/groups, KH, KW); groups follow from the channels.
        stride: pixels between windows.
        padding: as for `conv2d`.
        dilation: pixels between taps.

    Raises:
        ShapeError: the shapes do not fit, or a window fits nowhere.
        TypeError: an argument is not made of integers.

    Example:
        >>> conv_output_shape((64, 1, 28, 28), (6, 1, 5, 5), padding=2)
        (64, 6, 28, 28)
    """
    where = "conv_output_shape"
    N, C, H, W = sizes(where, "input_shape", input_shape, (4,))
    weight = sizes(where, "weight_shape", weight_shape, (4,))
    groups = C // weight[1] if weight[1] else 1
    geometry = conv_geometry(where, (C, H, W), weight, stride, padding, dilation, max(groups, 1))
    return N, geometry.OC, geometry.rows.out, geometry.columns.out


def conv2d(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None, stride: Int2 = 1, padding: Padding = 0,
    dilation: Int2 = 1, groups: int = 1, *, layout: str = "NCHW", algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Convolve images with a bank of kernels (cross-correlation, as in every neural network library).

    y[n, oc, oy, ox] = bias[oc] + sum over c, ky, kx of
    weight[oc, c, ky, kx] * x[n, c, oy*s + ky*d - p, ox*s + kx*d - p]

    Args:
        x: (N, C, H, W) or (C, H, W). float32 and float64 give results of their own dtype, float16 is computed in
            float32, mixed dtypes follow `np.result_type`, integers are promoted with float32.
        weight: (OC, C/groups, KH, KW).
        bias: (OC,) or None.
        stride: pixels between windows, one integer or (vertical, horizontal).
        padding: zeros around the image: `p`, `(ph, pw)`, `((top, bottom), (left, right))`, `"valid"` (none), `"same"`
            (output as large as the input, stride 1), `"same_upper"` and `"same_lower"` (ceil(size / stride), the odd
            cell at the end or at the start), `"full"` (every overlap).
        dilation: pixels between the taps of a kernel.
        groups: channels are convolved in so many separate groups.
        layout: `"NHWC"` takes x (N, H, W, C) and weight (OC, KH, KW, C/groups) and gives (N, OH, OW, OC).
        algorithm: `"direct"`, `"im2col"` (a copy of every window, then a matrix product), or `"auto"`.
        out: the array that receives the result: exact shape and dtype, C-contiguous, sharing no memory with an input.

    Returns:
        y, (N, OC, OH, OW) or (OC, OH, OW); `out` itself where it was given.

    Raises:
        ShapeError: shapes, stride, padding, dilation or groups do not fit; a ValueError.
        TypeError: an argument is not a numeric array, or a size not an integer.

    Example:
        >>> x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
        >>> edge = np.array([[[[1, -1]]]], np.float32)
        >>> conv2d(x, edge).ravel()[:3]
        array([-1., -1., -1.], dtype=float32)

    Source: V. Dumoulin and F. Visin, A guide to convolution arithmetic for deep learning (2016), sections 2 and 5.
    """
    if algorithm not in ALGORITHMS:
        raise ValueError(f"conv2d: algorithm must be one of {', '.join(ALGORITHMS)}, got {algorithm!r}")
    return convolution(x, weight, bias, stride, padding, dilation, groups, layout, algorithm, out)


def convolution(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, stride: Int2, padding: Padding, dilation: Int2,
    groups: int, layout: str = "NCHW", algorithm: str = "auto", out: np.ndarray | None = None, relu: bool = False,
    where: str = "conv2d",
) -> np.ndarray:  # fmt: skip
    """`conv2d` inside the function `where`, with ReLU applied to the sums before they are stored where `relu`."""
    inputs = (x, weight, bias)
    dtype, x, weight, bias = checked(where, x, weight, bias, layout)
    if bias is not None:
        _arrays.same_shape(where, "bias", bias, weight.shape[:1])
    x, unbatched = _arrays.batched(where, "x", x)
    geometry = conv_geometry(where, x.shape[1:], weight.shape, stride, padding, dilation, groups)
    shape = (len(x), geometry.OC, geometry.rows.out, geometry.columns.out)
    final = _arrays.shape_as(shape, layout)[int(unbatched) :]
    y = _arrays.result(where, final, dtype, out, *inputs)
    compute = _arrays.compute_dtype(dtype)
    as_given = layout == "NHWC" and algorithm != "im2col" and not declines_last(geometry) and not on_numpy()
    order = layout if as_given else "NCHW"
    straight = layout == order and compute == dtype
    ordered = _arrays.shape_as(shape, order)
    target = y.reshape(ordered) if straight else _arrays.empty(where, ordered, compute)
    if on_numpy():
        x, weight = x.astype(compute, copy=False), weight.astype(compute, copy=False)
        target[...] = reference.conv2d(x, weight, bias, stride, padding, dilation, groups)
        if relu:
            target[...] = reference.relu(target)
    elif target.size:
        zeros = np.zeros(geometry.OC, compute) if bias is None else ready(bias, compute)
        floor = compute.type(0 if relu else -np.inf)
        if as_given:
            x, weight = (ready(np.moveaxis(a, 1, 3), compute) for a in (x, weight))
            channels_last.forward(where, x, weight, zeros, floor, geometry, target)
        else:
            run = _im2col if algorithm == "im2col" else direct
            run(where, channels_last.first(where, x, compute), ready(weight, compute), zeros, floor, geometry, target)
    if as_given and not straight:
        y[...] = target.reshape(final)
    elif not straight:
        channels_last.put(target, layout, y)
    return y


def conv2d_backward(
    grad_output: np.ndarray, x: np.ndarray, weight: np.ndarray, stride: Int2 = 1, padding: Padding = 0,
    dilation: Int2 = 1, groups: int = 1, *, layout: str = "NCHW", needs: tuple[bool, bool, bool] = (True, True, True),
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:  # fmt: skip
    """The gradients of `conv2d` with respect to x, weight and bias.

    Args:
        grad_output: the gradient of the result, of the result's shape.
        x: as given to `conv2d`.
        weight: as given to `conv2d`.
        stride: as given to `conv2d`.
        padding: as given to `conv2d`.
        dilation: as given to `conv2d`.
        groups: as given to `conv2d`.
        layout: as given to `conv2d`.
        needs: which of the three to compute; the others are None.

    Returns:
        (grad_x, grad_weight, grad_bias), of the shapes of x, weight and (OC,).

    Raises:
        ShapeError: grad_output does not have the result's shape, or as for `conv2d`.
        TypeError: as for `conv2d`.

    Example:
        >>> x, w = np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2))
        >>> grad_x, grad_w, grad_b = conv2d_backward(np.ones((1, 1, 2, 2)), x, w)
        >>> grad_x[0, 0]
        array([[1., 2., 1.],
               [2., 4., 2.],
               [1., 2., 1.]])

    Source: V. Dumoulin and F. Visin, A guide to convolution arithmetic for deep learning (2016), section 4.
    """
    return convolution_backward(grad_output, x, weight, stride, padding, dilation, groups, layout, needs)


def convolution_backward(
    grad_output: np.ndarray, x: np.ndarray, weight: np.ndarray, stride: Int2, padding: Padding, dilation: Int2,
    groups: int, layout: str = "NCHW", needs: tuple[bool, bool, bool] = (True, True, True),
    where: str = "conv2d_backward",
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:  # fmt: skip
    """`conv2d_backward` inside the function `where`."""
    want_x, want_weight, want_bias = needed(where, needs)
    dtype, x, weight, g = checked(where, x, weight, grad_output, layout, "grad_output")
    x, unbatched = _arrays.batched(where, "x", x)
    geometry = conv_geometry(where, x.shape[1:], weight.shape, stride, padding, dilation, groups)
    shape = (len(x), geometry.OC, geometry.rows.out, geometry.columns.out)
    _arrays.same_shape(where, "grad_output", g, _arrays.shape_as(shape, layout)[int(unbatched) :])
    compute = _arrays.compute_dtype(dtype)
    g = _arrays.channels_first(g, layout)
    g = g[None] if unbatched else g
    grads: tuple[np.ndarray | None, ...]
    if layout == "NHWC" and len(x) and not on_numpy():
        grads = _gradients_last(where, g, x, weight, compute, geometry, (want_x, want_weight, want_bias))
        return gradients_as(grads, dtype, layout, unbatched)
    g, x, weight = (ready(a, compute) for a in (g, x, weight))
    if on_numpy():
        grads = reference.conv2d_backward(g, x, weight, stride, padding, dilation, groups, needs=needs)
    else:
        grad_x = _arrays.empty(where, x.shape, compute, "grad_x") if want_x else None
        if grad_x is not None:
            input_gradient(where, g, weight, geometry, grad_x)
        grads = (
            grad_x,
            weight_gradient(where, g, x, weight.shape, geometry) if want_weight else None,
            bias_gradient(g) if want_bias else None,
        )
    return gradients_as(grads, dtype, layout, unbatched)


def _gradients_last(
    where: str, g: np.ndarray, x: np.ndarray, weight: np.ndarray, compute: np.dtype, geometry: ConvGeometry,
    needs: tuple[bool, bool, bool],
) -> tuple[np.ndarray | None, ...]:  # fmt: skip
    """The gradients from views, in NCHW order, of arrays with channels last; views of such arrays, or NCHW."""
    want_x, want_weight, want_bias = needs
    grad_x = grad_weight = grad_bias = None
    last = [ready(np.moveaxis(a, 1, 3), compute) for a in (g, x, weight)]
    if want_x:
        stays = geometry.phases == 1 and not declines_gathered(geometry) and not declines_last(geometry.transposed.conv)
        if stays and moves.all_finite.sized(weight.size)(last[2].reshape(-1)):
            grad = _arrays.empty(where, last[1].shape, compute, "grad_x")
            channels_last.input_gradient(where, last[0], last[2], geometry, grad)
            grad_x = np.moveaxis(grad, 3, 1)
        else:
            grad_x = _arrays.empty(where, x.shape, compute, "grad_x")
            input_gradient(where, channels_last.first(where, g, compute), ready(weight, compute), geometry, grad_x)
    if want_weight and not declines_turned(geometry):
        grad = channels_last.weight_gradient(where, last[0], last[1], geometry)
        grad_weight = np.moveaxis(grad.reshape(last[2].shape), 3, 1)
    elif want_weight:
        g, x = channels_last.first(where, g, compute), channels_last.first(where, x, compute)
        grad_weight = weight_gradient(where, g, x, weight.shape, geometry)
    if want_bias:
        grad_bias = channels_last.bias_gradient(last[0])
    return grad_x, grad_weight, grad_bias


def gradients_as(
    grads: tuple[np.ndarray | None, ...], dtype: np.dtype, layout: str, unbatched: bool
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """The gradients of x, weight and bias, computed in NCHW order, as the caller gave those arrays."""
    grad_x, grad_weight, grad_bias = (None if a is None else a.astype(dtype, copy=False) for a in grads)
    if grad_x is not None:
        moved = _arrays.channels_as(grad_x, layout)
        if not moved.flags.c_contiguous:
            moved = np.empty(moved.shape, dtype)
            channels_last.put(grad_x, layout, moved)
        grad_x = moved[0] if unbatched else moved
    if grad_weight is not None:
        grad_weight = np.ascontiguousarray(_arrays.channels_as(grad_weight, layout))
    return grad_x, grad_weight, grad_bias


def needed(where: str, needs: Any) -> tuple[bool, bool, bool]:
    """`needs`, checked."""
    if not isinstance(needs, tuple | list) or len(needs) != 3:
        raise ValueError(f"{where}: needs must be three booleans (x, weight, bias), got {needs!r}")
    return bool(needs[0]), bool(needs[1]), bool(needs[2])


def checked(
    where: str, x: Any, weight: Any, third: Any, layout: str, name: str = "bias", axes: str = "OC, C/groups, KH, KW"
) -> tuple[np.dtype, np.ndarray, np.ndarray, Any]:
    """The result's dtype, and the arrays, x and weight in NCHW order with their ranks checked."""
    layout_argument(where, layout)
    x, weight = _arrays.numeric(where, "x", x), _arrays.numeric(where, "weight", weight)
    if third is not None or name != "bias":
        third = _arrays.numeric(where, name, third)
    if x.ndim not in (3, 4):
        raise ShapeError(f"{where}: x must have 4 dimensions, or 3 without a batch, got shape {x.shape}")
    if weight.ndim != 4:
        raise ShapeError(f"{where}: weight must have 4 dimensions ({axes}), got shape {weight.shape}")
    dtype = _arrays.result_dtype(x, weight, third)
    return dtype, _arrays.channels_first(x, layout), _arrays.channels_first(weight, layout), third


def direct(
    where: str, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, floor: Any, geometry: ConvGeometry, y: np.ndarray
) -> None:
    """The convolution of arrays that are ready, written to y; sums up to `floor` are stored as `floor`."""
    weights = Weights(weight, geometry.weight_rows, geometry.weight_terms, geometry.taps)
    _convolve(where, x, weights, bias, floor, geometry, y)


class Weights(NamedTuple):
    """Where the weights of a convolution lie: that of output channel oc and tap k at rows[oc] + terms[k] of `array`.

    Attributes:
        array: the weights.
        rows: (OC,) uint64.
        terms: (taps,) uint64.
        run: how many successive taps lie side by side; negative where they do from last to first.
    """

    array: np.ndarray
    rows: np.ndarray
    terms: np.ndarray
    run: int


def _convolve(
    where: str, x: np.ndarray, weights: Weights, bias: np.ndarray, floor: Any, geometry: ConvGeometry, y: np.ndarray
) -> None:
    table = weights.array.reshape(-1), weights.rows, weights.terms
    groups, rows, columns = geometry.groups, geometry.rows, geometry.columns
    if not declines_packed(geometry, len(x)):
        whole = geometry.by_pixel
        planes = channels_last.planes_of(where, x, whole).reshape(-1)
        image = whole.C * whole.plane
        kernels.forward_packed(
            planes, *table, weights.run, bias, floor, whole.offsets, whole.pixels, groups, image, whole.group, False,
            y.reshape(*y.shape[:2], rows.out * columns.out),
        )  # fmt: skip
    elif not declines_by_image(geometry, len(x), x.itemsize):
        kernels.split_and_forward(
            x, rows.before, rows.stride, geometry.shifts, columns.stride, geometry.HP, *table, bias, floor,
            geometry.offsets, groups, geometry.WP, geometry.by_rows, y,
        )  # fmt: skip
    else:
        planes = channels_last.planes_of(where, x, geometry).reshape(-1)
        image = geometry.C * geometry.plane
        kernels.forward(
            planes, *table, bias, floor, geometry.offsets, groups, image, geometry.WP, geometry.by_rows, y
        )  # fmt: skip


def _im2col(
    where: str, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, floor: Any, geometry: ConvGeometry, y: np.ndarray
) -> None:
    groups, per_group = geometry.groups, geometry.OC // geometry.groups
    y[...] = bias[:, None, None]
    for group in range(groups):
        channels = slice(group * (geometry.C // groups), (group + 1) * (geometry.C // groups))
        outputs = slice(group * per_group, (group + 1) * per_group)
        cols = unfold(where, ready(x[:, channels], x.dtype), geometry)
        part = np.array(y[:, outputs].reshape(len(y), per_group, cols.shape[2]))
        matmul(weight[outputs].reshape(-1), geometry.taps, 1, cols, bias, False, part)
        y[:, outputs] = part.reshape(y[:, outputs].shape)
    y[y <= floor] = floor


def input_gradient(
    where: str, g: np.ndarray, weight: np.ndarray, geometry: ConvGeometry, grad: np.ndarray,
    bias: np.ndarray | None = None,
) -> None:  # fmt: skip
    """The gradient of x, written to grad; with `bias` (C,) added to its channels, it is a transposed convolution."""
    # the convolution multiplies by zeros around and between the pixels, and zero times infinity would be NaN
    finite = moves.all_finite.sized(weight.size)(weight.reshape(-1))
    start = np.zeros(geometry.C, g.dtype) if bias is None else bias
    way = _gathered if not declines_gathered(geometry) else _phased if not declines_phased(geometry) else None
    if not (finite and way and way(where, g, weight, start, geometry, grad)):
        _scattered(where, g, weight, start, finite, geometry, grad)


def _gathered(
    where: str, g: np.ndarray, weight: np.ndarray, bias: np.ndarray, geometry: ConvGeometry, grad: np.ndarray
) -> bool:
    """The gradient of x as a convolution of g, to all phases of the stride; whether it can be relied on."""
    N, C = grad.shape[:2]
    transposed, groups, phases = geometry.transposed, geometry.groups, geometry.phases
    conv, rows, columns = transposed.conv, transposed.rows, transposed.columns
    start, lowest = np.repeat(bias, phases), g.dtype.type(-np.inf)
    if phases == 1:
        taps = geometry.rows.kernel * geometry.columns.kernel
        weights = Weights(weight, transposed.weight_rows, transposed.weight_terms, -taps)
        _convolve(where, g, weights, start, lowest, conv, grad)
        return True
    strides = geometry.rows.stride, geometry.columns.stride
    per_group, kernel = geometry.OC // groups, (conv.rows.kernel, conv.columns.kernel)
    turned = _arrays.empty(where, (groups, C // groups, *strides, per_group, *kernel), g.dtype, "the turned weights")
    grouped = weight.reshape(groups, per_group, *weight.shape[1:])
    moves.turn(grouped, rows.phases, rows.positions, columns.phases, columns.positions, turned)
    planes = _arrays.empty(where, (N, C * phases, conv.rows.out, conv.columns.out), g.dtype, "the gradient's phases")
    _convolve(where, g, Weights(turned, conv.weight_rows, conv.weight_terms, conv.taps), start, lowest, conv, planes)
    cells = conv.rows.out * conv.columns.out
    return _merged(planes, phases * cells, cells, geometry, grad)


def _phased(
    where: str, g: np.ndarray, weight: np.ndarray, bias: np.ndarray, geometry: ConvGeometry, grad: np.ndarray
) -> bool:
    """The gradient of x as a convolution of g to each phase of the stride; whether it can be relied on."""
    N, C = grad.shape[:2]
    conv, lowest = geometry.transposed.conv, g.dtype.type(-np.inf)
    shape = (geometry.phases, N, C, conv.rows.out, conv.columns.out)
    planes, parts = (
        channels_last.planes_of(where, g, conv).reshape(-1),
        _arrays.empty(where, shape, g.dtype, "the gradient's phases"),
    )
    for part, (terms, offsets) in zip(parts, geometry.transposed_phases):
        kernels.forward(
            planes, weight.reshape(-1), geometry.channel_rows, terms, bias, lowest, offsets, geometry.groups,
            conv.C * conv.plane, conv.WP, conv.by_rows, part,
        )  # fmt: skip
    return _merged(parts, conv.rows.out * conv.columns.out, parts[0].size, geometry, grad)


def _merged(planes: np.ndarray, plane: int, phase: int, geometry: ConvGeometry, grad: np.ndarray) -> bool:
    """Take the gradient of x from what was computed of its phases, so far apart; whether it is finite."""
    N, C, H, W = grad.shape
    rows, columns = geometry.transposed.rows, geometry.transposed.columns
    return not moves.merge(
        planes.reshape(-1), plane, phase, geometry.rows.stride, geometry.columns.stride, columns.axis.out,
        geometry.rows.before, geometry.columns.before, rows.first, columns.first, grad.reshape(N * C, H, W),
    )  # fmt: skip


def _scattered(
    where: str, g: np.ndarray, weight: np.ndarray, bias: np.ndarray, finite: bool, geometry: ConvGeometry,
    grad: np.ndarray,
) -> None:  # fmt: skip
    """The gradient of x tap by tap, from rows of pixels of g, added to padded planes."""
    N, C, H, W = grad.shape
    geometry = geometry.plain
    rows, columns, groups = geometry.rows, geometry.columns, geometry.groups
    planes_shape = (N * C, rows.stride, columns.stride, geometry.HP, geometry.WP)
    planes = grad if geometry.in_place else _arrays.empty(where, planes_shape, g.dtype, "the padded gradient")
    runs, flat = _runs(where, g, geometry, by_rows=not finite)
    gradients.input_gradient(
        flat, weight.reshape(-1), geometry.channel_rows, geometry.weight_rows[: geometry.OC // groups], bias,
        geometry.windows, groups, *runs, planes.reshape(N, C, geometry.plane),
    )  # fmt: skip
    if not geometry.in_place:
        cells = geometry.HP * geometry.WP
        moves.merge(
            planes.reshape(-1), geometry.plane, cells, rows.stride, columns.stride, geometry.WP, rows.before,
            columns.before, 0, 0, grad.reshape(N * C, H, W),
        )  # fmt: skip


def _runs(
    where: str, g: np.ndarray, geometry: ConvGeometry, by_rows: bool
) -> tuple[tuple[int, int, int, int], np.ndarray]:
    """The runs of pixels (runs, cells of one, distance in g, distance in the planes), and g (N, OC, cells)."""
    N, OC, OH, OW = g.shape
    if geometry.WP == OW:
        return (1, OH * OW, 0, 0), g.reshape(N, OC, OH * OW)
    if by_rows or geometry.by_rows:
        return (OH, OW, OW, geometry.WP), g.reshape(N, OC, OH * OW)
    wide = _arrays.empty(where, (N, OC, geometry.wide), g.dtype, "the gradient in wide rows")
    moves.widen(g.reshape(N * OC, OH, OW), geometry.WP, wide.reshape(N * OC, geometry.wide))
    return (1, geometry.wide, 0, 0), wide


def weight_gradient(
    where: str, g: np.ndarray, x: np.ndarray, shape: tuple[int, ...], geometry: ConvGeometry
) -> np.ndarray:
    """The gradient of the weights, of their shape."""
    grad = (_dotted_weight_gradient if declines_turned(geometry) else _turned_weight_gradient)(where, g, x, geometry)
    return grad.reshape(shape)


def _turned_weight_gradient(where: str, g: np.ndarray, x: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    """A matrix product with vectors along the output channels, for which g is transposed."""
    N, OC, OH, OW = g.shape
    planes = channels_last.planes_of(where, x, geometry.by_pixel)
    return channels_last.turned_weight_gradient(where, g.reshape(N, OC, OH * OW), False, planes, geometry.by_pixel)


def _dotted_weight_gradient(where: str, g: np.ndarray, x: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    """Dot products along the pixels, for few output channels."""
    grad = np.empty((geometry.OC, geometry.taps), g.dtype)
    if not declines_by_group(geometry, g.itemsize):
        gradients.split_and_weight_gradient(
            g, x, geometry.rows.before, geometry.rows.stride, geometry.shifts, geometry.columns.stride, geometry.HP,
            geometry.WP, geometry.offsets, geometry.groups, grad,
        )  # fmt: skip
        return grad
    planes = channels_last.planes_of(where, x, geometry)
    for by_rows in (False, True):
        runs, flat = _runs(where, g, geometry, by_rows)
        gradients.weight_gradient(flat, planes, geometry.offsets, geometry.groups, *runs, grad)
        if flat.size == g.size or np.isfinite(grad).all():
            break  # else an infinite pixel may have met the zeros between two rows of pixels: sum again row by row
    return grad


def bias_gradient(g: np.ndarray) -> np.ndarray:
    """The gradient of the bias: the sum of each channel of g."""
    grad = np.empty(g.shape[1], g.dtype)
    gradients.bias_gradient(g.reshape(*g.shape[:2], g.shape[2] * g.shape[3]), grad)
    return grad
