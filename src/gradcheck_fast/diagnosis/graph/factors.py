"""Lists mistakes with what is multiplied: the other factor, or the divisor, is left out or is another value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.diagnosis.graph.backward import Change
from gradcheck_fast.diagnosis.graph.mutants import Mutant, block, merged
from gradcheck_fast.diagnosis.graph.products import base
from gradcheck_fast.diagnosis.graph.turns import CONSTANT_WORDS
from gradcheck_fast.program.primitive import sum_to_shape

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, EdgeRule, Reals
    from gradcheck_fast.diagnosis.graph.mutants import Family, View
    from gradcheck_fast.diagnosis.graph.places import Place

#: A factor of an edge, as a function of the step and of the number of the input.
Factor = Callable[[int, int], "Reals | float"]
#: At most this many of the values nearby are tried in the place of a factor.
_NEAREST = 12


def multiplied(backward: Backward, number: int, k: int, factor: Reals | float) -> EdgeRule:
    """Makes the rule by which the sensitivity of an entrywise step goes back to its input k, times a factor."""
    step = backward.steps[number]
    shape = backward.steps[step.inputs[k]].shape
    if shape == step.shape and np.shape(factor) in ((), shape):
        return lambda bars, up: np.asarray(up * factor)
    return lambda bars, up: sum_to_shape(np.asarray(up * factor), shape)


def _sides(view: View, names: tuple[str, ...]) -> Iterator[tuple[Place, int]]:
    """Yields the places of products, or quotients, with each of the inputs to which something goes back."""
    backward = view.backward
    for place in view.places:
        if backward.steps[place.steps[0]].name in names:
            for k in sorted({k for number in place.steps for k, _ in backward.inner(number)}):
                yield place, k


def _change(view: View, place: Place, k: int, factor: Factor) -> Change:
    backward = view.backward
    return Change(
        {
            (number, k): multiplied(backward, number, k, factor(number, k))
            for number in place.steps
            if any(k == at for at, _ in backward.inner(number))
        }
    )


def factors_left_out(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the other factor, or the divisor, is left out or applied twice on the way back."""
    backward = view.backward
    for place, k in _sides(view, ("multiply",)):
        what, is_constant = _what(view, place, 1 - k, "factor")
        to = _to(view, place, k)
        change = _change(view, place, k, lambda n, k: 1.0)
        if view.can_explain(change):
            yield Mutant(f"{place.where}: {what} is left out in what goes back{to}", change, place)
            if is_constant:
                change = _change(view, place, k, lambda n, k: backward.x(n)[1 - k] ** 2)
                yield Mutant(f"{place.where}: {what} is applied twice in what goes back{to}", change, place)
    for place, k in _sides(view, ("divide",)):
        what, is_constant = _what(view, place, 1, "divisor")
        to = _to(view, place, k)
        if k == 1 and all(np.size(backward.x(number)[0]) == 1 for number in place.steps):
            continue  # a function of single numbers: see `entrywise`
        if k == 0:
            ways: list[tuple[str, Factor]] = [
                ("is left out", lambda n, k: 1.0),
                ("is applied twice", lambda n, k: backward.x(n)[1] ** -2.0),
                ("is a factor", lambda n, k: backward.x(n)[1]),
            ]
        else:
            ways = [
                ("is not squared", lambda n, k: -backward.x(n)[0] / backward.x(n)[1]),
                ("is not squared, and the dividend is left out,", lambda n, k: -1.0 / backward.x(n)[1]),
                ("is right, but the dividend is left out", lambda n, k: -(backward.x(n)[1] ** -2.0)),
            ]
        for said, factor in ways:
            change = _change(view, place, k, factor)
            if not view.can_explain(change):
                break
            if said == "is left out" and is_constant:
                cause = f"the division by {what.removeprefix('the constant divisor ')} is left out on the way back{to}"
                yield Mutant(f"{place.where}: {cause}", change, place)
            else:
                yield Mutant(f"{place.where}: {what} {said} in what goes back{to}", change, place)


def _what(view: View, place: Place, other: int, word: str) -> tuple[str, bool]:
    """Says what the other input is, and whether it is constant."""
    backward, turns = view.backward, view.turns
    numbers = [backward.steps[number].inputs[other] for number in place.steps]
    if all(map(turns.is_constant, numbers)):
        values = {
            float(np.ravel(backward.values[number])[0]) for number in numbers if np.size(backward.values[number]) == 1
        }
        value = f" {next(iter(values)):.6g}" if len(values) == 1 else ""
        text = turns.read(place, other)
        is_named = text not in CONSTANT_WORDS and text != f"`{value.strip()}`"
        return f"the constant {word}{value}{f' ({text})' * is_named}", True
    return f"the {word} ({turns.read(place, other)})", False


def _to(view: View, place: Place, k: int) -> str:
    """Says where something goes back to, unless it can go nowhere else."""
    if all(len(view.backward.inner(number)) < 2 for number in place.steps):
        return ""
    return f" to {view.turns.read(place, k, [n for n in place.steps if (k in dict(view.backward.inner(n)))])}"


def chains_left_out(view: View) -> Iterator[Mutant]:
    """Yields mutants in which several constant factors, one after the other, are left out, as a mask and its scale."""
    backward, turns = view.backward, view.turns

    def is_scale(number: int) -> bool:
        step = backward.steps[number]
        other = [source for source in step.inputs if source not in backward.bars]
        return (
            step.name in ("multiply", "divide")
            and len(backward.inner(number)) == len(other) == 1
            and turns.shape(step.inputs[backward.inner(number)[0][0]]) == turns.shape(number)
            and (step.name == "multiply" or other[0] == step.inputs[1])
        )

    for place in view.places:
        if not all(map(is_scale, place.steps)):
            continue
        bottoms = [backward.inner(number)[0][1] for number in place.steps]
        while all(map(is_scale, bottoms)) and all(len(backward.readers[number]) == 1 for number in bottoms):
            bottoms = [backward.inner(number)[0][1] for number in bottoms]
            change = merged(block(top, bottom, _same) for top, bottom in zip(place.steps, bottoms, strict=True))
            if not view.can_explain(change):
                break
            cause = f"all constant factors and divisors up to {turns.name(bottoms[-1], place.source)}"
            yield Mutant(f"{place.where}: {cause} are left out in what goes back", change, place)


def _same(bars: object, up: Reals) -> Reals:
    return up


def other_factors(view: View) -> Iterator[Mutant]:
    """Yields mutants in which another value of the same turn stands in the place of the other factor of a product."""
    backward, turns = view.backward, view.turns
    for place, k in _sides(view, ("multiply",)):
        if not turns.is_single(place) or not view.can_explain(_change(view, place, k, lambda n, k: 1.0)):
            continue
        own = tuple(backward.steps[number].inputs[1 - k] for number in place.steps)
        shape = turns.shape(own[-1])
        what, _ = _what(view, place, 1 - k, "factor")
        to = _to(view, place, k)

        def of(steps: tuple[int, ...], value: Callable[[Reals], Reals], place: Place = place) -> Factor:
            at = dict(zip(place.steps, steps, strict=True))
            return lambda n, k: value(backward.values[at[n]])

        def said(by: str, place: Place = place, what: str = what, to: str = to) -> str:
            return f"{place.where}: {by} stands in the place of {what} in what goes back{to}"

        if np.prod(shape) > 1:
            name = turns.read(place, 1 - k)
            rest = _rest(view, own) or f"1 - {name}"
            yield Mutant(said(rest), _change(view, place, k, of(own, lambda a: 1.0 - a)), place)
            yield Mutant(
                said(f"a (1 - a), with a = {name}"), _change(view, place, k, of(own, lambda a: a * (1 - a))), place
            )
            yield Mutant(said(f"1 - a², with a = {name}"), _change(view, place, k, of(own, lambda a: 1 - a * a)), place)
        tried = 0
        for signal in turns.signals(place):
            if tried == _NEAREST or not shape:
                break
            if signal.steps == own or any(turns.shape(number) != shape for number in signal.steps):
                continue
            tried += 1
            yield Mutant(said(signal.words), _change(view, place, k, of(signal.steps, lambda a: a)), place)


def _rest(view: View, numbers: tuple[int, ...]) -> str:
    """Says what 1 minus some values is if these are 1 minus something; "" if they are not."""
    backward = view.backward
    for number in numbers:
        if backward.steps[number].name != "subtract" or not np.all(backward.x(number)[0] == 1.0):
            return ""
    return view.turns.name(backward.steps[numbers[-1]].inputs[1])


def other_arrays(view: View) -> Iterator[Mutant]:
    """Yields mutants in which another array of parameters, of the same shape, stands in the place of a factor."""
    backward = view.backward
    for place, k in _sides(view, ("multiply",)):
        bases = [base(backward, backward.steps[number].inputs[1 - k]) for number in place.steps]
        own = {number for number, _ in bases}
        if len(own) > 1 or not own <= set(backward.parameters):
            continue
        what, _ = _what(view, place, 1 - k, "factor")
        shape = view.turns.shape(bases[0][0])
        for array in backward.parameters:
            if array not in own and np.shape(backward.values[array]) == shape and shape:
                moved = dict(zip(place.steps, (move for _, move in bases), strict=True))
                change = _change(view, place, k, lambda n, k, v=backward.values[array], m=moved: m[n](v))  # type: ignore[misc]
                if view.can_explain(change):
                    cause = (
                        f"{view.name_of(array)} stands in the place of {what} in what goes back{_to(view, place, k)}"
                    )
                    yield Mutant(f"{place.where}: {cause}", change, place)


#: The families of this module, but for those of `OTHERS`.
FAMILIES: tuple[Family, ...] = (factors_left_out, chains_left_out)
#: Those in which another value stands in the place of the right one. They have many mutants, so they are tried last.
OTHERS: tuple[Family, ...] = (other_arrays, other_factors)
