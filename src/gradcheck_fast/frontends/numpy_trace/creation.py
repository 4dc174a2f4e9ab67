"""Functions that make arrays: in a trace these can hold traced values, so that they can be filled with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.numpy_trace.array import TracedArray
from gradcheck_fast.frontends.numpy_trace.choices import plain
from gradcheck_fast.frontends.numpy_trace.recording import has_traced
from gradcheck_fast.frontends.numpy_trace.registry import implements

if TYPE_CHECKING:
    from gradcheck_fast.frontends.numpy_trace.recording import Recording

#: The functions that make a new array that is filled later.
MAKERS = (
    np.zeros, np.ones, np.empty, np.full, np.zeros_like, np.ones_like, np.empty_like, np.full_like, np.eye,
    np.identity, np.linspace, np.copy, np.array, np.asarray, np.ascontiguousarray, np.asfortranarray, np.asanyarray,
    np.pad, np.fromiter, np.tile, np.diag,
)  # fmt: skip


def make(recording: Recording, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Calls a function that makes an array of plain arguments, and returns an array that can hold traced values."""
    made = function(*args, **kwargs)
    if not isinstance(made, np.ndarray) or any(made is given for given in args):
        return made
    if made.dtype == np.float32 or made.dtype == np.float16:
        recording.note(f"arrays of {made.dtype} that the function makes are kept in float64")
        made = made.astype(np.float64)
    return recording.buffer(made)


def _like(function: Any) -> Any:
    def make_like(recording: Recording, *args: Any, **kwargs: Any) -> Any:
        fill = args[1:2] if function is np.full_like else ()
        if has_traced(fill) or has_traced(kwargs.get("fill_value")):
            return _full(recording, np.shape(args[0]), kwargs.get("fill_value", *fill))
        return make(recording, function, [plain(args[0]), *args[1:]], kwargs)

    return make_like


for _function in (np.zeros_like, np.ones_like, np.empty_like, np.full_like):
    implements(_function)(_like(_function))


@implements(np.full)
def _full(recording: Recording, shape: Any, fill_value: Any, *args: Any, **kwargs: Any) -> Any:
    made = recording.buffer(np.zeros(shape))
    made[...] = fill_value
    return made


@implements(np.copy)
def copy(recording: Recording, a: Any, *args: Any, **kwargs: Any) -> Any:
    """``np.copy``."""
    return recording.traced(a).copy()


@implements(np.array)
def array(recording: Recording, object: Any, dtype: Any = None, *, copy: Any = True, ndmin: int = 0, **_: Any) -> Any:
    """``np.array``."""
    made = recording.traced(object)
    made = made.copy() if copy or made is not object else made
    while made.ndim < ndmin:
        made = made[np.newaxis]
    return made if dtype is None else made.astype(dtype)


@implements(np.asarray, np.asanyarray, np.ascontiguousarray, np.asfortranarray, getattr(np, "asarray_chkfinite", None))
def asarray(recording: Recording, a: Any, dtype: Any = None, *args: Any, **kwargs: Any) -> Any:
    """``np.asarray``."""
    made = recording.traced(a)
    return made if dtype is None or made._view.dtype == dtype else made.astype(dtype)


@implements(np.fromiter)
def fromiter(recording: Recording, iter: Any, dtype: Any = None, *args: Any, **kwargs: Any) -> Any:
    """``np.fromiter``."""
    return array(recording, list(iter), dtype)


@implements(np.linspace)
def linspace(recording: Recording, start: Any, stop: Any, num: int = 50, endpoint: bool = True, **_: Any) -> Any:
    """``np.linspace``."""
    parts = np.arange(num) / max(num - 1 if endpoint else num, 1)
    first, last = recording.traced(start), recording.traced(stop)
    return first + (last - first) * parts.reshape((-1,) + (1,) * max(first.ndim, last.ndim))


def number(recording: Recording, value: Any = 0.0) -> Any:
    """``np.float64(value)``, or ``float(value)``."""
    return value if type(value) is TracedArray and not value.ndim else recording.traced(value).reshape(())
