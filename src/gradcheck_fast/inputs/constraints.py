"""Constraints on arrays of parameters: what satisfies them, their tangent spaces, and moves that keep to them.

An array that must stay symmetric, or a rotation, cannot be moved in every direction, and different codes give its
gradient different parts that no such move sees. The orthogonal projection onto the tangent space leaves those out
(Absil, Mahony and Sepulchre, Optimization Algorithms on Matrix Manifolds, 2008, chapter 3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Reals = NDArray[np.float64]

#: An array satisfies a constraint if it is off by no more than this many roundings of its largest entry and of 1.
ROUNDINGS = 4096.0
#: The constraints that a complex array satisfies if its real and its imaginary part do.
OF_PARTS = ("symmetric", "antisymmetric", "lower", "upper")


class Constraint(NamedTuple):
    """One kind of constraint. An array with more than two axes is a stack of matrices, or of vectors.

    Attributes
    ----------
    says : str
        What the projection does to a gradient G, in words and as a formula.
    takes : callable
        Whether an array of some shape can satisfy it.
    violation : callable
        ``violation(a)`` gives how far an array is from satisfying it, in units of its entries.
    project : callable
        ``project(a, g)`` gives the orthogonal projection of g onto the tangent space at a.
    spread : callable
        ``spread(a, b)`` gives a bound on how far each entry of a projection moves if the entries of g move by b >= 0.
    retract : callable
        ``retract(a, d)`` gives an array that satisfies the constraint as well as a does, and that differs from a + d by
        the square of d where d is in the tangent space. It is a itself where d is 0.
    """

    says: str
    takes: Callable[[tuple[int, ...]], bool]
    violation: Callable[[Reals], float]
    project: Callable[[Reals, Reals], Reals]
    spread: Callable[[Reals, Reals], Reals]
    retract: Callable[[Reals, Reals], Reals]


def _linear(
    says: str, takes: Callable[[tuple[int, ...]], bool], violation: Callable[[Reals], float],
    project: Callable[[Reals], Reals], spread: Callable[[Reals], Reals],
) -> Constraint:  # fmt: skip
    """Makes the constraint of a linear space: that is its own tangent space, wherever the array lies in it."""
    return Constraint(
        says, takes, violation, lambda a, g: project(g), lambda a, b: spread(b), lambda a, d: a + project(d)
    )


def _turned(a: Reals) -> Reals:
    return np.swapaxes(a, -1, -2)


def _largest(a: Any) -> float:
    return float(np.abs(a).max(initial=0.0))


def _is_square(shape: tuple[int, ...]) -> bool:
    return len(shape) >= 2 and shape[-1] == shape[-2] > 1


def _is_matrix(shape: tuple[int, ...]) -> bool:
    return len(shape) >= 2


def _has_rows(shape: tuple[int, ...]) -> bool:
    return len(shape) >= 1 and shape[-1] > 1


def _symmetric(a: Reals) -> Reals:
    return 0.5 * (a + _turned(a))


def _off_symmetry(a: Reals) -> float:
    return _largest(a - _turned(a))


def _off_psd(a: Reals) -> float:
    return max(_off_symmetry(a), -float(np.linalg.eigvalsh(_symmetric(a)).min(initial=0.0)))


def _off_simplex(a: Reals) -> float:
    """Returns how far entries are below 0, or the sums along the last axis apart."""
    sums = a.sum(axis=-1)
    return max(float((-a).max(initial=0.0)), float(np.ptp(sums)) if sums.size else 0.0)


def _tall(a: Reals) -> bool:
    return bool(a.shape[-2] >= a.shape[-1])


def _off_orthogonal(a: Reals) -> float:
    """Returns how far the columns, or the rows if there are fewer, are from being orthonormal."""
    columns = a if _tall(a) else _turned(a)
    return _largest(_turned(columns) @ columns - np.eye(columns.shape[-1]))


def _off_rotation(a: Reals) -> float:
    return max(_off_orthogonal(a), _largest(np.linalg.det(a) - 1.0))


def _onto_stiefel(a: Reals, g: Reals) -> Reals:
    """Returns G - A sym(AᵀG), for orthonormal columns; for square matrices that is A skew(AᵀG)."""
    if not _tall(a):
        return _turned(_onto_stiefel(_turned(a), _turned(g)))
    return np.asarray(g - a @ _symmetric(_turned(a) @ g))


def _spread_stiefel(a: Reals, b: Reals) -> Reals:
    if not _tall(a):
        return _turned(_spread_stiefel(_turned(a), _turned(b)))
    size = np.abs(a)
    return np.asarray(b + size @ _symmetric(_turned(size) @ b))


def _turn(a: Reals, d: Reals) -> Reals:
    """Multiplies by the Cayley transform of the skew matrix W with W A = P(d).

    W = V - Vᵀ with V = (I - AAᵀ/2) P(d) Aᵀ (Wen and Yin, A feasible method for optimization with orthogonality
    constraints, Mathematical Programming 142, 2013).
    """
    if not _tall(a):
        return _turned(_turn(_turned(a), _turned(d)))
    one = np.eye(a.shape[-2])
    v = (one - 0.5 * a @ _turned(a)) @ _onto_stiefel(a, d) @ _turned(a)
    w = 0.5 * (v - _turned(v))
    return np.asarray(np.linalg.solve(one - w, (one + w) @ a))


def _norm_axes(a: Reals) -> tuple[int, ...]:
    """Returns the axes along which an array has unit norms: the last, all, or the first."""
    every = tuple(range(a.ndim))
    return min(((a.ndim - 1,), every, (0,)), key=lambda axes: round(_off_norm(a, axes), 12))


def _off_norm(a: Reals, axes: tuple[int, ...]) -> float:
    return _largest(np.sqrt((a * a).sum(axis=axes)) - 1.0)


def _onto_sphere(a: Reals, g: Reals) -> Reals:
    axes = _norm_axes(a)
    return np.asarray(g - a * ((a * g).sum(axis=axes, keepdims=True) / (a * a).sum(axis=axes, keepdims=True)))


def _spread_sphere(a: Reals, b: Reals) -> Reals:
    axes, size = _norm_axes(a), np.abs(a)
    return np.asarray(b + size * ((size * b).sum(axis=axes, keepdims=True) / (a * a).sum(axis=axes, keepdims=True)))


def _scaled(a: Reals, d: Reals) -> Reals:
    axes, moved = _norm_axes(a), a + d
    before, after = ((x * x).sum(axis=axes, keepdims=True) for x in (a, moved))
    return np.asarray(moved * np.sqrt(before / after))


_SYMMETRISING = "symmetrising: (G + Gᵀ)/2"
_SYMMETRIC = _linear(_SYMMETRISING, _is_square, _off_symmetry, _symmetric, _symmetric)
_ORTHOGONAL = Constraint(
    "projecting onto the tangent space of orthogonal matrices: G - A sym(AᵀG)",
    _is_matrix, _off_orthogonal, _onto_stiefel, _spread_stiefel, _turn,
)  # fmt: skip

#: The constraints by the names that users give them.
CONSTRAINTS: dict[str, Constraint] = {
    "symmetric": _SYMMETRIC,
    "psd": _SYMMETRIC._replace(violation=_off_psd),
    "antisymmetric": _linear(
        "antisymmetrising: (G - Gᵀ)/2", _is_square, lambda a: _largest(a + _turned(a)),
        lambda g: np.asarray(0.5 * (g - _turned(g))), _symmetric,
    ),
    "lower": _linear("taking the lower triangle", _is_matrix, lambda a: _largest(np.triu(a, 1)), np.tril, np.tril),
    "upper": _linear("taking the upper triangle", _is_matrix, lambda a: _largest(np.tril(a, -1)), np.triu, np.triu),
    "simplex": _linear(
        "subtracting the mean along the last axis (simplex)", _has_rows, _off_simplex,
        lambda g: np.asarray(g - g.mean(axis=-1, keepdims=True)),
        lambda b: np.asarray(b + b.mean(axis=-1, keepdims=True)),
    ),
    "orthogonal": _ORTHOGONAL,
    "rotation": _ORTHOGONAL._replace(
        says="projecting onto the tangent space of rotations: G - A sym(AᵀG)", takes=_is_square,
        violation=_off_rotation,
    ),
    "unit norm": Constraint(
        "projecting onto the tangent space of unit vectors: G - A (A·G)",
        _has_rows, lambda a: _off_norm(a, _norm_axes(a)), _onto_sphere, _spread_sphere, _scaled,
    ),
}  # fmt: skip


def satisfies(constraint: Constraint, a: Reals, eps: float) -> bool:
    """Whether an array satisfies a constraint, to roundings of relative size `eps`."""
    if not constraint.takes(a.shape) or not np.isfinite(a).all():
        return False
    off: float = constraint.violation(a)
    return off <= ROUNDINGS * eps * max(1.0, _largest(a))


class Constrained(NamedTuple):
    """The arrays of a flat vector that must satisfy constraints.

    Attributes
    ----------
    theta : ndarray of float64, shape (size,)
        The parameters, which satisfy them.
    arrays : tuple of (slice, tuple of int, str)
        Where each of these arrays lies, its shape, and the name of its constraint.
    """

    theta: Reals
    arrays: tuple[tuple[slice, tuple[int, ...], str], ...]

    def project(self, vector: Reals) -> Reals:
        """Projects a gradient onto the tangent space."""
        return self._each(vector, lambda own, a, part: own.project(a, part))

    def spread(self, bars: Reals) -> Reals:
        """Returns a bound on how far each entry of a projection moves if the entries of the gradient move by `bars`."""
        return self._each(bars, lambda own, a, part: own.spread(a, part))

    def retract(self, moved: Reals) -> Reals:
        """Returns the parameters nearest to `moved` that satisfy the constraints, to second order in the move."""
        return self._each(moved, lambda own, a, part: own.retract(a, part - a) if (part != a).any() else a)

    def touches(self, size: int) -> NDArray[np.bool_]:
        """Returns a mask of the entries that lie in one of the arrays."""
        mask = np.zeros(size, np.bool_)
        for part, _, _ in self.arrays:
            mask[part] = True
        return mask

    def _each(self, vector: Reals, change: Callable[[Constraint, Reals, Reals], Reals]) -> Reals:
        result = vector.copy()
        for part, shape, kind in self.arrays:
            a = self.theta[part].reshape(shape)
            result[part] = change(CONSTRAINTS[kind], a, vector[part].reshape(shape)).ravel()
        return result
