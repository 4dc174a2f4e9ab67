"""A step of a program at a point, and a plan of how it is run for many perturbations at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from inspect import unwrap
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from gradcheck_fast.engine._entries import Rows
from gradcheck_fast.engine.entries_places import Book, Places, selection, taken
from gradcheck_fast.kernels._kernels import ELEMENTWISE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.engine.entries_places import Index
    from gradcheck_fast.program.program import Step

    Reals = NDArray[np.float64]

#: Where each input of a step changes; None for those that do not.
Forms: TypeAlias = "Sequence[Places | None]"
Shape: TypeAlias = tuple[int, ...]
Run: TypeAlias = "Callable[[Sequence[Reals | None]], Reals]"


class Plan(NamedTuple):
    """How a step is run where its inputs change in some places.

    Attributes
    ----------
    places : Places
        Where the output changes.
    run : callable
        ``run(values)`` returns the changes of the output, given those of the inputs, or None where one does not change.
    work : float
        The estimated number of operations for one perturbation.
    """

    places: Places
    run: Run
    work: float


class BoundStep:
    """A step at a point, with what its plans need to know.

    Parameters
    ----------
    step : Step
    x : list of ndarray
        The values of its inputs.
    book : Book
    isa : str
        The instruction set of the kernels.
    may_stop : bool
        Whether a change may end here, as where a kink leaves a slope of 0.
    """

    def __init__(self, step: Step, x: list[Reals], book: Book, isa: str, may_stop: bool) -> None:
        self.name, self.primitive, self.attributes = step.name, step.primitive, step.attributes
        self.x, self.shape, self.book, self.may_stop = x, step.shape, book, may_stop
        self.shapes: list[Shape] = [at.shape for at in x]
        self.size = math.prod(step.shape)
        self.rule: Callable[..., Reals] = unwrap(step.primitive.difference)  # warnings are turned off once
        self._isa = isa

    def difference(self, x: Sequence[Reals], d: Sequence[Reals | None]) -> Reals:
        """Applies the primitive's own rule."""
        return self.rule(x, d, **self.attributes)

    def reached(self, forms: Forms) -> Places | None:
        """Returns the places of the output that are reached, by the primitive's own rule."""
        masks = [
            np.zeros(shape, np.bool_) if form is None else form.mask.reshape(shape)
            for form, shape in zip(forms, self.shapes, strict=True)
        ]
        return self.book.marked(np.broadcast_to(self.primitive.reach(masks, **self.attributes), self.shape))

    @cached_property
    def kernel(self) -> Rows | None:
        """The kernel of a function of one number, if it has one."""
        return self.kernel_of(self.name) if self.name in ELEMENTWISE else None

    def kernel_of(self, name: str) -> Rows:
        """Returns the kernel of a function of one number."""
        return _rows(name, self._isa)

    @cached_property
    def origins(self) -> Index:
        """Where a step that moves numbers takes each entry of its output from, in all inputs one after the other."""
        if self.name == "gather":
            return np.asarray(self.attributes["index"].ravel(), np.intp)
        return np.asarray(self.primitive.value([numbered(self.shapes[0])], **self.attributes), np.intp).ravel()

    @cached_property
    def ends(self) -> tuple[Index, Index]:
        """Where a step that moves numbers puts each entry, and how often."""
        total = sum(map(math.prod, self.shapes))
        ends = np.zeros(total, np.intp)
        ends[self.origins] = np.arange(self.size)
        return ends, np.bincount(self.origins, minlength=total)

    @cached_property
    def targets(self) -> Index:
        """To which entry of the output a sum adds each entry."""
        if self.name == "scatter_add":
            return np.asarray(self.attributes["index"].ravel(), np.intp)
        axis, (shape,) = self.attributes["axis"], self.shapes
        kept = tuple(1 if k in axis else n for k, n in enumerate(shape))
        return np.broadcast_to(numbered(self.shape).reshape(kept), shape).ravel()

    @cached_property
    def table(self) -> Index:
        """The entries that are reduced, a row for each entry of the output; or the rows of what runs along an axis."""
        axis, (shape,) = self.attributes.get("axis", len(self.shapes[0]) - 1), self.shapes
        axes = (axis,) if isinstance(axis, int) else axis
        kept = [k for k in range(len(shape)) if k not in axes]
        length = math.prod(shape[k] for k in axes)
        return np.ascontiguousarray(numbered(shape).transpose(*kept, *axes).reshape(-1, length))

    @cached_property
    def factors(self) -> tuple[Reals, Reals]:
        """The two factors of a matrix product, where a vector is a row on the left and a column on the right."""
        a, b = self.x
        return a[np.newaxis] if a.ndim == 1 else a, b[:, np.newaxis] if b.ndim == 1 else b

    @cached_property
    def columns_of_left(self) -> Reals:
        """The columns of the left factor, as rows."""
        a = self.factors[0]
        return np.ascontiguousarray(a.reshape(-1, a.shape[-1]).T)


@lru_cache
def _rows(name: str, isa: str) -> Rows:
    return Rows(name, isa)


def numbered(shape: Shape) -> Index:
    """Returns the numbers of the entries of an array, in its shape."""
    return np.arange(math.prod(shape)).reshape(shape)


def dense(step: BoundStep, k: int, form: Places | None) -> Callable[[Reals | None], Reals | None]:
    """Returns what makes the whole change of input k, of shape (perturbations, ...)."""
    columns = None if form is None else selection(form.numbers(np.arange(form.size)), form.count)
    shape = step.shapes[k]
    return lambda values: None if values is None else taken(values, columns).reshape(len(values), *shape)


def given(values: Sequence[Reals | None]) -> Reals:
    """Returns the first change that is not None."""
    return next(v for v in values if v is not None)
