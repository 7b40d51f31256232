"""LeNet-5 by hand, channels last: images (N, H, W, C), filters (F, KH, KW, C), dense weights (IN, OUT), no biases.

`forward` returns what each layer keeps in a dictionary, its `cash`: `z_p` and `a_p`, the pre-activation and the
activation of the layer before, `z` and `a`, its own, and `w`, its weights or the size of its window. A `..._backprop`
takes the gradient of its layer's `z` and that dictionary. What is flattened is channel-major: (c, y, x).
"""

from fastconv.compat.nhwc.columns import (
    conv_flatten,
    flatten,
    img2col_conv,
    img2col_maxpool,
    swap_first_end_axis,
    tensorHandle,
)
from fastconv.compat.nhwc.functions import accuracy, drelu, entrop_loss, gradient_clip, relu, softmax
from fastconv.compat.nhwc.gradients import conv_backprop, conv_backprop2, full_backprop, pool_backprop, upsample
from fastconv.compat.nhwc.network import forward

__all__ = [
    "accuracy",
    "conv_backprop",
    "conv_backprop2",
    "conv_flatten",
    "drelu",
    "entrop_loss",
    "flatten",
    "forward",
    "full_backprop",
    "gradient_clip",
    "img2col_conv",
    "img2col_maxpool",
    "pool_backprop",
    "relu",
    "softmax",
    "swap_first_end_axis",
    "tensorHandle",
    "upsample",
]
