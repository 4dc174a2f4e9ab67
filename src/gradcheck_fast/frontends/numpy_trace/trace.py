"""Runs a function once with arrays that record what is done to them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from gradcheck_fast.frontends.numpy_trace.array import TracedArray
from gradcheck_fast.frontends.numpy_trace.calls import Calls
from gradcheck_fast.frontends.numpy_trace.complex_array import TracedComplex
from gradcheck_fast.frontends.numpy_trace.functions import KNOWN
from gradcheck_fast.frontends.numpy_trace.recording import Leak, Recording, Untraceable
from gradcheck_fast.frontends.numpy_trace.view_lines import ViewLines
from gradcheck_fast.inputs.complex_pairs import is_nearly_real
from gradcheck_fast.inputs.returned import value_and_rest
from gradcheck_fast.inputs.users_files import is_users_file
from gradcheck_fast.losses.tree_function import Around
from gradcheck_fast.program.program import Source
from gradcheck_fast.program.steps.opaque import OPAQUE

if TYPE_CHECKING:
    from gradcheck_fast.inputs.trees import Packed
    from gradcheck_fast.program.program import Program


Result = TypeVar("Result")
#: A second trace waits for the first: what the functions keep may be the same, and holds traced arrays meanwhile.
ONE_AT_A_TIME = threading.RLock()


class Unused(Untraceable):
    """The function does not use its argument."""


class InTurn:
    """A loss and its gradient function, called in turn with the same parameters, as one function to be recorded.

    Parameters
    ----------
    loss, gradient : callable
        Each of one tree.
    """

    def __init__(self, loss: Callable[[Any], Any], gradient: Callable[[Any], Any]) -> None:
        self._loss, self._gradient = loss, gradient
        #: What the state of both is looked up in.
        self.users_function = (getattr(loss, "users_function", loss), gradient)

    def __call__(self, tree: Any) -> Any:
        """Returns what the gradient function does, after a call of the loss."""
        self._loss(tree)
        return self._gradient(tree)

    def converted(self, calls: Calls, recording: Recording) -> Callable[[Callable[[], Any]], tuple[int, Any]]:
        """Returns the version whose calls are recorded, a function of what makes a new tree for each of the two.

        It returns the number of steps after the loss, and what the gradient function returns.
        """
        loss, gradient = _converted(self._loss, calls), _converted(self._gradient, calls)

        def run_both(make_tree: Callable[[], Any]) -> tuple[int, Any]:
            loss(make_tree())
            steps = len(recording.program.steps)
            recording.views = ViewLines(recording.program.steps, recording.source)
            return steps, gradient(make_tree())

        return run_both


class Traced(NamedTuple):
    """What a trace found.

    Attributes
    ----------
    program : Program
        The steps of the function; its cost is what the function returned.
    value : float
        The value of that at the parameters.
    notes : dict of str to Source
        What the report says about the trace.
    leaks : list of Leak
        Where plain numbers were made of values that depend on the parameters.
    draws, may_draw : bool
        As in `Recording`.
    rounding : float
        To which part of their size the function rounds numbers where it does so most coarsely. The program does not.
    iterations : list of Source
        The lines at which a loop ends once a value is small enough.
    """

    program: Program
    value: float
    notes: dict[str, Source]
    leaks: list[Leak]
    draws: bool
    may_draw: bool
    rounding: float
    iterations: list[Source]

    @classmethod
    def of(cls, recording: Recording, value: float) -> Traced:
        """Takes what was found from a recording that has a cost of this value."""
        noticed = recording.notes, recording.leaks, recording.draws, recording.may_draw, recording.rounding
        return cls(recording.program, value, *noticed, recording.decisions.iterations)


def record(function: Callable[[Any], Any], params: Packed) -> Traced:
    """Runs a function once, and writes its steps down.

    Parameters
    ----------
    function : callable
        Of one tree like that of `params`; it returns a number.
    params : Packed

    Raises
    ------
    Untraceable
        If something cannot be written down, or if the value does not depend on the parameters.
    Exception
        What the function raises.
    """
    return Traced.of(*run(function, params, as_cost))


def run(
    function: Callable[[Any], Any] | InTurn, params: Packed, read: Callable[[Recording, Any], Result]
) -> tuple[Recording, Result]:
    """Runs a function once with arrays that record; `read` takes what it returns, while the recording is open."""
    # what NumPy warns of, it warns of with the user's line when the function is called as it is
    quiet: Any = {kind: "ignore" for kind, done in np.geterr().items() if done == "warn"}
    with ONE_AT_A_TIME:
        recording = Recording(is_users_file, KNOWN)
        calls = Calls(recording, function)
        try:
            arrays = [recording.parameter(array) for _, array in params.arrays(params.flat)]
            with np.errstate(**quiet):
                if isinstance(function, InTurn):
                    make_tree = partial(_new_tree, params, arrays)
                    found: Any = function.converted(calls, recording)(make_tree)
                else:
                    found = _converted(function, calls)(params.unpack.of(arrays))
            result = read(recording, found)
        except Exception as error:
            if recording.failure is not None and error is not recording.failure:
                raise recording.failure from error
            raise
        finally:
            recording.is_open = False
            calls.close()
        if recording.failure is not None:
            raise recording.failure
    return recording, result


def _new_tree(params: Packed, arrays: list[TracedArray]) -> Any:
    return params.unpack.of([array.copy() for array in arrays])


def _converted(function: Callable[[Any], Any], calls: Calls) -> Callable[[Any], Any]:
    """Returns the version of a function whose calls are recorded; of one around a user's, with the version of that."""
    if isinstance(function, Around):
        return function.with_function(calls.convert(function.users_function))
    return calls.convert(function)


def as_cost(recording: Recording, found: Any, *, may_round: bool = False) -> float:
    """Makes what a function returned the cost of the program, and returns its value.

    Unless it `may_round`, a cost that depends on rounded values is refused.

    Raises
    ------
    Untraceable
        If it is no number, or does not depend on the parameters.
    """
    if isinstance(found, (list, tuple)) and len(found) == 1:
        (found,) = found
    beside = value_and_rest(found)
    if beside is not None:
        found, _ = beside
    if type(found) is TracedComplex:
        if not is_nearly_real(found.plain()):
            raise recording.untraceable("the function returns a complex number")
        found = found.real
    cost = recording.traced(found)
    if not isinstance(cost, TracedArray) or cost.size != 1:
        raise recording.untraceable(f"the function returns {found!r}, not a number")
    step = recording.as_numbers(cost)._step()
    if step is None:
        if recording.leaks:
            raise recording.leaks[0].error
        raise Unused(Source(), "what the function returns does not depend on its argument")
    _refuse_one_opaque_step(recording)
    recording.program.total(step)
    if not may_round:
        _refuse_rounding(recording)
    return float(np.ravel(cost._view)[0])


def _refuse_rounding(recording: Recording) -> None:
    """Raises an error if the cost depends on a rounded value: its slope is 0, which is hardly ever what is meant."""
    steps = recording.program.steps
    for number in recording.program.needed:
        if steps[number].name == "rint":
            raise Untraceable(steps[number].source, "a value that depends on the parameters is rounded")


def _refuse_one_opaque_step(recording: Recording) -> None:
    """Raises an error if one step that is not known takes all parameters: then nothing is known of the function."""
    parameters = set(recording.program.parameters)
    for step in recording.program.steps:
        if step.name == OPAQUE.name and parameters <= set(step.inputs):
            name = step.attributes["function"].__name__
            raise Untraceable(step.source, f"everything is computed by {name}, of which nothing is known")
