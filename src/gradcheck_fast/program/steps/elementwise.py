"""Defines the functions of one number that act entry by entry, each by its value and its exact difference.

The exact difference is f(z + d) - f(z), rewritten so that nothing cancels. The formulas here are written to be read;
the kernels of ``csrc/steps/elementwise.h`` reach further out and lose fewer digits. Only those kernels say where slopes
jump.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.kernels import _kernels
from gradcheck_fast.program.primitive import (
    Primitive,
    change_of,
    entrywise_slope,
    entrywise_spread,
    one_shape,
    same_entry,
)

if TYPE_CHECKING:
    from gradcheck_fast.program.primitive import Reals, Shape

#: The slope of leaky_relu below zero.
LEAKY_SLOPE = 0.01
#: The alpha of selu (Klambauer et al., Self-Normalizing Neural Networks, 2017).
SELU_ALPHA = 1.6732632423543772848170429916717
#: The scale of selu (ibid.).
SELU_SCALE = 1.0507009873554804934193349852946
#: The factor of the cube in gelu_tanh (Hendrycks and Gimpel, Gaussian Error Linear Units, 2016).
GELU_CUBIC = 0.044715
#: The other factor of gelu_tanh, which is z sigma(TWO_SQRT_2_OVER_PI (z + GELU_CUBIC z^3)).
TWO_SQRT_2_OVER_PI = 2.0 * math.sqrt(2.0 / math.pi)
#: The estimated number of operations of one evaluation.
WORK = 30.0

#: The positive nodes of Gauss-Legendre quadrature with 8 points on [-1, 1] (Abramowitz and Stegun, table 25.4).
_NODE = np.array([0.18343464249564980494, 0.52553240991632898582, 0.79666647741362673959, 0.96028985649753623168])
#: The weights of these nodes (ibid.).
_WEIGHT = np.array([0.36268378337836198297, 0.31370664587788728734, 0.22238103445337447054, 0.10122853629037625915])
#: All nodes and weights: the quadrature is symmetric.
NODES, WEIGHTS = np.concatenate([-_NODE, _NODE]), np.concatenate([_WEIGHT, _WEIGHT])


def unary(name: str, value: Callable[[Reals], Reals], difference: Callable[[Reals, Reals], Reals]) -> Primitive:
    """Returns the primitive of a function of one number; the kernel of the same name says where the slope jumps.

    Parameters
    ----------
    name : str
    value : callable
        ``value(z)`` returns the value.
    difference : callable
        ``difference(z, d)`` returns the exact difference.
    """
    jumps = np.array(_kernels.ELEMENTWISE[name].kinks)

    def of_all(x: Sequence[Reals], d: Sequence[Reals | None]) -> Reals:
        return difference(x[0], change_of(x, d))

    def kinks(x: Sequence[Reals]) -> Reals:
        margins: Reals = x[0] - jumps.reshape(-1, *(1,) * np.ndim(x[0]))
        return margins

    def work(shapes: Sequence[Shape]) -> float:
        return WORK * float(np.prod(shapes[0], dtype=float))

    return Primitive(
        name, f"{name}({{0}})", one_shape(1), lambda x: value(x[0]), of_all, partial(entrywise_slope, of_all),
        same_entry, kinks, partial(entrywise_spread, of_all, kinks), work,
    )  # fmt: skip


def sigmoid(z: Reals) -> Reals:
    """Returns 1 / (1 + e^-z), without overflow."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0.0, 1.0, e) / (1.0 + e)


def sigmoid_difference(z: Reals, d: Reals) -> Reals:
    """Returns the exact difference of the sigmoid s.

    It is s(b) - s(a) = s(b) s(-a) (1 - e^(a - b)) with the sign of d, where b is the greater of z and z + d, and a the
    lesser.
    """
    greater, lesser = np.maximum(z, z + d), np.minimum(z, z + d)
    return np.copysign(sigmoid(greater) * sigmoid(-lesser) * -np.expm1(-np.abs(d)), d)


def positive_part_difference(z: Reals, d: Reals) -> Reals:
    """Returns max(z + d, 0) - max(z, 0), case by case so that no digits of d are lost where both are positive."""
    moved = z + d
    return np.where(moved > 0.0, np.where(z > 0.0, d, moved), np.where(z > 0.0, -z, 0.0))


def clip_difference(z: Reals, d: Reals, low: float, high: float) -> Reals:
    """Returns clip(z + d, low, high) - clip(z, low, high), case by case so that no digits of d are lost between."""
    below, above = np.clip((z - low) + d, 0.0, high - low), np.clip((z - high) + d, low - high, 0.0)
    return np.where(z < low, below, np.where(z > high, above, np.clip(d, low - z, high - z)))


def softplus(z: Reals) -> Reals:
    """Returns log(1 + e^z), without overflow."""
    return np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z)))


def softplus_difference(z: Reals, d: Reals) -> Reals:
    """Returns the exact difference of softplus: log1p(s expm1(d)) with s = sigma(z).

    Where the argument of log1p nears -1, it is computed as log(sigma(-z) + s e^d), which is equal. For large d, where
    e^d would overflow, two values are subtracted: the new one is then by far the greater.
    """
    s, step = sigmoid(z), np.minimum(d, 30.0)
    x = s * np.expm1(step)
    near = np.where(x > -0.5, np.log1p(np.maximum(x, -0.5)), np.log(sigmoid(-z) + s * np.exp(step)))
    return np.where(d > 30.0, softplus(z + d) - softplus(z), near)


def exponential_unit(z: Reals, alpha: float) -> Reals:
    """Returns z where z > 0, and alpha (e^z - 1) elsewhere."""
    return np.where(z > 0.0, z, alpha * np.expm1(np.minimum(z, 0.0)))


def exponential_unit_difference(z: Reals, d: Reals, alpha: float) -> Reals:
    """Returns the exact difference of the exponential unit: d right of 0, and alpha e^z expm1(d) left of it.

    Where z and z + d lie on different sides of 0, the two values differ in sign and are subtracted without loss.
    """
    moved = z + d
    left = alpha * np.exp(np.minimum(z, 0.0)) * np.expm1(np.minimum(d, -z))
    across = exponential_unit(moved, alpha) - exponential_unit(z, alpha)
    return np.where((z > 0.0) & (moved > 0.0), d, np.where((z <= 0.0) & (moved <= 0.0), left, across))


def softsign_difference(z: Reals, d: Reals) -> Reals:
    """Returns the exact difference of z / (1 + |z|): d / ((1 + |z|)(1 + |z + d|)) on one side of 0.

    Where z and z + d lie on different sides of 0, the two values differ in sign and are subtracted without loss.
    """
    moved = z + d
    size, new_size = 1.0 + np.abs(z), 1.0 + np.abs(moved)
    along, across = d / (size * new_size), moved / new_size - z / size
    return np.where((z < 0.0) == (moved < 0.0), along, across)


def normal_cdf(z: Reals) -> Reals:
    """Returns the normal distribution function Phi at z."""
    return 0.5 * _kernels.erfc(-z / math.sqrt(2.0))


def normal_cdf_difference(z: Reals, d: Reals) -> Reals:
    """Returns Phi(z + d) - Phi(z): the integral of the density by quadrature, or two values subtracted if d is large.

    Gauss-Legendre quadrature is exact to rounding while |d| (1 + |z + d/2|) <= 3/2. Above 0 the values that are
    subtracted are those of the upper tail, Phi(-z), so that no digits are lost there.
    """
    middle, moved = z + 0.5 * d, z + d
    points = middle[..., np.newaxis] + 0.5 * d[..., np.newaxis] * NODES
    near = 0.5 * d * (np.exp(-0.5 * points * points) @ WEIGHTS) / math.sqrt(2.0 * math.pi)
    far = np.where(z + moved > 0.0, normal_cdf(-z) - normal_cdf(-moved), normal_cdf(moved) - normal_cdf(z))
    return np.where(np.abs(d) * (1.0 + np.abs(middle)) <= 1.5, near, far)


def _gelu_gate(z: Reals) -> Reals:
    return TWO_SQRT_2_OVER_PI * (z + GELU_CUBIC * z * z * z)


def gelu_tanh_difference(z: Reals, d: Reals) -> Reals:
    """Returns the exact difference of z sigma(w(z)), where w is `_gelu_gate`.

    The exact difference of the cube in w is d (3 z (z + d) + d^2).
    """
    inner = TWO_SQRT_2_OVER_PI * d * (1.0 + GELU_CUBIC * (3.0 * z * (z + d) + d * d))
    return d * sigmoid(_gelu_gate(z)) + (z + d) * sigmoid_difference(_gelu_gate(z), inner)


PRIMITIVES = (
    unary("sigmoid", sigmoid, sigmoid_difference),
    unary("tanh", np.tanh, lambda z, d: 2.0 * sigmoid_difference(2.0 * z, 2.0 * d)),  # tanh(z) = 2 sigma(2z) - 1
    unary("relu", lambda z: np.maximum(z, 0.0), positive_part_difference),
    unary(
        "leaky_relu",
        lambda z: np.where(z > 0.0, z, LEAKY_SLOPE * z),
        lambda z, d: positive_part_difference(z, d) - LEAKY_SLOPE * positive_part_difference(-z, -d),
    ),
    unary("elu", lambda z: exponential_unit(z, 1.0), lambda z, d: exponential_unit_difference(z, d, 1.0)),
    unary(
        "selu",
        lambda z: SELU_SCALE * exponential_unit(z, SELU_ALPHA),
        lambda z, d: SELU_SCALE * exponential_unit_difference(z, d, SELU_ALPHA),
    ),
    unary("softplus", softplus, softplus_difference),
    unary("softsign", lambda z: z / (1.0 + np.abs(z)), softsign_difference),
    unary(
        "silu",
        lambda z: z * sigmoid(z),
        lambda z, d: d * sigmoid(z) + (z + d) * sigmoid_difference(z, d),
    ),
    unary(
        "gelu",
        lambda z: z * normal_cdf(z),
        lambda z, d: d * normal_cdf(z) + (z + d) * normal_cdf_difference(z, d),
    ),
    unary("gelu_tanh", lambda z: z * sigmoid(_gelu_gate(z)), gelu_tanh_difference),
    unary("hardtanh", lambda z: np.clip(z, -1.0, 1.0), lambda z, d: clip_difference(z, d, -1.0, 1.0)),
    unary("relu6", lambda z: np.clip(z, 0.0, 6.0), lambda z, d: clip_difference(z, d, 0.0, 6.0)),
    unary("exp", np.exp, lambda z, d: np.exp(z) * np.expm1(d)),
)
