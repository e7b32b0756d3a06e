"""Can choosing among configurations pay, when all candidates come out of one ε?

python tuning.py SEEDS OUT.csv [TABLE ...]     a line a table, ε, seed, share of μ² and configuration

Private tuning with k candidates divides μ² by k. Whoever chooses cannot do better than the best candidate, so here the
best one is told by an oracle, the exact mean distance of pairs: no choice that is private gives more. With two candidates
each has half of μ²; the best of all five at half is a bound for any two of them, and for three to five as well, since
each of those has less. `shared` is the other way: the counts are released once, with what the plan gives them, and only
the network is trained twice, with half of training's μ² each (noise times √2; what else is charged stays).

A configuration replaces names of `dpsynth.plan` from outside, so that the product needs no switch for it.
"""

import csv
import math
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd

from dpsynth import DPVAESynthesizer, plan, synthesizer
from dpsynth.evaluation import Comparison, marginal_tvd_mean
from dpsynth.pairs import pair_tvd_mean
from dpsynth.privacy import gaussian_mu, PrivacyBudget
from dpsynth.schema import Schema
from tables import SHARED, TABLES

DELTA, EPSILONS, ROWS = 1e-5, (1.0, 8.0), 5_000
DEFAULTS = dict(ONES_LEAST=0.4, ONES_MOST=0.8, PAIR_SHARE=0.12, MIXTURE_SIGNAL=25_000)
CONFIGURATIONS = {
    "default": {},
    "more counts": dict(ONES_LEAST=0.6, ONES_MOST=0.8),
    "more training": dict(ONES_LEAST=0.25, ONES_MOST=0.5, PAIR_SHARE=0.06),
    "more pairs": dict(PAIR_SHARE=0.3),
    "other latent": dict(MIXTURE_SIGNAL=0),  # a mixture where the plan has N(0, I)
}
NETWORKS = ("default", "other latent")
make_plan, network_shape = plan.make_plan, plan.network_shape


def configure(name: str, half_training: bool) -> None:
    "Have the plan follow a configuration."
    for key, value in (DEFAULTS | CONFIGURATIONS[name]).items():
        assert hasattr(plan, key), f"tuning.py replaces {key}, which dpsynth.plan no longer has"
        setattr(plan, key, value)

    def planned(*args, **given):
        made = make_plan(*args, **given)
        noise = made.training.noise_multiplier * (math.sqrt(2) if half_training else 1)
        return replace(made, training=replace(made.training, noise_multiplier=noise))

    synthesizer.make_plan = planned


def part_of(epsilon: float, share: float) -> float:
    "The ε whose μ² is this share of that of `epsilon`."
    low, high, mu = 0.0, epsilon, gaussian_mu(PrivacyBudget(epsilon, DELTA)) * math.sqrt(share)
    if share == 1:
        return epsilon
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if gaussian_mu(PrivacyBudget(middle, DELTA)) < mu else (low, middle)
    return low


def table(name: str, seed: int) -> tuple:  # rows, schema
    "At most 5,000 rows, others with each seed, and what is public about them."
    if name == "adult16":
        rows = pd.read_csv(SHARED / "data" / "adult16_train.csv")
        schema = Schema.load(SHARED / "data" / "adult16_schema.yaml")
    else:
        make, columns, _ = TABLES[name]
        rows, schema = make(), Schema.from_dict({"columns": columns()})
    return rows.sample(min(ROWS, len(rows)), random_state=seed).reset_index(drop=True)[list(schema)], schema


def fitted(rows, schema, epsilon: float, share, name: str) -> dict:
    "Exact distances of one fit."
    configure(name, share == "shared")
    before, part = time.process_time(), 1 if share == "shared" else float(share)
    synth = DPVAESynthesizer(schema, part_of(epsilon, part), DELTA, verbose=False).fit(rows)
    compared = Comparison(rows, synth.sample(len(rows)), schema)
    figures = dict(marginal=marginal_tvd_mean(compared), pair=pair_tvd_mean(compared))
    told = {k: round(float(v), 5) for k, v in figures.items()}
    return dict(share=share, configuration=name) | told | dict(seconds=round(time.process_time() - before, 1))


def main() -> None:
    seeds, out, names = int(sys.argv[1]), sys.argv[2], sys.argv[3:] or ["adult16", "OFP"]
    runs = [(s, c) for s in ("1", "0.5") for c in CONFIGURATIONS] + [("shared", c) for c in NETWORKS]
    with open(out, "w", newline="") as file:
        writer = None
        for seed in range(seeds):
            for name in names:
                rows, schema = table(name, seed)
                for epsilon in EPSILONS:
                    for share, configuration in runs:
                        line = dict(table=name, rows=len(rows), epsilon=epsilon, seed=seed)
                        line |= fitted(rows, schema, epsilon, share, configuration)
                        writer = writer or csv.DictWriter(file, list(line))
                        file.tell() or writer.writeheader()
                        writer.writerow(line)
                        file.flush()


if __name__ == "__main__":
    main()
