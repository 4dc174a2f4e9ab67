"""Lists mistakes in the derivative of softmax and of its logarithm, and in what a cross-entropy makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from gradcheck_fast.diagnosis.graph.between import steps_between, through, values_with
from gradcheck_fast.diagnosis.graph.known_softmaxes import Softmax, log_softmax_back, log_softmaxes, softmax_back
from gradcheck_fast.diagnosis.graph.mutants import Change, Mutant, block, merged
from gradcheck_fast.diagnosis.graph.places import short

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, EdgeRule, Reals
    from gradcheck_fast.diagnosis.graph.mutants import Family, View

    #: What goes back to z, if p is the softmax of z along an axis, and `up` comes back.
    Back: TypeAlias = Callable[[Reals, int, Reals], Reals]

# ---- mistakes


_WAYS: Mapping[str, Back] = {
    "the Jacobian of softmax is left out": lambda p, axis, up: up,
    "of the Jacobian of softmax there is only the diagonal, p (1 - p)": lambda p, axis, up: up * p * (1 - p),
    "the Jacobian of softmax is applied twice (p - y has it already)": lambda p, axis, up: softmax_back(
        p, axis, softmax_back(p, axis, up)
    ),
    "the derivative p (1 - p) is applied on top of that of softmax (p - y has it already)": lambda p, axis, up: (
        softmax_back(p, axis, up) * p * (1 - p)
    ),
    "the sum that softmax divides by is treated as a constant: p goes missing from p - y": lambda p, axis, up: up * p,
    "only the sum that softmax divides by is differentiated: y goes missing from p - y": lambda p, axis, up: (
        -p * (up * p).sum(axis=axis, keepdims=True)
    ),
    "in the Jacobian of softmax the factor p of the whole is left out": lambda p, axis, up: (
        up - (up * p).sum(axis=axis, keepdims=True)
    ),
    "in the Jacobian of softmax the factor p in the sum is left out": lambda p, axis, up: (
        p * (up - up.sum(axis=axis, keepdims=True))
    ),
    "in the Jacobian of softmax the sum is an average": lambda p, axis, up: (
        p * (up - (up * p).mean(axis=axis, keepdims=True))
    ),
}
_WAYS_OF_LOG: Mapping[str, Back] = {
    "the logarithm of the sum is treated as a constant: p goes missing from p - y": lambda p, axis, up: up,
    "only the logarithm of the sum is differentiated: y goes missing from p - y": lambda p, axis, up: (
        -p * up.sum(axis=axis, keepdims=True)
    ),
    "the derivative p (1 - p) is applied on top of p - y": lambda p, axis, up: (
        log_softmax_back(p, axis, up) * p * (1 - p)
    ),
    "the Jacobian of softmax is applied on top of p - y": lambda p, axis, up: softmax_back(
        p, axis, log_softmax_back(p, axis, up)
    ),
    "the Jacobian is that of softmax, not of its logarithm": softmax_back,
}


def wrong_softmax(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the Jacobian of a softmax is left out, only a part of it, or applied twice."""
    backward = view.backward
    found = {softmax.top: softmax for softmax in view.softmaxes}
    values = {top: backward.values[top] for top in found}
    yield from _mutants(view, found, values, _WAYS, softmax_back)


def wrong_log_softmax(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the derivative of the logarithm of a softmax is only a part of it, or another one."""
    found = {softmax.top: softmax for softmax in log_softmaxes(view.backward)}
    with np.errstate(all="ignore"):
        values = {top: np.exp(view.backward.values[top]) for top in found}
    yield from _mutants(view, found, values, _WAYS_OF_LOG, log_softmax_back)


def _mutants(
    view: View, found: Mapping[int, Softmax], values: Mapping[int, Reals], ways: Mapping[str, Back], right: Back
) -> Iterator[Mutant]:  # fmt: skip
    def rule(back: Back, number: int, axis: int) -> Callable[..., Reals]:
        return lambda bars, up: back(values[number], axis, up)

    for place in view.places_of(found):
        of_place = [found[number] for number in place.steps]
        for words, back in ways.items():
            blocks = [block(s.top, s.bottom, rule(back, s.top, s.axis)) for s in of_place]
            yield Mutant(f"{place.where}: {words}", merged(blocks), place)
        for axis in range(min(np.ndim(values[number]) for number in place.steps)):
            if all(axis != s.axis for s in of_place):
                blocks = [block(s.top, s.bottom, rule(right, s.top, axis)) for s in of_place]
                own = " and ".join(sorted({str(s.axis) for s in of_place}))
                cause = f"{place.where}: the Jacobian of softmax is taken along axis {axis} instead of axis {own}"
                yield Mutant(cause, merged(blocks), place)


def wrong_softmax_in_part(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the Jacobian of a softmax is wrong for one of the terms of the cost that it is used in.

    So it is if the gradient of an entropy of p by the scores lacks the sum in the Jacobian, beside a cross-entropy.
    """
    backward = view.backward
    found = {softmax.top: (softmax, _branches(backward, softmax.top)) for softmax in view.softmaxes}
    for place in view.places_of(top for top, (_, branches) in found.items() if 1 < len(branches) <= _MOST_BRANCHES):
        of_place = [found[number] for number in place.steps]
        if len({len(branches) for _, branches in of_place}) > 1:
            continue
        for at in range(len(of_place[0][1])):
            reader = of_place[0][1][at][0][0]
            line = short(backward.steps[reader].source)
            name = view.turns.name(reader, place.source)
            for words, back in _WAYS_IN_PART.items():
                blocks = [block(s.top, s.bottom, _in_part(backward, s, branches[at], back)) for s, branches in of_place]
                cause = f"{place.where}: in what comes back from {name}{f' ({line})' * (line not in name)} {words}"
                yield Mutant(cause, merged(blocks), place)


#: A softmax is used in at most so many terms of a cost.
_MOST_BRANCHES = 3
_WAYS_IN_PART: Mapping[str, Back] = {
    "the sum in the Jacobian of softmax is left out": lambda p, axis, up: up * p,
    **{words: back for words, back in _WAYS.items() if "p - y" not in words},
}


def _branches(backward: Backward, top: int) -> list[list[tuple[int, int]]]:
    """Returns what reads a step, in groups: a reader belongs to another one that is made of it."""
    groups: list[list[tuple[int, int]]] = []
    for edge in sorted(backward.readers.get(top, ()), reverse=True):
        for group in groups:
            if any(backward.above[reader] >> edge[0] & 1 for reader, _ in group):
                group.append(edge)
                break
        else:
            groups.append([edge])
    return groups


def _in_part(
    backward: Backward, softmax: Softmax, edges: list[tuple[int, int]], back: Back
) -> Callable[..., Reals]:  # fmt: skip
    p = backward.values[softmax.top]

    def rule(bars: Callable[[int], Reals], up: Reals) -> Reals:
        part = sum((backward.through(reader, k, bars(reader)) for reader, k in edges), np.zeros_like(p))
        return softmax_back(p, softmax.axis, up - part) + back(p, softmax.axis, part)

    return rule


# ---- masks


def forgotten_masks(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the mask of the scores that a softmax is of is forgotten on the way back."""
    backward = view.backward
    found: dict[int, tuple[Softmax, int, int]] = {}
    for softmax in view.softmaxes:
        masked = _mask(backward, softmax.bottom)
        if masked is not None:
            found[softmax.top] = (softmax, *masked)
    for place in view.places_of(found):
        rules: dict[tuple[int, int], EdgeRule] = {}
        blocks = []
        for number in place.steps:
            softmax, mask, scores = found[number]
            rules |= _without_mask(backward, softmax, mask, scores)
            blocks.append(block(softmax.top, scores, lambda bars, up: up))
        line = short(backward.steps[found[place.steps[0]][1]].source)
        cause = f"{place.where}: the mask of {line} is not applied where softmax is computed again for the way back"
        yield Mutant(cause, Change(rules), place)
        yield Mutant(
            f"{place.where}: the Jacobian of softmax and the mask of {line} are left out", merged(blocks), place
        )


def _mask(backward: Backward, number: int) -> tuple[int, int] | None:
    """Returns the step that masks scores, by a choice or by what it adds, and the scores; None if none does."""
    while True:
        inner = backward.inner(number)
        if len(inner) != 1 or np.shape(backward.values[inner[0][1]]) != np.shape(backward.values[number]):
            return None
        ((k, source),) = inner
        step = backward.steps[number]
        if step.name in ("select", "gather") or (
            step.name in ("add", "subtract", "multiply") and np.size(backward.x(number)[1 - k]) > 1
        ):
            return number, source
        if step.name not in ("divide", "multiply", "subtract", "add"):
            return None
        number = source


def _without_mask(backward: Backward, softmax: Softmax, mask: int, scores: int) -> dict[tuple[int, int], EdgeRule]:
    """Returns the rules of the way back if the steps of a softmax had been computed from scores that are not masked."""
    between = [number for number in steps_between(backward, softmax.top, mask) if number != mask]
    values = values_with(backward, {mask: backward.values[scores]}, between)
    readers = [reader for reader, _ in backward.readers.get(softmax.top, ())]

    def rule(number: int, k: int) -> EdgeRule:
        return lambda bars, up: through(backward, number, k, up, values)

    ((at, _),) = backward.inner(mask)
    rules = {(number, k): rule(number, k) for number in (*between, *readers) for k, _ in backward.inner(number)}
    return rules | {(mask, at): lambda bars, up: up}


#: The families of this module, but for those of `OTHERS`.
FAMILIES: tuple[Family, ...] = (wrong_softmax, wrong_log_softmax, forgotten_masks)
#: Those of which the paths by which something goes back may say more.
OTHERS: tuple[Family, ...] = (wrong_softmax_in_part,)
