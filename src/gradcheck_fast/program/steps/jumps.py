"""Defines functions of one number that are constant between the places where they jump."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.program.primitive import Primitive, change_of, one_shape, same_entry, without_warnings
from gradcheck_fast.program.steps.functions import FEW, margins, of_value, two_sum, work_of

if TYPE_CHECKING:
    from gradcheck_fast.program.primitive import Reals
    from gradcheck_fast.program.steps.functions import Function, Rule


def nothing_back(x: Sequence[Reals], k: int, *arguments: object) -> Reals:
    """Returns zeros: the rules `back` and `spread` of a step whose slopes are 0."""
    return np.zeros_like(x[k])


def steps(name: str, value: Function, difference: Rule, kinks: Function) -> Primitive:
    """Returns the primitive of a function that is constant between its jumps, which `kinks` tells; see `function`.

    Its slope is 0, also at the jumps.
    """

    def of_all(x: Sequence[Reals], d: Sequence[Reals | None]) -> Reals:
        return np.asarray(difference(x[0], change_of(x, d)))

    return Primitive(
        name, f"{name}({{0}})", one_shape(1), of_value(value), without_warnings(of_all), nothing_back,
        same_entry, margins(kinks), nothing_back, work_of(FEW),
    )  # fmt: skip


def _floor(whole: Reals, low: Reals) -> Reals:
    """Returns the floor of a rounded sum, `whole`, with the error `low`."""
    found = np.floor(whole)
    return np.asarray(np.subtract(found, (found == whole) & (low < 0.0)))


def floor_difference(z: Reals, d: Reals) -> Reals:
    """Returns floor(z + d) - floor(z), where z + d is not rounded first."""
    return _floor(*two_sum(z, d)) - np.floor(z)


def ceil_difference(z: Reals, d: Reals) -> Reals:
    """Returns the exact difference of the ceiling, which is -floor(-z)."""
    return -floor_difference(-z, -d)


def trunc_difference(z: Reals, d: Reals) -> Reals:
    """Returns the exact difference of truncation: of the floor above 0, and of the ceiling below."""
    moved, low = two_sum(z, d)
    return np.where(moved >= 0.0, _floor(moved, low), -_floor(-moved, -low)) - np.trunc(z)


def rint_difference(z: Reals, d: Reals) -> Reals:
    """Returns the exact difference of rounding to integers; only sums that really are halves go to even numbers."""
    moved, low = two_sum(z, d)
    below = np.floor(moved)
    half = (moved - below == 0.5) & (low != 0.0)
    return np.where(half, below + (low > 0.0), np.rint(moved)) - np.rint(z)


def _from_nonzero_integer(z: Reals) -> Reals:
    """Returns |z| less the nearest integer but 0."""
    size = np.abs(z)
    return size - np.maximum(np.rint(size), 1.0)


PRIMITIVES = (
    steps("sign", np.sign, lambda z, d: np.sign(z + d) - np.sign(z), lambda z: z),
    steps("floor", np.floor, floor_difference, lambda z: z - np.rint(z)),
    steps("ceil", np.ceil, ceil_difference, lambda z: z - np.rint(z)),
    steps("trunc", np.trunc, trunc_difference, _from_nonzero_integer),
    steps("rint", np.rint, rint_difference, lambda z: z - (np.floor(z) + 0.5)),
)
