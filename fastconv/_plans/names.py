"""The algorithms and the reasons of plans, and what an explanation says of them."""

from __future__ import annotations

from enum import IntEnum


class Algorithm(IntEnum):
    """What computes a product."""

    NONE = 0
    # forward
    DIRECT = 1
    BY_IMAGE = 2
    PACKED = 3
    DEPTHWISE = 4
    # input gradient
    GATHERED = 5
    PHASED = 6
    SCATTERED = 7
    # weight gradient
    DOTS = 8
    DOTS_BY_GROUP = 9
    SHARDED = 10
    BLOCKED = 11
    READ_IN_PLACE = 12
    # forward and weight gradient
    WINOGRAD = 13
    CHANNELWISE = 14


class Winograd(IntEnum):
    """Whether a plan may take Winograd's algorithm, whose errors are others."""

    NEVER = 0
    WHERE_FASTER = 1
    ALWAYS = 2  # where it can


MEANINGS = {
    Algorithm.DIRECT: "vectors along padded rows of pixels, all images at once",
    Algorithm.BY_IMAGE: "vectors along padded rows of pixels, image by image and group by group",
    Algorithm.PACKED: "vectors along output channels, with packed weights",
    Algorithm.DEPTHWISE: "vectors along channels, each with a kernel of its own",
    Algorithm.CHANNELWISE: "vectors along the pixels of each channel's image as it is, with a kernel of its own",
    Algorithm.GATHERED: "one convolution of the output gradient, to all stride phases",
    Algorithm.PHASED: "a convolution of the output gradient to each stride phase",
    Algorithm.SCATTERED: "tap by tap, added to padded planes",
    Algorithm.DOTS: "dot products along pixels",
    Algorithm.DOTS_BY_GROUP: "dot products along pixels, image by image and group by group",
    Algorithm.SHARDED: "outer products with vectors along output channels, in shards of the batch",
    Algorithm.BLOCKED: "outer products with vectors along output channels, in blocks of terms",
    Algorithm.READ_IN_PLACE: "outer products with vectors along input channels, of images as they are",
    Algorithm.WINOGRAD: "Winograd's F(2x2, 3x3), 16 products for four results",
}


class Reason(IntEnum):
    """Why an algorithm does not compute a product."""

    CHANNELS = 1
    TERMS = 2
    ONE_TAP = 3
    PIXELS = 4
    IN_PLACE = 5
    IMAGES = 6
    PLANES = 7
    PRODUCTS = 8
    ONE_PHASE = 9
    GROUPS = 10
    WEIGHTS = 11
    TILE = 12
    CHANNELS_OR_TERMS = 13
    NOT_DEPTHWISE = 14
    CELLS = 15
    NOT_REACHED = 16
    STRIDED = 17
    AREAS = 18
    NOT_ASKED = 19
    KERNEL = 20
    TILES = 21
    TAPS = 22


# of what was found and what was needed
REASONS = {
    Reason.CHANNELS: "{:,.0f} channels of a group are fewer than {:,.0f}",
    Reason.TERMS: "K of {:,.0f} is less than {:,.0f}",
    Reason.ONE_TAP: "a kernel of one tap uses each input once",
    Reason.PIXELS: "{:,.0f} pixels of all images are fewer than {:,.0f}",
    Reason.IN_PLACE: "the input needs no padded planes",
    Reason.IMAGES: "{:,.0f} images times groups are fewer than {:,.0f}",
    Reason.PLANES: "the planes of a group, {:,.0f} bytes, are more than {:,.0f}",
    Reason.PRODUCTS: "{:.2f} products for each that is needed are more than {}",
    Reason.ONE_PHASE: "there is one stride phase",
    Reason.GROUPS: "{:,.0f} groups are fewer than {:,.0f}",
    Reason.WEIGHTS: "{:,.0f} weights of a group are more than {:,.0f}",
    Reason.TILE: "the weights of a group are more than {:,.0f} x {:,.0f}, which one task sums",
    Reason.CHANNELS_OR_TERMS: "{:,.0f} output channels of a group, or terms, are fewer than {:,.0f}",
    Reason.NOT_DEPTHWISE: "{:,.0f} channels in {:,.0f} groups are not one in each",
    Reason.CELLS: "{:,.0f} pixels that a row of windows reaches are more than {:,.0f}",
    Reason.NOT_REACHED: "no tap reaches every pixel",
    Reason.STRIDED: "there are {:,.0f} stride phases",
    Reason.NOT_ASKED: "it is switched off",
    Reason.KERNEL: "kernels are not 3x3 with stride and dilation 1",
    Reason.TAPS: "kernels are not 3x3 with dilation 1 and a stride of 1 or 2",
    Reason.TILES: "{:,.0f} tiles of 2x2 results, of at most 8 images, are fewer than {:,.0f}",
    Reason.AREAS: "{:,.0f} terms of all areas that the same taps reach are more than {:,.0f}",
}
