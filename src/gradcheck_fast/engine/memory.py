"""Keeps the working memory of a call of the engine, for the next call to use again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_fast.engine.layout import aligned

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gradcheck_fast.engine._tape import Chunk


class Memory:
    """The arrays and chunks that one call works in, and that the next call may use again."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[np.float64]] = {}
        self.chunks: list[Chunk] = []

    def get(self, name: str, *shape: int) -> NDArray[np.float64]:
        """Returns the array of that name and shape as it was left; it holds zeros the first time."""
        if name not in self._arrays or self._arrays[name].shape != shape:
            self._arrays[name] = aligned(*shape)
        return self._arrays[name]

    def cleared(self, name: str, *shape: int) -> NDArray[np.float64]:
        """Returns the array of that name and shape, filled with zeros."""
        array = self.get(name, *shape)
        array[...] = 0.0
        return array
