"""Defines the discrete Fourier transform of complex numbers, whose real and imaginary parts are two arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.program.primitive import Primitive, Shape, require_inputs, smooth

if TYPE_CHECKING:
    from gradcheck_fast.program.primitive import Mask, Reals


def _shape(shapes: Sequence[Shape], *, axis: int, sign: int) -> Shape:
    require_inputs(shapes, 2)
    real, imag = shapes
    if real != imag or not 0 <= axis < len(real):
        raise ValueError(
            f"expected real and imaginary parts of one shape that has an axis {axis}, got {real} and {imag}"
        )
    return (2, *real)


def transform(z: Any, axis: int, sign: int) -> Any:
    """Returns the sums over j of z[j] e^(sign 2 pi i j k / size) along an axis."""
    return np.fft.fft(z, axis=axis) if sign < 0 else np.fft.ifft(z, axis=axis, norm="forward")


def _parts(z: Any) -> Reals:
    return np.stack([z.real, z.imag])


def _value(x: Sequence[Reals], *, axis: int, sign: int) -> Reals:
    return _parts(transform(x[0] + 1j * x[1], axis, sign))


def _difference(x: Sequence[Reals], d: Sequence[Reals | None], *, axis: int, sign: int) -> Reals:
    real, imag = (0.0 if change is None else change for change in d)
    return _parts(transform(np.broadcast_to(real + 1j * imag, x[0].shape), axis, sign))


def _back_all(x: Sequence[Reals], up: Reals, *, axis: int, sign: int) -> list[Reals]:
    """Applies the transpose. That of the matrix e^(sign 2 pi i j k / size) of pairs is the one with the other sign."""
    found = transform(up[0] + 1j * up[1], axis, -sign)
    return [found.real.copy(), found.imag.copy()]


def _back(x: Sequence[Reals], k: int, up: Reals, *, axis: int, sign: int) -> Reals:
    return _back_all(x, up, axis=axis, sign=sign)[k]


def _spread(x: Sequence[Reals], k: int, up: Reals, half: Reals, h: float, *, axis: int, sign: int) -> Reals:
    """Every number goes back to every place along the axis, with factors whose sizes are at most 1."""
    total: Reals = half.sum(axis=(0, axis + 1))
    return np.broadcast_to(np.expand_dims(total, axis), x[k].shape).copy()


def _reach(masks: Sequence[Mask], *, axis: int, sign: int) -> Mask:
    reached = (masks[0] | masks[1]).any(axis=axis, keepdims=True)
    return np.broadcast_to(reached, (2, *masks[0].shape)).copy()


def _work(shapes: Sequence[Shape], *, axis: int, sign: int) -> float:
    """A fast Fourier transform takes about 5 n log2 n operations."""
    return 5.0 * math.prod(shapes[0]) * math.log2(max(shapes[0][axis], 2))


#: The discrete Fourier transform along an axis of the real and the imaginary parts of complex numbers. The output has
#: those of the transform, one above the other. Its attributes are axis, and the sign of the exponent, -1 or +1.
FOURIER = Primitive(
    "fourier", "fourier({0} + 1j * {1})", _shape, _value, _difference, _back, _reach, smooth, _spread, _work,
    back_all=_back_all,
)  # fmt: skip

PRIMITIVES = (FOURIER,)
