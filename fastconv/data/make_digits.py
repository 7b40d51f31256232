"""Write digits.npz from scikit-learn's copy of the UCI digits: ``python -m fastconv.data.make_digits``.

Needed only to make the file anew; scikit-learn is not needed to use it.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TEST_PER_CLASS = 36


def digits_arrays() -> dict[str, NDArray[Any]]:
    """Return images (1797, 8, 8) uint8 in 0..16, labels (1797,) uint8, order (1797,) uint16: 1,437 train, 360 test."""
    from sklearn.datasets import load_digits

    source = load_digits()
    labels = source.target.astype(np.uint8)
    return {"images": source.images.astype(np.uint8), "labels": labels, "order": split_order(labels)}


def split_order(labels: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return a permutation of the samples that ends with ``TEST_PER_CLASS`` of each class, both parts shuffled."""
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(len(labels))
    test = np.concatenate([shuffled[labels[shuffled] == c][:TEST_PER_CLASS] for c in np.unique(labels)])
    train = shuffled[~np.isin(shuffled, test)]
    return np.concatenate([train, rng.permutation(test)]).astype(np.uint16)


def write_npz(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write arrays as ``np.savez_compressed`` does, with fixed times and attributes: same arrays, same bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            little = array.astype(array.dtype.newbyteorder("<"), copy=False)
            np.lib.format.write_array(content, little, allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            archive.writestr(info, content.getvalue(), zipfile.ZIP_DEFLATED, 9)


if __name__ == "__main__":
    write_npz(Path(__file__).with_name("digits.npz"), digits_arrays())
