"""What an error about shapes adds where the arrays would fit in another way."""

from __future__ import annotations

GREY = "; grey images (N, H, W) need an axis of channels: x[:, None]"
LAST = '; with channels last, give x.transpose(0, 3, 1, 2), or layout="NHWC" where there is such an argument'


def of_convolution(x: tuple[int, ...], weight: tuple[int, ...], groups: object, layout: str) -> str:
    """The hint for images and a bank of kernels, in that layout, that do not fit; empty where there is none."""
    if not isinstance(groups, int):
        return ""
    needed = groups * weight[1 if layout == "NCHW" else 3]
    if len(x) == 3 and needed == 1 and x[0 if layout == "NCHW" else 2] != 1:
        return GREY if layout == "NCHW" else GREY.replace("[:, None]", "[..., None]")
    if layout == "NCHW" and len(x) == 4:
        there, as_given = groups * weight[3], x[1] == needed
        return LAST if not as_given and x[3] in (needed, there) else ""
    if layout == "NHWC" and len(x) == 4 and x[3] != needed and x[1] in (needed, groups * weight[1]):
        return '; x has as many channels in front: layout="NCHW" takes such images'
    return ""
