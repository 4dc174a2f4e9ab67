"""Reads Jacobians: a block for each array of outputs and of inputs, however users hold them together.

A block is an array of the shape ``output.shape + input.shape``. Blocks are called ``output by inputs[0]``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_fast.inputs.arrays import real_array
from gradcheck_fast.inputs.mismatches import listed, without_units
from gradcheck_fast.inputs.trees import Packed, pack, parts, split, walk

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.inputs.trees import Shape


class Stored(NamedTuple):
    """The stored entries of a sparse Jacobian, by rows, and in these by columns.

    Attributes
    ----------
    rows, columns : ndarray of int, shape (count,)
    values : ndarray of float64, shape (count,)
    dtype : dtype
        That of the values as they were given.
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    values: NDArray[np.float64]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Blocks:
    """The form of a Jacobian.

    Attributes
    ----------
    outputs, inputs : dict
        The shape of each array of the function's outputs and inputs, by its name in reports, in order.
    output_paths, input_paths : sequence of str
        Where each lies in its tree; "" if it is the tree itself.
    """

    outputs: Mapping[str, Shape]
    inputs: Mapping[str, Shape]
    output_paths: Sequence[str]
    input_paths: Sequence[str]

    @cached_property
    def extent(self) -> tuple[int, int]:
        """The numbers of rows and of columns of the whole Jacobian: of all outputs, and of all inputs."""
        return sum(map(prod, self.outputs.values())), sum(map(prod, self.inputs.values()))

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """The shape of each block, by its name."""
        return {
            name_of(output, given): own + other
            for output, own in self.outputs.items()
            for given, other in self.inputs.items()
        }

    def column(self, number: int) -> NDArray[np.intp]:
        """Returns where the entries of a column of the whole Jacobian lie among those of all blocks, block by block."""
        rows, (_, columns) = np.arange(self.extent[0]), self.extent
        return self.places(rows, np.full_like(rows, number)) if columns else rows

    def row(self, number: int) -> NDArray[np.intp]:
        """Returns where the entries of a row lie, as `column` does."""
        columns = np.arange(self.extent[1])
        return self.places(np.full_like(columns, number), columns)

    def places(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.intp]:
        """Returns where entries of the whole Jacobian lie among those of all blocks, block by block."""
        row_part, column_part = self.parts_of(rows, columns)
        (above, height), (before, width) = _bounds(self.outputs), _bounds(self.inputs)
        begin = above[row_part] * self.extent[1] + height[row_part] * before[column_part]
        inside = (rows - above[row_part]) * width[column_part] + columns - before[column_part]
        found: NDArray[np.intp] = begin + inside
        return found

    def parts_of(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Returns the numbers of the arrays of outputs and of inputs that entries belong to."""
        (above, height), (before, width) = _bounds(self.outputs), _bounds(self.inputs)
        return (
            np.searchsorted(above + height, rows, side="right"),
            np.searchsorted(before + width, columns, side="right"),
        )

    def read(self, given: Any, what: str) -> Packed | Stored:
        """Reads a Jacobian.

        Parameters
        ----------
        given : array, sparse matrix, or tree of such
            The whole as a matrix, of all outputs by all inputs in their order; or a tree like the outputs, of trees
            like the inputs, of blocks. A block has the shape of the output and then that of the input, but for axes of
            length 1, or is a matrix. What is None belongs to inputs that are not differentiated.
        what : str
            What errors call it.

        Returns
        -------
        Packed or Stored
            `Stored` if anything of it is sparse.

        Raises
        ------
        TypeError, ValueError
            If blocks are missing or too many, or if one does not have its shape.
        """
        if 0 in self.extent:
            raise ValueError(f"{what}: outputs or inputs have no entries, so there is nothing to compare")
        leaves = {path: leaf for path, leaf in walk(given) if leaf is not None}
        if isinstance(given, list) and len(leaves) != len(self.shapes) and all(map(np.isscalar, leaves.values())):
            given = np.array(given)  # a matrix as lists of numbers
            leaves = {"": given}
        if len(leaves) == 1 and len(self.shapes) > 1:
            return self._whole(next(iter(leaves.values())), what)
        blocks = self._in_order(leaves, what)
        if any(map(is_sparse, blocks.values())):
            return self._stored(blocks, what)
        return pack({name: self._block(name, leaf, what) for name, leaf in blocks.items()}, finite=False)

    def dense(self, stored: Stored) -> Packed:
        """Writes the stored entries of a sparse Jacobian into blocks."""
        flat = np.zeros(self.extent[0] * self.extent[1], stored.dtype)
        flat[self.places(stored.rows, stored.columns)] = stored.values
        return pack(dict(split(flat, self.shapes)), finite=False)

    def _in_order(self, leaves: Mapping[str, Any], what: str) -> dict[str, Any]:
        """Returns the blocks by their names: they are told by where they lie, or by their order in lists."""
        places = [_place(output, given) for output in self.output_paths for given in self.input_paths]
        if set(places) == set(leaves):
            return dict(zip(self.shapes, (leaves[place] for place in places), strict=True))
        if len(leaves) != len(places):
            got = listed({path or what: None for path in leaves})
            raise ValueError(
                f"{what}: expected {len(places)} blocks, for {listed(self.shapes)}; got {len(leaves)} ({got})"
            )
        known = {place for place in places if not place.startswith("[")}
        missing = sorted(known - set(leaves))
        if known and missing and any(not path.startswith("[") and path for path in leaves):
            raise ValueError(f"{what}: expected blocks at {', '.join(places)}; got {', '.join(leaves)}")
        return dict(zip(self.shapes, leaves.values(), strict=True))

    def _whole(self, given: Any, what: str) -> Packed | Stored:
        if is_sparse(given):
            _require(given.shape, self.extent, what)
            return _in_rows([_entries(given, what, 0, 0)])
        array = real_array(what, given)
        _require(array.shape, self.extent, what)
        (above, height), (before, width) = _bounds(self.outputs), _bounds(self.inputs)
        blocks = (
            array[top : top + rows, left : left + columns]
            for top, rows in zip(above, height, strict=True)
            for left, columns in zip(before, width, strict=True)
        )
        named = zip(self.shapes.items(), blocks, strict=True)
        return pack({name: block.reshape(shape) for (name, shape), block in named}, finite=False)

    def _block(self, name: str, given: Any, what: str) -> NDArray[Any]:
        called = what if len(self.shapes) == 1 else f"{what}: {name}"
        array = real_array(called, given)
        expected = self.shapes[name]
        rows, columns = self._matrix(name)
        if array.shape in (expected, (rows, columns)) or without_units(array.shape) == without_units(expected):
            return array.reshape(expected)
        output, given_shape = self._sides(name)
        if array.shape in (given_shape + output, (columns, rows)):
            raise ValueError(
                f"{called}: expected the shape {expected}, outputs first and then inputs, got {array.shape}: it is "
                "transposed"
            )
        other = f" or {(rows, columns)}" if (rows, columns) != expected else ""
        raise ValueError(f"{called}: expected the shape {expected}{other}, outputs by inputs, got {array.shape}")

    def _sides(self, name: str) -> tuple[Shape, Shape]:
        pairs = [(own, other) for own in self.outputs.values() for other in self.inputs.values()]
        return pairs[list(self.shapes).index(name)]

    def _matrix(self, name: str) -> tuple[int, int]:
        output, given = self._sides(name)
        return prod(output), prod(given)

    def _stored(self, blocks: Mapping[str, Any], what: str) -> Stored:
        (above, _), (before, _) = _bounds(self.outputs), _bounds(self.inputs)
        corners = [(int(top), int(left)) for top in above for left in before]
        found = []
        for (name, block), (top, left) in zip(blocks.items(), corners, strict=True):
            called = what if len(self.shapes) == 1 else f"{what}: {name}"
            if is_sparse(block):
                _require(block.shape, self._matrix(name), called)
                found.append(_entries(block, called, top, left))
                continue
            dense = self._block(name, block, what).reshape(self._matrix(name))
            rows, columns = np.nonzero(dense)
            found.append(Stored(rows + top, columns + left, dense[rows, columns].astype(np.float64), dense.dtype))
        return _in_rows(found)


def _place(output: str, given: str) -> str:
    """Returns where a block lies in a tree of trees."""
    dot = "." if output and given and given[0] not in "[." else ""
    return f"{output}{dot}{given}".removeprefix(".")


def name_of(output: str, given: str) -> str:
    """Returns the name of a block."""
    return f"{output} by {given}"


def is_sparse(value: Any) -> bool:
    """Whether a value is a sparse matrix or array as SciPy has them, which is told by what it can do."""
    return hasattr(value, "tocoo") and hasattr(value, "shape")


def _bounds(shapes: Mapping[str, Shape]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Returns where the arrays begin in their flat vector, and how many entries they have."""
    found = [(part.start, part.stop - part.start) for _, part, _ in parts(shapes)]
    begins, sizes = np.array(found, np.intp).reshape(-1, 2).T
    return begins, sizes


def _require(shape: Sequence[int], expected: tuple[int, int], what: str) -> None:
    if tuple(shape) == expected:
        return
    turned = tuple(shape) == expected[::-1]
    hint = ": it is transposed" if turned else ""
    raise ValueError(f"{what}: expected the shape {expected}, all outputs by all inputs, got {tuple(shape)}{hint}")


def _entries(given: Any, what: str, top: int, left: int) -> Stored:
    entries = given.tocoo()
    values = real_array(what, np.asarray(entries.data))
    rows, columns = (np.asarray(numbers, np.intp) for numbers in (entries.row, entries.col))
    return Stored(rows + top, columns + left, values.astype(np.float64), values.dtype)


def _in_rows(found: Sequence[Stored]) -> Stored:
    """Puts entries together in the order of rows, and adds up those that are stored twice, as SciPy reads them."""
    rows, columns, values = (np.concatenate([getattr(one, name) for one in found]) for name in Stored._fields[:3])
    order = np.lexsort((columns, rows))
    rows, columns, values = rows[order], columns[order], values[order]
    is_first = np.ones(len(rows), np.bool_)
    is_first[1:] = (np.diff(rows) != 0) | (np.diff(columns) != 0)
    begins = np.flatnonzero(is_first)
    summed = np.add.reduceat(values, begins) if len(begins) else values
    return Stored(rows[begins], columns[begins], summed, np.result_type(*(one.dtype for one in found)))
