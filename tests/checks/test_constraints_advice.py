"""A gradient that is right only after symmetrising, or another projection, is called so, with the way out."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf

RNG = np.random.default_rng(0)
B = RNG.standard_normal((4, 4))
S = B @ B.T + 4.0 * np.eye(4)
Q = np.linalg.qr(RNG.standard_normal((3, 3)))[0]
Q *= np.sign(np.linalg.det(Q))


def of_cholesky(v, a):
    factor = np.linalg.cholesky(a)
    inner = np.tril(factor.T @ v)
    inner[np.diag_indices(len(a))] *= 0.5
    inverse = np.linalg.inv(factor)
    g = inverse.T @ inner @ inverse
    return 0.5 * (g + g.T)


def of_eigvalsh(v, a):
    vectors = np.linalg.eigh(a)[1]
    return vectors @ np.diag(v) @ vectors.T


def of_square(v, p):
    g = 2.0 * p * v
    return g - g.mean()


def of_rotation(v, q):
    return 0.5 * (v - q @ v.T @ q)


OPERATORS = {
    "cholesky": (np.linalg.cholesky, of_cholesky, S, "symmetric", "right after symmetrising"),
    "eigvalsh": (np.linalg.eigvalsh, of_eigvalsh, S, "symmetric", "right after symmetrising"),
    "simplex": (np.square, of_square, np.array([0.1, 0.2, 0.3, 0.4]), "simplex", "right after subtracting the mean"),
    "rotation": (lambda q: 1.0 * q, of_rotation, Q, "rotation", "right after projecting onto the tangent space"),
}


@pytest.mark.parametrize("trace", [True, False])
@pytest.mark.parametrize("operator", OPERATORS)
def test_the_advice_names_the_constraint_and_then_holds(operator, trace):
    f, vjp, x, kind, said = OPERATORS[operator]
    wrong = gf.check_vjp(f, vjp, x, trace=trace)
    assert not wrong.ok and said in wrong.diagnoses[0].cause, str(wrong)
    assert f'pass constraints={{"inputs": "{kind}"}} if inputs has to stay ' in wrong.diagnoses[0].evidence
    assert gf.check_vjp(f, vjp, x, trace=trace, constraints={"inputs": kind}).ok
    v = RNG.standard_normal(f(x).shape)
    loss = lambda x: (v * f(x)).sum()
    wrong = gf.gradcheck(loss, lambda x: vjp(v, x), x, trace=trace)
    assert f'constraints={{"params": "{kind}"}}' in wrong.diagnoses[0].evidence, str(wrong)
    assert gf.gradcheck(loss, lambda x: vjp(v, x), x, trace=trace, constraints={"params": kind}).ok


def test_the_advice_of_torch_names_the_constraint_and_then_holds():
    torch = pytest.importorskip("torch")
    matrix = torch.from_numpy(S).requires_grad_()
    for f in (torch.linalg.cholesky, torch.linalg.eigvalsh):
        wrong = gf.torch.check_function(f, matrix)
        assert not wrong.ok and 'constraints={"inputs[0]": "symmetric"}' in wrong.diagnoses[0].evidence, str(wrong)
        right = gf.torch.check_function(f, matrix, constraints={"inputs[0]": "symmetric"})
        assert right.ok, str(right)
        assert ("forward mode", "right") in [(aspect.name, aspect.status) for aspect in right.aspects]
    hermitian = torch.from_numpy(S + 1j * (B - B.T)).requires_grad_()
    kept = {"inputs[0].real": "symmetric", "inputs[0].imag": "antisymmetric"}
    right = gf.torch.check_function(torch.linalg.cholesky, hermitian, constraints=kept)
    assert right.ok, str(right)
