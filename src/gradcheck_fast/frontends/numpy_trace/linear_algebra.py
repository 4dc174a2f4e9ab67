"""Linear algebra of traced arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.numpy_trace.products import numbers_of, trace
from gradcheck_fast.frontends.numpy_trace.reductions import axes_of
from gradcheck_fast.frontends.numpy_trace.registry import implements

if TYPE_CHECKING:
    from gradcheck_fast.frontends.numpy_trace.recording import Recording


@implements(np.linalg.norm)
def norm(recording: Recording, x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """``np.linalg.norm``: of vectors, and the Frobenius norm of matrices."""
    (a,) = numbers_of(recording, x)
    axes = axes_of(a, axis)
    if ord is None or (ord == 2 and len(axes) == 1) or ord == "fro":
        return np.sqrt(np.sum(np.square(a), axis=axes, keepdims=keepdims))
    if len(axes) == 1:
        if ord == 1:
            return np.sum(np.abs(a), axis=axes, keepdims=keepdims)
        if ord in (np.inf, -np.inf):
            return (np.max if ord > 0 else np.min)(np.abs(a), axis=axes, keepdims=keepdims)
        if isinstance(ord, (int, float)) and ord > 0:
            return np.sum(np.abs(a) ** ord, axis=axes, keepdims=keepdims) ** (1.0 / ord)
    elif len(axes) == 2 and ord in (1, -1, np.inf, -np.inf):  # the largest sum of a column, or of a row
        sums = np.sum(np.abs(a), axis=axes[0] if abs(ord) == 1 else axes[1], keepdims=True)
        found = (np.max if ord > 0 else np.min)(sums, axis=axes, keepdims=True)
        return found if keepdims else np.squeeze(found, axis=axes)
    return recording.opaque(np.linalg.norm, (a, ord, axis, keepdims), {})


@implements(getattr(np.linalg, "vector_norm", None))
def vector_norm(recording: Recording, x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """``np.linalg.vector_norm``."""
    (a,) = numbers_of(recording, x)
    if ord == 2:
        return norm(recording, a, None, axis, keepdims)
    if axis is None and not keepdims:
        return norm(recording, np.ravel(a), ord)
    return recording.opaque(np.linalg.vector_norm, (a,), {"axis": axis, "keepdims": keepdims, "ord": ord})


@implements(getattr(np.linalg, "matrix_norm", None))
def matrix_norm(recording: Recording, x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """``np.linalg.matrix_norm``."""
    return norm(recording, x, ord, (-2, -1), keepdims)


@implements(getattr(np.linalg, "trace", None))
def trace_of_last(recording: Recording, x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """``np.linalg.trace``."""
    return trace(recording, x, offset, -2, -1)


@implements(getattr(np.linalg, "diagonal", None))
def diagonal(recording: Recording, x: Any, /, *, offset: int = 0) -> Any:
    """``np.linalg.diagonal``."""
    return np.diagonal(recording.traced(x), offset, -2, -1)


@implements(getattr(np.linalg, "matmul", None))
def matmul(recording: Recording, x1: Any, x2: Any, /) -> Any:
    """``np.linalg.matmul``."""
    return np.matmul(recording.traced(x1), x2)


@implements(getattr(np.linalg, "vecdot", None))
def vecdot(recording: Recording, x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """``np.linalg.vecdot``."""
    return np.sum(recording.traced(x1) * recording.traced(x2), axis=axis)


@implements(getattr(np.linalg, "matrix_transpose", None))
def matrix_transpose(recording: Recording, x: Any, /) -> Any:
    """``np.linalg.matrix_transpose``."""
    return np.swapaxes(recording.traced(x), -1, -2)


for _function in (np.linalg.pinv, np.linalg.eigvalsh, np.linalg.svd):

    def _opaque(recording: Recording, *args: Any, function: Any = _function, **kwargs: Any) -> Any:
        return recording.opaque(function, args, kwargs)

    implements(_function)(_opaque)


def _of_matrix(name: str, function: Any) -> Any:
    def apply(recording: Recording, *arrays: Any) -> Any:
        x = numbers_of(recording, *arrays)
        return recording.step(name, x, function(*(part._view for part in x)))

    return apply


implements(np.linalg.solve)(_of_matrix("solve", np.linalg.solve))
implements(np.linalg.inv)(_of_matrix("inv", np.linalg.inv))
implements(np.linalg.det)(_of_matrix("det", np.linalg.det))


@implements(np.linalg.cholesky)
def cholesky(recording: Recording, a: Any, *, upper: bool = False) -> Any:
    """``np.linalg.cholesky``."""
    lower = _of_matrix("cholesky", np.linalg.cholesky)(recording, a)
    return np.swapaxes(lower, -1, -2) if upper else lower


@implements(np.linalg.slogdet)
def slogdet(recording: Recording, a: Any) -> Any:
    """``np.linalg.slogdet``."""
    (x,) = numbers_of(recording, a)
    found = np.linalg.slogdet(x._view)
    logarithm = recording.step("logdet", [x], found[1])
    return type(found)(found[0], logarithm) if hasattr(found, "_fields") else (found[0], logarithm)


@implements(np.linalg.matrix_power)
def matrix_power(recording: Recording, a: Any, n: int) -> Any:
    """``np.linalg.matrix_power``."""
    (x,) = numbers_of(recording, a)
    if n < 0:
        x, n = np.linalg.inv(x), -n
    if not n:
        return np.broadcast_to(np.eye(x.shape[-1]), x.shape).copy()
    result = x
    for _ in range(n - 1):
        result = result @ x
    return result


@implements(np.linalg.multi_dot)
def multi_dot(recording: Recording, arrays: Any, *, out: Any = None) -> Any:
    """``np.linalg.multi_dot``."""
    first, *rest = numbers_of(recording, *arrays)
    for part in rest:
        first = first @ part
    return recording.into(out, first)
