"""Complex numbers as pairs of arrays do what NumPy's do."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck_fast.frontends.operators import complex_numbers as numbers

RNG = np.random.default_rng(0)
X, Y = (RNG.normal(size=(3, 8, 5)) + 1j * RNG.normal(size=(3, 8, 5)) for _ in range(2))


def joined(pair):
    return pair.real + 1j * pair.imag


def agree(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14 * np.abs(expected).max())


@pytest.mark.parametrize(
    "name, expected",
    [
        ("add", X + Y), ("subtract", X - Y), ("product", X * Y), ("quotient", X / Y), ("negative", -X),
        ("conjugate", X.conj()), ("exp", np.exp(X)),
    ],
)  # fmt: skip
def test_arithmetic(name, expected):
    arguments = (X, Y) if name in ("add", "subtract", "product", "quotient") else (X,)
    agree(joined(getattr(numbers, name)(*arguments)), expected)


@pytest.mark.parametrize("exponent", [3, 1, 0, -2])
def test_powers(exponent):
    agree(joined(numbers.integer_power(X, exponent)), X**exponent)


def test_sizes_and_angles():
    agree(numbers.absolute(X), np.abs(X))
    agree(numbers.angle(X), np.angle(X))
    agree(joined(numbers.polar(np.abs(X), np.angle(X))), X)


def test_a_product_of_matrices():
    agree(joined(numbers.product(X, np.swapaxes(Y, 1, 2), np.matmul)), X @ np.swapaxes(Y, 1, 2))


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (0, 1, 2)])
def test_transforms_of_complex_numbers(axes):
    agree(joined(numbers.fourier(X, axes, -1.0)), np.fft.fftn(X, axes=axes))
    agree(joined(numbers.fourier(X, axes, 1.0)), np.fft.ifftn(X, axes=axes, norm="forward"))


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_transforms_of_real_numbers(axis):
    half = np.fft.rfft(X.real, axis=axis)
    agree(joined(numbers.fourier_of_real(X.real, axis)), half)
    agree(numbers.fourier_to_real(half, axis, X.shape[axis]), X.real * X.shape[axis])


@pytest.mark.parametrize("size", [257, 300])
def test_long_transforms(size):
    z = np.random.default_rng(1).normal(size=(2, size, 2)) + 1j
    agree(joined(numbers.fourier(z, (1,), -1.0)), np.fft.fft(z, axis=1))
    half = np.fft.rfft(z.real, axis=1)
    agree(joined(numbers.fourier_of_real(z.real, 1)), half)
    agree(numbers.fourier_to_real(half + 1j, 1, size), np.fft.irfft(half + 1j, size, axis=1) * size)


@pytest.mark.parametrize("size", [5, 12, 300])
def test_real_numbers_of_fewer_and_of_more_frequencies(size):
    agree(numbers.fourier_to_real(X, 1, size), np.fft.irfft(X, size, axis=1) * size)


@pytest.mark.parametrize("name", ["log", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "expm1", "log1p"])
def test_functions(name):
    agree(joined(getattr(numbers, name)(X)), getattr(np, name)(X))


def test_a_tangent_that_would_overflow():
    agree(joined(numbers.tanh(np.array([800.0 + 1j]))), np.array([1.0 + 0j]))
