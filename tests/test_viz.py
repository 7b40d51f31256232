"""Pictures: what is drawn where, the words and their fonts, files, errors. That they look right is for the eye."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from fastconv import nn, viz
from fastconv.data import load_digits
from fastconv.history import History
from fastconv.models import lenet5
from fastconv.viz import words as table

matplotlib = pytest.importorskip("matplotlib")
from matplotlib.font_manager import fontManager  # noqa: E402

ROWS = [
    {"epoch": 1, "train_loss": 2.0, "test_loss": 1.5, "test_accuracy": 0.5},
    {"epoch": 2, "train_loss": 1.0, "test_loss": 1.25, "test_accuracy": 0.75},
]
X = np.arange(5 * 8 * 6, dtype=np.float32).reshape(5, 1, 8, 6)
LABELS, PREDICTED = np.array([0, 1, 2, 0, 1]), np.array([0, 2, 2, 0, 0])
NAMES = ("zero", "one", "two")


@pytest.fixture(autouse=True)
def without_pyplot(monkeypatch):
    """Its global state, figures and windows, is the caller's."""
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)


@pytest.fixture
def han(tmp_path, monkeypatch):
    """A font that has the characters of the table, as boxes."""
    builder = pytest.importorskip("fontTools.fontBuilder").FontBuilder(1000, isTTF=True)
    characters = sorted({c for text in [*table.CHINESE.values(), "核零"] for c in text if ord(c) > 0x2000})
    names = [".notdef", *(f"u{ord(c):x}" for c in characters)]
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(c): name for c, name in zip(characters, names[1:])})
    pen = pytest.importorskip("fontTools.pens.ttGlyphPen").TTGlyphPen(None)
    pen.moveTo((100, 0))
    for point in ((100, 800), (900, 800), (900, 0)):
        pen.lineTo(point)
    pen.closePath()
    builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 100)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Test Han", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    builder.save(tmp_path / "han.ttf")
    monkeypatch.setattr(fontManager, "ttflist", list(fontManager.ttflist))
    fontManager.addfont(tmp_path / "han.ttf")
    monkeypatch.setattr(table, "FONTS", ("Absent Han", "Test Han"))


def canvas(ax):
    (image,) = ax.images
    return image.get_array()


def titles(ax):
    return [ax.get_title(), ax.get_xlabel(), ax.get_ylabel()]


def every_picture(**options):
    """One Axes of every function."""
    return [
        viz.plot_image(X[0], title="零", **options),
        viz.plot_images(X[:, 0], ["零"] * 5, **options),
        viz.plot_samples(X, LABELS, NAMES, **options),
        viz.plot_misclassified(X, LABELS, PREDICTED, NAMES, **options),
        viz.plot_confusion(LABELS, PREDICTED, ("零", "one", "two"), **options),
        viz.plot_filters(X, **options),
        *viz.plot_feature_maps(lenet5(rng=0)[:3], np.ones((28, 28)), **options),
        viz.plot_history(History(ROWS), **options),
    ]


def test_pictures_stand_side_by_side():
    drawn = canvas(viz.plot_images(X, columns=3)).filled(np.nan)
    assert drawn.shape == (2 * 8 + 1, 3 * 6 + 2)
    for i, (row, column) in enumerate([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]):
        np.testing.assert_array_equal(drawn[9 * row : 9 * row + 8, 7 * column : 7 * column + 6], X[i, 0])
    assert np.isnan(drawn[8]).all() and np.isnan(drawn[:, 6]).all() and np.isnan(drawn[9:, 14:]).all()
    own = canvas(viz.plot_images(np.stack([X[0, 0], 9 * X[1, 0], 0 * X[2, 0]]), columns=3, own_scale=True))
    assert own.shape == (8, 20)
    assert [own[:, 7 * i : 7 * i + 6].max() for i in range(3)] == [1, 1, 0]


def test_what_is_not_finite_is_not_drawn():
    picture = np.array([[1.0, np.nan], [np.inf, 3.0]])
    own = canvas(viz.plot_images(np.stack([picture, np.full((2, 2), np.nan)]), columns=2, own_scale=True))
    np.testing.assert_array_equal(own.filled(np.nan)[:, :2], [[0, np.nan], [np.nan, 1]])
    (image,) = viz.plot_filters(picture[None, None]).images
    assert image.get_clim() == (-3, 3)


def test_colours():
    picture = np.zeros((3, 4, 4), np.uint8)
    picture[0] = 255
    np.testing.assert_array_equal(canvas(viz.plot_image(picture)), np.broadcast_to([1, 0, 0], (4, 4, 3)))


def test_an_axes_is_taken_and_returned():
    (ax,) = viz.new_axes()
    for plot in (lambda: viz.plot_image(X[0], ax), lambda: viz.plot_filters(X, ax),
                 lambda: viz.plot_history(History(ROWS), ax), lambda: viz.plot_confusion(LABELS, PREDICTED, NAMES, ax),
                 lambda: viz.plot_samples(X, LABELS, NAMES, ax)):  # fmt: skip
        assert plot() is ax
    axes = viz.new_axes(2)
    assert viz.plot_feature_maps(lenet5(rng=0), np.ones((1, 28, 28)), [0, 3], axes) == axes


def test_samples_and_misclassified():
    x, labels = load_digits()[0]
    ax = viz.plot_samples(x, labels % 3, NAMES)  # nine of them, three in a row
    assert len(ax.texts) == 9 and canvas(ax).shape[1] == 3 * 28 + 2
    ax = viz.plot_samples(X, LABELS, NAMES, count=4)
    assert [text.get_text() for text in ax.texts] == ["zero", "one", "two", "zero"]
    drawn = [viz.plot_samples(X, LABELS, NAMES, count=4, rng=seed) for seed in (1, 1, 2)]
    texts = [[text.get_text() for text in ax.texts] for ax in drawn]
    assert texts[0] == texts[1] and len(texts[2]) == 4
    np.testing.assert_array_equal(canvas(drawn[0]), canvas(drawn[1]))

    ax = viz.plot_misclassified(X, LABELS, PREDICTED, NAMES)
    assert ax.get_title() == "2 of 5 misclassified (actual → predicted)"
    assert [text.get_text() for text in ax.texts] == ["one → two", "one → zero"]
    assert canvas(ax).min() == X[1].min() and canvas(ax).max() == X[4].max()
    ax = viz.plot_misclassified(X, LABELS, LABELS)
    assert not ax.images and ax.get_title().startswith("0 of 5")
    long = viz.plot_misclassified(X, LABELS, PREDICTED, ("a", "ankle boot", "T-shirt/top"), count=1)
    assert [text.get_text() for text in long.texts] == ["ankle boot\n→ T-shirt/top"]


def test_filters():
    weight = np.zeros((4, 3, 2, 2), np.float32)
    weight[3, 1] = -2
    layer = nn.Conv2d(3, 4, 2)
    layer.weight.value[...] = weight
    for source in (layer, weight):
        (image,) = viz.plot_filters(source).images
        assert image.get_clim() == (-2, 2)  # zero is in the middle
        drawn = image.get_array()
        assert drawn.shape == (4 * 3 - 1, 3 * 3 - 1)
        assert (drawn[9:, 3:5] == -2).all() and drawn.min() == -2 and (drawn == -2).sum() == 4
    assert canvas(viz.plot_filters(weight[:, :1])).shape == (5, 5)


def test_feature_maps_are_the_layers_results():
    model, picture = lenet5(rng=0), np.random.default_rng(0).random((28, 28))
    axes = viz.plot_feature_maps(model, picture)
    assert [ax.get_title() for ax in axes][::5] == ["layer 0: Conv2d, 6 x 28 x 28", "layer 5: MaxPool2d, 16 x 5 x 5"]
    x = picture[None, None].astype(np.float32)
    np.testing.assert_array_equal(canvas(axes[0])[:, :28], model[0](x)[0, 0])
    np.testing.assert_allclose(canvas(axes[5])[:, :5], model[:6](x)[0, 0], rtol=1e-4)


def test_confusion():
    np.testing.assert_array_equal(viz.confusion_matrix(LABELS, PREDICTED, 3), [[2, 0, 0], [1, 0, 1], [0, 0, 1]])
    narrow = LABELS.astype(np.uint8)
    np.testing.assert_array_equal(viz.confusion_matrix(narrow, narrow, 30).sum(), 5)
    ax = viz.plot_confusion(LABELS, PREDICTED, NAMES)
    assert [int(text.get_text()) for text in ax.texts] == [2, 0, 0, 1, 0, 1, 0, 0, 1]
    np.testing.assert_array_equal(canvas(ax), [[1, 0, 0], [0.5, 0, 0.5], [0, 0, 1]])
    assert [tick.get_text() for tick in ax.get_xticklabels()] == list(NAMES)
    assert titles(ax) == ["confusion matrix", "predicted class", "actual class"]


def test_history():
    ax = viz.plot_history(History(ROWS))
    _, right = ax.figure.axes
    assert [list(line.get_ydata()) for line in (*ax.lines, *right.lines)] == [[2, 1], [1.5, 1.25], [50, 75]]
    words = [text.get_text() for text in right.figure.axes[0].get_legend().get_texts()]
    assert words == ["train loss", "test loss", "test accuracy"]
    ax = viz.plot_history(History([{"epoch": 1, "train_loss": 0.5, "test_loss": None}]))
    assert len(ax.figure.axes) == 1
    assert all(tick == int(tick) for tick in ax.get_xticks())
    viz.plot_history(History())


def test_chinese_with_a_font(han, tmp_path):
    """That nothing warns of a missing glyph, when it is drawn, is the point: warnings are errors here."""
    for ax in every_picture(language="zh"):
        viz.save(ax, tmp_path / "a.png")
    words = viz.lettering("zh")
    assert words.language == "zh" and "Test Han" in words.family
    assert words("kernels", chinese="核") == "核"
    assert titles(viz.plot_confusion(LABELS, PREDICTED, NAMES, language="zh")) == ["混淆矩阵", "预测类别", "真实类别"]
    title = viz.plot_misclassified(X, LABELS, PREDICTED, language="zh").get_title()
    assert title == "5 个样本中有 2 个识别错误 (真实 → 预测)"
    assert viz.plot_image(X[0], title="零").get_title() == "零"  # a name of the caller's, in English pictures too


def test_chinese_without_a_font(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "FONTS", ("Absent Han",))
    for ax in every_picture(language="zh"):
        viz.save(ax, tmp_path / "a.png")
    assert titles(viz.plot_confusion(LABELS, PREDICTED, NAMES, language="zh"))[0] == "confusion matrix"
    assert viz.plot_image(X[0], title="A 零").get_title() == "A ?"
    assert viz.plot_image(X[0], title="$x_1$").get_title() == r"\$x_1\$"  # no formula


def test_every_phrase_is_in_the_table():
    """In Chinese each has as many places for values as in English."""
    for english, chinese in table.CHINESE.items():
        assert english.count("{") == chinese.count("{")


@pytest.mark.parametrize("suffix, start", [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_files(tmp_path, suffix, start):
    path = tmp_path / f"a{suffix}"
    viz.save_history(History(ROWS), path)
    assert path.read_bytes().startswith(start)
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_text("old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("fastconv.data.files.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        viz.save(viz.plot_image(X[0]), path)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "call, error, match",
    [
        (lambda: viz.plot_image([[1]]), TypeError, "plot_image: picture must be a NumPy array, got list"),
        (lambda: viz.plot_image(X), ValueError, r"plot_image: picture must have shape \(H, W\) .*got \(5, 1, 8, 6\)"),
        (lambda: viz.plot_image(X[0, 0, 0]), ValueError, r"plot_image: picture must have shape .*got \(6,\)"),
        (lambda: viz.plot_images(X[:, :, :0]), ValueError, r"plot_images: pictures .*none of them 0, got \(5, 1, 0"),
        (lambda: viz.plot_images(np.ones((2, 2, 4, 4))), ValueError, r"\(N, 3, H, W\), .*got \(2, 2, 4, 4\)"),
        (lambda: viz.plot_images(X, ["a"]), ValueError, "labels must be as many as the pictures, 5, got 1"),
        (lambda: viz.plot_images(X, columns=0), ValueError, "plot_images: columns must be from 1 to"),
        (lambda: viz.plot_samples(X, LABELS[:3]), ValueError, "plot_samples: labels must be as many .* 5, got 3"),
        (lambda: viz.plot_samples(X, LABELS, ("a",)), ValueError, "class_names has 1 names, labels has ids from 0"),
        (lambda: viz.plot_samples(X, LABELS * 1.0), ValueError, r"labels must be class ids \(N,\), got float64"),
        (lambda: viz.plot_misclassified(X, LABELS, PREDICTED[:2]), ValueError, "predicted must be as many"),
        (lambda: viz.plot_filters(nn.ReLU()), TypeError, r"plot_filters: layer must have a weight, ReLU\(\) has none"),
        (lambda: viz.plot_filters(nn.Linear(2, 2)), ValueError, r"weight must have shape \(OC, C, KH, KW\)"),
        (lambda: viz.plot_feature_maps(nn.ReLU(), X[0]), TypeError, "model must be a Sequential, got ReLU"),
        (lambda: viz.plot_feature_maps(nn.Sequential(nn.ReLU()), X), ValueError, "picture must have shape"),
        (lambda: viz.plot_feature_maps(nn.Sequential(nn.ReLU()), X[0], [1]), ValueError, "layers must be some of 0"),
        (lambda: viz.plot_feature_maps(nn.Sequential(nn.Flatten()), X[0]), ValueError, "must have a layer that gives"),
        (lambda: viz.plot_feature_maps(nn.Sequential(nn.ReLU()), X[0], axes=[]), ValueError, "layers, 1, got 0"),
        (lambda: viz.confusion_matrix(LABELS, PREDICTED, 2), ValueError, "labels must be ids from 0 to 1, got 0 to 2"),
        (lambda: viz.confusion_matrix(LABELS, LABELS[:2], 3), ValueError, "predicted must be as many as labels, 5"),
        (lambda: viz.lettering("de"), ValueError, "language must be one of en, zh, got 'de'"),
        (lambda: viz.save(None, "a.jpg"), ValueError, r"path must end in .png, .svg or .pdf, got 'a.jpg'"),
    ],
)  # fmt: skip
def test_refused(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_without_matplotlib(monkeypatch):
    from fastconv.errors import MissingExtraError

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for call in (lambda: viz.plot_image(X[0]), lambda: viz.plot_history(History()), viz.lettering):
        with pytest.raises(MissingExtraError, match=r"fastconv\[plot\]"):
            call()
