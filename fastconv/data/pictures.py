"""Reading pictures for a trained model."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np

from fastconv.errors import DataError, MissingExtraError, ShapeError


def read_pictures(path: str | os.PathLike[str], shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """A picture file, or a NumPy file of one picture or several, as a batch (N, C, H, W) of values from 0 to 1.

    Args:
        path: a `.npy` file with an array (H, W), (C, H, W) or (N, C, H, W): unsigned bytes, which are divided by 255,
            or floats from 0 to 1; or a PNG or other picture, made grey and scaled to the size. What is transparent in
            a picture is white.
        shape: (C, H, W) that the model takes.
        dtype: float32 or float64.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: the file cannot be read as what its name says, or its numbers are not of those kinds.
        ShapeError: the array does not fit the model.
        MissingExtraError: a picture file needs the extra `plot`.
    """
    if os.fspath(path).endswith(".npy"):
        try:
            array = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise DataError(f"{path}: is not a NumPy file of numbers ({error})") from error
    else:
        array = _picture(path, shape)
    if array.ndim < 4:
        array = array.reshape((1,) * (4 - array.ndim) + array.shape)
    if array.shape[1:] != shape:
        raise ShapeError(f"{path}: a picture of shape {shape} was needed, the file has {array.shape}")
    if array.dtype != np.uint8 and array.dtype.kind not in "bf":
        raise DataError(f"{path}: unsigned bytes or floats were needed, the file has {array.dtype}")
    x = array.astype(dtype) / (255 if array.dtype == np.uint8 else 1)
    low, high = x.min(initial=0), x.max(initial=1)
    if not (low == 0 and high == 1):  # NaN is neither
        raise DataError(f"{path}: floats from 0 to 1 were needed, the file has {array.min()} to {array.max()}")
    return x


def _picture(path: str | os.PathLike[str], shape: tuple[int, ...]) -> np.ndarray:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError('picture files need Pillow: pip install "fastconv[plot]"') from error
    if shape[0] != 1:
        raise ShapeError(f"{path}: picture files serve models with one channel, this one has {shape[0]}")
    with open(path, "rb") as file:  # apart: that there is no such file is no fault of a picture's
        content = io.BytesIO(file.read())
    try:
        with Image.open(content) as picture:
            return _grey(picture, (shape[2], shape[1]))
    except Exception as error:  # a damaged file can be an error of any kind in Pillow's decoders
        raise DataError(f"{path}: is not a picture, or is damaged ({_told(error, content)})") from error


def _told(error: Exception, content: io.BytesIO) -> str:
    """Pillow names the object that it was given, which says nothing here."""
    return str(error).replace(f" {content!r}", "") or type(error).__name__


def _grey(picture: Any, size: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    if picture.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
        return np.clip(np.asarray(picture.resize(size)) / 65535, 0, 1)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return np.asarray(picture.convert("L").resize(size))
