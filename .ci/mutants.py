"""The gate of seeded bugs: each is put into a copy of the package, and an audit must find it.

python .ci/mutants.py            all of them, as a table; exit code 1 unless every one is found
python .ci/mutants.py WORD...    those whose name contains one of the words

A patch whose old text does not occur exactly once is stale, and the gate fails.
"""
import json
import os
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# name, audit that must find it, patches: (module, old text, new text)
REPLAY, MECHANISMS, NOISE = "replay of fits", "replay of mechanisms", "component audit"
MUTANTS = [
    # noise
    ("noise of training × 0.9", NOISE, ("training", "add_(noise, alpha=scale)", "add_(noise, alpha=0.9 * scale)")),
    ("noise of histograms × 0.9", NOISE, ("privacy", "_discrete_gaussian(math.ldexp(scale, m), counts.size", "_discrete_gaussian(0.9 * math.ldexp(scale, m), counts.size")),
    ("noise seeded", NOISE, ("privacy", "AESCounter(key=secrets.randbits(128))", "AESCounter(key=2024)")),
    ("noise from the user's seed", NOISE, ("synthesizer", "self.insecure_test_rng or secure_generator()", "self.insecure_test_rng or np.random.default_rng(self.seed)")),
    ("the same noise in every step", NOISE, ("training", "noise = standard_normals(self.rng, len(total), self.device)", "noise = self.kept = getattr(self, 'kept', standard_normals(self.rng, len(total), self.device))")),
    ("no noise on every other weight", NOISE, ("training", "add_(noise, alpha=scale)", "add_(noise * (torch.arange(len(total)) % 2), alpha=scale)")),
    ("uniform noise of the same variance", NOISE, ("training", "noise = standard_normals(self.rng, len(total), self.device)", "noise = (torch.from_numpy(self.rng.random(len(total), dtype=np.float32)) - 0.5) * 12**0.5")),
    # sampling and steps
    ("q × 2", NOISE, ("training", "poisson_batches(p.units, p.sampling_rate, len(block)", "poisson_batches(p.units, min(1.0, 2 * p.sampling_rate), len(block)")),
    ("T + 1", NOISE, ("privacy", "yield range(spend.steps)", "yield range(spend.steps + 1)")),
    ("half of the steps charged", REPLAY, ("privacy", "        self.charge(spend)\n        yield range(spend.steps)", "        self.charge(replace(spend, steps=max(1, spend.steps // 2)))\n        yield range(spend.steps)")),
    ("batches of a fixed size", NOISE, ("training", "size = int(rng.binomial(units, sampling_rate))", "size = round(units * sampling_rate)")),
    ("shuffled, not Poisson", NOISE, ("training", "        size = int(rng.binomial(units, sampling_rate))\n        yield rng.choice(units, size=size, replace=False, shuffle=False) if size else np.empty(0, np.int64)", "        if not _ % round(1 / sampling_rate):\n            parts = np.array_split(rng.permutation(units), round(1 / sampling_rate))\n        yield parts[_ % round(1 / sampling_rate)]")),
    ("sampled by row, not by user", REPLAY, ("training", "data[torch.from_numpy(_rows_of(drawn, starts))]", "data[torch.from_numpy(np.flatnonzero(self.rng.random(len(data)) < p.sampling_rate))]")),
    ("empty batch skipped", REPLAY, ("training", "self.step(step, data[torch.from_numpy(_rows_of(drawn, starts))])", "rows = _rows_of(drawn, starts)\n                if len(rows):\n                    self.step(step, data[torch.from_numpy(rows)])")),
    ("early stopping on the real loss", REPLAY, ("training", "                    if progress:\n                        progress(step + 1)", "                    loss = float(self.model(data, torch.zeros(len(data), self.model.config.latent))[0].detach().mean())\n                    self.best, worse = min(loss, getattr(self, 'best', loss)), loss > getattr(self, 'best', loss)\n                    if worse:\n                        break\n                    if progress:\n                        progress(step + 1)")),
    ("divided by the drawn batch", REPLAY, ("training", ".div_(p.expected_batch)", ".div_(max(len(codes), 1))")),
    # clipping
    ("clip × 2", REPLAY, ("training", "p.max_grad_norm / p.rows_per_unit", "2 * p.max_grad_norm / p.rows_per_unit")),
    ("every row of a user gets the whole C", REPLAY, ("training", "p.max_grad_norm / p.rows_per_unit", "p.max_grad_norm")),
    ("clip skipped for one layer", MECHANISMS, ("training", "for t, g in zip(taps, grads)).sqrt()", "for t, g in list(zip(taps, grads))[:-1]).sqrt()")),
    ("one column in the norm of the embedding", MECHANISMS, ("vae", "_squares(g) * (self.centre.lengths[index].sum(1) + 1)", "_squares(g) * 2")),
    ("autoregressive map half in the norm", MECHANISMS, ("vae", "return self.gain**2 * ((g.square()", "return self.gain * ((g.square()")),
    ("scales of the prior left out of the norm", MECHANISMS, ("vae", "(of_means.square() + of_scales.square()).sum(0)", "of_means.square().sum(0)")),
    ("weights of the prior left out of the norm", MECHANISMS, ("vae", "(share.square() * pull + self.rows[3].square()).sum(0)", "(share.square() * pull).sum(0)")),
    ("centre left out of the norm", MECHANISMS, ("vae", "self.lengths.copy_((1 - p).square() +", "self.lengths.copy_((1 - p).square().clamp_max(0.01) + 0 *")),
    ("centre from the batch", MECHANISMS, ("vae", "        out = self.gain * F.embedding_bag(index, self.weight, mode=\"sum\") - self.constant()", "        bag = F.embedding_bag(index, self.weight, mode=\"sum\")\n        out = self.gain * (bag - bag.mean(0))")),
    ("centre from the real shares", REPLAY, ("synthesizer", "    network.set_marginals([_marginal(noisy, j, sizes) for j in order])\n", "    network.set_marginals([_marginal(noisy, j, sizes) for j in order])\n    network.centre.move(torch.from_numpy(np.concatenate([np.bincount(codes[:, j], minlength=sizes[j]) / len(codes) for j in order])))\n")),
    ("blocks shrunk by the real number of rows", REPLAY, ("synthesizer", "shrink_map(network, training, rows)", "shrink_map(network, training, len(codes))")),
    ("loss reduced with mean", MECHANISMS, ("training", "torch.autograd.grad(loss.sum(),", "torch.autograd.grad(loss.mean(),")),
    ("BatchNorm put back", MECHANISMS, ("vae", "        h = pre.relu()\n        out = self.posterior(h)", "        h = torch.nn.functional.batch_norm(pre, None, None, training=len(pre) > 1).relu() if len(pre) > 1 else pre.relu()\n        out = self.posterior(h)")),
    ("non-finite gradients kept", MECHANISMS, ("training", "if not usable.all():", "if False:")),
    # releases
    ("marginals: no shares, each table as if alone", MECHANISMS, ("calibration", "spend.noise_multiplier * k * np.linalg.norm(a) / a", "spend.noise_multiplier * k * np.ones(len(a))")),
    ("marginals: k forgotten", MECHANISMS, ("calibration", "spend.noise_multiplier * k * np.linalg.norm(a) / a", "spend.noise_multiplier * np.linalg.norm(a) / a")),
    ("marginals: real counts returned", MECHANISMS, ("calibration", "        tables[c] = gaussian_histogram(", "        tables[c] = counts + 0 * gaussian_histogram(")),
    ("latent prior: moments not clipped", MECHANISMS, ("calibration", "    each *= np.minimum(1, bound /", "    each *= np.minimum(1e9, 1 + 0 * bound /")),
    ("latent prior: not a number kept", MECHANISMS, ("calibration", "        each[~np.isfinite(each).all(1)] = 0\n", "")),
    ("latent prior: divided by the real count", MECHANISMS, ("calibration", "spend.noise_multiplier, k * bound, rng) / rows", "spend.noise_multiplier, k * bound, rng) / len(mu)")),
    ("selection: scaled by the real count", MECHANISMS, ("calibration", "np.abs(real - rows * model)", "np.abs(real - len(codes) * model)")),
    ("selection: as if for one pair", MECHANISMS, ("calibration", "k * math.sqrt(len(scores)), rng)", "k, rng)")),
    ("rows of users: real counts returned", REPLAY, ("calibration", "noisy = gaussian_histogram(counts, spend.noise_multiplier, 1.0, rng)\n    return project", "noisy = counts + 0 * gaussian_histogram(counts, spend.noise_multiplier, 1.0, rng)\n    return project")),
    ("rows of users: uncharged", REPLAY, ("synthesizer", 'release("rows per unit", lambda spend: measure_rows_per_unit(unit_index, k, spend, rng))', 'measure_rows_per_unit(unit_index, k, plan.releases["rows per unit"], rng)')),
    ("rows of users: a sensitivity of 1 for all of their rows", REPLAY, ("calibration", "np.bincount(np.bincount(unit_index), minlength=k + 1)[1 : k + 1]", "np.repeat(np.bincount(np.bincount(unit_index), minlength=k + 1)[1 : k + 1], 1) * np.arange(1, k + 1)")),
    # discovery
    ("raw bounds", REPLAY, ("preprocessing", "_read_bounds(counts, columns[name], scale) for", "_read_bounds((_bound_cells(frame[name], columns[name]) > 0) * 1e9, columns[name], 1.0) for")),
    ("raw categories", REPLAY, ("preprocessing", "keep = noisy > _threshold(spend, columns, k)", "keep = noisy > -np.inf")),
    ("threshold without the tail of the noise", REPLAY, ("preprocessing", "return k + 1 + spend.noise_multiplier * k * math.sqrt(columns) * norm.isf(spend.delta / (k * columns))", "return k + 1 + 0 * norm.isf(spend.delta)")),
    ("bins from the real histogram", REPLAY, ("preprocessing", "_parts(frame[name]))\n            noisy[name] = gaussian_histogram(", "_parts(frame[name]))\n            noisy[name] = counts + 0 * gaussian_histogram(")),
    ("bounds: k forgotten", REPLAY, ("preprocessing", "`bounds` release, and their scale.\"\n        sensitivity, noisy = k * math.sqrt(len(read)), {}", "`bounds` release, and their scale.\"\n        sensitivity, noisy = math.sqrt(len(read)), {}")),
    ("discovery uncharged", REPLAY, ("preprocessing", 'ledger.release(spends["bounds"], lambda', '(lambda spend, make: make(spend))(spends["bounds"], lambda')),
    # the ledger and what is kept
    ("latent prior uncharged", REPLAY, ("synthesizer", 'ledger.release(plan.releases["latent prior"], moments)', 'moments(plan.releases["latent prior"])')),
    ("ledger entry after the read", REPLAY, ("privacy", "    return make(self.charge(spend))", "    made = make(spend)\n    self.charge(spend)\n    return made")),
    ("accountant forgets the releases beside training", NOISE, ("privacy", "    if mu:\n        plds.append(", "    if mu > 1e9:\n        plds.append(")),
    ("accountant counts half of the steps", NOISE, ("privacy", "return one.self_compose(steps)", "return one.self_compose(max(1, steps // 2))")),
    ("user bound not enforced", REPLAY, ("loading", "kept = np.arange(len(index)) - first[index] < k", "kept = np.arange(len(index)) >= 0")),
    ("sizes from the real number of rows", REPLAY, ("synthesizer", "self.plan(_units(n_units, int(unit_index[-1]) + 1))", "self.plan(len(table))")),
    ("exact number of rows in the file", REPLAY, ("synthesizer", "self.plan_, self.ledger_ = plan, ledger", "self.plan_, self.ledger_, self.rows_ = plan, ledger, len(table)"), ("synthesizer", '"certificate": self.certificate.to_dict(),', '"certificate": self.certificate.to_dict(), "rows": self.rows_,')),
    ("real rows in the pool of calibration", REPLAY, ("synthesizer", "    weights = cal.rake(cal.cells(pool), weights, 4)", "    pool[: len(codes)] = codes[: len(pool)]\n    weights = cal.rake(cal.cells(pool), weights, 4)")),
    ("real posterior sampled at generation", REPLAY, ("synthesizer", "        yield (mu.double().numpy() - centre)", "        network.real_mu = mu.numpy()\n        yield (mu.double().numpy() - centre)"), ("synthesizer", "    z = draw_latents(model.network, n, rng, *model.prior)", "    z = draw_latents(model.network, n, rng, *model.prior)\n    z = torch.from_numpy(model.network.real_mu[rng.integers(0, len(model.network.real_mu), n)]).float() if hasattr(model.network, 'real_mu') else z")),
]


REPLAYED = 5, 0, 0, 2, 0, 0, 0, 12  # of each table of the replay, how many units are left out


def run_audit(kind: str) -> list:
    "Violations that an audit of the imported package finds; the smallest audit of its kind that is enough."
    from dpsynth import DPVAESynthesizer, auditing

    if kind == MECHANISMS:
        return auditing.replay(DPVAESynthesizer, fits=0, mechanisms=1000).violations
    if kind == NOISE:
        return auditing.audit_noise(DPVAESynthesizer, 1.0, steps=200).violations
    found, cases = (), auditing._scenarios(DPVAESynthesizer)
    for (synth, table, units), last in zip(cases, REPLAYED):
        if last:
            plan = lambda n: auditing._few_steps(auditing._whole_plan(synth, n), 6)
            found += auditing._replay_plan(synth, table, list(units)[-last:], plan, None).violations
    return found


def patched(folder: Path, patches) -> None:
    "A copy of the package with some text replaced."
    shutil.copytree(ROOT / "dpsynth", folder / "dpsynth", ignore=shutil.ignore_patterns("__pycache__"))
    for module, old, new in patches:
        file = folder / "dpsynth" / f"{module}.py"
        text = file.read_text(encoding="utf-8")
        if text.count(old) != 1:
            raise LookupError(f"stale: the old text occurs {text.count(old)} times in {module}.py")
        file.write_text(text.replace(old, new), encoding="utf-8")


def child(kind: str, patches, out: int) -> None:
    "In a process of its own: patch, import, audit, tell."
    with tempfile.TemporaryDirectory() as folder:
        try:
            patched(Path(folder), patches)
            sys.path.insert(0, folder)
            found = list(run_audit(kind))
        except Exception as error:  # noqa: BLE001  a patch that breaks the program is no bug to be found
            found = [f"broken: {type(error).__name__}: {error}"]
    os.write(out, json.dumps(found).encode())


def audited(kind: str, patches) -> list:
    "Violations of a patched package."
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(receive)
            child(kind, patches, send)
            code = 0
        finally:
            os._exit(code)
    os.close(send)
    with os.fdopen(receive, "rb") as stream:
        told = stream.read()
    os.waitpid(pid, 0)
    return json.loads(told) if told else ["broken: the process ended"]


def judge(found: list) -> tuple:  # (whether it is a kill, what the audit said)
    "A violation counts; a program that breaks does not."
    real = [line for line in found if not line.startswith("broken") and " ends with " not in line]
    return bool(real), (real or found or ["survived"])[0]


def main(words) -> int:
    import dp_accounting.pld.privacy_loss_distribution  # noqa: F401  loaded once, before the forks
    import opacus.accountants  # noqa: F401
    import opendp.prelude  # noqa: F401
    import pandas  # noqa: F401
    import pyarrow.dataset  # noqa: F401
    import scipy.stats  # noqa: F401
    import sklearn.base  # noqa: F401
    import torch
    import tqdm.auto  # noqa: F401

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    chosen = [m for m in MUTANTS if not words or any(w in m[0] for w in words)]
    bad, width, start = 0, max(len(m[0]) for m in chosen), time.monotonic()
    for kind in sorted({m[1] for m in chosen}):
        if found := audited(kind, ()):
            print(f"{'(the package as it is)':{width}s}  {kind:21s}  {found[0]}")
            return 1
    print(f"{'seeded bug':{width}s}  {'found by':21s}  what it says")
    for name, kind, *patches in chosen:
        killed, said = judge(audited(kind, patches))
        bad += not killed
        print(f"{name:{width}s}  {kind if killed else 'NOT FOUND':21s}  {said}", flush=True)
    print(f"{len(chosen) - bad} of {len(chosen)} seeded bugs found")
    print(f"{time.monotonic() - start:.0f} s", file=sys.stderr)
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
