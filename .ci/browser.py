"""The preview of the site, the report and the certificate in a real browser: python .ci/browser.py [FOLDER of the demo]

Each page of _docs/ is opened: no console error, no request that fails or leaves this machine, no picture that does
not show, no serious violation that axe-core finds (what scrolls can be reached by the keyboard); contrast in dark too.
Then report.html and certificate.html of the demo, from disk, with the network off: the same, and the Tab key reaches
the link that skips to the text, and what scrolls. Needs Debian's Chromium or another one that CHROMIUM names; without
it, one line says that nothing was checked.
"""

import os
import shutil
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SERIOUS = ("serious", "critical")
HIDDEN = """() => [...document.querySelectorAll('main img, main svg[role=img], article img')].filter(e => {
    const box = e.getBoundingClientRect();
    return box.width < 8 || box.height < 8 || (e.tagName === 'IMG' && !(e.complete && e.naturalWidth))}).length"""
INSIDE = "where => !!document.activeElement.closest(where)"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # a page was left before all of it was sent


def serve(folder: Path) -> Server:
    server = Server(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Visitor:
    "A browser window, and what was wrong on the pages that it saw."

    def __init__(self, browser, home: str, offline: bool = False):
        from axe_playwright_python.sync_playwright import Axe

        self.home, self.bad, self.name, self.axe = home, [], "", Axe()
        window = {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"}
        self.context = browser.new_context(offline=offline, **window)
        self.page = self.context.new_page()
        self.context.route("**/*", self._route)
        self.page.on("console", lambda m: self.wrong(f"console: {m.text}") if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.wrong(f"script: {e}"))
        self.page.on("response", lambda r: self.wrong(f"{r.status}: {r.url}") if r.status >= 400 else None)

    def _route(self, route):
        url = route.request.url
        if url.startswith((self.home, "data:")):
            return route.continue_()
        self.wrong(f"asks for {url}")
        route.abort()

    def wrong(self, words: str):
        self.bad.append(f"{self.name}: {words}")

    def open(self, name: str):
        self.name = name
        self.page.goto(self.home + name, wait_until="load")

    def look(self, name: str):
        "Open a page and hold it to everything that holds for every page."
        self.open(name)
        self.page.evaluate("() => document.querySelectorAll('img[loading=lazy]').forEach(i => i.loading = 'eager')")
        if self.page.locator("h1").count() != 1:
            self.wrong("not exactly one main heading")
        if hidden := self.page.evaluate(HIDDEN):
            self.wrong(f"{hidden} pictures do not show")
        self.violations("light", {})
        self.page.emulate_media(color_scheme="dark")
        self.violations("dark", {"runOnly": {"type": "rule", "values": ["color-contrast"]}})
        self.page.emulate_media(color_scheme="light")

    def violations(self, scheme: str, options):
        "What axe-core finds serious."
        found = self.axe.run(self.page, options={"resultTypes": ["violations"], **options}).response["violations"]
        for v in found:
            if v["impact"] in SERIOUS:
                times, first = len(v["nodes"]), v["nodes"][0]
                where = f"{times} times, first {first['target']} {first['html'][:120]}"
                self.wrong(f"axe, {scheme}, {v['id']}: {v['help']}; {where}")

    def tab_to(self, name: str, where: str, most: int = 40):
        "Press Tab until the focus is inside an element."
        self.open(name)
        for _ in range(most):
            self.page.keyboard.press("Tab")
            if self.page.evaluate(INSIDE, where):
                return
        self.wrong(f"{most} times Tab do not reach {where}")


def site(browser, folder: Path) -> tuple:  # (pages, complaints)
    server = serve(folder)
    visitor, pages = Visitor(browser, f"http://127.0.0.1:{server.server_port}/"), sorted(folder.rglob("*.html"))
    for page in pages:
        visitor.look(page.relative_to(folder).as_posix())
    server.shutdown()
    return len(pages), visitor.bad


def files(browser, folder: Path) -> tuple:
    "Report and certificate, from disk, without a network."
    found = [p for p in ("report.html", "certificate.html") if (folder / p).exists()]
    visitor = Visitor(browser, folder.resolve().as_uri() + "/", offline=True)
    for name in found:
        visitor.look(name)
        visitor.tab_to(name, "a.skip", 1)
        visitor.tab_to(name, "main .wide")
    return len(found), visitor.bad


def main() -> int:
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        print("skipped: there is no Chromium on this machine")
        return 0
    from playwright.sync_api import sync_playwright

    demo = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "dpsynth-demo"
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        pages, bad = site(browser, ROOT / "_docs")
        some, worse = files(browser, demo)
        browser.close()
    if not pages or not some:
        bad.append("there is nothing to look at: build the site and run the demo first")
    print(*dict.fromkeys(bad + worse), sep="\n", file=sys.stderr)
    if not bad + worse:
        print(f"{pages} pages of the preview and {some} files of the demo, in light and dark: nothing wrong")
    return int(bool(bad + worse))


if __name__ == "__main__":
    sys.exit(main())
