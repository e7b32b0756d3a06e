"""Users' histories, learned and given back: python histories.py [LOG ...] [--system dpsynth] [--epsilon 4] [--seeds 101 102 103]

A log is planted, so that what should come back is known. `purchases` has heavy tails: one to twenty purchases, few of
them many; amounts are log-normal, and two of three are round prices; customers repeat their brand; gaps between
purchases are Pareto-like, with second purchases within minutes. `planted` and `markov` are those of the shared judge.
Every fit has shipping noise and goes through public functions alone. The judge is shared/benchmark/score_histories.py,
which knows nothing of dpsynth: it weighs every user the same. `two halves` is what two random halves of the real users
differ by, each with half as many users. One line a run in histories.csv; a line of the same run is replaced.
--scale USERS fits so many users of five rows and writes CPU seconds and peak memory into histories_scale.csv.
"""

import argparse
import os
import resource
import sys
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd

HERE = Path(__file__).resolve().parent
SHARED = next(
    (p / "shared" for p in HERE.parents if (p / "shared" / "benchmark" / "score_histories.py").is_file()),
    Path("shared"),
)
DELTA = 1e-6
FIGURES = {  # of the judge → words
    "rows_per_user": "rows a user", "unit_x_event": "user × event", "transition": "transition", "trigram_main": "trigram",
    "repetition": "repetition", "gap_ks": "gap KS", "span_ks": "span KS", "event_1way": "event 1-way", "event_pairs": "event pairs",
    "unit_constant": "users constant", "detect_auc": "detection", "next_auc": "next event",
}  # fmt: skip
BRANDS, SPECIAL = [f"brand {c}" for c in "ABCDEFGH"], ["none", "card", "coupon"]
AMOUNTS = [0, 5, 10, 15, 20, 25, 30, 40, 50, 75, 100, 150, 250, 2_000]
PURCHASES = dict(
    name="purchases", k=20, most=20, user="user", time="time", step="second", lower="2024-01-01", upper="2024-12-31", main="brand",
    unit={"region": ["north", "south", "east", "west"], "channel": ["web", "store"]}, event={"brand": BRANDS, "deal": SPECIAL},
    num={"amount": AMOUNTS, "items": [1, 2, 3, 4, 6, 11, 51]},
)  # fmt: skip


def make_purchases(users: int, seed: int = 0) -> pd.DataFrame:
    "Customers with 1 to 20 purchases in a year, ordered by customer and time."
    rng = np.random.default_rng(seed)
    count = np.floor((1 - rng.random(users) * (1 - 21**-1.1)) ** (-1 / 1.1)).astype(int)  # Pareto, cut off at 20
    user, n = np.repeat(np.arange(users), count), count.sum()
    region, store = rng.choice(4, users, p=[0.4, 0.3, 0.2, 0.1]), rng.random(users) < 0.35
    liked = (rng.choice(8, users, p=np.arange(8, 0, -1) / 36) + 2 * store) % 8  # the brand of a customer
    brand = np.where(rng.random(n) < 0.65, liked[user], rng.choice(8, n, p=np.arange(8, 0, -1) / 36))
    first = np.r_[True, user[1:] != user[:-1]]
    again = ~first & (rng.random(n) < 0.25)  # the brand of the purchase before
    for row in np.flatnonzero(again):
        brand[row] = brand[row - 1]
    deal = np.where(rng.random(n) < np.where(brand < 3, 0.15, 0.4), 1 + (rng.random(n) < 0.3 + 0.4 * store[user]), 0)
    items = np.minimum(np.floor((1 - rng.random(n)) ** (-1 / 1.8)), 50).astype(int)
    amount = (
        np.exp(rng.normal(2.4 + 0.12 * brand + 0.3 * region[user] / 3, 0.7)) * items**0.6 * np.where(deal > 0, 0.8, 1)
    )
    rounded = np.where(amount < 10, np.ceil(amount), np.ceil(amount / 5) * 5)
    amount = (
        np.where(rng.random(n) < 2 / 3, rounded - np.where(rng.random(n) < 0.6, 0.01, 0), amount)
        .clip(0.5, 1999)
        .round(2)
    )
    begin = rng.integers(0, 300, users) * 86_400 + rng.normal(np.where(store, 14, 19), 2.5).clip(0, 23.9) * 3_600
    pause = 86_400 * 4 * ((1 - rng.random(n)) ** (-1 / 1.3) - 1)  # days, Pareto-like
    gap = np.where(rng.random(n) < 0.15, rng.lognormal(5.5, 1.0, n), pause)
    start = np.flatnonzero(first)
    passed = np.cumsum(np.where(first, 0, gap))
    at = begin[user] + passed - passed[start][user]
    log = {"user": user, "region": np.array(PURCHASES["unit"]["region"])[region][user]}
    log |= {
        "channel": np.array(["web", "store"])[store * 1][user],
        "brand": np.array(BRANDS)[brand],
        "deal": np.array(SPECIAL)[deal],
    }
    log |= {
        "amount": amount,
        "items": items,
        "time": pd.Timestamp("2024-01-01") + pd.to_timedelta(at.astype("int64"), unit="s"),
    }
    return pd.DataFrame(log).loc[lambda t: t.time < "2025-01-01"].reset_index(drop=True)


def purchases(seed: int = 0) -> tuple:  # train, test, what is public
    "20,000 customers to learn from, 5,000 others to test a prediction on."
    log = make_purchases(25_000, seed)
    return log[log.user < 20_000], log[log.user >= 20_000], PURCHASES


def judge():
    "The module shared/benchmark/score_histories.py, and the logs that lie beside it."
    if not (SHARED / "benchmark" / "score_histories.py").exists():
        sys.exit("histories.py: shared/benchmark/score_histories.py is not on this machine")
    sys.path.insert(0, str(SHARED / "benchmark"))
    import planted_logs
    import score_histories

    return score_histories, {"purchases": purchases, "planted": planted_logs.planted, "markov": planted_logs.markov}


def public_schema(train: pd.DataFrame, facts: dict):
    "What is public about a log, as a schema."
    from dpsynth import Schema

    columns, words = {facts["user"]: dict(type="id", pattern="u########")}, {**facts["unit"], **facts["event"]}
    for name in train.columns.drop(facts["user"]):
        if name in words:
            columns[name] = dict(type="categorical", categories=words[name], nullable=False)
            columns[name] |= {"per": "unit"} if name in facts["unit"] else {}
        elif name == facts["time"]:
            columns[name] = dict(
                type="datetime", lower=facts["lower"], upper=facts["upper"], resolution=facts["step"], nullable=False
            )
        else:
            kind, edges = ("float" if train[name].dtype.kind == "f" else "integer"), facts["num"][name]
            columns[name] = dict(type=kind, lower=edges[0], upper=edges[-1] - (kind == "integer"), nullable=False)
            columns[name] |= {"decimals": 2} if kind == "float" else {}
    return Schema.from_dict({"columns": columns})


def by_dpsynth(train: pd.DataFrame, facts: dict, epsilon: float) -> pd.DataFrame:
    "A fit with shipping noise, and as many users as there were."
    from dpsynth import DPVAESynthesizer

    schema, options = (
        public_schema(train, facts),
        dict(unit=facts["user"], max_rows_per_unit=facts["k"], order_by=facts["time"]),
    )
    synth = DPVAESynthesizer(schema, epsilon=epsilon, delta=DELTA, verbose=False, **options).fit(train)
    return synth.sample(n_units=train[facts["user"]].nunique())


def run(log: str, system: str, epsilon: float, seed: int) -> dict:
    "One run and its figures."
    score, logs = judge()
    train, test, facts = logs[log](seed=seed)
    start = time.process_time()
    made = train if system == "two halves" else by_dpsynth(train, facts, epsilon)
    spent = time.process_time() - start
    found = score.ceiling(train, facts, test) if system == "two halves" else score.evaluate(train, made, facts, test)
    return {
        "log": log,
        "system": system,
        "epsilon": epsilon,
        "seed": seed,
        **{n: round(found[n], 4) for n in FIGURES},
        "cpu_s": round(spent, 1),
    }


def fit_many(users: int) -> dict:
    "CPU seconds and peak memory of a fit of users of five rows each; the table and the libraries are in memory before it."
    from dpsynth import DPVAESynthesizer

    rng, user = np.random.default_rng(1), np.repeat(np.arange(users), 5)
    n, regions = len(user), PURCHASES["unit"]["region"]
    brand = np.where(rng.random(n) < 0.8, rng.integers(0, 8, users)[user], rng.integers(0, 8, n))
    second = rng.integers(0, 80, users)[user] * 86_400 + np.abs(rng.normal(0, 2 * 86_400, n)).astype(int)
    train = pd.DataFrame({
        "user": user, "region": pd.Categorical.from_codes(rng.integers(0, 4, users)[user], regions), "brand": pd.Categorical.from_codes(brand, BRANDS),
        "deal": pd.Categorical.from_codes(rng.integers(0, 3, n), SPECIAL), "amount": np.exp(rng.normal(3, 1, n)).round(2).clip(max=1999),
        "time": pd.Timestamp("2024-05-01") + pd.to_timedelta(second, unit="s"),
    })  # fmt: skip
    schema, peak = public_schema(train, PURCHASES), lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    synth = DPVAESynthesizer(
        schema, epsilon=4.0, delta=1e-7, unit="user", max_rows_per_unit=5, order_by="time", verbose=False
    )
    synth.plan(users)
    before, start = peak(), time.process_time()
    synth.fit(train)
    return {
        "users": users,
        "rows": n,
        "cpu_s": round(time.process_time() - start, 1),
        "mb_before": before,
        "mb_peak": peak(),
    }


def keep(file: Path, new: dict, key: list) -> None:
    "A line of a CSV file, in place of the one of the same run."
    line = pd.DataFrame([new])
    lines = pd.concat([pd.read_csv(file), line]) if file.exists() else line
    lines.drop_duplicates(key, keep="last").sort_values(key).to_csv(file, index=False)
    print(line.T.to_string(header=False), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("logs", nargs="*", default=["purchases"])
    parser.add_argument("--system", default="dpsynth", choices=["dpsynth", "two halves"])
    parser.add_argument("--epsilon", type=float, default=4.0)
    parser.add_argument("--seeds", type=int, nargs="*", default=[101, 102, 103])
    parser.add_argument("--scale", type=int, metavar="USERS")
    asked = parser.parse_args()
    if asked.scale:
        return keep(HERE / "histories_scale.csv", fit_many(asked.scale), ["users"])
    epsilon = asked.epsilon if asked.system == "dpsynth" else np.inf
    for log in asked.logs:
        for seed in asked.seeds:
            keep(HERE / "histories.csv", run(log, asked.system, epsilon, seed), ["log", "system", "epsilon", "seed"])


if __name__ == "__main__":
    main()
