"""A gradient is taken in whatever shape has the same entries in the same order, and the report says so."""

from __future__ import annotations

import numpy as np
import pytest
from networks import make

import gradcheck_fast as gf
from gradcheck_fast.inputs.trees import pack_as

X = np.random.default_rng(0).normal(size=(7, 3))


def hidden(p):
    return np.tanh(X @ p["W"] + p["b"])


def loss(p):
    return float(np.sum(hidden(p) ** 2))


def gradient(p):
    h = hidden(p)
    d = 2 * h * (1 - h * h)
    return {"W": X.T @ d, "b": d.sum(axis=0)}


PARAMS = {"W": np.linspace(-1, 1, 15).reshape(3, 5), "b": np.linspace(0, 1, 5).reshape(1, 5)}
NOTE = "the gradient of b has the shape (5,), its parameter (1, 5): taken as the same entries"


@pytest.mark.parametrize(
    "options",
    [{}, {"method": "directional"}, {"sample": 3}, {"rtol": 1e-5}, {"loss_value": loss(PARAMS)}, {"error_bars": True}],
    ids=lambda options: "-".join(options) or "default",
)
@pytest.mark.parametrize("given", [gradient, gradient(PARAMS)], ids=["function", "arrays"])
def test_a_bias_summed_over_the_samples_fits_a_bias_with_an_axis_of_one_row(given, options):
    report = gf.gradcheck(loss, given, PARAMS, **options)
    assert report.ok
    assert report.notes == (NOTE,)
    assert report.analytic["b"].shape == report.numerical["b"].shape == (1, 5)


def test_nothing_is_said_where_the_shapes_are_the_same():
    right = gradient(PARAMS)
    assert gf.gradcheck(loss, {"W": right["W"], "b": right["b"][np.newaxis]}, PARAMS).notes == ()


def test_a_wrong_entry_is_found_all_the_same():
    wrong = gradient(PARAMS)
    wrong["b"][3] += 1.0
    report = gf.gradcheck(loss, wrong, PARAMS)
    assert not report.ok
    assert (report.worst()[0].array, report.worst()[0].index) == ("b", (0, 3))
    assert report.notes == (NOTE,)


def test_rounding_of_float32_is_found_in_the_other_shape_too():
    """The gradient function is called once more in float64, and gives that shape again."""
    params = {name: array.astype(np.float32) for name, array in PARAMS.items()}
    found = lambda p: {name: array.astype(p["W"].dtype) for name, array in gradient(p).items()}
    assert gf.gradcheck(loss, lambda p: {**found(p), "b": 1.01 * found(p)["b"]}, params).verdict == "FAIL"
    assert gf.gradcheck(loss, found, params).ok


# ---- shapes

PAIRS = [
    ((5,), (1, 5)), ((5, 1), (5,)), ((1, 5), (5,)), ((1, 5), (5, 1)), ((3, 1, 5), (3, 5)), ((3, 5), (3, 5, 1)),
    ((), (1,)), ((1,), ()), ((1, 1), ()), ((), (1, 1)), ((1, 1, 1), (1,)), ((1, 3, 1, 5), (3, 1, 5)), ((0, 1), (0,)),
]  # fmt: skip
OTHERS = [
    ((3, 5), (5, 3)),
    ((15,), (3, 5)),
    ((5, 3, 1), (3, 5)),
    ((5,), (1,)),
    ((), (2,)),
    ((2, 1), (1,)),
    ((4,), (5,)),
]


def filled(shape):
    return np.arange(1.0, 1.0 + np.prod(shape, dtype=int)).reshape(shape)


TREES = {
    "dict": lambda array: {"a": array, "z": np.ones(2)},
    "list": lambda array: [array, np.ones(2)],
    "nest": lambda array: {"l": [np.ones(2), (array,)]},
}


@pytest.mark.parametrize("form", TREES.values(), ids=TREES)
@pytest.mark.parametrize(("got", "expected"), PAIRS)
def test_axes_of_length_1_make_no_difference(got, expected, form):
    report = gf.gradcheck(squares, form(filled(got)), form(filled(expected)))
    assert report.ok
    (note,) = report.notes
    assert f"has the shape {got}, its parameter {expected}: taken as the same entries" in note


def squares(tree):
    """Its gradient is the tree itself."""
    if isinstance(tree, dict):
        return sum(map(squares, tree.values()))
    return sum(map(squares, tree)) if isinstance(tree, (list, tuple)) else 0.5 * float(np.sum(tree * tree))


@pytest.mark.parametrize("form", TREES.values(), ids=TREES)
@pytest.mark.parametrize(("got", "expected"), OTHERS)
def test_other_shapes_are_refused(got, expected, form):
    with pytest.raises(ValueError, match="expected the shape"):
        gf.gradcheck(squares, form(filled(got)), form(filled(expected)))


@pytest.mark.parametrize(("got", "expected"), [((1, 5), (5,)), ((5, 1), (1, 5)), ((), (1,)), ((2, 1, 3), (2, 3))])
def test_one_array_alone(got, expected):
    report = gf.gradcheck(squares, filled(got), filled(expected))
    assert report.ok
    assert report.notes == (
        f"the gradient has the shape {got}, the parameters {expected}: taken as the same entries",
    )  # fmt: skip


@pytest.mark.parametrize("shape", [(20, 1), (1, 20), (1, 20, 1)])
def test_a_flat_vector_may_be_a_row_or_a_column(shape):
    right = gradient(PARAMS)
    flat = np.concatenate([right["W"].ravel(), right["b"]]).reshape(shape)
    report = gf.gradcheck(loss, flat, PARAMS)
    assert report.ok
    assert report.notes == (f"the gradient has the shape {shape}: taken as one flat vector of 20 entries",)
    with pytest.raises(ValueError, match=r"expected a flat vector of 20 entries \(W, b\), got the shape \(19, 1\)"):
        gf.gradcheck(loss, np.ones((19, 1)), PARAMS)


@pytest.mark.parametrize(
    "options", [{}, {"method": "directional"}, {"sample": 3}], ids=["all", "directional", "sample"]
)
@pytest.mark.parametrize("shape", [(4, 1), (1, 4)])
def test_a_flat_vector_of_parameters_has_a_gradient_that_is_a_row_or_a_column(shape, options):
    theta = np.array([0.5, -1.0, 2.0, 0.25])
    right = (4 * theta**3).reshape(shape)
    report = gf.gradcheck(lambda t: np.sum(t**4), right, theta, **options)
    assert report.ok
    assert report.notes == (f"the gradient has the shape {shape}, the parameters (4,): taken as the same entries",)
    wrong = right * np.array([1.0, 1.0, 1.01, 1.0]).reshape(shape)
    assert gf.gradcheck(lambda t: np.sum(t**4), wrong, theta, **options).verdict == "FAIL"


@pytest.mark.parametrize("options", [{"method": "directional"}, {"sample": 3}], ids=["directional", "sample"])
@pytest.mark.parametrize("shape", [(20, 1), (1, 20)])
def test_a_flat_vector_of_several_arrays_may_be_a_row_or_a_column(shape, options):
    right = gradient(PARAMS)
    flat = np.concatenate([right["W"].ravel(), right["b"]])
    report = gf.gradcheck(loss, flat.reshape(shape), PARAMS, **options)
    assert report.ok
    assert report.notes == (f"the gradient has the shape {shape}: taken as one flat vector of 20 entries",)
    flat[17] *= 1.5
    assert gf.gradcheck(loss, flat.reshape(shape), PARAMS, **options).wrong


def test_entries_keep_their_order_whatever_their_layout():
    array = np.asfortranarray(filled((3, 5)))
    assert gf.gradcheck(squares, {"a": array[:, np.newaxis]}, {"a": filled((3, 5))}).ok


def test_many_arrays_are_one_note():
    params = [np.ones((1, k)) for k in range(2, 11)]
    (note,) = gf.gradcheck(squares, [np.ones(k) for k in range(2, 11)], params).notes
    assert note == (
        "the gradients of [0], [1], [2], [3], [4], [5], … have other shapes than their parameters, (2,) for (1, 2), "
        "(3,) for (1, 3), (4,) for (1, 4), (5,) for (1, 5), (6,) for (1, 6), (7,) for (1, 7), …: taken as the same "
        "entries"
    )


# ---- who else compares gradients


def test_of_a_network():
    case = make(np.random.default_rng(0), [3, 4, 2], ["tanh", "identity"], "squared", "batchmean")
    rows = {name: array[np.newaxis] if array.ndim == 1 else array for name, array in case.gradient.items()}
    report = gf.gradcheck(case.loss, rows, case.params)
    assert report.ok
    assert "the gradients of b1, b2 have other shapes than their parameters" in report.notes[0]


def test_parameters_of_a_network_are_taken_in_its_own_shapes_only():
    """A bias that is a column belongs to a network of columns, whose weights are transposed."""
    case = make(np.random.default_rng(0), [3, 3], ["tanh"], "squared", "batchmean")
    columns = {**case.params, "b1": case.params["b1"][:, np.newaxis]}
    with pytest.raises(
        ValueError, match=r"b1: expected the shape \(3,\), got \(3, 1\); b1 has one axis of length 1 too"
    ):
        gf.gradcheck(case.loss, case.gradient, columns)


def test_of_vector_jacobian_products():
    bias = np.linspace(0, 1, 5)[np.newaxis]
    report = gf.check_vjp(lambda b: np.tanh(X[:, :1] + b), lambda v, b: (v / np.cosh(X[:, :1] + b) ** 2).sum(0), bias)
    assert report.ok
    assert report.notes == (
        "the gradient of inputs has the shape (5,), its parameter (1, 5): taken as the same entries",
    )


def test_of_jacobian_vector_products():
    """An output of shape (7, 1), whose tangent comes out flat."""
    w = np.linspace(0, 1, 3)[:, np.newaxis]
    report = gf.check_jvp(lambda w: X @ w, lambda t, w: X @ t.ravel(), w)
    assert report.ok
    assert (
        report.notes[0] == "the gradient of output has the shape (7,), its parameter (7, 1): taken as the same entries"
    )
    assert not gf.check_jvp(lambda w: X @ w, lambda t, w: 2 * (X @ t.ravel()), w).ok


def test_of_the_relative_error():
    a = {"W": np.ones((2, 3)), "b": np.ones((1, 3))}
    assert gf.relative_error(a, {"b": np.ones(3), "W": np.ones((2, 3))}) == 0.0


def test_what_is_no_gradient_keeps_its_shape():
    with pytest.raises(ValueError, match="one axis of length 1 too many"):
        pack_as({"b": np.ones((1, 5))}, {"b": (5,)})
