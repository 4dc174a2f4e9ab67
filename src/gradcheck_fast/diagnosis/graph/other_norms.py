"""Lists further mistakes in the derivatives of normalisations: another mean, another divisor, or none of it at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.diagnosis.graph.backward import Change
from gradcheck_fast.diagnosis.graph.between import passed, steps_between
from gradcheck_fast.diagnosis.graph.mutants import Mutant, block, merged
from gradcheck_fast.diagnosis.graph.normalisations import Normalisation, normalisations

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, Bars, EdgeRule, Reals
    from gradcheck_fast.diagnosis.graph.mutants import Family, View

#: At most so many values on the way to the size of what is normalised are tried in the place of the divisor.
_MOST_DIVISORS = 6


def other_means(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the mean of all that goes back is subtracted along another axis."""
    backward = view.backward
    found = {one.top: one for one in normalisations(backward) if one.centred is not None}
    for place in view.places_of(found):
        of_place = [found[number] for number in place.steps]
        shapes = {np.shape(backward.values[number]) for one in of_place for number in (one.top, one.bottom)}
        if len(shapes) > 1:
            continue
        own = ", ".join(map(str, of_place[0].axes))
        for axis in range(len(shapes.pop())):
            if (axis,) != of_place[0].axes:
                blocks = [block(one.top, one.bottom, _with_mean(backward, one, axis)) for one in of_place]
                cause = f"{place.where}: on the way back the mean of all that goes back is along axis {axis}, not {own}"
                yield Mutant(cause, merged(blocks), place)


def _with_mean(backward: Backward, one: Normalisation, axis: int) -> Callable[[Bars, Reals], Reals]:
    def back(bars: object, up: Reals) -> Reals:
        assert one.centred is not None
        whole = passed(backward, one.top, one.bottom, up)
        own = backward.through(one.centred, 1, passed(backward, one.top, one.centred, up))
        without = whole - passed(backward, backward.steps[one.centred].inputs[1], one.bottom, own)
        return np.asarray(without - without.mean(axis=axis, keepdims=True))

    return back


def skipped(view: View) -> Iterator[Mutant]:
    """Yields mutants in which a normalisation lets all through that comes back."""
    backward = view.backward
    found = {
        one.top: one
        for one in normalisations(backward)
        if np.shape(backward.values[one.top]) == np.shape(backward.values[one.bottom])
    }
    for place in view.places_of(found):
        blocks = [block(found[number].top, found[number].bottom, _same) for number in place.steps]
        cause = f"{place.where}: the normalisation is left out on the way back"
        yield Mutant(cause, merged(blocks), place)


def _same(bars: object, up: Reals) -> Reals:
    return up


def other_divisors(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the way back divides by another value, such as the variance without its ε.

    These are the values of which the divisor is made. Each stands in the whole derivative, in what goes back to what is
    divided, and in what goes back past the mean.
    """
    backward = view.backward
    found = {one.top: one for one in normalisations(backward) if backward.steps[one.top].name == "divide"}
    for place in view.places_of(found):
        of_place = [found[number] for number in place.steps]
        others = [_below_size(backward, one) for one in of_place]
        for at in range(min(map(len, others))):
            numbers = [of_one[at] for of_one in others]
            size = backward.steps[place.steps[0]].inputs[1]
            name, own = (view.turns.name(number, place.source) for number in (numbers[0], size))
            factors = [backward.x(one.top)[1] / backward.values[n] for one, n in zip(of_place, numbers, strict=True)]
            for where, edges in _edges(of_place).items():
                rules: dict[tuple[int, int], EdgeRule] = {}
                for factor, of_one in zip(factors, edges, strict=True):
                    rules |= {(n, k): _times(backward, n, k, factor) for n, k in of_one}
                cause = f"{place.where}: what goes back{where} is divided by {name}, not by {own}"
                yield Mutant(cause, Change(rules), place)


def _edges(of_place: list[Normalisation]) -> dict[str, list[list[tuple[int, int]]]]:
    found = {
        "": [[(one.top, one.value), (one.top, one.size)] for one in of_place],
        " to what is divided": [[(one.top, one.value)] for one in of_place],
    }
    centred = [[(one.centred, 0)] for one in of_place if one.centred is not None]
    if len(centred) == len(of_place):
        found[" past the mean"] = centred
    return found


def _below_size(backward: Backward, one: Normalisation) -> list[int]:
    """Returns the values of the shape of the divisor of which it is made."""
    size = backward.steps[one.top].inputs[one.size]
    shape = np.shape(backward.values[size])
    steps = steps_between(backward, size, one.bottom)[:-1]
    return [n for n in reversed(steps) if np.shape(backward.values[n]) == shape][:_MOST_DIVISORS]


def _times(backward: Backward, number: int, k: int, factor: Reals) -> EdgeRule:
    return lambda bars, up: backward.through(number, k, np.asarray(up * factor))


FAMILIES: tuple[Family, ...] = (other_means, skipped, other_divisors)
