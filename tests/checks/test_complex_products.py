"""gf.check_vjp and gf.check_jvp with complex arguments and outputs."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.complex_layers import normal

import gradcheck_fast as gf

W, X, REAL = normal(4, 3), normal(3), np.array([0.3, -1.2, 0.8])


def product(W, x):
    return W @ x


def of_pytorch(v, W, x):
    return np.outer(v, x.conj()), W.conj().T @ v


def of_jax(v, W, x):
    return np.outer(v, x), W.T @ v


def test_cotangents_and_gradients_by_pytorch_and_by_jax():
    report = gf.check_vjp(product, of_pytorch, (W, X))
    assert report.ok, str(report)
    assert any("as PyTorch has them" in note for note in report.notes)
    assert ("output.imag", "inputs[1].real") in report.seen_from
    np.testing.assert_allclose(report.analytic["inputs[0]"], report.numerical["inputs[0]"], rtol=1e-7)
    report = gf.check_vjp(product, of_jax, (W, X))
    assert report.ok, str(report)
    assert any("the conjugate, as JAX has it" in note for note in report.notes)


def test_one_conjugate_too_few():
    report = gf.check_vjp(product, lambda v, W, x: (np.outer(v, x.conj()), W.T @ v), (W, X))
    assert not report.ok
    assert report.diagnoses[0].cause == "inputs[1] is conjugated, inputs[0] is not"


def test_halves_cancel_where_arguments_and_outputs_are_complex():
    assert not gf.check_vjp(product, lambda v, W, x: tuple(g / 2 for g in of_pytorch(v, W, x)), (W, X)).ok
    squares = lambda x: np.abs(x) ** 2
    report = gf.check_vjp(squares, lambda v, x: v * x, X)
    assert report.ok, str(report)
    assert any("Wirtinger" in note for note in report.notes)


def test_real_arguments_and_complex_outputs():
    n = len(REAL)
    report = gf.check_vjp(np.fft.fft, lambda v, x: n * np.fft.ifft(v).real, REAL)
    assert any("stands for Re(conj(v) f), as in PyTorch" in note for note in report.notes), str(report)
    assert report.ok
    report = gf.check_vjp(np.fft.fft, lambda v, x: np.fft.fft(v).real, REAL)
    assert any("stands for Re(v f), as in JAX" in note for note in report.notes), str(report)
    assert report.ok
    assert not gf.check_vjp(np.fft.fft, lambda v, x: np.fft.ifft(v).real, REAL).ok
    with pytest.raises(TypeError, match="real"):
        gf.check_vjp(np.fft.fft, lambda v, x: n * np.fft.ifft(v), REAL)


def test_trees_of_real_and_complex_arrays():
    def f(p, indices):
        return {"power": np.abs(p["x"][indices]) ** 2, "square": p["x"] ** 2 * p["s"]}

    def vjp(v, p, indices):
        dx = 2.0 * v["square"] * p["x"].conj() * p["s"]
        np.add.at(dx, indices, 2.0 * v["power"] * p["x"][indices])
        return {"dx": dx, "ds": (v["square"].conj() * p["x"] ** 2).real}, None

    report = gf.check_vjp(f, vjp, ({"x": X, "s": REAL}, np.array([0, 2, 0])))
    assert report.ok, str(report)
    assert [array.name for array in report.arrays] == ["inputs[0].x.real", "inputs[0].x.imag", "inputs[0].s"]


def test_cotangents_have_the_dtype_of_the_outputs():
    seen = []

    def vjp(v, W, x):
        seen.append((v.dtype, x.dtype))
        return of_pytorch(v, W, x)

    assert gf.check_vjp(product, vjp, (W.astype(np.complex64), X.astype(np.complex64))).ok
    assert seen[0] == (np.complex64, np.complex64)


def test_tangents_are_complex():
    report = gf.check_jvp(product, lambda t, W, x: t[0] @ x + W @ t[1], (W, X))
    assert report.ok, str(report)
    assert [array.name for array in report.arrays] == ["output.real", "output.imag"]
    assert report.analytic["output"].dtype == np.complex128
    assert not gf.check_jvp(product, lambda t, W, x: t[0] @ x + W @ t[1].conj(), (W, X)).ok
    assert gf.check_jvp(np.fft.rfft, lambda t, x: np.fft.rfft(t), REAL).ok
    assert gf.check_jvp(np.abs, lambda t, x: (x.conj() * t).real / np.abs(x), X).ok


def test_arguments_that_are_written_into_are_noted():
    def careless(x):
        x *= 2.0
        return x

    before = X.copy()
    report = gf.check_vjp(careless, lambda v, x: 2.0 * v, X)
    assert report.ok, str(report)
    assert any("writes" in note for note in report.notes)
    np.testing.assert_array_equal(X, before)
