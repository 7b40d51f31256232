"""Layers: thin objects over the functional API that hold parameters."""

from fastconv.nn import init
from fastconv.nn.activation import LeakyReLU, ReLU, ReLU6, Sigmoid, Softmax, Tanh
from fastconv.nn.base import Backward, Buffer, Layer, Parameter
from fastconv.nn.conv import Conv2d, ConvTranspose2d
from fastconv.nn.dropout import Dropout
from fastconv.nn.folding import folded
from fastconv.nn.linear import Flatten, Linear
from fastconv.nn.norm import BatchNorm2d, LocalResponseNorm
from fastconv.nn.partial import PartialConv2d
from fastconv.nn.pool import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from fastconv.nn.residual import Residual
from fastconv.nn.sequential import Sequential

__all__ = [
    "AvgPool2d",
    "Backward",
    "BatchNorm2d",
    "Buffer",
    "Conv2d",
    "ConvTranspose2d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "Layer",
    "LeakyReLU",
    "Linear",
    "LocalResponseNorm",
    "MaxPool2d",
    "Parameter",
    "PartialConv2d",
    "ReLU",
    "ReLU6",
    "Residual",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "folded",
    "init",
]
