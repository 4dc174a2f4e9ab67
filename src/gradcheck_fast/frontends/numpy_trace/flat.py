"""What traced arrays have that is no array: ``x.flat``, and methods that are not known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.frontends.numpy_trace.storage import Recorder


class Missing:
    """A method that is not known: it may be looked at, but not called."""

    def __init__(self, recording: Recorder, error: str) -> None:
        self._recording, self._error = recording, error

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise self._recording.untraceable(self._error)


class Flat:
    """``x.flat``: all entries of an array, one after the other, as they are in it."""

    def __init__(self, array: Any) -> None:
        self.base, self._next = array if array.shape else array.reshape(1), 0

    def _places(self, key: Any) -> Any:
        key = self.base._recording.key(key, self.base)[0]
        return np.unravel_index(np.arange(self.base.size)[key], self.base.shape)

    def __getitem__(self, key: Any) -> Any:
        return self.base[self._places(key)]

    def __setitem__(self, key: Any, value: Any) -> None:
        places = self._places(key)
        count = np.size(places[0]) if places else 1
        if np.size(value) not in (1, count):  # it is repeated, or cut off
            value = np.resize(value, count)
        self.base[places] = np.reshape(value, np.shape(places[0])) if np.size(value) == count else value

    def __len__(self) -> int:
        return int(self.base.size)

    def __iter__(self) -> Iterator[Any]:
        return iter(np.ravel(self.base))

    def __next__(self) -> Any:
        if self._next == len(self):
            raise StopIteration
        self._next += 1
        return self[self._next - 1]

    def copy(self) -> Any:
        return self.base.flatten()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return getattr(ufunc, method)(*(np.ravel(x.base) if type(x) is Flat else x for x in inputs), **kwargs)

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        return np.ravel(self.base).__array__(dtype)
