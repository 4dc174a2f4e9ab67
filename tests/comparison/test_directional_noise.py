"""method="directional": losses with noise, rounded ones, and numbers of very different sizes."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from networks import statuses

import gradcheck_fast as gf

check = partial(gf.gradcheck, method="directional")


@pytest.mark.parametrize("slope, claimed", [(1.0, 1.0), (1.0, 0.0), (0.0, 0.0)])
def test_an_array_that_is_lost_in_noise_is_inconclusive(slope, claimed):
    """A gradient that was forgotten, too: 0 may be as wrong as anything."""
    random = np.random.default_rng(0)
    params = {"W": random.normal(size=(20, 30)), "b": random.normal(size=30)}

    def loss(p):
        bits = np.concatenate([p["W"].ravel(), p["b"]]).view(np.uint64)
        noise = np.random.default_rng(
            int(np.bitwise_xor.reduce(bits * np.arange(1, 1261, 2, dtype=np.uint64)))
        ).normal()
        return 1e3 * np.sum(p["W"] ** 2) + slope * np.sum(p["b"]) + noise

    report = check(loss, {"W": 2e3 * params["W"], "b": np.full(30, claimed)}, params)
    assert statuses(report) == {"W": "right", "b": "inconclusive"}


@pytest.mark.parametrize(
    "rounded",
    [lambda x: round(float(x), 3), lambda x: round(float(x), 6), np.float16],
    ids=["3 digits", "6 digits", "float16"],
)
def test_a_right_gradient_of_a_rounded_loss_is_not_wrong(rounded):
    """Directions see something; single entries, with steps and noise of their own, do not confirm it."""
    W = np.linspace(-1.0, 1.0, 30).reshape(5, 6)
    right, noticed = 2 * np.tanh(W) * (1 - np.tanh(W) ** 2), []
    for seed in range(5):
        report = check(lambda p: rounded(np.sum(np.tanh(p) ** 2)), right, W, seed=seed, trace=False)
        assert report.verdict == "INCONCLUSIVE"
        assert "would have been seen" not in report.coverage
        noticed += report.notes
    assert any("the values of the loss are rounded" in note for note in noticed)


@pytest.mark.parametrize("seed", range(3))
def test_entries_of_very_different_sizes(seed):
    """One step for all of an array does not suit plain differences; exact ones may be as small as its least entry."""
    x = 10.0 ** np.random.default_rng(seed).uniform(-9, 9, 12)
    loss = lambda p: np.sum(np.log(np.abs(p)))
    assert check(loss, 1 / x, x, seed=seed, trace=False).verdict == "INCONCLUSIVE"
    assert check(loss, 1 / x, x, seed=seed).verdict == "PASS"


@pytest.mark.parametrize("size", [1e-200, 1e-160, 1e160, 1e200])
def test_gradients_whose_squares_are_no_numbers(size):
    x = np.arange(1.0, 9.0)
    assert check(lambda p: size * np.sum(np.sin(p)), size * np.cos(x), x).verdict == "PASS"
    wrong = size * np.cos(x)
    wrong[5] *= 1.01
    report = check(lambda p: size * np.sum(np.sin(p)), wrong, x)
    assert report.arrays[0].entries == ((5,),)
