"""Recognises softmaxes, and their logarithms, by their values and by what goes back through them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.diagnosis.graph.between import is_linear, passed
from gradcheck_fast.diagnosis.graph.recognise import same
from gradcheck_fast.program.steps.leaves import CONSTANT

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, Reals

#: The steps that may be the last of a softmax.
_LAST = ("divide", "multiply", "exp", "softmax")
#: The least that the values of softmax may differ from 0 and 1 together; others are one-hot, or all ones.
_LEAST_SPREAD = 1e-12


class Softmax(NamedTuple):
    """Steps that compute a softmax, or its logarithm.

    Attributes
    ----------
    bottom, top : int
        The step that it is of, and the step that is its value.
    axis : int
        The axis along which the softmax adds up to 1.
    """

    bottom: int
    top: int
    axis: int


def softmax_back(p: Reals, axis: int, up: Reals) -> Reals:
    """Returns what goes back through a softmax: the product of its Jacobian, diag(p) - p pᵀ, with `up`."""
    return np.asarray(p * (up - (up * p).sum(axis=axis, keepdims=True)))


def log_softmax_back(p: Reals, axis: int, up: Reals) -> Reals:
    """Returns what goes back through the logarithm of a softmax p."""
    return np.asarray(up - p * up.sum(axis=axis, keepdims=True))


def softmaxes(backward: Backward) -> list[Softmax]:
    """Returns the softmaxes of a program, in any spelling; known by their values and by what goes back through them."""
    found: list[Softmax] = []
    for number in sorted(backward.bars):
        if backward.steps[number].name in _LAST:
            p = backward.values[number]
            axis = _axis_of_ones(p)
            if axis is not None:
                bottoms = list(_arguments(backward, number))
                found += _known(backward, number, bottoms, p, axis, softmax_back)
    return found


def log_softmaxes(backward: Backward) -> list[Softmax]:
    """Returns the logarithms of a softmax in a program that are written as z minus the logarithm of a sum."""
    found: list[Softmax] = []
    for number in sorted(backward.bars):
        step = backward.steps[number]
        if step.name == "subtract" and len(backward.inner(number)) == 2:
            with np.errstate(all="ignore"):
                p = np.exp(backward.values[number])
            axis = _axis_of_ones(p)
            if axis is not None:
                bottoms = list(_shifted(backward, step.inputs[0]))
                found += _known(backward, number, bottoms, p, axis, log_softmax_back)
    return found


def data_like(backward: Backward, shape: tuple[int, ...]) -> list[Reals]:
    """Returns the data of some shape on which the cost depends: what may be the targets of a softmax."""
    return [
        value
        for step, value in zip(backward.steps, backward.values, strict=True)
        if step.name == CONSTANT.name and step.shape == shape and value is not None  # what is not needed has no value
    ]


def _axis_of_ones(p: Reals) -> int | None:
    """Returns the last axis along which numbers from 0 to 1, not all of them 0 or 1, add up to 1, or None."""
    if np.ndim(p) == 0 or np.size(p) < 2 or not np.isfinite(p).all() or np.min(p) < 0.0:
        return None
    for axis in reversed(range(np.ndim(p))):
        total = p.sum(axis=axis)
        if p.shape[axis] > 1 and same(total, np.ones_like(total)):
            return axis if np.abs(p * (1.0 - p)).max() > _LEAST_SPREAD else None
    return None


def _arguments(backward: Backward, top: int) -> Iterator[int]:
    """Yields the steps that a softmax may be of, given its last step, the lowest first."""
    number, shape = top, np.shape(backward.values[top])
    while backward.steps[number].name not in ("exp", "softmax"):
        inner = [k for _, k in backward.inner(number) if np.shape(backward.values[k]) == shape]
        if not inner or not (number == top or is_linear(backward, number)):
            return
        number = inner[0]
    yield from _shifted(backward, backward.steps[number].inputs[0])


def _shifted(backward: Backward, number: int) -> Iterator[int]:
    """Yields the step from which something was subtracted to give a step, such as the maximum, and then the step."""
    step = backward.steps[number]
    if step.name == "subtract" and np.shape(backward.values[step.inputs[0]]) == np.shape(backward.values[number]):
        yield from _shifted(backward, step.inputs[0])
    yield number


def _known(
    backward: Backward, top: int, bottoms: list[int], p: Reals, axis: int, back: Callable[[Reals, int, Reals], Reals]
) -> Iterator[Softmax]:  # fmt: skip
    up = np.random.default_rng(0).standard_normal(p.shape)
    for bottom in bottoms:
        if bottom in backward.bars and same(passed(backward, top, bottom, up), back(p, axis, up)):
            yield Softmax(bottom, top, axis)
            return
