"""Says where the parameters lie: the user's arrays in a flat vector, and the blocks that steps use in a packed one.

The engine reads a block in panels of 16 columns (see ``csrc/kernels.h``). Of some blocks it also reads a transposed
copy of the last panel, where that is narrow, and the sum of squares of each row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_fast.engine._program import BLOCK, NOTHING, TASK
from gradcheck_fast.kernels import _kernels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

#: The number of columns of a panel.
PANEL = _kernels.PANEL

#: For a last panel of at most this many columns, the engine may use a transposed copy. Padding its columns to 16 would
#: cost more than adding up the lanes of vectors.
NARROW_COLUMNS = 12
#: The transposed copy pays only if the matrix has at least this many rows.
NARROW_ROWS = 48
#: This many rows of a block are packed, or gathered, at a time.
PACKED_ROWS = 64


def structured(dtype: np.dtype[np.void], rows: Sequence[Mapping[str, Any]]) -> NDArray[np.void]:
    """Returns a table of rows that are given by the names of their fields; all fields, and no others, must be there."""
    names = dtype.names or ()
    for row in rows:
        if row.keys() != set(names):
            raise KeyError(f"expected the fields {', '.join(names)}, got {', '.join(row)}")
    return np.array([tuple(row[name] for name in names) for row in rows], dtype)


def aligned(*shape: int) -> NDArray[np.float64]:
    """Returns a C-contiguous array of zeros that begins on a cache line."""
    size = int(np.prod(shape))
    raw: NDArray[np.float64] = np.zeros(size + 8)
    begin = -raw.ctypes.data // 8 % 8
    return raw[begin : begin + size].reshape(shape)


def padded(width: int) -> int:
    """Returns `width` rounded up to whole panels."""
    return -(-width // PANEL) * PANEL


def spread(doubles: int) -> int:
    """Returns a distance between rows, `doubles` or a little more, with which many rows do not share few cache sets."""
    return doubles + 8 if doubles % 64 == 0 else doubles


class Array(NamedTuple):
    """An array of the user's parameters, and where it begins in the flat vector; a vector is a matrix of one row."""

    rows: int
    columns: int
    offset: int

    @property
    def size(self) -> int:
        return self.rows * self.columns


class ParameterBlock(NamedTuple):
    """A block of an array, from (row, column) on, that some step uses as a matrix.

    `number` is its place among the blocks of the program.
    """

    array: Array
    row: int
    column: int
    rows: int
    columns: int
    number: int

    @property
    def size(self) -> int:
        return self.rows * self.columns

    @property
    def panels(self) -> int:
        return padded(self.columns) // PANEL

    @property
    def flat(self) -> int:
        """The place of its first entry in the flat vector."""
        return self.array.offset + self.row * self.array.columns + self.column

    def of(self, flat: NDArray[Any]) -> NDArray[Any]:
        """Returns the block in a flat vector of all parameters, as a view of shape (rows, columns)."""
        whole = flat[self.array.offset : self.array.offset + self.array.size].reshape(-1, self.array.columns)
        return whole[self.row : self.row + self.rows, self.column : self.column + self.columns]


class Packing:
    """The places of the parameters in the packed vector.

    Parameters
    ----------
    parameters : sequence of ParameterBlock
    multiplied : set of int
        The numbers of the blocks that are matrices by which differences are multiplied.

    Attributes
    ----------
    size : int
        The length of the packed vector.
    table : structured ndarray
        The places of each block, as the compiled modules read them.
    tasks : structured ndarray
        Ranges of rows, one for each task of packing.
    """

    def __init__(self, parameters: Sequence[ParameterBlock], multiplied: set[int]) -> None:
        self._parameters = parameters
        self.size = 0
        rows = []
        for p in parameters:
            # one row more than the matrix has, or the panels of many matrices would share few cache sets
            panel_stride = PANEL if p.rows == 1 else (p.rows + 1) * PANEL
            packed = self._take(p.panels * panel_stride)
            last = p.columns - (p.panels - 1) * PANEL
            narrow_row = spread(padded(p.rows))
            is_narrow = p.number in multiplied and last <= NARROW_COLUMNS and p.rows >= NARROW_ROWS
            narrow = self._take(last * narrow_row) if is_narrow else NOTHING
            squares = self._take(padded(p.rows)) if p.number in multiplied else NOTHING
            rows.append(
                {
                    "flat": p.flat, "stride": p.array.columns, "rows": p.rows, "columns": p.columns, "packed": packed,
                    "panel_stride": panel_stride, "narrow": narrow, "narrow_row": narrow_row, "squares": squares,
                }
            )  # fmt: skip
        self.table = structured(BLOCK, rows)
        self.tasks = structured(
            TASK,
            [
                {"route": p.number, "begin": begin, "end": min(begin + PACKED_ROWS, p.rows), "first": 0, "last": 0}
                for p in parameters
                for begin in range(0, p.rows, PACKED_ROWS)
            ],
        )

    def _take(self, doubles: int) -> int:
        begin = self.size
        self.size += doubles
        return begin

    def positions(self, size: int) -> NDArray[np.intp]:
        """Returns the place in the packed vector of each of the `size` entries of the flat vector."""
        places = np.empty(size, np.intp)
        for p, block in zip(self._parameters, self.table, strict=True):
            panel, column = np.divmod(np.arange(p.columns), PANEL)
            row = np.arange(p.rows)[:, np.newaxis]
            p.of(places)[...] = block["packed"] + panel * block["panel_stride"] + row * PANEL + column
        return places
