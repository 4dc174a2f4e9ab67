"""Units of any program: which steps they are, and that the parameters' derivatives follow from them."""

from __future__ import annotations

import numpy as np
import pytest
from handwritten import ALL

import gradcheck_fast as gf
from gradcheck_fast.engine.entries import differences_of_entries
from gradcheck_fast.engine.units import differences_of_units
from gradcheck_fast.engine.units_plan import UnitsPlan
from gradcheck_fast.running.runner import Runner

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 2))
PARAMS = {"W": RNG.normal(size=(3, 4)), "b": RNG.normal(size=4), "V": RNG.normal(size=(4, 2))}


def hidden(p):
    return np.tanh(X @ p["W"] + p["b"])


def mean_square(p):
    return np.mean(np.sum((hidden(p) @ p["V"] - Y) ** 2, axis=1))


def penalised(p):
    return mean_square(p) + 0.1 * np.sum(p["W"] ** 2) - 0.5 * np.sum(np.abs(p["V"])) / 3.0


def with_two_sums(p):
    h = hidden(p)
    return np.sum(h @ p["V"]) + np.sum(np.cos(h)) / 7.0


def with_a_root(p):
    return np.sqrt(mean_square(p))


def with_normal_weights(p):
    """W is read by steps that are not linear in it, V is not."""
    W = p["W"] / np.sqrt(np.sum(p["W"] ** 2, axis=0))
    return np.mean((np.tanh(X @ W + p["b"]) @ p["V"] - Y) ** 2)


def with_batch_statistics(p):
    z = X @ p["W"] + p["b"]
    h = np.tanh((z - z.mean(axis=0)) / z.std(axis=0))
    return np.mean((h @ p["V"] - Y) ** 2)


def sample_by_sample(p):
    total = 0.0
    for x, y in zip(X, Y, strict=True):
        total = total + np.sum((np.tanh(x @ p["W"] + p["b"]) @ p["V"] - y) ** 2)
    return total / len(X)


def with_products_of_parameters(p):
    return np.mean((X @ (p["W"] @ p["V"]) - Y) ** 2) + np.sum(p["b"] * p["b"])


def planned(loss, params, samples):
    """The plan of a traced function, and by how much the gradient is off, as a part of its largest entry."""
    found = gf.trace(loss, params)
    theta = found.pack(params).flat
    plan = UnitsPlan(found.engine, samples)
    gradient, _ = differences_of_units(plan, theta, Runner(1))
    expected, _ = differences_of_entries(found.engine, theta, Runner(1))
    return plan, float(np.abs(gradient - expected).max() / max(np.abs(expected).max(), 1e-300))


def arrays_alone(plan):
    """The arrays of PARAMS whose entries are moved one by one."""
    ends = np.cumsum([array.size for array in PARAMS.values()])
    return {list(PARAMS)[k] for k in np.searchsorted(ends, plan.alone, side="right")}


@pytest.mark.parametrize(("loss", "branches", "alone"), [
    (mean_square, 1, set()), (penalised, 3, set()), (with_two_sums, 1, set()), (with_a_root, 1, set()),
    (with_normal_weights, 1, {"W"}), (with_batch_statistics, 1, {"W", "b"}), (sample_by_sample, 6, {"W", "b"}),
    (with_products_of_parameters, 2, {"W"}),
])  # fmt: skip
def test_the_parameters_follow(loss, branches, alone):
    """The number of samples says what may move at once, and not what is found."""
    for samples in (6, 3, 1):
        plan, off = planned(loss, PARAMS, samples)
        assert off <= 1e-13
        assert len(plan.branches) == branches
        assert samples == 1 or arrays_alone(plan) == alone


def test_one_unit_of_each_sample_moves_at_once():
    plan, _ = planned(mean_square, PARAMS, 6)
    (branch,) = plan.branches
    steps = branch.engine.program.steps
    assert branch.parts == 6
    assert [steps[number].shape for number in branch.cut.units] == [(6, 4), (6, 2)]
    for parts in branch.cut.units.values():
        np.testing.assert_array_equal(parts, np.repeat(np.arange(6), len(parts) // 6))


def test_units_of_a_penalty_are_the_weights():
    plan, _ = planned(penalised, PARAMS, 6)
    parameters = set(plan.engine.program.parameters)
    assert sorted(branch.parts for branch in plan.branches if parameters.issuperset(branch.cut.units)) == [8, 12]


def test_what_is_mixed_is_named():
    plan, _ = planned(with_batch_statistics, PARAMS, 6)
    lines = {plan.engine.program.steps[number].source.line for number, _ in plan.mixing}
    first = with_batch_statistics.__code__.co_firstlineno
    assert lines == {first + 2}
    plan, _ = planned(with_a_root, PARAMS, 6)
    assert [plan.engine.program.steps[number].name for number in plan.whole] == ["sqrt"]


HANDWRITTEN = [entry for entry in ALL if not entry.needs]


@pytest.mark.parametrize("entry", [
    pytest.param(entry, id=entry.name, marks=[pytest.mark.long] * bool(k % 12)) for k, entry in enumerate(HANDWRITTEN)
])  # fmt: skip
def test_functions_as_users_write_them(entry):
    with np.errstate(all="ignore"):
        for samples in (1, 4):
            assert planned(entry.loss, entry.params, samples)[1] <= 1e-12
