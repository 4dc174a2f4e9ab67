"""``gradient=True``: the loss returns its gradient beside its value; and losses that return anything beside it."""

from __future__ import annotations

import re
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

import gradcheck_fast as gf

X = np.random.default_rng(0).normal(size=(7, 3))
PARAMS = {"W": np.linspace(-1, 1, 15).reshape(3, 5), "b": np.linspace(0, 1, 5)}
FLAT = np.concatenate([PARAMS["W"].ravel(), PARAMS["b"]])
LOOKS = (
    "the loss returns (value, gradient), as it looks: the value is taken for the loss; gradient=True checks what is "
    "beside it"
)


def both(p, factor=1.0):
    h = np.tanh(X @ p["W"] + p["b"])
    d = factor * 2 * h * (1 - h * h)
    return np.sum(h**2), {"W": X.T @ d, "b": d.sum(axis=0)}


def doubled(p):
    return both(p, 2.0)


def opaque(p):
    """Cannot be traced: it asks for the bytes of what it computes."""
    value, gradient = both({name: np.frombuffer(array.tobytes()).reshape(array.shape) for name, array in p.items()})
    return float(value), gradient


METHODS = [{}, *({"method": name} for name in ("chain", "incremental", "direct", "complex", "directional")),
           {"sample": 3}, {"trace": False}, {"step": 1e-5}, {"error_bars": True}, {"loss_value": both(PARAMS)[0]},
           {"n_threads": 2}]  # fmt: skip


@pytest.mark.parametrize("options", METHODS, ids=str)
def test_the_gradient_beside_the_value_is_checked(options):
    report = gf.gradcheck(both, True, PARAMS, **options)
    assert report.ok
    assert report.notes == ()
    assert gf.gradcheck(doubled, True, PARAMS, **options).verdict == "FAIL"


@pytest.mark.parametrize(
    ("form", "notes"),
    [
        (lambda g: g, ()),
        (
            lambda g: {"db": g["b"], "dW": g["W"], "dz": None},
            ("gradients dW, db are taken for W, b; dz was passed over",),
        ),
        (lambda g: np.concatenate([g["W"].ravel(), g["b"]]), ()),
        (lambda g: [g["W"], g["b"]], ()),
        (
            lambda g: {**g, "b": g["b"][:, np.newaxis]},
            ("the gradient of b has the shape (5, 1), its parameter (5,): taken as the same entries",),
        ),
    ],
    ids=["tree", "names", "flat", "list", "column"],
)
def test_the_gradient_may_have_any_form(form, notes):
    report = gf.gradcheck(lambda p: (both(p)[0], form(both(p)[1])), True, PARAMS)
    assert report.ok
    assert report.notes == notes
    assert not gf.gradcheck(lambda p: (both(p)[0], form(doubled(p)[1])), True, PARAMS).ok


def test_the_gradients_may_follow_one_after_another():
    report = gf.gradcheck(lambda p: (both(p)[0], *both(p)[1].values(), "state"), True, PARAMS)
    assert report.ok
    assert report.notes == ("elements 1 to 2 of what is returned are taken for the gradients of W, b",)


def test_flat_parameters():
    def flat(theta):
        value, gradient = both({"W": theta[:15].reshape(3, 5), "b": theta[15:]})
        return value, np.concatenate([gradient["W"].ravel(), gradient["b"]])

    report = gf.gradcheck(flat, True, FLAT)
    assert report.ok
    assert (report.method, report.notes) == ("chain", ())
    wrong = lambda theta: (flat(theta)[0], np.where(np.arange(20) == 7, 0.0, flat(theta)[1]))
    assert gf.gradcheck(wrong, True, FLAT).worst()[0].index == (7,)


def test_it_is_traced():
    report = gf.gradcheck(both, True, PARAMS)
    assert report.method == "chain"
    assert report.certificate.holds


def test_what_cannot_be_traced_is_differenced():
    report = gf.gradcheck(opaque, True, PARAMS)
    assert report.ok
    assert report.method == "direct"


def test_parameters_of_float32():
    params = {name: array.astype(np.float32) for name, array in PARAMS.items()}
    in_float32 = lambda p: (both(p)[0], {name: array.astype(p["W"].dtype) for name, array in both(p)[1].items()})
    assert gf.gradcheck(in_float32, True, params).ok
    wrong = lambda p: (both(p)[0], {name: 1.01 * array for name, array in in_float32(p)[1].items()})
    assert not gf.gradcheck(wrong, True, params).ok


def test_a_traced_loss():
    assert gf.gradcheck(gf.trace(both, PARAMS), True, PARAMS).ok
    assert not gf.gradcheck(gf.trace(doubled, PARAMS), True, PARAMS).ok


def test_a_method_of_a_class_that_counts_its_calls():
    class Model:
        calls = 0

        def loss(self, p):
            self.calls += 1
            return both(p)

    model = Model()
    assert gf.gradcheck(model.loss, True, PARAMS).ok


def test_workers_evaluate_it():
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        assert gf.gradcheck(both, True, PARAMS, method="direct", executor=pool).ok


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (lambda p: both(p)[0], "expected the loss to return (value, gradient), got a number; pass the gradient itself"),
        (lambda p: (both(p)[0],), "expected the loss to return (value, gradient), got (a number)"),
        (lambda p: both(p)[::-1], "expected the loss to return (value, gradient), got (a dict of W, b, a number)"),
    ],
)
def test_a_loss_without_a_gradient_is_refused(loss, said):
    with pytest.raises(TypeError, match=re.escape(f"gradient=True: {said}")):
        gf.gradcheck(loss, True, PARAMS)


def test_a_gradient_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="gradient: missing b"):
        gf.gradcheck(lambda p: (both(p)[0], {"W": both(p)[1]["W"]}), True, PARAMS)


@pytest.mark.parametrize("options", [{"vectorized": True}])
def test_many_sets_of_parameters_have_no_gradient_beside(options):
    with pytest.raises(TypeError, match="gradient=True: that is for a Python function of one set of parameters"):
        gf.gradcheck(lambda p: p["b"].sum(axis=-1), True, PARAMS, **options)


def test_a_network_has_none():
    net = gf.Network([gf.Dense(3, 2)], gf.SquaredError())
    with pytest.raises(TypeError, match="gradient=True: that is for a Python function"):
        gf.gradcheck(net.loss(X, np.zeros((7, 2))), True, net.init(0))


def test_the_step_sweep():
    pytest.importorskip("matplotlib")
    assert gf.plot_step_sweep(both, True, PARAMS, steps=[1e-6, 1e-5], entries=3) is not None


def test_the_only_element_that_fits_is_the_gradient():
    report = gf.gradcheck(lambda p: (both(p)[0], 0.9, both(p)[1]), True, PARAMS)
    assert report.ok
    assert "element 2 of what is returned is taken for the gradient" in report.notes
    assert not gf.gradcheck(lambda p: (both(p)[0], 0.9, doubled(p)[1]), True, PARAMS).ok


# ---- without ``gradient=True``


@pytest.mark.parametrize("options", METHODS, ids=str)
def test_the_value_is_taken_and_that_is_said(options):
    report = gf.gradcheck(both, both(PARAMS)[1], PARAMS, **options)
    assert report.ok
    assert report.notes == (LOOKS,)


@pytest.mark.parametrize(
    ("rest", "said"),
    [((0.9,), "a number"), (({"h": None},), "a dict of h"), ((None, "text"), "None, str")],
    ids=["accuracy", "cache", "more"],
)
@pytest.mark.parametrize("kind", [tuple, list])
def test_whatever_stands_beside_the_value(rest, said, kind):
    report = gf.gradcheck(lambda p: kind((both(p)[0], *rest)), both(PARAMS)[1], PARAMS)
    assert report.ok
    assert report.method == "chain"
    assert report.notes == (f"the loss returns (value, {said}): the value is taken for the loss",)
    assert not gf.gradcheck(lambda p: kind((both(p)[0], *rest)), doubled(PARAMS)[1], PARAMS).ok


@pytest.mark.parametrize("gradient", [both, both(PARAMS)], ids=["function", "tuple"])
def test_a_value_before_the_gradient_is_passed_over(gradient):
    report = gf.gradcheck(lambda p: both(p)[0], gradient, PARAMS)
    assert report.ok
    assert report.notes == ("a value stands before the gradient: it was passed over",)


def test_something_after_the_gradient_is_passed_over():
    report = gf.gradcheck(lambda p: both(p)[0], lambda p: (both(p)[1], {"cache": 1}), PARAMS)
    assert report.ok
    assert report.notes == ("beside the gradient, a dict of cache was passed over",)


def test_the_numerical_gradient_and_the_trace_take_the_value():
    with pytest.warns(UserWarning, match="as it looks: the value is taken for the loss"):
        found = gf.numerical_gradient(both, PARAMS)
    assert gf.relative_error(found, both(PARAMS)[1]) < 1e-15
    assert gf.trace(both, PARAMS)(PARAMS) == both(PARAMS)[0]


def test_one_number_in_a_tuple_stays_a_number():
    report = gf.gradcheck(lambda p: (both(p)[0],), both(PARAMS)[1], PARAMS)
    assert report.ok
    assert report.notes == ()


@pytest.mark.parametrize("found", [np.ones(2), [1.0, 2.0, 3.0], np.ones((2, 3))], ids=["two", "list", "matrix"])
def test_several_numbers_are_no_loss(found):
    with pytest.raises(TypeError, match="loss: expected it to return one real number, got"):
        gf.gradcheck(lambda p: found, both(PARAMS)[1], PARAMS)
