"""Run the notebooks. Their cells are the tests, and what they print has to be what is stored.

    .ci/notebooks.py [notebook ...]           tests: a cell that fails, or outputs that differ, fail the notebook
    .ci/notebooks.py --write [notebook ...]   store what the run prints

The cells that nbdev_test skips (`#| eval: false`, and the flags in settings.ini) are skipped here too and keep
what is stored; `--flags slow` runs those. Text and HTML are compared, numbers to one unit of the last digit
printed. A stored picture has to be drawn again, whatever its bytes. A cell marked `#| varies` has to print
the same kinds of output, not the same text. Progress bars and other stderr are never stored. What nbs/tests
prints is not shown on the site; it is compared together with the slow cells, every night.

Each notebook has a Jupyter kernel of its own. On Linux the kernels are forked from one process that has the
large libraries imported: a kernel that starts from nothing spends five seconds of CPU on them.
"""

import argparse
import asyncio
import difflib
import gc
import json
import multiprocessing
import os
import re
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path
from queue import Empty
from types import SimpleNamespace

import nbformat
from jupyter_client import AsyncKernelClient
from jupyter_client.channels import AsyncZMQSocketChannel
from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner
from nbclient import NotebookClient
from nbdev.clean import clean_nb
from nbdev.config import get_config
from nbdev.doclinks import nbglob
from nbdev.process import extract_directives
from traitlets import Type

ROOT = Path(__file__).resolve().parent.parent
WIDGET = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
NUMBER = re.compile(r"(\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)")
RANDOM_ID = re.compile(  # object addresses, ids of styled tables, lines of our modules, digests of models, days of fits
    r" at 0x[0-9a-fA-F]+|(?<=T_)[0-9a-f]{5}(?![0-9a-f])|(?<=\.py, line )\d+|(?<=\.py#L)\d+|(?<=SHA-256: )[0-9a-f]{64}|(?<=fitted )\d{4}-\d\d-\d\d|(?<=\"date\": \")\d{4}-\d\d-\d\d"
)
# what notebooks import, and, in the last line, what this file imports: a forked process runs it once more
LIBRARIES = """torch pandas pyarrow.parquet scipy.stats sklearn.ensemble matplotlib.pyplot seaborn opacus opendp.prelude
dp_accounting.pld.common ipykernel.kernelapp nbclient nbdev.clean nbdev.doclinks nbdev.process""".split()
FORKS = multiprocessing.get_context("forkserver" if sys.platform == "linux" else None)
PATH = re.compile(r"(?<![\w.:/])/(?:home|root|tmp|Users|usr|var|opt|work)/|site-packages")


def skipped(cell, skip_flags) -> bool:
    "The rule of nbdev_test."
    if cell.cell_type != "code" or "nbdev_export(" in cell.source:
        return True
    found = extract_directives(cell, remove=False)
    return found.get("eval:", [""])[0].lower() == "false" or bool(set(skip_flags) & found.keys())


def kernel(words, folder):
    import pandas
    from ipykernel.kernelapp import IPKernelApp

    pandas.set_option("display.max_columns", 20)  # as in a notebook: where it is imported, pandas sees no kernel
    os.chdir(folder)
    gc.freeze()  # libraries stay: a collection need not go through them,
    gc.set_threshold(10_000)  # nor come after each 700 objects, which small fits notice
    threading.Thread(target=end_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    IPKernelApp.launch_instance(words)


def end_with(parent):
    parent.join()
    os._exit(1)


class Kernel(FORKS.Process):
    "A forked kernel that answers as a `Popen` does."

    stdin = stdout = stderr = None

    def poll(self):
        return self.exitcode

    def wait(self):
        self.join()
        return self.exitcode

    def send_signal(self, number):
        os.kill(self.pid, number)


class Forked(LocalProvisioner):
    "Where Jupyter would start a kernel, fork one."

    async def launch_kernel(self, cmd, cwd, **_):
        self.process = Kernel(target=kernel, args=(cmd[cmd.index("-f") :], cwd))
        self.process.start()
        self.pid = self.process.pid
        return self.connection_info


class Shell(AsyncZMQSocketChannel):
    """Where a kernel's replies arrive. Looks once a second: `Session.send`, which widgets call, writes to the socket
    beside asyncio, and what arrives at that moment wakes nobody (jupyter_client#1059). Every second notebook of thirty
    widgets waited forever."""

    async def get_msg(self, timeout=None):
        end = time.monotonic() + (float("inf") if timeout is None else timeout)
        while not await self.socket.poll(1000):
            if time.monotonic() > end:
                raise Empty
        return await self._recv()


class KernelClient(AsyncKernelClient):
    shell_channel_class = Type(Shell)


class Client(NotebookClient):
    "Runs a notebook as Jupyter does, less the skipped cells."

    def create_kernel_manager(self):
        self.km = super().create_kernel_manager()
        self.km.client_factory = KernelClient
        return self.km

    async def async_execute_cell(self, cell, cell_index, *args, **kwargs):
        if skipped(cell, self.skip_flags):
            return cell
        return await super().async_execute_cell(cell, cell_index, *args, **kwargs)


def tidy(outputs) -> tuple:
    "Outputs fit to be stored, and what the cell wrote to stderr."
    kept, stderr = [], ""
    for o in outputs:
        if o.output_type == "stream" and o.name == "stderr":
            stderr += o.text
        elif o.output_type == "stream" and kept and kept[-1].output_type == "stream":
            kept[-1].text += o.text
        elif WIDGET not in o.get("data", {}):
            kept.append(o)
    return kept, stderr


def sliders_missing(nb, skip_flags) -> list:
    "Complaints of a notebook that was run: an `interact` that shows no widget, or whose widget drew no picture."
    asked = [
        (i, c)
        for i, c in enumerate(nb.cells)
        if re.search(r"^interact\(", c.source, re.M) and not skipped(c, skip_flags)
    ]
    bad = [
        f"cell {i}: no sliders are shown" for i, c in asked if not any(WIDGET in o.get("data", {}) for o in c.outputs)
    ]
    models = nb.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {}).values()
    areas = [m["state"].get("outputs", ()) for m in models if m["model_name"] == "OutputModel"]
    drawn = sum(any("image/png" in o.get("data", {}) for o in outputs) for outputs in areas)
    return bad + [f"{drawn} of {len(asked)} sliders drew a picture"] * (drawn != len(asked))


async def execute(path, flags):
    "A fresh run: the notebook with new outputs, and complaints."
    nb = nbformat.read(path, 4)
    client = Client(
        nb,
        timeout=1800,
        startup_timeout=300,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--HistoryManager.enabled=False", "--log-level=50"],
    )
    client.skip_flags = set(get_config().tst_flags.split()) - set(flags)
    await client.async_execute()
    bad = sliders_missing(nb, client.skip_flags)
    for i, c in enumerate(nb.cells):
        if c.cell_type == "code":
            c.outputs, stderr = tidy(c.outputs)
            if "Warning" in stderr:
                bad.append(f"cell {i} warns: {stderr.strip().splitlines()[0]}")
    return nb, bad


def same(a: str, b: str) -> bool:
    "Equal but for random ids, runs of spaces, and the last digit of a decimal number."
    a, b = (NUMBER.split(re.sub(r"[ \t]+|-{3,}", " ", RANDOM_ID.sub("", s)).strip()) for s in (a, b))
    if len(a) != len(b) or a[::2] != b[::2]:
        return False
    for x, y in zip(map(Decimal, a[1::2]), map(Decimal, b[1::2])):
        last = max(x.as_tuple().exponent, y.as_tuple().exponent)
        if x != y and (last >= 0 or abs(x - y) > max(Decimal(10) ** last, abs(x) / 10**6)):
            return False
    return True


def parts(outputs) -> list:
    "(kind, text) of each output; a picture has no text."
    found = []
    for o in outputs:
        if o.output_type == "stream":
            found.append((o.name, o.text))
        elif o.output_type == "error":
            found.append(("error", o.ename))
        else:
            found += [(k, v if k.startswith("text/") else "") for k, v in sorted(o.data.items())]
    return found


def differences(stored, fresh) -> list:
    "One line or diff for each cell whose outputs are not the stored ones."
    bad = []
    for i, (old, new) in enumerate(zip(stored.cells, fresh.cells)):
        if old.cell_type != "code":
            continue
        was, now = parts(old.outputs), parts(new.outputs)
        kinds = [k for k, _ in was], [k for k, _ in now]
        varies = "varies" in extract_directives(old, remove=False)
        if kinds[0] != kinds[1]:
            bad.append(f"cell {i}: stored {kinds[0] or 'nothing'}, a run gives {kinds[1] or 'nothing'}")
        elif not varies and not all(same(x, y) for (_, x), (_, y) in zip(was, now)):
            text = ["\n".join(t for _, t in p).splitlines() for p in (was, now)]
            bad.append(
                "\n".join([f"cell {i}:", *list(difflib.unified_diff(*text, "stored", "run", "", "", 0, ""))[:24]])
            )
        bad += [f"cell {i}: an absolute path is stored" for _, t in was if PATH.search(t)]
    return bad


def save(nb, path):
    "Write as nbdev_clean leaves it."
    plain = json.loads(nbformat.writes(nb))  # nbformat splits long texts into lines, which diff well
    plain["metadata"].pop("widgets", None)
    clean_nb(plain)
    path.write_text(json.dumps(plain, sort_keys=True, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


async def work(path, flags, write, free) -> bool:
    "Run one notebook when a worker is free, say how it went."
    async with free:
        start = time.monotonic()
        try:
            (fresh, warned), bad = await execute(path, flags), []
        except Exception as e:  # a cell that fails, a kernel that dies: the notebook fails, the others go on
            fresh, bad = None, [re.sub(r"\x1b\[[0-9;]*m", "", str(e)).strip()[-3000:]]
        if fresh and (write or flags or path.parent.name != "tests"):
            bad += warned + differences(fresh if write else nbformat.read(path, 4), fresh)
        if fresh and write:
            save(fresh, path)
        word, seconds = "FAIL" if bad else "ok  ", time.monotonic() - start
        print(f"{word} {path.relative_to(ROOT)} ({seconds:.0f} s)", *bad, sep="\n  ", flush=True)
        return not bad


async def run_all(paths, flags, write, n_workers):
    asyncio.get_running_loop().add_signal_handler = lambda *_: None  # nbclient's would go on with the next notebook
    free = asyncio.Semaphore(n_workers)
    return await asyncio.gather(*(work(p, flags, write, free) for p in paths))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="store what a run gives")
    parser.add_argument("--flags", default="", help="flags of cells to run that are skipped otherwise")
    parser.add_argument("--n_workers", type=int, default=2)
    parser.add_argument("notebooks", nargs="*", type=Path, help="all under nbs/ when none is named")
    args = parser.parse_args()
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # Jupyter's; it is set before the import
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    paths = [p.resolve() for p in args.notebooks]
    os.chdir(ROOT)
    paths = paths or [p.resolve() for p in sorted(nbglob("nbs", as_path=True), reverse=True)]  # short ones last
    FORKS.set_forkserver_preload(LIBRARIES)
    if sys.platform == "linux":  # elsewhere such libraries do not survive a fork
        KernelProvisionerFactory.instance().provisioners["local-provisioner"] = SimpleNamespace(load=lambda: Forked)
    passed = asyncio.run(run_all(paths, args.flags.split(), args.write, args.n_workers))
    print(f"{len(passed)} notebooks: {sum(passed)} passed, {len(passed) - sum(passed)} failed")
    if not all(passed) and not args.write:
        failed = [str(p.relative_to(ROOT)) for p, good in zip(paths, passed) if not good]
        print("Where only outputs differ and the new ones are wanted: python .ci/notebooks.py --write", *failed)
    sys.exit(not all(passed))


if __name__ == "__main__":
    main()
