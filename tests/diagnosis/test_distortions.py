"""A gradient that was clipped, rounded, normalised or used for a step of training is recognised by its numbers."""

import numpy as np
import pytest

import gradcheck_fast as gf


def network(seed):
    rng = np.random.default_rng(seed)
    inputs, hidden, samples = (int(size) for size in rng.integers(3, 7, 3))
    x, y = rng.standard_normal((samples, inputs)), rng.standard_normal(samples)
    params = {
        "w1": rng.standard_normal((inputs, hidden)),
        "b1": rng.standard_normal(hidden),
        "w2": rng.standard_normal(hidden),
    }

    def loss(p):
        return 0.5 * np.sum((np.tanh(x @ p["w1"] + p["b1"]) @ p["w2"] - y) ** 2)

    def gradient(p):
        h = np.tanh(x @ p["w1"] + p["b1"])
        error = h @ p["w2"] - y
        dz = np.outer(error, p["w2"]) * (1 - h * h)
        return {"w1": x.T @ dz, "b1": dz.sum(axis=0), "w2": h.T @ error}

    return loss, gradient(params), params


def causes(loss, gradient, params):
    report = gf.gradcheck(loss, gradient, params)
    assert not report.ok
    return [diagnosis.cause for diagnosis in report.diagnoses]


def of_whole(gradient):
    return np.sqrt(sum((g * g).sum() for g in gradient.values()))


DISTORTIONS = {
    "clipped at ±0.5": lambda g, p: np.clip(g, -0.5, 0.5),
    "rounded to 2 decimals": lambda g, p: np.round(g, 2),
    "rounded to float16": lambda g, p: g.astype(np.float16).astype(float),
    "absolute value": lambda g, p: np.abs(g),
    "negative entries": lambda g, p: np.maximum(g, 0),
    "only the sign": lambda g, p: np.sign(g),
    "squared": lambda g, p: g * g,
    "mean subtracted": lambda g, p: g - g.mean(),
    "added up cumulatively": lambda g, p: np.cumsum(g, axis=0),
    "norm 1": lambda g, p: g / np.linalg.norm(g),
    "divided by its largest entry": lambda g, p: g / np.abs(g).max(),
    "updated parameters, after a step of -0.1 times": lambda g, p: p - 0.1 * g,
    "hold the parameters in place": lambda g, p: p.copy(),
    "update of -0.01 times the gradient": lambda g, p: -0.01 * g,
}


@pytest.mark.parametrize("words", DISTORTIONS)
@pytest.mark.parametrize("seed", range(3))
def test_what_was_done_to_an_array_is_named(words, seed):
    loss, gradient, params = network(seed)
    wrong = {**gradient, "w1": DISTORTIONS[words](gradient["w1"], params["w1"])}
    found = causes(loss, wrong, params)
    assert words in found[0] and "w1" in found[0]


@pytest.mark.parametrize(
    "words", ["clipped at ±0.5", "rounded to 2 decimals", "updated parameters, after a step of -0.1 times"]
)
def test_what_was_done_to_all_arrays_is_named_once(words):
    loss, gradient, params = network(0)
    found = causes(loss, {name: DISTORTIONS[words](g, params[name]) for name, g in gradient.items()}, params)
    assert len(found) == 1 and words in found[0] and "w1, b1, w2" in found[0]


@pytest.mark.parametrize("epsilon", [0.0, 1e-6])
def test_a_norm_clipped_gradient_is_recognised_by_its_round_norm(epsilon):
    loss, gradient, params = network(0)
    factor = 0.25 / (of_whole(gradient) + epsilon)
    (found,) = causes(loss, {name: factor * g for name, g in gradient.items()}, params)
    assert found == "the whole gradient is clipped, or scaled, to the norm 0.25"


def test_one_wrong_entry_is_not_taken_for_a_clipped_one():
    loss, gradient, params = network(1)
    wrong = {name: g.copy() for name, g in gradient.items()}
    largest = np.abs(wrong["w1"]).argmax()
    second = np.sort(np.abs(wrong["w1"]), axis=None)[-2]
    wrong["w1"].flat[largest] = np.sign(wrong["w1"].flat[largest]) * second * 1.000123
    assert not any("clipped" in cause for cause in causes(loss, wrong, params))


def test_a_constant_placeholder_is_not_taken_for_a_sign():
    loss, gradient, params = network(1)
    found = causes(loss, {**gradient, "w2": np.ones_like(gradient["w2"])}, params)
    assert not any("sign" in cause for cause in found)


@pytest.mark.parametrize("seed", range(20))
def test_noise_has_no_cause(seed):
    loss, gradient, params = network(seed)
    rng = np.random.default_rng(100 + seed)
    noisy = {name: g * (1 + 0.3 * rng.standard_normal(g.shape)) for name, g in gradient.items()}
    assert causes(loss, noisy, params) == []
