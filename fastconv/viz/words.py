"""The words in pictures, English or Chinese, and a font that has their characters."""

from __future__ import annotations

from dataclasses import dataclass

from fastconv._arguments.names import one_of
from fastconv.viz.figures import library

LANGUAGES = ("en", "zh")
# by the English words, which stand in the code
CHINESE = {
    "accuracy (%)": "准确率 (%)",
    "actual class": "真实类别",
    "confusion matrix": "混淆矩阵",
    "epoch": "轮次",
    "filters": "卷积核",
    "layer {}": "第 {} 层",
    "loss": "损失",
    "predicted class": "预测类别",
    "samples": "样本",
    "test accuracy": "测试准确率",
    "test loss": "测试损失",
    "train loss": "训练损失",
    "{:,} of {:,} misclassified (actual → predicted)": "{1:,} 个样本中有 {0:,} 个识别错误 (真实 → 预测)",
}
# names of fonts with simplified Chinese, those made for screens first; matplotlib sees the first of a collection only,
# for Noto's the Japanese one, which has the same characters
FONTS = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "Noto Sans CJK JP",
    "Microsoft YaHei", "PingFang SC", "Hiragino Sans GB", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Heiti SC",
    "STHeiti", "SimHei", "DengXian", "Droid Sans Fallback", "Arial Unicode MS", "Noto Serif CJK SC", "Noto Serif SC",
    "Noto Serif CJK JP", "Songti SC", "SimSun", "AR PL UMing CN", "AR PL UKai CN",
)  # fmt: skip
FIRST_CJK = "\u2e80"


@dataclass(frozen=True)
class Lettering:
    """How a picture's words are written.

    Attributes:
        language: "en", or "zh" where there is a font for it.
        family: the fonts, each for the characters that those before it lack: the `family=` of matplotlib's texts.
        has_cjk: whether one of them has Chinese characters.

    Example:
        >>> english = Lettering("en", [], False)
        >>> english("layer {}", 3), english("kernels", chinese="核"), english.shown("3 号")
        ('layer 3', 'kernels', '3 ?')
        >>> Lettering("zh", [], True)("layer {}", 3)
        '第 3 层'
    """

    language: str
    family: list[str]
    has_cjk: bool

    def __call__(self, english: str, *values: object, chinese: str | None = None) -> str:
        """The words in the language, with `values` put in; `chinese` where the table does not have them."""
        form = english if self.language == "en" else chinese or CHINESE[english]
        return form.format(*values)

    def shown(self, text: object) -> str:
        """A text of the caller's as it is, dollars too, but ? for what no font has: matplotlib would warn of each."""
        plain = str(text).replace("$", r"\$")
        return plain if self.has_cjk else "".join(c if c < FIRST_CJK else "?" for c in plain)


def lettering(language: str = "en") -> Lettering:
    """The words of a language and the fonts for them; English where no font has Chinese characters.

    Args:
        language: "en" or "zh".

    Raises:
        ValueError: it is another one.
        MissingExtraError: matplotlib is not installed.
    """
    one_of("lettering", "language", language, LANGUAGES)
    matplotlib = library()
    from matplotlib.font_manager import fontManager

    there = {font.name for font in fontManager.ttflist}
    cjk = [name for name in FONTS if name in there][:1]
    family = [*matplotlib.rcParams["font.family"], *cjk, "DejaVu Sans"]
    return Lettering(language if cjk else "en", family, bool(cjk))
