"""Linear algebra: by the steps that there are for it, or by elimination."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_fast.frontends.jaxpr.movement import writable
from gradcheck_fast.frontends.jaxpr.registry import Equation, rule
from gradcheck_fast.frontends.operators.elementary import is_traced


@rule("cholesky")
def _cholesky(op: Equation, x: Any) -> Any:
    if not is_traced(x) or op.params.get("symmetrize_input"):
        return op.machine.bound(op.equation, [x])
    return np.linalg.cholesky(x)


@rule("triangular_solve")
def _triangular_solve(op: Equation, a: Any, b: Any) -> Any:
    params, size = op.params, a.shape[-1]
    a = np.where(np.tri(size, dtype=bool) if params["lower"] else np.tri(size, dtype=bool).T, a, 0.0)
    if params["unit_diagonal"]:
        a = np.where(np.eye(size, dtype=bool), 1.0, a)
    if params["transpose_a"]:
        a = np.swapaxes(a, -1, -2)
    if params["left_side"]:
        return np.linalg.solve(a, b)
    return np.swapaxes(np.linalg.solve(np.swapaxes(a, -1, -2), np.swapaxes(b, -1, -2)), -1, -2)


@rule("lu")
def _lu(op: Equation, x: Any) -> Any:
    """Eliminates column by column, in the order of rows that JAX chooses at the parameters."""
    _, pivots, order = op.machine.bound(op.equation, [x._view])
    rows, columns = x.shape[-2:]
    found = writable(op, np.take_along_axis(x, order[..., np.newaxis].astype(np.int64), axis=-2))
    for k in range(min(rows - 1, columns)):
        factors = found[..., k + 1 :, k] / found[..., k, k][..., np.newaxis]
        found[..., k + 1 :, k] = factors
        rest = found[..., k + 1 :, k + 1 :]
        found[..., k + 1 :, k + 1 :] = rest - factors[..., np.newaxis] * found[..., k, k + 1 :][..., np.newaxis, :]
    return [found, pivots, order]
