"""Records a gradient function together with its loss, step by step, so that its own intermediates can be looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_fast.frontends.numpy_trace.array import TracedArray
from gradcheck_fast.frontends.numpy_trace.trace import InTurn, run
from gradcheck_fast.inputs.state import State
from gradcheck_fast.inputs.trees import walk

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.frontends.numpy_trace.recording import Recording
    from gradcheck_fast.inputs.trees import Packed
    from gradcheck_fast.program.program import Source, Step

    Reals = NDArray[np.float64]

#: A loss and its gradient function may take this many steps together.
MOST_STEPS = 50_000
#: And their values this many entries.
MOST_ENTRIES = 50_000_000
#: The recorded gradient is the given one if it agrees with it to this part of each array's largest entry.
SAME_GRADIENT = 1e-9
#: What is made a text is hardly ever computed with again.
_HARMLESS = "a text is made"


class Output(NamedTuple):
    """Where the gradient of one array of parameters is.

    Attributes
    ----------
    step : int
        The step that has it.
    entries : ndarray of int or None
        Its entries among those of the step, in C order; None: all of them, in the order of the parameters.
    """

    step: int
    entries: NDArray[np.intp] | None

    def of(self, value: Reals) -> Reals:
        """Returns the flat gradient, if that is the value of the step."""
        flat = np.ravel(value)
        return flat if self.entries is None else flat[self.entries]


class RecordedGradient(NamedTuple):
    """The steps of a loss, and after them those of its gradient function.

    Attributes
    ----------
    steps : list of Step
    values : list of ndarray
        The value of each.
    begin : int
        The number of the first step of the gradient function.
    outputs : dict of str to Output
        By the names of the parameters; arrays that do not depend on the parameters are left out.
    view_lines : dict of int to tuple of Source
        The lines behind steps that read views; see `ViewLines`.
    """

    steps: list[Step]
    values: list[Reals]
    begin: int
    outputs: dict[str, Output]
    view_lines: dict[int, tuple[Source, ...]]


def recorded_gradient(
    loss: Callable[[Any], Any], gradient: Callable[[Any], Any], params: Packed, analytic: Mapping[str, Reals]
) -> RecordedGradient | None:
    """Runs a loss, right after it its gradient function, and writes the steps of both down.

    What the user's objects keep is put back afterwards.

    Parameters
    ----------
    loss, gradient : callable
        Each of one tree like that of `params`.
    params : Packed
    analytic : mapping of str to ndarray
        The gradient of each array of `params`, as the function gave it before.

    Returns
    -------
    RecordedGradient or None
        None if anything cannot be recorded, or if it is not this gradient that comes out.
    """
    both = InTurn(loss, gradient)
    state = State(both)
    try:
        with np.errstate(all="ignore"):
            recording, (begin, leaves) = run(both, params, _read)
            if recording.draws and not hasattr(loss, "with_function"):
                return None
            steps = recording.program.steps
            sizes = sum(int(np.prod(step.shape)) for step in steps)
            if len(steps) > MOST_STEPS or sizes > MOST_ENTRIES or not all(map(_is_harmless, recording.leaks)):
                return None
            outputs = _outputs(leaves, analytic)
            if not outputs:
                return None
            values = _values(steps, params)
            for step, value in leaves:
                if step is not None and not _are_same(values[step], value):
                    return None
        assert recording.views is not None
        return RecordedGradient(steps, values, begin, outputs, recording.views.of_step)
    except MemoryError:
        raise
    except Exception:  # whatever happens in the user's function: this is only an extra
        return None
    finally:
        state.restore()


def _is_harmless(leak: Any) -> bool:
    return _HARMLESS in str(leak.error)


def _read(recording: Recording, found: tuple[int, Any]) -> tuple[int, list[tuple[int | None, Reals]]]:
    begin, tree = found
    leaves: list[tuple[int | None, Reals]] = []
    for _, leaf in walk(tree):
        if type(leaf) is TracedArray:
            numbers = recording.as_numbers(leaf)
            leaves.append((numbers._step(), np.array(numbers._view, np.float64)))
        elif isinstance(leaf, (np.ndarray, np.generic, int, float)) and np.asarray(leaf).dtype.kind in "fiub":
            traced = recording.traced(np.asarray(leaf))
            leaves.append((traced._step(), np.array(traced._view, np.float64)))
    return begin, leaves


def _outputs(leaves: list[tuple[int | None, Reals]], analytic: Mapping[str, Reals]) -> dict[str, Output]:
    """Finds each array of the gradient among what the function returned; nothing if one of them is not there."""
    found: dict[str, Output] = {}
    left = list(leaves)
    for name, array in analytic.items():
        place = next((k for k, (_, value) in enumerate(left) if _has(value, array)), None)
        if place is None:
            return _parts_of_vector(leaves, analytic)
        step, _ = left.pop(place)
        if step is not None:
            found[name] = Output(step, None)
    return found


def _parts_of_vector(leaves: list[tuple[int | None, Reals]], analytic: Mapping[str, Reals]) -> dict[str, Output]:
    whole = np.concatenate([np.ravel(array) for array in analytic.values()])
    for step, value in leaves:
        if step is not None and value.size == whole.size:
            ends = np.cumsum([0, *(array.size for array in analytic.values())])
            parts = {
                name: Output(step, np.arange(begin, end))
                for name, begin, end in zip(analytic, ends[:-1], ends[1:], strict=True)
            }
            if all(_are_same(parts[name].of(value), np.ravel(array)) for name, array in analytic.items()):
                return parts
    return {}


def _has(value: Reals, array: Reals) -> bool:
    """Whether two arrays have the same entries, and shapes that differ by axes of length 1 at most."""
    shapes = [tuple(length for length in np.shape(a) if length != 1) for a in (value, array)]
    return shapes[0] == shapes[1] and _are_same(np.ravel(value), np.ravel(array))


def _are_same(a: Reals, b: Reals) -> bool:
    if np.shape(a) != np.shape(b):
        return False
    largest = float(np.abs(b[np.isfinite(b)]).max(initial=0.0))
    return bool(np.all((np.abs(a - b) <= SAME_GRADIENT * largest) | (a == b) | (np.isnan(a) & np.isnan(b))))


def _values(steps: list[Step], params: Packed) -> list[Reals]:
    given = (array for _, array in params.arrays(params.flat))
    values: list[Reals] = []
    for step in steps:
        if step.name == "parameter":
            values.append(next(given))
        else:
            values.append(np.asarray(step.primitive.value([values[k] for k in step.inputs], **step.attributes)))
    return values
