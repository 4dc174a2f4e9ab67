"""Lists derivatives of activations that are wrong in a part of what is made of them, or stand where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.diagnosis.graph.entrywise import places_of_functions, slope_between
from gradcheck_fast.diagnosis.graph.mutants import Change, Mutant
from gradcheck_fast.diagnosis.graph.recognise import Entrywise, slope_of

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, Reals
    from gradcheck_fast.diagnosis.graph.mutants import Family, View


def half_slopes(view: View) -> Iterator[Mutant]:
    """Yields mutants in which a derivative is left out in some of what is made of it.

    It is left out in the layer's own arrays or some of them, or in what goes to the layer below.
    """
    for place, functions, name in places_of_functions(view):
        ends = {function.top: list(_ends(view.backward, function.bottom)) for function in functions}
        what = f"the derivative of {name}" if name else "its derivative"
        kinds = {kind for of_function in ends.values() for kind, _ in of_function}
        for which, chosen in {
            "what goes to the layer below": {"below"},
            "the gradients of its own arrays": {"weights", "bias"},
            "the gradient of its bias": {"bias"},
            "the gradient of its weights": {"weights"},
        }.items():
            if not chosen <= kinds or chosen == kinds:
                continue
            rules = {}
            for function in functions:
                for kind, path in ends[function.top]:
                    if kind in chosen:
                        rules[path[-1]] = _without_slope(view.backward, function, path)
            if len(rules) == sum(kind in chosen for of_function in ends.values() for kind, _ in of_function):
                yield Mutant(f"{place.where}: {what} is left out in {which} only", Change(rules), place)


#: The steps of an affine layer that may lie between its value and its products.
_SUMS = ("add", "subtract", "reshape", "strided", "slice", "gather", "sum")
_MOVED = ("reshape", "strided", "slice", "gather", "negative")
_PRODUCTS = ("matmul", "multiply")
#: So many edges are the ends of a layer, at most.
_MOST_ENDS = 512


def _ends(backward: Backward, bottom: int) -> Iterator[tuple[str, tuple[tuple[int, int], ...]]]:
    """Yields the edges at which a layer ends that computes a step, each with the edges on the way to it.

    An edge ends at "weights", at a "bias" or "below", which is what the layer is a function of.
    """
    waiting: list[tuple[int, tuple[tuple[int, int], ...]]] = [(bottom, ())]
    count = 0
    while waiting and count < _MOST_ENDS:
        number, path = waiting.pop()
        count += 1
        for k, source in backward.inner(number):
            here = (*path, (number, k))
            is_product = backward.steps[number].name in _PRODUCTS
            if _is_of_parameter(backward, source):
                yield ("weights" if is_product else "bias"), here
            elif is_product or backward.steps[source].name not in (*_SUMS, *_PRODUCTS):
                yield "below", here
            else:
                waiting.append((source, here))


def _is_of_parameter(backward: Backward, number: int) -> bool:
    """Whether a step is a parameter, or has only its entries."""
    while backward.steps[number].name in _MOVED and len(backward.steps[number].inputs) == 1:
        (number,) = backward.steps[number].inputs
    return backward.steps[number].name == "parameter"


def _without_slope(
    backward: Backward, function: Entrywise, path: tuple[tuple[int, int], ...]
) -> Callable[..., Reals]:  # fmt: skip
    def rule(bars: Callable[[int], Reals], up: Reals) -> Reals:
        above = bars(function.top)
        back = bars(function.bottom) + above * (1.0 - slope_between(backward, function))
        for number, k in path:
            back = backward.through(number, k, back)
        return back

    return rule


# ---- where there is none


def added_slopes(view: View) -> Iterator[Mutant]:
    """Yields mutants that apply the derivative of an activation to a layer that has none."""
    backward = view.backward
    bottoms = {function.bottom for function in view.functions}
    found = [
        number for number in backward.bars
        if backward.steps[number].name in ("add", "matmul") and np.size(backward.values[number]) > 1
        and number not in bottoms and not _is_summand(backward, number)
    ]  # fmt: skip
    for place in view.places_of(found):
        for what, slope in _ADDED.items():
            rules = {
                (reader, k): _scaled(backward, reader, k, slope(backward.values[number]))
                for number in place.steps
                for reader, k in backward.readers.get(number, ())
            }
            if len(place.steps) > 1 and backward.is_in_series(Change(rules)):
                break
            yield Mutant(f"{place.where}: {what} is applied, but there is no activation", Change(rules), place)


_ADDED: Mapping[str, Callable[[Reals], Reals]] = {
    **{f"the derivative of {name}": partial(slope_of, name) for name in ("sigmoid", "tanh", "relu")},
    "the factor y (1 - y), of its value y,": lambda z: z * (1 - z),
    "the factor 1 - y², of its value y,": lambda z: 1 - z * z,
}


def _is_summand(backward: Backward, number: int) -> bool:
    """Whether a step is only a part of a sum, as the product of a layer is before its bias is added."""
    readers = backward.readers.get(number, ())
    return bool(readers) and all(backward.steps[reader].name in ("add", "reshape", "gather") for reader, _ in readers)


def _scaled(backward: Backward, reader: int, k: int, factor: Reals) -> Callable[..., Reals]:
    return lambda bars, up: factor * backward.through(reader, k, up)


FAMILIES: tuple[Family, ...] = (half_slopes, added_slopes)
