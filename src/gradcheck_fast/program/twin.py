"""Runs a program by the rules of its primitives, in short loops: the plain twin of every executor.

The twin is slow and is meant to be read first. The results of every fast path are tested against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from gradcheck_fast.program.primitive import Reals
    from gradcheck_fast.program.program import Program

Values = Mapping[int, "Reals"]


def values(program: Program, leaves: Values) -> list[Reals]:
    """Returns the value of every step; `leaves` has those of the inputs and parameters (see `Program.leaves`)."""
    found: list[Reals] = []
    for number, step in enumerate(program.steps):
        x = [found[k] for k in step.inputs]
        found.append(leaves[number] if number in leaves else step.primitive.value(x, **step.attributes))
    return found


def differences(program: Program, at: list[Reals], moved: Values) -> list[Reals | None]:
    """Returns how every step changes when some leaves (or other steps) are moved; None for steps that do not change.

    No two values are subtracted: each step computes its own exact difference.

    Parameters
    ----------
    program : Program
    at : list of ndarray
        The values of all steps before the move.
    moved : mapping of int to ndarray
        By how much steps are moved.
    """
    found: list[Reals | None] = []
    for number, step in enumerate(program.steps):
        d = [found[k] for k in step.inputs]
        change = moved.get(number)
        if any(part is not None for part in d):
            own = step.primitive.difference([at[k] for k in step.inputs], d, **step.attributes)
            change = own if change is None else own + change
        found.append(change)
    return found


def total(program: Program, found: list[Reals] | list[Reals | None]) -> float:
    """Returns the program's cost if `found` are the values of all steps, and its change if they are differences."""
    return float(sum(np.sum(part) for part in (found[number] for number in program.costs) if part is not None))


def sensitivities(program: Program, at: list[Reals]) -> dict[int, Reals]:
    """Returns the derivatives of the cost by the entries of each step, by the numbers of the steps.

    Steps that the cost does not depend on, or that depend on no parameter, are left out, except the cost steps. `at`
    are the values of all steps. The derivatives are chained from the last step back. Each step's own rule multiplies by
    its transpose or by a difference of its own, so that this is the chain rule without a formula for any derivative.
    """
    found: dict[int, Reals] = {number: np.ones_like(at[number]) for number in program.costs}
    depends = on_parameters(program)
    for number, step in reversed(list(enumerate(program.steps))):
        if number not in found or not step.inputs:
            continue
        x = [at[k] for k in step.inputs]
        for k, source in enumerate(step.inputs):
            if source in depends:
                back = step.primitive.back(x, k, found[number], **step.attributes)
                found[source] = found[source] + back if source in found else back
    return found


def spreads(program: Program, at: list[Reals], sensitivities: Mapping[int, Reals], h: float) -> dict[int, Reals]:
    """Returns how far the derivative by each entry of each step may lie from the given ones, because of kinks.

    Every value within h of a kink may take any slope between those of its two sides. The result is an upper bound, and
    is 0 where no kink is reached.

    Parameters
    ----------
    program : Program
    at : list of ndarray
        The values of all steps.
    sensitivities : mapping of int to ndarray
        The derivatives by the steps, with central differences as slopes; see `sensitivities`.
    h : float
    """
    found: dict[int, Reals] = {number: np.zeros_like(at[number]) for number in program.costs}
    depends = on_parameters(program)
    for number, step in reversed(list(enumerate(program.steps))):
        if number not in found or not step.inputs:
            continue
        x = [at[k] for k in step.inputs]
        up = sensitivities[number] if number in sensitivities else np.ones_like(at[number])
        for k, source in enumerate(step.inputs):
            if source in depends:
                half = step.primitive.spread(x, k, up, found[number], h, **step.attributes)
                found[source] = found[source] + half if source in found else half
    return found


def on_parameters(program: Program) -> set[int]:
    """Returns the numbers of the steps that are or depend on a parameter."""
    depends = set(program.parameters)
    for number, step in enumerate(program.steps):
        if depends.intersection(step.inputs):
            depends.add(number)
    return depends
