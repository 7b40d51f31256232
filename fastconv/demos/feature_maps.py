"""What each layer of a LeNet-5 that has learnt the digits makes of a picture."""

from __future__ import annotations

from typing import Any

from fastconv.data import load_digits
from fastconv.demos.base import Demo, learnt, spoken
from fastconv.training import predict

CHINESE = {"label": "标签", "prediction": "预测", "test accuracy": "测试准确率", "layer": "层", "output": "输出"}


def demo(language: str = "en") -> Demo:
    """The demonstration in a language of `LANGUAGES`."""
    say = spoken(language, CHINESE)
    _, (images, labels) = load_digits()
    picture, label = images[:1], int(labels[0])
    _, model, accuracy = learnt("lenet5", 4)
    lines, shapes, x = [], [], picture
    for i, layer in enumerate(model):
        x = layer(x)
        shapes.append(list(x.shape[1:]))
        size = " x ".join(map(str, x.shape[1:]))
        lines.append(f"{say('layer')} {i:>2}: {layer!r:<44} {say('output')} {size:<12} {x.min():8.3f} .. {x.max():.3f}")
    probabilities = predict(model, picture)[0]
    found = int(probabilities.argmax())
    lines += [
        f"{say('label')} {label}, {say('prediction')} {found} ({probabilities[found]:.1%})",
        f"{say('test accuracy')} {accuracy:.2%}",
    ]

    def pictures() -> dict[str, Any]:
        from fastconv import viz

        return {"maps": viz.plot_feature_maps(model, picture[0], language=language)[0]}

    numbers = {"label": label, "prediction": found, "test_accuracy": accuracy, "shapes": shapes}
    return Demo(lines, numbers, pictures)
