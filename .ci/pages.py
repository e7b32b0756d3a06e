"""What readers see of a notebook on its page, for either build of .ci/docs.py: the method with its source, the fields
of a dataclass with their words, examples without their assertions, which lie folded below. `python .ci/pages.py`
prints what the pages in _docs/ show and weigh, and fails where that is over the limits below."""

import ast
import html
import re
import sys
from copy import deepcopy
from functools import cache
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
SILENT, WEIGHT = 0.15, 1.5e6  # of the visible lines of code, assertions; bytes of a page with its pictures
WHY, SAME = "How we know", "How we know: the same with its checks"  # what is folded
EVERYDAY = {
    "Budget",
    "Code",
    "Discover",
    "History",
    "Schema",
    "Unit",
}  # words of the glossary that need no link each time
FOLD = "#| code-fold: true\n#| code-summary: "
METHOD = {  # page → what is shown with its source
    "noise": "gaussian_histogram gaussian_vector",
    "ledger": "charge release",
    "layers": "Dense",
    "tabular_vae": "elbo_loss forward",
    "dp_training": "poisson_batches clip_factors clipped_sum_at_once noisy_gradient step",
    "calibration": "project_to_simplex shrink rake",
    "history_tables": "release_tables",
    "answers": "Answer",
    "quality": "release_distances",
}


def lines(nodes) -> set:  # of numbers, from 1
    return {k for n in nodes for k in range(n.lineno, n.end_lineno + 1)}


def checks(node, idle) -> list:  # of statements
    """The assertions of a statement and what only makes `idle` names for them; the statement itself where a block of
    it is nothing else. A definition is whole."""
    if isinstance(node, ast.Assert) or hasattr(node, "name"):
        return [node] * isinstance(node, ast.Assert)
    if isinstance(node, ast.Assign):
        made = [n for t in node.targets for n in ast.walk(t) if not isinstance(n, (ast.Tuple, ast.Store))]
        draws = any(n.id.endswith("rng") and n.id not in idle for n in read(node))  # what is drawn next depends on it
        return [node] * (not draws and all(isinstance(n, ast.Name) and n.id in idle for n in made))
    holders = [node, *getattr(node, "handlers", [])]
    blocks = [b for h in holders for n in ("body", "orelse", "finalbody") if (b := getattr(h, n, []))]
    found = [[c for s in block for c in checks(s, idle)] for block in blocks]
    return [node] if any(f == b for f, b in zip(found, blocks)) else sum(found, [])


def read(tree) -> list:  # of names that are read in it
    return [n for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)]


def without_checks(source: str, later=None) -> str:
    """A cell without its assertions and the comments right above, and without what only they read; `later`: names that
    are read in later cells; None: other lines stay."""
    tree, rows, before, gone = ast.parse(source), source.splitlines(), None, set()
    while gone != before:
        here = {n.id: set() for n in read(tree)}
        for n in read(tree):
            here[n.id].add(n.lineno)
        idle = {name for name, at in here.items() if later is not None and at <= gone and name not in later}
        before, gone = gone, lines(c for s in tree.body for c in checks(s, idle))
    for k in range(len(rows) - 1, 0, -1):
        if k + 1 in gone and re.match(r"\s*#(?!\|)", rows[k - 1]):
            gone.add(k)
    return re.sub(r"\n{3,}", "\n\n\n", "\n".join(r for k, r in enumerate(rows, 1) if k not in gone)).strip()


def fold_checks(cells) -> list:
    "A cell that asserts and shows nothing is folded; of another one, the assertions are, in a copy of it below."
    out, later = [], set()
    for c in reversed(cells):
        code = c.cell_type == "code" and not re.search(r"(?m)^#\| *echo:", c.source)
        own = code and "assert" in c.source and "code-fold:" not in c.source
        drawn = any("image/png" in o.get("data", {}) for o in c.get("outputs", []))  # by which line, nobody knows
        shown = without_checks(c.source, None if drawn else later) if own else c.source
        source = re.sub(r"(?m)^#\|.*\n", "", c.source)
        later |= {n.id for n in read(ast.parse(source))} if code else set()
        if shown != c.source and c.get("outputs") and re.search(r"(?m)^[^#\n]", shown):
            out.append(deepcopy(c))
            out[-1].update(source=f'{FOLD}"{SAME}"\n{source}', outputs=[], id=f"{c.id}-why")
            c.source = shown
        elif shown != c.source:
            c.source = f'{FOLD}"{WHY}"\n{c.source}'
        out.append(c)
    return out[::-1]


@cache
def glossary() -> dict:  # term → anchor
    "The words of the glossary that mean nothing else in plain English, and the letters for two of them."
    text = "\n".join(c.source for c in nbformat.read(ROOT / "nbs/explanations/glossary.ipynb", 4).cells)
    terms = [t for t in re.findall("(?m)^### (.+)$", text) if t not in EVERYDAY]
    return {t: t.lower().replace(" ", "-") for t in terms} | {"ε": "epsilon", "δ": "delta"}


def link_terms(cells, up: str = ""):  # up: from the page to nbs/, such as ../
    "In prose, the first use of each term of the glossary leads there; a page that links to an entry itself is left."
    taken = {a for c in cells for a in re.findall(r"glossary\.ipynb#([\w-]+)", c.source)}
    aside = (
        r"(?m)^(?:#|\||---|:::|>).*$|```[\s\S]*?```|`[^`]*`|\$\$[\s\S]*?\$\$|\$[^$]*\$|!?\[[^\]]*\]\([^)]*\)|<[^>]*>"
    )
    for c in (c for c in cells[1:] if c.cell_type == "markdown"):
        for term, anchor in sorted(glossary().items(), key=lambda item: -len(item[0])):
            word = rf"{aside}|(?<![\w(^\\-])({term if len(term) < 4 else f'(?i:{term})'})(?![\w)-])"
            hit = next((m for m in re.finditer(word, c.source) if m[1] and anchor not in taken), None)
            if hit:
                taken.add(anchor)
                link = f"[{hit[1]}]({up}explanations/glossary.ipynb#{anchor})"
                c.source = c.source[: hit.start()] + link + c.source[hit.end() :]


@cache
def fields(path: str) -> dict:  # name → the class down to its last field, as it is written
    "The classes of a module that have fields; what is private or of the class itself is no field."
    text = (ROOT / path).read_text("utf-8")
    rows, found = text.splitlines(), {}
    for node in (n for n in ast.parse(text).body if isinstance(n, ast.ClassDef)):
        own = [f for f in node.body if isinstance(f, ast.AnnAssign) and "ClassVar" not in ast.dump(f.annotation)]
        if own:
            shown = sorted(lines([*node.decorator_list, *own]) | {node.lineno})
            found[node.name] = "\n".join(rows[k - 1] for k in shown)
    return found


def with_fields(text: str) -> str:
    """What show_doc says, with the fields of a class and their comments where the signature was. The signature of a
    class without fields begins with class, not with def."""
    text = re.sub(r"(?m)^def (?=_*[A-Z])", "class ", text)
    path, name = re.search(r"/(dpsynth/\w+\.py)#", text), re.search(r"(?m)^#+ (\w+)$", text)
    own = fields(path[1]).get(name[1]) if path and name else None
    return re.sub(r"(?ms)^```python\n.*?^```", lambda m: f"```python\n{own}\n```", text, count=1) if own else text


def plain(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", page))


def body(page: str) -> str:  # without the menus, which lead everywhere
    return re.sub(r"(?s)<nav\b.*?</nav>", "", page)


def visible(page: str) -> list:  # of strings
    "The code of a page's cells that is not folded."
    page = re.sub(r"(?s)<details(?![^>]*\bopen)[^>]*>.*?</details>", "", page)
    cells = re.findall(r"(?s)cell-code\b[^>]*>(?:\s*<pre[^>]*>)?\s*<code[^>]*>(.*?)</code>", page)
    return [plain(c) for c in cells]


def silent(cells) -> tuple:  # lines of assertions, lines that are not empty
    asserts, total = 0, 0
    for c in cells:
        asserts += len(lines(n for n in ast.walk(ast.parse(c)) if isinstance(n, ast.Assert)))
        total += sum(bool(r.strip()) for r in c.splitlines())
    return asserts, total


def weight(path: Path, text: str) -> int:  # bytes of a page and of its pictures
    sources = {s for s in re.findall(r'<img\b[^>]*?\ssrc="([^"]+)"', text) if not re.match(r"\w+:|//", s)}
    return len(text.encode()) + sum((path.parent / s).stat().st_size for s in sources if (path.parent / s).exists())


def over(site: Path, tell=lambda line: None) -> list:  # of strings
    "What is over the limits on the pages of a site, and what is not shown that should be."
    bad = []
    for path in sorted(site.rglob("*.html")):
        text = path.read_text("utf-8")
        cells, name = visible(text), path.relative_to(site).with_suffix("").as_posix()
        (asserts, total), size = silent(cells), weight(path, text)
        tell(f"{name:30}{total:6}{asserts:6}{asserts / max(total, 1):7.0%}{size / 1e3:9,.0f}")
        if asserts > SILENT * total:
            bad.append(f"{path}: {asserts} of {total} visible lines of code are assertions")
        if size > WEIGHT:
            bad.append(f"{path}: {size / 1e6:.1f} MB with its pictures")
        if any((ROOT / "nbs").glob(f"[0-9][0-9]_{name}.ipynb")) and "<img" not in body(text).partition("<h2")[0]:
            bad.append(f"{path}: no picture before its first section")
        shown = {n for c in cells for n in re.findall(r"(?m)^(?:def|class) (\w+)", c)}
        bad += [f"{path}: the source of {n} is not on it" for n in METHOD.get(name, "").split() if n not in shown]
    return bad


def unsaid(site: Path, modules) -> list:  # of strings
    "Fields of public classes that no page about their module shows with their words."
    pages, bad = [p.read_text("utf-8") for p in site.rglob("*.html")], []
    for module in sorted(modules):
        words = "".join(plain(p) for p in pages if f"/dpsynth/{Path(module).name}#L" in p)
        for name, own in fields(module).items():
            rows = [] if name.startswith("_") else own.splitlines()
            gone, bare = (
                [r for r in rows if r.strip() not in words],
                [r for r in rows if re.match(r" +[a-z][^#]*[^#(]$", r)],
            )
            bad += [f"{module}: no page says of {name}: {row.strip()}" for row in gone[:1]]
            bad += [f"{module}: a field of {name} has no words: {row.strip()}" for row in bare]
    return bad


def lost(site: Path, start: str = "explanations/questions.html") -> list:  # of strings
    """Questions of a newcomer whose answer is more than two clicks from the first page: a row of the table for each,
    its last cell the way there, from link to link to a heading."""
    bad, hrefs = [], lambda text: re.findall(r'href="([^"]+)"', body(text))
    for row in re.findall(r"(?s)<tr\b.*?</tr>", (site / start).read_text("utf-8")):
        if not (way := hrefs(row.rpartition("<td")[2])):
            continue  # the header
        pages = [(site / start).parent.joinpath(link.partition("#")[0]).resolve() for link in way]
        texts = [p.read_text("utf-8") if p.exists() else "" for p in pages]
        there = [{p.parent.joinpath(h.partition("#")[0]).resolve() for h in hrefs(t)} for p, t in zip(pages, texts)]
        clicks, heading = len(way) - 1 + ("#" in way[-1]), way[-1].partition("#")[2]
        found = (
            re.search(rf'<h[1-6][^>]*\bid="{heading}"|<section[^>]*\bid="{heading}"', texts[-1]) if heading else True
        )
        linked = all(after in links for links, after in zip(there, pages[1:]))
        if clicks > 2 or not found or not linked or pages[0] != (site / "index.html").resolve():
            bad.append(f"{start}: no two clicks from the first page answer: {plain(row.partition('</td>')[0]).strip()}")
    return bad


if __name__ == "__main__":
    print(f"{'page':30}{'code':>6}{'assert':>7}{'share':>6}{'kB':>9}")
    site = ROOT / "_docs"
    sys.exit("\n".join(over(site, print) + unsaid(site, (ROOT / "dpsynth").glob("*.py")) + lost(site)) or 0)
