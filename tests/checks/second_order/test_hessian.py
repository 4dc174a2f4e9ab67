"""check_hessian: matrices of second derivatives of functions that can be traced, and of others."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hessians import random_function, with_planted

import gradcheck_fast as gf

SEEDS = pytest.mark.parametrize("seed", [*range(2), *(pytest.param(k, marks=pytest.mark.long) for k in range(2, 50))])
TRACED = pytest.mark.parametrize("trace", [True, False])


@TRACED
@SEEDS
def test_the_hessian_of_a_random_function_is_right_and_a_small_planted_error_is_found(seed, trace):
    f, hessian, x = random_function(seed)
    right = hessian(x)
    report = gf.check_hessian(f, hessian, x, trace=trace)
    assert report.ok
    numerical = report.numerical["params by params"]
    assert np.abs(numerical - right).max() <= (1e-9 if trace else 1e-6) * np.abs(right).max()
    wrong, place = with_planted(right, 1e-4)
    report = gf.check_hessian(f, wrong, x, trace=trace)
    assert report.wrong == 1
    assert report.worst()[0].index == place


def test_a_hessian_that_is_zero_is_called_a_hessian():
    slope = lambda x: x[0] + 2.0 * x[1]
    report = gf.check_hessian(slope, np.zeros((2, 2)), np.array([0.3, 0.5]))
    assert report.reason == "there is nothing to check: the Hessian is zero, or less than its error bars, everywhere"
    wrong = gf.check_hessian(lambda x: (x**2).sum(), np.eye(2), np.array([0.3, 0.5]))
    assert "your Hessian" in str(wrong) and "your gradient" not in str(wrong) and "your Hessian" in wrong._repr_html_()


def rosenbrock(x):
    return (1.0 - x[0]) ** 2 + 100.0 * (x[1] - x[0] ** 2) ** 2


def rosenbrock_gradient(x):
    return np.array([-2.0 * (1.0 - x[0]) - 400.0 * x[0] * (x[1] - x[0] ** 2), 200.0 * (x[1] - x[0] ** 2)])


def rosenbrock_hessian(x):
    cross = -400.0 * x[0]
    return np.array([[2.0 + 1200.0 * x[0] ** 2 - 400.0 * x[1], cross], [cross, 200.0]])


AT = np.array([-1.2, 1.0])

# ---- forms

W, B = np.random.default_rng(0).normal(size=(2, 3)), np.array([0.3, -1.0, 0.4])


def tree_loss(p):
    return np.sum(p["W"] ** 2 * p["b"]) + np.sum(p["b"] ** 3)


def tree_hessian(p):
    w, b = p["W"], p["b"]
    own, cross = np.zeros((2, 3, 2, 3)), np.zeros((2, 3, 3))
    for i in range(2):
        for j in range(3):
            own[i, j, i, j], cross[i, j, j] = 2.0 * b[j], 2.0 * w[i, j]
    return {"W": {"W": own, "b": cross}, "b": {"W": np.moveaxis(cross, 2, 0).copy(), "b": np.diag(6.0 * b)}}


def as_matrix(blocks):
    rows = [np.concatenate([blocks[a][b].reshape(n, -1) for b in "Wb"], axis=1) for a, n in (("W", 6), ("b", 3))]
    return np.concatenate(rows)


@pytest.mark.parametrize("form", ["dict of dicts", "matrix", "function"])
def test_hessians_of_several_arrays(form):
    params = {"W": W, "b": B}
    forms = {"dict of dicts": tree_hessian(params), "matrix": as_matrix(tree_hessian(params)), "function": tree_hessian}
    report = gf.check_hessian(tree_loss, forms[form], params)
    assert report.ok
    assert {array.name: array.shape for array in report.arrays} == {
        "W by W": (2, 3, 2, 3), "W by b": (2, 3, 3), "b by W": (3, 2, 3), "b by b": (3, 3),
    }  # fmt: skip


def test_an_error_is_named_by_both_arrays_and_its_place():
    wrong = tree_hessian({"W": W, "b": B})
    wrong["W"]["b"][1, 2, 2] *= 1.0001
    report = gf.check_hessian(tree_loss, wrong, {"W": W, "b": B})
    assert report.reason == "1 of 81 entries are wrong, in W by b"
    assert report.worst()[0][:2] == ("W by b", (1, 2, 2))
    assert "not symmetric" in report.notes[0]
    assert "by W[1, 2] and b[2]" in report.notes[0]


def test_nothing_that_is_given_is_changed():
    params, given = {"W": W.copy(), "b": B.copy()}, tree_hessian({"W": W, "b": B})
    before = copy.deepcopy((params, given))

    def greedy(p):
        found = tree_loss(p)
        p["W"][:] = 0.0
        return found

    gf.check_hessian(greedy, given, params, trace=False)
    for own, other in zip((params["W"], params["b"], given["W"]["b"]),
                          (before[0]["W"], before[0]["b"], before[1]["W"]["b"]), strict=True):  # fmt: skip
        assert np.array_equal(own, other)


@pytest.mark.long
def test_the_loss_of_a_network_has_the_hessian_that_second_differences_of_it_have():
    rng = np.random.default_rng(1)
    net = gf.Network([gf.Dense(2, 3, "tanh"), gf.Dense(3, 1)], gf.SquaredError())
    loss = net.loss(rng.normal(size=(5, 2)), rng.normal(size=(5, 1)))
    params = {name: rng.normal(size=shape) for name, shape in net.shapes.items()}
    size = sum(array.size for array in params.values())
    plain = gf.check_hessian(lambda p: float(loss(p)), np.zeros((size, size)), params, trace=False)
    names, blocks = list(params), plain.numerical
    hessian = {a: {b: blocks[f"{a} by {b}"] for b in names} for a in names}
    assert gf.check_hessian(loss, hessian, params, rtol=1e-6, atol=1e-8).ok
    hessian[names[0]][names[1]][0, 1, 2] += 1e-3
    assert gf.check_hessian(loss, hessian, params, rtol=1e-6, atol=1e-8).wrong == 1


# ---- losses that cannot be traced


def test_the_users_gradient_is_checked_and_then_differenced():
    report = gf.check_hessian(rosenbrock, rosenbrock_hessian, AT, gradient=rosenbrock_gradient, trace=False)
    assert report.ok
    assert report.relative_error < 1e-9
    doubled = lambda x: 2.0 * rosenbrock_gradient(x)
    report = gf.check_hessian(rosenbrock, rosenbrock_hessian, AT, gradient=doubled, trace=False)
    assert report.verdict == "FAIL"
    assert report.notes[0].startswith("this is of the gradient, which is wrong")


def test_small_parameters_get_small_steps():
    x = np.array([1e-4, 2e-4])
    loss = lambda x: float(np.log(x[0]) * x[1])
    hessian = np.array([[-x[1] / x[0] ** 2, 1.0 / x[0]], [1.0 / x[0], 0.0]])
    assert gf.check_hessian(loss, hessian, x, trace=False).ok


@TRACED
@pytest.mark.parametrize("scale", [1e-6, *(pytest.param(k, marks=pytest.mark.long) for k in (1e-3, 1e6))])
def test_functions_that_turn_sooner_or_later_than_their_parameters_say(scale, trace):
    x, c = np.array([1.0, -2.0]) * scale, 1.0 / min(scale, 1.0)
    loss = lambda x: np.sum(np.sin(c * x)) + np.prod(np.cos(c * x))
    own, both = -np.sin(c * x) - np.prod(np.cos(c * x)), np.prod(np.sin(c * x))
    hessian = c**2 * np.array([[own[0], both], [both, own[1]]])
    assert gf.check_hessian(loss, hessian, x, trace=trace).ok


@TRACED
def test_at_a_kink_of_the_gradient_every_slope_of_it_is_right(trace):
    loss, x = lambda x: np.sum(np.maximum(x, 0.0) ** 2), np.array([0.0, 1.0])
    for curvature in (0.0, 0.7, 2.0):
        assert gf.check_hessian(loss, np.diag([curvature, 2.0]), x, trace=trace).ok
    assert gf.check_hessian(loss, np.diag([3.0, 2.0]), x, trace=trace).wrong == 1


def test_where_nothing_can_be_seen_nothing_is_called_right_or_wrong():
    steps = lambda x: float(np.round(np.sum(x**2), 3))
    report = gf.check_hessian(steps, 2.0 * np.eye(2), AT, trace=False)
    assert not report.wrong


@TRACED
def test_roundings_of_a_hessian_that_is_zero_are_not_called_wrong(trace):
    x = np.array([[0.3], [-1.2]])
    constant = lambda w: -np.sum(np.log(np.exp(x @ w) / np.sum(np.exp(x @ w), axis=1, keepdims=True)))
    report = gf.check_hessian(constant, np.full((1, 1), 1e-17), np.array([[0.5]]), trace=trace)
    assert not report.wrong


# ---- what is wrong, in words

MISTAKES = {
    "halved": (lambda h: h / 2, "the whole Hessian is halved"),
    "only the diagonal": (lambda h: np.diag(np.diag(h)), "all entries beside the diagonal are left out: zero"),
    "upper triangle": (np.triu, "the entries below the diagonal are left out: zero"),
    "cross terms doubled": (lambda h: 2.0 * h - np.diag(np.diag(h)), "the entries beside the diagonal are doubled"),
}


@pytest.mark.parametrize("mistake", ["halved", *(pytest.param(k, marks=pytest.mark.long) for k in list(MISTAKES)[1:])])
def test_a_mistake_is_named(mistake):
    f, hessian, x = random_function(4)
    change, cause = MISTAKES[mistake]
    report = gf.check_hessian(f, change(hessian(x)), x)
    assert report.diagnoses[0].cause == cause


def test_missing_and_turned_blocks_are_named():
    def without(p):
        found = tree_hessian(p)
        found["W"]["b"] *= 0.0
        found["b"]["W"] *= 0.0
        return found

    def turned(p):
        found = tree_hessian(p)
        found["W"]["W"] = found["W"]["W"].transpose(1, 0, 3, 2).reshape(2, 3, 2, 3)
        return found

    params = {"W": W, "b": B}
    causes = [gf.check_hessian(tree_loss, hessian, params).diagnoses[0].cause for hessian in (without, turned)]
    assert causes[0] == "the blocks of two different arrays are left out: zero"
    assert causes[1] == "W by W: the entries of matrices are counted column after column instead of row after row"


X, Y = np.random.default_rng(3).normal(size=(6, 2)), np.random.default_rng(4).normal(size=6)


def least_squares(w):
    out = np.tanh(X @ w)
    return 0.5 * np.sum((out - Y) ** 2)


def test_the_gauss_newton_part_is_named_and_nothing_that_resembles_it():
    w = np.array([0.4, -0.7])
    slope = 1.0 - np.tanh(X @ w) ** 2
    jacobian = slope[:, None] * X
    part = jacobian.T @ jacobian
    rest = np.einsum("n,ni,nj->ij", -2.0 * np.tanh(X @ w) * slope * (np.tanh(X @ w) - Y), X, X)
    assert gf.check_hessian(least_squares, part + rest, w).ok
    report = gf.check_hessian(least_squares, part, w)
    assert report.diagnoses[0].cause.startswith("it is the Gauss-Newton part: the second derivatives of ")
    for other in (part + 0.1 * rest, part + np.diag(np.diag(rest)) / 3.0, 0.9 * part):
        assert not any("Gauss" in found.cause for found in gf.check_hessian(least_squares, other, w).diagnoses)


def test_an_unrelated_error_is_not_explained():
    f, hessian, x = random_function(4)
    wrong, _ = with_planted(hessian(x), 0.37)
    assert not gf.check_hessian(f, wrong, x).diagnoses


# ---- arguments


@pytest.mark.parametrize(
    ("hessian", "message"),
    [
        (np.zeros((2, 3)), r"hessian: expected the shape \(2, 2\)"),
        ({"x": np.zeros((2, 2)), "y": np.zeros((2, 2))}, "expected 1 blocks"),
    ],
)
def test_what_does_not_fit_is_refused(hessian, message):
    with pytest.raises(ValueError, match=message):
        gf.check_hessian(rosenbrock, hessian, AT)


def test_unknown_options_and_gradients_that_are_no_functions_are_refused():
    with pytest.raises(TypeError, match="no option 'method'"):
        gf.check_hessian(rosenbrock, rosenbrock_hessian, AT, method="direct")
    with pytest.raises(TypeError, match="gradient: expected a function"):
        gf.check_hessian(rosenbrock, rosenbrock_hessian, AT, gradient=AT)
