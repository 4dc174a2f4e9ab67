"""Where the engine wants the parameters: the user's arrays in one flat vector, the blocks of them that steps use, and
where these are packed.

The engine reads a block in panels of 16 columns (see ``csrc/kernels.h``), and for some blocks more: the last panel once
more, transposed, where it is narrow, and the sum of squares of each row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_fast.engine._program import BLOCK, NOTHING, TASK
from gradcheck_fast.kernels import _kernels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PANEL = _kernels.PANEL

#: A last panel of at most this many columns may be multiplied by transposed: padding its columns to 16 would cost more
#: than adding up lanes.
NARROW_COLUMNS = 12
#: That pays only if the matrix has at least this many rows.
NARROW_ROWS = 48
#: Rows of a block that are packed, or gathered, at a time.
PACKED_ROWS = 64


def aligned(*shape: int) -> NDArray[np.float64]:
    """Zeros, C-contiguous, beginning on a cache line."""
    size = int(np.prod(shape))
    raw: NDArray[np.float64] = np.zeros(size + 8)
    begin = -raw.ctypes.data // 8 % 8
    return raw[begin : begin + size].reshape(shape)


def padded(width: int) -> int:
    """`width` rounded up to whole panels."""
    return -(-width // PANEL) * PANEL


def spread(doubles: int) -> int:
    """A distance between rows, of `doubles` or a little more, that does not put many rows into few cache sets."""
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
    """A block of an array that some step uses as a matrix: from (row, column) on; `number` counts them."""

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
        """Where its first entry lies in the flat vector."""
        return self.array.offset + self.row * self.array.columns + self.column

    def of(self, flat: NDArray[Any]) -> NDArray[Any]:
        """The block in a flat vector of all parameters, as a view of shape (rows, columns)."""
        whole = flat[self.array.offset : self.array.offset + self.array.size].reshape(-1, self.array.columns)
        return whole[self.row : self.row + self.rows, self.column : self.column + self.columns]


class Packing:
    """Where each parameter lies in the packed vector.

    Parameters
    ----------
    parameters : sequence of ParameterBlock
    multiplied : set of int
        The numbers of those by which differences are multiplied, as matrices.
    """

    def __init__(self, parameters: Sequence[ParameterBlock], multiplied: set[int]) -> None:
        self._parameters = parameters
        self.size = 0  #: of the packed vector
        rows = []
        for p in parameters:
            # one row more than the matrix has: else the panels of many matrices would share few cache sets
            panel_stride = PANEL if p.rows == 1 else (p.rows + 1) * PANEL
            packed = self._take(p.panels * panel_stride)
            last = p.columns - (p.panels - 1) * PANEL
            narrow_row = spread(padded(p.rows))
            is_narrow = p.number in multiplied and last <= NARROW_COLUMNS and p.rows >= NARROW_ROWS
            narrow = self._take(last * narrow_row) if is_narrow else NOTHING
            squares = self._take(padded(p.rows)) if p.number in multiplied else NOTHING
            rows.append((p.flat, p.array.columns, p.rows, p.columns, packed, panel_stride, narrow, narrow_row, squares))
        self.table = np.array(rows, BLOCK)
        self.tasks = np.array(
            [
                (p.number, begin, min(begin + PACKED_ROWS, p.rows), 0, 0)
                for p in parameters
                for begin in range(0, p.rows, PACKED_ROWS)
            ],
            TASK,
        )

    def _take(self, doubles: int) -> int:
        begin = self.size
        self.size += doubles
        return begin

    def positions(self, size: int) -> NDArray[np.intp]:
        """Where each of the `size` entries of the flat vector lies in the panels."""
        places = np.empty(size, np.intp)
        for p, block in zip(self._parameters, self.table, strict=True):
            panel, column = np.divmod(np.arange(p.columns), PANEL)
            row = np.arange(p.rows)[:, np.newaxis]
            p.of(places)[...] = block["packed"] + panel * block["panel_stride"] + row * PANEL + column
        return places
