"""Projections onto tangent spaces, and moves that keep a constraint."""

import numpy as np
import pytest

from gradcheck_fast.inputs.constraints import CONSTRAINTS, satisfies

EPS = np.finfo(float).eps
RNG = np.random.default_rng(0)
SQUARE = RNG.standard_normal((4, 4))
ORTHOGONAL = np.linalg.qr(SQUARE)[0]
ROTATION = ORTHOGONAL * np.array([np.sign(np.linalg.det(ORTHOGONAL)), 1.0, 1.0, 1.0])
SIMPLEX = (lambda w: w / w.sum(axis=-1, keepdims=True))(RNG.random((3, 5)))
ARRAYS = {
    "symmetric": SQUARE + SQUARE.T,
    "psd": SQUARE @ SQUARE.T,
    "antisymmetric": SQUARE - SQUARE.T,
    "lower": np.tril(SQUARE),
    "upper": np.triu(SQUARE),
    "simplex": SIMPLEX,
    "rotation": ROTATION,
    "orthogonal": ORTHOGONAL[:, :2],
    "unit norm": SQUARE / np.linalg.norm(SQUARE, axis=-1, keepdims=True),
}
OTHERS = {
    "orthogonal, rows": ("orthogonal", ORTHOGONAL[:2]),
    "unit norm, whole": ("unit norm", SQUARE[0] / np.linalg.norm(SQUARE[0])),
    "symmetric, stack": ("symmetric", np.stack([np.eye(3), np.ones((3, 3))])),
}
CASES = {**{kind: (kind, a) for kind, a in ARRAYS.items()}, **OTHERS}


@pytest.fixture(params=CASES)
def case(request):
    kind, a = CASES[request.param]
    return CONSTRAINTS[kind], a


def test_every_constraint_has_a_case():
    assert set(ARRAYS) == set(CONSTRAINTS)


def test_what_satisfies_it(case):
    constraint, a = case
    assert satisfies(constraint, a, EPS)
    assert not satisfies(constraint, a + 0.01 * RNG.standard_normal(a.shape), EPS)


def test_projections_are_orthogonal(case):
    constraint, a = case
    g, other = RNG.standard_normal((2, *a.shape))
    own = constraint.project(a, g)
    assert constraint.project(a, own) == pytest.approx(own, abs=1e-14)
    assert np.sum((g - own) * constraint.project(a, other)) == pytest.approx(0.0, abs=1e-13)


def test_retractions_keep_the_constraint_and_follow_the_tangent(case):
    constraint, a = case
    d = constraint.project(a, RNG.standard_normal(a.shape))
    moved = constraint.retract(a, 1e-4 * d)
    if constraint is not CONSTRAINTS["psd"]:
        assert satisfies(constraint, moved, EPS)
    assert (moved - a) / 1e-4 == pytest.approx(d, abs=1e-3)
    assert np.array_equal(constraint.retract(a, np.zeros_like(a)), a)


def test_the_derivative_along_a_retraction_is_that_of_the_projection(case):
    constraint, a = case
    g, h = RNG.standard_normal(a.shape), 1e-5
    own = constraint.project(a, g)
    for k in range(0, a.size, 3):
        d = np.zeros(a.shape)
        d.flat[k] = h
        change = np.sum(g * (constraint.retract(a, d) - constraint.retract(a, -d))) / (2.0 * h)
        assert change == pytest.approx(own.flat[k], abs=1e-8)


def test_bars_spread_as_far_as_a_projection_may_move(case):
    constraint, a = case
    bars = RNG.random(a.shape)
    bound = constraint.spread(a, bars)
    for _ in range(50):
        assert (np.abs(constraint.project(a, bars * RNG.uniform(-1.0, 1.0, a.shape))) <= bound + 1e-14).all()
