"""How many mistakes are found in random operators of one precision, and how many right ones are accused."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.one_precision_operators import PLANTED, random_operator

torch = pytest.importorskip("torch")

#: Operators whose mistakes are found; `benchmarks/one_precision.py` draws many more.
SEEDS = range(200, 212)
#: The least share of the mistakes that is to be found: of the others too little is known to decide.
FOUND = {"float32": 0.99, "float16": 0.9, "bfloat16": 0.9}


@pytest.fixture(autouse=True)
def one_thread():
    """Runs PyTorch in one thread: for small operators more only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def verdicts(precision, seed):
    """Gives the verdict on the right operator, and that on the one with a mistake; None if none can be planted."""
    if precision == "bfloat16":
        pytest.importorskip("ml_dtypes")
    operator, rng = random_operator(precision, seed), np.random.default_rng(seed)
    report = operator.check()
    at = operator.ordinary(report.flat_analytic, rng)
    if at is None or not operator.is_representative(report.flat_analytic, precision):
        return report.verdict, None
    factor = 1.0 + PLANTED[precision] * (-1) ** (seed // 3)
    return report.verdict, operator.check(at, factor).verdict


@pytest.mark.parametrize("precision", PLANTED)
def test_an_operator(precision):
    right, wrong = verdicts(precision, 5)
    assert (right, wrong) == ("PASS", "FAIL")


@pytest.mark.long
@pytest.mark.parametrize("precision", PLANTED)
def test_some_operators(precision):
    found = [verdicts(precision, seed) for seed in SEEDS]
    assert not any(right == "FAIL" for right, _ in found)
    planted = [wrong for _, wrong in found if wrong is not None]
    assert len(planted) >= len(SEEDS) / 2
    assert "PASS" not in planted
    assert planted.count("FAIL") >= FOUND[precision] * len(planted)
