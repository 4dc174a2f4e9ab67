"""`Calls`: what is done in place of the calls of a function that is traced."""

from __future__ import annotations

import functools
import math
import operator
import random
from collections.abc import Callable
from types import BuiltinFunctionType, MethodType, MethodWrapperType
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.numpy_trace.adoption import owner
from gradcheck_fast.frontends.numpy_trace.array import TracedArray
from gradcheck_fast.frontends.numpy_trace.complex_array import TracedComplex, buffer, has_complex
from gradcheck_fast.frontends.numpy_trace.creation import MAKERS, make, number
from gradcheck_fast.frontends.numpy_trace.functions import FUNCTIONS, SCIPY
from gradcheck_fast.frontends.numpy_trace.looking import plain
from gradcheck_fast.frontends.numpy_trace.movement import columns
from gradcheck_fast.frontends.numpy_trace.recording import Recording, has_traced
from gradcheck_fast.frontends.numpy_trace.rewrite import Rewriter
from gradcheck_fast.inputs.state import State

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RANDOM = (random.Random, np.random.RandomState, np.random.Generator)


class Calls:
    """The hook of a `Rewriter`: it gives every call and every assignment to items to a recording.

    Parameters
    ----------
    recording : Recording
    function : callable, optional
        What is traced. Where it keeps a plain array, and then writes traced values into that, a traced view is put in
        its place until `close` is called.
    """

    def __init__(self, recording: Recording, function: Callable[..., Any] | None = None) -> None:
        self._recording, self._function = recording, function
        self._rewriter = Rewriter(self)
        self._kept: State | None = None
        #: Where arrays are kept, by the identity of the array that owns the memory.
        self._places: dict[int, list[tuple[Callable[[Any], object], NDArray[Any]]]] = {}

    def close(self) -> None:
        """Puts the plain arrays back where traced ones have taken their place."""
        if self._kept is not None:
            self._kept.restore()

    def convert(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns the version of a function whose calls come here; itself if it is none of the user's."""
        return self._rewriter.convert(function) or function

    def call(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Does what a call does."""
        if not self._recording.is_open:  # a function that was made in the trace has outlived it
            return function(*args, **kwargs)
        try:
            stands_in = _STANDS_IN.get(function)
        except TypeError:  # it has no hash
            stands_in = None
        if stands_in is not None:
            return stands_in(self, function, *args, **kwargs)
        if type(function) is BuiltinFunctionType or type(function) is MethodWrapperType:
            return self._builtin(function, args, kwargs)
        if type(function) is MethodType and (function.__self__ is np.c_ or function.__self__ is np.r_):
            return columns(self._recording, function.__self__, *args) if has_traced(args) else function(*args)
        if isinstance(function, np.ufunc):
            args, kwargs = self._lifted(args), self._lifted(kwargs)
            are_lists = not any(type(x) in (TracedArray, TracedComplex) for x in args)  # which NumPy would open
            if are_lists and has_traced(args):
                args = tuple(self._recording.traced(x) if has_traced(x) else x for x in args)
            return function(*args, **kwargs)
        if isinstance(function, np.vectorize):
            return self._vectorized(function, args, kwargs)
        if isinstance(getattr(function, "__self__", None), _RANDOM):
            self._recording.draws = True
        converted = self._rewriter.convert(function)
        if converted is not None:
            return converted(*args, **kwargs)
        return self._foreign(function, args, kwargs)

    def _builtin(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        owner = function.__self__
        self._recording.draws |= isinstance(owner, _RANDOM)
        if type(owner) is np.ndarray:
            traced = self._recording.adopted(owner)
            if traced is not None or has_traced(args) or has_traced(kwargs):
                traced = self._recording.traced(owner) if traced is None else traced
                return getattr(traced, function.__name__)(*args, **kwargs)
        elif type(owner) is np.ufunc:
            args, kwargs = self._lifted(args), self._lifted(kwargs)
        elif isinstance(owner, np.generic) and (has_traced(args) or has_traced(kwargs)):
            return getattr(self._recording.traced(owner), function.__name__)(*args, **kwargs)
        return function(*args, **kwargs)

    def _foreign(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Calls a function of an installed library, or a compiled one."""
        recording = self._recording
        recording.may_draw |= not str(getattr(function, "__module__", "")).startswith("numpy")
        if not (has_traced(args) or has_traced(kwargs)):
            return function(*args, **kwargs)
        if str(getattr(function, "__module__", "")).startswith("scipy."):
            known = SCIPY.get(getattr(function, "__name__", ""))
            return known(recording, *args, **kwargs) if known else recording.opaque(function, args, kwargs)
        failure = recording.failure
        try:
            return function(*args, **kwargs)
        except Exception:
            if recording.failure is failure or isinstance(function, type):
                raise
            recording.failure = failure  # it may be called with plain arrays instead
            return recording.opaque(function, args, kwargs)

    def _vectorized(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not (has_traced(args) or has_traced(kwargs)) or function.signature is not None or kwargs:
            return self._foreign(function, args, kwargs)
        x = np.broadcast_arrays(*(self._recording.traced(a) for a in args))
        flat = [np.ravel(part) for part in x]
        found = [self.call(function.pyfunc, *(part[k] for part in flat)) for k in range(flat[0].size)]
        return self._recording.traced(found).reshape(x[0].shape)

    def setitem(self, container: Any, key: Any, value: Any, /) -> Any:
        """Does what ``container[key] = value`` does, and returns the container, which is traced from then on."""
        if type(container) is np.ndarray and container.dtype.kind == "c" and has_traced(value):
            container = buffer(self._recording, container)
        if type(container) is np.ndarray:
            traced = self._recording.adopted(container)
            if traced is None and (has_traced(value) or has_traced(key)):
                if container.dtype.kind in "iu":  # NumPy cuts numbers off
                    self._recording.leak(f"a value that depends on the parameters is written into {container.dtype}")
                    container[plain(key)] = plain(value)
                    return container
                traced = self._adopt(container)
            container = container if traced is None else traced
        container[key] = value
        return container

    def _lifted(self, value: Any) -> Any:
        """Returns arguments with traced arrays in place of the plain ones whose memory holds traced values."""
        recording = self._recording
        if not recording._adopted:
            return value
        if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
            return type(value)(self._lifted(part) for part in value)
        if type(value) is dict:
            return {name: self._lifted(part) for name, part in value.items()}
        return recording.traced(value) if _is_adopted(recording, value) else value

    def _adopt(self, array: NDArray[Any]) -> TracedArray:
        """Returns a plain array as a traced one, which takes its place in all that the function keeps.

        What operators do with plain arrays alone is not seen.
        """
        found = self._recording.adopted(array)
        if found is None:
            if self._kept is None and self._function is not None:
                self._kept = State(self._function)
                for put, kept in self._kept.arrays():
                    self._places.setdefault(id(owner(kept)), []).append((put, kept))
            found = self._recording.adopt(array)
            for put, kept in self._places.pop(id(owner(array)), ()):
                put(self._recording.adopted(kept))
        return found

    def augmented(self, operator_name: str, target: Any, value: Any, /) -> Any:
        """Does what ``target op= value`` does for an item, and returns the new item."""
        if type(target) is np.ndarray and (has_traced(value) or self._recording.adopted(target) is not None):
            target = self._adopt(target)
        return getattr(operator, operator_name)(target, value)


# ---- what stands in for functions of Python and NumPy; each is called with the calls, the function and its arguments


def _of_numpy(calls: Calls, function: Any, /, *args: Any, **kwargs: Any) -> Any:
    args, kwargs = calls._lifted(args), calls._lifted(kwargs)
    if has_traced(args) or has_traced(kwargs):
        return calls._recording.function(function, args, kwargs)
    return function(*args, **kwargs)


def _is_adopted(recording: Recording, value: Any) -> bool:
    return type(value) is np.ndarray and recording.adopted(value) is not None


def _maker(calls: Calls, function: Any, /, *args: Any, **kwargs: Any) -> Any:
    args, kwargs = calls._lifted(args), calls._lifted(kwargs)
    if has_traced(args) and (function in FUNCTIONS or has_complex(args)):
        return calls._recording.function(function, args, kwargs)
    return make(calls._recording, function, args, kwargs)


def _number(calls: Calls, function: Any, /, *args: Any) -> Any:
    if args and type(args[0]) is TracedArray:
        if args[0].ndim and function is np.float64:  # which takes arrays, too
            return calls._recording.as_numbers(args[0]).copy()
        if args[0].size != 1:
            raise TypeError("only length-1 arrays can be converted to Python scalars")
        return number(calls._recording, calls._recording.as_numbers(args[0]).reshape(()))
    return function(*args)


def _coarse_number(calls: Calls, function: Any, /, *args: Any) -> Any:
    return args[0].astype(function) if args and type(args[0]) is TracedArray else function(*args)


def _integer(calls: Calls, function: Any, /, *args: Any, **kwargs: Any) -> Any:
    if args and type(args[0]) is TracedArray:
        calls._recording.leak(
            f"{function.__name__}(x) of a value that depends on the parameters",
            "np.floor(x) if its slope of 0 is meant",
        )
        return function(args[0]._view)
    return function(*args, **kwargs)


def _extreme(ufunc: Any) -> Any:
    def find(calls: Calls, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        values = args if len(args) != 1 else list(args[0])
        if kwargs or not has_traced(values) or any(getattr(value, "size", 1) != 1 for value in values):
            return function(*(args if len(args) > 1 else (values,) if args else ()), **kwargs)
        return functools.reduce(ufunc, values)

    return find


def _mathematical(ufunc: Any) -> Any:
    def compute(calls: Calls, function: Any, /, *args: Any) -> Any:
        if not has_traced(args):
            return function(*args)
        numbers: list[Any] = [x if type(x) is TracedArray else float(x) for x in args]
        return functools.reduce(ufunc, numbers) if ufunc is np.hypot else ufunc(*numbers)

    return compute


def _special(primitive: str) -> Any:
    def compute(calls: Calls, function: Any, /, x: Any) -> Any:
        if type(x) is not TracedArray:
            return function(x)
        scalar = number(calls._recording, x)
        return calls._recording.step(primitive, [scalar], function(scalar._view.item()))

    return compute


def _fsum(calls: Calls, function: Any, /, values: Any) -> Any:
    values = list(values)
    return np.sum(calls._recording.traced(values)) if has_traced(values) else function(values)


def _logarithm(calls: Calls, function: Any, /, x: Any, *base: Any) -> Any:
    if not has_traced((x, *base)):
        return function(x, *base)
    return np.log(x) / np.log(base[0]) if base else np.log(x)


def _map(calls: Calls, function: Any, /, mapped: Any, *iterables: Any) -> Any:
    return function(mapped and functools.partial(calls.call, mapped), *iterables)  # filter may be given None


def _type(calls: Calls, function: Any, /, *args: Any, **kwargs: Any) -> Any:
    return args[0].__class__ if len(args) == 1 and type(args[0]) is TracedArray else function(*args, **kwargs)


def _apply(calls: Calls, function: Any, /, func1d: Any, *args: Any, **kwargs: Any) -> Any:
    return _of_numpy(calls, function, functools.partial(calls.call, func1d), *args, **kwargs)


def _iterator(calls: Calls, function: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Gives the entries of an array in turn, as arrays without axes that can be written to."""
    array = args[0] if args else None
    if type(array) is not TracedArray or len(args) > 1 or kwargs.get("flags") or kwargs.keys() - {"flags", "op_flags"}:
        return calls._foreign(function, args, kwargs)
    return (array[(*place, ...)] for place in np.ndindex(array.shape))


_MATHEMATICAL = {
    "exp": np.exp, "sqrt": np.sqrt, "sin": np.sin, "cos": np.cos, "tan": np.tan, "tanh": np.tanh, "sinh": np.sinh,
    "cosh": np.cosh, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "atan2": np.arctan2, "asinh": np.arcsinh,
    "acosh": np.arccosh, "atanh": np.arctanh, "log1p": np.log1p, "expm1": np.expm1, "log2": np.log2,
    "log10": np.log10, "pow": np.power, "fabs": np.abs, "exp2": np.exp2, "cbrt": np.cbrt, "hypot": np.hypot,
    "isnan": np.isnan, "isinf": np.isinf, "isfinite": np.isfinite, "copysign": np.copysign, "fmod": np.fmod,
    "degrees": np.degrees, "radians": np.radians,
}  # fmt: skip


def _stand_ins() -> dict[Any, Callable[..., Any]]:
    found: dict[Any, Callable[..., Any]] = dict.fromkeys(FUNCTIONS, _of_numpy)
    found.update(dict.fromkeys(MAKERS, _maker))
    found[np.apply_along_axis] = _apply
    found.update({getattr(math, name): _mathematical(f) for name, f in _MATHEMATICAL.items() if hasattr(math, name)})
    found[math.log], found[math.fsum] = _logarithm, _fsum
    found[math.erf], found[math.erfc], found[math.lgamma] = map(_special, ("erf", "erfc", "gammaln"))
    found[math.floor], found[math.ceil], found[math.trunc] = _integer, _integer, _integer
    found[float] = found[np.float64] = _number
    found.update(dict.fromkeys((np.float32, np.float16, np.longdouble), _coarse_number))
    found.update(dict.fromkeys((int, np.int64, np.int32, np.intp), _integer))
    found[max], found[min] = _extreme(np.maximum), _extreme(np.minimum)
    found[map] = found[filter] = found[functools.reduce] = _map
    found[type] = _type
    found[np.nditer] = _iterator
    return found


_STANDS_IN = _stand_ins()
