"""Runs a function of arrays plainly, in a trace, and by the program that was recorded, and compares the three."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gradcheck_fast.engine.rules import RulesEngine
from gradcheck_fast.frontends.numpy_trace.array import TracedArray
from gradcheck_fast.frontends.numpy_trace.calls import Calls
from gradcheck_fast.frontends.numpy_trace.functions import KNOWN
from gradcheck_fast.frontends.numpy_trace.recording import Recording
from gradcheck_fast.inputs.trees import Packed, pack
from gradcheck_fast.inputs.users_files import is_users_file
from gradcheck_fast.program import twin
from gradcheck_fast.program.program import Program

_random = np.random.default_rng(14)


def _spread(*shape):
    """Numbers that keep away from 0, from each other, and from those of other arrays: no branch is near."""
    size = int(np.prod(shape))
    numbers = (np.arange(size) - (size - 1) / 2.0 + 0.3 * _random.uniform(0.2, 1.0)) / max(size, 1) * 3.0
    return np.asarray(_random.permutation(numbers).reshape(shape))


def _definite(n):
    root = _random.normal(size=(n, n))
    return root @ root.T + n * np.eye(n)


#: The parameters by the names that functions give to their arguments.
INPUTS: dict[str, Any] = {
    "a": _spread(3, 4), "b": _spread(3, 4), "t": _spread(2, 3, 4), "v": _spread(4), "w": _spread(4), "z": _spread(6),
    "m": _spread(4, 3), "q": _spread(3, 3) + 2.0 * np.eye(3), "d": _definite(3), "s": np.array(0.7),
    "r": np.array(-1.3), "p": np.abs(_spread(3, 4)) + 0.2, "pv": np.abs(_spread(4)) + 0.2,
    "u": 0.5 + 0.3 * np.tanh(_spread(3, 4)), "n": _spread(1, 4), "k": _spread(3, 1), "e": _spread(2, 3, 3),
}  # fmt: skip


class Observed(NamedTuple):
    """What was found of a function.

    `plain` and `traced` are the arrays that it returned in a plain run and in the trace, and `moved` pairs of the same
    at moved parameters: plainly, and by the program. `slopes` pairs the changes along directions: by differences of the
    function, and by the chained gradient.
    """

    plain: list[np.ndarray]
    traced: list[Any]
    moved: list[tuple[float, float]]
    slopes: list[tuple[float, float]]
    program: Program | None
    notes: dict[str, Any]


def flattened(found: Any) -> list[Any]:
    """The arrays and numbers in what a function returns."""
    if isinstance(found, list | tuple) and type(found) is not TracedArray:
        return [part for each in found for part in flattened(each)]
    return [found]


def observe(function: Callable[..., Any], inputs: dict[str, Any] | None = None, size: float = 1e-3) -> Observed:
    """Traces a function whose arguments are named as in `INPUTS`, and runs it and the program elsewhere.

    What it returns is added up with weights, all different, so that nothing cancels.
    """
    parameters = inspect.signature(function).parameters.values()
    given = inputs or {p.name: INPUTS[p.name] for p in parameters if p.default is p.empty}
    packed, seen = pack(given), []

    def loss(params):
        found = function(**params)
        seen.append(found)
        total = 0.0
        for part in flattened(found):
            if part is not None:
                total = total + np.sum(np.cos(1.0 + np.arange(np.size(part))) * np.ravel(part))
        return total

    def at(flat):
        return float(loss(packed.unpack(flat.copy())))

    base = at(packed.flat)
    plain = [np.array(part) for part in flattened(seen[-1]) if part is not None]
    recording, value = recorded(loss, packed)
    traced, program = _shown(seen[-1]), recording.program
    if not program.costs:
        return Observed(plain, traced, [], [], None, recording.notes)
    engine = RulesEngine(program)
    random, moved, slopes = np.random.default_rng(3), [(base, value)], []
    with engine.at(packed.flat, 1) as point:
        gradient = point.gradient(2.0**-40)
    for _ in range(2):
        direction = random.normal(size=packed.flat.size)
        flat = packed.flat + size * direction
        values = twin.values(program, program.leaves(flat, None, None))
        moved.append((at(flat), twin.total(program, values)))
        h = 2e-4
        first, second = (
            (at(packed.flat + step * direction) - at(packed.flat - step * direction)) / (2.0 * step)
            for step in (h, 2.0 * h)
        )
        slopes.append(((4.0 * first - second) / 3.0, float(gradient @ direction)))
    return Observed(plain, traced, moved, slopes, program, recording.notes)


def recorded(loss: Callable[[Any], Any], packed: Packed) -> tuple[Recording, float]:
    """Runs a function in a trace, whatever it does, and returns what was recorded, and its value."""
    recording = Recording(is_users_file, KNOWN)
    try:
        arrays = [recording.parameter(array) for _, array in packed.arrays(packed.flat)]
        found = recording.traced(Calls(recording).convert(loss)(packed.unpack.of(arrays)))
        step = found._step()
        if recording.failure is not None:
            raise recording.failure
    finally:
        recording.is_open = False
    if step is not None:
        recording.program.total(step)
    return recording, float(found._view)


def _shown(found: Any) -> list[Any]:
    return [part._view if type(part) is TracedArray else part for part in flattened(found) if part is not None]


def check(function: Callable[..., Any], inputs: dict[str, Any] | None = None) -> Observed:
    """Asserts that a trace is right: values, shapes, the program elsewhere, and the gradient."""
    found = observe(function, inputs)
    assert len(found.plain) == len(found.traced)
    for plain, traced in zip(found.plain, found.traced, strict=True):
        assert np.shape(traced) == plain.shape
        assert (np.asarray(traced).dtype == bool) == (plain.dtype == bool)
        np.testing.assert_allclose(traced, plain, rtol=1e-12, atol=1e-12)
    for plain, by_program in found.moved:
        np.testing.assert_allclose(by_program, plain, rtol=1e-12, atol=1e-12)
    exact = found.program is None or all(step.name != "opaque" for step in found.program.steps)
    for plain, by_chain in found.slopes:
        np.testing.assert_allclose(by_chain, plain, rtol=1e-6 if exact else 1e-5, atol=1e-7)
    return found
