"""The product without one of its parts at a time, in a process of its own: python ablation.py VARIANT FOLDER EPSILON DELTA SEED OUT.

A part is taken out from outside, by replacing a name in dpsynth's modules, so that the product needs no switch for it.
`check` says which of those names are gone when the product has moved on.
"""

import json
import math
import os
import resource
import sys
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
import torch

from dpsynth import calibration, dp_training, layers, plan, sampling, synthesizer, tabular_vae
from dpsynth.schema import Schema
from dpsynth.loading import read_table

NEEDED = {  # what the variants replace
    sampling: ("VAEConfig", "fit_latent_prior", "swap_rows", "shrink_map"),
    plan: ("release_shares", "PAIR_MASS", "MIXTURE_SIGNAL"),
    calibration: ("shrink", "project_to_simplex", "add_targets"),
    dp_training: ("NOISE_TAKEN",),
    tabular_vae: ("VAEConfig", "TabularVAE"),
    layers: ("Centre",),
}


def check() -> None:
    "Stop in one line when a name that is replaced here is not there."
    if gone := [
        f"{module.__name__}.{name}" for module, names in NEEDED.items() for name in names if not hasattr(module, name)
    ]:
        raise SystemExit(f"ablation.py replaces names that dpsynth no longer has: {', '.join(gone)}")


def network(**options) -> None:
    "Every network gets these settings, whatever the plan says."
    original = tabular_vae.VAEConfig
    sampling.VAEConfig = lambda cardinalities, **given: original(cardinalities, **given | options)


def without_heads() -> None:
    "Columns are independent given the latent: the autoregressive map is multiplied by 0."
    network(gain=0.0)


def without_latent() -> None:
    "The decoder sees a constant; β = 0, so that the encoder has no gradient either."
    decode = tabular_vae.TabularVAE.decode
    tabular_vae.TabularVAE.decode = lambda self, z: decode(self, torch.zeros_like(z))
    network(beta=0.0, components=1)


def latent_from(signal: float) -> None:
    "The signal from which the latent has its full weight, and a mixture for a prior."
    plan.MIXTURE_SIGNAL = signal


def without_centres() -> None:
    "Layers read one-hots as they are; blocks are not shrunk either, for which the shares are needed."
    layers.Centre.set_shares = lambda self, shares: None


def unshrunk() -> None:
    "Blocks of the autoregressive map stay as training leaves them."
    sampling.shrink_map = lambda *args: None


def all_noise_taken() -> None:
    "Blocks are shrunk by all of the noise in them."
    dp_training.NOISE_TAKEN = 1.0


def always_pairs() -> None:
    "Pairs are chosen and counted however little signal there is."
    plan.PAIR_MASS = 0


def without_pairs() -> None:
    "No pair is chosen or counted; training gets that part of the budget."
    shares = plan.release_shares
    pairs = ("pair ", "target ", "triple ")
    plan.release_shares = lambda *args, **given: {
        n: s for n, s in shares(*args, **given).items() if not n.startswith(pairs)
    }


def without_swap() -> None:
    "Resampled rows stay as they are."
    sampling.swap_rows = lambda chosen, *args, **given: chosen


def standard_prior() -> None:
    "The release is paid for and thrown away; the latent is drawn from N(0, I)."
    fit = sampling.fit_latent_prior

    def standard(*args, **given):
        mean, covariance = fit(*args, **given)
        return np.zeros_like(mean), np.eye(len(mean))

    sampling.fit_latent_prior = standard


def raw_projection() -> None:
    "Noisy counts are projected to the simplex; the model has no say."

    def project(noisy, model, scale):
        total = max(float(np.sum(model)), 1e-9)
        return calibration.project_to_simplex(np.asarray(noisy, float) / total) * total

    calibration.shrink = project


VARIANTS = {
    "as it is": lambda: None,
    "without autoregressive heads": without_heads,
    "one-hots without centres": without_centres,
    "blocks not shrunk": unshrunk,
    "blocks shrunk by all noise": all_noise_taken,
    "without the latent": without_latent,
    "latent of little weight": lambda: latent_from(math.inf),
    "latent under N(0, I)": lambda: network(latent=8, latent_gain=1.0, beta=0.5, components=1),
    "latent under a mixture": lambda: latent_from(0),
    "β = 1": lambda: network(beta=1.0),
    "N(0, I) prior": standard_prior,
    "without pairs": without_pairs,
    "pairs on every table": always_pairs,
    "without swaps": without_swap,
    "projection, no shrinkage": raw_projection,
}


def active_latents(model, rows: pd.DataFrame) -> int:
    """Latent dimensions that say more than 0.05 nats about a row: the mean KL of 2,000 rows' posteriors from the mean of
    them all, whatever the prior. Reads real rows: for this table only."""
    released = model.released_
    codes = torch.from_numpy(np.ascontiguousarray(released.encoder.transform(rows)[:2_000, released.order]))
    with torch.no_grad():
        mu, logvar = released.network.encode(codes)
        z = mu + (0.5 * logvar).exp() * torch.randn(mu.shape, generator=torch.Generator().manual_seed(0))
        density = -0.5 * ((z[:, None] - mu).square() * (-logvar).exp() + logvar)  # (row, row, latent)
        said = density.diagonal().T - density.logsumexp(1) + np.log(len(codes))
    return int((said.mean(0) > 0.05).sum())


def main():
    name, folder, epsilon, delta, seed, out = sys.argv[1:]
    check()
    VARIANTS[name]()
    schema = Schema.load(Path(folder) / "schema.yaml")
    rows = read_table(Path(folder) / "train.csv", schema)
    before = os.times()
    model = synthesizer.DPVAESynthesizer(schema, float(epsilon), float(delta), seed=int(seed), verbose=False).fit(rows)
    fake = model.sample(len(rows))
    seconds = sum(os.times()[i] - before[i] for i in (0, 1))
    fake.to_csv(out, index=False)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(dict(seconds=round(seconds, 1), peak_mb=round(peak), active_latents=active_latents(model, rows))))


if __name__ == "__main__":
    main()
