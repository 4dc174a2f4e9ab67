"""Runs a recorded gradient function once more, with other values at some of its steps."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heappop, heappush
from inspect import unwrap
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.frontends.numpy_trace.traced_gradient import RecordedGradient

    Reals = NDArray[np.float64]

#: The steps that move numbers, and change none.
MOVEMENTS = ("slice", "reshape", "strided", "gather")


class Replay:
    """What a recorded gradient function gives if some of its steps had other values.

    Parameters
    ----------
    recorded : RecordedGradient
    """

    def __init__(self, recorded: RecordedGradient) -> None:
        self.steps, self.values = recorded.steps, recorded.values
        self._rules = {step.name: unwrap(step.primitive.value) for step in self.steps[recorded.begin :]}
        #: For each step, the steps of the gradient function that read it.
        self.readers: dict[int, list[int]] = {}
        for number in range(recorded.begin, len(self.steps)):
            for source in dict.fromkeys(self.steps[number].inputs):
                self.readers.setdefault(source, []).append(number)

    def compute(self, number: int, inputs: list[Reals]) -> Reals:
        """Returns the value of a step of the gradient function for other inputs."""
        step = self.steps[number]
        return np.asarray(self._rules[step.name](inputs, **step.attributes))

    def with_values(self, given: Mapping[int, Reals], most: int | None = None) -> dict[int, Reals]:
        """Returns the values of all steps that change if those of some steps are given; or of the first `most`.

        A step for which a value is given keeps it, whatever goes into it.
        """
        found, waiting, queued = dict(given), list[int](), set(given)
        steps, values, rules = self.steps, self.values, self._rules
        for number in given:
            self._queue(number, waiting, queued)
        with np.errstate(all="ignore"):
            while waiting and (most is None or len(found) < most):
                number = heappop(waiting)
                name, inputs, _, attributes, _ = steps[number]
                x = [found[k] if k in found else values[k] for k in inputs]
                found[number] = np.asarray(rules[name](x, **attributes))
                self._queue(number, waiting, queued)
        return found

    def _queue(self, number: int, waiting: list[int], queued: set[int]) -> None:
        for reader in self.readers.get(number, ()):
            if reader not in queued:
                queued.add(reader)
                heappush(waiting, reader)

    def origins(self, number: int) -> list[NDArray[np.intp]] | None:
        """For a step that moves numbers: for each input, where in the output each of its entries goes, or -1."""
        step = self.steps[number]
        if step.name not in MOVEMENTS:
            return None
        sizes = [int(np.prod(self.steps[k].shape)) for k in step.inputs]
        ends = np.cumsum([0, *sizes])
        ids = [
            np.arange(begin, end, dtype=np.float64).reshape(self.steps[k].shape)
            for k, begin, end in zip(step.inputs, ends[:-1], ends[1:], strict=True)
        ]
        read = self.compute(number, ids).ravel().astype(np.intp)
        goes = np.full(int(ends[-1]), -1)
        goes[read] = np.arange(read.size)
        return [goes[begin:end] for begin, end in pairwise(ends)]
