"""Traces of NumPy functions that compute with complex numbers."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from helpers.complex_layers import CASES, normal

import gradcheck_fast as gf

Z, X = normal(4, 3), np.random.default_rng(1).normal(size=(4, 3))
C, EYE = normal(4, 3), 3.0 * np.eye(3)


def buffer(z):
    found = np.zeros((3, 3), complex)
    for k in range(3):
        found[k] = z[k] * (k + 1j)
    return found


def recurrence(z):
    h, states = np.zeros(3, dtype=complex), []
    for row in z:
        h = np.tanh(np.abs(h)) * np.exp(1j * np.angle(h + 1.0)) + row
        states.append(h)
    return np.array(states)


def masked(z):
    y, w = z.copy(), z.conj()
    y[np.abs(z) > 1.0] = 0.5j
    w[0] = z[1]
    w[:, 1] *= 2.0
    return y + w * z


def changed_in_place(z):
    y = z.copy()
    y += 1j
    y *= z.conj()
    return y


FUNCTIONS = {
    "arithmetic": lambda z: (z + 1j) * (2.0 - z) / (z + C) - z / X + X * z - (-z),
    "powers": lambda z: z**3 + z**-2 + np.square(z) + z**0 + (z + 3.0) ** 0.5 + np.reciprocal(z),
    "functions": lambda z: np.exp(z / 4) + np.log(z + 5.0) + np.sqrt(z + 5.0) + np.sin(z) * np.cosh(z / 3) + np.tanh(z),
    "parts": lambda z: z.real * z.imag + np.abs(z) + np.angle(z + 5.0) + np.imag(z) * np.real(np.conj(z)) + abs(z),
    "phases": lambda z: np.exp(1j * z.real) * z.imag,
    "real by complex": lambda z: (z.real + 0j) @ C.T + z.imag.astype(complex) @ (1j * C.T),
    "products": lambda z: z @ z.conj().T + np.dot(C, z.T) + np.inner(z, C),
    "einsum": lambda z: np.einsum("ij,kj->ik", z, z.conj()) + np.einsum("ij,j,kj", C, z[0], X),
    "vdot": lambda z: np.vdot(z, C) * np.outer(z[0], z[1]) + np.kron(z[:1], C[:1])[0, 0],
    "tensordot": lambda z: np.tensordot(z, C, axes=([0], [0])),
    "sums": lambda z: z.sum(axis=0) + np.mean(z, axis=0) + np.cumsum(z, axis=0)[2] + np.add.reduce(z),
    "views": lambda z: z.T[:, 1:].reshape(3, 3).swapaxes(0, 1) + z[[0, 2, 1]] + np.moveaxis(z, 0, 1)[:, :3],
    "moves": lambda z: np.roll(z, 1, 0)[::-1].ravel() + z.flatten() + np.transpose(z).T.reshape(-1) + np.ravel(z),
    "lists": lambda z: np.concatenate([z, C])[1:5] + np.stack([z[0], z[1], z[2], C[0]]) + np.array([*C[:3], z[0]]),
    "where": lambda z: np.where(X > 0.0, z, 1j) + np.where(np.abs(z) > 1.0, 0.0, z),
    "diagonals": lambda z: np.trace(z) + np.diagonal(z @ C.T) + np.tril(z)[:, 0],
    "fft": lambda z: np.fft.fft(z, axis=0) + np.fft.ifft(z, norm="ortho") + np.fft.fft(z, n=5)[:, :3],
    "ffts": lambda z: np.fft.fft2(z) * np.fft.ifft2(z, norm="forward") + np.fft.fftshift(np.fft.fftn(z)),
    "fft of real numbers": lambda z: np.fft.rfft(z.real, axis=0) + np.fft.rfft(z.imag, n=4, axis=0),
    "fft to real numbers": lambda z: np.fft.irfft(z) + np.fft.irfft(z, n=4) + np.fft.irfft2(z.T)[0, :4],
    "solve": lambda z: np.linalg.solve(z[:3] + EYE, C[:3]) + np.linalg.inv(z[:3] + EYE) @ z[3],
    "norm": lambda z: np.linalg.norm(z) + np.linalg.norm(z, axis=1),
    "buffer": buffer,
    "recurrence": recurrence,
    "in place": changed_in_place,
    "items": masked,
    "like": lambda z: np.zeros_like(z) + np.ones_like(z) * z,
}  # fmt: skip


def loss_of(f):
    def loss(z):
        found = f(z)
        return (np.abs(found) ** 2).sum() + found.real.ravel()[-1] + (1j * found).real.sum()

    return loss


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_traced_has_the_right_gradient(name):
    loss = loss_of(FUNCTIONS[name])
    plain = gf.numerical_gradient(loss, Z, trace=False)
    report = gf.gradcheck(loss, plain, Z, rtol=1e-6, atol=1e-6)
    assert report.method == "chain", str(report)
    assert report.ok, str(report)


def test_the_line_where_a_conjugate_is_missing():
    case = CASES["linear_layer"]
    report = gf.gradcheck(case.loss, case.gradient(case.params, mistake=True), case.params)
    (cause,) = (diagnosis.cause for diagnosis in report.diagnoses)
    assert 'z = x @ p["W"] + p["b"]' in cause, str(report)
    assert "wrong sign" in cause
    assert any("where a conjugate is missing or too much" in note for note in report.notes)


def test_real_parameters_and_complex_numbers_inside():
    x = X[0]
    report = gf.gradcheck(
        lambda x: (np.abs(np.fft.rfft(x)) ** 2).sum(), lambda x: 3.0 * x + x.sum(), x
    )  # of the three frequencies 0, 1, 2 = -1, the last is not counted
    assert report.method == "chain"
    assert report.ok, str(report)


def test_outputs_along_a_tangent_are_exact():
    report = gf.check_jvp(np.fft.fft, lambda t, z: np.fft.fft(t), Z[0])
    assert report.ok, str(report)
    assert report.relative_error < 1e-14


def test_a_complex_number_with_a_zero_imaginary_part_is_a_loss():
    report = gf.gradcheck(lambda z: np.vdot(C @ z, C @ z), lambda z: 2.0 * C.conj().T @ (C @ z), Z[0])
    assert (report.method, report.ok) == ("chain", True), str(report)


@pytest.mark.parametrize(
    "f",
    [
        lambda z: np.linalg.eigvals(z[:3]),
        lambda z: np.sort(z),
        lambda z: np.arcsin(z),
    ],
)
def test_what_is_not_known_is_differenced_as_it_is(f):
    loss = lambda z: (np.abs(f(z)) ** 2).sum()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = gf.gradcheck(loss, np.zeros_like(Z), Z)
    assert report.method == "direct"
    assert any("could not be traced" in note for note in report.notes)
