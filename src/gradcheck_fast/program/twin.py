"""The plain twin of every executor: the rules of the primitives, and these short loops.

It is slow, and meant to be read first: what a fast path gives is tested against it.
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
    """The value of every step, from those of its leaves (see `Program.leaves`)."""
    found: list[Reals] = []
    for number, step in enumerate(program.steps):
        x = [found[k] for k in step.inputs]
        found.append(leaves[number] if number in leaves else step.primitive.value(x, **step.attributes))
    return found


def differences(program: Program, at: list[Reals], moved: Values) -> list[Reals | None]:
    """How every step changes where some leaves (or any other steps) are moved by so much; None: not at all.

    `at` are the values of all steps before. Nothing is subtracted: each step gives the exact difference of its own.
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
    """What the program costs, of the values of all steps; or how that changes, of their differences."""
    return float(sum(np.sum(part) for part in (found[number] for number in program.costs) if part is not None))


def sensitivities(program: Program, at: list[Reals]) -> dict[int, Reals]:
    """The derivative of the cost by every entry of every step that it depends on, chained from the last step back.

    That a step is differenced by itself, and what goes back through it is its transpose, makes this the chain rule
    without a derivative written down anywhere.
    """
    found: dict[int, Reals] = {number: np.ones_like(at[number]) for number in program.costs}
    depends = _on_parameters(program)
    for number, step in reversed(list(enumerate(program.steps))):
        if number not in found or not step.inputs:
            continue
        x = [at[k] for k in step.inputs]
        for k, source in enumerate(step.inputs):
            if source in depends:
                back = step.primitive.back(x, k, found[number], **step.attributes)
                found[source] = found[source] + back if source in found else back
    return found


def _on_parameters(program: Program) -> set[int]:
    """The steps that depend on a parameter."""
    depends = set(program.parameters)
    for number, step in enumerate(program.steps):
        if depends.intersection(step.inputs):
            depends.add(number)
    return depends
