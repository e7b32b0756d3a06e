"""Time and memory of large tables: one row of scale.csv for each part of each run.

  python nbs/benchmarks/scale.py --rows 1000000 10000000 100000000     fit tables of so many rows, on disk
  python nbs/benchmarks/scale.py --rows 1000000 --unit                 the same, every row of one of rows/2 users
  python nbs/benchmarks/scale.py --workers                             training on one and on two workers, in turn

A table of 14 columns in the domains of UCI Adult is generated as one Parquet file (about 18 bytes a row), in a
temporary folder (--folder), and removed afterwards. A fit is a process of its own on one core; its peak memory is
what the system reports for it, pages of mapped files included. Rows of scale.csv with the same run are replaced.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).resolve().parent
GROUP = 2**20  # rows generated at a time: a row group


def adult_schema():
    "The 14 columns: Adult without the text of `education`, which `education-num` repeats."
    from dpsynth import Schema

    columns = dict(Schema.load(HERE.parent / "how_to" / "adult.yaml").items())
    return Schema({name: c for name, c in columns.items() if name != "education"})


def make_group(schema, rows: int, rng, users: int = 0) -> pa.Table:
    "Rows whose columns all depend on one hidden class of six."
    hidden, out = rng.integers(0, 6, rows), {}
    for name, column in schema.items():
        if column.type == "categorical":
            k = len(column.categories)
            shift = np.minimum(rng.exponential(1 + k / 8, rows).astype(np.int32), k - 1)
            codes = pa.array(
                (shift + hidden * (len(name) % 3)) % k, pa.int32(), mask=rng.random(rows) < 0.02 * column.nullable
            )
            out[name] = pa.DictionaryArray.from_arrays(codes, pa.array(column.categories)).cast(pa.string())
        else:
            span = column.upper - column.lower
            x = column.lower + span * np.clip(rng.normal(0.2 + 0.08 * hidden, 0.15, rows), 0, 1)
            x = np.where(rng.random(rows) < 0.9, 0, x) if name.startswith("capital") else x
            out[name] = pa.array(x.astype(np.int64))
    if users:
        out["user"] = pa.array(rng.integers(0, users, rows))
    return pa.table(out)


def make_table(path: Path, rows: int, unit: bool, seed: int = 0) -> None:
    "The Parquet file, a row group at a time."
    schema, rng = adult_schema(), np.random.default_rng(seed)
    writer = None
    for at in range(0, rows, GROUP):
        group = make_group(schema, min(GROUP, rows - at), rng, rows // 2 if unit else 0)
        writer = writer or pq.ParquetWriter(path, group.schema)
        writer.write_table(group, row_group_size=GROUP)
    writer.close()


class Stopwatch:
    "Wall and CPU seconds of each function that is wrapped, by the name of the part it stands for."

    def __init__(self):
        self.parts = {}

    def wrap(self, owner, name: str, part: str) -> None:
        original = getattr(owner, name)

        def timed(*args, **kwargs):
            wall, cpu = time.monotonic(), time.process_time()
            try:
                return original(*args, **kwargs)
            finally:
                before = self.parts.get(part, (0.0, 0.0))
                self.parts[part] = before[0] + time.monotonic() - wall, before[1] + time.process_time() - cpu

        setattr(owner, name, timed)


def fit(path: Path, unit: bool, epsilon: float) -> dict:
    "Fit in this process: seconds of each part, peak memory, size of the table and of its codes."
    import torch

    from dpsynth import DPVAESynthesizer, dp_training, large_tables, sampling, synthesizer
    from dpsynth.preprocessing import TableEncoder

    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    watch = Stopwatch()
    large_tables.IN_MEMORY_BYTES = 0
    watch.wrap(large_tables.ChunkedTable, "check", "check")
    watch.wrap(synthesizer, "bound_chunks", "bound")
    watch.wrap(TableEncoder, "fit", "discover")
    watch.wrap(synthesizer, "code_matrix", "encode")
    watch.wrap(sampling, "measure_marginals", "count")
    watch.wrap(sampling, "select_pairs", "select pairs")
    watch.wrap(dp_training.DPTrainer, "fit", "train")
    watch.wrap(sampling, "fit_latent_prior", "latent prior")
    watch.wrap(DPVAESynthesizer, "fit", "fit")
    synth = DPVAESynthesizer(
        adult_schema(), epsilon, 1e-9, unit="user" if unit else None, target="income-per-year", verbose=False
    )
    synth.fit(path)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    steps = synth.plan_.training.steps
    return {
        "parts": watch.parts,
        "peak_mb": peak / 1024,
        "base_mb": base / 1024,
        "steps": steps,
        "batch": synth.plan_.training.expected_batch,
    }


def record(run: str, rows: list) -> None:
    "Put the rows of a run into scale.csv in place of what it held of that run."
    file = HERE / "scale.csv"
    old = pd.read_csv(file) if file.exists() else pd.DataFrame(columns=["run"])
    new = pd.concat([old[old["run"] != run], pd.DataFrame(rows).assign(run=run)], ignore_index=True)
    first = ["run", "part"]
    new[[*first, *[c for c in new if c not in first]]].to_csv(file, index=False, float_format="%.6g")


def run_fit(rows: int, unit: bool, epsilon: float, folder: str) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = Path(place) / "table.parquet"
        start = time.monotonic()
        make_table(path, rows, unit)
        print(
            f"{rows:,} rows generated in {time.monotonic() - start:.0f} s, {path.stat().st_size / 1e6:,.0f} MB",
            flush=True,
        )
        command = [sys.executable, __file__, "--child", str(path), "--epsilon", str(epsilon), *["--unit"] * unit]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, check=True, text=True, env={**os.environ, "TMPDIR": place}
        )
        found = json.loads(done.stdout.splitlines()[-1])
        common = {
            "rows": rows,
            "columns": 14,
            "steps": found["steps"],
            "batch": found["batch"],
            "peak_mb": found["peak_mb"],
            "file_mb": path.stat().st_size / 1e6,
        }
    out = [
        {"part": p, "wall_s": w, "cpu_s": c, "rows_per_cpu_s": rows / c, **common}
        for p, (w, c) in found["parts"].items()
    ]
    record(f"fit{' by user' * unit} {rows}", out)
    print(
        pd.DataFrame(out)[["part", "wall_s", "cpu_s", "rows_per_cpu_s"]].to_string(index=False),
        f"\npeak {found['peak_mb']:,.0f} MB",
        flush=True,
    )


def train_in_turn(batch: int, rounds: int) -> None:
    """Steps on one worker and on two, in turn, so that whatever else the machine does falls on both.

    wall_s is time on the clock; cpu_s is processor time on the longest path: the driver's, and that of the busiest
    worker. On a machine with a free core for each they differ by the messages' way alone.
    """
    from functools import partial

    import torch

    from dpsynth import distributed
    from dpsynth.distributed import ray_cluster, RayTrainer
    from dpsynth.preprocessing import planned_fields
    from dpsynth.noise import secure_generator
    from dpsynth.dp_training import DPTrainer, TrainingPlan
    from dpsynth.tabular_vae import TabularVAE, VAEConfig

    torch.set_num_threads(1)
    sizes = tuple(f.cardinality for f in planned_fields(adult_schema()))
    codes = np.stack([np.random.default_rng(j).integers(0, k, 1_000_000) for j, k in enumerate(sizes)], 1).astype(
        np.uint8
    )
    plan = TrainingPlan(rounds, batch / len(codes), 1.0, len(codes))
    times, cpu = {}, {}

    class Timed(distributed.GradientWorker):
        def seconds(self):
            return time.process_time()

    def spent(trainer):
        "Processor seconds so far: of this process, and of each worker."
        asked = [a.seconds.remote() for a in getattr(trainer, "actors", ())]
        return time.process_time(), [trainer.ray.get(a) for a in asked]

    distributed.GradientWorker = Timed
    with ray_cluster(3):
        trainers = {0: DPTrainer, 1: partial(RayTrainer, workers=1), 2: partial(RayTrainer, workers=2)}
        trainers = {
            n: make(TabularVAE(VAEConfig(sizes, latent=8, hidden=64, gain=4.0)), plan, secure_generator())
            for n, make in trainers.items()
        }
        held = {n: t.load_rows(codes) for n, t in trainers.items()}
        for step in range(rounds + 2):
            for n, trainer in trainers.items():
                rows = torch.from_numpy(np.random.default_rng(step).choice(len(codes), batch, replace=False))
                before, start = spent(trainer), time.monotonic()
                here = time.process_time()
                trainer.step(min(step, rounds - 1), held[n][rows])
                times.setdefault(n, []).append(time.monotonic() - start)
                here, after = time.process_time() - here, spent(trainer)[1]
                cpu.setdefault(n, []).append(here + max([b - a for a, b in zip(before[1], after)], default=0.0))
        for n in (1, 2):
            trainers[n].dismiss()
    rows = []
    for n in times:  # the first two steps wait for the workers to start
        rows.append(
            {
                "part": f"step, {n} workers" if n else "step, no workers",
                "wall_s": np.median(times[n][2:]),
                "cpu_s": np.median(cpu[n][2:]),
            }
        )
    ratio = [float(np.median(np.array(t[1][2:]) / np.array(t[2][2:]))) for t in (times, cpu)]
    rows.append({"part": "one worker over two", "wall_s": ratio[0], "cpu_s": ratio[1]})
    record(f"workers {batch}", [{**row, "batch": batch, "steps": rounds} for row in rows])
    print(f"batch {batch:,}\n{pd.DataFrame(rows).to_string(index=False)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="*", default=[])
    parser.add_argument("--unit", action="store_true", help="users of about two rows each")
    parser.add_argument("--epsilon", type=float, default=1.0)
    parser.add_argument("--workers", action="store_true", help="training steps on one worker and on two")
    parser.add_argument("--folder", help="where the tables are made")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        return print(json.dumps(fit(given.child, given.unit, given.epsilon)))
    for rows in given.rows:
        run_fit(rows, given.unit, given.epsilon, given.folder)
    for batch, rounds in ((1_024, 20), (16_384, 12)) if given.workers else ():
        train_in_turn(batch, rounds)


if __name__ == "__main__":
    main()
