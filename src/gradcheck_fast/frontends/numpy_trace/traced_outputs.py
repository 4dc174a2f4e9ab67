"""All outputs of a traced function: how they change, exactly, when its arguments move along a direction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_fast.engine.rules import RulesEngine
from gradcheck_fast.frontends.numpy_trace.trace import run
from gradcheck_fast.inputs.state import State
from gradcheck_fast.losses.tree_function import Outputs
from gradcheck_fast.numerical.gradient import EPSILON
from gradcheck_fast.program.steps.opaque import OPAQUE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.frontends.numpy_trace.recording import Recording
    from gradcheck_fast.losses.tree_function import TreeFunction
    from gradcheck_fast.program.program import Program

#: The outputs of the function and of its trace may differ by this part of the largest of their array.
SAME_VALUES = 1e-12
#: They are compared at the arguments, and where these are moved so far along the direction.
SIZES = (0.0, 2.0**-16, -(2.0**-16))


class Output(NamedTuple):
    """One array of outputs.

    Attributes
    ----------
    step : int or None
        The step that has its value; None if it does not depend on the parameters.
    value : ndarray
        Its value where the function was traced.
    """

    step: int | None
    value: NDArray[np.float64]


class TracedOutputs:
    """What a traced function returns, as a function of its parameters.

    Parameters
    ----------
    program : Program
        Of which every output that depends on the parameters is a cost step.
    outputs : list of Output
    function : TreeFunction
    """

    def __init__(self, program: Program, outputs: list[Output], function: TreeFunction) -> None:
        self._engine, self._outputs, self._function = RulesEngine(program), outputs, function

    def agree(self, theta: NDArray[np.float64], direction: NDArray[np.float64]) -> bool:
        """Whether the function has the outputs of its trace, at some parameters and beside them."""
        return all(self._agree_at(theta + size * direction) for size in SIZES)

    def _agree_at(self, theta: NDArray[np.float64]) -> bool:
        with self._engine.at(theta, 1) as point:
            traced = [out.value if out.step is None else point.values[out.step] for out in self._outputs]
        state = State(self._function.users_function)
        try:
            found = self._function.flat(self._function.at.unpack(theta.copy()))
        except Exception:  # it is not defined there
            return False
        finally:
            state.restore()
        if len(found) != sum(part.size for part in traced):
            return False
        own = np.split(found, np.cumsum([part.size for part in traced])[:-1])
        return all(_are_same(a, np.ravel(b)) for a, b in zip(own, traced, strict=True))

    def changes(self, theta: NDArray[np.float64], direction: NDArray[np.float64], h: float) -> NDArray[np.float64]:
        """Returns by how much all outputs change, in one vector, when the parameters move by h times a direction."""
        with self._engine.at(theta, 1) as point:
            found = point.changes(direction, h, keep=False)
        changed = [None if out.step is None else found[out.step] for out in self._outputs]
        return np.concatenate(
            [
                np.zeros(out.value.size) if change is None else np.ravel(change)
                for out, change in zip(self._outputs, changed, strict=True)
            ]
        )


def _are_same(own: NDArray[np.float64], traced: NDArray[np.float64]) -> bool:
    """Whether two arrays agree but for rounding; numbers that are not finite must be the same."""
    same = (own == traced) | (np.isnan(own) & np.isnan(traced))
    with np.errstate(invalid="ignore"):
        off = float(np.abs(own - traced)[~same].max(initial=0.0))
    return off <= SAME_VALUES * float(np.abs(own[np.isfinite(own)]).max(initial=0.0))


def traced_outputs(function: TreeFunction) -> TracedOutputs | None:
    """Traces a function of trees at its parameters; None if that cannot be done, or if some of it is not exact."""
    state = State(function.users_function)
    try:
        recording, outputs = run(Outputs(function), function.at, _read)
    except MemoryError:
        raise
    except Exception:  # what the function itself raises, it raises when it is called as usual
        return None
    finally:
        state.restore()
    program = recording.program
    for step in dict.fromkeys(out.step for out in outputs if out.step is not None):
        program.total(step)
    inexact = {OPAQUE.name, "rint"}.intersection(program.steps[number].name for number in program.needed)
    if recording.draws or recording.leaks or recording.rounding > EPSILON or inexact or not program.costs:
        return None
    return TracedOutputs(program, outputs, function)


def _read(recording: Recording, found: list[Any]) -> list[Output]:
    read = []
    for leaf in found:
        array = recording.as_numbers(recording.traced(leaf))
        read.append(Output(array._step(), np.array(array._view, np.float64)))
    return read
