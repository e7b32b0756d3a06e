"""Time of a training step, of fits and of sampling, and memory: one row of speed.csv for each figure.

  python nbs/benchmarks/speed.py                         everything, about half an hour on one free core
  python nbs/benchmarks/speed.py --bench step fit        parts of it; the rows of these parts are replaced

Parts: step (a training step, by engine and shape), rows (training against the rows of the table), fit (whole fits),
sample (rows a second), wide (a fit of 300 columns), levels (a fit with one column of 10,000 levels), draw (small and
large samples, and the first one of a loaded model), file (`dpsynth sample` into a file: time and peak memory), gpu (steps and a fit on a GPU, where
there is one). All but the last on one core, in processor time: what else runs on the machine does not count. Engines
of a step take turns, so that what slows one slows all; the value is the median of the turns, and its spread is in the
columns `low` and `high` (quartiles). scale.py has tables on disk.
"""

import argparse
import contextlib
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path
from types import SimpleNamespace

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
import torch
from torch import nn

import tables
from dpsynth import DPVAESynthesizer, Schema
from dpsynth.loading import make_telemetry, telemetry_schema
from dpsynth.preprocessing import planned_fields
from dpsynth.privacy import PrivacyBudget
from dpsynth.noise import secure_generator
from dpsynth.ledger import Ledger
from dpsynth.plan import make_plan
from dpsynth.dp_training import DPTrainer, find_device, one_thread, TrainingPlan
from dpsynth.layers import Dense, Tap
from dpsynth.tabular_vae import kl_divergence, sample_codes, TabularVAE, VAEConfig

HERE = Path(__file__).resolve().parent
COLUMNS = ["bench", "shape", "engine", "value", "unit", "low", "high", "turns"]
SHAPES = {  # name: (batch, input, hidden, latent)
    "256 × 13": (256, 13, (64, 32), 8),
    "4,096 × 13": (4096, 13, (64, 32), 8),
    "2,048 × 120": (2048, 120, (256, 128), 32),
}
BATCHES = {"Adult, batch 1,024": 1024, "Adult, batch 4,096": 4096}  # the shipped network
SIGMA, CLIP, RATE = 1.1, 1.0, 1e-3


def adult16() -> Schema:
    "Fourteen columns of codes, 212 in all."
    return Schema.load(tables.SHARED / "data" / "adult16_schema.yaml")


# A step ---------------------------------------------------------------------------------------------------------------


class Gaussian(nn.Module):
    "The classic VAE for floats, one loss a row. With `Dense` layers it has taps, with `nn.Linear` it is anybody's."

    def __init__(self, inputs: int, hidden, latent: int, linear):
        super().__init__()
        widths = (inputs, *hidden)
        self.linear, self.config = linear, SimpleNamespace(latent=latent)
        self.encoder = nn.ModuleList(linear(a, b) for a, b in zip(widths, widths[1:]))
        self.posterior = linear(hidden[-1], 2 * latent)
        widths = (latent, *reversed(hidden))
        self.decoder = nn.ModuleList(linear(a, b) for a, b in zip(widths, widths[1:]))
        self.output = linear(hidden[0], inputs)

    def forward(self, x, noise):
        taps = []

        def through(layer, a):
            out = layer(a)
            taps.append(Tap(layer, a, out))
            return out

        h = x
        for layer in self.encoder:
            h = through(layer, h).relu()
        mu, logvar = through(self.posterior, h).chunk(2, 1)
        h = mu + (0.5 * logvar).exp() * noise
        for layer in self.decoder:
            h = through(layer, h).relu()
        loss = (through(self.output, h) - x).square().sum(1) + kl_divergence(mu, logvar).sum(1)
        return (loss, taps) if self.linear is Dense else loss


def no_privacy(network, x, latent: int, fused: bool):
    "A step of PyTorch: autograd and Adam."
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE, fused=fused)

    def step():
        out = network(x, torch.randn(len(x), latent, device=x.device))
        optimiser.zero_grad()
        (out[0] if isinstance(out, tuple) else out).mean().backward()
        optimiser.step()

    return step


def private(network, x):
    "A step of dpsynth: exact clipping, cryptographic noise, Adam."
    plan = TrainingPlan(1000, len(x) / 40_000, SIGMA, 40_000, learning_rate=RATE)
    trainer = DPTrainer(network, plan, secure_generator(), x.device)
    return lambda: trainer.step(100, x)


def opacus_hooks(network, x, latent: int):
    "A step of Opacus with a gradient for each row; its noise is PyTorch's."
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer

    module = GradSampleModule(network)
    optimiser = DPOptimizer(
        torch.optim.Adam(network.parameters(), lr=RATE),
        noise_multiplier=SIGMA,
        max_grad_norm=CLIP,
        expected_batch_size=len(x),
    )

    def step():
        optimiser.zero_grad()
        module(x, torch.randn(len(x), latent)).mean().backward()
        optimiser.step()

    return step


def opacus_ghost(network, x, latent: int):
    "A step of Opacus with ghost clipping: norms in a first backward pass, the sum in a second."
    from opacus.grad_sample import GradSampleModuleFastGradientClipping
    from opacus.optimizers import DPOptimizerFastGradientClipping
    from opacus.utils.fast_gradient_clipping_utils import DPTensorFastGradientClipping

    module = GradSampleModuleFastGradientClipping(network, max_grad_norm=CLIP, use_ghost_clipping=True)
    adam = torch.optim.Adam(network.parameters(), lr=RATE)
    optimiser = DPOptimizerFastGradientClipping(
        adam, noise_multiplier=SIGMA, max_grad_norm=CLIP, expected_batch_size=len(x)
    )

    def step():
        optimiser.zero_grad()
        loss = module(x, torch.randn(len(x), latent))
        DPTensorFastGradientClipping(module, optimiser, loss[:, None], "mean").backward()
        optimiser.step()

    return step


KEPT = ", memory kept"  # with the settings of malloc that dpsynth's training makes, see `one_thread`


def networks(shape: str) -> tuple:  # what makes one for PyTorch, what makes one for dpsynth, a batch, latent dimensions
    "The network of one shape, and rows for it."
    if shape in BATCHES:
        sizes, batch = tuple(f.cardinality for f in planned_fields(adult16())), BATCHES[shape]
        config = VAEConfig(sizes, **make_plan(adult16(), 39_073, PrivacyBudget(1.0, 1e-6)).network)
        x, latent = (
            torch.from_numpy(np.random.default_rng(0).integers(0, sizes, (batch, len(sizes)), dtype=np.int32)),
            config.latent,
        )
        make = lambda: TabularVAE(config)
        return make, make, x, latent
    batch, inputs, hidden, latent = SHAPES[shape]
    plain, ours = (lambda linear=linear: Gaussian(inputs, hidden, latent, linear) for linear in (nn.Linear, Dense))
    return plain, ours, torch.randn(batch, inputs), latent


def engines(shape: str) -> dict:  # name → what makes a step
    "All engines on one shape, each with a network of its own."
    plain, ours, x, latent = networks(shape)
    found = {
        "no privacy": lambda: no_privacy(plain(), x, latent, False),
        "no privacy, fused Adam": lambda: no_privacy(plain(), x, latent, True),
    }
    found |= {name + KEPT: make for name, make in found.items()} | {"dpsynth": lambda: private(ours(), x)}
    if shape in SHAPES:
        opacus = {
            "Opacus hooks": lambda: opacus_hooks(plain(), x, latent),
            "Opacus ghost": lambda: opacus_ghost(plain(), x, latent),
        }
        found |= opacus | {name + KEPT: make for name, make in opacus.items()}
    return found


def worker(make, kept: bool, pipe, seconds: float) -> None:
    "In a process of its own, so that no engine inherits another's memory: a turn whenever it is asked for."
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    with one_thread() if kept else contextlib.nullcontext():
        step = make()
        step()
        start = time.thread_time()
        step()
        count = int(np.clip(seconds / max(time.thread_time() - start, 1e-6), 1, 200))
        while pipe.recv():
            start = time.thread_time()
            for _ in range(count):
                step()
            pipe.send(1e3 * (time.thread_time() - start) / count)


def in_turns(makes: dict, turns: int, seconds: float = 0.15) -> dict:  # name → list of ms a step
    "Each engine in turn, for about so many seconds of processor time, again and again."
    fork, pipes, taken = multiprocessing.get_context("fork"), {}, {name: [] for name in makes}
    for name, make in makes.items():
        pipes[name], end = fork.Pipe()
        fork.Process(
            target=worker, args=(make, name == "dpsynth" or name.endswith(KEPT), end, seconds), daemon=True
        ).start()
    for _ in range(turns):
        for name, pipe in pipes.items():
            pipe.send(True)
            taken[name].append(pipe.recv())
    for pipe in pipes.values():
        pipe.send(False)
    return taken


def bench_step(turns: int):
    torch.set_num_threads(1)
    for shape in (*SHAPES, *BATCHES):
        makes = engines(shape)
        rounds = [
            in_turns(makes, turns) for _ in range(3)
        ]  # each with new processes: where one's memory lies makes up to a tenth
        for engine in makes:
            yield shape, engine, sum((taken[engine] for taken in rounds), []), "ms"


# Training against rows ------------------------------------------------------------------------------------------------

STEPS, BATCH = 300, 1024


def train_once(sizes, codes) -> float:  # s
    "So many steps of the shipped network on a matrix of codes."
    rows = len(codes)
    torch.manual_seed(0)
    network = TabularVAE(VAEConfig(sizes, **make_plan(adult16(), 39_073, PrivacyBudget(1.0, 1e-6)).network))
    trainer = DPTrainer(network, TrainingPlan(STEPS, BATCH / rows, SIGMA, rows, learning_rate=RATE), secure_generator())
    start = time.process_time()
    trainer.fit(codes, range(rows), Ledger(PrivacyBudget(50.0, 1e-9)))
    return time.process_time() - start


def bench_rows(turns: int):
    sizes, rng = tuple(f.cardinality for f in planned_fields(adult16())), np.random.default_rng(0)
    whole = np.empty((10**7, len(sizes)), np.uint8)
    for j, k in enumerate(sizes):
        whole[:, j] = rng.integers(0, k, len(whole), dtype=np.uint8)
    taken = {rows: [] for rows in (10**4, 10**5, 10**6, 10**7)}
    for _ in range(turns):
        for rows in taken:
            taken[rows].append(train_once(sizes, whole[:rows]))
    for rows, seconds in taken.items():
        yield f"{rows:,} rows", "dpsynth", seconds, "s"


# Whole fits, and sampling ---------------------------------------------------------------------------------------------


def fitted(name: str, epsilon: float, folder: Path, device="cpu") -> float:  # s
    "Fit one of three tables as a user would and leave model.dpsynth in a folder."
    start = time.process_time()
    if name == "telemetry":
        synth = DPVAESynthesizer(
            telemetry_schema(),
            epsilon=2.0,
            delta=1e-6,
            unit="User ID",
            workload=[("Product Type", "Event Type")],
            verbose=False,
        )
        data = make_telemetry(0)
        start = time.process_time()
    elif name == "adult16":
        synth, data = (
            DPVAESynthesizer(adult16(), epsilon, 1e-6, target="income", verbose=False),
            tables.SHARED / "data" / "adult16_train.csv",
        )
    else:
        synth, data = (
            DPVAESynthesizer(Schema.load(HERE.parent / "how_to" / "adult.yaml"), epsilon, 1e-6, verbose=False),
            tables.SHARED / "data" / "adult.csv",
        )
    synth.fit(data, device=device)
    seconds = time.process_time() - start
    synth.save(folder / f"{name}.dpsynth")
    return seconds


FIT = "import speed; from pathlib import Path; print(speed.fitted(sys.argv[1], float(sys.argv[2]), Path(sys.argv[3])))"
FITS = {
    "telemetry, ε = 2": ("telemetry", 2.0),
    "adult16, ε = 1": ("adult16", 1.0),
    "Adult as it is, ε = 1": ("adult", 1.0),
    "adult16, ε = 8": ("adult16", 8.0),
}


def child(code: str, *words) -> tuple:  # numbers that the process prints, its peak memory in MB
    "Run a line of Python in a process of its own."
    script = f"import resource, sys; sys.path.insert(0, {str(HERE)!r}); {code}; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    done = subprocess.run([sys.executable, "-c", script, *map(str, words)], capture_output=True, text=True, check=True)
    *told, peak = done.stdout.split()
    return [float(t) for t in told], float(peak)


def bench_fit(turns: int):
    with tempfile.TemporaryDirectory() as folder:
        for shape, (name, epsilon) in FITS.items():
            runs = [child(FIT, name, epsilon, folder) for _ in range(min(turns, 3))]
            yield shape, "dpsynth", [told[0] for told, _ in runs], "s"
            yield shape, "dpsynth, peak memory", [peak for _, peak in runs], "MB"


REQUESTS = (39_074, 100_000, 300_000, 1_000_000)


def decoder_rate(network, rows: int = 200_000) -> float:
    "Rows a second of the network's heads alone."
    with one_thread():
        z, generator = torch.randn(rows, network.config.latent), torch.Generator().manual_seed(0)
        start = time.thread_time()
        for part in z.split(4_096):
            sample_codes(network, part, generator)
        return rows / (time.thread_time() - start)


def sampling_rate(synth, rows: int) -> float:
    "Rows a second of `sample`, DataFrame included."
    start = time.process_time()
    synth.sample(rows)
    return rows / (time.process_time() - start)


def bench_sample(turns: int):
    with tempfile.TemporaryDirectory() as folder:
        for name, shape in (("adult16", "adult16"), ("adult", "Adult as it is")):
            fitted(name, 1.0, Path(folder))
            synth = DPVAESynthesizer.load(Path(folder) / f"{name}.dpsynth")
            synth.verbose = False
            jobs = {"decoder alone": lambda: decoder_rate(synth.released_.network)}
            jobs |= {f"sample({rows:,})": lambda rows=rows: sampling_rate(synth, rows) for rows in REQUESTS}
            taken = {engine: [] for engine in jobs}
            for _ in range(turns):
                for engine, job in jobs.items():
                    taken[engine].append(job())
            for engine, rates in taken.items():
                yield shape, engine, rates, "rows/s"


def survey(columns: int = 300, rows: int = 2_000, answers: int = 4) -> tuple:  # table, schema
    "A wide table: questions of four answers; half of each column's cells are one of ten hidden traits."
    rng, codes = np.random.default_rng(0), [str(a) for a in range(answers)]
    traits = rng.integers(0, answers, (rows, 10))
    own = lambda j: np.where(rng.random(rows) < 0.5, traits[:, j % 10], rng.integers(0, answers, rows))
    data = pd.DataFrame({f"q{j:03d}": own(j) for j in range(columns)}).astype(str)
    return data, Schema.from_dict({"columns": {n: {"type": "categorical", "categories": codes} for n in data}})


def cities(levels: int = 10_000, rows: int = 20_000) -> tuple:  # table, schema
    "A column of many levels, as many as 1 / (rank + 10) makes of them, beside two short ones and a number."
    rng, share = np.random.default_rng(0), 1 / (np.arange(levels) + 10.0)
    code, names = rng.choice(levels, rows, p=share / share.sum()), [f"c{i:05d}" for i in range(levels)]
    data = pd.DataFrame({"city": np.array(names)[code], "region": (code % 5).astype(str)})
    data["kind"], data["size"] = rng.integers(0, 6, rows).astype(str), rng.normal(50, 10, rows).clip(0, 100)
    listed = {"city": names, "region": [*"01234"], "kind": [*"012345"]}
    columns = {n: {"type": "categorical", "categories": c} for n, c in listed.items()}
    return data, Schema.from_dict({"columns": columns | {"size": {"type": "float", "lower": 0, "upper": 100}}})


def fitted_made(name: str) -> float:  # s
    "Fit a table that is made here, at ε = 1."
    data, schema = {"survey": survey, "cities": cities}[name]()
    synth, start = DPVAESynthesizer(schema, 1.0, 1e-6, verbose=False), time.process_time()
    synth.fit(data)
    return time.process_time() - start


MADE = "import speed; print(speed.fitted_made(sys.argv[1]))"


def bench_made(name: str, shape: str, turns: int):
    "A fit of a made table."
    runs = [child(MADE, name) for _ in range(min(turns, 3))]
    yield shape, "dpsynth", [told[0] for told, _ in runs], "s"
    yield shape, "dpsynth, peak memory", [peak for _, peak in runs], "MB"


DRAWN = (10_000, 50_000, 150_000, 300_000)


def bench_draw(turns: int):
    with tempfile.TemporaryDirectory() as folder:
        fitted("adult", 1.0, Path(folder))
        taken, first = {rows: [] for rows in DRAWN}, []
        for _ in range(turns):
            synth = DPVAESynthesizer.load(Path(folder) / "adult.dpsynth")
            synth.verbose = False
            first.append(DRAWN[0] / sampling_rate(synth, DRAWN[0]))
            for rows, rates in taken.items():
                rates.append(sampling_rate(synth, rows))
        yield "Adult as it is", f"first sample({DRAWN[0]:,})", first, "s"
        for rows, rates in taken.items():
            yield "Adult as it is", f"sample({rows:,})", rates, "rows/s"


def bench_file(turns: int):
    with tempfile.TemporaryDirectory() as folder:
        child(FIT, "adult16", 1.0, folder)  # elsewhere: the memory of a process counts in those that it starts
        for rows, kind in ((1_000_000, "parquet"), (10_000_000, "parquet"), (1_000_000, "csv")):
            file = Path(folder) / f"rows.{kind}"
            command = [
                sys.executable,
                "-c",
                "from dpsynth.cli import app; app()",
                "sample",
                Path(folder) / "adult16.dpsynth",
                "-n",
                rows,
                "-o",
                file,
            ]
            process = subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL)
            _, status, used = os.wait4(process.pid, 0)
            if status or not file.exists():
                raise RuntimeError(f"dpsynth sample ended with {status}")
            yield f"{rows:,} rows, {kind}", "dpsynth sample", [rows / (used.ru_utime + used.ru_stime)], "rows/s"
            yield f"{rows:,} rows, {kind}", "dpsynth sample, peak memory", [used.ru_maxrss / 1024], "MB"
            file.unlink()


# On a GPU -------------------------------------------------------------------------------------------------------------


def wall(job, device: torch.device) -> float:  # s
    "Time by the clock until the device has done all of it."
    start = time.perf_counter()
    job()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def steps_on(device: torch.device, turns: int, steps: int = 50):
    "A step of each shape with and without privacy, both where the device is."
    for shape in (*SHAPES, *BATCHES):
        plain, ours, x, latent = networks(shape)
        x = x.to(device)
        jobs = {
            "no privacy, fused Adam": no_privacy(plain().to(device), x, latent, True),
            "dpsynth": private(ours(), x),
        }
        taken = {engine: [] for engine in jobs}
        for turn in range(turns + 1):
            for engine, step in jobs.items():
                ms = 1e3 / steps * wall(lambda: [step() for _ in range(steps)], device)
                taken[engine] += [ms] * (turn > 0)  # the first is for warming up
        for engine, ms in taken.items():
            yield shape, engine, ms, "ms"


def bench_gpu(turns: int):
    device = find_device("auto")
    if device.type != "cpu":
        yield from steps_on(device, turns)
        with tempfile.TemporaryDirectory() as folder:
            for engine, place in (("processor", torch.device("cpu")), ("GPU", device)):
                yield (
                    "adult16, ε = 8",
                    engine,
                    [wall(lambda: fitted("adult16", 8.0, Path(folder), place), place) for _ in range(3)],
                    "s",
                )


# The table of results -------------------------------------------------------------------------------------------------


def machine() -> str:
    "What the figures were taken on."
    model = "unknown processor"
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    wide = "AVX-512" if "AVX512" in torch.backends.cpu.get_cpu_capability() else torch.backends.cpu.get_cpu_capability()
    card = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"one core of {model} ({wide}){card}, Python {platform.python_version()}, torch {torch.__version__}"


def store(path: Path, bench: str, rows: list) -> None:
    "Replace the rows of a part."
    old = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=COLUMNS)
    new = pd.DataFrame(rows, columns=COLUMNS)
    kept = old[old.bench != bench]
    (pd.concat([kept, new]) if len(kept) else new).to_csv(path, index=False)


BENCHES = {
    "step": bench_step,
    "rows": bench_rows,
    "fit": bench_fit,
    "sample": bench_sample,
    "wide": partial(bench_made, "survey", "300 columns × 2,000 rows"),
    "levels": partial(bench_made, "cities", "10,000 levels × 20,000 rows"),
    "draw": bench_draw,
    "file": bench_file,
    "gpu": bench_gpu,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", nargs="+", choices=BENCHES, default=list(BENCHES))
    parser.add_argument(
        "--turns",
        type=int,
        default=7,
        help="of each engine, at least 5 for figures to be quoted; three times as many for a step",
    )
    parser.add_argument("--out", type=Path, default=HERE / "speed.csv")
    args = parser.parse_args()
    if len(args.bench) > 1:  # each in a process of its own, which begins small
        for bench in args.bench:
            subprocess.run(
                [sys.executable, __file__, "--bench", bench, "--turns", str(args.turns), "--out", args.out], check=True
            )
        return
    for bench in args.bench:
        rows = []
        for shape, engine, values, unit in BENCHES[bench](args.turns):
            low, value, high = np.quantile(values, [0.25, 0.5, 0.75])
            rows.append(
                (
                    bench,
                    shape,
                    engine,
                    float(f"{value:.4g}"),
                    unit,
                    float(f"{low:.4g}"),
                    float(f"{high:.4g}"),
                    len(values),
                )
            )
            print(f"{bench:7s} {shape:24s} {engine:28s} {value:12,.4g} {unit}", flush=True)
        if rows:
            store(args.out, bench, rows)
            store(args.out, "machine", [("machine", machine(), "", np.nan, "", np.nan, np.nan, 0)])
        else:
            print(f"{bench:7s} there is no GPU here")


if __name__ == "__main__":
    main()
