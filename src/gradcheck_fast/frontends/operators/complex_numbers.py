"""Complex numbers that depend on the parameters, as pairs of real arrays, and discrete Fourier transforms of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

#: A Fourier transform along an axis is the product with a matrix of at most this size.
MOST_FREQUENCIES = 4096


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

    Raises
    ------
    ValueError
        If one of the sizes is larger than `MOST_FREQUENCIES`.
    """
    found = ComplexArray.of(x)
    for axis in axes:
        cos, sin = _waves(found.shape[axis], found.shape[axis])
        real, imag = (np.swapaxes(part, axis, -1) for part in found)
        parts = real @ cos - sign * (imag @ sin), sign * (real @ sin) + imag @ cos
        found = ComplexArray(*(np.swapaxes(part, axis, -1) for part in parts))
    return found


def fourier_of_real(x: Any, axis: int) -> ComplexArray:
    """Returns the discrete Fourier transform along an axis of real numbers: its first half, as `numpy.fft.rfft` does.

    Raises
    ------
    ValueError
        If the size is larger than `MOST_FREQUENCIES`.
    """
    cos, sin = _waves(x.shape[axis], x.shape[axis] // 2 + 1)
    x = np.swapaxes(x, axis, -1)
    return ComplexArray(np.swapaxes(x @ cos, axis, -1), np.swapaxes(-(x @ sin), axis, -1))


def fourier_to_real(x: Any, axis: int, size: int) -> Any:
    """Returns the inverse of `fourier_of_real` times the size, as ``size * numpy.fft.irfft(x, size)`` does.

    Raises
    ------
    ValueError
        If the size is larger than `MOST_FREQUENCIES`.
    """
    count = size // 2 + 1
    cos, sin = _waves(size, count)
    weights = np.full(count, 2.0)  # the other half are conjugates
    weights[0] = 1.0
    if size % 2 == 0:
        weights[-1] = 1.0
    real, imag = (np.swapaxes(part, axis, -1) for part in ComplexArray.of(x))
    return np.swapaxes(real @ (cos * weights).T - imag @ (sin * weights).T, axis, -1)


def _waves(size: int, count: int) -> tuple[Any, Any]:
    """Returns cos and sin of 2 pi j k / size for j < size and k < count, with the angles taken to one turn."""
    if size > MOST_FREQUENCIES:
        raise ValueError(f"expected a Fourier transform of at most {MOST_FREQUENCIES:,} numbers, got {size:,}")
    angles = 2.0 * np.pi / size * (np.outer(np.arange(size), np.arange(count)) % size)
    return np.cos(angles), np.sin(angles)
