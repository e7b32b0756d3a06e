"""The picture at the top of README: python nbs/images/real_and_synthetic.py

The fit is the one of `dpsynth demo`, with the noise of every fit, which nobody can replay: each run draws a slightly
different picture. Sampling has the public seed 0. The log is generated, so its real half may be published."""

import io
from pathlib import Path

import matplotlib.pyplot as plt
from PIL import Image

from dpsynth import DPVAESynthesizer, make_telemetry, plot_marginals, telemetry_schema
from dpsynth.report import plot_shares_over_time, plot_zscores

PICTURE = Path(__file__).with_suffix(".png")
PAIR = ("Product Type", "Event Type")


def draw(real, synthetic, certificate):
    "Four panels on one figure, 7 inches wide: a column each, the calendar, and the question that needs both columns."
    plt.rcParams.update({"font.size": 9, "axes.titlesize": 9.5, "axes.titlelocation": "left"})
    figure, axes = plt.subplots(2, 2, figsize=(7, 4.9), layout="constrained", height_ratios=[1, 1.1])
    (events, products), (days, errors) = axes
    plot_marginals(real, synthetic, telemetry_schema(), ["Event Type", "Product Type"], [events, products])
    plot_shares_over_time(real, synthetic, "Time of Event", days)
    plot_zscores(real, synthetic, *PAIR, ax=errors)
    events.set_title("Event types"), products.set_title("Products")
    days.set_ylim(0.9, 1.3)  # from 0, the days would look all the same
    errors.margins(y=0.1)
    days.set_title("Rows by day, the axis begins at 0.9 %"), errors.set_title("Which products have errors too often?")
    for ax in axes.flat:
        ax.get_legend() and ax.get_legend().remove()
    figure.legend(*events.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    title = f"A log of {len(real):,} rows, and as many synthetic ones at ε = {certificate.epsilon:g} for each user"
    figure.suptitle(title, fontsize=11)
    return figure


def write(figure, path):
    "A PNG of 64 colours, twice as sharp as 700 pixels across."
    figure.savefig(file := io.BytesIO(), dpi=200, facecolor="white")
    Image.open(file).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    real = make_telemetry()
    options = {"unit": "User ID", "workload": [PAIR], "seed": 0, "verbose": False}
    synth = DPVAESynthesizer(telemetry_schema(), epsilon=2.0, delta=1e-6, **options)
    synthetic = synth.fit(real).sample(len(real))
    write(draw(real, synthetic, synth.certificate), PICTURE)
    print(f"{PICTURE}: {PICTURE.stat().st_size:,} bytes")
