"""Finds sensitivities that are clipped in each turn of a loop, with the bound at which they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.diagnosis.graph.entrywise import slope_between
from gradcheck_fast.diagnosis.graph.mutants import Change, Mutant, block, merged
from gradcheck_fast.diagnosis.graph.recurrences import states

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Reals
    from gradcheck_fast.diagnosis.graph.mutants import Family, Place, View
    from gradcheck_fast.diagnosis.graph.recognise import Entrywise

#: The bounds that are tried first, as quantiles of the sizes of the right sensitivities: from none clipped to many.
_QUANTILES = (1.0, 0.97, 0.9, 0.8, 0.65, 0.45, 0.2)
#: A bound is between two of them if what it explains along so many directions is.
_DIRECTIONS = 3
#: The bound is then approached by so many secants, at most.
_MOST_SECANTS = 12
#: It is known if what it gives along a direction is what is seen there, to this part.
_KNOWN = 1e-12
#: Users write bounds with no more digits than these.
_DIGITS = 6
#: What is seen for a bound of so many digits is right to this part.
_NEAR = 1e-7
#: What is said of loops whose sensitivities are divided by the number of samples only afterwards.
_OF_SUMS = "or at N times that, if what comes back is divided by N only after the loop"
#: A bound is fitted to at least so many entries.
_LEAST_ENTRIES = 8


def clipped_in_each_turn(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the sensitivity of a state is clipped in each turn, at a bound that is fitted.

    It is clipped before or after the derivative of the state's function.
    """
    backward = view.backward
    entries = sum(view.analytic[name].size for name in view.wrong if name in view.analytic)
    functions = {function.top: function for function in view.functions if function.name}
    loops = [
        state.place for state in states(view)
        if not state.is_sum and len(state.place.steps) > 2 and all(n in functions for n in state.place.steps)
    ]  # fmt: skip
    for place in loops[-1:] if entries >= _LEAST_ENTRIES else ():
        of_place = [functions[number] for number in place.steps]
        if not view.can_explain(_clipped(view, of_place, 0.0, is_after=True)):
            continue
        for is_after, what in ((True, "what goes back through the derivative"), (False, "what comes back")):
            sizes = [np.abs(backward.bars[f.bottom if is_after else f.top]).ravel() for f in of_place]
            tried = np.quantile(np.concatenate(sizes), _QUANTILES)
            for bound in _bounds(view, partial(_clipped, view, of_place, is_after=is_after), tried):
                yield _mutant(view, place, of_place, what, bound, is_after=is_after)


def _mutant(
    view: View, place: Place, functions: list[Entrywise], what: str, bound: float, *, is_after: bool
) -> Mutant:  # fmt: skip
    cause = f"{place.where}: {what} is clipped at {bound:.6g} in each turn of the loop"
    cause += f" ({_OF_SUMS})"
    return Mutant(cause, _clipped(view, functions, bound, is_after=is_after), place)


def _clipped(view: View, functions: list[Entrywise], bound: float, *, is_after: bool) -> Change:
    def rule(function: Entrywise) -> Callable[..., Reals]:
        def back(bars: object, up: Reals) -> Reals:
            slope = slope_between(view.backward, function)
            if is_after:
                return np.clip(up * slope, -bound, bound)
            return np.clip(up, -bound, bound) * slope

        return back

    return merged(block(function.top, function.bottom, rule(function)) for function in functions)


def _bounds(view: View, change: Callable[[float], Change], tried: Reals) -> Iterator[float]:
    """Yields the bounds at which a change may explain what is wrong: it does along a direction."""
    backward, rng = view.backward, np.random.default_rng(0)
    directions = {
        number: (
            rng.random((_DIRECTIONS, error.size)) * error.ravel(),  # so that the more is clipped, the more is explained
            error,
        )
        for number, name in zip(backward.parameters, view.names, strict=True)
        if name in view.wrong
        and name in view.analytic
        and number in backward.bars
        and (error := view.analytic[name] - backward.bars[number]).size
    }
    wanted = np.sum([r @ np.ravel(error) for r, error in directions.values()], axis=0)
    size = float(np.sum([np.abs(r[0]) @ np.abs(np.ravel(error)) for r, error in directions.values()]))

    def off(bound: float) -> Reals:
        found = backward.change_of_gradient(change(bound))
        along = (directions[k][0] @ np.ravel(found[k]) for k in found if k in directions)
        return sum(along, start=-wanted)

    above, off_above = float(tried[0]), -wanted
    for bound in tried[1:].tolist():
        off_bound = off(bound)
        if np.all(off_bound * off_above <= 0.0):
            one, other = (bound, float(off_bound[0])), (above, float(off_above[0]))
            found = _between(lambda c: float(off(c)[0]), one, other, size)
            if found is not None:
                yield found
        above, off_above = bound, off_bound


def _between(
    off: Callable[[float], float], one: tuple[float, float], other: tuple[float, float], size: float
) -> float | None:  # fmt: skip
    """Returns where a function is zero between two places, at which it has different signs."""
    kept = set[float]()
    for _ in range(_MOST_SECANTS):
        (a, off_a), (b, off_b) = one, other
        at = a - off_a * (b - a) / (off_b - off_a) if off_b != off_a else a
        rounded = float(f"{at:.{_DIGITS}g}")
        at = rounded if abs(rounded - at) <= _NEAR * abs(at) else at
        off_at = off(at)
        if abs(off_at) <= _KNOWN * size:
            return at
        # the end that stays counts half, so that both ends move (the Illinois variant of the regula falsi)
        one, other = (at, off_at), ((b, off_b) if off_at * off_a > 0.0 and off_at * off_b < 0.0 else (a, off_a))
        other = (other[0], other[1] / 2.0) if other[0] in kept else other
        kept = {other[0]}
    return None


FAMILIES: tuple[Family, ...] = (clipped_in_each_turn,)
