"""The arrays that an object keeps while something is run: its parameters and data, but not its caches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck_fast.inputs.places import Path, numbers_in

#: Of arrays that a layer or a step may write into, the entries are kept if they are no more than these.
MOST_WRITTEN = 10_000_000
#: An array is moved by this part of itself, to see whether something depends on it.
_MOVED = 1e-3


def kept_arrays(owner: Any, run: Callable[[], object]) -> list[tuple[Any, tuple[Path, ...]]]:
    """Returns the arrays and floats of an object that a run leaves as they are, each with all places where it lies."""
    before = numbers_in(owner)
    contents = {path: np.array(value) for path, value in before.items()}
    run()
    after = numbers_in(owner)
    places: dict[int, list[Path]] = {}
    for path, value in before.items():
        places.setdefault(id(value) if isinstance(value, np.ndarray) else id(path), []).append(path)

    def is_kept(path: Path) -> bool:
        same = after.get(path) is before[path] or type(before[path]) is float
        return same and np.array_equal(after.get(path, np.nan), contents[path], equal_nan=True)

    return [(before[paths[0]], tuple(paths)) for paths in places.values() if is_kept(paths[0])]


def moved(value: Any, rng: np.random.Generator) -> NDArray[Any]:
    """Returns an array with every entry moved a little."""
    array = np.array(value)
    found: NDArray[Any] = array + _MOVED * (1.0 + np.abs(array)) * rng.choice([-1.0, 1.0], array.shape)
    return found.astype(array.dtype)
