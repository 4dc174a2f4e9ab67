"""Entries that a cost picks: those of other targets are named, as the word that is read for the one that follows."""

from __future__ import annotations

import numpy as np
import pytest
from searching import explain, is_said, line_of


def words(rng, mistake=""):
    """A recurrence over words, each of which is to tell the next one."""
    text = rng.integers(0, 6, size=(5, 6))
    text[:, 0], text[:, 3] = [0, 1, 2, 3, 4], [5, 1, 0, 2, 2]
    params = {"e": rng.normal(size=(6, 3)), "u": rng.normal(size=(3, 3)), "o": rng.normal(size=(3, 6))}
    each = np.arange(5)

    def forward(p):
        h, kept = np.zeros((5, 3)), []
        cost = 0.0
        for t in range(5):
            h = np.tanh(p["e"][text[:, t]] + h @ p["u"])
            z = h @ p["o"]
            logs = z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))
            cost = cost - np.sum(logs[each, text[:, t + 1]])
            kept.append((h, np.exp(logs)))
        return cost, kept

    def gradient(p):
        _, kept = forward(p)
        found = {name: np.zeros_like(array) for name, array in p.items()}
        dh = np.zeros((5, 3))
        for t in reversed(range(5)):
            h, q = kept[t]
            target = text[:, t + 1]
            if mistake == "the word itself":
                target = text[:, t]
            if mistake == "the word before" and t:
                target = text[:, t]
            dz = q.copy()
            dz[each, target] -= 1
            found["o"] += h.T @ dz
            da = (dz @ p["o"].T + dh) * (1 - h * h)
            found["u"] += (kept[t - 1][0] if t else np.zeros((5, 3))).T @ da
            np.add.at(found["e"], text[:, t], da)
            dh = da @ p["u"].T
        return found

    return (lambda p: forward(p)[0]), gradient, params


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mistake", ["the word itself", "the word before"])
def test_other_targets_on_the_way_back(mistake, seed):
    causes = explain(*words(np.random.default_rng(seed), mistake))
    said = {"the word itself": rf"are what line {line_of(words, 'h = np.tanh(')} looks up",
            "the word before": r"are those of the turn before"}[mistake]  # fmt: skip
    pattern = f"the entries that are picked {said}"
    assert causes and is_said(causes[0], pattern, line_of(words, "cost = cost - ")), causes


def test_nothing_is_said_of_right_targets_and_of_noise():
    loss, gradient, params = words(np.random.default_rng(5))
    assert explain(loss, gradient, params) == []
    rng = np.random.default_rng(6)
    wrong = {name: array * (1 + 0.1 * rng.normal(size=array.shape)) for name, array in gradient(params).items()}
    assert explain(loss, wrong, params) == []
