"""First differences and how they are made better: noise is always looked for, zero slopes cost next to nothing."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from functions import Counted
from rectifiers import rectifier_network

import gradcheck_fast as gf

V, P = np.random.default_rng(0).normal(size=(2, 6))


def in_float32(p):
    return np.sum(np.tanh(p).astype(np.float32) * V)


def buffer_of_float32(p):
    hidden = np.zeros(6, np.float32)
    hidden[:] = p
    return float(np.sum(np.sin(hidden.astype(float)) * V))


def rounded(p):
    return round(float(np.sum(np.tanh(p) * V)), 7)


def counted(p):
    return int(1e9 * np.sum(np.tanh(p) * V)) / 1e9


ROUNDED = {
    "cast on the way": (in_float32, (1 - np.tanh(P) ** 2) * V),
    "a buffer": (buffer_of_float32, np.cos(P) * V),
    "a result of seven digits": (rounded, (1 - np.tanh(P) ** 2) * V),
    "a whole number": (counted, (1 - np.tanh(P) ** 2) * V),
}


@pytest.mark.parametrize("options", [{"trace": False}, {"method": "direct"}], ids=["auto", "direct"])
@pytest.mark.parametrize("case", ROUNDED)
def test_a_loss_that_is_rounded_inside_is_differenced_with_larger_steps_and_named(case, options):
    loss, gradient = ROUNDED[case]
    with pytest.warns(UserWarning, match="the values of the loss (are rounded, to multiples of|have noise of about)"):
        found = gf.numerical_gradient(loss, P, **options)
    np.testing.assert_allclose(found, gradient, rtol=0, atol=1e-4 * np.abs(gradient).max())


@pytest.mark.parametrize("case", ROUNDED)
def test_a_trace_of_a_loss_that_is_rounded_inside_says_so_once(case):
    loss, gradient = ROUNDED[case]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = gf.numerical_gradient(loss, P)
    np.testing.assert_allclose(found, gradient, rtol=0, atol=1e-4 * np.abs(gradient).max())
    said = [str(warning.message) for warning in caught]
    on_trace = re.compile("the function could not be traced|a cast to float32 is|arrays of float32 .* are kept")
    assert sum(bool(on_trace.match(message)) for message in said) == 1
    assert all(on_trace.match(message) or message.startswith("the values of the loss") for message in said)


@pytest.mark.parametrize(
    ("loss", "at"),
    [
        (lambda p: np.sum(np.tanh(p) * V), P),
        (lambda p: np.sum(np.abs(p)), np.zeros(6)),
        (lambda p: np.sum(np.maximum(p, 0.0) * V), P),
        (lambda p: np.sum(np.where(p > 0.0, p * p, -p)), P),
        (lambda p: float(np.sum(p > 0.0)), P),
        (lambda p: 1e6 + np.sum(p * p), P),
    ],
    ids=["smooth", "at kinks", "rectifier", "pieces", "steps", "beside a large number"],
)
def test_other_losses_are_not_said_to_be_rounded(loss, at):
    real = lambda p: float(loss(p.real if np.iscomplexobj(p) else p))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gf.numerical_gradient(real, at, trace=False)


def test_exactly_zero_slopes_take_two_calls_each():
    v, p = np.random.default_rng(0).normal(size=(2, 5_000))
    loss = Counted(lambda q: np.sum(np.maximum(0.0, q) * v))
    assert gf.gradcheck(loss, (p > 0) * v, p, trace=False).verdict == "PASS"
    assert loss.calls <= 10_250


@pytest.mark.parametrize("zeros", ["pixels", "a dead layer", "an unused array"])
def test_whatever_makes_slopes_zero(zeros):
    rng = np.random.default_rng(1)
    X, w, b = np.maximum(rng.normal(size=(5, 40)), 0.0), rng.normal(size=(40, 9)), rng.normal(size=9)
    if zeros == "pixels":
        X[:, ::2] = 0.0
    if zeros == "a dead layer":
        b -= 100.0
    use = 0.0 if zeros == "an unused array" else 1.0
    relu = lambda z: np.maximum(z, 0.0)
    loss = Counted(lambda p: np.sum(use * relu(X @ p["w"] + p["b"]) ** 2) + np.sum(np.sin(p["c"])))

    def gradient(p):
        d = 2 * use * relu(X @ p["w"] + p["b"])
        return {"w": X.T @ d, "b": d.sum(axis=0), "c": np.cos(p["c"])}

    params = {"w": w, "b": b, "c": rng.normal(size=30)}
    assert gf.gradcheck(loss, gradient, params, trace=False).verdict == "PASS"
    assert loss.calls <= 2.3 * (w.size + b.size + 30)


def test_a_slope_that_is_forgotten_because_it_is_small_is_not_taken_for_zero():
    """The first differences are zero, for the cost is large; with larger steps they are not."""
    p = np.random.default_rng(2).normal(size=30)
    loss = lambda q: float(1e7 + 1e-5 * np.sum(q))
    assert gf.gradcheck(loss, np.zeros(30), p, trace=False).verdict != "PASS"
    assert gf.gradcheck(loss, np.full(30, 1e-5), p, trace=False).verdict != "FAIL"
    assert gf.gradcheck(loss, np.zeros(30), p).verdict == "FAIL"
    assert gf.gradcheck(loss, np.full(30, 1e-5), p).verdict == "PASS"


def test_rectifier_networks_take_hardly_more_than_two_calls_per_entry():
    per_entry = []
    for seed in range(7):
        loss, gradient, params = rectifier_network(seed)
        calls = Counted(loss)
        report = gf.gradcheck(calls, gradient, params, trace=False)
        assert report.verdict == "PASS"
        per_entry.append(calls.calls / report.checked)
    assert np.median(per_entry) <= 2.2


@pytest.mark.long
def test_many_rectifier_networks():
    per_entry, planted = [], 0
    for seed in range(30):
        loss, gradient, params = rectifier_network(100 + seed)
        calls = Counted(loss)
        report = gf.gradcheck(calls, gradient, params, trace=False)
        assert report.verdict == "PASS"
        per_entry.append(calls.calls / report.checked)
        wrong = gradient(params)
        where = np.unravel_index(np.argmax(np.abs(wrong["W1"])), wrong["W1"].shape)
        wrong["W1"][where] *= 1 + 1e-5
        planted += gf.gradcheck(loss, wrong, params, trace=False).verdict == "FAIL" or not wrong["W1"][where]
    assert np.median(per_entry) <= 2.2
    assert planted == 30
