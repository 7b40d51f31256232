"""Reading pictures for a trained model."""

from __future__ import annotations

import io
import os

import numpy as np

from fastconv.data.reading import content_of, damage, read_npy
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
        array = read_npy(path, "a NumPy file of numbers")
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
    content = content_of(path, "a picture")
    with damage(path, "a picture", content):
        with Image.open(io.BytesIO(content)) as picture:
            size = shape[2], shape[1]
            if picture.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
                return np.clip(np.asarray(picture.resize(size)) / 65535, 0, 1)
            if picture.has_transparency_data:
                picture = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
            return np.asarray(picture.convert("L").resize(size))
