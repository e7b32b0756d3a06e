"""The docs site in _docs/: python .ci/docs.py [--quarto]

nbdev prepares the notebooks and Quarto renders them. Without --quarto, Pandoc, which is inside Quarto, makes a plain
preview of the same notebooks. Beside each PAGE.html lies PAGE.html.md, its text for programs that read, and llms.txt
lists them (llmstxt.org). Either fails when the sidebar lacks a page, nbdev would drop text of a title cell, a link
or an anchor leads nowhere, a page asks another site for something, or it is over a limit of .ci/pages.py, which folds
assertions; so does a warning of nbdev's or Pandoc's."""

import os
import re
import shutil
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import nbformat
import yaml
from links import SITE, SKIP, broken, check_pages
from nbdev.quarto import get_config, proc_nbs, refresh_quarto_yml
from pages import fold_checks, link_terms, lost, over, unsaid, with_fields
from preview import markdown, preview, to_html

ROOT = Path(__file__).resolve().parent.parent
EXPORTED = 'code-summary: "Exported source"'  # nbdev's words for a cell of `#| exports`


def mend(nb):
    """Names of one cell first to last and then their source, signatures without links, fields of classes, a word for
    each picture, no scripts for widgets; assertions folded."""
    cells, heading, signature = [], "", re.compile(r"^```python\n.*?^```", re.M | re.S)
    line = lambda c: float(re.findall(r"\.py#L(\d+)|$", str(c.outputs))[0] or "inf")  # a source comes last
    documents = lambda c: "show_doc(" in c.source and bool(c.get("outputs")) or EXPORTED in c.source
    for shown, run in groupby(nb.cells, documents):
        cells += sorted(run, key=line) if shown else run
    for c in cells:
        heading = (re.findall("^#+ (.*)$", c.source, re.M) or [heading])[-1] if c.cell_type == "markdown" else heading
        for data in [o.data for o in c.get("outputs", []) if "data" in o]:
            if "text/html" in data:  # as it is, Quarto would fetch require.js for it
                data["text/markdown"] = f"```{{=html}}\n{data.pop('text/html')}\n```"
            elif text := data.get("text/markdown"):
                text = with_fields(text)
                data["text/markdown"] = signature.sub(lambda m: re.sub(r"\[(`[^`]+`)\]\(\S*?\)", r"\1", m[0]), text)
            elif "image/png" in data:
                c.source = '#| fig-alt: "Picture: ' + re.sub(r'["`*<>&\\[]|\]\(.*?\)', "", heading) + f'"\n{c.source}'
    nb.update(cells=fold_checks(cells), metadata={"kernelspec": nb.metadata["kernelspec"]})
    return nb


def about(name, config):  # of a notebook
    "The last words of a page: its other forms, the version of the package that it is about, and its card."
    code, page = (
        f"{config.git_url}/raw/{config.branch}/nbs/{name}",
        f"{config.doc_host}{config.doc_baseurl}/{to_html(name)}",
    )
    colab = f"{config.git_url}/blob/{config.branch}/nbs/{name}".replace(
        "github.com", "colab.research.google.com/github"
    )
    return (
        f"::: {{.about}}\nThis page as a [notebook]({code}), as [Markdown]({page}.md), or [in Colab]({colab}), where a first "
        f"cell has to say `%pip install git+{config.git_url}`. It is about {config.lib_name} {config.version}.\n:::"
    )


def copies(done, contents, config):
    "Each page as Markdown beside it, and the list of all."
    site, lines = config.doc_host + config.doc_baseurl, [f"# {config.title}", "", f"> {config.description}"]
    for part in contents:
        name, pages = (part["section"], part["contents"]) if "section" in part else ("The first page", [part])
        lines += ["", f"## {name}", ""]
        for page in pages:
            head, _, *rest = markdown(nbformat.read(done / page, 4), plain=True)  # between them nbdev's warning
            about = yaml.safe_load(head.strip().strip("-"))
            text = "\n\n".join([f"# {about['title']}", f"> {about['subtitle']}", *rest])
            text = re.sub(r"\]\((?!\w+:)([^)#\s]*\.ipynb)", lambda m: f"]({to_html(m[1])}.md", text)
            (SITE / f"{to_html(page)}.md").write_text(text + "\n", "utf-8")
            lines.append(f"- [{about['title']}]({site}/{to_html(page)}.md): {about['subtitle']}")
    (SITE / "llms.txt").write_text("\n".join(lines) + "\n", "utf-8")


def main():
    os.chdir(ROOT)
    os.environ["PYTHONWARNINGS"] = "error:Found cells containing imports"  # nbdev would run the other code too
    quarto, config = yaml.safe_load(Path("_quarto.yml").read_text("utf-8")), get_config()
    contents = quarto["website"]["sidebar"]["contents"]
    pages = [p for s in contents for p in (s["contents"] if "section" in s else [s])]
    refresh_quarto_yml()
    done = proc_nbs("nbs", n_workers=2, force=True, skip_folder_re=SKIP)
    for path in done.rglob("*.ipynb"):
        nb = mend(nbformat.read(path, 4))
        if path.stem != "glossary":
            link_terms(nb.cells, "../" * (len(path.relative_to(done).parts) - 1))
        if number := re.match(r"\d\d(?=_)", path.name):  # by which chapters are cited
            nb.cells[0].source = re.sub(r"(?m)^title: (['\"]?)", rf"title: \g<1>{number[0]} ", nb.cells[0].source)
        nb.cells.append(nbformat.v4.new_markdown_cell(about(path.relative_to(done).as_posix(), config), id="about"))
        nbformat.write(nb, path)
    shutil.rmtree(SITE, ignore_errors=True)
    if "--quarto" in sys.argv:
        subprocess.run(["quarto", "render", "--no-cache"], cwd=done, check=True)
        shutil.move(done / SITE, SITE)
    else:
        preview(done, pages, quarto["format"]["html"]["include-after-body"]["text"])
    copies(done, contents, config)
    shown = over(SITE) + unsaid(SITE, Path("dpsynth").glob("*.py")) + lost(SITE)
    if bad := check_pages(pages) + broken(config.doc_host + config.doc_baseurl) + shown:
        sys.exit("\n".join(bad))
    print(len(pages), "pages in _docs/, no warning, no broken link")


if __name__ == "__main__":
    main()
