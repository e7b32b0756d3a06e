"""The product without one of its parts at a time, in a process of its own: python ablation.py VARIANT FOLDER EPSILON DELTA SEED OUT.

A part is taken out from outside, by replacing a name in dpsynth's modules, so that the product needs no switch for it.
`check` says which of those names are gone when the product has moved on.
"""
import json
import os
import resource
import sys
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
import torch

from dpsynth import calibration, synthesizer, training, vae
from dpsynth.loading import Schema, read_table

NEEDED = {  # what the variants replace
    synthesizer: ("VAEConfig", "TabularVAE", "fit_latent_prior", "sample_codes", "swap_rows", "shrink_map", "_shares", "PAIR_MASS"),
    calibration: ("shrink", "project_to_simplex", "add_targets"),
    training: ("NOISE_TAKEN",),
    vae: ("Centre", "VAEConfig", "TabularVAE", "elbo_loss", "Tap"),
}


def check() -> None:
    "Stop in one line when a name that is replaced here is not there."
    if gone := [f"{module.__name__}.{name}" for module, names in NEEDED.items() for name in names if not hasattr(module, name)]:
        raise SystemExit(f"ablation.py replaces names that dpsynth no longer has: {', '.join(gone)}")


def network(**options) -> None:
    "Every network gets these settings, whatever the plan says."
    original = vae.VAEConfig
    synthesizer.VAEConfig = lambda cardinalities, **given: original(cardinalities, **given | options)


def without_heads() -> None:
    "Columns are independent given the latent: the autoregressive map is multiplied by 0."
    network(gain=0.0)


def without_latent() -> None:
    "The decoder sees a constant; β = 0, so that the encoder has no gradient either."
    decode = vae.TabularVAE.decode
    vae.TabularVAE.decode = lambda self, z: decode(self, torch.zeros_like(z))
    network(beta=0.0)


def without_centres() -> None:
    "Layers read one-hots as they are; blocks are not shrunk either, for which the shares are needed."
    vae.Centre.move = lambda self, shares: None


def unshrunk() -> None:
    "Blocks of the autoregressive map stay as training leaves them."
    synthesizer.shrink_map = lambda *args: None


def all_noise_taken() -> None:
    "Blocks are shrunk by all of the noise in them."
    training.NOISE_TAKEN = 1.0


def always_pairs() -> None:
    "Pairs are chosen and counted however little signal there is."
    synthesizer.PAIR_MASS = 0


def without_pairs() -> None:
    "No pair is chosen or counted; training gets that part of the budget."
    shares = synthesizer._shares
    pairs = ("pair ", "target ", "triple ")
    synthesizer._shares = lambda *args, **given: {n: s for n, s in shares(*args, **given).items() if not n.startswith(pairs)}


def without_swap() -> None:
    "Resampled rows stay as they are."
    synthesizer.swap_rows = lambda chosen, *args, **given: chosen


def standard_prior() -> None:
    "The release is paid for and thrown away; the latent is drawn from N(0, I)."
    fit = synthesizer.fit_latent_prior

    def standard(*args, **given):
        mean, covariance = fit(*args, **given)
        return np.zeros_like(mean), np.eye(len(mean))

    synthesizer.fit_latent_prior = standard


def raw_projection() -> None:
    "Noisy counts are projected to the simplex; the model has no say."

    def project(noisy, model, scale):
        total = max(float(np.sum(model)), 1e-9)
        return calibration.project_to_simplex(np.asarray(noisy, float) / total) * total

    calibration.shrink = project


class Mixture(torch.nn.Module):
    "A prior of diagonal Gaussians, trained with the network: one more layer whose rows' gradients are written down."

    def __init__(self, latent: int, components: int = 32, gain: float = 6.0):
        super().__init__()
        self.gain = gain  # of its parameters, inside the clip
        self.means = torch.nn.Parameter(torch.randn(components, latent) / (2 * gain))
        self.log_scales = torch.nn.Parameter(torch.zeros(components, latent))
        self.scores = torch.nn.Parameter(torch.zeros(components))

    def parts(self, z):  # standardised distances (B, components, latent), log-densities (B, components) but for a constant
        log_scales = self.gain * self.log_scales
        u = (z[:, None] - self.gain * self.means) * (-log_scales).exp()
        return u, (self.gain * self.scores).log_softmax(0) - log_scales.sum(1) - 0.5 * u.square().sum(2)

    def forward(self, z):
        out = self.parts(z)[1].logsumexp(1)
        return out, [vae.Tap(self, z, out)]

    def rows(self, z, g):
        u, density = self.parts(z)
        share = density.softmax(1)
        g = self.gain * g[:, None]
        scores = g * (share - (self.gain * self.scores).softmax(0))
        return (g * share)[:, :, None] * u * (-self.gain * self.log_scales).exp(), (g * share)[:, :, None] * (u.square() - 1), scores

    def squared_norms(self, z, g):
        return sum(part.flatten(1).square().sum(1) for part in self.rows(z, g))

    def summed_gradients(self, z, g, factor):
        return [part.sum(0) for part in self.rows(z, g * factor)]

    @torch.no_grad()
    def draw(self, n: int, generator):
        which = torch.multinomial((self.gain * self.scores).softmax(0), n, replacement=True, generator=generator)
        noise = torch.randn(n, self.means.shape[1], generator=generator)
        return self.gain * self.means[which] + noise * (self.gain * self.log_scales[which]).exp()


def mixture_prior() -> None:
    "The latent at twice its full weight under a trained mixture of 32 Gaussians, from which tables are drawn as well."
    network(latent_gain=2.0, beta=0.7)
    init, draw = vae.TabularVAE.__init__, synthesizer.sample_codes

    def start(self, config):
        init(self, config)
        self.mixture = Mixture(config.latent)

    def forward(self, codes, noise):
        index = codes.long() + self.offsets
        mu, logvar, taps = self._encode(index)
        z = mu + (0.5 * logvar).exp() * noise
        (logits, decoder), (causal, heads), (density, prior) = self.decode(z), self.causal(index), self.mixture(z)
        loss = vae.elbo_loss(logits + causal, index, mu, logvar, self.centre.members, 0.0)
        kl = -0.5 * (noise.square() + logvar).sum(1) - density  # of one draw
        return loss + self.config.beta * kl, [*taps, *decoder, *heads, *prior]

    vae.TabularVAE.__init__, vae.TabularVAE.forward = start, forward
    synthesizer.sample_codes = lambda model, z, generator, *rest: draw(model, model.mixture.draw(len(z), generator), generator, *rest)


VARIANTS = {
    "as it is": lambda: None,
    "without autoregressive heads": without_heads,
    "one-hots without centres": without_centres,
    "blocks not shrunk": unshrunk,
    "blocks shrunk by all noise": all_noise_taken,
    "without the latent": without_latent,
    "latent at full weight": lambda: network(latent_gain=1.0, beta=0.5),
    "latent under a mixture": mixture_prior,
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
