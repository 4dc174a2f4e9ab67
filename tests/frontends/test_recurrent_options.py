"""Recurrent layers: what does not fit is named, and all combinations of options agree between the methods."""

from itertools import product

import numpy as np
import pytest
from networks import small_lstm

import gradcheck_fast as gf

# ---- bad input


@pytest.mark.parametrize(
    ("X", "y", "lengths", "says"),
    [
        (np.ones((4, 2)), None, None, r"X: expected the shape \(samples, times, 2\), got \(4, 2\)"),
        (np.ones((4, 0, 2)), None, None, "X: expected at least one time, got none"),
        (np.ones((0, 5, 2)), None, None, "X: expected at least one sample"),
        ([[[1.0, 2.0]], [[1.0, 2.0], [3.0, 4.0]]], None, None, "X: .*pad samples of different lengths"),
        (None, np.zeros((4, 4), int), None, r"y: CrossEntropy on 4 samples of 5 times expects \(4, 5, 2\)"),
        (None, np.full((4, 5), 2), None, "class indices run from 0 to 1"),
        (None, None, [5, 5, 5, 0], r"lengths: 0 at index \[3\]; expected 1 to 5"),
        (None, None, [5, 6, 5, 5], r"lengths: 6 at index \[1\]"),
        (None, None, [5, 5], r"lengths: expected the shape \(4,\)"),
        (None, None, [5.0] * 4, "lengths: expected integers"),
    ],
)
def test_bad_data(X, y, lengths, says):
    net, good_X, good_y, _ = small_lstm()
    with pytest.raises((ValueError, TypeError), match=says):
        net.loss(good_X if X is None else X, good_y if y is None else y, lengths=lengths)


def test_nan_is_named_by_sample_time_and_column():
    net, X, y, _ = small_lstm()
    X[1, 2, 1] = np.nan
    with pytest.raises(ValueError, match=r"X: nan at index \[1, 2, 1\]"):
        net.loss(X, y)


def test_a_state_of_the_wrong_shape_is_named():
    net, X, y, params = small_lstm(initial_state="parameters")
    params["c01"] = np.zeros(4)
    with pytest.raises(ValueError, match=r"c01: expected the shape \(3,\), got \(4,\)"):
        net.loss(X, y)(params)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: gf.LSTM(2, 0), "LSTM: hidden"),
        (lambda: gf.LSTM(2, 3, gates="ifg"), "LSTM: gates"),
        (lambda: gf.LSTM(2, 3, coupled=True, gates="ifgo"), "LSTM: gates"),
        (lambda: gf.LSTM(2, 3, forget_bias=float("nan")), "LSTM: forget_bias"),
        (lambda: gf.GRU(2, 3, joint="xh"), "reset_after=False"),
        (lambda: gf.GRU(2, 3, keep="x"), "GRU: keep"),
        (lambda: gf.RNN(2, 3, activation="thanh"), "did you mean 'tanh'"),
        (lambda: gf.RNN(2, 3, bias="two"), "RNN: bias"),
        (lambda: gf.RNN(2, 3, initial_state="zero"), "did you mean 'zeros'"),
        (lambda: gf.Network([gf.RNN(2, 3), gf.RNN(3, 1)], cost=gf.SquaredError()), "return_sequences=True"),
        (
            lambda: gf.Network(gf.Dense(2, 1), cost=gf.SquaredError()).loss(np.ones((1, 2)), [1], lengths=[1]),
            "no recurr",
        ),
    ],
)
def test_bad_layers(make, says):
    with pytest.raises((ValueError, TypeError), match=says):
        make()


def test_all_combinations_of_options_lower_and_agree_between_methods():
    random = np.random.default_rng(4)
    X = random.normal(size=(2, 3, 2))
    for joint, bias, start, both in product(
        ("", "xh"), (True, False, "double"), ("zeros", "parameters"), (False, True)
    ):
        options = {"joint": joint, "bias": bias, "initial_state": start, "bidirectional": both}
        for layer in (gf.RNN(2, 3, **options), gf.GRU(2, 3, reset_after=False, **options), gf.LSTM(2, 3, **options)):
            net = gf.Network([layer, gf.Dense(layer.outputs, 1)], cost=gf.SquaredError())
            loss, params = net.loss(X, random.normal(size=(2, 1)), lengths=[3, 2]), net.init(0)
            units = gf.numerical_gradient(loss, params, method="units")
            assert gf.gradcheck(loss, units, params, method="incremental").ok, layer


@pytest.mark.parametrize("method", ["units", "incremental", "chain"])
@pytest.mark.parametrize("hidden", [5, 20, pytest.param(40, marks=pytest.mark.long)])
@pytest.mark.parametrize("layer", [gf.GRU, gf.LSTM])
def test_states_that_are_data_in_a_layer_of_another_width(layer, hidden, method):
    """The state, an input without a difference, meets what the first layer still has one of."""
    options = {"coupled": True} if layer is gf.LSTM else {}
    second = layer(20, hidden, bidirectional=True, initial_state="data", **options)
    net = gf.Network([gf.RNN(3, 20, return_sequences=True), second, gf.Dense(2 * hidden, 2)], cost=gf.SquaredError())
    random = np.random.default_rng(1)
    X, y = random.normal(size=(3, 3, 3)), random.normal(size=(3, 2))
    names = [name + end for end in ("", "_reverse") for name in (("h0",) if layer is gf.GRU else ("h0", "c0"))]
    states = {f"{name}2": random.normal(size=(3, hidden)) for name in names}
    loss, params = net.loss(X, y, states=states), net.init(1)
    found = gf.numerical_gradient(loss, params, method=method)
    assert gf.relative_error(found, gf.numerical_gradient(loss, params, method="direct")) < 1e-8
