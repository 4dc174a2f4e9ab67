"""Finds the step at which a chained gradient and the differences of the cost part: each step against its plain rules.

This is called only if a certificate does not hold, which is a fault of this library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.numerical.gradient import EXACT_STEP
from gradcheck_fast.program.primitive import SLOPE_STEP
from gradcheck_fast.program.steps.leaves import INPUT, PARAMETER
from gradcheck_fast.program.steps.movement import SLICE
from gradcheck_fast.program.twin import on_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from gradcheck_fast.engine.chain import Chunk, Point

    Reals = NDArray[np.float64]

#: Two numbers that differ by more than this part of what they are made of are not the same.
CLEARLY_OTHER = 1e-9


def find_fault(point: Point, direction: Reals, h: float) -> str:
    """Returns the first step at which the executor does not do what the step's own rules say, and what it does wrong.

    The value of each step is compared with its rule, then its change along a direction, and then what goes back to it
    with differences, along random numbers, of the steps that read it alone: nothing of what lies above is used twice.

    Parameters
    ----------
    point : Point
        The program at the parameters, in use.
    direction : ndarray of float64, shape (size,)
        A direction along which the chained gradient was compared.
    h : float
        The step along it.
    """
    steps = point.engine.program.steps
    for chunk in point.chunks():
        for number, what in (
            *_wrong_values(point, chunk),
            *_wrong_changes(point, chunk, direction, h),
            *_wrong_backs(point, chunk),
        ):
            return f"step {number}, {steps[number]}: {what}"
    return "no step of its own"


def _wrong_values(point: Point, chunk: Chunk) -> list[tuple[int, str]]:
    found = []
    for number, step in enumerate(point.engine.program.steps):
        if step.inputs and step.name != SLICE.name:
            attributes = _for_chunk(step.attributes, chunk)
            own = step.primitive.value([chunk.values[k] for k in step.inputs], **attributes)
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
    for number, step in enumerate(program.steps):
        if step.name in (INPUT.name, PARAMETER.name) or not any(k in changed for k in step.inputs):
            continue
        x, d = [chunk.values[k] for k in step.inputs], [changed.get(k) for k in step.inputs]
        own = step.primitive.difference(x, d, **_for_chunk(step.attributes, chunk))
        changed[number] = read.get(number, own)
        if _differ(own, changed[number]):
            found.append((number, "its change is not that of its rule"))
    return found


def _wrong_backs(point: Point, chunk: Chunk) -> list[tuple[int, str]]:
    """Compares what goes back to each step with the differences of its readers, from the costs on."""
    program, generator = point.engine.program, np.random.default_rng(0)
    steps, depends = program.steps, on_parameters(program)
    gradient = np.zeros(program.size)
    backs: dict[int, Reals] = dict(point.sensitivities(chunk, SLOPE_STEP))
    point.chain_chunk(chunk, SLOPE_STEP, gradient)
    backs |= {
        number: view
        for number, view in program.leaves(gradient, point.engine.inputs, point.engine.targets).items()
        if steps[number].name == PARAMETER.name
    }
    cut = {number for number, step in enumerate(steps) if step.name == SLICE.name}
    for number in cut:
        if steps[number].inputs[0] in backs:
            backs[number] = steps[number].primitive.value([backs[steps[number].inputs[0]]], **steps[number].attributes)
    backs |= {number: np.ones_like(chunk.values[number]) for number in program.costs}
    readers: dict[int, list[int]] = {}
    for number, step in enumerate(steps):
        if number not in cut:
            for source in dict.fromkeys(step.inputs):
                readers.setdefault(source, []).append(number)
    found = []
    for number in reversed(range(len(steps))):
        if number not in depends or number not in readers or number not in backs:
            continue
        move = generator.choice((-1.0, 1.0), size=np.shape(chunk.values[number]))
        expected, size = 0.0, 0.0
        for reader in readers[number]:
            if reader not in backs:
                continue
            x = [chunk.values[k] for k in steps[reader].inputs]
            attributes = _for_chunk(steps[reader].attributes, chunk)
            both = [
                steps[reader].primitive.difference(
                    x, [sign * EXACT_STEP * move if k == number else None for k in steps[reader].inputs], **attributes
                )
                for sign in (1.0, -1.0)
            ]
            terms = backs[reader] * ((both[0] - both[1]) / (2.0 * EXACT_STEP))
            expected += float(terms.sum())
            size += float(np.abs(terms).sum())
        terms = backs[number] * move
        if not abs(float(terms.sum()) - expected) <= CLEARLY_OTHER * (size + float(np.abs(terms).sum())):
            names = " and ".join(f"step {reader}, {steps[reader]}" for reader in readers[number] if reader in backs)
            found.append((number, f"what goes back to it from {names} is not what their differences say"))
    return found


def _for_chunk(attributes: Mapping[str, object], chunk: Chunk) -> dict[str, object]:
    """Returns a step's attributes with the number of samples of the chunk in place of that of all."""
    shape = attributes.get("shape")
    return dict(attributes) if not isinstance(shape, tuple) else {**attributes, "shape": (chunk.count, *shape[1:])}


def _differ(own: Reals, other: Reals) -> bool:
    with np.errstate(invalid="ignore"):
        size = max(float(np.abs(own).max(initial=0.0)), float(np.abs(other).max(initial=0.0)))
        return not float(np.abs(own - other).max(initial=0.0)) <= CLEARLY_OTHER * size
