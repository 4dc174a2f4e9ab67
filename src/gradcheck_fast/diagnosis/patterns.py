"""Looks for mistakes that show in the arrays themselves: factors, exchanged or transposed arrays, zeros, the penalty.

Each pattern is a function that takes a `Case` and yields hypotheses. Patterns need no network, only the two gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations, product
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from gradcheck_fast.diagnosis.distortions import (
    clipped,
    distorted,
    is_round,
    rounded,
    scaled_to_a_norm,
    updated_parameters,
)
from gradcheck_fast.diagnosis.hypotheses import ENTRIES, Case, Hypothesis
from gradcheck_fast.diagnosis.orders import (
    IN_THAT_ORDER,
    axes_in_another_order,
    blocks_in_another_order,
    reversed_or_shifted,
    sorted_entries,
)
from gradcheck_fast.inputs.trees import split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.diagnosis.hypotheses import Arrays, Values

#: A function of a wrong gradient that yields the hypotheses of one family.
Pattern: TypeAlias = Callable[[Case], Iterator[Hypothesis]]


def _ratio(case: Case, left: Arrays, right: Arrays) -> float:
    """Fits the factor between some arrays by least squares, in which the arrays that are known best count most."""
    dot, square = 0.0, 0.0
    for name, array in right.items():
        size = case.tolerance(name) * float(np.abs(case.numerical[name]).max(initial=0.0))
        if size:  # divided first: squares of large or small numbers would over- or underflow
            with np.errstate(over="ignore", invalid="ignore"):
                one, other = left[name] / size, array / size
                dot += float((one * other).sum())
                square += float((other * other).sum())
    return dot / square if square else 0.0


def _alike(
    case: Case, fit: Callable[[list[str]], float], values: Callable[[str, float], Values]
) -> Iterator[tuple[float, list[str]]]:
    """Yields constants, each with the wrong arrays that it explains.

    `fit` finds the constant of some arrays. `values` returns the gradient of an array that goes with a constant.
    """
    left = sorted(case.wrong, key=lambda name: (case.tolerance(name), -case.numerical[name].size))
    while left:
        first, constant = left[0], fit(left[:1])
        slack = case.tolerance(first)  # the constant is known as well as the array that it was found from
        group = [
            name
            for name in left
            if case.misfit(name, values(name, constant), case.analytic[name]) <= case.tolerance(name) + slack
        ]
        if first in group:
            yield fit(group), group
        left = [name for name in left[1:] if name not in group]


def _meaning(case: Case, factor: float, within: float) -> tuple[str, float]:
    """Returns in words what a fitted factor stands for, and its exact value; "" and the factor itself if nothing known.

    Where several sizes are the same number, the words name up to three.
    """
    sizes: list[tuple[str, float]] = [("", 1.0)]
    for what, size in case.sizes.items():
        said = what if f"{size:g}" in what.split() else f"{what} = {size:g}"
        sizes += [(f"multiplied by {said}", size), (f"divided by {said}", 1.0 / size)]
    simple = [("", 1.0), ("doubled", 2.0), ("halved", 0.5)]
    signs = [("", 1.0), ("of the wrong sign", -1.0)]
    found: list[tuple[list[str], float]] = []
    for (sized, size), (halved, half), (signed, sign) in product(sizes, simple, signs):
        words = [word for word in (signed, halved, sized) if word]
        if words and abs(factor - size * half * sign) <= within * abs(factor):
            found.append((words, size * half * sign))
    if not found:
        return "", factor
    fewest = min(len(words) for words, _ in found)
    simplest = [" and ".join(words) for words, _ in found if len(words) == fewest]
    return ", or ".join(simplest[:3]), found[0][1]


def _quotient(factor: float, *, without: bool = False) -> str:
    return f"yours / numerical = {factor:.6g}" + ", both without the penalty's part" * without


def everything_scaled(case: Case) -> Iterator[Hypothesis]:
    """Supposes that the whole gradient, or all but the penalty's part, is a known factor times the right one."""
    names = case.informative
    if not case.whole or not set(names) <= set(case.wrong):
        return
    within = min(map(case.tolerance, names), default=0.0)
    for part, penalty in (("the whole gradient", {}), ("all but the penalty's part", case.decay)):
        own = {name: penalty.get(name, 0.0) * case.params[name] for name in names}
        right = {name: case.numerical[name] - own[name] for name in names}
        factor = _ratio(case, {name: case.analytic[name] - own[name] for name in names}, right)
        meaning, factor = _meaning(case, factor, within)
        if meaning:
            arrays = {name: factor * right[name] + own[name] for name in names}
            yield Hypothesis(f"{part} is {meaning}", arrays, _quotient(factor, without=bool(penalty)))


def array_scaled(case: Case) -> Iterator[Hypothesis]:
    """Supposes that the gradient of one array is a known factor times the right one."""
    for name in case.wrong:
        own = case.decay.get(name, 0.0) * case.params[name]
        for part, penalty in (("", np.zeros_like(own)), (" but for the penalty's part", own)):
            right = case.numerical[name] - penalty
            factor = _ratio(case, {name: case.analytic[name] - penalty}, {name: right})
            meaning, factor = _meaning(case, factor, case.tolerance(name))
            if meaning:
                if case.params[name].ndim < 2 and "divided by the number of samples" in meaning:
                    meaning += " (averaged over the samples where it should be summed)"
                cause = f"the gradient of {{arrays}} is {meaning}{part}"
                yield Hypothesis(cause, {name: factor * right + penalty}, _quotient(factor, without=bool(part)))


def updates(case: Case) -> Iterator[Hypothesis]:
    """Supposes that arrays hold what a step of gradient descent adds to the parameters."""
    for factor, names, what in _factors(case):
        if -1.0 < factor < 0.0 and is_round(factor, max(map(case.tolerance, names))):
            arrays = {name: factor * case.numerical[name] for name in names}
            yield Hypothesis(f"{what} is an update of {factor:.6g} times the gradient", arrays, _quotient(factor))


def scaled_anyhow(case: Case) -> Iterator[Hypothesis]:
    """Supposes that arrays have a factor that stands for nothing known, and groups those with the same factor."""
    for factor, names, what in _factors(case):
        arrays = {name: factor * case.numerical[name] for name in names}
        yield Hypothesis(f"{what} is a constant times the right one", arrays, _quotient(factor))


def _factors(case: Case) -> Iterator[tuple[float, list[str], str]]:
    """Yields the factors that arrays have in common, the arrays, and what these are in words."""

    def fit(names: list[str]) -> float:
        return _ratio(case, case.analytic, {name: case.numerical[name] for name in names})

    for factor, names in _alike(case, fit, lambda name, factor: factor * case.numerical[name]):
        if factor and sum(np.count_nonzero(case.numerical[name]) for name in names) >= ENTRIES:
            whole = case.whole and set(case.informative) <= set(names)
            yield factor, names, "the whole gradient" if whole else "the gradient of {arrays}"


def zero(case: Case) -> Iterator[Hypothesis]:
    """Supposes that arrays were never filled, or that nothing was propagated to them."""
    empty = [name for name in case.wrong if not case.analytic[name].any()]
    layers = sorted({case.layers[name] for name in empty if name in case.layers})
    below = [name for name, layer in case.layers.items() if layers and layer <= layers[-1]]
    at_zero = {name: np.zeros_like(case.numerical[name]) for name in empty}
    if layers and len(layers) > 1 and set(below) <= {name for name in case.analytic if not case.analytic[name].any()}:
        cause = f"nothing is propagated to layer {layers[-1]} and below"
        yield Hypothesis(cause, at_zero, "{arrays} are zero in every entry")
    for name in empty:
        cause = "the gradient of {arrays} was forgotten: all of it is zero"
        yield Hypothesis(cause, {name: at_zero[name]}, "not one entry of {arrays} is other than 0")


def exchanged(case: Case) -> Iterator[Hypothesis]:
    """Supposes that two arrays of one size hold each other's gradients, or that one holds that of the other."""
    right = case.numerical
    for name, other in permutations(case.wrong, 2):
        if name < other and right[name].size == right[other].size:
            for how, turn in _SAME if right[name].shape == right[other].shape else _TURNED:
                arrays = {
                    name: turn(right[other]).reshape(right[name].shape),
                    other: turn(right[name]).reshape(right[other].shape),
                }
                yield Hypothesis(
                    f"the gradients of {name} and {other} are exchanged{how}", arrays, "each is the other's"
                )
    for name, other in product(case.wrong, right):
        if name != other and right[name].shape == right[other].shape and not case.is_rounding(other):
            yield Hypothesis(
                f"{name} holds the gradient of {other}", {name: right[other]}, f"the numerical gradient of {other}"
            )


#: How the gradients of two arrays of the same shape may be exchanged.
_SAME: tuple[tuple[str, Callable[[Values], Values]], ...] = (("", lambda a: a),)
#: How the gradients of two arrays of the same size, but not the same shape, may be exchanged.
_TURNED: tuple[tuple[str, Callable[[Values], Values]], ...] = (
    (" and transposed", lambda a: a.T),
    (" and reshaped", lambda a: a),
)


def turned(case: Case) -> Iterator[Hypothesis]:
    """Supposes that a matrix is transposed, or was read in the other order."""
    for name in case.wrong:
        right = case.numerical[name]
        if right.ndim < 2:
            continue
        if right.shape == right.T.shape:
            yield Hypothesis(
                "the gradient of {arrays} is transposed", {name: right.T}, "the transpose of the numerical gradient"
            )
        for how, values in {
            "its transpose, reshaped to {shape}": right.T.reshape(right.shape),
            "filled in column after column": right.ravel().reshape(right.shape, order="F"),
        }.items():
            cause = f"the gradient of {{arrays}} is {how.format(shape=right.shape)}"
            yield Hypothesis(cause, {name: values}, IN_THAT_ORDER)


def flattened_in_another_order(case: Case) -> Iterator[Hypothesis]:
    """Supposes that the arrays follow each other in another order in one flat vector, or each was flattened so."""
    names = list(case.numerical)
    if len(case.params) < 2:
        return
    shapes = {name: array.shape for name, array in case.numerical.items()}
    vectors = [name for name in names if case.params[name].ndim < 2]
    orders = {
        "all matrices, then all biases": [name for name in names if name not in vectors] + vectors,
        "from the last to the first": names[::-1],
        "by name": sorted(names),
    }
    for how, order in orders.items():
        if order != names:
            flat = np.concatenate([np.ravel(case.numerical[name]) for name in order])
            yield Hypothesis(f"the arrays follow each other in another order: {how} ({', '.join(order)})",
                             dict(split(flat, shapes)), IN_THAT_ORDER)  # fmt: skip
    flat = np.concatenate([np.ravel(case.numerical[name], order="F") for name in names])
    yield Hypothesis("the arrays were flattened column after column", dict(split(flat, shapes)), IN_THAT_ORDER)


def gates_in_another_order(case: Case) -> Iterator[Hypothesis]:
    """Supposes that the gates of a recurrent layer stand side by side in another order."""
    for letters in sorted(set(case.gates.values())):
        for order in permutations(range(len(letters))):
            if order == tuple(range(len(letters))):
                continue
            arrays = {
                name: np.concatenate([np.split(case.numerical[name], len(letters), axis=-1)[k] for k in order], axis=-1)
                for name in case.wrong
                if case.gates.get(name) == letters
            }
            other = "".join(letters[k] for k in order)
            for name, values in arrays.items():
                cause = f"the gates of {{arrays}} are in the order {other}, the layer has {letters}"
                yield Hypothesis(cause, {name: values}, IN_THAT_ORDER)


def penalty(case: Case) -> Iterator[Hypothesis]:
    """Supposes that the error is proportional to the parameters, as when the penalty's part is wrong."""
    strengths = {value for value in case.decay.values() if value}
    for name in case.wrong:
        w, right, strength = case.params[name], case.numerical[name], case.decay.get(name, 0.0)
        if not w.any():
            continue
        for part, what in _PENALTIES.items() if strength else ():
            yield Hypothesis(f"the penalty's term {what} in {{arrays}}", {name: right + part * strength * w},
                             f"yours - numerical = {part * strength:.6g} * {{arrays}}")  # fmt: skip
        for other in () if strength else sorted(strengths):
            cause = "the penalty's term is added to {arrays} too, which it does not cover"
            yield Hypothesis(cause, {name: right + other * w}, f"yours - numerical = {other:.6g} * {{arrays}}")
    off = {name: case.analytic[name] - case.numerical[name] for name in case.wrong}

    def fit(names: list[str]) -> float:
        return _ratio(case, off, {name: case.params[name] for name in names})

    for extra, names in _alike(case, fit, lambda name, extra: case.numerical[name] + extra * case.params[name]):
        given = {case.decay.get(name, 0.0) for name in names}
        if not extra or len(given) > 1 or sum(np.count_nonzero(case.params[name]) for name in names) < ENTRIES:
            continue
        (strength,), term = given, f"{extra:.6g} * {{arrays}}"
        if strength:
            meaning, _ = _meaning(case, (strength + extra) / strength, case.fits)
            cause = f"the penalty's term has the strength {strength + extra:.6g} in {{arrays}}, not {strength:.6g}"
            cause += f": it is {meaning}" * bool(meaning)
        elif case.layers:
            cause = f"the gradient has a penalty's term, {term}, which the loss has not"
        else:
            cause = f"{term} is added, as of an L2 penalty that the loss has not, or has with another strength"
        arrays = {name: case.numerical[name] + extra * case.params[name] for name in names}
        yield Hypothesis(cause, arrays, f"yours - numerical = {term} in every entry")


#: Mistakes with the penalty's term, by what they add to the right gradient, as a multiple of that term.
_PENALTIES = {
    -1.0: "is missing",
    1.0: "is doubled (the square's 2 without the ½)",
    -0.5: "is halved",
    -2.0: "has the wrong sign",
}


def lines(case: Case) -> Iterator[Hypothesis]:
    """Supposes that only some rows, columns or entries are wrong: zero, twice what they should be, or anything else."""
    for name in case.wrong:
        analytic, right = case.analytic[name], case.numerical[name]
        off = np.abs(analytic - right) > case.tolerance(name) * np.abs(right).max(initial=0.0)
        if not right[~off].any():  # zeros are right by chance
            continue
        which, length = _which(off)
        are = "are" if "s " in which else "is"
        for values, how in ((0.0 * right, "left out: zero"), (2.0 * right, "added up twice")):
            if which:
                cause = f"{which} of {{arrays}} {are} {how}"
                yield Hypothesis(cause, {name: np.where(off, values, right)}, "all other entries are right")
        if length >= ENTRIES and 2 * off.sum() <= off.size:
            yield Hypothesis(f"only {which} of {{arrays}} {are} wrong", {name: np.where(off, analytic, right)},
                             "all other entries are right")  # fmt: skip


def _which(off: NDArray[np.bool_]) -> tuple[str, int]:
    """Returns in words the rows or columns, or the one entry, that are off, and their length.

    They must be off in all their entries, and nothing else may be; otherwise the result is "" and 0.
    """
    places = np.argwhere(off)
    if off.all() or not len(places):
        return "", 0
    if off.ndim == 1 and len(places) == 1:
        return _ordinal("entry", places[0], off.size), 1
    for axis, what in ((1, "row"), (0, "column")) if off.ndim == 2 else ():
        whole = np.flatnonzero(off.all(axis=axis))
        if len(places) == len(whole) * off.shape[axis]:
            return _ordinal(what, whole, off.shape[1 - axis]), off.shape[axis]
    return "", 0


def _ordinal(what: str, places: NDArray[np.intp], size: int) -> str:
    if len(places) > 1:
        return f"{what}s {', '.join(map(str, places[:6]))}{', …' if len(places) > 6 else ''}"
    return {0: f"the first {what}", size - 1: f"the last {what}"}.get(int(places[0]), f"{what} {places[0]}")


#: The patterns in which the numbers are right, but stand elsewhere, or are missing.
REORDERED: tuple[Pattern, ...] = (
    zero,
    exchanged,
    turned,
    flattened_in_another_order,
    gates_in_another_order,
    axes_in_another_order,
    blocks_in_another_order,
)
#: The patterns that are tried first, because they name a mistake.
SPECIFIC: tuple[Pattern, ...] = (
    everything_scaled,
    *REORDERED,
    penalty,
    array_scaled,
    updated_parameters,
    clipped,
    scaled_to_a_norm,
    updates,
    rounded,
    distorted,
)
#: Those that are the same for the transposes of all matrices.
OF_TRANSPOSES: tuple[Pattern, ...] = (
    everything_scaled,
    gates_in_another_order,
    penalty,
    array_scaled,
    updated_parameters,
    clipped,
    scaled_to_a_norm,
    updates,
    rounded,
)
#: The patterns that show in any entries of an array.
FACTORS: tuple[Pattern, ...] = (everything_scaled, zero, array_scaled, scaled_anyhow)
#: The patterns that are tried last, because they say less about the mistake.
VAGUE: tuple[Pattern, ...] = (reversed_or_shifted, sorted_entries, scaled_anyhow, lines)
