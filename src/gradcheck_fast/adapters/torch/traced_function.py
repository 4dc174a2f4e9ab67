"""The products of cotangents with the outputs of a function of tensors, as losses that share one trace."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.adapters.common import first_line
from gradcheck_fast.adapters.torch.straight_through import straight_through
from gradcheck_fast.checks.as_problem import may_trace
from gradcheck_fast.frontends.graphs.graph_loss import GraphLoss, confirmed
from gradcheck_fast.frontends.graphs.held import held_loss
from gradcheck_fast.frontends.graphs.replay import replayed
from gradcheck_fast.frontends.numpy_trace.trace import Traced, Unused, as_cost
from gradcheck_fast.frontends.numpy_trace.traced_loss import Disagreement
from gradcheck_fast.frontends.torch_trace.held import Held
from gradcheck_fast.losses.function_loss import python_loss
from gradcheck_fast.losses.problem import OF_PROGRAMS

if TYPE_CHECKING:
    from gradcheck_fast.adapters.torch.function import FunctionCall
    from gradcheck_fast.checks.options import Options
    from gradcheck_fast.frontends.numpy_trace.array import TracedArray
    from gradcheck_fast.frontends.numpy_trace.recording import Recording
    from gradcheck_fast.inputs.trees import Packed
    from gradcheck_fast.losses.problem import Problem
    from gradcheck_fast.losses.tree_function import Product, Products
    from gradcheck_fast.report.report import Report

#: The methods that need a trace.
_NEED_A_TRACE = tuple(method for method in OF_PROGRAMS if method != "units")


class FunctionLosses:
    """The losses of cotangents, each the product with one array of outputs, or with all.

    Parameters
    ----------
    call : FunctionCall
    options : Options
    at : Packed
        The inputs that are checked.
    products : Products
    names : sequence of str
        The names of the arrays of outputs, and ``""`` for all, if there are several.

    Raises
    ------
    ValueError
        If the method needs a trace, and there is none.
    """

    def __init__(
        self, call: FunctionCall, options: Options, at: Packed, products: Products, names: Sequence[str]
    ) -> None:
        self._call, self._at, self._products = call, at, products
        self._needs_trace = options.method if options.method in _NEED_A_TRACE else ""
        self._held, self._last = Held(), ""
        self._costs: dict[str, Traced | Exception] = {}
        if may_trace(options) and (call.is_double or options.method != "directional"):
            try:
                self._costs = self._traced(names, self._held)
            except Exception as error:
                self._costs = dict.fromkeys(names, error)

    def __call__(self, name: str) -> Problem:
        """Gives the loss of the product with the array of this name; with all, if it is ``""``."""
        self._last = name
        product, cost = self._products.loss(name), self._costs.get(name)
        plain = python_loss(product)
        if cost is None:
            return plain
        try:
            if isinstance(cost, Exception):
                raise cost
            return self._by_trace(name, product, cost)
        except Unused:
            return plain
        except Exception as error:
            why = f"differenced as a Python function: its operations could not be traced: {first_line(error)}"
            if self._needs_trace:
                raise ValueError(f"method: {self._needs_trace!r} needs a trace, but this is {why}") from error
            plain.notes = (why,)
            return plain

    def notes_on(self, report: Report) -> tuple[str, ...]:
        """Gives the notes on a wrong gradient, of the product that was asked for last."""
        cost = self._costs.get(self._last)
        return straight_through(cost.program, report, self._at) if isinstance(cost, Traced) else ()

    def _traced(self, names: Sequence[str], held: Held) -> dict[str, Traced | Exception]:
        """Traces the function once, for the products of all these names."""

        def costs(recording: Recording, outputs: list[Any]) -> dict[str, Traced | Exception]:
            terms = self._terms(recording, outputs)
            found: dict[str, Traced | Exception] = {}
            for name in names:
                try:
                    value = as_cost(recording, _sum_of(name, terms), may_round=True)
                    program = copy(recording.program)  # of which only the cost is another one
                    program.costs = [*recording.program.costs]
                    found[name] = Traced.of(recording, value)._replace(program=program)
                except Exception as error:
                    found[name] = error
                recording.program.costs.clear()
            return found

        _, found = replayed(lambda recording, arrays: self._call.traced(recording, arrays, held), self._at, costs)
        return found

    def _by_trace(self, name: str, product: Product, cost: Traced) -> GraphLoss:
        """Returns the loss of a product with its trace, once that is confirmed."""
        held = self._held
        try:
            loss = confirmed(GraphLoss(product, cost, self._at))
            loss.notes += held.notes_on_padding
        except Disagreement:
            if not held:
                raise
            loss = held_loss(product, partial(self._replay, name), self._at)
            loss.notes += held.notes
        return loss

    def _replay(self, name: str, recording: Recording, arrays: dict[str, TracedArray]) -> Any:
        """Traces the product of one name by itself, with what is detached held fixed."""
        return _sum_of(name, self._terms(recording, self._call.traced(recording, arrays, Held())))

    def _terms(self, recording: Recording, outputs: list[Any]) -> dict[str, Any]:
        """Returns the product of the cotangent with each array of outputs, by its name."""
        cotangents = self._products.cotangents
        return {
            name: v @ np.ravel(recording.as_numbers(recording.traced(output)))
            for (name, v), output in zip(cotangents.items(), outputs, strict=True)
        }


def _sum_of(name: str, terms: dict[str, Any]) -> Any:
    """Returns the term of this name, or the sum of all, if it is ``""``."""
    own = [term for of, term in terms.items() if name in ("", of)]
    return sum(own[1:], start=own[0])
