"""The costs: their values, the targets they take, and their options."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gradcheck_fast as gf

ALL = [gf.SquaredError, gf.AbsoluteError, gf.Huber, gf.BinaryCrossEntropy, gf.CrossEntropy]


def value(cost, x, y):
    """The cost of the outputs x themselves: a network of one identity layer."""
    x = np.array(x, float)
    width = x.shape[1]
    return gf.Network(gf.Dense(width, width, bias=False), cost).loss(x, y)(np.eye(width).ravel())


# ---- values, worked out by hand


def test_squared_error():
    assert value(gf.SquaredError(reduction="sum"), [[1, 2], [3, 4]], [[1, 1], [1, 1]]) == 0 + 1 + 4 + 9
    assert value(gf.SquaredError(factor=0.5, reduction="sum"), [[1, 2], [3, 4]], [[1, 1], [1, 1]]) == 7
    assert value(gf.SquaredError(0.5), [[1, 2], [3, 4]], [[1, 1], [1, 1]]) == 7 / 4


def test_absolute_error():
    assert value(gf.AbsoluteError(reduction="sum"), [[1, -2]], [[3, 1]]) == 2 + 3


def test_huber():
    """Quadratic up to delta, linear beyond: 0.5², at delta itself, and 2 (5 - 1)."""
    cost = gf.Huber(delta=2.0, reduction="sum")
    assert value(cost, [[1.0]], [[0.0]]) == 0.5
    assert value(cost, [[0.0]], [[2.0]]) == 2.0
    assert value(cost, [[-5.0]], [[0.0]]) == 8.0
    assert value(gf.Huber(reduction="sum"), [[3.0]], [[0.0]]) == 2.5


def test_binary_cross_entropy():
    for y in (0.0, 0.25, 1.0):
        p = 0.8
        expected = -y * math.log(p) - (1 - y) * math.log(1 - p)
        logit = math.log(p / (1 - p))
        assert value(gf.BinaryCrossEntropy(), [[logit]], [[y]]) == pytest.approx(expected, rel=1e-14)
        assert value(gf.BinaryCrossEntropy(from_logits=False), [[p]], [[y]]) == pytest.approx(expected, rel=1e-14)


def test_binary_cross_entropy_of_extreme_logits():
    cost = gf.BinaryCrossEntropy(reduction="sum")
    assert value(cost, [[800.0]], [[0.0]]) == 800.0
    assert value(cost, [[-800.0]], [[1.0]]) == 800.0
    assert value(cost, [[800.0]], [[1.0]]) == 0.0
    assert value(cost, [[-40.0]], [[0.0]]) == pytest.approx(math.exp(-40), rel=1e-14)


def test_binary_cross_entropy_of_certain_probabilities():
    cost = gf.BinaryCrossEntropy(from_logits=False, reduction="sum")
    assert value(cost, [[0.0, 1.0]], [[0.0, 1.0]]) == 0.0
    assert value(cost, [[0.0]], [[1.0]]) == np.inf


def test_cross_entropy():
    p = np.array([0.2, 0.3, 0.5])
    for cost, x in ((gf.CrossEntropy(), np.log(p) + 7), (gf.CrossEntropy(from_logits=False), p)):
        assert value(cost, [x], np.array([1])) == pytest.approx(-math.log(0.3), rel=1e-13)
        assert value(cost, [x], [[0.0, 1.0, 0.0]]) == pytest.approx(-math.log(0.3), rel=1e-13)
        expected = -0.25 * math.log(0.2) - 0.75 * math.log(0.5)
        assert value(cost, [x], [[0.25, 0.0, 0.75]]) == pytest.approx(expected, rel=1e-13)


def test_cross_entropy_of_extreme_logits():
    cost = gf.CrossEntropy(reduction="sum")
    assert value(cost, [[1000.0, -1000.0]], np.array([1])) == 2000.0
    assert value(cost, [[1000.0, -1000.0]], np.array([0])) == 0.0


def test_mean_of_cross_entropy_is_over_samples():
    """It has one element per sample, the others one per output."""
    x, y = np.zeros((4, 8)), np.arange(4)
    assert value(gf.CrossEntropy(), x, y) == pytest.approx(math.log(8), rel=1e-14)
    assert value(gf.CrossEntropy(reduction="batchmean"), x, y) == pytest.approx(math.log(8), rel=1e-14)
    assert value(gf.CrossEntropy(reduction="sum"), x, y) == pytest.approx(4 * math.log(8), rel=1e-14)


# ---- targets

TARGETS = {
    "int64": np.array([2, 0, 1]),
    "uint8": np.array([2, 0, 1], np.uint8),
    "list": [2, 0, 1],
    "rows": np.eye(3)[[2, 0, 1]],
    "integer-rows": np.eye(3, dtype=int)[[2, 0, 1]],
    "boolean-rows": np.array([2, 0, 1])[:, np.newaxis] == np.arange(3),
    "float32-rows": np.eye(3, dtype=np.float32)[[2, 0, 1]],
    "list-of-rows": [[0, 0, 1], [1, 0, 0], [0, 1, 0]],
}


@pytest.mark.parametrize("targets", TARGETS.values(), ids=TARGETS)
def test_forms_of_class_targets(targets):
    x = np.log([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])
    expected = -(math.log(0.5) + math.log(0.6) + math.log(0.1))
    assert value(gf.CrossEntropy(reduction="sum"), x, targets) == pytest.approx(expected, rel=1e-13)


def test_rows_rounded_to_float32_are_probabilities():
    rows = np.random.default_rng(0).dirichlet(np.ones(50), size=20).astype(np.float32)
    assert np.isfinite(value(gf.CrossEntropy(), np.zeros((20, 50)), rows))


def test_one_class():
    for y in (np.zeros(3, int), np.ones((3, 1))):
        assert value(gf.CrossEntropy(), np.ones((3, 1)), y) == 0.0


# ---- options


@pytest.mark.parametrize("cost", ALL)
def test_reduction_is_mean_by_default_and_a_keyword(cost):
    assert cost() == cost(reduction="mean")
    assert cost(reduction="sum") != cost()
    assert cost(reduction="sum").reduction == "sum"


def test_options_are_kept_and_costs_are_frozen_and_comparable():
    assert (gf.SquaredError().factor, gf.Huber().delta) == (1.0, 1.0)
    assert gf.BinaryCrossEntropy().from_logits is gf.CrossEntropy().from_logits is True
    assert gf.SquaredError(0.5) == gf.SquaredError(factor=0.5) != gf.SquaredError()
    assert len({gf.Huber(2.0), gf.Huber(2.0), gf.Huber(3.0)}) == 2
    assert "delta=2.0" in repr(gf.Huber(2.0))
    with pytest.raises(AttributeError):
        gf.SquaredError().factor = 2.0


@pytest.mark.parametrize("cost", ALL)
def test_unknown_reduction_suggests_the_nearest(cost):
    name = cost.__name__
    with pytest.raises(ValueError, match=rf"^{name}: reduction: unknown name 'batch_mean', did you mean 'batchmean'"):
        cost(reduction="batch_mean")


@pytest.mark.parametrize("bad", [0, -1, np.nan, np.inf, "1", None], ids=repr)
@pytest.mark.parametrize(
    ("make", "name"),
    [(lambda v: gf.SquaredError(factor=v), "SquaredError: factor"), (lambda v: gf.Huber(delta=v), "Huber: delta")],
    ids=["factor", "delta"],
)
def test_factor_and_delta_are_positive_numbers(make, name, bad):
    with pytest.raises((TypeError, ValueError), match=rf"^{name}: expected a positive number, got"):
        make(bad)


@pytest.mark.parametrize("bad", [-1e-9, np.nan, np.inf, "1", None], ids=repr)
def test_penalty_is_a_number_of_at_least_zero(bad):
    with pytest.raises((TypeError, ValueError), match=r"^L2: strength: expected a number of at least 0, got"):
        gf.L2(bad)


def test_penalty_of_zero_is_none():
    net = gf.Network(gf.Dense(2, 1), gf.SquaredError(), penalty=gf.L2(0))
    plain = gf.Network(gf.Dense(2, 1), gf.SquaredError())
    X, y, params = np.ones((2, 2)), np.zeros(2), plain.init(0)
    assert net.loss(X, y)(params) == plain.loss(X, y)(params)


def test_numpy_numbers_are_numbers():
    assert value(gf.SquaredError(factor=np.float32(0.5), reduction="sum"), [[2.0]], [[0.0]]) == 2.0
    assert value(gf.Huber(delta=np.int64(1), reduction="sum"), [[3.0]], [[0.0]]) == 2.5


@pytest.mark.parametrize("logit", [20.0, 36.0, 40.0, 700.0])
def test_probabilities_that_saturate_lose_nothing(logit):
    """-log(1 - sigmoid(z)) has the slope sigmoid(z), though 1 - sigmoid(z) is 0 in floating point from z = 37 on."""
    net = gf.Network(gf.Dense(1, 1, "sigmoid", bias=False), cost=gf.BinaryCrossEntropy(from_logits=False))
    loss, params = net.loss([[1.0]], [[0.0]]), {"W1": np.array([[logit]])}
    assert loss(params) == pytest.approx(logit, rel=1e-8)
    assert gf.gradcheck(loss, {"W1": 1 / (1 + np.exp(-params["W1"]))}, params).ok
    net = gf.Network(gf.Dense(1, 2, "softmax", bias=False), cost=gf.CrossEntropy(from_logits=False))
    loss, params = net.loss([[1.0]], [0]), {"W1": np.array([[0.0, logit]])}
    slope = 1 / (1 + np.exp(-logit))
    assert gf.gradcheck(loss, {"W1": np.array([[-slope, slope]])}, params).ok
