"""What a layer or a model is at one moment, so that a check leaves it as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradcheck_fast.inputs.places import get, numbers_in, put
from gradcheck_fast.inputs.state import State


class LayerState(State):
    """The state of some functions, and in any case all numbers in the object that is checked.

    `State` looks at the objects that functions reach, of which it keeps a limited number; among large data it may come
    to its limit before it comes to the parameters.

    Parameters
    ----------
    functions : callable
        As for `State`.
    owner : object
        The layer or the model.
    most_entries : int
        As for `State`.
    """

    _owner: Any = None
    _numbers: tuple[tuple[Any, Any, Any], ...] = ()

    def __init__(self, functions: Callable[..., Any], owner: Any, most_entries: int) -> None:
        super().__init__(functions, most_entries)
        self._owner = owner
        self._numbers = tuple(
            (path, value, value.copy() if isinstance(value, np.ndarray) else None)
            for path, value in numbers_in(owner).items()
        )

    def restore(self) -> None:
        """Puts everything back."""
        super().restore()
        for path, value, entries in self._numbers:
            try:
                if get(self._owner, path) is not value:
                    put(self._owner, path, value)
            except (AttributeError, LookupError, TypeError):  # a property, or something that is not there any more
                pass
            if entries is not None and not np.array_equal(value, entries, equal_nan=True):
                value[...] = entries
