"""Lists derivatives of activations that are wrong in a part of what is made of them, or stand where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from gradcheck_fast.diagnosis.graph.between import is_linear
from gradcheck_fast.diagnosis.graph.entrywise import (
    SPECIAL,
    places_of_functions,
    slope_at_value,
    slope_between,
    with_slopes,
    wrong_ways,
)
from gradcheck_fast.diagnosis.graph.mutants import Change, Mutant
from gradcheck_fast.diagnosis.graph.recognise import Entrywise, slope_of

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, Reals
    from gradcheck_fast.diagnosis.graph.mutants import Family, View

#: Edges, one below the other, each as the number of a step and of one of its inputs.
Path: TypeAlias = tuple[tuple[int, int], ...]


def half_slopes(view: View) -> Iterator[Mutant]:
    """Yields mutants in which a derivative is left out in some of what is made of it.

    It is left out in the layer's own arrays or some of them, or in what goes to the layer below.
    """
    for place, functions, name in places_of_functions(view):
        ends = {function.top: list(_ends(view.backward, function.bottom)) for function in functions}
        seen: dict[int, dict[Path, Reals]] = {function.top: {} for function in functions}
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
                        rules[path[-1]] = _without_slope(view.backward, function, path, seen[function.top])
            if len(rules) == sum(kind in chosen for of_function in ends.values() for kind, _ in of_function):
                yield Mutant(f"{place.where}: {what} is left out in {which} only", Change(rules), place)


#: The steps of an affine layer that may lie between its value and its products.
_SUMS = ("add", "subtract", "reshape", "strided", "slice", "gather", "sum")
_MOVED = ("reshape", "strided", "slice", "gather", "negative")
_PRODUCTS = ("matmul", "multiply")
#: So many edges are the ends of a layer, at most.
_MOST_ENDS = 512


def _ends(backward: Backward, bottom: int) -> Iterator[tuple[str, Path]]:
    """Yields the edges at which a layer ends that computes a step, each with the edges on the way to it.

    An edge ends at "weights", at a "bias" or "below", which is what the layer is a function of.
    """
    waiting: list[tuple[int, Path]] = [(bottom, ())]
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
    backward: Backward, function: Entrywise, path: Path, seen: dict[Path, Reals]
) -> Callable[..., Reals]:  # fmt: skip
    return _with_slope(backward, function, path, lambda: np.ones_like(backward.values[function.top]), seen)


def _with_slope(
    backward: Backward, function: Entrywise, path: Path, slope: Callable[[], Reals], seen: dict[Path, Reals]
) -> Callable[..., Reals]:  # fmt: skip
    """Makes the rule of what goes back along the last edge of a path if a function above it had another slope.

    What has come so far along the edges is kept in `seen`, for the other paths from that function with that slope.
    """

    def rule(bars: Callable[[int], Reals], up: Reals) -> Reals:
        known = seen if bars == backward.right else dict[Path, "Reals"]()
        if () not in known:
            known[()] = bars(function.bottom) + bars(function.top) * (slope() - slope_between(backward, function))
        done = next(count for count in range(len(path), -1, -1) if path[:count] in known)
        back = known[path[:done]]
        for count in range(done, len(path)):
            back = known[path[: count + 1]] = backward.through(*path[count], back)
        return back

    return rule


# ---- on one side


def slopes_on_one_side(view: View) -> Iterator[Mutant]:
    """Yields mutants in which a derivative is wrong in what goes back to one of the two values that it is taken of.

    So it is if the derivative of exp is forgotten in what goes back to x, but not to s, where it is of x / s.
    """
    backward = view.backward
    for place, functions, name in places_of_functions(view):
        paths = [_to_joint(backward, function.bottom) for function in functions] if name else [()]
        if not all(paths):
            continue
        if len(functions) > 1 and backward.is_in_series(Change({path[-1]: _same for path in paths})):
            continue
        joints = [path[-1][0] for path in paths]
        if len({view.turns.place(number) for number in joints}) > 1:
            continue
        joint = view.by_step.place(tuple(joints))
        for k in (0, 1):
            to = view.turns.read(joint, k)
            for how, slope in _ways(backward, name):
                rules = {}
                for function, path, number in zip(functions, paths, joints, strict=True):
                    to_side = (*path[:-1], (number, k))
                    rules[number, k] = _with_slope(backward, function, to_side, partial(slope, function), {})
                cause = f"the derivative of {name} {how} in what goes back to {to}"
                yield Mutant(f"{place.where}: {cause}", Change(rules), place)


def _same(bars: object, up: Reals) -> Reals:
    return up


def _ways(backward: Backward, name: str) -> Iterator[tuple[str, Callable[[Entrywise], Reals]]]:
    """Yields in words what may stand in the place of a slope, and the function that computes it."""
    values = backward.values
    yield "is left out", lambda f: np.ones_like(values[f.top])
    yield "is taken for its value", lambda f: values[f.top]
    yield "is taken at its value instead of at its argument", lambda f: slope_at_value(backward, f)
    yield "is applied twice", lambda f: slope_between(backward, f) ** 2
    for words, formula in SPECIAL.get(name.split(" ")[0], {}).items():
        yield words, lambda f, formula=formula: formula(values[f.bottom], values[f.top])  # type: ignore[misc]


def _to_joint(backward: Backward, number: int) -> Path:
    """Returns the edges down to the first step below that has two inputs; () if it is a layer, or if there is none."""
    path: Path = ()
    while True:
        inner = backward.inner(number)
        if len(inner) == 2:
            is_layer = any(
                backward.steps[source].name == "matmul" or _is_of_parameter(backward, source) for _, source in inner
            )
            is_known = backward.steps[number].name in ("add", "subtract", "multiply", "divide") and not is_layer
            return (*path, (number, inner[0][0])) if is_known and inner[0][1] != inner[1][1] else ()
        if len(inner) != 1 or not is_linear(backward, number):
            return ()
        path = (*path, (number, inner[0][0]))
        ((_, number),) = inner


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
        edges = [(number, edge) for number in place.steps for edge in backward.readers.get(number, ())]
        if len(place.steps) > 1 and backward.is_in_series(Change({edge: _same for _, edge in edges})):
            continue
        for what, slope in _ADDED.items():
            rules = {edge: _scaled(backward, *edge, slope(backward.values[number])) for number, edge in edges}
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


# ---- functions without a name


def slopes_of_the_unknown(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the derivative of a function that has no known name is wrong, or those of several are."""
    for place, functions, name in places_of_functions(view):
        for how, factor in () if name else wrong_ways(view, place, functions, name):
            yield Mutant(f"{place.where}: its derivative {how}", with_slopes(functions, factor), place)


#: The families of this module, but for those of `OTHERS`.
FAMILIES: tuple[Family, ...] = (half_slopes, slopes_on_one_side, added_slopes)
#: Those of which the paths by which something goes back may say more.
OTHERS: tuple[Family, ...] = (slopes_of_the_unknown,)
