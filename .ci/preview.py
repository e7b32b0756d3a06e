"""A prepared notebook as Markdown for Pandoc, and the plain preview that .ci/docs.py builds where Quarto is not asked
for. Pandoc is inside Quarto, so what it warns of here would go wrong there."""

import os
import re
import shutil
from pathlib import Path

import nbformat
import pypandoc
from links import SITE
from nbdev.doclinks import _nbpath2html
from pages import SAME

STYLE = """<style>:root { color-scheme: light dark } a { color: inherit } img { max-width: 100% }
body { max-width: 62rem; margin: auto; padding: 0 0.75rem }
pre { overflow: auto } pre code { white-space: pre }</style>"""


def to_html(name) -> str:  # of a notebook
    return _nbpath2html(Path(name)).as_posix()


def markdown(nb, plain: bool = False):
    "A prepared notebook as Quarto hands it to Pandoc, piece by piece; `plain`: outputs as text, pictures in words."
    for c in nb.cells:
        options = dict(re.findall(r'^#\| *([\w-]+): *"?(.*?)"?$', c.source, re.M))
        if options.get("echo") != "false" and not (plain and options.get("code-summary") == SAME):
            source = re.sub(r"(?m)^#\|.*\n?", "", c.source).replace("---\ndescription:", "---\nsubtitle:")
            source = f"~~~~~~~~ {{.python .cell-code}}\n{source}\n~~~~~~~~" if c.cell_type == "code" else source
            if not plain and (fold := options.get("code-fold")):
                summary = f"<details{' open' * (fold == 'show')}><summary>{options['code-summary']}</summary>"
                source = f"```{{=html}}\n{summary}\n```\n\n{source}\n\n```{{=html}}\n</details>\n```"
            yield source
        for o in c.get("outputs", []):
            kind, body = min(o.get("data", {"text/plain": o.get("text")}).items(), key=lambda kv: kv[0] == "text/plain")
            if kind == "image/png":
                body = f'```{{=html}}\n<img src="data:image/png;base64,{body}" alt="{options["fig-alt"]}">\n```'
            if plain and options.get("output") != "asis":
                kind, body = "text/plain", options.get("fig-alt") or o.get("text") or o["data"].get("text/plain", "")
            body = f"~~~~~~~~\n{body}\n~~~~~~~~" if kind == "text/plain" else body
            yield body if plain or options.get("output") == "asis" else f":::: {{.cell .cell-output}}\n{body}\n::::"


def preview(done, pages, after):
    "The prepared notebooks as plain pages."
    shutil.copytree(done, SITE, ignore=shutil.ignore_patterns("*.ipynb", "*.yml"))
    options = ["--standalone", "--mathml", "--syntax-highlighting=none", "--fail-if-warnings"]
    for name in (p.relative_to(done) for p in done.rglob("*.ipynb")):
        up = os.path.relpath(".", name.parent)
        nav = " · ".join(f'<a href="{up}/{to_html(p)}">{Path(p).stem}</a>' for p in pages)
        menu = f"<nav><details><summary>All pages</summary>{nav}</details></nav>"
        own = {"lang": "en", "header-includes": STYLE, "include-before": menu, "include-after": after}
        extra = [*options, f"--css={up}/styles.css", *(f"--variable={k}={v}" for k, v in own.items())]
        text = pypandoc.convert_text("\n\n".join(markdown(nbformat.read(done / name, 4))), "html", "markdown", extra)
        text = re.sub(r'href="(?!https?:)([^"#]*\.ipynb)', lambda m: f'href="{to_html(m[1])}', text)
        (SITE / to_html(name)).write_text(text, "utf-8")
