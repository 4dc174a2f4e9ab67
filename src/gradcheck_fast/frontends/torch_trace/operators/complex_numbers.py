"""Operators of complex tensors, whose values are pairs of real arrays, and discrete Fourier transforms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradcheck_fast.frontends.operators import complex_numbers as numbers
from gradcheck_fast.frontends.operators.complex_numbers import ComplexArray
from gradcheck_fast.frontends.operators.elementary import as_float, is_traced
from gradcheck_fast.frontends.torch_trace.operators.products import inv, solve
from gradcheck_fast.frontends.torch_trace.operators.reductions import axes_of, norm, var
from gradcheck_fast.frontends.torch_trace.operators.registry import RULES, Call, Rule, Unsupported

#: The rules of operators of which an argument or a result is complex, by their names.
COMPLEX: dict[str, Rule] = {}
#: Operators that do the same with the real and with the imaginary parts.
EACH = frozenset(
    ("cat", "clone", "constant_pad_nd", "copy", "cumsum", "diag_embed", "fill", "flip", "gather", "index",
     "index_add", "index_copy", "index_fill", "index_put", "index_select", "masked_fill", "masked_scatter",
     "masked_select", "mean", "reflection_pad1d", "reflection_pad2d", "repeat", "replication_pad1d",
     "replication_pad2d", "roll", "rot90", "scatter", "scatter_add", "select_backward",
     "slice_backward", "stack", "sum", "take", "trace", "tril", "triu", "unfold_backward",
     "where", "zero")
)  # fmt: skip
#: At which places these of them take numbers that are values: a real one has the imaginary part 0.
_VALUES = {
    "constant_pad_nd": (2,), "fill": (1,), "index_fill": (3,), "masked_fill": (2,), "scatter": (3,), "where": (1, 2),
}  # fmt: skip
#: How a Fourier transform of a number of entries is scaled: not at all, by its root, or by itself.
_SCALES = (lambda n: 1.0, lambda n: 1.0 / math.sqrt(n), lambda n: 1.0 / n)


def has_complex(tree: Any) -> bool:
    """Whether there are complex numbers among arguments or results, as pairs or as plain ones."""
    if type(tree) is ComplexArray or isinstance(tree, complex) or _kind(tree) == "c":
        return True
    if isinstance(tree, dict):
        return any(map(has_complex, tree.values()))
    return isinstance(tree, (tuple, list)) and any(map(has_complex, tree))


def rule_of(name: str) -> Rule | None:
    """Returns the rule of an operator with complex arguments or results; None if there is none."""
    found = COMPLEX.get(name)
    return _each(name) if found is None and name in EACH else found


def _each(name: str) -> Rule:
    """Returns the rule of an operator that does the same with the real and with the imaginary parts."""

    def rule(call: Call, *args: Any, **kwargs: Any) -> ComplexArray:
        places = _VALUES.get(name, ())

        def part(value: Any, side: str, is_value: bool = True) -> Any:
            if type(value) is ComplexArray or (isinstance(value, np.ndarray) and _kind(value) == "c"):
                return getattr(ComplexArray.of(value), side)
            if isinstance(value, (list, tuple)):
                return [part(each, side, False) for each in value]
            if isinstance(value, (bool, int, float, complex)):
                return getattr(value, side) if is_value else value
            is_real = is_traced(value) or isinstance(value, np.ndarray)
            return np.zeros(value.shape) if is_real and _kind(value) == "f" and side == "imag" else value

        sides = []
        for side in ("real", "imag"):
            given = [part(value, side, k in places) for k, value in enumerate(args)]
            sides.append(RULES[name](call, *given, **kwargs))
        return ComplexArray(*sides)

    return rule


def of_complex(*names: str) -> Callable[[Rule], Rule]:
    """Registers the rule of operators of complex numbers."""

    def register(rule: Rule) -> Rule:
        COMPLEX.update(dict.fromkeys(names, rule))
        return rule

    return register


def _simple(function: Callable[..., Any], *names: str) -> None:
    def rule(call: Call, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    of_complex(*names)(rule)


def _is_real(x: Any) -> bool:
    return type(x) is not ComplexArray and not isinstance(x, complex) and _kind(x) != "c"


def _kind(x: Any) -> str:
    """Returns the kind of the numbers of an array; "" for anything else."""
    return getattr(getattr(x, "dtype", None), "kind", "")


def _pair(x: Any) -> ComplexArray:
    """Returns anything as a pair."""
    if type(x) is ComplexArray:
        return x
    return ComplexArray.of(as_float(x) if _is_real(x) else np.asarray(x))


def _product(x: Any, y: Any, times: Callable[[Any, Any], Any] = np.multiply) -> ComplexArray:
    """Returns a product, of which one factor may be real."""
    if _is_real(x):
        x = as_float(x)
        return _pair(y).each(lambda part: times(x, part))
    if _is_real(y):
        y = as_float(y)
        return _pair(x).each(lambda part: times(part, y))
    return numbers.product(_pair(x), _pair(y), times)


def _plus(x: Any, y: Any, factor: Any = 1) -> ComplexArray:
    return numbers.add(_pair(x), _pair(y) if factor == 1 else _product(factor, y))


def _quotient(x: Any, y: Any) -> ComplexArray:
    if _is_real(y):
        y = as_float(y)
        return _pair(x).each(lambda part: part / y)
    return numbers.quotient(_pair(x), _pair(y))


_simple(lambda x, y, *, alpha=1: _plus(x, y, alpha), "add")
_simple(lambda x, y, *, alpha=1: _plus(x, y, -alpha), "sub")
_simple(lambda x, y, alpha=1: _plus(y, x, -alpha), "rsub")
_simple(_product, "mul")
_simple(_quotient, "div")
_simple(lambda x, a, b, *, value=1: _plus(x, _product(a, b), value), "addcmul")
_simple(lambda x, a, b, *, value=1: _plus(x, _quotient(a, b), value), "addcdiv")
_simple(lambda x, y, weight: _plus(x, _product(weight, numbers.subtract(_pair(y), _pair(x)))), "lerp")
_simple(lambda x: _quotient(1.0, x), "reciprocal")
_simple(lambda x: numbers.negative(_pair(x)), "neg")
_simple(numbers.conjugate, "conj_physical")
_simple(numbers.absolute, "abs")
_simple(numbers.angle, "angle")
_simple(numbers.exp, "exp")
for _name in ("log", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "expm1", "log1p"):
    _simple(getattr(numbers, _name), _name)
_simple(lambda x: numbers.log(x).each(lambda part: part / math.log(2.0)), "log2")
_simple(lambda x: numbers.log(x).each(lambda part: part / math.log(10.0)), "log10")
_simple(lambda x: _quotient(1.0, numbers.sqrt(x)), "rsqrt")
_simple(lambda x: _quotient(1.0, _plus(numbers.exp(numbers.negative(x)), 1.0)), "sigmoid")
_simple(lambda x, y: ComplexArray(*np.broadcast_arrays(x, y)), "complex")
_simple(numbers.polar, "polar")
_simple(lambda x, y: _product(x, y, np.matmul), "mm", "bmm", "mv", "dot")
_simple(lambda x, y: _product(numbers.conjugate(_pair(x)), y, np.matmul), "vdot")


@of_complex("sgn")
def sgn(call: Call, x: Any) -> ComplexArray:
    """``sgn``: x / abs(x), where x is not 0."""
    size = numbers.absolute(x)
    size = np.where(size > 0.0, size, 1.0)
    return _pair(x).each(lambda part: part / size)


@of_complex("pow")
def power(call: Call, x: Any, y: Any) -> ComplexArray:
    """``pow`` with an integer as exponent, or of a real positive number."""
    if isinstance(y, (int, float)) and float(y).is_integer() and abs(y) <= _MOST_FACTORS:
        return numbers.integer_power(_pair(x), int(y))
    if not _is_real(x) and _is_real(y):
        size, turn = numbers.absolute(x), numbers.angle(x)
        return numbers.polar(np.power(size, y), as_float(y) * turn)
    if isinstance(x, (int, float)) and x > 0:
        return numbers.exp(_product(math.log(x), y))
    raise Unsupported


#: A power with a larger exponent is not written as a product.
_MOST_FACTORS = 16


@of_complex("addmm", "addmv", "baddbmm")
def addmm(call: Call, x: Any, a: Any, b: Any, *, beta: Any = 1, alpha: Any = 1) -> ComplexArray:
    """``addmm``: beta x + alpha a b, also of stacks and of vectors."""
    found = _product(a, b, np.matmul)
    found = found if alpha == 1 else _product(alpha, found)
    return found if beta == 0 else _plus(found, x, beta)


@of_complex("_to_copy")
def to_copy(call: Call, x: Any, **_: Any) -> Any:
    """``_to_copy``: to real numbers, it leaves out the imaginary part."""
    x = _pair(x)
    return x.each(np.copy) if call.found[0].dtype.kind == "c" else x.real.copy()


@of_complex("prod")
def product(call: Call, x: Any, axis: int | None = None, keepdim: bool = False, **_: Any) -> ComplexArray:
    """``prod``, along one axis or of all."""
    if axis is None:
        x, axis = _pair(x).each(np.ravel), 0
    real, imag = (np.moveaxis(part, axis, 0)[:, np.newaxis] for part in _pair(x))
    found = ComplexArray(real[0], imag[0])
    for k in range(1, x.shape[axis]):
        found = numbers.product(found, ComplexArray(real[k], imag[k]))
    found = found.each(lambda part: np.moveaxis(part, 0, axis))
    return found if keepdim else found.each(lambda part: np.squeeze(part, axis))


@of_complex("linalg_vector_norm")
def vector_norm(call: Call, x: Any, order: Any = 2, axis: Any = None, keepdim: bool = False, **_: Any) -> Any:
    """``linalg.vector_norm``: that of the sizes."""
    if order is None or float(order) == 2.0:
        squares = np.square(x.real) + np.square(x.imag)
        return np.sqrt(np.sum(squares, axis=axes_of(axis), keepdims=keepdim))
    return norm(call, numbers.absolute(x), order, axis, keepdim)


@of_complex("var")
def variance(call: Call, x: Any, *args: Any, **settings: Any) -> Any:
    """``var``: the sum of those of both parts."""
    return var(call, x.real, *args, **settings) + var(call, x.imag, *args, **settings)


@of_complex("std")
def deviation(call: Call, x: Any, *args: Any, **settings: Any) -> Any:
    """``std``."""
    return np.sqrt(variance(call, x, *args, **settings))


@of_complex("eq", "ne")
def equal(call: Call, x: Any, y: Any) -> Any:
    """``eq`` and ``ne``, which PyTorch's own result tells apart."""
    same = numbers.subtract(_pair(x), _pair(y))
    found = (same.real == 0.0) & (same.imag == 0.0)
    return found if np.array_equal(found._view if is_traced(found) else found, call.found[0]) else np.logical_not(found)


# ---- linear equations: those of (A + i B)(x + i y) = c + i d are real ones of twice the size


def _doubled(a: ComplexArray) -> Any:
    """Returns [[A, -B], [B, A]]."""
    above, below = np.concatenate([a.real, -a.imag], axis=-1), np.concatenate([a.imag, a.real], axis=-1)
    return np.concatenate([above, below], axis=-2)


def _halves(found: Any) -> ComplexArray:
    size = found.shape[-2] // 2
    return ComplexArray(found[..., :size, :], found[..., size:, :])


@of_complex("linalg_inv_ex")
def inverse(call: Call, a: Any, **_: Any) -> Any:
    """``linalg.inv``."""
    found = inv(call, _doubled(_pair(a)))[0]
    return _halves(found[..., : found.shape[-1] // 2]), *call.found[1:]


@of_complex("_linalg_solve_ex")
def solved(call: Call, a: Any, b: Any, *, left: bool = True, **_: Any) -> Any:
    """``linalg.solve``."""
    a, b = _pair(a), _pair(b)
    if not left:
        raise Unsupported
    if b.ndim == a.ndim - 1:
        b = b.each(lambda part: part[..., np.newaxis])
        (real, imag), *rest = solved(call, a, b)
        return ComplexArray(real[..., 0], imag[..., 0]), *rest
    found = solve(call, _doubled(a), np.concatenate([b.real, b.imag], axis=-2))[0]
    return _halves(found), None, *call.found[2:]


# ---- Fourier transforms


def _scaled(found: Any, sizes: Sequence[int], normalisation: int) -> Any:
    scale = _SCALES[normalisation](math.prod(sizes))
    if scale == 1.0:
        return found
    return found.each(lambda part: part * scale) if type(found) is ComplexArray else found * scale


@of_complex("_fft_c2c")
def complex_to_complex(call: Call, x: Any, axes: Sequence[int], normalisation: int, forward: bool) -> Any:
    """``fft`` and ``ifft`` along some axes."""
    sizes = [x.shape[axis] for axis in axes]
    return _scaled(numbers.fourier(_pair(x), axes, -1.0 if forward else 1.0), sizes, normalisation)


@of_complex("_fft_r2c")
def real_to_complex(call: Call, x: Any, axes: Sequence[int], normalisation: int, onesided: bool) -> Any:
    """``rfft``: of the last of the axes only the first half is kept, if that is asked for."""
    sizes = [x.shape[axis] for axis in axes]
    if onesided:
        found = numbers.fourier(numbers.fourier_of_real(x, axes[-1]), axes[:-1], -1.0)
    else:
        found = numbers.fourier(x, axes, -1.0)
    return _scaled(found, sizes, normalisation)


@of_complex("_fft_c2r")
def complex_to_real(call: Call, x: Any, axes: Sequence[int], normalisation: int, size: int) -> Any:
    """``irfft``, which takes the imaginary part of the first and of the middle frequency for 0."""
    found = numbers.fourier(_pair(x), axes[:-1], 1.0)
    sizes = [*(x.shape[axis] for axis in axes[:-1]), size]
    return _scaled(numbers.fourier_to_real(found, axes[-1], size), sizes, normalisation)
