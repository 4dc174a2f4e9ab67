"""Losses of complex arrays as they are written by hand in NumPy, with their gradients dL/dx + i dL/dy, and mistakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Case(NamedTuple):
    """A loss and its gradient; with ``mistake=True`` the gradient is wrong, in the arrays that are named."""

    loss: Callable[[Any], Any]
    gradient: Callable[..., Any]
    params: dict[str, Any]
    wrong: tuple[str, ...]


_rng = np.random.default_rng(0)


def normal(*shape):
    """Complex numbers with normal real and imaginary parts."""
    return _rng.normal(size=shape) + 1j * _rng.normal(size=shape)


def fourier_layer():
    target = normal(8)

    def forward(p):
        return np.fft.ifft(np.fft.fft(p["x"]) * p["W"])

    def loss(p):
        return (np.abs(forward(p) - target) ** 2).sum()

    def gradient(p, mistake=False):
        X = np.fft.fft(p["x"])
        G = np.fft.fft(2.0 * (forward(p) - target)) / 8
        return {"x": 8 * np.fft.ifft(G * p["W"].conj()), "W": G * (X if mistake else X.conj())}

    return Case(loss, gradient, {"x": normal(8), "W": normal(8)}, ("W",))


def linear_layer():
    x = normal(5, 3)

    def loss(p):
        z = x @ p["W"] + p["b"]
        return (np.abs(z) ** 4).sum()

    def gradient(p, mistake=False):
        z = x @ p["W"] + p["b"]
        dz = 4.0 * np.abs(z) ** 2 * z
        return {"W": (x if mistake else x.conj()).T @ dz, "b": dz.sum(axis=0)}

    return Case(loss, gradient, {"W": normal(3, 4), "b": normal(4)}, ("W",))


def modrelu():
    target = normal(6)

    def forward(p):
        size = np.abs(p["z"])
        return p["z"] / size * np.maximum(size + p["b"], 0.0)

    def loss(p):
        return (np.abs(forward(p) - target) ** 2).sum()

    def gradient(p, mistake=False):
        g, size = 2.0 * (forward(p) - target), np.abs(p["z"])
        u, on = p["z"] / size, size + p["b"] > 0.0
        along = on * (g.conj() * u).real
        across = on * (size + p["b"]) / size * (g - (0.0 if mistake else along * u))
        return {"z": along * u + across, "b": along}

    return Case(loss, gradient, {"z": normal(6), "b": np.array([0.3, -0.1, 0.2, -9.0, 0.1, -0.2])}, ("z",))


def phase_retrieval():
    A, y = normal(9, 4), np.abs(normal(9))

    def loss(p):
        return ((np.abs(A @ p["z"]) ** 2 - y) ** 2).sum() / 2

    def gradient(p, mistake=False):
        u = A @ p["z"]
        return {"z": (A.T if mistake else A.conj().T) @ (2.0 * (np.abs(u) ** 2 - y) * u)}

    return Case(loss, gradient, {"z": normal(4)}, ("z",))


def unitary_step():
    """h' = D2 F^-1 R D1 h with phases D and a reflection R, as in Arjovsky, Shah and Bengio, ICML 2016."""
    target = normal(5)

    def forward(p):
        s = np.exp(1j * p["theta1"]) * p["h"]
        n, a = np.vdot(p["v"], p["v"]).real, np.vdot(p["v"], s)
        r = s - 2.0 * p["v"] * a / n
        return s, n, a, np.exp(1j * p["theta2"]) * np.fft.ifft(r, norm="ortho")

    def loss(p):
        return (np.abs(forward(p)[-1] - target) ** 2).sum()

    def gradient(p, mistake=False):
        s, n, a, out = forward(p)
        g = 2.0 * (out - target)
        gr = np.fft.fft(np.exp(-1j * p["theta2"]) * g, norm="ortho")
        c = np.vdot(gr, p["v"])
        gs = gr - 2.0 * p["v"] * np.vdot(p["v"], gr) / n
        gv = -2.0 * (gr * a.conj() + (0.0 if mistake else c * s)) / n + 4.0 * (c * a).real / n**2 * p["v"]
        return {
            "theta1": (gs.conj() * 1j * s).real, "theta2": (g.conj() * 1j * out).real, "v": gv,
            "h": np.exp(-1j * p["theta1"]) * gs,
        }  # fmt: skip

    params = {"theta1": _rng.normal(size=5), "theta2": _rng.normal(size=5), "v": normal(5), "h": normal(5)}
    return Case(loss, gradient, params, ("v",))


def mvdr_beamformer():
    """The power that a beamformer of least variance lets through from the direction d: 1 / (d^H R^-1 d)."""
    x = normal(4, 20)
    R = x @ x.conj().T / 20

    def loss(p):
        return 1.0 / np.vdot(p["d"], np.linalg.solve(R, p["d"])).real

    def gradient(p, mistake=False):
        u = np.linalg.solve(R.T if mistake else R, p["d"])
        return {"d": -2.0 * u / np.vdot(p["d"], np.linalg.solve(R, p["d"])).real ** 2}

    return Case(loss, gradient, {"d": normal(4)}, ("d",))


CASES = {
    make.__name__: make()
    for make in (fourier_layer, linear_layer, modrelu, phase_retrieval, unitary_step, mvdr_beamformer)
}
