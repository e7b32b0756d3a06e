"""How long sentences and paragraphs of the chapters are: python .ci/prose.py [--longest N] [notebook ...]

For each notebook: the median words of a sentence, the longest sentence, the longest paragraph. Tables, code, headings
and formulas on their own do not count; code within a line is one word, and may begin a sentence. What is over the
limits below is marked, and fails."""

import argparse
import re
from pathlib import Path
from statistics import median

import nbformat

MEDIAN, SENTENCE, PARAGRAPH = 16, 40, 120  # words, at most
ROOT = Path(__file__).resolve().parent.parent


def paragraphs(text: str) -> list:  # of strings
    "The prose of a markdown cell; an item of a list is a paragraph."
    text = re.sub(r"(?s)```.*?```|\$\$.*?\$\$|<!--.*?-->|!\[.*?\]\(.*?\)", "\n\n", text)
    text = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", re.sub(r"`[^`]+`|\$[^$]+\$", "Code", text))
    text = re.sub(r"(?m)^(#|\||<|---).*$", "\n", re.sub(r"(?m)^\s*([-*]|\d+\.) ", "\n\n", text))
    return [p for part in re.split(r"\n\s*\n", text) if (p := re.sub(r"[*_>]+", "", part).strip())]


def sentences(paragraph: str) -> list:  # of strings
    "Cut after a full stop, question mark or colon that a space and a new start follow; semicolons end no sentence."
    return re.split(r"(?<=[.?!:])[)\"”]?\s+(?=[^a-z\s])", paragraph)


def words(text: str) -> int:
    return len(re.findall(r"\w\S*", text))


def measure(path) -> dict:
    cells = nbformat.read(path, 4).cells
    found = [p for c in cells if c.cell_type == "markdown" for p in paragraphs(c.source)]
    each = sorted((s for p in found for s in sentences(p)), key=words)
    return {"median": median(map(words, each)), "sentences": each, "paragraph": max(map(words, found))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--longest", type=int, default=0, help="print so many of the longest sentences of each")
    parser.add_argument("notebooks", nargs="*", type=Path, help="all chapters when none is named")
    args, bad = parser.parse_args(), 0
    print(f"{'':28}{'median':>8}{'sentence':>10}{'paragraph':>11}   words, at most {MEDIAN}, {SENTENCE}, {PARAGRAPH}")
    for path in args.notebooks or sorted((ROOT / "nbs").glob("[0-9]*.ipynb")):
        m = measure(path)
        longest = words(m["sentences"][-1])
        over = m["median"] > MEDIAN or longest > SENTENCE or m["paragraph"] > PARAGRAPH
        print(f"{path.stem:28}{m['median']:8g}{longest:10}{m['paragraph']:11}{'   too long' * over}")
        print(
            *(f"    {words(s)}: {s}" for s in m["sentences"][::-1][: args.longest]),
            sep="\n",
            end="\n" * bool(args.longest),
        )
        bad += over
    print(
        f"{bad} chapters have sentences or paragraphs that are too long" if bad else "all chapters keep to the limits"
    )
    return int(bool(bad))


if __name__ == "__main__":
    raise SystemExit(main())
