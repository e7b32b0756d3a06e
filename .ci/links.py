"""Checks of .ci/docs.py: the sidebar has every page, nbdev drops no text of a title cell, every link and anchor of
the built site leads somewhere, and no page asks another site for something."""

import os
import re
from pathlib import Path

import nbformat
from nbdev.quarto import nbglob

SITE, SKIP = Path("_docs"), "^[_.]|^tests$"  # folders not shown
ASKS = r"""(?:<link\b[^>]*href="|\ssrc="|url\(["']?|@import ["'])(?:https?:)?//[^")>]*"""


def check_pages(listed) -> list:
    "Where the sidebar and nbs/ differ, and title cells that nbdev drops text of."
    docs = sorted(p.relative_to("nbs").as_posix() for p in nbglob("nbs", as_path=True, skip_folder_re=SKIP))
    bad = [f"{p} is not both in nbs/ and in the sidebar of _quarto.yml" for p in sorted({*docs} ^ {*listed})]
    for p in docs:
        title = next((c.source for c in nbformat.read(f"nbs/{p}", 4).cells if re.search("^# ", c.source, re.M)), "")
        if not re.fullmatch(r"(# .*|- \w+:.*|\s)*> .*(- \w+:.*|\s)*", title):
            bad.append(f"nbs/{p}: nbdev drops all of a title cell but `# title` and one line `> promise`")
    return bad


def broken(base: str) -> list:
    "What leads nowhere on the site, and what it asks of others."
    files = {p.resolve(): p.read_text("utf-8") for p in SITE.rglob("*") if p.suffix in (".html", ".css")}
    bad = [f"{p}: asks for {found[:150]}" for p, text in files.items() for found in re.findall(ASKS, text)]
    for page, text in files.items():
        bad += [f"{page}: a link within a link: {link}" for link in re.findall(r"\]\(https?:[^)<]*", text)]
        text = re.sub("(?s)<script.*?</script>", "", text).replace(f'"{base}', f'"{os.path.relpath(SITE, page.parent)}')
        for link in set(re.findall(r'<(?:a|img|link)\b[^>]*?\s(?:href|src)="(?![a-z]+:|//)([^"]+)"', text)):
            path, _, anchor = link.partition("#")
            there = (page.parent / path if path else page).resolve()
            if not there.exists() or (anchor and f'id="{anchor}"' not in files.get(there, f'id="{anchor}"')):
                bad.append(f"{page}: the link {link} leads nowhere")
    return bad
