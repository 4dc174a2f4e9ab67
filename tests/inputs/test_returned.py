"""What functions return beside what is wanted of them."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck_fast.inputs.returned import describe, hint_at_value, note_on_rest, pack_gradient, value_and_rest

SHAPES = {"W": (2, 3), "b": (3,)}
W, B = np.arange(6.0).reshape(2, 3), np.arange(3.0)


@pytest.mark.parametrize(
    "value", [2, 2.0, np.float32(2.0), np.array(2.0), np.array([2.0]), np.array([[2.0]])], ids=repr
)
@pytest.mark.parametrize("rest", [(None,), ({"W": W},), (0.9,), (W, B, "text")], ids=len)
def test_a_number_and_something_beside_it(value, rest):
    assert value_and_rest((value, *rest)) == (value, rest)
    found = value_and_rest([value, *rest])
    assert found is not None
    assert found[0] is value


@pytest.mark.parametrize(
    "found",
    [2.0, np.ones(2), np.ones((2, 1)), (2.0,), [2.0], [], (), [1.0, 2.0, 3.0], (W, 2.0), (None, 2.0), ("2", 3.0),
     {"loss": 2.0, "W": W}, (True, 1.0)],
    ids=str,
)  # fmt: skip
def test_anything_else_is_no_value(found):
    assert value_and_rest(found) is None


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        (
            ({"dW": W, "db": B, "dA": None},),
            "gradient), as it looks: the value is taken for the loss; gradient=True checks",
        ),
        ((np.ones(9),), "gradient), as it looks"),
        ((W, B, None), "gradient), as it looks"),
        ((0.9,), "a number): the value is taken for the loss"),
        (({"h": W}, None), "a dict of h, None): the value is taken for the loss"),
    ],
)
def test_the_note_says_what_stands_beside_the_value(rest, said):
    assert note_on_rest(rest, SHAPES, ()).startswith(f"the loss returns (value, {said}")


# ---- gradients

GRADIENT = {"W": W, "b": B}
FORMS = {
    "alone": (GRADIENT, ()),
    "value-first": ((0.5, GRADIENT), ("a value stands before the gradient: it was passed over",)),
    "value-first-in-a-list": ([0.5, [W, B]], ("a value stands before the gradient: it was passed over",)),
    "value-and-one-after-another": (
        (0.5, W, B, "state"),
        (
            "a value stands before the gradient: it was passed over",
            "elements 1 to 2 of what is returned are taken for the gradients of W, b",
        ),
    ),
    "gradient-first": ((GRADIENT, {"x": W}), ("beside the gradient, a dict of x was passed over",)),
    "a-tuple-that-is-the-gradient": ((W, B), ()),
}


@pytest.mark.parametrize(("given", "notes"), FORMS.values(), ids=FORMS)
def test_the_gradient_is_found(given, notes):
    found = pack_gradient(given, SHAPES)
    np.testing.assert_array_equal(found.flat, [*W.ravel(), *B])
    assert found.notes == notes


def test_a_number_that_is_a_parameter_is_no_value():
    found = pack_gradient((0.5, B), {"a": (), "b": (3,)})
    np.testing.assert_array_equal(found.flat, [0.5, *B])
    assert found.notes == ()


def test_what_does_not_fit_is_refused_as_it_would_be_alone():
    with pytest.raises(ValueError, match=r"gradient: expected 2 arrays \(W, b\), got 3"):
        pack_gradient((0.5, {"W": W}, 3.0), SHAPES)
    with pytest.raises(ValueError, match="gradient: missing b"):
        pack_gradient((0.5, {"W": W}), SHAPES, beside_value=True)


@pytest.mark.parametrize(
    "given", [0.5, GRADIENT, (GRADIENT, 0.5), None], ids=["value", "gradient", "exchanged", "none"]
)
def test_beside_a_value_there_must_be_one(given):
    with pytest.raises(TypeError, match=r"gradient=True: expected the loss to return \(value, gradient\), got"):
        pack_gradient(given, SHAPES, beside_value=True)


# ---- words


def test_descriptions_are_short():
    found = (np.ones((100, 3)), [1.0, None], {"a": W, "b": W}, np.float64(2.0), object(), "text")
    assert describe(found[:4]) == "(an array of shape (100, 3), [a number, None], a dict of a, b, a number)"
    assert describe(found[4:]) == "(object, str)"
    assert describe([1.0] * 9) == "[a number, a number, a number, a number, …]"


def test_hints_at_a_value():
    assert hint_at_value((W, 2.0)) == "; if element 1 is the loss, pass lambda params: loss(params)[1]"
    assert hint_at_value({"W": W, "loss": 2.0}) == "; if loss is the loss, pass lambda params: loss(params)['loss']"
    assert hint_at_value([1.0, 2.0, 3.0]) == hint_at_value((W, B)) == hint_at_value(3) == ""
