"""How many mistakes are found in random operators of one precision, and how many right ones are accused."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.one_precision_operators import torch_operator

import gradcheck_fast as gf

torch = pytest.importorskip("torch")

#: For each precision: the planted relative error, and the least share of mistakes that must be found.
PLANTED = {"float32": (0.01, 0.99), "float16": (0.03, 0.95), "bfloat16": (0.1, 0.9)}


@pytest.fixture(autouse=True)
def one_thread():
    """Runs PyTorch in one thread: for small operators more only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def with_a_mistake(operator, report, factor, seed):
    """Multiplies an entry of ordinary size, at least a tenth of its array's root mean square, by a factor."""
    rng, sizes = np.random.default_rng(seed), []
    for array in np.split(report.flat_analytic, np.cumsum([x.size for x in operator.inputs])[:-1]):
        typical = np.sqrt(np.mean(array**2))
        sizes.append(np.abs(array) / typical if typical else np.zeros(array.size))
    at = int(rng.choice(np.flatnonzero(np.concatenate(sizes) >= 0.1)))

    def wrong(*arguments):
        found, rest = [array.copy() for array in operator.vjp(*arguments)], at
        for array in found:
            if rest < array.size:
                array.flat[rest] = array.flat[rest] * factor
                break
            rest -= array.size
        return tuple(found)

    return wrong


def swept(precision, seeds):
    error, found, false_alarms, undecided = PLANTED[precision][0], 0, [], 0
    if precision == "bfloat16":
        pytest.importorskip("ml_dtypes")
    for seed in seeds:
        operator = torch_operator(precision, seed)
        report = gf.check_vjp(operator.f, operator.vjp, operator.inputs)
        if report.verdict == "FAIL":
            false_alarms.append(operator.name)
        undecided += report.verdict == "INCONCLUSIVE"
        factor = 1.0 + error * (-1) ** seed
        wrong = with_a_mistake(operator, report, factor, seed)
        found += gf.check_vjp(operator.f, wrong, operator.inputs).verdict == "FAIL"
    return found / len(seeds), false_alarms, undecided / len(seeds)


@pytest.mark.parametrize("precision", PLANTED)
def test_a_few_operators(precision):
    _, false_alarms, _ = swept(precision, range(3, 5))
    assert not false_alarms


@pytest.mark.long
@pytest.mark.parametrize("precision", PLANTED)
def test_many_operators(precision):
    share, false_alarms, undecided = swept(precision, range(60))
    assert not false_alarms
    assert share >= PLANTED[precision][1]
    assert undecided <= 0.1
