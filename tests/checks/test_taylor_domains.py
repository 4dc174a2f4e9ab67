"""taylor_test: losses with bounds, and losses of complex parameters."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf

Z = np.array([1.0 + 2.0j, -0.5j, 0.3 + 0.1j])
A = np.random.default_rng(0).standard_normal((3, 3)) + 1j * np.random.default_rng(1).standard_normal((3, 3))


OUTSIDE = []


def roots(x):
    OUTSIDE.extend(x[(x < 0.0) | (x > 2.0)])
    return np.sqrt(x + 0.5).sum() + ((2.5 - x) ** 1.5).sum()


def of_roots(x):
    return 0.5 / np.sqrt(x + 0.5) - 1.5 * np.sqrt(2.5 - x)


def quartic(z):
    return np.sum(np.abs(A @ z) ** 4)


def of_quartic(z):
    return 4.0 * A.conj().T @ (np.abs(A @ z) ** 2 * (A @ z))


@pytest.mark.parametrize("seed", range(4))
def test_the_loss_is_never_evaluated_outside_of_its_bounds(seed):
    OUTSIDE.clear()
    x = np.array([0.0, 1e-2, 1.0, 1.99, 2.0])
    test = lambda gradient: gf.taylor_test(roots, gradient, x, bounds=(0, 2), seed=seed)
    assert test(of_roots).ok, str(test(of_roots))
    assert not test(lambda x: 1.01 * of_roots(x)).ok
    assert not OUTSIDE
    gf.taylor_test(roots, of_roots, x, seed=seed)
    assert OUTSIDE


def test_a_direction_that_leads_out_of_the_bounds_is_refused():
    x = np.array([1.0, 2.0])
    with pytest.raises(ValueError, match=r"direction: it leads params\[1\] out of its bounds at the step 0\.0625"):
        gf.taylor_test(roots, of_roots, x, direction=np.ones(2), bounds=(0, 2))
    assert gf.taylor_test(roots, of_roots, x, direction=np.array([1.0, -1.0]), bounds=(0, 2)).ok


@pytest.mark.parametrize(
    ("gradient", "said"),
    [
        (of_quartic, "as PyTorch has them"),
        (lambda z: of_quartic(z).conj(), "as JAX has it"),
        (lambda z: 0.5 * of_quartic(z), "as the Wirtinger derivative by the conjugate has it"),
        (of_quartic(Z), "as PyTorch has them"),
    ],
    ids=["PyTorch", "JAX", "Wirtinger", "an array"],
)
def test_the_convention_of_a_complex_gradient_is_found_out(gradient, said):
    report = gf.taylor_test(quartic, gradient, Z)
    assert report.ok and said in report.notes[-1], str(report)
    assert gf.taylor_test(quartic, gradient, Z, direction=np.array([1.0, 1.0j, 1.0 - 1.0j])).ok


def test_a_complex_gradient_that_no_convention_fits_is_wrong():
    report = gf.taylor_test(quartic, lambda z: 1.01 * of_quartic(z), Z)
    assert not report.ok and "no other convention fits" in report.notes[-1]
    with pytest.raises(ValueError, match="hessian: it is compared for real parameters only"):
        gf.taylor_test(quartic, of_quartic, Z, hessian=np.eye(3))


def test_a_complex_loss_may_return_its_gradient():
    assert gf.taylor_test(lambda p: (quartic(p["z"]), {"z": of_quartic(p["z"])}), True, {"z": Z}).ok
