"""Lists mistakes with matrix products: the other matrix is not transposed, or another one, or the wrong values are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.diagnosis.graph.backward import Change, OfSensitivity
from gradcheck_fast.diagnosis.graph.mutants import Mutant
from gradcheck_fast.diagnosis.graph.places import MOVEMENT
from gradcheck_fast.diagnosis.graph.rows import of_matrices
from gradcheck_fast.diagnosis.graph.turns import Signal
from gradcheck_fast.program.steps.product import MATMUL, transposed

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, EdgeRule, Reals
    from gradcheck_fast.diagnosis.graph.mutants import Family, View
    from gradcheck_fast.diagnosis.graph.places import Place

#: At most this many of the values nearby are tried in the place of another.
_NEAREST = 16
#: At most this many products are tried in pairs.
_MOST_PAIRED = 6
#: The learning rate of weights that were updated too early is fitted to at least this many entries.
_ENTRIES = 4
#: Arrays that are used more often on the way back are not tried as updated ones.
_MOST_USES = 4
#: A change is proportional to the learning rate if it doubles with it to this part.
_PROPORTIONAL = 1e-7


class Product(NamedTuple):
    """A place of matrix products, seen from one of the two factors.

    Attributes
    ----------
    place : Place
    k : int
        Which of the inputs that factor is; the other one is 1 - k.
    edges : list of (int, int)
        The edges along which something goes back to that factor.
    to, factor : str
        The two factors in words.
    """

    place: Place
    k: int
    edges: list[tuple[int, int]]
    to: str
    factor: str


def products(view: View) -> Iterator[Product]:
    """Yields the places of matrix products, once for each factor to which something goes back."""
    backward, turns = view.backward, view.turns
    for place in view.places:
        if backward.steps[place.steps[0]].name != MATMUL.name:
            continue
        for k in (0, 1):
            numbers = [number for number in place.steps if k in dict(backward.inner(number))]
            if numbers and view.can_explain(Change({(number, k): _unused for number in numbers})):
                edges = [(number, k) for number in numbers]
                yield Product(place, k, edges, turns.read(place, k, numbers), turns.read(place, 1 - k, numbers))


def _unused(bars: object, up: object) -> None:
    """Stands for a rule where only the places of a change are looked at."""


def _is_of_array(view: View, product: Product) -> bool:
    """Whether what goes back is the gradient of an array of parameters, or of a part of one."""
    steps, arrays = view.backward.steps, view.turns.arrays
    return all(steps[number].inputs[k] in arrays for number, k in product.edges)


def with_other(backward: Backward, number: int, k: int, other: Reals) -> EdgeRule:
    """Makes the rule by which what goes back through a product to its input k is built with another array."""
    rule = backward.steps[number].primitive.back
    x = backward.x(number)
    x[1 - k] = other
    way = of_matrices(x[0], x[1], k) if backward.steps[number].primitive is MATMUL else None
    if way is not None:
        return lambda bars, up: way(up)
    return lambda bars, up: np.asarray(rule(x, k, up))


def by_sensitivity(backward: Backward, number: int, k: int, other: int) -> EdgeRule:
    """Makes the rule by which what goes back along an edge is computed from the sensitivity of another step."""
    return OfSensitivity(backward, number, k, other)


def base(backward: Backward, number: int) -> tuple[int, Callable[[Reals], Reals]]:
    """Returns the step that another is only a view of, such as a transpose, and the function that makes that view."""
    moves = []
    while backward.steps[number].name in MOVEMENT and len(backward.steps[number].inputs) == 1:
        moves.append(backward.steps[number])
        number = backward.steps[number].inputs[0]

    def moved(value: Reals) -> Reals:
        for step in reversed(moves):
            value = step.primitive.value([np.ascontiguousarray(value)], **step.attributes)
        return value

    return number, moved


def not_transposed(view: View) -> Iterator[Mutant]:
    """Yields mutants in which a matrix is not transposed on the way back, or is where it must not be."""
    backward, turns = view.backward, view.turns
    for product in products(view):
        where = f"{product.place.where}:"
        other = [backward.x(number)[1 - k] for number, k in product.edges]
        if all(at.ndim > 1 and at.shape[-1] == at.shape[-2] for at in other):
            edges = zip(product.edges, other, strict=True)
            change = Change({edge: with_other(backward, *edge, transposed(at)) for edge, at in edges})
            cause = f"{product.factor} is not transposed on the way back to {product.to}"
            yield Mutant(f"{where} {cause}", change, product.place)
        if all(len(turns.shape(n)) > 1 and turns.shape(n)[-1] == turns.shape(n)[-2] for n, _ in product.edges):
            change = Change({edge: _of_transposed(backward, *edge) for edge in product.edges})
            cause = f"the sensitivity of the product is not transposed in what goes back to {product.to}, or is wrongly"
            yield Mutant(f"{where} {cause}", change, product.place)
        own = [turns.shape(backward.steps[number].inputs[k]) for number, k in product.edges]
        if all(len(shape) > 1 and shape[-1] == shape[-2] for shape in own):
            change = Change({edge: _then_transposed(backward, *edge) for edge in product.edges})
            yield Mutant(f"{where} what goes back to {product.to} is transposed", change, product.place)


def _of_transposed(backward: Backward, number: int, k: int) -> EdgeRule:
    return lambda bars, up: backward.through(number, k, np.ascontiguousarray(transposed(up)))


def _then_transposed(backward: Backward, number: int, k: int) -> EdgeRule:
    return lambda bars, up: transposed(backward.through(number, k, up))


def other_arrays(view: View) -> Iterator[Mutant]:
    """Yields mutants in which another array of parameters stands in the place of an array on the way back."""
    backward = view.backward
    for product in products(view):
        bases = [base(backward, backward.steps[number].inputs[1 - k]) for number, k in product.edges]
        own = {number for number, _ in bases}
        if not own <= set(backward.parameters) or _is_of_array(view, product):
            continue
        shape = view.turns.shape(bases[0][0])
        for array in backward.parameters:
            value = backward.values[array]
            if array in own or len(own) > 1 or value is None or value.ndim < 2:
                continue
            for other, how in ((value, ""), (value.T, ", transposed,")):
                if other.shape == shape:
                    moves = zip(product.edges, bases, strict=True)
                    change = Change({edge: with_other(backward, *edge, moved(other)) for edge, (_, moved) in moves})
                    cause = f"on the way back {view.name_of(array)}{how} is in the place of {product.factor}"
                    yield Mutant(f"{product.place.where}: {cause}", change, product.place)


def built_with_others(view: View) -> Iterator[Mutant]:
    """Yields mutants in which what goes back is built with another value of the same turn, such as z for a."""
    backward, turns = view.backward, view.turns
    for product in products(view):
        place, k = product.place, product.k
        if not turns.is_single(place) or len(product.edges) < len(place.steps):
            continue
        bases = [base(backward, backward.steps[number].inputs[1 - k]) for number in place.steps]
        own = tuple(number for number, _ in bases)
        if set(own) <= set(backward.parameters):
            continue
        below = _before_functions(backward, own)
        candidates = [Signal(below, "the values before the activation")] if below else []
        candidates += turns.signals(place)
        what = "the gradient of" if _is_of_array(view, product) else "what goes back to"
        for steps, words in _others(view, candidates, own, [turns.shape(number) for number in own]):
            rules = {
                (number, k): with_other(backward, number, k, moved(backward.values[other]))
                for number, other, (_, moved) in zip(place.steps, steps, bases, strict=True)
            }
            cause = f"{place.where}: {what} {product.to} is built with {words} instead of {product.factor}"
            yield Mutant(cause, Change(rules), place)


def _before_functions(backward: Backward, numbers: tuple[int, ...]) -> tuple[int, ...] | None:
    """Returns the arguments of functions of one number, as the only inputs of their steps; None if these are none."""
    below = []
    for number in numbers:
        inputs = backward.steps[number].inputs
        if len(inputs) != 1 or not backward.is_entrywise(number):
            return None
        below.append(inputs[0])
    return tuple(below)


def _others(
    view: View, candidates: Sequence[Signal], own: tuple[int, ...], shapes: Sequence[tuple[int, ...]]
) -> Iterator[Signal]:
    """Yields the candidates that have the right shapes, each once, the nearest first."""
    seen = {own}
    for signal in candidates:
        if signal.steps in seen or [view.turns.shape(number) for number in signal.steps] != shapes:
            continue
        seen.add(signal.steps)
        yield signal
        if len(seen) > _NEAREST:
            return


def other_sensitivities(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the gradients of one line's arrays are computed from the sensitivity of another place."""
    backward, turns = view.backward, view.turns
    for sides in _lines(view).values():
        groups = [sides, *([side] for side in sides)] if len(sides) > 1 else [sides]
        for group in groups:
            place, _ = group[-1]
            own = {place.steps for place, _ in group}
            names = " and ".join(dict.fromkeys(turns.read(place, k) for place, k in group))
            candidates = [s for s in turns.signals(place) if all(number in backward.bars for number in s.steps)]
            for steps, words in _others(view, candidates, place.steps, [turns.shape(number) for number in place.steps]):
                rules = {
                    (number, k): by_sensitivity(backward, number, k, other)
                    for place, k in group
                    for number, other in zip(place.steps, steps, strict=True)
                }
                cause = f"{place.where}: the gradient of {names} is computed from the sensitivity of {words}"
                if steps not in own:
                    yield Mutant(cause, Change(rules), place)


def _lines(view: View) -> dict[object, list[tuple[Place, int]]]:
    """Returns the places, with the input, that send something back to an array, by line and shape."""
    backward, turns = view.backward, view.turns
    lines: dict[object, list[tuple[Place, int]]] = {}
    for place in turns.places:
        for k in sorted({k for n in place.steps for k, source in backward.inner(n) if source in turns.arrays}):
            if place.steps[0] in turns.arrays or any(k not in dict(backward.inner(n)) for n in place.steps):
                continue
            if view.can_explain(Change({(n, k): _unused for n in place.steps})):
                key = (place.source._replace(instruction=0), place.where, tuple(turns.shape(n) for n in place.steps))
                lines.setdefault(key, []).append((place, k))
    return lines


def exchanged_sensitivities(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the gradients of two lines' arrays are computed from each other's sensitivities."""
    backward = view.backward
    for one, two in combinations(_lines(view).values(), 2):
        a, b = one[-1][0], two[-1][0]
        if [view.turns.shape(n) for n in a.steps] != [view.turns.shape(n) for n in b.steps]:
            continue
        rules = {
            (number, k): by_sensitivity(backward, number, k, other)
            for sides, others in ((one, b.steps), (two, a.steps))
            for place, k in sides
            for number, other in zip(place.steps, others, strict=True)
        }
        lines = f"lines {a.source.line} and {b.source.line}"
        yield Mutant(f"{a.where}: the gradients of the arrays of {lines} are exchanged", Change(rules), a)


def exchanged_uses(view: View) -> Iterator[Mutant]:
    """Yields mutants in which two products into one array are built with each other's values."""
    backward, turns = view.backward, view.turns
    by_array: dict[int, list[Product]] = {}
    for product in products(view):
        if turns.is_single(product.place) and _is_of_array(view, product):
            by_array.setdefault(turns.arrays[backward.steps[product.edges[0][0]].inputs[product.k]], []).append(product)
    for array, found in by_array.items():
        for one, two in combinations(found[:_MOST_PAIRED], 2):
            if len(one.edges) != len(two.edges):
                continue
            rules: dict[tuple[int, int], EdgeRule] = {}
            for own, other in zip(one.edges, two.edges, strict=True):
                a, b = (backward.x(number)[1 - k] for number, k in (own, other))
                if a.shape == b.shape:
                    rules |= {own: with_other(backward, *own, b), other: with_other(backward, *other, a)}
            lines = f"lines {one.place.source.line} and {two.place.source.line}"
            cause = f"in the gradient of {view.name_of(array)} the factors of {lines} are exchanged"
            yield Mutant(f"{one.place.where}: {cause}", Change(rules), one.place)


def updated_arrays(view: View) -> Iterator[Mutant]:
    """Yields the mutant in which arrays were updated before the layers below were reached; the rate is fitted."""
    backward = view.backward
    if not set(view.names) <= set(view.analytic):
        return
    gradient = dict(zip(backward.parameters, (view.analytic[name] for name in view.names), strict=True))
    found: list[tuple[tuple[int, int], int, Callable[[Reals], Reals]]] = []
    places = []
    for product in products(view):
        if _is_of_array(view, product):
            continue
        for number, k in product.edges:
            array, moved = base(backward, backward.steps[number].inputs[1 - k])
            if array in gradient:
                found.append(((number, k), array, moved))
                places.append(product.place)
    # in a loop the gradient is not known before its end
    often = {array for _, array, _ in found if sum(use[1] == array for use in found) > _MOST_USES}
    found, places = (
        [use for use in found if use[1] not in often],
        [place for place, use in zip(places, found, strict=True) if use[1] not in often],
    )
    arrays = sorted({array for _, array, _ in found})
    for chosen in [set(arrays), *({array} for array in arrays)] if len(arrays) > 1 else [set(arrays)]:
        uses = [use for use in found if use[1] in chosen]

        def updated(rate: float, uses: list[tuple[tuple[int, int], int, Callable[[Reals], Reals]]] = uses) -> Change:
            return Change({edge: with_other(backward, *edge, moved(backward.values[array] - rate * gradient[array]))
                           for edge, array, moved in uses})  # fmt: skip

        if not uses or not view.can_explain(updated(0.0)):
            continue
        rate = _rate(view, updated)
        if rate:
            names = "the parameters were" if len(chosen) > 1 else f"{view.name_of(*chosen)} was"
            cause = f"{names} updated (learning rate {rate:.6g}) before what goes back past here was computed"
            place = max((place for place, use in zip(places, found, strict=True) if use in uses), key=lambda p: p.steps)
            yield Mutant(f"{place.where}: {cause}", updated(rate), place)


def _rate(view: View, updated: Callable[[float], Change]) -> float | None:
    """Returns the learning rate that fits best where one product was reached too late; None if that says nothing."""
    backward = view.backward
    one, two = (backward.change_of_gradient(updated(rate)) for rate in (1.0, 2.0))
    trial, own = [], []
    for number, name in zip(backward.parameters, view.names, strict=True):
        if name in view.wrong and number in one and number in backward.bars:
            size = np.abs(one[number]).max(initial=0.0)
            # the change is proportional to the rate there
            if size and np.abs(two[number] - 2.0 * one[number]).max() <= _PROPORTIONAL * size:
                trial.append(np.ravel(one[number]))
                own.append(np.ravel(view.analytic[name] - backward.bars[number]))
    if sum(map(len, trial)) < _ENTRIES:
        return None
    direction, error = np.concatenate(trial), np.concatenate(own)
    return float(error @ direction / (direction @ direction))


#: The families of this module, but for those of `OTHERS`.
FAMILIES: tuple[Family, ...] = (not_transposed, other_arrays, exchanged_uses)
#: Those in which another value stands in the place of the right one. They have many mutants, so they are tried last.
OTHERS: tuple[Family, ...] = (built_with_others, other_sensitivities, exchanged_sensitivities, updated_arrays)
