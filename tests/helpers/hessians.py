"""Random functions of several variables whose second derivatives are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

#: Functions of one variable with their second derivatives.
SHAPES: dict[str, tuple[Callable[..., np.ndarray], Callable[..., np.ndarray]]] = {
    "sin": (np.sin, lambda z: -np.sin(z)),
    "exp": (np.exp, np.exp),
    "tanh": (np.tanh, lambda z: -2.0 * np.tanh(z) * (1.0 - np.tanh(z) ** 2)),
    "square": (np.square, lambda z: 2.0 + 0.0 * z),
    "cube": (lambda z: z**3, lambda z: 6.0 * z),
    "Cauchy": (lambda z: np.log1p(z**2), lambda z: 2.0 * (1.0 - z**2) / (1.0 + z**2) ** 2),
    "softplus": (lambda z: np.logaddexp(0.0, z), lambda z: 0.5 / (1.0 + np.cosh(z))),
    "hyperbola": (lambda z: np.sqrt(1.0 + z**2), lambda z: (1.0 + z**2) ** -1.5),
    "log": (
        lambda z: np.log(3.0 + np.sin(z)),
        lambda z: -(np.sin(z) * (3.0 + np.sin(z)) + np.cos(z) ** 2) / (3.0 + np.sin(z)) ** 2,
    ),
}


def random_function(seed: int) -> tuple[Callable[..., float], Callable[..., np.ndarray], np.ndarray]:
    """Gives f(x) = Σ c φ(a·x), its Hessian Σ c φ''(a·x) a aᵀ as a function, and a point of any size."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(2, 9))
    names = rng.choice(list(SHAPES), int(rng.integers(2, 6)))
    a, c = rng.normal(size=(len(names), size)), rng.normal(size=len(names))
    x = rng.normal(size=size) * 10.0 ** rng.integers(-2, 2)
    a /= np.maximum(1.0, np.abs(a @ x))[:, None]

    def f(x):
        return sum(own * SHAPES[name][0](row @ x) for own, name, row in zip(c, names, a, strict=True))

    def hessian(x):
        return sum(
            own * SHAPES[name][1](row @ x) * np.outer(row, row) for own, name, row in zip(c, names, a, strict=True)
        )

    return f, hessian, x


def with_planted(hessian: np.ndarray, part: float) -> tuple[np.ndarray, tuple[int, int]]:
    """Gives a copy in which an entry of middling size is too large by a part of it, and the place of that entry."""
    wrong = np.array(hessian)
    order = np.argsort(np.abs(wrong), axis=None)
    place = tuple(int(k) for k in np.unravel_index(order[wrong.size // 2], wrong.shape))
    wrong[place] *= 1.0 + part
    return wrong, place
