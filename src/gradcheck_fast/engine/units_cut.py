"""Says where the units of a program are: the last steps that are linear in the parameters.

What lies between the parameters and the units is linear, if all else is held: products with weights, biases that are
added, rows of an embedding that are taken, and what is then only moved or added up. So the derivatives by the
parameters are those by the units, multiplied by transposes. The cost depends on the parameters through the units alone,
and each way from a parameter to the cost is counted at the first unit on it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from gradcheck_fast.program.steps.leaves import PARAMETER
from gradcheck_fast.program.twin import on_parameters

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gradcheck_fast.program.program import Program, Step

    Index = NDArray[np.intp]

#: The primitives that are linear in all of their inputs together, or in those with these numbers.
LINEAR: Mapping[str, Sequence[int] | None] = {
    **dict.fromkeys(("add", "subtract", "negative", "sum", "cumsum"), None),
    **dict.fromkeys(("reshape", "slice", "strided", "gather", "scatter_add"), None),
    **dict.fromkeys(("where", "select"), (1, 2)),
    "divide": (0,),
}
#: The primitives that are linear in each of two inputs.
BILINEAR = ("multiply", "matmul")


class Cut(NamedTuple):
    """The units of a program, and what lies before them.

    Attributes
    ----------
    units : dict of int to ndarray of int
        The steps whose entries are units; for each entry the part of the cost that it reaches, as `parts_reached` says.
    before : list of (number, list of int)
        The steps before and at the units, without the parameters, in order; each with the numbers of those of its
        inputs through which the parameters are followed.
    alone : set of int
        The parameters that a step reads which is not linear in them. They are no part of what the units say.
    mixed : list of int
        Among the steps for which that is so, those of which an entry reaches several parts of the cost.
    """

    units: dict[int, Index]
    before: list[tuple[int, list[int]]]
    alone: set[int]
    mixed: list[int]


def cut(program: Program, apart: Mapping[int, Index], alone: set[int]) -> Cut:
    """Finds the units of a program.

    A step is followed by its readers as long as these are linear in it and have no more entries for each part of the
    cost. A unit must reach one part alone.

    Parameters
    ----------
    program : Program
    apart : mapping of int to ndarray of int
        The steps of which no entry reaches two parts; see `parts_reached`.
    alone : set of int
        Parameters that are left out.
    """
    steps, depends, costs = program.steps, on_parameters(program), set(program.costs)
    needed = [number for number in program.needed if number in depends]
    read: dict[int, set[int]] = {number: set() for number in needed}
    for number in needed:
        for source in set(steps[number].inputs) & depends:
            read[source].add(number)
    size = {number: math.prod(steps[number].shape) for number in needed}
    units, alone, mixed, is_settled = set[int](), set(alone), list[int](), False
    while not is_settled:
        is_settled, before = True, dict[int, list[int]]()
        for number in needed:
            step = steps[number]
            if step.name == PARAMETER.name:
                if number in alone:
                    continue
                followed = []
            else:
                followed = [k for k, source in enumerate(step.inputs) if source in before and source not in units]
                held = {step.inputs[k] for k in _not_linear(step, followed, apart)}
                for source in held:
                    is_settled = False  # earlier steps may have been followed from here
                    if source in apart:
                        units.add(source)
                        continue
                    alone |= _above(program, source, before)
                    if number not in apart:
                        mixed.append(number)
                followed = [k for k in followed if step.inputs[k] not in held]
                if not followed:
                    continue
            before[number] = followed
            if number in apart and (number in costs or sum(size[reader] for reader in read[number]) > size[number]):
                units.add(number)
    rows = [(number, followed) for number, followed in before.items() if steps[number].name != PARAMETER.name]
    return Cut({number: apart[number] for number in before if number in units}, rows, alone, mixed)


def _not_linear(step: Step, followed: Sequence[int], apart: Mapping[int, Index]) -> list[int]:
    """Returns the inputs among these that must be held for the step to be linear in the others."""
    if step.name in BILINEAR:
        held = sorted(followed, key=lambda k: step.inputs[k] not in apart)  # one that can be a unit comes first
        return held[:1] if len(followed) > 1 else []
    linear = LINEAR.get(step.name, ())
    return [] if linear is None else [k for k in followed if k not in linear]


def _above(program: Program, number: int, before: Mapping[int, list[int]]) -> set[int]:
    """Returns the parameters that a step is a function of, by the inputs that are followed."""
    above, waiting = {number}, [number]
    while waiting:
        step = program.steps[at := waiting.pop()]
        more = {step.inputs[k] for k in before[at]} - above
        above |= more
        waiting += more
    return above.intersection(program.parameters)
