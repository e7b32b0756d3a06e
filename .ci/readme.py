"""README.md from nbs/index.ipynb: `--write`, or `--check` that it is up to date, its links lead somewhere
and it has two set-up commands."""

import difflib
import os.path
import re
import sys
from pathlib import Path

import nbformat
from execnb.nbio import nb2str
from nbconvert import MarkdownExporter
from nbdev.process import NBProcessor
from nbdev.processors import clean_magics, hide_, hide_line, populate_language, rm_export, rm_header_dash, strip_ansi

ROOT = Path(__file__).resolve().parent.parent
NOTE = "<!-- Made from nbs/index.ipynb by .ci/readme.py. Edit the notebook. -->"


def render() -> str:
    procs = [populate_language, strip_ansi, hide_line, rm_header_dash, rm_export, clean_magics, hide_]
    nb = NBProcessor(ROOT / "nbs" / "index.ipynb", procs=procs, process=True).nb
    for c in nb.cells:
        c.source = re.sub(r"^#\|.*\n?", "", c.source, flags=re.M).strip() if c.cell_type == "code" else c.source
    nb.metadata["language_info"] = {"name": "python"}
    text, _ = MarkdownExporter().from_notebook_node(nbformat.reads(nb2str(nb), 4))
    text = re.sub(r"\]\((?![a-z]+:|#)([^)\s]+)\)", lambda m: f"]({os.path.normpath('nbs/' + m[1])})", text)
    title, rest = text.strip().split("\n", 1)
    return f"{title}\n\n{NOTE}\n" + re.sub(r"\n{3,}", "\n\n", rest) + "\n"


def complaints(text: str) -> list:
    links = re.findall(r"\]\((?![a-z]+:|#)([^)\s#]+)", text)
    bad = [f"README.md links to {p}, which is not there" for p in links if not (ROOT / p).exists()]
    if len(re.findall(r"^```sh$", text, re.M)) != 2:
        bad.append("README.md needs exactly two ```sh blocks: .ci/run takes the set-up commands from them")
    old = (ROOT / "README.md").read_text(encoding="utf-8")
    return bad + list(
        difflib.unified_diff(old.splitlines(), text.splitlines(), "README.md", "index.ipynb", "", "", 1, "")
    )


if __name__ == "__main__":
    text = render()
    if "--write" in sys.argv:
        (ROOT / "README.md").write_text(text, encoding="utf-8")
    bad = complaints(text)
    print(*bad or ["README.md is what nbs/index.ipynb gives, and its links lead somewhere"], sep="\n")
    sys.exit(bool(bad))
