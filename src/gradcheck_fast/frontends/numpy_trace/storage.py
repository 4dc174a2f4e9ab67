"""Knows which step each entry of a block of memory was computed by.

Traced arrays are views of such blocks, as NumPy's arrays are. Where a view lies is read off its address and strides, so
that everything NumPy makes views with is understood. A write into a view changes only the record of the entries that it
covers: a buffer that is filled piece by piece costs time and memory in proportion to what is written.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gradcheck_fast.frontends.numpy_trace.view_lines import Reached, ViewLines
    from gradcheck_fast.program.program import Source

#: In `Storage.origin`, an entry that no step computed: its value is that in the memory.
CONSTANT = -1


class Recorder(Protocol):
    """What writes steps down, as far as arrays and their memory need to know it; `Recording` is one."""

    is_open: bool
    views: ViewLines | None
    view_line: Source | None

    def add(self, name: str, inputs: tuple[int, ...], shape: tuple[int, ...], /, **attributes: Any) -> int:
        """Adds a step and returns its number."""

    def step(self, name: str, inputs: Any, value: Any, /, **attributes: Any) -> Any:
        """Returns what a primitive makes of some arrays, whose value is known."""

    def reached(self) -> Reached:
        """Returns how many steps there are, and the line that is running."""

    def constant(self, value: Any) -> int:
        """Adds a leaf with this value, which is copied, and returns its number."""

    def size(self, number: int) -> int:
        """Returns how many entries a step has."""

    def shape(self, number: int) -> tuple[int, ...]:
        """Returns the shape of a step."""

    def ufunc(self, ufunc: Any, method: str, inputs: Any, kwargs: Any) -> Any:
        """Does what a ufunc does; see ``ndarray.__array_ufunc__``."""

    def function(self, function: Any, args: Any, kwargs: Any) -> Any:
        """Does what a function of NumPy does; see ``ndarray.__array_function__``."""

    def key(self, key: Any, array: Any) -> tuple[Any, bool]:
        """Returns a key as NumPy takes it, and whether it makes a view."""

    def set_item(self, array: Any, key: Any, value: Any) -> None:
        """Does ``array[key] = value``."""

    def adopt(self, array: NDArray[Any]) -> Any:
        """Returns a plain array as a traced view of the same memory."""

    def check_cast(self, into: NDArray[Any], value: Any) -> None:
        """Raises an error if numbers would be cut off when they are written into an array."""

    def cast(self, array: Any, dtype: np.dtype[Any]) -> Any:
        """Does ``array.astype(dtype)``."""

    def traced(self, value: Any) -> Any:
        """Returns anything that NumPy takes for an array as a traced one."""

    def as_numbers(self, mask: Any) -> Any:
        """Returns a mask as the numbers 0.0 and 1.0."""

    def truth(self, array: Any) -> bool:
        """Returns the truth value of an array, on which the function branches."""

    def plain_number(self, array: Any, construct: str, advice: str) -> Any:
        """Returns the plain number that an array holds."""

    def leak(self, construct: str, advice: str = "") -> None:
        """Notes that a plain value was made of a traced one."""

    def untraceable(self, construct: str, advice: str = "") -> Exception:
        """Returns the error that ends this trace."""

    def escaped(self) -> Exception:
        """Returns the error for the use of a traced array after its trace."""


def address(array: NDArray[Any]) -> int:
    """Returns where the first entry of an array lies."""
    place: int = array.__array_interface__["data"][0]
    return place


class Storage:
    """A block of memory without gaps.

    Parameters
    ----------
    recorder : Recorder
    array : ndarray
        The whole block.
    node : int or None
        The step whose value it holds, in C order; None: constants.
    """

    __slots__ = (
        "_address",
        "_parts",
        "array",
        "is_foreign",
        "moved_to",
        "node",
        "origin",
        "pieces",
        "recorder",
        "starts",
        "total",
        "version",
        "written",
    )

    def __init__(self, recorder: Recorder, array: NDArray[Any], node: int | None) -> None:
        self.recorder, self.array, self.node = recorder, array, node
        #: For each entry of the block, where it comes from: a position in the concatenation of all `pieces`.
        self.origin: NDArray[np.int64] | None = None
        self.pieces: list[int] = []
        self.starts: list[int] = []
        self.total = 0
        self.version = 0
        #: Whether the memory is that of a plain array, of which no account is kept; `moved_to` keeps it from then on.
        self.is_foreign = False
        self.moved_to: Storage | None = None
        #: The line that has written into it last, if that is asked for.
        self.written: tuple[Reached, ...] = ()
        self._address = -1
        self._parts: dict[Any, int] = {}

    # ---- where a view lies

    def place(self, view: NDArray[Any]) -> tuple[int, tuple[int, ...]]:
        """Returns the offset and the strides of a view, in entries."""
        if self._address < 0:
            self._address = address(self.array)
        size = self.array.itemsize
        return (address(view) - self._address) // size, tuple(stride // size for stride in view.strides)

    def positions(self, view: NDArray[Any]) -> NDArray[np.int64]:
        """Returns the position of each entry of a view in the block."""
        return self._like(np.arange(self.array.size), view)

    def _like(self, block: NDArray[np.int64], view: NDArray[Any]) -> NDArray[np.int64]:
        """Returns the view of a block of as many integers that lies as `view` does."""
        if view is self.array:
            return block.reshape(view.shape) if view.flags.c_contiguous else self._strided(block, view)
        if not view.size:
            return np.empty(view.shape, np.int64)
        return self._strided(block, view)

    def _strided(self, block: NDArray[np.int64], view: NDArray[Any]) -> NDArray[np.int64]:
        offset, strides = self.place(view)
        return np.ndarray(view.shape, np.int64, block, 8 * offset, tuple(8 * stride for stride in strides))

    # ---- reading

    def read(self, view: NDArray[Any], made: Sequence[Reached] = ()) -> int | None:
        """Returns the step whose value a view has, which may have to be added; None: it is constant.

        `made` are the lines that have made the view of others.
        """
        views = self.recorder.views
        if views is None:
            if not made:
                return self._read(view)
            _, self.recorder.view_line = made[-1]
            try:
                return self._read(view)
            finally:
                self.recorder.view_line = None
        before, _ = views.here()
        found = self._read(view)
        views.read(before, made, self.written)
        return found

    def _read(self, view: NDArray[Any]) -> int | None:
        if self.origin is None:
            if self.node is None or view is self.array:
                return self.node
            if not view.size:
                return None
            return self._part(self.node, view)
        return self.assembled(self._like(self.origin, view), view)

    def _part(self, node: int, view: NDArray[Any]) -> int:
        place = (*self.place(view), view.shape)
        found = self._parts.get(place)
        if found is None:
            offset, strides, shape = place
            if shape == self.recorder.shape(node) and view.flags.c_contiguous:
                found = node
            elif view.size == self.array.size and view.flags.c_contiguous:
                found = self.recorder.add("reshape", (node,), shape, shape=shape)
            else:
                found = self.recorder.add("strided", (node,), shape, offset=offset, strides=strides, shape=shape)
            self._parts[place] = found
        return found

    def taken(self, view: NDArray[Any], key: Any) -> tuple[NDArray[np.int64], bool]:
        """Returns where the entries ``view[key]`` come from, and whether that is by `origin` or by position."""
        if self.origin is None:
            return self.positions(view)[key], False
        return self._like(self.origin, view)[key], True

    def assembled(self, origin: NDArray[np.int64], values: NDArray[Any]) -> int | None:
        """Returns the step with entries from these origins; `values` has those that are constant."""
        flat = origin.ravel()
        if not flat.size or (flat[0] == CONSTANT and not (flat != CONSTANT).any()):
            return None
        first = int(flat[0])
        if first != CONSTANT:
            piece = bisect_right(self.starts, first) - 1
            node, begin = self.pieces[piece], self.starts[piece]
            size = self.recorder.size(node)
            if begin == first and flat.size == size and int(flat[-1]) == begin + size - 1 and _is_range(flat):
                shape = origin.shape
                if self.recorder.shape(node) == shape:
                    return node
                return self.recorder.add("reshape", (node,), shape, shape=shape)
        return self._gathered(origin, flat, values)

    def _gathered(self, origin: NDArray[np.int64], flat: NDArray[np.int64], values: NDArray[Any]) -> int:
        constant = flat == CONSTANT
        computed = flat[~constant]
        low, high = (bisect_right(self.starts, int(end)) for end in (computed.min(), computed.max()))
        starts = np.array(self.starts[low - 1 : high])
        used, which = np.unique(np.searchsorted(starts, computed, side="right") - 1, return_inverse=True)
        nodes = [self.pieces[low - 1 + k] for k in used.tolist()]
        sizes = [self.recorder.size(node) for node in nodes]
        begins = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        index = np.empty(flat.size, np.int64)
        index[~constant] = computed - starts[used][which] + begins[which]
        if constant.any():
            nodes.append(self.recorder.constant(np.ravel(values)[constant].astype(np.float64)))
            index[constant] = begins[-1] + np.arange(np.count_nonzero(constant))
        return self.recorder.add("gather", tuple(nodes), origin.shape, index=index.reshape(origin.shape))

    # ---- writing

    def write(self, view: NDArray[Any], key: Any, node: int | None, shape: tuple[int, ...]) -> None:
        """Records that ``view[key]`` now has the value of a step of this shape; None: of constants.

        The memory itself is written by the caller.
        """
        self.version += 1
        if self.recorder.views is not None:
            self.written = (self.recorder.views.here(),)
        if not view.size:
            return
        whole = key is Ellipsis and view.size == self.array.size and view.flags.c_contiguous
        if whole and self.array.flags.c_contiguous and (node is None or shape == view.shape):
            self.node, self.origin, self.pieces, self.starts, self.total = node, None, [], [], 0
            if node is not None and view.shape != self.array.shape:
                self.node = self.recorder.add("reshape", (node,), self.array.shape, shape=self.array.shape)
            self._parts = {}
            return
        if self.origin is None:
            if self.node is None and node is None:
                return
            self._cut_into_pieces()
        ids: Any = CONSTANT
        if node is not None:
            ids = np.arange(self.total, self.total + self.recorder.size(node)).reshape(shape)
            self._append(node)
        assert self.origin is not None
        self._like(self.origin, view)[key] = ids

    def _cut_into_pieces(self) -> None:
        self._parts = {}
        if self.node is None:
            self.origin = np.full(self.array.size, CONSTANT)
        else:
            self.origin = np.arange(self.array.size)
            self._append(self.node)
            self.node = None

    def _append(self, node: int) -> None:
        self.pieces.append(node)
        self.starts.append(self.total)
        self.total += self.recorder.size(node)


def _is_range(flat: NDArray[np.int64]) -> bool:
    return bool((np.diff(flat) == 1).all())
