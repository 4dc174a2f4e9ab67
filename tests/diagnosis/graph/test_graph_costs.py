"""Wrong derivatives of costs: small constants, cross-entropy of two classes, margins, absolute errors."""

from __future__ import annotations

import re

import numpy as np
import pytest
from searching import explain, is_said, line_of

import gradcheck_fast as gf


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


class Scores:
    """A hidden layer and scores of three outputs, with labels of each kind."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.n, d, h = (int(size) for size in rng.integers(4, 9, 3))
        self.X, self.y = rng.standard_normal((self.n, d)), rng.integers(0, 3, self.n)
        self.own = np.arange(self.n), self.y
        self.T = np.eye(3)[self.y]
        self.Y = (rng.random((self.n, 3)) < 0.5).astype(float)
        self.params = {
            "W1": rng.standard_normal((d, h)),
            "W2": rng.standard_normal((h, 3)),
            "b": rng.standard_normal(3),
        }

    def of(self, p):
        return np.tanh(self.X @ p["W1"]) @ p["W2"] + p["b"]

    def case(self, cost, of_scores):
        """Returns the loss, the gradient, and the parameters, where `of_scores` gives what goes back to the scores."""
        a = np.tanh(self.X @ self.params["W1"])
        ds = of_scores(self, self.of(self.params))
        da = ds @ self.params["W2"].T
        gradient = {"W1": self.X.T @ (da * (1 - a**2)), "W2": a.T @ ds, "b": ds.sum(axis=0)}
        return lambda p: cost(self, self.of(p)), gradient, self.params


def two_classes(net, s):
    p = sigmoid(s)
    return -np.mean(net.Y * np.log(p) + (1 - net.Y) * np.log(1 - p))


def two_classes_with_epsilon(net, s):
    p = sigmoid(s)
    return -np.mean(net.Y * np.log(p + 1e-5) + (1 - net.Y) * np.log(1 - p + 1e-5))


def many_classes_with_epsilon(net, s):
    e = np.exp(s - np.max(s, axis=1, keepdims=True))
    p = e / np.sum(e, axis=1, keepdims=True)
    return -np.sum(net.T * np.log(p + 1e-4)) / net.n


def hinge(net, s):
    right = s[net.own].reshape(-1, 1)
    margins = np.maximum(0, s - right + 1)
    margins[net.own] = 0
    return np.sum(margins) / net.n


def absolute(net, s):
    return np.sum(np.abs(s - net.T))


def root(net, s):
    return np.sum(np.sqrt(1 + (s - net.T) ** 2))


def softmax(s):
    e = np.exp(s - np.max(s, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def counted(net, s, of_right):
    """What goes back through the hinge cost if `of_right` says it for the score of the right class."""
    margins = s - s[net.own].reshape(-1, 1) + 1 > 0
    margins[net.own] = False
    ds = margins.astype(float)
    ds[net.own] = of_right(margins.sum(axis=1))
    return ds / net.n


def margins_of(net, s):
    return np.maximum(0, s - s[net.own].reshape(-1, 1) + 1)


MISTAKES = [
    (
        two_classes,
        lambda net, s: -net.Y * (1 - sigmoid(s)) / s.size,
        "the logarithm of 1 - p is left out",
        "return -np.mean",
    ),
    (
        two_classes,
        lambda net, s: (-net.Y * (1 - sigmoid(s)) - (1 - net.Y) * sigmoid(s)) / s.size,
        "the logarithm of 1 - p has the wrong sign",
        "return -np.mean",
    ),
    (
        two_classes,
        lambda net, s: (sigmoid(s) - net.Y) / net.n,
        "the mean's derivative is multiplied by 3: it is divided by",
        "return -np.mean",
    ),
    (
        two_classes_with_epsilon,
        lambda net, s: (sigmoid(s) - net.Y) / s.size,
        "the 1e-05 that is added there is left out on the way back",
        "return -np.mean",
    ),
    (
        many_classes_with_epsilon,
        lambda net, s: (softmax(s) - net.T) / net.n,
        "the 0.0001 that is added there is left out on the way back",
        "return -np.sum",
    ),
    (
        two_classes,
        lambda net, s: (
            (-net.Y / (sigmoid(s) + 1e-5) + (1 - net.Y) / (1 - sigmoid(s) + 1e-5)) * sigmoid(s) * sigmoid(-s) / s.size
        ),
        "on the way back 1e-05 is added, but not in the line itself",
        "return -np.mean",
    ),
    (
        hinge,
        lambda net, s: counted(net, s, lambda count: 0),
        "what goes back to the score of the right class is left out",
        "margins = ",
    ),
    (hinge, lambda net, s: counted(net, s, lambda count: -1), "the score of the right class counts once", "margins = "),
    (
        hinge,
        lambda net, s: counted(net, s, lambda count: -count - 1),
        "the margin of the right class itself is counted",
        "margins = ",
    ),
    (
        hinge,
        lambda net, s: counted(net, s, lambda count: 1 - count),
        "the margin of the right class, which is set to 0, counts",
        "margins = ",
    ),
    (
        hinge,
        lambda net, s: np.where(
            np.eye(3)[net.y] > 0, counted(net, s, lambda count: -count), margins_of(net, s) / net.n
        ),
        "the derivative of relu is taken for its value in what goes back to",
        "margins = ",
    ),
    (absolute, lambda net, s: np.ones_like(s), "the derivative of absolute is left out", "return"),
    (absolute, lambda net, s: s - net.T, "the derivative of absolute is taken for z", "return"),
    (root, lambda net, s: s - net.T, "the derivative of sqrt lacks the division by the root", "return"),
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("cost", "of_scores", "words", "piece"), MISTAKES)
def test_a_wrong_derivative_of_a_cost_is_named_with_its_line(cost, of_scores, words, piece, seed):
    (cause, *_) = explain(*Scores(seed).case(cost, of_scores))
    assert is_said(cause, re.escape(words), line_of(cost, piece))


RIGHT = {
    two_classes: lambda net, s: (sigmoid(s) - net.Y) / s.size,
    hinge: lambda net, s: counted(net, s, lambda count: -count),
    absolute: lambda net, s: np.sign(s - net.T),
    root: lambda net, s: (s - net.T) / np.sqrt(1 + (s - net.T) ** 2),
}


@pytest.mark.parametrize("cost", RIGHT)
def test_nothing_is_said_of_a_right_gradient(cost):
    assert explain(*Scores(0).case(cost, RIGHT[cost])) == []


def test_data_that_the_cost_does_not_need_are_no_targets():
    """A loss that returns its gradient beside it computes with targets that its value does not depend on."""
    scores = Scores(3)
    targets = np.array(scores.T)

    def loss(z):
        e = np.exp(z - z.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        return np.mean(np.sum(-scores.T * np.log(p), axis=1)), p - targets

    z = scores.of(scores.params)
    report = gf.gradcheck(loss, loss(z)[1], z)
    assert "the mean is taken for a sum" in report.diagnoses[0].cause
    assert not any("failed" in note for note in report.notes)
