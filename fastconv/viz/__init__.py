"""Pictures with matplotlib (extra `plot`): functions take `ax=None`, return it, and never call `show`.

Without an Axes they draw on a figure of their own, which pyplot knows nothing of; `save` writes it. Titles are English
or, with `language="zh"` and a font that has the characters, Chinese.
"""

from fastconv.viz.confusion import confusion_matrix, plot_confusion
from fastconv.viz.curves import plot_history, save_history
from fastconv.viz.figures import new_axes, save
from fastconv.viz.layers import plot_feature_maps, plot_filters
from fastconv.viz.pictures import plot_image, plot_images, plot_misclassified, plot_samples
from fastconv.viz.words import LANGUAGES, Lettering, lettering

__all__ = [
    "LANGUAGES",
    "Lettering",
    "confusion_matrix",
    "lettering",
    "new_axes",
    "plot_confusion",
    "plot_feature_maps",
    "plot_filters",
    "plot_history",
    "plot_image",
    "plot_images",
    "plot_misclassified",
    "plot_samples",
    "save",
    "save_history",
]
