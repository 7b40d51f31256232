"""Layers: thin objects over the functional API that hold parameters."""

from fastconv.nn import init
from fastconv.nn.activation import ReLU, Sigmoid, Softmax, Tanh
from fastconv.nn.base import Layer, Parameter
from fastconv.nn.conv import Conv2d
from fastconv.nn.linear import Flatten, Linear
from fastconv.nn.pool import AvgPool2d, MaxPool2d
from fastconv.nn.sequential import Sequential

__all__ = [
    "AvgPool2d",
    "Conv2d",
    "Flatten",
    "Layer",
    "Linear",
    "MaxPool2d",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "init",
]
