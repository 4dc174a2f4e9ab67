"""gradcheck(): what it takes, in whatever form, and what it leaves as it was."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from networks import flat, four_layers, wrong_arrays

import gradcheck_fast as gf

METHODS = ("units", "incremental", "chain")


# ---- rtol and atol


@pytest.mark.parametrize("method", METHODS)
def test_rtol(method):
    case = four_layers("regression")
    off = {name: array * (1 + 1e-4) for name, array in case.gradient.items()}
    assert not gf.gradcheck(case.loss, off, case.params, method=method)
    assert gf.gradcheck(case.loss, off, case.params, method=method, rtol=2e-4)
    assert not gf.gradcheck(case.loss, off, case.params, method=method, rtol=0.5e-4)


@pytest.mark.parametrize("method", METHODS)
def test_atol(method):
    case = four_layers("regression")
    off = {name: array + 1e-4 for name, array in case.gradient.items()}
    assert not gf.gradcheck(case.loss, off, case.params, method=method)
    assert gf.gradcheck(case.loss, off, case.params, method=method, atol=1.1e-4)
    assert not gf.gradcheck(case.loss, off, case.params, method=method, atol=0.9e-4)


def test_rtol_and_atol_are_reported_and_may_be_zero():
    report = gf.gradcheck(lambda x: 4.0 * x, 4.0, 1.0, step=0.5, rtol=0, atol=0)
    assert report.ok
    assert (report.arrays[0].rtol, report.arrays[0].atol) == (0.0, 0.0)
    assert not gf.gradcheck(lambda x: 4.0 * x, np.nextafter(4.0, 5.0), 1.0, step=0.5, rtol=0, atol=0)


# ---- the forms in which a gradient may be given

FORMS = {
    "dict": lambda g: g,
    "dict-in-another-order": lambda g: dict(sorted(g.items(), reverse=True)),
    "list": lambda g: list(g.values()),
    "tuple": lambda g: tuple(g.values()),
    "pairs": lambda g: [(g[f"W{k}"], g[f"b{k}"]) for k in range(1, 5)],
    "nested-dict": lambda g: {f"layer{k}": {"weights": g[f"W{k}"], "biases": g[f"b{k}"]} for k in range(1, 5)},
    "flat": flat,
    "column-major": lambda g: {name: np.asfortranarray(array) for name, array in g.items()},
}


@pytest.mark.parametrize("params_form", FORMS)
@pytest.mark.parametrize("form", FORMS)
def test_any_form_of_gradient_goes_with_any_form_of_params(form, params_form):
    case = four_layers("classification")
    params = FORMS[params_form](case.params)
    correct = FORMS[form](case.gradient)
    assert gf.gradcheck(case.loss, correct, params)
    assert gf.gradcheck(case.loss, lambda given: correct, params)
    wrong = copy.deepcopy(case.gradient)
    wrong["b2"][1] += 1.0
    report = gf.gradcheck(case.loss, FORMS[form](wrong), params)
    assert wrong_arrays(report) == ["b2"]
    assert report.worst(1)[0][:2] == ("b2", (1,))


def test_gradient_function_is_given_the_parameters_as_they_are():
    seen = []

    def gradient(params):
        seen.append(params)
        return [np.array([2.0, 4.0]), 3.0]

    params = [np.array([1.0, 2.0], np.float32), 5.0]
    report = gf.gradcheck(lambda p: (np.asarray(p[0], float) ** 2).sum() + 3 * p[1], gradient, params)
    assert report
    assert len(seen) == 1
    assert isinstance(seen[0], list)
    assert seen[0][0].dtype == np.float32
    np.testing.assert_array_equal(seen[0][0], params[0])
    assert seen[0][1] == 5.0


def test_gradient_by_name_not_by_position():
    """Two matrices of one shape, in another order: names decide."""
    case = four_layers("regression")
    gradient = case.gradient
    assert gf.gradcheck(case.loss, {name: gradient[name] for name in reversed(gradient)}, case.params)
    swapped = {**gradient, "W2": gradient["W3"], "W3": gradient["W2"]}
    assert wrong_arrays(gf.gradcheck(case.loss, swapped, case.params)) == ["W2", "W3"]


# ---- the user's arrays are the user's


class Spoiled(Exception):
    pass


def spoil(tree, then_raise):
    for array in tree.values() if isinstance(tree, dict) else [tree]:
        array[...] = -7.0
    if then_raise:
        raise Spoiled


@pytest.mark.parametrize("form", ["dict", "flat"])
@pytest.mark.parametrize("who", ["loss", "gradient", "progress"])
@pytest.mark.parametrize("then_raise", [False, True], ids=["returns", "raises"])
def test_user_arrays_are_never_modified(form, who, then_raise):
    case = four_layers("regression")
    params, gradient = FORMS[form](case.params), FORMS[form](case.gradient)
    before = copy.deepcopy((params, gradient, case.X, case.y))
    compiled = case.loss

    def loss(given):
        value = compiled(given)
        if who == "loss":
            spoil(given, then_raise)
        return value

    def gradient_function(given):
        result = copy.deepcopy(gradient)
        if who == "gradient":
            spoil(given, then_raise)
        return result

    def progress(fraction):
        if who == "progress" and then_raise:
            raise Spoiled

    def run():
        return gf.gradcheck(loss, gradient_function, params, progress=progress)

    if then_raise:
        with pytest.raises(Spoiled):
            run()
    else:
        assert run()
    np.testing.assert_equal((params, gradient, case.X, case.y), before)


def test_report_keeps_its_own_numbers():
    case = four_layers("regression")
    gradient = case.gradient
    report = gf.gradcheck(case.loss, gradient, case.params)
    gradient["W1"][...] = 0.0
    np.testing.assert_array_equal(report.analytic["W1"], case.gradient["W1"])
    assert report.worst(1)[0].analytic != 0.0


@pytest.mark.parametrize("method", [*METHODS, "direct"])
def test_read_only_arrays_are_fine(method):
    case = four_layers("regression")
    arrays = [*case.params.values(), case.X, case.y, *(gradient := case.gradient).values()]
    for array in arrays:
        array.flags.writeable = False
    assert gf.gradcheck(case.loss, gradient, case.params, method=method)


# ---- the user's own cost


def test_the_same_cost_says_nothing():
    case = four_layers("regression")
    value = case.loss(case.params)
    for own in (value, np.float32(value), value * (1 + 1e-5)):
        assert gf.gradcheck(case.loss, case.gradient, case.params, loss_value=own).notes == ()


@pytest.mark.parametrize(
    ("factor", "named"),
    [(2.0, "a factor ½ differs"), (0.5, "a factor ½ differs"), (-1.0, "the sign differs"), (7.0, "")],
)
def test_another_cost_is_said_first(factor, named):
    case = four_layers("regression")
    value = case.loss(case.params)
    doubled = {name: factor * array for name, array in case.gradient.items()}
    report = gf.gradcheck(case.loss, doubled, case.params, loss_value=factor * value)
    (note,) = report.notes
    assert f"your cost is {factor * value:.10g}" in note
    assert f"{factor:g} times as much" in note
    assert named in note
    assert str(report).startswith("Note: your cost")
    assert not report.ok


def test_a_cost_of_zero():
    report = gf.gradcheck(lambda p: 0.0 * p, 0.0, 1.5, loss_value=1.0)
    assert "your cost is 1, the one described here 0." in report.notes[0]


@pytest.mark.parametrize("value", [np.nan, np.inf, "1", None, 1j, [1.0]], ids=repr)
def test_a_cost_that_is_none(value):
    case = four_layers("regression")
    if value is None:
        assert gf.gradcheck(case.loss, case.gradient, case.params, loss_value=value).notes == ()
        return
    with pytest.raises((TypeError, ValueError), match="loss_value"):
        gf.gradcheck(case.loss, case.gradient, case.params, loss_value=value)


def test_a_method_that_is_misspelt():
    with pytest.raises(ValueError, match="method: unknown name 'Directional', did you mean 'directional'"):
        gf.gradcheck(np.sum, np.ones(3), np.ones(3), method="Directional")
