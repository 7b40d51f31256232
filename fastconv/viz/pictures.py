"""Pictures of pictures: one, many side by side, samples of a data set, those that a model takes for something else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv._arguments import arrays
from fastconv._arguments.scalars import Rng, generator
from fastconv._arguments.sizes import ceil_div, integer
from fastconv.errors import ShapeError
from fastconv.viz.figures import new_axes
from fastconv.viz.words import FIRST_CJK, lettering

# inches: of a picture, of all at most, of a figure at least, of the title's height and of a letter of it
TILE, LONGEST, LEAST, TITLE, LETTER = 0.9, 14.0, 3.2, 0.5, 0.1
# shares of a picture: between two, a line of text
GAP, TEXT = 0.05, 0.2
LINE = 14  # characters that fit above a picture


def plot_image(picture: np.ndarray, ax: Any = None, *, title: str = "", language: str = "en") -> Any:
    """One picture, in grey from its smallest value to its largest, or in colour.

    Args:
        picture: (H, W), (1, H, W), or (3, H, W) with values from 0 to 1, or to 255 as bytes.
        ax: a matplotlib Axes, or None for one of a new figure.
        title: above the picture.
        language: of the title, "en" or "zh".

    Returns:
        The Axes.

    Raises:
        ShapeError: the picture has another shape.
        TypeError: it is not an array of numbers.
        MissingExtraError: matplotlib is not installed.
    """
    x = arrays.numeric("plot_image", "picture", picture)
    return tiles("plot_image", "picture", x[None], ax, title=title, language=language)


def plot_images(
    pictures: np.ndarray, labels: Sequence[object] | None = None, ax: Any = None, *, columns: int | None = None,
    title: str = "", own_scale: bool = False, language: str = "en",
) -> Any:  # fmt: skip
    """Pictures of one size side by side, in rows.

    Args:
        pictures: (N, H, W), (N, 1, H, W), or (N, 3, H, W) with values from 0 to 1, or to 255 as bytes.
        labels: what to write above each, or None.
        ax: a matplotlib Axes, or None for one of a new figure.
        columns: how many stand in a row; None for about as many as there are rows.
        title: above all.
        own_scale: whether black and white are each picture's smallest and largest value, instead of everyone's.
        language: of the title, "en" or "zh".

    Returns:
        The Axes.

    Raises:
        ShapeError: the pictures have another shape, or there are more or fewer labels.
        ValueError: `columns` is below 1.
        TypeError: an argument is of the wrong kind.
        MissingExtraError: matplotlib is not installed.
    """
    x = arrays.numeric("plot_images", "pictures", pictures)
    return tiles(
        "plot_images", "pictures", x, ax, labels=labels, columns=columns, title=title, own_scale=own_scale,
        language=language,
    )  # fmt: skip


def plot_samples(
    x: np.ndarray, labels: np.ndarray, class_names: Sequence[str] | None = None, ax: Any = None, *, count: int = 9,
    rng: Rng = None, language: str = "en",
) -> Any:  # fmt: skip
    """Some pictures of a data set with the names of their classes.

    Args:
        x: (N, C, H, W) or (N, H, W), as `plot_images` takes them.
        labels: class ids (N,).
        class_names: by id; None writes the ids.
        ax: a matplotlib Axes, or None for one of a new figure.
        count: how many pictures at most.
        rng: chooses them: a Generator or a seed; None takes the first.
        language: of the title, "en" or "zh".

    Returns:
        The Axes.

    Raises:
        ShapeError: sizes do not fit.
        ValueError: a label has no name, or `count` is below 1.
        TypeError: an argument is of the wrong kind.
        MissingExtraError: matplotlib is not installed.
    """
    where = "plot_samples"
    x, names = arrays.numeric(where, "x", x), named(where, "labels", labels, class_names, len(x))
    count = min(integer(where, "count", count, 1), len(x))
    chosen = np.arange(count) if rng is None else generator(rng, where).choice(len(x), count, replace=False)
    above, title = [names[i] for i in chosen], lettering(language)("samples")
    return tiles(where, "x", x[chosen], ax, labels=above, title=title, language=language)


def plot_misclassified(
    x: np.ndarray, labels: np.ndarray, predicted: np.ndarray, class_names: Sequence[str] | None = None,
    ax: Any = None, *, count: int = 25, language: str = "en",
) -> Any:  # fmt: skip
    """The first pictures that a model takes for something else, each with its class and what it is taken for.

    Args:
        x: (N, C, H, W) or (N, H, W), as `plot_images` takes them.
        labels: class ids (N,).
        predicted: class ids (N,), as `predict(model, x).argmax(axis=1)`.
        class_names: by id; None writes the ids.
        ax: a matplotlib Axes, or None for one of a new figure.
        count: how many pictures at most.
        language: of the title, "en" or "zh".

    Returns:
        The Axes; without a picture where every one is right.

    Raises:
        ShapeError: sizes do not fit.
        ValueError: a class has no name, or `count` is below 1.
        TypeError: an argument is of the wrong kind.
        MissingExtraError: matplotlib is not installed.
    """
    where = "plot_misclassified"
    x, actual = arrays.numeric(where, "x", x), named(where, "labels", labels, class_names, len(x))
    taken_for = named(where, "predicted", predicted, class_names, len(x))
    wrong = np.flatnonzero(labels != predicted)
    shown = wrong[: integer(where, "count", count, 1)]
    title = lettering(language)("{:,} of {:,} misclassified (actual → predicted)", len(wrong), len(x))
    above = [f"{actual[i]} → {taken_for[i]}" for i in shown]
    if max(map(len, above), default=0) > LINE:
        above = [text.replace(" → ", "\n→ ") for text in above]
    return tiles(where, "x", x[shown], ax, labels=above, title=title, language=language)


def named(where: str, name: str, labels: Any, class_names: Sequence[str] | None, count: int | None = None) -> list[str]:
    """The name of each class id."""
    ids = arrays.numeric(where, name, labels)
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise ShapeError(f"{where}: {name} must be class ids (N,), got {ids.dtype} of shape {ids.shape}")
    if count is not None and len(ids) != count:
        raise ShapeError(f"{where}: {name} must be as many as the pictures, {count}, got {len(ids)}")
    if class_names is None:
        return [str(i) for i in ids]
    if ids.size and not 0 <= ids.min() <= ids.max() < len(class_names):
        raise ValueError(
            f"{where}: class_names has {len(class_names)} names, {name} has ids from {ids.min()} to {ids.max()}"
        )
    return [class_names[i] for i in ids]


def tiles(
    where: str, name: str, x: np.ndarray, ax: Any, *, labels: Sequence[object] | None = None,
    columns: int | None = None, title: str = "", own_scale: bool = False, limit: float | None = None,
    language: str = "en",
) -> Any:  # fmt: skip
    """Draw pictures side by side; `limit` is the value that is white, its negative black."""
    x = _in_colour_or_grey(where, name, x)
    count, H, W = x.shape[:3]
    if labels is not None and len(labels) != count:
        raise ShapeError(f"{where}: labels must be as many as the pictures, {count}, got {len(labels)}")
    columns = math.ceil(math.sqrt(count)) if columns is None else integer(where, "columns", columns, 1)
    columns = max(min(columns, count), 1)
    words = lettering(language)
    texts = [""] * count if labels is None else [words.shown(label) for label in labels]
    # in pixels
    gap, above = max(1, round(GAP * max(H, W))), math.ceil(TEXT * max(H, W) * max(map(_lines, texts), default=0))
    height, width = H + gap + above, W + gap
    rows = ceil_div(count, columns)
    if ax is None:
        tile = min(TILE, LONGEST / max(rows, columns)) / max(H, W)
        least = max(LEAST, LETTER * sum(2 if c >= FIRST_CJK else 1 for c in title))
        (ax,) = new_axes(1, max(columns * width * tile, least), max(rows * height * tile, 1) + TITLE * bool(title))
    ax.set_axis_off()
    ax.set_title(words.shown(title), family=words.family)
    if not count:
        return ax
    # nothing between the pictures: NaN is not drawn, and colours have no value for that but white
    canvas = np.full((rows * height - gap, columns * width - gap, *x.shape[3:]), np.nan if x.ndim == 3 else 1)
    for i, picture in enumerate(_rescaled(x) if own_scale else x):
        top, left = i // columns * height + above, i % columns * width
        canvas[top : top + H, left : left + W] = picture
        if texts[i]:
            ax.text(left + (W - 1) / 2, top - 1, texts[i], ha="center", va="bottom", size=8, family=words.family)
    ax.imshow(canvas, cmap="gray", interpolation="nearest", vmin=limit and -limit, vmax=limit)
    return ax


def _lines(text: str) -> int:
    return text.count("\n") + 1 if text else 0


def _in_colour_or_grey(where: str, name: str, x: np.ndarray) -> np.ndarray:
    """(N, H, W), or (N, H, W, 3) of values from 0 to 1, in float64."""
    if x.ndim not in (3, 4) or (x.ndim == 4 and x.shape[1] not in (1, 3)) or 0 in x.shape[1:]:
        one = name == "picture"
        shapes = [("" if one else "N, ") + shape for shape in ("H, W", "1, H, W", "3, H, W")]
        wanted, got = " or ".join(f"({shape})" for shape in shapes), x.shape[1:] if one else x.shape
        raise ShapeError(f"{where}: {name} must have shape {wanted}, none of them 0, got {got}")
    values = x.astype(np.float64)
    if x.ndim == 3:
        return values
    if x.shape[1] == 1:
        return values[:, 0]
    return np.clip(np.moveaxis(values, 1, -1) / (255 if x.dtype == np.uint8 else 1), 0, 1)


def _rescaled(x: np.ndarray) -> np.ndarray:
    """Each picture from 0 to 1; 0 where all its values are one, NaN where they are not finite."""
    axes, finite = tuple(range(1, x.ndim)), np.isfinite(x)
    low = x.min(axis=axes, keepdims=True, where=finite, initial=np.inf)
    high = x.max(axis=axes, keepdims=True, where=finite, initial=-np.inf)
    return (np.where(finite, x, np.nan) - low) / np.where(high > low, high - low, 1)
