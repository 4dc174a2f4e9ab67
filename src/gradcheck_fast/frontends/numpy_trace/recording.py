"""`Recording`: writes down the steps of a function while it runs."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_fast.frontends.numpy_trace.adoption import Adopted
from gradcheck_fast.frontends.numpy_trace.array import TracedArray
from gradcheck_fast.frontends.numpy_trace.complex_array import TracedComplex, parts_of
from gradcheck_fast.frontends.numpy_trace.decisions import Decisions
from gradcheck_fast.frontends.numpy_trace.instructions import NOWHERE, Instructions
from gradcheck_fast.frontends.numpy_trace.registry import Known
from gradcheck_fast.numerical.gradient import EPSILON
from gradcheck_fast.program.program import Program, Step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.frontends.numpy_trace.view_lines import Reached, ViewLines
    from gradcheck_fast.program.program import Source

#: A function of more steps is not traced: its program would take gigabytes.
MOST_STEPS, MOST_LEAKS = 500_000, 1000


class Untraceable(ValueError):
    """What a function does cannot be written down as steps.

    Attributes
    ----------
    source : Source
        The line of the user's file.
    construct : str
        What was done there.
    advice : str
        What could be written instead; empty if nothing is known.
    """

    def __init__(self, source: Source, construct: str, advice: str = "") -> None:
        self.source, self.construct, self.advice = source, construct, advice
        place = f"{source}: " if any(source) else ""
        super().__init__(f"{place}{construct}{f'; write {advice} instead' if advice else ''}")


class Leak(NamedTuple):
    """A place where a plain number was made of a value that depends on the parameters.

    Attributes
    ----------
    steps : int
        How many steps there were before.
    error : Untraceable
        What to say if the number matters.
    """

    steps: int
    error: Untraceable


class Recording:
    """The steps of one run of a function, and everything that its traced arrays ask for.

    Parameters
    ----------
    is_users : callable
        Whether a file of that name is the user's, so that its lines are named.
    known : Known
        What functions do with traced arrays.

    Attributes
    ----------
    program : Program
        What has been written down.
    is_open : bool
        Whether the function is still running. An array that is used later has escaped from its trace.
    failure : Untraceable or None
        The first thing that could not be written down, even if the function caught the exception.
    notes : dict of str to Source
        What the report says about the trace, with the line at which it was noticed first.
    leaks : list of Leak
    decisions : Decisions
    draws, may_draw : bool
        Whether random numbers were drawn; and whether functions were called that may draw some without being seen.
    rounding : float
        To which part of their size the function rounds numbers where it does so most coarsely.
    views : ViewLines or None
        The lines at which views are made and written to, from when on it is set.
    view_line : Source or None
        Where a view was made that is being read: steps that read it belong to that line.
    """

    def __init__(self, is_users: Callable[[str], bool], known: Known) -> None:
        self.program = Program(0)
        self.is_open = True
        self.failure: Untraceable | None = None
        self.notes: dict[str, Source] = {}
        self.leaks: list[Leak] = []
        self.decisions = Decisions()
        self.draws = self.may_draw = False
        self.rounding = EPSILON
        self.views: ViewLines | None = None
        self.view_line: Source | None = None
        self._steps = self.program.steps
        #: Returns the instruction of the user's file that is running.
        self.source = Instructions(is_users, sys._getframe(1).f_code).running
        self._known = known
        self._thread = threading.get_ident()
        self._numbers: dict[float, int] = {}
        self._arrays: dict[int, tuple[NDArray[Any], NDArray[Any], int]] = {}
        self._adopted = Adopted(self)
        self._scalars: dict[float, TracedArray] = {}

    # ---- writing down

    def add(self, name: str, inputs: tuple[int, ...], shape: tuple[int, ...], /, **attributes: Any) -> int:
        """Adds a step whose value is known to have this shape."""
        self._require_open()
        if len(self._steps) >= MOST_STEPS:
            raise self.untraceable(
                f"the function takes more than {MOST_STEPS:,} steps", "whole arrays in place of loops"
            )
        source = self.source() if self.view_line is None else self.view_line
        self._steps.append(Step(name, inputs, shape, attributes, source))
        return len(self._steps) - 1

    def reached(self) -> Reached:
        """Returns how many steps there are, and the line that is running."""
        return len(self._steps), self.source()

    def size(self, number: int) -> int:
        """Returns how many entries a step has."""
        size = 1
        for length in self._steps[number].shape:
            size *= length
        return size

    def shape(self, number: int) -> tuple[int, ...]:
        """Returns the shape of a step."""
        return self._steps[number].shape

    def constant(self, value: Any) -> int:
        """Returns a leaf with this value. The same value is one leaf if it is a number or the same array again."""
        if isinstance(value, np.ndarray) and value.shape:
            known = self._arrays.get(id(value))
            if known is not None and known[1].shape == value.shape and np.array_equal(known[1], value, equal_nan=True):
                return known[2]
            kept = np.array(value, np.float64, order="C")
            number = self.add("constant", (), kept.shape, value=kept)
            self._arrays[id(value)] = value, kept, number
            return number
        scalar = float(value)
        found = self._numbers.get(scalar)
        if found is None or scalar == 0.0:  # 0.0 and -0.0 are equal as keys
            found = self._numbers[scalar] = self.add("constant", (), (), value=np.array(scalar))
        return found

    def parameter(self, value: NDArray[np.float64]) -> TracedArray:
        """Returns the next array of the parameters."""
        self._steps.append(Step("parameter", (), value.shape, {"shape": value.shape}, NOWHERE))
        return TracedArray(self, np.array(value, np.float64, order="C"), len(self._steps) - 1)

    def step(self, name: str, inputs: Sequence[TracedArray], value: Any, /, **attributes: Any) -> Any:
        """Returns what a primitive makes of some arrays, whose value is known; it is constant if they all are."""
        nodes = [x._step() for x in inputs]
        if not isinstance(value, np.ndarray):
            value = np.asarray(value)
        if value.dtype != np.float64 and value.dtype != np.bool_:
            value = self._as_float(value)
        if not value.flags.c_contiguous:
            value = value.copy()
        if all(node is None for node in nodes):
            return TracedArray(self, value, None)
        numbers = tuple(self.constant(x._view) if node is None else node for x, node in zip(inputs, nodes, strict=True))
        return TracedArray(self, value, self.add(name, numbers, value.shape, **attributes))

    def _as_float(self, value: NDArray[Any]) -> NDArray[np.float64]:
        if value.dtype.kind == "c":
            raise self.untraceable("complex numbers", "their real and imaginary parts")
        if value.dtype.kind not in "fiub":
            raise self.untraceable(f"an array of {value.dtype}")
        return value.astype(np.float64)

    # ---- what is handed in

    def traced(self, value: Any) -> Any:
        """Returns anything that NumPy takes for an array as a traced one."""
        if type(value) is TracedArray:
            if value._recording is not self:
                raise value._recording.escaped()
            return value
        if type(value) is float or type(value) is int:
            found = self._scalars.get(value)
            if found is None or value == 0.0:  # 0.0 and -0.0 are equal as keys
                found = self._scalars[value] = TracedArray(self, np.asarray(value), None)
            return found
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in "fiub":
                value = self._as_float(value)
            adopted = self.adopted(value)
            return TracedArray(self, value, None, foreign=True) if adopted is None else adopted
        if isinstance(value, (list, tuple)) and has_traced(value):
            return self._known.stack(self, value)
        array = np.asarray(value)
        if array.dtype.kind not in "fiubc":
            raise TypeError(f"expected numbers, got {value!r}")
        return TracedArray(self, array, None)

    def buffer(self, array: NDArray[Any]) -> Any:
        """Returns a new array of the user's as a traced one, if it can hold traced values."""
        return TracedArray(self, array, None) if array.dtype.kind == "f" and array.itemsize == 8 else array

    def adopt(self, array: NDArray[Any]) -> TracedArray:
        """Returns a plain array as a traced view of the same memory, so that traced values can be written into it."""
        storage = self._adopted.add(array)
        if storage is None:
            raise self.untraceable(
                f"a value that depends on the parameters is written into an array of {array.dtype}",
                "an array of float64 that the function makes itself by np.zeros",
            )
        return TracedArray(self, array, None, storage)

    def adopted(self, array: NDArray[Any]) -> TracedArray | None:
        """Returns the traced view of a plain array's memory, if traced values have been written into that."""
        storage = self._adopted.get(array)
        return TracedArray(self, array, None, storage) if storage is not None else None

    def into(self, out: Any, result: Any) -> Any:
        """Returns a result, or, if an array `out` was given for it, writes it there and returns that."""
        if isinstance(out, tuple):
            (out,) = out
        if out is None or out is np._NoValue:
            return result
        target = out if type(out) is TracedArray else self.adopt(out)
        if np.shape(result) != target.shape:
            raise ValueError(f"output array has the shape {target.shape} instead of {np.shape(result)}")
        target._assign(..., result)
        return target

    def key(self, key: Any, array: TracedArray) -> tuple[Any, bool]:
        """Returns a key as NumPy takes it, and whether it makes a view."""
        kind = type(key)
        if kind is int or kind is slice or key is None or key is Ellipsis:
            return key, True
        if kind is tuple:
            parts = [self.key(list(part) if type(part) is tuple else part, array) for part in key]
            return tuple(part for part, _ in parts), all(basic for _, basic in parts)
        if kind is TracedArray:
            if key._view.dtype == np.bool_:
                return key._view, False
            if key._view.shape:
                raise IndexError("arrays used as indices must be of integer (or boolean) type")
            return key.__index__(), True
        if isinstance(key, (list, tuple)) and has_traced(key):
            return np.array([self.key(part, array)[0] for part in key]), False
        if isinstance(key, (np.integer, np.bool_, bool)):
            return key, isinstance(key, np.integer)
        if isinstance(key, np.ndarray) and key.ndim == 0 and key.dtype.kind in "iu":
            return int(key), True
        return (key, False) if isinstance(key, (list, np.ndarray)) or not hasattr(key, "__index__") else (key, True)

    def set_item(self, array: TracedArray, key: Any, value: Any) -> None:
        """Does ``array[key] = value``."""
        self._require_open()
        mask = key if type(key) is TracedArray and key._view.dtype == np.bool_ and key._step() is not None else None
        if isinstance(value, (list, tuple)) and has_traced(value):
            value = self.traced(value)
        elif type(value) is np.ndarray and self._adopted:
            value = value if self.adopted(value) is None else self.adopted(value)
        if mask is not None and np.size(value) == 1 and mask.shape == array.shape:
            # where the mask is depends on the parameters: it is computed again under a difference
            array._assign(..., np.where(mask, np.reshape(value, ()), array))
            return
        array._assign(self.key(key, array)[0], value)

    def check_cast(self, into: NDArray[Any], value: Any) -> None:
        """Raises an error if numbers would be cut off when they are written into an array."""
        if into.dtype == np.bool_ and getattr(value, "dtype", None) != np.bool_:
            raise self.untraceable("numbers are written into an array of bool")

    # ---- what the arrays ask for

    def truth(self, array: TracedArray) -> bool:
        """Returns the truth value on which the function branches; the comparison is a step that knows its margin."""
        self._require_open()
        if array._step() is not None:
            array = array if array._view.dtype == np.bool_ else self.mask(array)
            self.decisions.add(self.source(), bool(array._view))
        return bool(array._view)

    def plain_number(self, array: TracedArray, construct: str, advice: str) -> Any:
        """Returns the plain number that an array holds. If it depends on the parameters, that is noted as a leak."""
        self._require_open()
        if array._step() is not None:
            self.leak(f"{construct} of a value that depends on the parameters", advice)
        return array._view[()] if array._view.shape == () else array._view.item()

    def cast(self, array: TracedArray, dtype: np.dtype[Any]) -> Any:
        """Does ``array.astype(dtype)``."""
        if dtype.kind == "f":
            if dtype.itemsize < 8:
                said = f"a cast to {dtype} is left out: it is a plateau at every number, and has no slope"
                self.note_rounding(float(np.finfo(dtype).eps), said)
            return array.copy() if array._view.dtype == np.float64 else self.as_numbers(array)
        if dtype.kind == "b":
            return array.copy() if array._view.dtype == np.bool_ else self.mask(array)
        if array._step() is None or array._view.dtype == np.bool_:
            if array._step() is not None:
                return self.as_numbers(array)
            return array._view.astype(dtype)
        if dtype.kind in "iu":
            self.leak(f"a cast to {dtype}", "np.floor(x) if its slope of 0 is meant")
            return array._view.astype(dtype)
        if dtype.kind == "c":
            return TracedComplex(self, parts_of(self, array.copy()))
        raise self.untraceable(f"a cast to {dtype}")

    def as_numbers(self, mask: TracedArray) -> Any:
        """Returns a mask as the numbers 0.0 and 1.0."""
        if mask._view.dtype != np.bool_:
            return mask
        return TracedArray(self, mask._view.astype(np.float64), mask._step())

    def mask(self, array: TracedArray) -> Any:
        """Returns where an array is not zero."""
        return (
            array
            if array._view.dtype == np.bool_
            else self._known.ufunc(self, np.not_equal, "__call__", (array, 0), {})
        )

    def as_mask(self, numbers: TracedArray) -> TracedArray:
        """Returns numbers 0.0 and 1.0 as a mask."""
        return TracedArray(self, numbers._view.astype(np.bool_), numbers._step())

    # ---- NumPy's protocols

    def ufunc(self, ufunc: Any, method: str, inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Does what a ufunc does; see ``ndarray.__array_ufunc__``."""
        self._require_open()
        return self._known.ufunc(self, ufunc, method, inputs, dict(kwargs))

    def function(self, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Does what a function of NumPy does; see ``ndarray.__array_function__``."""
        self._require_open()
        return self._known.function(self, function, args, kwargs)

    def opaque(self, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Calls a function that is not known with plain arrays; what it returns are steps that are differenced."""
        return self._known.opaque(self, function, args, kwargs)

    # ---- what goes wrong, or is worth saying

    def note(self, text: str) -> None:
        """Notes what the report should say about this trace."""
        self.notes.setdefault(text, self.source())

    def note_rounding(self, eps: float, text: str) -> None:
        """Notes that the function rounds to fewer digits than float64 has, which the trace does not do."""
        self.note(f"{text}; errors below the digits that are kept there are not seen, whatever the certificate says")
        self.rounding = max(self.rounding, eps)

    def leak(self, construct: str, advice: str = "") -> None:
        """Notes that a plain number was made of a traced one. If it matters, the trace is wrong: this line is named."""
        if len(self.leaks) < MOST_LEAKS:
            self.leaks.append(Leak(len(self._steps), Untraceable(self.source(), construct, advice)))

    def untraceable(self, construct: str, advice: str = "") -> Untraceable:
        """Returns the error that ends this trace, also if the function catches it."""
        error = Untraceable(self.source(), construct, advice)
        self.failure = self.failure or error
        return error

    def escaped(self) -> RuntimeError:
        """Returns the error for the use of a traced array after its trace."""
        return RuntimeError(
            "this array stands for a value of a function that gradcheck_fast traced: it was kept from that call, which "
            "is over. Compute it again with plain arrays"
        )

    def _require_open(self) -> None:
        if not self.is_open:
            raise self.escaped()
        if threading.get_ident() != self._thread:
            raise self.untraceable("another thread computes with a value that depends on the parameters")


def has_traced(value: Any, depth: int = 4) -> bool:
    """Whether a value, or a list, tuple or dict of values, contains a traced array."""
    if type(value) is TracedArray or type(value) is TracedComplex:
        return True
    if depth and isinstance(value, (list, tuple)):
        return any(has_traced(part, depth - 1) for part in value)
    return bool(depth) and isinstance(value, dict) and any(has_traced(part, depth - 1) for part in value.values())
