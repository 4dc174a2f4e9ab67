"""A network of columns is that of rows with all transposed: in values, methods, diagnoses and errors."""

from __future__ import annotations

import re

import numpy as np
import pytest

import gradcheck_fast as gf

RNG = np.random.default_rng(0)
LAYERS = [gf.Dense(4, 5, "tanh"), gf.Dense(5, 3)]
ROWS = gf.Network(LAYERS, gf.CrossEntropy(), gf.L2(0.1))
NET = gf.Network(LAYERS, gf.CrossEntropy(), gf.L2(0.1), columns=True)
X, LABELS = RNG.normal(size=(4, 7)), RNG.integers(0, 3, 7)
ONE_HOT = np.eye(3)[:, LABELS]
PARAMS = NET.init(0)
LOSS = NET.loss(X, LABELS)


def gradient(p, derivative=lambda A: 1 - A**2):
    """As it is written by hand, with samples in columns."""
    A = np.tanh(p["W1"] @ X + p["b1"])
    Z = p["W2"] @ A + p["b2"]
    E = np.exp(Z - Z.max(axis=0))
    dZ2 = (E / E.sum(axis=0) - ONE_HOT) / X.shape[1]
    dZ1 = p["W2"].T @ dZ2 * derivative(A)
    return {
        "dW1": dZ1 @ X.T + 0.1 * p["W1"], "db1": dZ1.sum(axis=1, keepdims=True),
        "dW2": dZ2 @ A.T + 0.1 * p["W2"], "db2": dZ2.sum(axis=1, keepdims=True), "dZ1": dZ1,
    }  # fmt: skip


def turned(rows):
    return {name: array[:, np.newaxis] if array.ndim == 1 else array.T for name, array in rows.items()}


def test_shapes_are_those_of_W_x_plus_b():
    assert NET.shapes == {"W1": (5, 4), "b1": (5, 1), "W2": (3, 5), "b2": (3, 1)}
    assert repr(NET).endswith("columns=True)")
    assert "columns" not in repr(ROWS)


def test_values_are_those_of_rows():
    rows = ROWS.init(0)
    assert all(np.array_equal(array, turned(rows)[name]) for name, array in PARAMS.items())
    np.testing.assert_array_equal(NET.predict(PARAMS, X), ROWS.predict(rows, X.T).T)
    expected = ROWS.loss(X.T, LABELS)(rows)
    assert LOSS(PARAMS) == expected
    for y in (ONE_HOT, LABELS[np.newaxis]):
        assert NET.loss(X, y)(PARAMS) == expected
    assert LOSS(np.concatenate([array.ravel() for array in PARAMS.values()])) == expected
    assert (LOSS.samples, LOSS.times) == (7, 1)


METHODS = [
    {}, {"method": "units"}, {"method": "incremental"}, {"method": "chain"}, {"method": "direct"},
    {"method": "directional"}, {"sample": 3}, {"error_bars": True}, {"step": 1e-5, "method": "direct"},
]  # fmt: skip


@pytest.mark.parametrize("options", METHODS, ids=str)
def test_every_method(options):
    report = gf.gradcheck(LOSS, gradient, PARAMS, **options)
    assert report.ok
    assert report.notes == ("gradients dW1, db1, dW2, db2 are taken for W1, b1, W2, b2; dZ1 was passed over",)
    assert report.numerical is None or report.numerical["W1"].shape == (5, 4)
    wrong = lambda p: {**gradient(p), "dW2": gradient(p)["dW2"] * np.where(np.arange(5) == 1, 1.5, 1.0)}
    assert gf.gradcheck(LOSS, wrong, PARAMS, **options).verdict == "FAIL"


@pytest.mark.parametrize("method", ["units", "incremental", "chain", "direct"])
def test_the_numerical_gradient_is_that_of_rows(method):
    found = gf.numerical_gradient(LOSS, PARAMS, method=method)
    expected = turned(gf.numerical_gradient(ROWS.loss(X.T, LABELS), ROWS.init(0), method=method))
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_changes_along_a_direction_are_exact():
    theta = np.concatenate([array.ravel() for array in PARAMS.values()])
    g = gradient(PARAMS)
    flat = np.concatenate([g[f"d{name}"].ravel() for name in PARAMS])
    direction = RNG.normal(size=theta.size)
    assert np.isclose(LOSS.change(theta, direction, 1e-12) / 1e-12, flat @ direction, rtol=1e-9)


def test_directions_of_the_certificate_are_passed_on():
    loss = NET.loss(X, LABELS)
    loss.directions = 5
    assert gf.gradcheck(loss, gradient, PARAMS, method="chain").certificate.directions == 5


# ---- diagnoses


def causes(change):
    found = {name[1:]: array for name, array in gradient(PARAMS).items() if name != "dZ1"}
    return [diagnosis.cause for diagnosis in gf.gradcheck(LOSS, change(found), PARAMS).diagnoses]


def test_a_mistake_on_the_way_back_is_named():
    report = gf.gradcheck(LOSS, lambda p: gradient(p, lambda A: 1.0), PARAMS)
    assert report.diagnoses[0].cause == "in layer 1 the derivative of tanh is left out"
    assert report.diagnoses[0].arrays == ("W1", "b1")


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda g: {**g, "W1": 2 * g["W1"]}, "the gradient of W1 is doubled"),
        (lambda g: {**g, "W2": g["W2"] * 7}, "the gradient of W2 is multiplied by the number of samples N = 7"),
        (lambda g: {**g, "W2": g["W2"].T.reshape(3, 5)}, "the gradient of W2 is its transpose, reshaped to (3, 5)"),
        (lambda g: {**g, "W2": np.reshape(g["W2"].ravel(), (3, 5), order="F")},
         "the gradient of W2 is filled in column after column"),
        (lambda g: {**g, "W1": g["W1"] - 0.1 * PARAMS["W1"]}, "the penalty's term is missing in W1"),
    ],
)  # fmt: skip
def test_orders_are_those_of_the_users_arrays(change, cause):
    assert causes(change)[0].startswith(cause)


def test_rows_and_columns_are_what_the_user_calls_so():
    (found,) = causes(lambda g: {**g, "W1": np.flip(g["W1"], 0)})
    assert found == "the rows of W1 are back to front"


def test_nothing_is_said_of_unrelated_errors():
    noise = np.random.default_rng(1).normal(size=(5, 4))
    assert causes(lambda g: {**g, "W1": g["W1"] + noise}) == []


# ---- recurrent layers


def test_sequences():
    layers = [gf.LSTM(3, 4, return_sequences=True, initial_state="data"), gf.Dense(4, 2)]
    net, rows = (gf.Network(layers, gf.SquaredError(), columns=columns) for columns in (True, False))
    X, Y = RNG.normal(size=(3, 6, 5)), RNG.normal(size=(2, 6, 5))
    states = dict(zip(net.state_widths, RNG.normal(size=(2, 4, 6)), strict=True))
    lengths = np.array([5, 3, 1, 2, 5, 4])
    loss = net.loss(X, Y, states=states, lengths=lengths)
    other = rows.loss(
        X.transpose(1, 2, 0), Y.transpose(1, 2, 0), states={name: a.T for name, a in states.items()}, lengths=lengths
    )
    params = net.init(1)
    assert loss(params) == other(rows.init(1))
    assert loss.times == 5
    assert net.predict(params, X, states=states).shape == (2, 6, 5)
    found = gf.numerical_gradient(loss, params, method="units")
    assert gf.gradcheck(loss, found, params, method="chain").ok
    one = {name: state[:, :1] for name, state in states.items()}
    np.testing.assert_array_equal(
        net.predict(params, X, states=one), net.predict(params, X, states={name: s[:, 0] for name, s in one.items()})
    )


def test_the_gates_of_a_recurrent_layer_lie_one_below_the_other():
    net = gf.Network([gf.LSTM(3, 4), gf.Dense(4, 2)], gf.SquaredError(), columns=True)
    loss, params = net.loss(RNG.normal(size=(3, 6, 5)), RNG.normal(size=(2, 6))), net.init(0)
    found = gf.numerical_gradient(loss, params)
    assert found["Wx1"].shape == (16, 3)
    blocks = np.split(found["Wx1"], 4)
    wrong = {**found, "Wx1": np.concatenate([blocks[k] for k in (1, 0, 2, 3)])}
    assert gf.gradcheck(loss, wrong, params).diagnoses[0].cause.startswith("the gates of Wx1 are in the order")


def test_one_input_and_one_output():
    net = gf.Network([gf.Dense(1, 1)], gf.SquaredError(), columns=True)
    values = [net.loss(x, y)(net.init(0)) for x in (X[0], X[:1]) for y in (X[1], X[1:2])]
    assert len(set(values)) == 1


# ---- errors


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: NET.loss(X.T, LABELS), "X: expected the shape (4, samples), got (7, 4); X looks transposed"),
        (lambda: NET.loss(X[:, 0], 1), "X: expected the shape (4, samples), got (4,); for one sample use X[:, np"),
        (lambda: NET.loss(X, ONE_HOT.T), "y: expected the shape (3, 7), where samples are columns, got (7, 3)"),
        (lambda: ROWS.loss(X, LABELS), "X: expected the shape (samples, 4), got (4, 7); if samples are columns"),
        (lambda: LOSS({**PARAMS, "W1": PARAMS["W1"].T}), "params: W1: expected the shape (5, 4), got (4, 5); W1"),
        (lambda: LOSS({**PARAMS, "b1": PARAMS["b1"].ravel()}), "params: b1: expected the shape (5, 1), got (5,)"),
        (lambda: gf.Network(LAYERS, gf.CrossEntropy(), columns=1), "columns: expected True or False, got 1"),
    ],
)  # fmt: skip
def test_errors_are_in_the_users_terms(call, said):
    with pytest.raises((TypeError, ValueError), match=re.escape(said)):
        call()
