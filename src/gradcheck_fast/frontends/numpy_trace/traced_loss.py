"""The loss of a NumPy function that was traced, and whose trace was compared with what the function does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import isclose
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_fast.frontends.numpy_trace.lines import SourceLine, lines_of, source_lines, table
from gradcheck_fast.frontends.numpy_trace.recording import Untraceable
from gradcheck_fast.frontends.numpy_trace.trace import ONE_AT_A_TIME, Traced, Unused, record
from gradcheck_fast.frontends.numpy_trace.variables import variables
from gradcheck_fast.frontends.numpy_trace.verification import COARSE_ROUNDINGS, Verification, first_parting
from gradcheck_fast.inputs._norms import root_mean_square
from gradcheck_fast.inputs.arrays import by_arrays, same_bits
from gradcheck_fast.inputs.state import Frozen, State, arrays_like
from gradcheck_fast.inputs.users_files import is_users_file
from gradcheck_fast.losses.function_loss import LAST_BITS, FunctionLoss
from gradcheck_fast.losses.program_loss import ProgramLoss
from gradcheck_fast.numerical.evaluate import PythonCosts, real_number
from gradcheck_fast.numerical.gradient import COARSE_JITTER, EPSILON, jitter
from gradcheck_fast.numerical.in_domain import InDomain, inside
from gradcheck_fast.program.program import Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.frontends.numpy_trace.lines import StepVerdicts
    from gradcheck_fast.inputs.trees import Packed, Tree
    from gradcheck_fast.numerical.evaluate import Costs
    from gradcheck_fast.numerical.gradient import Numerical
    from gradcheck_fast.running.runner import Runner

#: What is noted of a function whose value depends on random numbers.
RANDOM = "the loss draws random numbers: each call of it gets the same ones"
#: To find where they part, the function is traced where the parameters are moved by about this part of themselves.
PARTED = 1e-3
#: An error that differences of the function do not show is rounding if it is below so many roundings of the largest
#: entry of its array, or of the terms that are added up in it.
MANY_ROUNDINGS = 256.0
#: An iteration that stops early is known to this part of the largest entry of an array.
ITERATED = 1e-7
#: The parameters of an array are moved alone if its gradient has no entry above this part of the largest of all.
UNREACHED = 1e-9


class Disagreement(ValueError):
    """A trace does not compute what the function does."""


class Changing(Disagreement):
    """Two calls of the function at the same parameters give different values."""


class Sensitivity(NamedTuple):
    """The derivative of the cost by one intermediate of a traced function.

    Attributes
    ----------
    line : str
        The file and line that compute it.
    operation : str
        The step that does.
    value : ndarray
        Its value.
    gradient : ndarray
        The derivative of the cost by each entry of it.
    name : str
        The variable that the value is assigned to, as it is written there: ``z1``, ``h[t]``, ``self.a1``; "" if there
        is none. A value that a function returns belongs to the variable of its caller.
    file : str
    number : int
        The number of the line in that file.
    """

    line: str
    operation: str
    value: NDArray[np.float64]
    gradient: NDArray[np.float64]
    name: str = ""
    file: str = ""
    number: int = 0


class TracedLoss(ProgramLoss):
    """A traced function: call it with parameters, or give it to `gradcheck`; `print` shows its steps by line.

    `gf.trace` makes it.

    Parameters
    ----------
    function : callable
        The function itself.
    found : Traced
    params : Packed
        Where it was traced.
    """

    function: Callable[[Any], Any]  # there always is one

    def __init__(self, function: Callable[[Any], Any], found: Traced, params: Packed) -> None:
        notes = tuple(f"{text} ({source})" if any(source) else text for text, source in found.notes.items())
        super().__init__(partial(PythonCosts, function), function, found.program, notes)
        self._found, self._params = found, params

    def __call__(self, params: Tree) -> float:
        """Gives the cost at these parameters, by a call of the function itself."""
        packed = self.pack(params)
        return self.cost(packed, packed.flat)

    def sensitivities(self, params: Tree) -> list[Sensitivity]:
        """Finds the numerical gradient of the cost by every intermediate.

        Parameters
        ----------
        params : tree of arrays

        Returns
        -------
        list of Sensitivity
            In the order in which the function computes them; the last is the cost itself.
        """
        with self.engine.at(self.pack(params).flat, 1) as point:
            values, found = point.values, point.sensitivities()
        names = variables(self.program.steps)
        return [
            Sensitivity(
                str(step.source), step.name, np.array(values[number]), np.array(found[number]),
                names[number][-1].name if number in names else "", step.source.file, step.source.line,
            )
            for number, step in enumerate(self.program.steps)
            if number in found
        ]  # fmt: skip

    def lines(self, params: Tree) -> tuple[SourceLine, ...]:
        """Returns the lines of the function, in the order in which they run first, with their sensitivities.

        Parameters
        ----------
        params : tree of arrays

        Returns
        -------
        tuple of SourceLine
        """
        return source_lines(self.engine, self.pack(params).flat)

    def line_finder(self, params: Packed) -> Callable[[StepVerdicts], tuple[SourceLine, ...]]:
        """Returns a function that finds what `lines` does. It keeps the program, and not the user's function."""
        return partial(source_lines, self.engine, params.flat, tuple(params.shapes))

    def table(self, params: Tree) -> str:
        """Writes the table that `print` shows, with the size of each line's sensitivity at these parameters.

        That is the largest derivative of the cost, in size, by an entry of what the line computes.

        Parameters
        ----------
        params : tree of arrays
        """
        return table(self.lines(params))

    def disagreement(self, verification: Verification) -> str:
        """Returns where the trace and the function part, at some parameters or beside them; "" if they do not."""
        needed = set(self.program.needed)
        unreached = [number not in needed for number in self.program.parameters]
        return verification.disagreement(np.repeat(unreached, self.engine.sizes))

    def _by_chain(self, params: Packed, runner: Runner) -> Numerical | str:
        if not same_bits(params.flat, self._params.flat):  # it may branch in other ways there
            said = self.disagreement(self.looking_at(params))
            if said:
                return f"the trace is not used, for it was made at other parameters: {said}"
        found = super()._by_chain(params, runner)
        if isinstance(found, str):
            return found
        said = self.looking_at(params).of_entries(self._zeros(found.gradient))
        if said:
            return f"the trace is not used, for where its gradient is zero, {said}"
        coarse = partial(self._coarse_roundings, params.flat, runner, found.gradient)
        return found._replace(doubted=partial(self._second_look, params, runner, found), coarse_roundings=coarse)

    def looking_at(self, params: Packed | None = None) -> Verification:
        """Returns what compares the trace with the function at some parameters: by default those of the trace."""
        params = self._params if params is None else params
        verification = self.verification(params.flat)
        verification.domain = params.domain
        return verification

    def _has_value(self, costs: Costs, theta: NDArray[np.float64], traced: float, base: float) -> bool:
        if self._found.rounding > EPSILON:
            verification = self.verification(theta)
            verification.domain = costs.domain if isinstance(costs, InDomain) else None
            return verification.has_value(base)
        return super()._has_value(costs, theta, traced, base)

    def _are_rounding(
        self, theta: NDArray[np.float64], runner: Runner, found: Numerical, errors: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Marks errors that a gradient may well have where it rounds as the function does, and the trace does not."""
        size = np.maximum(np.abs(found.gradient), by_arrays(found.gradient, self.engine.sizes, root_mean_square))
        size = np.maximum(size, self._coarse_roundings(theta, runner, found.gradient))
        rounded: NDArray[np.bool_] = np.abs(errors) <= COARSE_ROUNDINGS * self._found.rounding * size
        rounded &= errors != 0.0
        return rounded

    def _left_by_iterations(self, found: Numerical, errors: NDArray[np.float64]) -> Numerical | None:
        """Takes small errors for what an iteration leaves that stops early; None if there are none.

        The derivative of what it converges to is not quite that of the turns that were taken.
        """
        largest = by_arrays(np.abs(found.gradient), self.engine.sizes, partial(np.max, initial=0.0))
        small = (errors != 0.0) & (np.abs(errors) <= ITERATED * largest)
        if not self._found.iterations or not small.any():
            return None
        lines = ", ".join(str(source) for source in self._found.iterations if any(source))
        note = (
            f"a loop ends once a value is small enough{f' ({lines})' if lines else ''}: what your gradient differs by, "
            f"less than {ITERATED:.0e} of the largest entry, is taken for what the iteration leaves"
        )
        finish = found.finish
        return found._replace(
            gradient=np.where(small, found.gradient + errors, found.gradient),
            finish=lambda: tuple(dict.fromkeys((*finish(), note))),
        )

    def _coarse_roundings(
        self, theta: NDArray[np.float64], runner: Runner, gradient: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Finds how much the gradient changes if the parameters are rounded to few digits."""
        with self.engine.at(jitter(theta, COARSE_JITTER), runner.n_threads) as point:
            change = np.abs(self._chained(point, runner.quietly()).gradient - gradient) / COARSE_JITTER
        return np.where(np.isfinite(change), change, 0.0)

    def _second_look(
        self, params: Packed, runner: Runner, found: Numerical, errors: NDArray[np.float64]
    ) -> Numerical | None:
        """Asks the function itself whether a given gradient is wrong by these errors; see `Numerical.doubted`."""
        if self._found.rounding > EPSILON:
            rounded = self._are_rounding(params.flat, runner, found, errors)
            if rounded.any():
                found = found._replace(gradient=np.where(rounded, found.gradient + errors, found.gradient))
                return found._replace(doubted=partial(self._second_look, params, runner, found))
        left = self._left_by_iterations(found, errors)
        if left is not None:
            return left._replace(doubted=partial(self._second_look, params, runner, left))
        looked = self.looking_at(params)
        stands = looked.sides_with_trace(found.gradient, errors) if errors.any() else True
        if stands:
            return None
        finish = found.finish
        if stands is None:
            note = (
                "your gradient and that of the trace differ by so little that differences of the function do not show "
                "which of them is right"
            )
            largest = by_arrays(np.abs(found.gradient), self.engine.sizes, partial(np.max, initial=0.0))
            # a formula such as 1 - a² of a saturated unit makes more roundings than the trace does, and where all that
            # is added up in an array cancels, as for a bias before a normalisation, nothing but these is left
            size = np.maximum(largest, self._roundings(params.flat, runner))
            rounded = np.abs(errors) <= MANY_ROUNDINGS * EPSILON * size
            decided = np.where(rounded, found.gradient + errors, np.nan)
            left = found._replace(
                gradient=np.where(errors != 0.0, decided, found.gradient),
                finish=lambda: tuple(dict.fromkeys((*finish(), *(() if rounded.all() else (note,))))),
            )  # without these, others may seem wrong
            return left._replace(doubted=partial(self._second_look, params, runner, left))
        plain = super().central_differences(params, method="direct", step=None, runner=runner, kinks=True)
        note, finish = (
            "the trace is not used, for the function itself does not side with it against your gradient",
            plain.finish,
        )
        return plain._replace(finish=lambda: (*finish(), note))

    def _zeros(self, gradient: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Marks the arrays whose gradient is zero, or nothing beside that of the others."""
        size = np.abs(gradient)
        largest = by_arrays(size, self.engine.sizes, partial(np.max, initial=0.0))
        return np.asarray(largest <= UNREACHED * size.max(initial=0.0))

    def verification(self, theta: NDArray[np.float64], state: State | None = None) -> Verification:
        """Returns what compares the trace with the function at some parameters.

        What the function keeps is put back after every call: to `state`, or to what it is before the first of them.
        """
        function, unpack = self.function, self._params.unpack

        def cost(at: NDArray[np.float64]) -> float:
            nonlocal state
            if state is None:
                state = State(function)
                state.draws = self._found.draws or self._found.may_draw
            try:
                with np.errstate(all="ignore"):
                    return float(real_number(function(unpack(at.copy()))))
            finally:
                state.restore()

        return Verification(cost, self.engine, theta, self._found.rounding, bool(self._found.leaks))

    def __str__(self) -> str:
        """A table by line: the line, its operations, and the shape of what comes out; by file, if there are several."""
        return table(lines_of(self.program.steps))

    def __repr__(self) -> str:
        return f"<trace of {getattr(self.function, '__name__', 'a function')}: {len(self.program.steps)} steps>"


def traced(function: Callable[[Any], Any], params: Packed) -> TracedLoss:
    """Traces a function of packed parameters, and compares the trace with it; see `checks.as_problem.trace`."""
    with ONE_AT_A_TIME:
        return _traced(function, params)


def _traced(function: Callable[[Any], Any], params: Packed) -> TracedLoss:
    state = State(function)
    try:
        found = record(function, params)
    finally:
        state.restore()
    state.draws = found.draws or found.may_draw
    if found.draws and not _is_repeatable(function, params, state):
        found.notes[RANDOM] = Source()
        function = Frozen(function, state)
    loss = TracedLoss(function, found, params)
    verification = loss.verification(params.flat, state)
    verification.domain = params.domain
    said = loss.disagreement(verification)
    if said or verification.has_jittered:  # are these roundings, or does it change from call to call?
        first, second = verification.base, verification.cost(params.flat)
        if not isclose(first, second, rel_tol=LAST_BITS) and first == first:
            raise Changing(f"two calls at the same parameters gave {first!r} and {second!r}")
    if not said:
        return loss
    line = first_parting(function, params, found, verification.moved(PARTED))
    state.restore()
    noticed = "; ".join(f"{text} ({source})" for text, source in found.notes.items())
    raise Disagreement(f"{line or noticed or 'the trace is not confirmed'}; {said}")


def _is_repeatable(function: Callable[[Any], Any], params: Packed, state: State) -> bool:
    """Whether a function that draws random numbers gives the same value twice, as one does that seeds them itself."""
    try:
        values = [real_number(function(params.unpack(params.flat.copy()))) for _ in range(2)]
    finally:
        state.restore()
    return values[0] == values[1]


def _changes(function: Callable[[Any], Any], params: Packed) -> bool:
    """Whether the value of a function changes with its argument."""
    state = State(function)
    try:
        moved = inside(params.domain, params.flat * (1.0 + PARTED), params.flat)
        values = [real_number(function(params.unpack(at))) for at in (params.flat.copy(), moved)]
    except Exception:  # it is not defined there
        return True
    finally:
        state.restore()
    return values[0] != values[1]


def traced_if_possible(loss: FunctionLoss, function: Callable[[Any], Any], params: Packed) -> FunctionLoss:
    """Returns a function's loss with its trace; where it cannot be traced, the loss itself with a note that says why.

    What the function itself raises is raised when it is called as usual.
    """
    try:
        return traced(function, params)
    except Changing:  # which is said when it is differenced
        return loss
    except Unused:
        users = getattr(function, "users_function", function)
        read = arrays_like(users, [array for _, array in params.arrays(params.flat)])
        if read and not _changes(function, params):  # it may, in ways that are not seen, as by a buffer of its own
            loss.notes = (f"the loss did not change with its argument; it seems to read {read}",)
        return loss
    except Exception as error:
        said = str(error)
        if not isinstance(error, (Untraceable, Disagreement)):
            said = f"{users_line(error)}{type(error).__name__} was raised: {error}"
        loss.notes = (f"the function could not be traced: {said}. Plain differences of it are used",)
        return loss


def users_line(error: BaseException) -> str:
    """Returns the last line of the user's that an error passed through."""
    place, last = "", error.__traceback__
    while last is not None:
        filename = last.tb_frame.f_code.co_filename
        if is_users_file(filename):
            place = f"{Source('', filename, last.tb_lineno)}: "
        last = last.tb_next
    return place
