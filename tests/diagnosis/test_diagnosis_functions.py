"""What is said of wrong gradients of plain functions: one cause for all that it explains, and no more than is known."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from networks import make

import gradcheck_fast as gf

N = 20


class Regression:
    """Two layers and squared errors, averaged over the samples; `strength` is of an L2 penalty on the matrices."""

    def __init__(self, activation="tanh", scale=1.0, strength=0.0):
        rng = np.random.default_rng(0)
        self.X, self.y = rng.normal(size=(N, 8)), rng.normal(size=(N, 3))
        shapes = {"W1": (8, 6), "b1": (6,), "W2": (6, 3), "b2": (3,)}
        self.params = {name: rng.normal(size=shape) / 3 for name, shape in shapes.items()}
        self.params["W1"] *= scale
        self.strength, self.rectified = strength, activation == "relu"

    def forward(self, p):
        z = self.X @ p["W1"] + p["b1"]
        h = np.maximum(z, 0) if self.rectified else np.tanh(z)
        return z, h, h @ p["W2"] + p["b2"] - self.y

    def loss(self, p):
        penalty = 0.5 * self.strength * sum(np.sum(p[name] ** 2) for name in ("W1", "W2"))
        return float(np.sum(self.forward(p)[2] ** 2) / N + penalty)

    def gradient(self, p=None):
        p = p or self.params
        z, h, e = self.forward(p)
        d = 2 * e / N
        dz = d @ p["W2"].T * ((z > 0) if self.rectified else 1 - h * h)
        return {
            "W1": self.X.T @ dz + self.strength * p["W1"], "b1": dz.sum(axis=0),
            "W2": h.T @ d + self.strength * p["W2"], "b2": d.sum(axis=0),
        }  # fmt: skip


def times(factor, gradient, *names):
    return {name: factor * array if name in (names or gradient) else array for name, array in gradient.items()}


def as_float32(gradient):
    return {name: array.astype(np.float32) for name, array in gradient.items()}


# ---- one factor is one diagnosis

#: Further terms of the loss and their gradients: parameters that hardly matter, or not at all.
TERMS = {
    "none": None,
    "tiny": (lambda c: 1e-6 * np.sum(np.sin(c)), lambda c: 1e-6 * np.cos(c)),
    "below all noise": (lambda c: 1e-12 * np.sum(np.sin(c)), lambda c: 1e-12 * np.cos(c)),
    "unused": (lambda c: 0.0, np.zeros_like),
    "partly unused": (lambda c: np.sin(c[0]), lambda c: np.cos(c) * (np.arange(c.size) == 0)),
    "much larger": (lambda c: 1e6 * np.sum(np.sin(c)), lambda c: 1e6 * np.cos(c)),
}
LOSSES = {
    "tanh": (Regression(), lambda value: value),
    "rectifiers": (Regression("relu"), lambda value: value),
    "saturated": (Regression(scale=100.0), lambda value: value),
    "large offset": (Regression(), lambda value: value + 1e4),
    "rounded": (Regression(), lambda value: round(value, 10)),
}
FACTORS = {20.0: "a constant times the right one", 0.05: "a constant times the right one", -1.0: "of the wrong sign",
           2.0: "doubled", 0.5: "halved", 3.7: "a constant times the right one"}  # fmt: skip
WAYS = {"entries": {}, "all of a sample": {"sample": 100}, "directions": {"method": "directional"}}


def with_term(network, seen, term):
    f, slope = TERMS[term]
    c = np.arange(1.0, 4.0)
    loss = lambda p: seen(network.loss(p)) + float(f(p["c"]))
    return loss, {**network.gradient(), "c": slope(c)}, {**network.params, "c": c}


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("name", LOSSES)
def test_one_factor_of_all_arrays_is_said_of_the_whole_gradient(name, factor):
    network, seen = LOSSES[name]
    report = gf.gradcheck(
        lambda p: seen(network.loss(p)), times(factor, network.gradient()), network.params, trace=False
    )
    (found,) = report.diagnoses
    assert found.cause == f"the whole gradient is {FACTORS[factor]}"
    assert found.evidence.startswith(f"yours / numerical = {factor:g}; W1, b1, W2, b2 agree")
    assert found.arrays == ("W1", "b1", "W2", "b2")


@pytest.mark.parametrize("factor", [20.0, 2.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("term", list(TERMS)[1:])
def test_so_it_is_beside_arrays_that_hardly_matter(term, factor, dtype):
    loss, gradient, params = with_term(Regression(), lambda value: value, term)
    wrong = {name: array.astype(dtype) for name, array in times(factor, gradient).items()}
    found = gf.gradcheck(loss, wrong, params, trace=False).diagnoses
    assert [d.cause for d in found] == [f"the whole gradient is {FACTORS[factor]}"]


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_so_it_is_however_it_was_found(options):
    network = Regression()
    found = gf.gradcheck(
        network.loss, times(20.0, network.gradient()), network.params, trace=False, **options
    ).diagnoses
    assert [d.cause for d in found] == ["the whole gradient is a constant times the right one"]


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("factor", [20.0, 2.0])
def test_a_factor_of_some_arrays_is_said_of_these(factor, options):
    network = Regression()
    wrong = times(factor, network.gradient(), "b1", "W2", "b2")
    (found,) = gf.gradcheck(network.loss, wrong, network.params, trace=False, **options).diagnoses
    assert found.cause == f"the gradient of b1, W2, b2 is {FACTORS[factor]}"


def test_two_factors_are_two_diagnoses():
    network = Regression()
    wrong = times(20.0, times(7.0, network.gradient(), "W1", "b1"), "W2", "b2")
    found = gf.gradcheck(network.loss, wrong, network.params, trace=False).diagnoses
    assert [(d.cause, d.evidence[:22]) for d in found] == [
        ("the gradient of W1, b1 is a constant times the right one", "yours / numerical = 7;"),
        ("the gradient of W2, b2 is a constant times the right one", "yours / numerical = 20"),
    ]


@pytest.mark.parametrize("term", ["none", "tiny", "unused"])
def test_a_factor_of_all_but_one_entry_is_not_said_of_all(term):
    network = Regression()
    loss, gradient, params = (
        with_term(network, float, term) if TERMS[term] else (network.loss, network.gradient(), network.params)
    )
    wrong = times(20.0, gradient)
    wrong["W2"][1, 1] *= 1.01
    (found,) = gf.gradcheck(loss, wrong, params, trace=False).diagnoses
    assert "W2" not in found.arrays
    assert found.cause == f"the gradient of {', '.join(found.arrays)} is a constant times the right one"


# ---- a multiple of the parameters

NEUTRAL = "is added, as of an L2 penalty that the loss has not, or has with another strength"


@pytest.mark.parametrize(
    ("has", "given", "names"),
    [(0.0, 0.01, ["W1", "W2"]), (0.01, 0.2, ["W1", "W2"]), (0.3, 0.0, ["W1", "W2"]), (0.1, 0.2, ["W2"])],
    ids=["the loss has none", "N times as large", "left out", "twice as large in one"],
)
def test_of_a_functions_own_penalty_nothing_is_claimed(has, given, names):
    network = Regression(strength=has)
    wrong = network.gradient()
    for name in names:
        wrong[name] = wrong[name] + (given - has) * network.params[name]
    (found,) = gf.gradcheck(network.loss, wrong, network.params, trace=False).diagnoses
    assert found.cause == f"{given - has:g} * {', '.join(names)} {NEUTRAL}"
    assert found.arrays == tuple(names)


def test_so_it_is_of_a_compiled_function():
    signature = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.POINTER(ctypes.c_double), ctypes.c_ssize_t, ctypes.c_void_p)
    loss = gf.callback(signature(lambda theta, n, data: sum(np.sin(theta[k]) for k in range(n))))
    at = np.linspace(1, 2, 6)
    (found,) = gf.gradcheck(loss, np.cos(at) + 0.5 * at, at).diagnoses
    assert found.cause == f"0.5 * params {NEUTRAL}"


def test_of_a_network_described_it_is_known_whether_it_has_one():
    case = make(np.random.default_rng(0), [4, 5, 3], ["tanh", "identity"], "squared", "batchmean")
    wrong = {**case.gradient, "W1": case.gradient["W1"] + 0.01 * case.params["W1"]}
    (found,) = gf.gradcheck(case.loss, wrong, case.params).diagnoses
    assert found.cause == "the gradient has a penalty's term, 0.01 * W1, which the loss has not"


def test_a_diagnosis_that_fails_leaves_the_verdict_and_says_so(monkeypatch):
    def broken(*given, **options):
        raise OverflowError("too large")

    monkeypatch.setattr("gradcheck_fast.diagnosis.diagnose.make_case", broken)
    report = gf.gradcheck(lambda p: np.sum(p**2), np.ones(3), np.ones(3))
    assert report.wrong == 3
    assert report.diagnoses == ()
    (note,) = report.notes
    assert note.endswith("please report it, with the functions. It raised OverflowError: too large")


@pytest.mark.parametrize("limit", ["MOST_STEPS", "MOST_NUMBERS"])
def test_a_function_that_is_too_large_to_be_searched_is_said_to_be(monkeypatch, limit):
    monkeypatch.setattr(f"gradcheck_fast.diagnosis.graph.search.{limit}", 1)
    p = np.linspace(0.5, 2.0, 6)
    report = gf.gradcheck(lambda p: np.sum(np.tanh(p)), 1 - p**2, p)
    assert report.wrong
    assert report.diagnoses == ()
    assert report.notes == (
        "the function is too large for a search for the mistake; smaller sizes show the same mistakes",
    )
    assert gf.gradcheck(lambda p: np.sum(np.tanh(p)), np.full(6, np.nan), p).notes == ()


def test_a_search_that_takes_too_long_is_ended_and_said_to_be(monkeypatch):
    monkeypatch.setattr("gradcheck_fast.diagnosis.graph.search.SECONDS", -1.0)
    p = np.linspace(0.5, 2.0, 6)
    report = gf.gradcheck(lambda p: np.sum(np.tanh(p)), 1 - p**2, p)
    assert "the search for the mistake was ended after 10 seconds" in report.notes[0]


def test_a_gradient_function_of_units_that_are_all_dead():
    """Every right gradient is zero there: nothing can be recognised in the function, and nothing is said to fail."""
    w = np.linspace(1.0, 2.0, 5)
    report = gf.gradcheck(lambda w: np.sum(np.maximum(0, w - 100)), lambda w: 2 * w, w)
    assert report.verdict == "FAIL"
    assert not any("please report" in note for note in report.notes)


def test_what_was_found_in_the_forward_pass_stands_if_the_backward_pass_cannot_be_searched(monkeypatch):
    def broken(*given, **options):
        raise OverflowError("too large")

    monkeypatch.setattr("gradcheck_fast.diagnosis.diagnose.parting_line", broken)
    w = np.linspace(0.5, 2.0, 6)
    report = gf.gradcheck(lambda w: np.sum(np.tanh(w)), lambda w: 1 - w**2, w)
    assert "tanh" in report.diagnoses[0].cause
    assert "OverflowError" in report.notes[-1]
