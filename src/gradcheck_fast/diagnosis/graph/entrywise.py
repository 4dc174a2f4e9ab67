"""Lists mistakes in the derivatives of functions of single numbers, such as activations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from gradcheck_fast.diagnosis.graph.between import passed, steps_between, values_with
from gradcheck_fast.diagnosis.graph.mutants import Change, Mutant, block, merged
from gradcheck_fast.diagnosis.graph.places import Place, short
from gradcheck_fast.diagnosis.graph.recognise import Entrywise, name_of, slope_of
from gradcheck_fast.program.steps import ENTRYWISE

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, Reals
    from gradcheck_fast.diagnosis.graph.mutants import Family, View

    #: What stands in the place of the slopes of a function.
    Factor: TypeAlias = Callable[[Entrywise], Reals]
    Functions: TypeAlias = list[Entrywise]

#: Formulas that are written for slopes, rightly or wrongly, as functions of z and of the value a.
FORMULAS: Mapping[str, Callable[[Reals, Reals], Reals]] = {
    "a (1 - a)": lambda z, a: a * (1 - a),
    "1 - a²": lambda z, a: 1 - a * a,
    "z (1 - z)": lambda z, a: z * (1 - z),
    "1 - z²": lambda z, a: 1 - z * z,
    "1 - a": lambda z, a: 1 - a,
    "1 + a²": lambda z, a: 1 + a * a,
    "(1 - a)²": lambda z, a: (1 - a) ** 2,
    "a": lambda z, a: a,
    "z": lambda z, a: z,
    "1 - z": lambda z, a: 1 - z,
}
#: What the slopes of some functions are, as such formulas.
RIGHT: Mapping[str, str] = {
    "sigmoid": "a (1 - a)",
    "tanh": "1 - a²",
    "relu": "1 where z > 0, and 0 elsewhere",
    "exp": "a",
    "square": "2 z",
    "log": "1/z",
    "reciprocal": "-a²",
    "sqrt": "1/(2 a)",
    "absolute": "the sign of z",
}
#: The same for some functions, in words.
SPECIAL: Mapping[str, Mapping[str, Callable[[Reals, Reals], Reals]]] = {
    "square": {"lacks the factor 2, which halves it": lambda z, a: z},
    "sqrt": {
        "lacks the division by the root: only 1/2 is left": lambda z, a: np.full_like(z, 0.5),
        "lacks the factor 1/2": lambda z, a: 1 / a,
        "has the root as a factor, not as a divisor": lambda z, a: 0.5 * a,
    },
    "reciprocal": {
        "lacks the division by the square: only the sign is left": lambda z, a: np.full_like(z, -1.0),
        "divides by its argument, not by the square of it": lambda z, a: -a,
        "has the wrong sign": lambda z, a: a * a,
    },
    "log": {"has its argument as a factor, not as a divisor": lambda z, a: z},
    "softsign": {"divides by 1 + |z|, not by the square of it": lambda z, a: 1 / (1 + np.abs(z))},
    "silu": {
        "is only sigmoid(z), without the other part": lambda z, a: a / z,
        "is only the part with the derivative of sigmoid": lambda z, a: a * (1 - a / z),
    },
    "gelu": {"is only its factor of z, without the other part": lambda z, a: a / z},
    "gelu_tanh": {
        "is only its factor of z, without the other part": lambda z, a: a / z,
        "lacks the factor 3 of the cube": lambda z, a: _of_gelu(z, lambda t: 1 - t * t, 1.0),
        "has 1 - tanh in the place of 1 - tanh²": lambda z, a: _of_gelu(z, lambda t: 1 - t, 3.0),
        "has only 1 in the place of the derivative of the cube and its argument": lambda z, a: _of_gelu(
            z, lambda t: 1 - t * t, 0.0
        ),
        "lacks the derivative of what tanh is of": lambda z, a: _of_gelu(z, lambda t: 1 - t * t, None),
    },
}
#: The constants in the approximation of gelu by tanh.
_OF_TANH, _OF_CUBE = np.sqrt(2.0 / np.pi), 0.044715


def _of_gelu(z: Reals, of_tanh: Callable[[Reals], Reals], of_cube: float | None) -> Reals:
    """Returns a slope of 0.5 z (1 + tanh(c (z + 0.044715 z³))) with parts of it as they are given."""
    t = np.tanh(_OF_TANH * (z + _OF_CUBE * z**3))
    inner = 1.0 if of_cube is None else _OF_TANH * (1 + of_cube * _OF_CUBE * z * z)
    return np.asarray(0.5 * (1 + t) + 0.5 * z * of_tanh(t) * inner)


#: The wrong formulas in which z stands where a belongs, for functions whose slope is usually written by a.
BY_VALUE = {"sigmoid": "z (1 - z)", "tanh": "1 - z²", "exp": "z"}
#: The functions whose slopes are tried in the place of others at every turn of a loop; elsewhere all are.
_LIKELY = ("sigmoid", "tanh", "relu")
#: The functions that are like relu for numbers that are not large.
_LIKE_RELU = ("relu6", "hardtanh")
#: The slopes of leaky rectifiers that people write.
_LEAKS = (0.01, 0.1, 0.2, 0.05, 0.001, 0.02, 0.25, 0.3)
#: So many places of functions are compared with each other, at most.
_MOST_COMPARED = 12


@dataclass(frozen=True, eq=False)
class OfNumbers:
    """What stands in the place of the slopes of a function, as a formula of its argument z and of its value a.

    Attributes
    ----------
    backward : Backward
    formula : callable
        It must act entry by entry.
    """

    backward: Backward
    formula: Callable[[Reals, Reals], Reals]

    def __call__(self, function: Entrywise) -> Reals:
        return self.formula(self.backward.values[function.bottom], self.backward.values[function.top])

    def at_once(self, functions: Functions) -> Factor:
        """Returns the same for some functions, such as those of all turns, which are computed at once when needed."""
        values = self.backward.values
        if len(functions) < 2 or len({np.shape(values[n]) for f in functions for n in (f.bottom, f.top)}) > 1:
            return cache(self)
        found: dict[Entrywise, Reals] = {}

        def of(function: Entrywise) -> Reals:
            if not found:
                z, a = (np.stack([values[n] for n in ends]) for ends in zip(*(f[:2] for f in functions), strict=True))
                found.update(zip(functions, self.formula(z, a), strict=True))
            return found[function]

        return of


def places_of_functions(view: View) -> list[tuple[Place, Functions, str]]:
    """Returns the places of functions of single numbers, with the functions there and their common name, if any."""
    by_top: dict[int, Functions] = {}
    for function in view.functions:
        by_top.setdefault(function.top, []).append(function)
    found = []
    for place in view.places_of(by_top):
        for of_place in zip(*(by_top[number] for number in place.steps), strict=False):
            found.append((place, list(of_place), _common_name(view.backward, of_place)))
    return found + list(_of_all_lines(view, found))


def _of_all_lines(
    view: View, found: Sequence[tuple[Place, Functions, str]]
) -> Iterator[tuple[Place, Functions, str]]:  # fmt: skip
    """Yields the places of the same function in several lines as one, and then the places of all activations."""
    groups: dict[str, dict[Place, Functions]] = {}
    for place, functions, name in found:
        if _is_activation(name):
            for group in (name, "the activations"):
                groups.setdefault(group, {})[place] = functions
    for name, places in groups.items():
        whole = [place for place in places if not any(set(place.steps) < set(other.steps) for other in places)]
        lines = {(place.source.file, place.source.line): place for place in whole}
        if len(lines) > 1 and (name != "the activations" or len(groups) > 2):
            functions = [function for place in whole for function in places[place]]
            others = ", ".join(_line_of(view, place) for place in list(lines.values())[1:])
            first = next(iter(lines.values()))
            where = f"{first.where}, and {others}"
            tops = tuple(sorted(function.top for function in functions))
            yield Place(tops, where, first.source), functions, name if name != "the activations" else ""


def _common_name(backward: Backward, functions: Sequence[Entrywise]) -> str:
    """Returns the name of all of some functions; "" if they differ, or have none."""
    names = {function.name for function in functions}
    if names == {""} and len(functions) > 1:  # each may be of too few numbers to know it by itself
        ends = zip(*((function.bottom, function.top) for function in functions), strict=True)
        z, a = (np.concatenate([np.ravel(backward.values[n]) for n in numbers]) for numbers in ends)
        return name_of(z, a)
    return names.pop() if len(names) == 1 else ""


def _line_of(view: View, place: Place) -> str:
    """Returns the line of a place in words, with that where its function was called, if there is one."""
    callers = {view.backward.steps[number].source.caller for number in place.steps}
    caller = callers.pop() if len(callers) == 1 else None
    return short(place.source) + (f" (called in {short(caller)})" if caller is not None and caller.line else "")


def _is_activation(name: str) -> bool:
    return name.split()[0] in ENTRYWISE if name else False


# ---- another slope in place of the right one


def wrong_slopes(view: View) -> Iterator[Mutant]:
    """Yields mutants in which a function's derivative is left out, taken at the wrong point, or another one."""
    for place, functions, name in places_of_functions(view):
        for how, factor in wrong_ways(view, place, functions, name) if name else ():
            yield Mutant(f"{place.where}: the derivative of {name} {how}", with_slopes(functions, factor), place)


def with_slopes(functions: Functions, factor: Factor) -> Change:
    """Makes the change by which functions have other slopes."""
    once = factor.at_once(functions) if isinstance(factor, OfNumbers) else cache(factor)

    def rule(function: Entrywise) -> Callable[..., Reals]:
        return lambda bars, up: up * once(function)

    return merged(block(function.top, function.bottom, rule(function)) for function in functions)


def wrong_ways(view: View, place: Place, functions: Functions, name: str) -> Iterator[tuple[str, Factor]]:
    """Yields in words what may stand in place of a slope, and how it is computed; the likely ones first."""
    b = view.backward
    values = b.values
    yield "is left out", lambda f: np.ones_like(values[f.top])
    if name in BY_VALUE:
        yield f"is taken at z instead of at a: {BY_VALUE[name]}", _formula(b, BY_VALUE[name])
    at_value = OfNumbers(b, lambda z, a: slope_of(name, a)) if name in ENTRYWISE else partial(slope_at_value, b)
    yield "is taken at its value instead of at its argument", at_value
    if name.startswith("leaky_relu"):
        yield from _other_leaks(b, functions)
    yield "is applied twice", lambda f: slope_between(b, f) ** 2
    for words, formula in SPECIAL.get(name.split(" ")[0], {}).items():
        yield words, OfNumbers(b, formula)
    if all(b.steps[f.top].name == "log" and b.steps[f.top].inputs[0] != f.bottom for f in functions):
        words = "is that of log(1 - p), where this is log(p): as if the other class were right"
        yield words, lambda f: slope_between(b, f) * -np.exp(values[f.top]) / -np.expm1(values[f.top])
    if not name:
        return
    is_single = len(functions) == 1 or not b.is_in_series(with_slopes(functions, lambda f: values[f.top]))
    if not _is_activation(name):
        if is_single:
            for words in ("a", "z") if name not in SPECIAL else ("a",):
                yield _said(name, words), _formula(b, words)
        return
    for words in FORMULAS:
        if BY_VALUE.get(name) != words:
            yield _said(name, words), _formula(b, words)
    if name.startswith("elu"):
        yield (
            "is taken for a + 1, where a is its value: that of elu with alpha 1",
            lambda f: _below_zero(b, f, values[f.top] + 1),
        )
        yield "lacks the + alpha: it is taken for its value a", lambda f: _below_zero(b, f, values[f.top])
    if name in _OF_NEAR_VALUES:
        yield from _near(view, functions, name)
    for other in _others(name, ENTRYWISE if is_single else _LIKELY):
        if not (other in _LIKE_RELU and _is_relu_here(b, functions, other)) and not _is_one(b, functions, other):
            yield f"is that of {other}", OfNumbers(b, lambda z, a, other=other: slope_of(other, z))  # type: ignore[misc]


def _said(name: str, words: str) -> str:
    right = RIGHT.get(name.split(" ")[0], "")
    where = "z is its argument" if "z" in words else "a is its value"
    return f"is taken for {words}, where {where}{f': it is {right}' if right else ''}"


def _others(name: str, functions: Iterable[str]) -> list[str]:
    """Returns the functions whose slopes are tried in the place of that of another."""
    kind = name.split(" ")[0]
    rectifiers = () if kind in ("relu", "leaky_relu", "elu", *_LIKE_RELU) else _LIKE_RELU
    return [other for other in functions if other not in (kind, *rectifiers) and kind != "exp"]


def _is_one(backward: Backward, functions: Functions, other: str) -> bool:
    """Whether the slopes of a function are all 1 at the numbers that are there, as if they were left out."""
    return all(np.all(slope_of(other, backward.values[f.bottom]) == 1.0) for f in functions)


def _other_leaks(backward: Backward, functions: Functions) -> Iterator[tuple[str, Factor]]:
    """Yields the slopes of rectifiers with other leaks than their own."""
    below = [slope_between(backward, f)[backward.values[f.bottom] < 0.0] for f in functions]
    own = {float(at[0]) for at in below if at.size}
    for leak in _LEAKS if len(own) == 1 else ():
        if leak not in own:
            yield (
                f"has the slope {leak:g} below 0, not {own.copy().pop():g}",
                lambda f, leak=leak: np.where(backward.values[f.bottom] > 0.0, 1.0, leak),  # type: ignore[misc]
            )


def _is_relu_here(backward: Backward, functions: Functions, other: str) -> bool:
    """Whether the slopes of a function are the same as those of relu at the numbers that are there."""
    values = [backward.values[f.bottom] for f in functions]
    return all(np.array_equal(slope_of(other, z), slope_of("relu", z)) for z in values)


def _below_zero(backward: Backward, function: Entrywise, slope: Reals) -> Reals:
    return np.where(backward.values[function.bottom] > 0.0, 1.0, slope)


def _formula(backward: Backward, words: str) -> Factor:
    return OfNumbers(backward, FORMULAS[words])


#: The functions whose slopes are written by their values.
_OF_NEAR_VALUES: Mapping[str, Callable[[Reals], Reals]] = {
    "sigmoid": lambda a: a * (1 - a),
    "tanh": lambda a: 1 - a * a,
    "relu": lambda a: np.where(a > 0, 1.0, 0.0),
}


def _near(view: View, functions: Functions, name: str) -> Iterator[tuple[str, Factor]]:
    """Yields slopes by other values than that of the function: what is made of it next, and that of another turn."""
    backward, slope = view.backward, _OF_NEAR_VALUES[name]
    values = backward.values
    after: dict[int, dict[int, int]] = {}
    for function in functions:
        for reader, _ in backward.readers.get(function.top, ()):
            if backward.is_entrywise(reader) and np.shape(values[reader]) == np.shape(values[function.top]):
                after.setdefault(len(after.get(function.top, {})), {})
                place = len([1 for found in after.values() if function.top in found])
                after.setdefault(place, {})[function.top] = reader
    for found in after.values():
        if len(found) == len(functions):
            line = short(backward.steps[found[functions[0].top]].source)
            yield (
                f"is taken at the value of {line} instead of at its own",
                lambda f, found=found: slope(values[found[f.top]]),  # type: ignore[misc]
            )
    shapes = {np.shape(values[function.top]) for function in functions}
    if len(functions) > 1 and len(shapes) == 1:
        tops = [function.top for function in functions]
        start = np.zeros_like(values[tops[0]])
        for words, others in {
            "before": {top: values[other] for top, other in zip(tops[1:], tops, strict=False)},
            "after": {top: values[other] for top, other in pairwise(tops)},
        }.items():
            yield (
                f"is taken at the value of the turn {words}",
                lambda f, others=others: slope(others.get(f.top, start)),  # type: ignore[misc]
            )


def slope_between(backward: Backward, function: Entrywise) -> Reals:
    """Returns the slopes of a function of single numbers."""
    top, bottom = function.top, function.bottom
    ones = np.ones_like(backward.values[top])
    return backward.once(("slope", top, bottom), lambda: passed(backward, top, bottom, ones))


def slope_at_value(backward: Backward, function: Entrywise) -> Reals:
    """Returns the slopes of a function of single numbers at its values, where those at its arguments belong."""
    top, bottom = function.top, function.bottom

    def slope() -> Reals:
        moved = values_with(backward, {bottom: backward.values[top]}, steps_between(backward, top, bottom))
        return passed(backward, top, bottom, np.ones_like(backward.values[top]), moved)

    return backward.once(("slope at the value", top, bottom), slope)


def slopes_of_gradients(view: View) -> Iterator[Mutant]:
    """Yields mutants in which a rectifier cuts what comes back where that is negative, not where its argument is."""
    for place, functions, name in places_of_functions(view):
        if name.split(" ")[0] in ("relu", "leaky_relu", "elu"):
            blocks = [_cut_by_sign(view.backward, function) for function in functions]
            cause = f"{place.where}: the derivative of {name} is taken at what comes back instead of at its argument"
            yield Mutant(cause, merged(blocks), place)


def _cut_by_sign(backward: Backward, function: Entrywise) -> Change:
    def rule(bars: Callable[[int], Reals], up: Reals) -> Reals:
        if function.name.startswith("elu"):
            alpha = float(function.name.split(" ")[-1]) if " " in function.name else 1.0
            return np.where(up > 0.0, up, up * (backward.values[function.top] + alpha))
        below = slope_between(backward, function)[backward.values[function.bottom] < 0.0]
        return np.where(up > 0.0, up, up * (below[0] if below.size else 0.0))

    return block(function.top, function.bottom, rule)


def slopes_of_others(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the derivative of a function is that at another place, such as another gate's."""
    backward = view.backward
    found = [
        (place, functions)
        for place, functions, name in places_of_functions(view)
        if _is_activation(name) and len({backward.steps[f.top].source.line for f in functions}) == 1
    ][:_MOST_COMPARED]
    for place, own in found:
        is_in_series = len(own) > 1 and backward.is_in_series(with_slopes(own, lambda f: backward.values[f.top]))
        for other, theirs in found:
            shapes = {np.shape(backward.values[f.top]) for f in own} | {
                np.shape(backward.values[f.top]) for f in theirs
            }
            if other.steps == place.steps or len(own) != len(theirs) or len(shapes) != 1:
                continue
            if is_in_series and own[0].name != theirs[0].name:
                continue
            of = {mine.top: other_one for mine, other_one in zip(own, theirs, strict=True)}
            cause = f"{place.where}: its derivative is that of {_line_of(view, other)}"
            change = with_slopes(own, lambda f, of=of: slope_between(backward, of[f.top]))  # type: ignore[misc]
            yield Mutant(cause, change, place)


FAMILIES: tuple[Family, ...] = (wrong_slopes, slopes_of_gradients, slopes_of_others)
