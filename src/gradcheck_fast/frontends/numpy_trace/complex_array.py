"""`TracedComplex`: an array of complex numbers that depend on the parameters, as a pair of traced arrays.

Its memory is that of the two, so that what is written into a view of it is seen in all others. A plain complex array
into which traced numbers are written is replaced by a new one: what else has the plain one does not see that, which
shows when the values of the trace are compared with those of the function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.numpy_trace.array import TracedArray
from gradcheck_fast.frontends.numpy_trace.flat import Missing
from gradcheck_fast.frontends.operators.complex_numbers import ComplexArray, conjugate

if TYPE_CHECKING:
    from gradcheck_fast.frontends.numpy_trace.storage import Recorder


#: The usual types of real operands.
_REAL = frozenset({TracedArray, float, int, bool})
#: The attributes of arrays.
_KNOWN_TO_NUMPY = frozenset(dir(np.ndarray))


class TracedComplex:
    """An array of complex128 whose parts are traced.

    Parameters
    ----------
    recording : Recorder
    parts : ComplexArray
        Of traced arrays of one shape.
    """

    __slots__ = ("_parts", "_recording")
    __array_priority__ = 1e7
    __hash__ = None  # type: ignore[assignment]  # as ndarray has none

    def __init__(self, recording: Recorder, parts: ComplexArray) -> None:
        self._recording = recording
        self._parts = parts.each(lambda part: recording.as_numbers(recording.traced(part)))

    # ---- the protocols of NumPy

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return self._recording.ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return self._recording.function(function, args, kwargs)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if not self._recording.is_open:
            raise self._recording.escaped()
        raise self._recording.untraceable("complex numbers that depend on the parameters go into compiled code")

    @property  # type: ignore[misc]  # it may not be set, either
    def __class__(self) -> Any:  # isinstance(x, np.ndarray) is true, as for the array that it stands for
        return np.ndarray if self.ndim else np.complex128

    # ---- attributes

    real = property(lambda self: self._parts.real)
    imag = property(lambda self: self._parts.imag)
    dtype = property(lambda self: np.dtype(np.complex128))
    shape = property(lambda self: self._parts.real.shape)
    ndim = property(lambda self: self._parts.real.ndim)
    size = property(lambda self: self._parts.real.size)
    T = property(lambda self: self._each(lambda part: part.T))
    mT = property(lambda self: self._each(lambda part: part.mT))

    def plain(self) -> Any:
        """Returns the values at the parameters."""
        return self._parts.plain()

    def _each(self, function: Callable[[Any], Any]) -> TracedComplex:
        return TracedComplex(self._recording, self._parts.each(function))

    # ---- as a sequence

    def __len__(self) -> int:
        return len(self._parts.real)

    def __iter__(self) -> Iterator[TracedComplex]:
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[k] for k in range(len(self)))

    def __getitem__(self, key: Any) -> TracedComplex:
        return self._each(lambda part: part[key])

    def __setitem__(self, key: Any, value: Any) -> None:
        for part, new in zip(self._parts, parts_of(self._recording, value), strict=True):
            part[key] = new

    # ---- as a number

    def __bool__(self) -> bool:
        raise self._recording.untraceable("a branch on a complex number that depends on the parameters")

    def __complex__(self) -> complex:
        raise self._recording.untraceable("complex(x) of a value that depends on the parameters", "x")

    def __repr__(self) -> str:
        self._recording.leak("a text is made of a value that depends on the parameters", "the value itself")
        return repr(self.plain()[()])

    def __copy__(self, memo: Any = None) -> TracedComplex:
        return self.copy()

    __deepcopy__ = __copy__

    # ---- methods

    def conj(self) -> TracedComplex:
        return TracedComplex(self._recording, conjugate(self.copy()._parts))

    conjugate = conj

    def copy(self, order: str = "C") -> TracedComplex:
        return self._each(lambda part: part.copy())

    def item(self, *place: Any) -> TracedComplex:
        return self._each(lambda part: part.item(*place))

    def reshape(self, *shape: Any, **kwargs: Any) -> TracedComplex:
        return self._each(lambda part: part.reshape(*shape, **kwargs))

    def transpose(self, *axes: Any) -> TracedComplex:
        return self._each(lambda part: part.transpose(*axes))

    def flatten(self, order: str = "C") -> TracedComplex:
        return self._each(lambda part: part.flatten(order))

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Any:
        if np.dtype(dtype) != np.complex128:
            raise self._recording.untraceable(f"a cast of complex numbers to {np.dtype(dtype)}")
        return self.copy()

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in _KNOWN_TO_NUMPY:
            return Missing(self._recording, f".{name} of complex numbers that depend on the parameters")
        raise AttributeError(f"'numpy.ndarray' object has no attribute {name!r}")


def is_complex(value: Any) -> bool:
    """Whether a value is complex: traced, an array, or a number."""
    kind = type(value)
    if kind in _REAL:
        return False
    if kind is np.ndarray:
        return bool(value.dtype.kind == "c")
    return kind is TracedComplex or kind is complex or issubclass(kind, np.complexfloating)


def has_complex(value: Any, depth: int = 4) -> bool:
    """Whether a value, or a list, tuple or dict of values, is or contains complex numbers."""
    if depth and type(value) in (list, tuple):
        return any(has_complex(part, depth - 1) for part in value)
    return is_complex(value)


def parts_of(recording: Recorder, value: Any) -> ComplexArray:
    """Returns any numbers as a pair of traced arrays."""
    if type(value) is TracedComplex:
        return value._parts
    if is_complex(value):
        plain = np.asarray(value)
        return ComplexArray(recording.traced(plain.real.copy()), recording.traced(plain.imag.copy()))
    real = recording.as_numbers(recording.traced(value))
    return ComplexArray(real, recording.traced(np.zeros(real.shape)))


def buffer(recording: Recorder, array: Any) -> TracedComplex:
    """Returns a plain complex array, into whose items traced values can then be written."""
    parts = ComplexArray(array.real.copy(), array.imag.copy())
    return TracedComplex(recording, parts.each(recording.adopt))


def _with_imaginary(self: TracedArray, imag: TracedArray) -> TracedComplex:
    """Returns the complex array of which this is the real part."""
    recording: Any = self._recording
    return TracedComplex(recording, ComplexArray(self, imag))


def _operators() -> None:
    """Gives `TracedComplex` the operators of Python, each through NumPy's ufunc of the same meaning."""
    for name, ufunc in {
        "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide, "pow": np.power,
        "matmul": np.matmul,
    }.items():  # fmt: skip

        def forward(self: Any, other: Any, *, ufunc: Any = ufunc) -> Any:
            return self._recording.ufunc(ufunc, "__call__", (self, other), {})

        def reflected(self: Any, other: Any, *, ufunc: Any = ufunc) -> Any:
            return self._recording.ufunc(ufunc, "__call__", (other, self), {})

        setattr(TracedComplex, f"__{name}__", forward)
        setattr(TracedComplex, f"__r{name}__", reflected)
    for name, ufunc in {"neg": np.negative, "pos": np.positive, "abs": np.absolute}.items():
        setattr(TracedComplex, f"__{name}__", lambda self, ufunc=ufunc: ufunc(self))


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, *args, **kwargs: function(self, *args, **kwargs)


def _methods() -> None:
    """Gives `TracedComplex` the methods that do what NumPy's function of the same name does."""
    for name in ("sum", "mean", "cumsum", "dot", "squeeze", "ravel", "repeat", "swapaxes", "take", "trace", "diagonal"):
        setattr(TracedComplex, name, _method(getattr(np, name)))
    TracedArray.with_imaginary = _with_imaginary  # type: ignore[attr-defined]


_operators()
_methods()
