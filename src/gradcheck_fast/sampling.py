"""A random part of the entries: for functions of many parameters of which every entry costs two evaluations."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, floor, inf, nan, prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .compare import Comparison
from .diagnosis import Drawn
from .functions import FunctionLoss
from .names import number, positive_integer
from .trees import Packed, split

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from .compare import ArrayResult
    from .evaluate import Costs
    from .trees import Shape

#: The share of wrong entries that the report speaks of.
SHARE = 0.01


class Sample(NamedTuple):
    """Which entries are compared.

    Attributes
    ----------
    entries : ndarray of int
        Where they lie in the flat vector, in order.
    counts : dict
        How many there are of each array, by name.
    """

    entries: NDArray[np.intp]
    counts: dict[str, int]

    def of(self, packed: Packed) -> Packed:
        """These entries only. An array that is not covered in full is a vector."""
        shapes: dict[str, Shape] = {
            name: shape if self.counts[name] == prod(shape) else (self.counts[name],)
            for name, shape in packed.shapes.items()
        }
        return Packed(packed.flat[self.entries], shapes, packed.dtypes, lambda flat: dict(split(flat, shapes)))


class _SampledCosts:
    """A function of some of its parameters; the others stay as they are."""

    def __init__(self, costs: Costs, theta: NDArray[np.float64], entries: NDArray[np.intp]) -> None:
        self._costs = costs
        self._theta = theta
        self._entries = entries

    @property
    def notes(self) -> tuple[str, ...]:
        return self._costs.notes

    def cost(self, theta: NDArray[np.float64]) -> float:
        return self._costs.cost(self._whole(theta))

    def costs(
        self, theta: NDArray[np.float64], entries: NDArray[np.intp], values: NDArray[np.float64], n_threads: int
    ) -> NDArray[np.float64]:
        return self._costs.costs(self._whole(theta), self._entries[entries], values, n_threads)

    def _whole(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        whole = self._theta.copy()
        whole[self._entries] = theta
        return whole


def read_sample(sample: object) -> int | float:
    """`sample`, a number of entries or a share of them; an error names it if it is neither."""
    if isinstance(sample, float):
        share = number("sample", sample, positive=True)
        if share > 1.0:
            raise ValueError(f"sample: expected a share up to 1.0, or a whole number of entries, got {sample}")
        return share
    return positive_integer("sample", sample)


def draw(shapes: dict[str, Shape], sample: int | float, seed: int) -> Sample:
    """Draws entries without repetition, of each array as many; all of vectors and of arrays that have no more."""
    generator = np.random.default_rng(seed)
    entries, counts, begin = [], {}, 0
    for name, shape in shapes.items():
        size = prod(shape)
        wanted = size if len(shape) < 2 else ceil(sample * size) if isinstance(sample, float) else min(sample, size)
        own = np.arange(size) if wanted == size else np.sort(generator.choice(size, wanted, replace=False))
        entries.append(begin + own)
        counts[name] = wanted
        begin += size
    return Sample(np.concatenate(entries or [np.empty(0, np.intp)]), counts)


def restricted(problem: FunctionLoss, params: Packed, sample: Sample) -> FunctionLoss:
    """The same function of the sampled parameters only."""
    return FunctionLoss(lambda _: _SampledCosts(problem.costs_at(params), params.flat, sample.entries))


def whole(comparison: Comparison, params: Packed, sample: Sample) -> Comparison:
    """The comparison of sampled entries as one of all: NaN, and an excess of -inf, where nothing was compared."""

    def spread(values: NDArray[np.float64], fill: float) -> NDArray[np.float64]:
        result = np.full(params.flat.size, fill)
        result[sample.entries] = values
        return result

    return comparison._replace(
        arrays=tuple(_of_array(array, params.shapes[array.name]) for array in comparison.arrays),
        excess=spread(comparison.excess, -inf),
        numerical=spread(comparison.numerical, nan),
        bars=None if comparison.bars is None else spread(comparison.bars, nan),
    )


def _of_array(array: ArrayResult, shape: Shape) -> ArrayResult:
    size = prod(shape)
    return array if array.size == size else replace(array, shape=shape, size=size, drawn=array.size)


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


def coverage(arrays: tuple[ArrayResult, ...]) -> str:
    """What would have been seen: n entries drawn of an array all miss the wrong ones with (1 - share)^n at most."""
    fewest = min((array.checked for array in arrays if array.drawn is not None), default=0)
    if not fewest:
        return ""
    return (
        f"if {100 * SHARE:g} % or more of the entries of any array were wrong, this would have been seen with "
        f"probability >= {floor(1e6 * (1.0 - (1.0 - SHARE) ** fewest)) / 1e6:.6g}"
    )
