"""One run of one system: python systems.py SYSTEM FOLDER EPSILON DELTA SEED OUT, in the environment of that system.

FOLDER holds train.csv in codes and table.json with the number of codes of each column (see tables.py). The synthetic
codes, as many rows as there are to train on, go to OUT; the last line printed is JSON: CPU seconds of fit and sample
(reading, imports and writing are not counted) and the peak memory of the process in megabytes. This file imports
nothing of dpsynth unless dpsynth is the system, since it runs in environments that lack it.
"""

import json
import os
import resource
import sys
import tempfile
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd


def dpsynth(folder, table, train, epsilon, delta, seed, **options):
    "The product with its defaults, on the codes."
    from dpsynth.schema import Schema
    from dpsynth.loading import read_table
    from dpsynth.synthesizer import DPVAESynthesizer

    schema = Schema.load(folder / "schema.yaml")
    rows = read_table(folder / "train.csv", schema)
    return lambda: (
        DPVAESynthesizer(schema, epsilon, delta, seed=seed, verbose=False, **options).fit(rows).sample(len(rows))
    )


def dpsynth_target(folder, table, train, epsilon, delta, seed):
    "The product, told which column will be predicted."
    return dpsynth(folder, table, train, epsilon, delta, seed, target=table["target"])


def dpsynth_values(folder, table, train, epsilon, delta, seed):
    "The product on the rows as they are, with public bounds; what it samples is coded afterwards."
    from tables import code_table, public_columns

    from dpsynth.schema import Schema
    from dpsynth.loading import read_table
    from dpsynth.synthesizer import DPVAESynthesizer

    schema = Schema.load(folder / "values.yaml")
    rows = read_table(folder / "values.csv", schema)
    fit = lambda: DPVAESynthesizer(schema, epsilon, delta, seed=seed, verbose=False).fit(rows).sample(len(rows))
    return lambda: code_table(fit(), public_columns(folder))


def independent(folder, table, train, epsilon, delta, seed):
    "One Gaussian release of all columns' counts with the whole budget; every column is then filled by itself."
    from dpsynth.calibration import measure_marginals, project_to_simplex, systematic_resample
    from dpsynth.privacy import gaussian_mu, PrivacyBudget, Spend
    from dpsynth.noise import secure_generator

    def run():
        codes, sizes, n = train.to_numpy(), list(table["sizes"].values()), len(train)
        spend = Spend("1-way marginals", 1 / gaussian_mu(PrivacyBudget(epsilon, delta)))
        noisy = measure_marginals(codes, [(j,) for j in range(len(sizes))], sizes, spend, secure_generator())
        rng = np.random.default_rng(seed)
        fill = lambda j: systematic_resample(project_to_simplex(noisy[j,] / n), n, np.arange(sizes[j]), rng)
        return pd.DataFrame({name: rng.permutation(fill(j)) for j, name in enumerate(train)})

    return run


def dpmm(folder, table, train, epsilon, delta, seed, model="mst", **options):
    "dpmm 0.1.9 (MST: McKenna et al. 2021; AIM: McKenna et al. 2022) without its binning: codes and their number are public."
    from dpmm.pipelines import PIPELINE_DICT

    def run():
        pipeline = PIPELINE_DICT[model](epsilon=epsilon, delta=delta, n_jobs=1, disable_processing=True, **options)
        pipeline.fit(train, domain=table["sizes"], random_state=seed)
        return pipeline.generate(n_records=len(train), random_state=seed)

    return run


def dpmm_aim(folder, table, train, epsilon, delta, seed):
    "AIM with two rounds a column in place of sixteen, and its own default bound on the model's size, 80 MB."
    options = dict(model="aim", max_model_size=80, gen_kwargs=dict(rounds=2 * train.shape[1]))
    return dpmm(folder, table, train, epsilon, delta, seed, **options)


def mostlyai(folder, table, train, epsilon, delta, seed):
    "mostlyai-engine 2.7.3, DP-SGD with its defaults; no value protection, since the codes are public."
    from mostlyai.engine import TabularARGN

    def run():
        privacy = dict(max_epsilon=epsilon, delta=delta)
        with tempfile.TemporaryDirectory() as workspace:
            options = dict(value_protection=False, differential_privacy=privacy, random_state=seed, device="cpu")
            kinds = dict.fromkeys(train, "TABULAR_CATEGORICAL")
            model = TabularARGN(**options, tgt_encoding_types=kinds, workspace_dir=workspace, verbose=0).fit(
                train.astype(str)
            )
            fake = model.sample(n_samples=len(train))
        return fake[list(train)].apply(pd.to_numeric, errors="coerce").fillna(0).astype(int)

    return run


SYSTEMS = {  # name: (function, environment; None is the project's own)
    "dpsynth": (dpsynth, None),
    "dpsynth target": (dpsynth_target, None),
    "dpsynth values": (dpsynth_values, None),
    "independent": (independent, None),
    "dpmm MST": (dpmm, "dpmm"),
    "dpmm AIM": (dpmm_aim, "dpmm"),
    "mostlyai": (mostlyai, "mostlyai"),
}


def main():
    name, folder, epsilon, delta, seed, out = sys.argv[1:]
    folder, seed = Path(folder), int(seed)
    table, train = json.loads((folder / "table.json").read_text()), pd.read_csv(folder / "train.csv")
    run = SYSTEMS[name][0](folder, table, train, float(epsilon), float(delta), seed)
    before = os.times()
    fake = run()
    after = os.times()
    seconds = sum(after[i] - before[i] for i in range(4))  # user and system, children included
    fake.to_csv(out, index=False)
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps(dict(seconds=round(seconds, 1), peak_mb=round(peak / 1024))))


if __name__ == "__main__":
    main()
