"""Finds plain arrays into whose memory traced values have been written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.numpy_trace.storage import Recorder, Storage

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Adopted:
    """The blocks of memory of plain arrays that hold traced values; false if there are none."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._storages: dict[int, Storage] = {}  # by the identity of the array that owns the memory

    def __len__(self) -> int:
        return len(self._storages)

    def get(self, array: NDArray[Any]) -> Storage | None:
        """Returns what is known of the memory of an array, or None if no traced value has been written into it."""
        return self._storages.get(id(owner(array))) if self._storages else None

    def add(self, array: NDArray[Any]) -> Storage | None:
        """Begins to keep account of the memory of an array, or returns None if it cannot hold traced values."""
        found = self.get(array)
        if found is None:
            block = owner(array)
            if block.dtype not in (np.float64, np.bool_) or array.dtype != block.dtype:
                return None
            if not (block.flags.c_contiguous or block.flags.f_contiguous):
                return None
            found = self._storages[id(block)] = Storage(self._recorder, block, None)
        return found


def owner(array: NDArray[Any]) -> NDArray[Any]:
    """Returns the array that a view was made of."""
    base = array.base
    while base is not None:
        if isinstance(base, np.ndarray):
            array = base
        base = getattr(base, "base", None)  # as_strided puts an object between the two
    return array
