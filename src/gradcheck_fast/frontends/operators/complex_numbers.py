"""Complex numbers that depend on the parameters, as pairs of real arrays, and discrete Fourier transforms of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from gradcheck_fast.frontends.operators.elementary import primitive, values_of

#: A Fourier transform of at most so many numbers is the product with a matrix; a longer one is a step of its own.
LARGEST_MATRIX = 256


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

    @property
    def ndim(self) -> int:
        """How many axes both parts have."""
        return len(self.shape)

    @classmethod
    def of(cls, x: Any) -> ComplexArray:
        """Returns any array as a complex one."""
        if type(x) is ComplexArray:
            return x
        if x.dtype.kind == "c":
            return cls(np.real(x).copy(), np.imag(x).copy())
        return cls(x, np.zeros(x.shape))

    def plain(self) -> Any:
        """Returns the values as one plain array."""
        found = np.empty(self.shape, np.complex128)
        found.real, found.imag = values_of(self.real), values_of(self.imag)
        return found

    def each(self, function: Callable[[Any], Any]) -> ComplexArray:
        """Applies a real-linear function of arrays, such as a reshape, to both parts."""
        return ComplexArray(function(self.real), function(self.imag))


def add(x: Any, y: Any, sign: float = 1.0) -> ComplexArray:
    """Returns x + sign y."""
    (a, b), (c, d) = ComplexArray.of(x), ComplexArray.of(y)
    return ComplexArray(a + sign * c, b + sign * d)


def subtract(x: Any, y: Any) -> ComplexArray:
    """Returns x - y."""
    return add(x, y, -1.0)


def negative(x: Any) -> ComplexArray:
    """Returns -x."""
    return ComplexArray.of(x).each(np.negative)


def conjugate(x: Any) -> ComplexArray:
    """Returns the complex conjugate."""
    real, imag = ComplexArray.of(x)
    return ComplexArray(real, -imag)


def absolute(x: Any) -> Any:
    """Returns |x|, an array of real numbers."""
    return np.hypot(*ComplexArray.of(x))


def angle(x: Any) -> Any:
    """Returns the angles of complex numbers to the real axis, in radians."""
    real, imag = ComplexArray.of(x)
    return np.arctan2(imag, real)


def polar(size: Any, turn: Any) -> ComplexArray:
    """Returns size e^(i turn)."""
    return ComplexArray(size * np.cos(turn), size * np.sin(turn))


def exp(x: Any) -> ComplexArray:
    """Returns e^x."""
    real, imag = ComplexArray.of(x)
    return polar(np.exp(real), imag)


def sin(x: Any) -> ComplexArray:
    """Returns sin x."""
    real, imag = ComplexArray.of(x)
    return ComplexArray(np.sin(real) * np.cosh(imag), np.cos(real) * np.sinh(imag))


def cos(x: Any) -> ComplexArray:
    """Returns cos x."""
    real, imag = ComplexArray.of(x)
    return ComplexArray(np.cos(real) * np.cosh(imag), -(np.sin(real) * np.sinh(imag)))


def sinh(x: Any) -> ComplexArray:
    """Returns sinh x = -i sin(i x)."""
    real, imag = ComplexArray.of(x)
    return ComplexArray(np.sinh(real) * np.cos(imag), np.cosh(real) * np.sin(imag))


def cosh(x: Any) -> ComplexArray:
    """Returns cosh x = cos(i x)."""
    real, imag = ComplexArray.of(x)
    return ComplexArray(np.cosh(real) * np.cos(imag), np.sinh(real) * np.sin(imag))


def tanh(x: Any) -> ComplexArray:
    """Returns tanh x = (tanh a sec^2 b + i tan b sech^2 a) / (1 + tanh^2 a tan^2 b), without overflow."""
    real, imag = ComplexArray.of(x)
    size, sine, cosine = np.tanh(real), np.sin(imag), np.cos(imag)
    below = np.square(cosine) + np.square(size * sine)
    return ComplexArray(size / below, sine * cosine * (1.0 - np.square(size)) / below)


def tan(x: Any) -> ComplexArray:
    """Returns tan x = -i tanh(i x)."""
    real, imag = ComplexArray.of(x)
    found = tanh(ComplexArray(-imag, real))
    return ComplexArray(found.imag, -found.real)


def expm1(x: Any) -> ComplexArray:
    """Returns e^x - 1 = (expm1(a) cos b - 2 sin^2(b/2)) + i e^a sin b."""
    real, imag = ComplexArray.of(x)
    return ComplexArray(
        np.expm1(real) * np.cos(imag) - 2.0 * np.square(np.sin(0.5 * imag)), np.exp(real) * np.sin(imag)
    )


def log1p(x: Any) -> ComplexArray:
    """Returns the principal value of log(1 + x); the real part is half of the logarithm of 1 + (2 a + a^2 + b^2)."""
    real, imag = ComplexArray.of(x)
    return ComplexArray(0.5 * np.log1p(real * (2.0 + real) + np.square(imag)), np.arctan2(imag, 1.0 + real))


def log(x: Any) -> ComplexArray:
    """Returns the principal value of log x."""
    return ComplexArray(np.log(absolute(x)), angle(x))


def sqrt(x: Any) -> ComplexArray:
    """Returns the square root whose real part is not negative."""
    return polar(np.sqrt(absolute(x)), 0.5 * angle(x))


def product(x: Any, y: Any, times: Callable[[Any, Any], Any] = np.multiply) -> ComplexArray:
    """Returns a product of complex numbers, where `times` gives that of real ones: elementwise, or of matrices."""
    (a, b), (c, d) = ComplexArray.of(x), ComplexArray.of(y)
    return ComplexArray(times(a, c) - times(b, d), times(a, d) + times(b, c))


def quotient(x: Any, y: Any) -> ComplexArray:
    """Returns x / y."""
    c, d = ComplexArray.of(y)
    size = np.square(c) + np.square(d)
    return product(x, ComplexArray(c, -d)).each(lambda part: part / size)


def integer_power(x: Any, exponent: int) -> ComplexArray:
    """Returns x to a power that is an integer of either sign."""
    one = ComplexArray(np.ones(x.shape), np.zeros(x.shape))
    found = reduce(product, [x] * abs(exponent), one)
    return found if exponent >= 0 else quotient(one, found)


def fourier(x: Any, axes: Sequence[int], sign: float) -> ComplexArray:
    """Returns the sums over j of x[j] e^(sign 2 pi i j k / size) along each of the axes.

    With a sign of -1 this is the discrete Fourier transform of `numpy.fft.fftn`. With +1, it is its inverse, times the
    product of the sizes.

    Parameters
    ----------
    x : ComplexArray, ndarray or TracedArray
    axes : sequence of int
    sign : float
        1.0 or -1.0.
    """
    found = ComplexArray.of(x)
    for axis in axes:
        if found.shape[axis] > LARGEST_MATRIX:
            found = _fast(found, axis, sign)
            continue
        cos, sin = _waves(found.shape[axis], found.shape[axis])
        real, imag = (np.swapaxes(part, axis, -1) for part in found)
        parts = real @ cos - sign * (imag @ sin), sign * (real @ sin) + imag @ cos
        found = ComplexArray(*(np.swapaxes(part, axis, -1) for part in parts))
    return found


def fourier_of_real(x: Any, axis: int) -> ComplexArray:
    """Returns the first half of the discrete Fourier transform along an axis of real numbers, as `np.fft.rfft` does."""
    size = x.shape[axis]
    if size > LARGEST_MATRIX:
        half = (slice(None),) * (axis % x.ndim) + (slice(size // 2 + 1),)
        return _fast(ComplexArray.of(x), axis, -1.0).each(lambda part: part[half])
    cos, sin = _waves(size, size // 2 + 1)
    x = np.swapaxes(x, axis, -1)
    return ComplexArray(np.swapaxes(x @ cos, axis, -1), np.swapaxes(-(x @ sin), axis, -1))


def fourier_to_real(x: Any, axis: int, size: int) -> Any:
    """Returns the inverse of `fourier_of_real` times the size, as ``size * numpy.fft.irfft(x, size)`` does."""
    count, x = size // 2 + 1, _resized(ComplexArray.of(x), axis, size // 2 + 1)
    if size > LARGEST_MATRIX:
        return _fast(_with_conjugates(x, axis, size), axis, 1.0).real
    cos, sin = _waves(size, count)
    weights = np.full(count, 2.0)  # the other half are conjugates
    weights[0] = 1.0
    if size % 2 == 0:
        weights[-1] = 1.0
    real, imag = (np.swapaxes(part, axis, -1) for part in x)
    return np.swapaxes(real @ (cos * weights).T - imag @ (sin * weights).T, axis, -1)


def _fast(x: ComplexArray, axis: int, sign: float) -> ComplexArray:
    """Returns a Fourier transform along an axis as one step."""
    return ComplexArray(*primitive("fourier", *x, axis=axis % x.ndim, sign=int(sign)))


def _resized(x: ComplexArray, axis: int, count: int) -> ComplexArray:
    """Returns the first entries along an axis, or zeros after them if there are not so many."""
    axis %= x.ndim
    kept = (slice(None),) * axis + (slice(count),)
    missing = [(0, max(0, count - x.shape[axis])) if k == axis else (0, 0) for k in range(x.ndim)]
    if x.shape[axis] > count:
        return x.each(lambda part: part[kept])
    return x.each(lambda part: np.pad(part, missing)) if x.shape[axis] < count else x


def _with_conjugates(x: ComplexArray, axis: int, size: int) -> ComplexArray:
    """Returns all frequencies of real numbers, of which the first half is given.

    The imaginary parts of the first and, if there is one, of the middle frequency are 0.
    """
    places = np.arange(size)
    is_second = places > size // 2
    signs = np.where(is_second, -1.0, 1.0)
    signs[places == (-places) % size] = 0.0
    signs = signs.reshape([-1 if k == axis % x.ndim else 1 for k in range(x.ndim)])
    whole = x.each(lambda part: np.take(part, np.where(is_second, size - places, places), axis=axis))
    return ComplexArray(whole.real, whole.imag * signs)


def _waves(size: int, count: int) -> tuple[Any, Any]:
    """Returns cos and sin of 2 pi j k / size for j < size and k < count, with the angles taken to one turn."""
    angles = 2.0 * np.pi / size * (np.outer(np.arange(size), np.arange(count)) % size)
    return np.cos(angles), np.sin(angles)
