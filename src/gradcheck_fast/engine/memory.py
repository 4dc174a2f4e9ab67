"""Keeps the working memory of a call of an engine, for the next call to use again."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from gradcheck_fast.engine.layout import aligned

if TYPE_CHECKING:
    from collections.abc import Iterator

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


class Memories:
    """The memories of an engine that no call is using."""

    def __init__(self) -> None:
        self._idle: list[Memory] = []

    def __len__(self) -> int:
        return len(self._idle)

    @contextmanager
    def lend(self) -> Iterator[Memory]:
        """Lends memory that no other call is using. If a call is interrupted, its memory is not used again."""
        try:
            memory = self._idle.pop()  # if this asked first whether there is one, another thread could take it between
        except IndexError:
            memory = Memory()
        yield memory
        self._idle.append(memory)
