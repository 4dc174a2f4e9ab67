"""Diagnosis: it names the mistake that was planted, and says nothing where it does not know."""

from __future__ import annotations

import re

import numpy as np
import pytest
from mistakes import IN_ARRAYS, IN_LAYERS, backprop, cross_entropy
from mistakes_in_time import IN_TIME, rnn
from networks import forward, make

import gradcheck_fast as gf

PLANTED = {
    **IN_ARRAYS,
    **IN_LAYERS,
    **IN_TIME,
    "softmax-twice": lambda rng: cross_entropy(rng, True),
    "softmax-not-at-all": lambda rng: cross_entropy(rng, False),
}


def check(planted, gradient, **options):
    return gf.gradcheck(planted.loss, gradient, planted.params, **options)


def is_named(report, planted):
    """Whether the first diagnosis is the mistake."""
    return bool(report.diagnoses) and re.search(planted.says, report.diagnoses[0].cause) is not None


@pytest.mark.parametrize("mistake", PLANTED)
def test_a_planted_mistake_is_named(mistake):
    planted = PLANTED[mistake](np.random.default_rng(0))
    assert check(planted, planted.right).ok
    report = check(planted, planted.wrong)
    assert is_named(report, planted), report


# ---- silence

UNRELATED = {
    "noise-in-all": lambda rng, g: {
        name: a + 0.1 * np.abs(a).max() * rng.normal(size=a.shape) for name, a in g.items()
    },
    "small-noise-in-all": lambda rng, g: {name: a * (1 + 1e-5 * rng.normal(size=a.shape)) for name, a in g.items()},
    "noise-in-one": lambda rng, g: one(rng, g, lambda a: a + rng.normal(size=a.shape)),
    "one-entry": lambda rng, g: one(rng, g, lambda a: a + np.eye(a.size, 1, -rng.integers(a.size)).reshape(a.shape)),
    "some-entries": lambda rng, g: one(rng, g, lambda a: a + some(rng, a) * rng.normal(size=a.shape)),
    "some-signs": lambda rng, g: one(rng, g, lambda a: np.where(some(rng, a), -a, a)),
    "other-factors": lambda rng, g: {name: a * rng.uniform(0.5, 2.0, a.shape) for name, a in g.items()},
    "shuffled": lambda rng, g: one(rng, g, lambda a: rng.permutation(a.ravel()).reshape(a.shape)),
    "another-array": lambda rng, g: one(rng, g, lambda a: rng.normal(size=a.shape)),
    "an-offset": lambda rng, g: {name: a + rng.normal() for name, a in g.items()},
}


def some(rng, array):
    """Some entries, at least the first, but not the last."""
    chosen = (rng.random(array.size) < 0.3) | (np.arange(array.size) == 0)
    chosen[-1] = False
    return chosen.reshape(array.shape)


def one(rng, gradient, change):
    """Changes one of the matrices, but none so small that any order of its entries has a name."""
    name = str(rng.choice([name for name, array in gradient.items() if array.ndim == 2 and array.size > 4]))
    return {**gradient, name: change(gradient[name])}


NETWORKS = {
    "dense": IN_LAYERS["slope-left-out"],
    "square": IN_LAYERS["not-transposed"],
    "penalised": IN_ARRAYS["penalty-missing"],
    "softmax": lambda rng: cross_entropy(rng, True),
    "rnn": IN_TIME["rnn-truncated"],
    "lstm": IN_TIME["lstm-h-not-carried"],
    "gru": IN_TIME["gru-z-exchanged"],
}


def assert_nothing_is_said(network, error, seed):
    rng = np.random.default_rng([seed, list(UNRELATED).index(error)])
    planted = NETWORKS[network](rng)
    wrong = UNRELATED[error](rng, planted.right)
    report = check(planted, wrong)
    assert not report.ok
    assert report.diagnoses == ()


@pytest.mark.parametrize("error", UNRELATED)
@pytest.mark.parametrize(
    "network",
    [pytest.param(n, marks=pytest.mark.long if n in ("square", "penalised", "rnn", "gru") else ()) for n in NETWORKS],
)
def test_nothing_is_said_of_an_unrelated_error(network, error):
    assert_nothing_is_said(network, error, 0)


@pytest.mark.parametrize("network", NETWORKS)
def test_nothing_is_said_of_a_right_gradient(network):
    """Not even if nothing is tolerated, so that its rounding is wrong."""
    for seed in range(5):
        planted = NETWORKS[network](np.random.default_rng(seed))
        assert check(planted, planted.right).diagnoses == ()
        report = check(planted, planted.right, rtol=0, atol=0)
        assert not report.ok
        assert report.diagnoses == ()


# ---- many networks


@pytest.mark.long
@pytest.mark.parametrize("mistake", PLANTED)
def test_a_mistake_is_named_in_19_of_20_networks(mistake):
    planted = [PLANTED[mistake](np.random.default_rng([1, seed])) for seed in range(20)]
    reports = [check(case, case.wrong) for case in planted]
    visible = [(report, case) for report, case in zip(reports, planted, strict=True) if not report.ok]
    assert len(visible) >= 18
    assert sum(is_named(*pair) for pair in visible) >= 0.95 * len(visible)
    for case in planted[:3]:
        assert check(case, case.right, rtol=0, atol=0).diagnoses == ()


@pytest.mark.long
@pytest.mark.parametrize("error", UNRELATED)
@pytest.mark.parametrize("network", NETWORKS)
def test_nothing_is_said_of_an_unrelated_error_in_other_networks(network, error):
    for seed in range(1, 3):
        assert_nothing_is_said(network, error, seed)


# ---- what is said


@pytest.fixture
def case():
    return make(np.random.default_rng(0), [4, 5, 3], ["tanh", "identity"], "squared", "batchmean", samples=7)


def diagnoses(case, gradient, params=None, **options):
    return gf.gradcheck(case.loss, gradient, params or case.params, **options).diagnoses


def test_the_evidence_is_what_was_compared(case):
    (found,) = diagnoses(case, {**case.gradient, "W2": 2 * case.gradient["W2"]})
    assert found.cause == "the gradient of W2 is doubled"
    assert re.fullmatch(r"yours / numerical = 2; W2 agrees with that to \d+e-1\d in all 15 entries", found.evidence)
    assert found.arrays == ("W2",)


def test_where_the_error_enters_comes_last(case):
    *_, place = diagnoses(case, backprop(case, "slope-left-out", 1))
    assert place.cause == "the error enters at layer 1: everything above is right"
    assert place.evidence == "right: W2, b2; wrong: W1, b1"


def test_arrays_with_the_same_mistake_are_one_diagnosis(case):
    (found,) = diagnoses(case, {name: g / 7 if name[0] == "b" else g for name, g in case.gradient.items()})
    assert "averaged over the samples" in found.cause
    assert found.arrays == ("b1", "b2")


def test_two_mistakes_are_both_named(case):
    gradient = backprop(case, "slope-left-out", 1)
    gradient["W2"] = -gradient["W2"]
    slope, sign = diagnoses(case, gradient)
    assert (slope.cause, slope.arrays) == ("in layer 1 the derivative of tanh is left out", ("W1", "b1"))
    assert (sign.cause, sign.arrays) == ("the gradient of W2 is of the wrong sign", ("W2",))


def test_two_mistakes_on_one_way_back_are_both_named():
    case = make(np.random.default_rng(0), [4, 4, 4, 3], ["sigmoid", "tanh", "identity"], "squared", "batchmean")
    net, params, X, y = case
    (x, a1, a2, out), _ = forward(net, params, X)
    d3 = 2 * (out - y) / len(X)
    d2 = d3 @ params["W3"].T * (1 - a2)
    d1 = d2 @ params["W2"] * a1 * (1 - a1)
    gradient = {"W1": x.T @ d1, "b1": d1.sum(axis=0), "W2": a1.T @ d2, "b2": d2.sum(axis=0)}
    found, place = diagnoses(case, {**case.gradient, **gradient})
    assert found.cause == "in layer 2 the derivative of tanh is 1 - a; and on the way back W2 is not transposed"
    assert place.cause == "the error enters at layer 2: everything above is right"


def test_a_mistake_besides_one_that_is_unknown_is_named(case):
    gradient = {**case.gradient, "b1": case.gradient["b1"] + [0.1, -0.3, 0.2, 0.7, 0.4], "b2": 0 * case.gradient["b2"]}
    (found,) = diagnoses(case, gradient)
    assert found.arrays == ("b2",)


def test_a_size_that_is_also_a_small_number_has_both_names():
    case = make(np.random.default_rng(0), [4, 5, 3], ["tanh", "identity"], "squared", "batchmean", samples=2)
    found = diagnoses(case, {name: 2 * array for name, array in case.gradient.items()})[0]
    assert found.cause == "the whole gradient is doubled, or multiplied by the number of samples N = 2"


def test_another_mistake_that_would_give_the_same_numbers_is_told():
    """Of five or six times, to stop two before the end is to detach once."""
    planted = rnn("stops", "", number=lambda *_: 2)(np.random.default_rng(0))
    found = gf.gradcheck(planted.loss, planted.wrong, planted.params).diagnoses[0]
    assert "stops 2 steps before the end" in found.cause
    assert re.search(r"The same numbers come from: .* is detached every [34] steps", found.evidence)


def test_the_verdict_and_the_table_are_the_same_with_a_diagnosis(case):
    gradient = {**case.gradient, "W2": 2 * case.gradient["W2"]}
    report = gf.gradcheck(case.loss, gradient, case.params)
    assert report.verdict == "FAIL"
    assert [array.name for array in report.arrays if array.wrong] == ["W2"]


# ---- precision


def float32(tree):
    return {name: array.astype(np.float32) for name, array in tree.items()}


def test_rounding_to_float32_is_recognised(case):
    gradient = {name: array.astype(np.float64) for name, array in float32(case.gradient).items()}
    (found,) = diagnoses(case, gradient, rtol=1e-9)
    assert found.cause == "the gradient was computed in float32, and is right to its rounding"
    assert found.evidence.startswith("all 43 entries are float32 numbers; the largest error is ")


@pytest.mark.parametrize("handed_over", [np.float32, np.float64])
def test_a_mistake_in_float32_is_named(case, handed_over):
    gradient = {name: array.astype(handed_over) for name, array in float32(backprop(case, "slope-left-out", 1)).items()}
    found = diagnoses(case, gradient)
    assert found[0].cause == "in layer 1 the derivative of tanh is left out"


def test_few_entries_of_low_precision_are_no_evidence():
    """Two entries of float16 agree with one of many mistakes by chance."""
    case = make(np.random.default_rng(0), [1, 1], ["tanh"], "squared", samples=5)
    gradient = {name: (array * 1.1).astype(np.float16) for name, array in case.gradient.items()}
    assert diagnoses(case, gradient) == ()


# ---- losses of which little is known, or too much


def test_a_python_function():
    weights, vector = np.arange(1.0, 10.0).reshape(3, 3), np.array([1.0, -2.0, 0.5])
    loss = lambda p: np.sum(np.tanh(p["W"] @ vector / 9)) + np.sum(p["W"] ** 2 * np.arange(9).reshape(3, 3))
    right = gf.numerical_gradient(loss, {"W": weights})
    (found,) = gf.gradcheck(loss, {"W": right["W"].T}, {"W": weights}).diagnoses
    assert found.cause == "the gradient of W is transposed"
    assert gf.gradcheck(loss, {"W": right["W"] + vector}, {"W": weights}).diagnoses == ()


def test_one_number_needs_many_digits():
    (found,) = gf.gradcheck(lambda x: x**2, 6.0, 1.5).diagnoses
    assert found.cause == "the whole gradient is doubled"
    assert gf.gradcheck(lambda x: x**2, 6.0 + 1e-5, 1.5).diagnoses == ()


def test_arrays_that_are_not_finite_are_left_alone(case):
    gradient = {**case.gradient, "W1": case.gradient["W1"] * np.nan, "W2": 2 * case.gradient["W2"]}
    (found,) = diagnoses(case, gradient)
    assert found.arrays == ("W2",)
    assert diagnoses(case, {name: array * np.inf for name, array in gradient.items()}) == ()


def test_a_network_that_is_too_large_is_not_gone_through(case, monkeypatch):
    monkeypatch.setattr("gradcheck_fast.diagnosis.hypotheses._SECONDS", 0.0)
    assert [found.cause for found in diagnoses(case, backprop(case, "slope-left-out", 1))] == [
        "the error enters at layer 1: everything above is right"
    ]
    assert diagnoses(case, {**case.gradient, "W2": 2 * case.gradient["W2"]})


def test_sequences_of_different_lengths_in_both_directions():
    """Wrong in arrays alone: the steps of such a network are gone through, and fit nothing else."""
    random = np.random.default_rng(0)
    net = gf.Network([gf.LSTM(2, 3, bidirectional=True), gf.Dense(6, 2)], cost=gf.SquaredError())
    loss, params = net.loss(random.normal(size=(3, 4, 2)), random.normal(size=(3, 2)), lengths=[4, 2, 3]), net.init(0)
    right = gf.numerical_gradient(loss, params)
    parts = np.split(right["Wh_reverse1"], 4, axis=1)
    (found,) = gf.gradcheck(
        loss, {**right, "Wh_reverse1": np.hstack([parts[k] for k in (1, 0, 2, 3)])}, params
    ).diagnoses
    assert found.cause == "the gates of Wh_reverse1 are in the order figo, the layer has ifgo"
    wrong = {**right, "Wx1": right["Wx1"] + random.normal(size=right["Wx1"].shape)}
    assert gf.gradcheck(loss, wrong, params).diagnoses == ()


@pytest.mark.parametrize("carried", [True, False])
def test_the_last_states_of_sequences_of_different_lengths(carried):
    random = np.random.default_rng(0)
    net = gf.Network([gf.RNN(2, 3), gf.Dense(3, 2)], cost=gf.SquaredError())
    X, y, lengths, params = (
        random.normal(size=(4, 5, 2)),
        random.normal(size=(4, 2)),
        np.array([5, 2, 3, 1]),
        net.init(0),
    )
    h = np.zeros((4, 6, 3))
    for t in range(5):
        new = np.tanh(X[:, t] @ params["Wx1"] + h[:, t] @ params["Wh1"] + params["b1"])
        h[:, t + 1] = np.where((t < lengths)[:, np.newaxis], new, h[:, t])
    d_outputs = 2 * (h[:, -1] @ params["W2"] + params["b2"] - y) / y.size
    gradient = {name: np.zeros_like(array) for name, array in params.items()}
    gradient["W2"], gradient["b2"] = h[:, -1].T @ d_outputs, d_outputs.sum(axis=0)
    dh = d_outputs @ params["W2"].T
    for t in reversed(range(5)):
        there = (t < lengths)[:, np.newaxis]
        dz = np.where(there, dh * (1 - h[:, t + 1] ** 2), 0)
        gradient["Wx1"] += X[:, t].T @ dz
        gradient["Wh1"] += h[:, t].T @ dz
        gradient["b1"] += dz.sum(axis=0)
        dh = np.where(there, carried * dz @ params["Wh1"].T, dh)
    report = gf.gradcheck(net.loss(X, y, lengths=lengths), gradient, params)
    if carried:
        assert report.ok
    else:
        assert report.diagnoses[0].cause == "in layer 1 no state is carried back in time: truncated to 1 step"
