"""Every entry moved by itself: step by step against the twin, and whole gradients against the chain."""

from __future__ import annotations

import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from handwritten import ALL
from primitive_cases import TENSOR_CASES
from work import Inline

import gradcheck_fast as gf
from gradcheck_fast.engine import entries_places
from gradcheck_fast.engine.entries import Entries, differences_of_entries
from gradcheck_fast.engine.rules import RulesEngine
from gradcheck_fast.kernels import _kernels
from gradcheck_fast.program import twin
from gradcheck_fast.program.program import Program
from gradcheck_fast.program.steps import PRIMITIVES
from gradcheck_fast.running.runner import Runner

ROWS = (4, 5)
BROADCAST = ((ROWS, ROWS), (ROWS, (4, 1)), (ROWS, ()), ((5,), ROWS), ((), ROWS))
COST = {"constant": 0.7, "scale": 0.25}
AFFINE = {"terms": ("bias", "matrix", "diagonal"), "shape": (4, 3), "offset": 0.5}
POSITIVE = {"divide", "power", "arctan2", "hypot", "xlogy", "reciprocal", "sqrt", "cbrt", "log", "log2", "log10",
            "gammaln", "digamma", "trigamma"}  # fmt: skip
SMALL = {"log1p", "tan", "arcsin", "arccos", "arctanh", "erfinv"}


def listed():
    """Every primitive with its inputs and attributes."""
    for case in TENSOR_CASES:
        if math.prod(map(math.prod, case.shapes)):
            yield pytest.param(case.name, case.drawn()[0], dict(case.attributes), id=repr(case))
    random = np.random.default_rng(0)

    def drawn(name, *shapes, **attributes):
        low, high = (0.5, 3.0) if name in POSITIVE else (-0.6, 0.6) if name in SMALL else (-3.0, 3.0)
        x = [np.asarray(random.uniform(low, high, shape)) for shape in shapes]
        if name == "arccosh":
            x = [1.5 + np.abs(x[0])]
        if name in ("select", "where"):
            x[0] = np.array([[1.0], [0.0], [1.0], [1.0]])
        return pytest.param(name, x, attributes, id=f"{name} {shapes}")

    yield drawn("matmul", (5, 2, 3), (5, 3, 4))
    yield drawn("matmul", (2, 3, 2, 3), (2, 3, 3, 2))
    tensors = {case.name for case in TENSOR_CASES}
    for name, primitive in PRIMITIVES.items():
        if name in tensors or name in ("input", "parameter"):
            continue
        if name in _kernels.COSTS:
            if not name.startswith(("cross", "binary")):
                yield drawn(name, ROWS, ROWS, **COST)
        elif name == "slice":
            yield drawn(name, (6, 7), ranges=((1, 4), (2, 7)))
            yield drawn(name, (7,), ranges=((3, 5),))
        elif name == "affine":
            yield drawn(name, (3,), (4, 2), (2, 3), (4, 3), (3,), **AFFINE)
        elif name == "where":
            yield drawn(name, (4, 1), ROWS, ROWS)
        elif name == "select":
            yield drawn(name, (4, 1), (5,), ROWS)
        elif len(primitive.written.split("{1}")) > 1:
            yield from (drawn(name, *shapes) for shapes in BROADCAST)
        else:
            yield drawn(name, ROWS)


def program_of(name, x, attributes):
    """The step on parameters to which others are added in some places: few of them reach few, and one reaches all.

    The inputs that choose are data. The cost is a weighted sum of the outputs.
    """
    random, program = np.random.default_rng(1), Program()
    fixed = {0} if name in ("select", "where") else {1} if name in _kernels.COSTS else set()
    inputs = []
    own = [None if k in fixed else program.parameter(at.shape) for k, at in enumerate(x)]
    few, one = program.parameter((3,)), program.parameter(())
    nothing = program.constant(np.zeros(()))
    for k, at in enumerate(x):
        if k in fixed:
            inputs.append(program.constant(at))
            continue
        index = random.choice([0, 1, 2, 3], at.shape, p=[0.1, 0.1, 0.1, 0.7]).astype(np.int64)
        added = program.add("gather", few, nothing, index=np.asarray(index))
        if k:  # so that the first input alone moves for some entries
            added = program.add("multiply", added, program.constant(random.random(at.shape)))
        number = program.add("add", own[k], added)
        inputs.append(program.add("add", number, one))
    step = program.add(name, *inputs, **attributes)
    shape = program.steps[step].shape
    program.total(program.add("multiply", step, program.constant(random.uniform(0.5, 1.5, shape))))
    theta = [at.ravel() for k, at in enumerate(x) if k not in fixed]
    return program, np.concatenate([*theta, np.zeros(4)])


def by_twin(program, theta, entry, move):
    values = twin.values(program, program.arrays(theta))
    unit = np.zeros_like(theta)
    unit[entry] = move
    return twin.total(program, twin.differences(program, values, program.arrays(unit)))


@pytest.mark.parametrize(("name", "x", "attributes"), list(listed()))
@pytest.mark.parametrize("filled", [0.0, 1.0])
def test_each_primitive_changes_as_the_twin_says(name, x, attributes, filled, monkeypatch):
    """As dense as can be, and as sparse as can be."""
    for module in ("places", "rules", "products"):
        monkeypatch.setattr(f"gradcheck_fast.engine.entries_{module}.FILLED", filled)
    program, theta = program_of(name, x, attributes)
    found = Entries(RulesEngine(program), theta)
    moves = np.array([0.05, -0.03])
    with np.errstate(all="ignore"):
        for batch in found.batches:
            changes = found.changes(batch, moves)
            for k in {0, len(batch.places) - 1}:
                for move, change in zip(moves, changes[:, k], strict=True):
                    expected = by_twin(program, theta, batch.entries[k], move)
                    assert change == pytest.approx(expected, rel=1e-11, abs=1e-13), (batch, k)
    assert sorted(np.concatenate([batch.entries for batch in found.batches])) == list(range(len(theta)))


def test_everything_is_listed():
    tested = {param.values[0] for param in listed()}
    costs = {name for name in _kernels.COSTS if name.startswith(("cross", "binary"))}
    assert tested | costs | {"input", "parameter", "constant"} == set(PRIMITIVES)


# ---- whole functions


def flat(tree):
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list | tuple):
        return np.concatenate([flat(branch) for branch in tree]) if tree else np.zeros(0)
    return np.ravel(tree)


def traced(loss, params):
    found = gf.trace(loss, params)
    return found.engine, found.pack(params).flat


SOME = [entry for entry in ALL if not entry.needs][::4]


@pytest.mark.parametrize("entry", SOME, ids=lambda entry: entry.name)
def test_gradients_are_those_of_the_chain(entry):
    with np.errstate(all="ignore"):
        engine, theta = traced(entry.loss, entry.params)
    every = np.arange(len(theta))
    wanted = None if len(theta) <= 400 else np.random.default_rng(0).choice(every, 200, replace=False)
    found, _ = differences_of_entries(engine, theta, Runner(1), wanted)
    with engine.at(theta, 1) as point:
        expected = point.gradient()
    some = every if wanted is None else wanted
    assert np.linalg.norm((found - expected)[some]) <= 2e-14 * np.linalg.norm(expected[some]) + 1e-300
    if wanted is not None:
        assert not np.delete(found, wanted).any()


def test_there_are_enough_of_them():
    assert len(SOME) >= 20


RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(12, 6)), RANDOM.integers(0, 3, 12)
NET = {"W1": RANDOM.normal(size=(6, 20)), "b1": RANDOM.normal(size=20), "W2": RANDOM.normal(size=(20, 3))}


def loss(p):
    scores = np.tanh(X @ p["W1"] + p["b1"]) @ p["W2"]
    shifted = scores - scores.max(axis=1, keepdims=True)
    return np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(12), Y])


def incremental(function=loss, params=NET, **options):
    return flat(gf.numerical_gradient(function, params, method="incremental", **options))


def test_one_row_is_enough_where_there_are_no_kinks():
    engine, theta = traced(loss, NET)
    one = Entries(engine, theta)
    assert one.sides == (1.0,)
    np.testing.assert_allclose(one.gradient(2.0**-130, Runner(1)), incremental(), rtol=1e-15)
    both = Entries(engine, theta, sides=(1.0, -1.0))
    np.testing.assert_allclose(both.gradient(2.0**-40, Runner(1)), incremental(), rtol=1e-12, atol=1e-16)


def test_the_result_does_not_depend_on_who_does_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr("gradcheck_fast.engine.entries_batches.NUMBERS", 2000)  # many batches
    expected = incremental(n_threads=1)
    for options in (
        {"n_threads": 2}, {"n_threads": 3}, {"executor": Inline()}, {"executor": partial(ThreadPoolExecutor, 2)},
        {"checkpoint": tmp_path / "kept"}, {"checkpoint": tmp_path / "kept"},
    ):  # fmt: skip
        assert (incremental(**options) == expected).all(), options


def test_it_forgets_places_that_take_too_much_memory(monkeypatch):
    expected = incremental(n_threads=1)
    for name in ("MOST_KEPT", "KEPT_OF_STEPS"):
        monkeypatch.setattr(f"gradcheck_fast.engine.entries.{name}", 0)
    assert (incremental(n_threads=2) == expected).all()


def test_a_sample_is_a_part_of_the_whole():
    loss_ = gf.trace(loss, NET)
    packed, entries = loss_.pack(NET), np.array([150, 3, 77, 121, 4])
    found = loss_.central_differences(packed, method="incremental", step=None, runner=Runner(1), entries=entries)
    np.testing.assert_allclose(found.gradient, incremental()[entries], rtol=1e-13)
    assert (found.method, found.exact) == ("incremental", True)


def test_gradcheck_takes_it():
    right = gf.numerical_gradient(loss, NET, method="chain")
    for options in ({}, {"sample": 5}, {"error_bars": True}):
        assert gf.gradcheck(loss, right, NET, method="incremental", **options)
    wrong = {**right, "b1": right["b1"] * np.where(np.arange(20) == 7, 1.0 + 1e-9, 1.0)}
    assert not gf.gradcheck(loss, wrong, NET, method="incremental")


def test_it_can_be_interrupted():
    class Stop(BaseException):
        pass

    def stop(fraction):
        raise Stop

    with pytest.raises(Stop):
        incremental(n_threads=2, progress=stop)


def test_near_a_singularity_it_is_right_to_rounding():
    p = np.array([1e-20, 1e-11, 0.3])
    np.testing.assert_allclose(incremental(lambda p: np.sum(np.log(p)), p), 1.0 / p, rtol=1e-15)


def test_where_the_slope_is_zero_it_is_found_to_be_zero():
    """To one side the difference of p² at 0 is h²."""
    p = np.array([0.0, 1.0, 1e-25, 3e-7])
    np.testing.assert_allclose(incremental(lambda p: np.sum(p * p), p), 2.0 * p, rtol=1e-15, atol=0.0)


def test_what_is_not_finite_to_both_sides_is_moved_less():
    """A value on a kink asks for both sides, and -h leads out of the domain of the logarithm."""
    p = np.array([1e-25, 0.0])
    found = incremental(lambda p: np.log(p[0]) + np.abs(p[1]), p)
    np.testing.assert_allclose(found, [1e25, 0.0], rtol=1e-12)


def test_an_unknown_function_has_fewer_digits():
    program = Program()
    p = program.parameter((4,))
    program.total(program.add("opaque", program.add("exp", p), function=np.sort, shape=(4,)))
    theta = np.array([0.5, -0.2, 1.0, 0.1])
    found, step = differences_of_entries(RulesEngine(program), theta, Runner(1))
    np.testing.assert_allclose(found, np.exp(theta), rtol=1e-9)
    assert step > 1e-7


def test_where_a_rule_is_not_defined_the_slope_is_nan():
    program = Program()
    a = program.parameter((2, 2))
    program.total(program.add("cholesky", a))
    entries = Entries(RulesEngine(program), np.array([1.0, 0.0, 0.0, 0.01]), sides=(1.0, -1.0))
    assert np.isnan(entries.gradient(0.5, Runner(1))).any()
    assert np.isfinite(entries.gradient(0.001, Runner(1))).all()


def test_parameters_may_be_costs_and_be_used_twice():
    program = Program()
    p = program.parameter((3,))
    program.total(p)
    program.total(program.add("multiply", p, program.add("reshape", p, shape=(3,))))
    program.parameter((2,))  # that nothing uses
    found, _ = differences_of_entries(RulesEngine(program), np.arange(5.0), Runner(2))
    np.testing.assert_allclose(found, [1.0, 3.0, 5.0, 0.0, 0.0], rtol=1e-15, atol=1e-30)


# ---- kinks


def rectified(p):
    return np.sum(np.maximum(DATA @ p["W"], 0.0) @ p["v"])


DATA = np.array([[1.0, 2.0], [0.0, 0.0], [3.0, -1.0]])
ON_KINKS = {"W": np.array([[1.0, 2.0, 0.5], [3.0, -1.0, 1.5]]), "v": np.array([1.0, -2.0, 0.5])}


def test_at_kinks_there_are_both_slopes_as_in_the_chain():
    found, chain = (
        gf.trace(rectified, ON_KINKS).central_differences(
            gf.trace(rectified, ON_KINKS).pack(ON_KINKS), method=method, step=None, runner=Runner(1), kinks=True
        )
        for method in ("incremental", "chain")
    )
    engine, theta = traced(rectified, ON_KINKS)
    assert Entries(engine, theta).sides == (1.0, -1.0)
    assert chain.kinks.where.any()
    np.testing.assert_array_equal(found.kinks.where, chain.kinks.where)
    for side in ("low", "high"):
        ends = [each.gradient + getattr(each.kinks, side) for each in (found, chain)]
        np.testing.assert_allclose(*ends, rtol=1e-12, atol=1e-14)
    one = Entries(engine, theta, sides=(1.0,))
    right = one.gradient(2.0**-60, Runner(1))
    inside = (right >= found.gradient + found.kinks.low - 1e-12) & (right <= found.gradient + found.kinks.high + 1e-12)
    assert inside[found.kinks.where].all()


def test_ties_of_what_does_not_change_need_one_side_only():
    def pooled(p):
        return np.square(np.maximum(ON_KINKS["W"].T @ p["v"][:2], 0.0).reshape(1, 3).max(axis=1)).sum()

    engine, theta = traced(pooled, {"v": np.array([-1.0, -0.5, 0.5])})
    with engine.at(theta, 1) as point:
        assert point.kinks(2.0**-32) == 1  # the largest of three zeros
    assert Entries(engine, theta).sides == (1.0,)
    found, _ = differences_of_entries(engine, theta, Runner(1))
    np.testing.assert_array_equal(found, 0.0)


def test_large_changes_below_a_logarithm_of_a_sum():
    x = np.random.default_rng(0).normal(size=(3, 4))
    program, theta = program_of("logsumexp", [x], {"axis": (1,), "keepdims": False})
    found, moves = Entries(RulesEngine(program), theta), np.array([30.0, -30.0, 800.0])
    for batch in found.batches:
        for move, change in zip(moves, found.changes(batch, moves)[:, 0], strict=True):
            assert change == pytest.approx(by_twin(program, theta, batch.entries[0], move), rel=1e-12)


# ---- where it is not used


def test_a_step_of_the_user_is_refused():
    with pytest.raises(ValueError, match="step: "):
        gf.trace(loss, NET).central_differences(
            gf.trace(loss, NET).pack(NET), method="incremental", step=1e-3, runner=Runner(1)
        )


def test_a_function_that_cannot_be_traced_is_refused():
    with pytest.raises(ValueError, match="method: 'incremental' needs a trace"):
        incremental(lambda p: float(str(p[0])), np.array([1.5]))


def test_differences_that_are_not_certified_are_replaced_by_the_chain(monkeypatch):
    expected, right = flat(gf.numerical_gradient(loss, NET, method="chain")), Entries.gradient
    monkeypatch.setattr(Entries, "gradient", lambda *arguments: 1.01 * right(*arguments))
    with pytest.warns(UserWarning, match="differences of single entries are not used"):
        assert (incremental() == expected).all()


def test_it_can_be_pickled():
    engine, theta = traced(loss, NET)
    found, _ = differences_of_entries(pickle.loads(pickle.dumps(engine)), theta, Runner(1))
    assert (found == incremental()).all()
    assert entries_places.Places(3).count == 3
