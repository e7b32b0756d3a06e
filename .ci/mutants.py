"""The gate of seeded bugs: each is put into a copy of the package, and an audit must find it.

python .ci/mutants.py            all of them, as a table; exit code 1 unless every one is found
python .ci/mutants.py WORD...    those whose name contains one of the words

A patch whose old text does not occur exactly once is stale, and the gate fails.
"""
import contextlib
import importlib
import io
import json
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent

REPLAY, FILES, MECHANISMS, NOISE, LEDGER = "replay of fits", "replay of files", "replay of mechanisms", "component audit", "ledger audit"
HISTORIES = "replay of histories"


class Chapter(NamedTuple):
    "A chapter's test: the code cells that are run on the patched package."
    notebook: str
    cells: tuple

    def __str__(self):
        return f"chapter {self.notebook}"


GENERATOR, FORKED, GRID = (Chapter("02_noise", c) for c in (("nois03", "sg02"), ("nois03", "sg04"), ("nois03", "c042",)))
WINDOWS = Chapter("32_histories", ("h32004", "hi01", "hi06", "h32017"))
BEGIN = Chapter("32_histories", ("h32004", "hi01", "hi06", "hi25", "lb02"))
LATE = Chapter("43_history_model", ("h43004", "lb12"))
RULES = Chapter("34_order_rules", ("r34004", "r34006", "r34025", "r34117", "r34045"))
RULED_USERS = Chapter("55_history_fit", ("h55004i", "h55004", "hp01", "hp06", "hp08", "h55009", "hp18", "h55013", "or55b"))
RULED = Chapter("43_history_model", ("h43004", "h43031", "hm02", "hm13", "hm15", "h43032", "h43046", "or43d", "or43f"))
EMPTY = Chapter("32_histories", ("h32004", "hi01", "hi06", "h32016", "tt321"))
NO_ROWS = Chapter("43_history_model", ("h43004", "h43031", "hm02", "h43009", "hm13", "hm15", "h43032", "h43034", "h43036", "tt431"))
USUAL = Chapter("43_history_model", ("h43004", "tt436"))
MASKS = Chapter("51_dp_training", ("dp_t03", "c056", "cl02"))
CERTIFICATE = Chapter("71_certificate", ("cert03", "ct06", "ce07"))
SHOWN = Chapter("71_certificate", ("cert03", "ct06", "ce07", "tw03"))
REGISTRY = Chapter("76_registry", ("rg05", "rg10", "rg19"))
CARD = Chapter("76_registry", ("rg05", "rg10", "rg48", "rg55"))
HAZARD = Chapter("68_hazards", ("hz05", "hz13", "hz29", "hz34"))
BUDGET = Chapter("15_table_budget", ("tb04", "tb07", "tb09a", "tb11", "tb13a", "tb15", "tb17a", "tb18a", "tb20a", "tb22", "tb23", "tb28a", "tb27a", "tb29a", "tb31a", "tb31c", "tb34", "tb36", "tb37", "tb41"))
MEASURED = Chapter("56_answers", ("an6704", "an6706", "an6710", "an6713", "an6716", "an6719", "an6722", "an6724", "an6726", "an6728"))
MODELLED = Chapter("57_modelled_answers", ("an6804", "an6806", "an6809", "an6813", "mo09", "mo12", "an6817", "mo15", "mo18", "mo19", "mo22", "mo25", "mo28", "mo29", "mo32", "mo35", "an6825"))
QUESTIONS = Chapter("58_questions", ("qu6904", "qu6906", "qu6909", "qu6912", "qu6915", "qu6918", "qu6921", "qu6924", "qu6928", "qu6930", "qu6931", "qu6933", "qu6935"))
FILE_COUNTS = Chapter("72_model_file", ("mf00i", "mf00", "mf02", "mt01"))
DRAWN = "noise = standard_normals(self.rng, len(total), self.device)"
MUTANTS = [  # name, audit that must find it, patches: (module, old text, new text)
    # noise
    ("noise of training × 0.9", NOISE, ("dp_training", "scale = p.noise_multiplier * p.max_grad_norm\n    return", "scale = 0.9 * p.noise_multiplier * p.max_grad_norm\n    return")),
    ("noise of histograms × 0.9", NOISE, ("noise", "discrete_gaussian(math.ldexp(scale, m), counts.size", "discrete_gaussian(0.9 * math.ldexp(scale, m), counts.size")),
    ("noise seeded", NOISE, ("noise", "AESCounter(key=secrets.randbits(128))", "AESCounter(key=2024)")),
    ("noise from the user's seed", NOISE, ("synthesizer", "self.insecure_test_rng or secure_generator()", "self.insecure_test_rng or np.random.default_rng(self.seed)")),
    ("the same noise in every step", NOISE, ("dp_training", DRAWN, DRAWN + "\n    noise = self.kept = getattr(self, 'kept', noise)")),
    ("no noise on every other weight", NOISE, ("dp_training", DRAWN, DRAWN + "\n    noise[::2] = 0")),
    ("uniform noise of the same variance", NOISE, ("dp_training", DRAWN, DRAWN + "\n    noise = (torch.from_numpy(self.rng.random(len(total), dtype=np.float32)) - 0.5) * 12**0.5")),
    # sampling and steps
    ("q × 2", NOISE, ("dp_training", "poisson_batches(p.units, p.sampling_rate, len(block)", "poisson_batches(p.units, min(1.0, 2 * p.sampling_rate), len(block)")),
    ("T + 1", NOISE, ("ledger", "yield range(spend.steps)", "yield range(spend.steps + 1)")),
    ("half of the steps charged", REPLAY, ("ledger", "        self.charge(spend)\n        yield range(spend.steps)", "        self.charge(replace(spend, steps=max(1, spend.steps // 2)))\n        yield range(spend.steps)")),
    ("batches of a fixed size", NOISE, ("dp_training", "size = int(rng.binomial(units, sampling_rate))", "size = round(units * sampling_rate)")),
    ("shuffled, not Poisson", NOISE, ("dp_training", "        size = int(rng.binomial(units, sampling_rate))\n        yield rng.choice(units, size=size, replace=False, shuffle=False) if size else np.empty(0, np.int64)", "        if not _ % round(1 / sampling_rate):\n            parts = np.array_split(rng.permutation(units), round(1 / sampling_rate))\n        yield parts[_ % round(1 / sampling_rate)]")),
    ("sampled by row, not by user", REPLAY, ("dp_training", "data[torch.from_numpy(rows_of_units(drawn, starts))]", "data[torch.from_numpy(np.flatnonzero(self.rng.random(len(data)) < p.sampling_rate))]")),
    ("empty batch skipped", REPLAY, ("dp_training", "self.step(step, data[torch.from_numpy(rows_of_units(drawn, starts))])", "rows = rows_of_units(drawn, starts)\n                if len(rows):\n                    self.step(step, data[torch.from_numpy(rows)])")),
    ("early stopping on the real loss", REPLAY, ("dp_training", "                if progress:\n                    progress(step + 1)", "                loss = float(self.model(data, torch.zeros(len(data), self.model.config.latent))[0].detach().mean())\n                self.best, worse = min(loss, getattr(self, 'best', loss)), loss > getattr(self, 'best', loss)\n                if worse:\n                    break\n                if progress:\n                    progress(step + 1)")),
    ("divided by the drawn batch", REPLAY, ("dp_training", ".div_(p.expected_batch)", ".div_(max(len(codes), 1))")),
    # clipping
    ("clip × 2", REPLAY, ("dp_training", "p.max_grad_norm / p.rows_per_unit", "2 * p.max_grad_norm / p.rows_per_unit")),
    ("every row of a user gets the whole C", REPLAY, ("dp_training", "p.max_grad_norm / p.rows_per_unit", "p.max_grad_norm")),
    ("clip skipped for one layer", MECHANISMS, ("dp_training", "for t, g in zip(taps, grads)).sqrt()", "for t, g in list(zip(taps, grads))[:-1]).sqrt()")),
    ("one column in the norm of the embedding", MECHANISMS, ("layers", "squared_lengths(g) * (self.centre.lengths[index].sum(1) + 1)", "squared_lengths(g) * 2")),
    ("autoregressive map half in the norm", MECHANISMS, ("layers", "return self.gain**2 * ((g.square()", "return self.gain * ((g.square()")),
    ("scales of the prior left out of the norm", MECHANISMS, ("tabular_vae", "(of_means.square() + of_scales.square()).sum(0)", "of_means.square().sum(0)")),
    ("weights of the prior left out of the norm", MECHANISMS, ("tabular_vae", "(share.square() * pull + self.rows[3].square()).sum(0)", "(share.square() * pull).sum(0)")),
    ("centre left out of the norm", MECHANISMS, ("layers", "self.lengths.copy_((1 - p).square() +", "self.lengths.copy_((1 - p).square().clamp_max(0.01) + 0 *")),
    ("centre from the batch", MECHANISMS, ("layers", "        out = self.gain * F.embedding_bag(index, self.weight, mode=\"sum\") - self.constant()", "        bag = F.embedding_bag(index, self.weight, mode=\"sum\")\n        out = self.gain * (bag - bag.mean(0))")),
    ("centre from the real shares", REPLAY, ("sampling", "    network.set_marginals([field_marginal(noisy, j, sizes) for j in order])\n", "    network.set_marginals([field_marginal(noisy, j, sizes) for j in order])\n    network.centre.set_shares(torch.from_numpy(np.concatenate([np.bincount(codes[:, j], minlength=sizes[j]) / len(codes) for j in order])))\n")),
    ("blocks shrunk by the real number of rows", REPLAY, ("sampling", "shrink_map(network, training, rows)", "shrink_map(network, training, len(codes))")),
    ("loss reduced with mean", MECHANISMS, ("dp_training", "torch.autograd.grad(loss.sum(),", "torch.autograd.grad(loss.mean(),")),
    ("BatchNorm put back", MECHANISMS, ("tabular_vae", "        h = pre.relu()\n        out = self.posterior(h)", "        h = torch.nn.functional.batch_norm(pre, None, None, training=len(pre) > 1).relu() if len(pre) > 1 else pre.relu()\n        out = self.posterior(h)")),
    ("non-finite gradients kept", MECHANISMS, ("dp_training", "if not usable.all():", "if False:")),
    # histories
    ("window chosen by its content", WINDOWS, ("histories", "    skipped = np.floor(rng.random(len(totals)) * (totals - kept + 1)).astype(np.int64) * ordered\n", "    skipped = (totals - kept) * ordered\n")),
    ("a window's first day taken for the user's", BEGIN, ("histories", "row_times(coder, bounded.begins.iloc[index])[0], -1)", "day[first], -1)")),
    ("long users cut below their cell", LATE, ("history_model", "first_late >= np.minimum(np.maximum(least, 1), h.counts)", "first_late >= np.minimum(1, h.counts)")),
    ("k + 1 rows of a history kept", HISTORIES, ("histories", "    kept = np.minimum(totals, k)\n    skipped", "    kept = np.minimum(totals, k + 1)\n    skipped")),
    ("rows of a user clipped as if alone", MECHANISMS, ("history_model", "        return pair_sum(inner_products(g), self.gain**2 * inner_products(a) + 1)", "        return (g.square().sum(2) * (self.gain**2 * a.square().sum(2) + 1)).sum(1)")),
    ("first row of a user left out of the norm", MECHANISMS, ("history_model", "        return pair_sum(inner_products(g), self.gain**2 * inner_products(a) + 1)", "        return pair_sum(inner_products(g[:, 1:]), self.gain**2 * inner_products(a[:, 1:]) + 1)")),
    ("gain of the map within a row left out of the norm", MECHANISMS, ("history_model", "        return self.gain**2 * out + torch.zeros(len(a))", "        return out + torch.zeros(len(a))")),
    ("echoes left out of the norm", MECHANISMS, ("history_model", "return self._unit_gradients(a, g).square().sum((1, 2))", "return 0 * self._unit_gradients(a, g).square().sum((1, 2))")),
    ("bias of a unit left out of the norm", MECHANISMS, ("history_model", "        return g.square().sum(1)\n", "        return 0 * g.square().sum(1)\n")),
    ("rows weighed by the batch", MECHANISMS, ("history_model", "losses.sum(1) / b.counts.clamp(min=1).sqrt(), taps", "losses.sum(1) / b.counts.float().mean().clamp(min=1).sqrt(), taps")),
    ("one-hots of rows centred by the batch", MECHANISMS, ("history_model", "    return hot - network.row_shares * applies", "    return hot - hot.flatten(0, -2).mean(0) * applies")),
    ("a user's total in a table is the number of rows", MECHANISMS, ("history_tables", "sp.csr_matrix((1.0 / counts[owner], (owner, cells)), (users, size))", "sp.csr_matrix((1.0 / np.minimum(counts, 1)[owner], (owner, cells)), (users, size))"), ("history_tables", "t.sum(1).max() <= 1 + 1e-9)", "True)")),
    ("weights of tables longer than 1", MECHANISMS, ("history_tables", "    return a / np.linalg.norm(a)", "    return a / np.linalg.norm(a) * 1.1")),
    ("tables of users uncharged", HISTORIES, ("history_fit", 'ledger.release(plan.releases["history tables"], lambda', '(lambda spend, make: make(spend))(plan.releases["history tables"], lambda'), ("synthesizer", "    if missing := [n for n in needed", "    if False and [n for n in needed")),
    ("all rows of a user counted as one", HISTORIES, ("synthesizer", "(one_row_each(table, rng, per_unit), 1) if synth.learns_histories", "(table.frame, 1) if synth.learns_histories")),
    ("weights by the real number of users", HISTORIES, ("history_fit", "    released = ReleasedTables(totals, scales, plan.units)", "    released = ReleasedTables(totals, scales, len(histories))")),
    ("shares of rows from the table", HISTORIES, ("history_fit", '    set_history_marginals(network, shares("unit", coder.unit_sizes), shares("row", coder.row_sizes))', '    set_history_marginals(network, [np.bincount(c, minlength=s) / len(c) for c, s in zip(histories.units.T, coder.unit_sizes)], shares("row", coder.row_sizes))')),
    # order rules
    ("order rules forgotten in the last row", RULES, ("order_rules", "    out = (rules.once & seen) | (room < left[:, None])\n", "    out = (rules.once & seen) | (room < left[:, None])\n    if not left.any():\n        return out & False\n")),
    ("a row after the last", RULES, ("order_rules", "(room < left[:, None])", "(room + 1 < left[:, None])")),
    ("before is met by any row", RULES, ("order_rules", "out[:, b] |= ~seen[:, a]", "out[:, b] |= ~seen.any(1)")),
    ("values sorted across users", RULES, ("order_rules", "np.lexsort((place[rows], owner[rows]))", "np.argsort(place[rows], kind='stable')")),
    ("once forgets all rows but the one before", RULED, ("history_model", "seen = drawing.count[:, drawing", "seen = drawing.before[:, drawing")),
    ("a least gap holds for cells, not for instants", RULED, ("history_model", "day[early], second[early] = move_clocks(drawing, who[early], codes[early])", "break"), ("history_model", "np.divmod(np.maximum(day * DAY + second, earliest), DAY)", "day, second")),
    ("a weight brings back users who break rules", RULED_USERS, ("history_fit", "take_units(pool, np.flatnonzero(inside)), inside[inside]", "pool, inside")),
    ("the sampler is not told the order rules", RULED_USERS, ("history_fit", "model.rules)\n", "None)\n")),
    ("users who are stuck are kept", RULED, ("history_model", "    return drawn, in_time & ~drawing.stuck", "    return drawn, in_time")),
    ("users at the seam of two pieces counted twice", RULED_USERS, ("history_fit", "last = min(first + at_once, len(histories))", "last = min(first + at_once + 1, len(histories))")),
    # two tables
    ("units joined with rows by place, not by key", HISTORIES, ("two_tables", "    owner = pd.Index(units[unit]).get_indexer(rows[unit])\n", "    owner = pd.factorize(rows[unit])[0][::-1]\n")),
    ("number of users without rows released as it is", HISTORIES, ("history_fit", "    return released.totals, released.scales", '    name = f"unit {len(coder.unit_fields)}"\n    released.totals[name][0] = float((histories.counts == 0).sum()) if coder.exact > coder.k else released.totals[name][0]\n    return released.totals, released.scales')),
    ("a user with one entry in a table counts twice", MECHANISMS, ("history_tables", "(1.0 / counts[owner], (owner, cells))", "((1.0 + (counts[owner] == 1)) / counts[owner], (owner, cells))"), ("history_tables", "t.sum(1).max() <= 1 + 1e-9)", "True)")),
    ("the line of a user without rows taken for a row", EMPTY, ("histories", "    rows_of = np.bincount(index, there[rows], len(totals)).astype(np.int64)\n", "    rows_of = totals\n")),
    ("usual norm of rows from the real ones", HISTORIES, ("history_fit", "network.unit_bias.absent = usual_row_norm(network, np.random.default_rng(seed))", "network.unit_bias.absent = 1e9 * (len(histories.rows) % 2)")),
    ("users without rows clipped by their codes alone", USUAL, ("history_model", "super().squared_norms(a, g) + self.absent *", "super().squared_norms(a, g) + 0 * self.absent *")),
    ("users without rows have no gradient", NO_ROWS, ("history_model", "losses.sum(1) / b.counts.clamp(min=1).sqrt(), taps", "losses.sum(1) / b.counts.sqrt(), taps")),
    # releases
    ("marginals: no shares, each table as if alone", MECHANISMS, ("calibration", "spend.noise_multiplier * k * np.linalg.norm(a) / a", "spend.noise_multiplier * k * np.ones(len(a))")),
    ("marginals: k forgotten", MECHANISMS, ("calibration", "spend.noise_multiplier * k * np.linalg.norm(a) / a", "spend.noise_multiplier * np.linalg.norm(a) / a")),
    ("marginals: real counts returned", MECHANISMS, ("calibration", "        tables[c] = gaussian_histogram(", "        tables[c] = counts + 0 * gaussian_histogram(")),
    ("latent prior: moments not clipped", MECHANISMS, ("calibration", "    each *= np.minimum(1, bound /", "    each *= np.minimum(1e9, 1 + 0 * bound /")),
    ("latent prior: not a number kept", MECHANISMS, ("calibration", "    each[~np.isfinite(each).all(1)] = 0\n", "")),
    ("latent prior: divided by the real count", MECHANISMS, ("calibration", "spend.noise_multiplier, k * bound, rng) / rows", "spend.noise_multiplier, k * bound, rng) / len(mu)")),
    ("selection: scaled by the real count", MECHANISMS, ("calibration", "np.abs(real - rows * model)", "np.abs(real - len(codes) * model)")),
    ("selection: as if for one pair", MECHANISMS, ("calibration", "k * math.sqrt(len(scores)), rng)", "k, rng)")),
    ("rows of users: real counts returned", REPLAY, ("calibration", "noisy = gaussian_histogram(counts, spend.noise_multiplier, 1.0, rng)\n    return project", "noisy = counts + 0 * gaussian_histogram(counts, spend.noise_multiplier, 1.0, rng)\n    return project")),
    ("rows of users: uncharged", REPLAY, ("synthesizer", 'release("rows per unit", lambda spend: measure_rows_per_unit(unit_index, k, spend, rng))', 'measure_rows_per_unit(unit_index, k, plan.releases["rows per unit"], rng)'), ("synthesizer", "    if missing := [n for n in needed", "    if False and [n for n in needed")),
    ("rows of users: a sensitivity of 1 for all of their rows", REPLAY, ("calibration", "np.bincount(np.bincount(unit_index), minlength=k + 1)[1 : k + 1]", "np.repeat(np.bincount(np.bincount(unit_index), minlength=k + 1)[1 : k + 1], 1) * np.arange(1, k + 1)")),
    # discovery
    ("raw bounds", REPLAY, ("preprocessing", "read_bounds(counts, columns[name], scale) for", "read_bounds([(c > 0) * 1e9 for c in count_bound_cells(frame[name], columns[name])], columns[name], 1.0) for")),
    ("raw categories", REPLAY, ("discovery", "keep = noisy > value_threshold(spend, columns, k)", "keep = noisy > -np.inf")),
    ("threshold without the tail of the noise", REPLAY, ("discovery", "return k + 1 + spend.noise_multiplier * k * math.sqrt(columns) * -ndtri(spend.delta / (k * columns))", "return k + 1 + 0 * ndtri(spend.delta)")),
    ("bins from the real histogram", REPLAY, ("preprocessing", "column_pieces(frame[name]))\n        released = gaussian_histogram(", "column_pieces(frame[name]))\n        released = counts + 0 * gaussian_histogram(")),
    ("bounds: k forgotten", REPLAY, ("preprocessing", "sensitivity, noisy = k * math.sqrt(sum(len(bound_levels", "sensitivity, noisy = math.sqrt(sum(len(bound_levels")),
    ("discovery uncharged", REPLAY, ("preprocessing", 'ledger.release(spends["bounds"], lambda', '(lambda spend, make: make(spend))(spends["bounds"], lambda')),
    # the ledger and what is kept
    ("latent prior uncharged", REPLAY, ("sampling", 'ledger.release(plan.releases["latent prior"], moments)', 'moments(plan.releases["latent prior"])')),
    ("ledger entry after the read", REPLAY, ("ledger", "    return make(self.charge(spend))", "    made = make(spend)\n    self.charge(spend)\n    return made")),
    ("accountant forgets the releases beside training", NOISE, ("privacy", "    if mu:\n        plds.append(", "    if mu > 1e9:\n        plds.append(")),
    ("accountant counts half of the steps", NOISE, ("privacy", "return one.self_compose(steps)", "return one.self_compose(max(1, steps // 2))")),
    ("user bound not enforced", REPLAY, ("loading", "kept = np.arange(len(index)) - first[index] < k", "kept = np.arange(len(index)) >= 0")),
    ("sizes from the real number of rows", REPLAY, ("synthesizer", "asked.plan(public_units(n_units, int(unit_index[-1]) + 1))", "asked.plan(len(table))")),
    ("exact number of rows in the file", REPLAY, ("synthesizer", "vars(self).update(learned,", "vars(self).update(learned, rows_=len(table),"), ("synthesizer", '"certificate": self.certificate.to_dict(),', '"certificate": self.certificate.to_dict(), "rows": self.rows_,')),
    ("real rows in the pool of calibration", REPLAY, ("sampling", "    weights = cal.rake(cal.cells(pool), weights, 4)", "    pool[: len(codes)] = codes[: len(pool)]\n    weights = cal.rake(cal.cells(pool), weights, 4)")),
    ("real posterior sampled at generation", REPLAY, ("sampling", "        yield (mu.double().numpy() - centre)", "        network.real_mu = mu.numpy()\n        yield (mu.double().numpy() - centre)"), ("sampling", "    z = draw_latents(model.network, n, rng, *model.prior)", "    z = draw_latents(model.network, n, rng, *model.prior)\n    z = torch.from_numpy(model.network.real_mu[rng.integers(0, len(model.network.real_mu), n)]).float() if hasattr(model.network, 'real_mu') else z")),
    # noise that is there, but not what it should be
    ("noise repeats in the second half of a fit", NOISE, ("dp_training", DRAWN, DRAWN + "\n    self.drawn = [*getattr(self, 'drawn', ()), noise]\n    noise = self.drawn[max(len(self.drawn) - 1 - p.steps // 2, -1)] if len(self.drawn) > p.steps // 2 else noise")),
    ("noise × .01 on one weight", NOISE, ("dp_training", DRAWN, DRAWN + "\n    noise[5] *= 0.01")),
    ("half of the weights have the noise of the others", NOISE, ("dp_training", DRAWN, DRAWN + "\n    noise[len(noise) // 2 :] = noise[: len(noise) - len(noise) // 2].clone()")),
    ("latent prior: k forgotten in σ", MECHANISMS, ("calibration", "spend.noise_multiplier, k * bound, rng) / rows", "spend.noise_multiplier, bound, rng) / rows")),
    ("bins: k forgotten in σ", MECHANISMS, ("preprocessing", "sensitivity, noisy = k * math.sqrt(len(read)), {}", "sensitivity, noisy = math.sqrt(len(read)), {}")),
    ("whole numbers as noise, charged as if they were not", GRID, ("noise", "    m = grid_bits(scale)\n    whole", "    m = 0\n    whole")),
    ("a seed for SecureGenerator", GENERATOR, ("noise", "        if args or kwargs:\n", "        if False:\n")),
    ("a forked generator repeats its parent", FORKED, ("noise", "os.register_at_fork(after_in_child=_new_keys_in_child)", "")),
    ("no noise where a layer has a mask", MASKS, ("dp_training", "if type(m) is CausalMap}", "if hasattr(m, 'mask')}")),
    # sizes, clipping, layers
    ("clipping skipped after the first part of a batch", MECHANISMS, ("dp_training", "clipped_sum_at_once(model, x, e, max_grad_norm) for x, e in zip(codes.split(rows), noise.split(rows))", "clipped_sum_at_once(model, x, e, 1e9 if i else max_grad_norm) for i, (x, e) in enumerate(zip(codes.split(rows), noise.split(rows)))")),
    ("a layer centred by its batch", MECHANISMS, ("tabular_vae", "        h = pre.relu()\n        out = self.posterior(h)", "        h = pre.relu()\n        h = h - h.mean(0) if len(h) else h\n        out = self.posterior(h)")),
    ("pool sized by the real number of rows", REPLAY, ("sampling", "size = int(np.clip(8 * plan.units,", "size = int(np.clip(8 * len(codes),")),
    ("prior started at real latents", REPLAY, ("sampling", "    own_mean, own_covariance = prior_moments(network)\n", "    own_mean, own_covariance = prior_moments(network)\n    own_mean = network.encode(torch.from_numpy(np.ascontiguousarray(ordered[:])))[0].detach().double().numpy().mean(0)\n")),
    ("values uncharged", REPLAY, ("preprocessing", 'ledger.release(spends["values"], lambda', '(lambda spend, make: make(spend))(spends["values"], lambda'), ("synthesizer", "    if missing := [n for n in needed", "    if False and [n for n in needed")),
    ("bins uncharged", REPLAY, ("preprocessing", 'ledger.release(spends["histogram"], lambda', '(lambda spend, make: make(spend))(spends["histogram"], lambda'), ("synthesizer", "    if missing := [n for n in needed", "    if False and [n for n in needed")),
    ("first counts uncharged", REPLAY, ("synthesizer", "make: ledger.release(plan.releases[name], make)\n", "make: make(plan.releases[name]) if name == '1-way marginals' else ledger.release(plan.releases[name], make)\n"), ("synthesizer", "    if missing := [n for n in needed", "    if False and [n for n in needed")),
    ("pair choice uncharged", REPLAY, ("synthesizer", "make: ledger.release(plan.releases[name], make)\n", "make: make(plan.releases[name]) if name.startswith('pair selection') else ledger.release(plan.releases[name], make)\n"), ("synthesizer", "    if missing := [n for n in needed", "    if False and [n for n in needed")),
    ("coverage uncharged", REPLAY, ("preprocessing", 'ledger.release(spends["coverage"], lambda spend: measure_coverage(frame, schema, columns, spend, rng, k))', 'measure_coverage(frame, schema, columns, spends["coverage"], rng, k)')),
    # the budget of a table
    ("budget not locked", BUDGET, ("ledger", "            self._held.enter_context(locked(self.path, wait))\n", "")),
    ("budget asked after the read", BUDGET, ("ledger", "    return make(self.charge(spend))", "    cover, self.cover = self.cover, None\n    made = make(self.charge(spend))\n    self.cover = cover\n    cover and cover(self._spends)\n    return made")),
    ("refused fit still recorded", BUDGET, ("table_budget", "    known = self.charges.get(key)\n    if known is None or", "    known = self.charges.get(key)\n    journal.append({\"key\": key, \"when\": \"\", \"spends\": [asdict(s) for s in spends], **said})\n    if known is None or")),
    ("δ of the budget ignored", BUDGET, ("table_budget", "    if delta > self.total.delta:", "    if False:")),
    ("unit of the budget ignored", BUDGET, ("table_budget", "if c.unit != unit]:", "if False]:")),
    ("a fit reserves nothing", BUDGET, ("table_budget", "self._enter(journal, known.spends if known else planned)", "self._enter(journal, known.spends if known else [])")),
    ("a fit that goes on is charged again", BUDGET, ("table_budget", "self.key = ledger.journal.nonce if ledger.journal else secrets.token_hex(8)", "self.key = secrets.token_hex(8)"), ("table_budget", "if known := known_charge(table, ledger.journal):", "if known := None:")),
    ("an old copy of a fit goes on", BUDGET, ("table_budget", "    if known and known.fit_line not in own.checksums:", "    if False:"), ("table_budget", "    below = own.since(known.fit_line) if known else []", "    below = []")),
    ("a budget that was put back is believed", BUDGET, ("table_budget", "        if journal.checksums[: len(table.checksums)] != table.checksums:", "        if False:")),
    ("a broken fit forgets what it read", BUDGET, ("table_budget", '                reservation.end("broke off")', '                ledger._spends = []\n                reservation.end("broke off")')),
    ("an overtaken fit releases", BUDGET, ("table_budget", "    if self.table.charges[self.key].fit_line != self.fit_line:", "    if False:")),
    # the ledger, its file and its certificate
    ("the ledger takes its last line off", LEDGER, ("ledger", "    (line,) = [i for i, s in enumerate(spends) if replace(s, steps=spend.steps) == spend] or [None]\n", "    line = len(spends) - 1\n"), ("ledger", "    if abs(written - total) > 1e-6 or max(written, total) > budget.epsilon + 1e-6:", "    if False:")),
    ("lost steps taken again uncharged", LEDGER, ("checkpoint", "    for block in super(Checkpoint, self).blocks(spend):\n", "    if int(state['updates']) < self._steps():\n        yield range(int(state['updates']), self._steps())\n    for block in super(Checkpoint, self).blocks(spend):\n")),
    ("blocks charged after they were taken", LEDGER, ("ledger", "        self._enter(replace(spend, steps=len(block)), continues=first > 0)\n        yield block", "        yield block\n        self._enter(replace(spend, steps=len(block)), continues=first > 0)")),
    ("additive δ not taken off", LEDGER, ("privacy", "    delta = delta - sum(s.delta for s in spends)\n    if delta <= 0:", "    if delta <= 0:")),
    ("one direction of neighbours only", LEDGER, ("privacy", "    return one.self_compose(steps)", "    return type(one)(one._pmf_add).self_compose(steps)")),
    ("a certificate's total is not added up again", CERTIFICATE, ("certificate", "    total, upper = compose_epsilon(spends, delta), rdp_epsilon(spends, delta)\n", "    total, upper = self.epsilon_spent, rdp_epsilon(spends, delta)\n"), ("certificate", "    if lower > self.epsilon + 1e-6 or any(", "    lower = min(lower, self.epsilon)\n    if any(")),
    ("the second accountant is not asked", SHOWN, ("certificate", "    pld, prv, error = two_totals(self.spends, self.delta)\n", "    pld, prv, error = compose_epsilon(self.spends, self.delta), self.epsilon_spent, 0.01\n")),
    ("a forged total is shown", SHOWN, ("certificate", "    self.check()\n    pld, prv, error", "    pld, prv, error")),
    ("the registry is told a tenth of δ", REGISTRY, ("registry", '"delta": c.delta}', '"delta": c.delta / 10}')),
    ("the registry is told what was spent, not what was promised", REGISTRY, ("registry", '{"epsilon": c.epsilon, "delta"', '{"epsilon": c.epsilon_spent, "delta"')),
    ("a forged certificate gets a card", CARD, ("registry", "    c.totals()\n    about", "    about")),
    ("a schema taken from the rows counts as public", HAZARD, ("hazards", "    if c.from_data:\n", "    if False:\n")),
    ("noise of a test counts as noise", HAZARD, ("hazards", '    if "insecure" in c.noise_source:\n', "    if False:\n")),
    # reading
    ("one time with an offset shifts all", FILES, ("cells", "    return instants.mask(aware, moved.clip(*_BETWEEN))", "    return moved.clip(*_BETWEEN)")),
    ("unsigned ids through float", FILES, ("files", 'for sign in ("", "u") for bits in', 'for sign in ("",) for bits in')),
    ("True is one with 1", FILES, ("cells", '        if pd.api.types.infer_dtype(values, skipna=True) not in ("string", "empty"):\n', "        if False:\n")),
    ("refused where no cell is a declared category", FILES, ("cells", "    if line:\n        warnings.warn(f\"column {name!r}: {line}\"", "    if line and reading.present and not reading.fits:\n        raise InputError(line)\n    if line:\n        warnings.warn(f\"column {name!r}: {line}\"")),
    ("ids compared as typed", FILES, ("loading", "    codes, texts = distinct_texts(frame[unit], missing)\n    if not (there", "    codes, texts = pd.factorize(frame[unit].astype(str))\n    texts = pd.Series(texts)\n    if not (there")),
    ("k + 1 rows kept in pieces", FILES, ("large_tables", "kept = np.arange(len(rows)) - first[index] < k", "kept = np.arange(len(rows)) - first[index] <= k")),
    # answers with error bars
    ("an interval with the noise of another table", MEASURED, ("answers", "    (counts, noise), n = found, released.rows\n", "    (counts, noise), n = (found[0], min(released.scales.values())), released.rows\n")),
    ("the noise of summed cells not added up", MEASURED, ("answers", "noise = self.scales[c] * math.sqrt(clique_size(c, self.sizes) / need)", "noise = self.scales[c]")),
    ("an interval of the population without sampling error", MEASURED, ("answers", "population * self.sampling", "0 * self.sampling")),
    ("an interval without the model part", MODELLED, ("modelled_answers", "    return Answer(value, left, spread", "    return Answer(value, 0.0, spread")),
    ("the model taken for exact along its ties", MODELLED, ("modelled_answers", "return ModelError(coarse + doubt,", "return ModelError(0.0 * coarse,")),
    ("graded measured where no table was released", QUESTIONS, ("questions", "    known = answer.grade in", "    answer = replace(answer, grade='measured')\n    known = answer.grade in")),
    ("a p-value of an indicative answer", QUESTIONS, ("questions", "    if answer.grade not in (\"measured\", \"modelled\"):\n        return math.nan\n", "")),
    ("a group that is not there is answered for", MEASURED, ("answers", "STANDS_OUT = 4.0", "STANDS_OUT = -99.0")),
    ("noise in the file beside another table", FILE_COUNTS, ("model_file", "for name in sorted(names)], np.float64)", "for name in names], np.float64)")),
    ("a draft marks nothing", FILES, ("drafts", "from_data=seen", "from_data=[]")),
]


REPLAYED = 5, 0, 0, 2, 0, 0, 0, 12, 0, 0, 1  # of each table of the replay, how many units are left out
PEOPLE = {"CSV": (0, 2), "CSV with users": (6,), "Parquet, whole numbers": (1,), "frame of objects": (3,), "TSV in pieces with users": (0,)}


def run_chapter(chapter: Chapter) -> list:
    "The assertion of a chapter's cells that fails; cells that are exported come from the package."
    nb = json.loads((ROOT / "nbs" / f"{chapter.notebook}.ipynb").read_text(encoding="utf-8"))
    module = nb["cells"][0]["source"][0].split()[-1]
    space = dict(vars(importlib.import_module(f"dpsynth.{module}")))
    source = {c["id"]: "".join(c["source"]) for c in nb["cells"] if c["cell_type"] == "code"}
    for cell in chapter.cells:
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(source[cell], cell, "exec"), space)  # noqa: S102  the project's own notebook
        except AssertionError:
            return [f"{chapter.notebook}: the test in cell {cell} fails"]
    return []


def run_audit(kind) -> list:
    "Violations that an audit of the imported package finds; the smallest audit of its kind that is enough."
    from dpsynth import file_replay, ledger_audit, noise_audit, replay_fits

    if isinstance(kind, Chapter):
        return run_chapter(kind)
    if kind == LEDGER:
        return ledger_audit.audit_ledger().violations
    if kind == FILES:
        reports = [file_replay.replay_format(name, 0, people, 0.0) for name, people in PEOPLE.items()]
        return [v for r in [*reports, file_replay.replay_drafts("CSV", 0, 6)] for v in r.violations]
    if kind == MECHANISMS:
        return replay_fits.replay(fits=0, mechanisms=1000).violations
    if kind == NOISE:
        return noise_audit.audit_noise(1.0, steps=200).violations
    found, cases = (), replay_fits.scenarios()
    replayed = [4 * synth.learns_histories for synth, _, _ in cases] if kind == HISTORIES else REPLAYED
    for (synth, table, units), last in zip(cases, replayed):
        if last:
            with replay_fits.count_every_pair():
                plan = lambda n: replay_fits.with_few_steps(synth.plan(n), 6)
                found += replay_fits.replay_plan(synth, table, list(units or dict.fromkeys(table[synth.unit]))[-last:], plan, None).violations
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


def child(kind, patches, out: int) -> None:
    "In a process of its own: patch, import, audit, tell."
    with tempfile.TemporaryDirectory() as folder:
        try:
            patched(Path(folder), patches)
            sys.path.insert(0, folder)
            found = list(run_audit(kind))
        except Exception as error:  # noqa: BLE001  a patch that breaks the program is no bug to be found
            found = [f"broken: {type(error).__name__}: {error}"]
    os.write(out, json.dumps(found).encode())


def audited(kind, patches) -> list:
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
    width, start = max(len(m[0]) for m in chosen), time.monotonic()
    for kind in dict.fromkeys(m[1] for m in chosen):
        if found := audited(kind, ()):
            print(f"{'(the package as it is)':{width}s}  {kind!s:21s}  {found[0]}")
            return 1
    killers = Counter()
    print(f"{'seeded bug':{width}s}  {'found by':21s}  what it says")
    for name, kind, *patches in chosen:
        killed, said = judge(audited(kind, patches))
        killers[str(kind) if killed else "NOT FOUND"] += 1
        print(f"{name:{width}s}  {str(kind) if killed else 'NOT FOUND':21s}  {said}", flush=True)
    bad = killers["NOT FOUND"]
    print(f"{len(chosen) - bad} of {len(chosen)} seeded bugs found:", ", ".join(f"{n} by {kind}" for kind, n in killers.items() if n))
    print(f"{time.monotonic() - start:.0f} s", file=sys.stderr)
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
