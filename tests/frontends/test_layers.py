"""Dense: what it is made of, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from networks import ACTIVATIONS

import gradcheck_fast as gf
from gradcheck_fast.frontends.network.layers import activations


def test_defaults():
    layer = gf.Dense(2, 3)
    assert (layer.inputs, layer.outputs, layer.activation, layer.bias, layer.name) == (2, 3, "identity", True, None)


def test_shapes():
    assert gf.Dense(2, 3).shapes == {"W": (2, 3), "b": (3,)}
    assert list(gf.Dense(2, 3).shapes) == ["W", "b"]
    assert gf.Dense(2, 3, bias=False).shapes == {"W": (2, 3)}


def test_layers_are_frozen_and_comparable():
    assert gf.Dense(2, 3, "tanh") == gf.Dense(inputs=2, outputs=3, activation="tanh")
    assert len({gf.Dense(2, 3), gf.Dense(2, 3), gf.Dense(2, 4)}) == 2
    with pytest.raises(AttributeError):
        gf.Dense(2, 3).inputs = 4


def test_all_activations_are_known_by_their_names_in_pytorch_and_keras():
    assert sorted(activations()) == sorted(ACTIVATIONS)
    for name in activations():
        assert name in gf.Dense.__doc__
        gf.Dense(1, 1, name)


def test_rows_times_weights_plus_bias():
    """W is (inputs, outputs), samples are rows."""
    net = gf.Network(gf.Dense(2, 3), gf.SquaredError())
    W, b = np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]), np.array([0.5, 0.25, 0.125])
    np.testing.assert_array_equal(net.predict({"W1": W, "b1": b}, [[1.0, 1.0]]), [[11.5, 22.25, 33.125]])


def test_without_bias():
    net = gf.Network(gf.Dense(2, 1, bias=False), gf.SquaredError())
    np.testing.assert_array_equal(net.predict([np.array([[2.0], [3.0]])], np.zeros((4, 2))), np.zeros((4, 1)))


@pytest.mark.parametrize(
    ("activation", "z", "expected"),
    [
        ("identity", -2.5, -2.5),
        ("sigmoid", 0.0, 0.5),
        ("tanh", 0.0, 0.0),
        ("relu", -1.0, 0.0),
        ("relu", 2.0, 2.0),
        ("leaky_relu", -1.0, -0.01),
        ("elu", -1.0, np.expm1(-1.0)),
        ("selu", 1.0, 1.0507009873554805),
        ("softplus", 0.0, np.log(2.0)),
        ("softsign", -3.0, -0.75),
        ("silu", 0.0, 0.0),
        ("gelu", 1.0, 0.8413447460685429),
        ("gelu_tanh", 1.0, 0.8411919906082768),
        ("hardtanh", -1.5, -1.0),
        ("relu6", 7.0, 6.0),
        ("exp", 1.0, np.e),
        ("softmax", 3.0, 1.0),
    ],
)
def test_values_of_activations(activation, z, expected):
    net = gf.Network(gf.Dense(1, 1, activation, bias=False), gf.SquaredError())
    assert net.predict([np.ones((1, 1))], [[z]])[0, 0] == pytest.approx(expected, rel=1e-15, abs=1e-300)


def test_numpy_integers_are_integers():
    assert gf.Dense(np.int64(2), np.uint8(3)).shapes == {"W": (2, 3), "b": (3,)}


@pytest.mark.parametrize("bad", [0, -1, 2.0, "2", None, True, 1j], ids=repr)
@pytest.mark.parametrize("which", ["inputs", "outputs"])
def test_widths_are_positive_integers(which, bad):
    widths = {"inputs": 2, "outputs": 3, which: bad}
    with pytest.raises((TypeError, ValueError), match=rf"^Dense: {which}: expected a positive integer, got"):
        gf.Dense(**widths)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("sigmoit", "sigmoid"), ("ReLU", "relu"), ("Tanh", "tanh"), ("leakyrelu", "leaky_relu"), ("soft_max", "softmax")],
)
def test_unknown_activation_suggests_the_nearest_and_lists_all(name, nearest):
    with pytest.raises(ValueError, match=rf"^Dense: activation: unknown name '{name}', did you mean '{nearest}'") as e:
        gf.Dense(1, 1, name)
    assert all(known in str(e.value) for known in activations())


def test_unknown_activation_like_no_other():
    with pytest.raises(ValueError, match=r"^Dense: activation: unknown name 'xyzzy'; known: identity, "):
        gf.Dense(1, 1, "xyzzy")


@pytest.mark.parametrize("bad", [None, np.tanh, 3], ids=repr)
def test_activation_is_a_name(bad):
    with pytest.raises(TypeError, match=r"^Dense: activation: expected one of identity, .*got"):
        gf.Dense(1, 1, bad)


@pytest.mark.parametrize("bad", ["", 3, b"x"], ids=repr)
def test_name_is_a_string(bad):
    with pytest.raises(TypeError, match=r"^Dense: name: expected a non-empty string or None, got"):
        gf.Dense(1, 1, name=bad)


@pytest.mark.parametrize("bad", ["no", None, 2, np.ones(3)], ids=repr)
def test_bias_is_a_bool(bad):
    with pytest.raises(TypeError, match=r"^Dense: bias: expected True or False, got"):
        gf.Dense(1, 1, bias=bad)
