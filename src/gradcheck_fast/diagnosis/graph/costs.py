"""Lists mistakes in the derivatives of costs, and with the small constants that keep logarithms and roots finite."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.diagnosis.graph.between import passed, through, values_with
from gradcheck_fast.diagnosis.graph.known_softmaxes import data_like, log_softmaxes
from gradcheck_fast.diagnosis.graph.mutants import Change, Mutant, block, nothing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradcheck_fast.diagnosis.graph.backward import Backward, EdgeRule, Reals
    from gradcheck_fast.diagnosis.graph.mutants import Family, Place, View

#: A constant that is added is a small one if it is no larger than this.
_MOST_EPSILON = 1e-2
#: The small constants that are looked for in a gradient if the cost has none.
_EPSILONS = (1e-8, 1e-7, 1e-10, 1e-12, 1e-6, 1e-5, 1e-15, 1e-9, 1e-4, 1e-3)
#: What goes back from a cross-entropy is p - y times a factor, which is the same everywhere to this part.
_SAME_FACTOR = 1e-6
#: So many steps, one above the other, may have been computed without a small constant on the way back.
_MOST_LEVELS = 4
#: A small constant is not tried that changes no number by this part of the relative error of the gradient.
_MATTERS = 1e-4
#: So many arrays of the data are tried as the targets of a softmax.
_MOST_TARGETS = 3
#: The steps at which what was computed with a small constant is read as a value like any other.
_ENDS = ("matmul", "gather", "scatter_add", "solve")


# ---- small constants


def forgotten_epsilons(view: View) -> Iterator[Mutant]:
    """Yields mutants in which a small constant that the cost adds is left out where derivatives are taken."""
    backward = view.backward
    found = [number for number in backward.bars if _added(backward, number)]
    for place in _with_lines(view, found):
        epsilons = sorted({abs(_added(backward, number)) for number in place.steps})
        for levels in range(1, _MOST_LEVELS + 1):
            rules: dict[tuple[int, int], EdgeRule] = {}
            for number in place.steps:
                without = backward.values[number] - _added(backward, number)
                rules |= _at_other_value(backward, number, without, levels)
            said = " and the ".join(f"{epsilon:g}" for epsilon in epsilons)
            cause = f"{place.where}: the {said} that is added there is left out on the way back"
            yield Mutant(cause, Change(rules), place)


def forgotten_constants(view: View) -> Iterator[Mutant]:
    """Yields mutants in which a constant that is not small, as one that smooths a quotient, is left out."""
    backward = view.backward
    found = {number: added for number in backward.bars if abs(added := _constant(backward, number)) > _MOST_EPSILON}
    for place in view.places_of(found):
        if len({found[number] for number in place.steps}) > 1:
            continue
        for levels in (1, 2):
            rules: dict[tuple[int, int], EdgeRule] = {}
            for number in place.steps:
                rules |= _at_other_value(backward, number, backward.values[number] - found[number], levels)
            if len(place.steps) > 1 and backward.is_in_series(Change(rules)):
                break
            cause = f"{place.where}: the {abs(found[place.steps[0]]):g} that is added there is left out on the way back"
            yield Mutant(cause, Change(rules), place)


def _with_lines(view: View, numbers: Iterable[int]) -> Iterator[Place]:
    """Yields the places of some steps, and then lines, where there are several in one line, as places, too."""
    lines: dict[tuple[str, int], set[int]] = {}
    places = list(view.places_of(numbers))
    for place in places:
        lines.setdefault((place.source.file, place.source.line), set()).update(place.steps)
        yield place
    for place in places:
        together = lines.pop((place.source.file, place.source.line), set())
        if len(together) > len(place.steps):
            yield place._replace(steps=tuple(sorted(together)))


def _added(backward: Backward, number: int) -> float:
    """Returns the small constant that a step adds; 0 if it adds none."""
    value = _constant(backward, number)
    return value if abs(value) <= _MOST_EPSILON else 0.0


def _constant(backward: Backward, number: int) -> float:
    """Returns the constant that a step adds; 0 if it adds none."""
    step, inner = backward.steps[number], backward.inner(number)
    if step.name not in ("add", "subtract") or len(inner) != 1 or (step.name == "subtract" and inner[0][0] == 1):
        return 0.0
    other = backward.x(number)[1 - inner[0][0]]
    value = float(np.reshape(other, ())) if np.size(other) == 1 else 0.0
    return value if step.name == "add" else -value


def _at_other_value(backward: Backward, number: int, value: Reals, levels: int) -> dict[tuple[int, int], EdgeRule]:
    """Returns the rules of the steps above one if it had another value there, in some levels of steps above it."""
    reached, here = [number], [number]
    rules: dict[tuple[int, int], EdgeRule] = {}
    once: list[Mapping[int, Reals]] = []

    def values() -> Mapping[int, Reals]:
        if not once:
            once.append(values_with(backward, {number: value}, reached))
        return once[0]

    def rule(reader: int, k: int) -> EdgeRule:
        return lambda bars, up: through(backward, reader, k, up, values())

    for level in range(levels):
        readers = dict.fromkeys(reader for source in here for reader, _ in backward.readers.get(source, ()))
        here = [reader for reader in readers if backward.steps[reader].name not in _ENDS]
        for reader in here:
            rules |= {(reader, k): rule(reader, k) for k, _ in backward.inner(reader)}
        if level < levels - 1:
            reached += here
    return rules


def added_epsilons(view: View) -> Iterator[Mutant]:
    """Yields mutants in which a small constant is added where derivatives are taken, but not in the cost itself."""
    backward, relative = view.backward, _relative_error(view)
    for name, k in (("log", 0), ("divide", 1), ("sqrt", 0), ("reciprocal", 0)):
        found = [
            number for number in backward.bars
            if backward.steps[number].name == name and any(at == k for at, _ in backward.inner(number))
            and not _added(backward, backward.steps[number].inputs[k])
        ]  # fmt: skip
        for place in _with_lines(view, found):
            sources = [backward.values[backward.steps[number].inputs[k]] for number in place.steps]
            least = min(float(np.abs(value).min(initial=np.inf)) for value in sources)
            for epsilon in _EPSILONS:
                if epsilon < _MATTERS * relative * least:
                    continue
                rules = {
                    (number, at): _with_added(backward, number, k, at, epsilon)
                    for number in place.steps
                    for at, _ in backward.inner(number)
                }
                cause = f"{place.where}: on the way back {epsilon:g} is added, but not in the line itself"
                yield Mutant(cause, Change(rules), place)


def _relative_error(view: View) -> float:
    """Returns the largest error of the arrays that are wrong, relative to their largest entries."""
    found = 0.0
    for number, name in zip(view.backward.parameters, view.names, strict=True):
        if name in view.wrong and name in view.analytic and number in view.backward.bars:
            error = np.abs(view.analytic[name] - view.backward.bars[number]).max(initial=0.0)
            found = max(found, float(error / max(np.abs(view.analytic[name]).max(initial=0.0), error, 1e-300)))
    return found


def _with_added(backward: Backward, number: int, k: int, at: int, epsilon: float) -> EdgeRule:
    source = backward.steps[number].inputs[k]
    return lambda bars, up: through(backward, number, at, up, {source: backward.values[source] + epsilon})


# ---- cross-entropy of two classes


def forgotten_terms(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the term with the logarithm of 1 - p is forgotten, or has another factor."""
    backward = view.backward
    found = [number for number in backward.bars if backward.steps[number].name == "log" and _of_rest(backward, number)]
    for place in view.places_of(found):
        cause = f"{place.where}: what goes back through the logarithm of 1 - p {{factor}}"
        yield Mutant(cause, Change({(number, 0): nothing for number in place.steps}), place, scales=True)


def _of_rest(backward: Backward, number: int) -> bool:
    """Whether a logarithm is that of 1 - p, perhaps with a small constant."""
    (source,) = backward.steps[number].inputs
    while backward.steps[source].name == "add" and len(backward.inner(source)) == 1 and _added(backward, source):
        ((_, source),) = backward.inner(source)
    if backward.steps[source].name != "subtract" or [k for k, _ in backward.inner(source)] != [1]:
        return False
    return bool(np.all(backward.x(source)[0] == 1.0) or np.abs(backward.x(source)[0] - 1.0).max() <= _MOST_EPSILON)


def of_the_other_class(view: View) -> Iterator[Mutant]:
    """Yields mutants in which 1/(1 - p) stands in the place of 1/p, the derivative of log(p), with either sign."""
    backward = view.backward
    logs = [number for number in backward.bars if backward.steps[number].name == "log"]
    for place in _with_lines(view, [number for number in logs if _is_probability(backward.x(number)[0])]):
        for sign, said in ((1.0, "1/(1 - p)"), (-1.0, "-1/(1 - p)")):
            rules = {(number, 0): _of_other_class(backward, number, sign) for number in place.steps}
            cause = f"{said} stands in the place of the derivative of log(p), 1/p, as if the other class were right"
            yield Mutant(f"{place.where}: {cause}", Change(rules), place)


def _is_probability(p: Reals) -> bool:
    return bool(np.all((p > 0.0) & (p < 1.0 + _MOST_EPSILON)))


def _of_other_class(backward: Backward, number: int, sign: float) -> EdgeRule:
    (z,), source = backward.x(number), backward.steps[number].inputs[0]
    epsilon = _added(backward, source)
    return lambda bars, up: sign * up / (1.0 - (z - epsilon) + epsilon)


# ---- cross-entropy of many classes


def taken_for_cross_entropy(view: View) -> Iterator[Mutant]:
    """Yields mutants in which p - y goes back from a softmax whose cost is another one than the cross-entropy."""
    backward = view.backward
    found = {softmax.top: softmax for softmax in view.softmaxes}
    for place in view.places_of(found):
        if len(place.steps) == 1:
            (number,) = place.steps
            p, bottom = backward.values[number], found[number].bottom
            for what, targets, factor in _targets(backward, np.shape(p)):
                change = block(number, bottom, lambda bars, up, c=factor, p=p, t=targets: c * (p - t))  # type: ignore[misc]
                yield Mutant(
                    f"{place.where}: p - y goes back{what}, as if the cost were the cross-entropy", change, place
                )


def _targets(backward: Backward, shape: tuple[int, ...]) -> Iterator[tuple[str, Reals, float]]:
    """Yields what may be the targets of a softmax: data of its shape, with a factor in words and as a number."""
    for targets in data_like(backward, shape)[-_MOST_TARGETS:]:
        yield "", targets, 1.0
        yield ", doubled", targets, 2.0
        for axis, length in enumerate(shape):
            if len(shape) > 1 and length > 1:
                yield f", divided by {length}, the length of axis {axis}", targets, 1.0 / length


def forgotten_smoothing(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the targets of a softmax, which are smoothed in the cost, are not on the way back."""
    backward = view.backward
    logs = log_softmaxes(backward)
    with np.errstate(all="ignore"):
        values = {s.top: backward.values[s.top] for s in view.softmaxes} | {
            s.top: np.exp(backward.values[s.top]) for s in logs
        }
    found = {softmax.top: softmax for softmax in (*view.softmaxes, *logs)}
    for place in view.places_of(found):
        if len(place.steps) > 1:
            continue
        softmax, p = found[place.steps[0]], values[place.steps[0]]
        right = passed(backward, softmax.top, softmax.bottom, backward.bars[softmax.top])
        for targets in _smoothed(backward, p, softmax.axis):
            least = targets.min(axis=softmax.axis, keepdims=True)
            largest = targets == targets.max(axis=softmax.axis, keepdims=True)
            factors = right / (p - targets)
            factor = float(np.median(factors))
            if not np.allclose(factors, factor, rtol=_SAME_FACTOR, atol=0.0):
                continue
            for words, other in (
                ("the targets are one-hot on the way back, not smoothed", largest.astype(np.float64)),
                (f"what smoothing adds to all targets ({least.flat[0]:.6g}) is left out on the way back",
                 targets - least),
            ):  # fmt: skip
                change = block(softmax.top, softmax.bottom, lambda bars, up, b=factor * (p - other): b)  # type: ignore[misc]
                yield Mutant(f"{place.where}: {words}", change, place)


def _smoothed(backward: Backward, p: Reals, axis: int) -> Iterator[Reals]:
    """Yields the data that may be smoothed targets of a softmax: they add up to 1, and none of them is 0."""
    for targets in data_like(backward, p.shape)[-_MOST_TARGETS:]:
        total = targets.sum(axis=axis, keepdims=True)
        if np.all(targets * np.sign(total) > 0.0) and np.allclose(total, total.flat[0]):
            yield targets / total


# ---- margins


def wrong_margins(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the score of the right class, in the margins of a hinge cost, is counted wrongly."""
    backward = view.backward
    chosen = {number: _own_entries(backward, number) for number in backward.bars}
    found = {number: own for number, own in chosen.items() if own is not None}
    for place in view.places_of(found):
        for words, k, back in (
            ("the score of the right class counts once, not once for each margin", 1, _once),
            ("the margin of the right class itself is counted in what goes back to its score", 1, _with_own),
            ("the margin of the right class itself is not counted in what goes back to its score", 1, _without_own),
            ("the entries of the right class are overwritten on the way back", 0, _without_own),
            ("the margin of the right class, which is set to 0, counts in what goes back to its score", 0, _with_own),
        ):
            rules = {(number, k): _margin_rule(backward, number, k, own, back) for number, own in found.items()
                     if number in place.steps}  # fmt: skip
            yield Mutant(f"{place.where}: {words}", Change(rules), place)
        cause = f"{place.where}: what goes back to the score of the right class {{factor}}"
        yield Mutant(cause, Change({(number, 1): nothing for number in place.steps}), place, scales=True)


def _own_entries(backward: Backward, number: int) -> Reals | None:
    """For scores less that of the right class, as a mask the entries of the right class; None if it is not that."""
    step = backward.steps[number]
    if step.name != "subtract" or len(backward.inner(number)) != 2:
        return None
    scores, own = step.inputs
    while backward.steps[own].name == "reshape" or (
        backward.steps[own].name == "strided" and np.size(backward.values[own]) == np.size(backward.x(own)[0])
    ):
        (own,) = backward.steps[own].inputs
    of = backward.steps[own]
    if of.inputs != (scores,) or of.name not in ("gather", "strided", "slice"):
        return None
    shape = np.shape(backward.values[scores])
    places = np.arange(np.size(backward.values[scores]), dtype=np.float64).reshape(shape)
    mask = np.zeros(places.size)
    mask[np.ravel(of.primitive.value([places], **of.attributes)).astype(np.intp)] = 1.0
    return mask.reshape(shape)


def _margin_rule(
    backward: Backward, number: int, k: int, own: Reals, back: Callable[[Reals, Reals], Reals]
) -> EdgeRule:  # fmt: skip
    return lambda bars, up: backward.through(number, k, back(up, own))


def _largest(up: Reals) -> float:
    """Returns what goes back from a margin that counts: the same from each."""
    return float(np.abs(up).max(initial=0.0))


def _once(up: Reals, own: Reals) -> Reals:
    return _largest(up) * own


def _with_own(up: Reals, own: Reals) -> Reals:
    return np.where(own > 0.0, _largest(up), up)


def _without_own(up: Reals, own: Reals) -> Reals:
    return np.where(own > 0.0, 0.0, up)


#: The families of this module, but for those of `OTHERS`.
FAMILIES: tuple[Family, ...] = (
    forgotten_terms,
    of_the_other_class,
    wrong_margins,
    forgotten_epsilons,
    added_epsilons,
    taken_for_cross_entropy,
    forgotten_smoothing,
)
#: Those of which other mistakes may say more.
OTHERS: tuple[Family, ...] = (forgotten_constants,)
