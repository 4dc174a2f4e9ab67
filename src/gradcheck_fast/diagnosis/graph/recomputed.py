"""Lists mistakes in values that are computed again for the way back, and of which a term is forgotten then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.diagnosis.graph.between import passed, steps_between, through, values_with
from gradcheck_fast.diagnosis.graph.entrywise import places_of_functions
from gradcheck_fast.diagnosis.graph.mutants import Change, Mutant, block, merged
from gradcheck_fast.diagnosis.graph.places import MOVEMENT
from gradcheck_fast.diagnosis.graph.recurrences import states

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, Bars, EdgeRule, Reals
    from gradcheck_fast.diagnosis.graph.mutants import Family, View
    from gradcheck_fast.diagnosis.graph.places import Place
    from gradcheck_fast.diagnosis.graph.recognise import Entrywise

#: The argument of a function is looked at as a sum of at most so many terms; of those so many are left out at once.
_MOST_TERMS, _LEFT_OUT = 5, 2
#: The steps through which the same goes back at all values, and those where the other factor alone counts.
_LINEAR = frozenset({*MOVEMENT, "add", "subtract", "negative", "sum"})
_PRODUCTS = ("multiply", "matmul")


def without_terms(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the argument of a function lacks one term of a sum, or two, where it is differentiated.

    So it is if the error of a prediction is computed again for the gradient, and a bias is forgotten in it.
    """
    backward = view.backward
    for place, functions, name in places_of_functions(view):
        terms = [_terms(backward, function.bottom) for function in functions]
        counts = {len(of_one) for of_one in terms}
        count = counts.pop()
        if not name or counts or not 1 < count <= _MOST_TERMS:
            continue
        if len(functions) > 1 and backward.is_in_series(_without(backward, functions, terms, (0,))):
            continue
        for left_out in (some for n in range(1, _LEFT_OUT + 1) for some in combinations(range(count), n)):
            said = " and ".join(_named(view, place, terms[0][k][0]) for k in left_out)
            cause = f"the derivative of {name} is taken at an argument that lacks {said}"
            yield Mutant(f"{place.where}: {cause}", _without(backward, functions, terms, left_out), place)


def _named(view: View, place: Place, number: int) -> str:
    """Says what a term is: its name, or its number if it is a constant."""
    value = view.backward.values[number]
    if view.turns.is_constant(number) and np.size(value) == 1:
        return f"{float(np.reshape(value, ())):.6g}"
    return view.turns.name(number, place.source)


def _terms(backward: Backward, number: int) -> list[tuple[int, float]]:
    """Returns the terms of a sum, with their signs; the step itself alone if it is none."""
    found: list[tuple[int, float]] = []
    waiting = [(number, 1.0)]
    while waiting:
        at, sign = waiting.pop()
        step = backward.steps[at]
        if step.name in ("add", "subtract") and len(found) + len(waiting) < _MOST_TERMS:
            one, other = step.inputs
            waiting += [(other, sign if step.name == "add" else -sign), (one, sign)]
        elif step.name == "negative":
            waiting.append((step.inputs[0], -sign))
        else:
            found.append((at, sign))
    return found


def _without(
    backward: Backward, functions: list[Entrywise], terms: list[list[tuple[int, float]]], left_out: tuple[int, ...]
) -> Change:
    def rule(function: Entrywise, of_one: list[tuple[int, float]]) -> Callable[[Bars, Reals], Reals]:
        def back(bars: object, up: Reals) -> Reals:
            top, bottom = function.top, function.bottom
            z = backward.values[bottom]
            for k in left_out:
                number, sign = of_one[k]
                z = z - sign * backward.values[number]
            moved = values_with(backward, {bottom: z}, steps_between(backward, top, bottom))
            return up * passed(backward, top, bottom, np.ones_like(backward.values[top]), moved)

        return back

    return merged(block(f.top, f.bottom, rule(f, of_one)) for f, of_one in zip(functions, terms, strict=True))


def at_other_states(view: View) -> Iterator[Mutant]:
    """Yields mutants in which all that a turn makes of its state is computed again from that of the turn after.

    So it is if the trajectory of a differential equation is read one place too far by its adjoint equation.
    """
    backward, turns = view.backward, view.turns
    for state in states(view):
        steps, seen = state.place.steps, set[object]()
        for reader, k in state.carried:
            place = turns.place(reader)
            if place is None or place in seen or len(place.steps) != len(steps):
                continue
            seen.add(place)
            before = [backward.steps[number].inputs[k] for number in place.steps]
            if any(turns.shape(one) != turns.shape(other) for one, other in zip(before, steps, strict=True)):
                continue
            rules: dict[tuple[int, int], EdgeRule] = {}
            for one, other, after in zip(before, steps, (-1, *steps), strict=False):
                between = [number for number in steps_between(backward, other, one) if number > after]
                values = values_with(backward, {one: backward.values[other]}, between[:-1])
                rules |= {
                    (n, at): _at_values(backward, n, at, values)
                    for n in between for at, _ in backward.inner(n) if _matters(backward, n, at, values)
                }  # fmt: skip
            name = turns.name(steps[-1], state.place.source)
            cause = f"{name} of the turn after stands in the place of that of the turn in all that is computed again"
            yield Mutant(f"{state.place.where}: {cause}", Change(rules), state.place)


def _matters(backward: Backward, number: int, k: int, values: Mapping[int, Reals]) -> bool:
    """Whether what goes back from a step to its input k may depend on some values."""
    step = backward.steps[number]
    if step.name in _PRODUCTS:
        return step.inputs[1 - k] in values
    return step.name not in _LINEAR and not values.keys().isdisjoint(step.inputs)


def _at_values(backward: Backward, number: int, k: int, values: Mapping[int, Reals]) -> EdgeRule:
    return lambda bars, up: through(backward, number, k, up, values)


FAMILIES: tuple[Family, ...] = (without_terms, at_other_states)
