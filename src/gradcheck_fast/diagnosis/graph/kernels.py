"""Lists mistakes with the kernels of convolutions: they are flipped, or their axes are exchanged, on the way back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from gradcheck_fast.diagnosis.graph.mutants import Change, Mutant
from gradcheck_fast.diagnosis.graph.reads import PRODUCTS, with_other

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Reals
    from gradcheck_fast.diagnosis.graph.mutants import View
    from gradcheck_fast.diagnosis.graph.places import Place
    from gradcheck_fast.diagnosis.graph.reads import Read

    Rows: TypeAlias = Iterable[tuple[Place, list[Read]]]


def wrong_kernels(view: View, rows: Rows) -> Iterator[Mutant]:
    """Yields mutants in which a kernel is flipped, or its axes are exchanged, in what goes back to its input."""
    backward, seen = view.backward, set()
    kernels = [number for number in backward.parameters if backward.values[number].ndim > 2]
    reading = {number: {number: np.arange(backward.values[number].size)} for number in kernels}
    for read in (read for _, found in rows for read in found if read.base in reading):
        reading[read.base].setdefault(read.top, read.places)
    for base, tops in reading.items():
        products = [
            (reader, 1 - k, places.reshape(backward.steps[top].shape))
            for top, places in tops.items()
            for reader, k in backward.readers.get(top, ())
            if backward.steps[reader].name in PRODUCTS and (1 - k) in dict(backward.inner(reader))
        ]
        for place in view.places_of({reader for reader, _, _ in products}):
            if (base, place.steps) in seen:
                continue
            seen.add((base, place.steps))
            for how, kernel in _kernels(backward.values[base]):
                edges = {
                    (reader, k): with_other(backward, reader, k, kernel.take(places))
                    for reader, k, places in products
                    if reader in place.steps
                }
                what = f"the kernel {view.name_of(base)}"
                yield Mutant(f"{place.where}: {what} {how} in what goes back to its input", Change(edges), place)


def _kernels(w: Reals) -> Iterator[tuple[str, Reals]]:
    """Yields in words what may be done to a kernel wrongly, and the kernel that it gives."""
    spatial = tuple(range(2, w.ndim)) if w.ndim > 3 else (w.ndim - 1,)
    if any(w.shape[axis] > 1 for axis in spatial):
        yield "is flipped", np.flip(w, spatial)
        if w.ndim > 3:
            yield "is flipped along its first two axes", np.flip(w, (0, 1))
            for axis in spatial:
                yield f"is flipped along axis {axis}", np.flip(w, axis)
    for a in range(w.ndim):
        for b in range(a + 1, w.ndim):
            if w.shape[a] == w.shape[b] > 1:
                swapped = np.swapaxes(w, a, b)
                yield f"has its axes {a} and {b} exchanged", swapped
                if a == 0 and b == 1 and any(w.shape[axis] > 1 for axis in spatial):
                    yield "has its axes 0 and 1 exchanged and is flipped", np.flip(swapped, spatial)
