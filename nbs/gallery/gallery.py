"""Five tables, each with a private fit, a picture and its report: python nbs/gallery/gallery.py [TABLE ...]

For each it writes beside this file TABLE.html, what `dpsynth evaluate --html` writes, TABLE.png, and a line of
gallery.csv. All real tables are made up, but for the tumours, which come with scikit-learn. The noise of a fit cannot
be replayed, so each run writes slightly different files."""

import io
import sys
import time
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_breast_cancer

from dpsynth import DPVAESynthesizer, Schema, evaluate, make_telemetry, plot_marginals, telemetry_schema
from dpsynth.loading import make_visits, visits_schema
from dpsynth.report import REAL_COLOUR, SYNTHETIC_COLOUR, plot_zscores, report
from dpsynth.user_histories import draw_transitions, read_histories, transition_table

HERE, DELTA, PAIR = Path(__file__).resolve().parent, 1e-6, ("Product Type", "Event Type")
COLOURS = [REAL_COLOUR, SYNTHETIC_COLOUR, "#f0b090"]  # the third: another fit
FIGURES = ["marginal_tvd_mean", "pair_tvd_mean", "detection_auc"]


class Table(NamedTuple):
    real: pd.DataFrame
    schema: Schema
    epsilon: float
    options: dict  # of the fit
    users: dict  # unit and order_by, where users are compared
    draw: object  # function of real, synthetic and three axes


def category(*words) -> dict:
    return {"type": "categorical", "categories": list(words), "nullable": False}


def number(kind: str, lower, upper, nullable: bool = False, **more) -> dict:
    return {"type": kind, "lower": lower, "upper": upper, "nullable": nullable, **more}


def make_orders(n: int = 10_000, seed: int = 0) -> pd.DataFrame:
    "Orders of a shop: express parcels leave sooner and cost more, and only some customers rate them."
    rng = np.random.default_rng(seed)
    country = rng.choice(["DE", "FR", "IT", "PL"], n, p=[0.4, 0.3, 0.2, 0.1])
    express = rng.random(n) < np.where(country == "DE", 0.5, 0.2)
    ordered = pd.Timestamp("2025-01-01") + pd.to_timedelta((rng.beta(2, 1.2, n) * 364).astype(int), unit="D")
    items = rng.geometric(0.4, n).clip(max=12)
    paid = (items * rng.lognormal(2.6, 0.6, n) + np.where(express, 7.9, 0)).round(2).clip(max=999.99)
    stars = 5.0 - rng.binomial(4, np.where(express, 0.15, 0.35))
    return pd.DataFrame(
        {
            "country": country,
            "delivery": np.where(express, "express", "normal"),
            "ordered": ordered,
            "shipped": ordered + pd.to_timedelta(1 + rng.poisson(np.where(express, 0.3, 3)), unit="D"),
            "items": items,
            "paid": paid,
            "stars": pd.array(np.where(rng.random(n) < 0.35, np.nan, stars), "Float64").astype("Int64"),
        }
    )


def orders_schema() -> Schema:
    day = {"resolution": "day"}
    columns = {
        "country": category("DE", "FR", "IT", "PL"),
        "delivery": category("normal", "express"),
        "ordered": number("datetime", "2025-01-01", "2025-12-31", **day),
        "shipped": number("datetime", "2025-01-01", "2026-01-31", **day),
        "items": number("integer", 1, 12),
        "paid": number("float", 0, 1000, decimals=2),
        "stars": number("integer", 1, 5, nullable=True),
    }
    return Schema.from_dict({"columns": columns, "constraints": [{"less_or_equal": ["ordered", "shipped"]}]})


def make_tumours() -> pd.DataFrame:
    "569 tumours of the Wisconsin data (Street et al. 1993), seven measurements of each."
    data = load_breast_cancer(as_frame=True).frame
    table = data.iloc[:, :7].rename(columns=lambda name: name.replace("mean ", ""))
    return table.assign(tumour=np.where(data["target"] == 1, "benign", "malignant"))


def tumours_schema() -> Schema:
    most = dict(radius=30, texture=40, perimeter=200, area=2600, smoothness=0.2, compactness=0.4, concavity=0.5)
    columns = {name: number("float", 0, upper) for name, upper in most.items()}
    return Schema.from_dict({"columns": {**columns, "tumour": category("benign", "malignant")}})


def make_switches(n: int = 20_000, seed: int = 0) -> pd.DataFrame:
    "Two switches and a lamp that burns if exactly one of them is on; and two dials that are often alike."
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 2, (2, n))
    lamp, dial = (a + b + (rng.random(n) < 0.02)) % 2, rng.integers(0, 3, n)
    other = np.where(rng.random(n) < 0.8, dial, rng.integers(0, 3, n))
    on = lambda x: np.array(["off", "on"], object)[x]
    dials = {"left dial": dial.astype(str).astype(object), "right dial": other.astype(str).astype(object)}
    return pd.DataFrame({"switch A": on(a), "switch B": on(b), "lamp": on(lamp), **dials})


def switches_schema() -> Schema:
    two, three = category("off", "on"), category("0", "1", "2")
    return Schema.from_dict(
        {"columns": {"switch A": two, "switch B": two, "lamp": two, "left dial": three, "right dial": three}}
    )


def draw_log(real, synthetic, axes):
    plot_marginals(real, synthetic, telemetry_schema(), PAIR, axes[:2])
    plot_zscores(real, synthetic, *PAIR, ax=axes[2])
    axes[2].set_title("Errors, z-score")
    axes[2].get_legend() and axes[2].get_legend().remove()


def draw_visits(real, synthetic, axes):
    plot_marginals(real, synthetic, visits_schema(), ["page"], axes[:1])
    for ax, word, table in ((axes[1], "real", real), (axes[2], "synthetic", synthetic)):
        draw_transitions(ax, transition_table(read_histories(table, "user", "at"), "page"))
        ax.set_title(f"Next page, {word}")


def learn_days(real) -> pd.DataFrame:
    "The orders by another fit, in which the days until shipping are a column, in place of the second date."
    columns = {n: c for n, c in orders_schema().to_dict()["columns"].items() if n != "shipped"}
    schema = Schema.from_dict({"columns": {**columns, "days": number("integer", 0, 30)}})
    table = real.assign(days=(real["shipped"] - real["ordered"]).dt.days)[[*schema]]
    return DPVAESynthesizer(schema, epsilon=2, delta=DELTA, seed=0, verbose=False).fit(table).sample(len(real))


def draw_orders(real, synthetic, axes):
    plot_marginals(real, synthetic, orders_schema(), ["paid", "stars"], axes[:2])
    wait = lambda t, days: days.groupby(t["delivery"]).mean()
    waits = {
        word: wait(t, (t["shipped"] - t["ordered"]).dt.days) for word, t in (("real", real), ("two dates", synthetic))
    }
    again = learn_days(real)
    pd.DataFrame({**waits, "days learned": wait(again, again["days"])}).plot.bar(ax=axes[2], color=COLOURS, rot=0)
    axes[2].set(title="Mean days until shipped", xlabel="", ylim=(0, 45))  # room for the legend
    axes[2].legend(frameon=False, loc="upper left")


def draw_tumours(real, synthetic, axes):
    plot_marginals(real, synthetic, tumours_schema(), ["tumour"], axes[:1])
    for ax, word, table, colour in (
        (axes[1], "real", real, REAL_COLOUR),
        (axes[2], "synthetic", synthetic, SYNTHETIC_COLOUR),
    ):
        ax.scatter(table["radius"], table["area"], s=4, color=colour)
        ax.set(title=f"Area by radius, {word}", xlim=(5, 30), ylim=(0, 2600))


def draw_switches(real, synthetic, axes):
    plot_marginals(real, synthetic, switches_schema(), ["lamp"], axes[:1])
    burns = lambda t, by: (t["lamp"] == "on").groupby([t[name] for name in by]).mean()
    both = lambda by: pd.DataFrame({"real": burns(real, by), "synthetic": burns(synthetic, by)})
    for ax, by, title in (
        (axes[1], ["switch A"], "Lamp on, by A"),
        (axes[2], ["switch A", "switch B"], "… by A and B"),
    ):
        table = both(by)
        table.index = [x if isinstance(x, str) else " ".join(x) for x in table.index]
        table.plot.bar(ax=ax, color=COLOURS, rot=0, legend=False)
        ax.set(title=title, xlabel="", ylim=(0, 1))


def tables() -> dict:  # name → function without arguments that makes a `Table`
    user = {"unit": "User ID", "workload": [PAIR]}
    visitor, k = {"unit": "user", "order_by": "at"}, {"max_rows_per_unit": 20}
    return {
        "event_log": lambda: Table(make_telemetry(), telemetry_schema(), 2, user, {}, draw_log),
        "visits": lambda: Table(make_visits(4_000), visits_schema(), 4, {**visitor, **k}, visitor, draw_visits),
        "orders": lambda: Table(make_orders(), orders_schema(), 2, {}, {}, draw_orders),
        "switches": lambda: Table(make_switches(), switches_schema(), 1, {}, {}, draw_switches),
        "tumours": lambda: Table(make_tumours(), tumours_schema(), 3, {}, {}, draw_tumours),
    }


def picture(table: Table, synthetic, path: Path):
    "Three panels, a PNG of 64 colours, twice as sharp as 700 pixels across."
    plt.rcParams.update({"font.size": 8, "axes.titlesize": 8.5, "axes.titlelocation": "left"})
    figure, axes = plt.subplots(1, 3, figsize=(7, 2.2), layout="constrained")
    table.draw(table.real, synthetic, list(axes))
    legend = axes[0].get_legend_handles_labels()
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax is not axes[2] and ax.get_legend() and ax.get_legend().remove()
    figure.legend(*legend, loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(file := io.BytesIO(), dpi=200, facecolor="white")
    Image.open(file).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)


def run(name: str, table: Table) -> dict:
    "Fit, sample, evaluate, write; a line of gallery.csv."
    start, units = time.process_time(), table.options.get("unit")
    synth = DPVAESynthesizer(table.schema, epsilon=table.epsilon, delta=DELTA, seed=0, verbose=False, **table.options)
    synth.fit(table.real)
    people = table.real[units].nunique() if units else len(table.real)
    synthetic = synth.sample(n_units=people) if table.users else synth.sample(len(table.real))
    seconds = time.process_time() - start
    shown = table.real if table.users else table.real[[*table.schema]]
    metrics = evaluate(shown, synthetic, table.schema, **table.users)
    certificate, title = synth.certificate.to_dict(), f"{name.replace('_', ' ').capitalize()}: synthetic against real"
    report(shown, synthetic, table.schema, HERE / f"{name}.html", metrics, certificate, title, **table.users)
    picture(table, synthetic, HERE / f"{name}.png")
    line = {"table": name, "rows": len(table.real), "people": people, "columns": len(table.schema)}
    warning = "; ".join(metrics["warnings"])
    spent = {"epsilon": table.epsilon, "spent": round(synth.certificate.epsilon_spent, 4), "seconds": round(seconds)}
    return {**line, **spent, **{f: round(metrics[f], 4) for f in FIGURES}, "warnings": warning}


def main(names):
    path, makers = HERE / "gallery.csv", tables()
    done = pd.read_csv(path).set_index("table").to_dict("index") if path.exists() else {}
    for name in names or makers:
        done[name] = {k: v for k, v in run(name, makers[name]()).items() if k != "table"}
        lines = pd.DataFrame.from_dict({n: done[n] for n in makers if n in done}, "index").rename_axis("table")
        lines.to_csv(path)
        print(name, done[name], flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
