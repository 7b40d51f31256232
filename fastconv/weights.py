"""Weights alone, by PyTorch's names, in files that other programs read: safetensors (extra `safetensors`) and npz.

Nothing in a file is ever unpickled.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastconv._arguments.arrays import numeric
from fastconv.checkpoint import checkpoint_of
from fastconv.data.files import written_atomically
from fastconv.data.reading import as_path, content_of, damage, read_npz
from fastconv.errors import DataError, DTypeError, MissingExtraError

SUFFIXES = (".safetensors", ".npz")
_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "BOOL": "?", "I64": "<i8", "I32": "<i4", "I16": "<i2",
    "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
}  # fmt: skip


def save_weights(path: str | os.PathLike[str], state: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name, whole or not at all; PyTorch's `load_state_dict` takes them under the same names.

    Args:
        path: a file name that ends in `.safetensors` or `.npz`.
        state: a model's `state_dict()`; numeric arrays of any shape.

    Raises:
        ValueError: the name has another ending.
        TypeError: an array is not numeric.
        OSError: the file cannot be written.
        MissingExtraError: safetensors is not installed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_weights(f"{folder}/a.npz", {"0.weight": np.ones(2)})
        ...     load_weights(f"{folder}/a.npz")
        {'0.weight': array([1., 1.])}
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"save_weights: state must be a state_dict, got {type(state).__name__}")
    suffix = check_weights_name("save_weights: path", path)
    arrays = {name: _numeric(name, value) for name, value in state.items()}
    # safetensors writes the memory as it lies, whatever the strides are
    arrays = {name: np.array(value, value.dtype.newbyteorder("<"), order="C") for name, value in arrays.items()}
    content = _safetensors().numpy.save(arrays, {"format": "pt"}) if suffix == ".safetensors" else None
    with written_atomically(path) as file:
        if content is None:
            np.savez(file, allow_pickle=False, **arrays)
        else:
            file.write(content)


def load_weights(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> dict[str, np.ndarray]:
    """Read arrays by name, as for a model's `load_state_dict`; of a fastconv checkpoint, the model's.

    Args:
        path: a file whose name ends in `.safetensors` or `.npz`; bfloat16 becomes float32, which holds it exactly.
        max_bytes: how many bytes an npz file may unpack to; by default 1 GiB, or its own size if that is more.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: the file is damaged, holds something else, or unpacks to more.
        ValueError: the name has another ending.
        MissingExtraError: safetensors is not installed.
    """
    if check_weights_name("load_weights: path", path) == ".safetensors":
        return _from_safetensors(path)
    arrays = read_npz("load_weights", path, "an npz file of numeric arrays", max_bytes)
    return checkpoint_of(path, arrays).model if "facts" in arrays else arrays


def check_weights_name(where: str, path: str | os.PathLike[str]) -> str:
    """The ending of a file's name, or the error now that `save_weights` would raise after an hour of training."""
    suffix = as_path(where.partition(":")[0], path).suffix
    if suffix not in SUFFIXES:
        raise ValueError(f"{where} must end in {' or '.join(SUFFIXES)}, got {str(path)!r}")
    if suffix == ".safetensors":
        _safetensors()
    return suffix


def _numeric(name: str, value: Any) -> np.ndarray:
    try:
        return numeric("save_weights", name, value if isinstance(value, np.ndarray) else np.asarray(value))
    except DTypeError as error:
        raise TypeError(str(error)) from None


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise MissingExtraError('.safetensors files need safetensors: pip install "fastconv[safetensors]"') from error
    return safetensors


def _from_safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    library, wanted = _safetensors(), "a safetensors file"
    content = content_of(path, wanted)
    with damage(path, wanted, content):
        found = library.deserialize(content)
        unknown = sorted({part["dtype"] for _, part in found} - _TYPES.keys())
        if unknown:
            raise DataError(f"{path}: holds arrays of {', '.join(unknown)}; {', '.join(_TYPES)} can be read")
        return {name: _array(**part) for name, part in found}


def _array(dtype: str, shape: list[int], data: bytes) -> np.ndarray:
    array = np.frombuffer(data, _TYPES[dtype]).reshape(shape)
    if dtype == "BF16":  # the upper half of a float32
        return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return array.copy()
