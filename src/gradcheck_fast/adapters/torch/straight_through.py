"""Recognises the gradient of a straight-through estimator: what is rounded is taken for what it was before."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.engine.rules import RulesEngine
from gradcheck_fast.program.steps.arithmetic import ADD
from gradcheck_fast.program.steps.leaves import CONSTANT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.inputs.trees import Packed
    from gradcheck_fast.program.program import Program
    from gradcheck_fast.report.report import Report

#: The steps whose slope is zero wherever they have one, and which estimators take for the identity.
_ROUNDING = frozenset(("rint", "floor", "ceil", "trunc", "sign"))
#: A gradient is that of an estimator if it differs from it by less than this part of the largest entry of its array.
_SAME = 1e-4
#: Rounded numbers are also looked at moved by this part of them, as they may lie right on the bound of a clamp: there,
#: the gradient has two sides.
_MOVED = 1e-9


def straight_through(program: Program, report: Report, at: Packed) -> tuple[str, ...]:
    """Says that a wrong gradient is right if rounding is taken for the identity; nothing if it is not.

    Parameters
    ----------
    program : Program
        Of the function whose gradient is wrong.
    report : Report
    at : Packed
        The parameters.
    """
    rounded = [number for number in program.needed if program.steps[number].name in _ROUNDING]
    if not rounded or report.flat_analytic.size != at.flat.size:
        return ()
    # as they are, towards zero (inside of a clamp around it), away from it, up and down
    moves: tuple[Callable[[Any], Any], ...] = (np.zeros_like, lambda y: -y, lambda y: y, np.abs, lambda y: -np.abs(y))
    if not any(_is_gradient(_estimator(program, at, move), report.flat_analytic, at) for move in moves):
        return ()
    places = dict.fromkeys(str(program.steps[number].source) for number in rounded if any(program.steps[number].source))
    where = f" ({', '.join(places)})" if places else ""
    said = f"your gradient is that of a straight-through estimator: it takes what is rounded{where} for what it was"
    return (f"{said} before. The function itself is constant between its steps: its derivative by that is zero",)


def _is_gradient(program: Program, gradient: NDArray[np.float64], at: Packed) -> bool:
    with RulesEngine(program).at(at.flat, 1) as point:
        point.cost()
        expected = point.gradient()
    return all(
        bool(np.abs(own - right).max(initial=0.0) <= _SAME * np.abs(right).max(initial=0.0))
        for (_, own), (_, right) in zip(at.arrays(gradient), at.arrays(expected), strict=True)
    )


def _estimator(program: Program, at: Packed, move: Callable[[Any], Any]) -> Program:
    """Returns a program in which y = round(x) has become y = x + c, with the same value at the parameters.

    The value is moved by a small part of what `move` gives for it.
    """
    with RulesEngine(program).at(at.flat, 1) as point:
        values = point.values
    other = type(program)(program.samples)
    numbers: dict[int, int] = {}
    needed = {*program.needed, *program.parameters}
    for number, step in enumerate(program.steps):
        if number not in needed:
            continue
        inputs = tuple(numbers[source] for source in step.inputs)
        with other.at(step.source):
            if step.name in _ROUNDING and values[number] is not None:
                moved = values[number] + _MOVED * move(values[number])
                constant = other.add(CONSTANT.name, value=np.array(moved - values[step.inputs[0]], np.float64))
                numbers[number] = other.add(ADD.name, inputs[0], constant)
            else:
                numbers[number] = other.add(step.name, *inputs, **step.attributes)
    other.costs = [numbers[number] for number in program.costs]
    return other
