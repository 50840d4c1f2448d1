"""What compact-nas is, in one picture: pictures in, a search that measures files, a front of files out.

    python studies/overview.py > studies/results/overview.svg

The points of the front are those of studies/results/cifar10-fronts.csv.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from html import escape
from math import log10
from pathlib import Path

FRONT = Path(__file__).parent / "results" / "cifar10-fronts.csv"
WIDTH, HEIGHT = 960, 330
TEAL, INK, MUTED, LINE, PAPER = "#0b7a75", "#1d2023", "#646b73", "#c9ccc6", "#ffffff"
PLOT = (738, 92, 190, 128)  # left, top, width, height
STEPS = (
    ("1", "architecture, pruning", "ratios and bits are drawn"),
    ("2", "an untrained file is made", "and measured: too slow or", "too large ends here"),
    ("3", "dense, pruned, quantized", "training; the file again"),
    ("4", "accuracy, bytes, ms are", "read off that very file"),
)


def text(
    x: float, y: float, words: str, *, size: int = 13, fill: str = INK, weight: int = 400, anchor: str = "start"
) -> str:
    """One line of words."""
    style = f'font-size="{size}" fill="{fill}" font-weight="{weight}" text-anchor="{anchor}"'
    return f'<text x="{x:g}" y="{y:g}" {style}>{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, *, stroke: str = LINE) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8" fill="{PAPER}" stroke="{stroke}"/>'


def arrow(x: float, y: float, to_x: float) -> str:
    """A horizontal arrow."""
    head = f"{to_x:g},{y:g} {to_x - 9:g},{y - 5:g} {to_x - 9:g},{y + 5:g}"
    line = f'<line x1="{x:g}" y1="{y:g}" x2="{to_x - 8:g}" y2="{y:g}" stroke="{TEAL}" stroke-width="2"/>'
    return f'{line}<polygon points="{head}" fill="{TEAL}"/>'


def pictures() -> Iterator[str]:
    """Labelled images on the left, and the command that looks at them."""
    yield text(30, 42, "your pictures", size=15, weight=600)
    shades = ("#d9a441", "#5b8e7d", "#bc4b51", "#8cb369", "#5b6c9e", "#d17a52")
    for row, label in enumerate(("cat", "dog", "owl")):
        for column in range(3):
            x, y = 30 + 34 * column, 58 + 44 * row
            yield f'<rect x="{x}" y="{y}" width="28" height="28" rx="3" fill="{shades[(2 * row + column) % 6]}"/>'
        yield text(136, 77 + 44 * row, f"{label}/", fill=MUTED)
    yield box(24, 204, 150, 58, stroke=TEAL)
    yield text(99, 228, "nas init pictures", weight=600, anchor="middle")
    yield text(99, 248, "study.yaml", fill=MUTED, anchor="middle")


def search() -> Iterator[str]:
    """What happens to every candidate."""
    yield box(232, 24, 436, 282, stroke=TEAL)
    yield text(252, 52, "nas run study.yaml", size=15, weight=600)
    yield text(648, 52, "candidate by candidate", fill=MUTED, anchor="end")
    for place, (number, *lines) in enumerate(STEPS):
        x, y = 250 + 204 * (place % 2), 74 + 98 * (place // 2)
        yield box(x, y, 194, 86)
        yield f'<circle cx="{x + 20}" cy="{y + 22}" r="11" fill="{TEAL}"/>'
        yield text(x + 20, y + 27, number, fill=PAPER, weight=600, anchor="middle")
        yield from (text(x + 38, y + 27 + 18 * line, words, size=12) for line, words in enumerate(lines))
    yield text(450, 292, "a sampler learns which to try next; stop and go on at any time", fill=MUTED, anchor="middle")


def front(points: Sequence[tuple[float, float]]) -> Iterator[str]:
    """The front on the right: accuracy against latency, each point a file; and where files go."""
    left, top, width, height = PLOT
    yield text(726, 42, "a front of files", size=15, weight=600)
    yield text(726, 62, "each measured, none dominated", size=12, fill=MUTED)
    axes = f"M{left},{top} V{top + height} H{left + width}"
    yield f'<path d="{axes}" fill="none" stroke="{LINE}" stroke-width="1.5"/>'
    places = list(scaled(points))
    path = " ".join(f"{x:g},{y:g}" for x, y in places)
    yield f'<polyline points="{path}" fill="none" stroke="{TEAL}" stroke-opacity="0.4" stroke-width="2"/>'
    yield from (f'<circle cx="{x:g}" cy="{y:g}" r="5" fill="{TEAL}"/>' for x, y in places)
    yield text(left + width, top + height + 16, "file size", size=11, fill=MUTED, anchor="end")
    yield text(left + 6, top + 8, "accuracy", size=11, fill=MUTED)
    yield box(726, 254, 212, 52, stroke=TEAL)
    yield text(832, 276, "nas export: model.onnx", weight=600, anchor="middle")
    yield text(832, 294, "Python · C++ · Android · browser", size=12, fill=MUTED, anchor="middle")


def scaled(points: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Where points (cost, accuracy) lie on the picture, by the logarithm of cost; those no other dominates."""
    left, top, width, height = PLOT
    kept = [p for p in sorted(points) if all(q == p or q[0] > p[0] or q[1] < p[1] for q in points)]
    costs, accuracies = [log10(cost) for cost, _ in kept], [accuracy for _, accuracy in kept]
    for cost, accuracy in zip(costs, accuracies, strict=True):
        x = left + 14 + (width - 28) * (cost - min(costs)) / (max(costs) - min(costs))
        y = top + height - 14 - (height - 40) * (accuracy - min(accuracies)) / (max(accuracies) - min(accuracies))
        yield round(x, 1), round(y, 1)


def overview(points: Sequence[tuple[float, float]]) -> str:
    """The picture as SVG."""
    words = "From labelled pictures by nas init and nas run to a front of measured files, and by nas export to a device"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img"'
    font = 'font-family="Inter, Segoe UI, Helvetica Neue, Arial, sans-serif"'
    parts = [
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="12" fill="#f7f7f4"/>',
        *pictures(), arrow(182, 165, 226), *search(), arrow(676, 165, 720), *front(points),
    ]  # fmt: skip
    return "\n".join([f'{head} {font} aria-label="{words}">', *parts, "</svg>", ""])


def points_of(table: Path) -> list[tuple[float, float]]:
    """Bytes and test accuracy of every network that a search has found."""
    with table.open(newline="", encoding="utf-8") as file:
        return [(float(row["size_bytes"]), float(row["test_accuracy"])) for row in csv.DictReader(file) if row["trial"]]


if __name__ == "__main__":
    print(overview(points_of(FRONT)), end="")
