"""A function with a program made by hand: the chain where it can be certified, and plain differences where not."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from work import Inline

import gradcheck_fast as gf
from gradcheck_fast.losses import program_loss
from gradcheck_fast.losses.problem import knows_changes
from gradcheck_fast.losses.program_loss import ProgramLoss
from gradcheck_fast.numerical.evaluate import PythonCosts
from gradcheck_fast.program import program as programs
from gradcheck_fast.program.program import Program
from gradcheck_fast.program.steps import PRIMITIVES
from gradcheck_fast.running.runner import Runner

X = np.random.default_rng(0).normal(size=(7, 3))
PARAMS = {"W": np.random.default_rng(1).normal(size=(3, 4)), "v": np.random.default_rng(2).normal(size=4)}


def smooth(params):
    """The sum of exp(X W) @ v."""
    return np.sum(np.exp(X @ params["W"]) @ params["v"])


def smooth_gradient(params):
    e = np.exp(X @ params["W"])
    return {"W": X.T @ (e * params["v"]), "v": e.sum(axis=0)}


def rectified(params):
    return float(np.sum(np.maximum(X @ params["W"], 0.0) @ params["v"]))


def rectified_gradient(params):
    z = X @ params["W"]
    return {"W": X.T @ ((z > 0.0) * params["v"]), "v": np.maximum(z, 0.0).sum(axis=0)}


def make(function=smooth, activation="exp", notes=()):
    program = Program()
    W, v = program.parameter((3, 4)), program.parameter((4,))
    a = program.add(activation, program.add("matmul", program.constant(X), W))
    program.total(program.add("sum", program.add("matmul", a, v), axis=(0,), keepdims=False))
    return ProgramLoss(partial(PythonCosts, function), function, program, notes)


def find(loss, params, method="auto", step=None, **options):
    return loss.central_differences(loss.pack(params), method=method, step=step, runner=Runner(1), **options)


def flat(tree):
    return np.concatenate([np.ravel(array) for array in tree.values()])


# ---- the chain


@pytest.mark.parametrize("method", ["auto", "chain"])
def test_the_gradient_is_that_of_the_chain_to_the_last_digits(method):
    found = find(make(), PARAMS, method)
    np.testing.assert_allclose(found.gradient, flat(smooth_gradient(PARAMS)), rtol=1e-14)
    assert (found.method, found.exact, found.kinks) == ("chain", True, None)
    assert found.certificate.holds
    assert found.finish() == ()


@pytest.mark.parametrize("method", ["auto", "chain", "direct", "complex", "directional"])
def test_a_right_gradient_passes(method):
    assert gf.gradcheck(make(), smooth_gradient, PARAMS, method=method)


@pytest.mark.parametrize("method", ["auto", "chain"])
def test_a_wrong_entry_is_found_from_a_billionth_on(method):
    gradient = smooth_gradient(PARAMS)
    gradient["W"][2, 1] *= 1.0 + 1e-10
    report = gf.gradcheck(make(), gradient, PARAMS, method=method)
    assert (report.verdict, report.wrong) == ("FAIL", 1)
    assert report.certificate.holds


def test_a_wrong_sign_is_explained():
    gradient = smooth_gradient(PARAMS)
    gradient["v"] *= -1.0
    report = gf.gradcheck(make(), gradient, PARAMS)
    assert report.wrong == 4


def test_some_entries_are_those_of_the_whole():
    entries = np.array([5, 0, 13])
    some, whole = find(make(), PARAMS, entries=entries), find(make(), PARAMS)
    assert (some.gradient == whole.gradient[entries]).all()
    assert some.certificate == whole.certificate
    assert gf.gradcheck(make(), smooth_gradient, PARAMS, sample=3)


def test_error_bars_reach_to_the_derivative():
    gradient, bars = gf.numerical_gradient(make(), PARAMS, error_bars=True)
    off = np.abs(flat(gradient) - flat(smooth_gradient(PARAMS)))
    assert (off <= flat(bars) + 1e-15 * np.abs(flat(gradient))).all()
    assert (flat(bars) <= 1e-12 * np.abs(flat(gradient)).max()).all()


def test_what_should_be_known_of_the_program_is_a_note():
    report = gf.gradcheck(make(notes=("the function was traced",)), smooth_gradient, PARAMS)
    assert "the function was traced" in report.notes


def test_a_saturated_sum_may_be_rounded_as_back_propagation_rounds_it():
    """1 - a² of a tanh near 1 loses all digits: that is no mistake."""
    params = {"W": 6.0 * np.abs(PARAMS["W"]) * np.sign(PARAMS["W"]), "v": PARAMS["v"]}

    def function(p):
        return float(np.sum(np.tanh(X @ p["W"]) @ p["v"]))

    a = np.tanh(X @ params["W"])
    gradient = {"W": X.T @ ((1.0 - a * a) * params["v"]), "v": a.sum(axis=0)}
    assert gf.gradcheck(make(function, "tanh"), gradient, params)


def test_the_exact_change_is_known():
    loss = make()
    at = loss.pack(PARAMS)
    direction = np.random.default_rng(3).normal(size=16)
    exact = loss.change(at.flat, direction, 1e-3)
    plain = loss.cost(at, at.flat + 1e-3 * direction) - loss.cost(at, at.flat)
    assert exact == pytest.approx(plain, rel=1e-11)
    assert loss.change(at.flat, direction, 2.0**-60) / 2.0**-60 == pytest.approx(
        flat(smooth_gradient(PARAMS)) @ direction, rel=1e-13
    )


def test_changes_are_not_exact_where_a_step_is_not_known():
    """Directions are then compared with costs of the function that are subtracted."""
    function = lambda p: float(np.sum(np.linalg.svd(p["W"], compute_uv=False)) + np.sum(np.sin(p["v"])))
    left, _, right = np.linalg.svd(PARAMS["W"], full_matrices=False)
    gradient = {"W": left @ right, "v": np.cos(PARAMS["v"])}
    unknown = gf.trace(function, PARAMS)
    assert make().has_exact_changes
    assert knows_changes(make())
    assert not unknown.has_exact_changes
    assert not knows_changes(unknown)
    assert gf.gradcheck(unknown, gradient, PARAMS, method="directional").ok
    gradient["W"] *= 1.0 + 1e-3
    assert gf.gradcheck(unknown, gradient, PARAMS, method="directional").wrong


@pytest.mark.parametrize("executor", [None, Inline(), partial(ThreadPoolExecutor, 2)])
def test_it_can_be_pickled_and_shared_out(executor):
    loss = pickle.loads(pickle.dumps(make()))
    found = gf.numerical_gradient(loss, PARAMS, executor=executor)
    assert (flat(found) == find(make(), PARAMS).gradient).all()


def test_a_checkpoint_keeps_it(tmp_path):
    first, second = (gf.numerical_gradient(make(), PARAMS, checkpoint=tmp_path / "state") for _ in range(2))
    assert (flat(first) == flat(second)).all()


def test_a_step_of_the_user_asks_for_plain_differences():
    assert find(make(), PARAMS, step=1e-4).method == "direct"
    with pytest.raises(ValueError, match=r"^step: .*leave it out"):
        find(make(), PARAMS, "chain", step=1e-4)


@pytest.mark.parametrize("method", ["units"])
def test_other_methods_of_networks_are_refused(method):
    with pytest.raises(ValueError, match=f"{method!r} needs the loss of a gf.Network"):
        find(make(), PARAMS, method)


def test_a_value_that_is_not_finite_is_refused_as_for_any_function():
    params = {**PARAMS, "v": np.full(4, 1e308)}
    with (
        np.errstate(over="ignore"),
        pytest.raises(ValueError, match=r"^loss: it is inf at these parameters; where it is not finite"),
    ):
        find(make(), params)


def test_directions_are_more_if_that_is_asked_for():
    loss = make()
    loss.directions = 5
    assert find(loss, PARAMS).certificate.directions == 5


# ---- kinks


ON_KINKS = {"W": np.where(np.arange(4) == 2, 0.0, PARAMS["W"]), "v": PARAMS["v"]}


def on_kinks(data, signs):
    """One rectifier of each sample with a sign, and a weight for each column of the data; all its values are 0."""
    data, signs = np.array(data), np.array(signs)
    program = Program()
    w = program.parameter(data.shape[1:])
    a = program.add("relu", program.add("matmul", program.constant(data), w))
    program.total(program.add("matmul", a, program.constant(signs)))
    program.total(program.add("exp", w))
    function = lambda w: float(np.maximum(data @ w, 0.0) @ signs + np.exp(w).sum())
    return ProgramLoss(partial(PythonCosts, function), function, program), np.zeros(data.shape[1])


def test_at_a_kink_the_slopes_on_both_sides_are_an_interval():
    found = find(*on_kinks([[1.0, -2.0, 0.0], [3.0, -1.0, 0.0]], [1.0, 1.0]))
    assert found.kinks.crossed == 2
    np.testing.assert_allclose(found.gradient + found.kinks.low, [1.0, -2.0, 1.0], atol=1e-15)
    np.testing.assert_allclose(found.gradient + found.kinks.high, [5.0, 1.0, 1.0], atol=1e-15)


def test_where_slopes_jump_up_and_down_any_choice_of_them_is_right():
    loss, w = on_kinks([[1.0, 0.0], [-1.0, 0.0], [-2.0, 0.0]], [1.0, 2.0, -1.5])
    for slopes in np.ndindex(2, 2, 2):
        assert gf.gradcheck(loss, np.array([1.0 + np.array(slopes) @ [1.0, -2.0, 3.0], 1.0]), w), slopes
    for wrong in (-1.001, 5.001):
        assert gf.gradcheck(loss, np.array([wrong, 1.0]), w).wrong == 1


def test_where_both_numbers_depend_on_the_parameter_the_greater_has_one_jump():
    """The greater of 3p and p has the slopes 3 and 1 at 0, though either of its inputs may get nothing, or all."""
    program = Program()
    p = program.parameter(())
    program.total(program.add("maximum", program.add("multiply", program.constant(3.0), p), p))
    program.total(program.constant(1e6))
    function = lambda p: np.maximum(3.0 * p, p) + 1e6
    loss = ProgramLoss(partial(PythonCosts, function), function, program)
    found = find(loss, 0.0)
    assert (found.gradient[0], found.kinks.low[0], found.kinks.high[0]) == (2.0, -1.0, 1.0)
    assert find(loss, 1e-30).kinks.high[0] >= 1.0  # near the kink the outer bound is kept


def test_where_kinks_depend_on_each_other_the_outer_bound_is_kept():
    program = Program()
    p = program.parameter((2,))
    inner = program.add("add", program.add("relu", p), program.add("multiply", p, program.constant([0.5, 0.5])))
    program.total(program.add("relu", inner))
    function = lambda p: np.sum(np.maximum(np.maximum(p, 0.0) + 0.5 * p, 0.0))
    found = find(ProgramLoss(partial(PythonCosts, function), function, program), np.array([0.0, 1.0]))
    assert (found.gradient + found.kinks.low <= [0.0, 1.5]).all()
    assert (found.gradient + found.kinks.high >= [1.5, 1.5]).all()
    assert found.kinks.where.tolist() == [True, False]


def test_what_is_nothing_but_truncation_has_an_error_bar():
    """The slope of p³ at 0 is found as h² with the step h of a slope."""
    program = Program()
    p = program.parameter(())
    program.total(program.add("multiply", program.add("multiply", p, p), p))
    loss = ProgramLoss(partial(PythonCosts, lambda p: p**3), lambda p: p**3, program)
    assert gf.gradcheck(loss, 0.0, 0.0).verdict == "INCONCLUSIVE"


def test_more_entries_than_are_looked_at_keep_the_outer_bound(monkeypatch):
    monkeypatch.setattr(program_loss, "FEW_SINGLES", 2)
    monkeypatch.setattr(program_loss, "SINGLES_WORK", 0.0)
    found = find(make(rectified, "relu"), ON_KINKS)
    column = np.arange(12).reshape(3, 4)[:, 2]
    assert np.flatnonzero(found.kinks.where).tolist() == column.tolist()
    every = np.abs(X).sum(axis=0) * np.abs(PARAMS["v"][2])
    assert (found.kinks.high[column] >= 0.5 * every * (1 - 1e-9)).all()


def test_many_entries_with_values_that_stay_equal_are_decided():
    """No slope jumps where the two arguments of a maximum are equal wherever the parameters are."""
    p = np.linspace(-1.0, 1.0, 101)
    report = gf.gradcheck(lambda p: np.sum(np.maximum(p, 1.0 * p) ** 3), 3.0 * p**2, p)
    assert report.verdict == "PASS"
    assert report.arrays[0].at_kink == 0


@pytest.mark.parametrize("work", [0.0, 1e9])
def test_a_right_gradient_at_kinks_passes_and_a_wrong_one_does_not(work, monkeypatch):
    monkeypatch.setattr(program_loss, "FEW_SINGLES", 0)
    monkeypatch.setattr(program_loss, "SINGLES_WORK", work)
    loss, gradient = make(rectified, "relu"), rectified_gradient(ON_KINKS)
    report = gf.gradcheck(loss, gradient, ON_KINKS)
    assert report
    assert report.certificate.beside_kinks
    gradient["W"][1, 0] += 1e-7
    gradient["W"][1, 2] += 100.0
    assert gf.gradcheck(loss, gradient, ON_KINKS).wrong == 2


# ---- a program that does not fit is not used


def test_another_value_than_that_of_the_function_is_no_trace_of_it():
    loss = make(lambda params: smooth(params) * (1.0 + 1e-6))
    found = find(loss, PARAMS)
    assert (found.method, found.certificate) == ("direct", None)
    assert [note for note in found.finish() if "the trace is not used, for it gives" in note]
    gradient = {name: (1.0 + 1e-6) * array for name, array in smooth_gradient(PARAMS).items()}
    assert gf.gradcheck(loss, gradient, PARAMS)


def test_other_shapes_than_those_of_the_trace():
    loss = make(lambda params: float(np.sum(np.exp(X @ params["W"]) @ params["v"])))
    params = {"W": np.ones((3, 2)), "v": np.ones(2)}
    found = find(loss, params)
    assert found.method == "direct"
    assert "parameters of other shapes" in " ".join(found.finish())


def test_a_chain_that_is_not_confirmed_is_replaced_by_plain_differences(monkeypatch):
    wrong = replace(PRIMITIVES["exp"], back=lambda x, k, up: up * 1.001 * np.exp(x[0]))
    monkeypatch.setattr(programs, "PRIMITIVES", {**PRIMITIVES, "exp": wrong})
    report = gf.gradcheck(make(), smooth_gradient, PARAMS)
    assert report
    assert report.certificate is None
    (note,) = [note for note in report.notes if "the trace is not used" in note]
    assert "what goes back to it from step 4, exp" in note
    assert "please report it" in note


def test_slopes_that_are_not_finite(monkeypatch):
    broken = replace(PRIMITIVES["exp"], back=lambda x, k, up: np.full_like(up, np.nan))
    monkeypatch.setattr(programs, "PRIMITIVES", {**PRIMITIVES, "exp": broken})
    found = find(make(), PARAMS)
    assert found.method == "direct"
    assert "are not finite here" in " ".join(found.finish())
    np.testing.assert_allclose(found.gradient, flat(smooth_gradient(PARAMS)), rtol=1e-7)


def test_a_rule_that_raises(monkeypatch):
    def raises(x, k, up):
        raise RuntimeError("no memory of that")

    monkeypatch.setattr(programs, "PRIMITIVES", {**PRIMITIVES, "exp": replace(PRIMITIVES["exp"], back=raises)})
    found = find(make(), PARAMS)
    assert found.method == "direct"
    assert "RuntimeError was raised: no memory of that" in " ".join(found.finish())


def test_an_unknown_function_has_fewer_digits_and_says_so():
    program = Program()
    p = program.parameter((5,))
    program.total(program.add("opaque", program.add("exp", p), function=np.sort, shape=(5,)))
    function = lambda p: float(np.exp(p).sum())
    params = np.random.default_rng(0).normal(size=5)
    loss = ProgramLoss(partial(PythonCosts, function), function, program)
    found = find(loss, params)
    assert (found.method, found.exact) == ("chain", False)
    np.testing.assert_allclose(found.gradient, np.exp(params), rtol=1e-8)
    assert gf.gradcheck(loss, np.exp, params)
    wrong = np.exp(params) * (1.0 + 1e-3 * (np.arange(5) == 3))
    assert gf.gradcheck(loss, wrong, params).wrong == 1


@pytest.mark.parametrize(
    ("name", "attributes", "said"),
    [
        ("exp", {}, "This is a fault of gradcheck_fast"),
        ("opaque", {"function": np.exp, "shape": (5,)}, "differenced by themselves, and have too few digits here"),
    ],
)
def test_a_certificate_that_does_not_hold_is_our_fault_only_if_all_steps_are_known(monkeypatch, name, attributes, said):
    chained = program_loss.chained

    def refused(*given):
        found = chained(*given)
        return found._replace(certificate=found.certificate._replace(agreement=1.0))

    monkeypatch.setattr(program_loss, "chained", refused)
    program = Program()
    program.total(program.add(name, program.parameter((5,)), **attributes))
    function = lambda p: float(np.exp(p).sum())
    found = find(ProgramLoss(partial(PythonCosts, function), function, program), np.linspace(0.1, 0.5, 5))
    assert found.method == "direct"
    assert said in " ".join(found.finish())
