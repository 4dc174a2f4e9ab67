"""Complex arrays as pairs of real ones, and the four conventions of a gradient."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from gradcheck_fast.inputs.complex_pairs import (
    CONVENTIONS,
    JAX,
    PYTORCH,
    ComplexPairs,
    combined,
    gradient_by_name,
    has_complex,
    pairs_by_name,
)


class Layer(NamedTuple):
    W: object
    b: object


TREE = {
    "layer": Layer(np.array([[1.0 + 2.0j, 3.0j]]), np.array([1.0, 2.0])),
    "z": [1.0 - 1.0j, np.complex64(2.0j), 5.0],
}


def test_trees_are_split_and_joined():
    pairs = ComplexPairs(TREE)
    split = pairs.split(TREE)
    assert pairs.names == ("layer[0]", "z[0]", "z[1]")
    assert isinstance(split["layer"], Layer)
    np.testing.assert_array_equal(split["layer"].W["imag"], [[2.0, 3.0]])
    assert not has_complex(split)
    again = pairs.join(split)
    np.testing.assert_array_equal(again["layer"].W, TREE["layer"].W)
    assert again["layer"].b is TREE["layer"].b
    assert again["z"][0] == 1.0 - 1.0j
    assert again["z"][1].dtype == np.complex64


def test_a_single_array_has_a_name():
    z = np.array([1.0j, 2.0])
    pairs = ComplexPairs(z, "z")
    assert list(pairs.split(z)) == ["z"]
    np.testing.assert_array_equal(pairs.join(pairs.split(z)), z)
    assert list(ComplexPairs(z, "z", is_part=True).split(z)) == ["real", "imag"]


def test_arrays_may_have_more_axes():
    z = np.array([1.0j, 2.0])
    many = ComplexPairs(z).join({"params": {"real": np.ones((5, 2)), "imag": np.zeros((5, 2))}})
    assert many.shape == (5, 2)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_a_convention_and_its_inverse(convention):
    by_real, by_imag = np.array([1.0, -2.0]), np.array([3.0, 0.5])
    found = convention.pair(convention.gradient(by_real, by_imag))
    np.testing.assert_array_equal(found, (by_real, by_imag))


def test_conventions_are_those_of_pytorch_and_jax():
    assert PYTORCH.gradient(1.0, 2.0) == 1.0 + 2.0j
    assert JAX.gradient(1.0, 2.0) == 1.0 - 2.0j
    assert [which.gradient(1.0, 2.0) for which in CONVENTIONS[2:]] == [0.5 + 1.0j, 0.5 - 1.0j]


def test_infinite_parts_do_not_mix():
    found = combined(np.array([1.0, np.inf]), np.array([np.inf, -0.0]))
    np.testing.assert_array_equal(found.real, [1.0, np.inf])
    assert np.signbit(found.imag[1])
    with pytest.raises(TypeError, match="complex steps"):
        combined(np.array([1.0j]), np.array([0.0]))


def test_derivatives_take_gradients_in_any_form():
    pairs = ComplexPairs({"W": np.zeros(2, complex), "b": np.zeros(2)})
    W, b = np.array([1.0 + 2.0j, 3.0]), np.array([5.0, 6.0])
    for given in ({"W": W, "b": b}, {"dW": W, "db": b}, [W, b], np.concatenate([W, b]), (0.5, {"W": W, "b": b})):
        found, _ = pairs.derivatives(given, JAX)
        np.testing.assert_array_equal(found["W"]["imag"], [-2.0, 0.0])
        np.testing.assert_array_equal(found["b"], b)
    with pytest.raises(
        TypeError, match=r"gradient: b: expected real numbers.* got complex128: is the real part meant\?"
    ):
        pairs.derivatives({"W": W, "b": b + 1.0j}, JAX)


def test_what_a_function_writes_is_written_back():
    pairs = ComplexPairs({"z": np.zeros(2, complex)})
    split = {"z": {"real": np.zeros(2), "imag": np.zeros(2)}}
    pairs.write_back([np.array([1.0 + 2.0j, 0.0])], split)
    np.testing.assert_array_equal(split["z"]["imag"], [2.0, 0.0])


def test_named_arrays():
    arrays = {"W": np.array([1.0 + 2.0j]), "x.real": np.array([3.0])}
    pairs = pairs_by_name(arrays)
    assert list(pairs) == ["W.real", "W.imag", "x.real"]
    again = gradient_by_name(pairs, ("W",), PYTORCH)
    assert list(again) == ["W", "x.real"]
    assert again["W"] == arrays["W"]
