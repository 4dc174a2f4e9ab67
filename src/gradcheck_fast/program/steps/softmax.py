"""Softmax along the last axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.program.primitive import SLOPE_STEP, Primitive, changes, one_shape, smooth
from gradcheck_fast.program.steps.elementwise import WORK

if TYPE_CHECKING:
    from gradcheck_fast.program.primitive import Mask, Reals, Shape


def softmax(z: Reals) -> Reals:
    """e^z over the sum of these along the last axis."""
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def softmax_difference(p: Reals, d: Reals) -> Reals:
    """p_k (u_k - S) / (1 + S) with u = expm1(d) and S = sum of p u; d is taken relative to that of the likeliest class.

    Softmax does not change when every d moves by one constant. Then u - S loses nothing even where one p is nearly 1.
    """
    likeliest = p.argmax(axis=-1)[..., np.newaxis]
    u = np.expm1(d - np.take_along_axis(d, likeliest, axis=-1))
    mean = (p * u).sum(axis=-1, keepdims=True)
    return np.asarray(p * (u - mean) / (1.0 + mean))


def softmax_back(p: Reals, up: Reals) -> Reals:
    """The Jacobian of softmax where it is p, times `up`: as it is symmetric, a central difference along `up`."""
    h = SLOPE_STEP / max(1.0, float(np.abs(up).max(initial=0.0)))
    return (softmax_difference(p, h * up) - softmax_difference(p, -h * up)) / (2.0 * h)


def _difference(x: Sequence[Reals], d: Sequence[Reals | None]) -> Reals:
    return softmax_difference(softmax(x[0]), changes(x, d)[0])


def _reach(masks: Sequence[Mask]) -> Mask:
    return np.broadcast_to(masks[0].any(axis=-1, keepdims=True), masks[0].shape)


def _work(shapes: Sequence[Shape]) -> float:
    return WORK * float(np.prod(shapes[0], dtype=float))


SOFTMAX = Primitive(
    "softmax", "softmax({0})", one_shape, lambda x: softmax(x[0]), _difference,
    lambda x, k, up: softmax_back(softmax(x[0]), up), _reach, smooth, _work,
)  # fmt: skip

PRIMITIVES = (SOFTMAX,)
