"""Mistakes with the classes of a cost: the sign and the sum of the targets, positives taken for negatives."""

from __future__ import annotations

import numpy as np
import pytest
from searching import explain, is_said, line_of


def classifier(rng, mistake=""):
    """Softmax in one step; soft targets, which add up to 1 only if nothing is said to be wrong with them."""
    x = rng.normal(size=(8, 4))
    y = rng.random((8, 3)) + np.eye(3)[rng.integers(0, 3, 8)]
    params = {"w": rng.normal(size=(4, 5)), "v": rng.normal(size=(5, 3))}

    def loss(p):
        z = np.tanh(x @ p["w"]) @ p["v"]
        e = np.exp(z - z.max(axis=1, keepdims=True))
        q = e / e.sum(axis=1, keepdims=True)
        return -np.sum(y * np.log(q)) / 8

    def gradient(p):
        a = np.tanh(x @ p["w"])
        z = a @ p["v"]
        e = np.exp(z - z.max(axis=1, keepdims=True))
        q = e / e.sum(axis=1, keepdims=True)
        dz = (q * y.sum(axis=1, keepdims=True) - y) / 8
        if mistake == "added":
            dz = (q * y.sum(axis=1, keepdims=True) + y) / 8
        if mistake == "sum forgotten":
            dz = (q - y) / 8
        return {"w": x.T @ (dz @ p["v"].T * (1 - a * a)), "v": a.T @ dz}

    return loss, gradient, params


def log_classifier(rng, mistake=""):
    """The same with the logarithm of the softmax."""
    x = rng.normal(size=(7, 4))
    y = rng.random((7, 3)) + np.eye(3)[rng.integers(0, 3, 7)]
    params = {"w": rng.normal(size=(4, 3)), "b": rng.normal(size=3)}

    def loss(p):
        z = x @ p["w"] + p["b"]
        logq = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        return -np.mean(np.sum(y * logq, axis=1))

    def gradient(p):
        z = x @ p["w"] + p["b"]
        q = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        dz = {
            "": q * y.sum(axis=1, keepdims=True) - y,
            "added": q * y.sum(axis=1, keepdims=True) + y,
            "sum forgotten": q - y,
        }[mistake] / 7
        return {"w": x.T @ dz, "b": dz.sum(axis=0)}

    return loss, gradient, params


MISTAKES = {"added": r"p \+ y for p - y", "sum forgotten": r"the targets y do not add up to 1"}
LINES = {classifier: "q = e / e.sum", log_classifier: "logq = z - np.log"}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("network", LINES)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_targets_that_are_added_or_do_not_add_up_to_one(network, mistake, seed):
    causes = explain(*network(np.random.default_rng(seed), mistake))
    assert len(causes) == 1
    assert is_said(causes[0], MISTAKES[mistake], line_of(network, LINES[network])), causes


@pytest.mark.parametrize("network", LINES)
def test_the_right_gradient_has_no_such_mistake(network):
    assert explain(*network(np.random.default_rng(3))) == []


def pairs(rng, mistake=""):
    """Scores of pairs that belong together, and of pairs that do not, by the softplus of the scores."""
    words, others = rng.normal(size=(6, 4)), rng.normal(size=(6, 4))
    params = {"e": rng.normal(size=(6, 4)), "w": rng.normal(size=4)}

    def loss(p):
        h = p["e"] * p["w"]
        right = np.sum(h * words, axis=1)
        wrong = np.sum(h * others, axis=1)
        attract = np.sum(np.log1p(np.exp(-right)))
        repel = np.sum(np.log1p(np.exp(wrong)))
        return attract + repel

    def gradient(p):
        h = p["e"] * p["w"]
        sigmoid = lambda z: 1 / (1 + np.exp(-z))
        dright = sigmoid(np.sum(h * words, axis=1)) - 1
        dwrong = sigmoid(np.sum(h * others, axis=1)) - (mistake == "negatives as positives")
        if mistake == "positives as negatives":
            dright = dright + 1
        dh = dright[:, None] * words + dwrong[:, None] * others
        return {"e": dh * p["w"], "w": np.sum(dh * p["e"], axis=0)}

    return loss, gradient, params


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("mistake", "piece"), [
    ("negatives as positives", "repel = np.sum"), ("positives as negatives", "attract = np.sum"),
])  # fmt: skip
def test_negatives_that_are_taken_for_positives(mistake, piece, seed):
    causes = explain(*pairs(np.random.default_rng(seed), mistake))
    assert causes and is_said(causes[0], "as if the other class were right", line_of(pairs, piece)), causes


def test_the_right_gradient_of_pairs():
    assert explain(*pairs(np.random.default_rng(4))) == []
