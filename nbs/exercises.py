"""The exercises at the end of the story's chapters: for each a check and a solution, which nobody sees by accident.

`judge("10.1", answer)` says whether an answer is right, `show_solution("10.1")` shows one, folded.
nbs/tests/22_book.ipynb holds each solution to its check, and no answer, and wrong ones.
"""

import inspect
import re
from html import escape
from textwrap import dedent

import numpy as np
import pandas as pd


def judge(name: str, answer=None) -> str:  # such as '10.1'
    "What a reader is told of an answer."
    if answer is None:
        return "no answer yet"
    try:
        right = globals()[f"check_{name.replace('.', '_')}"](answer)
    except Exception as error:  # the answer's: a name that is not there, arrays that do not fit
        return f"not yet: {type(error).__name__}: {error}"
    return "right" if right else "not yet"


class Solution(str):
    "Source that a page folds."

    def _repr_html_(self) -> str:
        return f"<details><summary>A solution</summary>\n<pre><code>{escape(self)}</code></pre>\n</details>"

    def __repr__(self) -> str:
        return str(self)


def show_solution(name: str) -> Solution:
    "A solution as it could be typed in: a function, or a line `answer = ...`."
    head, *body = inspect.getsource(globals()[f"solve_{name.replace('.', '_')}"]).splitlines(keepends=True)
    if "()" in head:
        return Solution(dedent("".join(body)).replace("return ", "answer = "))
    return Solution(re.sub(r"solve_\w+", "answer", head) + "".join(body))


def close(answer, truth: float) -> bool:
    return abs(float(answer) - truth) <= 0.01 * abs(truth)


# 10 Loading


def solve_10_1():
    # all five may be of one type: that count moves by 5. Spread out, they would move the vector by √5 only
    return 5


def check_10_1(answer):
    return close(answer, 5)


def solve_10_2(users, k, rng):
    order = rng.permutation(len(users))  # in a random order, each user's first k rows are a fair choice
    return order[pd.Series(users[order]).groupby(users[order]).cumcount() < k]


def check_10_2(answer):
    users, rng = np.repeat(np.arange(3_000), 3), np.random.default_rng(0)
    kept = np.asarray(answer(users, 2, rng))
    rows = np.bincount(kept % 3, minlength=3)  # of each place; 2,000 ± 26
    few = np.asarray(answer(np.array([4, 7, 4]), 5, rng))
    return (
        (np.bincount(users[kept], minlength=3_000) == 2).all()
        and len(set(kept)) == len(kept)
        and (abs(rows - 2_000) < 5.5 * 26).all()
        and sorted(few) == [0, 1, 2]
    )


# 20 EDA


def solve_20_1():
    # 95 % of a normal distribution lies within 1.96 standard deviations
    return 1.96 * 30


def check_20_1(answer):
    return close(answer, 58.8)


def solve_20_2(cells, bars):
    return [sum(cell == bar for cell in cells) for bar in bars]


def check_20_2(answer):
    bars = ["open", "save", "error"]
    one, less = ["save", "open", "save", "crash"], ["open", "save", "crash"]
    return [*answer(one, bars)] == [1, 2, 0] and [*answer(less, bars)] == [1, 1, 0] and [*answer([], bars)] == [0, 0, 0]


# 30 Preprocessing


def solve_30_1():
    # ten people have 29,000 together, the nine others 18,000
    return 10 * 2_900 - 9 * 2_000


def check_30_1(answer):
    return close(answer, 11_000)


def solve_30_2(codes, rng):
    return 10 * codes + 10 * rng.random(len(codes))


def check_30_2(answer):
    codes = np.repeat(np.arange(8), 2_000)
    values = np.asarray(answer(codes, np.random.default_rng(0)))
    inside = values - 10 * codes  # uniform in [0, 10): mean 5 ± .023, variance 8.33
    return (values // 10 == codes).all() and abs(inside.mean() - 5) < 0.13 and abs(inside.var() - 8.33) < 0.4


# 40 VAE


def solve_40_1(mu, logvar):
    return (np.exp(logvar) + mu**2 - 1 - logvar).sum(axis=1) / 2


def check_40_1(answer):
    import torch
    from torch.distributions import Normal, kl_divergence

    mu, logvar = np.random.default_rng(0).normal(size=(2, 6, 3))
    q = Normal(torch.tensor(mu), torch.tensor(logvar).mul(0.5).exp())
    truth = kl_divergence(q, Normal(0.0, 1.0)).sum(1).numpy()
    return np.shape(answer(mu, logvar)) == (6,) and np.allclose(answer(mu, logvar), truth)


def solve_40_2():
    # with 4: mean 2, standard deviation √2, so 1 becomes -1/√2. Without 4: both rows are the mean, and become 0
    return 1 / np.sqrt(2)


def check_40_2(answer):
    rows = np.array([1.0, 1.0, 4.0])
    return close(answer, abs((rows[0] - rows.mean()) / rows.std()))


# 50 DP training


def solve_50_1(gradients, C):
    norms = np.linalg.norm(gradients, axis=1, keepdims=True)
    return (gradients * np.minimum(1, C / np.maximum(norms, 1e-12))).sum(axis=0)


def check_50_1(answer):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(8, 3)) * 10.0 ** rng.integers(-2, 3, (8, 1))
    rows[0] = 0  # a row that asks for nothing
    truth = sum(r if np.sqrt(r @ r) <= 2 else 2 * r / np.sqrt(r @ r) for r in rows)
    return np.allclose(answer(rows, 2.0), truth)


def solve_50_2():
    # the noise of the sum is σC; the mean divides by the 500 that are expected
    return 1.1 * 1.0 / 500


def check_50_2(answer):
    return close(answer, 0.0022)


# 60 Evaluation


def solve_60_1():
    # the differences are .1, .1 and 0; half of their sum
    return (abs(0.5 - 0.4) + abs(0.3 - 0.4) + abs(0.2 - 0.2)) / 2


def check_60_1(answer):
    return close(answer, 0.1)


def solve_60_2(real, synthetic):
    share = lambda cells, name: sum(c == name for c in cells) / len(cells)
    return sum(abs(share(real, name) - share(synthetic, name)) for name in {*real, *synthetic}) / 2


def check_60_2(answer):
    same, apart = answer([*"aab"], [*"aabaab"]), answer([*"aa"], [*"bc"])
    return abs(same) < 1e-9 and abs(apart - 1) < 1e-9 and abs(answer([*"aaab"], [*"aabc"]) - 0.25) < 1e-9
