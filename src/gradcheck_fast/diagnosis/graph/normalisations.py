"""Lists mistakes in the derivatives of normalisations: of batches, layers, groups, by root mean squares, by norms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.diagnosis.graph.between import is_linear, passed, steps_between, through
from gradcheck_fast.diagnosis.graph.mutants import Change, Mutant, block, merged, nothing
from gradcheck_fast.diagnosis.graph.places import short
from gradcheck_fast.diagnosis.graph.recognise import SAME

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, EdgeRule, Reals
    from gradcheck_fast.diagnosis.graph.mutants import Family, Place, View

#: The steps that only move or scale what they are of, between a centred value and its quotient.
_MOST_BETWEEN = 3
#: The steps that may divide by a size, with the number of the input that is the size, or its reciprocal.
_SIZES = (("divide", 1), ("multiply", 0), ("multiply", 1))


class Normalisation(NamedTuple):
    """A quotient n / s whose s is made of n, or of what n is made of, by a sum: a value over its own size.

    Attributes
    ----------
    top : int
        The step that is the quotient: a division, or a product with the reciprocal.
    value, size : int
        The inputs of that step that are n and s, or 1/s.
    bottom : int
        The step that is normalised: n, or x where n is x minus its mean.
    centred : int or None
        The step that subtracts the mean, if one does.
    axes : tuple of int
        The axes along which s stays the same.
    """

    top: int
    value: int
    size: int
    bottom: int
    centred: int | None
    axes: tuple[int, ...]

    @property
    def of_size(self) -> str:
        """The size in words."""
        return "the variance" if self.centred is not None else "the norm"


def normalisations(backward: Backward) -> list[Normalisation]:
    """Returns the normalisations of a program."""
    found = (_normalisation(backward, number, k) for number in sorted(backward.bars) for k in (1, 0))
    by_top: dict[int, Normalisation] = {}
    for one in found:
        if one is not None:
            by_top.setdefault(one.top, one)
    return list(by_top.values())


def _normalisation(backward: Backward, number: int, k: int) -> Normalisation | None:
    """Returns the normalisation that ends with a step, if there is one whose size is the step's input k."""
    step = backward.steps[number]
    if (step.name, k) not in _SIZES or len(backward.inner(number)) != 2:
        return None
    wide, size = (np.shape(backward.values[step.inputs[j]]) for j in (1 - k, k))
    if prod(wide) <= prod(size) or wide != step.shape or step.inputs[0] == step.inputs[1]:
        return None
    aligned = (1,) * (len(wide) - len(size)) + size
    axes = tuple(axis for axis, (n, m) in enumerate(zip(wide, aligned, strict=True)) if m == 1 < n)
    value, above = step.inputs[1 - k], backward.above[step.inputs[k]]
    for _ in range(_MOST_BETWEEN):
        of = backward.steps[value]
        if of.name == "subtract":
            x, mean = of.inputs
            if backward.above[mean] >> x & 1 and (above >> x & 1 or above >> value & 1):
                return Normalisation(number, 1 - k, k, x, value, axes)
        if above >> value & 1:
            return Normalisation(number, 1 - k, k, value, None, axes)
        wider = [j for _, j in backward.inner(value) if np.shape(backward.values[j]) == wide]
        if len(wider) != 1 or not (of.name == "multiply" or is_linear(backward, value)):
            return None
        (value,) = wider
    return None


# ---- parts of the way back that are left out


def forgotten_paths(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the mean or the size of what is normalised is treated as a constant, or both are."""
    found = {one.top: one for one in normalisations(view.backward)}
    for place in view.places_of(found):
        of_place = [found[number] for number in place.steps]
        sizes = {(one.top, one.size): nothing for one in of_place}
        means = {(one.centred, 1): nothing for one in of_place if one.centred is not None}
        size = of_place[0].of_size
        yield Mutant(f"{place.where}: what goes back through {size} is left out", Change(sizes), place)
        if len(means) == len(of_place):
            yield Mutant(f"{place.where}: what goes back through the mean is left out", Change(means), place)
            cause = f"{place.where}: the mean and the variance are treated as constants on the way back"
            yield Mutant(cause, Change({**sizes, **means}), place)


def scaled_paths(view: View) -> Iterator[Mutant]:
    """Yields mutants in which what goes back through the mean, or the size, has a factor, or a wrong power of the size.

    The functions that make the mean and the size may say more, so they come first.
    """
    found = {one.top: one for one in normalisations(view.backward)}
    for place in view.places_of(found):
        of_place = [found[number] for number in place.steps]
        cause = f"{place.where}: what goes back through {of_place[0].of_size} {{factor}}"
        yield Mutant(cause, Change({(one.top, one.size): nothing for one in of_place}), place, scales=True)
        means = {(one.centred, 1): nothing for one in of_place if one.centred is not None}
        if len(means) == len(of_place):
            cause = f"{place.where}: what goes back through the mean {{factor}}"
            yield Mutant(cause, Change(means), place, scales=True)
        yield from _wrong_powers(view.backward, place, of_place)


def forgotten_means(view: View) -> Iterator[Mutant]:
    """Yields mutants in which a mean that is subtracted, outside of any normalisation, is treated as a constant."""
    backward = view.backward
    found = [
        number for number in backward.bars
        if backward.steps[number].name == "subtract" and len(backward.inner(number)) == 2
        and _has_sum(backward, *backward.steps[number].inputs)
        and np.size(backward.x(number)[1]) < np.size(backward.x(number)[0])
    ]  # fmt: skip
    for place in view.places_of(found):
        cause = f"{place.where}: what goes back through what is subtracted {{factor}}"
        yield Mutant(cause, Change({(n, 1): nothing for n in place.steps}), place, scales=True)


def _has_sum(backward: Backward, bottom: int, top: int) -> bool:
    """Whether a step is made of another one by a sum."""
    steps = steps_between(backward, top, bottom) if backward.above[top] >> bottom & 1 else []
    return any(backward.steps[number].name == "sum" for number in steps)


# ---- wrong formulas


def wrong_formulas(view: View) -> Iterator[Mutant]:
    """Yields mutants with another power of the size, sums over other axes, no ε, or N - 1 in the place of N."""
    backward = view.backward
    found = {one.top: one for one in normalisations(backward)}
    for place in view.places_of(found):
        of_place = [found[number] for number in place.steps]
        yield from _wrong_counts(backward, place, of_place)
        if all(_has_usual_form(backward, one) for one in of_place):
            yield from _wrong_blocks(backward, place, of_place)


def _size(backward: Backward, one: Normalisation) -> Reals:
    """Returns what the value is divided by."""
    size = backward.x(one.top)[one.size]
    return size if backward.steps[one.top].name == "divide" else 1.0 / size


def _power_of_size(backward: Backward, one: Normalisation, power: float) -> Reals:
    return np.asarray(_size(backward, one) ** power)


def _scaled(backward: Backward, number: int, k: int, factor: Callable[[], Reals | float]) -> EdgeRule:
    """Makes the rule by which what goes back to an input is multiplied by a factor before it is summed."""
    return lambda bars, up: backward.through(number, k, np.asarray(up * factor()))


def _wrong_powers(backward: Backward, place: Place, of_place: list[Normalisation]) -> Iterator[Mutant]:
    size = "the standard deviation" if of_place[0].centred is not None else "the norm"

    def mutant(words: str, power: float, inputs: tuple[str, ...]) -> Mutant:
        rules = {
            (one.top, at): _scaled(backward, one.top, at, partial(_power_of_size, backward, one, power))
            for one in of_place
            for at in (getattr(one, which) for which in inputs)
        }
        return Mutant(f"{place.where}: what goes back {words}", Change(rules), place)

    ways = {
        f"divides by the square of {size} instead of {size}": -1.0,
        f"is not divided by {size}": 1.0,
        f"is multiplied by {size} instead of divided": 2.0,
    }
    for words, power in ways.items():
        yield mutant(words, power, ("value", "size"))
        yield mutant(f"{words}, on the way to what is divided", power, ("value",))
        if of_place[0].centred is not None:
            rules = {}
            for one in of_place:
                if one.centred is not None:
                    factor = partial(_power_of_size, backward, one, power)
                    rules[one.centred, 0] = _scaled(backward, one.centred, 0, factor)
            words = f"{words}, on the way to what the mean is subtracted from, but not to the mean"
            yield Mutant(f"{place.where}: what goes back {words}", Change(rules), place)
    is_root = of_place[0].centred is not None and _is_root(backward, of_place[0])
    for power in (1.0, 2.0, 3.0, -1.0):
        of_square = f" (the variance {power / 2 - 1.5:g} instead of -1.5)" if is_root else ""
        words = f"through the divisor has its power {power - 2:g} instead of -2{of_square}"
        yield mutant(words, power, ("size",))


def _wrong_counts(backward: Backward, place: Place, of_place: list[Normalisation]) -> Iterator[Mutant]:
    counts = {prod(np.shape(backward.values[one.top])[axis] for axis in one.axes) for one in of_place}
    if len(counts) != 1 or (count := counts.pop()) < 2:
        return
    size = of_place[0].of_size
    for words, factor in {"N - 1 instead of N": count / (count - 1), "N instead of N - 1": (count - 1) / count}.items():
        rules = {(one.top, one.size): _scaled(backward, one.top, one.size, lambda f=factor: f) for one in of_place}  # type: ignore[misc]
        yield Mutant(f"{place.where}: on the way back {size} has {words} = {count}", Change(rules), place)


def _is_root(backward: Backward, one: Normalisation) -> bool:
    """Whether what is divided by is a square root."""
    size = backward.steps[one.top].inputs[one.size]
    return backward.steps[one.top].name == "divide" and backward.steps[size].name == "sqrt"


def _parts(backward: Backward, one: Normalisation) -> tuple[Reals, Reals, Reals, tuple[int, ...]]:
    """Returns the normalised value, what it was divided by, what was divided, and the axes."""
    size = _size(backward, one)
    n = backward.values[one.bottom if one.centred is None else one.centred]
    return n / size, size, n, one.axes


def _formula(normal: Reals, size: Reals, axes: tuple[int, ...], up: Reals, *, is_centred: bool) -> Reals:
    """Returns what goes back through a normalisation by the usual formula, with means over some axes."""
    back = up - normal * (up * normal).mean(axis=axes, keepdims=True)
    return np.asarray((back - up.mean(axis=axes, keepdims=True) if is_centred else back) / size)


def _has_usual_form(backward: Backward, one: Normalisation) -> bool:
    """Whether what goes back is what the usual formula says: the size is the root of a mean of squares plus an ε."""
    if np.shape(backward.values[one.bottom]) != np.shape(backward.values[one.top]):
        return False
    normal, size, _, axes = _parts(backward, one)
    if not np.allclose(normal, backward.values[one.top], rtol=SAME, atol=0.0):
        return False
    up = np.random.default_rng(0).standard_normal(normal.shape)
    right = passed(backward, one.top, one.bottom, up)
    found = _formula(normal, size, axes, up, is_centred=one.centred is not None)
    return bool(np.abs(found - right).max() <= SAME * np.abs(right).max())


def _wrong_blocks(backward: Backward, place: Place, of_place: list[Normalisation]) -> Iterator[Mutant]:
    """Yields mutants of normalisations of the usual form, whose way back is written as one formula."""

    def mutant(words: str, back: Callable[[Normalisation, Reals], Reals]) -> Mutant:
        blocks = [block(one.top, one.bottom, lambda bars, up, one=one: back(one, up)) for one in of_place]  # type: ignore[misc]
        return Mutant(f"{place.where}: {words}", merged(blocks), place)

    def without_epsilon(one: Normalisation, up: Reals, *, everywhere: bool) -> Reals:
        normal, _, n, axes = _parts(backward, one)
        size = np.sqrt(np.square(n).mean(axis=axes, keepdims=True))
        return _formula(n / size if everywhere else normal, size, axes, up, is_centred=one.centred is not None)

    def along(axes: tuple[int, ...]) -> Callable[[Normalisation, Reals], Reals]:
        def back(one: Normalisation, up: Reals) -> Reals:
            normal, size, _, _ = _parts(backward, one)
            return _formula(normal, size, axes, up, is_centred=one.centred is not None)

        return back

    def by_value(one: Normalisation, up: Reals) -> Reals:
        _, size, n, axes = _parts(backward, one)
        return _formula(n, size, axes, up, is_centred=one.centred is not None)

    line = short(backward.steps[backward.steps[place.steps[0]].inputs[of_place[0].size]].source)
    epsilon = f"the ε under the root of {line} is forgotten on the way back"
    yield mutant(epsilon, lambda one, up: without_epsilon(one, up, everywhere=False))
    yield mutant(epsilon, lambda one, up: without_epsilon(one, up, everywhere=True))
    yield mutant("its derivative is left out", lambda one, up: up)
    if of_place[0].centred is not None:
        for axis in range(min(np.ndim(backward.values[one.top]) for one in of_place)):
            if (axis,) != of_place[0].axes:
                words = f"on the way back the mean is along axis {axis} instead of {_axes(of_place[0])}"
                yield Mutant(f"{place.where}: {words}", _other_mean(of_place, axis), place)
    yield mutant("its derivative has what is normalised in the place of the normalised value", by_value)
    dimensions = min(np.ndim(backward.values[one.top]) for one in of_place)
    own = of_place[0].axes
    for axes in ((axis,) for axis in range(dimensions)):
        if axes != own:
            words = f"on the way back the means are along axis {axes[0]} instead of {_axes(of_place[0])}"
            yield mutant(words, along(axes))


def _axes(one: Normalisation) -> str:
    return ", ".join(map(str, one.axes))


def _other_mean(of_place: list[Normalisation], axis: int) -> Change:
    """Makes the change by which the mean that was subtracted is that along another axis on the way back."""
    centred = [(one.centred, one.bottom) for one in of_place if one.centred is not None]

    def rule(bars: object, up: Reals) -> Reals:
        return np.asarray(up - up.mean(axis=axis, keepdims=True))

    return merged(block(top, bottom, rule) for top, bottom in centred)


# ---- the arrays that it is scaled by


def wrong_scales(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the gradient of the scale of a normalised value is built with another value."""
    backward = view.backward
    found: dict[int, tuple[Normalisation, int]] = {}
    for one in normalisations(backward):
        for reader, k in backward.readers.get(one.top, ()):
            if backward.steps[reader].name == "multiply" and len(backward.inner(reader)) == 2:
                found[reader] = (one, k)
    for place in view.places_of(found):
        for words, which in {"what is normalised": "bottom", "what is centred, not divided,": "centred"}.items():
            rules = {}
            for number in place.steps:
                one, k = found[number]
                chosen, source = getattr(one, which), backward.steps[number].inputs[k]
                if chosen is not None and np.shape(backward.values[chosen]) == np.shape(backward.values[source]):
                    rules[number, 1 - k] = _built_with(backward, number, k, backward.values[chosen])
            if len(rules) == len(place.steps):
                cause = f"{place.where}: the scale's gradient is built with {words} instead of the normalised value"
                yield Mutant(cause, Change(rules), place)


def _built_with(backward: Backward, number: int, k: int, value: Reals) -> EdgeRule:
    source = backward.steps[number].inputs[k]
    return lambda bars, up: through(backward, number, 1 - k, up, {source: value})


#: The families of this module, but for those of `OTHERS`.
FAMILIES: tuple[Family, ...] = (forgotten_paths, wrong_formulas, wrong_scales, forgotten_means)
#: Those of which the steps of a normalisation may say more.
OTHERS: tuple[Family, ...] = (scaled_paths,)
