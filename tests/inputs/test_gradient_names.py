"""Gradients are taken by name: the parameters' own names, or one pattern that fits all parameters."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.inputs.gradient_names import PATTERNS, partly_taken, taken
from gradcheck_fast.inputs.trees import pack_as

W, B = np.arange(6.0).reshape(2, 3), np.arange(3.0)
SHAPES = {"W1": (2, 3), "b1": (3,)}


def packed(tree, shapes=SHAPES, **options):
    return pack_as(tree, shapes, "gradient", gradient=True, **options)


# ---- one pattern


@pytest.mark.parametrize(("before", "after"), PATTERNS)
def test_every_pattern_is_taken_in_the_order_of_the_parameters(before, after):
    found = packed({f"{before}b1{after}": B, f"{before}W1{after}": W})
    np.testing.assert_array_equal(found.flat, [*W.ravel(), *B])
    assert found.notes == (f"gradients {before}W1{after}, {before}b1{after} are taken for W1, b1",)


def test_patterns_are_all_different():
    assert len({before + "W" + after for before, after in PATTERNS}) == len(PATTERNS)


def test_one_parameter():
    assert packed({"dW1": W}, {"W1": (2, 3)}).notes == ("the gradient dW1 is taken for W1",)


def test_upper_and_lower_case_may_differ():
    found = packed({"db1": B, "dw1": W})
    np.testing.assert_array_equal(found.flat, [*W.ravel(), *B])
    assert found.notes == ("gradients dw1, db1 are taken for W1, b1",)


def test_case_counts_where_names_differ_by_it_alone():
    found = packed({"dw": B, "dW": W}, {"W": (2, 3), "w": (3,)})
    np.testing.assert_array_equal(found.flat, [*W.ravel(), *B])
    assert taken("gradient", ["DW", "Dw"], ["dx", "dX"]) is None


def test_what_else_is_there_is_passed_over_whatever_it_is():
    found = packed({"dW1": W, "db1": B, "dA1": None, "loss": 0.5, "cache": (1, {"x": object()})})
    assert found.notes == ("gradients dW1, db1 are taken for W1, b1; dA1, loss, cache were passed over",)


def test_shapes_are_looked_at_as_ever():
    with pytest.raises(
        ValueError, match=r"gradient: W1 \(at dW1\): expected the shape \(2, 3\), got \(3, 2\); W1 looks tr"
    ):
        packed({"dW1": W.T, "db1": B})
    with pytest.raises(TypeError, match="gradient: db1: expected real numbers"):
        packed({"dW1": W, "db1": "text"})
    assert packed({"dW1": W, "db1": B[np.newaxis]}).notes[1].startswith("the gradient of b1 has the shape (1, 3)")


# ---- trees

TREES = {
    "inner-keys": ({"l1": {"W": W, "b": B}, "l2": {"W": 2 * W}}, {"l2": {"dW": 2 * W}, "l1": {"db": B, "dW": W}}),
    "outer-keys": ({"l1": {"W": W, "b": B}}, {"dl1": {"b": B, "W": W}}),
    "lists-of-dicts": ([{"W": W, "b": B}, {"W": 2 * W}], [{"db": B, "dW": W}, {"dW": 2 * W, "dA": None}]),
    "dicts-of-lists": ({"W": [W, 2 * W], "b": [B]}, {"db": [B], "dW": [W, 2 * W]}),
    "dotted": ({"fc.weight": W, "fc.bias": B}, {"fc.bias.grad": B, "fc.weight.grad": W}),
    "grad-inside": ({"W": W, "b": B}, {"b": {"data": 0, "grad": B}, "W": {"data": 0, "grad": W}}),
    "array-beside": ([W, {"b": B}], [W, {"db": B, "dz": None}]),
}


@pytest.mark.parametrize(("params", "gradient"), TREES.values(), ids=TREES)
def test_trees(params, gradient):
    report = gf.gradcheck(squares, gradient, params)
    assert report.ok
    assert "taken for" in report.notes[0]


def squares(tree):
    """Its gradient is the tree itself."""
    if isinstance(tree, dict):
        return sum(map(squares, tree.values()))
    return sum(map(squares, tree)) if isinstance(tree, (list, tuple)) else 0.5 * np.sum(tree * tree)


# ---- the parameters' own names


def test_the_parameters_own_names_are_taken_without_a_word():
    assert packed({"b1": B, "W1": W}).notes == ()


def test_derivatives_by_something_else_are_passed_over():
    found = packed({"W1": W, "dA1": None, "b1": B, "dscores": 1, "dh_next": 2, "grad_input": 3})
    assert found.notes == ("beside the gradient, dA1, dscores, dh_next, grad_input were passed over",)
    assert packed({"W1": W, "b1": B, "dx": None}).notes == ("beside the gradient, dx was passed over",)


@pytest.mark.parametrize("extra", ["loss", "decay", "data", "W2", "dW2", "dW", "cache"])
def test_anything_else_is_refused(extra):
    with pytest.raises(ValueError, match=f"gradient: unexpected {extra}"):
        packed({"W1": W, "b1": B, extra: W})


def test_parameters_beside_their_gradients_are_refused():
    with pytest.raises(ValueError, match="gradient: both W1 and dW1 could be that of W1; leave one of them out"):
        packed({"W1": W, "b1": B, "dW1": W, "db1": B})


# ---- what does not fit


def test_two_patterns_are_refused():
    with pytest.raises(ValueError, match="dW1, db1 and grad_W1, grad_b1 are both named as the gradients of W1, b1"):
        packed({"dW1": W, "db1": B, "grad_W1": W, "grad_b1": B})


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("dW1", "db_1"), "dW1 would be taken for W1, but there is none for b1, did you mean 'db_1'?"),
        (("dW1", "grad_b1"), "dW1 would be taken for W1, but there is none for b1, did you mean 'grad_b1'?"),
        (("W1_grad", "b_grad"), "W1_grad would be taken for W1, but there is none for b1, did you mean 'b_grad'?"),
        (("dW1", "x"), "dW1 would be taken for W1, but there is none for b1"),
    ],
)
def test_a_parameter_without_a_gradient_is_named(names, said):
    with pytest.raises(ValueError, match="gradient: ") as error:
        packed(dict(zip(names, (W, B), strict=True)))
    assert str(error.value) == f"gradient: {said}"


def test_names_of_no_pattern_are_refused_as_ever():
    assert partly_taken("gradient", ["velocity_W", "momentum"], ["W1", "b1"]) == ""
    with pytest.raises(ValueError, match="gradient: missing W1, b1; unexpected vW1, did you mean 'W1'"):
        packed({"vW1": W, "vb1": B})


def test_parameters_are_never_read_so():
    with pytest.raises(ValueError, match="params: missing W1, b1"):
        pack_as({"dW1": W, "db1": B}, SHAPES)


def test_lists_have_no_names():
    assert taken("gradient", ["[0]", "[1]"], ["W1", "b1"]) is None
    assert packed([W, B]).notes == ()


# ---- who else takes gradients


def test_of_a_network():
    net = gf.Network([gf.Dense(2, 3, "tanh"), gf.Dense(3, 1)], gf.SquaredError())
    loss, params = net.loss(np.ones((4, 2)), np.zeros(4)), net.init(0)
    found = gf.numerical_gradient(loss, params)
    report = gf.gradcheck(loss, {**{f"d{name}": array for name, array in found.items()}, "dA1": W}, params)
    assert report.ok
    assert report.notes == ("gradients dW1, db1, dW2, db2 are taken for W1, b1, W2, b2; dA1 was passed over",)
    assert list(report.analytic) == list(params)


def test_of_products():
    vjp = lambda v, x, p: (v @ p["W"].T, {"dW": x.T @ v, "dz": None})
    report = gf.check_vjp(lambda x, p: x @ p["W"], vjp, (W.T, {"W": W}))
    assert report.ok
    assert report.notes == ("the gradient inputs[1].dW is taken for inputs[1].W; inputs[1].dz was passed over",)
    jvp = lambda t, x: {"dy": 2 * t, "dz": 3 * t}
    report = gf.check_jvp(lambda x: {"y": 2 * x, "z": 3 * x}, jvp, W)
    assert report.ok
    assert report.notes == ("gradients output.dy, output.dz are taken for output.y, output.z",)


def test_of_the_relative_error():
    assert gf.relative_error({"W": W, "b": B}, {"db": B, "dW": W}) == 0.0
    assert gf.relative_error({"W": W, "b": B}, {"db": 2 * B, "dW": W}) > 0.0


def test_of_rounding_in_float32():
    params = {"W1": W.astype(np.float32), "b1": B.astype(np.float32)}
    third = lambda p: {f"d{name}": (array**3).astype(array.dtype) for name, array in p.items()}
    loss = lambda p: sum(np.sum(array**4) / 4 for array in p.values())
    assert gf.gradcheck(loss, third, params).ok
    assert not gf.gradcheck(loss, lambda p: {**third(p), "db1": 1.01 * third(p)["db1"]}, params).ok
