"""Every name that the tutorials' scripts of convolutional networks import, by the module's path in the tutorial."""

from __future__ import annotations

import importlib

import pytest

LAYERS = (
    "Dense Dropout Conv2D Flatten Activation MaxPooling2D AveragePooling2D ZeroPadding2D ConstantPadding2D "
    "BatchNormalization RNN Reshape UpSampling2D PoolingLayer Layer activation_functions determine_padding "
    "get_im2col_indices image_to_column column_to_image"
)
FUNCTIONS = (
    "identity_function step_function sigmoid sigmoid_grad relu relu_grad softmax sum_squared_error "
    "cross_entropy_error softmax_loss"
)
UTILS = (
    "im2col col2im conv1D conv2D conv2D_naive deconv2D_naive pad1D pad2D calc_pad_dims_1D calc_pad_dims_2D "
    "calc_conv_out_dims calc_fan dilate minibatch he_uniform he_normal glorot_uniform glorot_normal truncated_normal"
)
NAMES = {
    "mlfromscratch.deep_learning": "NeuralNetwork",
    "mlfromscratch.deep_learning.layers": LAYERS,
    "mlfromscratch.deep_learning.neural_network": "NeuralNetwork",
    "mlfromscratch.deep_learning.optimizers": (
        "StochasticGradientDescent NesterovAcceleratedGradient Adagrad Adadelta RMSprop Adam"
    ),
    "mlfromscratch.deep_learning.loss_functions": "Loss SquareLoss CrossEntropy",
    "mlfromscratch.deep_learning.activation_functions": "Sigmoid Softmax TanH ReLU LeakyReLU ELU SELU SoftPlus",
    "mlfromscratch.utils": "train_test_split to_categorical normalize get_random_subsets shuffle_data Plot",
    "mlfromscratch.utils.data_operation": "accuracy_score",
    "mlfromscratch.utils.data_manipulation": "batch_iterator standardize to_nominal make_diagonal",
    "mlfromscratch.utils.misc": "bar_widgets Plot",
    "dlfs.common.layers": (
        f"Relu Sigmoid Affine SoftmaxWithLoss Dropout BatchNormalization Convolution Pooling im2col col2im {FUNCTIONS}"
    ),
    "dlfs.common.functions": FUNCTIONS,
    "dlfs.common.gradient": "numerical_gradient numerical_gradient_2d",
    "dlfs.common.util": "smooth_curve shuffle_dataset conv_output_size im2col col2im",
    "dlfs.common.optimizer": "SGD Momentum Nesterov AdaGrad RMSprop Adam",
    "dlfs.common.trainer": "Trainer",
    "dlfs.simple_convnet": "SimpleConvNet",
    "dlfs.deep_convnet": "DeepConvNet",
    "dlfs.dataset.mnist": "load_mnist",
    "nhwc": (
        "relu drelu softmax gradient_clip img2col_conv img2col_maxpool conv_flatten flatten entrop_loss forward "
        "full_backprop upsample pool_backprop swap_first_end_axis conv_backprop conv_backprop2 tensorHandle accuracy"
    ),
    "numpy_ml.neural_nets.layers": (
        "LayerBase Conv1D Conv2D Deconv2D Pool2D BatchNorm2D FullyConnected Flatten Softmax"
    ),
    "numpy_ml.neural_nets.activations": (
        "Sigmoid ReLU LeakyReLU GELU Tanh Affine Identity ELU Exponential SELU HardSigmoid SoftPlus ActivationBase"
    ),
    "numpy_ml.neural_nets.utils": UTILS,
    "numpy_ml.neural_nets.optimizers": "SGD AdaGrad RMSProp Adam OptimizerBase",
    "numpy_ml.neural_nets.initializers": "WeightInitializer",
}
# where two modules of a tutorial have different things of one name, the package has the layer
NOT_AT_THE_TOP = {"ActivationBase", "OptimizerBase", "WeightInitializer"}


@pytest.mark.parametrize("path", NAMES)
def test_every_name_is_where_the_tutorial_has_it(path):
    module = importlib.import_module(f"fastconv.compat.{path}")
    package = importlib.import_module(f"fastconv.compat.{path.partition('.')[0]}")
    for name in NAMES[path].split():
        assert hasattr(module, name), name
        assert name in NOT_AT_THE_TOP or getattr(package, name) is getattr(module, name), name


def test_what_stars_bring():
    names: dict[str, object] = {}
    exec("from fastconv.compat.dlfs.common.layers import *", names)
    assert {"Convolution", "Pooling", "softmax", "cross_entropy_error", "im2col"} <= names.keys()
    exec("from fastconv.compat.numpy_ml.neural_nets.utils import *", names)
    assert {"pad2D", "conv2D"} <= names.keys()
