"""Plans in words, and the kernels that carry them out."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from fastconv._geometry.borders import some_tap_reaches_all
from fastconv._geometry.conv import Conv, reduction_length
from fastconv._geometry.layout import IN_PLACE, PADDED, SHIFTED_COPIES, STRIDE_PHASES, UNPADDED, Layout, copied
from fastconv._plans.names import MEANINGS, REASONS, Algorithm, Reason

if TYPE_CHECKING:
    from fastconv._plans.records import ForwardPlan, InputGradientPlan, WeightGradientPlan

WIDTH, INDENT = 120, 17


def forward_kernels(plan: ForwardPlan, only_finite: bool = False) -> list[str]:
    """The kernels that compute a convolution of finite numbers, in order; weights are looked at if `only_finite`."""
    algorithm = Algorithm(plan.algorithm)
    split = ["split"] * copied(plan.layout)
    looks = only_finite and plan.layout.kind != UNPADDED and not plan.ready
    own = {
        Algorithm.DIRECT: [*split, "forward"],
        Algorithm.BY_IMAGE: ["split_and_forward"],
        Algorithm.PACKED: [*["all_finite"] * looks, *split, "forward_packed"],
        Algorithm.DEPTHWISE: ["all_finite", "depthwise"],
        Algorithm.CHANNELWISE: ["convolve_planes"],
        Algorithm.WINOGRAD: [
            *["all_finite"] * only_finite,
            "transform_weights",
            "winograd" + "_last" * (plan.last or plan.moved),
        ],
    }[algorithm]
    return ["transposed", *own, "transposed"] if plan.moved else own


def input_gradient_kernels(plan: InputGradientPlan) -> list[str]:
    """The kernels that compute an input gradient of finite numbers, in order."""
    algorithm, product, conv = Algorithm(plan.algorithm), plan.product, plan.conv
    if plan.last and not plan.moved:
        return ["depthwise"] if algorithm is Algorithm.DEPTHWISE else forward_kernels(product, True)
    if algorithm is Algorithm.GATHERED:
        own = forward_kernels(product)
        own = ["gather_weights", *own, "merge"] if conv.phases > 1 else [*["transposed"] * plan.turned, *own]
    elif algorithm is Algorithm.CHANNELWISE:
        own = ["planes_input_gradient"]
    elif algorithm is Algorithm.PHASED:
        own = [*["split"] * copied(product.fallback), *["forward"] * conv.phases, "merge"]
    else:
        own = [*_widened(plan.layout, conv), "input_gradient", *["merge"] * (plan.layout.kind != IN_PLACE)]
    own = [*["all_finite"] * (not plan.turned), *own]
    return ["transposed", *own, "transposed"] if plan.moved else own


def weight_gradient_kernels(plan: WeightGradientPlan) -> list[str]:
    """The kernels that compute a weight gradient of finite numbers, in order."""
    split, widened = ["split"] * copied(plan.layout), _widened(plan.layout, plan.conv)
    first = not plan.last
    looks = ["all_finite"] * (not some_tap_reaches_all(plan.conv.rows, plan.conv.columns))
    own = {
        Algorithm.DEPTHWISE: [*looks, "depthwise_weight_gradient", "add_parts", "all_finite"],
        Algorithm.READ_IN_PLACE: ["weight_gradient_last", *["add_parts"] * (plan.shards > 1)],
        Algorithm.WINOGRAD: [
            *["transposed"] * 2 * first,
            "winograd_products",
            "winograd_weights",
            *["transposed"] * first,
        ],
        Algorithm.SHARDED: [*split * (not plan.apart), "weight_gradient_sharded", "add_parts", "transposed"],
        Algorithm.BLOCKED: ["transpose_gradient", *split, "weight_gradient_blocked"],
        # zeros between the rows of pixels, if there is more than one, may meet infinite numbers
        Algorithm.DOTS: [
            *split,
            *widened,
            "weight_gradient",
            *["all_finite"] * (widened != [] and plan.conv.rows.out > 1),
        ],
        Algorithm.DOTS_BY_GROUP: ["split_and_weight_gradient"],
        Algorithm.CHANNELWISE: ["planes_weight_gradient"],
    }[Algorithm(plan.algorithm)]
    return ["transposed", "transposed", *own, "transposed"] if plan.moved else own


def _widened(layout: Layout, conv: Conv) -> list[str]:
    return ["widen"] * (layout.WP != conv.columns.out and not layout.by_rows)


def place_of(layout: Layout) -> str:
    """Where the input lies."""
    cells = f"{layout.HP} x {layout.WP}" + (" pixels" if layout.last else " cells a channel")
    return {
        IN_PLACE: "in place",
        PADDED: f"in a padded plane of {cells}",
        STRIDE_PHASES: f"in {layout.vertical * layout.horizontal} stride phases of {cells}",
        SHIFTED_COPIES: f"in {layout.vertical * layout.copies} shifted copies of {cells}",
        UNPADDED: "in place, without the taps in the padding",
    }[layout.kind] + ", channels last" * layout.last


def _pixels(layout: Layout, conv: Conv) -> str:
    if layout.by_rows:
        return f"{conv.rows.out} rows of {conv.columns.out} pixels"
    if layout.WP == conv.columns.out:
        return "all pixels in one run"
    return f"padded rows of {layout.WP} cells for {conv.columns.out} pixels"


ALONG_ROWS = {Algorithm.DIRECT, Algorithm.BY_IMAGE, Algorithm.DOTS, Algorithm.DOTS_BY_GROUP, Algorithm.SCATTERED}


def line(plan: Any) -> str:
    """A plan in one line: the sizes, the algorithm, where the input lies, the kernels."""
    conv, rows, columns = plan.conv, plan.conv.rows, plan.conv.columns
    options = f"stride {rows.stride},{columns.stride} padding {','.join(map(str, conv.pads))}"
    sizes = f"{plan.N}x{conv.C}x{rows.size}x{columns.size} {conv.OC}x{rows.kernel}x{columns.kernel} {options}"
    dilation = f"dilation {rows.dilation},{columns.dilation} groups {conv.groups}"
    order = "NHWC" + " moved" * plan.moved if plan.last else "NCHW"
    return f"{sizes} {dilation} {order}; {algorithm_of(plan)}; {' '.join(plan.kernels())}"


def algorithm_of(plan: Any) -> str:
    """The name of the algorithm, and of that of the product that it takes."""
    name = Algorithm(plan.algorithm).name
    product = getattr(plan, "product", None)
    return f"{name} {Algorithm(product.algorithm).name}" if product and plan.algorithm == Algorithm.GATHERED else name


def describe(product: str, plan: Any) -> str:
    """A plan in some lines: the algorithm, where the input lies, the kernels, what was rejected."""
    algorithm, conv, layout = Algorithm(plan.algorithm), plan.conv, plan.layout
    lines = [f"{algorithm.name}: {MEANINGS[algorithm]}"]
    inner = getattr(plan, "product", None)
    if inner is not None and algorithm in (Algorithm.GATHERED, Algorithm.PHASED):
        conv, layout = inner.conv, inner.fallback
        if algorithm is Algorithm.GATHERED:
            layout = inner.layout
            algorithm = Algorithm(inner.algorithm)
            lines[0] += f", {algorithm.name}: {MEANINGS[algorithm]}"
    if plan.moved:
        lines.append(f"images moved to {'NCHW' if plan.last else 'NHWC'} order and back")
    if algorithm not in (Algorithm.DEPTHWISE, Algorithm.CHANNELWISE, Algorithm.WINOGRAD):
        along = f"; {_pixels(layout, conv)}" if algorithm in {*ALONG_ROWS, Algorithm.PHASED} else ""
        target = "gradient" if algorithm is Algorithm.SCATTERED else "input"
        lines.append(f"{target} {place_of(layout)}{along}")
    if algorithm is Algorithm.PACKED:
        lines.append("weights packed " + ("once for all tasks" if (inner or plan).ready else "by each task"))
    if algorithm is Algorithm.SHARDED and plan.apart:
        lines[-1] += ", which each shard splits for its own images"
    lines.append(f"kernels: {', '.join(plan.kernels())}")
    lines += [f"not {reason}" for reason in rejections(plan)]
    if inner is not None and plan.algorithm == Algorithm.GATHERED:
        lines += [f"not {reason}" for reason in rejections(inner)]
    wrapped = [part for text in lines for part in textwrap.wrap(text, WIDTH - INDENT, subsequent_indent="  ")]
    return "\n".join(f"{name:<{INDENT}}{text}" for name, text in zip([product, *[""] * len(wrapped)], wrapped))


def rejections(plan: Any) -> list[str]:
    """What was rejected, and why."""
    return [
        f"{Algorithm(r.algorithm).name}: {REASONS[Reason(r.reason)].format(r.found, r.needed)}"
        for r in plan.rejected
        if r.reason
    ]


def title(conv: Conv, N: int, last: bool, dtype: Any, tile: str) -> str:
    """The sizes of a convolution in words."""
    rows, columns = conv.rows, conv.columns
    channels = conv.C // conv.groups
    x, weight = (conv.C, rows.size, columns.size), (channels, rows.kernel, columns.kernel)
    y = (conv.OC, rows.out, columns.out)
    x, weight, y = ((*a[1:], a[0]) if last else a for a in (x, weight, y))
    return (
        f"{'convolution':<{INDENT}}{(N, *x)} by {(conv.OC, *weight)} to {(N, *y)}, {'NHWC' if last else 'NCHW'}, "
        f"{dtype}, K = {reduction_length(conv)}, micro-kernel {tile}"
    )
