"""The report on the gradients of a function of tensors, without its aspects."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from gradcheck_fast.adapters.common import InTurn
from gradcheck_fast.adapters.torch.copies import Copies
from gradcheck_fast.adapters.torch.function import FunctionCall
from gradcheck_fast.adapters.torch.traced_function import FunctionLosses
from gradcheck_fast.checks.complex_products import vjp_report_of_torch
from gradcheck_fast.checks.jacobian_products import vjp_report

if TYPE_CHECKING:
    from gradcheck_fast.checks.options import Options
    from gradcheck_fast.report.report import Report


def reference_of(function: Callable[..., Any], inputs: Any) -> Callable[..., Any]:
    """Makes a function of float64 arrays of a function of tensors that defines what is right.

    Raises
    ------
    TypeError
        If it cannot be called.
    """
    if not callable(function):
        raise TypeError(f"reference: expected a function of tensors, got {function!r}")
    in_double = FunctionCall(function, Copies(torch.float64, inputs=inputs)["inputs"])
    in_double.look()
    return InTurn(in_double.forward)


def function_report(
    call: FunctionCall, settings: Options, directions: int, reference: Callable[..., Any] | None = None
) -> Report:
    """Compares the gradients of a function of tensors with numerical ones.

    Parameters
    ----------
    call : FunctionCall
        Which has looked at the function.
    settings : Options
    directions : int
        How many cotangents are tried.
    reference : callable, optional
        What the function is compared with; see `reference_of`.
    """

    def report_of(forward: Any, backward: Any, arrays: Any, reference: Any = reference) -> Report:
        made: list[FunctionLosses] = []

        def losses_of(*given: Any) -> FunctionLosses:
            made.append(FunctionLosses(call, settings, *given))
            return made[-1]

        report = vjp_report(
            forward, backward, arrays, settings, directions, call.computed_in, losses_of=losses_of,
            grids=call.precisions, reference=reference,
        )  # fmt: skip
        return report.replaced(notes=(*made[-1].notes_on(report), *report.notes)) if made and report.wrong else report

    forward = InTurn(call.forward)
    if call.is_complex:
        return vjp_report_of_torch(report_of, forward, call.backward, call.arrays, reference)
    return report_of(forward, call.backward, call.arrays)
