"""Exact gradients of losses that are computed to a tolerance: wrong of what is computed, and called what they are."""

from __future__ import annotations

import numpy as np
import pytest
from functions import functions
from mistakes import IN_ARRAYS, IN_LAYERS

import gradcheck_fast as gf
from gradcheck_fast.diagnosis import approximate

PIECES = "yours is the gradient of the exact problem, and the loss is computed to a tolerance"
APPROXIMATE = "but no further: as that of an exact problem whose loss is computed to a tolerance"
RNG = np.random.default_rng(0)
A = RNG.normal(size=(30, 10)) / np.sqrt(30)
LASSO = RNG.normal(size=30) * 2
SEEN = RNG.normal(size=10)


# ---- problems: what is computed to a tolerance, and its exact gradient


def lasso(y, tolerance):
    """The solution by iterated shrinkage (ISTA)."""
    x, L = np.zeros(10), np.linalg.norm(A, 2) ** 2
    while True:
        z = x - A.T @ (A @ x - y) / L
        new = np.sign(z) * np.maximum(np.abs(z) - 0.1 / L, 0)
        if np.abs(new - x).max() < tolerance:
            return new
        x = new


def lasso_gradient(y):
    chosen = lasso(y, 1e-14) != 0
    B = A[:, chosen]
    return B @ np.linalg.solve(B.T @ B, SEEN[chosen])


Q = np.cov(RNG.normal(size=(6, 12)))
CENTRES, WEIGHTS = RNG.normal(size=6), RNG.normal(size=6)


def inner(a, tolerance):
    """Minimises sum(cosh(x - a)) + x Q x / 2 by damped Newton steps."""
    x = np.zeros(6)
    while np.abs(slope := np.sinh(x - a) + Q @ x).max() > tolerance:
        x = x - 0.5 * np.linalg.solve(np.diag(np.cosh(x - a)) + Q, slope)
    return x


def inner_gradient(a):
    x = inner(a, 1e-13)
    return np.cosh(x - a) * np.linalg.solve(np.diag(np.cosh(x - a)) + Q, WEIGHTS)


def fehlberg(f, y, end, tolerance):
    """Runge-Kutta-Fehlberg 4(5) with steps that it chooses."""
    t, h = 0.0, 0.1
    while t < end - 1e-14:
        h = min(h, end - t)
        k1 = f(y)
        k2 = f(y + h * k1 / 4)
        k3 = f(y + h * (3 * k1 + 9 * k2) / 32)
        k4 = f(y + h * (1932 * k1 - 7200 * k2 + 7296 * k3) / 2197)
        k5 = f(y + h * (439 * k1 / 216 - 8 * k2 + 3680 * k3 / 513 - 845 * k4 / 4104))
        k6 = f(y + h * (-8 * k1 / 27 + 2 * k2 - 3544 * k3 / 2565 + 1859 * k4 / 4104 - 11 * k5 / 40))
        error = np.abs(k1 / 360 - 128 * k3 / 4275 - 2197 * k4 / 75240 + k5 / 50 + 2 * k6 / 55).max()
        if error <= tolerance:
            y = y + h * (16 * k1 / 135 + 6656 * k3 / 12825 + 28561 * k4 / 56430 - 9 * k5 / 50 + 2 * k6 / 55)
            t += h
        h *= min(4.0, max(0.1, 0.84 * (tolerance / max(error, 1e-300)) ** 0.25))
    return y


GROWTH = {"r": np.array([1.0, 1.5, 0.7, 2.0]), "K": np.array([2.0, 3.0, 1.5, 4.0]), "y": np.array([0.3, 0.5, 0.2, 0.1])}


def grown(p, tolerance):
    return fehlberg(lambda y: p["r"] * y * (1 - y / p["K"]), p["y"], 3.0, tolerance)


def growth_gradient(p):
    """Of the sum of squares of y(3) = K y E / (K + y (E - 1)), E = exp(3 r)."""
    r, K, y = p["r"], p["K"], p["y"]
    E = np.exp(3 * r)
    D = K + y * (E - 1)
    end = K * y * E / D
    return {
        "r": 6 * end * end * (1 - end / K),
        "K": 2 * end * y * E * y * (E - 1) / D**2,
        "y": 2 * end * K * K * E / D**2,
    }


ROOTS = np.array([0.7, 1.9, 0.8, 2.5, 3.1])


def secant(a, tolerance):
    x, new = 0.0, 1.0
    f = lambda x: x**3 + x - a
    while abs(f(new)) > tolerance:
        x, new = new, new - f(new) * (new - x) / (f(new) - f(x))
    return new


def bisected(a, tolerance):
    low, high = -5.0, 5.0
    while high - low > tolerance:
        middle = (low + high) / 2
        low, high = (middle, high) if middle**3 + middle < a else (low, middle)
    return low - (low**3 + low - a) / (3 * low * low + 1)  # a Newton step from there: no stairs of halved intervals


def roots_gradient(a):
    x = np.array([secant(number, 1e-14) for number in a])
    return 2 * x / (3 * x * x + 1)


U = np.linalg.qr(RNG.normal(size=(40, 40)))[0]
M, RIGHT, LEFT, DIAGONAL = U @ np.diag(np.linspace(1, 30, 40)) @ U.T, *RNG.normal(size=(3, 40))


def conjugate_gradients(B, b, tolerance):
    x, r = np.zeros_like(b), b
    p, square = r, r @ r
    while np.sqrt(r @ r) > tolerance * np.linalg.norm(b):
        step = square / (p @ B @ p)
        x, r = x + step * p, r - step * B @ p
        square, old = r @ r, square
        p = r + square / old * p
    return x


def system_gradient(d):
    B = M + np.diag(d * d)
    return -2 * d * np.linalg.solve(B, LEFT) * np.linalg.solve(B, RIGHT)


SOLVED = {
    "ISTA to 1e-4": (lambda y: SEEN @ lasso(y, 1e-4), lasso_gradient, LASSO, PIECES),
    "ISTA to 1e-5": (lambda y: SEEN @ lasso(y, 1e-5), lasso_gradient, LASSO, PIECES),
    "ISTA to 1e-6": (lambda y: SEEN @ lasso(y, 1e-6), lasso_gradient, LASSO, PIECES),
    "damped Newton": (lambda a: WEIGHTS @ inner(a, 1e-4), inner_gradient, CENTRES, APPROXIMATE),
    "Fehlberg": (lambda p: float(np.sum(grown(p, 1e-4) ** 2)), growth_gradient, GROWTH, APPROXIMATE),
    "secants": (lambda a: sum(secant(x, 1e-4) ** 2 for x in a), roots_gradient, ROOTS, APPROXIMATE),
    "bisection": (lambda a: sum(bisected(x, 3e-3) ** 2 for x in a), roots_gradient, ROOTS, PIECES),
    "conjugate gradients": (
        lambda d: LEFT @ conjugate_gradients(M + np.diag(d * d), RIGHT, 1e-5), system_gradient, DIAGONAL, APPROXIMATE
    ),
}  # fmt: skip


@pytest.mark.parametrize(("loss", "gradient", "at", "says"), SOLVED.values(), ids=SOLVED)
def test_the_gradient_of_the_exact_problem_is_called_so(loss, gradient, at, says):
    report = gf.gradcheck(loss, gradient(at), at)
    assert report.verdict == "FAIL"
    (found,) = report.diagnoses
    assert says in found.cause
    assert found.arrays == tuple(array.name for array in report.arrays if array.wrong)


def test_the_evidence_is_numbers():
    (found,) = gf.gradcheck(lambda y: SEEN @ lasso(y, 1e-6), lasso_gradient(LASSO), LASSO).diagnoses
    assert found.evidence == (
        "the values of the loss jump by about 4e-07, around a curve whose slope is yours; "
        "30 of 30 entries are off, by 9e-05 of their array's largest entry at most"
    )


def test_a_constant_that_was_left_out():
    x = np.linspace(0.5, 2, 6)
    (found,) = gf.gradcheck(lambda p: float(np.sum(np.sqrt(p * p + 1e-4))), np.sign(x), x, trace=False).diagnoses
    assert "your gradient is right to 2e-04, but no further" in found.cause
    assert "(an epsilon)" in found.cause


def test_it_takes_at_most_150_evaluations_and_leaves_the_loss_at_the_parameters(monkeypatch):
    points = []

    def value_at(problem, params, theta):
        points.append(theta)
        return problem.cost(params, theta)

    monkeypatch.setattr(approximate, "value_at", value_at)
    gf.gradcheck(lambda y: SEEN @ lasso(y, 1e-5), lasso_gradient(LASSO), LASSO)
    assert 0 < len(points) <= 150
    np.testing.assert_array_equal(points[-1], LASSO)


# ---- silence


def says_so(report):
    return [found.cause for found in report.diagnoses if PIECES in found.cause or APPROXIMATE in found.cause]


@pytest.mark.parametrize("mistake", {**IN_ARRAYS, **IN_LAYERS})
def test_it_is_not_said_of_a_planted_mistake(mistake):
    planted = {**IN_ARRAYS, **IN_LAYERS}[mistake](np.random.default_rng(0))
    report = gf.gradcheck(lambda p: planted.loss(p), planted.wrong, planted.params)
    assert report.verdict == "FAIL"
    assert says_so(report) == []


def one(g, change):
    largest = np.argmax(np.abs(g))
    return np.where(np.arange(g.size) == largest, change(g), g)


MISTAKES = {
    "one entry, a little": lambda g: one(g, lambda v: v * (1 + 1e-5)),
    "one entry": lambda g: one(g, lambda v: v * 1.004),
    "one sign": lambda g: one(g, lambda v: -v),
    "a factor": lambda g: 1.0005 * g,
    "every other": lambda g: np.where(np.arange(g.size) % 2, g, 1.05 * g),
    "the first left out": lambda g: np.concatenate([[0.0], g[1:]]),
    "an offset": lambda g: g + 0.01 * np.abs(g).max(),
    "noise": lambda g: g * (1 + 0.01 * np.random.default_rng(0).normal(size=g.shape)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "mistake",
    [
        pytest.param(mistake, id=name, marks=pytest.mark.long if number % 2 else ())
        for number, (name, mistake) in enumerate(MISTAKES.items())
    ],
)
def test_it_is_not_said_of_mistakes_in_functions_of_every_kind(mistake):
    said = []
    for function in functions():
        wrong = mistake(np.asarray(function.gradient(function.x), float))
        if says_so(gf.gradcheck(function.f, wrong, function.x)):
            said.append(function.name)
    assert said == []


@pytest.mark.parametrize("factor", [1.0005, 2.0, -1.0])
@pytest.mark.parametrize("solved", ["ISTA to 1e-6", pytest.param("Fehlberg", marks=pytest.mark.long)])
def test_it_is_not_said_of_a_mistake_in_the_gradient_of_an_exact_problem(solved, factor):
    loss, gradient, at, _ = SOLVED[solved]
    right = gradient(at)
    wrong = {n: factor * g for n, g in right.items()} if isinstance(right, dict) else factor * right
    report = gf.gradcheck(loss, wrong, at)
    assert report.verdict == "FAIL"
    if abs(factor - 1) > 1e-2:
        assert says_so(report) == []
    assert not any(PIECES in cause for cause in says_so(report))


def test_it_is_not_said_where_the_tolerance_is_yours():
    """A right gradient of which nothing is tolerated."""
    x = np.linspace(0.5, 2, 6)
    for options in ({"atol": 0.0}, {"rtol": 0.0, "atol": 0.0}):
        report = gf.gradcheck(lambda p: float(np.sum(np.exp(p))), np.exp(x), x, **options, trace=False)
        assert not report.ok
        assert report.diagnoses == ()


def test_it_is_not_said_of_float32():
    x = np.linspace(0.5, 2, 6).astype(np.float32)
    report = gf.gradcheck(lambda p: float(np.sum(np.exp(p))), np.exp(x) * (1 + 1e-4 * np.sin(99 * x)), x)
    assert says_so(report) == []


def test_a_loss_that_takes_long_is_not_looked_at_along_lines(monkeypatch):
    """What can be said without that is said."""
    monkeypatch.setattr(approximate, "_SECONDS", 0.0)
    (found,) = gf.gradcheck(lambda y: SEEN @ lasso(y, 1e-6), lasso_gradient(LASSO), LASSO).diagnoses
    assert APPROXIMATE in found.cause
