"""`TracedArray`: an array that behaves as NumPy's do, and records what is done to it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.numpy_trace.storage import Recorder, Storage

if TYPE_CHECKING:
    from numpy.typing import NDArray


class TracedArray:
    """An array of float64, or of bool, whose value at the parameters is known and whose steps are written down.

    It is a view of a `Storage`, as every NumPy array is of its memory, so that what is written into a view is seen in
    all others. What NumPy would make a scalar is a traced array without axes that is never written to.
    """

    __slots__ = ("_node", "_recording", "_storage", "_version", "_view")
    __array_priority__ = 1e6
    __hash__ = None  # type: ignore[assignment]  # as ndarray has none

    def __init__(self, recording: Recorder, view: NDArray[Any], node: int | None, storage: Storage | None = None):
        self._recording, self._view = recording, view
        self._storage = storage or Storage(recording, view, node)
        self._node, self._version = node, 0 if storage is None else -1

    # ---- what the recording asks for

    def _step(self) -> int | None:
        """Returns the step that has the value of this array; None: it is constant."""
        if self._version != self._storage.version:
            self._node, self._version = self._storage.read(self._view), self._storage.version
        return self._node

    def _is_scalar(self) -> bool:
        return not self._view.shape

    def _assign(self, key: Any, value: Any) -> None:
        """Does ``self[key] = value``, where the key is one of NumPy's."""
        if isinstance(value, TracedArray):
            if value._storage is self._storage and _same_place(self._view[key], value._view):
                return  # x[key] += y ends with x[key] = x[key]
            node = value._step()
            shape, plain = value._view.shape, value._view.copy() if node is None else value._view
        else:
            node, shape, plain = None, (), value
        self._recording.check_cast(self._view, plain)
        self._view[key] = plain
        if node is not None:
            target = self._view[key].shape
            while len(shape) > len(target) and shape[0] == 1:  # NumPy allows leading axes of length 1
                shape = shape[1:]
        self._storage.write(self._view, key, node, shape)

    # ---- the protocols of NumPy

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return self._recording.ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return self._recording.function(function, args, kwargs)

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        if self._recording.is_open and self._step() is not None:
            raise self._recording.untraceable(
                "a value that depends on the parameters goes into compiled code that does not tell what it does to it"
            )
        if not self._recording.is_open:
            raise self._recording.escaped()
        return np.array(self._view, dtype)

    @property
    def __class__(self) -> Any:  # isinstance(x, np.ndarray) is true, as for the array that it stands for
        return np.ndarray if self._view.shape else np.float64 if self._view.dtype != bool else np.bool_

    # ---- attributes

    @property
    def shape(self) -> tuple[int, ...]:
        return self._view.shape

    @shape.setter
    def shape(self, shape: Any) -> None:
        self._view = self._view.view()
        self._view.shape = shape
        self._version = -1

    dtype = property(lambda self: self._view.dtype)
    ndim = property(lambda self: self._view.ndim)
    size = property(lambda self: self._view.size)
    itemsize = property(lambda self: self._view.itemsize)
    nbytes = property(lambda self: self._view.nbytes)
    strides = property(lambda self: self._view.strides)
    flags = property(lambda self: self._view.flags)
    T = property(lambda self: self._seen(self._view.T))
    mT = property(lambda self: self._seen(self._view.swapaxes(-1, -2)))
    real = property(lambda self: self)
    base = property(lambda self: None if self._view is self._storage.array else self._storage.array)

    @property
    def imag(self) -> NDArray[np.float64]:
        return np.zeros(self._view.shape)

    @property
    def flat(self) -> TracedArray:
        return self.reshape(-1)

    @flat.setter
    def flat(self, value: Any) -> None:
        self[...] = np.reshape(value, self._view.shape) if np.size(value) == self.size else value

    def _seen(self, view: NDArray[Any]) -> TracedArray:
        """Returns a view of the same storage."""
        return TracedArray(self._recording, view, None, self._storage)

    # ---- as a sequence

    def __len__(self) -> int:
        return len(self._view)

    def __iter__(self) -> Iterator[TracedArray]:
        if not self._view.shape:
            raise TypeError("iteration over a 0-d array")
        return (self[k] for k in range(len(self._view)))

    def __contains__(self, value: Any) -> bool:
        return bool(np.any(self == value))

    def __getitem__(self, key: Any) -> TracedArray:
        key, is_basic = self._recording.key(key, self)
        if is_basic:
            view = self._view[key]
            if isinstance(view, np.generic):
                view = self._view[(*key, ...) if isinstance(key, tuple) else (key, ...)]
                return TracedArray(self._recording, view.copy(), self._storage.read(view))
            return self._seen(view)
        values = np.array(self._view[key], order="C")  # fancy indexing may leave another order
        if self._storage.origin is None:
            node = self._step()
            if node is not None:
                index = np.asarray(np.arange(self._view.size).reshape(self._view.shape)[key])
                node = self._recording.add("gather", (node,), index.shape, index=index)
        else:
            origin, _ = self._storage.taken(self._view, key)
            node = self._storage.assembled(np.asarray(origin), values)
        return TracedArray(self._recording, values, node)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._recording.set_item(self, key, value)

    # ---- as a number

    def __bool__(self) -> bool:
        return self._recording.truth(self)

    def __float__(self) -> float:
        return float(self._recording.plain_number(self, "float(x)", "x"))

    def __int__(self) -> int:
        return int(self._recording.plain_number(self, "int(x)", "np.floor(x) if its slope of 0 is meant"))

    def __index__(self) -> int:
        if self._step() is None and float(self._view).is_integer():
            return int(self._view)
        raise TypeError("only integer scalar arrays can be converted to a scalar index")

    def __complex__(self) -> complex:
        return complex(self.__float__())

    def __round__(self, digits: int | None = None) -> Any:
        return np.round(self, digits or 0)  # type: ignore[call-overload]

    def __format__(self, spec: str) -> str:
        return format(self._printed(), spec)

    def __repr__(self) -> str:
        return repr(self._printed())

    def __str__(self) -> str:
        return str(self._printed())

    def _printed(self) -> Any:
        if self._recording.is_open:
            self._recording.leak("a text is made of a value that depends on the parameters", "the value itself")
        return self._view[()]

    def __copy__(self) -> TracedArray:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> TracedArray:
        return self.copy()

    def __reduce__(self) -> Any:
        raise self._recording.untraceable("a value that depends on the parameters is pickled")

    # ---- methods

    def item(self, *place: Any) -> TracedArray:
        if place:
            return self.reshape(-1)[place[0]] if len(place) == 1 else self[place]
        return self.reshape(())

    def copy(self, order: str = "C") -> TracedArray:
        return TracedArray(self._recording, self._view.copy(), self._step())

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Any:
        return self._recording.cast(self, np.dtype(dtype))

    def reshape(self, *shape: Any, order: str = "C", **kwargs: Any) -> TracedArray:
        return np.reshape(self, shape[0] if len(shape) == 1 else shape, order=order, **kwargs)  # type: ignore[call-overload,no-any-return]

    def transpose(self, *axes: Any) -> TracedArray:
        return self._seen(self._view.transpose(*axes))

    def view(self, *args: Any, **kwargs: Any) -> TracedArray:
        if args or kwargs:
            raise self._recording.untraceable(".view() with another type", "astype, or leave it out")
        return self._seen(self._view.view())

    def flatten(self, order: str = "C") -> TracedArray:
        return np.ravel(self, order=order).copy()  # type: ignore[call-overload,no-any-return]

    def fill(self, value: Any) -> None:
        self[...] = value

    def tolist(self) -> Any:
        return [part.tolist() for part in self] if self._view.ndim else self

    def sort(self, axis: int = -1, kind: Any = None, order: Any = None) -> None:
        self[...] = np.sort(self, axis=axis)  # type: ignore[call-overload]

    def itemset(self, *args: Any) -> None:
        *key, value = args
        self[tuple(key)] = value

    def setflags(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing: traced arrays can always be written to."""

    def __divmod__(self, other: Any) -> tuple[Any, Any]:
        return np.floor_divide(self, other), np.remainder(self, other)

    def __rdivmod__(self, other: Any) -> tuple[Any, Any]:
        return np.floor_divide(other, self), np.remainder(other, self)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__") and (hasattr(np.ndarray, name) or hasattr(np.float64, name)):
            raise self._recording.untraceable(f".{name} of a value that depends on the parameters")
        raise AttributeError(f"'numpy.ndarray' object has no attribute {name!r}")

    def _in_place(self, function: Callable[[Any, Any], Any], other: Any) -> TracedArray:
        result: TracedArray = function(self, other)
        if not self._view.shape:  # NumPy's scalars cannot be written to
            return result
        self._assign(..., result)
        return self


def _same_place(first: Any, second: NDArray[Any]) -> bool:
    return isinstance(first, np.ndarray) and (
        first.__array_interface__["data"] == second.__array_interface__["data"]
        and first.shape == second.shape
        and first.strides == second.strides
    )


def _operators() -> None:
    """Gives `TracedArray` the operators of Python, each through NumPy's ufunc of the same meaning."""
    for name, ufunc in {
        "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide, "floordiv": np.floor_divide,
        "mod": np.remainder, "pow": np.power, "matmul": np.matmul, "and": np.bitwise_and, "or": np.bitwise_or,
        "xor": np.bitwise_xor,
    }.items():  # fmt: skip

        def forward(self: Any, other: Any, *, ufunc: Any = ufunc) -> Any:
            return ufunc(self, other) if _is_operand(other) else NotImplemented

        def reflected(self: Any, other: Any, *, ufunc: Any = ufunc) -> Any:
            return ufunc(other, self) if _is_operand(other) else NotImplemented

        def in_place(self: Any, other: Any, *, ufunc: Any = ufunc) -> Any:
            return self._in_place(ufunc, other)

        setattr(TracedArray, f"__{name}__", forward)
        setattr(TracedArray, f"__r{name}__", reflected)
        setattr(TracedArray, f"__i{name}__", in_place)
    for name, ufunc in {
        "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal,
        "ne": np.not_equal,
    }.items():  # fmt: skip

        def compare(self: Any, other: Any, *, ufunc: Any = ufunc) -> Any:
            return ufunc(self, other) if _is_operand(other) else NotImplemented

        setattr(TracedArray, f"__{name}__", compare)
    for name, ufunc in {"neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert}.items():
        setattr(TracedArray, f"__{name}__", lambda self, ufunc=ufunc: ufunc(self))


def _is_operand(other: Any) -> bool:
    """Whether NumPy would take this as an array: other objects have a say in the result by their own operators."""
    return (
        other is not None
        and not isinstance(other, (str, bytes, dict, set))
        and (
            isinstance(other, (np.ndarray, np.generic, int, float, list, tuple))
            or not hasattr(other, "__array_ufunc__")
        )
    )


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    return method


def _methods() -> None:
    """Gives `TracedArray` the methods that do what NumPy's function of the same name does."""
    for name in (
        "sum", "mean", "max", "min", "prod", "std", "var", "cumsum", "cumprod", "argmax", "argmin", "argsort", "any",
        "all", "clip", "round", "dot", "squeeze", "ravel", "repeat", "swapaxes", "take", "trace", "diagonal", "nonzero",
        "ptp", "compress", "choose", "searchsorted", "partition",
    ):  # fmt: skip
        if hasattr(np, name):
            setattr(TracedArray, name, _method(getattr(np, name)))
    TracedArray.conj = TracedArray.conjugate = lambda self: self  # type: ignore[attr-defined]


_operators()
_methods()
#: The operators of Python by their names, as the rewriting of ``x[i] += v`` gives them.
IN_PLACE = {name: getattr(operator, f"i{name}") for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")}
