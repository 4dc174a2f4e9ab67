"""Plans the memory of a row program, and fills the tables that the compiled modules read."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.engine import _differences, _values
from gradcheck_fast.engine._program import NOTHING, STEP, TERM, Kind
from gradcheck_fast.engine.layout import Packing, padded, spread, structured

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.engine.rows import RowProgram


#: The kinds of steps that have both a value and a difference.
KINDS = _values.KINDS & _differences.KINDS


class Slots(NamedTuple):
    """The places of the differences: the slot of each step that has one, and the doubles in a row of each slot."""

    numbers: dict[int, int]
    widths: list[int]


class Tables:
    """The memory plan of a row program, and its tables.

    Attributes
    ----------
    rows : RowProgram
    offsets : list of int
        The place of each step on the tape of a sample; the last number is the length of the tape.
    tape_stride : int
        The doubles that a sample takes on the tape. They are never a multiple of 4 KiB, so that samples spread over the
        cache.
    slope_offsets : dict
        The place of the slopes of each step that has any in the row of slopes of a sample.
    slope_stride : int
        The doubles that a sample takes there.
    slots : Slots
        The places of the differences.
    packing : Packing
        The places of the parameters.
    steps, terms : structured ndarray
        The steps and terms, as the compiled modules read them.
    unit_offsets : dict
        Where the sensitivities of each affine step's outputs (the units) begin, divided by the number of samples of a
        full chunk.
    """

    def __init__(self, rows: RowProgram) -> None:
        self.rows = rows
        sizes = [padded(step.width) * (step.cached + (not step.is_cost)) for step in rows.steps]
        self.offsets = list(accumulate(sizes, initial=0))
        self.tape_stride = self.offsets[-1] + (8 if self.offsets[-1] % 512 == 0 else 0)
        sloped = {
            number: padded(step.width) for number, step in enumerate(rows.steps) if step.is_entrywise or step.is_cost
        }
        begins = list(accumulate(sloped.values(), initial=0))
        self.slope_offsets = dict(zip(sloped, begins, strict=False))
        self.slope_stride = begins[-1] + (8 if begins[-1] % 512 == 0 else 0)
        self.slots = _slots(rows)
        multiplied = {t.parameter.number for _, t in rows.terms if not t.diagonal and t.step in self.slots.numbers}
        self.packing = Packing(rows.parameters, multiplied)
        self.steps, self.terms = self._filled()
        units = [number for number, step in enumerate(rows.steps) if step.terms]
        places = accumulate((padded(rows.steps[number].width) for number in units), initial=0)
        self.unit_offsets = dict(zip(units, places, strict=False))

    def _filled(self) -> tuple[NDArray[np.void], NDArray[np.void]]:
        rows, slots = self.rows, self.slots
        begins = list(accumulate(slots.widths, initial=0))
        steps, terms = [], []
        for number, step in enumerate(rows.steps):
            if step.kind not in KINDS:
                raise ValueError(f"step {number}, {step.name}: the row executor knows no steps of kind {step.kind!r}")
            if len(step.inputs) > 2 and not step.is_affine:  # those of affine steps are in the table of terms
                raise ValueError(
                    f"step {number}, {step.name}: the row executor takes two inputs, got {len(step.inputs)}"
                )
            first, second = (*step.inputs, NOTHING, NOTHING)[:2]
            slot = slots.numbers.get(number, 0)
            steps.append(
                {
                    "kind": step.kind,
                    "operation": step.operation,
                    "first": step.column if step.is_input else first,
                    "second": step.column if step.is_cost else second,
                    "width": step.width,
                    "padded": padded(step.width),
                    "row": spread(padded(step.width)),
                    "offset": self.offsets[number],
                    "slopes": self.slope_offsets.get(number, NOTHING),
                    "first_term": rows.first_term[number],
                    "n_terms": len(step.terms),
                    "needed": number in rows.needed,
                    "slot": slot,
                    "slot_offset": begins[slot],
                    "first_ends": self._ends(first, number),
                    "second_ends": self._ends(second, number),
                    "mask": step.mask,
                    "constant": step.constant,
                    "scale": step.scale,
                }
            )
            for term in step.terms:
                ends = self._ends(term.step, number)
                parameter = term.parameter.number
                terms.append({"step": term.step, "parameter": parameter, "diagonal": term.diagonal, "ends": ends})
        return structured(STEP, steps), structured(TERM, terms)

    def _ends(self, step: int, reader: int) -> bool:
        """Whether `reader` is the last to read the difference of `step`."""
        return step in self.slots.numbers and self.rows.last_reader.get(step) == reader


def _slots(rows: RowProgram) -> Slots:
    """Assigns a slot to the difference of each needed step.

    A slot is free again after the last step that reads it. Steps other than affine ones write over an input that they
    are the last to read, if there is one. Otherwise the slot of that input would be free, and might be given to the
    next step, which may run together with this one and must not overwrite what is still being read.
    """
    numbers: dict[int, int] = {}
    widths: list[int] = []
    free: list[int] = []

    def allocate(width: int, ended: list[int]) -> int:
        if not (ended or free):
            widths.append(width)
            return len(widths) - 1
        slot = max(ended or free, key=widths.__getitem__)
        free.remove(slot)
        widths[slot] = max(widths[slot], width)
        return slot

    for number in sorted(rows.needed):
        step = rows.steps[number]
        inputs = (i for i in dict.fromkeys(step.inputs) if not rows.steps[i].is_input)
        ended = [numbers[i] for i in inputs if rows.last_reader[i] == number]
        if not step.is_affine:
            free += ended
        if step.kind not in (Kind.INPUT, Kind.COST):
            in_place = [] if step.is_affine else ended
            numbers[number] = allocate(spread(padded(step.width)), in_place)
        if step.is_affine:
            free += ended
    return Slots(numbers, widths)
