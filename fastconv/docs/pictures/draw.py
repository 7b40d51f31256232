"""Draws the pictures of the pages beside it: `python fastconv/docs/pictures/draw.py` writes them anew.

Plain SVG, so that a change of a picture can be read as a change of this file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path

INK, PALE, PAPER = "#1f2933", "#9aa5b1", "#ffffff"
PADDING, IMAGE, UNUSED, MARKED = "#e4e7eb", "#cfe8fc", "#f5f7fa", "#ffd166"
PHASES = ("#cfe8fc", "#ffe3b3", "#d3f2d6", "#f3d1f4")
CELL = 34


class Drawing:
    """Shapes and texts on a white sheet."""

    def __init__(self, width: int, height: int, title: str):
        self.lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            'font-family="DejaVu Sans, Verdana, sans-serif">',
            f"<title>{escape(title)}</title>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            f'<path d="M0 0 L8 4 L0 8 z" fill="{INK}"/></marker></defs>',
            f'<rect width="{width}" height="{height}" fill="{PAPER}"/>',
        ]

    def box(self, x: float, y: float, width: float, height: float, fill: str = PAPER, round: int = 0) -> None:
        """A rectangle."""
        self.lines.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="{round}" fill="{fill}" '
            f'stroke="{INK}" stroke-width="0.8"/>'
        )

    def text(
        self, x: float, y: float, words: object, size: int = 13, anchor: str = "start", bold: bool = False,
        fill: str = INK, mono: bool = False,
    ) -> None:  # fmt: skip
        """A line of text whose base line is at y."""
        weight = ' font-weight="bold"' if bold else ""
        family = ' font-family="DejaVu Sans Mono, monospace"' if mono else ""
        self.lines.append(
            f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}" fill="{fill}"{weight}{family}>'
            f"{escape(str(words))}</text>"
        )

    def arrow(self, x1: float, y1: float, x2: float, y2: float) -> None:
        """A line with a tip at its end."""
        self.lines.append(
            f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{INK}" stroke-width="1.4" marker-end="url(#tip)"/>'
        )

    def span(self, x1: float, x2: float, y: float, words: str) -> None:
        """A length between two ticks, its words below."""
        for x in (x1, x2):
            self.lines.append(f'<line x1="{x}" y1="{y - 5}" x2="{x}" y2="{y + 5}" stroke="{INK}"/>')
        self.lines.append(f'<line x1="{x1}" y1="{y}" x2="{x2}" y2="{y}" stroke="{INK}"/>')
        self.text((x1 + x2) / 2, y + 18, words, 12, "middle")

    def cells(self, x: float, y: float, rows: Iterable[Iterable[tuple[str, str]]], size: int = CELL) -> None:
        """Rows of squares, each with a fill and a text."""
        for i, row in enumerate(rows):
            for j, (fill, words) in enumerate(row):
                self.box(x + j * size, y + i * size, size, size, fill)
                pale = PALE if fill in (UNUSED, PADDING) else INK
                self.text(x + (j + 0.5) * size, y + (i + 0.5) * size + 4, words, 11, "middle", fill=pale)

    def finished(self) -> str:
        """The file's text."""
        return "\n".join([*self.lines, "</svg>", ""])


def row_pitch() -> str:
    """A padded plane, and the output's wide rows over it."""
    H, W, K, pad, q, tap = 4, 5, 3, 1, 9, (1, 2)
    WP, OH, OW = W + 2 * pad, H, W
    read = q + tap[0] * WP + tap[1]
    drawing = Drawing(760, 372, "The padded row pitch WP and wide rows")

    def plane(i: int, j: int) -> tuple[str, str]:
        number = i * WP + j
        inside = pad <= i < pad + H and pad <= j < pad + W
        return MARKED if number == read else IMAGE if inside else PADDING, str(number)

    def wide(i: int, j: int) -> tuple[str, str]:
        number = i * WP + j
        return MARKED if number == q else IMAGE if j < OW else UNUSED, str(number)

    left, right, top = 40, 460, 58
    drawing.text(left, 26, "Padded input plane of one channel", 15, bold=True)
    drawing.text(left, 45, f"{H} x {W} pixels, padding {pad}: HP = {H + 2 * pad} rows, WP = {WP} cells", 12)
    drawing.cells(left, top, [[plane(i, j) for j in range(WP)] for i in range(H + 2 * pad)])
    drawing.span(left, left + WP * CELL, top + (H + 2 * pad) * CELL + 14, f"row pitch WP = {WP}")
    drawing.text(right, 26, "Output plane in wide rows", 15, bold=True)
    drawing.text(right, 45, f"{K} x {K} kernel, stride 1: q = oy*WP + ox", 12)
    # the last row ends with its last pixel
    drawing.cells(right, top, [[wide(i, j) for j in range(WP if i < OH - 1 else OW)] for i in range(OH)])
    drawing.span(right, right + OW * CELL, top + OH * CELL + 14, f"OW = {OW} pixels")
    drawing.text(right, top + OH * CELL + 66, f"WP - OW = {WP - OW} cells of a row are no pixels:", 12)
    drawing.text(right, top + OH * CELL + 83, "computed with the rest, not stored.", 12)
    drawing.arrow(right - 14, top + 2 * CELL, left + WP * CELL + 14, top + 2 * CELL)
    drawing.text((right + left + WP * CELL) / 2, top + 2 * CELL - 10, f"reads q + {read - q}", 12, "middle")
    drawing.text(left, 352, f"tap (ky, kx) = {tap} has the offset ky*WP + kx = {read - q}:", 13, mono=True)
    drawing.text(left + 408, 352, f"output q = {q} reads cell {q} + {read - q} = {read}.", 13, mono=True)
    return drawing.finished()


def stride_phases() -> str:
    """A plane and the four phases of stride 2."""
    rows, columns, s, side = 6, 8, 2, 30
    drawing = Drawing(760, 330, "Stride phases")

    def cell(iy: int, ix: int) -> tuple[str, str]:
        return PHASES[iy % s * s + ix % s], f"{iy},{ix}"

    left, top = 30, 70
    drawing.text(left, 26, "Padded input, stride 2", 15, bold=True)
    drawing.text(left, 45, "a colour for each phase (a, b):", 12)
    drawing.text(left, 61, "a = row mod 2, b = column mod 2", 12)
    drawing.cells(left, top, [[cell(i, j) for j in range(columns)] for i in range(rows)], side)
    drawing.arrow(left + columns * side + 12, top + 90, left + columns * side + 62, top + 90)
    x0 = left + columns * side + 84
    drawing.text(x0, 26, "split once into s x s phase planes", 15, bold=True)
    drawing.text(x0, 45, "phase (a, b) holds the cells (i*s + a, j*s + b), side by side", 12)
    for a in range(s):
        for b in range(s):
            x, y = x0 + b * 190, top + 10 + a * 128
            drawing.text(x, y - 4, f"phase ({a}, {b})", 11)
            phase = [[cell(i * s + a, j * s + b) for j in range(columns // s)] for i in range(rows // s)]
            drawing.cells(x, y, phase, side)
    drawing.text(left, 288, "In a phase neighbouring outputs read", 12)
    drawing.text(left, 304, "neighbouring cells, as with stride 1:", 12)
    drawing.text(left, 320, "tap (ky, kx): phase (ky%s, kx%s)", 12, mono=True)
    return drawing.finished()


def batch_interleaved() -> str:
    """Sixteen images, and a cell that holds a number of each."""
    lanes, side = 16, 26
    drawing = Drawing(760, 300, "The batch-interleaved layout")
    drawing.text(30, 26, "A block of 16 images", 15, bold=True)
    for n in (3, 2, 1, 0):
        x, y = 30 + n * 16, 92 - n * 14
        drawing.cells(x, y, [[(PHASES[n] if (i, j) == (0, 3) else PAPER, "") for j in range(4)] for i in range(4)], 22)
    drawing.text(130, 190, "...", 15)
    drawing.text(30, 212, "the same pixel (c, y, x) of each", 12)
    drawing.arrow(186, 122, 258, 122)
    drawing.text(272, 26, "One cell: the pixel of all 16, one in each lane", 15, bold=True)
    drawing.cells(272, 108, [[(PHASES[n] if n < 4 else UNUSED, str(n)) for n in range(lanes)]], side)
    drawing.span(272, 272 + lanes * side, 148, "LANES = 16 floats: one vector of AVX-512, two of AVX2, four of SSE2")
    drawing.text(272, 72, "images 0 to 15 of pixel (c, y, x)", 12)
    drawing.text(272, 206, "Cells follow one another as pixels do: (C, H, W, 16).", 12)
    drawing.text(272, 226, "Every loop is full of vectors, however small the planes; a weight is", 12)
    drawing.text(272, 243, "broadcast once for 16 images. A block goes through all layers of the", 12)
    drawing.text(272, 260, "network in one task, with its activations in the core's L2 cache.", 12)
    return drawing.finished()


STOPS = (
    ("nn", "Conv2d holds weights; layers that go together are fused (nn/fused)"),
    ("functional", "conv2d: has its arguments checked, allocates the result"),
    ("_arguments", "dtypes, memory order, numbers and names, each checked once"),
    ("_geometry", "sizes, padding and offsets as a cached record, or a ShapeError"),
    ("_plans", "which kernel, from geometry, batch and Host; cached, printable"),
    ("_engine", "workspace, padded planes, pieces; one kernel is called"),
    ("kernels", "one parallel loop over tasks, each with its own part of the result"),
    ("kernels/micro", "the register tile: MR x NR sums in vectors, LLVM"),
)


def call() -> str:
    """The stops of a convolution."""
    height = 44
    drawing = Drawing(760, 60 + len(STOPS) * (height + 14), "A call's way")
    drawing.text(30, 28, "The way of nn.Conv2d and conv2d to the micro-kernel", 15, bold=True)
    for i, (folder, words) in enumerate(STOPS):
        y = 46 + i * (height + 14)
        drawing.box(30, y, 700, height, PHASES[0] if i < 2 else PHASES[2] if i < 6 else PHASES[1], 6)
        drawing.text(46, y + 27, f"{i + 1}  {folder}", 14, bold=True, mono=True)
        drawing.text(232, y + 27, words, 13)
        if i:
            drawing.arrow(60, y - 14, 60, y - 1)
    return drawing.finished()


PICTURES: dict[str, Callable[[], str]] = {
    "row-pitch.svg": row_pitch,
    "stride-phases.svg": stride_phases,
    "batch-interleaved.svg": batch_interleaved,
    "call.svg": call,
}


def draw(folder: Path) -> None:
    """Write all pictures to a folder."""
    for name, picture in PICTURES.items():
        (folder / name).write_text(picture(), encoding="utf-8")


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
