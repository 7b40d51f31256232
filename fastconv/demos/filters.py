"""Filters chosen by hand, smoothing and edges, and filters that are learnt."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.data import load_digits
from fastconv.demos.base import Demo, learnt, matrix, spoken
from fastconv.functional import conv1d, correlate2d

KERNELS = {
    "smoothed": np.outer([1, 2, 1], [1, 2, 1]) / 16,  # binomial, which comes close to a Gaussian
    "vertical edges": np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]),
    "horizontal edges": np.array([[-1.0, -2, -1], [0, 0, 0], [1, 2, 1]]),
}
SIGNAL = np.array([2.0, 4.0, 3.0, 8.0, 1.0, 6.0, 5.0, 7.0])
CHINESE = {
    "picture": "图像", "smoothed": "高斯平滑", "vertical edges": "垂直边缘", "horizontal edges": "水平边缘",
    "signal": "信号", "mean of three": "三点移动平均", "filters before training": "训练前的卷积核",
    "filters after training": "训练后的卷积核", "test accuracy": "测试准确率", "deviation": "标准差",
}  # fmt: skip


def moving_average(signal: np.ndarray, width: int = 3) -> np.ndarray:
    """The mean of every `width` neighbours: a convolution whose weights are all alike.

    Example:
        >>> moving_average(np.array([3.0, 6.0, 9.0, 0.0])).round(6)
        array([6., 5.])
    """
    return conv1d(signal[None], np.full((1, 1, width), 1 / width))[0]


def demo(language: str = "en") -> Demo:
    """The demonstration in a language of `LANGUAGES`."""
    say = spoken(language, CHINESE)
    picture = load_digits()[1][0][0, 0].astype(np.float64)
    seen = {"picture": picture} | {name: correlate2d(picture, kernel, "same") for name, kernel in KERNELS.items()}
    before, after, accuracy = learnt("simple-convnet", 5)
    models = {"before": before, "after": after}
    filters = {f"filters {when} training": model.parameters()[0].value for when, model in models.items()}
    lines = [line for name, kernel in KERNELS.items() for line in matrix(say(name), kernel, 4)]
    lines += matrix(say("signal"), SIGNAL[None]) + matrix(say("mean of three"), moving_average(SIGNAL)[None])
    lines += [f"{say(name)}: {say('deviation')} {values.std():.4f}" for name, values in filters.items()]
    lines += [f"{say('test accuracy')} {accuracy:.2%}"]

    def pictures() -> dict[str, Any]:
        from fastconv import viz

        say = spoken(viz.lettering(language).language, CHINESE)
        titles = [say(name) for name in seen]
        drawn = {"by-hand": viz.plot_images(
            np.stack(list(seen.values())), titles, columns=len(seen), own_scale=True, language=language
        )}  # fmt: skip
        for name, values in filters.items():
            ax = drawn[name.split()[1]] = viz.plot_filters(values, language=language)
            ax.set_title(say(name), family=viz.lettering(language).family)
        return drawn

    deviations = {name: float(values.std()) for name, values in filters.items()}
    return Demo(lines, {"test_accuracy": accuracy, "deviations": deviations}, pictures)
