"""Which variant of a kernel computes a convolution: pure functions of its geometry, the batch and the host.

For each of the three products there are a few variants. The first is taken unless it declines, and says why it does;
the layout of the planes is chosen with the geometry (`_planes.chosen`). Measured limits, all of them.
"""

from __future__ import annotations

from fastconv._geometry.conv import ConvGeometry, conv_geometry
from fastconv.kernels.conv_gradients import TAP_BLOCK
from fastconv.kernels.micro import vectors

# output channels that fill the vectors of a tile of weights, and the taps and pixels that repay packing them; fewer do
# where the input is read in place, but would have to be split into phases otherwise
LEAST_PACKED, LEAST_PACKED_TAPS, LEAST_PACKED_PIXELS = 96, 512, 128
LEAST_PACKED_IN_PLACE, LEAST_PACKED_TAPS_IN_PLACE = 64, 320
# pixels from which several tasks need the same weights, which are then packed once for all
LEAST_READY = 2400
# pixels from which images with channels last are read as they are: their weights are packed once for all; and the terms
# that are listed for that, at most: some megabytes
LEAST_UNPADDED, MOST_TERMS = 300, 2**18
# images, times groups, from which each thread takes whole ones, and the bytes of their planes that fit its L2 cache
LEAST_IMAGES, CACHED_PLANES = 8, 2**20
# how many products the gradient as a convolution may take, zeros near the borders included, for each that is needed
MOST_PRODUCTS = 1.5
# output channels from which a vector of them is full enough to transpose the gradient for, and the taps that repay it
LEAST_TURNED, LEAST_TURNED_TAPS = 12, 48
# elements of the weight gradient up to which shards of the batch are summed apart, each in the L2 cache, and how many
SHARDED, SHARDS = 2**16, 16
# channels that lie side by side in the transposed gradient, at most: the width of a tile of three vectors
TURNED_CHANNELS = 48
# output channels and taps from which images with channels last are convolved as they are
LEAST_LAST = 16
# input channels from which the weight gradient of such images is summed in vectors of them; and pixels of a row of
# windows, at most, that are copied for it: their vectors should fit the L2 cache
LEAST_IN_PLACE, MOST_CELLS = 48, 2**13
# channels that fill half a vector of floats
LEAST_DEPTHWISE = 8


def declines_packed(geometry: ConvGeometry, N: int) -> str:
    """Why `forward_packed`, with vectors along the output channels, does not compute the product; empty where so."""
    per_group, pixels = geometry.OC // geometry.groups, N * geometry.rows.out * geometry.columns.out
    saves_phases = geometry.phases > 1 and geometry.by_pixel.in_place
    channels = LEAST_PACKED_IN_PLACE if saves_phases else LEAST_PACKED
    taps = LEAST_PACKED_TAPS_IN_PLACE if saves_phases else LEAST_PACKED_TAPS
    if per_group < channels:
        return f"{per_group} output channels in a group are fewer than {channels}"
    if geometry.taps < taps:
        return f"{geometry.taps} taps are fewer than {taps}"
    if len(geometry.windows) == 1:
        return "a kernel of one tap leaves no cell of its wide rows unused"
    if pixels < LEAST_PACKED_PIXELS:
        return f"{pixels} pixels are fewer than {LEAST_PACKED_PIXELS}"
    return ""


def declines_ready(geometry: ConvGeometry, N: int) -> str:
    """Why weights are packed by each task that uses them, and not once for all; empty where they are not."""
    pixels = N * geometry.rows.out * geometry.columns.out
    return f"{pixels} pixels are fewer than {LEAST_READY}" if pixels < LEAST_READY else ""


def declines_unpadded(geometry: ConvGeometry, N: int) -> str:
    """Why images with channels last meet packed weights with their padding, in a copy; empty where they do not."""
    pixels, terms = N * geometry.rows.out * geometry.columns.out, geometry.area_terms
    if terms > MOST_TERMS:
        return f"{terms:,} terms of all areas that the same taps reach are more than {MOST_TERMS:,}"
    return f"{pixels} pixels are fewer than {LEAST_UNPADDED}" if pixels < LEAST_UNPADDED else ""


def declines_by_image(geometry: ConvGeometry, N: int, itemsize: int) -> str:
    """Why `split_and_forward`, image by image, does not compute the forward product; empty where it does."""
    if geometry.in_place:
        return "the input needs no padded planes"
    if N * geometry.groups < LEAST_IMAGES:
        return f"{N} images x {geometry.groups} groups are fewer than {LEAST_IMAGES}"
    size = geometry.C // geometry.groups * geometry.plane * itemsize
    if size > CACHED_PLANES:
        return f"an image's planes of {size:,} bytes are more than {CACHED_PLANES:,}"
    return ""


def declines_gathered(geometry: ConvGeometry) -> str:
    """Why the input gradient is not one convolution of the output gradient; empty where it is."""
    return _too_many(geometry.gathered_products)


def declines_phased(geometry: ConvGeometry) -> str:
    """Why it is not one for each phase of the stride either, but scattered; empty where it is."""
    return "there is one phase" if geometry.phases == 1 else _too_many(geometry.border_products)


def _too_many(products: float) -> str:
    return f"{products:.1f} products for each that is needed are more than {MOST_PRODUCTS}" * (products > MOST_PRODUCTS)


def declines_turned(geometry: ConvGeometry) -> str:
    """Why the weight gradient is dot products, and not taken with the output gradient transposed; empty where so."""
    per_group = geometry.OC // geometry.groups
    if per_group < LEAST_TURNED:
        return f"{per_group} output channels in a group are fewer than {LEAST_TURNED}"
    if geometry.taps < LEAST_TURNED_TAPS:
        return f"{geometry.taps} taps are fewer than {LEAST_TURNED_TAPS}"
    return ""


def turned_width(per_group: int) -> int:
    """How many of a group's channels lie side by side in the transposed gradient: whole vectors, evenly shared."""
    blocks = -(-per_group // TURNED_CHANNELS)
    return min(per_group, -(-per_group // (blocks * vectors.LANES)) * vectors.LANES)


def declines_last(geometry: ConvGeometry) -> str:
    """Why a convolution of images with channels last moves them to NCHW order; empty where it does not."""
    per_group = geometry.OC // geometry.groups
    if declines_depthwise(geometry) and min(per_group, geometry.taps) < LEAST_LAST:
        return f"{per_group} output channels in a group or {geometry.taps} taps are fewer than {LEAST_LAST}"
    return ""


def declines_in_place(geometry: ConvGeometry) -> str:
    """Why the weight gradient of images with channels last is not summed where they lie; empty where it is."""
    channels = geometry.C // geometry.groups
    if channels < LEAST_IN_PLACE:
        return f"{channels} channels in a group are fewer than {LEAST_IN_PLACE}"
    if len(geometry.windows) == 1:
        return "a kernel of one tap uses each copied pixel once"
    rows = geometry.rows
    cells = min(rows.size, (rows.kernel - 1) * rows.dilation + 1) * geometry.columns.size
    if cells > MOST_CELLS:
        return f"{cells:,} pixels that a row of windows reaches are more than {MOST_CELLS:,}"
    return "" if geometry.by_pixel.unpadded.reach.begins_everywhere else "no tap reaches every pixel"


def declines_depthwise(geometry: ConvGeometry) -> str:
    """Why images with channels last are not convolved channel by channel in vectors of them; empty where they are."""
    if not geometry.C == geometry.OC == geometry.groups:
        return f"{geometry.C} and {geometry.OC} channels in {geometry.groups} groups are not one in each"
    return f"{geometry.C} channels are fewer than {LEAST_DEPTHWISE}" if geometry.C < LEAST_DEPTHWISE else ""


def declines_by_group(geometry: ConvGeometry, itemsize: int) -> str:
    """Why those dot products are not summed group by group, each of which splits its own planes; empty where so."""
    if geometry.in_place:
        return "the input needs no padded planes"
    if geometry.groups < LEAST_IMAGES:
        return f"{geometry.groups} groups are fewer than {LEAST_IMAGES}"
    if geometry.taps > TAP_BLOCK or geometry.OC // geometry.groups > vectors.DOT_ROWS:
        return f"the weights of a group are more than {vectors.DOT_ROWS} x {TAP_BLOCK}, which one task sums"
    size = geometry.C // geometry.groups * geometry.plane * itemsize
    if size > CACHED_PLANES:
        return f"a group's planes of {size:,} bytes are more than {CACHED_PLANES:,}"
    return ""


def declines_sharded(geometry: ConvGeometry) -> str:
    """Why that weight gradient is not summed in shards of the batch, but in blocks of taps; empty where it is."""
    size = geometry.OC // geometry.groups * geometry.taps
    return f"{size:,} weights in a group are more than {SHARDED:,}" if size > SHARDED else ""


def _layout(geometry: ConvGeometry) -> str:
    rows, columns, WP = geometry.rows, geometry.columns, geometry.WP
    if geometry.in_place:
        planes = "the input read in place"
    else:
        copies = f"{len(geometry.shifts)} shifted copies" if geometry.unrolled else "padded planes"
        parts = geometry.steps[0] * geometry.steps[1]
        phases = f", {parts} phases" if parts > 1 and not geometry.unrolled else ""
        planes = f"{copies} of {geometry.HP} x {WP} cells a channel{phases}"
    if geometry.whole:
        return f"{planes}; every pixel by itself"
    if WP == columns.out:
        return f"{planes}; all {rows.out * columns.out} pixels in one run"
    if geometry.by_rows:
        return f"{planes}; {rows.out} rows of {columns.out} pixels"
    return f"{planes}; wide rows of {WP} cells for {columns.out} pixels"


def _line(product: str, chosen: str, declined: dict[str, str]) -> str:
    reasons = "; ".join(f"{name} declines: {why}" for name, why in declined.items() if why)
    return f"{product:<17}{chosen}" + (f" ({reasons})" if reasons else "")


def _product(name: str, geometry: ConvGeometry, N: int, itemsize: int) -> list[str]:
    """What computes a forward product, and the planes it reads."""
    declined = {"packed": declines_packed(geometry, N), "image by image": declines_by_image(geometry, N, itemsize)}
    if not declined["packed"]:
        return [f"{name:<17}packed weights, vectors of output channels", f"{'':<17}{_layout(geometry.by_pixel)}"]
    chosen = "all images at once" if declined["image by image"] else "image by image"
    return [_line(name, chosen, declined), f"{'':<17}{_layout(geometry)}"]


def explain(
    N: int, image: tuple[int, int, int], weight: tuple[int, int, int, int], stride: int = 1, padding: int = 0,
    itemsize: int = 4,
) -> str:  # fmt: skip
    """What computes a convolution of N images (C, H, W) with `weight` (OC, C/groups, KH, KW), and why: a text.

    Raises:
        ShapeError: the sizes do not fit.

    Example:
        >>> print(explain(4, (96, 28, 28), (96, 96, 3, 3), 1, 1).splitlines()[1])
        forward          packed weights, vectors of output channels
    """
    groups = image[0] // max(weight[1], 1)
    geometry = conv_geometry("explain", image, weight, stride, padding, 1, max(groups, 1))
    no_gather, no_turn = declines_gathered(geometry), declines_turned(geometry)
    no_phases, no_groups = declines_phased(geometry), declines_by_group(geometry, itemsize)
    lanes = vectors.VECTOR_BYTES // itemsize
    tile = f"{vectors.TILE_ROWS} x {vectors.TILE_VECTORS * lanes}" if vectors.ENABLED else "none, plain loops"
    out = geometry.rows.out, geometry.columns.out
    lines = [
        f"convolution      {(N, *image)} by {weight} to {(N, geometry.OC, *out)}, {geometry.taps} terms, tile {tile}",
        *_product("forward", geometry, N, itemsize),
        *(
            [
                _line(
                    "input gradient",
                    "scattered tap by tap" if no_phases else "phase by phase of the stride",
                    {"gathered": no_gather, "phase by phase": no_phases},
                ),
                f"{'':<17}{_layout(geometry.plain if no_phases else geometry.transposed.conv)}",
            ]
            if no_gather
            else _product("input gradient", geometry.transposed.conv, N, itemsize)
        ),
        _line(
            "weight gradient",
            "with the gradient transposed" if not no_turn else "dot products" + ", group by group" * (not no_groups),
            {"transposed": no_turn},
        ),
        f"{'':<17}{_layout(geometry if no_turn else geometry.by_pixel)}",
    ]
    return "\n".join(lines)
