"""The one table of shapes: benchmarks, tables and tests refer to these names."""

from __future__ import annotations

from dataclasses import dataclass

import fastconv


@dataclass(frozen=True)
class ConvShape:
    """A convolution of (N, C, H, W) images with OC kernels of K x K, or of K x KW."""

    name: str
    N: int
    C: int
    H: int
    W: int
    OC: int
    K: int
    stride: int = 1
    pad: int = 0
    groups: int = 1
    dilation: int = 1
    KW: int = 0

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)."""
        return self.N, self.C, self.H, self.W

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """(OC, C/groups, KH, KW)."""
        return self.OC, self.C // self.groups, self.K, self.KW or self.K

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        """(N, OC, OH, OW)."""
        return fastconv.conv_output_shape(self.input_shape, self.weight_shape, self.stride, self.pad, self.dilation)

    @property
    def options(self) -> tuple[int, int, int, int]:
        """Stride, padding, dilation, groups: what follows the arrays in a call."""
        return self.stride, self.pad, self.dilation, self.groups

    @property
    def output_padding(self) -> int:
        """Rows and columns that a transposed convolution back to (H, W) adds to those that its windows reach."""
        return self.H - (self.output_shape[2] - 1) * self.stride + 2 * self.pad - self.K

    @property
    def flops(self) -> int:
        """Multiplications and additions of the forward pass; either gradient has as many."""
        N, OC, OH, OW = self.output_shape
        return 2 * N * OC * OH * OW * (self.C // self.groups) * self.K * (self.KW or self.K)

    def __str__(self) -> str:
        sizes = f"{self.N},{self.C},{self.H},{self.W} → {self.OC}, {self.K}x{self.KW or self.K}"
        extras = (("stride", self.stride, 1), ("padding", self.pad, 0), ("groups", self.groups, 1))
        extras += (("dilation", self.dilation, 1),)
        return sizes + "".join(f", {name} {value}" for name, value, default in extras if value != default)


@dataclass(frozen=True)
class PoolShape:
    """Windows of K x K over (N, C, H, W) images."""

    name: str
    N: int
    C: int
    H: int
    W: int
    K: int
    stride: int
    pad: int = 0

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)."""
        return self.N, self.C, self.H, self.W

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        """(N, C, OH, OW)."""
        # a convolution's geometry, with one image for each plane
        image, window = (self.N * self.C, 1, self.H, self.W), (1, 1, self.K, self.K)
        return self.N, self.C, *fastconv.conv_output_shape(image, window, self.stride, self.pad)[2:]

    @property
    def options(self) -> tuple[int, int, int]:
        """Kernel size, stride, padding: what follows the array in a call."""
        return self.K, self.stride, self.pad

    def __str__(self) -> str:
        padding = f", padding {self.pad}" if self.pad else ""
        return f"{self.N},{self.C},{self.H},{self.W}, {self.K}x{self.K}, stride {self.stride}{padding}"


@dataclass(frozen=True)
class LinearShape:
    """A matrix of (OUT, IN) weights applied to N rows."""

    name: str
    N: int
    IN: int
    OUT: int

    @property
    def flops(self) -> int:
        """Multiplications and additions of the forward pass; either gradient has as many."""
        return 2 * self.N * self.IN * self.OUT

    def __str__(self) -> str:
        return f"{self.N},{self.IN} → {self.OUT}"


# Smallest first within each kind of network: the first row of each table is the cheapest to try.
CONVS = (
    ConvShape("LeNet c1", 64, 1, 28, 28, 6, 5, 1, 2),
    ConvShape("LeNet c2", 64, 6, 14, 14, 16, 5),
    ConvShape("AlexNet c1", 4, 3, 227, 227, 64, 11, 4),
    ConvShape("VGG 1_1", 1, 3, 224, 224, 64, 3, 1, 1),
    ConvShape("VGG 1_2", 1, 64, 224, 224, 64, 3, 1, 1),
    ConvShape("VGG 3_2", 1, 256, 56, 56, 256, 3, 1, 1),
    ConvShape("VGG 5", 4, 512, 14, 14, 512, 3, 1, 1),
    ConvShape("ResNet c1", 4, 3, 224, 224, 64, 7, 2, 3),
    ConvShape("ResNet 1x1", 4, 64, 56, 56, 256, 1),
    ConvShape("ResNet 3x3", 4, 128, 28, 28, 128, 3, 1, 1),
    ConvShape("depthwise 3x3", 8, 128, 56, 56, 128, 3, 1, 1, 128),
)

POOLS = (
    PoolShape("LeNet p1", 64, 6, 28, 28, 2, 2),
    PoolShape("LeNet p2", 64, 16, 10, 10, 2, 2),
    PoolShape("ResNet p1", 4, 64, 112, 112, 3, 2, 1),
)

LINEARS = (
    LinearShape("LeNet f1", 64, 400, 120),
    LinearShape("LeNet f2", 64, 120, 84),
    LinearShape("LeNet f3", 64, 84, 10),
)

# Read backwards: (N, OC, OH, OW) images become (N, C, H, W) ones.
TRANSPOSES = (
    ConvShape("upsample 4x4", 8, 64, 56, 56, 128, 4, 2, 1),
    ConvShape("upsample 3x3", 8, 64, 56, 56, 64, 3, 2, 1),
    ConvShape("U-Net 2x2", 8, 64, 56, 56, 128, 2, 2),
    ConvShape("decoder 3x3", 8, 64, 28, 28, 64, 3, 1, 1),
    ConvShape("depthwise up 3x3", 8, 128, 56, 56, 128, 3, 2, 1, 128),
)
# Shapes that no kernel was made for.
OTHER_CONVS = (
    ConvShape("5x5 strided", 4, 32, 64, 64, 64, 5, 2, 2),
    ConvShape("1x7", 2, 96, 35, 35, 128, 1, KW=7),
    ConvShape("7x1", 2, 128, 35, 35, 96, 7, KW=1),
    ConvShape("dilated", 2, 64, 40, 40, 64, 3, 1, 2, dilation=2),
    ConvShape("1x1 strided", 4, 128, 56, 56, 256, 1, 2),
    ConvShape("17x41", 3, 24, 17, 41, 40, 3, 1, 1),
    ConvShape("1,024 channels", 2, 1024, 14, 14, 256, 1),
    ConvShape("in 4 groups", 2, 128, 28, 28, 128, 3, 1, 1, 4),
    ConvShape("13 to 29 channels", 8, 13, 31, 31, 29, 3),
    ConvShape("7x7 images", 16, 256, 7, 7, 256, 3, 1, 1),
    ConvShape("4x4 strided", 8, 48, 32, 32, 96, 4, 2, 1),
)
# Also measured with channels last.
NHWCS = ("LeNet c2", "ResNet c1", "ResNet 1x1", "ResNet 3x3", "depthwise 3x3")

CONV = {shape.name: shape for shape in CONVS}
OTHERS = {shape.name: shape for shape in OTHER_CONVS}
POOL = {shape.name: shape for shape in POOLS}
LINEAR = {shape.name: shape for shape in LINEARS}
TRANSPOSE = {shape.name: shape for shape in TRANSPOSES}
NHWC = {name: CONV[name] for name in NHWCS}
