"""The deltas of hand-written back-propagation are matched with the steps of the loss; the first wrong one is named."""

from __future__ import annotations

import re

import numpy as np
import planted_deltas
import pytest
from deltas import deltas_of, example
from planted_deltas import BLOCK, CNN, FEW, LSTM, MORE, NORM, OF

import gradcheck_fast as gf
from gradcheck_fast.diagnosis.intermediates.names import stems
from gradcheck_fast.report.intermediates import first_wrong

#: What has a name like that of a delta, and is none: gradients by data, and a part of a formula.
NO_SENSITIVITY = {"conv_backward 2.dx", "pool_backward 1.dx", "layernorm_backward 1.dx", "layernorm_backward 2.dx"}


def own(deltas):
    """Only the deltas of the function itself, not those that the functions it calls have."""
    return {name: array for name, array in deltas.items() if " " not in name and name not in ("dW", "dWy", "dby")}


def by_name(report):
    return {result.name: result for result in report.intermediates}


# ---- every delta of the examples


@pytest.mark.parametrize("name", [CNN, BLOCK, NORM, LSTM])
def test_every_delta_of_an_example_is_matched(name):
    module = example(name)
    params = module.init_params()
    deltas = deltas_of(module.backprop, params, of=OF[name])
    report = gf.gradcheck(module.loss, module.backprop, params, intermediates=deltas)
    assert report.ok
    assert {r.name for r in report.intermediates if r.status != "right"} == NO_SENSITIVITY & set(deltas)
    assert len(report.intermediates) == len(deltas)
    assert max(r.relative_error for r in report.intermediates if r.status == "right") < 1e-13


def test_deltas_are_matched_with_the_variables_that_they_are_named_after():
    module = example(CNN)
    params = module.init_params()
    report = gf.gradcheck(module.loss, module.backprop, params, intermediates=own(deltas_of(module.backprop, params)))
    found = {name: (r.variable, r.line, r.text) for name, r in by_name(report).items()}
    assert found["dz1"] == ("z1", 78, 'z1, cache1 = conv_forward(X, params["W1"], params["b1"])')
    assert found["da1"] == ("a1", 79, "a1 = np.maximum(0, z1)")
    assert found["dz2"][:2] == ("z2", 80)


def test_deltas_of_word2vec_are_those_of_single_pairs_times_their_number(tmp_path):
    mark = "d_neg = sigmoid(U[neg] @ v)"
    module = example("numpy_word2vec", (mark, f"{mark}; kept.append((d_pos, d_neg))"), directory=tmp_path)
    module.kept, params = [], module.init_params()
    module.backprop(params)
    positive, negative = (np.array(parts) for parts in zip(*module.kept, strict=True))
    report = gf.gradcheck(
        module.loss, module.backprop, params, intermediates={"d_pos": positive, "d_neg": negative}
    )  # fmt: skip
    pairs = len(module.pairs)
    assert [(r.status, r.factor, r.line) for r in report.intermediates] == [
        ("right", pytest.approx(pairs), 39), ("right", pytest.approx(pairs), 40)
    ]  # fmt: skip


def test_deltas_of_the_first_tutorial():
    module = example("tutorial_one_hidden_layer")
    rng = np.random.default_rng(1)
    inputs, y = rng.normal(size=(20, 4)), rng.uniform(size=(20, 3))
    net = gf.Network(
        [gf.Dense(4, 6, "sigmoid"), gf.Dense(6, 3, "sigmoid")], cost=gf.SquaredError(reduction="batchmean")
    )
    params = net.init(seed=0)
    gradient = module.backpropagate(params, inputs, y)
    deltas = deltas_of(module.backpropagate, params, inputs, y)
    traced = gf.gradcheck(lambda p: module.cost(p, inputs, y), gradient, params, intermediates=deltas)
    described = gf.gradcheck(net.loss(inputs, y), gradient, params, intermediates=deltas)
    assert [(r.name, r.status, r.factor) for r in traced.intermediates] == [("dx", "right", 1.0), ("da", "right", 1.0)]
    assert [(r.variable, r.status) for r in described.intermediates] == [("z2", "right"), ("z1", "right")]


def test_deltas_of_the_second_tutorial():
    module = example("tutorial_sleep_and_study")
    net = module.NeuralNetwork()
    loss = lambda params: (net.setParams(params), net.costFunction(module.X, module.y))[1]
    deltas = deltas_of(net.computeGradients, module.X, module.y)
    deltas.pop("dJdW2")
    report = gf.gradcheck(loss, net.computeGradients(module.X, module.y), net.getParams(), intermediates=deltas)
    assert [(r.name, r.variable, r.status) for r in report.intermediates] == [
        ("delta3", "self.z3", "right"), ("delta2", "self.z2", "right")
    ]  # fmt: skip


@pytest.mark.long
def test_deltas_of_the_character_model(tmp_path):
    mark = 'gradient["b1"] += dz.sum(axis=0)'
    module = example("character_lstm", (mark, f"{mark}; kept.append((d_logits, dh, dc, dz))"), directory=tmp_path)
    module.kept = []
    X, y, lengths = module.read_lines()
    net = gf.Network([gf.LSTM(X.shape[2], 24, return_sequences=True), gf.Dense(24, X.shape[2])], cost=gf.CrossEntropy())
    params = net.init(seed=0)
    gradient = module.backpropagate(params, X, y, lengths)
    parts = zip(*module.kept, strict=True)
    deltas = dict(zip(("d_logits", "dh", "dc", "dz"), (np.array(part) for part in parts), strict=True))
    deltas |= dict(zip(("di", "df", "dg", "do"), np.split(deltas.pop("dz"), 4, axis=2), strict=True))
    report = gf.gradcheck(net.loss(X, y, lengths=lengths), gradient, params, intermediates=deltas)
    assert {r.name: r.status for r in report.intermediates} == dict.fromkeys(deltas, "right")


# ---- planted mistakes


def check_planted(mistake, directory):
    module = example(mistake.example, (mistake.old, mistake.new), directory=directory)
    params = module.init_params()
    deltas = own(deltas_of(module.backprop, params, of=OF[mistake.example]))
    report = gf.gradcheck(module.loss, module.backprop, params, intermediates=deltas)
    assert report.verdict == "FAIL"
    first = first_wrong(report.intermediates)
    assert first is not None
    assert first.name == mistake.first
    assert f"{mistake.first} is the first of your intermediates that is wrong" in " ".join(str(report).split())
    assert "right" in {r.status for r in report.intermediates} or first.name in ("dscores", "dlogits", "dpred")


@pytest.mark.parametrize("mistake", FEW[::2], ids=lambda mistake: f"{mistake.first}: {mistake.new}")
def test_the_first_wrong_delta_is_named(mistake, tmp_path):
    check_planted(mistake, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("mistake", (*FEW[1::2], *MORE), ids=lambda mistake: f"{mistake.first}: {mistake.new}")
def test_the_first_wrong_delta_is_named_for_more_mistakes(mistake, tmp_path):
    check_planted(mistake, tmp_path)


def test_there_are_enough_planted_mistakes():
    assert len(planted_deltas.FEW) >= 12
    assert len(planted_deltas.FEW) + len(planted_deltas.MORE) >= 60


# ---- what is said of single ones

X = np.random.default_rng(3).standard_normal((8, 3))
Y = np.random.default_rng(4).standard_normal((8, 2))


def init():
    rng = np.random.default_rng(5)
    return {"W1": rng.standard_normal((3, 4)), "W2": rng.standard_normal((4, 2))}


def loss(p):
    z1 = X @ p["W1"]
    a1 = np.tanh(z1)
    out = a1 @ p["W2"]
    return np.sum((out - Y) ** 2) / len(X)


def backprop(p, factor=1.0, slope=True):
    a1 = np.tanh(X @ p["W1"])
    dout = 2.0 * (a1 @ p["W2"] - Y) / len(X)
    da1 = dout @ p["W2"].T * factor
    dz1 = da1 * (1.0 - a1**2) if slope else da1
    return {"W1": X.T @ dz1, "W2": a1.T @ dout}, {"dout": dout, "da1": da1, "dz1": dz1}


def checked(deltas, **mistake):
    p = init()
    gradient, right = backprop(p, **mistake)
    return gf.gradcheck(loss, gradient, p, intermediates=deltas(right) if callable(deltas) else deltas)


@pytest.mark.parametrize("spelling", ["dz1", "d_z1", "grad_z1", "delta1", "delta_z1", "dL_dz1", "z1_grad", "dZ1"])
def test_a_delta_may_be_named_in_any_common_way(spelling):
    report = checked(lambda d: {"dout": d["dout"], spelling: d["dz1"]}, slope=False)
    found = by_name(report)[spelling]
    assert (found.status, found.variable) == ("wrong", "z1")
    assert "it has the numbers of the sensitivity of line" in found.how


def test_a_convention_is_no_mistake():
    report = checked(lambda d: {name: 8.0 * array for name, array in d.items()})
    assert [(r.status, r.factor, r.how) for r in report.intermediates] == [("right", 8.0, "times N = 8")] * 3


def test_a_convention_above_a_mistake_is_said():
    report = checked(lambda d: {name: -array.T for name, array in d.items()}, slope=False)
    assert [(r.status, r.factor) for r in report.intermediates][:2] == [("right", -1.0)] * 2
    assert "(dout transposed, times -1, da1 transposed, times -1)" in " ".join(str(report).split())
    assert first_wrong(report.intermediates).name == "dz1"


def test_a_factor_that_is_in_the_gradient_is_a_mistake():
    report = checked(lambda d: d, factor=2.0)
    assert [(r.name, r.status, r.factor) for r in report.intermediates] == [
        ("dout", "right", 1.0), ("da1", "wrong", 2.0), ("dz1", "wrong", 2.0)
    ]  # fmt: skip
    assert first_wrong(report.intermediates).name == "da1"


def residual(w):
    x1 = X @ w["W"]
    x2 = x1 + np.tanh(x1)
    return np.sum(x2**2)


def test_a_share_of_a_sensitivity_is_wrong_unless_the_whole_is_there_too():
    w = {"W": np.random.default_rng(5).standard_normal((3, 4))}
    x1 = X @ w["W"]
    dx2 = 2.0 * (x1 + np.tanh(x1))
    branch = dx2 * (1.0 - np.tanh(x1) ** 2)
    gradient = {"W": X.T @ branch}
    forgotten = by_name(gf.gradcheck(residual, gradient, w, intermediates={"dx2": dx2, "dx1": branch}))
    assert [forgotten[name].status for name in ("dx2", "dx1")] == ["right", "wrong"]
    assert forgotten["dx1"].how.startswith("it is only what comes back from line")
    both = by_name(gf.gradcheck(residual, gradient, w, intermediates={"dx1": branch, "whole": branch + dx2}))
    assert [both[name].status for name in ("dx1", "whole")] == ["right", "right"]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (CNN, 'grads["b3"] = dscores.sum(axis=0)', 'grads["b3"] = dscores.mean(axis=0)'),
        (CNN, "dW = dout.T.dot(cols)", "dW = -dout.T.dot(cols)"),
        (CNN, "return dx, dW, dout.sum(axis=0)", "return dx, dW[::-1], dout.sum(axis=0)"),
        (NORM, "dgamma = np.sum(dout * xhat, axis=0)", "dgamma = np.sum(dout, axis=0)"),
        (NORM, 'grads["W2"] += self.reg * p["W2"]', 'grads["W2"] += 2 * self.reg * p["W2"]'),
        (LSTM, "self.dW += self.Hin[t]", "self.dW = self.Hin[t]"),
        (BLOCK, 'np.add.at(g["E"], x_ids, dx)', 'g["E"][x_ids] += dx'),
        (BLOCK, 'g["Wo"] = flat(heads).T @ flat(dx2)', 'g["Wo"] = flat(dx2).T @ flat(heads)'),
    ],
)
def test_no_delta_is_wrong_where_only_the_last_product_is(name, old, new, tmp_path):
    module = example(name, (old, new), directory=tmp_path)
    params = module.init_params()
    deltas = own(deltas_of(module.backprop, params, of=OF[name]))
    report = gf.gradcheck(module.loss, module.backprop, params, intermediates=deltas)
    assert report.verdict == "FAIL"
    assert {r.status for r in report.intermediates} == {"right"}


def test_the_line_is_that_of_the_loss():
    report = checked(lambda d: d, slope=False)
    found = by_name(report)["dz1"]
    assert (found.file, found.line) == (__file__, loss.__code__.co_firstlineno + 1)
    assert found.place == f'test_deltas.py line {found.line}, `z1 = X @ p["W1"]`'
    assert found.relative_error > 0.01


def test_a_delta_that_the_gradient_does_not_use_is_not_said_to_be_wrong():
    report = checked(lambda d: d | {"dz1": d["dz1"] ** 3})
    assert by_name(report)["dz1"].status == "unknown"
    assert "the gradient of what lies below is right" in by_name(report)["dz1"].how


@pytest.mark.parametrize(
    ("delta", "how"),
    [
        (np.ones((3, 5, 7)), r"no intermediate of the loss has shape \(3, 5, 7\)"),
        (np.zeros((8, 4)), "it is zero everywhere"),
    ],
)
def test_what_fits_nothing_is_unknown(delta, how):
    report = checked({"foo": delta}, slope=False)
    (found,) = report.intermediates
    assert found.status == "unknown"
    assert re.fullmatch(how, found.how)
    assert first_wrong(report.intermediates) is None


def test_a_wrong_shape_is_said_with_the_right_one():
    (found,) = checked({"dz1": np.ones((8, 5))}, slope=False).intermediates
    assert found.status == "unknown"
    assert found.how == f"it has shape (8, 5), but z1, line {loss.__code__.co_firstlineno + 1}, has (8, 4)"


def test_a_nearest_sensitivity_is_named_without_a_verdict():
    rng = np.random.default_rng(0)
    report = checked(lambda d: {"foo": d["da1"] * rng.uniform(0.9, 1.1, (8, 4))}, slope=False)
    (found,) = report.intermediates
    assert (found.status, found.variable) == ("unknown", "a1")
    assert "this is the nearest" in found.how


def test_numbers_that_are_not_finite_are_wrong():
    bad = np.ones((8, 4))
    bad[2, 1:3] = np.nan
    (found,) = checked({"dz1": bad}, slope=False).intermediates
    assert (found.status, found.variable, found.how) == ("wrong", "z1", "2 of its 32 entries are NaN or infinite")


def test_one_of_many_times_is_not_compared_with_just_any():
    def recurrent(w):
        h = np.zeros((8, 4))
        for _ in range(3):
            h = np.tanh(X @ w[:3] + h @ w[3:])
        return np.sum(h)

    w = np.random.default_rng(0).standard_normal((7, 4))
    (found,) = gf.gradcheck(recurrent, np.ones((7, 4)), w, intermediates={"dh": np.cos(X @ w[:3])}).intermediates
    assert found.status == "unknown"
    assert "its line runs 3 times; give all of them" in found.how


def test_deltas_in_float32_are_right_to_their_rounding():
    report = checked(lambda d: {name: array.astype(np.float32) for name, array in d.items()})
    assert {r.status for r in report.intermediates} == {"right"}


@pytest.mark.parametrize(
    ("name", "first"),
    [("dz1", "z1"), ("grad_h", "h"), ("delta2", "z2"), ("h_grad", "h_grad"), ("self.da", "a"), ("dL_dz", "z")],
)
def test_stems_of_names(name, first):
    assert first in list(stems(name))
