"""Coverage of what a certificate says of its tables, over independent fits.

python quality.py ROUNDS OUT.csv     a fit of each of three small tables a round, ε from .3 to 8 in turn; one line a stated distance

The truth is the distance of *another* synthetic table of the same model. Training is cut to 40 steps: a model may be bad, its
interval may not. `adult16`: 8,000 rows of the census extract; `telemetry`: 12,000 rows; `visits`: 4,000 users of one to three rows.
"""

import os
import sys
from dataclasses import replace

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import pandas as pd

from dpsynth import DPVAESynthesizer, Schema
from dpsynth.answers import NORMAL_95
from dpsynth.columns import Integer
from dpsynth.loading import make_telemetry, read_table, telemetry_schema
from dpsynth.quality import compared_sets, mean_distances, MeasuredDistance, rows_drawn
from dpsynth.sampling import draw_pieces
from tables import SHARED

EPSILONS, STEPS = (0.3, 1.0, 3.0, 8.0), 40


def draw_visits(users=4_000):
    "Users of one to three rows whose columns hang on a group."
    rng = np.random.default_rng(5)
    owner = np.repeat(np.arange(users), rng.integers(1, 4, users))
    n, group = len(owner), rng.integers(0, 3, users)[owner]
    b = np.where(rng.random(n) < 0.6, group, rng.integers(0, 5, n))
    return pd.DataFrame(
        {"user": owner, "a": group, "b": b, "c": rng.binomial(9, 0.2 + 0.2 * group), "d": rng.integers(0, 4, n)}
    )


def read_tables():
    "Name → (schema, table, further options)."
    visits = Schema({"a": Integer(0, 2), "b": Integer(0, 4), "c": Integer(0, 9), "d": Integer(0, 3)})
    adult = (
        Schema.load(SHARED / "data/adult16_schema.yaml"),
        pd.read_csv(SHARED / "data/adult16_train.csv").head(8_000),
        {},
    )
    telemetry = telemetry_schema(), make_telemetry().head(12_000).drop(columns="User ID"), {}
    return {
        "adult16": adult,
        "telemetry": telemetry,
        "visits": (visits, draw_visits(), {"unit": "user", "max_rows_per_unit": 3}),
    }


def fit_and_hold(schema, frame, epsilon, more):
    "What a fit's certificate says, and the distances of another synthetic table."
    synth = DPVAESynthesizer(schema, epsilon=epsilon, delta=1e-6, verbose=False, **more)
    plan = synth.plan(frame[more["unit"]].nunique() if more else len(frame))
    synth.plan = lambda units: replace(plan, training=replace(plan.training, steps=STEPS))
    model = synth.fit(frame).released_
    real = model.encoder.transform(read_table(frame.drop(columns=more.get("unit", [])), schema))
    another = np.concatenate(
        [c for c, _ in draw_pieces(model, rows_drawn(model.released.rows), np.random.default_rng(), {})]
    )
    sets = compared_sets(model.encoder.fields)
    true = mean_distances(real, [another], sets, model.encoder.cardinalities, len(real)) / (2 * len(real))
    return zip([MeasuredDistance(**line) for line in synth.certificate.quality], true)


def main():
    rounds, out = int(sys.argv[1]), sys.argv[2]
    rows, tables = [], read_tables()
    for i in range(rounds):
        for name, (schema, frame, more) in tables.items():
            epsilon = EPSILONS[i % len(EPSILONS)]
            for d, true in fit_and_hold(schema, frame, epsilon, more):
                off = abs(d.distance - true)
                rows.append(
                    (
                        name,
                        epsilon,
                        d.columns,
                        d.distance,
                        true,
                        d.noise,
                        d.drawing,
                        off <= d.half_width,
                        off <= NORMAL_95 * d.noise,
                    )
                )
    figures = pd.DataFrame(rows, columns="table epsilon columns said true noise drawing covered noise_alone".split())
    figures.to_csv(out, index=False, float_format="%.6f")
    print(
        figures.groupby(["columns", "epsilon"])[["covered", "noise_alone"]].mean(),
        figures["covered"].mean(),
        len(figures),
        sep="\n",
    )


if __name__ == "__main__":
    main()
