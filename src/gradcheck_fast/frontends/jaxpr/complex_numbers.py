"""Complex numbers that depend on the parameters: pairs of real arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from gradcheck_fast.frontends.jaxpr.registry import RULES, Equation, Rule

#: A Fourier transform is the product with a matrix of at most this size.
MOST_FREQUENCIES = 4096
_FFT, _IFFT, _RFFT, _IRFFT = range(4)


class ComplexArray(NamedTuple):
    """An array of complex numbers.

    Attributes
    ----------
    real, imag : ndarray or TracedArray
        Of one shape.
    """

    real: Any
    imag: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """That of both parts."""
        return tuple(self.real.shape)

    @classmethod
    def of(cls, x: Any) -> ComplexArray:
        """Returns any array as a complex one."""
        if type(x) is ComplexArray:
            return x
        if x.dtype.kind == "c":
            return cls(np.real(x).copy(), np.imag(x).copy())
        return cls(x, np.zeros(x.shape))


def evaluated(op: Equation, rule: Rule | None, x: Sequence[Any]) -> Any:
    """Evaluates an equation with complex numbers, some of which depend on the parameters.

    Raises
    ------
    Untraceable
        If the primitive is not known for complex numbers.
    """
    own = _OWN.get(op.name)
    if own is not None:
        return own(op, *x)
    if rule is None or rule.parts != "each":
        raise op.recording.untraceable(f"{op.name} of complex numbers")
    sides = []
    for side in ("real", "imag"):
        given = [
            getattr(ComplexArray.of(value), side) if dtype.kind == "c" else value
            for value, dtype in zip(x, op.dtypes, strict=True)
        ]
        found = rule.function(op, *given)
        sides.append(found if isinstance(found, list) else [found])
    return [ComplexArray(*pair) for pair in zip(*sides, strict=True)]


def _product(x: Any, y: Any, times: Callable[[Any, Any], Any] = np.multiply) -> ComplexArray:
    (a, b), (c, d) = ComplexArray.of(x), ComplexArray.of(y)
    return ComplexArray(times(a, c) - times(b, d), times(a, d) + times(b, c))


def _quotient(x: Any, y: Any) -> ComplexArray:
    c, d = ComplexArray.of(y)
    size = np.square(c) + np.square(d)
    real, imag = _product(x, ComplexArray(c, -d))
    return ComplexArray(real / size, imag / size)


def _power(op: Equation, x: Any) -> ComplexArray:
    exponent = int(op.params["y"])
    one = ComplexArray(np.ones(x.shape), np.zeros(x.shape))
    found = reduce(_product, [x] * abs(exponent), one)
    return found if exponent >= 0 else _quotient(one, found)


def _sum(sign: float) -> Callable[..., ComplexArray]:
    def added(op: Equation, x: Any, y: Any) -> ComplexArray:
        (a, b), (c, d) = ComplexArray.of(x), ComplexArray.of(y)
        return ComplexArray(a + sign * c, b + sign * d)

    return added


def _exp(op: Equation, x: Any) -> ComplexArray:
    size = np.exp(x.real)
    return ComplexArray(size * np.cos(x.imag), size * np.sin(x.imag))


def _converted(op: Equation, x: Any) -> Any:
    if op.dtype.kind != "c":
        return x.real
    found = ComplexArray.of(x)
    return ComplexArray(op.recording.as_numbers(op.recording.traced(found.real)), found.imag)


def _dot_general(op: Equation, x: Any, y: Any) -> ComplexArray:
    return _product(x, y, lambda a, b: RULES["dot_general"].function(op, a, b))


def _waves(size: int, count: int) -> tuple[Any, Any]:
    """Returns cos and sin of 2 pi j k / size for j < size and k < count, with the angles taken to one turn."""
    angles = 2.0 * np.pi / size * (np.outer(np.arange(size), np.arange(count)) % size)
    return np.cos(angles), np.sin(angles)


def _along(x: ComplexArray, axis: int, size: int, sign: float) -> ComplexArray:
    """Returns sum over j of x[j] e^(sign 2 pi i j k / size) along an axis."""
    cos, sin = _waves(size, size)
    real, imag = (np.swapaxes(part, axis, -1) for part in x)
    found = real @ cos - sign * (imag @ sin), sign * (real @ sin) + imag @ cos
    return ComplexArray(*(np.swapaxes(part, axis, -1) for part in found))


def _fft(op: Equation, x: Any) -> Any:
    """The discrete Fourier transforms over the last axes, with the meaning of NumPy's."""
    kind, lengths = int(op.params["fft_type"]), tuple(op.params["fft_lengths"])
    if max(lengths) > MOST_FREQUENCIES:
        raise op.recording.untraceable(f"a Fourier transform of more than {MOST_FREQUENCIES:,} numbers")
    first = len(x.shape) - len(lengths)
    if kind == _RFFT:
        cos, sin = _waves(lengths[-1], lengths[-1] // 2 + 1)
        found = ComplexArray(x @ cos, -(x @ sin))
        lengths = lengths[:-1]
    else:
        found = ComplexArray.of(x)
    backwards = kind in (_IFFT, _IRFFT)
    others = lengths[:-1] if kind == _IRFFT else lengths
    for axis, size in enumerate(others):
        found = _along(found, first + axis, size, 1.0 if backwards else -1.0)
    if kind == _IRFFT:
        return _real_inverse(found, lengths[-1]) / float(np.prod(others))
    scale = 1.0 / float(np.prod(lengths)) if backwards else 1.0
    return ComplexArray(found.real * scale, found.imag * scale) if backwards else found


def _real_inverse(x: ComplexArray, size: int) -> Any:
    """The inverse transform along the last axis, of numbers whose other half is their conjugate."""
    count = size // 2 + 1
    cos, sin = _waves(size, count)
    weights = np.full(count, 2.0 / size)
    weights[0] = 1.0 / size
    if size % 2 == 0:
        weights[-1] = 1.0 / size
    return x.real @ (cos * weights).T - x.imag @ (sin * weights).T


#: What primitives do whose real and imaginary parts mix, or that make complex numbers, or real ones of them.
_OWN: dict[str, Callable[..., Any]] = {
    "complex": lambda op, x, y: ComplexArray(x, y),
    "real": lambda op, x: x.real,
    "imag": lambda op, x: x.imag,
    "conj": lambda op, x: ComplexArray(ComplexArray.of(x).real, -ComplexArray.of(x).imag),
    "neg": lambda op, x: ComplexArray(-x.real, -x.imag),
    "abs": lambda op, x: np.hypot(x.real, x.imag),
    "add": _sum(1.0),
    "add_any": _sum(1.0),
    "sub": _sum(-1.0),
    "mul": lambda op, x, y: _product(x, y),
    "div": lambda op, x, y: _quotient(x, y),
    "square": lambda op, x: _product(x, x),
    "integer_pow": _power,
    "exp": _exp,
    "convert_element_type": _converted,
    "dot_general": _dot_general,
    "fft": _fft,
}
#: The primitives that are known for complex numbers besides those that do the same with both parts.
NAMES = frozenset(_OWN)
