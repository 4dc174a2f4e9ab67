"""`TracedArray`: an array that behaves as NumPy's do, and records what is done to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.numpy_trace.flat import Flat, Missing
from gradcheck_fast.frontends.numpy_trace.storage import Recorder, Storage

if TYPE_CHECKING:
    from numpy.typing import NDArray


class TracedArray:
    """An array of float64, or of bool, whose value at the parameters is known and whose steps are written down.

    It is a view of a `Storage`, as every NumPy array is of its memory, so that what is written into a view is seen in
    all others. What NumPy would make a scalar is a traced array without axes that is never written to.
    """

    __slots__ = ("_foreign", "_made", "_node", "_recording", "_storage", "_version", "_view")
    __array_priority__ = 1e6
    __hash__ = None  # type: ignore[assignment]  # as ndarray has none

    def __init__(
        self, recording: Recorder, view: NDArray[Any], node: int | None, storage: Storage | None = None, *,
        foreign: bool = False, made: tuple[Any, ...] = (),
    ) -> None:  # fmt: skip
        self._recording, self._made = recording, made
        self._view, self._node = view, node
        self._storage, self._version, self._foreign = storage, -1, foreign  # a storage of its own is made when needed

    # ---- what the recording asks for

    def _step(self) -> int | None:
        """Returns the step that has the value of this array; None: it is constant."""
        storage = self._storage
        if storage is not None and self._version != storage.version:
            storage = self._memory()
            self._node, self._version = storage.read(self._view, self._made), storage.version
        return self._node

    def _memory(self) -> Storage:
        """Returns the memory that this is a view of."""
        if self._storage is None:
            self._storage, self._version = Storage(self._recording, self._view, self._node), 0
            self._storage.is_foreign = self._foreign
        elif self._storage.moved_to is not None:
            self._storage, self._version = self._storage.moved_to, -1
        return self._storage

    def _own_memory(self) -> Storage:
        """Returns the memory that this is a view of, after it has been told that it is going to be written to."""
        storage = self._memory()
        if storage.is_foreign:  # of a plain array of the user's, which others may look at
            storage.moved_to = self._recording.adopt(self._view)._storage
            storage.version += 1
            storage = self._memory()
        return storage

    def _is_scalar(self) -> bool:
        """Whether NumPy has a scalar here, and not an array without axes that is a view of a larger one."""
        return not self._view.shape and (self._storage is None or not self._storage.array.shape)

    def _assign(self, key: Any, value: Any) -> None:
        """Does ``self[key] = value``, where the key is one of NumPy's."""
        storage, view = self._own_memory(), self._view
        if type(value) is TracedArray:
            if value._storage is storage and _same_place(view[key], value._view):
                return  # x[key] += y ends with x[key] = x[key]
            node = value._step()
            plain = value._view
            shape = plain.shape
        else:
            node, shape, plain = None, (), value
        if view.dtype != np.float64:
            self._recording.check_cast(view, plain)
        view[key] = plain
        if node is not None and len(shape) > 1:
            axes = view[key].ndim
            while len(shape) > axes and shape[0] == 1:  # NumPy allows leading axes of length 1
                shape = shape[1:]
        storage.write(view, key, node, shape)

    # ---- the protocols of NumPy

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return self._recording.ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return self._recording.function(function, args, kwargs)

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        if self._recording.is_open and self._step() is not None:
            if self._view.dtype == np.bool_:  # as an index of plain data
                self._recording.leak("a mask that depends on the parameters is made a plain one")
                return np.array(self._view, dtype)
            raise self._recording.untraceable(
                "a value that depends on the parameters goes into compiled code that does not tell what it does to it"
            )
        if not self._recording.is_open:
            raise self._recording.escaped()
        return np.array(self._view, dtype)

    @property  # type: ignore[misc]  # it may not be set, either
    def __class__(self) -> Any:  # isinstance(x, np.ndarray) is true, as for the array that it stands for
        return np.ndarray if not self._is_scalar() else np.float64 if self._view.dtype != bool else np.bool_

    # ---- attributes

    @property
    def shape(self) -> tuple[int, ...]:
        return self._view.shape

    @shape.setter
    def shape(self, shape: Any) -> None:
        self._memory()
        view = self._view.view()
        view.shape = shape
        self._view, self._version = view, -1

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
    device = property(lambda self: "cpu")
    base = property(
        lambda self: None if self._storage is None or self._view is self._storage.array else self._storage.array
    )

    @property
    def imag(self) -> NDArray[np.float64]:
        return np.zeros(self._view.shape)

    @property
    def flat(self) -> Flat:
        return Flat(self)

    @flat.setter
    def flat(self, value: Any) -> None:
        Flat(self)[:] = value

    def _seen(self, view: NDArray[Any]) -> TracedArray:
        """Returns a view of the same storage."""
        recording = self._recording
        made = (*(() if recording.views is None else self._made), recording.reached())
        return TracedArray(recording, view, None, self._memory(), made=made)

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
                return TracedArray(self._recording, view.copy(), self._memory().read(view))
            return self._seen(view)
        values = np.array(self._view[key], order="C")  # fancy indexing may leave another order
        storage = self._memory()
        if storage.origin is None:
            node = self._step()
            if node is not None:
                index = np.asarray(np.arange(self._view.size).reshape(self._view.shape)[key])
                node = self._recording.add("gather", (node,), index.shape, index=index)
        else:
            origin, _ = storage.taken(self._view, key)
            node = storage.assembled(np.asarray(origin), values)
        return TracedArray(self._recording, values, node)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._recording.set_item(self, key, value)

    # ---- as a number

    def __bool__(self) -> bool:
        return bool(self._recording.truth(self))

    def __float__(self) -> float:
        return float(self._recording.plain_number(self, "float(x)", "x"))

    def __int__(self) -> int:
        return int(self._recording.plain_number(self, "int(x)", "np.floor(x) if its slope of 0 is meant"))

    def __index__(self) -> int:
        if self._view.size == 1 and float(self._view.item()).is_integer():  # the number of places, for example
            return int(self._recording.plain_number(self, "an index made", ""))
        raise TypeError("only integer scalar arrays can be converted to a scalar index")

    def __complex__(self) -> complex:
        return complex(self.__float__())

    def __round__(self, digits: int | None = None) -> Any:
        return np.round(self, digits or 0)

    def __format__(self, spec: str) -> str:
        number = self._printed()
        if spec and spec[-1] in "bcdoxX" and not self._view.shape:  # a count, which NumPy keeps as an integer
            number = int(number)
        return format(number, spec)

    def __repr__(self) -> str:
        return repr(self._printed())

    def __str__(self) -> str:
        return str(self._printed())

    def _printed(self) -> Any:
        if self._recording.is_open:
            self._recording.leak("a text is made of a value that depends on the parameters", "the value itself")
        return self._view[()]

    def __copy__(self, memo: Any = None) -> TracedArray:
        return self.copy()

    __deepcopy__ = __copy__

    def __reduce__(self) -> Any:
        if not self._recording.is_open:
            raise self._recording.escaped()
        raise self._recording.untraceable("a value that depends on the parameters is pickled")

    # ---- methods

    def item(self, *place: Any) -> TracedArray:
        if place:
            if len(place) == 1:
                (place,) = place
            return self[place] if isinstance(place, tuple) else np.ravel(self)[place]
        return self.reshape(()).copy()

    def copy(self, order: str = "C") -> TracedArray:
        return TracedArray(self._recording, self._view.copy(), self._step())

    def astype(self, dtype: Any, *args: Any, copy: bool = True, **kwargs: Any) -> Any:
        return self if not copy and self._view.dtype == dtype else self._recording.cast(self, np.dtype(dtype))

    def reshape(self, *shape: Any, order: str = "C", **kwargs: Any) -> TracedArray:
        return np.reshape(self, shape[0] if len(shape) == 1 else shape, order=order, **kwargs)  # type: ignore[call-overload,no-any-return]

    def partition(self, kth: Any, axis: int = -1, **kwargs: Any) -> None:
        self[...] = np.partition(self, kth, axis)

    def put(self, indices: Any, values: Any, mode: str = "raise") -> None:
        function: Any = np.put
        function(self, indices, values, mode)

    def compress(self, condition: Any, axis: int | None = None, out: Any = None) -> Any:
        return np.compress(condition, self, axis, out)

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
        self[...] = np.sort(self, axis=axis)

    def setflags(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing: traced arrays can always be written to."""

    def __divmod__(self, other: Any) -> tuple[Any, Any]:
        return np.floor_divide(self, other), np.remainder(self, other)

    def __rdivmod__(self, other: Any) -> tuple[Any, Any]:
        return np.floor_divide(other, self), np.remainder(other, self)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and (hasattr(np.ndarray, name) or hasattr(np.float64, name)):
            error = f".{name} of a value that depends on the parameters"
            if callable(getattr(np.ndarray, name, None)):
                return Missing(self._recording, error)
            raise self._recording.untraceable(error)
        raise AttributeError(f"'numpy.ndarray' object has no attribute {name!r}")

    def _in_place(self, function: Callable[[Any, Any], Any], other: Any) -> TracedArray:
        result: TracedArray = function(self, other)
        if self._is_scalar():  # which cannot be written to
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
            if type(other) in _PLAIN_OPERANDS or _is_operand(other):
                return self._recording.ufunc(ufunc, "__call__", (self, other), _NOTHING)
            return NotImplemented

        def reflected(self: Any, other: Any, *, ufunc: Any = ufunc) -> Any:
            if type(other) in _PLAIN_OPERANDS or _is_operand(other):
                return self._recording.ufunc(ufunc, "__call__", (other, self), _NOTHING)
            return NotImplemented

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
            if type(other) in _PLAIN_OPERANDS or _is_operand(other):
                return self._recording.ufunc(ufunc, "__call__", (self, other), _NOTHING)
            return NotImplemented

        setattr(TracedArray, f"__{name}__", compare)
    for name, ufunc in {"neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert}.items():
        setattr(TracedArray, f"__{name}__", lambda self, ufunc=ufunc: ufunc(self))


#: The usual types of operands.
_PLAIN_OPERANDS = frozenset({TracedArray, float, int, np.ndarray, np.float64, bool})
_NOTHING: dict[str, Any] = {}


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
        "ptp", "choose", "searchsorted", "argpartition",
    ):  # fmt: skip
        if hasattr(np.ndarray, name):
            setattr(TracedArray, name, _method(getattr(np, name)))
    TracedArray.conj = TracedArray.conjugate = lambda self: self  # type: ignore[attr-defined]


_operators()
_methods()
