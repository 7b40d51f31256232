"""Valid calls drawn with Hypothesis: all arguments together, so that every draw is a call that must succeed.

Values are small integers stored as floats: every sum of their products is exact, so results are compared bit by bit.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from fastconv import reference

# multiplications that one case may need; the kernels as plain Python manage about a million in a second
WORK = 20_000 if os.environ.get("FASTCONV_TEST_PROFILE") == "legs" else 2_000_000
DTYPES = (np.float32, np.float64)


def integers(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Whole numbers from -4 to 4 as floats."""
    return rng.integers(-4, 5, shape).astype(dtype)


def real(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Normally distributed numbers."""
    return rng.standard_normal(shape).astype(dtype)


def assert_identical(actual: np.ndarray, expected: np.ndarray) -> None:
    """Equal values (NaN equals NaN), and the same dtype and shape, in C order."""
    assert actual.dtype == expected.dtype
    assert actual.dtype.isnative
    assert actual.flags.c_contiguous
    np.testing.assert_array_equal(actual, expected, strict=True)


def assert_same_bits(actual: np.ndarray, expected: np.ndarray) -> None:
    """The same bits: unlike `assert_identical` this tells -0.0 from 0.0."""
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    assert actual.tobytes() == expected.tobytes()


def inner(a: np.ndarray, b: np.ndarray) -> float:
    """<a, b>, summed without rounding errors."""
    return math.fsum((a.astype(np.float64) * b.astype(np.float64)).ravel())


@dataclass(frozen=True)
class ConvCase:
    """One valid convolution: shapes in `layout`, everything after weight and bias in `options`."""

    x_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    options: dict[str, Any]
    layout: str
    dtype: Any
    seed: int
    with_bias: bool = True

    @property
    def OC(self) -> int:
        return self.weight_shape[0]

    def arrays(self, fill: Any = integers) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray]:
        """x, weight, bias (or None), and a gradient of the output."""
        rng = np.random.default_rng(self.seed)
        x, weight = fill(rng, self.x_shape, self.dtype), fill(rng, self.weight_shape, self.dtype)
        bias = fill(rng, (self.OC,), self.dtype)
        g = fill(rng, self.output_shape, self.dtype)
        return x, weight, bias if self.with_bias else None, g

    @property
    def keywords(self) -> dict[str, Any]:
        return {**self.options, "layout": self.layout}


@dataclass(frozen=True)
class _Window:
    """What is drawn for one axis."""

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int = 0
    after: int = 0
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def span(self) -> int:
        return self.dilation * (self.kernel - 1) + 1


def _often(*usual: int, most: int) -> st.SearchStrategy[int]:
    """Half of the draws the usual values, half up to `most`."""
    return st.one_of(st.sampled_from(usual), st.integers(min(usual), most))


@st.composite
def _conv_axis(draw: st.DrawFn, named: bool, unit_stride: bool) -> _Window:
    kernel = draw(st.integers(1, 5))
    stride = 1 if unit_stride else draw(_often(1, 2, most=5))
    dilation = draw(_often(1, most=4))
    span = dilation * (kernel - 1) + 1
    before, after = (0, 0) if named else (draw(_often(0, 1, most=7)), draw(_often(0, 1, most=7)))
    # from the smallest image the kernel fits into (one window, or an image of one row) upwards
    size = max(1, span - before - after) + draw(_often(0, most=9))
    return _Window(size, kernel, stride, dilation, before, after)


def _int2(draw: st.DrawFn, pair: tuple[int, int]) -> Any:
    """A pair, or one integer where both are equal."""
    return pair[0] if pair[0] == pair[1] and draw(st.booleans()) else pair


PADDING_FORMS = ("one", "two", "four", "four", "valid", "same", "same_upper", "same_lower", "full")


def _number_forms(form: str, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[Any, tuple[int, int], Any]:
    """The argument `padding` in a form, and what it means for rows and columns, (before, after) each."""
    if form == "one":
        p = max(*rows, *columns)
        return p, (p, p), (p, p)
    if form == "two":
        ph, pw = max(rows), max(columns)
        return (ph, pw), (ph, ph), (pw, pw)
    return (rows, columns), rows, columns


@st.composite
def conv_cases(draw: st.DrawFn, layouts: tuple[str, ...] = ("NCHW", "NHWC"), groups: int = 3) -> ConvCase:
    """Any valid convolution."""
    form = draw(st.sampled_from(PADDING_FORMS))
    named = form not in ("one", "two", "four")
    rows = draw(_conv_axis(named, form == "same"))
    columns = draw(_conv_axis(named, form == "same"))
    padding, _, _ = _number_forms(form, (rows.before, rows.after), (columns.before, columns.after))
    options = {
        "stride": _int2(draw, (rows.stride, columns.stride)),
        "padding": form if named else padding,
        "dilation": _int2(draw, (rows.dilation, columns.dilation)),
        "groups": draw(_often(1, most=groups)),
    }
    N = draw(st.sampled_from([1, 2, 3, 1, 2, 3, 1, 2, 0]))  # integers(0, 3) would be 0 in a third of the draws
    C = draw(st.sampled_from([1, 2, 3, 4, 5, 8]))
    plan = {name: value for name, value in options.items() if name != "groups"}
    kernel = (rows.kernel, columns.kernel)
    # a reference shape for one output channel tells how many more the case may have
    pixels = math.prod(reference.conv_output_shape((1, 1, rows.size, columns.size), (1, 1, *kernel), **plan))
    work = max(N, 1) * pixels * C * math.prod(kernel) * options["groups"]
    room = max(1, WORK // work)
    OC = draw(st.sampled_from([n for n in (1, 2, 3, 4, 5, 15, 16, 17, 33) if n <= room]))
    x_shape = (N, C * options["groups"], rows.size, columns.size)
    weight_shape = (OC * options["groups"], C, *kernel)
    output_shape = reference.conv_output_shape(x_shape, weight_shape, **plan)
    layout = draw(st.sampled_from(layouts))
    if layout == "NHWC":
        x_shape, weight_shape, output_shape = ((a, c, d, b) for a, b, c, d in (x_shape, weight_shape, output_shape))
    if N == 1 and draw(st.booleans()):
        x_shape, output_shape = x_shape[1:], output_shape[1:]
    return ConvCase(
        x_shape, weight_shape, output_shape, options, layout, draw(st.sampled_from(DTYPES)),
        draw(st.integers(0, 2**32 - 1)), draw(st.booleans()),
    )  # fmt: skip


@dataclass(frozen=True)
class TransposedCase(ConvCase):
    """One valid transposed convolution."""

    @property
    def OC(self) -> int:
        return self.output_shape[-3 if self.layout == "NCHW" else -1]


def _result_size(window: _Window, form: str, pads: tuple[int, int], extra: int) -> int:
    if form.startswith("same"):
        return window.size * window.stride
    cut = {"valid": 0, "full": 2 * (window.span - 1)}.get(form, sum(pads))
    return (window.size - 1) * window.stride + window.span + extra - cut


@st.composite
def transposed_cases(draw: st.DrawFn, layouts: tuple[str, ...] = ("NCHW", "NHWC"), groups: int = 3) -> TransposedCase:
    """Any valid transposed convolution."""
    form = draw(st.sampled_from(PADDING_FORMS))
    named = form not in ("one", "two", "four")
    axes = [draw(_conv_axis(named, form == "same")) for _ in range(2)]
    padding, *pads = _number_forms(form, *((a.before, a.after) for a in axes))
    extra = [0 if form.startswith("same") else draw(_often(0, most=max(a.stride, a.dilation) - 1)) for a in axes]
    sizes, result = [], []
    for axis, cut, more in zip(axes, pads, extra):
        least = next(n for n in range(1, 99) if _result_size(replace(axis, size=n), form, cut, more) > 0)
        sizes.append(least + draw(_often(0, most=6)))
        result.append(_result_size(replace(axis, size=sizes[-1]), form, cut, more))
    rows, columns = axes
    options = {
        "stride": _int2(draw, (rows.stride, columns.stride)),
        "padding": form if named else padding,
        "output_padding": _int2(draw, (extra[0], extra[1])),
        "groups": draw(_often(1, most=groups)),
        "dilation": _int2(draw, (rows.dilation, columns.dilation)),
    }
    N = draw(st.sampled_from([1, 2, 3, 1, 2, 0]))
    C = draw(st.sampled_from([1, 2, 3, 4, 5, 8, 17]))
    work = max(N, 1) * math.prod(sizes) * C * rows.kernel * columns.kernel * options["groups"]
    OC = draw(st.sampled_from([n for n in (1, 2, 3, 4, 5, 15, 16, 17) if n <= max(1, WORK // work)]))
    shapes = [
        (N, C * options["groups"], *sizes),
        (C * options["groups"], OC, rows.kernel, columns.kernel),
        (N, OC * options["groups"], *result),
    ]
    layout = draw(st.sampled_from(layouts))
    if layout == "NHWC":
        shapes = [(a, c, d, b) for a, b, c, d in shapes]
    x_shape, weight_shape, output_shape = shapes
    if N == 1 and draw(st.booleans()):
        x_shape, output_shape = x_shape[1:], output_shape[1:]
    return TransposedCase(
        x_shape, weight_shape, output_shape, options, layout, draw(st.sampled_from(DTYPES)),
        draw(st.integers(0, 2**32 - 1)), draw(st.booleans()),
    )  # fmt: skip


@dataclass(frozen=True)
class PoolCase:
    """One valid pooling; `options` go to the function as they are."""

    x_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    options: dict[str, Any]
    layout: str
    dtype: Any
    seed: int

    @property
    def keywords(self) -> dict[str, Any]:
        return {**self.options, "layout": self.layout}

    def arrays(self, fill: Any = integers) -> tuple[np.ndarray, np.ndarray]:
        """x and a gradient of the output."""
        rng = np.random.default_rng(self.seed)
        return fill(rng, self.x_shape, self.dtype), fill(rng, self.output_shape, self.dtype)


def _holds_pixel(window: _Window, outputs: int) -> bool:
    """Whether each window has a tap on a pixel."""
    first = np.arange(outputs)[:, None] * window.stride - window.before
    taps = first + np.arange(window.kernel) * window.dilation
    return bool(((taps >= 0) & (taps < window.size)).any(axis=1).all())


def _repadded(window: _Window, pad: int, ceil_mode: bool) -> _Window:
    """The axis with `pad` cells on both sides, or with none where a window would hold nothing else."""
    padded = replace(window, before=pad, after=pad, size=max(window.size, window.span - 2 * pad))
    room = padded.size + 2 * pad - window.span
    outputs = (-(-room // window.stride) if ceil_mode else room // window.stride) + 1
    if window.dilation == 1 or _holds_pixel(padded, outputs):
        return padded
    return replace(window, before=0, after=0, size=max(window.size, window.span))


@st.composite
def _pool_axis(draw: st.DrawFn, dilated: bool, padded: bool, ceil_mode: bool) -> _Window:
    kernel = draw(st.integers(1, 5))
    stride = draw(_often(1, 2, most=6))
    dilation = draw(_often(1, most=3)) if dilated else 1
    span = dilation * (kernel - 1) + 1
    before, after = (draw(st.integers(0, kernel // 2)), draw(st.integers(0, kernel // 2))) if padded else (0, 0)
    size = max(1, span - before - after) + draw(_often(0, most=9))
    window = _Window(size, kernel, stride, dilation, before, after)
    room = before + size + after - span
    outputs = (-(-room // stride) if ceil_mode else room // stride) + 1
    if dilation > 1 and not _holds_pixel(window, outputs):
        return _Window(max(size, span), kernel, stride, dilation)
    return window


@st.composite
def pool_cases(draw: st.DrawFn, kind: str, dtypes: tuple[Any, ...] = DTYPES) -> PoolCase:
    """Any valid pooling of the kind "max" or "avg"."""
    ceil_mode = draw(st.booleans())
    form = draw(st.sampled_from(["one", "two", "four", "four", "valid", "same", "same_upper", "same_lower"]))
    named = form not in ("one", "two", "four")
    rows = draw(_pool_axis(kind == "max" and not named, not named, ceil_mode))
    columns = draw(_pool_axis(kind == "max" and not named, not named, ceil_mode))
    if form in ("one", "two"):  # the same on both sides; for one number on all four, as the smaller kernel allows
        least = min(rows.before, rows.after, columns.before, columns.after)
        pads = (least, least) if form == "one" else (min(rows.before, rows.after), min(columns.before, columns.after))
        rows, columns = (_repadded(axis, p, ceil_mode) for axis, p in zip((rows, columns), pads))
        if form == "one" and rows.before != columns.before:
            rows, columns = (_repadded(axis, 0, ceil_mode) for axis in (rows, columns))
    strides = (1, 1) if form == "same" else (rows.stride, columns.stride)
    numbers = _number_forms(form, (rows.before, rows.after), (columns.before, columns.after))[0]
    padding: Any = form if named else numbers
    options: dict[str, Any] = {
        "kernel_size": _int2(draw, (rows.kernel, columns.kernel)),
        "stride": _int2(draw, strides),
        "padding": padding,
        "ceil_mode": ceil_mode,
    }
    if strides == (rows.kernel, columns.kernel) and draw(st.booleans()):
        options["stride"] = None
    if kind == "max":
        options["dilation"] = _int2(draw, (rows.dilation, columns.dilation))
    else:
        options["count_include_pad"] = draw(st.booleans())
        options["divisor_override"] = draw(st.none() | st.integers(1, 5))
    x_shape = (draw(st.sampled_from([1, 2, 3, 1, 2, 0])), draw(st.integers(1, 4)), rows.size, columns.size)
    geometry = {k: v for k, v in options.items() if k not in ("count_include_pad", "divisor_override")}
    output_shape = reference.max_pool2d(np.zeros(x_shape, np.float32), **geometry).shape
    layout = draw(st.sampled_from(["NCHW", "NHWC"]))
    if layout == "NHWC":
        x_shape, output_shape = ((a, c, d, b) for a, b, c, d in (x_shape, output_shape))
    if x_shape[0] == 1 and draw(st.booleans()):
        x_shape, output_shape = x_shape[1:], output_shape[1:]
    return PoolCase(
        x_shape, output_shape, options, layout, draw(st.sampled_from(dtypes)), draw(st.integers(0, 2**32 - 1))
    )


@st.composite
def image_shapes(draw: st.DrawFn, least: int = 0) -> tuple[tuple[int, ...], str, int]:
    """A shape of images in a layout, batched or not, the layout, and the axis of the channels."""
    N, C, H, W = (draw(st.integers(low, 5)) for low in (least, 1, 1, 1))
    layout, batch = draw(st.sampled_from(["NCHW", "NHWC"])), draw(st.booleans())
    shape = (N, C, H, W) if layout == "NCHW" else (N, H, W, C)
    return shape if batch else shape[1:], layout, -3 if layout == "NCHW" else -1


@st.composite
def planned_convolutions(draw):
    """Any convolution of finite numbers, among them large ones, strided, dilated, grouped and depthwise ones."""
    groups = draw(st.sampled_from([1, 1, 1, 2, 8, 32]))
    C = groups * draw(st.sampled_from([1, 1, 2, 3, 16, 48, 64]))
    OC = groups * draw(st.sampled_from([1, 1, 2, 4, 13, 16, 96]))
    C, OC, groups = draw(st.sampled_from([(C, OC, groups)] * 4 + [(groups, groups, groups), (32, 32, 32)]))
    rows, columns = (_planned_axis(draw) for _ in range(2))
    N = draw(st.sampled_from([1, 1, 2, 8, 9]))
    if draw(st.integers(0, 9)) == 0:  # Winograd's algorithm is faster from some channels and tiles on
        C, OC, groups = draw(st.sampled_from([(32, 33, 1), (66, 64, 2), (96, 128, 1)]))
        pads = draw(st.sampled_from([(0, 0), (1, 1), (2, 0)]))
        N, rows, columns = 2, *((draw(st.sampled_from([16, 47, 50])), 3, 1, 1, pads) for _ in range(2))
    work = N * OC * C // groups * math.prod(rows[:2]) * math.prod(columns[:2])
    if work > 2**25:
        N = 1
    options = dict(zip(("stride", "dilation", "padding"), zip(rows[2:], columns[2:])), groups=groups)
    layout, dtype = draw(st.sampled_from(["NCHW", "NHWC"])), draw(st.sampled_from([np.float32, np.float64]))
    return N, (C, rows[0], columns[0]), (OC, C // groups, rows[1], columns[1]), options, layout, dtype


def _planned_axis(draw):
    kernel, dilation, stride = draw(st.integers(1, 5)), draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 1, 2, 3]))
    pads = draw(st.sampled_from([(0, 0), (0, 0), (1, 1), (kernel // 2, kernel // 2), (2, 0), (1, 3)]))
    size = max(1, dilation * (kernel - 1) + 1 - sum(pads)) + draw(st.sampled_from([0, 1, 2, 5, 17]))
    return size, kernel, stride, dilation, pads


def in_layout(a, layout):
    """An array in NCHW order, in another layout."""
    return a if layout == "NCHW" else np.ascontiguousarray(np.moveaxis(a, 1, -1))
