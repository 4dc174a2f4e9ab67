"""Defines the steps of linear algebra: solve, inv, det, logdet and cholesky, of a matrix or of a stack of matrices.

What goes back through them is multiplied by the transpose of the linearised equation that defines the step: of
A dx = db - dA x, for instance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.program.primitive import Primitive, Shape, change_of, require_inputs, smooth, sum_to_shape
from gradcheck_fast.program.steps.product import transposed
from gradcheck_fast.program.steps.reduction import others

if TYPE_CHECKING:
    from gradcheck_fast.program.primitive import Mask, Reals

#: Up to this norm of E the determinant of I + E is found without pivots: there the elimination loses nothing.
SMALL_NORM = 0.5


def _require_square(shape: Shape) -> None:
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise ValueError(f"expected square matrices, got the shape {shape}")


def _of_one(name: str, written: str, scalar: bool, value: Callable[[Reals], Any],
            difference: Callable[[Reals, Reals], Reals], back: Callable[[Reals, Reals], Reals],
            bound: Callable[[Reals, Reals], Reals], reach: Callable[[Mask], Mask]) -> Primitive:  # fmt: skip
    """Returns the primitive of a function of one matrix, or of each matrix of a stack.

    Parameters
    ----------
    name, written : str
        As in `Primitive`.
    scalar : bool
        Whether the function has a number for each matrix, and not a matrix.
    value, difference, back, bound, reach : callable
        ``value(a)``, ``difference(a, da)``, ``back(a, up)``, ``bound(a, half)`` and ``reach(mask)``; ``bound`` applies
        the transpose of the Jacobian with the sizes of its entries, or larger ones.
    """

    def shape(shapes: Sequence[Shape]) -> Shape:
        require_inputs(shapes, 1)
        _require_square(shapes[0])
        return shapes[0][:-2] if scalar else shapes[0]

    return Primitive(
        name, written, shape, lambda x: np.asarray(value(x[0])),
        lambda x, d: np.asarray(difference(x[0], change_of(x, d))), lambda x, k, up: back(x[0], up),
        lambda masks: reach(masks[0]), smooth, lambda x, k, up, half, h: bound(x[0], half),
        lambda shapes: 4.0 * math.prod(shapes[0]) * shapes[0][-1],
    )  # fmt: skip


def _whole(mask: Mask) -> Mask:
    """Every entry of a matrix reaches all of its output."""
    return np.broadcast_to(mask.any(axis=(-2, -1), keepdims=True), mask.shape).copy()


def _whole_number(mask: Mask) -> Mask:
    return np.asarray(mask.any(axis=(-2, -1)))


# ---- NumPy's functions, of float64


def _solved(a: Reals, b: Reals) -> Reals:
    """Returns a^-1 b. Of old versions of NumPy, b must have the axes of a, or else it is a stack of vectors."""
    return np.asarray(np.linalg.solve(a, b[(np.newaxis,) * (a.ndim - b.ndim)]), np.float64)


def _inverse(a: Reals) -> Reals:
    return np.asarray(np.linalg.inv(a), np.float64)


def _factor(a: Reals) -> Reals:
    return np.asarray(np.linalg.cholesky(a), np.float64)


# ---- equations


def _solve_shape(shapes: Sequence[Shape]) -> Shape:
    require_inputs(shapes, 2)
    a, b = shapes
    _require_square(a)
    columns = b[-1:] if len(b) > 1 else ()
    if not b or b[-1 - len(columns)] != a[-1]:
        raise ValueError(f"equations of shape {a} have no right-hand sides of shape {b}")
    try:
        batch = np.broadcast_shapes(a[:-2], b[:-2])
    except ValueError:
        raise ValueError(f"equations of shape {a} have no right-hand sides of shape {b}") from None
    return (*batch, a[-1], *columns)


def _columns(b: Reals, like: Reals) -> Reals:
    """Returns right-hand sides, or solutions, as matrices; `like` is the right-hand side."""
    return b[..., np.newaxis] if like.ndim == 1 else b


def _solve(a: Reals, b: Reals) -> Reals:
    """Solves a x = b, where b is a vector, or a matrix or a stack of them."""
    return _solved(a, b[:, np.newaxis])[..., 0] if b.ndim == 1 else _solved(a, b)


def _solve_difference(x: Sequence[Reals], d: Sequence[Reals | None]) -> Reals:
    """Returns the exact difference (A + dA)^-1 (db - dA x)."""
    (a, b), (da, db) = x, d
    right = np.zeros_like(_columns(b, b)) if db is None else _columns(db, b)
    if da is not None:
        right = right - da @ _columns(_solve(a, b), b)
    found = _solved(a if da is None else a + da, right)
    shape = _solve_shape([a.shape, b.shape])
    return np.broadcast_to(found, (*shape, 1) if b.ndim == 1 else shape).reshape(shape)


def _solve_back(x: Sequence[Reals], k: int, up: Reals) -> Reals:
    """Applies the transposes of A dx = db - dA x: db gets z = A^-T up, and dA gets -z x^T."""
    a, b = x
    z = _solved(transposed(a), _columns(up, b))
    if k == 1:
        return sum_to_shape(z, _columns(b, b).shape).reshape(b.shape)
    return sum_to_shape(-z @ transposed(_columns(_solve(a, b), b)), a.shape)


def _solve_spread(x: Sequence[Reals], k: int, up: Reals, half: Reals, h: float) -> Reals:
    a, b = x
    z = np.abs(transposed(_inverse(a))) @ _columns(half, b)
    if k == 1:
        return sum_to_shape(z, _columns(b, b).shape).reshape(b.shape)
    return sum_to_shape(z @ transposed(np.abs(_columns(_solve(a, b), b))), a.shape)


def _solve_reach(masks: Sequence[Mask]) -> Mask:
    """An entry of b reaches its column of the solution, and an entry of A all columns."""
    a, b = masks
    shape = _solve_shape([a.shape, b.shape])
    columns = b[:, np.newaxis] if b.ndim == 1 else b
    reached = a.any(axis=(-2, -1), keepdims=True) | columns.any(axis=-2, keepdims=True)
    return np.broadcast_to(reached, (*shape, 1) if b.ndim == 1 else shape).reshape(shape)


def _solve_work(shapes: Sequence[Shape]) -> float:
    a = shapes[0]
    return math.prod(a) * a[-1] + 2.0 * math.prod(_solve_shape(shapes)) * a[-1]


#: The solution x of a x = b. A vector b is one right-hand side; any other array is a matrix, or a stack of them.
SOLVE = Primitive(
    "solve", "solve({0}, {1})", _solve_shape, lambda x: _solve(x[0], x[1]), _solve_difference, _solve_back,
    _solve_reach, smooth, _solve_spread, _solve_work,
)  # fmt: skip


def _inv_difference(a: Reals, da: Reals) -> Reals:
    """Returns the exact difference -(A + dA)^-1 dA A^-1."""
    return -_solved(a + da, da @ _inverse(a))


def _inv_back(a: Reals, up: Reals) -> Reals:
    transpose = transposed(_inverse(a))
    return -transpose @ up @ transpose


def _inv_bound(a: Reals, half: Reals) -> Reals:
    sizes = np.abs(transposed(_inverse(a)))
    return sizes @ half @ sizes


#: The inverse of a matrix.
INV = _of_one("inv", "inv({0})", False, _inverse, _inv_difference, _inv_back, _inv_bound, _whole)


# ---- determinants


def _det_difference(a: Reals, da: Reals) -> Reals:
    """Returns the exact difference, which is a sum over the rows, because a determinant is linear in each row.

    The determinant of row i has the new rows above it, dA in row i, and the old rows below.
    """
    mixed, total = a.copy(), np.zeros(a.shape[:-2])
    for row in range(a.shape[-1]):
        mixed[..., row, :] = da[..., row, :]
        total = total + np.linalg.det(mixed)
        mixed[..., row, :] = a[..., row, :] + da[..., row, :]
    return total


def _cofactors(a: Reals) -> Reals:
    """Returns the factor of each entry in the determinant, which is linear in each: for singular matrices too.

    With the singular values s, of A = U S V^T, it is det(U V^T) U (products of the other s) V^T.
    """
    u, s, v = np.linalg.svd(a)
    sign = np.linalg.det(u) * np.linalg.det(v)
    return np.asarray(sign[..., np.newaxis, np.newaxis] * ((u * others(s)[..., np.newaxis, :]) @ v))


def _number_of_each(number: Reals) -> Reals:
    return np.asarray(number)[..., np.newaxis, np.newaxis]


#: The determinant of a matrix.
DET = _of_one(
    "det", "det({0})", True, np.linalg.det, _det_difference, lambda a, up: _number_of_each(up) * _cofactors(a),
    lambda a, half: _number_of_each(half) * np.abs(_cofactors(a)), _whole_number,
)  # fmt: skip


def _log_det_beside_identity(e: Reals) -> Reals:
    """Returns log det(I + E) for small E, without losing digits of E.

    The determinant of four blocks is det(I + E11) det(I + E22 - E21 (I + E11)^-1 E12).
    """
    size = e.shape[-1]
    if size == 0:
        return np.zeros(e.shape[:-2])
    if size == 1:
        return np.log1p(e[..., 0, 0])
    half = size // 2
    first, right = e[..., :half, :half], e[..., :half, half:]
    rest = e[..., half:, half:] - e[..., half:, :half] @ _solved(np.eye(half) + first, right)
    return _log_det_beside_identity(first) + _log_det_beside_identity(rest)


def _log_det(a: Reals) -> Reals:
    return np.asarray(np.linalg.slogdet(a)[1])


def _log_det_difference(a: Reals, da: Reals) -> Reals:
    """Returns log|det(I + E)| with E = A^-1 dA; where E is not small, two values are subtracted."""
    e = _solved(a, da)
    small = np.linalg.norm(e, axis=(-2, -1)) <= SMALL_NORM
    near = _log_det_beside_identity(np.where(_number_of_each(small), e, 0.0))
    return np.where(small, near, _log_det(a + da) - _log_det(a))


#: The logarithm of the size of the determinant of a matrix.
LOGDET = _of_one(
    "logdet", "logdet({0})", True, _log_det, _log_det_difference,
    lambda a, up: _number_of_each(up) * transposed(_inverse(a)),
    lambda a, half: _number_of_each(half) * np.abs(transposed(_inverse(a))), _whole_number,
)  # fmt: skip


# ---- the Cholesky factor


def _cholesky_difference(a: Reals, da: Reals) -> Reals:
    """Returns the exact difference D of the factor L, column by column.

    Let s be a column of A - (columns of L to the left)(their transposes), so that the new column of L is s divided by
    the root of its own entry on the diagonal. Then D follows from the exact differences of s, the root and the
    quotient. Of A, as in NumPy, only the lower triangle is read.

    Raises
    ------
    numpy.linalg.LinAlgError
        If A + dA is not positive definite.
    """
    lower = _factor(a)
    found = np.zeros_like(lower)
    for j in range(a.shape[-1]):
        left, change = lower[..., j:, :j], found[..., j:, :j]
        row, row_change = lower[..., j, :j, np.newaxis], found[..., j, :j, np.newaxis]
        ds = da[..., j:, j] - (change @ (row + row_change) + left @ row_change)[..., 0]
        root = lower[..., j, j]
        square = root * root + ds[..., 0]
        if not (square > 0.0).all():
            raise np.linalg.LinAlgError("Matrix is not positive definite")
        new_root = np.sqrt(square)
        found[..., j, j] = ds[..., 0] / (new_root + root)
        below = ds[..., 1:] - lower[..., j + 1 :, j] * found[..., j, j, np.newaxis]
        found[..., j + 1 :, j] = below / new_root[..., np.newaxis]
    return found


def _lower_half(a: Reals) -> Reals:
    """Returns the lower triangle with half of the diagonal."""
    found: Reals = np.tril(a)
    diagonal = np.arange(a.shape[-1])
    found[..., diagonal, diagonal] *= 0.5
    return found


def _of_lower_triangle(p: Reals) -> Reals:
    """Returns what goes back to the lower triangle of a symmetric matrix of which only that triangle is read."""
    return np.tril(p) + transposed(np.triu(p, 1))


def _cholesky_back(a: Reals, up: Reals) -> Reals:
    """Applies the transpose of dL = L F(L^-1 dA L^-T), where F takes the lower triangle with half of the diagonal.

    That is what is left of dL L^T + L dL^T = dA, if dL is a lower triangle.
    """
    lower = _factor(a)
    middle = _lower_half(transposed(lower) @ np.tril(up))
    outer = _solved(transposed(lower), middle)  # L^-T F(L^T up)
    return _of_lower_triangle(transposed(_solved(transposed(lower), transposed(outer))))


def _cholesky_bound(a: Reals, half: Reals) -> Reals:
    lower = _factor(a)
    inverse = np.abs(_inverse(lower))
    middle = _lower_half(transposed(np.abs(lower)) @ np.tril(half))
    return _of_lower_triangle(transposed(inverse) @ middle @ inverse)


def _cholesky_reach(mask: Mask) -> Mask:
    """An entry reaches, at most, its own column and those to the right of it."""
    columns = np.logical_or.accumulate(np.tril(mask).any(axis=-2, keepdims=True), axis=-1)
    return np.tril(np.broadcast_to(columns, mask.shape))


#: The lower Cholesky factor of a symmetric matrix, of which only the lower triangle is read.
CHOLESKY = _of_one(
    "cholesky", "cholesky({0})", False, _factor, _cholesky_difference, _cholesky_back, _cholesky_bound,
    _cholesky_reach,
)  # fmt: skip

PRIMITIVES = (SOLVE, INV, DET, LOGDET, CHOLESKY)
