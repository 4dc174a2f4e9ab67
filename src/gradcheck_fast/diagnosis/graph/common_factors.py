"""Lists mistakes with factors and divisors of a whole product or quotient: in all that goes back from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.diagnosis.graph.backward import Change
from gradcheck_fast.diagnosis.graph.between import through, values_with
from gradcheck_fast.diagnosis.graph.mutants import Mutant, nothing
from gradcheck_fast.diagnosis.graph.turns import CONSTANT_WORDS
from gradcheck_fast.program.primitive import sum_to_shape

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, EdgeRule, Reals
    from gradcheck_fast.diagnosis.graph.mutants import Family, View
    from gradcheck_fast.diagnosis.graph.places import Place

#: The steps by which a factor of a product stays one.
_PRODUCTS = ("multiply", "divide", "negative")
#: A product has at most so many steps, one above the other.
_MOST_STEPS = 6
#: At most so many other divisors are tried in the place of one.
_MOST_DIVISORS = 4


def factors_taken_for_one(view: View) -> Iterator[Mutant]:
    """Yields mutants in which a factor of a product is left out on the way back to all other factors of it.

    So it is if the weights of the samples in w f(z) g(z) are forgotten in the whole derivative; or if w f(z) g(z) is
    differentiated as w g(z).
    """
    backward = view.backward
    found = [number for number in backward.bars if backward.steps[number].name == "multiply"]
    for place in view.places_of(found):
        for k in (0, 1):
            change = _without_factor(backward, place, k)
            if change is None or (len(place.steps) > 1 and backward.is_in_series(change)):
                continue
            factor = view.turns.read(place, k)
            said = factor if factor not in CONSTANT_WORDS else f"{factor} that it is multiplied by"
            cause = f"{said} is left out in all that goes back, as if it were not in the product"
            yield Mutant(f"{place.where}: {cause}", change, place)


def _without_factor(backward: Backward, place: Place, k: int) -> Change | None:
    """Makes the change by which a factor is 1 on the way back; None if that is a mistake at one edge alone."""
    rules: dict[tuple[int, int], EdgeRule] = {}
    for number in place.steps:
        inner = dict(backward.inner(number))
        above = _product_above(backward, number)
        reaches = [len(backward.inner(step)) for step in above]
        if np.size(backward.x(number)[k]) < 2 or not ((k in inner and 1 - k in inner) or 2 in reaches):
            return None
        other = np.broadcast_to(backward.x(number)[1 - k], np.shape(backward.values[number]))
        values = values_with(backward, {number: other}, above)
        edges = [(step, at) for step in above for at, _ in backward.inner(step)]
        rules |= {edge: _at_values(backward, *edge, values) for edge in edges}
        if k in inner:
            rules[number, k] = nothing
        if 1 - k in inner:
            rules[number, 1 - k] = _passed_on(np.shape(backward.x(number)[1 - k]))
    return Change(rules)


def _product_above(backward: Backward, number: int) -> list[int]:
    """Returns the steps above a product that are still products of it, with other factors or divisors."""
    found: list[int] = []
    while len(found) < _MOST_STEPS:
        readers = backward.readers.get(number, ())
        if len(readers) != 1 or backward.steps[readers[0][0]].name not in _PRODUCTS:
            break
        ((number, k),) = readers
        if backward.steps[number].name == "divide" and k == 1:
            break
        found.append(number)
    return found


def _at_values(backward: Backward, number: int, k: int, values: Mapping[int, Reals]) -> EdgeRule:
    return lambda bars, up: through(backward, number, k, up, values)


def _passed_on(shape: tuple[int, ...]) -> EdgeRule:
    return lambda bars, up: sum_to_shape(up, shape)


def quotients_without_square(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the quotient rule divides by the divisor, not by the square of it, in both terms."""
    backward = view.backward
    found = [n for n in backward.bars if backward.steps[n].name == "divide" and len(backward.inner(n)) == 2]
    for place in view.places_of(found):
        rules = {(n, k): _times(backward, n, k, backward.x(n)[1]) for n in place.steps for k in (0, 1)}
        divisor = view.turns.read(place, 1)
        cause = f"the quotient rule divides by {divisor}, not by the square of it"
        yield Mutant(f"{place.where}: {cause}", Change(rules), place)


def _times(backward: Backward, number: int, k: int, factor: Reals | float) -> EdgeRule:
    return lambda bars, up: backward.through(number, k, np.asarray(up * factor))


def scales_of_masks(view: View) -> Iterator[Mutant]:
    """Yields mutants in which a mask is applied on the way back without its scale, as that of inverted dropout."""
    backward, turns = view.backward, view.turns
    found = {n: scale for n in backward.bars if (scale := scale_of_mask(backward, n)) is not None}
    for place in view.places_of(found):
        k = 1 - found[place.steps[0]][0]
        if any(found[number][0] != 1 - k for number in place.steps):
            continue
        scales = {found[number][1] for number in place.steps}
        rules = {(n, k): _times(backward, n, k, 1.0 / found[n][1]) for n in place.steps}
        mask = turns.read(place, 1 - k)
        said = f"the scale {scales.pop():.6g}" if len(scales) == 1 else "the scale"
        cause = f"{said} of {'the mask' if mask in CONSTANT_WORDS else mask} is left out in what goes back"
        yield Mutant(f"{place.where}: {cause}: the mask counts as 0 and 1", Change(rules), place)


def scale_of_mask(backward: Backward, number: int) -> tuple[int, float] | None:
    """For a product with a mask: the input that is the mask, and the one number other than 0 and 1 in it; else None."""
    step = backward.steps[number]
    if step.name != "multiply" or len(backward.inner(number)) != 1:
        return None
    k = 1 - backward.inner(number)[0][0]
    mask = backward.x(number)[k]
    scale = float(np.max(mask, initial=0.0))
    is_mask = np.size(mask) > 1 and scale not in (0.0, 1.0) and bool(np.all((mask == 0.0) | (mask == scale)))
    return (k, scale) if is_mask and bool(np.any(mask == 0.0)) else None


def other_divisors(view: View) -> Iterator[Mutant]:
    """Yields mutants in which something is divided by another number on the way back, such as the length of an axis.

    So it is if a cost that is divided by the sum of weights, or by the number of words, is divided by that of samples.
    """
    backward, turns = view.backward, view.turns
    found = [
        number
        for number in backward.bars
        if backward.steps[number].name == "divide"
        and [k for k, _ in backward.inner(number)] == [0]
        and np.size(backward.x(number)[1]) == 1
    ]
    lengths = _lengths(backward)
    for place in view.places_of(found):
        divisors = {float(np.reshape(backward.x(number)[1], ())) for number in place.steps}
        if len(divisors) > 1:
            continue
        (own,) = divisors
        text = turns.read(place, 1)
        said = "" if text in CONSTANT_WORDS or text == f"`{own:.6g}`" else f" ({text})"
        for length in lengths:
            if length not in (own, 1):
                rules = {(number, 0): _times(backward, number, 0, own / length) for number in place.steps}
                cause = f"what goes back is divided by {length}, not by {own:.6g}{said}"
                yield Mutant(f"{place.where}: {cause}", Change(rules), place)


def _lengths(backward: Backward) -> list[int]:
    """Returns the lengths of axes that most steps have, the first axes first."""
    counts: dict[tuple[int, int], int] = {}
    for number in backward.bars:
        for axis, length in enumerate(backward.steps[number].shape[:2]):
            if length > 1:
                counts[axis, length] = counts.get((axis, length), 0) + 1
    ordered = sorted(counts, key=lambda found: (found[0], -counts[found]))
    return list(dict.fromkeys(length for _, length in ordered))[:_MOST_DIVISORS]


def factors_of_other_summands(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the constant factor of one term of a sum is applied to another term, too."""
    backward, turns = view.backward, view.turns
    found = [
        number
        for number in backward.bars
        if backward.steps[number].name in ("add", "subtract") and len(backward.inner(number)) == 2
    ]
    for place in view.places_of(found):
        for k in (0, 1):
            sources = [backward.steps[number].inputs[k] for number in place.steps]
            for terms in _terms(backward, sources):
                known = [factor for source in terms if (factor := _constant_factor(backward, source)) is not None]
                if len(known) < len(terms) or all(np.all(factor == 1.0) for factor, _ in known):
                    continue
                of_steps = zip(place.steps, known, strict=True)
                rules = {(n, 1 - k): _times(backward, n, 1 - k, c) for n, (c, _) in of_steps}
                of = view.by_step.place(tuple(step for _, step in known))
                at = next(j for j in (0, 1) if j not in dict(backward.inner(of.steps[0])))
                name = turns.read(of, at)
                what = "the constant factor" if name in CONSTANT_WORDS else f"the factor {name}"
                term, to = turns.name(terms[-1], place.source), turns.read(place, 1 - k)
                cause = f"{what} of {term} is applied to what goes back to {to}, too"
                yield Mutant(f"{place.where}: {cause}", Change(rules), place)


def _terms(backward: Backward, sums: list[int]) -> Iterator[list[int]]:
    """Yields some steps, and the terms of them if they are sums, one for each."""
    yield sums
    if all(backward.steps[number].name in ("add", "subtract") for number in sums):
        for k in (0, 1):
            yield [backward.steps[number].inputs[k] for number in sums]


def _constant_factor(backward: Backward, number: int) -> tuple[Reals, int] | None:
    """Returns the constant that the last product of a value is with, and the step of that product; None without one."""
    while backward.steps[number].name == "negative" or (
        backward.steps[number].name in ("divide", "sum") and len(backward.inner(number)) == 1
    ):
        number = backward.inner(number)[0][1]
    inner = backward.inner(number)
    if backward.steps[number].name != "multiply" or len(inner) != 1:
        return None
    factor = backward.x(number)[1 - inner[0][0]]
    return (factor, number) if np.size(factor) == 1 else None


#: The families of this module, but for those of `OTHERS`.
FAMILIES: tuple[Family, ...] = (scales_of_masks, factors_taken_for_one, quotients_without_square)
#: Those for which a factor of the whole gradient may say more.
OTHERS: tuple[Family, ...] = (factors_of_other_summands, other_divisors)
