"""gradcheck(constraints=): gradients are compared on the tangent space, and the loss is called nowhere else."""

import numpy as np
import pytest

import gradcheck_fast as gf

RNG = np.random.default_rng(0)
SQUARE, C = RNG.standard_normal((2, 4, 4))
ROTATION = np.linalg.qr(SQUARE)[0]
ROTATION[:, 0] *= np.sign(np.linalg.det(ROTATION))
SIMPLEX = RNG.random((3, 5)) + 0.1
SIMPLEX /= SIMPLEX.sum(axis=-1, keepdims=True)


def _require(condition):
    if not condition:
        raise ValueError("the constraint does not hold")


def log_det(p):
    _require(np.abs(p["A"] - p["A"].T).max() < 1e-12)
    return np.log(np.linalg.det(p["A"])) + (C * p["A"]).sum()


def cost_of_rotation(p):
    _require(np.abs(p["A"].T @ p["A"] - np.eye(4)).max() < 1e-12)
    return (C * p["A"]).sum() + (p["A"] ** 4).sum()


def entropy(p):
    _require(np.abs(p["A"].sum(axis=-1) - 1.0).max() < 1e-12)
    return (p["A"] * np.log(p["A"])).sum()


def cholesky(p):
    return 2.0 * np.log(np.diag(np.linalg.cholesky(p["A"]))).sum()


SPD = SQUARE @ SQUARE.T + np.eye(4)
#: The loss, its parameters, the constraint, and a gradient that is right on the tangent space.
CASES = {
    "symmetric": (log_det, SPD, "symmetric", np.linalg.inv(SPD) + C),
    "psd": (cholesky, SPD, "psd", np.linalg.inv(SPD)),
    "rotation": (cost_of_rotation, ROTATION, "rotation", C + 4.0 * ROTATION**3),
    "simplex": (entropy, SIMPLEX, "simplex", np.log(SIMPLEX)),
}
WAYS = {
    "traced": {}, "plain": {"trace": False}, "directional": {"method": "directional"},
    "plain directional": {"method": "directional", "trace": False}, "sample": {"sample": 4, "trace": False},
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES)
def test_on_the_tangent_space(case, way):
    loss, a, kind, gradient = CASES[case]
    report = gf.gradcheck(loss, {"A": gradient}, {"A": a}, constraints={"A": kind}, **WAYS[way])
    assert report.ok, report
    assert f"A is {kind}: both gradients are compared after " in report.notes[0]
    wrong = gradient.copy()
    wrong[0, 1] += 0.01 * np.abs(gradient).max()
    assert not gf.gradcheck(loss, {"A": wrong}, {"A": a}, constraints={"A": kind}, **WAYS[way]).ok


def test_without_the_option_a_right_part_is_not_enough():
    loss, a, _, gradient = CASES["psd"]
    assert not gf.gradcheck(loss, {"A": gradient}, {"A": a}).ok


def test_other_arrays_are_compared_as_they_are():
    params = {"A": SPD, "b": np.ones(3)}
    loss = lambda p: log_det(p) + (p["b"] ** 2).sum()
    for b, ok in ((2.0, True), (2.001, False)):
        given = {"A": np.linalg.inv(SPD) + C.T, "b": np.full(3, b)}
        assert gf.gradcheck(loss, given, params, constraints={"A": "symmetric"}).ok is ok


def test_the_projected_gradients_are_in_the_report():
    report = gf.gradcheck(log_det, {"A": np.linalg.inv(SPD) + C}, {"A": SPD}, constraints={"A": "symmetric"})
    assert report.analytic["A"] == pytest.approx(report.analytic["A"].T)
    assert report.numerical["A"] == pytest.approx(report.numerical["A"].T)


def test_network():
    net = gf.Network([gf.Dense(3, 3)], gf.SquaredError())
    params = {name: np.ones(shape) for name, shape in net.shapes.items()}
    function = net.loss(RNG.standard_normal((5, 3)), np.zeros((5, 3)))
    given = gf.numerical_gradient(function, params)
    name = next(iter(params))
    given[name] = 0.5 * (given[name] + given[name].T)
    assert gf.gradcheck(function, given, params, constraints={name: "symmetric"}).ok
    assert not gf.gradcheck(function, given, params).ok
