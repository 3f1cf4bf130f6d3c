"""Draws the rooms of this project from the imports in the code: ``python docs/draw_rooms.py`` writes docs/rooms.svg.

A box is a folder, a line an import from a higher row to a lower one, as wide as there are files that import.
"""

import ast
from collections import Counter
from html import escape
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROWS = (
    ("infra",),
    ("evaluation",),
    ("pipeline", "training", "serving"),
    ("models",),
    ("dataset", "diffusion", "media"),
    ("base",),
)
ABOUT = {
    "infra": "the motif command, demo",
    "evaluation": "models measured, compared",
    "pipeline": "videos in, dataset out",
    "training": "dataset in, model out",
    "serving": "model in, HTTP out",
    "models": "backbones, encoders, generator",
    "dataset": "the feature dataset on disk",
    "diffusion": "the mathematics",
    "media": "pictures and videos",
    "base": "storage, configs, errors, Ray",
}
_WIDTH, _BOX, _HEIGHT, _STEP, _TOP = 920, 210, 54, 108, 16


def count_imports(root: Path = ROOT) -> Counter[tuple[str, str]]:
    """(room, room it imports) -> how many files of the first import the second."""
    found: Counter[tuple[str, str]] = Counter()
    for room in ABOUT:
        for path in sorted((root / room).rglob("*.py")):
            nodes = ast.walk(ast.parse(path.read_text()))
            others = {(node.module or "").split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)}
            found.update((room, other) for other in others & ABOUT.keys() - {room})
    return found


def draw(imports: Counter[tuple[str, str]]) -> str:
    """The picture as SVG; it follows the reader's colours."""
    places = {}
    for number, row in enumerate(ROWS):
        for at, room in enumerate(row):
            places[room] = (_WIDTH * (at + 1) / (len(row) + 1), _TOP + number * _STEP)
    lines, boxes = [], []
    for (room, other), files in sorted(imports.items()):
        (x1, y1), (x2, y2) = places[room], places[other]
        width = min(6.0, 0.8 + files / 8)
        lines.append(
            f'<path d="M{x1:.0f} {y1 + _HEIGHT} C{x1:.0f} {y1 + _STEP} {x2:.0f} {y2 - _STEP + _HEIGHT} {x2:.0f} {y2}" '
            f'fill="none" stroke="currentColor" stroke-opacity=".28" stroke-width="{width:.1f}"><title>'
            f"{room} imports {other} in {files} files</title></path>"
        )
    for room, (x, y) in places.items():
        boxes.append(
            f'<rect x="{x - _BOX / 2:.0f}" y="{y}" width="{_BOX}" height="{_HEIGHT}" rx="8" fill="#f3efe6" '
            f'stroke="#8a7f6a"/><text x="{x:.0f}" y="{y + 23}" font-weight="600">{room}/</text>'
            f'<text x="{x:.0f}" y="{y + 42}" font-size="12">{escape(ABOUT[room])}</text>'
        )
    height = _TOP + (len(ROWS) - 1) * _STEP + _HEIGHT + 12
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" color="#6b6250" '
        'font-family="system-ui, sans-serif" font-size="15" text-anchor="middle" fill="#2b2a26">\n'
        + "\n".join(lines + boxes)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    (ROOT / "docs" / "rooms.svg").write_text(draw(count_imports()))
