"""What is no evidence: a few multiples of one number, "only" beside other wrong arrays, counts by chance."""

from __future__ import annotations

import numpy as np
import pytest
from searching import explain

from gradcheck_fast.diagnosis.graph.screening import in_words


def scores(seed):
    """A hidden layer and scores, with a hinge cost: the gradient of the last bias is made of multiples of 1/7."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(7, 3)), rng.integers(0, 4, 7)
    params = {"w": rng.normal(size=(3, 5)), "v": rng.normal(size=(5, 4)), "b": rng.normal(size=4)}
    own = np.arange(7), y

    def loss(p):
        s = np.tanh(x @ p["w"]) @ p["v"] + p["b"]
        margins = np.maximum(0, s - s[own][:, np.newaxis] + 1)
        margins[own] = 0
        return np.sum(margins) / 7

    def gradient(p):
        a = np.tanh(x @ p["w"])
        s = a @ p["v"] + p["b"]
        ds = (s - s[own][:, np.newaxis] + 1 > 0).astype(float)
        ds[own] = 0
        ds[own] = -ds.sum(axis=1)
        ds /= 7
        return {"w": x.T @ (ds @ p["v"].T * (1 - a * a)), "v": a.T @ ds, "b": ds.sum(axis=0)}

    return loss, gradient, params


@pytest.mark.parametrize("seed", range(3))
def test_a_few_multiples_of_one_number_are_no_evidence_beside_other_wrong_arrays(seed):
    loss, gradient, params = scores(seed)
    wrong = gradient(params)
    assert explain(loss, {**wrong, "b": 0.5 * wrong["b"]}, params) != []
    rng = np.random.default_rng(seed)
    noisy = {name: array + 0.1 * rng.normal(size=array.shape) for name, array in wrong.items()}
    assert explain(loss, {**noisy, "b": 0.5 * wrong["b"]}, params) == []


def test_a_single_entry_that_is_zero_was_forgotten_and_one_that_is_halved_says_nothing_beside_other_wrong_arrays():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 3)), rng.normal(size=7)
    params = {"w": rng.normal(size=3), "b": np.array(0.3)}

    def loss(p):
        return np.sum((np.tanh(x @ p["w"]) + p["b"] - y) ** 2)

    a = np.tanh(x @ params["w"])
    d = 2 * (a + params["b"] - y)
    w, b = x.T @ (d * (1 - a * a)), d.sum()
    assert explain(loss, {"w": w + rng.normal(size=3), "b": 0.5 * b}, params) == []
    (cause,) = explain(loss, {"w": w + rng.normal(size=3), "b": 0.0}, params)
    assert cause == "the gradient of b was forgotten: all of it is zero"


def layers(seed):
    rng = np.random.default_rng(seed)
    x, c = rng.normal(size=(7, 3)), rng.normal(size=(7, 4))
    params = {"w": rng.normal(size=(3, 5)), "b": rng.normal(size=5), "v": rng.normal(size=(5, 4))}

    def loss(p):
        return np.sum(c * np.sin(np.tanh(x @ p["w"] + p["b"]) @ p["v"]))

    a = np.tanh(x @ params["w"] + params["b"])
    do = c * np.cos(a @ params["v"])
    da = do @ params["v"].T
    return loss, {"w": x.T @ (da * (1 - a * a)), "b": da.sum(axis=0), "v": a.T @ do}, params


def test_only_is_not_said_where_other_arrays_are_wrong_for_another_reason():
    loss, gradient, params = layers(0)
    (cause,) = explain(loss, gradient, params)
    assert cause.endswith("the derivative of tanh is left out in the gradient of its bias only")
    noise = np.random.default_rng(1).normal(size=gradient["w"].shape)
    (cause,) = explain(loss, {**gradient, "w": gradient["w"] + noise}, params)
    assert "only" not in cause


def test_numbers_that_are_the_same_are_named_together_and_a_count_that_is_nowhere_is_a_number():
    sizes = {"the number of rows of the data of line 3": 5.0, "the 0.2 of line 7": 0.2}
    said = "is multiplied by 5 (the number of rows of the data of line 3), or divided by the 0.2 of line 7"
    assert in_words(5.0, sizes, 1e-9) == said
    assert in_words(5.0, {"5": 5.0}, 1e-9) == "is multiplied by 5"
    assert in_words(5.0, {"5": 5.0, "the 5 of line 9": 5.0}, 1e-9) == "is multiplied by the 5 of line 9"
    assert in_words(2.0, {"the 2 of line 9": 2.0}, 1e-9) == "is doubled"
    assert in_words(3.3, sizes, 1e-9) == ""


def test_what_is_left_out_is_not_called_overwritten_where_a_filter_sends_nothing_back():
    rng = np.random.default_rng(2)
    x, c = rng.normal(size=(3, 8)), rng.normal(size=(3, 6, 2))
    params = {"w": rng.normal(size=8), "k": rng.normal(size=(3, 2))}

    def parts(p):
        h = np.tanh(x * p["w"])
        z = np.stack([h[:, t : t + 3] @ p["k"] for t in range(6)], axis=1)
        return h, z - [0.0, 50.0]  # the last filter is dead

    def loss(p):
        h, z = parts(p)
        return np.sum(c * np.maximum(z, 0)) + np.sum(h**3)

    h, z = parts(params)
    dz = c * (z > 0)
    dk = sum(h[:, t : t + 3].T @ dz[:, t] for t in range(6))
    dw = np.sum(3 * h**2 * (1 - h * h) * x, axis=0)  # nothing comes back from the windows
    causes = explain(loss, {"w": dw, "k": dk}, params)
    assert causes and "overwritten" not in causes[0] and "left out" in causes[0], causes
