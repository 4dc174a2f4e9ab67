"""Operators of linear algebra."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_fast.frontends.torch_trace.operators.registry import Call, Unsupported, aten, simple

for _name in ("mm", "bmm", "mv", "dot", "vdot"):
    simple(lambda x, y: x @ y, _name)
simple(lambda x, y: np.outer(x, y))


def _plus(x: Any, product: Any, beta: float, alpha: float) -> Any:
    product = product if alpha == 1 else alpha * product
    if beta == 0:
        return product
    return product + (x if beta == 1 else beta * x)


@aten("addmm", "addmv", "baddbmm", "_sparse_addmm")
def addmm(call: Call, x: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """``addmm``: beta x + alpha a b, also of stacks and of vectors."""
    return _plus(x, a @ b, beta, alpha)


@aten("addbmm")
def addbmm(call: Call, x: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """``addbmm``, which adds up the products of a stack."""
    return _plus(x, np.sum(a @ b, axis=0), beta, alpha)


@aten("addr")
def addr(call: Call, x: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """``addr``."""
    return _plus(x, np.outer(a, b), beta, alpha)


@aten("_trilinear")
def trilinear(
    call: Call, a: Any, b: Any, c: Any, expand1: Any, expand2: Any, expand3: Any, summed: Any, unroll: int = 1
) -> Any:
    """``_trilinear``: the product of three tensors, with axes put in, summed over some axes."""
    a, b, c = (np.expand_dims(x, tuple(axes)) for x, axes in ((a, expand1), (b, expand2), (c, expand3)))
    letters = "abcdefghijklm"[: a.ndim]
    shape = np.broadcast_shapes(a.shape, b.shape, c.shape)
    if all(array.shape == shape for array in (a, b, c)):
        return np.sum(a * b * c, axis=tuple(summed))

    def without_ones(x: Any) -> tuple[Any, str]:
        kept = [k for k in range(x.ndim) if x.shape[k] != 1 or shape[k] == 1]
        return x.reshape([x.shape[k] for k in kept]), "".join(letters[k] for k in kept)

    parts, names = zip(*map(without_ones, (a, b, c)), strict=True)
    left = "".join(letter for k, letter in enumerate(letters) if k not in {axis % a.ndim for axis in summed})
    first = "".join(letter for letter in letters if letter in names[0] + names[1])
    first = "".join(letter for letter in first if letter in left + names[2])
    both = np.einsum(f"{names[0]},{names[1]}->{first}", parts[0], parts[1])
    return np.einsum(f"{first},{names[2]}->{left}", both, parts[2])


@aten("linalg_inv_ex")
def inv(call: Call, a: Any, **_: Any) -> Any:
    """``linalg.inv``."""
    return np.linalg.inv(a), *call.found[1:]


@aten("_linalg_solve_ex")
def solve(call: Call, a: Any, b: Any, *, left: bool = True, **_: Any) -> Any:
    """``linalg.solve``; what else it gives is kept for the backward."""
    if not left:
        found = np.swapaxes(np.linalg.solve(np.swapaxes(a, -1, -2), np.swapaxes(b, -1, -2)), -1, -2)
    elif b.ndim == a.ndim - 1:
        found = np.linalg.solve(a, b[..., np.newaxis])[..., 0]
    else:
        found = np.linalg.solve(a, b)
    return found, None, *call.found[2:]


@aten("linalg_solve_triangular")
def solve_triangular(call: Call, a: Any, b: Any, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Any:
    """``linalg.solve_triangular``."""
    a = np.triu(a, int(unitriangular)) if upper else np.tril(a, -int(unitriangular))
    if unitriangular:
        a = a + np.eye(a.shape[-1])
    return solve(call, a, b, left=left)[0]


@aten("cholesky_solve")
def cholesky_solve(call: Call, b: Any, factor: Any, upper: bool = False) -> Any:
    """``cholesky_solve``."""
    factor = np.swapaxes(np.triu(factor), -1, -2) if upper else np.tril(factor)
    return np.linalg.solve(factor @ np.swapaxes(factor, -1, -2), b)


@aten("linalg_cholesky_ex")
def cholesky(call: Call, a: Any, *args: Any, upper: bool = False, **_: Any) -> Any:
    """``linalg.cholesky``."""
    if args:
        (upper,) = args
    factor = np.linalg.cholesky(np.swapaxes(a, -1, -2) if upper else a)
    return np.swapaxes(factor, -1, -2) if upper else factor, *call.found[1:]


@aten("_linalg_det")
def det(call: Call, a: Any) -> Any:
    """``linalg.det``."""
    return np.linalg.det(a), None, call.found[2]


@aten("_linalg_slogdet")
def slogdet(call: Call, a: Any) -> Any:
    """``linalg.slogdet``."""
    _, log = np.linalg.slogdet(a)
    return call.found[0], log, None, call.found[3]


@aten("linalg_matrix_exp")
def matrix_exp(call: Call, a: Any) -> Any:
    """``linalg.matrix_exp``: scaled to a norm of 1/2 at most, by its series, and squared again."""
    norm = float(np.abs(a._view).sum(axis=-1).max(initial=0.0))
    squarings = max(0, int(np.ceil(np.log2(max(norm, 1e-300)))) + 1)
    scaled = a / 2.0**squarings
    found, power = np.eye(a.shape[-1]) + scaled, scaled
    for k in range(2, _TERMS):
        power = power @ scaled / k
        found = found + power
    for _ in range(squarings):
        found = found @ found
    return found


#: The series of the exponential of a matrix of norm 1/2 is exact to rounding with so many terms.
_TERMS = 16


@aten("linalg_cross")
def cross(call: Call, a: Any, b: Any, *, dim: int = -1) -> Any:
    """``linalg.cross``."""
    a, b = np.moveaxis(a, dim, 0), np.moveaxis(b, dim, 0)
    parts = [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    return np.stack(parts, axis=dim)


@aten("_cdist_forward")
def cdist(call: Call, a: Any, b: Any, p: float, mode: int | None = None) -> Any:
    """``cdist``: the p-norm of each difference."""
    apart = a[..., :, np.newaxis, :] - b[..., np.newaxis, :, :]
    if p == 2.0:
        return np.sqrt(np.sum(np.square(apart), axis=-1))
    if p == 1.0:
        return np.sum(np.abs(apart), axis=-1)
    if not 0.0 < p < np.inf:
        raise Unsupported
    return np.power(np.sum(np.power(np.abs(apart), p), axis=-1), 1.0 / p)


@aten("_euclidean_dist")
def euclidean_dist(call: Call, a: Any, b: Any) -> Any:
    """``cdist`` by a matrix product."""
    return cdist(call, a, b, 2.0)


@aten("_pdist_forward")
def pdist(call: Call, a: Any, p: float = 2.0) -> Any:
    """``pdist``: of all pairs of rows."""
    first, second = np.triu_indices(a.shape[0], 1)
    return cdist(call, a[first][:, np.newaxis], a[second][:, np.newaxis], p).reshape(-1)
