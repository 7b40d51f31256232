"""fastconv's functions in plain NumPy: the judge of the compiled kernels, and the NumPy backend.

The tests hold every kernel against this file, so it is written to be read and shares no code with what it judges.
It is also what fastconv's speed is measured against, so it does its work in whole arrays: all windows are one strided
view, convolution is one matrix product, and Python loops run only over the taps (ky, kx) of a kernel.

Arguments are assumed valid, floating-point arrays all of one dtype; that is the dtype of the result.
Sizes are capital (N, C, H, W, OC, KH, KW, OH, OW), G is the number of groups; gradients are called grad_x.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
Pair = tuple[int, int]
Int2 = int | Pair
Pads = tuple[Pair, Pair]
Padding = Int2 | Pads | str


class _Plan(NamedTuple):
    """Where the windows lie; every field is a pair (vertical, horizontal), pads one of (before, after)."""

    kernel: Pair
    stride: Pair
    dilation: Pair
    pads: Pads
    out: Pair


def _pair(value: Int2) -> Pair:
    vertical, horizontal = np.broadcast_to(value, 2).tolist()
    return vertical, horizontal


def _pads(padding: Padding, size: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> Pads:
    """Padding in any of its forms as ((top, bottom), (left, right))."""
    if not isinstance(padding, str):
        given = np.asarray(padding)
        vertical, horizontal = np.broadcast_to(given if given.ndim == 2 else given[..., None], (2, 2)).tolist()
        return _pair(vertical), _pair(horizontal)
    pads = []
    for n, k, s, d in zip(size, kernel, stride, dilation):
        reach = d * (k - 1)  # from a window's first cell to its last
        as_upper = max((-(-n // s) - 1) * s + reach + 1 - n, 0)  # makes the output ceil(n / s)
        total = {"valid": 0, "full": 2 * reach, "same": reach}.get(padding, as_upper)
        less, more = total // 2, total - total // 2
        pads.append((more, less) if padding == "same_lower" else (less, more))
    return pads[0], pads[1]


def _plan(
    size: Pair, kernel_size: Int2, stride: Int2 | None, padding: Padding, dilation: Int2 = 1,
    ceil_mode: bool = False,
) -> _Plan:  # fmt: skip
    """The windows over a plane of (H, W) = size: floor or ceil of (n + before + after - reach - 1) / stride, + 1."""
    kernel, step, dilate = _pair(kernel_size), _pair(kernel_size if stride is None else stride), _pair(dilation)
    pads = _pads(padding, size, kernel, step, dilate)
    out = []
    for n, k, s, d, (before, after) in zip(size, kernel, step, dilate, pads):
        room = n + before + after - d * (k - 1) - 1
        count = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (count - 1) * s >= n + before:  # the last window would start in the padding behind the plane
            count -= 1
        out.append(count)
    return _Plan(kernel, step, dilate, pads, (out[0], out[1]))


def _framed(shape: tuple[int, ...], plan: _Plan, fill: Any, dtype: Any, batch_last: bool) -> tuple[Array, Array]:
    """Two views of a padded array full of fill: the planes (N, C, H, W), the windows (N, C, OH, OW, KH, KW).

    With batch_last the array lies in memory as (C, H, W, N), which only changes how fast it is.
    """
    (top, bottom), (left, right) = plan.pads
    covers = [d * (k - 1) + 1 for d, k in zip(plan.dilation, plan.kernel)]
    ends = [(o - 1) * s + c for o, s, c in zip(plan.out, plan.stride, covers)]  # ceil_mode overhangs
    n, c, h, w = shape
    padded = max(top + h + bottom, ends[0]), max(left + w + right, ends[1])
    if batch_last:
        frame = np.full((c, *padded, n), fill, dtype).transpose(3, 0, 1, 2)
    else:
        frame = np.full((n, c, *padded), fill, dtype)
    windows = sliding_window_view(frame, covers, axis=(2, 3), writeable=True)
    (sy, sx), (dy, dx), (oh, ow) = plan.stride, plan.dilation, plan.out
    return frame[:, :, top : top + h, left : left + w], windows[:, :, ::sy, ::sx, ::dy, ::dx][:, :, :oh, :ow]


def _windows(x: Array, plan: _Plan, fill: Any = 0, batch_last: bool = False) -> Array:
    """All windows of x (N, C, H, W) with its padding, a view (N, C, OH, OW, KH, KW)."""
    planes, windows = _framed(x.shape, plan, fill, x.dtype, batch_last)
    planes[...] = x
    return windows


def _add_windows(parts: Array, plan: _Plan, shape: tuple[int, ...], batch_last: bool = False) -> Array:
    """The adjoint of _windows: add parts (N, C, OH, OW, KH, KW) where they came from -> (N, C, H, W)."""
    planes, windows = _framed(shape, plan, 0, parts.dtype, batch_last)
    for ky, kx in np.ndindex(plan.kernel):  # windows overlap each other, but no cell is the same tap of two windows
        windows[..., ky, kx] += parts[..., ky, kx]
    return planes


def _nchw(x: Array, layout: str) -> Array:
    """A view (N, C, H, W) of x, batched or not, in its layout."""
    x = x if x.ndim == 4 else x[None]
    return x.transpose(0, 3, 1, 2) if layout == "NHWC" else x


def _nchw_shape(shape: Sequence[int], layout: str) -> tuple[int, int, int, int]:
    n, c, h, w = _nchw(np.broadcast_to(0, tuple(shape)), layout).shape
    return n, c, h, w


def _finish(y: Array, batched: bool, layout: str, out: Array | None = None) -> Array:
    """Freshly computed y (N, C, H, W) -> in its layout, batched or not, C-contiguous or in out."""
    y = y.transpose(0, 2, 3, 1) if layout == "NHWC" else y
    return _give(y if batched else y[0], out)


def _give(y: Array, out: Array | None) -> Array:
    if out is None:
        return np.ascontiguousarray(y)
    out[...] = y
    return out


def _matrix(x: Array, plan: _Plan, groups: int, batch_last: bool) -> Array:
    """The windows of x as one matrix for each group, (G, C/G*KH*KW, N*OH*OW); columns (n, oy, ox) or (oy, ox, n)."""
    windows = _windows(x, plan, 0, batch_last)
    n, c, oh, ow, kh, kw = windows.shape
    order = (1, 4, 5, 2, 3, 0) if batch_last else (1, 4, 5, 0, 2, 3)
    return windows.transpose(order).reshape(groups, c // groups * kh * kw, n * oh * ow)


def conv2d(
    x: Array, weight: Array, bias: Array | None = None, stride: Int2 = 1, padding: Padding = 0,
    dilation: Int2 = 1, groups: int = 1, *, layout: str = "NCHW", algorithm: str = "auto",
    out: Array | None = None,
) -> Array:  # fmt: skip
    """Cross-correlation: y[n, oc, oy, ox] = bias[oc] + sum over c, ky, kx of weight[oc, c, ky, kx] * window[c, ky, kx].

    x (N, C, H, W), weight (OC, C/G, KH, KW), bias (OC,) -> (N, OC, OH, OW). There is one algorithm here.
    """
    planes, w, groups = _nchw(x, layout), _nchw(weight, layout), int(groups)
    oc, _, kh, kw = w.shape
    plan = _plan(planes.shape[2:], (kh, kw), stride, padding, dilation)
    columns = _matrix(planes, plan, groups, batch_last=False)
    y = w.reshape(groups, oc // groups, columns.shape[1]) @ columns  # (G, OC/G, N*OH*OW)
    y = y.reshape(oc, len(planes), *plan.out).transpose(1, 0, 2, 3)
    if bias is not None:
        y += bias[:, None, None]
    return _finish(y, x.ndim == 4, layout, out)


def conv2d_backward(
    grad_output: Array, x: Array, weight: Array, stride: Int2 = 1, padding: Padding = 0,
    dilation: Int2 = 1, groups: int = 1, *, layout: str = "NCHW",
    needs: tuple[bool, bool, bool] = (True, True, True),
) -> tuple[Array | None, Array | None, Array | None]:  # fmt: skip
    """Gradients of conv2d; with y = W @ columns: grad_columns = W.T @ grad_y, grad_W = grad_y @ columns.T.

    grad_output (N, OC, OH, OW) -> grad_x like x, grad_weight like weight, grad_bias (OC,), None where not needed.
    """
    planes, w, g = _nchw(x, layout), _nchw(weight, layout), _nchw(grad_output, layout)
    (n, c, h, width), (oc, _, kh, kw), groups = planes.shape, w.shape, int(groups)
    plan = _plan((h, width), (kh, kw), stride, padding, dilation)
    oh, ow = plan.out
    # columns in the order (oy, ox, n): its long runs in memory made grad_x 1.3 to 1.7 times as fast for LeNet-5
    grad_y = g.transpose(1, 2, 3, 0).reshape(groups, oc // groups, oh * ow * n)
    grad_x = grad_weight = grad_bias = None
    if needs[1]:
        grad_w = grad_y @ _matrix(planes, plan, groups, batch_last=True).transpose(0, 2, 1)
        grad_weight = _finish(grad_w.reshape(w.shape), True, layout)
    if needs[0]:
        parts = w.reshape(groups, oc // groups, c // groups * kh * kw).transpose(0, 2, 1) @ grad_y
        parts = parts.reshape(c, kh, kw, oh, ow, n).transpose(5, 0, 3, 4, 1, 2)
        grad_x = _finish(_add_windows(parts, plan, planes.shape, batch_last=True), x.ndim == 4, layout)
    if needs[2]:
        grad_bias = grad_y.sum(-1).ravel()
    return grad_x, grad_weight, grad_bias


def conv1d(
    x: Array, weight: Array, bias: Array | None = None, stride: int | tuple[int] = 1,
    padding: int | tuple[int] | Pair | str = 0, dilation: int | tuple[int] = 1, groups: int = 1,
) -> Array:  # fmt: skip
    """As conv2d for images of one row: x (N, C, L), weight (OC, C/G, K), bias (OC,) -> (N, OC, OL)."""
    y = conv2d(x[..., None, :], weight[..., None, :], bias, *_one_row(stride, padding, dilation), groups)
    return y[..., 0, :]


def conv1d_backward(
    grad_output: Array, x: Array, weight: Array, stride: int | tuple[int] = 1,
    padding: int | tuple[int] | Pair | str = 0, dilation: int | tuple[int] = 1, groups: int = 1, *,
    needs: tuple[bool, bool, bool] = (True, True, True),
) -> tuple[Array | None, Array | None, Array | None]:  # fmt: skip
    """Gradients of conv1d: grad_output (N, OC, OL) -> grad_x like x, grad_weight like weight, grad_bias (OC,)."""
    g, rows, kernels = grad_output[..., None, :], x[..., None, :], weight[..., None, :]
    options = _one_row(stride, padding, dilation)
    grad_x, grad_weight, grad_bias = conv2d_backward(g, rows, kernels, *options, groups, needs=needs)
    grad_x, grad_weight = (None if a is None else a[..., 0, :] for a in (grad_x, grad_weight))
    return grad_x, grad_weight, grad_bias


def _one_row(stride: Any, padding: Any, dilation: Any) -> tuple[Pair, Padding, Pair]:
    """Stride, padding and dilation of conv1d for images of one row."""
    step, dilate = np.ravel(stride).item(), np.ravel(dilation).item()
    pads = padding if isinstance(padding, str) else ((0, 0), _pair(padding))
    return (1, step), pads, (1, dilate)


def _transposed_plan(
    size: Pair, kernel_size: Pair, stride: Int2, padding: Padding, output_padding: Int2, dilation: Int2
) -> tuple[_Plan, Pair]:
    """The windows over the result of conv_transpose2d, one for each pixel of x, and the result's (OH, OW)."""
    step, dilate = _pair(stride), _pair(dilation)
    result = size[0] * step[0], size[1] * step[1]
    pads = _pads(padding, result, kernel_size, step, dilate)
    if padding not in ("same", "same_upper", "same_lower"):
        ends = [(n - 1) * s + d * (k - 1) + 1 for n, s, d, k in zip(size, step, dilate, kernel_size)]
        oh, ow = (e + extra - sum(cut) for e, extra, cut in zip(ends, _pair(output_padding), pads))
        result = oh, ow
    return _Plan(kernel_size, step, dilate, pads, size), result


def conv_transpose2d(
    x: Array, weight: Array, bias: Array | None = None, stride: Int2 = 1, padding: Padding = 0,
    output_padding: Int2 = 0, groups: int = 1, dilation: Int2 = 1, *, layout: str = "NCHW",
    out: Array | None = None,
) -> Array:  # fmt: skip
    """The adjoint of conv2d: each pixel adds its values times the kernels, as a window, to the result; then the bias.

    x (N, C, H, W), weight (C, OC/G, KH, KW), bias (OC,) -> (N, OC, OH, OW).
    """
    planes, w, groups = _nchw(x, layout), _nchw(weight, layout), int(groups)
    (n, c, h, width), (_, each, kh, kw) = planes.shape, w.shape
    plan, result = _transposed_plan((h, width), (kh, kw), stride, padding, output_padding, dilation)
    pixels = planes.transpose(1, 0, 2, 3).reshape(groups, c // groups, n * h * width)
    parts = w.reshape(groups, c // groups, each * kh * kw).transpose(0, 2, 1) @ pixels
    parts = parts.reshape(groups * each, kh, kw, n, h, width).transpose(3, 0, 4, 5, 1, 2)
    y = _add_windows(parts, plan, (n, groups * each, *result))
    if bias is not None:
        y += bias[:, None, None]
    return _finish(y, x.ndim == 4, layout, out)


def conv_transpose2d_backward(
    grad_output: Array, x: Array, weight: Array, stride: Int2 = 1, padding: Padding = 0,
    output_padding: Int2 = 0, groups: int = 1, dilation: Int2 = 1, *, layout: str = "NCHW",
    needs: tuple[bool, bool, bool] = (True, True, True),
) -> tuple[Array | None, Array | None, Array | None]:  # fmt: skip
    """Gradients of conv_transpose2d: with the windows of grad_y, grad_x = W @ windows, grad_W = x @ windows.T.

    grad_output (N, OC, OH, OW) -> grad_x like x, grad_weight like weight, grad_bias (OC,), None where not needed.
    """
    planes, w, g = _nchw(x, layout), _nchw(weight, layout), _nchw(grad_output, layout)
    (n, c, h, width), (_, each, kh, kw), groups = planes.shape, w.shape, int(groups)
    plan, _ = _transposed_plan((h, width), (kh, kw), stride, padding, output_padding, dilation)
    windows = _matrix(g, plan, groups, batch_last=False)  # (G, OC/G*KH*KW, N*H*W)
    grad_x = grad_weight = None
    if needs[0]:
        grad = w.reshape(groups, c // groups, each * kh * kw) @ windows
        grad_x = _finish(grad.reshape(c, n, h, width).transpose(1, 0, 2, 3), x.ndim == 4, layout)
    if needs[1]:
        pixels = planes.transpose(1, 0, 2, 3).reshape(groups, c // groups, n * h * width)
        grad_weight = _finish((pixels @ windows.transpose(0, 2, 1)).reshape(w.shape), True, layout)
    return grad_x, grad_weight, g.sum((0, 2, 3)) if needs[2] else None


def correlate2d(x: Array, kernel: Array, mode: str = "valid") -> Array:
    """The kernel slid over x as it is: (H, W) and (KH, KW) -> the part of every overlap that mode names.

    "full": all of it, "same": (H, W) in its middle, "valid": where one lies inside the other.
    """
    middle = kernel.shape[0] // 2, kernel.shape[1] // 2
    return _overlaps(x, kernel[::-1, ::-1], mode, middle)


def convolve2d(x: Array, kernel: Array, mode: str = "valid") -> Array:
    """As correlate2d, with the kernel flipped."""
    middle = (kernel.shape[0] - 1) // 2, (kernel.shape[1] - 1) // 2
    return _overlaps(x, kernel, mode, middle)


def _overlaps(x: Array, kernel: Array, mode: str, middle: Pair) -> Array:
    """The convolution of two planes, every tap of the kernel adding its multiple of x, which is zero outside."""
    if mode == "valid" and kernel.shape[0] >= x.shape[0] and kernel.shape[1] >= x.shape[1]:
        x, kernel = kernel, x  # the same sums, none of which reaches outside
    (h, w), (kh, kw) = x.shape, kernel.shape
    framed = np.pad(x, ((kh - 1, kh - 1), (kw - 1, kw - 1)))
    full = np.zeros((h + kh - 1, w + kw - 1), x.dtype)
    for ky, kx in np.ndindex(kh, kw):
        top, left = kh - 1 - ky, kw - 1 - kx
        full += kernel[ky, kx] * framed[top : top + len(full), left : left + full.shape[1]]
    if mode == "same":
        full = full[middle[0] : middle[0] + h, middle[1] : middle[1] + w]
    if mode == "valid":
        full = full[min(h, kh) - 1 : max(h, kh), min(w, kw) - 1 : max(w, kw)]
    return np.ascontiguousarray(full)


def conv_output_shape(
    input_shape: Sequence[int], weight_shape: Sequence[int], stride: Int2 = 1, padding: Padding = 0,
    dilation: Int2 = 1,
) -> tuple[int, ...]:  # fmt: skip
    """The shape of conv2d's result: (N, C, H, W) and (OC, C/G, KH, KW) -> (N, OC, OH, OW)."""
    *batch, _, h, w = map(int, input_shape)
    oc, _, kh, kw = map(int, weight_shape)
    return (*batch, oc, *_plan((h, w), (kh, kw), stride, padding, dilation).out)


# How each order arranges the axes 0..5 of the windows (N, C, OH, OW, KH, KW).
_ORDERS = {"rows": (0, 2, 3, 1, 4, 5), "cols": (1, 4, 5, 2, 3, 0), "unfold": (0, 1, 4, 5, 2, 3)}


def im2col(
    x: Array, kernel_size: Int2, stride: Int2 = 1, padding: Padding = 0, dilation: Int2 = 1, *,
    order: str = "rows", out: Array | None = None,
) -> Array:  # fmt: skip
    """Every window of x (N, C, H, W) written out; K = C*KH*KW counts (c, ky, kx).

    Order "rows" gives (N*OH*OW, K), "cols" (K, OH*OW*N), "unfold" (N, K, OH*OW).
    """
    planes = _nchw(x, "NCHW")
    windows = _windows(planes, _plan(planes.shape[2:], kernel_size, stride, padding, dilation))
    n, c, oh, ow, kh, kw = windows.shape
    k, pixels = c * kh * kw, oh * ow
    unfolded = (n, k, pixels) if x.ndim == 4 else (k, pixels)
    shape = {"rows": (n * pixels, k), "cols": (k, pixels * n), "unfold": unfolded}[order]
    return _give(windows.transpose(_ORDERS[order]).reshape(shape), out)


def col2im(
    cols: Array, input_shape: Sequence[int], kernel_size: Int2, stride: Int2 = 1, padding: Padding = 0,
    dilation: Int2 = 1, *, order: str = "rows", out: Array | None = None,
) -> Array:  # fmt: skip
    """The adjoint of im2col: sums what overlaps, drops what lies in the padding -> input_shape (N, C, H, W)."""
    n, c, h, w = shape = _nchw_shape(input_shape, "NCHW")
    plan = _plan((h, w), kernel_size, stride, padding, dilation)
    sizes, axes = (n, c, *plan.out, *plan.kernel), _ORDERS[order]
    parts = cols.reshape([sizes[axis] for axis in axes]).transpose(np.argsort(axes))
    return _finish(_add_windows(parts, plan, shape, order == "cols"), len(input_shape) == 4, "NCHW", out)


def _lowest(dtype: np.dtype[Any]) -> Any:
    return -np.inf if dtype.kind == "f" else False if dtype.kind == "b" else np.iinfo(dtype).min


def max_pool2d(
    x: Array, kernel_size: Int2, stride: Int2 | None = None, padding: Padding = 0,
    dilation: Int2 = 1, ceil_mode: bool = False, *, layout: str = "NCHW", out: Array | None = None,
) -> Array:  # fmt: skip
    """The largest value of each window, NaN if it holds one: x (N, C, H, W) -> (N, C, OH, OW)."""
    planes = _nchw(x, layout)
    plan = _plan(planes.shape[2:], kernel_size, stride, padding, dilation, ceil_mode)
    windows = _windows(planes, plan, _lowest(x.dtype))
    y = windows[..., 0, 0].copy()
    for ky, kx in np.ndindex(plan.kernel):
        np.maximum(y, windows[..., ky, kx], out=y)
    return _finish(y, x.ndim == 4, layout, out)


def max_pool2d_with_indices(
    x: Array, kernel_size: Int2, stride: Int2 | None = None, padding: Padding = 0,
    dilation: Int2 = 1, ceil_mode: bool = False, *, layout: str = "NCHW",
) -> tuple[Array, Array]:  # fmt: skip
    """As max_pool2d, and where each value lies: iy*W + ix of the first NaN, else of the first of the largest.

    x (N, C, H, W) -> y, indices (N, C, OH, OW), int64. Windows count row by row, and each must hold a pixel of x.
    """
    planes = _nchw(x, layout)
    h, w = planes.shape[2:]
    plan = _plan((h, w), kernel_size, stride, padding, dilation, ceil_mode)
    windows = _windows(planes, plan, _lowest(x.dtype))
    n, c, oh, ow, kh, kw = windows.shape
    values = windows.reshape(n, c, oh * ow, kh * kw)
    places = _windows(np.arange(h * w).reshape(1, 1, h, w), plan, -1).reshape(oh * ow, kh * kw)  # -1 for padding
    tap = values.argmax(-1)  # the first NaN, else the first of the largest; in the padding only if all are -inf
    window, first_pixel = np.arange(oh * ow), (places >= 0).argmax(-1)
    tap = np.where(places[window, tap] < 0, first_pixel, tap)
    y = np.take_along_axis(values, tap[..., None], -1).reshape(n, c, oh, ow)
    indices = places[window, tap].reshape(n, c, oh, ow)
    return _finish(y, x.ndim == 4, layout), _finish(indices, x.ndim == 4, layout)


def max_pool2d_backward(
    grad_output: Array, indices: Array, input_shape: Sequence[int], *, layout: str = "NCHW"
) -> Array:
    """Each gradient goes, added up, to the pixel its window's value came from: (N, C, OH, OW) -> input_shape."""
    n, c, h, w = _nchw_shape(input_shape, layout)
    planes = np.arange(n * c).reshape(n, c, 1, 1)
    grad_x = np.zeros(n * c * h * w, grad_output.dtype)
    np.add.at(grad_x, (planes * (h * w) + _nchw(indices, layout)).ravel(), _nchw(grad_output, layout).ravel())
    return _finish(grad_x.reshape(n, c, h, w), len(input_shape) == 4, layout)


def max_unpool2d(x: Array, indices: Array, output_shape: Sequence[int], *, layout: str = "NCHW") -> Array:
    """Each value goes to the pixel that its index names, the last of those that share one: -> output_shape, else 0."""
    n, c, h, w = _nchw_shape(output_shape, layout)
    planes = np.arange(n * c).reshape(n, c, 1, 1)
    y = np.zeros(n * c * h * w, x.dtype)
    y[(planes * (h * w) + _nchw(indices, layout)).ravel()] = _nchw(x, layout).ravel()
    return _finish(y.reshape(n, c, h, w), x.ndim == 4, layout)


def max_unpool2d_backward(grad_output: Array, indices: Array, *, layout: str = "NCHW") -> Array:
    """Each value gets the gradient of the pixel that its index names: -> the shape of indices."""
    g, places = _nchw(grad_output, layout), _nchw(indices, layout)
    n, c, _, w = g.shape
    image, channel = np.ogrid[:n, :c]
    grad_x = g[image[..., None, None], channel[..., None, None], places // w, places % w]
    return _finish(grad_x, grad_output.ndim == 4, layout)


def global_avg_pool2d(x: Array, *, layout: str = "NCHW") -> Array:
    """The mean of each plane: x (N, C, H, W) -> (N, C, 1, 1)."""
    return _finish(_nchw(x, layout).mean((2, 3), keepdims=True), x.ndim == 4, layout)


def global_avg_pool2d_backward(grad_output: Array, input_shape: Sequence[int], *, layout: str = "NCHW") -> Array:
    """Each gradient shared out over its plane: (N, C, 1, 1) -> input_shape."""
    shape = _nchw_shape(input_shape, layout)
    grad_x = np.broadcast_to(_nchw(grad_output, layout) / (shape[2] * shape[3]), shape)
    return _finish(grad_x, len(input_shape) == 4, layout)


def _divisor(plan: _Plan, size: Pair, count_include_pad: bool, divisor_override: int | None, dtype: Any) -> Array:
    """How many cells each window averages over, (OH, OW): cells of the plane, or of the plane with its padding."""
    if divisor_override is not None:
        return np.full(plan.out, divisor_override, dtype)
    counts = []
    for n, k, s, (before, after), o in zip(size, plan.kernel, plan.stride, plan.pads, plan.out):
        first = np.arange(o) * s - before
        last = np.minimum(first + k, n + after)  # a ceil_mode window's overhang behind the padding never counts
        counts.append(last - first if count_include_pad else np.minimum(last, n) - np.maximum(first, 0))
    return np.multiply.outer(*counts).astype(dtype)


def avg_pool2d(
    x: Array, kernel_size: Int2, stride: Int2 | None = None, padding: Padding = 0,
    ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: int | None = None, *,
    layout: str = "NCHW", out: Array | None = None,
) -> Array:  # fmt: skip
    """The sum of each window over its divisor (see _divisor): x (N, C, H, W) -> (N, C, OH, OW)."""
    planes = _nchw(x, layout)
    h, w = planes.shape[2:]
    plan = _plan((h, w), kernel_size, stride, padding, 1, ceil_mode)
    windows = _windows(planes, plan)
    y = np.zeros(windows.shape[:4], x.dtype)
    for ky, kx in np.ndindex(plan.kernel):
        y += windows[..., ky, kx]
    y /= _divisor(plan, (h, w), count_include_pad, divisor_override, x.dtype)
    return _finish(y, x.ndim == 4, layout, out)


def avg_pool2d_backward(
    grad_output: Array, input_shape: Sequence[int], kernel_size: Int2, stride: Int2 | None = None,
    padding: Padding = 0, ceil_mode: bool = False, count_include_pad: bool = True,
    divisor_override: int | None = None, *, layout: str = "NCHW",
) -> Array:  # fmt: skip
    """Each gradient over its window's divisor, added to every pixel of the window: (N, C, OH, OW) -> input_shape."""
    _, _, h, w = shape = _nchw_shape(input_shape, layout)
    plan = _plan((h, w), kernel_size, stride, padding, 1, ceil_mode)
    divisor = _divisor(plan, (h, w), count_include_pad, divisor_override, grad_output.dtype)
    share = (_nchw(grad_output, layout) / divisor)[..., None, None]
    parts = np.broadcast_to(share, (*share.shape[:4], *plan.kernel))
    return _finish(_add_windows(parts, plan, shape), len(input_shape) == 4, layout)


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Affine map y = x @ weight.T + bias: x (N, IN), weight (OUT, IN), bias (OUT,) -> (N, OUT)."""
    y = x @ weight.T
    return y if bias is None else y + bias


def linear_backward(
    grad_output: Array, x: Array, weight: Array, *, needs: tuple[bool, bool, bool] = (True, True, True)
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients of linear: grad_output (N, OUT) or (OUT,) -> grad_x like x, grad_weight (OUT, IN), grad_bias (OUT,)."""
    g, rows = np.atleast_2d(grad_output), np.atleast_2d(x)
    grad_x = (g @ weight).reshape(x.shape) if needs[0] else None
    grad_weight = g.T @ rows if needs[1] else None
    return grad_x, grad_weight, g.sum(0) if needs[2] else None


def _array(y: Any) -> Array:
    """y in C order, as an array, which NumPy's results without dimensions are not."""
    return np.asarray(y, order="C")


def relu(x: Array) -> Array:
    """Rectifier y = max(x, 0), any shape; NaN stays."""
    return _array(np.maximum(x, 0))


def relu_backward(grad_output: Array, y: Array) -> Array:
    """Gradient of relu, grad_output where y > 0, else 0; y is relu's result."""
    return _array(np.where(y > 0, grad_output, 0))


def relu6(x: Array) -> Array:
    """Rectifier y = min(max(x, 0), 6), any shape; NaN stays."""
    return _array(np.minimum(np.maximum(x, 0), 6))


def relu6_backward(grad_output: Array, y: Array) -> Array:
    """Gradient of relu6, grad_output where 0 < y < 6, else 0; y is relu6's result."""
    return _array(np.where((y > 0) & (y < 6), grad_output, 0))


def leaky_relu(x: Array, negative_slope: float = 0.01) -> Array:
    """x where x > 0, else negative_slope * x, any shape."""
    return _array(np.where(x > 0, x, x * negative_slope))


def leaky_relu_backward(grad_output: Array, x: Array, negative_slope: float = 0.01) -> Array:
    """Gradient of leaky_relu, grad_output where x > 0, else negative_slope * grad_output."""
    return _array(np.where(x > 0, grad_output, grad_output * negative_slope))


def sigmoid(x: Array) -> Array:
    """Logistic y = 1 / (1 + exp(-x)), for x < 0 as exp(x) / (1 + exp(x)) so that nothing overflows; any shape."""
    e = np.exp(-np.abs(x))
    return _array(np.where(x < 0, e, 1) / (1 + e))


def sigmoid_backward(grad_output: Array, y: Array) -> Array:
    """Gradient of sigmoid, grad_output * y * (1 - y); y is sigmoid's result."""
    return _array(grad_output * (y * (1 - y)))


def tanh(x: Array) -> Array:
    """Hyperbolic tangent of every element, any shape."""
    return _array(np.tanh(x))


def tanh_backward(grad_output: Array, y: Array) -> Array:
    """Gradient of tanh, grad_output * (1 - y**2); y is tanh's result."""
    return _array(grad_output * (1 - y * y))


def softmax(x: Array, axis: int = -1) -> Array:
    """Shares y = exp(x) / sum(exp(x)) along axis, shifted by the maximum so that nothing overflows; any shape."""
    e = np.exp(x - x.max(axis, keepdims=True))
    return _array(e / e.sum(axis, keepdims=True))


def softmax_backward(grad_output: Array, y: Array, axis: int = -1) -> Array:
    """Gradient of softmax, y * (grad_output - sum(grad_output * y)) along axis; y is softmax's result."""
    return _array(y * (grad_output - (grad_output * y).sum(axis, keepdims=True)))


def log_softmax(x: Array, axis: int = -1) -> Array:
    """Logarithm of softmax, y = x - log(sum(exp(x))) along axis, shifted by the maximum like it; any shape."""
    shifted = x - x.max(axis, keepdims=True)
    return _array(shifted - np.log(np.exp(shifted).sum(axis, keepdims=True)))


def log_softmax_backward(grad_output: Array, y: Array, axis: int = -1) -> Array:
    """Gradient of log_softmax, grad_output - exp(y) * sum(grad_output) along axis; y is log_softmax's result."""
    return _array(grad_output - np.exp(y) * grad_output.sum(axis, keepdims=True))


def cross_entropy(
    logits: Array, target: ArrayLike, *, label_smoothing: float = 0.0
) -> tuple[float, Array]:  # fmt: skip
    """Mean loss = -sum(target * log_softmax(logits)) / N, with 0 * log(0) = 0, and its gradient.

    logits (N, K); target (N,) class ids or (N, K) probabilities, one-hot for instance -> loss, grad_logits (N, K).
    The share label_smoothing of the target is spread over all classes.
    """
    n, k = logits.shape
    given = np.asarray(target)
    wanted = given if given.ndim == 2 else np.arange(k) == given[:, None]
    wanted = wanted * (1 - label_smoothing) + label_smoothing / k
    share = wanted.astype(logits.dtype) / max(n, 1)
    y = log_softmax(logits)
    loss = -np.sum(share * np.where(share != 0, y, 0))
    return float(loss) + 0.0, log_softmax_backward(-share, y)  # + 0.0: not -0.0


def _per_channel(a: Array | float) -> Array:
    """A number for each channel, (C,), shaped to go with (N, C, H, W)."""
    return np.asarray(a)[..., None, None]


def _channel_statistics(
    x: Array, running_mean: Array | None, running_var: Array | None, training: bool
) -> tuple[Array, Array]:
    """The mean and the variance, over images and pixels, that batch_norm2d normalises with: (C,) each."""
    if training:
        return x.mean((0, 2, 3)), x.var((0, 2, 3))
    assert running_mean is not None and running_var is not None
    return running_mean.astype(x.dtype), running_var.astype(x.dtype)


def batch_norm2d(
    x: Array, running_mean: Array | None, running_var: Array | None, weight: Array | None = None,
    bias: Array | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5, *,
    layout: str = "NCHW",
) -> Array:  # fmt: skip
    """Each channel of x (N, C, H, W) with mean 0 and variance 1, times weight, plus bias (C,) -> like x.

    With training the batch's statistics are taken, and the running ones moved towards them in place; the variance that
    goes in there is the unbiased one, of n - 1 degrees of freedom.
    """
    planes = _nchw(x, layout)
    mean, var = _channel_statistics(planes, running_mean, running_var, training)
    if training:
        n = planes.size // planes.shape[1]
        for running, new in ((running_mean, mean), (running_var, var * n / (n - 1))):
            if running is not None:
                running[...] = (1 - momentum) * running + momentum * new
    y = (planes - _per_channel(mean)) / _per_channel(np.sqrt(var + eps))
    y = y * _per_channel(1 if weight is None else weight) + _per_channel(0 if bias is None else bias)
    return _finish(y.astype(x.dtype, copy=False), x.ndim == 4, layout)


def batch_norm2d_backward(
    grad_output: Array, x: Array, running_mean: Array | None, running_var: Array | None,
    weight: Array | None = None, training: bool = False, eps: float = 1e-5, *, layout: str = "NCHW",
    needs: tuple[bool, bool, bool] = (True, True, True),
) -> tuple[Array | None, Array | None, Array | None]:  # fmt: skip
    """Gradients of batch_norm2d: grad_output like x -> grad_x like x, grad_weight and grad_bias (C,)."""
    planes, g = _nchw(x, layout), _nchw(grad_output, layout)
    mean, var = _channel_statistics(planes, running_mean, running_var, training)
    deviation = _per_channel(np.sqrt(var + eps))
    normal = (planes - _per_channel(mean)) / deviation
    grad_weight, grad_bias = (g * normal).sum((0, 2, 3)), g.sum((0, 2, 3))
    grad_x = g  # of a constant mean and deviation; those of the batch move with x
    if training:
        n = g.size // g.shape[1]
        grad_x = g - _per_channel(grad_bias) / n - normal * _per_channel(grad_weight) / n
    grad_x = grad_x * _per_channel(1 if weight is None else weight) / deviation
    grad_x = _finish(grad_x.astype(x.dtype, copy=False), x.ndim == 4, layout)
    return grad_x if needs[0] else None, grad_weight if needs[1] else None, grad_bias if needs[2] else None


def _sum_of_neighbours(a: Array, before: int, after: int) -> Array:
    """For each channel the sum of a (N, C, H, W) over the channels from c - before to c + after that there are."""
    c = a.shape[1]
    sums = [a[:, max(i - before, 0) : i + after + 1].sum(1) for i in range(c)]
    return np.stack(sums, 1)


def local_response_norm(
    x: Array, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, *, layout: str = "NCHW"
) -> Array:
    """x / (k + alpha/size * the sum of x*x over size neighbouring channels) ** beta: x (N, C, H, W) -> like x."""
    planes, size = _nchw(x, layout), int(size)
    base = k + alpha / size * _sum_of_neighbours(planes * planes, size // 2, (size - 1) // 2)
    return _finish(planes / base**beta, x.ndim == 4, layout)


def local_response_norm_backward(
    grad_output: Array, x: Array, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, *,
    layout: str = "NCHW",
) -> Array:  # fmt: skip
    """Gradient of local_response_norm: g / base**beta, less what x does to the bases of its neighbours."""
    planes, g = _nchw(x, layout), _nchw(grad_output, layout)
    size = int(size)
    before, after = size // 2, (size - 1) // 2
    base = k + alpha / size * _sum_of_neighbours(planes * planes, before, after)
    through_base = _sum_of_neighbours(g * planes * base ** (-beta - 1), after, before)
    grad_x = g / base**beta - 2 * alpha * beta / size * planes * through_base
    return _finish(grad_x, x.ndim == 4, layout)


def dropout(x: Array, p: float, rng: Any) -> Array:
    """x with each value zero with probability p, the others over 1 - p, any shape."""
    return dropout_with_mask(x, p, rng)[0]


def dropout_with_mask(x: Array, p: float, rng: Any) -> tuple[Array, Array]:
    """As dropout, and which values were kept."""
    kept = np.asarray(np.random.default_rng(rng).random(x.shape, np.float32) >= np.float32(p))
    return dropout_backward(x, kept, p), kept


def dropout_backward(grad_output: Array, mask: Array, p: float) -> Array:
    """Gradient of dropout: grad_output / (1 - p) where the mask is true, else 0."""
    kept = np.zeros(grad_output.shape, grad_output.dtype)
    kept[mask] = grad_output[mask] / (1 - p if p < 1 else 1)
    return kept


def sgd_update(
    value: Array, grad: Array, velocity: Array, lr: float, momentum: float, nesterov: bool, weight_decay: float
) -> None:
    """A step of SGD in place: g = grad + weight_decay*value, velocity = momentum*velocity + g, value -= lr*velocity.

    With nesterov value -= lr*(g + momentum*velocity). All arrays have one shape.
    """
    g = grad + weight_decay * value
    velocity[...] = momentum * velocity + g
    value -= lr * (g + momentum * velocity if nesterov else velocity)


def adam_update(
    value: Array, grad: Array, m: Array, v: Array, lr: float, beta1: float, beta2: float, eps: float,
    weight_decay: float, step: int,
) -> None:  # fmt: skip
    """A step of Adam in place: value -= lr * mean / (sqrt(square) + eps), mean and square being m and v unbiased.

    g = grad + weight_decay*value; m, v: running averages of g and g*g, over 1 - beta**step. All arrays have one shape.
    """
    g = grad + weight_decay * value if weight_decay else grad
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g * g
    mean, square = m / (1 - beta1**step), v / (1 - beta2**step)
    value -= lr * mean / (np.sqrt(square) + eps)
