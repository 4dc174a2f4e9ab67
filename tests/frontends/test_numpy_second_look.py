"""Before a traced function's gradient makes anything wrong, the function itself is asked."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf

X = np.array([0.3, -1.2, 2.0])


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("scale", [1.0, 1e-8, 1e8])
def test_an_error_of_one_entry_is_found(offset, scale):
    wrong = np.cos(X)
    wrong[1] *= 1.0 + 1e-5
    report = gf.gradcheck(lambda p: np.sum(np.sin(p / scale)) + offset, wrong / scale, scale * X)
    assert (report.wrong, report.method) == (1, "chain")


def test_an_error_of_one_entry_is_found_however_the_entries_differ_in_size():
    x = 10.0 ** np.arange(-8.0, 9.0, 2.0)
    for entry in range(4):
        wrong = 1 / x
        wrong[entry] *= 1.0 + 1e-5
        report = gf.gradcheck(lambda p: np.sum(np.log(p)), wrong, x)
        assert (report.wrong, report.worst()[0].index) == (1, (entry,))


def test_an_error_that_no_difference_shows_is_undecided():
    report = gf.gradcheck(lambda p: np.sum(np.sin(p)) + 1e6, np.cos(X) * (1 + 1e-10), X)
    assert report.verdict == "INCONCLUSIVE"
    assert report.reason.startswith("too little is known to decide: differences of the loss do not tell")
    assert "differ by so little" in report.notes[0]


@pytest.mark.parametrize("size", [1e-150, 1e150])
def test_gradients_whose_squares_are_no_numbers(size):
    wrong = size * np.cos(X)
    wrong[2] *= 1.01
    assert gf.gradcheck(lambda p: size * np.sum(np.sin(p)), size * np.cos(X), X).ok
    assert gf.gradcheck(lambda p: size * np.sum(np.sin(p)), wrong, X).wrong == 1


def test_the_slope_of_small_stairs_is_not_that_of_their_treads():
    stairs = lambda p: np.sum(np.floor(1e9 * np.sin(p))) / 1e9
    report = gf.gradcheck(stairs, np.cos(X), X)
    assert report.verdict != "FAIL"
    assert any("does not side with it against your gradient" in note for note in report.notes)
    assert gf.gradcheck(lambda p: np.sum(np.floor(p) + p), np.ones(3), X).ok
    assert gf.gradcheck(lambda p: np.sum(np.floor(p) + p), np.zeros(3), X).verdict == "FAIL"


@pytest.mark.parametrize("slope", [0.01, 0.5, 1.0])
def test_every_slope_at_a_kink_passes_and_no_other(slope):
    x = np.array([0.0, 0.7, 0.0, -0.4])
    loss = lambda p: np.sum(np.where(p > 0, np.sin(p), 0.01 * p))
    gradient = lambda at_0: np.where(x == 0.0, at_0, np.where(x > 0.0, np.cos(x), 0.01))
    assert gf.gradcheck(loss, gradient(slope), x).verdict == "PASS"
    assert gf.gradcheck(loss, gradient(slope) * [1.0, 1.01, 1.0, 1.0], x).verdict == "FAIL"
    assert gf.gradcheck(loss, gradient(slope - 1.2), x).verdict == "FAIL"


def test_a_rounded_loss_is_differenced_as_it_is():
    report = gf.gradcheck(lambda p: np.round(np.sum(np.sin(p)), 9), np.cos(X), X)
    assert report.verdict == "PASS"
    assert [note for note in report.notes if "is rounded" in note and "could not be traced" in note]


def test_a_function_that_raises_close_by_is_traced_all_the_same():
    x = np.array([1e-9, 0.5, 2.0])

    def entropy(p):
        if p.min() <= 0.0:
            raise ValueError("no logarithm")
        return np.sum(p * np.log(p))

    report = gf.gradcheck(entropy, np.log(x) + 1.0, x)
    assert (report.verdict, report.method, report.notes) == ("PASS", "chain", ())


def test_a_function_that_is_defined_to_one_side_only_is_asked_there():
    def one_sided(p):
        if p[0] > 2.0:
            raise ValueError("beyond the end")
        return p[0] ** 2

    x = np.array([2.0 - 1e-7])
    assert gf.gradcheck(one_sided, 2 * x, x).ok
    assert gf.gradcheck(one_sided, 2.02 * x, x).verdict == "FAIL"


def test_a_function_that_changes_from_call_to_call_has_no_trace():
    numbers = iter(range(1000))
    with pytest.raises(ValueError, match=r"two calls at the same parameters gave \d+\.\d+ and"):
        gf.trace(lambda p: np.sum(p**2) + next(numbers), X)


def saturated(seed):
    """Two layers of tanh, most of whose units are near 1, where 1 - a² loses most of its digits."""
    rng = np.random.default_rng(seed)
    data, targets = rng.standard_normal((200, 12)), rng.standard_normal((200, 2))
    params = {"U": 20 * rng.standard_normal((12, 4)), "V": 20 * rng.standard_normal((4, 4)),
              "W": rng.standard_normal((4, 2))}  # fmt: skip

    def forward(p):
        a = np.tanh(data @ p["U"])
        b = np.tanh(a @ p["V"])
        return a, b, b @ p["W"] - targets

    def gradient(p):
        a, b, off = forward(p)
        dout = 2 * off / 200
        dv = dout @ p["W"].T * (1 - b**2)
        du = dv @ p["V"].T * (1 - a**2)
        return {"U": data.T @ du, "V": a.T @ dv, "W": b.T @ dout}

    return lambda p: np.sum(forward(p)[2] ** 2) / 200, gradient, params


@pytest.mark.parametrize("seed", [8, 9, 11, 21])
def test_what_cancels_in_a_right_gradient_of_saturated_units_is_not_held_against_it(seed):
    loss, gradient, params = saturated(seed)
    report = gf.gradcheck(loss, gradient, params)
    assert (report.verdict, report.notes) == ("PASS", ())
    wrong = gradient(params)
    wrong["V"] = wrong["V"] + 1e-9 * np.abs(wrong["V"]).max()
    assert gf.gradcheck(loss, wrong, params).verdict == "FAIL"


def before_a_normalisation(params):
    z = np.sin(np.arange(24.0)).reshape(8, 3) @ params["W"] + params["b"]
    z = z - z.mean(axis=0)
    return np.sum(np.cos(np.arange(32.0)).reshape(8, 4) * np.tanh(z / np.sqrt((z * z).mean(axis=0) + 1e-5)))


def test_an_array_whose_gradient_is_nothing_but_rounding_is_right_however_it_is_rounded():
    """The gradient by a bias before a normalisation is 0: what is left are roundings of the terms that cancel."""
    params = {"W": np.cos(np.arange(12.0)).reshape(3, 4), "b": np.array([0.1, -0.2, 0.3, 0.4])}
    gradient = gf.numerical_gradient(before_a_normalisation, params)
    for size, verdict in ((1e-15, "PASS"), (3e-14, "PASS"), (1e-7, "FAIL")):
        given = {**gradient, "b": size * np.array([1.0, -1.0, 0.5, 1.0])}
        assert gf.gradcheck(before_a_normalisation, given, params).verdict == verdict


def test_an_array_whose_gradient_is_tiny_is_not_taken_for_rounding():
    loss = lambda p: np.sum(np.sin(p["x"])) + 1e-15 * np.sum(p["y"])
    gradient = {"x": np.cos(X), "y": np.full(3, 2e-15)}
    assert gf.gradcheck(loss, gradient, {"x": X, "y": X}).verdict != "PASS"
