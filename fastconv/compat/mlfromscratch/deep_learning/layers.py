"""Every layer, and the functions of columns, under the tutorial's module name."""

from fastconv.compat.mlfromscratch.deep_learning.activation_functions import (
    ELU,
    SELU,
    LeakyReLU,
    ReLU,
    Sigmoid,
    Softmax,
    SoftPlus,
    TanH,
)
from fastconv.compat.mlfromscratch.deep_learning.base import Layer
from fastconv.compat.mlfromscratch.deep_learning.columns import (
    column_to_image,
    determine_padding,
    get_im2col_indices,
    image_to_column,
)
from fastconv.compat.mlfromscratch.deep_learning.convolution import Conv2D
from fastconv.compat.mlfromscratch.deep_learning.normalisation import BatchNormalization
from fastconv.compat.mlfromscratch.deep_learning.pooling import AveragePooling2D, MaxPooling2D, PoolingLayer
from fastconv.compat.mlfromscratch.deep_learning.recurrent import RNN
from fastconv.compat.mlfromscratch.deep_learning.shapes import (
    ConstantPadding2D,
    Flatten,
    Reshape,
    UpSampling2D,
    ZeroPadding2D,
)
from fastconv.compat.mlfromscratch.deep_learning.units import Activation, Dense, Dropout, activation_functions

__all__ = [
    "ELU",
    "RNN",
    "SELU",
    "Activation",
    "AveragePooling2D",
    "BatchNormalization",
    "ConstantPadding2D",
    "Conv2D",
    "Dense",
    "Dropout",
    "Flatten",
    "Layer",
    "LeakyReLU",
    "MaxPooling2D",
    "PoolingLayer",
    "ReLU",
    "Reshape",
    "Sigmoid",
    "SoftPlus",
    "Softmax",
    "TanH",
    "UpSampling2D",
    "ZeroPadding2D",
    "activation_functions",
    "column_to_image",
    "determine_padding",
    "get_im2col_indices",
    "image_to_column",
]
