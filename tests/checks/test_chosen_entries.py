"""gradcheck(only=, fixed=): some entries are checked; the others are neither moved nor compared."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import gradcheck_fast as gf

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((9, 5)), RNG.standard_normal((9, 3))
PARAMS = {
    "W1": RNG.standard_normal((5, 6)), "b1": RNG.standard_normal(6), "W2": RNG.standard_normal((6, 3)),
    "b2": RNG.standard_normal(3),
}  # fmt: skip
WAYS = {
    "traced": {}, "plain": {"trace": False}, "directional": {"method": "directional"}, "sample": {"sample": 10},
    "plain directional": {"method": "directional", "trace": False}, "incremental": {"method": "incremental"},
    "complex": {"method": "complex"}, "step": {"step": 1e-5},
}  # fmt: skip


def loss(p):
    hidden = np.tanh(X @ p["W1"] + p["b1"])
    return ((hidden @ p["W2"] + p["b2"] - Y) ** 2).mean()


def gradient(p):
    hidden = np.tanh(X @ p["W1"] + p["b1"])
    error = 2.0 * (hidden @ p["W2"] + p["b2"] - Y) / Y.size
    below = error @ p["W2"].T * (1.0 - hidden**2)
    return {"W1": X.T @ below, "b1": below.sum(0), "W2": hidden.T @ error, "b2": error.sum(0)}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_fixed_may_have_any_gradient(way):
    given = gradient(PARAMS)
    given["W1"][0, :4], given["W2"][:] = 7.0, np.nan
    fixed = {"W1": np.s_[0, :4], "W2": True}
    report = gf.gradcheck(loss, given, PARAMS, fixed=fixed, **WAYS[way])
    assert report.ok, report
    assert {array.name: array.status for array in report.arrays} == {
        "W1": "right", "b1": "right", "W2": "not checked", "b2": "right"
    }  # fmt: skip
    assert "W1: 4 of 30 entries are fixed, not checked" in report.notes
    assert "W2 is fixed, not checked" in report.notes
    assert report.arrays[0].checked <= 26


@pytest.mark.parametrize("way", WAYS)
def test_mistakes_in_what_is_checked_are_found(way):
    given = gradient(PARAMS)
    given["W1"][2] *= 1.01
    report = gf.gradcheck(loss, given, PARAMS, only=["W1", "b*"], **WAYS[way])
    assert [array.name for array in report.arrays if array.wrong] == ["W1"]


@pytest.mark.parametrize("way", ["plain", "plain directional", "traced"])
def test_what_is_fixed_is_never_moved(way):
    moved = set()

    def watched(p):
        if isinstance(p["b1"], np.ndarray) and type(p["b1"]) is np.ndarray:
            moved.add(p["b1"].tobytes())
        return loss(p)

    gf.gradcheck(watched, gradient, PARAMS, fixed="b1", **WAYS[way])
    assert moved == {PARAMS["b1"].tobytes()}


def test_a_mistake_is_explained_where_whole_arrays_are_checked():
    given = gradient(PARAMS)
    given["W2"] = given["W2"][::-1].copy()
    (diagnosis,) = gf.gradcheck(loss, given, PARAMS, only="W*").diagnoses
    assert diagnosis.cause == "the rows of W2 are back to front"


def test_nothing_is_said_of_the_whole_gradient_if_a_part_is_checked():
    given = gradient(PARAMS)
    given["W1"] *= 2.0
    (diagnosis,) = gf.gradcheck(loss, given, PARAMS, only="W1", trace=False).diagnoses
    assert diagnosis.cause == "the gradient of W1 is doubled"


def test_network_and_compiled_losses():
    net = gf.Network([gf.Dense(5, 6, "tanh"), gf.Dense(6, 3)], gf.SquaredError())
    own = {"W1": PARAMS["W1"].T.copy(), "b1": PARAMS["b1"], "W2": PARAMS["W2"].T.copy(), "b2": PARAMS["b2"]}
    shapes = {name: tuple(shape) for name, shape in net.shapes.items()}
    params = {name: np.resize(own[name], shape) for name, shape in shapes.items()}
    function = net.loss(X, Y)
    right = gf.numerical_gradient(function, params)
    wrong = {name: array * (2.0 if name in ("W2", "b2") else 1.0) for name, array in right.items()}
    assert gf.gradcheck(function, wrong, params, only="*1").ok
    assert gf.gradcheck(function, wrong, params, only=["*1", "b2"]).wrong == 3


def test_checkpoints_and_executors(tmp_path):
    given = gradient(PARAMS)
    given["W1"][:] = np.nan
    path = tmp_path / "checkpoint"
    with ThreadPoolExecutor(2) as executor:
        report = gf.gradcheck(loss, given, PARAMS, fixed="W1", trace=False, executor=executor, checkpoint=path)
    again = gf.gradcheck(loss, given, PARAMS, fixed="W1", trace=False, checkpoint=path)
    assert report.ok
    assert np.array_equal(report.flat_numerical, again.flat_numerical, equal_nan=True)
    with pytest.raises(ValueError, match="another sample, another domain"):
        gf.gradcheck(loss, given, PARAMS, fixed="b1", trace=False, checkpoint=path)


def test_other_checks():
    def f(a, b):
        return np.sin(a) @ b

    a, b = RNG.standard_normal((3, 2)), RNG.standard_normal(2)
    vjp = lambda v, a, b: (np.outer(v, b) * np.cos(a), np.full(2, 9.0))
    assert gf.check_vjp(f, vjp, (a, b), only="inputs[0]").ok
    assert not gf.check_vjp(f, vjp, (a, b), fixed="inputs[0]").ok
    found = gf.numerical_gradient(loss, PARAMS, only={"b2": [0, 2]})
    assert np.isnan(found["W1"]).all()
    assert np.isnan(found["b2"]).tolist() == [False, True, False]
    assert found["b2"][[0, 2]] == pytest.approx(gradient(PARAMS)["b2"][[0, 2]])
