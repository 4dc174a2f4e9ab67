"""What NumPy's ufuncs and functions do with complex numbers that depend on the parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.numpy_trace.array import TracedArray
from gradcheck_fast.frontends.numpy_trace.complex_array import TracedComplex, has_complex, is_complex, parts_of
from gradcheck_fast.frontends.operators import complex_numbers as numbers
from gradcheck_fast.frontends.operators.complex_numbers import ComplexArray

if TYPE_CHECKING:
    from gradcheck_fast.frontends.numpy_trace.recording import Recording

#: What ufuncs do with pairs, by their names.
UFUNCS: Mapping[str, Callable[..., Any]] = {
    "add": numbers.add,
    "subtract": numbers.subtract,
    "divide": numbers.quotient,
    "negative": numbers.negative,
    "positive": lambda x: x.each(np.positive),
    "conjugate": lambda x: numbers.conjugate(x.each(np.copy)),
    "absolute": numbers.absolute,
    "square": lambda x: numbers.product(x, x),
    "reciprocal": lambda x: numbers.quotient(ComplexArray(np.ones(x.shape), np.zeros(x.shape)), x),
    "exp": numbers.exp,
    "log": numbers.log,
    "sqrt": numbers.sqrt,
    "sin": numbers.sin,
    "cos": numbers.cos,
    "tan": numbers.tan,
    "sinh": numbers.sinh,
    "cosh": numbers.cosh,
    "tanh": numbers.tanh,
}
#: Ufuncs and functions that are linear in each of their arrays.
_LINEAR_UFUNCS = ("multiply", "matmul", "matvec")
_MULTILINEAR = (np.dot, np.inner, np.outer, np.tensordot, np.kron, np.convolve)
#: Functions that do the same with the real and with the imaginary parts of their first argument, which may be a list.
_EACH = (
    np.sum, np.mean, np.cumsum, np.reshape, np.ravel, np.transpose, np.swapaxes, np.moveaxis, np.squeeze,
    np.expand_dims, np.concatenate, np.stack, np.vstack, np.hstack, np.column_stack, np.roll, np.flip, np.take,
    np.repeat, np.tile, np.trace, np.diagonal, np.diag, np.broadcast_to, np.copy, np.tril, np.triu, np.pad,
    np.atleast_1d, np.atleast_2d, np.fft.fftshift, np.fft.ifftshift,
)  # fmt: skip


def ufunc(recording: Recording, function: Any, method: str, inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Does what a ufunc does with inputs of which some are complex."""
    name = {"true_divide": "divide"}.get(function.__name__, function.__name__)
    if method == "reduce" and name == "add":
        return call(recording, np.sum, inputs, {"axis": 0, **kwargs})
    if method == "outer" and name == "multiply":
        return call(recording, np.multiply.outer, inputs, kwargs)
    if method != "__call__" or any(value is not None for value in kwargs.values()):
        raise recording.untraceable(f"{name} of complex numbers, with options")
    if name in ("isnan", "isfinite", "isinf"):
        return function(*(x.plain() if type(x) is TracedComplex else x for x in inputs))
    if name in _LINEAR_UFUNCS:
        return _made(recording, _multilinear(recording, function, list(inputs)))
    pairs = [parts_of(recording, x) for x in inputs]
    if name == "divide" and not is_complex(inputs[1]):
        return _made(recording, pairs[0].each(lambda part: part / inputs[1]))
    if name == "power":
        return _made(recording, _power(recording, inputs[1], *pairs))
    if name not in UFUNCS:
        raise recording.untraceable(f"{name} of complex numbers")
    return _made(recording, UFUNCS[name](*pairs))


def call(recording: Recording, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Does what a function of NumPy's does with arguments of which some are complex, or that makes complex numbers."""
    if function in FUNCTIONS:
        return FUNCTIONS[function](recording, *args, **kwargs)
    if function in _MULTILINEAR or function is np.einsum:
        return _made(recording, _multilinear(recording, lambda *x: function(*x, **kwargs), list(args)))
    if function in _EACH:
        first, *rest = args
        values = [parts_of(recording, x) for x in first] if isinstance(first, (list, tuple)) else None
        if values is None:
            return _made(recording, parts_of(recording, first).each(lambda part: function(part, *rest, **kwargs)))
        sides = ([getattr(x, side) for x in values] for side in ComplexArray._fields)
        return _made(recording, ComplexArray(*(function(side, *rest, **kwargs) for side in sides)))
    raise recording.untraceable(f"{getattr(function, '__name__', function)} of complex numbers")


def takes(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call of a function has or makes complex numbers."""
    return has_complex(args) or function in _FOURIER or (bool(kwargs) and has_complex(list(kwargs.values())))


def _made(recording: Recording, found: Any) -> Any:
    return TracedComplex(recording, found) if type(found) is ComplexArray else found


def _power(recording: Recording, exponent: Any, x: ComplexArray, y: ComplexArray) -> ComplexArray:
    number = np.asarray(exponent) if not isinstance(exponent, (TracedArray, TracedComplex)) else None
    if number is not None and not number.ndim and number.dtype.kind in "iuf" and float(number).is_integer():
        return numbers.integer_power(x, int(number))
    return numbers.exp(numbers.product(y, numbers.log(x)))


def _multilinear(recording: Recording, function: Callable[..., Any], args: list[Any]) -> Any:
    """Returns what a function that is linear in each array gives, by its values for real arrays."""
    place = next((k for k, x in enumerate(args) if is_complex(x)), None)
    if place is None:
        return function(*args)
    pair = parts_of(recording, args[place])
    real, imag = (
        _multilinear(recording, function, [*args[:place], part, *args[place + 1 :]]) for part in pair
    )  # fmt: skip
    if type(real) is not ComplexArray:
        return ComplexArray(real, imag)
    return ComplexArray(real.real - imag.imag, real.imag + imag.real)


def _real(recording: Recording, val: Any) -> Any:
    return parts_of(recording, val).real


def _imag(recording: Recording, val: Any) -> Any:
    return parts_of(recording, val).imag


def _angle(recording: Recording, z: Any, deg: bool = False) -> Any:
    return numbers.angle(parts_of(recording, z)) * (180.0 / np.pi if deg else 1.0)


def _vdot(recording: Recording, a: Any, b: Any) -> Any:
    first = np.conjugate(np.ravel(TracedComplex(recording, parts_of(recording, a))))
    return np.dot(first, np.ravel(TracedComplex(recording, parts_of(recording, b))))


def _norm(recording: Recording, x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    a = parts_of(recording, x)
    if ord not in (None, "fro") and not (ord == 2 and (isinstance(axis, int) or len(a.shape) == 1)):
        raise recording.untraceable(f"np.linalg.norm of complex numbers with ord={ord!r}")
    return np.sqrt(np.sum(np.square(a.real) + np.square(a.imag), axis=axis, keepdims=keepdims))


def _where(recording: Recording, condition: Any, x: Any, y: Any) -> Any:
    (a, b), (c, d) = parts_of(recording, x), parts_of(recording, y)
    return TracedComplex(recording, ComplexArray(np.where(condition, a, c), np.where(condition, b, d)))


def _solve(recording: Recording, a: Any, b: Any) -> Any:
    """Solves (A + iB)(x + iy) = c + id as [[A, -B], [B, A]] [x, y] = [c, d]."""
    (A, B), (c, d) = parts_of(recording, a), parts_of(recording, b)
    axis = -1 if c.ndim == 1 else -2
    found = np.linalg.solve(
        np.concatenate([np.concatenate([A, -B], -1), np.concatenate([B, A], -1)], -2), np.concatenate([c, d], axis)
    )
    real, imag = np.split(found, 2, axis)
    return TracedComplex(recording, ComplexArray(real, imag))


def _inv(recording: Recording, a: Any) -> Any:
    shape = parts_of(recording, a).shape
    return _solve(recording, a, np.broadcast_to(np.eye(shape[-1]), shape).copy())


#: The axes that are transformed by default: the last, the last two, or all.
_DEFAULT_AXES = {"": (-1,), "2": (-2, -1), "n": None}


def _fourier(kind: str, sign: float, many: str) -> Callable[..., Any]:
    """Makes the function of a recording that does what one of NumPy's Fourier transforms does.

    Parameters
    ----------
    kind : {"", "r", "ir"}
        Of complex numbers, of real ones, or to real ones.
    sign : float
        That of the exponent.
    many : {"", "2", "n"}
        How many axes are transformed.
    """

    def transform(
        recording: Recording, a: Any, s: Any = None, axis: Any = None, norm: str | None = None, axes: Any = None,
        n: Any = None, out: Any = None,
    ) -> Any:  # fmt: skip
        x = parts_of(recording, a)
        axis = axes if axes is not None else axis if axis is not None else _DEFAULT_AXES[many]
        where = [axis] if isinstance(axis, int) else list(range(len(x.shape))) if axis is None else list(axis)
        given = n if n is not None else s
        lengths = [given] if isinstance(given, int) else given
        if out is not None or (lengths is not None and len(lengths) != len(where)):
            raise recording.untraceable("a Fourier transform with these options")
        sizes = [x.shape[k] for k in where] if lengths is None else list(lengths)
        if kind == "ir" and lengths is None:
            sizes[-1] = 2 * (x.shape[where[-1]] - 1)
        for k, size in zip(where, sizes, strict=True):
            x = x if kind == "ir" and k == where[-1] else x.each(partial(_resized, axis=k, size=size))
        scale = _scale(recording, norm, sign, int(np.prod(sizes)))
        if kind == "r":
            found = numbers.fourier(numbers.fourier_of_real(x.real, where[-1]), where[:-1], -1.0)
        elif kind == "ir":
            return numbers.fourier_to_real(numbers.fourier(x, where[:-1], 1.0), where[-1], sizes[-1]) * scale
        else:
            found = numbers.fourier(x, where, sign)
        return TracedComplex(recording, found if scale == 1.0 else found.each(lambda part: part * scale))

    return transform


def _scale(recording: Recording, norm: str | None, sign: float, size: int) -> float:
    if norm not in (None, "backward", "forward", "ortho"):
        raise recording.untraceable(f"a Fourier transform with norm={norm!r}")
    if norm == "ortho":
        return float(size**-0.5)
    return 1.0 / size if (sign > 0.0) != (norm == "forward") else 1.0


def _resized(part: Any, axis: int, size: int) -> Any:
    """Returns the first entries along an axis, or zeros after them if there are not so many."""
    axis %= part.ndim
    if part.shape[axis] >= size:
        return part[(slice(None),) * axis + (slice(size),)] if part.shape[axis] > size else part
    return np.pad(part, [(0, size - part.shape[axis]) if k == axis else (0, 0) for k in range(part.ndim)])


_FOURIER: dict[Any, Callable[..., Any]] = {
    getattr(np.fft, f"{inverse}{real}fft{many}"): _fourier(f"{inverse}{real}" if real else "", sign, many)
    for inverse, sign in (("", -1.0), ("i", 1.0)) for real in ("", "r") for many in ("", "2", "n")
}  # fmt: skip


def _array(recording: Recording, value: Any, *args: Any, **kwargs: Any) -> Any:
    """Makes an array of complex numbers, which may be in nested lists."""
    if isinstance(value, (list, tuple)):
        return np.stack([_array(recording, part) for part in value])
    return TracedComplex(recording, parts_of(recording, value)).copy()


def _like(make: Callable[..., Any]) -> Callable[..., Any]:
    """Makes the function of a recording that does what ``zeros_like`` or the like does."""
    return lambda recording, a, dtype=None, **kwargs: make(a.shape, complex if dtype is None else dtype)


#: What functions do, by the function.
FUNCTIONS: Mapping[Any, Callable[..., Any]] = MappingProxyType(
    {
        **_FOURIER,
        np.real: _real,
        np.imag: _imag,
        np.angle: _angle,
        np.vdot: _vdot,
        np.linalg.norm: _norm,
        np.where: _where,
        np.linalg.solve: _solve,
        np.linalg.inv: _inv,
        np.iscomplexobj: lambda recording, x: True,
        np.array: _array,
        np.asarray: _array,
        np.zeros_like: _like(np.zeros),
        np.empty_like: _like(np.zeros),
        np.ones_like: _like(np.ones),
        np.shape: lambda recording, a: a.shape,
        np.ndim: lambda recording, a: a.ndim,
        np.size: lambda recording, a: a.size,
    }
)
