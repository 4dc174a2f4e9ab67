"""Gradients that are right for moves that keep a constraint, or that count two entries as one."""

import numpy as np
import pytest

import gradcheck_fast as gf

RNG = np.random.default_rng(0)
SQUARE, C = RNG.standard_normal((2, 4, 4))
SYMMETRIC = SQUARE + SQUARE.T
ROTATION = np.linalg.qr(SQUARE)[0]
ROTATION[:, 0] *= np.sign(np.linalg.det(ROTATION))
SIMPLEX = RNG.random((3, 5)) + 0.1
SIMPLEX /= SIMPLEX.sum(axis=-1, keepdims=True)
UNIT = SQUARE[0] / np.linalg.norm(SQUARE[0])


def quartic(weights):
    return lambda p: (weights * p["A"]).sum() + (p["A"] ** 4).sum() / 4.0


def gradient(a, weights):
    return weights + a**3


def symmetrised(g, a):
    return (g + g.T) / 2.0


def once(g, a):
    return g + g.T - np.diag(np.diag(g))


RIGHT_AFTER = {
    "symmetrised": (SYMMETRIC, symmetrised, "A: right after symmetrising: (G + Gᵀ)/2", "symmetric"),
    "as one": (SYMMETRIC, once, "A: its entries off the diagonal are twice the derivatives", None),
    "lower triangle": (SYMMETRIC, lambda g, a: np.tril(once(g, a)), "A: only the lower triangle is filled", None),
    "upper, half": (
        SYMMETRIC, lambda g, a: np.triu(symmetrised(g, a)),
        "A: only the upper triangle of its symmetric gradient is filled", None,
    ),
    "antisymmetric": (
        SQUARE - SQUARE.T, lambda g, a: (g - g.T) / 2.0, "A: right after antisymmetrising: (G - Gᵀ)/2", "antisymmetric"
    ),
    "simplex": (
        SIMPLEX, lambda g, a: g - g.mean(axis=-1, keepdims=True),
        "A: right after subtracting the mean along the last axis (simplex)", "simplex",
    ),
    "simplex, other constant": (
        SIMPLEX, lambda g, a: g + np.array([[1.0], [2.0], [-3.0]]),
        "A: right after subtracting the mean along the last axis (simplex)", "simplex",
    ),
    "rotation": (
        ROTATION, lambda g, a: g - a @ (a.T @ g + g.T @ a) / 2.0,
        "A: right after projecting onto the tangent space of rotations", "rotation",
    ),
    "unit": (
        UNIT, lambda g, a: g - a * (a @ g),
        "A: right after projecting onto the tangent space of unit vectors", "unit norm",
    ),
}  # fmt: skip


@pytest.mark.parametrize("trace", [True, False])
@pytest.mark.parametrize("case", RIGHT_AFTER)
def test_it_is_named_with_the_option_that_makes_it_right(case, trace):
    a, made, cause, kind = RIGHT_AFTER[case]
    weights = C if a.shape == C.shape else RNG.standard_normal(a.shape)
    given = made(gradient(a, weights), a)
    report = gf.gradcheck(quartic(weights), {"A": given}, {"A": a}, trace=trace)
    assert report.wrong
    assert report.diagnoses[0].cause.startswith(cause)
    if kind is not None:
        assert f'constraints={{"A": "{kind}"}}' in report.diagnoses[0].evidence
        assert gf.gradcheck(quartic(weights), {"A": given}, {"A": a}, trace=trace, constraints={"A": kind}).ok


@pytest.mark.parametrize(
    ("a", "made"),
    [
        (SQUARE, symmetrised),  # the array is not symmetric
        (np.zeros((4, 4)), symmetrised),  # these satisfy any linear constraint
        (np.eye(4), symmetrised),
        (SYMMETRIC, lambda g, a: g + RNG.standard_normal(g.shape)),  # not right in any part
        (RNG.random((3, 5)), lambda g, a: g - g.mean(axis=-1, keepdims=True)),
        (2.0 * ROTATION, lambda g, a: g - a @ (a.T @ g + g.T @ a) / 8.0),
    ],
)
def test_no_constraint_is_named_that_the_array_does_not_show(a, made):
    weights = RNG.standard_normal(a.shape)
    report = gf.gradcheck(quartic(weights), {"A": made(gradient(a, weights), a)}, {"A": a})
    assert report.wrong
    assert not any("right after" in diagnosis.cause for diagnosis in report.diagnoses)


def test_what_says_more_comes_first():
    given = gradient(SYMMETRIC, C).T
    report = gf.gradcheck(quartic(C), {"A": given}, {"A": SYMMETRIC})
    assert report.diagnoses[0].cause == "the gradient of A is transposed"
