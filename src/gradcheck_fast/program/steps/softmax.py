"""Defines softmax along the last axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.program.primitive import SLOPE_STEP, Primitive, change_of, one_shape, smooth
from gradcheck_fast.program.steps.elementwise import WORK

if TYPE_CHECKING:
    from gradcheck_fast.program.primitive import Mask, Reals, Shape


def softmax(z: Reals) -> Reals:
    """Returns e^z divided by its sum along the last axis, without overflow."""
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def softmax_difference(p: Reals, d: Reals) -> Reals:
    """Returns the exact difference p_k (u_k - S) / (1 + S) of softmax where its value is p.

    Here u = expm1(d), S is the sum of p u, and the d of the likeliest class has been subtracted from every d. That does
    not change the result, because softmax is the same if all its inputs move by one constant, and it keeps u - S from
    losing digits where one p is nearly 1.
    """
    likeliest = p.argmax(axis=-1)[..., np.newaxis]
    u = np.expm1(d - np.take_along_axis(d, likeliest, axis=-1))
    mean = (p * u).sum(axis=-1, keepdims=True)
    return np.asarray(p * (u - mean) / (1.0 + mean))


def softmax_back(p: Reals, up: Reals) -> Reals:
    """Returns the Jacobian of softmax, where its value is p, times `up`.

    The Jacobian is symmetric, so that this is a central difference of softmax along `up`.
    """
    h = SLOPE_STEP / max(1.0, float(np.abs(up).max(initial=0.0)))
    return (softmax_difference(p, h * up) - softmax_difference(p, -h * up)) / (2.0 * h)


def _difference(x: Sequence[Reals], d: Sequence[Reals | None]) -> Reals:
    return softmax_difference(softmax(x[0]), change_of(x, d))


def _spread(x: Sequence[Reals], k: int, up: Reals, half: Reals, h: float) -> Reals:
    """Applies p_j (w_j + sum of p w), where the Jacobian is p_j (δ_jk - p_k): no entry of it is larger than that."""
    p = softmax(x[0])
    return np.asarray(p * (half + (p * half).sum(axis=-1, keepdims=True)))


def _reach(masks: Sequence[Mask]) -> Mask:
    return np.broadcast_to(masks[0].any(axis=-1, keepdims=True), masks[0].shape)


def _work(shapes: Sequence[Shape]) -> float:
    return WORK * float(np.prod(shapes[0], dtype=float))


#: Softmax along the last axis.
SOFTMAX = Primitive(
    "softmax", "softmax({0})", one_shape(1), lambda x: softmax(x[0]), _difference,
    lambda x, k, up: softmax_back(softmax(x[0]), up), _reach, smooth, _spread, _work,
)  # fmt: skip

PRIMITIVES = (SOFTMAX,)
