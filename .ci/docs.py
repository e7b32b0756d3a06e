"""The docs site without Quarto: nbdev's processors, then Sphinx, from the sidebar of _quarto.yml into _docs/.

A warning is an error; so are a page that the sidebar lists and nbs/ lacks, a notebook that it does not list
(tests/ aside), text that nbdev would drop from a title cell, and a link that leads nowhere.
"""
import os
import posixpath
import re
import shutil
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import yaml
from nbdev.process import Processor

ROOT = Path(__file__).resolve().parent.parent
SOURCE = re.compile(r"\[source\]\(\S*?/(\w+)\.py#L(\d+)\)\{[^}]*\}")


def setup(app):
    "Sphinx extension: formulas as MathML, which needs no script and no network."
    from docutils.utils.math import MathError
    from docutils.utils.math.latex2mathml import tex2mathml

    def visit(self, node, block):
        try:
            self.body.append(tex2mathml(node.astext(), as_block=block))
        except MathError as e:
            from sphinx.util import logging

            logging.getLogger(__name__).warning("formula %r: %s", node.astext(), e, location=node)
        from docutils.nodes import SkipNode

        raise SkipNode

    app.add_html_math_renderer(
        "mathml", (lambda s, n: visit(s, n, False), None), (lambda s, n: visit(s, n, True), None)
    )
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def slug(title: str) -> str:
    "Pandoc's rule for the anchor of a heading, so that links mean the same in both builds."
    kept = re.sub(r"[^\w\-. ]", "", title).strip().replace(" ", "-").lower()
    return re.sub(r"^[^a-z\u00df-\uffff]+", "", kept)


class InOrder(Processor):
    """nbdev shows the names of one cell last to first, and puts links into the comments of a signature: mend both.
    For Quarto the docs workflow names this class in settings.ini (`procs`)."""

    def begin(self):
        cells, run = [], []
        for c in [*self.nb.cells, None]:
            shown = c is not None and "show_doc(" in c.source and c.get("outputs")
            if shown:
                for o in c.outputs:
                    text = "".join(o.get("data", {}).get("text/markdown", ""))
                    run.append((int((re.findall(r"\.py#L(\d+)", text) or [0])[0]), len(run), c))
                    fence = re.compile(r"^```python\n.*?^```", re.M | re.S)
                    text = fence.sub(lambda m: re.sub(r"\[`([^`]+)`\]\([^)\s]*\)", r"`\1`", m[0]), text)
                    o.data["text/markdown"] = text
            else:
                cells += [r[2] for r in sorted(run, key=lambda r: r[:2])]
                cells, run = cells + [c] * (c is not None), []
        self.nb.cells = cells


def page(path) -> str:
    "Where nbdev puts a notebook: how_to/01_x.ipynb is how_to/x."
    from nbdev.doclinks import _nbpath2html

    return _nbpath2html(Path(path)).with_suffix("").as_posix()


def sidebar(contents) -> list:
    "(caption, notebooks) for each section of the sidebar."
    groups = [("", [])]
    for item in contents:
        if isinstance(item, dict) and "section" in item:
            groups.append((item["section"], [c if isinstance(c, str) else c["href"] for c in item["contents"]]))
        else:
            groups[0][1].append(item if isinstance(item, str) else item["href"])
    return groups


def check_pages(listed) -> list:
    "What is wrong with the pages before anything is built."
    from nbdev.doclinks import nbglob

    present = {p.relative_to("nbs").as_posix() for p in nbglob("nbs", as_path=True)}
    bad = [f"_quarto.yml lists {p}, and nbs/ has no such notebook" for p in listed if p not in present]
    docs = {p for p in present if "tests" not in Path(p).parts}
    bad += [f"nbs/{p} is not in the sidebar of _quarto.yml" for p in sorted(docs - set(listed))]
    for p in sorted(docs & set(listed)):
        title = next((c.source for c in nbformat.read(f"nbs/{p}", 4).cells if re.search(r"^# ", c.source, re.M)), "")
        rest = [s for s in title.splitlines() if s.strip() and not re.match(r"#\s|>\s|- \w+:", s)]
        if rest or len(re.findall(r"^>", title, re.M)) != 1:
            bad.append(f"nbs/{p}: the title cell holds `# title` and one line `> promise`, and nothing else (nbdev drops it)")
    return bad


def options(source: str) -> tuple:
    "Quarto's options at the head of a cell, and the rest of the cell."
    found = dict(re.findall(r"^#\|\s*([\w-]+):?[ \t]*(.*?)\s*$", source, re.M))
    return found, re.sub(r"^#\|.*\n?", "", source, flags=re.M).strip("\n")


def links(text: str, here: str, base: str) -> str:
    "Links between notebooks, and nbdev's links from names to their documentation, as relative links of this site."

    def to(target, anchor):
        return f"]({posixpath.relpath(target + '.ipynb', posixpath.dirname(here) or '.')}{anchor or ''})"

    def notebook(m):
        path = posixpath.normpath(posixpath.join(posixpath.dirname(here), m[1]))
        return to(page(path), m[2])

    text = re.sub(r"\]\((?![a-z]+:)([^)\s#]+\.ipynb)(#[^)\s]*)?\)", notebook, text)
    known = ANCHORS.get

    def name(m):
        anchor = next((a for a in (m[2], m[2].split(".")[0]) if a in known(m[1], ())), None)
        return to(m[1], f"#{anchor}" if anchor else "")

    return re.sub(r"\]\(" + re.escape(base) + r"/([\w/]+)\.html#([^)\s]+)\)", name, text)


ANCHORS = {}  # page -> anchors of the names that it documents


def show_doc(markdown: str, here: str) -> str:
    "A show_doc output as MyST: no rule above it, the name as code, the source on this site."
    up = posixpath.relpath("source", posixpath.dirname(here) or ".")
    markdown = re.sub(r"\A---\s*", "", markdown)
    markdown = re.sub(r"^(#+) ([\w.]+)$", r"\1 `\2`", markdown, count=1, flags=re.M)
    return SOURCE.sub(lambda m: f'<a class="source" href="{up}/{m[1]}.html#L-{m[2]}">source</a>', markdown)


def callouts(text: str) -> str:
    "Quarto's callouts as MyST's admonitions."
    return re.sub(r"^:::\s*\{\.callout-(\w+)[^}]*\}", r":::{\1}", text, flags=re.M)


def translate(nb, here: str, base: str):
    "A processed notebook in the words of myst-nb."
    cells = []
    for c in nb.cells:
        if c.cell_type == "raw":
            meta = yaml.safe_load(c.source.strip().strip("-"))
            lead = f"\n\n{{.lead}}\n{meta['description']}" if "description" in meta else ""
            cells.append(nbformat.v4.new_markdown_cell(links(f"# {meta['title']}{lead}", here, base)))
        elif c.cell_type == "markdown":
            c.source = callouts(links(c.source, here, base))
            cells.append(c)
        else:
            opts, c.source = options(c.source)
            if opts.get("include") == "false":
                continue
            c.outputs = [] if opts.get("output") == "false" else [o for o in c.outputs if o.get("name") != "stderr"]
            for o in c.outputs:
                if "text/html" in o.get("data", {}):
                    o.data["text/html"] = re.sub(r"<style scoped>.*?</style>", "", o.data["text/html"], flags=re.S)
            if opts.get("output") == "asis":
                for o in c.outputs:
                    text = o.text if o.output_type == "stream" else o.data.get("text/markdown", "")
                    is_doc = c.source.startswith("show_doc")
                    cells.append(nbformat.v4.new_markdown_cell(links(show_doc(text, here) if is_doc else text, here, base)))
                continue
            c.metadata["tags"] = ["remove-input"] if opts.get("echo") == "false" else []
            if c.source or c.outputs:
                cells.append(c)
            if "fig-cap" in opts:
                cells.append(nbformat.v4.new_markdown_cell("*" + opts["fig-cap"].strip("\"'") + "*"))
    nb.cells = cells
    nb.metadata.pop("widgets", None)
    nb.metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
    return nb


def find_anchors(nb) -> set:
    "Names that a processed notebook documents."
    text = "\n".join(o.get("data", {}).get("text/markdown", "") for c in nb.cells for o in c.get("outputs", []))
    return {slug(m) for m in re.findall(r"^#+ ([\w.]+)$", text, re.M)}


def toctree(groups) -> str:
    out = []
    for caption, pages in groups:
        names = [page(p) for p in pages if page(p) != "index"]
        if names:
            out.append("\n".join(["```{toctree}", ":hidden:", *([f":caption: {caption}"] if caption else []), "", *names, "```"]))
    return "\n\n".join(out)


class Page(HTMLParser):
    "The links and the anchors of a built page."

    def __init__(self, path):
        super().__init__()
        self.links, self.ids = [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids |= {attrs[k] for k in ("id", "name") if attrs.get(k)}
        self.links += [attrs[k] for k in ("href", "src") if attrs.get(k)]


def broken_links(site) -> list:
    "Links of the built site to files or anchors that it does not have."
    pages = {p: Page(p) for p in sorted(site.rglob("*.html"))}
    bad = []
    for path, this in pages.items():
        for link in this.links:
            url = urlsplit(link)
            if url.scheme or url.netloc or link == "#":
                continue
            target = Path(os.path.normpath(path.parent / unquote(url.path))) if url.path else path
            anchor = unquote(url.fragment)
            if not target.exists() or (anchor and target in pages and anchor not in pages[target].ids):
                bad.append(f"{path.relative_to(site)}: the link {link} leads nowhere")
    return bad


def sources(site):
    "The exported modules as pages with a line number each, for show_doc's `source` links."
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    site.mkdir(parents=True, exist_ok=True)
    for module in Path("dpsynth").rglob("[!_]*.py"):
        look = HtmlFormatter(full=True, linenos="inline", lineanchors="L", title=f"dpsynth.{module.stem}")
        (site / f"{module.stem}.html").write_text(highlight(module.read_text(encoding="utf-8"), PythonLexer(), look), "utf-8")


def main() -> int:
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))  # the processes that nbdev spawns inherit it
    os.environ["PYTHONWARNINGS"] = "error:Found cells containing imports"  # nbdev would run the other code too
    from nbdev.config import get_config
    from nbdev.serve import proc_nbs
    from sphinx.cmd.build import main as sphinx_build

    config = get_config()
    groups = sidebar(yaml.safe_load(Path("_quarto.yml").read_text(encoding="utf-8"))["website"]["sidebar"]["contents"])
    listed = [p for _, pages in groups for p in pages]
    if bad := check_pages(listed):
        print(*bad, sep="\n", file=sys.stderr)
        return 1
    try:
        done = proc_nbs("nbs", n_workers=2, force=True, skip_folder_re="^[_.]|^tests$")
    except UserWarning as e:
        print(e, file=sys.stderr)
        return 1
    books = {p: nbformat.read(done / p, 4) for p in listed}
    for nb in books.values():
        InOrder(nb).begin()
    ANCHORS.update({page(p): find_anchors(nb) for p, nb in books.items()})
    site, base = ROOT / "_docs", config.doc_host + config.doc_baseurl
    shutil.rmtree(site, ignore_errors=True)
    with tempfile.TemporaryDirectory() as tmp:
        src = Path(tmp) / "src"
        for p in done.rglob("*"):
            if p.is_file() and p.suffix not in (".ipynb", ".yml", ".css", ".js"):
                (src / p.relative_to(done)).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(p, src / p.relative_to(done))
        for p, nb in books.items():
            nb = translate(nb, page(p), base)
            if p == "index.ipynb":
                nb.cells.append(nbformat.v4.new_markdown_cell(toctree(groups)))
            target = src / (page(p) + ".ipynb")
            target.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(nb, target)
        (src / "_static").mkdir(parents=True)
        for asset in ("styles.css", "keyboard.js"):
            shutil.copy(f"nbs/{asset}", src / "_static")
        (src / "conf.py").write_text(CONF.format(title=config.title, copyright=config.copyright, root=str(ROOT / ".ci")), "utf-8")
        built = Path(tmp) / "site"  # MyST-NB leaves a folder beside it
        status = sphinx_build(["-q", "-W", "-j", "1", "-d", f"{tmp}/trees", "-b", "html", str(src), str(built)])
        for p in built.rglob("*.html"):  # furo's captions are headings that do not say of which level
            p.write_text(p.read_text("utf-8").replace('class="caption" role="heading"', 'class="caption" role="heading" aria-level="2"'), "utf-8")
        shutil.move(built, site)
    sources(site / "source")
    bad = broken_links(site)
    print(*bad, sep="\n", file=sys.stderr)
    if not status and not bad:
        print(f"{len(books)} pages in _docs/, no warning, no broken link")
    return int(bool(status or bad))


CONF = """
import sys
sys.path.insert(0, {root!r})
project = html_title = {title!r}
copyright = {copyright!r}
extensions = ["myst_nb", "docs"]
html_theme = "furo"
html_math_renderer = "mathml"
html_static_path, html_css_files, html_js_files = ["_static"], ["styles.css"], ["keyboard.js"]
html_use_index = html_copy_source = html_show_sourcelink = html_show_sphinx = False
pygments_dark_style = "github-dark"
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "attrs_inline", "attrs_block"]
myst_heading_anchors = 4
myst_heading_slug_func = "docs.slug"
suppress_warnings = ["myst.header"]
"""

if __name__ == "__main__":
    sys.exit(main())
