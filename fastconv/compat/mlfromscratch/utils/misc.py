"""Pictures of data (extra `plot`), and what the tutorial's progress bar is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv.errors import MissingExtraError

bar_widgets: list[Any] = []  # the network's own bar needs none


class Plot:
    """Scatter plots of data along the directions in which it varies most; each ends with `show`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """

    def __init__(self) -> None:
        try:
            import matplotlib.pyplot
        except ImportError as error:
            raise MissingExtraError('Plot needs matplotlib: pip install "fastconv[plot]"') from error
        self._plt = matplotlib.pyplot
        self.cmap = self._plt.get_cmap("viridis")

    def _transform(self, X: np.ndarray, dim: int) -> np.ndarray:
        """X (N, D) in the `dim` directions of largest variance."""
        _, directions = np.linalg.eigh(np.cov(X, rowvar=False))  # ascending
        return X @ directions[:, ::-1][:, :dim]

    def plot_in_2d(
        self, X: np.ndarray, y: Any = None, title: str | None = None, accuracy: float | None = None,
        legend_labels: Sequence[Any] | None = None,
    ) -> None:  # fmt: skip
        """The two first components, coloured by the classes y."""
        points = self._transform(X, 2)
        labels = np.zeros(len(X), int) if y is None else np.asarray(y).astype(int)
        classes = np.unique(labels)
        shown = [
            self._plt.scatter(*points[labels == label].T, color=self.cmap(place))
            for label, place in zip(classes, np.linspace(0, 1, len(classes)))
        ]
        if legend_labels is not None:
            self._plt.legend(shown, legend_labels, loc=1)
        if title and accuracy:
            self._plt.suptitle(title)
            self._plt.title(f"Accuracy: {100 * accuracy:.1f}%", fontsize=10)
        elif title:
            self._plt.title(title)
        self._plt.xlabel("Principal Component 1")
        self._plt.ylabel("Principal Component 2")
        self._plt.show()

    def plot_in_3d(self, X: np.ndarray, y: Any = None) -> None:
        """The three first components, coloured by y."""
        points = self._transform(X, 3)
        axes = self._plt.figure().add_subplot(111, projection="3d")
        axes.scatter(*points.T, c=y)
        self._plt.show()
