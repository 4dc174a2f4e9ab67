"""Checks sparse Jacobians: columns that share no row are moved together, and random directions move all of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.checks.second_look import compared, named_arrays, report_on, seen_from
from gradcheck_fast.inputs._norms import root_mean_square
from gradcheck_fast.inputs.arrays import format_index
from gradcheck_fast.inputs.jacobian_blocks import name_of
from gradcheck_fast.inputs.random_numbers import generator
from gradcheck_fast.inputs.trees import Packed, pack, pack_as, parts
from gradcheck_fast.numerical.joined import Piece, joined

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.checks.options import Options
    from gradcheck_fast.comparison.results import Comparison
    from gradcheck_fast.diagnosis.diagnose import Diagnosis
    from gradcheck_fast.inputs.jacobian_blocks import Blocks, Stored
    from gradcheck_fast.losses.jacobian import Columns
    from gradcheck_fast.numerical.gradient import Numerical
    from gradcheck_fast.report.report import Report

    Reals = NDArray[np.float64]
    Numbers = NDArray[np.intp]

#: Along how many random directions all columns are moved.
DIRECTIONS = 3
#: A normal number is smaller than this with the probability 0.1, so that three are with 0.001.
SMALL_NORMAL = 0.12566
#: How many times groups of columns are halved, at most, to find those that are wrong.
MOST_HALVED = 400
#: As many as that are enough where the whole is the transpose.
FEW_HALVED = 24


class Moved(NamedTuple):
    """Some columns that were moved together.

    Attributes
    ----------
    columns : ndarray of int
    weights : ndarray of float64
        How far each was moved.
    numerical : Numerical
        The derivatives of all outputs along that direction.
    wrong : ndarray of bool, shape (outputs,)
        Whether those of the Jacobian along it are not these.
    """

    columns: Numbers
    weights: Reals
    numerical: Numerical
    wrong: NDArray[np.bool_]


class _Search:
    """Compares products of a sparse Jacobian with derivatives along directions."""

    def __init__(self, stored: Stored, columns: Columns, options: Options) -> None:
        self.stored, self.columns, self.options = stored, columns, options
        self.outputs = columns.function.outputs
        self.by_column = np.argsort(stored.columns, kind="stable")
        sorted_columns = stored.columns[self.by_column]
        self.bounds = np.searchsorted(sorted_columns, np.arange(len(columns.scales) + 1))
        self.halved = 0
        self.comparisons: list[Comparison] = []

    def entries(self, columns: Iterable[int]) -> Numbers:
        """Returns the numbers of the stored entries of some columns."""
        found = [self.by_column[self.bounds[column] : self.bounds[column + 1]] for column in columns]
        return np.concatenate(found) if found else np.empty(0, np.intp)

    def product(self, direction: Reals, transposed: bool = False) -> Reals:
        """Returns the product of the Jacobian, or of its transpose, with a direction."""
        rows, columns, values, _ = self.stored
        if transposed:
            rows, columns = columns, rows
        product = np.zeros(self.outputs.flat.size)
        np.add.at(product, rows, values * direction[columns])
        return product

    def direction(self, columns: Numbers, weights: Reals) -> Reals:
        """Returns the direction that moves some columns."""
        direction = np.zeros(len(self.columns.scales))
        direction[columns] = weights * self.columns.scales[columns]
        return direction

    def move(self, columns: Numbers, weights: Reals, keep: bool = False) -> Moved:
        """Moves some columns, and compares."""
        direction = self.direction(columns, weights)
        own = self.as_outputs(self.product(direction))
        numerical, comparison = compared(own, self.columns.along(direction), self.options)
        if keep:
            self.comparisons.append(comparison)
        return Moved(columns, weights, numerical, comparison.excess > 1.0)

    def as_outputs(self, vector: Reals) -> Packed:
        """Packs a vector like the outputs, in the precision of the Jacobian."""
        packed = pack_as(vector, self.outputs.shapes, finite=False)
        packed.dtypes.update(dict.fromkeys(packed.dtypes, self.stored.dtype))
        return packed

    def found_wrong(self, moved: Moved, most: int) -> tuple[list[Moved], list[Moved]]:
        """Halves what is wrong until single columns are; returns what remains: what is right or single, and the rest.

        Parameters
        ----------
        moved : Moved
        most : int
            How many times something is halved, over all calls.
        """
        if not moved.wrong.any() or len(moved.columns) == 1:
            return [moved], []
        if self.halved >= most:
            return [], [moved]
        self.halved += 1
        middle = len(moved.columns) // 2
        done, left = list[Moved](), list[Moved]()
        for half in (slice(None, middle), slice(middle, None)):
            found, rest = self.found_wrong(self.move(moved.columns[half], moved.weights[half]), most)
            done, left = done + found, left + rest
        return done, left


def check_stored(stored: Stored, columns: Columns, blocks: Blocks, options: Options) -> Report:
    """Checks a sparse Jacobian: the entries that are stored, and that there are no others.

    Parameters
    ----------
    stored : Stored
    columns : Columns
        Finds derivatives along directions.
    blocks : Blocks
    options : Options
    """
    search = _Search(stored, columns, options)
    rng, everything = generator(options.seed), np.arange(blocks.extent[1])
    groups = colour(search, blocks.extent)
    moved = [search.move(group, np.ones(len(group))) for group in groups]
    directions = [rng.standard_normal(len(everything)) for _ in range(DIRECTIONS)]
    crossing = [search.move(everything, weights, keep=True) for weights in directions]
    is_wrong = any(one.wrong.any() for one in (*moved, *crossing))
    transposed = is_wrong and blocks.extent[0] == blocks.extent[1] and _is_transposed(search, crossing)
    most = FEW_HALVED if transposed else MOST_HALVED
    done, left = list[Moved](), list[Moved]()
    for one in moved:
        found, rest = search.found_wrong(one, most)
        done, left = done + found, left + rest
    alone = {int(one.columns[0]): one for one in done if len(one.columns) == 1}
    if any(one.wrong.any() for one in crossing) and not any(one.wrong.any() for one in alone.values()):
        first = next(one for one in crossing if one.wrong.any())
        for one in search.found_wrong(first, most)[0]:
            if len(one.columns) == 1 and one.wrong.any():
                alone.setdefault(int(one.columns[0]), one)
    parts, outside = _parts(search, done, left, alone)
    report = _report(search, parts, outside, left, blocks, transposed)
    notes, said = report.notes, "" if left else _coverage(search, groups, blocks)
    if left:
        count = sum(len(one.columns) for one in left)
        notes = (*notes, f"{count:,} more inputs have wrong entries among theirs; these were not looked at one by one")
    return report.replaced(coverage=said, notes=notes)


def colour(search: _Search, extent: tuple[int, int]) -> list[Numbers]:
    """Puts columns of which no two have a stored entry in the same row into groups, the longest columns first."""
    rows, counts = search.stored.rows, np.diff(search.bounds)
    taken, groups = [0] * extent[0], list[list[int]]()  # bits for the groups that have an entry in a row
    for column in np.argsort(-counts, kind="stable").tolist():
        own = rows[search.entries((column,))].tolist()
        used = 0
        for row in own:
            used |= taken[row]
        group = (~used & (used + 1)).bit_length() - 1
        if group == len(groups):
            groups.append([])
        groups[group].append(column)
        for row in own:
            taken[row] |= 1 << group
    return [np.sort(np.array(group, np.intp)) for group in groups]


def _is_transposed(search: _Search, crossing: Sequence[Moved]) -> bool:
    """Whether the transpose of the Jacobian has the right products with all random directions."""
    for one in crossing:
        direction = search.direction(one.columns, one.weights)
        _, comparison = compared(search.as_outputs(search.product(direction, True)), one.numerical, search.options)
        if (comparison.excess > 1.0).any():
            return False
    return True


class _Part(NamedTuple):
    """Entries whose numerical derivatives were found along one direction."""

    numerical: Numerical
    rows: Numbers
    columns: Numbers
    values: Reals
    factor: Reals


def _parts(
    search: _Search, done: Sequence[Moved], left: Sequence[Moved], alone: dict[int, Moved]
) -> tuple[list[_Part], int]:
    """Returns the entries that are compared, by the directions that show them, and how many are not stored."""
    stored, scales, outside = search.stored, search.columns.scales, 0
    found = []
    for one in (*done, *left):
        entries = search.entries(column for column in one.columns.tolist() if column not in alone)
        if len(one.columns) > 1:  # what a wrong sum of several is made of is not known
            entries = entries[~one.wrong[stored.rows[entries]]]
        weights = np.zeros(len(scales))
        weights[one.columns] = one.weights
        factor = 1.0 / (weights * scales)[stored.columns[entries]] if len(entries) else np.empty(0)
        rows, columns, values = stored.rows[entries], stored.columns[entries], stored.values[entries]
        found.append(_Part(one.numerical, rows, columns, values, factor))
    for column, one in alone.items():
        entries = search.entries((column,))
        rows = stored.rows[entries]
        others = np.setdiff1d(np.flatnonzero(one.wrong), rows)
        outside += len(others)
        values = np.concatenate([stored.values[entries], np.zeros(len(others))])
        rows = np.concatenate([rows, others])
        factor = np.full(len(rows), 1.0 / (float(one.weights[0]) * scales[column]))
        found.append(_Part(one.numerical, rows, np.full(len(rows), column), values, factor))
    return [part for part in found if len(part.rows)], outside


def _report(
    search: _Search, found: Sequence[_Part], outside: int, left: Sequence[Moved], blocks: Blocks, transposed: bool
) -> Report:
    """Compares single entries, and makes the report, with their indices in the Jacobian."""
    if not found:
        raise ValueError("J: it stores nothing, and no other entry was found; there is nothing to compare")
    rows, columns, values = (
        np.concatenate([getattr(part, name) for part in found]) for name in ("rows", "columns", "values")
    )
    of_outputs, of_inputs = blocks.parts_of(rows, columns)
    order = np.lexsort((columns, rows, of_inputs, of_outputs))
    places = np.empty(len(order), np.intp)
    places[order] = np.arange(len(order))
    pieces, begin = [], 0
    for part in found:
        end = begin + len(part.rows)
        pieces.append(Piece(part.numerical, part.rows, places[begin:end], part.factor))
        begin = end
    named, indices, pairs = _by_name(rows[order], columns[order], values[order], blocks)
    packed = pack({name: own.astype(search.stored.dtype) for name, own in named.items()}, finite=False)

    def diagnose(numerical: Numerical, comparison: Comparison) -> tuple[Diagnosis, ...]:
        from gradcheck_fast.diagnosis.diagnose import Diagnosis  # only wrong ones wait for its import

        if transposed:
            cause = "it is the transpose: inputs by outputs instead of outputs by inputs, in the whole Jacobian"
            evidence = f"its transpose has the right products with {DIRECTIONS} random directions"
            return (Diagnosis(cause, evidence, tuple(packed.shapes)),)
        return _by_index(named_arrays(packed, "Jacobian")(numerical, comparison), indices)

    report = report_on(packed, joined(pieces, len(order)), search.options, search.columns.function.at, diagnose)
    notes = report.notes
    if outside:
        notes = (f"{outside:,} entries that are not stored are not zero; they are among those listed", *notes)
    more = {"seen_from": seen_from(report, pairs)} if len(blocks.shapes) > 1 else {}
    return report.replaced(notes=notes, _indices=indices, **more)


def _by_index(found: tuple[Diagnosis, ...], indices: dict[str, Numbers]) -> tuple[Diagnosis, ...]:
    """Names single entries in causes by their index in the Jacobian, not by their number among those stored."""

    def mended(cause: str) -> str:
        for name, own in indices.items():
            numbers = {"the first entry": 0, "the last entry": -1}

            def index(said: re.Match[str], own: Numbers = own, numbers: dict[str, int] = numbers) -> str:
                number = numbers[said[1]] if said[1] in numbers else int(said[1].removeprefix("entry "))
                return f"entry {format_index(tuple(own[number].tolist()))} of "

            cause = re.sub(rf"(the first entry|the last entry|entry \d+) of (?={re.escape(name)}\b)", index, cause)
        return cause

    return tuple(diagnosis._replace(cause=mended(diagnosis.cause)) for diagnosis in found)


def _by_name(
    rows: Numbers, columns: Numbers, values: Reals, blocks: Blocks
) -> tuple[dict[str, Reals], dict[str, Numbers], dict[str, tuple[str, str]]]:
    """Splits entries by blocks; returns their values, their indices, and the output and input of each block."""
    of_outputs, of_inputs = blocks.parts_of(rows, columns)
    named, indices, pairs = dict[str, "Reals"](), dict[str, "Numbers"](), dict[str, tuple[str, str]]()
    above = 0
    for k, (output, own) in enumerate(blocks.outputs.items()):
        before = 0
        for other, (given, shape) in enumerate(blocks.inputs.items()):
            chosen = (of_outputs == k) & (of_inputs == other)
            if chosen.any():
                name = name_of(output, given)
                places = (rows[chosen] - above, own), (columns[chosen] - before, shape)
                index = [np.stack(np.unravel_index(flat, form)) for flat, form in places if form]
                named[name], pairs[name] = values[chosen], (output, given)
                indices[name] = np.concatenate(index).T if index else np.empty((int(chosen.sum()), 0), np.intp)
            before += prod(shape)
        above += prod(own)
    return named, indices, pairs


def _coverage(search: _Search, groups: Sequence[Numbers], blocks: Blocks) -> str:
    """Says what was looked at, and how large an entry that is not stored would have been seen."""
    largest = 0.0
    for comparison in search.comparisons:
        for array, (_, part, _) in zip(comparison.arrays, parts(search.outputs.shapes), strict=True):
            size = np.abs(comparison.numerical[part][np.isfinite(comparison.numerical[part])])
            exactly = array.atol + array.rtol * float(size.max(initial=0.0))
            largest = max(largest, exactly if array.power is None else array.power * root_mean_square(size))
    typical = root_mean_square(search.stored.values)
    power = f" above {largest / SMALL_NORMAL / typical:.0e} of a typical stored one" if typical else ""
    count = blocks.extent[0] * blocks.extent[1] - len(search.stored.rows)
    return (
        f"every stored entry was compared; the {count:,} others were looked at together, in {len(groups)} groups of "
        f"inputs and along {DIRECTIONS} random directions: one{power} would have been seen with 99.9 %"
    )
