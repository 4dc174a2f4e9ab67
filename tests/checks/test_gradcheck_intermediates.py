"""gradcheck(..., intermediates=): what is taken, when it is called, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf

X = np.random.default_rng(3).standard_normal((8, 3))
W = np.random.default_rng(0).standard_normal((3, 2))


def loss(w):
    z = X @ w
    a = np.tanh(z)
    return np.sum(a**2)


def deltas(w):
    a = np.tanh(X @ w)
    return {"da": 2.0 * a, "dz": 2.0 * a * (1.0 - a**2)}


def gradient(w):
    return X.T @ deltas(w)["dz"]


def statuses(report):
    return {result.name: result.status for result in report.intermediates}


RIGHT = {"da": "right", "dz": "right"}


def test_a_dict_and_a_function_of_the_parameters():
    assert statuses(gf.gradcheck(loss, gradient, W, intermediates=deltas(W))) == RIGHT
    assert statuses(gf.gradcheck(loss, gradient, W, intermediates=deltas)) == RIGHT
    assert statuses(gf.gradcheck(gf.trace(loss, W), gradient, W, intermediates=deltas)) == RIGHT


def test_a_function_is_called_right_after_the_gradient():
    kept = {}

    def leaves(w):
        kept.update(deltas(w))
        return gradient(w)

    assert statuses(gf.gradcheck(loss, leaves, W, intermediates=lambda w: kept)) == RIGHT


@pytest.mark.parametrize("options", [{"sample": 3}, {"method": "directional"}, {"method": "incremental"}])
def test_they_are_compared_with_every_method_that_traces(options):
    assert statuses(gf.gradcheck(loss, gradient, W, intermediates=deltas, **options)) == RIGHT


def test_lists_of_arrays_are_taken():
    given = {name: list(array) for name, array in deltas(W).items()}
    assert statuses(gf.gradcheck(loss, gradient, W, intermediates=given)) == RIGHT


def test_nothing_given_is_changed():
    given = deltas(W)
    before = {name: array.copy() for name, array in given.items()}
    gf.gradcheck(loss, gradient, W, intermediates=given)
    for name, array in given.items():
        np.testing.assert_array_equal(array, before[name])


def test_a_network_has_them_by_layer():
    net = gf.Network([gf.Dense(3, 4, "tanh"), gf.Dense(4, 2)], cost=gf.SquaredError(factor=0.5, reduction="sum"))
    params, y = net.init(seed=0), np.ones((8, 2))
    a1 = np.tanh(X @ params["W1"] + params["b1"])
    dz2 = a1 @ params["W2"] + params["b2"] - y
    da1 = dz2 @ params["W2"].T
    found = gf.gradcheck(
        net.loss(X, y), params, params, intermediates={"dz2": dz2, "da1": da1, "dz1": da1}
    ).intermediates
    assert [(r.name, r.variable, r.status) for r in found] == [
        ("dz2", "z2", "right"), ("da1", "a1", "right"), ("dz1", "z1", "wrong")
    ]  # fmt: skip
    assert found[2].place == "layer 1, Dense"


def test_a_loss_that_could_not_be_traced_is_said_to_be_so():
    def untraceable(w):
        return loss(np.array([[float(str(x)) for x in row] for row in w]))

    report = gf.gradcheck(untraceable, gradient, W, intermediates=deltas)
    assert report.ok
    assert report.intermediates == ()
    assert "the intermediates were not compared, for the loss could not be traced" in report.notes


def test_a_trace_that_took_another_way_is_not_used():
    def branches(w):
        return np.sum(w**2) if w[0] > 0.0 else np.sum(3.0 * w)

    traced = gf.trace(branches, np.ones(2))
    report = gf.gradcheck(traced, np.full(2, 3.0), -np.ones(2), intermediates={"dy": np.ones(2)})
    assert report.intermediates == ()
    assert "the loss takes another way at these parameters than its trace" in " ".join(report.notes)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"trace": False}, "leave out trace=False"),
        ({"method": "direct"}, "leave out method='direct'"),
        ({"step": 1e-4, "trace": False}, "leave out trace=False and step"),
    ],
)
def test_options_that_forbid_a_trace_are_refused(options, words):
    with pytest.raises(ValueError, match=rf"^intermediates: they need the trace of the loss; {words}$"):
        gf.gradcheck(loss, gradient, W, intermediates=deltas, **options)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([1.0], r"^intermediates: expected a dict such as \{'dz1': array\}, got list"),
        (lambda w: None, r"^intermediates: expected a dict .*, the function gave NoneType"),
        ({1: W}, r"^intermediates: expected names as keys, such as 'dz1', got 1"),
        ({"dz": "abc"}, r"^intermediates\['dz'\]: expected an array of real numbers"),
        (
            {"dz": [np.ones(2), np.ones(3)]},
            r"^intermediates\['dz'\]: expected .* a list of arrays of one shape, got list",
        ),
        ({"dz": 1j * W}, r"^intermediates\['dz'\]: expected an array of real numbers"),
    ],
)
def test_what_is_no_dict_of_arrays_is_refused(given, words):
    with pytest.raises(TypeError, match=words):
        gf.gradcheck(loss, gradient, W, intermediates=given)
