"""Compares a random sample of the entries, where there are too many parameters to difference each of them."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, floor, inf, nan, prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_fast.comparison.results import Comparison, Drawn, known
from gradcheck_fast.inputs.arguments import integer, number
from gradcheck_fast.inputs.arrays import digest
from gradcheck_fast.inputs.trees import Packed, parts, split

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from gradcheck_fast.comparison.results import ArrayResult
    from gradcheck_fast.inputs.trees import Shape, Tree

#: The share of wrong entries in an array of which the report says with what probability it would have been seen.
SHARE = 0.01
#: Arrays of no more than this many entries are compared in full, as that takes hardly any time.
SMALL = 64


class Sample(NamedTuple):
    """The entries that are compared.

    Attributes
    ----------
    entries : ndarray of int, shape (entries,)
        Their places in the flat vector, in ascending order.
    counts : dict
        How many of them lie in each array, by its name.
    asked : str
        What the user asked for, in words.
    among : dict, optional
        How many entries of each array they were drawn from, by its name; None: from all.
    """

    entries: NDArray[np.intp]
    counts: dict[str, int]
    asked: str
    among: dict[str, int] | None = None

    def of(self, packed: Packed) -> Packed:
        """Takes these entries out of `packed`. An array of which entries are missing becomes a vector."""
        shapes: dict[str, Shape] = {
            name: shape if self.counts[name] == prod(shape) else (self.counts[name],)
            for name, shape in packed.shapes.items()
        }
        flat = packed.flat[self.entries]
        return Packed(lambda: flat, shapes, packed.dtypes, _ByName(shapes))


class _ByName:
    """Makes dicts of arrays, by their names."""

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        self._shapes = shapes

    def __call__(self, vector: NDArray[np.float64]) -> Tree:
        return dict(split(vector, self._shapes))

    def of(self, leaves: list[Any]) -> Tree:
        return dict(zip(self._shapes, leaves, strict=True))


def read_sample(sample: object) -> int | float:
    """Reads the argument `sample`: a whole number of entries, or a share of them as a float.

    Raises
    ------
    TypeError
        If it is not a number.
    ValueError
        If it is not positive, or a share of more than 1.
    """
    if isinstance(sample, (float, np.floating)):
        share = number("sample", sample, positive=True)
        if share > 1.0:
            raise ValueError(f"sample: expected a share up to 1.0, or a whole number of entries, got {sample}")
        return share
    return integer("sample", sample, positive=True)


def draw(
    shapes: dict[str, Shape], sample: int | float, seed: int, among: NDArray[np.intp] | None = None
) -> Sample:  # fmt: skip
    """Draws entries at random, without repetition, and the same ones for the same seed.

    Small arrays and vectors are taken in full. A vector is an array that has one axis besides axes of length 1. A
    vector that is the only array is no bias, but holds all parameters: entries are drawn from it as from a matrix.

    Parameters
    ----------
    shapes : dict
        The shape of each array, by its name.
    sample : int or float
        How many entries of each array, or which share of them, as `read_sample` gives it.
    seed : int
    among : ndarray of int, optional
        The entries that they are drawn from, in ascending order. None: all.
    """
    random = np.random.default_rng(seed)
    entries, counts = [], {}
    free = None if among is None else chosen(shapes, among).counts
    for name, part, shape in parts(shapes):
        size = part.stop - part.start if free is None else free[name]
        in_full = size <= SMALL or (len(shapes) > 1 and part.stop - part.start in (1, *shape))
        wanted = size if in_full else ceil(sample * size) if isinstance(sample, float) else min(sample, size)
        own = np.arange(size) if wanted == size else np.sort(random.choice(size, wanted, replace=False))
        entries.append(part.start + own if among is None else among[np.searchsorted(among, part.start) + own])
        counts[name] = wanted
    asked = f"{sample}, seed {seed}" + ("" if among is None else f", of {digest(among)}")
    return Sample(np.concatenate(entries or [np.empty(0, np.intp)]), counts, asked, free)


def chosen(shapes: dict[str, Shape], entries: NDArray[np.intp]) -> Sample:
    """Makes the sample of the given entries, which are in ascending order."""
    counts = {name: int(np.diff(np.searchsorted(entries, [p.start, p.stop]))[0]) for name, p, _ in parts(shapes)}
    return Sample(entries, counts, f"chosen: {digest(entries)}", counts)


def whole(
    comparison: Comparison, analytic: Packed, sample: Sample, free: NDArray[np.bool_] | None = None
) -> Comparison:  # fmt: skip
    """Turns the comparison of a sample into one of all entries, which has NaN and an excess of -inf at the others.

    Entries of the analytic gradient that are not finite are wrong, drawn or not: no evaluation is needed to see them.
    But nothing is said of entries that are not `free`.
    """
    not_finite = ~np.isfinite(analytic.flat)
    not_finite[sample.entries] = False
    if free is not None:
        not_finite[~free] = False
    more = {name: int(np.count_nonzero(part)) for name, part in split(not_finite, analytic.shapes)}

    def spread(values: NDArray[np.float64], fill: float) -> NDArray[np.float64]:
        result = np.full(analytic.flat.size, fill)
        result[sample.entries] = values
        return result

    excess = spread(comparison.excess, -inf)
    excess[not_finite] = inf
    return comparison._replace(
        arrays=tuple(_of_array(array, analytic.shapes[array.name], more[array.name]) for array in comparison.arrays),
        relative_error=nan if not_finite.any() else comparison.relative_error,
        find_excess=known(excess),
        numerical=spread(comparison.numerical, nan),
        bars=None if comparison.bars is None else spread(comparison.bars, nan),
    )


def _of_array(array: ArrayResult, shape: Shape, not_finite: int) -> ArrayResult:
    """Turns the result of an array's sample into that of the whole array.

    `not_finite` is the number of entries that were not drawn and are not finite; they are counted as drawn and wrong.
    """
    size = prod(shape)
    if array.size == size:
        return array
    array = replace(array, shape=shape, size=size, drawn=array.size, power=None)
    if not not_finite:
        return array
    wrong, drawn = array.wrong + not_finite, array.checked + not_finite
    return replace(array, wrong=wrong, drawn=drawn, relative_error=nan, empty=False)


def drawn_of(comparison: Comparison, params: Packed, analytic: Packed, shapes: Mapping[str, Shape]) -> dict[str, Drawn]:
    """Returns the sampled entries of each wrong array whose numbers are all finite, by its name.

    `shapes` are those of the whole arrays.
    """
    numbers = [dict(split(flat, analytic.shapes)) for flat in (params.flat, analytic.flat, comparison.numerical)]
    forms = {name: (-1, 1) if len(shape) > 1 else (-1,) for name, shape in shapes.items()}
    found = {
        array.name: Drawn(array.name, *(part[array.name].reshape(forms[array.name]) for part in numbers))
        for array in comparison.arrays
        if array.wrong
    }
    return {name: part for name, part in found.items() if np.isfinite(part.analytic + part.numerical).all()}


def coverage(shapes: Mapping[str, Shape], sample: Sample) -> str:
    """Says with what probability a share of wrong entries would have been seen; says nothing if all are compared.

    If a share s of an array's entries is wrong, n entries drawn from it all miss them with probability (1 - s)^n at
    most.
    """
    sizes = sample.among or {name: prod(shape) for name, shape in shapes.items()}
    fewest = min((count for name, count in sample.counts.items() if count < sizes[name]), default=0)
    if not fewest:
        return ""
    return (
        f"if {100 * SHARE:g} % or more of the entries of any array were wrong, this would have been seen with "
        f"probability >= {floor(1e6 * (1.0 - (1.0 - SHARE) ** fewest)) / 1e6:.6g}"
    )
