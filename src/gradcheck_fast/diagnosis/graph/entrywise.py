"""Lists mistakes in the derivatives of functions of single numbers, such as activations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.diagnosis.graph.mutants import Mutant, block, merged, times
from gradcheck_fast.diagnosis.graph.places import Place, words
from gradcheck_fast.diagnosis.graph.recognise import Entrywise, entrywise
from gradcheck_fast.program.primitive import entrywise_slope
from gradcheck_fast.program.steps import ENTRYWISE, PRIMITIVES

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, Reals
    from gradcheck_fast.diagnosis.graph.mutants import Family, View

#: Formulas that are written for slopes, rightly or wrongly, as functions of z and of the value a.
FORMULAS: Mapping[str, Callable[[Reals, Reals], Reals]] = {
    "a (1 - a)": lambda z, a: a * (1 - a),
    "1 - a²": lambda z, a: 1 - a * a,
    "z (1 - z)": lambda z, a: z * (1 - z),
    "1 - z²": lambda z, a: 1 - z * z,
    "1 - a": lambda z, a: 1 - a,
    "1 - z": lambda z, a: 1 - z,
    "1 + a²": lambda z, a: 1 + a * a,
    "(1 - a)²": lambda z, a: (1 - a) ** 2,
    "a": lambda z, a: a,
    "z": lambda z, a: z,
}


def wrong_slopes(view: View) -> Iterator[Mutant]:
    """Yields mutants in which a function's derivative is left out, taken at the wrong point, or another one."""
    backward = view.backward
    functions = list(entrywise(backward))
    tops = {function.top for function in functions}
    for place in view.places_of(tops):
        for depth in range(max(sum(f.top == n for f in functions) for n in place.steps)):
            of_place = [
                [f for f in functions if f.top == number][depth]
                for number in place.steps
                if sum(f.top == number for f in functions) > depth
            ]
            yield from _of_functions(backward, place, of_place)


def _of_functions(backward: Backward, place: Place, functions: list[Entrywise]) -> Iterator[Mutant]:
    names = {function.name for function in functions}
    name = next(iter(names)) if len(names) == 1 else ""
    what = f"the derivative of {name}" if name else "its derivative"
    for how, factor in _ways(name):
        rules = [block(f.top, f.bottom, _times(factor, backward, f)) for f in functions]
        yield Mutant(f"{place.where}: {what} {how}", merged(rules), place)


def _times(
    factor: Callable[[Backward, Entrywise], Reals], backward: Backward, function: Entrywise
) -> Callable[..., Reals]:
    return lambda bars, up: up * factor(backward, function)


def _ways(name: str) -> Iterator[tuple[str, Callable[[Backward, Entrywise], Reals]]]:
    """Yields in words what may stand in place of a slope, and how it is computed."""
    yield "is left out", lambda backward, f: np.ones_like(backward.values[f.top])
    if name:
        yield "is taken at the value a instead of at z", lambda b, f: _slope(name, b.values[f.top])
        yield "is applied twice", lambda b, f: _slope(name, b.values[f.bottom]) ** 2
    for words_of, formula in FORMULAS.items():
        yield f"is {words_of}", lambda b, f, formula=formula: formula(b.values[f.bottom], b.values[f.top])  # type: ignore[misc]
    for other in ENTRYWISE:
        if other != name:
            yield f"is that of {other}", lambda b, f, other=other: _slope(other, b.values[f.bottom])  # type: ignore[misc]


def _slope(name: str, z: Reals) -> Reals:
    with np.errstate(all="ignore"):
        return PRIMITIVES[name].back([np.asarray(z)], 0, np.ones_like(z))


FAMILIES: tuple[Family, ...] = (wrong_slopes,)
