"""The chapters in JupyterLab, each by "Restart Kernel and Run All Cells": python .ci/lab.py [--slow] [NOTEBOOK ...]

A copy of nbs/ is opened by a JupyterLab of its own in a headless Chromium (Debian's, or the one that CHROMIUM names).
A notebook passes when its kernel comes to rest, every code cell has run, no output is an error and no widget is
broken. Cells flagged slow are taken out of the copy unless --slow is given; a picture of each notebook is
left in the folder that SCREENSHOTS names, if it does.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUN = """async () => {
    const app = window.jupyterapp, panel = app.shell.currentWidget;
    await panel.context.ready; await panel.sessionContext.ready;
    window.done = false;
    app.commands.execute('notebook:restart-run-all').then(ok => { window.done = ok === undefined ? true : ok });
}"""
STATE = """() => {
    const panel = window.jupyterapp.shell.currentWidget, kernel = panel.sessionContext.session?.kernel, bad = [];
    let waiting = 0, broken = document.querySelectorAll('.jupyter-widgets-view .error, .jp-OutputArea-output .jupyter-widgets-error').length;
    for (const cell of panel.content.model.cells) {
        if (cell.type !== 'code' || !cell.sharedModel.source.trim()) continue;
        if (!cell.executionCount) waiting++;
        for (let i = 0; i < cell.outputs.length; i++) {
            const out = cell.outputs.get(i).toJSON();
            if (out.output_type === 'error') bad.push(out.ename + ': ' + out.evalue + ' in ' + cell.sharedModel.source.slice(0, 80));
        }
    }
    return {status: kernel?.status, waiting, bad, broken};
}"""


def copy(folder: Path, slow: bool) -> None:
    "nbs/ without outputs, and without slow cells unless they are wanted."
    shutil.copytree(ROOT / "nbs", folder)
    (folder.parent / ".ci").symlink_to(ROOT / ".ci")  # chapter 08 calls it
    for path in folder.rglob("*.ipynb"):
        nb = json.loads(path.read_text())
        nb["cells"] = [c for c in nb["cells"] if slow or "#| slow" not in "".join(c["source"]).splitlines()]
        for c in nb["cells"]:
            c.update(outputs=[], execution_count=None) if c["cell_type"] == "code" else None
        path.write_text(json.dumps(nb))


def server(folder: Path):
    "A JupyterLab on a free port, and its address."
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    options = ["--no-browser", f"--ServerApp.port={port}", "--IdentityProvider.token=", "--ServerApp.allow_root=True", f"--ServerApp.root_dir={folder}", "--LabApp.expose_app_in_browser=True", "--LabApp.news_url=None"]
    lab = subprocess.Popen([sys.executable, "-m", "jupyterlab", *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return lab, f"http://127.0.0.1:{port}"


def ready(page, address: str) -> None:
    "Wait for the server."
    for _ in range(120):
        try:
            return page.goto(address + "/lab", wait_until="domcontentloaded") and None
        except Exception:
            time.sleep(0.5)
    raise SystemExit("JupyterLab did not start")


def run(page, address: str, name: str, most: int) -> str:  # what was wrong
    page.goto(f"{address}/lab/tree/{name}?reset", wait_until="domcontentloaded")
    page.wait_for_selector(".jp-NotebookPanel .jp-Notebook .jp-Cell", timeout=120_000)
    page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'", timeout=120_000)
    page.evaluate(RUN)
    page.click(".jp-Dialog .jp-mod-warn, .jp-Dialog .jp-mod-accept", timeout=30_000)
    until, state = time.monotonic() + most, {}
    time.sleep(3)
    while time.monotonic() < until:
        state = page.evaluate(STATE)
        if state["bad"] or state["status"] == "idle" and not state["waiting"] or page.evaluate("() => window.done") is True:
            break
        time.sleep(1)
    state = page.evaluate(STATE)
    if state["bad"] or state["broken"]:
        return "; ".join(state["bad"]) or f"{state['broken']} widgets are broken"
    return f"{state['waiting']} cells did not run ({state['status']})" if state["waiting"] else ""


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("notebooks", nargs="*", help="names below nbs/; all chapters when none is given")
    ap.add_argument("--slow", action="store_true")
    ap.add_argument("--minutes", type=int, default=30, help="at most, a notebook")
    a = ap.parse_args()
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        print("skipped: there is no Chromium on this machine")
        return 0
    from playwright.sync_api import sync_playwright

    names, failed = a.notebooks or sorted(p.name for p in (ROOT / "nbs").glob("*.ipynb")), 0
    with tempfile.TemporaryDirectory(dir=ROOT.parent) as folder, sync_playwright() as p:
        copy(Path(folder) / "nbs", a.slow)
        lab, address = server(Path(folder) / "nbs")
        try:
            browser = p.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 1000})
            ready(page, address)
            for name in names:
                start, wrong = time.monotonic(), run(page, address, name, 60 * a.minutes)
                failed += bool(wrong)
                print(f"{'FAIL' if wrong else 'ok'}  {name} ({time.monotonic() - start:.0f} s) {wrong}", flush=True)
                if place := os.environ.get("SCREENSHOTS"):
                    page.screenshot(path=f"{place}/{Path(name).stem}.png")
                page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
            browser.close()
        finally:
            lab.terminate()
            lab.wait()
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
