"""Goes back, rightly, between two steps of a program: all of it, or at other values than those of the forward pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.program.primitive import sum_to_shape
from gradcheck_fast.program.steps.arithmetic import MULTIPLY

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, Reals

#: The steps that are linear in each of their inputs.
_LINEAR = ("add", "subtract", "multiply", "negative", "divide", "reshape", "strided", "slice", "gather")


def passed(
    backward: Backward, top: int, bottom: int, up: Reals, values: Mapping[int, Reals] | None = None
) -> Reals:  # fmt: skip
    """Returns what goes back from one step to another below it, by all ways between them.

    Parameters
    ----------
    backward : Backward
    top, bottom : int
    up : ndarray
        The sensitivity of the step `top`.
    values : mapping of int to ndarray, optional
        The values of steps at which slopes are taken, where they are not those of the forward pass.
    """
    bit = 1 << bottom
    bars: dict[int, Reals] = {top: up}
    for number in range(top, bottom, -1):
        own = bars.pop(number, None)
        if own is None:
            continue
        for k, source in backward.inner(number):
            if backward.above[source] & bit:
                back = through(backward, number, k, own, values or {})
                bars[source] = bars[source] + back if source in bars else back
    found = bars.get(bottom)
    return np.zeros_like(backward.values[bottom]) if found is None else found


def through(backward: Backward, number: int, k: int, up: Reals, values: Mapping[int, Reals]) -> Reals:
    """Returns what goes back from a step to its input k if some steps had other values."""
    step = backward.steps[number]
    if values.keys().isdisjoint(step.inputs):
        return backward.through(number, k, up)
    x = [values.get(source, backward.values[source]) for source in step.inputs]
    with np.errstate(all="ignore"):
        if backward.is_entrywise(number):
            shape = np.shape(backward.values[number])
            if step.primitive is MULTIPLY:
                return sum_to_shape(up * x[1 - k], np.shape(x[k]))
            wide = [at if np.shape(at) == shape else np.broadcast_to(at, shape) for at in x]
            return sum_to_shape(np.asarray(step.primitive.back(wide, k, up, **step.attributes)), np.shape(x[k]))
        return np.asarray(step.primitive.back(x, k, up, **step.attributes))


def values_with(backward: Backward, changed: Mapping[int, Reals], steps: Iterable[int]) -> dict[int, Reals]:
    """Returns the values of some steps if others had other values, together with these."""
    found = dict(changed)
    with np.errstate(all="ignore"):
        for number in sorted(steps):
            step = backward.steps[number]
            if number not in changed and not found.keys().isdisjoint(step.inputs):
                x = [found.get(source, backward.values[source]) for source in step.inputs]
                found[number] = np.asarray(step.primitive.value(x, **step.attributes))
    return found


def steps_between(backward: Backward, top: int, bottom: int) -> list[int]:
    """Returns the steps by which one step depends on another, in order, with the first and without the other."""
    bit = 1 << bottom
    return [
        number for number in range(bottom + 1, top + 1)
        if backward.above[top] >> number & 1 and backward.above[number] & bit
    ]  # fmt: skip


def is_linear(backward: Backward, number: int) -> bool:
    """Whether a step is a linear function of the only one of its inputs that depends on parameters."""
    inner = backward.inner(number)
    if len(inner) != 1 or backward.steps[number].name not in _LINEAR:
        return False
    return not (backward.steps[number].name == "divide" and inner[0][0] == 1)


__all__ = ["is_linear", "passed", "steps_between", "through", "values_with"]
