"""Finds the step at which a chained gradient and the differences of the cost part: each step against its plain rules.

This is called only if a certificate does not hold, which is a fault of this library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.numerical.gradient import EXACT_STEP, jitter
from gradcheck_fast.program.steps.movement import SLICE
from gradcheck_fast.program.steps.opaque import OPAQUE
from gradcheck_fast.program.twin import on_parameters

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from gradcheck_fast.engine.executor import AtPoint, Executor, Part
    from gradcheck_fast.program.program import Step

    Reals = NDArray[np.float64]

#: Two numbers that differ by more than this part of what they are made of are not the same.
CLEARLY_OTHER = 1e-9
#: How many times what some roundings of its inputs change in a value the difference of two values may be off.
CONDITION = 8.0


def find_fault(point: AtPoint, direction: Reals, steps_along: Sequence[float]) -> str:
    """Returns the first step at which the executor does not do what the step's own rules say, and what it does wrong.

    It is empty if there is none.

    The value of each step is compared with its rule, then its change along a direction, and then what goes back to it
    with differences, along random numbers, of the steps that read it alone: nothing of what lies above is used twice.
    The rules themselves are compared, too: the difference of a large step with that of two values.

    Parameters
    ----------
    point : AtPoint
        The program at the parameters, in use.
    direction : ndarray of float64, shape (size,)
        A direction along which the chained gradient was compared.
    steps_along : sequence of float
        The steps along it: the small one, and the large one.
    """
    steps = point.engine.program.steps
    with np.errstate(all="ignore"):
        for part in point.parts():
            for number, what in _faults(point.engine, part, direction, steps_along):
                return f"step {number}, {steps[number]}: {what}"
    return ""


def _faults(engine: Executor, part: Part, direction: Reals, steps_along: Sequence[float]) -> Iterator[tuple[int, str]]:
    yield from _wrong_values(engine, part)
    for h in steps_along:
        yield from _wrong_changes(engine, part, direction, h, with_values=h == steps_along[-1])
    yield from _wrong_backs(engine, part)


def _wrong_values(engine: Executor, part: Part) -> Iterator[tuple[int, str]]:
    for number in engine.computed:
        step = engine.program.steps[number]
        own = step.primitive.value([part.values[k] for k in step.inputs], **part.attributes(step))
        if _differ(own, part.values[number]):
            yield number, "its value is not that of its rule"


def _wrong_changes(
    engine: Executor, part: Part, direction: Reals, h: float, with_values: bool
) -> Iterator[tuple[int, str]]:
    """Compares changes with the rules' differences and, if asked, these with the differences of two values."""
    program, read = engine.program, part.changes(direction, h)
    changed: dict[int, Reals] = {number: h * view for number, view in program.arrays(direction).items()}
    computed = set(engine.computed)
    for number, step in enumerate(program.steps):
        if not (number in computed or step.name == SLICE.name) or not any(k in changed for k in step.inputs):
            continue
        x, d = [part.values[k] for k in step.inputs], [changed.get(k) for k in step.inputs]
        own = step.primitive.difference(x, d, **part.attributes(step))
        changed[number] = read.get(number, own)
        if _differ(own, changed[number]):
            yield number, "its change is not that of its rule"
        elif with_values and _is_wrong(part, step, x, d, own):
            yield number, "its difference is not that of two of its values"


def _is_wrong(part: Part, step: Step, x: list[Reals], d: list[Reals | None], own: Reals) -> bool:
    """Tells whether the rule of a step's difference does not give what two values of it differ by."""

    def value(at: list[Reals]) -> Reals:
        return np.asarray(step.primitive.value(at, **part.attributes(step)))

    moved = [at if change is None else at + change for at, change in zip(x, d, strict=True)]
    before, after = value(x), value(moved)
    off, sizes = np.abs((after - before) - own), np.maximum(np.abs(before), np.abs(after))
    allowed = np.zeros_like(off)
    for both, there in ((x, before), (moved, after)):
        for k, at in enumerate(both):  # one input after the other: what is rounded alike may cancel
            rounded = [*both[:k], jitter(np.ravel(at)).reshape(np.shape(at)), *both[k + 1 :]]
            allowed = allowed + CONDITION * np.abs(value(rounded) - there)
    known = np.isfinite(off) & np.isfinite(allowed)
    wrong = off[known] > allowed[known] + CLEARLY_OTHER * np.max(sizes[known], initial=0.0)
    return bool(wrong.any())


def _wrong_backs(engine: Executor, part: Part) -> Iterator[tuple[int, str]]:
    """Compares what goes back to each step with the differences of its readers, from the costs on."""
    steps, depends, costs = engine.program.steps, on_parameters(engine.program), set(engine.program.costs)
    backs, random = part.backs(), np.random.default_rng(0)
    readers: dict[int, list[int]] = {number: [] for number in depends}
    for number in engine.computed:
        for source in depends.intersection(steps[number].inputs):
            readers[source].append(number)
    for number in sorted(depends.intersection(backs), reverse=True):
        own = [reader for reader in readers[number] if reader in backs]
        if not own or any(steps[reader].name == OPAQUE.name for reader in own):  # its differences have few digits
            continue
        move = random.choice((-1.0, 1.0), size=np.shape(part.values[number]))
        terms = [_product(backs[reader], _slope(steps[reader], number, move, part)) for reader in own]
        if number in costs:
            terms.append(move)
        given = _product(backs[number], move)
        size = sum(float(np.abs(term).sum()) for term in (*terms, given))
        if not abs(float(given.sum()) - sum(float(term.sum()) for term in terms)) <= CLEARLY_OTHER * size:
            names = " and ".join(f"step {reader}, {steps[reader]}" for reader in own)
            yield number, f"what goes back to it from {names} is not what their differences say"


def _product(back: Reals, slope: Reals) -> Reals:
    """Returns the product, which is 0 where nothing goes back, whatever the slope is there."""
    return np.where(back == 0.0, 0.0, back * slope)


def _slope(reader: Step, source: int, move: Reals, part: Part) -> Reals:
    """Returns the central difference of a step when another that it reads moves."""
    x, attributes = [part.values[k] for k in reader.inputs], part.attributes(reader)
    plus, minus = (
        reader.primitive.difference(x, [h * move if k == source else None for k in reader.inputs], **attributes)
        for h in (EXACT_STEP, -EXACT_STEP)
    )
    return np.asarray((plus - minus) / (2.0 * EXACT_STEP))


def _differ(own: Reals, other: Reals) -> bool:
    own, other = np.asarray(own), np.asarray(other)
    same = (own == other) | (np.isnan(own) & np.isnan(other))
    size = max(float(np.abs(array[np.isfinite(array)]).max(initial=0.0)) for array in (own, other))
    return not float(np.abs(own - other)[~same].max(initial=0.0)) <= CLEARLY_OTHER * size
