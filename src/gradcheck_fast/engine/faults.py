"""Finds the step at which a chained gradient and the differences of the cost part: each step against its plain rules.

This is called only if a certificate does not hold, which is a fault of this library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.numerical.gradient import EXACT_STEP
from gradcheck_fast.program.primitive import SLOPE_STEP
from gradcheck_fast.program.steps.leaves import PARAMETER
from gradcheck_fast.program.steps.movement import SLICE
from gradcheck_fast.program.twin import on_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from gradcheck_fast.engine.chain import Chunk, Point
    from gradcheck_fast.program.program import Step

    Reals = NDArray[np.float64]

#: Two numbers that differ by more than this part of what they are made of are not the same.
CLEARLY_OTHER = 1e-9


def find_fault(point: Point, direction: Reals, steps_along: Sequence[float]) -> str:
    """Returns the first step at which the executor does not do what the step's own rules say, and what it does wrong.

    It is empty if there is none.

    The value of each step is compared with its rule, then its change along a direction, and then what goes back to it
    with differences, along random numbers, of the steps that read it alone: nothing of what lies above is used twice.

    Parameters
    ----------
    point : Point
        The program at the parameters, in use.
    direction : ndarray of float64, shape (size,)
        A direction along which the chained gradient was compared.
    steps_along : sequence of float
        The steps along it: the small one, and the large one.
    """
    steps = point.engine.program.steps
    for chunk in point.chunks():
        for number, what in (
            *_wrong_values(point, chunk),
            *(found for h in steps_along for found in _wrong_changes(point, chunk, direction, h)),
            *_wrong_backs(point, chunk),
        ):
            return f"step {number}, {steps[number]}: {what}"
    return ""


def _wrong_values(point: Point, chunk: Chunk) -> list[tuple[int, str]]:
    found = []
    for number in point.engine.plan.computed:
        step = point.engine.program.steps[number]
        own = step.primitive.value([chunk.values[k] for k in step.inputs], **_for_chunk(step.attributes, chunk))
        if _differ(own, chunk.values[number]):
            found.append((number, "its value is not that of its rule"))
    return found


def _wrong_changes(point: Point, chunk: Chunk, direction: Reals, h: float) -> list[tuple[int, str]]:
    found, program, engine = [], point.engine.program, point.engine
    (read,) = point.changes(chunk, direction, (h,))
    changed: dict[int, Reals] = {
        number: h * view
        for number, view in program.leaves(direction, engine.inputs, engine.targets).items()
        if program.steps[number].name == PARAMETER.name
    }
    computed = set(engine.plan.computed)
    for number, step in enumerate(program.steps):
        if not (number in computed or step.name == SLICE.name) or not any(k in changed for k in step.inputs):
            continue
        x, d = [chunk.values[k] for k in step.inputs], [changed.get(k) for k in step.inputs]
        own = step.primitive.difference(x, d, **_for_chunk(step.attributes, chunk))
        changed[number] = read.get(number, own)
        if _differ(own, changed[number]):
            found.append((number, "its change is not that of its rule"))
    return found


def _wrong_backs(point: Point, chunk: Chunk) -> list[tuple[int, str]]:
    """Compares what goes back to each step with the differences of its readers, from the costs on."""
    steps, depends = point.engine.program.steps, on_parameters(point.engine.program)
    backs, found, generator = _backs(point, chunk), [], np.random.default_rng(0)
    readers: dict[int, list[int]] = {number: [] for number in depends}
    for number in point.engine.plan.computed:
        for source in depends.intersection(steps[number].inputs):
            readers[source].append(number)
    for number in sorted(depends.intersection(backs), reverse=True):
        own = [reader for reader in readers[number] if reader in backs]
        if not own:
            continue
        move = generator.choice((-1.0, 1.0), size=np.shape(chunk.values[number]))
        terms = [backs[reader] * _slope(steps[reader], number, move, chunk) for reader in own]
        expected, given = sum(float(part.sum()) for part in terms), float((backs[number] * move).sum())
        size = sum(float(np.abs(part).sum()) for part in (*terms, backs[number]))
        if not abs(given - expected) <= CLEARLY_OTHER * size:
            names = " and ".join(f"step {reader}, {steps[reader]}" for reader in own)
            found.append((number, f"what goes back to it from {names} is not what their differences say"))
    return found


def _backs(point: Point, chunk: Chunk) -> dict[int, Reals]:
    """Returns what goes back to every step, parameter, and part of a parameter, from the samples of a chunk."""
    program, gradient = point.engine.program, np.zeros(point.engine.program.size)
    found: dict[int, Reals] = {number: np.ones_like(chunk.values[number]) for number in program.costs}
    found |= point.sensitivities(chunk, SLOPE_STEP)
    point.chain_chunk(chunk, SLOPE_STEP, gradient)
    views = program.leaves(gradient, point.engine.inputs, point.engine.targets)
    found |= {number: views[number] for number in program.parameters}
    for number, step in enumerate(program.steps):
        if step.name == SLICE.name:
            found[number] = step.primitive.value([found[k] for k in step.inputs], **step.attributes)
    return found


def _slope(reader: Step, source: int, move: Reals, chunk: Chunk) -> Reals:
    """Returns the central difference of a step when another that it reads moves."""
    x, attributes = [chunk.values[k] for k in reader.inputs], _for_chunk(reader.attributes, chunk)
    plus, minus = (
        reader.primitive.difference(x, [h * move if k == source else None for k in reader.inputs], **attributes)
        for h in (EXACT_STEP, -EXACT_STEP)
    )
    return (plus - minus) / (2.0 * EXACT_STEP)


def _for_chunk(attributes: Mapping[str, object], chunk: Chunk) -> dict[str, object]:
    """Returns a step's attributes with the number of samples of the chunk in place of that of all."""
    shape = attributes.get("shape")
    return dict(attributes) if not isinstance(shape, tuple) else {**attributes, "shape": (chunk.count, *shape[1:])}


def _differ(own: Reals, other: Reals) -> bool:
    with np.errstate(invalid="ignore"):
        size = max(float(np.abs(own).max(initial=0.0)), float(np.abs(other).max(initial=0.0)))
        return not float(np.abs(own - other).max(initial=0.0)) <= CLEARLY_OTHER * size
