"""The pictures that say where a chapter stands: python nbs/images/pipeline.py

One for each part of the book, `pipeline_PART.svg`: the same ten boxes, with one of them lit. Filled boxes can be read
on a light page and on a dark one."""

from pathlib import Path

BOXES = {  # part → words, row, column, width in columns of 6
    "promise": ("The promise", 0, 0, 3),
    "public": ("What is public", 0, 3, 3),
    "1": ("1 Loading", 1, 0, 2),
    "2": ("2 EDA", 1, 2, 2),
    "3": ("3 Preprocessing", 1, 4, 2),
    "4": ("4 VAE", 2, 0, 2),
    "5": ("5 DP training", 2, 2, 2),
    "6": ("6 Evaluation", 2, 4, 2),
    "7": ("7 The product", 3, 0, 2),
    "8": ("8 The proof", 3, 2, 2),
    "9": ("9 Command line", 3, 4, 2),
}
COLUMN, ROW, GAP, HEIGHT = 72, 36, 16, 24  # of the drawing, in its own units
ARROWS = ("1 2", "2 3", "4 5", "5 6")  # within a row; at its end the way goes on below


def box(words: str, row: int, column: int, width: int, lit: bool) -> str:
    x, y, w = column * COLUMN + GAP / 2, row * ROW + 4, width * COLUMN - GAP
    fill, ink, weight = ("#b5451b", "#ffffff", "bold") if lit else ("#e3e8ee", "#24303c", "normal")
    return (
        f'<rect x="{x:g}" y="{y}" width="{w}" height="{HEIGHT}" rx="4" fill="{fill}"/>'
        f'<text x="{x + w / 2:g}" y="{y + 16}" fill="{ink}" font-weight="{weight}">{words}</text>'
    )


def arrow(before: str) -> str:
    _, row, column, width = BOXES[before]
    x, y = (column + width) * COLUMN - GAP / 2 + 2, row * ROW + 4 + HEIGHT / 2
    return f'<path d="M{x:g} {y:g}h10m-4 -4l4 4l-4 4" fill="none" stroke="#7d8a99" stroke-width="1.5"/>'


def turn(row: int) -> str:  # from the last box of a row to the first one of the next
    x, y = 5 * COLUMN, row * ROW + 4 + HEIGHT
    return f'<path d="M{x} {y + 1}v5H{COLUMN}v5m-4 -4l4 4l4 -4" fill="none" stroke="#7d8a99" stroke-width="1.5"/>'


def draw(lit: str) -> str:
    size = f'viewBox="0 0 {6 * COLUMN} {4 * ROW - 4}" width="{6 * COLUMN}" height="{4 * ROW - 4}"'
    text = 'font-family="system-ui, sans-serif" font-size="12.5" text-anchor="middle"'
    parts = [box(*b, part == lit) for part, b in BOXES.items()] + [arrow(a.split()[0]) for a in ARROWS]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {text}>\n'
        + "\n".join([*parts, turn(1), turn(2)])
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    for part in BOXES:
        Path(__file__).with_name(f"pipeline_{part}.svg").write_text(draw(part), "utf-8")
    print(len(BOXES), "pictures")
