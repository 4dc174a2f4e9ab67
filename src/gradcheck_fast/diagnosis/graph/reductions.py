"""Lists mistakes with what is computed along axes: maxima, means, running sums, and sums over what was broadcast."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import combinations
from math import prod
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from gradcheck_fast.diagnosis.graph.mutants import Change, Mutant
from gradcheck_fast.program.primitive import sum_to_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.diagnosis.graph.backward import Backward, EdgeRule, Reals
    from gradcheck_fast.diagnosis.graph.mutants import Family, Place, View

    #: What goes back to the input of a step, by the number of the step and its sensitivity.
    Back: TypeAlias = Callable[[int, Reals], Reals]


def _at(place: Place, k: int, back: Back) -> Change:
    """Makes the change of what goes back from all steps of a place to their input k."""
    return Change({(number, k): _rule_of(number, back) for number in place.steps})


def _rule_of(number: int, back: Back) -> EdgeRule:
    return lambda bars, up: back(number, up)


# ---- extremes


def wrong_winners(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the sensitivity of a maximum along axes goes to other entries than the largest."""
    backward = view.backward
    found = [number for number in backward.bars if backward.steps[number].name in ("max", "min")]
    for place in view.places_of(found):
        name = backward.steps[place.steps[0]].name
        what = "largest" if name == "max" else "smallest"
        for how, to in _RECEIVERS.items():
            cause = f"{place.where}: what goes back through the {name} goes to {how.format(what=what)}"
            yield Mutant(cause, _at(place, 0, _sent(backward, to)), place)
        lengths = {np.ndim(backward.values[backward.steps[n].inputs[0]]) for n in place.steps}
        for axis in range(min(lengths)):
            if all(axis not in backward.steps[n].attributes["axis"] for n in place.steps):
                cause = f"{place.where}: what goes back through the {name} goes to the {what} along axis {axis}"
                yield Mutant(cause, _at(place, 0, _sent(backward, _largest_along(axis))), place)


#: To which entries of x what goes back is sent, if `top` is the extreme, and `is_max` says which; as weights.
_Receivers: TypeAlias = "Callable[[Reals, tuple[int, ...], bool], Reals]"


def _sent(backward: Backward, to: _Receivers, factor: float = 1.0) -> Back:
    def back(number: int, up: Reals) -> Reals:
        step = backward.steps[number]
        x, axis = backward.x(number)[0], step.attributes["axis"]
        wide = np.reshape(up, tuple(1 if k in axis else n for k, n in enumerate(x.shape)))
        return factor * wide * to(x, axis, step.name == "max")

    return back


def _one_of(x: Reals, axis: tuple[int, ...], place: Callable[[Reals], NDArray[np.intp]]) -> Reals:
    """Returns 1 at one entry of each group along some axes, and 0 elsewhere; `place` says at which, of rows."""
    rows = np.moveaxis(x, axis, range(-len(axis), 0))
    flat = rows.reshape(*rows.shape[: x.ndim - len(axis)], -1)
    chosen = np.zeros(flat.shape)
    np.put_along_axis(chosen, np.expand_dims(place(flat), -1), 1.0, axis=-1)
    return np.moveaxis(chosen.reshape(rows.shape), range(-len(axis), 0), axis)


def _loser(x: Reals, axis: tuple[int, ...], is_max: bool) -> Reals:
    return _one_of(x, axis, lambda rows: rows.argmin(-1) if is_max else rows.argmax(-1))


def _all_that_tie(x: Reals, axis: tuple[int, ...], is_max: bool) -> Reals:
    extreme = x.max(axis=axis, keepdims=True) if is_max else x.min(axis=axis, keepdims=True)
    return np.asarray(x == extreme, dtype=np.float64)


def _first_of_absolute(x: Reals, axis: tuple[int, ...], is_max: bool) -> Reals:
    return _one_of(x, axis, lambda rows: np.abs(rows).argmax(-1))


def _at_end(at: int, x: Reals, axis: tuple[int, ...], is_max: bool) -> Reals:
    return _one_of(x, axis, lambda rows: np.full(rows.shape[:-1], at % rows.shape[-1]))


def _largest_along(other: int) -> _Receivers:
    def receivers(x: Reals, axis: tuple[int, ...], is_max: bool) -> Reals:
        return _one_of(x, (other,), lambda rows: rows.argmax(-1) if is_max else rows.argmin(-1))

    return receivers


def _share(x: Reals, axis: tuple[int, ...]) -> float:
    return 1.0 / float(prod(x.shape[k] for k in axis))


_RECEIVERS: dict[str, _Receivers] = {
    "all entries, not to the {what} alone": lambda x, axis, is_max: np.ones_like(x),
    "all entries in equal shares, as through a mean": lambda x, axis, is_max: np.full_like(x, _share(x, axis)),
    "the first entry, not to the {what}": partial(_at_end, 0),
    "the last entry, not to the {what}": partial(_at_end, -1),
    "the entry at the other end, not to the {what}": _loser,
    "every entry that equals the {what}, where several do": _all_that_tie,
    "the entry that is largest in size, not to the {what}": _first_of_absolute,
}


def wrong_pairs(view: View) -> Iterator[Mutant]:
    """Yields mutants in which both inputs of a maximum of two get its sensitivity, or the lesser one does."""
    backward = view.backward
    found = [
        number for number in backward.bars
        if backward.steps[number].name in ("maximum", "minimum") and len(backward.inner(number)) == 2
    ]  # fmt: skip
    for place in view.places_of(found):
        name = backward.steps[place.steps[0]].name
        for how, weight in {
            "to both": lambda of_own: 1.0,
            "to the other one": lambda of_own: 1.0 - of_own,
        }.items():
            rules = {(n, k): _weighted(backward, n, k, weight) for n in place.steps for k in (0, 1)}
            yield Mutant(f"{place.where}: what goes back through the {name} goes {how}", Change(rules), place)


def _weighted(backward: Backward, number: int, k: int, weight: Callable[[Reals], Reals | float]) -> EdgeRule:
    return lambda bars, up: sum_to_shape(up * weight(backward.slope(number, k)), np.shape(backward.x(number)[k]))


# ---- what was broadcast

#: What is smaller than this part of what came is rounding.
_ROUNDING = 1e-13


def unsummed(view: View) -> Iterator[Mutant]:
    """Yields mutants in which what goes back to something that was broadcast, as a bias, is not summed rightly."""
    backward = view.backward
    found: dict[tuple[int, tuple[int, ...], tuple[int, ...]], list[int]] = {}
    for number in backward.bars:
        if backward.is_entrywise(number):
            for k, source in backward.inner(number):
                wide, narrow = np.shape(backward.values[number]), np.shape(backward.values[source])
                if prod(narrow) < prod(wide):
                    found.setdefault((k, wide, narrow), []).append(number)
    for (k, _, _), numbers in found.items():
        for place in view.places_of(numbers):
            for how, back in _summations(backward, place.steps[0], k):
                of_step = _of_wide(backward, k, back)
                if any(_is_more_than_rounding(of_step(n, backward.bars[n]), backward.bars[n]) for n in place.steps):
                    cause = f"{place.where}: what goes back to what was broadcast {how}"
                    yield Mutant(cause, _at(place, k, of_step), place)
    yield from _unsummed_in_all_uses(
        view, {edge: key[1:] for key, edges in found.items() for edge in ((n, key[0]) for n in edges)}
    )


def _is_more_than_rounding(back: Reals, up: Reals) -> bool:
    """Whether something goes back; that nothing does may have any cause."""
    return bool(np.abs(back).max(initial=0.0) > _ROUNDING * np.abs(up).max(initial=0.0))


def _unsummed_in_all_uses(
    view: View, edges: Mapping[tuple[int, int], tuple[tuple[int, ...], tuple[int, ...]]]
) -> Iterator[Mutant]:  # fmt: skip
    """Yields mutants in which the same is done wherever one step is broadcast, if that is in several places."""
    backward = view.backward
    uses: dict[tuple[object, ...], list[tuple[int, int]]] = {}
    for (number, k), shapes in edges.items():
        uses.setdefault((backward.steps[number].inputs[k], *shapes), []).append((number, k))
    for together in uses.values():
        places = list(view.places_of({number for number, _ in together}))
        if len(together) < 2 or any(len(place.steps) == len(together) for place in places):
            continue
        place = places[0]._replace(steps=tuple(number for number, _ in together))
        for how, back in _summations(backward, *together[0]):
            rules = {(number, k): _rule_of(number, _of_wide(backward, k, back)) for number, k in together}
            cause = f"{place.where}: what goes back to what was broadcast {how}, in all of its uses"
            yield Mutant(cause, Change(rules), place)


def _of_wide(backward: Backward, k: int, back: Callable[[Reals, tuple[int, ...]], Reals]) -> Back:
    def of_step(number: int, up: Reals) -> Reals:
        return back(up * backward.slope(number, k), np.shape(backward.x(number)[k]))

    return of_step


def _summations(
    backward: Backward, number: int, k: int
) -> Iterator[tuple[str, Callable[[Reals, tuple[int, ...]], Reals]]]:  # fmt: skip
    """Yields in words how what goes back may be summed, and the function that does it."""
    wide, narrow = np.shape(backward.values[number]), np.shape(backward.x(number)[k])
    aligned = (1,) * (len(wide) - len(narrow)) + narrow
    axes = [axis for axis, (n, m) in enumerate(zip(wide, aligned, strict=True)) if m == 1 < n]
    groups = [group for count in range(len(axes), 0, -1) for group in combinations(axes, count)]
    for group in groups:
        along = f"axis {group[0]}" if len(group) == 1 else f"the axes {', '.join(map(str, group))}"
        for how, reduce in {
            "is that of the first entry along": lambda a, axis: a.take([0], axis),
            "is that of the last entry along": lambda a, axis: a.take([-1], axis),
            "is averaged instead of summed along": lambda a, axis: a.mean(axis=axis, keepdims=True),
        }.items():
            ending = "" if "averaged" in how else ", not their sum"
            if ending and prod(narrow) == 1:
                continue  # a single number is soon the same by chance
            yield f"{how} {along}{ending}", _reduced(group, reduce)
    if axes and prod(narrow) > 1:
        yield "is summed along all axes: all of its entries are the same sum", _along_all
    for other in range(len(wide)):
        kept = tuple(n for axis, n in enumerate(wide) if axis != other)
        if len(axes) == 1 and other not in axes and prod(kept) == prod(narrow):
            yield f"is summed along axis {other} instead of axis {axes[0]}", _along_other(other)


def _reduced(
    group: tuple[int, ...], reduce: Callable[[Reals, int], Reals]
) -> Callable[[Reals, tuple[int, ...]], Reals]:  # fmt: skip
    def back(wide: Reals, shape: tuple[int, ...]) -> Reals:
        for axis in group:
            wide = reduce(wide, axis)
        return sum_to_shape(wide, shape)

    return back


def _along_all(wide: Reals, shape: tuple[int, ...]) -> Reals:
    return np.full(shape, wide.sum())


def _along_other(axis: int) -> Callable[[Reals, tuple[int, ...]], Reals]:
    return lambda wide, shape: wide.sum(axis=axis).reshape(shape)


# ---- means and running sums


def wrong_means(view: View) -> Iterator[Mutant]:
    """Yields mutants in which a mean is taken for a sum on the way back, or divides by another number of entries."""
    for place, k, count, _ in _means(view):
        cause = f"{place.where}: the mean is taken for a sum on the way back: it is not divided by {count}"
        yield Mutant(cause, _at(place, k, lambda number, up: up), place)
    yield from (mutant for factor, mutant in _divided_by_others(view) if factor not in _SIMPLE)


def means_doubled_or_halved(view: View) -> Iterator[Mutant]:
    """Yields those that double or halve the mean's derivative, as a forgotten factor of a square or of a root does."""
    yield from (mutant for factor, mutant in _divided_by_others(view) if factor in _SIMPLE)


#: These factors may have another cause than a wrong number of entries.
_SIMPLE = (2.0, 0.5)


def _divided_by_others(view: View) -> Iterator[tuple[float, Mutant]]:
    """Yields mutants in which a mean divides by another number of entries, with the factor that this makes."""
    backward = view.backward
    for place, k, count, lengths in _means(view):
        for other in dict.fromkeys((*lengths, count * count)):
            if other not in (1, count):
                how = f"multiplied by {count / other:.6g}: it is divided by {other}, not by {count}"
                change = _at(place, k, lambda number, up, other=other: up / other)  # type: ignore[misc]
                yield count / other, Mutant(f"{place.where}: the mean's derivative is {how}", change, place)
        some = {int(np.count_nonzero(backward.x(backward.steps[n].inputs[k])[0])) for n in place.steps}
        if len(some) == 1 and 1 < (other := some.pop()) < count and other not in (*lengths, count * count):
            cause = f"{place.where}: the mean divides by {other}, the number of entries that are not 0, not by {count}"
            change = _at(place, k, lambda number, up, other=other: up / other)  # type: ignore[misc]
            yield count / other, Mutant(f"{cause}, on the way back", change, place)


def _means(view: View) -> Iterator[tuple[Place, int, int, tuple[int, ...]]]:
    """Yields the places of means, with the input that is the sum, the number of entries, and the lengths of axes."""
    counts: dict[int, tuple[int, int, tuple[int, ...]]] = {}
    for number in view.backward.bars:
        of = _mean_of(view.backward, number)
        if of is not None:
            counts[number] = of
    for place in view.places_of(counts):
        k, count, lengths = counts[place.steps[0]]
        if all(counts[number][:2] == (k, count) for number in place.steps):
            yield place, k, count, lengths


def _mean_of(backward: Backward, number: int) -> tuple[int, int, tuple[int, ...]] | None:
    """For a step that makes a mean of a sum: its input that is the sum, the number of entries, and their lengths."""
    step = backward.steps[number]
    for k, source in backward.inner(number) if step.name in ("divide", "multiply") else ():
        if backward.steps[source].name != "sum" or len(step.inputs) != 2 or (step.name == "divide" and k == 1):
            continue
        of = backward.steps[source]
        shape = np.shape(backward.x(source)[0])
        count = prod(shape[axis] for axis in of.attributes["axis"])
        other = backward.x(number)[1 - k]
        if np.size(other) == 1 and count > 1:
            factor = float(np.reshape(other, ()))
            if np.isclose(1.0 / factor if step.name == "multiply" else factor, count, rtol=1e-12, atol=0.0):
                return k, count, shape
    return None


def wrong_shares(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the sensitivity of a sum or a mean goes to the first or the last entry alone."""
    backward = view.backward
    sums = [
        number
        for number in backward.bars
        if backward.steps[number].name == "sum" and np.size(backward.values[number]) > 1
    ]
    means = {backward.steps[number].inputs[of[0]]: of for number in backward.bars if (of := _mean_of(backward, number))}
    for place in view.places_of(sums):
        counts = {means[number][1] for number in place.steps if number in means}
        for which, at in {"first": 0, "last": -1}.items():
            receivers = partial(_at_end, at)
            name = "mean" if counts else "sum"
            cause = f"{place.where}: what goes back through the {name} goes to the {which} entry alone"
            yield Mutant(cause, _at(place, 0, _sent(backward, receivers)), place)
            if len(counts) == 1 and all(number in means for number in place.steps):
                (count,) = counts
                whole = _at(place, 0, _sent(backward, receivers, factor=count))
                yield Mutant(f"{cause}, and is not divided", whole, place)


def wrong_sums(view: View) -> Iterator[Mutant]:
    """Yields mutants in which a sum's sensitivity is spread along another axis, or a running sum's is not summed."""
    backward = view.backward
    square = [number for number in backward.bars if _is_of_square(backward, number)]
    for place in view.places_of(square):
        axis = backward.steps[place.steps[0]].attributes["axis"][0]
        cause = f"{place.where}: what goes back through the sum along axis {axis} is spread along axis {1 - axis}"
        yield Mutant(cause, _at(place, 0, _spread_along_other(backward)), place)
    running = [number for number in backward.bars if backward.steps[number].name == "cumsum"]
    for place in view.places_of(running):
        cause = f"{place.where}: what goes back through the running sum is not summed"
        yield Mutant(cause, _at(place, 0, lambda number, up: up), place)
        cause = f"{place.where}: what goes back through the running sum is summed from the beginning, not from the end"
        yield Mutant(cause, _at(place, 0, _forward_sum(backward)), place)


def _is_of_square(backward: Backward, number: int) -> bool:
    step = backward.steps[number]
    if step.name != "sum" or len(step.attributes["axis"]) != 1:
        return False
    shape = np.shape(backward.x(number)[0])
    return len(shape) == 2 and shape[0] == shape[1] > 1


def _spread_along_other(backward: Backward) -> Back:
    def back(number: int, up: Reals) -> Reals:
        (axis,) = backward.steps[number].attributes["axis"]
        shape = np.shape(backward.x(number)[0])
        return np.array(np.broadcast_to(np.reshape(up, (-1, 1) if axis == 0 else (1, -1)), shape))

    return back


def _forward_sum(backward: Backward) -> Back:
    return lambda number, up: np.cumsum(up, axis=backward.steps[number].attributes["axis"])


#: The families of this module, but for those of `OTHERS`.
FAMILIES: tuple[Family, ...] = (wrong_winners, unsummed, wrong_means, wrong_shares, wrong_sums, wrong_pairs)
#: Those of which the derivatives of functions may say more.
OTHERS: tuple[Family, ...] = (means_doubled_or_halved,)
