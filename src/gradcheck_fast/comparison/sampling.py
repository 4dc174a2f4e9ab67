"""A random part of the entries: for many parameters, where every entry takes its time."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, floor, inf, nan, prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.comparison.compare import Comparison
from gradcheck_fast.comparison.results import Drawn
from gradcheck_fast.inputs.arguments import integer, number
from gradcheck_fast.inputs.trees import Packed, parts, split

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from gradcheck_fast.comparison.results import ArrayResult
    from gradcheck_fast.inputs.trees import Shape

#: The share of wrong entries that the report speaks of.
SHARE = 0.01
#: Arrays of no more entries are small: they are covered in full.
SMALL = 64


class Sample(NamedTuple):
    """Which entries are compared.

    Attributes
    ----------
    entries : ndarray of int
        Where they lie in the flat vector, in order.
    counts : dict
        How many there are of each array, by name.
    asked : str
        What was asked for.
    """

    entries: NDArray[np.intp]
    counts: dict[str, int]
    asked: str

    def of(self, packed: Packed) -> Packed:
        """These entries only. An array that is not covered in full is a vector."""
        shapes: dict[str, Shape] = {
            name: shape if self.counts[name] == prod(shape) else (self.counts[name],)
            for name, shape in packed.shapes.items()
        }
        return Packed(packed.flat[self.entries], shapes, packed.dtypes, lambda flat: dict(split(flat, shapes)))


def read_sample(sample: object) -> int | float:
    """`sample`, a number of entries or a share of them; an error names it if it is neither."""
    if isinstance(sample, (float, np.floating)):
        share = number("sample", sample, positive=True)
        if share > 1.0:
            raise ValueError(f"sample: expected a share up to 1.0, or a whole number of entries, got {sample}")
        return share
    return integer("sample", sample, positive=True)


def draw(shapes: dict[str, Shape], sample: int | float, seed: int) -> Sample:
    """Draws entries without repetition, of each array as many; all of vectors and of small arrays.

    A vector is what has one axis, besides such of length 1. One that is all there is, is no bias: it is drawn from.
    """
    generator = np.random.default_rng(seed)
    entries, counts = [], {}
    for name, part, shape in parts(shapes):
        size = part.stop - part.start
        in_full = size <= SMALL or (len(shapes) > 1 and size in (1, *shape))
        wanted = size if in_full else ceil(sample * size) if isinstance(sample, float) else min(sample, size)
        own = np.arange(size) if wanted == size else np.sort(generator.choice(size, wanted, replace=False))
        entries.append(part.start + own)
        counts[name] = wanted
    return Sample(np.concatenate(entries or [np.empty(0, np.intp)]), counts, f"{sample}, seed {seed}")


def chosen(shapes: dict[str, Shape], entries: NDArray[np.intp]) -> Sample:
    """These entries, which are in order."""
    counts = {name: int(np.diff(np.searchsorted(entries, [p.start, p.stop]))[0]) for name, p, _ in parts(shapes)}
    return Sample(entries, counts, "chosen")


def whole(comparison: Comparison, analytic: Packed, sample: Sample) -> Comparison:
    """The comparison of sampled entries as one of all: NaN, and an excess of -inf, where nothing was compared.

    Entries of the analytic gradient that are not finite are wrong, drawn or not: no evaluation is needed to see them.
    """
    not_finite = ~np.isfinite(analytic.flat)
    not_finite[sample.entries] = False
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
        excess=excess,
        numerical=spread(comparison.numerical, nan),
        bars=None if comparison.bars is None else spread(comparison.bars, nan),
    )


def _of_array(array: ArrayResult, shape: Shape, not_finite: int) -> ArrayResult:
    """The same for the whole array, of which so many entries that were not drawn are not finite."""
    size = prod(shape)
    if array.size == size:
        return array
    array = replace(array, shape=shape, size=size, drawn=array.size, power=None)
    if not not_finite:
        return array
    wrong, drawn = array.wrong + not_finite, array.checked + not_finite
    return replace(array, wrong=wrong, drawn=drawn, relative_error=nan, empty=False)


def drawn_of(comparison: Comparison, params: Packed, analytic: Packed, shapes: Mapping[str, Shape]) -> dict[str, Drawn]:
    """What was found of each wrong array, all of the sampled entries; `shapes` are those of the whole arrays."""
    numbers = [dict(split(flat, analytic.shapes)) for flat in (params.flat, analytic.flat, comparison.numerical)]
    forms = {name: (-1, 1) if len(shape) > 1 else (-1,) for name, shape in shapes.items()}
    found = {
        array.name: Drawn(array.name, *(part[array.name].reshape(forms[array.name]) for part in numbers))
        for array in comparison.arrays
        if array.wrong
    }
    return {name: part for name, part in found.items() if np.isfinite(part.analytic + part.numerical).all()}


def coverage(shapes: Mapping[str, Shape], sample: Sample) -> str:
    """What would have been seen: n entries drawn of an array all miss the wrong ones with (1 - share)^n at most."""
    fewest = min((count for name, count in sample.counts.items() if count < prod(shapes[name])), default=0)
    if not fewest:
        return ""
    return (
        f"if {100 * SHARE:g} % or more of the entries of any array were wrong, this would have been seen with "
        f"probability >= {floor(1e6 * (1.0 - (1.0 - SHARE) ** fewest)) / 1e6:.6g}"
    )
