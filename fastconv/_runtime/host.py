"""What depends on the processor: its vectors, registers and caches, and the sizes that were measured to fit them.

One record, made once, which plans take as an argument; kernels are given what they need of it with their plan.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import NamedTuple

import numba
from numba.core.codegen import get_host_cpu_features


class Blocks(NamedTuple):
    """How much of a convolution is computed at once: what one task, or one call of a micro-kernel, works on.

    Attributes:
        channels: output channels of a task: their weights, of a block of terms, stay in the L2 cache.
        pixels: cells of padded rows of a task, about.
        together: cells of small planes of a task, those of several images together.
        workspace: cells of padded rows computed before the pixels among them are copied to the result.
        shares: shares of a batch: enough for many threads, each with one image's planes in flight.
        packed_terms: terms summed at once by a task that packs its weights: these, a tile wide, and its inputs stay in
            the L1 cache.
        ready_terms: with weights that are packed once: these stay in the L2 cache, and sums are stored once.
        packed_pixels: pixels of a task that packs its weights: that takes a few per cent of its time.
        ready_pixels: pixels of a task whose weights are packed: its sums, inputs and weights fit the L2 cache.
        taps: terms of the weight gradient that one task sums as dot products.
        dot_cells: cells summed before the next terms: ten rows of them stay in the L1 cache.
        outer_terms: terms of the weight gradient that one task sums from transposed gradients.
        outer_tasks: the tasks that this must leave.
        outer_channels: channels side by side in the transposed gradient, at most: a tile of three vectors.
        shards: shards of the batch in which weight gradients are summed apart, at most.
        shard_pixels: pixels that a shard of outer products has at least, but where there would be fewer than four.
        last_pixels: pixels, about, summed at once of a weight gradient with channels last: they fit the L2 cache.
        last_pixels_of_tap: the same for a kernel of one tap, where they fit the L1 cache.
        winograd_bytes: of transformed tiles, about, that are multiplied for the gradient of the weights: with the sums
            they stay in the L2 cache.
        winograd_tiles: tiles of a task of Winograd's algorithm, about: enough for each transformed weight to be used.
    """

    channels: int = 128
    pixels: int = 768
    together: int = 1024
    workspace: int = 192
    shares: int = 64
    packed_terms: int = 128
    ready_terms: int = 1280
    packed_pixels: int = 1600
    ready_pixels: int = 800
    taps: int = 16
    dot_cells: int = 512
    outer_terms: int = 96
    outer_tasks: int = 16
    outer_channels: int = 48
    shards: int = 16
    shard_pixels: int = 1024
    last_pixels: int = 800
    last_pixels_of_tap: int = 224
    winograd_tiles: int = 144
    winograd_bytes: int = 3 * 2**18


class Limits(NamedTuple):
    """From where on one algorithm is faster than another; all of them measured.

    Attributes:
        packed_channels: output channels of a group that fill the vectors of a tile of packed weights.
        packed_terms: the terms that repay packing them.
        packed_channels_copied: channels where the input would be copied otherwise, padded or split into phases.
        packed_terms_padded: the terms where it is padded.
        packed_terms_strided: the terms where it is not, but would be split into phases.
        packed_pixels: the pixels that repay packing.
        ready_pixels: pixels from which several tasks need the same weights, which are then packed once for all.
        unpadded_pixels: pixels from which padded images with packed weights are read as they are.
        area_terms: the terms that are listed for that, at most: some megabytes.
        images: images, times groups, from which each thread takes whole ones.
        planes: the bytes of an image's planes, at most, which should fit the L2 cache.
        products: how many products the input gradient may take for each that is needed, zeros at borders included.
        outer_channels: output channels from which a vector of them is full enough to transpose the gradient for.
        outer_terms: the terms that repay it.
        apart: images from which each shard of a weight gradient splits its own: few of them are in two shards.
        sharded: elements of the weight gradient up to which shards of the batch are summed apart, each in the L2 cache.
        last: output channels and terms from which images with channels last are convolved as they are.
        last_channels: input channels from which the weight gradient of such images is summed in vectors of them.
        last_cells: pixels of a row of windows, at most, that are copied for it.
        depthwise: channels that fill half a vector of floats.
        channelwise: channels from which those of images in NCHW order are convolved one by one.
        winograd_channels: input and output channels of a group that repay Winograd's transforms.
        winograd_images: images whose tiles count where each has results of its own: more change nothing, so that it
            has the same bits in large batches.
        winograd_tiles: tiles of 2 x 2 results of these images that repay transforming the weights.
        winograd_products: how many products it may take for each of direct convolution's, with channels first, which
            leaves out those with the padding; at odd sizes it computes results that are not there.
        winograd_weights: channels from which it is faster for the gradient of the weights.
        winograd_work: tiles times input or output channels, the fewer of both, that repay all of it.
    """

    packed_channels: int = 48
    packed_terms: int = 288
    packed_channels_copied: int = 32
    packed_terms_padded: int = 256
    packed_terms_strided: int = 96
    packed_pixels: int = 128
    ready_pixels: int = 2400
    unpadded_pixels: int = 300
    area_terms: int = 2**18
    images: int = 8
    planes: int = 2**20
    products: float = 1.5
    outer_channels: int = 12
    outer_terms: int = 48
    apart: int = 16
    sharded: int = 2**16
    last: int = 16
    last_channels: int = 48
    last_cells: int = 2**13
    depthwise: int = 8
    channelwise: int = 1
    winograd_channels: int = 32
    winograd_images: int = 8
    winograd_tiles: int = 128
    winograd_work: int = 2**14
    winograd_products: float = 0.65
    winograd_weights: int = 64


# with shorter vectors the products take longer, and the transforms, which wait for memory, do not
SHORT_VECTORS = Limits(winograd_channels=16, winograd_weights=32, winograd_work=2**13)


class Host(NamedTuple):
    """A processor, as far as plans and kernels depend on it.

    Attributes:
        vector_bytes: bytes of a vector.
        registers: vector registers.
        l1: bytes of the L1 data cache of a core.
        l2: bytes of its L2 cache.
        tile_rows: MR, rows of sums of a micro-kernel.
        tile_vectors: NR, vectors of sums in a row.
        widest: vectors in a row where rows of sums lie anywhere.
        dot_rows: rows of a tile of dot products with four others.
        masked_stores: whether storing a vector under a mask takes no longer than storing all of it.
        blocks: see `Blocks`.
        limits: see `Limits`.
    """

    vector_bytes: int
    registers: int
    l1: int
    l2: int
    tile_rows: int
    tile_vectors: int
    widest: int
    dot_rows: int
    masked_stores: bool
    blocks: Blocks = Blocks()
    limits: Limits = Limits()


def features() -> set[str]:
    """The target's features, as Numba takes them: those it is told to use, otherwise the processor's."""
    given = numba.config.CPU_FEATURES  # of `NUMBA_CPU_FEATURES`; none for the CPU "generic"
    have = get_host_cpu_features() if given is None else given  # without AVX where `NUMBA_ENABLE_AVX=0`
    names = {feature[1:] for feature in have.split(",") if feature.startswith("+")}
    # each 64-bit ARM has it, and where the system does not tell features LLVM takes it for granted
    return names | {"neon"} if platform.machine() in ("aarch64", "arm64") else names


def _cache(level: int, otherwise: int) -> int:
    """The bytes of a cache of the first core that holds data."""
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            kind, at = (folder / "type").read_text().strip(), int((folder / "level").read_text())
            size = (folder / "size").read_text().strip()
        except (OSError, ValueError):
            continue
        if at == level and kind != "Instruction" and size.endswith("K"):
            return int(size[:-1]) * 1024
    return otherwise


def host_of(names: set[str], l1: int = 2**15, l2: int = 2**19) -> Host:
    """A processor with these features and caches.

    32 registers, of AVX-512 and of NEON, hold a tile of 8 x 3 vectors of sums, its inputs and a weight, and one of 6 x
    4; 16 hold 4 x 3.
    """
    many = "avx512f" in names or "neon" in names
    vector = 64 if "avx512f" in names else 32 if "avx" in names else 16
    # with AVX2 some processors take 15 to 20 cycles for one, not 2; with SSE and NEON it is one store for each lane
    masked_stores = "avx512f" in names
    return Host(
        vector, 32 if many else 16, l1, l2, 8 if many else 4, 3, 4 if many else 3, 6 if many else 2, masked_stores,
        limits=Limits() if vector == 64 else SHORT_VECTORS,
    )  # fmt: skip


FEATURES = features()
HOST = host_of(FEATURES, _cache(1, 2**15), _cache(2, 2**19))
# without the JIT, and for the bounds-checked twins, the micro-kernels' sums are plain loops
ENABLED = not numba.config.DISABLE_JIT and os.environ.get("FASTCONV_SERIAL", "0") in ("", "0")
