"""What every layer does: keep its inputs, add up gradients, update its parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from fastconv._arguments import arrays
from fastconv.compat.numpy_ml.neural_nets.activations import Identity, activation_of
from fastconv.compat.numpy_ml.neural_nets.initializers import WeightInitializer
from fastconv.compat.numpy_ml.neural_nets.optimizers import optimizer_of

Arrays = dict[str, np.ndarray]


class LayerBase:
    """The base of the layers.

    A layer may go forward several times: each input is kept, and `backward` takes as many gradients, in the same
    order. Gradients add up until `update`, which lets the optimiser change the parameters and forgets them.

    Attributes:
        X: the inputs since the last update.
        parameters: the arrays by name; None until the first input tells their shapes.
        gradients: the sums by name.
        derived_variables: what was computed on the way, by name, a list for all inputs.
        trainable: whether gradients are added up.
        hyperparameters: how the layer was made, by name.
    """

    learnt: tuple[str, ...] = ()  # the names of the parameters that have gradients
    settings: tuple[str, ...] = ()  # the names of the hyperparameters beside the optimiser and the activation
    derived: tuple[str, ...] = ()  # the names of the lists of derived variables
    kept: tuple[str, ...] = ()  # the names of parameters that have none

    def __init__(self, optimizer: Any = None, act_fn: Any = None, dtype: DTypeLike = np.float64):
        where = type(self).__name__
        self.act_fn = activation_of(where, act_fn)
        self.optimizer = optimizer_of(where, optimizer)
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"{where}: dtype must be float32 or float64, got {self.dtype}")
        self.trainable = True
        self.is_initialized = False
        self.X: list[np.ndarray] = []
        self.parameters: dict[str, Any] = dict.fromkeys((*self.learnt, *self.kept))
        self.gradients: Arrays = {}
        self.derived_variables: dict[str, list[Any]] = {name: [] for name in self.derived}

    def _drawn(self, shape: tuple[int, ...], init: str) -> np.ndarray:
        return WeightInitializer(self.act_fn, init)(shape).astype(self.dtype, copy=False)

    def _init_params(self, X: np.ndarray) -> Arrays:
        """The parameters for an input like X."""
        return {}

    def _fwd(self, X: np.ndarray) -> np.ndarray:
        """The result before the activation."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward(X)")

    def _bwd(self, dZ: np.ndarray, X: np.ndarray) -> tuple[np.ndarray, Arrays]:
        """The gradient of X, and those of the parameters if they are wanted."""
        raise NotImplementedError(f"{type(self).__name__} does not define backward(dLdy)")

    def forward(self, X: np.ndarray, retain_derived: bool = True) -> np.ndarray:
        """The layer's result for a batch.

        Args:
            X: the batch.
            retain_derived: whether `backward` will be asked for it.
        """
        self._begin(X)
        Z = self._fwd(X)
        if retain_derived:
            self.X.append(X)
            for name, value in zip(self.derived, (Z, *Z.shape[1:3])):
                self.derived_variables[name].append(value)
        return Z if type(self.act_fn) is Identity else self.act_fn(Z)

    def _begin(self, X: np.ndarray) -> None:
        arrays.numeric(type(self).__name__, "X", X)
        if not self.is_initialized:
            self._take(self._init_params(X))

    def _take(self, parameters: Arrays) -> None:
        self.parameters.update(parameters)
        self.gradients = {name: np.zeros_like(self.parameters[name]) for name in self.learnt}
        self.is_initialized = True

    def backward(self, dLdy: np.ndarray | list[np.ndarray], retain_grads: bool = True) -> Any:
        """The gradient of the input for that of the result, or a list for a list.

        Args:
            dLdy: the gradient of the result, a list if several inputs are kept.
            retain_grads: whether the parameters' gradients are added up; those of a frozen layer never are.

        Raises:
            ValueError: there are not as many gradients as inputs.
        """
        grads = dLdy if isinstance(dLdy, list) else [dLdy]
        if len(grads) != len(self.X):
            raise ValueError(f"{type(self).__name__}: dLdy must be of {len(self.X)} results, got {len(grads)}")
        found = []
        for place, (grad, X) in enumerate(zip(grads, self.X)):
            if type(self.act_fn) is not Identity:
                Z = self.derived_variables["Z"][place]
                arrays.same_shape(type(self).__name__, "dLdy", grad, Z.shape)
                grad = grad * self.act_fn.grad(Z)
            dX, of_parameters = self._bwd(grad, X)
            if retain_grads and self.trainable:
                for name, value in of_parameters.items():
                    self.gradients[name] += value.reshape(self.gradients[name].shape)
            found.append(dX)
        return found[0] if len(self.X) == 1 else found

    def freeze(self) -> None:
        """Leave the parameters as they are."""
        self.trainable = False

    def unfreeze(self) -> None:
        """Let them be learnt."""
        self.trainable = True

    def _learns(self, doing: str) -> None:
        if not self.trainable:
            raise ValueError(f"{type(self).__name__}: is frozen, {doing} needs unfreeze() before it")

    def flush_gradients(self) -> None:
        """Forget inputs and gradients."""
        self._learns("flush_gradients")
        self.X = []
        self.derived_variables = {name: [] for name in self.derived_variables}
        self.gradients = {name: np.zeros_like(value) for name, value in self.gradients.items()}

    def update(self, cur_loss: float | None = None) -> None:
        """Let the optimiser change the parameters by the gradients, and forget these."""
        self._learns("update")
        self.optimizer.step()
        for name, value in self.gradients.items():
            self.parameters[name] = self.optimizer(self.parameters[name], value, name, cur_loss)
        self.flush_gradients()

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """How the layer was made."""
        optimizer = {"cache": self.optimizer.cache, "hyperparameters": self.optimizer.hyperparameters}
        found = {name: getattr(self, name) for name in self.settings}
        return {"layer": type(self).__name__, **found, "act_fn": str(self.act_fn), "optimizer": optimizer}

    def summary(self) -> dict[str, Any]:
        """The layer's name, parameters and hyperparameters."""
        return {
            "layer": type(self).__name__, "parameters": self.parameters, "hyperparameters": self.hyperparameters,
        }  # fmt: skip

    def set_params(self, summary_dict: dict[str, Any]) -> LayerBase:
        """Take parameters and hyperparameters, as `summary` gives them, flat or in these two dictionaries.

        Parameters that are all there are used from the next input on; the summary stays as it is.
        """
        given = {name: value for name, value in summary_dict.items() if name not in ("parameters", "hyperparameters")}
        given |= {**summary_dict.get("parameters", {}), **summary_dict.get("hyperparameters", {})}
        where = type(self).__name__
        for name, value in given.items():
            if name in self.parameters and value is not None:
                self.parameters[name] = np.array(value, self.dtype)
            elif name == "act_fn":
                self.act_fn = activation_of(where, value)
            elif name == "optimizer":
                self.optimizer = optimizer_of(where, value)
            elif name in self.settings:
                setattr(self, name, value)
        if self.parameters and all(value is not None for value in self.parameters.values()):
            self._take({})
        return self
