"""Lists mistakes with choices between two values, as of np.where: one branch is differentiated everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.diagnosis.graph.mutants import Change, Mutant, nothing
from gradcheck_fast.program.primitive import sum_to_shape

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, EdgeRule
    from gradcheck_fast.diagnosis.graph.mutants import Family, View

#: The inputs of a choice that are chosen from; the one before them is the condition.
_BRANCHES = (1, 2)


def one_branch_everywhere(view: View) -> Iterator[Mutant]:
    """Yields mutants in which all that goes back goes through one of the two branches of a choice.

    So it is if a Huber loss is differentiated as a square, or as an absolute value, whatever the size of the error. The
    choices that make a known function, as a leaky rectifier, are left to that.
    """
    backward = view.backward
    known = {function.top for function in view.functions if function.name}
    found = [
        number
        for number in backward.bars
        if backward.steps[number].name == "select"
        and number not in known
        and {k for k, _ in backward.inner(number)} >= set(_BRANCHES)
    ]
    for place in view.places_of(found):
        for k in _BRANCHES:
            other = 3 - k
            rules: dict[tuple[int, int], EdgeRule] = {}
            for number in place.steps:
                rules |= {(number, k): _whole(backward, number, k), (number, other): nothing}
            chosen, left = (view.turns.read(place, at) for at in (k, other))
            cause = f"{place.where}: {chosen} is differentiated everywhere, also where {left} is chosen"
            yield Mutant(cause, Change(rules), place)


def _whole(backward: Backward, number: int, k: int) -> EdgeRule:
    """Makes the rule by which all of the sensitivity of a choice goes back to one of its inputs."""
    shape = np.shape(backward.x(number)[k])
    return lambda bars, up: sum_to_shape(up, shape)


FAMILIES: tuple[Family, ...] = (one_branch_everywhere,)
